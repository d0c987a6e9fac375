//! What can go wrong between us and a git remote: where, whose move it is, and the next step.
//!
//! No text in here is ever taken from a server: a remote's own words may hold a user name, a token or a whole URL.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use lockstep_app::app::{RemoteUrl, Revision};
use lockstep_app::{Blame, Fault};

/// A remote could not be read, or a commit could not be brought here.
///
/// Shape: cheap to clone, because callers that share one request also share its failure.
#[derive(Clone, Debug, thiserror::Error)]
pub enum FetchError {
    /// No answer that could be used.
    #[error("cannot reach {remote}")]
    Unreachable {
        /// Which repository.
        remote: RemoteUrl,
        /// How it failed.
        #[source]
        why: Why,
    },
    /// 401 or 403.
    #[error("{remote} answered {status}: {}", match secret {
        Some(secret) => format!("it refused the credentials in Secret {secret}"),
        None => "it wants credentials, and no repository Secret matches its address".to_owned(),
    })]
    Refused {
        /// Which repository.
        remote: RemoteUrl,
        /// The Secret whose credentials were sent, as `namespace/name`.
        secret: Option<String>,
        /// 401 or 403.
        status: u16,
    },
    /// Credentials would travel in the clear, so they were not sent.
    #[error(
        "the credentials in Secret {secret} are not sent to {remote}: plain http shows them to every hop"
    )]
    PlainHttp {
        /// Which repository.
        remote: RemoteUrl,
        /// The Secret which they are in.
        secret: String,
    },
    /// 429, or a 403 that names a time to come back.
    #[error("{remote} asks us to slow down{}", match retry_after {
        Some(wait) => format!(" for {} s", wait.as_secs()),
        None => String::new(),
    })]
    RateLimited {
        /// Which repository.
        remote: RemoteUrl,
        /// How long it asked us to wait, when it said so.
        retry_after: Option<Duration>,
    },
    /// 404 or 410. Most hosts answer so for a private repository, too.
    #[error("{remote} answered 404: there is no such repository, or {}", match secret {
        Some(secret) => format!("the credentials in Secret {secret} may not see it"),
        None => "it is private and no repository Secret matches its address".to_owned(),
    })]
    NoSuchRepository {
        /// Which repository.
        remote: RemoteUrl,
        /// The Secret whose credentials were sent.
        secret: Option<String>,
    },
    /// Something answers there, and it is not git over smart HTTP.
    #[error("{remote} answers, but not as a git server")]
    NotGit {
        /// Which address.
        remote: RemoteUrl,
    },
    /// The repository moved. Redirects are not followed: credentials belong to one address.
    #[error("{remote} redirects to {}, and redirects are not followed", match to {
        Some(to) => to.as_str(),
        None => "another address",
    })]
    Redirected {
        /// Which repository.
        remote: RemoteUrl,
        /// Where to, when that is an address which could be used instead.
        to: Option<RemoteUrl>,
    },
    /// The target names nothing.
    #[error(
        "{target:?} names no branch, tag or commit of {remote}{}",
        near_names(near)
    )]
    NoSuchTarget {
        /// Which repository.
        remote: RemoteUrl,
        /// The target, as written.
        target: String,
        /// Names that are much like it, nearest first.
        near: Vec<String>,
    },
    /// The target names more than one thing.
    #[error("{target:?} is ambiguous in {remote}: it could be {}", names.join(" or "))]
    Ambiguous {
        /// Which repository.
        remote: RemoteUrl,
        /// The target, as written.
        target: String,
        /// Everything it could be: full ref names, or complete commit ids.
        names: Vec<String>,
    },
    /// The object exists and is no commit.
    #[error("{revision} of {remote} is no commit")]
    NotACommit {
        /// Which repository.
        remote: RemoteUrl,
        /// Which object.
        revision: Revision,
    },
    /// Over one of our limits.
    #[error("{what} of {remote} is larger than the limit of {limit}")]
    TooLarge {
        /// Which repository.
        remote: RemoteUrl,
        /// What is too large.
        what: &'static str,
        /// The limit, with its unit.
        limit: String,
    },
    /// Our own deadline came first.
    #[error("{doing} {remote} did not end within {} s", after.as_secs_f32())]
    TimedOut {
        /// Which repository.
        remote: RemoteUrl,
        /// What was going on: `listing` or `fetching`.
        doing: &'static str,
        /// The deadline.
        after: Duration,
    },
    /// No room in the cache directory.
    #[error("no room in the git cache for {remote}")]
    DiskFull {
        /// Which repository.
        remote: RemoteUrl,
    },
    /// The cache directory cannot be used.
    #[error("cannot use the git cache of {remote}")]
    Storage {
        /// Which repository.
        remote: RemoteUrl,
        /// What the operating system said.
        #[source]
        cause: Arc<io::Error>,
    },
    /// What arrived, or what is stored, is not what its checksums say.
    #[error("{remote}: {what}")]
    Corrupt {
        /// Which repository.
        remote: RemoteUrl,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The server lacks something that we cannot do without.
    #[error("the server of {remote} {what}")]
    Unsupported {
        /// Which repository.
        remote: RemoteUrl,
        /// What it lacks, as the rest of the sentence.
        what: &'static str,
    },
}

/// How a remote could not be reached.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    /// Nobody listens there.
    #[error("connection refused")]
    ConnectionRefused,
    /// No connection: the name is not known, or there is no way to the host.
    #[error("the host name is not known, or there is no route to it")]
    NoConnection,
    /// No connection in time.
    #[error("no connection within the time allowed")]
    Silent,
    /// TLS failed; the text is our own library's, not the server's.
    #[error("TLS: {0}")]
    Tls(String),
    /// The connection ended in the middle of an answer.
    #[error("the connection broke off")]
    BrokeOff,
    /// An HTTP status that says nothing about the repository.
    #[error("HTTP status {0}")]
    Status(u16),
    /// Git on the other side reported a failure.
    #[error("the git server reported an error of its own")]
    ServerError,
}

fn near_names(near: &[String]) -> String {
    if near.is_empty() {
        String::new()
    } else {
        format!("; near it: {}", near.join(", "))
    }
}

impl FetchError {
    /// Whose move it is.
    pub fn blame(&self) -> Blame {
        match self {
            Self::Refused { .. }
            | Self::PlainHttp { .. }
            | Self::NoSuchRepository { .. }
            | Self::NotGit { .. }
            | Self::Redirected { .. }
            | Self::NoSuchTarget { .. }
            | Self::Ambiguous { .. }
            | Self::NotACommit { .. }
            | Self::TooLarge { .. }
            | Self::Unsupported { .. } => Blame::User,
            Self::Unreachable { .. }
            | Self::RateLimited { .. }
            | Self::TimedOut { .. }
            | Self::DiskFull { .. }
            | Self::Storage { .. }
            | Self::Corrupt { .. } => Blame::Environment,
        }
    }

    /// The reason's code, which is what machines read.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => "repo.unreachable",
            Self::Refused { .. } => "repo.refused",
            Self::PlainHttp { .. } => "repo.plain_http",
            Self::RateLimited { .. } => "repo.rate_limited",
            Self::NoSuchRepository { .. } => "repo.not_found",
            Self::NotGit { .. } => "repo.not_git",
            Self::Redirected { .. } => "repo.redirected",
            Self::NoSuchTarget { .. } => "repo.no_such_target",
            Self::Ambiguous { .. } => "repo.ambiguous_target",
            Self::NotACommit { .. } => "repo.not_a_commit",
            Self::TooLarge { .. } => "repo.too_large",
            Self::TimedOut { .. } => "repo.timed_out",
            Self::DiskFull { .. } => "repo.disk_full",
            Self::Storage { .. } => "repo.storage",
            Self::Corrupt { .. } => "repo.corrupt",
            Self::Unsupported { .. } => "repo.unsupported",
        }
    }

    /// What the reader can do, as an imperative sentence.
    pub fn hint(&self) -> String {
        match self {
            Self::Unreachable { why: Why::Tls(_), .. } => {
                "Check the host's certificate, or add its authority to the certificates that the daemon's image trusts"
                    .to_owned()
            }
            Self::Unreachable { why: Why::Status(_) | Why::ServerError | Why::BrokeOff, .. } => {
                "Look at the git host; it is asked again with growing pauses, and nothing changes until it answers"
                    .to_owned()
            }
            Self::Unreachable { .. } => {
                "Check the address, the DNS and the network policy between here and the host; it is asked again with growing pauses"
                    .to_owned()
            }
            Self::Refused { secret: Some(secret), .. } => {
                format!("Put credentials that may read the repository into Secret {secret}")
            }
            Self::Refused { secret: None, .. } | Self::NoSuchRepository { secret: None, .. } => {
                "Check the address, or create a Secret labelled `argocd.argoproj.io/secret-type: repository` with url, username and password"
                    .to_owned()
            }
            Self::PlainHttp { .. } => {
                "Write the address with https://; credentials go over plain http to this machine only".to_owned()
            }
            Self::RateLimited { .. } => {
                "Wait, or give the repository credentials of its own; hosts allow much more to known users".to_owned()
            }
            Self::NoSuchRepository { secret: Some(secret), .. } => {
                format!("Check the address, and what the account in Secret {secret} may read")
            }
            Self::NotGit { .. } => {
                "Give the address that `git clone` takes, not that of a web page about the repository".to_owned()
            }
            Self::Redirected { to: Some(to), .. } => format!("Write {to} instead"),
            Self::Redirected { to: None, .. } => "Write the address that the repository has now".to_owned(),
            Self::NoSuchTarget { target, .. } if looks_like_a_range(target) => {
                "Name a branch, a tag or a commit; version ranges are not acted on by this version".to_owned()
            }
            Self::NoSuchTarget { target, .. } if looks_like_a_prefix(target) => {
                "Write the complete commit id; a shortened one is only known for commits that were fetched before"
                    .to_owned()
            }
            Self::NoSuchTarget { .. } => {
                "Correct `targetRevision`, or push the branch or tag; nothing is changed or pruned until then".to_owned()
            }
            Self::Ambiguous { names, .. } => match names.first() {
                Some(name) => format!("Write one of the full names, such as {name}, as `targetRevision`"),
                None => "Write the full name as `targetRevision`".to_owned(),
            },
            Self::NotACommit { .. } => "Name a commit, or a tag that points to one".to_owned(),
            Self::TooLarge { .. } => {
                "Move large files out of the repository, or raise `git.limits` in the configuration".to_owned()
            }
            Self::TimedOut { .. } => {
                "Look at the git host and the network; it is asked again with growing pauses".to_owned()
            }
            Self::DiskFull { .. } => "Give the cache volume more room".to_owned(),
            Self::Storage { .. } => "Check the cache volume: is it mounted, writable and whole?".to_owned(),
            Self::Corrupt { .. } => {
                "Run `git fsck` on the server if it stays; what is stored here is thrown away and fetched again".to_owned()
            }
            Self::Unsupported { .. } => "Host the repository on a server with git 2.18 or later".to_owned(),
        }
    }

    /// The same as page, CLI, REST and conditions say it.
    pub fn fault(&self) -> Fault {
        let mut message = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            message.push_str(": ");
            message.push_str(&error.to_string());
            cause = error.source();
        }
        Fault::new(self.blame(), self.code(), message).hint(self.hint())
    }
}

/// Characters that a ref name cannot hold, or that only version ranges begin with.
fn looks_like_a_range(target: &str) -> bool {
    target.contains(['*', '^', '~', '>', '<', ' ', '|']) || target.starts_with('=')
}

pub(crate) fn looks_like_a_prefix(target: &str) -> bool {
    (SHORTEST_PREFIX..64).contains(&target.len()) && target.bytes().all(|b| b.is_ascii_hexdigit())
}

/// The fewest digits that are taken for a shortened commit id, as in Argo CD.
const SHORTEST_PREFIX: usize = 7;

/// The sources could not be set up at all.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The cache directory cannot be made or read.
    #[error("cannot use {} as the git cache", path.display())]
    Directory {
        /// Which directory.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        cause: io::Error,
    },
    /// Another process holds the directory.
    #[error("the git cache {} is in use by another process", path.display())]
    InUse {
        /// Which directory.
        path: PathBuf,
    },
    /// The file with further certificate authorities.
    #[error("cannot use the certificates in {}", path.display())]
    Authorities {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The HTTP client.
    #[error("cannot set up HTTP and TLS")]
    Client(#[source] reqwest::Error),
    /// `main` has to install one before anything opens TLS.
    #[error("no TLS provider is installed in this process")]
    NoTlsProvider,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remote() -> RemoteUrl {
        "https://git.example/shop".parse().expect("an address")
    }

    #[test]
    fn a_fault_tells_the_cause_once_and_whose_move_it_is() {
        let error = FetchError::Unreachable {
            remote: remote(),
            why: Why::Status(503),
        };
        let fault = error.fault();
        assert_eq!(
            fault.message,
            "cannot reach https://git.example/shop: HTTP status 503"
        );
        assert_eq!(fault.blame, Blame::Environment);
        assert_eq!(fault.code, "repo.unreachable");
        assert!(fault.hint.is_some());
    }

    #[test]
    fn a_refusal_names_the_secret_or_says_that_none_matched() {
        let refused = |secret: Option<&str>| FetchError::Refused {
            remote: remote(),
            secret: secret.map(str::to_owned),
            status: 403,
        };
        assert!(
            refused(Some("argocd/shop-repo"))
                .to_string()
                .contains("Secret argocd/shop-repo")
        );
        assert!(
            refused(None)
                .to_string()
                .contains("no repository Secret matches")
        );
    }

    #[test]
    fn a_version_range_is_told_apart_from_a_missing_branch() {
        let hint = |target: &str| {
            FetchError::NoSuchTarget {
                remote: remote(),
                target: target.to_owned(),
                near: vec![],
            }
            .hint()
        };
        assert!(hint("1.2.*").contains("version ranges"));
        assert!(hint("0a1b2c3").contains("complete commit id"));
        assert!(hint("mian").contains("targetRevision"));
    }
}
