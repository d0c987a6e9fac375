//! A server for scripts: HTTP/1.1 on loopback, one thread a connection. It answers discovery by itself.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use lockstep_cluster::{Cluster, ClusterError, Connect};
use serde_json::{Value, json};

/// What is answered.
pub(crate) struct Reply {
    status: u16,
    body: String,
    end: End,
    warning: Option<String>,
}

/// How the answer ends.
#[derive(PartialEq)]
enum End {
    /// It is whole.
    Whole,
    /// A stream that ends in good order.
    Ended,
    /// A stream that stays open.
    Open,
}

impl Reply {
    fn new(status: u16, body: String, end: End) -> Self {
        Self {
            status,
            body,
            end,
            warning: None,
        }
    }

    pub(crate) fn json(status: u16, body: Value) -> Self {
        Self::new(status, body.to_string(), End::Whole)
    }

    pub(crate) fn text(status: u16, body: &str) -> Self {
        Self::new(status, body.to_owned(), End::Whole)
    }

    pub(crate) fn status(status: u16, reason: &str) -> Self {
        Self::json(
            status,
            json!({"kind": "Status", "reason": reason, "code": status}),
        )
    }

    pub(crate) fn stream(body: String) -> Self {
        Self::new(200, body, End::Open)
    }

    pub(crate) fn ended(body: String) -> Self {
        Self::new(200, body, End::Ended)
    }

    pub(crate) fn warning(mut self, text: &str) -> Self {
        self.warning = Some(text.to_owned());
        self
    }
}

/// One request.
struct Asked {
    line: String,
    head: String,
    body: String,
}

type Script = dyn Fn(&str, usize) -> Reply + Send + Sync;

/// The server.
pub(crate) struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    directory: tempfile::TempDir,
}

struct Shared {
    script: Box<Script>,
    asked: Mutex<Vec<Asked>>,
    discovery_broken: AtomicBool,
}

impl Server {
    /// Starts one. The script gets `METHOD path?query` and the how manieth request it is, discovery not counted.
    pub(crate) fn start(script: impl Fn(&str, usize) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let shared = Arc::new(Shared {
            script: Box::new(script),
            asked: Mutex::default(),
            discovery_broken: AtomicBool::new(false),
        });
        let of_thread = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&of_thread);
                std::thread::spawn(move || shared.serve(stream));
            }
        });
        Self {
            address,
            shared,
            directory: tempfile::tempdir().expect("a directory"),
        }
    }

    /// A way to it, with this user.
    pub(crate) fn kubeconfig(&self, user: Value) -> Connect {
        let file = self.directory.path().join("kubeconfig");
        let text = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "c", "cluster": {"server": format!("http://{}", self.address)}}],
            "users": [{"name": "u", "user": user}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        });
        std::fs::write(&file, text.to_string()).expect("the directory is ours");
        Connect {
            kubeconfig: Some(file),
            ..Connect::default()
        }
    }

    pub(crate) async fn connect(&self) -> Result<Cluster, ClusterError> {
        Cluster::connect(self.kubeconfig(json!({}))).await
    }

    /// From now on it cannot say what it serves.
    pub(crate) fn break_discovery(&self) {
        self.shared.discovery_broken.store(true, Ordering::SeqCst);
    }

    /// What was asked, discovery left out.
    pub(crate) fn asked(&self) -> Vec<String> {
        let asked = self.shared.asked.lock().expect("no script panics with it");
        asked.iter().map(|asked| asked.line.clone()).collect()
    }

    /// The headers that came with it.
    pub(crate) fn heads(&self) -> Vec<String> {
        let asked = self.shared.asked.lock().expect("no script panics with it");
        asked.iter().map(|asked| asked.head.clone()).collect()
    }

    /// What was sent with it.
    pub(crate) fn bodies(&self) -> Vec<Value> {
        let asked = self.shared.asked.lock().expect("no script panics with it");
        asked
            .iter()
            .map(|asked| serde_json::from_str(&asked.body).unwrap_or_default())
            .collect()
    }
}

impl Shared {
    fn serve(&self, stream: TcpStream) {
        let mut writer = stream.try_clone().expect("a socket can be shared");
        let mut reader = BufReader::new(stream);
        while let Some(asked) = read(&mut reader) {
            let reply = self.reply(asked);
            if answer(&mut writer, &reply).is_err() {
                return;
            }
            if reply.end == End::Open {
                // Until the client goes away.
                let _gone = reader.read_to_end(&mut Vec::new());
                return;
            }
        }
    }

    fn reply(&self, one: Asked) -> Reply {
        let line = one.line.clone();
        if line == "GET /api" || line == "GET /apis" {
            if self.discovery_broken.load(Ordering::SeqCst) {
                return Reply::status(500, "InternalError");
            }
            let verbs = ["get", "list", "watch", "patch"];
            let resource = json!({"resource": "configmaps", "scope": "Namespaced", "verbs": verbs,
                                  "responseKind": {"group": "", "version": "", "kind": "ConfigMap"}});
            let core = json!({"metadata": {}, "versions": [{"version": "v1", "freshness": "Current", "resources": [resource]}]});
            let resource = json!({"resource": "leases", "scope": "Namespaced", "verbs": verbs,
                                  "responseKind": {"group": "coordination.k8s.io", "version": "v1", "kind": "Lease"}});
            let leases = json!({"metadata": {"name": "coordination.k8s.io"},
                                "versions": [{"version": "v1", "freshness": "Current", "resources": [resource]}]});
            let items = if line == "GET /api" {
                vec![core]
            } else {
                vec![leases]
            };
            return Reply::json(
                200,
                json!({"kind": "APIGroupDiscoveryList", "items": items}),
            );
        }
        let count = {
            let mut asked = self.asked.lock().expect("no script panics with it");
            asked.push(one);
            asked.len()
        };
        (self.script)(&line, count)
    }
}

fn read(reader: &mut BufReader<TcpStream>) -> Option<Asked> {
    let mut first = String::new();
    reader.read_line(&mut first).ok().filter(|read| *read > 0)?;
    let mut head = String::new();
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
        if line.trim().is_empty() {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        head.push_str(&line);
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Asked {
        line: first.rsplit_once(' ')?.0.to_owned(),
        head,
        body: String::from_utf8_lossy(&body).into_owned(),
    })
}

fn answer(writer: &mut TcpStream, reply: &Reply) -> std::io::Result<()> {
    let Reply {
        status,
        body,
        end,
        warning,
    } = reply;
    write!(
        writer,
        "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\n"
    )?;
    if let Some(text) = warning {
        write!(writer, "Warning: 299 - \"{text}\"\r\n")?;
    }
    if *end == End::Whole {
        write!(writer, "Content-Length: {}\r\n\r\n{body}", body.len())?;
        return writer.flush();
    }
    write!(writer, "Transfer-Encoding: chunked\r\n\r\n")?;
    if !body.is_empty() {
        write!(writer, "{:x}\r\n{body}\r\n", body.len())?;
    }
    if *end == End::Ended {
        write!(writer, "0\r\n\r\n")?;
    }
    writer.flush()
}
