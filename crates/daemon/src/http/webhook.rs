//! `POST /api/webhook`: GitHub says that something was pushed. It is believed as far as "look there", no further.

use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderMap, StatusCode, header};
use lockstep_app::app::RemoteUrl;
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use super::Ctx;
use super::negotiate::json;
use super::problem::Fail;
use crate::board::{Board, Command};
use crate::metrics::Delivery;

/// Longer addresses name no repository.
const ADDRESS_BYTES: usize = 2048;

#[derive(Deserialize)]
struct Push {
    repository: Option<Repository>,
}

#[derive(Deserialize)]
struct Repository {
    #[serde(rename = "clone_url")]
    clone: Option<String>,
    #[serde(rename = "html_url")]
    html: Option<String>,
    #[serde(rename = "ssh_url")]
    ssh: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    accepted: bool,
    reason: &'static str,
}

/// Answers before any work is done: the engine is only told where to look.
pub(super) async fn webhook(
    State(desk): State<Ctx>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let (result, answer) = match receive(&desk, &headers, body) {
        Ok((result, reason)) => {
            let answer = Answer {
                accepted: result == Delivery::Accepted,
                reason,
            };
            (
                result,
                json(&answer).unwrap_or_else(IntoResponse::into_response),
            )
        }
        Err((result, fail)) => {
            desk.metrics.webhook(result);
            return fail.into_response();
        }
    };
    desk.metrics.webhook(result);
    let mut answer = answer;
    if answer.status() == StatusCode::OK {
        *answer.status_mut() = StatusCode::ACCEPTED;
    }
    answer
}

type Received = Result<(Delivery, &'static str), (Delivery, Fail)>;

fn receive(desk: &Ctx, headers: &HeaderMap, body: Result<Bytes, BytesRejection>) -> Received {
    let board = desk.board();
    let secret = secret(&board).ok_or_else(|| (Delivery::NoSecret, no_secret()))?;
    let body = body.map_err(|rejection| {
        (
            Delivery::BadBody,
            Fail::of_status(rejection.into_response().status()),
        )
    })?;
    // The signature is over the bytes as they came. Nothing of them is read before it holds.
    if !signed(secret.as_bytes(), headers, &body) {
        return Err((Delivery::BadSignature, bad_signature()));
    }
    let event = headers
        .get("x-github-event")
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    match event {
        "ping" => return Ok((Delivery::Ping, "pong")),
        "push" => {}
        _ => return Ok((Delivery::Ignored, "only push and ping are acted on")),
    }
    let push: Push =
        serde_json::from_slice(&body).map_err(|_| (Delivery::BadBody, bad_body(headers)))?;
    let remotes = push.repository.map(remotes).unwrap_or_default();
    if remotes.is_empty() {
        return Ok((
            Delivery::Ignored,
            "the push names no repository with an http or https address",
        ));
    }
    for remote in remotes {
        desk.command(Command::Pushed { remote })
            .map_err(|fail| (Delivery::Busy, fail))?;
    }
    Ok((Delivery::Accepted, "the repository is being looked at"))
}

/// The secret; an empty one is none, since anybody could sign with it.
fn secret(board: &Board) -> Option<&str> {
    let secret = board.webhook_secret.as_ref()?.expose();
    (!secret.is_empty()).then_some(secret.as_str())
}

/// Is there exactly one signature, and is it right? Compared in constant time.
///
/// Source: GitHub, "Validating webhook deliveries": `X-Hub-Signature-256: sha256=` and 64 hex digits. The older SHA-1
/// header is not looked at.
fn signed(secret: &[u8], headers: &HeaderMap, body: &[u8]) -> bool {
    let mut values = headers.get_all("x-hub-signature-256").iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return false;
    };
    let Some(digits) = value
        .to_str()
        .ok()
        .and_then(|text| text.strip_prefix("sha256="))
    else {
        return false;
    };
    let mut signature = [0_u8; 32];
    if hex::decode_to_slice(digits, &mut signature).is_err() {
        return false;
    }
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret) else {
        return false;
    };
    mac.update(body);
    mac.verify_slice(&signature).is_ok()
}

/// The addresses that the payload gives its repository, those that can be fetched from, each once.
fn remotes(repository: Repository) -> Vec<String> {
    let written = [
        repository.clone,
        repository.html,
        repository.ssh.and_then(over_https),
    ];
    let mut remotes: Vec<RemoteUrl> = Vec::new();
    for address in written
        .into_iter()
        .flatten()
        .filter(|address| address.len() <= ADDRESS_BYTES)
    {
        let Ok(remote) = address.parse::<RemoteUrl>() else {
            continue;
        };
        if !remotes
            .iter()
            .any(|known| known.same_repository(remote.as_str()))
        {
            remotes.push(remote);
        }
    }
    remotes
        .into_iter()
        .map(|remote| remote.to_string())
        .collect()
}

/// `git@host:owner/name.git` and `ssh://git@host/owner/name.git` as they are called over https.
fn over_https(address: String) -> Option<String> {
    if let Some(rest) = address.strip_prefix("ssh://") {
        let rest = rest.split_once('@').map_or(rest, |(_, rest)| rest);
        let (host, path) = rest.split_once('/')?;
        let host = host.split(':').next()?;
        return Some(format!("https://{host}/{path}"));
    }
    let (_, rest) = address.split_once('@')?;
    let (host, path) = rest.split_once(':')?;
    Some(format!("https://{host}/{path}"))
}

fn no_secret() -> Fail {
    Fail::new(StatusCode::SERVICE_UNAVAILABLE, "webhook.no_secret", "The webhook is switched off")
        .detail("no secret is configured, so nobody's word can be trusted; repositories are polled all the same")
        .next("name a Secret or a file under webhook: in the configuration, and give GitHub the same secret")
}

fn bad_signature() -> Fail {
    Fail::new(
        StatusCode::UNAUTHORIZED,
        "webhook.signature",
        "The webhook was refused",
    )
    .detail("X-Hub-Signature-256 is missing or does not match the secret")
    .next("give the webhook in GitHub the secret that Lockstep is configured with")
}

fn bad_body(headers: &HeaderMap) -> Fail {
    let form = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded"));
    let fail = Fail::new(
        StatusCode::BAD_REQUEST,
        "webhook.body",
        "The webhook's body is not a push",
    );
    if form {
        fail.next("set the content type of the webhook in GitHub to application/json")
    } else {
        fail.detail("it is not the JSON that GitHub sends")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forms_of_one_repository_are_asked_for_once() {
        let found = remotes(Repository {
            clone: Some("https://github.com/acme/shop.git".to_owned()),
            html: Some("https://github.com/acme/shop".to_owned()),
            ssh: Some("git@github.com:acme/shop.git".to_owned()),
        });
        assert_eq!(found, ["https://github.com/acme/shop.git"]);
        let found = remotes(Repository {
            clone: Some("http://127.0.0.1:3000/shop.git".to_owned()),
            html: Some("https://user:pw@evil/x".to_owned()),
            ssh: Some("ssh://git@git.acme.test:2222/shop.git".to_owned()),
        });
        assert_eq!(
            found,
            [
                "http://127.0.0.1:3000/shop.git",
                "https://git.acme.test/shop.git"
            ]
        );
    }
}
