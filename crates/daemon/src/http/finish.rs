//! What every request passes through: an id, a span, a body for every error, the security headers, a count.

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use lockstep_api::Problem;
use serde_json::json;
use tracing::Instrument;

use super::negotiate::Face;
use super::problem::Fail;
use super::{Ctx, pages};

/// Nothing is fetched from elsewhere, nothing is inline, nobody frames the page.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; \
                      connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// On every answer, whatever its status.
const HEADERS: [(HeaderName, &str); 9] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("permissions-policy"),
        "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    ),
    (HeaderName::from_static("x-robots-tag"), "noindex"),
    (header::VARY, "Accept, Accept-Encoding"),
];

/// The request's id, for handlers and errors.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Wraps every request; the outermost layer.
pub(super) async fn finish(State(desk): State<Ctx>, request: Request, next: Next) -> Response {
    let id = request_id(request.headers());
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let accept = request.headers().clone();
    // The template, never the path: names in a path are not for labels.
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or_else(|| "none".to_owned(), |route| route.as_str().to_owned());
    let span = tracing::debug_span!("request", %method, route, request_id = id);
    let response = async {
        let response = next.run(request).await;
        tracing::debug!(status = response.status().as_u16(), "answered");
        response
    }
    .instrument(span)
    .await;

    let mut response = explained(&desk, response, &id, &path, &accept, &method);
    desk.metrics
        .http_answered(&route, response.status().as_u16());
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    if let Ok(value) = HeaderValue::from_str(&id) {
        headers.insert(REQUEST_ID, value);
    }
    response
}

/// The id that a proxy gave, when it is a plain one; else a new one.
fn request_id(headers: &HeaderMap) -> String {
    let given = headers
        .get(REQUEST_ID)
        .and_then(|value| value.to_str().ok());
    let plain = |id: &&str| {
        (8..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    given
        .filter(plain)
        .map_or_else(|| format!("{:016x}", fastrand::u64(..)), str::to_owned)
}

/// Gives an error its body, in the shape that the request reads.
fn explained(
    desk: &Ctx,
    mut response: Response,
    id: &str,
    path: &str,
    accept: &HeaderMap,
    method: &Method,
) -> Response {
    let status = response.status();
    let fail = match response.extensions_mut().remove::<Fail>() {
        Some(fail) => fail,
        // Nothing of ours answers an error without a Fail: a layer or the router did.
        None if status.is_client_error() || status.is_server_error() => Fail::of_status(status),
        None => return response,
    };
    let problem = fail.problem(id);
    let mut written = if path.starts_with("/api/v1/applications") {
        argo(&fail, &problem)
    } else if path.starts_with("/api/") || !matches!(*method, Method::GET | Method::HEAD) {
        problem_json(&problem)
    } else {
        match Face::of(accept, Face::Html) {
            Face::Html => pages::failure(desk, &fail, &problem),
            Face::Json => problem_json(&problem),
            Face::Text => lockstep_api::text::problem(&problem).into_response(),
        }
    };
    *written.status_mut() = fail.status();
    for name in [header::ALLOW, header::RETRY_AFTER, header::WWW_AUTHENTICATE] {
        for value in response.headers().get_all(&name) {
            written.headers_mut().append(name.clone(), value.clone());
        }
    }
    written
}

fn problem_json(problem: &Problem) -> Response {
    let body = serde_json::to_vec(problem).unwrap_or_default();
    ([(header::CONTENT_TYPE, "application/problem+json")], body).into_response()
}

/// Argo CD's shape, which its clients and many scripts read.
fn argo(fail: &Fail, problem: &Problem) -> Response {
    let message = match (problem.detail.is_empty(), &problem.next) {
        (true, None) => problem.title.clone(),
        (true, Some(next)) => format!("{}; {next}", problem.title),
        (false, None) => format!("{}: {}", problem.title, problem.detail),
        (false, Some(next)) => format!("{}: {}; {next}", problem.title, problem.detail),
    };
    let body = json!({
        "error": message,
        "code": fail.grpc_code(),
        "message": message,
        "details": [],
    });
    (
        [(header::CONTENT_TYPE, "application/json")],
        body.to_string(),
    )
        .into_response()
}
