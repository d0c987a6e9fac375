//! What may be in the dependency tree: licences, bans, sources, one copy of each. The lists stand in deny.toml, so that
//! `cargo deny` and this test cannot disagree; advisories are cargo-deny's alone, since they need a database.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use lockstep_tests::packages::{Package, Packages};
use lockstep_tests::world::root;

/// The entries of one list in deny.toml, each as the quoted texts of its line.
fn listed(list: &str) -> Result<Vec<Vec<String>>> {
    let text = std::fs::read_to_string(root().join("deny.toml"))?;
    let begin = format!("{list} = [");
    let mut lines = text.lines().skip_while(|line| !line.starts_with(&begin));
    lines
        .next()
        .with_context(|| format!("deny.toml has no list {list}"))?;
    let entries = lines
        .take_while(|line| *line != "]")
        .filter(|line| !line.trim_start().starts_with('#'));
    Ok(entries
        .map(|line| {
            line.split('"')
                .skip(1)
                .step_by(2)
                .map(str::to_owned)
                .collect::<Vec<String>>()
        })
        .filter(|quoted| !quoted.is_empty())
        .collect())
}

fn firsts(list: &str) -> Result<BTreeSet<String>> {
    Ok(listed(list)?
        .into_iter()
        .filter_map(|quoted| quoted.into_iter().next())
        .collect())
}

fn foreign(packages: &Packages) -> Vec<&Package> {
    packages
        .all()
        .into_iter()
        .filter(|package| package.source.is_some())
        .collect()
}

/// Is this SPDX expression satisfied by what is allowed? A slash is the old way to write OR.
fn satisfied(expression: &str, allowed: &BTreeSet<String>) -> bool {
    let spaced = expression
        .replace('/', " OR ")
        .replace('(', " ( ")
        .replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut at = 0;
    either(&words, &mut at, allowed, 0) == Some(true) && at == words.len()
}

/// None: that is no expression.
fn either(words: &[&str], at: &mut usize, allowed: &BTreeSet<String>, depth: u8) -> Option<bool> {
    let mut holds = both(words, at, allowed, depth)?;
    while words.get(*at) == Some(&"OR") {
        *at += 1;
        holds |= both(words, at, allowed, depth)?;
    }
    Some(holds)
}

fn both(words: &[&str], at: &mut usize, allowed: &BTreeSet<String>, depth: u8) -> Option<bool> {
    let mut holds = one(words, at, allowed, depth)?;
    while words.get(*at) == Some(&"AND") {
        *at += 1;
        holds &= one(words, at, allowed, depth)?;
    }
    Some(holds)
}

fn one(words: &[&str], at: &mut usize, allowed: &BTreeSet<String>, depth: u8) -> Option<bool> {
    let word = words.get(*at)?;
    *at += 1;
    if *word == "(" {
        let holds = if depth < 8 {
            either(words, at, allowed, depth + 1)?
        } else {
            return None;
        };
        let closed = words.get(*at) == Some(&")");
        *at += 1;
        return closed.then_some(holds);
    }
    let mut license = (*word).to_owned();
    if words.get(*at) == Some(&"WITH") {
        license = format!("{license} WITH {}", words.get(*at + 1)?);
        *at += 2;
    }
    Some(allowed.contains(&license))
}

#[test]
fn a_licence_is_read_as_spdx_means_it() {
    let allowed: BTreeSet<String> = ["MIT", "ISC", "Apache-2.0 WITH LLVM-exception"]
        .into_iter()
        .map(str::to_owned)
        .collect();
    for fine in [
        "MIT",
        "MIT OR GPL-3.0",
        "GPL-3.0/MIT",
        "(GPL-3.0 OR MIT) AND ISC",
        "Apache-2.0 WITH LLVM-exception",
    ] {
        assert!(satisfied(fine, &allowed), "{fine}");
    }
    for not in [
        "",
        "GPL-3.0",
        "MIT AND GPL-3.0",
        "MIT AND (GPL-3.0 OR MPL-2.0)",
        "Apache-2.0",
        "MIT OR",
        "(MIT",
        "MIT ISC",
    ] {
        assert!(!satisfied(not, &allowed), "{not}");
    }
}

#[test]
fn every_package_has_a_licence_that_is_allowed() -> Result<()> {
    let allowed = firsts("allow")?;
    assert!(
        allowed.contains("MIT")
            && !allowed
                .iter()
                .any(|one| one.contains("GPL") || one.contains("MPL"))
    );
    let packages = Packages::read()?;
    let mut refused = Vec::new();
    for package in foreign(&packages) {
        if !satisfied(&package.license, &allowed) {
            refused.push(format!(
                "{} {}: {:?}",
                package.name, package.version, package.license
            ));
        }
    }
    assert_eq!(refused, Vec::<String>::new());
    Ok(())
}

#[test]
fn what_is_banned_is_nowhere_in_the_tree() -> Result<()> {
    let banned = firsts("deny")?;
    for known in ["openssl-sys", "aws-lc-sys", "git2", "serde_yaml", "chrono"] {
        assert!(
            banned.contains(known),
            "the list of bans was not read: {known}"
        );
    }
    let packages = Packages::read()?;
    let found: Vec<&str> = foreign(&packages)
        .iter()
        .map(|package| package.name.as_str())
        .filter(|name| banned.contains(*name))
        .collect();
    assert_eq!(found, Vec::<&str>::new());
    Ok(())
}

#[test]
fn every_package_comes_from_the_one_registry() -> Result<()> {
    let packages = Packages::read()?;
    let sources: BTreeSet<&str> = foreign(&packages)
        .iter()
        .filter_map(|package| package.source.as_deref())
        .collect();
    assert_eq!(sources.len(), 1, "{sources:?}");
    assert!(
        sources.iter().all(|source| source.starts_with("registry+")),
        "{sources:?}"
    );
    // Whatever has no source lies here, and is ours.
    for package in packages
        .all()
        .iter()
        .filter(|package| package.source.is_none())
    {
        assert!(
            package
                .manifest_path
                .starts_with(&root().display().to_string()),
            "{}",
            package.manifest_path
        );
        assert!(package.name.starts_with("lockstep"), "{}", package.name);
    }
    Ok(())
}

#[test]
fn there_is_one_copy_of_each_package_but_for_those_with_a_reason() -> Result<()> {
    let mut reasons = BTreeMap::new();
    for entry in listed("skip")? {
        let [name, reason] = entry.as_slice() else {
            anyhow::bail!("{entry:?} has no reason in deny.toml")
        };
        reasons.insert(name.clone(), reason.clone());
    }
    let packages = Packages::read()?;
    let mut copies: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for package in packages.all() {
        copies
            .entry(&package.name)
            .or_default()
            .insert(&package.version);
    }
    copies.retain(|_, versions| versions.len() > 1);
    let twice: BTreeSet<&str> = copies.keys().copied().collect();
    let excused: BTreeSet<&str> = reasons.keys().map(String::as_str).collect();
    let new: Vec<_> = copies
        .iter()
        .filter(|(name, _)| !excused.contains(*name))
        .collect();
    assert!(
        new.is_empty(),
        "several versions without a reason in deny.toml: {new:?}"
    );
    let over: Vec<_> = excused.difference(&twice).collect();
    assert!(
        over.is_empty(),
        "there is one copy of these by now; take them off the list: {over:?}"
    );
    Ok(())
}

#[test]
fn no_member_names_a_version_of_its_own() -> Result<()> {
    for package in Packages::read()?.ours() {
        let text = std::fs::read_to_string(&package.manifest_path)?;
        let versions: Vec<&str> = text
            .lines()
            .skip_while(|line| !line.contains("dependencies]"))
            .take_while(|line| !line.starts_with("[["))
            .filter(|line| line.contains('=') && !line.contains("workspace = true"))
            .collect();
        assert!(versions.is_empty(), "{}: {versions:?}", package.name);
    }
    Ok(())
}
