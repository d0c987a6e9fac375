//! What a remote's names point to at one moment, and which commit a target means by them.

use std::collections::{BTreeMap, BTreeSet};

use lockstep_app::app::{RemoteUrl, Revision};

use crate::error::{FetchError, looks_like_a_prefix};
use crate::packet::{self, Packet};

/// The refs of one remote, as it listed them in one answer.
///
/// Shape: full ref names (`refs/heads/main`) to commits, annotated tags already followed to what they tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refs {
    pub(crate) remote: RemoteUrl,
    head: Option<Revision>,
    head_target: Option<String>,
    names: BTreeMap<String, Revision>,
    /// Commits that were fetched before: a shortened id may mean one of them.
    pub(crate) known: Vec<Revision>,
}

/// How many refs are read at most. The largest public repositories have some hundreds of thousands.
const MOST_REFS: usize = 1_000_000;

/// The listing is not what the protocol says, or larger than anybody needs.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum BadListing {
    Malformed,
    TooMany,
    ServerError,
}

impl Refs {
    pub(crate) fn none(remote: RemoteUrl) -> Self {
        Self {
            remote,
            head: None,
            head_target: None,
            names: BTreeMap::new(),
            known: Vec::new(),
        }
    }

    /// Which repository.
    pub fn remote(&self) -> &RemoteUrl {
        &self.remote
    }

    /// The commit of a full ref name.
    pub fn get(&self, full_name: &str) -> Option<&Revision> {
        self.names.get(full_name)
    }

    /// The full name of the branch that `HEAD` stands for, also when that branch has no commit yet.
    pub fn default_branch(&self) -> Option<&str> {
        self.head_target.as_deref()
    }

    /// Full names and commits, in the order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Revision)> {
        self.names
            .iter()
            .map(|(name, revision)| (name.as_str(), revision))
    }

    /// Reads the answer to `ls-refs`: `ID NAME [symref-target:NAME] [peeled:ID]` a line.
    ///
    /// Source: gitprotocol-v2(5), "ls-refs".
    pub(crate) fn from_listing(remote: RemoteUrl, answer: &[u8]) -> Result<Self, BadListing> {
        let mut refs = Self::none(remote);
        for packet in packet::decode(answer).map_err(|_| BadListing::Malformed)? {
            let Packet::Data(line) = packet else { continue };
            if line.starts_with(b"ERR ") {
                return Err(BadListing::ServerError);
            }
            // A name that is not UTF-8 cannot be written in an Application, so it is left out.
            let Some(line) = packet::text(&line) else {
                continue;
            };
            let mut words = line.split(' ');
            let (Some(id), Some(name)) = (words.next(), words.next()) else {
                return Err(BadListing::Malformed);
            };
            let mut peeled = None;
            for attribute in words {
                if let Some(target) = attribute.strip_prefix("symref-target:") {
                    if name == "HEAD" {
                        refs.head_target = Some(target.to_owned());
                    }
                } else if let Some(id) = attribute.strip_prefix("peeled:") {
                    peeled = Some(id);
                }
            }
            if id == "unborn" {
                continue;
            }
            refs.add(name, peeled.unwrap_or(id))?;
        }
        Ok(refs)
    }

    /// Reads the lines of a protocol 0 advertisement: `ID NAME`, with `NAME^{}` for what an annotated tag tags.
    ///
    /// Source: gitprotocol-pack(5), "Reference Discovery".
    pub(crate) fn from_advertisement<'a>(
        remote: RemoteUrl,
        head_target: Option<&str>,
        lines: impl Iterator<Item = &'a str>,
    ) -> Result<Self, BadListing> {
        let mut refs = Self::none(remote);
        refs.head_target = head_target.map(str::to_owned);
        for line in lines {
            let (id, name) = line.split_once(' ').ok_or(BadListing::Malformed)?;
            // An empty repository has one line, whose name says that it is none.
            if name == "capabilities^{}" {
                continue;
            }
            // The tagged object follows its tag, so it replaces it.
            refs.add(name.strip_suffix("^{}").unwrap_or(name), id)?;
        }
        Ok(refs)
    }

    fn add(&mut self, name: &str, id: &str) -> Result<(), BadListing> {
        let revision: Revision = id.parse().map_err(|_| BadListing::Malformed)?;
        if name == "HEAD" {
            self.head = Some(revision);
        } else {
            self.names.insert(name.to_owned(), revision);
        }
        if self.names.len() > MOST_REFS {
            Err(BadListing::TooMany)
        } else {
            Ok(())
        }
    }

    /// Which commit `target` names.
    ///
    /// Shape: empty and `HEAD` are the default branch; a complete commit id is itself, whatever the refs say; a full
    /// ref name is that ref; else a branch, a tag, or what follows `refs/`; else the beginning, seven digits or more,
    /// of a commit id that a ref points to or that was fetched before.
    /// Errors: `NoSuchTarget` and `Ambiguous`; a branch and a tag of one name are ambiguous even when they agree
    /// today, because they need not tomorrow.
    pub(crate) fn resolve(&self, target: &str) -> Result<Revision, FetchError> {
        if target.is_empty() || target == "HEAD" {
            return self.head.clone().ok_or_else(|| self.no_such("HEAD"));
        }
        if let Ok(revision) = target.to_ascii_lowercase().parse() {
            return Ok(revision);
        }
        if target.starts_with("refs/") {
            return self
                .names
                .get(target)
                .cloned()
                .ok_or_else(|| self.no_such(target));
        }
        let meant: Vec<(String, &Revision)> = [
            format!("refs/heads/{target}"),
            format!("refs/tags/{target}"),
            format!("refs/{target}"),
        ]
        .into_iter()
        .filter_map(|name| self.names.get(&name).map(|revision| (name, revision)))
        .collect();
        match meant.as_slice() {
            [(_, revision)] => return Ok((*revision).clone()),
            [] => {}
            _ => {
                return Err(
                    self.ambiguous(target, meant.into_iter().map(|(name, _)| name).collect())
                );
            }
        }
        if looks_like_a_prefix(target) {
            let prefix = target.to_ascii_lowercase();
            let commits: BTreeSet<&Revision> = self
                .names
                .values()
                .chain(&self.known)
                .chain(&self.head)
                .filter(|revision| revision.as_str().starts_with(&prefix))
                .collect();
            let mut commits = commits.into_iter();
            match (commits.next(), commits.next()) {
                (Some(revision), None) => return Ok(revision.clone()),
                (Some(first), Some(second)) => {
                    return Err(self.ambiguous(target, vec![first.to_string(), second.to_string()]));
                }
                (None, _) => {}
            }
        }
        Err(self.no_such(target))
    }

    fn ambiguous(&self, target: &str, names: Vec<String>) -> FetchError {
        FetchError::Ambiguous {
            remote: self.remote.clone(),
            target: target.to_owned(),
            names,
        }
    }

    fn no_such(&self, target: &str) -> FetchError {
        FetchError::NoSuchTarget {
            remote: self.remote.clone(),
            target: target.to_owned(),
            near: self.near(target),
        }
    }

    /// Up to three names that differ from `target` by a few letters, nearest first.
    fn near(&self, target: &str) -> Vec<String> {
        fn short(name: &str) -> &str {
            name.strip_prefix("refs/heads/")
                .or_else(|| name.strip_prefix("refs/tags/"))
                .unwrap_or(name)
        }
        let full = target.starts_with("refs/");
        let target = short(target);
        let mut near: Vec<(usize, &str)> = self
            .names
            .keys()
            .take(NAMES_COMPARED)
            .filter(|name| name.len() <= LONGEST_COMPARED && target.len() <= LONGEST_COMPARED)
            .map(|name| {
                (
                    distance(short(name), target),
                    if full { name } else { short(name) },
                )
            })
            .filter(|(distance, _)| *distance <= 2.max(target.len() / 3))
            .collect();
        near.sort_unstable();
        near.dedup();
        near.into_iter()
            .take(3)
            .map(|(_, name)| name.to_owned())
            .collect()
    }
}

/// How many names are compared for a suggestion: a few milliseconds of work, on a path that has failed anyway.
const NAMES_COMPARED: usize = 5_000;

/// Names longer than this are not compared: the work grows with the square.
const LONGEST_COMPARED: usize = 80;

/// How many letters have to be added, removed or replaced (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, letter) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, other) in row.iter_mut().skip(1).zip(&b) {
            let replaced = diagonal + usize::from(letter != *other);
            diagonal = *cell;
            left = replaced.min(left + 1).min(*cell + 1);
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::Encoder;

    const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
    const C: &str = "bbbbbbbccccccccccccccccccccccccccccccccc";

    fn refs(lines: &[String]) -> Refs {
        let answer = Encoder::default()
            .lines(lines.iter().cloned())
            .flush()
            .bytes();
        Refs::from_listing(
            "https://git.example/shop".parse().expect("an address"),
            &answer,
        )
        .expect("a listing")
    }

    fn shop() -> Refs {
        refs(&[
            format!("{A} HEAD symref-target:refs/heads/main"),
            format!("{A} refs/heads/main"),
            format!("{B} refs/heads/both"),
            format!("{C} refs/tags/both"),
            format!("{A} refs/tags/v1 peeled:{B}"),
            format!("{C} refs/pull/7/head"),
        ])
    }

    fn revision(text: &str) -> Revision {
        text.parse().expect("a revision")
    }

    #[test]
    fn a_target_is_a_branch_a_tag_a_full_name_head_or_a_commit() {
        let refs = shop();
        for (target, commit) in [
            ("", A),
            ("HEAD", A),
            ("main", A),
            ("heads/main", A),
            ("refs/heads/main", A),
            ("v1", B),
            ("refs/tags/both", C),
            ("pull/7/head", C),
            (
                "CCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCC",
                "cccccccccccccccccccccccccccccccccccccccc",
            ),
        ] {
            assert_eq!(
                refs.resolve(target).expect(target),
                revision(commit),
                "{target}"
            );
        }
        assert_eq!(refs.default_branch(), Some("refs/heads/main"));
    }

    #[test]
    fn a_branch_and_a_tag_of_one_name_are_refused_with_both_full_names() {
        let Err(FetchError::Ambiguous { names, .. }) = shop().resolve("both") else {
            panic!("not ambiguous")
        };
        assert_eq!(names, ["refs/heads/both", "refs/tags/both"]);
    }

    #[test]
    fn a_shortened_id_means_a_commit_that_is_known_and_only_one() {
        let mut refs = shop();
        assert_eq!(refs.resolve("aaaaaaa").expect("one commit"), revision(A));
        assert!(matches!(
            refs.resolve("bbbbbbb"),
            Err(FetchError::Ambiguous { .. })
        ));
        assert!(matches!(
            refs.resolve("ddddddd"),
            Err(FetchError::NoSuchTarget { .. })
        ));
        refs.known = vec![revision("dddddddddddddddddddddddddddddddddddddddd")];
        assert_eq!(
            refs.resolve("ddddddd").expect("fetched before"),
            refs.known[0]
        );
    }

    #[test]
    fn a_misspelt_branch_is_answered_with_the_nearest_names() {
        let Err(FetchError::NoSuchTarget { near, .. }) = shop().resolve("mian") else {
            panic!("found")
        };
        assert_eq!(near, ["main"]);
        let Err(FetchError::NoSuchTarget { near, .. }) = shop().resolve("refs/heads/mani") else {
            panic!("found")
        };
        assert_eq!(near, ["refs/heads/main"]);
    }

    #[test]
    fn head_of_a_repository_without_commits_names_nothing() {
        let refs = refs(&["unborn HEAD symref-target:refs/heads/main".to_owned()]);
        assert!(matches!(
            refs.resolve("HEAD"),
            Err(FetchError::NoSuchTarget { .. })
        ));
        assert_eq!(refs.default_branch(), Some("refs/heads/main"));
    }

    #[test]
    fn an_advertisement_of_protocol_0_says_the_same_as_a_listing() {
        let remote: RemoteUrl = "https://git.example/shop".parse().expect("an address");
        let lines = [
            format!("{A} HEAD"),
            format!("{A} refs/heads/main"),
            format!("{A} refs/tags/v1"),
            format!("{B} refs/tags/v1^{{}}"),
        ];
        let refs = Refs::from_advertisement(
            remote,
            Some("refs/heads/main"),
            lines.iter().map(String::as_str),
        )
        .expect("an advertisement");
        assert_eq!(refs.resolve("v1").expect("a tag"), revision(B));
        assert_eq!(refs.resolve("HEAD").expect("a head"), revision(A));
    }

    #[test]
    fn a_listing_that_is_none_is_refused() {
        let remote: RemoteUrl = "https://git.example/shop".parse().expect("an address");
        assert_eq!(
            Refs::from_listing(remote.clone(), b"<html>"),
            Err(BadListing::Malformed)
        );
        let nonsense = Encoder::default().line("main is fine").flush().bytes();
        assert_eq!(
            Refs::from_listing(remote, &nonsense),
            Err(BadListing::Malformed)
        );
    }
}
