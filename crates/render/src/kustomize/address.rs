//! Addresses of other repositories, as the reference takes them apart.

use lockstep_app::app::{Base, NotARemote};
use lockstep_tree::RelPath;

/// A folder of another repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) base: Base,
    pub(crate) path: RelPath,
}

/// It is an address, and not one that is fetched from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NotFetched {
    /// Why, as the rest of a sentence that begins with the address.
    pub(crate) why: &'static str,
    pub(crate) hint: String,
}

/// Reads an address; none when the text is none, but a path.
///
/// Source: kustomize 5.5, `kustomize.md` 17. `_git/`, `//` and `.git` mark the end of the repository, in this order of
/// precedence; without a mark it is the first two segments below the host. `ref` wins over `version`; `timeout` and
/// `submodules` are accepted: the daemon has its own deadline, and submodules are not fetched.
pub(crate) fn parse(text: &str) -> Option<Result<Address, NotFetched>> {
    let (rest, query) = text.split_once('?').unwrap_or((text, ""));
    let rest = strip_prefix(rest, "git::").unwrap_or(rest);
    let schemes = ["ssh", "https", "http", "file"];
    let scheme = schemes.into_iter().find_map(|scheme| {
        let after = strip_prefix(rest, scheme)?.strip_prefix("://")?;
        Some((scheme, after))
    });
    let (scheme, rest) = scheme.unwrap_or(("", rest));
    let (user, rest) = match rest.split_once('@') {
        Some((user, rest)) if is_user(user) => (user, rest),
        _ => ("", rest),
    };
    let is_github =
        strip_prefix(rest, "github.com").is_some_and(|after| after.starts_with(['/', ':']));
    // Without a scheme only `github.com/ORG/REPO` and `USER@HOST:PATH` are addresses.
    let is_host = user == "git" || (!user.is_empty() && rest.contains(':'));
    let is_short = scheme.is_empty() && (is_github || is_host);
    if scheme.is_empty() && !is_short {
        return looks_remote(text).then(|| {
            Err(NotFetched {
                why: "has no scheme, and so is no address",
                hint: "write it with https:// in front; `//` marks the end of the repository"
                    .to_owned(),
            })
        });
    }
    Some(address(scheme, user, rest, is_short, query))
}

fn address(
    scheme: &str,
    user: &str,
    rest: &str,
    is_short: bool,
    query: &str,
) -> Result<Address, NotFetched> {
    if scheme == "file" {
        return Err(NotFetched {
            why: "is a folder of one machine",
            hint: "name the repository by its https address".to_owned(),
        });
    }
    let end = match (rest.find('/'), rest.find(':')) {
        (slash, Some(colon)) if is_short && slash.is_none_or(|slash| colon < slash) => Some(colon),
        (slash, _) => slash,
    };
    let (host, rest) = end.map_or((rest, ""), |end| (&rest[..end], &rest[end + 1..]));
    if scheme == "ssh" || (is_short && !user.is_empty()) {
        return Err(NotFetched {
            why: "is fetched over SSH, which is not served",
            hint: format!(
                "write it as https://{host}/{}",
                rest.trim_start_matches('/')
            ),
        });
    }
    if !user.is_empty() {
        return Err(not_a_remote(&NotARemote::UserInfo));
    }
    let target = target(query);
    if target.is_none() && is_file(rest) {
        return Err(file(host, rest));
    }
    let unclear = || NotFetched {
        why: "does not say which repository it means",
        hint: "write it as https://HOST/ORG/REPO//PATH?ref=v1".to_owned(),
    };
    let (repository, path) = split(rest).ok_or_else(unclear)?;
    let scheme = if scheme == "http" { "http" } else { "https" };
    let remote = format!("{scheme}://{host}/{repository}")
        .parse()
        .map_err(|error| not_a_remote(&error))?;
    let path = path
        .trim_start_matches('/')
        .parse()
        .map_err(|_| NotFetched {
            why: "leads out of its repository",
            hint: "name a folder of that repository".to_owned(),
        })?;
    Ok(Address {
        base: Base {
            remote,
            target: target.unwrap_or_default(),
        },
        path,
    })
}

fn not_a_remote(error: &NotARemote) -> NotFetched {
    match error {
        NotARemote::UserInfo => NotFetched {
            why: "carries a user or a password",
            hint: "take them out of it, and put them into a Secret labelled argocd.argoproj.io/secret-type=repository"
                .to_owned(),
        },
        NotARemote::Scheme { .. } | NotARemote::Host => NotFetched {
            why: "has no host",
            hint: "write it as https://HOST/ORG/REPO//PATH?ref=v1".to_owned(),
        },
    }
}

/// The repository and the folder in it.
fn split(rest: &str) -> Option<(&str, &str)> {
    let (repository, path) = if let Some(at) = rest.find("_git/") {
        let from = at + "_git/".len();
        let end = rest[from..].find('/').map_or(rest.len(), |end| from + end);
        (&rest[..end], &rest[end..])
    } else if let Some(at) = rest.find("//") {
        (&rest[..at], &rest[at + 2..])
    } else if let Some(at) = rest.find(".git") {
        rest.split_at(at + ".git".len())
    } else {
        let first = rest.find('/')?;
        let end = rest[first + 1..]
            .find('/')
            .map_or(rest.len(), |second| first + 1 + second);
        rest.split_at(end)
    };
    (!repository.is_empty()).then_some((repository, path))
}

/// The ref that the query names, when it names one.
fn target(query: &str) -> Option<String> {
    let mut found: [Option<String>; 2] = [None, None];
    for pair in query.split('&') {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let slot = match key {
            "ref" => 0,
            "version" => 1,
            _ => continue,
        };
        // A query that cannot be read says nothing at all, as in Go; the first of two wins.
        let value = decoded(value)?;
        if let Some(slot) = found.get_mut(slot) {
            slot.get_or_insert(value);
        }
    }
    found.into_iter().flatten().find(|value| !value.is_empty())
}

fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                u8::try_from(digit()? * 16 + digit()?).ok()?
            }
            b';' => return None,
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}

/// A single file, which the reference gets by a plain request: a repository is never called so.
fn is_file(rest: &str) -> bool {
    let name = rest.rsplit('/').next().unwrap_or_default();
    let marked = rest.contains("_git/") || rest.contains("//") || rest.contains(".git/");
    !marked
        && name
            .rsplit_once('.')
            .is_some_and(|(_, ending)| matches!(ending, "yaml" | "yml" | "json"))
}

fn file(host: &str, rest: &str) -> NotFetched {
    let mut parts = rest.splitn(4, '/');
    let raw = host == "raw.githubusercontent.com";
    let hint = match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(org), Some(repo), Some(target), Some(path)) if raw => {
            let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
            format!(
                "copy the file into the repository, or name its folder if that has a kustomization: https://github.com/{org}/{repo}//{folder}?ref={target}"
            )
        }
        _ => "copy the file into the repository: then every change of it is a commit".to_owned(),
    };
    NotFetched {
        why: "is a single file on a web server, and only git repositories are fetched",
        hint,
    }
}

fn is_user(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

/// Letter case of schemes and of `github.com` does not count.
fn strip_prefix<'t>(text: &'t str, prefix: &str) -> Option<&'t str> {
    let start = text.get(..prefix.len())?;
    start
        .eq_ignore_ascii_case(prefix)
        .then(|| &text[prefix.len()..])
}

/// What was probably meant as an address, for a better word than "there is no such file".
fn looks_remote(text: &str) -> bool {
    let host = text.split('/').next().unwrap_or_default();
    text.contains("://")
        || text.contains(".git/")
        || text.contains("?ref=")
        || (text.contains("//") && host.contains('.') && !host.starts_with('.'))
        || matches!(host, "gitlab.com" | "bitbucket.org")
}

/// The address without what stands before an `@` in it.
pub(crate) fn without_user(text: &str) -> String {
    match text.split_once("://") {
        Some((scheme, rest)) => {
            let host = rest.split('/').next().unwrap_or_default();
            let cut = host.rfind('@').map_or(0, |at| at + 1);
            format!("{scheme}://{}", &rest[cut..])
        }
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_apart_as_the_reference_does() {
        for (text, remote, target, path) in [
            (
                "https://git.example/org/repo",
                "https://git.example/org/repo",
                "",
                "",
            ),
            (
                "https://git.example/org/repo/",
                "https://git.example/org/repo",
                "",
                "",
            ),
            (
                "https://git.example/org/repo?ref=v1",
                "https://git.example/org/repo",
                "v1",
                "",
            ),
            (
                "https://git.example/org/repo/a/b?ref=v1",
                "https://git.example/org/repo",
                "v1",
                "a/b",
            ),
            (
                "https://git.example/org/repo//a/b?ref=v1",
                "https://git.example/org/repo",
                "v1",
                "a/b",
            ),
            (
                "https://git.example/a/b/c/repo//deploy",
                "https://git.example/a/b/c/repo",
                "",
                "deploy",
            ),
            (
                "https://git.example/a/b/repo.git/deploy/x",
                "https://git.example/a/b/repo.git",
                "",
                "deploy/x",
            ),
            (
                "https://git.example/a/b/repo.git//deploy",
                "https://git.example/a/b/repo.git",
                "",
                "deploy",
            ),
            (
                "https://git.example/repo.git?ref=main",
                "https://git.example/repo.git",
                "main",
                "",
            ),
            (
                "https://git.example/org/project/_git/repo/deploy/dev?version=v2",
                "https://git.example/org/project/_git/repo",
                "v2",
                "deploy/dev",
            ),
            (
                "github.com/org/repo/deploy?ref=v1",
                "https://github.com/org/repo",
                "v1",
                "deploy",
            ),
            ("GitHub.com/org/repo", "https://github.com/org/repo", "", ""),
            (
                "git::https://git.example/org/repo//x?ref=a",
                "https://git.example/org/repo",
                "a",
                "x",
            ),
            (
                "HTTP://Git.Example:8080/org/repo//x",
                "http://git.example:8080/org/repo",
                "",
                "x",
            ),
            (
                "https://git.example/org/repo?version=a&ref=b&ref=c",
                "https://git.example/org/repo",
                "b",
                "",
            ),
            (
                "https://git.example/org/repo?ref=&version=a",
                "https://git.example/org/repo",
                "a",
                "",
            ),
            (
                "https://git.example/org/repo?ref=feature%2Fx",
                "https://git.example/org/repo",
                "feature/x",
                "",
            ),
            (
                "https://git.example/org/repo?timeout=90s&submodules=false&ref=v1",
                "https://git.example/org/repo",
                "v1",
                "",
            ),
            (
                "https://git.example/org/repo?ref=%zz",
                "https://git.example/org/repo",
                "",
                "",
            ),
            (
                "https://git.example/org/repo//a/../b",
                "https://git.example/org/repo",
                "",
                "b",
            ),
            // A file's name with a ref, or behind a mark, is of a repository.
            (
                "https://git.example/org/repo//x/a.yaml",
                "https://git.example/org/repo",
                "",
                "x/a.yaml",
            ),
            (
                "https://git.example/org/repo/a.yaml?ref=v1",
                "https://git.example/org/repo",
                "v1",
                "a.yaml",
            ),
        ] {
            let address = parse(text)
                .unwrap_or_else(|| panic!("{text} is an address"))
                .unwrap_or_else(|not| panic!("{text} {}", not.why));
            assert_eq!(
                (
                    address.base.remote.as_str(),
                    address.base.target.as_str(),
                    address.path.as_str()
                ),
                (remote, target, path),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_not_fetched_says_why_and_what_to_write() {
        for (text, why, hint) in [
            (
                "git@github.com:org/repo//x?ref=v1",
                "SSH",
                "https://github.com/org/repo//x",
            ),
            (
                "git@git.example:org/repo",
                "SSH",
                "https://git.example/org/repo",
            ),
            (
                "ssh://git@git.example/org/repo",
                "SSH",
                "https://git.example/org/repo",
            ),
            ("file:///srv/git/repo", "one machine", "https"),
            ("https://me@git.example/org/repo", "user", "Secret"),
            ("https://me:word@git.example/org/repo", "user", "Secret"),
            ("https://git.example/repo", "which repository", "//PATH"),
            ("https:///org/repo", "no host", "https://HOST"),
            (
                "https://git.example/org/repo//../x",
                "out of its repository",
                "folder",
            ),
            (
                "https://git.example/releases/download/v1/all.yaml",
                "single file",
                "copy",
            ),
            (
                "https://raw.githubusercontent.com/org/repo/v1/deploy/all.yaml",
                "single file",
                "https://github.com/org/repo//deploy?ref=v1",
            ),
            ("gitlab.com/org/repo?ref=v1", "no scheme", "https://"),
            ("git.example/org/repo//x", "no scheme", "https://"),
        ] {
            let not = parse(text)
                .unwrap_or_else(|| panic!("{text} is meant as an address"))
                .expect_err(text);
            assert!(not.why.contains(why), "{text}: {}", not.why);
            assert!(not.hint.contains(hint), "{text}: {}", not.hint);
            assert!(!not.hint.contains("word"), "{text}: {}", not.hint);
        }
    }

    #[test]
    fn a_path_is_no_address() {
        for text in [
            "../base",
            "deployment.yaml",
            "a//b",
            "base/x.git",
            "",
            "./a@b/c",
            "icon@2x/base",
            "github.company/org/repo",
            "..//base",
        ] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn an_address_is_shown_without_its_user() {
        assert_eq!(
            without_user("https://me:word@git.example/a"),
            "https://git.example/a"
        );
        assert_eq!(without_user("git@git.example:a"), "git@git.example:a");
    }
}
