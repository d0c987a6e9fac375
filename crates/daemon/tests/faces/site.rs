//! A router over a board, with both ends in hand.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode, header};
use lockstep_daemon::board::{Board, Command, Demand, Faces, SyncRefused, What};
use lockstep_daemon::http::router_at;
use lockstep_daemon::metrics::Metrics;
use lockstep_reconcile::Order;
use serde_json::Value;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::sample;

/// A router, and the engine's end of it.
pub(crate) struct Site {
    pub(crate) router: Router,
    pub(crate) publish: watch::Sender<Arc<Board>>,
    pub(crate) orders: mpsc::Receiver<Command>,
    pub(crate) stop: CancellationToken,
}

/// What a demand is about.
pub(crate) trait OfSync {
    /// The sync that is asked for.
    fn sync(self) -> Order;
}

impl OfSync for Demand {
    fn sync(self) -> Order {
        match self.what {
            What::Sync(order) => *order,
            other => panic!("no sync is asked for: {other:?}"),
        }
    }
}

/// An answer, read to its end.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().expect("a text"))
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {}", self.body))
    }
}

impl Site {
    pub(crate) fn new(board: Board) -> Self {
        let (faces, publish, orders) = sample::ends(board);
        Self::with(faces, publish, orders)
    }

    /// A site whose queue of commands has this much room.
    pub(crate) fn with_room(board: Board, room: usize) -> Self {
        let (publish, board) = watch::channel(Arc::new(board));
        let (commands, orders) = mpsc::channel(room);
        Self::with(Faces { board, commands }, publish, orders)
    }

    fn with(
        faces: Faces,
        publish: watch::Sender<Arc<Board>>,
        orders: mpsc::Receiver<Command>,
    ) -> Self {
        let stop = CancellationToken::new();
        let metrics = Arc::new(Metrics::new());
        let router = router_at(faces, metrics, stop.clone(), Arc::new(sample::now));
        Self {
            router,
            publish,
            orders,
            stop,
        }
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let response = self
            .router
            .clone()
            .oneshot(request)
            .await
            .expect("it cannot fail");
        read(response).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Request::get(path).body(Body::empty()).expect("a request"))
            .await
    }

    pub(crate) async fn get_as(&self, path: &str, accept: &str) -> Answer {
        let request = Request::get(path).header(header::ACCEPT, accept);
        self.send(request.body(Body::empty()).expect("a request"))
            .await
    }

    /// A POST of JSON with the token that may write.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(post(path, body)).await
    }

    /// A request that the engine answers, with what was demanded of it.
    pub(crate) async fn demand(
        &mut self,
        request: Request<Body>,
        answer: Result<String, SyncRefused>,
    ) -> (Answer, Demand) {
        let router = self.router.clone();
        let asked = async {
            let response = router.oneshot(request).await.expect("it cannot fail");
            read(response).await
        };
        tokio::join!(asked, self.serve(answer))
    }

    /// Answers the next demand as the engine would, and gives it back.
    pub(crate) async fn serve(&mut self, answer: Result<String, SyncRefused>) -> Demand {
        match self.orders.recv().await.expect("a command") {
            Command::Demand(demand, reply) => {
                reply.send(answer).expect("somebody waits");
                demand
            }
            other => panic!("nothing is asked of an app: {other:?}"),
        }
    }

    pub(crate) fn publish(&self, change: impl FnOnce(&mut Board)) {
        self.publish.send_modify(|board| {
            let mut next = Board::clone(board);
            next.version += 1;
            change(&mut next);
            *board = Arc::new(next);
        });
    }
}

async fn read(response: axum::response::Response) -> Answer {
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, 64 << 20).await.expect("a body");
    Answer {
        status: parts.status,
        headers: parts.headers,
        body: String::from_utf8(body.to_vec()).expect("UTF-8"),
    }
}

/// A POST of JSON with the token that may write.
pub(crate) fn post(path: &str, body: &Value) -> Request<Body> {
    Request::post(path)
        .header(header::AUTHORIZATION, format!("Bearer {}", sample::TOKEN))
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(body.to_string()))
        .expect("a request")
}
