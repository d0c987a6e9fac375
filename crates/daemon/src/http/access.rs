//! Who may: bearer tokens for writes, the same tokens for reads where the configuration says so.

use axum::extract::{FromRequestParts, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use http::request::Parts;
use http::{HeaderMap, StatusCode, header};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::problem::Fail;
use super::{Ctx, wire};
use crate::board::Board;

/// Tokens are 43 characters of base64; anything much longer is not one, and is not hashed.
const TOKEN_BYTES: usize = 512;

/// Somebody whose token may write: the token's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Writer(pub(super) String);

impl FromRequestParts<Ctx> for Writer {
    type Rejection = Fail;

    async fn from_request_parts(parts: &mut Parts, desk: &Ctx) -> Result<Self, Fail> {
        writer(&parts.headers, &desk.board())
    }
}

/// The name behind the bearer token of a request that writes.
///
/// Basic credentials never write: a browser sends them along with whatever another site makes it ask for.
pub(super) fn writer(headers: &HeaderMap, board: &Board) -> Result<Writer, Fail> {
    let site = headers
        .get("sec-fetch-site")
        .and_then(|value| value.to_str().ok());
    if !matches!(site, None | Some("same-origin" | "none")) {
        return Err(Fail::new(
            StatusCode::FORBIDDEN,
            "access.cross_site",
            "Another site may not write here",
        )
        .detail("the browser says that the request comes from another site; nothing was changed"));
    }
    if board.tokens.is_empty() {
        return Err(no_tokens());
    }
    let token = single(headers)
        .and_then(|value| scheme(value, "bearer"))
        .ok_or_else(|| {
            refused(
                "the request has no bearer token",
                "send the header Authorization: Bearer TOKEN",
            )
        })?;
    known(board, token.trim()).map(Writer).ok_or_else(|| {
        refused(
            "the token is not known here",
            "make a new one with: lockstep token create NAME",
        )
    })
}

/// Lets reads pass: all of them, or those with a token, as the configuration says.
pub(super) async fn readers(State(desk): State<Ctx>, request: Request, next: Next) -> Response {
    let board = desk.board();
    if wire::pages_are_open(&board.config) || reader(request.headers(), &board) {
        return next.run(request).await;
    }
    let fail = if board.tokens.is_empty() {
        no_tokens()
    } else {
        refused(
            "this Lockstep shows its pages to holders of a token only",
            "log in with any user name and a token as the password, or send Authorization: Bearer TOKEN",
        )
    };
    fail.into_response()
}

/// Does the request carry a token, as bearer or as the password of Basic?
pub(super) fn reader(headers: &HeaderMap, board: &Board) -> bool {
    let Some(value) = single(headers) else {
        return false;
    };
    if let Some(token) = scheme(value, "bearer") {
        return known(board, token.trim()).is_some();
    }
    let Some(pair) = scheme(value, "basic") else {
        return false;
    };
    let Ok(pair) = base64::engine::general_purpose::STANDARD.decode(pair.trim()) else {
        return false;
    };
    let Ok(pair) = String::from_utf8(pair) else {
        return false;
    };
    pair.split_once(':')
        .is_some_and(|(_, password)| known(board, password).is_some())
}

/// The one `Authorization` header; two of them are none.
fn single(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next()?.to_str().ok()?;
    (values.next().is_none() && value.len() <= 2 * TOKEN_BYTES).then_some(value)
}

fn scheme<'a>(value: &'a str, wanted: &str) -> Option<&'a str> {
    let (scheme, rest) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case(wanted).then_some(rest)
}

/// The name of this token. Every entry is compared, each in constant time, so the time taken tells nothing.
fn known(board: &Board, token: &str) -> Option<String> {
    if token.is_empty() || token.len() > TOKEN_BYTES {
        return None;
    }
    let digest = hex::encode(Sha256::digest(token.as_bytes()));
    let mut found = None;
    for (name, known) in board.tokens.iter() {
        let same = known.trim().to_ascii_lowercase();
        if bool::from(same.as_bytes().ct_eq(digest.as_bytes())) {
            found = Some(name.clone());
        }
    }
    found
}

fn refused(detail: &str, next: &str) -> Fail {
    Fail::new(
        StatusCode::UNAUTHORIZED,
        "access.token",
        "A token is needed",
    )
    .detail(detail)
    .next(next)
}

fn no_tokens() -> Fail {
    Fail::new(
        StatusCode::UNAUTHORIZED,
        "access.no_tokens",
        "A token is needed, and there are none yet",
    )
    .detail("the Secret lockstep-tokens holds no token, so nobody may write")
    .next("lockstep token create NAME")
}
