//! The connection to a daemon: one request, one answer, or a failure that says what to do.

use std::time::Duration;

use futures::StreamExt as _;
use lockstep_api::{App, AppList, AppSummary, Overview, Problem, Time};
use lockstep_manifest::Sensitive;
use reqwest::header::{
    ACCEPT, AUTHORIZATION, CONTENT_TYPE, DATE, HeaderMap, HeaderValue, USER_AGENT,
};
use reqwest::{Client, Method, Response, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::target::Target;

/// An answer may not be larger: 2,000 apps are one and a half.
const LARGEST: usize = 64 << 20;

/// How long an ordinary answer may take; the daemon gives itself less.
const PATIENCE: Duration = Duration::from_secs(30);

/// A daemon.
pub(crate) struct Server {
    base: Url,
    http: Client,
    has_token: bool,
}

/// The least that is answered to a sync that has begun.
#[derive(serde::Deserialize)]
struct Begun {
    id: String,
}

/// An answer, as text and as what it means.
pub(crate) struct Answer<T> {
    /// As it came.
    pub(crate) text: String,
    /// What it says.
    pub(crate) value: T,
    /// The server's clock.
    pub(crate) now: Time,
}

impl Server {
    /// Takes an address and a token. Nothing is sent yet.
    pub(crate) fn new(address: &str, token: Option<&Sensitive<String>>) -> Result<Self, Failure> {
        let wrong = |why: &str| {
            Failure::new(
                Exit::Usage,
                format!("{address} is no address of a server"),
                "write it as http://HOST:PORT or https://HOST, by --server or LOCKSTEP_SERVER",
            )
            .why(why)
        };
        let mut base = Url::parse(address).map_err(|error| wrong(&error.to_string()))?;
        if !matches!(base.scheme(), "http" | "https") || !base.has_host() {
            return Err(wrong("it is neither http nor https"));
        }
        if !base.username().is_empty() || base.password().is_some() {
            return Err(wrong(
                "user and password do not belong there; a token is given by LOCKSTEP_TOKEN",
            ));
        }
        base.set_query(None);
        base.set_fragment(None);
        let mut headers = HeaderMap::new();
        headers.insert(
            USER_AGENT,
            HeaderValue::from_static(concat!("lockstep/", env!("CARGO_PKG_VERSION"))),
        );
        if let Some(token) = token {
            let mut value = HeaderValue::try_from(format!("Bearer {}", token.expose().trim()))
                .map_err(|_| {
                    Failure::new(
                        Exit::Usage,
                        "the token holds characters that no token has",
                        "copy it again, from the line that lockstep token create printed",
                    )
                })?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        // No redirects and no proxy from the environment: the token goes to the server that was named, or nowhere.
        let http = Client::builder()
            .default_headers(headers)
            .connect_timeout(Duration::from_secs(10))
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
            .map_err(|error| {
                Failure::new(
                    Exit::Unexpected,
                    "the HTTP client could not be made",
                    "check the system's certificates",
                )
                .why(chain(&error))
            })?;
        Ok(Self {
            base,
            http,
            has_token: token.is_some(),
        })
    }

    /// The address.
    pub(crate) fn address(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
    }

    /// Would a token travel in the clear to another machine?
    pub(crate) fn exposes_token(&self) -> bool {
        let near = match self.base.host_str() {
            Some("localhost" | "[::1]") => true,
            Some(host) => host.starts_with("127."),
            None => false,
        };
        self.has_token && self.base.scheme() == "http" && !near
    }

    fn url(&self, parts: &[&str], query: &[(&str, &str)]) -> Url {
        let mut url = self.base.clone();
        // It has a host, so it can be a base.
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(["api", "v1"]).extend(parts);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        url
    }

    async fn send(
        &self,
        method: Method,
        url: Url,
        body: Option<String>,
        patience: Duration,
    ) -> Result<Response, Failure> {
        let mut request = self
            .http
            .request(method, url)
            .header(ACCEPT, "application/json")
            .timeout(patience);
        if let Some(body) = body {
            request = request.header(CONTENT_TYPE, "application/json").body(body);
        }
        request
            .send()
            .await
            .map_err(|error| self.unreachable(&error))
    }

    fn unreachable(&self, error: &reqwest::Error) -> Failure {
        Failure::new(
            Exit::Unreachable,
            format!("can't reach Lockstep at {}", self.address()),
            "kubectl -n argocd port-forward service/lockstep 8080:http, or name another address by --server",
        )
        .why(if error.is_timeout() { "it did not answer in time".to_owned() } else { chain(error) })
    }

    /// The body, within bounds, and the server's clock.
    async fn body(&self, response: Response) -> Result<(u16, String, Time), Failure> {
        let status = response.status().as_u16();
        let now = clock(&response);
        let mut bytes = Vec::new();
        let mut stream = response.bytes_stream();
        while let Some(piece) = stream.next().await {
            let piece = piece.map_err(|error| self.unreachable(&error))?;
            if bytes.len() + piece.len() > LARGEST {
                return Err(Failure::new(
                    Exit::Unexpected,
                    format!("{} answers with more than 64 MiB", self.address()),
                    "check that it is Lockstep which listens there",
                ));
            }
            bytes.extend_from_slice(&piece);
        }
        Ok((status, String::from_utf8_lossy(&bytes).into_owned(), now))
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        url: Url,
        body: Option<String>,
        patience: Duration,
    ) -> Result<Answer<T>, Failure> {
        let response = self.send(method, url, body, patience).await?;
        let (status, text, now) = self.body(response).await?;
        if !(200..300).contains(&status) {
            return Err(self.refused(status, &text));
        }
        match serde_json::from_str(&text) {
            Ok(value) => Ok(Answer { text, value, now }),
            Err(error) => Err(self.foreign(&format!("its answer cannot be read: {error}"))),
        }
    }

    fn refused(&self, status: u16, text: &str) -> Failure {
        match serde_json::from_str::<Problem>(text) {
            Ok(problem) => Failure::of_problem(&problem),
            Err(_) => self.foreign(&format!("it answered with status {status}")),
        }
    }

    fn foreign(&self, why: &str) -> Failure {
        Failure::new(
            Exit::Unexpected,
            format!("{} does not speak this version's language", self.address()),
            "check the address (--server, LOCKSTEP_SERVER), then compare the two: lockstep version",
        )
        .why(why)
    }

    /// Reads one thing.
    pub(crate) async fn get<T: DeserializeOwned>(
        &self,
        parts: &[&str],
    ) -> Result<Answer<T>, Failure> {
        self.ask(Method::GET, self.url(parts, &[]), None, PATIENCE)
            .await
    }

    /// What paints the top of the front page.
    pub(crate) async fn overview(&self) -> Result<Answer<Overview>, Failure> {
        self.get(&["overview"]).await
    }

    /// Every app, or those of one environment, page by page.
    pub(crate) async fn apps(&self, env: Option<&str>) -> Result<Vec<AppSummary>, Failure> {
        let mut all = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let mut query = vec![("limit", "200")];
            query.extend(env.map(|env| ("env", env)));
            query.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
            let url = self.url(&["apps"], &query);
            let page: Answer<AppList> = self.ask(Method::GET, url, None, PATIENCE).await?;
            let empty = page.value.items.is_empty();
            all.extend(page.value.items);
            match page.value.cursor {
                // A server whose pages lead in a circle would keep us here for ever.
                Some(next) if !empty && cursor.as_ref() != Some(&next) => cursor = Some(next),
                _ => return Ok(all),
            }
        }
    }

    /// One app.
    pub(crate) async fn app(&self, target: &Target) -> Result<Answer<App>, Failure> {
        self.get(&["apps", &target.env, &target.app]).await
    }

    /// A part of one app: `plan`, `drift`.
    pub(crate) async fn part<T: DeserializeOwned>(
        &self,
        target: &Target,
        part: &str,
    ) -> Result<Answer<T>, Failure> {
        self.part_of(target, part, &[]).await
    }

    /// A part of one app, as much of it as the query asks for.
    pub(crate) async fn part_of<T: DeserializeOwned>(
        &self,
        target: &Target,
        part: &str,
        query: &[(&str, &str)],
    ) -> Result<Answer<T>, Failure> {
        let url = self.url(&["apps", &target.env, &target.app, part], query);
        self.ask(Method::GET, url, None, PATIENCE).await
    }

    /// Asks for something that takes its time: `sync`, `rollback`. The inner error is the problem as the server put it:
    /// one of them carries a newer plan.
    pub(crate) async fn order(
        &self,
        target: &Target,
        verb: &str,
        request: &impl Serialize,
    ) -> Result<Result<lockstep_api::Operation, Problem>, Failure> {
        let url = self.url(&["apps", &target.env, &target.app, verb], &[]);
        let body =
            serde_json::to_string(request).map_err(|error| self.foreign(&error.to_string()))?;
        let response = self.send(Method::POST, url, Some(body), PATIENCE).await?;
        let (status, text, _) = self.body(response).await?;
        if (200..300).contains(&status) {
            let foreign = |error: serde_json::Error| {
                self.foreign(&format!("its answer cannot be read: {error}"))
            };
            // A board that lags behind the engine knows no more than the operation's id.
            if let Ok(operation) = serde_json::from_str(&text) {
                return Ok(Ok(operation));
            }
            let begun: Begun = serde_json::from_str(&text).map_err(foreign)?;
            return Ok(Ok(self.operation(&begun.id).await?.value));
        }
        match serde_json::from_str(&text) {
            Ok(problem) => Ok(Err(problem)),
            Err(_) => Err(self.foreign(&format!("it answered with status {status}"))),
        }
    }

    /// Asks for something that is done at once, and reads what the app is then.
    pub(crate) async fn tell(
        &self,
        target: &Target,
        verb: &str,
        request: &impl Serialize,
    ) -> Result<Answer<App>, Failure> {
        let url = self.url(&["apps", &target.env, &target.app, verb], &[]);
        let body =
            serde_json::to_string(request).map_err(|error| self.foreign(&error.to_string()))?;
        let answer = self.ask(Method::POST, url, Some(body), PATIENCE).await;
        answer.map_err(|failure| failure.state("nothing was changed"))
    }

    /// An operation as it is now.
    pub(crate) async fn operation(
        &self,
        id: &str,
    ) -> Result<Answer<lockstep_api::Operation>, Failure> {
        self.get(&["operations", id]).await
    }

    /// The doorbell: rings when any app changed.
    pub(crate) async fn doorbell(&self) -> Result<Doorbell, Failure> {
        let url = self.url(&["stream"], &[]);
        let request = self.http.get(url).header(ACCEPT, "text/event-stream");
        let response = request
            .send()
            .await
            .map_err(|error| self.unreachable(&error))?;
        if !response.status().is_success() {
            let (status, text, _) = self.body(response).await?;
            return Err(self.refused(status, &text));
        }
        Ok(Doorbell {
            stream: Box::pin(response.bytes_stream().map(|piece| piece.is_ok())),
        })
    }
}

/// A stream of events of which only the arrival counts: whoever hears it looks for himself.
pub(crate) struct Doorbell {
    stream: std::pin::Pin<Box<dyn futures::Stream<Item = bool> + Send>>,
}

/// A ring that is lost costs this long.
const LOST_RING: Duration = Duration::from_secs(5);

impl Doorbell {
    /// Waits for a ring, but never for long.
    pub(crate) async fn rings(&mut self) {
        let rung = tokio::time::timeout(LOST_RING, self.stream.next()).await;
        if matches!(rung, Ok(None | Some(false))) {
            // The stream has ended, and will answer at once from now on: keep to a pace.
            self.stream = Box::pin(futures::stream::pending());
        }
    }
}

/// The server's clock, from its answer; ours when it has none.
fn clock(response: &Response) -> Time {
    let date = response
        .headers()
        .get(DATE)
        .and_then(|value| value.to_str().ok());
    let read = date.and_then(|text| {
        jiff::fmt::rfc2822::DateTimeParser::new()
            .parse_timestamp(text)
            .ok()
    });
    read.unwrap_or_else(jiff::Timestamp::now).into()
}

/// What an error says with its causes, each once.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut said = Vec::new();
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = next {
        said.push(error.to_string());
        next = error.source();
    }
    // The outermost ones repeat the address, the innermost one says what happened.
    said.pop().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(address: &str) -> Server {
        let _installed = rustls::crypto::ring::default_provider().install_default();
        let token = Sensitive::new("t".to_owned());
        Server::new(address, Some(&token)).unwrap_or_else(|failure| panic!("{}", failure.text()))
    }

    #[test]
    fn a_name_cannot_leave_its_place_in_the_address() {
        let url = server("http://127.0.0.1:8080/below/")
            .url(&["apps", "../x", "a b?c#d"], &[("q", "1&2")]);
        assert_eq!(
            url.as_str(),
            "http://127.0.0.1:8080/below/api/v1/apps/..%2Fx/a%20b%3Fc%23d?q=1%262"
        );
    }

    #[test]
    fn only_a_token_that_leaves_the_machine_in_the_clear_is_worth_a_warning() {
        assert!(server("http://lockstep.example").exposes_token());
        assert!(!server("https://lockstep.example").exposes_token());
        assert!(!server("http://127.0.0.1:1").exposes_token());
    }

    #[test]
    fn credentials_in_the_address_are_refused() {
        assert!(Server::new("http://user:secret@host", None).is_err());
        assert!(Server::new("ftp://host", None).is_err());
    }
}
