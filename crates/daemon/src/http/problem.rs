//! Every error, made in one place: what did not happen, why, what to do.
//!
//! A handler answers with a [`Fail`]; [`super::finish`] writes it as HTML, as plain text, as `problem+json` or in
//! Argo CD's shape, whichever the request asks for.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use lockstep_api::{PlanView, Problem};
use lockstep_app::{Blame, Fault};

/// A request that failed.
#[derive(Clone, Debug)]
pub(super) struct Fail(Box<Failure>);

#[derive(Clone, Debug)]
struct Failure {
    problem: Problem,
    retry_after: Option<Duration>,
    grpc: u8,
    challenge: bool,
    suggestions: Vec<Suggestion>,
}

/// A page that the reader may have meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Suggestion {
    pub(super) text: String,
    pub(super) href: String,
}

impl Fail {
    pub(super) fn new(status: StatusCode, code: &str, title: impl Into<String>) -> Self {
        Self(Box::new(Failure {
            problem: Problem {
                kind: format!("/help/words#{code}"),
                title: title.into(),
                status: status.as_u16(),
                code: code.to_owned(),
                detail: String::new(),
                next: None,
                retry_after_ms: None,
                request_id: String::new(),
                plan: None,
                operation: None,
            },
            retry_after: None,
            grpc: grpc_code(status),
            challenge: status == StatusCode::UNAUTHORIZED,
            suggestions: Vec::new(),
        }))
    }

    pub(super) fn detail(mut self, detail: impl Into<String>) -> Self {
        self.0.problem.detail = detail.into();
        self
    }

    pub(super) fn next(mut self, next: impl Into<String>) -> Self {
        self.0.problem.next = Some(next.into());
        self
    }

    pub(super) fn retry_after(mut self, wait: Duration) -> Self {
        self.0.retry_after = Some(wait);
        self.0.problem.retry_after_ms = u64::try_from(wait.as_millis()).ok();
        self
    }

    pub(super) fn plan(mut self, plan: Option<PlanView>) -> Self {
        self.0.problem.plan = plan.map(Box::new);
        self
    }

    pub(super) fn operation(mut self, operation: String) -> Self {
        self.0.problem.operation = Some(operation);
        self
    }

    pub(super) fn suggest(mut self, suggestions: Vec<Suggestion>) -> Self {
        self.0.suggestions = suggestions;
        self
    }

    /// The gRPC code that Argo CD's clients look at, where the status alone does not tell it.
    pub(super) fn grpc(mut self, code: u8) -> Self {
        self.0.grpc = code;
        self
    }

    /// The engine has more to do than it can take: try again.
    pub(super) fn busy() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "lockstep.busy",
            "Lockstep has too much to do",
        )
        .detail("its queue of requests is full; nothing was changed")
        .next("try again in a few seconds")
        .retry_after(Duration::from_secs(2))
    }

    /// A bug of ours: said without what is in the log.
    pub(super) fn internal() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "lockstep.internal",
            "This is a bug of Lockstep",
        )
        .detail("the request was given up; the log has the cause under the request's id")
        .next("report it with the request's id")
    }

    /// What stops an app, as the answer to somebody who asked for a sync.
    pub(super) fn of_fault(title: impl Into<String>, fault: &Fault) -> Self {
        let status = match fault.blame {
            Blame::User if fault.code.starts_with("held.") => StatusCode::LOCKED,
            Blame::User
                if matches!(fault.code.as_str(), "rollback.unknown" | "abandon.unknown") =>
            {
                StatusCode::NOT_FOUND
            }
            Blame::User => StatusCode::UNPROCESSABLE_ENTITY,
            Blame::Environment => StatusCode::SERVICE_UNAVAILABLE,
            Blame::Lockstep => StatusCode::INTERNAL_SERVER_ERROR,
        };
        let fail = Self::new(status, &fault.code, title).detail(fault.message.clone());
        match &fault.hint {
            Some(hint) => fail.next(hint.clone()),
            None => fail,
        }
    }

    /// What an answer that axum or a layer made on its own has to say.
    pub(super) fn of_status(status: StatusCode) -> Self {
        let fail = |code, title: &str| Self::new(status, code, title);
        match status {
            StatusCode::NOT_FOUND => fail("http.not_found", "There is nothing at this address")
                .next("start at the front page: /"),
            StatusCode::METHOD_NOT_ALLOWED => {
                fail("http.method", "This address does not take that method").detail(
                    "pages and reads take GET and HEAD; the header Allow says what this one takes",
                )
            }
            StatusCode::PAYLOAD_TOO_LARGE => fail("http.body_too_large", "The body is too large")
                .detail("it was not read")
                .next("send a smaller one"),
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::REQUEST_TIMEOUT => {
                fail("http.timeout", "The request took too long")
                    .detail("it was given up; a sync that was begun goes on")
                    .next("look at the app's page, then try again")
            }
            StatusCode::BAD_REQUEST => fail("http.bad_request", "The request cannot be read")
                .detail("a part of its address or body is not what this address takes"),
            status if status.is_server_error() => {
                tracing::error!(status = status.as_u16(), "a handler was given up");
                Self::internal()
            }
            _ => fail("http.refused", "The request was refused"),
        }
    }

    pub(super) fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.0.problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    pub(super) fn grpc_code(&self) -> u8 {
        self.0.grpc
    }

    pub(super) fn suggestions(&self) -> &[Suggestion] {
        &self.0.suggestions
    }

    /// The problem with the request's id in it.
    pub(super) fn problem(&self, request_id: &str) -> Problem {
        let mut problem = self.0.problem.clone();
        request_id.clone_into(&mut problem.request_id);
        problem
    }

    pub(super) fn reason(&self) -> &Problem {
        &self.0.problem
    }
}

/// gRPC's code for an HTTP status, as Argo CD maps them.
fn grpc_code(status: StatusCode) -> u8 {
    match status {
        StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY => 3,
        StatusCode::NOT_FOUND | StatusCode::GONE => 5,
        StatusCode::FORBIDDEN => 7,
        StatusCode::TOO_MANY_REQUESTS | StatusCode::PAYLOAD_TOO_LARGE => 8,
        StatusCode::CONFLICT | StatusCode::LOCKED => 9,
        StatusCode::METHOD_NOT_ALLOWED => 12,
        StatusCode::SERVICE_UNAVAILABLE => 14,
        StatusCode::UNAUTHORIZED => 16,
        _ => 13,
    }
}

/// An empty answer that carries its cause; [`super::finish`] gives it a body.
impl IntoResponse for Fail {
    fn into_response(self) -> Response {
        let mut response = self.status().into_response();
        if let Some(wait) = self.0.retry_after {
            let seconds = HeaderValue::from(wait.as_secs().max(1));
            response.headers_mut().insert(header::RETRY_AFTER, seconds);
        }
        if self.0.challenge {
            // Basic comes first, since it is what a browser can ask its user for; the token is the password.
            let headers = response.headers_mut();
            headers.append(
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static(
                    "Basic realm=\"Lockstep: any user, a token as password\", charset=\"UTF-8\"",
                ),
            );
            headers.append(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response.extensions_mut().insert(self);
        response
    }
}
