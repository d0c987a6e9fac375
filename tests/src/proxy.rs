//! A proxy in front of the API server that counts writes, keeps them, and cuts everything off at one of them.
//!
//! Towards the daemon it is plain HTTP/1.1 on loopback, a stream for each watch; its token and its other headers pass
//! through. A write that has reached the proxy in time reaches the API server and is kept with its answer, whoever is
//! still there to hear it: a request that is on its way does not end with the process that sent it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, Result};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;

use crate::controlplane::Address;

/// What a write may hold; the API server itself takes no more than 3 MiB.
const BODY: usize = 4 << 20;

/// Headers that are about one connection, and not about the request.
const OF_A_CONNECTION: [HeaderName; 5] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::HOST,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Where everything is cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// The write does not reach the API server.
    Before,
    /// The API server carries it out, and nobody is told.
    After,
}

/// One request that changes something, and was answered.
#[derive(Clone, Debug)]
pub struct Write {
    /// The number it came as, from 1.
    pub number: usize,
    /// How many writes had been answered when it came.
    pub answered_before: usize,
    /// `POST`, `PUT`, `PATCH` or `DELETE`.
    pub method: Method,
    /// The path without the query.
    pub path: String,
    /// What it said; null where that was nothing.
    pub body: Value,
    /// What the API server said to it.
    pub status: StatusCode,
    /// The object that came back, or the API server's reason.
    pub answer: Value,
}

impl std::fmt::Display for Write {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (number, status) = (self.number, self.status.as_u16());
        write!(f, "{number}: {} {} -> {status}", self.method, self.path)
    }
}

/// A running proxy; it ends when this value does.
pub struct Proxy {
    /// `http://127.0.0.1:PORT`.
    pub url: String,
    shared: Arc<Shared>,
    _serving: JoinSet<()>,
}

struct Shared {
    client: reqwest::Client,
    server: String,
    state: Mutex<Counted>,
    /// How many writes are on their way to the API server and back.
    under_way: watch::Sender<usize>,
    sending: Mutex<JoinSet<()>>,
}

#[derive(Default)]
struct Counted {
    came: usize,
    writes: Vec<Write>,
    armed: Option<(usize, Cut, oneshot::Sender<()>)>,
    is_cut: bool,
}

/// What becomes of a write that has just come.
enum Turn {
    /// Nothing: the line is cut.
    Dead,
    /// It is sent on, as this number, so many having been answered before. With a sender it is the last one: that is
    /// told when the answer is here, which nobody hears any more.
    Passes(usize, usize, Option<oneshot::Sender<()>>),
}

impl Proxy {
    /// Starts one in front of this API server.
    pub async fn start(address: &Address) -> Result<Self> {
        let ca = reqwest::Certificate::from_pem(&std::fs::read(&address.ca)?)?;
        let shared = Arc::new(Shared {
            client: reqwest::Client::builder().tls_certs_only([ca]).build()?,
            server: address.server.clone(),
            state: Mutex::default(),
            under_way: watch::Sender::new(0),
            sending: Mutex::default(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let router = Router::new().fallback(pass).with_state(Arc::clone(&shared));
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            // It never ends by itself; when it is aborted nobody asks why.
            let _ended = axum::serve(listener, router).await;
        });
        Ok(Self {
            url,
            shared,
            _serving: serving,
        })
    }

    /// Cuts everything off at the write of this number, if that ever comes; tells when it does. From then on no write
    /// comes through, and the one before its answer, or the other way round, is lost.
    pub fn cut_at(&self, number: usize, cut: Cut) -> oneshot::Receiver<()> {
        let (sender, receiver) = oneshot::channel();
        self.shared.state().armed = Some((number, cut, sender));
        receiver
    }

    /// Lets everything through again, once what is still on its way has arrived.
    pub async fn mend(&self) -> Result<()> {
        let mut under_way = self.shared.under_way.subscribe();
        under_way
            .wait_for(|count| *count == 0)
            .await
            .context("the proxy is there")?;
        self.shared.state().is_cut = false;
        Ok(())
    }

    /// The writes that were answered so far, in the order of their answers.
    pub fn writes(&self) -> Vec<Write> {
        self.shared.state().writes.clone()
    }

    /// How many writes came, answered or not.
    pub fn came(&self) -> usize {
        self.shared.state().came
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, Counted> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a write in, and decides what becomes of it.
    fn count(&self) -> Turn {
        let mut state = self.state();
        if state.is_cut {
            return Turn::Dead;
        }
        state.came += 1;
        let (number, before) = (state.came, state.writes.len());
        let last = match state.armed.take_if(|(at, ..)| *at == number) {
            Some((_, Cut::Before, told)) => {
                state.is_cut = true;
                // Nobody waits for it any more when the test is over.
                let _over = told.send(());
                return Turn::Dead;
            }
            Some((_, Cut::After, told)) => {
                state.is_cut = true;
                Some(told)
            }
            None => None,
        };
        self.under_way.send_modify(|count| *count += 1);
        Turn::Passes(number, before, last)
    }

    /// Carries something out to its end, whatever becomes of who asked for it.
    fn go_on_with(&self, sends: impl Future<Output = ()> + Send + 'static) {
        let mut sending = self.sending.lock().unwrap_or_else(PoisonError::into_inner);
        sending.spawn(sends);
    }

    /// Sends a request on.
    async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &HeaderMap,
        body: Bytes,
    ) -> reqwest::Result<reqwest::Response> {
        let mut headers = headers.clone();
        for name in OF_A_CONNECTION {
            headers.remove(name);
        }
        let request = self
            .client
            .request(method, format!("{}{path}", self.server))
            .headers(headers)
            .body(body);
        request.send().await
    }

    /// Sends a write on and keeps it with its answer.
    async fn send_write(
        &self,
        request: (Method, String, HeaderMap, Bytes),
        number: usize,
        answered_before: usize,
    ) -> reqwest::Result<(StatusCode, HeaderMap, Bytes)> {
        let (method, path, headers, body) = request;
        let answer = self
            .send(method.clone(), &path, &headers, body.clone())
            .await?;
        let (status, headers) = (answer.status(), answer.headers().clone());
        let bytes = answer.bytes().await?;
        let json = |bytes: &Bytes| serde_json::from_slice(bytes).unwrap_or_default();
        self.state().writes.push(Write {
            number,
            answered_before,
            method,
            path: path.split('?').next().unwrap_or_default().to_owned(),
            body: json(&body),
            status,
            answer: json(&bytes),
        });
        Ok((status, headers, bytes))
    }
}

/// Does the request change something? Leases are a replica's heartbeat, dry runs and reviews are questions.
fn is_write(method: &Method, path: &str) -> bool {
    !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
        && !path.contains("dryRun=All")
        && !path.starts_with("/apis/coordination.k8s.io/")
        && !path.starts_with("/apis/authorization.k8s.io/")
}

async fn pass(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let path = head
        .uri
        .path_and_query()
        .map_or_else(String::new, ToString::to_string);
    let Ok(body) = axum::body::to_bytes(body, BODY).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    if !is_write(&head.method, &path) {
        return match shared.send(head.method, &path, &head.headers, body).await {
            Ok(answer) => {
                let (status, headers) = (answer.status(), answer.headers().clone());
                respond(status, &headers, Body::from_stream(answer.bytes_stream()))
            }
            Err(error) => (StatusCode::BAD_GATEWAY, error.to_string()).into_response(),
        };
    }
    let Turn::Passes(number, before, last) = shared.count() else {
        return std::future::pending().await; // until whoever asked is killed
    };
    let is_last = last.is_some();
    let (sender, answer) = oneshot::channel();
    let sends = {
        let shared = Arc::clone(&shared);
        async move {
            let request = (head.method, path, head.headers, body);
            let answered = shared.send_write(request, number, before).await;
            shared.under_way.send_modify(|count| *count -= 1);
            if let Some(told) = last {
                let _over = told.send(());
            }
            let _gone = sender.send(answered); // whoever asked may be dead by now
        }
    };
    shared.go_on_with(sends);
    match answer.await {
        Ok(_) if is_last => std::future::pending().await,
        Ok(Ok((status, headers, bytes))) => respond(status, &headers, Body::from(bytes)),
        Ok(Err(error)) => (StatusCode::BAD_GATEWAY, error.to_string()).into_response(),
        Err(_) => StatusCode::BAD_GATEWAY.into_response(),
    }
}

fn respond(status: StatusCode, headers: &HeaderMap, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers.clone();
    for name in OF_A_CONNECTION {
        response.headers_mut().remove(name);
    }
    response
}
