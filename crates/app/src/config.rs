//! The daemon's configuration: one documented file, read whole, with every error told at once and in its place.
//!
//! [`ConfigFile`] is the text as written, [`Config`] what it means. `config/lockstep.yaml` holds every key.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::Duration;

use lockstep_manifest::Place;
use lockstep_manifest::yaml;
use serde_json::Value;

use crate::lower::DEFAULT_ENVIRONMENT;
use crate::policy::{DeletionPolicy, DriftPolicy, NewCommitPolicy, PruneBudget};
use crate::schema;
use crate::spec_error::{self, SpecError};
use crate::spelling;
use crate::units;

mod applications;
mod file;

pub use crate::units::ByteSize;
pub use applications::{Problem, validate_applications};
pub use file::{
    ConfigFile, EnvironmentFile, GitFile, GitLimitsFile, HttpFile, HttpLimitsFile, SecretFile,
    WebhookFile,
};

/// A configuration of this size holds thousands of environments; a larger file is another file.
const LARGEST: usize = 1 << 20;

static SCHEMA: LazyLock<Value> = LazyLock::new(schema::of::<ConfigFile>);

/// What the daemon does, and how.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Where Applications, projects and their Secrets live.
    pub namespace: String,
    /// Directories of Application files that are applied to the cluster, at start and on change.
    pub applications: Vec<PathBuf>,
    /// The page and the REST interface.
    pub http: Http,
    /// How git is asked.
    pub git: Git,
    /// Where the webhook's secret is; none: the webhook refuses everything.
    pub webhook: Option<Webhook>,
    /// In the order of promotion.
    pub environments: Environments,
}

/// The page and the REST interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Http {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Who may look.
    pub access: Access,
    /// What one client may cost.
    pub limits: HttpLimits,
}

/// Who may look at the page and read by REST. Writing always takes a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// Whoever has a token.
    Token,
    /// Whoever reaches the port.
    Open,
}

/// What one client may cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpLimits {
    /// The largest body of a request.
    pub body: ByteSize,
    /// Requests that are worked on at the same time.
    pub requests: usize,
    /// Pages that are kept up to date at the same time.
    pub streams: usize,
    /// How long one request may take, streams aside.
    pub timeout: Duration,
}

/// How git is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Git {
    /// How often each remote is asked for news.
    pub poll: Duration,
    /// Up to how much longer that takes, by chance, so that not all remotes are asked at once.
    pub jitter: Duration,
    /// How long one answer may take.
    pub timeout: Duration,
    /// May kustomizations name any repository that their project allows by `*`?
    pub remote_bases: bool,
    /// What one repository may cost.
    pub limits: GitLimits,
}

/// What one repository may cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GitLimits {
    /// Remotes that are fetched from at the same time.
    pub fetches: usize,
    /// The most that one fetch may bring.
    pub size: ByteSize,
    /// The most files in one revision.
    pub files: usize,
    /// The largest file that is read.
    pub file_size: ByteSize,
}

/// Where the webhook's secret is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Webhook {
    /// In a key of a Secret of the daemon's namespace.
    Secret {
        /// The Secret's name.
        name: String,
        /// Its key.
        key: String,
    },
    /// In a file.
    File(PathBuf),
}

/// What may happen by itself in one environment. An axis that is not given leaves it to the Application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Environment {
    /// Its name, as in the label `lockstep.dev/environment`.
    pub name: String,
    /// On a new commit.
    pub new_commit: Option<NewCommitPolicy>,
    /// On drift.
    pub drift: Option<DriftPolicy>,
    /// On an object gone from git.
    pub deletion: Option<DeletionPolicy>,
    /// How many deletions of one app go without a person.
    pub prune_budget: Option<PruneBudget>,
}

/// The environments, in the order of promotion.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environments(Vec<Environment>);

impl Environments {
    /// Takes them in this order. Names are unique; [`parse`] has seen to it.
    pub fn new(list: Vec<Environment>) -> Self {
        Self(list)
    }

    /// The one of this name.
    pub fn get(&self, name: &str) -> Option<&Environment> {
        self.0.iter().find(|environment| environment.name == name)
    }

    /// Its place in the order; the implicit `default`, and what is not known, come after all.
    pub fn position(&self, name: &str) -> usize {
        self.0
            .iter()
            .position(|e| e.name == name)
            .unwrap_or(self.0.len())
    }

    /// All names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|environment| environment.name.as_str())
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Environment> {
        self.0.iter()
    }

    /// Is there none?
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// One thing that is wrong with the configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{}{}{message}", place.as_ref().map(|p| format!("{p}: ")).unwrap_or_default(),
    path, if path.is_empty() { "" } else { ": " })]
pub struct ConfigError {
    /// Where, when the place is known.
    pub place: Option<Place>,
    /// Which key: `environments[1].drift`.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub hint: Option<String>,
}

impl Default for Config {
    /// What holds where the file says nothing.
    fn default() -> Self {
        let mut errors = Vec::new();
        lower(&ConfigFile::default(), Path::new(""), &mut errors)
    }
}

/// Reads a configuration file.
///
/// Shape: folders and files that it names are taken from the folder it stands in. Errors: every one at once.
pub fn parse(text: &[u8], file: &str) -> Result<Config, Vec<ConfigError>> {
    let whole = |message: String| ConfigError {
        place: Some(Place {
            file: file.into(),
            line: 1,
            column: 1,
        }),
        path: String::new(),
        message,
        hint: None,
    };
    if text.len() > LARGEST {
        return Err(vec![whole(format!(
            "the configuration has more than {}",
            ByteSize(LARGEST as u64)
        ))]);
    }
    let document = yaml::document(text, file).map_err(|error| {
        vec![ConfigError {
            place: Some(error.place()),
            path: String::new(),
            message: error.message.clone(),
            hint: None,
        }]
    })?;
    let mut value = document.value.clone();
    if value.is_null() {
        // An empty file: everything as it is by default.
        return Ok(Config::default());
    }
    let found = schema::check(&SCHEMA, &value, "");
    let mut errors: Vec<SpecError> = found.wrong;
    // What has the wrong type is told already; the rest is looked at as if it had been left out.
    for error in &errors {
        if let Some(wrong) = value.pointer_mut(&error.pointer) {
            *wrong = Value::Null;
        }
    }
    let readable = errors.is_empty();
    errors.extend(found.unknown);
    let mut config = Config::default();
    schema::without_nulls(&SCHEMA, &mut value);
    match serde_json::from_value::<ConfigFile>(value) {
        Ok(written) => {
            let folder = Path::new(file).parent().unwrap_or(Path::new(""));
            config = lower(&written, folder, &mut errors);
        }
        Err(error) if readable => errors.push(SpecError::new("", error.to_string())),
        Err(_) => {}
    }
    if errors.is_empty() {
        return Ok(config);
    }
    let mut errors: Vec<ConfigError> = errors
        .into_iter()
        .map(|error| ConfigError {
            place: document.place(&error.pointer),
            path: spec_error::path(&error.pointer),
            message: error.message,
            hint: error.hint,
        })
        .collect();
    errors.sort_by(|a, b| a.place.cmp(&b.place));
    Err(errors)
}

fn lower(written: &ConfigFile, folder: &Path, errors: &mut Vec<SpecError>) -> Config {
    let http = &written.http;
    let git = &written.git;
    if !is_name(&written.namespace) {
        errors.push(not_a_name("/namespace", &written.namespace));
    }
    Config {
        namespace: written.namespace.clone(),
        applications: written
            .applications
            .iter()
            .map(|path| folder.join(path))
            .collect(),
        http: Http {
            listen: listen(&http.listen, errors),
            access: if http.access == "open" {
                Access::Open
            } else {
                Access::Token
            },
            limits: HttpLimits {
                body: size("/http/limits/body", &http.limits.body, errors),
                requests: count("/http/limits/requests", http.limits.requests, errors),
                streams: count("/http/limits/streams", http.limits.streams, errors),
                timeout: wait("/http/limits/timeout", &http.limits.timeout, errors),
            },
        },
        git: Git {
            poll: wait("/git/poll", &git.poll, errors),
            jitter: duration("/git/jitter", &git.jitter, errors),
            timeout: wait("/git/timeout", &git.timeout, errors),
            remote_bases: git.remote_bases,
            limits: GitLimits {
                fetches: count("/git/limits/fetches", git.limits.fetches, errors),
                size: size("/git/limits/size", &git.limits.size, errors),
                files: count("/git/limits/files", git.limits.files, errors),
                file_size: size("/git/limits/fileSize", &git.limits.file_size, errors),
            },
        },
        webhook: webhook(written, folder, errors),
        environments: environments(&written.environments, errors),
    }
}

fn listen(text: &str, errors: &mut Vec<SpecError>) -> SocketAddr {
    text.parse().unwrap_or_else(|_| {
        errors.push(
            SpecError::new(
                "/http/listen",
                format!("{text:?} is no address with a port"),
            )
            .hint("write it as 127.0.0.1:8080, or 0.0.0.0:8080 for every interface"),
        );
        SocketAddr::from(([127, 0, 0, 1], 0))
    })
}

fn webhook(written: &ConfigFile, folder: &Path, errors: &mut Vec<SpecError>) -> Option<Webhook> {
    let webhook = written.webhook.as_ref()?;
    match (&webhook.secret, &webhook.file) {
        (Some(secret), None) => {
            for (key, text) in [("name", &secret.name), ("key", &secret.key)] {
                if text.is_empty() {
                    errors.push(SpecError::new(format!("/webhook/secret/{key}"), "is empty"));
                }
            }
            Some(Webhook::Secret {
                name: secret.name.clone(),
                key: secret.key.clone(),
            })
        }
        (None, Some(file)) => Some(Webhook::File(folder.join(file))),
        (Some(_), Some(_)) => {
            errors.push(
                SpecError::new("/webhook", "has both a secret and a file")
                    .hint("take one of the two away"),
            );
            None
        }
        (None, None) => {
            errors.push(
                SpecError::new("/webhook", "names neither a secret nor a file")
                    .hint("write `secret: {name: NAME, key: KEY}`, or take webhook away"),
            );
            None
        }
    }
}

fn environments(written: &[EnvironmentFile], errors: &mut Vec<SpecError>) -> Environments {
    let mut list: Vec<Environment> = Vec::new();
    for (index, environment) in written.iter().enumerate() {
        let at = format!("/environments/{index}");
        let name = environment.name.clone();
        if !is_name(&name) {
            errors.push(not_a_name(&format!("{at}/name"), &name));
        } else if name == DEFAULT_ENVIRONMENT {
            errors.push(
                SpecError::new(
                    format!("{at}/name"),
                    "`default` is the environment of Applications without the label",
                )
                .hint("give it another name"),
            );
        } else if list.iter().any(|known| known.name == name) {
            errors.push(
                SpecError::new(
                    format!("{at}/name"),
                    format!("there are two environments named {name:?}"),
                )
                .hint("take one of the two away"),
            );
        }
        list.push(Environment {
            name,
            new_commit: environment
                .new_commit
                .as_deref()
                .and_then(|word| match word {
                    "apply" => Some(NewCommitPolicy::Apply),
                    "approve" => Some(NewCommitPolicy::Approve),
                    "hold" => Some(NewCommitPolicy::Hold),
                    _ => None,
                }),
            drift: environment
                .drift
                .as_ref()
                .and_then(|v| drift(v, &format!("{at}/drift"), errors)),
            deletion: environment.deletion.as_deref().and_then(|word| match word {
                "prune" => Some(DeletionPolicy::Prune),
                "approve" => Some(DeletionPolicy::Approve),
                "keep" => Some(DeletionPolicy::Keep),
                _ => None,
            }),
            prune_budget: environment.prune_budget.as_ref().map(|written| {
                let default = PruneBudget::default();
                PruneBudget {
                    objects: written.objects.unwrap_or(default.objects),
                    percent: written.percent.unwrap_or(default.percent),
                }
            }),
        });
    }
    Environments(list)
}

/// `heal`, `report` or `{healAfter: 5m}`: a word or a map, which no structural schema can say.
fn drift(written: &Value, at: &str, errors: &mut Vec<SpecError>) -> Option<DriftPolicy> {
    const SHAPES: &str = "write heal, report or {healAfter: 5m}";
    match written {
        Value::String(word) => match word.as_str() {
            "heal" => Some(DriftPolicy::Heal),
            "report" => Some(DriftPolicy::Report),
            other => {
                let error = SpecError::new(
                    at,
                    format!("{other:?} is not one of heal, report, {{healAfter: 5m}}"),
                );
                errors.push(match spelling::nearest(other, ["heal", "report"]) {
                    Some(near) => error.hint(format!("did you mean `{near}`?")),
                    None => error.hint(SHAPES),
                });
                None
            }
        },
        Value::Object(map) => {
            for key in map.keys().filter(|key| *key != "healAfter") {
                let error = SpecError::new(
                    lockstep_manifest::pointer::join(at, key),
                    "there is no such key",
                );
                errors.push(match spelling::nearest(key, ["healAfter"]) {
                    Some(near) => error.hint(format!("did you mean `{near}`?")),
                    None => error.hint(SHAPES),
                });
            }
            match map.get("healAfter") {
                Some(Value::String(text)) => {
                    let after = duration(&format!("{at}/healAfter"), text, errors);
                    Some(if after.is_zero() {
                        DriftPolicy::Heal
                    } else {
                        DriftPolicy::HealAfter(after)
                    })
                }
                Some(_) => {
                    errors.push(
                        SpecError::new(format!("{at}/healAfter"), "is no duration")
                            .hint("write it as 5m"),
                    );
                    None
                }
                None => {
                    errors.push(SpecError::new(at, "has no healAfter").hint(SHAPES));
                    None
                }
            }
        }
        _ => {
            errors.push(SpecError::new(at, "is neither a word nor a map").hint(SHAPES));
            None
        }
    }
}

fn duration(at: &str, text: &str, errors: &mut Vec<SpecError>) -> Duration {
    units::duration(text).unwrap_or_else(|| {
        errors.push(
            SpecError::new(at, format!("{text:?} is no duration"))
                .hint("write it as 60s, 5m or 1h30m"),
        );
        Duration::ZERO
    })
}

/// A duration that must not be zero.
fn wait(at: &str, text: &str, errors: &mut Vec<SpecError>) -> Duration {
    let before = errors.len();
    let read = duration(at, text, errors);
    if read < Duration::from_secs(1) && errors.len() == before {
        errors.push(SpecError::new(at, format!("{text:?} is too short")).hint("write 1s or more"));
    }
    read
}

fn size(at: &str, text: &str, errors: &mut Vec<SpecError>) -> ByteSize {
    ByteSize::parse(text)
        .filter(|size| size.0 > 0)
        .unwrap_or_else(|| {
            errors.push(
                SpecError::new(at, format!("{text:?} is no size"))
                    .hint("write it as 64KiB, 10MiB or 1GiB"),
            );
            ByteSize(0)
        })
}

fn count(at: &str, number: i64, errors: &mut Vec<SpecError>) -> usize {
    usize::try_from(number)
        .ok()
        .filter(|n| *n > 0)
        .unwrap_or_else(|| {
            errors.push(SpecError::new(at, format!("{number} is too few")).hint("write 1 or more"));
            1
        })
}

/// A DNS label: what Kubernetes takes as a namespace's name, and as the value of a label.
fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 63
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

fn not_a_name(at: &str, text: &str) -> SpecError {
    SpecError::new(at, format!("{text:?} cannot be a name"))
        .hint("use lower-case letters, digits and `-`, at most 63")
}

#[cfg(test)]
mod tests;
