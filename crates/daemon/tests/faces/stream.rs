//! Server-sent events.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::http::{HeaderMap, Request};
use futures::StreamExt;
use lockstep_reconcile::view::Word;

use crate::sample;
use crate::site::Site;

/// A stream, read event by event.
struct Events {
    headers: HeaderMap,
    body: BodyDataStream,
    text: String,
}

impl Events {
    async fn open(site: &Site, path: &str) -> Self {
        let request = Request::get(path).body(Body::empty()).expect("a request");
        let response = tower::ServiceExt::oneshot(site.router.clone(), request).await;
        let response = response.expect("it cannot fail");
        let headers = response.headers().clone();
        Self {
            headers,
            body: response.into_body().into_data_stream(),
            text: String::new(),
        }
    }

    /// The next event, or none when the stream has ended.
    async fn next(&mut self) -> Option<String> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let (event, rest) = (event.to_owned(), rest.to_owned());
                self.text = rest;
                return Some(event);
            }
            let chunk = tokio::time::timeout(Duration::from_secs(5), self.body.next());
            let chunk = chunk.await.expect("in time")?.expect("a chunk");
            self.text
                .push_str(std::str::from_utf8(&chunk).expect("UTF-8"));
        }
    }
}

fn fail(site: &Site, name: &str) {
    let key = ("prod".to_owned(), name.to_owned());
    site.publish(|board| {
        let version = board.version;
        board.changed.insert(key.clone(), version);
        let app = Arc::make_mut(board.apps.get_mut(&key).expect("an app"));
        app.word = Word::Failing;
    });
}

#[tokio::test]
async fn a_change_rings_for_that_app_and_for_no_other() {
    let site = Site::new(sample::board());
    let mut events = Events::open(&site, "/api/v1/stream").await;
    assert_eq!(events.headers["content-type"], "text/event-stream");
    assert_eq!(events.headers["cache-control"], "no-store");
    assert_eq!(events.headers["x-accel-buffering"], "no");
    let hello = events.next().await.expect("an event");
    assert!(
        hello.contains("event: hello") && hello.contains("retry: 2000"),
        "{hello}"
    );
    assert!(hello.contains("\"after\":48213"));
    fail(&site, "catalog");
    let rung = events.next().await.expect("an event");
    assert!(
        rung.contains("event: app") && rung.contains("\"key\":\"prod/catalog\""),
        "{rung}"
    );
    assert!(rung.contains("\"was\":\"synced\"") && rung.contains("\"state\":\"failing\""));
    assert!(rung.contains("catalog in prod is now failing"));
    site.publish(|board| {
        board
            .apps
            .remove(&("prod".to_owned(), "catalog".to_owned()));
    });
    let gone = events.next().await.expect("an event");
    assert!(gone.contains("\"state\":null"), "{gone}");
}

#[tokio::test]
async fn a_reader_who_was_away_is_told_what_changed_since() {
    let site = Site::new(sample::board());
    let mut events = Events::open(&site, "/api/v1/stream").await;
    let hello = events.next().await.expect("an event");
    let id = hello
        .lines()
        .find_map(|line| line.strip_prefix("id: "))
        .expect("an id")
        .to_owned();
    drop(events);
    fail(&site, "gateway");
    let mut events = Events::open(&site, &format!("/api/v1/stream?after={id}")).await;
    assert!(
        events
            .next()
            .await
            .expect("an event")
            .contains("event: hello")
    );
    assert!(
        events
            .next()
            .await
            .expect("an event")
            .contains("\"key\":\"prod/gateway\"")
    );
}

#[tokio::test]
async fn a_reader_of_another_life_of_the_daemon_fetches_everything_anew() {
    let site = Site::new(sample::board());
    for after in ["0-48213", "nonsense", "19ce10f4400-99999999"] {
        let mut events = Events::open(&site, &format!("/api/v1/stream?after={after}")).await;
        assert!(
            events
                .next()
                .await
                .expect("an event")
                .contains("event: hello")
        );
        assert!(
            events
                .next()
                .await
                .expect("an event")
                .contains("event: resync"),
            "{after}"
        );
    }
}

#[tokio::test]
async fn streams_end_when_the_daemon_stops() {
    let site = Site::new(sample::board());
    let mut events = Events::open(&site, "/api/v1/stream").await;
    events.next().await.expect("an event");
    site.stop.cancel();
    assert_eq!(events.next().await, None);
}
