//! Argo CD's Secrets: how to log in to a repository; and ours: who may write by REST.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lockstep_manifest::Sensitive;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::app::{Login, RemoteUrl};

/// The label by which Argo CD knows its Secrets.
pub const SECRET_TYPE_LABEL: &str = "argocd.argoproj.io/secret-type";

/// The Secret of names and token digests, in the daemon's namespace.
pub const TOKENS_SECRET: &str = "lockstep-tokens";

/// What hosts accept as the user of a token, and what Argo CD sends when a Secret names none.
const TOKEN_USER: &str = "x-access-token";

/// A Secret, or a part of one, that this version cannot use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotServed {
    /// `namespace/name`.
    pub secret: String,
    /// The address it is for, as written.
    pub url: String,
    /// The fields.
    pub fields: Vec<String>,
}

/// One Secret that can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Known {
    secret: String,
    address: Address,
    /// The AppProject it is limited to; empty is all.
    project: String,
    login: Option<Login>,
}

/// How to log in to which repository.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Logins {
    repositories: Vec<Known>,
    templates: Vec<Known>,
    not_served: Vec<NotServed>,
}

/// What a Secret holds beside address, user and password that would be needed to log in.
const UNSERVED: [&str; 12] = [
    "sshPrivateKey",
    "bearerToken",
    "tlsClientCertData",
    "tlsClientCertKey",
    "githubAppID",
    "githubAppInstallationID",
    "githubAppEnterpriseBaseUrl",
    "githubAppPrivateKey",
    "gcpServiceAccountKey",
    "azureServicePrincipalClientId",
    "useAzureWorkloadIdentity",
    "proxy",
];

impl Logins {
    /// Reads the Secrets that carry the label; the others are passed over.
    ///
    /// Shape: what a Secret has and this version cannot use is in [`Logins::not_served`], and never stops another.
    pub fn from_secrets<'a>(secrets: impl IntoIterator<Item = &'a Value>) -> Self {
        let mut logins = Self::default();
        for secret in secrets {
            let label = secret.pointer("/metadata/labels/argocd.argoproj.io~1secret-type");
            let list = match label.and_then(Value::as_str) {
                Some("repository") => &mut logins.repositories,
                Some("repo-creds") => &mut logins.templates,
                _ => continue,
            };
            let data = data(secret);
            let name = name(secret);
            let text = |key: &str| {
                data.get(key)
                    .map(|b| String::from_utf8_lossy(b).trim().to_owned())
            };
            let url = text("url").unwrap_or_default();
            if matches!(text("type").as_deref(), Some("helm" | "oci")) {
                let fields = vec!["type".to_owned()];
                logins.not_served.push(NotServed {
                    secret: name,
                    url,
                    fields,
                });
                continue;
            }
            let fields: Vec<String> = UNSERVED
                .iter()
                .filter(|key| text(key).is_some_and(|v| !v.is_empty() && v != "false"))
                .map(|key| (*key).to_owned())
                .collect();
            let Some(address) = Address::parse(&url) else {
                logins.not_served.push(NotServed {
                    secret: name,
                    url,
                    fields: vec!["url".to_owned()],
                });
                continue;
            };
            if !fields.is_empty() {
                logins.not_served.push(NotServed {
                    secret: name.clone(),
                    url,
                    fields,
                });
            }
            let user = text("username").filter(|user| !user.is_empty());
            let password = text("password").filter(|password| !password.is_empty());
            let login = match (user, password) {
                (None, None) => None,
                (user, password) => Some(Login {
                    user: user.unwrap_or_else(|| TOKEN_USER.to_owned()),
                    password: Sensitive::new(password.unwrap_or_default()),
                    secret: name.clone(),
                }),
            };
            let project = text("project").unwrap_or_default();
            list.push(Known {
                secret: name,
                address,
                project,
                login,
            });
        }
        // Two Secrets for one address: the first by name, so that equal Secrets give equal logins.
        logins.repositories.sort_by(|a, b| a.secret.cmp(&b.secret));
        logins.templates.sort_by(|a, b| a.secret.cmp(&b.secret));
        logins
    }

    /// The login for this repository: its own Secret's, else the one of the longest address that begins it.
    ///
    /// Source: Argo CD, but that an address never matches another host that merely begins like it
    /// (`https://host` and `https://host.example.net`).
    pub fn for_remote(&self, remote: &RemoteUrl) -> Option<Login> {
        let address = Address::parse(remote.as_str())?;
        let own = self
            .repositories
            .iter()
            .find(|known| known.address == address);
        if let Some(login) = own.and_then(|known| known.login.clone()) {
            return Some(login);
        }
        // `max_by_key` takes the last of equals, so the order is turned round to take the first.
        self.templates
            .iter()
            .rev()
            .filter(|known| known.address.begins(&address))
            .max_by_key(|known| known.address.path.len())
            .and_then(|known| known.login.clone())
    }

    /// Secrets, or parts of them, that this version cannot use.
    pub fn not_served(&self) -> &[NotServed] {
        &self.not_served
    }

    /// What stands in a Secret for this repository and cannot be used: for the error when it refuses us.
    pub fn not_served_for(&self, remote: &RemoteUrl) -> Option<&NotServed> {
        let address = Address::parse(remote.as_str())?;
        self.not_served
            .iter()
            .find(|n| Address::parse(&n.url).is_some_and(|known| known.begins(&address)))
    }

    /// The AppProject that the repository's own Secret is limited to; none is all. Kept, and not yet enforced.
    pub fn project_of(&self, remote: &RemoteUrl) -> Option<&str> {
        let address = Address::parse(remote.as_str())?;
        let own = self
            .repositories
            .iter()
            .find(|known| known.address == address)?;
        Some(own.project.as_str()).filter(|project| !project.is_empty())
    }
}

/// A repository's address in two parts, in lower case and without `.git`, as Argo CD compares them.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Address {
    /// Scheme and host.
    host: String,
    path: String,
}

impl Address {
    fn parse(url: &str) -> Option<Self> {
        let url = url.trim().to_lowercase();
        let (scheme, rest) = url.split_once("://")?;
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        // A user in the address is not part of what is compared.
        let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
        if host.is_empty() {
            return None;
        }
        let path = path.trim_end_matches('/');
        let path = path.strip_suffix(".git").unwrap_or(path).to_owned();
        Some(Self {
            host: format!("{scheme}://{host}"),
            path,
        })
    }

    fn begins(&self, other: &Self) -> bool {
        self.host == other.host && other.path.starts_with(&self.path)
    }
}

/// Who may write by REST: names and the SHA-256 of their tokens. The tokens themselves are nowhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tokens {
    digests: BTreeMap<String, [u8; 32]>,
    bad: Vec<String>,
}

impl Tokens {
    /// Reads the Secret `lockstep-tokens`: each key is a name, each value the SHA-256 of a token in hex.
    pub fn from_secret(secret: &Value) -> Self {
        let mut tokens = Self::default();
        for (name, bytes) in data(secret) {
            let mut digest = [0; 32];
            let read = std::str::from_utf8(&bytes)
                .is_ok_and(|text| hex::decode_to_slice(text.trim(), &mut digest).is_ok());
            if read {
                tokens.digests.insert(name, digest);
            } else {
                tokens.bad.push(name);
            }
        }
        tokens
    }

    /// Every name with its digest. Compare all of them, each in constant time.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8; 32])> {
        self.digests
            .iter()
            .map(|(name, digest)| (name.as_str(), digest))
    }

    /// Names whose value is no SHA-256 in hex: they can log nobody in, and somebody should know.
    pub fn bad(&self) -> &[String] {
        &self.bad
    }

    /// Is there none at all?
    pub fn is_empty(&self) -> bool {
        self.digests.is_empty()
    }

    /// The digest of a token, as it stands in the Secret.
    pub fn digest_of(token: &str) -> [u8; 32] {
        Sha256::digest(token.as_bytes()).into()
    }
}

/// `data`, decoded; what is no base64 is left out, since the API server lets none of it in.
fn data(secret: &Value) -> BTreeMap<String, Vec<u8>> {
    let map = secret.get("data").and_then(Value::as_object);
    map.into_iter()
        .flatten()
        .filter_map(|(key, value)| Some((key.clone(), STANDARD.decode(value.as_str()?).ok()?)))
        .collect()
}

fn name(secret: &Value) -> String {
    let text = |key: &str| {
        secret
            .pointer(&format!("/metadata/{key}"))
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    format!("{}/{}", text("namespace"), text("name"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn secret(kind: &str, name: &str, fields: &[(&str, &str)]) -> Value {
        let data: BTreeMap<&str, String> = fields
            .iter()
            .map(|(k, v)| (*k, STANDARD.encode(v)))
            .collect();
        json!({"metadata": {"namespace": "argocd", "name": name, "labels": {SECRET_TYPE_LABEL: kind}}, "data": data})
    }

    fn remote(url: &str) -> RemoteUrl {
        url.parse().expect("an address")
    }

    fn user_for(logins: &Logins, url: &str) -> Option<String> {
        logins.for_remote(&remote(url)).map(|login| login.user)
    }

    #[test]
    fn a_repositorys_own_secret_wins_over_templates_and_the_longest_template_over_shorter_ones() {
        let secrets = [
            secret(
                "repo-creds",
                "host",
                &[
                    ("url", "https://git.example"),
                    ("username", "host"),
                    ("password", "p"),
                ],
            ),
            secret(
                "repo-creds",
                "team",
                &[
                    ("url", "https://git.example/team"),
                    ("username", "team"),
                    ("password", "p"),
                ],
            ),
            secret(
                "repository",
                "own",
                &[
                    ("url", "https://git.example/team/shop.git"),
                    ("username", "own"),
                    ("password", "p"),
                ],
            ),
        ];
        let logins = Logins::from_secrets(&secrets);
        assert_eq!(
            user_for(&logins, "https://git.example/other/a"),
            Some("host".to_owned())
        );
        assert_eq!(
            user_for(&logins, "https://git.example/team/a"),
            Some("team".to_owned())
        );
        assert_eq!(
            user_for(&logins, "https://Git.Example/team/Shop"),
            Some("own".to_owned())
        );
        assert_eq!(user_for(&logins, "https://elsewhere.example/team/a"), None);
    }

    #[test]
    fn credentials_never_go_to_a_host_that_merely_begins_like_theirs() {
        let secrets = [secret(
            "repo-creds",
            "a",
            &[("url", "https://git.example"), ("password", "p")],
        )];
        let logins = Logins::from_secrets(&secrets);
        assert_eq!(
            user_for(&logins, "https://git.example.evil.test/team/a"),
            None
        );
        assert_eq!(user_for(&logins, "http://git.example/team/a"), None);
    }

    #[test]
    fn a_repository_secret_without_a_login_takes_the_templates() {
        let secrets = [
            secret(
                "repository",
                "own",
                &[("url", "https://git.example/a"), ("project", "shop")],
            ),
            secret(
                "repo-creds",
                "host",
                &[
                    ("url", "https://git.example"),
                    ("username", "host"),
                    ("password", "p"),
                ],
            ),
        ];
        let logins = Logins::from_secrets(&secrets);
        assert_eq!(
            user_for(&logins, "https://git.example/a"),
            Some("host".to_owned())
        );
        assert_eq!(
            logins.project_of(&remote("https://git.example/a")),
            Some("shop")
        );
    }

    #[test]
    fn a_password_alone_is_a_token_and_is_never_printed() {
        let secrets = [secret(
            "repository",
            "own",
            &[("url", "https://git.example/a"), ("password", "hunter2")],
        )];
        let login = Logins::from_secrets(&secrets)
            .for_remote(&remote("https://git.example/a"))
            .expect("a login");
        assert_eq!(login.user, TOKEN_USER);
        assert_eq!(login.password.expose(), "hunter2");
        assert_eq!(login.secret, "argocd/own");
        assert!(!format!("{login:?}").contains("hunter2"));
    }

    #[test]
    fn what_cannot_be_used_is_named_and_stops_no_other() {
        let secrets = [
            secret(
                "repository",
                "ssh",
                &[("url", "git@git.example:a.git"), ("sshPrivateKey", "k")],
            ),
            secret(
                "repository",
                "app",
                &[
                    ("url", "https://git.example/b"),
                    ("githubAppPrivateKey", "k"),
                ],
            ),
            secret(
                "repository",
                "chart",
                &[("url", "https://charts.example"), ("type", "helm")],
            ),
            secret("cluster", "other", &[("server", "https://10.0.0.1")]),
            secret(
                "repository",
                "good",
                &[("url", "https://git.example/c"), ("password", "p")],
            ),
        ];
        let logins = Logins::from_secrets(&secrets);
        let named: Vec<_> = logins
            .not_served()
            .iter()
            .map(|n| (n.secret.as_str(), n.fields.join(",")))
            .collect();
        assert_eq!(
            named,
            [
                ("argocd/ssh", "url".to_owned()),
                ("argocd/app", "githubAppPrivateKey".to_owned()),
                ("argocd/chart", "type".to_owned())
            ]
        );
        assert!(
            logins
                .for_remote(&remote("https://git.example/c"))
                .is_some()
        );
        assert_eq!(
            logins
                .not_served_for(&remote("https://git.example/b"))
                .map(|n| n.secret.as_str()),
            Some("argocd/app")
        );
    }

    #[test]
    fn tokens_are_known_by_their_digests_alone() {
        let digest = Tokens::digest_of("secret-token");
        let secret = json!({"data": {"ci": STANDARD.encode(hex::encode(digest)), "bad": STANDARD.encode("secret-token")}});
        let tokens = Tokens::from_secret(&secret);
        assert_eq!(tokens.iter().collect::<Vec<_>>(), [("ci", &digest)]);
        assert_eq!(tokens.bad(), ["bad"]);
    }
}
