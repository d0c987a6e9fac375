//! The webhook: who may ring, and what ringing does.

use anyhow::Result;
use futures::stream;
use hmac::{Hmac, KeyInit as _, Mac as _};
use lockstep_tests::World;
use reqwest::{Body, StatusCode};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::objects::{config_map, push, ready};

const SECRET: &str = "what-both-sides-know";

/// git is asked once in an hour, so that within a test only the webhook can be why it is asked.
const SELDOM: &str = "{poll: 1h, jitter: 0s}";

async fn listening(name: &str) -> Result<World> {
    let mut world = World::new(name).await?;
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "stringData": {"secret": SECRET},
        "metadata": {"name": "lockstep-webhook", "namespace": world.apps}});
    world.kube.create(&secret).await?;
    world.configure_git(
        SELDOM,
        "webhook: {secret: {name: lockstep-webhook, key: secret}}",
    )?;
    world.start()?;
    ready(&world).await?;
    Ok(world)
}

fn signed(body: &[u8], secret: &str) -> Result<String> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes())?;
    mac.update(body);
    Ok(format!(
        "sha256={}",
        hex::encode(mac.finalize().into_bytes())
    ))
}

async fn deliver(
    world: &mut World,
    event: &str,
    signature: Option<&str>,
    body: impl Into<Body>,
) -> Result<(StatusCode, Value)> {
    let mut request = reqwest::Client::new()
        .post(format!("{}/api/webhook", world.daemon().url))
        .header("Content-Type", "application/json")
        .header("X-GitHub-Event", event)
        .body(body);
    if let Some(signature) = signature {
        request = request.header("X-Hub-Signature-256", signature);
    }
    let answer = request.send().await?;
    let status = answer.status();
    Ok((status, serde_json::from_str(&answer.text().await?)?))
}

async fn counted(world: &World, result: &str) -> Result<Option<u64>> {
    world
        .metric(&format!("lockstep_webhooks_total{{result=\"{result}\"}}"))
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signed_push_is_looked_at_at_once_and_believed_in_nothing_else() -> Result<()> {
    let mut world = listening("push").await?;
    let first = push(&world, "shop", &[config_map("front", "1")])?;
    world
        .kube
        .create(&world.application("shop", "shop"))
        .await?;
    world.synced("shop", &first).await?;

    let second = push(&world, "shop", &[config_map("front", "2")])?;
    // What it says of the commit is wrong, and nobody's business: git is asked.
    let body = json!({"ref": "refs/heads/elsewhere", "after": "0000000000000000000000000000000000000001",
        "repository": {"clone_url": world.repository.url, "html_url": "https://git.example.org/other"}})
    .to_string();
    let signature = signed(body.as_bytes(), SECRET)?;
    let (status, answer) = deliver(&mut world, "push", Some(&signature), body).await?;
    assert_eq!(
        (status, &answer["accepted"]),
        (StatusCode::ACCEPTED, &json!(true)),
        "{answer}"
    );
    world.synced("shop", &second).await?;
    let front = world.object("ConfigMap", "front").await?;
    assert_eq!(
        front.map(|front| front["data"]["value"].clone()),
        Some(json!("2"))
    );
    assert_eq!(counted(&world, "accepted").await?, Some(1));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ping_is_answered_and_other_events_are_told_that_nothing_is_done() -> Result<()> {
    let mut world = listening("ping").await?;
    let body = r#"{"zen": "Keep it logically awesome."}"#;
    let signature = signed(body.as_bytes(), SECRET)?;
    let (status, answer) = deliver(&mut world, "ping", Some(&signature), body).await?;
    assert_eq!(
        (status, &answer["reason"]),
        (StatusCode::ACCEPTED, &json!("pong"))
    );
    let (status, answer) = deliver(&mut world, "star", Some(&signature), body).await?;
    assert_eq!(
        (status, &answer["accepted"]),
        (StatusCode::ACCEPTED, &json!(false))
    );
    let (status, _) = deliver(&mut world, "push", Some(&signature), body).await?;
    assert_eq!(
        status,
        StatusCode::ACCEPTED,
        "a push without a repository is none of ours"
    );
    let body = "payload=%7B%7D";
    let signature = signed(body.as_bytes(), SECRET)?;
    let (status, answer) = deliver(&mut world, "push", Some(&signature), body).await?;
    assert_eq!(
        (status, &answer["code"]),
        (StatusCode::BAD_REQUEST, &json!("webhook.body"))
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_or_missing_signature_is_refused_and_counted() -> Result<()> {
    let mut world = listening("hmac").await?;
    let body = json!({"repository": {"clone_url": world.repository.url}}).to_string();
    let right = signed(body.as_bytes(), SECRET)?;
    let of_another_secret = signed(body.as_bytes(), "guessed")?;
    let of_another_body = signed(b"{}", SECRET)?;
    let cut = &right[..right.len() - 2];
    let digits_only = right.trim_start_matches("sha256=");
    let wrong = [
        None,
        Some(""),
        Some(&*of_another_secret),
        Some(&*of_another_body),
        Some(cut),
        Some(digits_only),
        Some("sha256="),
    ];
    for signature in wrong {
        let (status, answer) = deliver(&mut world, "push", signature, body.clone()).await?;
        assert_eq!(
            (status, &answer["code"]),
            (StatusCode::UNAUTHORIZED, &json!("webhook.signature")),
            "{signature:?}"
        );
        assert!(
            answer["next"]
                .as_str()
                .is_some_and(|next| next.contains("secret")),
            "{answer}"
        );
    }
    assert_eq!(counted(&world, "bad_signature").await?, Some(7));
    assert_eq!(counted(&world, "accepted").await?.unwrap_or(0), 0);
    let (status, _) = deliver(&mut world, "push", Some(&right), body).await?;
    assert_eq!(status, StatusCode::ACCEPTED);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_secret_every_call_is_refused_with_what_to_do() -> Result<()> {
    let mut world = World::started("nosecret").await?;
    ready(&world).await?;
    let body = r#"{"repository": {}}"#;
    for secret in ["", SECRET] {
        let signature = signed(body.as_bytes(), secret)?;
        let (status, answer) = deliver(&mut world, "push", Some(&signature), body).await?;
        assert_eq!(
            (status, &answer["code"]),
            (StatusCode::SERVICE_UNAVAILABLE, &json!("webhook.no_secret"))
        );
        assert!(
            answer["next"]
                .as_str()
                .is_some_and(|next| next.contains("webhook:")),
            "{answer}"
        );
    }
    // One that appears later is used without a restart.
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "stringData": {"secret": SECRET},
        "metadata": {"name": "lockstep-webhook", "namespace": world.apps}});
    world.kube.create(&secret).await?;
    world.configure("webhook: {secret: {name: lockstep-webhook, key: secret}}")?;
    let signature = signed(body.as_bytes(), SECRET)?;
    let mut tick = tokio::time::interval(std::time::Duration::from_millis(50));
    let taken = tokio::time::timeout(lockstep_tests::kube::PATIENCE, async {
        while deliver(&mut world, "ping", Some(&signature), body).await?.0 != StatusCode::ACCEPTED {
            tick.tick().await;
        }
        anyhow::Ok(())
    });
    taken.await?
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_is_too_large_is_not_read_however_it_is_sent() -> Result<()> {
    let mut world = listening("large").await?;
    let body = vec![b' '; (1 << 20) + 1];
    let signature = signed(&body, SECRET)?;
    let (status, answer) = deliver(&mut world, "push", Some(&signature), body.clone()).await?;
    assert_eq!(
        (status, &answer["status"]),
        (StatusCode::PAYLOAD_TOO_LARGE, &json!(413)),
        "{answer}"
    );
    // In pieces, so that no header tells its length.
    let pieces: Vec<Result<Vec<u8>, std::io::Error>> = body
        .chunks(1 << 16)
        .map(|piece| Ok(piece.to_vec()))
        .collect();
    let pieces = Body::wrap_stream(stream::iter(pieces));
    let (status, answer) = deliver(&mut world, "push", Some(&signature), pieces).await?;
    assert_eq!(
        (status, &answer["status"]),
        (StatusCode::PAYLOAD_TOO_LARGE, &json!(413)),
        "{answer}"
    );
    // One that just fits is read, and found to be no push.
    let body = vec![b' '; 1 << 20];
    let signature = signed(&body, SECRET)?;
    let (status, answer) = deliver(&mut world, "push", Some(&signature), body).await?;
    assert_eq!(
        (status, &answer["code"]),
        (StatusCode::BAD_REQUEST, &json!("webhook.body")),
        "{answer}"
    );
    Ok(())
}
