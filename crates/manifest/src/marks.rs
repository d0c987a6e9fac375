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
/// Argo CD's per-object options.
pub const SYNC_OPTIONS: &str = "argocd.argoproj.io/sync-options";
/// Helm's policy that Argo CD honours when an app is deleted.
pub const HELM_KEEP: &str = "helm.sh/resource-policy";
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

/// The hook annotation's text, when the object is a hook of Argo CD or of Helm.
///
/// `crd-install` is what Argo CD treats as an ordinary object, so it is none.
pub fn hook(object: &Manifest) -> Option<&str> {
    object
        .annotation(HOOK)
        .or_else(|| {
            object
                .annotation(HELM_HOOK)
                .filter(|text| text.trim() != "crd-install")
        })
        .filter(|text| !text.trim().is_empty())
}

/// Is this option (`Prune=false`) among the object's sync options?
pub fn has_option(object: &Manifest, option: &str) -> bool {
    object.annotation(SYNC_OPTIONS).is_some_and(|text| {
        text.split(',')
            .any(|given| given.trim().eq_ignore_ascii_case(option))
    })
}

/// Must the object stay when it leaves git?
pub fn is_prune_off(object: &Manifest) -> bool {
    has_option(object, "Prune=false") || has_option(object, "Prune=confirm")
}

/// Must the object stay when its app is deleted?
pub fn is_delete_off(object: &Manifest) -> bool {
    has_option(object, "Delete=false")
        || has_option(object, "Delete=confirm")
        || object.annotation(HELM_KEEP) == Some("keep")
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
        let object = object(json!({SYNC_OPTIONS: "Validate=false, Prune=false"}));
        assert!(is_prune_off(&object));
        assert!(!is_delete_off(&object));
    }

    #[test]
    fn a_set_id_fits_into_a_label() {
        assert_eq!(set_id("argocd", "shop").len(), 55);
    }
}
