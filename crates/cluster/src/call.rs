//! One request and its answer: with a deadline, with the server's warnings, and refusals parsed.

use std::error::Error as StdError;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, header};
use kube::client::Body;
use tokio::sync::Semaphore;

use crate::status::{Details, Status, presentable};

/// How long a read may take. Longer is no answer (F-02).
pub(crate) const READ_DEADLINE: Duration = Duration::from_secs(10);

/// How long a write may take: admission webhooks are given up to 30 s each by the server itself.
pub(crate) const WRITE_DEADLINE: Duration = Duration::from_secs(30);

/// How long one page of a list may take.
pub(crate) const LIST_DEADLINE: Duration = Duration::from_secs(30);

/// How many warnings of one answer are kept; one per unknown field is usual, and a hostile manifest has many.
const WARNINGS: usize = 20;

/// The field values that are what the media types say.
pub(crate) const JSON: &str = "application/json";
pub(crate) const APPLY_PATCH: &str = "application/apply-patch+yaml";
pub(crate) const MERGE_PATCH: &str = "application/merge-patch+json";

/// A request before it is sent.
#[derive(Debug)]
pub(crate) struct Ask {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) content_type: &'static str,
    pub(crate) accept: &'static str,
    pub(crate) if_none_match: Option<String>,
    pub(crate) body: Vec<u8>,
    pub(crate) deadline: Duration,
}

impl Ask {
    /// A read.
    pub(crate) fn get(path: String) -> Self {
        Self::new(Method::GET, path, JSON, Vec::new(), READ_DEADLINE)
    }

    /// A request that changes something.
    pub(crate) fn change(
        method: Method,
        path: String,
        content_type: &'static str,
        body: Vec<u8>,
    ) -> Self {
        Self::new(method, path, content_type, body, WRITE_DEADLINE)
    }

    fn new(
        method: Method,
        path: String,
        content_type: &'static str,
        body: Vec<u8>,
        deadline: Duration,
    ) -> Self {
        Self {
            method,
            path,
            content_type,
            accept: JSON,
            if_none_match: None,
            body,
            deadline,
        }
    }

    /// The same with another deadline.
    pub(crate) fn within(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }
}

/// What came back, with a status below 400.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) warnings: Vec<String>,
    pub(crate) etag: Option<String>,
    pub(crate) body: Bytes,
}

/// Why nothing came back.
#[derive(Debug)]
pub(crate) enum CallError {
    /// No connection, or it broke. A change may have happened.
    Unreachable { why: String },
    /// No answer in time. A change may have happened.
    TimedOut { after: Duration },
    /// The server said no.
    Refused(Status),
    /// The answer could not be read, or the request not be written.
    NotUnderstood { why: String },
}

/// Sends a request and reads the whole answer.
///
/// Bounds: the deadline counts from when one of the `permits` was had; 429, 503 and 504 are repeated below, within it.
pub(crate) async fn call(
    client: &kube::Client,
    permits: Option<&Semaphore>,
    ask: Ask,
) -> Result<Answer, CallError> {
    let _permit = match permits {
        Some(permits) => Some(
            permits
                .acquire()
                .await
                .map_err(|_| CallError::Unreachable {
                    why: "shutting down".to_owned(),
                })?,
        ),
        None => None,
    };
    let after = ask.deadline;
    tokio::time::timeout(after, send(client, ask))
        .await
        .unwrap_or(Err(CallError::TimedOut { after }))
}

async fn send(client: &kube::Client, ask: Ask) -> Result<Answer, CallError> {
    let mut request = Request::builder()
        .method(ask.method)
        .uri(ask.path)
        .header(header::ACCEPT, ask.accept);
    if let Some(etag) = ask.if_none_match {
        request = request.header(header::IF_NONE_MATCH, etag);
    }
    if !ask.body.is_empty() {
        request = request.header(header::CONTENT_TYPE, ask.content_type);
    }
    let request = request
        .body(Body::from(ask.body))
        .map_err(|error| CallError::NotUnderstood {
            why: error.to_string(),
        })?;
    let response = client
        .send(request)
        .await
        .map_err(|error| unreachable_for(&error))?;
    let (head, body) = response.into_parts();
    let body = body
        .collect_bytes()
        .await
        .map_err(|error| unreachable_for(&error))?;
    let status = head.status.as_u16();
    if status >= 400 {
        let after = text(&head.headers, header::RETRY_AFTER).and_then(|text| text.parse().ok());
        return Err(CallError::Refused(Status::from_answer(
            status, &body, after,
        )));
    }
    Ok(Answer {
        status,
        warnings: warnings(&head.headers),
        etag: text(&head.headers, header::ETAG),
        body,
    })
}

/// What kube's client says when the network failed.
pub(crate) fn unreachable_for(error: &kube::Error) -> CallError {
    match error {
        kube::Error::Api(status) => CallError::Refused(Status {
            code: status.code,
            reason: status.reason.clone(),
            message: status.message.clone(),
            details: status.details.as_ref().map(|details| Details {
                retry_after_seconds: u64::from(details.retry_after_seconds),
                ..Details::default()
            }),
        }),
        other => CallError::Unreachable {
            why: network(other),
        },
    }
}

/// The innermost cause in a word: the outer ones repeat each other.
pub(crate) fn network(error: &(dyn StdError + 'static)) -> String {
    // The stack nests about six; a source that names itself must not hang us.
    let mut innermost = error;
    for _ in 0..16 {
        let io = innermost.downcast_ref::<std::io::Error>();
        if let Some(io) = io
            && io.raw_os_error().is_some()
        {
            return io.kind().to_string();
        }
        // An io::Error's `source` is its content's source: the content itself would be passed over.
        let content = io
            .and_then(std::io::Error::get_ref)
            .map(|inner| inner as &(dyn StdError + 'static));
        match content.or_else(|| innermost.source()) {
            Some(source) => innermost = source,
            None => break,
        }
    }
    presentable(&innermost.to_string())
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<String> {
    headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .map(str::to_owned)
}

/// The texts of `Warning: 299 - "text"`.
fn warnings(headers: &HeaderMap) -> Vec<String> {
    headers
        .get_all(header::WARNING)
        .iter()
        .take(WARNINGS)
        .filter_map(|value| {
            let text = String::from_utf8_lossy(value.as_bytes());
            let quoted = text.split_once('"')?.1.rsplit_once('"')?.0;
            Some(presentable(
                &quoted.replace("\\\"", "\"").replace("\\\\", "\\"),
            ))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn a_warning_is_read_with_its_quotes() {
        let mut headers = HeaderMap::new();
        let value = HeaderValue::from_static(r#"299 - "unknown field \"spec.foo\"""#);
        headers.append(header::WARNING, value);
        assert_eq!(warnings(&headers), [r#"unknown field "spec.foo""#]);
    }

    #[test]
    fn the_innermost_network_error_is_the_one_told() {
        let refused = std::io::Error::from_raw_os_error(111);
        let outer = std::io::Error::other(refused);
        assert_eq!(network(&outer), "connection refused");
    }
}
