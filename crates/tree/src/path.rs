//! Paths inside a tree: relative, normalised, and unable to leave it.

use std::fmt;
use std::str::FromStr;

/// A path is no longer than what any file system takes.
const LONGEST_PATH: usize = 4096;

/// A path from the root of a tree.
///
/// Shape: parts joined by `/`, none of them empty, `.`, `..` or `.git` (in any case), without NUL or backslash; the
/// root is the empty text. `./` and doubled or trailing slashes are taken out on the way in, `a/../b` is `b`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct RelPath(String);

/// The text is no path inside a tree.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotARelPath {
    /// It begins with `/`.
    #[error("{0:?} is an absolute path")]
    Absolute(String),
    /// It has more `..` than folders.
    #[error("{0:?} leads out of the tree")]
    Leaves(String),
    /// NUL, a backslash or a part `.git`.
    #[error("{0:?} holds {1}, which no path in a tree may")]
    Forbidden(String, &'static str),
    /// Longer than file systems allow.
    #[error("a path of {0} bytes is longer than {LONGEST_PATH}")]
    TooLong(usize),
}

impl RelPath {
    /// The root of the tree.
    pub fn root() -> Self {
        Self::default()
    }

    /// The path as text; empty for the root.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Is it the root?
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// This path with a relative one behind it, `..` resolved by the text alone.
    pub fn join(&self, below: &str) -> Result<Self, NotARelPath> {
        if below.starts_with('/') {
            return Err(NotARelPath::Absolute(shorten(below)));
        }
        if self.0.len() + below.len() > LONGEST_PATH {
            return Err(NotARelPath::TooLong(self.0.len() + below.len()));
        }
        let mut path = self.0.clone();
        for part in below.split('/') {
            match part {
                "" | "." => {}
                ".." if path.is_empty() => return Err(NotARelPath::Leaves(shorten(below))),
                ".." => path.truncate(path.rfind('/').unwrap_or(0)),
                part => {
                    check(part, below)?;
                    if !path.is_empty() {
                        path.push('/');
                    }
                    path.push_str(part);
                }
            }
        }
        Ok(Self(path))
    }

    /// The folder it lies in; none for the root.
    pub fn parent(&self) -> Option<Self> {
        if self.0.is_empty() {
            return None;
        }
        Some(Self(self.0[..self.0.rfind('/').unwrap_or(0)].to_owned()))
    }

    /// Its last part; empty for the root.
    pub fn name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or_default()
    }

    /// Its parts from the root down.
    pub fn parts(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('/').filter(|part| !part.is_empty())
    }

    /// Is it `folder`, or in or below it?
    pub fn is_within(&self, folder: &Self) -> bool {
        match self.0.strip_prefix(folder.as_str()) {
            Some(rest) => rest.is_empty() || folder.is_root() || rest.starts_with('/'),
            None => false,
        }
    }

    /// The same place as seen from `folder`, with `..` where it must be.
    pub fn from_folder(&self, folder: &Self) -> String {
        let here: Vec<&str> = folder.parts().collect();
        let there: Vec<&str> = self.parts().collect();
        let common = here.iter().zip(&there).take_while(|(a, b)| a == b).count();
        let mut parts = vec![".."; here.len() - common];
        parts.extend(&there[common..]);
        if parts.is_empty() {
            ".".to_owned()
        } else {
            parts.join("/")
        }
    }
}

fn check(part: &str, whole: &str) -> Result<(), NotARelPath> {
    let what = if part.contains('\0') {
        "a NUL"
    } else if part.contains('\\') {
        "a backslash"
    } else if part.eq_ignore_ascii_case(".git") {
        "`.git`"
    } else {
        return Ok(());
    };
    Err(NotARelPath::Forbidden(shorten(whole), what))
}

/// Enough of a hostile path to recognise it in a message.
fn shorten(text: &str) -> String {
    text.chars().take(200).collect()
}

impl FromStr for RelPath {
    type Err = NotARelPath;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::root().join(text)
    }
}

impl TryFrom<&str> for RelPath {
    type Error = NotARelPath;

    fn try_from(text: &str) -> Result<Self, Self::Error> {
        text.parse()
    }
}

/// The path; `.` for the root.
impl fmt::Display for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "." } else { &self.0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> RelPath {
        text.parse().expect("a path")
    }

    #[test]
    fn a_path_is_normalised_on_the_way_in() {
        for (text, want) in [
            ("", ""),
            (".", ""),
            ("./a//b/", "a/b"),
            ("a/../b/.", "b"),
            ("a/b/..", "a"),
        ] {
            assert_eq!(path(text).as_str(), want, "{text:?}");
        }
    }

    #[test]
    fn a_path_cannot_leave_the_tree_or_enter_git() {
        for text in [
            "..",
            "a/../../b",
            "/etc",
            "a\\b",
            "a\0b",
            ".git/config",
            "x/.GIT/y",
        ] {
            assert!(text.parse::<RelPath>().is_err(), "{text:?}");
        }
        assert!("a".repeat(5000).parse::<RelPath>().is_err());
        assert_eq!(path("a/.gitignore").as_str(), "a/.gitignore");
    }

    #[test]
    fn a_folder_holds_itself_and_what_is_below_but_not_its_namesakes() {
        assert!(path("a/b").is_within(&path("a")));
        assert!(path("a").is_within(&path("a")));
        assert!(path("a").is_within(&RelPath::root()));
        assert!(!path("ab").is_within(&path("a")));
    }

    #[test]
    fn a_path_seen_from_a_folder_goes_up_where_it_must() {
        assert_eq!(
            path("base/x.yaml").from_folder(&path("overlays/dev")),
            "../../base/x.yaml"
        );
        assert_eq!(path("a").from_folder(&path("a")), ".");
        assert_eq!(path("a/b").from_folder(&path("a")), "b");
        assert_eq!(path("a/b").parent(), Some(path("a")));
        assert_eq!(path("a").parent(), Some(RelPath::root()));
        assert_eq!(RelPath::root().parent(), None);
    }
}
