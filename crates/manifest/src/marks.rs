//! What the annotations and labels of Argo CD, and ours, mean on one object.
//!
//! Source: Argo CD's user guide for `argocd.argoproj.io/*`; KEP-3659 as shipped in kubectl for `applyset.*`.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

use crate::id::ObjectId;
use crate::object::Manifest;

/// The label that says which ApplySet, hence which app, an object is part of.
pub const PART_OF: &str = "applyset.kubernetes.io/part-of";
/// The label on the parent of a set.
pub const SET_ID: &str = "applyset.kubernetes.io/id";
/// Argo CD's tracking annotation.
pub const TRACKING_ID: &str = "argocd.argoproj.io/tracking-id";
/// Argo CD's wave annotation.
pub const WAVE: &str = "argocd.argoproj.io/sync-wave";
/// Argo CD's hook annotation.
pub const HOOK: &str = "argocd.argoproj.io/hook";
/// Helm's hook annotation, which Argo CD honours.
pub const HELM_HOOK: &str = "helm.sh/hook";
/// When a hook is deleted.
pub const HOOK_DELETE: &str = "argocd.argoproj.io/hook-delete-policy";
/// Keeps a hook until what became of it is written down.
pub const HOOK_FINALIZER: &str = "argocd.argoproj.io/hook-finalizer";
/// On a hook: the operation that it runs in, a slash, and the phase.
pub const RUNS_IN: &str = "lockstep.dev/runs-in";
/// Argo CD's per-object options.
pub const SYNC_OPTIONS: &str = "argocd.argoproj.io/sync-options";
/// Helm's policy that Argo CD honours when an app is deleted.
pub const HELM_KEEP: &str = "helm.sh/resource-policy";
/// Ours: whatever happens to the object, a person lets it through first.
pub const PROTECT: &str = "lockstep.dev/protect";
/// Leaves an object out of the app's health.
pub const IGNORE_HEALTH: &str = "argocd.argoproj.io/ignore-healthcheck";

/// The id of the set whose parent is this `Record`, as KEP-3659 computes it.
pub fn set_id(namespace: &str, name: &str) -> String {
    let digest = Sha256::digest(format!("{name}.{namespace}.Record.lockstep.dev"));
    format!("applyset-{}-v1", URL_SAFE_NO_PAD.encode(digest))
}

/// Argo CD's tracking id: `APP:GROUP/KIND:NAMESPACE/NAME`. The core group is empty; a cluster-scoped object carries
/// the app's destination namespace, as Argo CD writes it.
pub fn tracking_id(app: &str, id: &ObjectId, destination: &str) -> String {
    let namespace = if id.namespace.is_empty() {
        destination
    } else {
        &id.namespace
    };
    format!("{app}:{}/{}:{namespace}/{}", id.group, id.kind, id.name)
}

/// The wave an object belongs to: Argo CD's annotation, else Helm's weight, else 0; what is no number counts as not
/// there.
pub fn wave(object: &Manifest) -> i32 {
    let number = |key: &str| {
        object
            .annotation(key)
            .and_then(|text| text.trim().parse().ok())
    };
    number(WAVE)
        .or_else(|| number("helm.sh/hook-weight"))
        .unwrap_or(0)
}

/// When a hook runs, in the order of a sync; ordinary objects stand where `Sync` does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HookPhase {
    /// Before anything is applied.
    PreSync,
    /// Before anything is deleted with the app.
    PreDelete,
    /// With the ordinary objects.
    Sync,
    /// When all of these are healthy.
    PostSync,
    /// When everything was deleted with the app.
    PostDelete,
    /// When the sync has failed.
    SyncFail,
}

impl HookPhase {
    const ALL: [Self; 6] = [
        Self::PreSync,
        Self::PreDelete,
        Self::Sync,
        Self::PostSync,
        Self::PostDelete,
        Self::SyncFail,
    ];

    /// Argo CD's word.
    pub fn text(self) -> &'static str {
        match self {
            Self::PreSync => "PreSync",
            Self::PreDelete => "PreDelete",
            Self::Sync => "Sync",
            Self::PostSync => "PostSync",
            Self::PostDelete => "PostDelete",
            Self::SyncFail => "SyncFail",
        }
    }

    /// Does it belong to the deletion of an app?
    pub fn is_of_deletion(self) -> bool {
        matches!(self, Self::PreDelete | Self::PostDelete)
    }
}

impl std::str::FromStr for HookPhase {
    type Err = UnknownHook;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|phase| phase.text() == text)
            .ok_or_else(|| UnknownHook {
                annotation: HOOK,
                value: text.to_owned(),
            })
    }
}

/// When a hook that has run is deleted, by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HookDelete {
    /// Before it runs again.
    pub before_creation: bool,
    /// When the sync has succeeded.
    pub succeeded: bool,
    /// When the sync has failed.
    pub failed: bool,
}

/// What makes an object a hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hook {
    /// When it runs; never, when empty (`Skip`, and what Argo CD leaves out of Helm's hooks).
    pub phases: Vec<HookPhase>,
    /// When it is deleted.
    pub delete: HookDelete,
}

/// A hook annotation says something that nobody knows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{annotation}: {value:?} is no hook")]
pub struct UnknownHook {
    /// Which annotation.
    pub annotation: &'static str,
    /// The word in it.
    pub value: String,
}

/// What makes an object a hook, when it is one.
///
/// Shape: Argo CD's annotation counts, else Helm's as Argo CD maps it. `Skip` counts only alone; `crd-install` is what
/// Argo CD treats as an ordinary object. Errors: a word that is no hook; Argo CD leaves such an object out in silence.
/// Source: gitops-engine `sync/hook`, Helm's list of hooks.
pub fn hook(object: &Manifest) -> Result<Option<Hook>, UnknownHook> {
    let words = |key: &str| -> Vec<String> {
        let text = object.annotation(key).unwrap_or_default();
        let words = text.split(',').map(str::trim);
        words
            .filter(|word| !word.is_empty())
            .map(str::to_owned)
            .collect()
    };
    let mut phases = Vec::new();
    let own = words(HOOK);
    if own.is_empty() {
        let helm = words(HELM_HOOK);
        if helm.is_empty() || helm.iter().any(|word| word == "crd-install") {
            return Ok(None);
        }
        for word in helm {
            phases.extend(match word.as_str() {
                "pre-install" | "pre-upgrade" => Some(HookPhase::PreSync),
                "post-install" | "post-upgrade" => Some(HookPhase::PostSync),
                "pre-delete" => Some(HookPhase::PreDelete),
                "post-delete" => Some(HookPhase::PostDelete),
                "pre-rollback" | "post-rollback" | "test" | "test-success" | "test-failure" => None,
                _ => {
                    return Err(UnknownHook {
                        annotation: HELM_HOOK,
                        value: word,
                    });
                }
            });
        }
    } else {
        for word in own.iter().filter(|word| *word != "Skip") {
            phases.push(word.parse()?);
        }
    }
    phases.sort_unstable();
    phases.dedup();
    let delete = hook_delete(&words(HOOK_DELETE), &words("helm.sh/hook-delete-policy"));
    Ok(Some(Hook { phases, delete }))
}

/// The policies of the first list that names any; what nobody knows in it counts as not there, as in Argo CD.
fn hook_delete(own: &[String], helm: &[String]) -> HookDelete {
    let mut found = HookDelete::default();
    for word in own {
        match word.as_str() {
            "BeforeHookCreation" => found.before_creation = true,
            "HookSucceeded" => found.succeeded = true,
            "HookFailed" => found.failed = true,
            _ => {}
        }
    }
    if found == HookDelete::default() {
        for word in helm {
            match word.as_str() {
                "before-hook-creation" => found.before_creation = true,
                "hook-succeeded" => found.succeeded = true,
                "hook-failed" => found.failed = true,
                _ => {}
            }
        }
    }
    if found == HookDelete::default() {
        found.before_creation = true;
    }
    found
}

/// What a sync option of this name says on the object: `confirm` for `Prune=confirm`.
pub fn option<'a>(object: &'a Manifest, name: &str) -> Option<&'a str> {
    let given = object.annotation(SYNC_OPTIONS)?;
    given.split(',').find_map(|given| {
        let (key, value) = given.trim().split_once('=')?;
        key.trim().eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// Is this option (`Prune=false`) among the object's sync options?
pub fn has_option(object: &Manifest, option: &str) -> bool {
    object.annotation(SYNC_OPTIONS).is_some_and(|text| {
        text.split(',')
            .any(|given| given.trim().eq_ignore_ascii_case(option))
    })
}

/// May an object be deleted by itself?
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Deletable {
    /// Yes.
    #[default]
    Yes,
    /// When a person says so.
    Confirm,
    /// Never.
    No,
}

impl Deletable {
    /// What `false` and `confirm` mean as values of `Prune` and `Delete`.
    pub fn of_option(value: Option<&str>) -> Option<Self> {
        match value? {
            "false" => Some(Self::No),
            "confirm" => Some(Self::Confirm),
            _ => Some(Self::Yes),
        }
    }
}

/// May the object be deleted when it leaves git? None: it does not say.
pub fn prune(object: &Manifest) -> Option<Deletable> {
    Deletable::of_option(option(object, "Prune"))
}

/// May the object be deleted with its app? None: it does not say.
pub fn delete(object: &Manifest) -> Option<Deletable> {
    if object.annotation(HELM_KEEP) == Some("keep") {
        return Some(Deletable::No);
    }
    Deletable::of_option(option(object, "Delete"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(annotations: serde_json::Value) -> Manifest {
        Manifest::from_value(json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "a", "annotations": annotations}}))
        .expect("it is an object")
    }

    #[test]
    fn a_tracking_id_has_argo_cds_form() {
        let id = "Service default/web".parse().expect("an id");
        assert_eq!(
            tracking_id("guestbook", &id, "shop"),
            "guestbook:/Service:default/web"
        );
        let id = "Namespace shop".parse().expect("an id");
        assert_eq!(
            tracking_id("guestbook", &id, "shop"),
            "guestbook:/Namespace:shop/shop"
        );
    }

    #[test]
    fn a_wave_that_is_no_number_counts_as_zero() {
        assert_eq!(wave(&object(json!({WAVE: "-3"}))), -3);
        assert_eq!(wave(&object(json!({WAVE: "soon"}))), 0);
        assert_eq!(wave(&object(json!({"helm.sh/hook-weight": "5"}))), 5);
    }

    #[test]
    fn options_are_found_among_others() {
        let object = object(json!({SYNC_OPTIONS: "Validate=false, Prune=false,delete=confirm"}));
        assert_eq!(prune(&object), Some(Deletable::No));
        assert_eq!(delete(&object), Some(Deletable::Confirm));
        assert_eq!(option(&object, "PruneLast"), None);
    }

    #[test]
    fn a_set_id_fits_into_a_label() {
        assert_eq!(set_id("argocd", "shop").len(), 55);
    }

    fn phases(annotations: serde_json::Value) -> Option<Vec<HookPhase>> {
        let hook = hook(&object(annotations)).expect("known words");
        hook.map(|hook| hook.phases)
    }

    #[test]
    fn hooks_of_argo_cd_count_before_those_of_helm() {
        use HookPhase::{PostSync, PreDelete, PreSync};
        assert_eq!(phases(json!({})), None);
        assert_eq!(
            phases(json!({HOOK: "PostSync, PreSync", HELM_HOOK: "pre-delete"})),
            Some(vec![PreSync, PostSync])
        );
        assert_eq!(
            phases(json!({HELM_HOOK: "pre-install,pre-upgrade"})),
            Some(vec![PreSync])
        );
        assert_eq!(
            phases(json!({HELM_HOOK: "pre-delete"})),
            Some(vec![PreDelete])
        );
        assert_eq!(phases(json!({HELM_HOOK: "crd-install"})), None);
        assert_eq!(phases(json!({HELM_HOOK: "test"})), Some(vec![]));
    }

    #[test]
    fn skip_counts_only_alone() {
        assert_eq!(phases(json!({HOOK: "Skip"})), Some(vec![]));
        assert_eq!(
            phases(json!({HOOK: "Skip,PreSync"})),
            Some(vec![HookPhase::PreSync])
        );
    }

    #[test]
    fn a_hook_that_nobody_knows_is_an_error() {
        let unknown = |annotations| hook(&object(annotations)).expect_err("unknown").to_string();
        assert_eq!(
            unknown(json!({HOOK: "PreSync,Presync"})),
            "argocd.argoproj.io/hook: \"Presync\" is no hook"
        );
        assert_eq!(
            unknown(json!({HELM_HOOK: "pre-instal"})),
            "helm.sh/hook: \"pre-instal\" is no hook"
        );
    }

    #[test]
    fn a_hook_is_deleted_before_it_runs_again_unless_it_says_otherwise() {
        let delete = |annotations| {
            let hook = hook(&object(annotations)).expect("known").expect("a hook");
            let HookDelete {
                before_creation,
                succeeded,
                failed,
            } = hook.delete;
            [before_creation, succeeded, failed]
        };
        assert_eq!(delete(json!({HOOK: "Sync"})), [true, false, false]);
        assert_eq!(
            delete(json!({HOOK: "Sync", HOOK_DELETE: "HookSucceeded,HookFailed"})),
            [false, true, true]
        );
        assert_eq!(
            delete(json!({HOOK: "Sync", HOOK_DELETE: "Never"})),
            [true, false, false]
        );
        assert_eq!(
            delete(
                json!({HELM_HOOK: "pre-delete", "helm.sh/hook-delete-policy": "hook-succeeded"})
            ),
            [false, true, false]
        );
    }
}
