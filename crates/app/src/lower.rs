//! From what an Application says to what it means.
//!
//! What this version does not act on is either harmless, then it is listed in `not_acted_on`, or it would change
//! what is applied, then it is an error and the app is held. Nothing is ignored in silence.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use lockstep_manifest::marks::Deletable;
use lockstep_manifest::write::Propagation;
use lockstep_manifest::{Digest, Uid};
use serde_json::json;

use crate::app::{App, AppKey, Destination, Ignore, OnDelete, Retry, SyncOptions};
use crate::config::Environments;
use crate::policy::{DeletionPolicy, DriftPolicy, NewCommitPolicy, Policy, stricter};
use crate::project::{OWN_CLUSTER, OWN_SERVER};
use crate::spelling;
use crate::units;
use crate::v1alpha1::{Application, ApplicationSpec, RetryStrategy};

mod operation;
mod source;

pub use crate::spec_error::SpecError;

/// The label by which an Application names its environment.
pub const ENVIRONMENT_LABEL: &str = "lockstep.dev/environment";

/// The label by which an Application says what its app is called.
pub const APP_LABEL: &str = "lockstep.dev/app";

/// The environment of Applications without the label.
pub const DEFAULT_ENVIRONMENT: &str = "default";

/// Argo CD's finalizer: the objects go with the Application. `/foreground` and `/background` may follow.
pub const RESOURCES_FINALIZER: &str = "resources-finalizer.argocd.argoproj.io";

/// Argo CD's finalizer of an Application with `PreDelete` hooks.
pub const PRE_DELETE_FINALIZER: &str = "pre-delete-finalizer.argocd.argoproj.io";

/// The same with `PostDelete` hooks.
pub const POST_DELETE_FINALIZER: &str = "post-delete-finalizer.argocd.argoproj.io";

/// Does the finalizer keep an Application for its hooks? `/cleanup` may follow.
pub fn is_of_deletion_hooks(finalizer: &str) -> bool {
    [PRE_DELETE_FINALIZER, POST_DELETE_FINALIZER]
        .iter()
        .any(|known| finalizer.starts_with(known))
}

/// Argo CD's annotation on an Application that names one more tool whose fields are taken over.
const MIGRATION_MANAGER: &str = "argocd.argoproj.io/client-side-apply-migration-manager";

/// What was found wrong, and what is left aside.
#[derive(Default)]
struct Notes {
    errors: Vec<SpecError>,
    not_acted_on: Vec<String>,
}

impl Notes {
    fn error(
        &mut self,
        pointer: impl Into<String>,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.errors
            .push(SpecError::new(pointer, message).hint(hint));
    }

    fn left_aside(&mut self, path: impl Into<String>) {
        self.not_acted_on.push(path.into());
    }
}

/// Lowers an Application into the app it means, under the policies of its environment.
///
/// Errors: every one at once, each with its place; all are the user's move.
pub fn lower(written: &Application, environments: &Environments) -> Result<App, Vec<SpecError>> {
    let mut notes = Notes {
        not_acted_on: written.spec.unknown.clone(),
        ..Notes::default()
    };
    let spec = written.wanted();
    let metadata = &written.metadata;

    let environment = match written.label(ENVIRONMENT_LABEL) {
        None | Some("") => DEFAULT_ENVIRONMENT,
        Some(name) => name,
    };
    let sources = source::sources(spec, &mut notes);
    let (mut options, create_namespace) = sync_options(spec, &mut notes);
    options.takes_over_from = written
        .annotation(MIGRATION_MANAGER)
        .filter(|manager| !manager.is_empty())
        .map(str::to_owned);
    let policy = policy(spec, environment, environments, &mut notes);
    let destination = destination(spec, &mut notes);
    let ignore = ignore(spec, &mut notes);
    let written_retry = retry(spec, &mut notes);
    let sync_timeout = sync_timeout(written, &mut notes);
    let deletion_approved = deletion_approved(written, &mut notes);
    let requested = operation::requested(written, &sources, &mut notes);
    if !spec.info.is_empty() {
        notes.left_aside("spec.info");
    }
    let history_limit = spec.revision_history_limit.unwrap_or(10);
    if history_limit < 0 {
        notes.error(
            "/spec/revisionHistoryLimit",
            "is below zero",
            "write 0 to remember none",
        );
    }
    if !notes.errors.is_empty() {
        return Err(notes.errors);
    }

    let finalizers = metadata.finalizers.clone().unwrap_or_default();
    let namespace_metadata = spec
        .sync_policy
        .as_ref()
        .and_then(|p| p.managed_namespace_metadata.clone())
        .unwrap_or_default();
    notes.not_acted_on.sort();
    notes.not_acted_on.dedup();
    let source_digest = source_digest(spec, &options);
    Ok(App {
        key: AppKey {
            namespace: metadata.namespace.clone().unwrap_or_default(),
            name: metadata.name.clone().unwrap_or_default(),
        },
        uid: Uid(metadata.uid.clone().unwrap_or_default()),
        generation: metadata.generation.unwrap_or_default(),
        name: name(written, environment),
        environment: environment.to_owned(),
        project: if spec.project.is_empty() {
            "default".to_owned()
        } else {
            spec.project.clone()
        },
        sources,
        namespace: spec.destination.namespace.clone(),
        destination,
        policy,
        create_namespace,
        namespace_labels: namespace_metadata.labels.unwrap_or_default(),
        namespace_annotations: namespace_metadata.annotations.unwrap_or_default(),
        options,
        ignore,
        retry: written_retry.unwrap_or_default(),
        retry_by_hand: written_retry.unwrap_or_else(Retry::never),
        sync_timeout,
        history_limit: usize::try_from(history_limit).unwrap_or(0),
        on_delete: on_delete(&finalizers),
        leaving: metadata.deletion_timestamp.is_some(),
        leaving_since: metadata.deletion_timestamp.as_ref().map(|at| at.0),
        deletion_approved,
        finalizers,
        refresh: written
            .annotation("argocd.argoproj.io/refresh")
            .map(str::to_owned),
        skip: written.annotation("argocd.argoproj.io/skip-reconcile") == Some("true"),
        requested,
        not_acted_on: notes.not_acted_on,
        source_digest,
    })
}

/// Gives every app of an environment a name of its own: where two would be called the same, both go by their full
/// names, and by namespace and name where even those are the same.
pub fn names(apps: &mut [App]) {
    let clashing = |apps: &[App]| -> BTreeSet<usize> {
        let mut by_name: BTreeMap<(&str, &str), Vec<usize>> = BTreeMap::new();
        for (index, app) in apps.iter().enumerate() {
            by_name
                .entry((&app.environment, &app.name))
                .or_default()
                .push(index);
        }
        by_name
            .into_values()
            .filter(|same| same.len() > 1)
            .flatten()
            .collect()
    };
    // A full name may be another app's short one, so it takes as many rounds as there are such chains; each round
    // that goes on has turned at least one short name into a full one.
    for _ in 0..=apps.len() {
        let clashes = clashing(apps);
        let mut changed = false;
        for index in clashes {
            if let Some(app) = apps.get_mut(index)
                && app.name != app.key.name
            {
                app.name = app.key.name.clone();
                changed = true;
            }
        }
        if !changed {
            break;
        }
    }
    for index in clashing(apps) {
        if let Some(app) = apps.get_mut(index) {
            app.name = format!("{}.{}", app.key.namespace, app.key.name);
        }
    }
}

/// The label, else the Application's name less a leading `ENV-` or trailing `-ENV`.
fn name(written: &Application, environment: &str) -> String {
    if let Some(label) = written.label(APP_LABEL).filter(|label| !label.is_empty()) {
        return label.to_owned();
    }
    let full = written.metadata.name.clone().unwrap_or_default();
    let short = full
        .strip_prefix(environment)
        .and_then(|rest| rest.strip_prefix('-'))
        .or_else(|| {
            full.strip_suffix(environment)
                .and_then(|rest| rest.strip_suffix('-'))
        })
        .filter(|short| !short.is_empty());
    match short {
        Some(short) if environment != DEFAULT_ENVIRONMENT => short.to_owned(),
        _ => full,
    }
}

fn policy(
    spec: &ApplicationSpec,
    environment: &str,
    environments: &Environments,
    notes: &mut Notes,
) -> Policy {
    let automated = spec
        .sync_policy
        .as_ref()
        .and_then(|policy| policy.automated.as_ref())
        .filter(|automated| automated.enabled != Some(false));
    let says = |flag: Option<bool>| flag == Some(true);
    let new_commit = if automated.is_some() {
        NewCommitPolicy::Apply
    } else {
        NewCommitPolicy::Approve
    };
    let drift = if automated.is_some_and(|a| says(a.self_heal)) {
        DriftPolicy::Heal
    } else {
        DriftPolicy::Report
    };
    let deletion = if automated.is_some_and(|a| says(a.prune)) {
        DeletionPolicy::Prune
    } else {
        DeletionPolicy::Approve
    };
    let found = environments.get(environment);
    if found.is_none() && environment != DEFAULT_ENVIRONMENT {
        let hint = match spelling::nearest(environment, environments.names()) {
            Some(near) => format!("did you mean `{near}`?"),
            None if environments.is_empty() => {
                "add it to `environments` in the daemon's configuration, or take the label away"
                    .to_owned()
            }
            None => "name one of them, or add it to `environments` in the daemon's configuration"
                .to_owned(),
        };
        let known: Vec<&str> = environments.names().collect();
        notes.error(
            "/metadata/labels/lockstep.dev~1environment",
            if known.is_empty() {
                format!("{environment:?} names no environment; there are none")
            } else {
                format!(
                    "{environment:?} names no environment; there are {}",
                    known.join(", ")
                )
            },
            hint,
        );
    }
    let (new_commit, new_commit_by) = stricter(new_commit, found.and_then(|e| e.new_commit));
    let (drift, drift_by) = stricter(drift, found.and_then(|e| e.drift));
    let (deletion, deletion_by) = stricter(deletion, found.and_then(|e| e.deletion));
    Policy {
        new_commit,
        new_commit_by,
        drift,
        drift_by,
        deletion,
        deletion_by,
        prune_budget: found.and_then(|e| e.prune_budget).unwrap_or_default(),
        allow_empty: automated.is_some_and(|a| says(a.allow_empty)),
    }
}

fn destination(spec: &ApplicationSpec, notes: &mut Notes) -> Destination {
    let written = &spec.destination;
    let own = format!("write `server: {OWN_SERVER}`");
    match (written.server.trim_end_matches('/'), written.name.as_str()) {
        ("", "") => notes.error("/spec/destination", "names no cluster", own),
        (OWN_SERVER, "") | ("", OWN_CLUSTER) => {}
        ("", name) => notes.error(
            "/spec/destination/name",
            format!("{name:?} is another cluster than the one the daemon runs in; this version serves only that"),
            own,
        ),
        (server, "") => notes.error(
            "/spec/destination/server",
            format!("{server:?} is another cluster than the one the daemon runs in; this version serves only that"),
            own,
        ),
        (_, _) => notes.error(
            "/spec/destination",
            "has both a server and a name",
            "take one of the two away",
        ),
    }
    let namespace = &written.namespace;
    let is_name = namespace.len() <= 63
        && namespace
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !namespace.starts_with('-')
        && !namespace.ends_with('-');
    if !is_name {
        notes.error(
            "/spec/destination/namespace",
            format!("{namespace:?} cannot be a namespace's name"),
            "use lower-case letters, digits and `-`, at most 63",
        );
    }
    Destination {
        server: written.server.clone(),
        name: written.name.clone(),
    }
}

/// The options, and whether the namespace is made.
fn sync_options(spec: &ApplicationSpec, notes: &mut Notes) -> (SyncOptions, bool) {
    let mut options = SyncOptions::default();
    let mut create_namespace = false;
    let written = spec
        .sync_policy
        .as_ref()
        .map(|p| p.sync_options.as_slice())
        .unwrap_or_default();
    for (index, option) in written.iter().enumerate() {
        let at = format!("/spec/syncPolicy/syncOptions/{index}");
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        match (name.trim(), value.trim()) {
            ("CreateNamespace", value) => create_namespace = value == "true",
            ("Prune", value) => {
                options.prune = Deletable::of_option(Some(value)).unwrap_or_default();
            }
            ("Delete", value) => {
                options.delete = Deletable::of_option(Some(value)).unwrap_or_default();
            }
            ("FailOnSharedResource", value) => options.fail_on_shared = value == "true",
            ("SkipDryRunOnMissingResource", value) => options.waits_for_kinds = value == "true",
            ("PruneLast", value) => options.prune_last = value == "true",
            ("RespectIgnoreDifferences", value) => {
                options.respect_ignore_differences = value == "true";
            }
            ("Validate", value) => options.no_validate = value == "false",
            ("Replace", value) => options.replace = value == "true",
            ("ClientSideApplyMigration", value) => options.no_takeover = value == "false",
            ("PrunePropagationPolicy", value) => match value {
                "foreground" => options.propagation = Propagation::Foreground,
                "background" => options.propagation = Propagation::Background,
                "orphan" => options.propagation = Propagation::Orphan,
                other => notes.error(
                    at,
                    format!("{other:?} is no propagation policy"),
                    "write foreground, background or orphan",
                ),
            },
            (name, value) if makes_no_difference(name, value) => {}
            _ => notes.left_aside(format!("spec.syncPolicy.syncOptions[{option}]")),
        }
    }
    (options, create_namespace)
}

/// What Lockstep does in any case, or what says that nothing is to be different.
fn makes_no_difference(name: &str, value: &str) -> bool {
    match value {
        "true" => matches!(name, "ServerSideApply" | "ApplyOutOfSyncOnly"),
        // An object that is as git wants it is not applied again, whoever asks: nobody can tell the difference.
        "false" => matches!(name, "Force" | "ApplyOutOfSyncOnly"),
        _ => false,
    }
}

fn ignore(spec: &ApplicationSpec, notes: &mut Notes) -> Vec<Ignore> {
    let mut rules = Vec::new();
    for (index, rule) in spec.ignore_differences.iter().enumerate() {
        let at = format!("/spec/ignoreDifferences/{index}");
        let path = format!("spec.ignoreDifferences[{index}]");
        if rule.kind.is_empty() {
            notes.error(
                format!("{at}/kind"),
                "is missing",
                "name a kind, or write `*` for any",
            );
        }
        if !rule.jq_path_expressions.is_empty() {
            notes.left_aside(format!("{path}.jqPathExpressions"));
        }
        if !rule.managed_fields_managers.is_empty() {
            notes.left_aside(format!("{path}.managedFieldsManagers"));
        }
        for (number, pointer) in rule.json_pointers.iter().enumerate() {
            if !pointer.starts_with('/') {
                notes.error(
                    format!("{at}/jsonPointers/{number}"),
                    format!("{pointer:?} is no JSON pointer"),
                    "begin it with `/`, as in /spec/replicas",
                );
            }
        }
        if !rule.json_pointers.is_empty() {
            rules.push(Ignore {
                group: rule.group.clone(),
                kind: rule.kind.clone(),
                namespace: rule.namespace.clone(),
                name: rule.name.clone(),
                json_pointers: rule.json_pointers.clone(),
            });
        }
    }
    rules
}

fn retry(spec: &ApplicationSpec, notes: &mut Notes) -> Option<Retry> {
    let written = spec.sync_policy.as_ref()?.retry.as_ref()?;
    Some(lower_retry(written, "/spec/syncPolicy/retry", notes))
}

/// How long a sync waits when nobody says: Argo CD waits for ever, which is what its users complain of most.
const SYNC_TIMEOUT: Duration = Duration::from_mins(10);

/// The annotation that says how long a sync waits for one thing.
pub const TIMEOUT_ANNOTATION: &str = "lockstep.dev/sync-timeout";

fn sync_timeout(written: &Application, notes: &mut Notes) -> Duration {
    let Some(text) = written.annotation(TIMEOUT_ANNOTATION) else {
        return SYNC_TIMEOUT;
    };
    let read = units::duration(text).filter(|wait| !wait.is_zero());
    read.unwrap_or_else(|| {
        notes.error(
            "/metadata/annotations/lockstep.dev~1sync-timeout",
            format!("{text:?} is no duration"),
            "write it as 90s, 10m or 1h",
        );
        SYNC_TIMEOUT
    })
}

fn deletion_approved(written: &Application, notes: &mut Notes) -> Option<jiff::Timestamp> {
    let text = written.annotation("argocd.argoproj.io/deletion-approved")?;
    let read = text.parse().ok();
    if read.is_none() {
        notes.error(
            "/metadata/annotations/argocd.argoproj.io~1deletion-approved",
            format!("{text:?} is no time"),
            "write the time of the confirmation, as date -u +%Y-%m-%dT%H:%M:%SZ prints it",
        );
    }
    read
}

/// How a sync tries again, from a request that says it as an Application would.
///
/// Errors: what is wrong with it; it is the sender's move.
pub fn requested_retry(written: &RetryStrategy) -> Result<Retry, Vec<SpecError>> {
    let mut notes = Notes::default();
    let retry = lower_retry(written, "/retryStrategy", &mut notes);
    if notes.errors.is_empty() {
        Ok(retry)
    } else {
        Err(notes.errors)
    }
}

fn lower_retry(written: &RetryStrategy, at: &str, notes: &mut Notes) -> Retry {
    if written.refresh == Some(true) {
        notes.left_aside(format!("{}.refresh", crate::spec_error::path(at)));
    }
    let mut retry = Retry {
        // Below zero is for ever; nothing written is none, as a zero is in Argo CD.
        limit: match written.limit.unwrap_or(0) {
            limit if limit < 0 => None,
            limit => Some(u32::try_from(limit).unwrap_or(u32::MAX)),
        },
        ..Retry::default()
    };
    let Some(backoff) = &written.backoff else {
        return retry;
    };
    let mut wait = |key: &str, text: &Option<String>, default: Duration| {
        let Some(text) = text.as_deref().filter(|text| !text.is_empty()) else {
            return default;
        };
        let read = match text.parse::<u32>() {
            Ok(seconds) => Some(Duration::from_secs(u64::from(seconds))),
            Err(_) => units::duration(text),
        };
        read.unwrap_or_else(|| {
            notes.error(
                format!("{at}/backoff/{key}"),
                format!("{text:?} is no duration"),
                "write it as 5s, 3m or 1h30m",
            );
            default
        })
    };
    retry.first = wait("duration", &backoff.duration, retry.first);
    retry.longest = wait("maxDuration", &backoff.max_duration, retry.longest);
    if retry.longest.is_zero() {
        retry.longest = Duration::MAX;
    }
    match backoff.factor {
        None => {}
        Some(factor) if factor >= 1 => retry.factor = u32::try_from(factor).unwrap_or(u32::MAX),
        Some(_) => {
            notes.error(
                format!("{at}/backoff/factor"),
                "is below one",
                "write 1 for equal waits",
            );
        }
    }
    retry
}

fn on_delete(finalizers: &[String]) -> OnDelete {
    for finalizer in finalizers {
        match finalizer.strip_prefix(RESOURCES_FINALIZER) {
            Some("" | "/foreground") => return OnDelete::Cascade(Propagation::Foreground),
            Some("/background") => return OnDelete::Cascade(Propagation::Background),
            _ => {}
        }
    }
    OnDelete::Orphan
}

/// When this changes, git is asked again.
fn source_digest(spec: &ApplicationSpec, options: &SyncOptions) -> String {
    let mut facts = json!({
        "source": spec.source,
        "sources": spec.sources,
        "destination": spec.destination,
        "ignoreDifferences": spec.ignore_differences,
        "respectIgnoreDifferences": options.respect_ignore_differences,
    });
    // Only where they are not as usual: apps whose record was written before these counted look at git no more often.
    let manner = (options.no_validate, options.replace, options.no_takeover);
    if manner != (false, false, false) || options.takes_over_from.is_some() {
        facts["manner"] = json!([manner, options.takes_over_from]);
    }
    Digest::of_value(&facts).0
}

#[cfg(test)]
mod tests;
