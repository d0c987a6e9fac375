//! A git host for tests: smart HTTP over `git http-backend`, with the ways in which hosts misbehave.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard};

use lockstep_app::app::{Login, RemoteUrl};
use lockstep_manifest::Sensitive;

/// How the host answers.
#[derive(Clone, Debug, Default)]
pub(crate) enum Manner {
    /// As git does.
    #[default]
    Well,
    /// With this status, these further headers, and nothing else.
    Status(u16, Vec<(&'static str, String)>),
    /// Never.
    Hang,
    /// A POST: never; a GET as git does.
    HangOnPost,
    /// What git says, cut off after so many bytes of an answer that is longer.
    Truncated(usize),
    /// What git says, with one bit of a long answer flipped.
    Flipped,
    /// A page for people.
    Html,
    /// As git does, under the address with `.git`; the address without is redirected there.
    Suffixed,
    /// As git before protocol 2.
    Protocol0,
}

/// A request that came.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) protocol: String,
    pub(crate) authorization: Option<String>,
    pub(crate) body: Vec<u8>,
}

impl Request {
    fn header(lines: &[String], name: &str) -> Option<String> {
        lines.iter().find_map(|line| {
            let (is, value) = line.split_once(':')?;
            is.eq_ignore_ascii_case(name)
                .then(|| value.trim().to_owned())
        })
    }
}

#[derive(Default)]
struct State {
    manner: Mutex<Manner>,
    account: Mutex<Option<(String, String)>>,
    requests: Mutex<Vec<Request>>,
}

/// A host with one repository, `/shop.git`, also served as `/shop`, and a folder to work in.
pub(crate) struct Host {
    pub(crate) root: tempfile::TempDir,
    address: SocketAddr,
    state: Arc<State>,
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no test thread panics with it")
}

impl Host {
    pub(crate) fn new() -> Self {
        Self::with_format("sha1")
    }

    pub(crate) fn with_format(format: &str) -> Self {
        // Whichever test comes first installs it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let root = tempfile::tempdir().expect("a folder");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let state = Arc::new(State::default());
        let host = Self {
            root,
            address,
            state: Arc::clone(&state),
        };
        host.git(
            host.root.path(),
            &[
                "init",
                "-q",
                "--bare",
                "--object-format",
                format,
                "-b",
                "main",
                "shop.git",
            ],
        );
        host.git(
            &host.bare(),
            &["config", "uploadpack.allowAnySHA1InWant", "true"],
        );
        host.git(
            host.root.path(),
            &[
                "init",
                "-q",
                "--object-format",
                format,
                "-b",
                "main",
                "work",
            ],
        );
        host.git(&host.work(), &["remote", "add", "origin", "../shop.git"]);
        let folder = host.root.path().to_owned();
        // It ends with the test process; a connection ends when its client goes.
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (state, folder) = (Arc::clone(&state), folder.clone());
                std::thread::spawn(move || serve(stream, &state, &folder));
            }
        });
        host
    }

    pub(crate) fn bare(&self) -> PathBuf {
        self.root.path().join("shop.git")
    }

    pub(crate) fn work(&self) -> PathBuf {
        self.root.path().join("work")
    }

    pub(crate) fn remote(&self) -> RemoteUrl {
        self.remote_at("shop.git")
    }

    pub(crate) fn remote_at(&self, path: &str) -> RemoteUrl {
        format!("http://{}/{path}", self.address)
            .parse()
            .expect("an address")
    }

    pub(crate) fn behave(&self, manner: Manner) {
        *held(&self.state.manner) = manner;
    }

    pub(crate) fn ask_for(&self, user: &str, password: &str) {
        *held(&self.state.account) = Some((user.to_owned(), password.to_owned()));
    }

    pub(crate) fn take_requests(&self) -> Vec<Request> {
        std::mem::take(&mut *held(&self.state.requests))
    }

    /// Runs git, apart from the machine's own configuration.
    pub(crate) fn git(&self, folder: &Path, arguments: &[&str]) -> String {
        let output = Command::new("git")
            .args(arguments)
            .current_dir(folder)
            .env("HOME", self.root.path())
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_AUTHOR_NAME", "Ada Author")
            .env("GIT_AUTHOR_EMAIL", "ada@git.example")
            .env("GIT_AUTHOR_DATE", "1700000000 +0000")
            .env("GIT_COMMITTER_NAME", "Carl Committer")
            .env("GIT_COMMITTER_EMAIL", "carl@git.example")
            .env("GIT_COMMITTER_DATE", "1700000060 +0100")
            .output()
            .expect("git is installed");
        assert!(
            output.status.success(),
            "git {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Writes a file of the work tree.
    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.work().join(path);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        std::fs::write(path, text).expect("written");
    }

    /// Commits everything and pushes it to `branch`; the commit's id.
    pub(crate) fn push(&self, branch: &str, message: &str) -> String {
        self.git(&self.work(), &["add", "-A"]);
        self.git(
            &self.work(),
            &["commit", "-q", "--allow-empty", "-m", message],
        );
        self.git(
            &self.work(),
            &[
                "push",
                "-q",
                "--force",
                "origin",
                &format!("HEAD:refs/heads/{branch}"),
            ],
        );
        self.git(&self.work(), &["rev-parse", "HEAD"])
    }
}

/// An account, as a repository Secret gives it.
pub(crate) fn login(user: &str, password: &str) -> Login {
    Login {
        user: user.to_owned(),
        password: Sensitive::new(password.to_owned()),
        secret: "argocd/shop-repo".to_owned(),
    }
}

fn serve(stream: TcpStream, state: &State, root: &Path) {
    let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
    let mut writer = stream;
    writer.set_nodelay(true).expect("a socket");
    while let Some((request, headers)) = next_request(&mut reader) {
        held(&state.requests).push(request.clone());
        let manner = held(&state.manner).clone();
        let account = held(&state.account).clone();
        let allowed = account.is_none_or(|(user, password)| {
            use base64::Engine as _;
            let pair =
                base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
            request.authorization.as_deref() == Some(&format!("Basic {pair}"))
        });
        let hang = matches!(manner, Manner::Hang)
            || (matches!(manner, Manner::HangOnPost) && request.method == "POST");
        if hang {
            let mut rest = Vec::new();
            let _ = reader.read_to_end(&mut rest);
            return;
        }
        let answer = if let Manner::Status(status, headers) = &manner {
            answer(*status, headers, b"")
        } else if let Manner::Html = manner {
            answer(
                200,
                &[("Content-Type", "text/html".to_owned())],
                b"<html>Shop</html>",
            )
        } else if matches!(manner, Manner::Suffixed) && !request.path.starts_with("/shop.git/") {
            let to = request.path.replacen("/shop/", "/shop.git/", 1);
            answer(301, &[("Location", to)], b"")
        } else if allowed {
            let old = matches!(manner, Manner::Protocol0);
            backend(&request, &headers, root, old)
        } else {
            answer(
                401,
                &[("WWW-Authenticate", "Basic realm=\"git\"".to_owned())],
                b"",
            )
        };
        match manner {
            Manner::Truncated(bytes) if answer.len() > bytes => {
                let _ = writer.write_all(&answer[..bytes]);
                return;
            }
            Manner::Flipped if answer.len() > 600 => {
                let mut answer = answer;
                let place = answer.len() - 100;
                answer[place] ^= 1;
                let _ = writer.write_all(&answer);
            }
            _ => {
                if writer.write_all(&answer).is_err() {
                    return;
                }
            }
        }
    }
}

fn next_request(reader: &mut BufReader<TcpStream>) -> Option<(Request, Vec<String>)> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let line = line.trim_end().to_owned();
        if line.is_empty() {
            break;
        }
        lines.push(line);
    }
    let mut words = lines.first()?.split(' ');
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let length = Request::header(&lines, "content-length")
        .and_then(|length| length.parse().ok())
        .unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let request = Request {
        method,
        path,
        protocol: Request::header(&lines, "git-protocol").unwrap_or_default(),
        authorization: Request::header(&lines, "authorization"),
        body,
    };
    Some((request, lines))
}

fn answer(status: u16, headers: &[(&str, String)], body: &[u8]) -> Vec<u8> {
    let mut answer = format!(
        "HTTP/1.1 {status} Said\r\nContent-Length: {}\r\n",
        body.len()
    );
    for (name, value) in headers {
        answer.extend([*name, ": ", value, "\r\n"]);
    }
    answer.push_str("\r\n");
    let mut answer = answer.into_bytes();
    answer.extend_from_slice(body);
    answer
}

fn backend(request: &Request, headers: &[String], root: &Path, old: bool) -> Vec<u8> {
    let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
    let path = if path.starts_with("/shop/") {
        path.replacen("/shop/", "/shop.git/", 1)
    } else {
        path.to_owned()
    };
    let mut child = Command::new("git")
        .arg("http-backend")
        .env("HOME", root)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("GIT_PROTOCOL", if old { "" } else { &request.protocol })
        .env("REQUEST_METHOD", &request.method)
        .env("PATH_INFO", &path)
        .env("QUERY_STRING", query)
        .env(
            "CONTENT_TYPE",
            Request::header(headers, "content-type").unwrap_or_default(),
        )
        .env("CONTENT_LENGTH", request.body.len().to_string())
        .env("REMOTE_ADDR", "127.0.0.1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("git is installed");
    let mut stdin = child.stdin.take().expect("a pipe");
    let body = request.body.clone();
    let feeding = std::thread::spawn(move || stdin.write_all(&body));
    let output = child.wait_with_output().expect("it ends");
    let _ = feeding.join();
    let end = output
        .stdout
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .expect("CGI headers");
    let head = String::from_utf8_lossy(&output.stdout[..end]).into_owned();
    let mut status = 200;
    let mut headers = Vec::new();
    for line in head.lines() {
        let (name, value) = line.split_once(": ").expect("a header");
        if name == "Status" {
            status = value[..3].parse().expect("a status");
        } else {
            headers.push((name, value.to_owned()));
        }
    }
    answer(status, &headers, &output.stdout[end + 4..])
}
