//! How an object is applied: what its sync options, and those of its app, say.

use lockstep_app::app::App;
use lockstep_manifest::write::{Conflicts, Manner, Takeover, Validation};
use lockstep_manifest::{GroupKind, Manifest, kinds, marks};

/// How this object of this app is applied.
pub(crate) fn of(app: &App, manifest: &Manifest) -> Manner {
    let options = &app.options;
    let says = |option: &str| marks::has_option(manifest, option);
    let replaces = says("Replace=true") || (options.replace && !says("Replace=false"));
    Manner {
        validation: if options.no_validate || says("Validate=false") {
            Validation::Ignore
        } else {
            Validation::Strict
        },
        conflicts: Conflicts::Tell,
        takeover: match (replaces, options.no_takeover) {
            (true, _) => Takeover::Everything,
            (false, true) => Takeover::None,
            (false, false) => Takeover::LeftBehind {
                also: options.takes_over_from.clone(),
            },
        },
        release: Vec::new(),
    }
}

/// Does the object ask to be deleted and made again when git changes what can never be changed?
pub(crate) fn is_recreated(manifest: &Manifest) -> bool {
    marks::has_option(manifest, "Force=true") && may_be_recreated(manifest)
}

/// May it be, whoever asks? Not what git cannot bring back.
pub(crate) fn may_be_recreated(manifest: &Manifest) -> bool {
    let kind: GroupKind = manifest.gvk().group_kind();
    !kinds::is_never_recreated(&kind) && manifest.annotation(marks::PROTECT) != Some("true")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(kind: &str, options: &str) -> Manifest {
        Manifest::from_value(json!({"apiVersion": "v1", "kind": kind,
            "metadata": {"name": "a", "annotations": {marks::SYNC_OPTIONS: options}}}))
        .expect("it is an object")
    }

    #[test]
    fn what_git_cannot_bring_back_is_never_deleted_to_be_made_again() {
        assert!(is_recreated(&object("Service", "Replace=true,Force=true")));
        assert!(!is_recreated(&object("Service", "Replace=true")));
        for kind in ["PersistentVolumeClaim", "PersistentVolume", "Namespace"] {
            assert!(!is_recreated(&object(kind, "Force=true")), "{kind}");
        }
        let mut protected = object("Service", "Force=true");
        protected.set_annotation(marks::PROTECT, "true");
        assert!(!is_recreated(&protected));
    }
}
