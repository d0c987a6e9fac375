//! Which of the three representations a request wants, and whether it has the newest already.

use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Serialize;

use super::problem::Fail;

/// How an answer is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Face {
    Html,
    Json,
    Text,
}

impl Face {
    /// The representation that the `Accept` header prefers; `default` where it does not care.
    pub(super) fn of(headers: &HeaderMap, default: Self) -> Self {
        let accept = headers
            .get(header::ACCEPT)
            .and_then(|value| value.to_str().ok());
        let Some(accept) = accept else { return default };
        let mut best: Option<(u16, Self)> = None;
        // Sixteen alternatives are more than any client sends.
        for part in accept.split(',').take(16) {
            let mut parameters = part.split(';').map(str::trim);
            let face = match parameters
                .next()
                .unwrap_or_default()
                .to_ascii_lowercase()
                .as_str()
            {
                "text/html" | "application/xhtml+xml" => Self::Html,
                "application/json" | "application/problem+json" | "application/*" => Self::Json,
                "text/plain" => Self::Text,
                "*/*" | "text/*" => default,
                _ => continue,
            };
            let weight = parameters
                .find_map(|parameter| parameter.strip_prefix("q="))
                .map_or(1000, thousandths);
            if weight > 0 && best.is_none_or(|(most, _)| weight > most) {
                best = Some((weight, face));
            }
        }
        best.map_or(default, |(_, face)| face)
    }
}

/// A weight such as `0.8`, in thousandths.
fn thousandths(text: &str) -> u16 {
    let (whole, rest) = text.trim().split_once('.').unwrap_or((text.trim(), ""));
    if whole != "0" {
        return 1000;
    }
    let digits: String = rest.chars().chain("000".chars()).take(3).collect();
    digits.parse().unwrap_or(0)
}

/// Answers `304` when the reader has this version already.
pub(super) fn unchanged(headers: &HeaderMap, etag: &str) -> Option<Response> {
    let known = headers.get(header::IF_NONE_MATCH)?.to_str().ok()?;
    let same = known
        .split(',')
        .map(str::trim)
        .any(|one| one == etag || one == "*");
    same.then(|| tagged(StatusCode::NOT_MODIFIED.into_response(), etag))
}

/// Marks an answer with its version: kept by the reader, asked for again before each use.
pub(super) fn tagged(mut response: Response, etag: &str) -> Response {
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(etag) {
        headers.insert(header::ETAG, value);
    }
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("private, no-cache"),
    );
    response
}

/// A value as JSON.
pub(super) fn json<T: Serialize>(value: &T) -> Result<Response, Fail> {
    let body = serde_json::to_vec(value).map_err(|error| {
        tracing::error!(%error, "a wire type cannot be written");
        Fail::internal()
    })?;
    Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
}

/// A plain text.
pub(super) fn text(body: String) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], body).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn face(accept: &str) -> Face {
        let mut headers = HeaderMap::new();
        headers.insert(
            header::ACCEPT,
            HeaderValue::from_str(accept).expect("a header"),
        );
        Face::of(&headers, Face::Html)
    }

    #[test]
    fn the_heaviest_alternative_wins_and_the_first_among_equals() {
        assert_eq!(
            face("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
            Face::Html
        );
        assert_eq!(face("application/json"), Face::Json);
        assert_eq!(face("text/plain;q=0.9, application/json;q=0.5"), Face::Text);
        assert_eq!(face("*/*"), Face::Html);
        assert_eq!(face("image/png"), Face::Html);
        assert_eq!(face("text/html;q=0, text/plain;q=0.1"), Face::Text);
    }
}
