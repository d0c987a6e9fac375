//! The drift ledger and the plan, as drawn.

use lockstep_api::app::GitPlace;
use lockstep_api::drift::{Drift, DriftField, Precision, Writer};
use lockstep_api::plan::{FieldDiff, PlanStep, PlanView};
use lockstep_api::text;
use lockstep_api::time::Time;
use serde_json::Value;

use crate::http::words::Now;

/// How much of a value a plan shows: a screen of it; the whole stands in the JSON.
const VALUE: usize = 2000;

/// A field's path: all but the last part, and the last.
pub(in crate::http) struct FieldPath {
    pub(in crate::http) before: Vec<String>,
    pub(in crate::http) last: String,
}

impl FieldPath {
    /// Cuts after dots and before brackets, but never inside brackets: `metadata.annotations[a.b/c]`.
    fn new(path: &str) -> Self {
        let mut parts: Vec<String> = Vec::new();
        let mut part = String::new();
        let mut depth = 0_usize;
        for c in path.chars() {
            match c {
                '[' => {
                    if depth == 0 && !part.is_empty() {
                        parts.push(std::mem::take(&mut part));
                    }
                    depth += 1;
                    part.push(c);
                }
                ']' => {
                    depth = depth.saturating_sub(1);
                    part.push(c);
                }
                '.' if depth == 0 => {
                    part.push(c);
                    parts.push(std::mem::take(&mut part));
                }
                c => part.push(c),
            }
        }
        Self {
            before: parts,
            last: part,
        }
    }
}

/// One object that differs.
pub(in crate::http) struct LedgerObject {
    pub(in crate::http) kind: String,
    pub(in crate::http) name: String,
    pub(in crate::http) note: String,
    pub(in crate::http) fields: Vec<LedgerField>,
}

/// One field that differs.
pub(in crate::http) struct LedgerField {
    pub(in crate::http) path: FieldPath,
    pub(in crate::http) git_at: Option<InGit>,
    pub(in crate::http) git: String,
    pub(in crate::http) live: String,
    pub(in crate::http) by: Vec<By>,
    pub(in crate::http) when: String,
    pub(in crate::http) noticed: Time,
}

pub(in crate::http) struct By {
    pub(in crate::http) tool: String,
    pub(in crate::http) about: String,
}

/// How many fields of one object are drawn.
const FIELDS: usize = 100;

pub(super) fn ledger(drift: &Drift, now: Now) -> Vec<LedgerObject> {
    drift
        .objects
        .iter()
        .map(|object| {
            let mut note = match (object.missing, object.will_revert_at) {
                (true, Some(at)) => format!("is gone; made again at {} UTC", now.clock(&at)),
                (true, None) => "is gone from the cluster".to_owned(),
                (false, Some(at)) => format!("put back at {} UTC", now.clock(&at)),
                (false, None) => String::new(),
            };
            if object.fields.len() > FIELDS {
                let more = object.fields.len() - FIELDS;
                note = format!("{note} {more} fields more in the JSON");
            }
            LedgerObject {
                kind: object.id.kind.clone(),
                name: object.id.name.clone(),
                note,
                fields: object
                    .fields
                    .iter()
                    .take(FIELDS)
                    .map(|field| row(field, now))
                    .collect(),
            }
        })
        .collect()
}

fn row(field: &DriftField, now: Now) -> LedgerField {
    let side = |side: Option<&Value>| match side {
        None if field.sensitive => "differs".to_owned(),
        side => text::side(side, false),
    };
    // The newest writer's second, when it can be told; else when we noticed, which is never earlier.
    let exact = field.by.iter().any(|by| by.precision == Precision::Exact);
    let clock = now.clock(&field.noticed_at);
    LedgerField {
        path: FieldPath::new(&field.path),
        git_at: field
            .git_at
            .as_ref()
            .map(|at| InGit::new(at, &field.git_before)),
        git: side(field.git.as_ref()),
        live: side(field.live.as_ref()),
        by: field.by.iter().map(by).collect(),
        when: if exact { clock } else { format!("by {clock}") },
        noticed: field.noticed_at,
    }
}

/// Where git says something.
pub(in crate::http) struct InGit {
    pub(in crate::http) at: String,
    /// What that overrides, in words; empty when nothing.
    pub(in crate::http) over: String,
}

impl InGit {
    fn new(at: &GitPlace, before: &[GitPlace]) -> Self {
        let before: Vec<String> = before.iter().rev().map(ToString::to_string).collect();
        Self {
            at: at.to_string(),
            over: if before.is_empty() {
                String::new()
            } else {
                format!("overrides {}", before.join(", then "))
            },
        }
    }
}

/// A field manager with what its name means, where that is known.
fn by(writer: &Writer) -> By {
    let known = match (writer.manager.as_str(), writer.subresource.as_deref()) {
        ("kubectl-edit", _) => "somebody ran kubectl edit",
        ("kubectl-patch", _) => "somebody ran kubectl patch",
        ("kubectl-client-side-apply", _) => "somebody ran kubectl apply",
        ("kubectl-rollout" | "kubectl-set" | "kubectl-label" | "kubectl-annotate", _) => {
            "somebody ran kubectl"
        }
        ("kube-controller-manager", Some("scale")) => "the autoscaler",
        ("kube-controller-manager", _) => "a controller of Kubernetes",
        ("lockstep", _) => "Lockstep itself",
        ("argocd-controller", _) => "Argo CD",
        _ => "",
    };
    let about = match (&writer.subresource, known) {
        (Some(subresource), "") => format!("{subresource} subresource"),
        (Some(subresource), known) => format!("{subresource} subresource · {known}"),
        (None, "") => writer.operation.to_lowercase(),
        (None, known) => known.to_owned(),
    };
    By {
        tool: writer.manager.clone(),
        about,
    }
}

/// One step of a plan.
pub(in crate::http) struct PlanRow {
    pub(in crate::http) id: String,
    pub(in crate::http) open: bool,
    pub(in crate::http) kind: String,
    pub(in crate::http) name: String,
    pub(in crate::http) verb: &'static str,
    pub(in crate::http) role: &'static str,
    pub(in crate::http) about: String,
    pub(in crate::http) changes: Vec<PlanChange>,
}

/// One field that would change.
pub(in crate::http) struct PlanChange {
    pub(in crate::http) path: String,
    pub(in crate::http) before: Option<String>,
    pub(in crate::http) after: Option<String>,
    pub(in crate::http) git_at: Option<InGit>,
}

pub(super) fn plan(plan: &PlanView, most: usize, open: usize) -> Vec<PlanRow> {
    plan.steps
        .iter()
        .take(most)
        .enumerate()
        .map(|(at, step)| PlanRow {
            id: format!("step-{}-{}", step.id.kind, step.id.name),
            open: at < open,
            kind: step.id.kind.clone(),
            name: step.id.name.clone(),
            verb: text::step_verb(step),
            role: match text::step_verb(step) {
                "create" => "ok",
                "delete" => "fail",
                _ => "run",
            },
            about: about(step),
            changes: step.changes.iter().take(FIELDS).map(change).collect(),
        })
        .collect()
}

fn about(step: &PlanStep) -> String {
    let mut parts = vec![step.because.clone()];
    if step.wave != 0 {
        parts.push(format!("wave {}", step.wave));
    }
    if let Some(on) = &step.waits_for {
        parts.push(format!("waits for {on}"));
    }
    for taken in &step.taken {
        parts.push(format!("takes {}", taken.text));
    }
    parts.join(" · ")
}

fn change(change: &FieldDiff) -> PlanChange {
    let git_at = change
        .git_at
        .as_ref()
        .map(|at| InGit::new(at, &change.git_before));
    if change.sensitive {
        return PlanChange {
            path: change.path.clone(),
            before: None,
            after: Some("(changes; the value is not shown)".to_owned()),
            git_at,
        };
    }
    PlanChange {
        path: change.path.clone(),
        before: change.before.as_ref().map(whole),
        after: change.after.as_ref().map(whole),
        git_at,
    }
}

/// A value with its lines, cut at a screen.
fn whole(value: &Value) -> String {
    let said = match value {
        Value::String(text) if text::needs_quotes(text) => format!("\"{text}\""),
        Value::String(text) => text.clone(),
        Value::Array(_) | Value::Object(_) => {
            serde_json::to_string_pretty(value).unwrap_or_else(|_| value.to_string())
        }
        other => other.to_string(),
    };
    if said.chars().count() <= VALUE {
        return said;
    }
    let cut: String = said.chars().take(VALUE).collect();
    format!("{cut}…")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_cut_at_dots_and_brackets_but_not_inside_brackets() {
        let path = FieldPath::new("spec.containers[web].image");
        assert_eq!(path.before, ["spec.", "containers", "[web]."]);
        assert_eq!(path.last, "image");
        let path = FieldPath::new("metadata.annotations[a.b/c]");
        assert_eq!((path.before.len(), path.last.as_str()), (2, "[a.b/c]"));
    }
}
