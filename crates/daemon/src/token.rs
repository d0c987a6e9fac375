//! Tokens: who may sync by REST. A token is shown once, when it is made; the Secret holds its SHA-256.
//!
//! For the command line, with the rights of whoever runs it: the daemon itself only reads the Secret.

use std::path::PathBuf;

use lockstep_app::credentials::{TOKENS_SECRET, Tokens};
use lockstep_cluster::{Apps, Cluster, ClusterError, Connect, Plugins, WriteError};
use lockstep_manifest::Sensitive;

/// Where the tokens are.
#[derive(Clone, Debug, Default)]
pub struct TokenOptions {
    /// This kubeconfig and no other.
    pub kubeconfig: Option<PathBuf>,
    /// This context of it.
    pub context: Option<String>,
    /// The daemon's namespace.
    pub namespace: String,
}

/// A token was not made, listed or taken away.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The name cannot be a key of a Secret.
    #[error("{name:?} cannot name a token")]
    Name {
        /// As it was given.
        name: String,
    },
    /// Somebody has a token of that name.
    #[error("there is a token named {name} already")]
    Taken {
        /// The name.
        name: String,
    },
    /// Nobody has a token of that name.
    #[error("there is no token named {name}")]
    Missing {
        /// The name.
        name: String,
    },
    /// The system gives no random bytes.
    #[error("the system gives no random bytes")]
    Random,
    /// The Secret cannot be read.
    #[error("cannot read the Secret {TOKENS_SECRET} in namespace {namespace}")]
    Read {
        /// Where it was looked for.
        namespace: String,
        /// Why not.
        #[source]
        cause: Box<ClusterError>,
    },
    /// The Secret cannot be written.
    #[error("cannot write the Secret {TOKENS_SECRET} in namespace {namespace}")]
    Write {
        /// Where it is, or would be.
        namespace: String,
        /// Why not.
        #[source]
        cause: Box<WriteError>,
    },
}

impl TokenError {
    /// What the reader can do, as an imperative sentence.
    pub fn hint(&self) -> String {
        match self {
            Self::Name { .. } => {
                "use 1 to 63 letters, digits, dots, dashes and underscores".to_owned()
            }
            Self::Taken { name } => {
                format!("choose another name, or: lockstep token create {name} --replace")
            }
            Self::Missing { .. } => "see which there are: lockstep token list".to_owned(),
            Self::Random => "try again on a machine with a working /dev/urandom".to_owned(),
            Self::Read { cause, .. } => cause.hint().unwrap_or_else(|| CHECK.to_owned()),
            Self::Write { cause, .. } => cause.hint().unwrap_or_else(|| CHECK.to_owned()),
        }
    }

    /// Is it a right that is missing?
    pub fn forbidden(&self) -> bool {
        match self {
            Self::Read { cause, .. } => {
                matches!(
                    **cause,
                    ClusterError::Forbidden { .. } | ClusterError::Unauthorized { .. }
                )
            }
            Self::Write { cause, .. } => matches!(**cause, WriteError::Forbidden { .. }),
            _ => false,
        }
    }
}

/// What helps when nothing more exact is known.
const CHECK: &str = "check that kubectl reaches the cluster with the same kubeconfig and context";

/// Random bytes in a token: as many as its digest has.
const BYTES: usize = 32;

/// Makes a token and stores its digest.
///
/// Shape: `lockstep_` and 64 hex digits, so that scanners of repositories can find one that leaked. Errors: the name
/// is taken, unless it is to be replaced; the token of before then opens nothing any more.
pub async fn create(
    options: TokenOptions,
    name: &str,
    replace: bool,
) -> Result<Sensitive<String>, TokenError> {
    check(name)?;
    let namespace = options.namespace.clone();
    let apps = apps(options).await?;
    if !replace
        && names(&apps, &namespace)
            .await?
            .iter()
            .any(|known| known == name)
    {
        return Err(TokenError::Taken {
            name: name.to_owned(),
        });
    }
    let mut bytes = [0; BYTES];
    getrandom::fill(&mut bytes).map_err(|_| TokenError::Random)?;
    let token = format!("lockstep_{}", hex::encode(bytes));
    let digest = hex::encode(Tokens::digest_of(&token));
    apps.set_secret_key(TOKENS_SECRET, name, Some(digest.as_bytes()))
        .await
        .map_err(|cause| TokenError::Write {
            namespace,
            cause: Box::new(cause),
        })?;
    Ok(Sensitive::new(token))
}

/// The names that have a token.
pub async fn list(options: TokenOptions) -> Result<Vec<String>, TokenError> {
    let namespace = options.namespace.clone();
    names(&apps(options).await?, &namespace).await
}

/// Takes a token away: it opens nothing as soon as the daemon has seen it.
pub async fn delete(options: TokenOptions, name: &str) -> Result<(), TokenError> {
    check(name)?;
    let namespace = options.namespace.clone();
    let apps = apps(options).await?;
    if !names(&apps, &namespace)
        .await?
        .iter()
        .any(|known| known == name)
    {
        return Err(TokenError::Missing {
            name: name.to_owned(),
        });
    }
    apps.set_secret_key(TOKENS_SECRET, name, None)
        .await
        .map_err(|cause| TokenError::Write {
            namespace,
            cause: Box::new(cause),
        })
}

/// A name is a key of a Secret.
fn check(name: &str) -> Result<(), TokenError> {
    let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if (1..=63).contains(&name.len())
        && name.chars().all(known)
        && !name.starts_with("..")
        && name != "."
    {
        Ok(())
    } else {
        Err(TokenError::Name {
            name: name.to_owned(),
        })
    }
}

async fn apps(options: TokenOptions) -> Result<Apps, TokenError> {
    let TokenOptions {
        kubeconfig,
        context,
        namespace,
    } = options;
    // It is a person who runs this, with a kubeconfig of theirs: its login program may run, as kubectl runs it.
    let connect = Connect {
        kubeconfig,
        context,
        plugins: Plugins::Allowed,
    };
    let cluster = Cluster::connect(connect)
        .await
        .map_err(|cause| TokenError::Read {
            namespace: namespace.clone(),
            cause: Box::new(cause),
        })?;
    Ok(Apps::new(cluster, namespace))
}

async fn names(apps: &Apps, namespace: &str) -> Result<Vec<String>, TokenError> {
    let secret = apps
        .secret(TOKENS_SECRET)
        .await
        .map_err(|cause| TokenError::Read {
            namespace: namespace.to_owned(),
            cause: Box::new(cause),
        })?;
    let Some(secret) = secret else {
        return Ok(Vec::new());
    };
    let tokens = Tokens::from_secret(&secret.expose().clone().into_value());
    let mut names: Vec<String> = tokens.iter().map(|(name, _)| name.to_owned()).collect();
    names.extend(tokens.bad().iter().cloned());
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_no_secret_could_hold_is_refused_before_anything_is_asked() {
        for good in ["ada", "ci.deploy-1", "a_b"] {
            assert!(check(good).is_ok(), "{good}");
        }
        for bad in ["", "..", ".", "a/b", "a b", "ü"] {
            assert!(matches!(check(bad), Err(TokenError::Name { .. })), "{bad}");
        }
    }
}
