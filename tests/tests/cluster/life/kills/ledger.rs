//! What must hold of the writes of a life, whoever was killed during it.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, bail, ensure};
use lockstep_tests::audit::Request;
use lockstep_tests::proxy::Write;
use reqwest::Method;
use serde_json::Value;

/// A kind and a name: all objects of a life are in one namespace.
type Name = (String, String);

/// Every hook that runs in a life, and how often: `report` after each of three syncs.
const HOOKS: [(&str, usize); 4] = [("clean", 1), ("farewell", 1), ("migrate", 1), ("report", 3)];

/// The writes that were answered, in the order of their answers, keep to the rules.
pub(super) fn keeps(writes: &[Write]) -> Result<()> {
    let mut live: BTreeMap<Name, String> = BTreeMap::new();
    let mut deleted = BTreeSet::new();
    let mut made: BTreeMap<(String, Name), usize> = BTreeMap::new();
    for (position, write) in writes.iter().enumerate() {
        let before = record(&writes[..write.answered_before]);
        let what = || format!("write {write}");
        if !write.status.is_success() {
            continue;
        }
        if is_object(write) && write.method == Method::DELETE {
            let (name, uid) = deletes(write, before).with_context(what)?;
            ensure!(deleted.insert(uid), "{} is deleted twice", what());
            live.remove(&name);
        } else if is_object(write) {
            let name = name_of(&write.answer);
            let entries = entries(before);
            ensure!(
                entries.contains_key(&name),
                "{} comes before the record names it",
                what()
            );
            let uid = text(&write.answer["metadata"]["uid"]);
            let runs_in = text(&write.answer["metadata"]["annotations"]["lockstep.dev/runs-in"]);
            if !runs_in.is_empty() && write.status == 201 {
                *made.entry((runs_in, name.clone())).or_default() += 1;
            }
            live.insert(name, uid);
        }
        let entries = entries(record(&writes[..=position]));
        let leaked = live.keys().find(|name| !entries.contains_key(*name));
        ensure!(
            leaked.is_none(),
            "after {} the record names no {leaked:?}",
            what()
        );
    }
    ensure!(live.is_empty(), "these were never deleted: {live:?}");
    let twice = made.iter().find(|(_, times)| **times > 1);
    ensure!(
        twice.is_none(),
        "a hook has run twice in one operation: {twice:?}"
    );
    let mut runs: BTreeMap<&str, usize> = BTreeMap::new();
    for (_, (_, name)) in made.keys() {
        *runs.entry(name).or_default() += 1;
    }
    ensure!(
        runs == BTreeMap::from(HOOKS),
        "these hooks have run: {made:#?}"
    );
    Ok(())
}

/// The proxy has seen every write that the API server has.
pub(super) fn is_the_audit_log(writes: &[Write], audited: &[Request]) -> Result<()> {
    let mut counts: BTreeMap<(&str, &str), isize> = BTreeMap::new();
    for write in writes {
        let verb = match write.method.as_str() {
            "POST" => "create",
            "PUT" => "update",
            "PATCH" => "patch",
            _ => "delete",
        };
        *counts.entry((verb, &write.path)).or_default() += 1;
    }
    for request in audited {
        let path = request.uri.split('?').next().unwrap_or_default();
        *counts.entry((&request.verb, path)).or_default() -= 1;
    }
    counts.retain(|_, count| *count != 0);
    ensure!(
        counts.is_empty(),
        "went through the proxy more often (or less) than it is in the audit log: {counts:?}"
    );
    Ok(())
}

/// Which object a deletion is about, with its uid. It has to name one version of one object, and the record has to name
/// that object too: as ours, by its uid; or as the hook that is about to be made where one of an earlier sync stands.
/// What became of a hook of the sync that runs is on record before.
fn deletes(write: &Write, record: Option<&Value>) -> Result<(Name, String)> {
    let wanted = &write.body["preconditions"];
    let (uid, version) = (text(&wanted["uid"]), text(&wanted["resourceVersion"]));
    ensure!(
        !uid.is_empty() && !version.is_empty(),
        "it names no version of one object"
    );
    let entries = entries(record);
    let hooks = record.map_or(&Value::Null, |record| &record["run"]["hooks"]);
    let hooks = hooks.as_array().into_iter().flatten();
    let called = write.path.rsplit('/').next().unwrap_or_default();
    for hook in hooks.filter(|hook| hook["object"]["name"] == called) {
        let name = (text(&hook["object"]["kind"]), called.to_owned());
        match hook["state"].as_str() {
            Some("Succeeded") => {}
            Some("Claimed") if entries.get(&name) == Some(&None) => return Ok((name, uid)),
            state => bail!("it is a hook, and on record as {state:?}"),
        }
    }
    let named = entries
        .into_iter()
        .find(|(_, known)| known.as_ref() == Some(&uid));
    match named {
        Some((name, _)) => Ok((name, uid)),
        None => bail!("the record does not know its uid"),
    }
}

/// The record as the last of these writes has left it.
fn record(writes: &[Write]) -> Option<&Value> {
    let of_record = |write: &&Write| write.path.contains("/records") && write.status.is_success();
    writes
        .iter()
        .rev()
        .find(of_record)
        .map(|write| &write.answer)
}

/// What a record names, each with its uid where that is known.
fn entries(record: Option<&Value>) -> BTreeMap<Name, Option<String>> {
    let entries = record.and_then(|record| record["entries"].as_array());
    let entries = entries.into_iter().flatten().map(|entry| {
        let name = (text(&entry["kind"]), text(&entry["name"]));
        (name, entry["uid"].as_str().map(str::to_owned))
    });
    entries.collect()
}

/// Is it about an object of the app, and not about what is known of the app?
fn is_object(write: &Write) -> bool {
    !write.path.starts_with("/apis/lockstep.dev/") && !write.path.starts_with("/apis/argoproj.io/")
}

fn name_of(object: &Value) -> Name {
    (text(&object["kind"]), text(&object["metadata"]["name"]))
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
