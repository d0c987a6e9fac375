use super::*;
use serde_json::json;

fn object(entries: &Value) -> Manifest {
    Manifest::from_value(json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "labels": {"app": "web", "old": "1"}, "managedFields": entries},
        "spec": {"replicas": 3, "paused": true, "template": {"spec": {"containers": [
            {"name": "side", "image": "side:1"}, {"name": "web", "image": "web:1"}]}}}
    }))
    .expect("it is an object")
}

fn entry(manager: &str, operation: &str, fields: &Value) -> Value {
    json!({"manager": manager, "operation": operation, "apiVersion": "apps/v1", "fieldsType": "FieldsV1",
           "fieldsV1": fields})
}

fn ours() -> Value {
    entry(
        "lockstep",
        "Apply",
        &json!({"f:metadata": {"f:labels": {"f:app": {}}}, "f:spec": {"f:replicas": {}}}),
    )
}

fn left_behind() -> Takeover {
    Takeover::LeftBehind { also: None }
}

#[test]
fn what_kubectl_left_behind_becomes_ours_and_its_entry_goes() {
    let kubectl = entry(
        "kubectl-client-side-apply",
        "Update",
        &json!({"f:metadata": {"f:labels": {".": {}, "f:app": {}, "f:old": {}}}}),
    );
    let hand = entry("hand", "Update", &json!({"f:spec": {"f:paused": {}}}));
    let live = object(&json!([kubectl, hand, ours()]));
    let found = take_over(&live, &left_behind(), &[]).expect("there is something");
    let merged = entry(
        "lockstep",
        "Apply",
        &json!({"f:metadata": {"f:labels": {".": {}, "f:app": {}, "f:old": {}}}, "f:spec": {"f:replicas": {}}}),
    );
    assert_eq!(found.entries, [hand, merged]);
    assert_eq!(
        found.taken,
        [Taken {
            manager: "kubectl-client-side-apply".to_owned(),
            fields: vec![
                "metadata.labels.old".to_owned(),
                "metadata.labels.app".to_owned()
            ],
            count: 2,
        }]
    );
}

#[test]
fn what_is_left_is_nobodys_after_the_takeover() {
    let kubectl = entry(
        "kubectl-client-side-apply",
        "Update",
        &json!({"f:spec": {"f:replicas": {}, "f:paused": {}}}),
    );
    let live = object(&json!([kubectl, ours()]));
    let found = take_over(&live, &left_behind(), &["/spec/replicas".to_owned()]);
    assert_eq!(
        found.expect("there is something").entries[0]["fieldsV1"]["f:spec"],
        json!({"f:paused": {}})
    );
}

#[test]
fn managers_are_told_by_name_and_a_restart_by_hand_is_left() {
    let whose = Takeover::LeftBehind {
        also: Some("our-old-tool".to_owned()),
    };
    let is_taken = |manager: &str| is_of(&whose, &entry(manager, "Update", &json!({})));
    for manager in [
        "kubectl",
        "kubectl-edit",
        "before-first-apply",
        "argocd-controller",
        "argocd-application-controller",
        "kustomize-controller",
        "helm-controller",
        "flux-client-side-apply",
        "helm",
        "our-old-tool",
    ] {
        assert!(is_taken(manager), "{manager}");
    }
    for manager in [
        "kubectl-rollout",
        "argocd-server",
        "kube-controller-manager",
        "hand",
    ] {
        assert!(!is_taken(manager), "{manager}");
    }
}

#[test]
fn an_entry_of_a_subresource_is_nobodys_to_take() {
    let mut scale = entry("kubectl", "Update", &json!({"f:spec": {"f:replicas": {}}}));
    scale["subresource"] = json!("scale");
    let live = object(&json!([scale, ours()]));
    assert_eq!(take_over(&live, &left_behind(), &[]), None);
    assert_eq!(take_over(&live, &Takeover::Everything, &[]), None);
}

#[test]
fn everything_is_everybodys() {
    let hand = entry("hand", "Update", &json!({"f:spec": {"f:paused": {}}}));
    let live = object(&json!([hand, ours()]));
    assert_eq!(take_over(&live, &left_behind(), &[]), None);
    assert_eq!(take_over(&live, &Takeover::None, &[]), None);
    let found = take_over(&live, &Takeover::Everything, &[]).expect("there is something");
    assert_eq!(found.entries.len(), 1);
    assert_eq!(found.taken[0].to_string(), "spec.paused from hand");
}

#[test]
fn nothing_is_taken_before_anything_is_ours() {
    let kubectl = entry(
        "kubectl",
        "Update",
        &json!({"f:metadata": {"f:labels": {}}}),
    );
    assert_eq!(
        take_over(&object(&json!([kubectl])), &left_behind(), &[]),
        None
    );
}

#[test]
fn what_another_version_of_the_kind_called_otherwise_is_not_taken() {
    let mut old = entry(
        "helm",
        "Update",
        &json!({"f:spec": {"f:rollbackTo": {}, "f:paused": {}}}),
    );
    old["apiVersion"] = json!("extensions/v1beta1");
    let found =
        take_over(&object(&json!([old, ours()])), &left_behind(), &[]).expect("there is one");
    assert_eq!(found.taken[0].to_string(), "spec.paused from helm");
    assert_eq!(
        found.entries[0]["fieldsV1"]["f:spec"],
        json!({"f:replicas": {}, "f:paused": {}})
    );
}

#[test]
fn what_is_released_is_no_longer_ours_and_nothing_more() {
    let live = object(&json!([ours()]));
    let entries = release(&live, &["/spec/replicas".to_owned()]).expect("it was ours");
    assert_eq!(
        entries[0]["fieldsV1"],
        json!({"f:metadata": {"f:labels": {"f:app": {}}}})
    );
    assert_eq!(release(&live, &["/spec/paused".to_owned()]), None);
}

#[test]
fn a_field_is_released_through_the_keys_of_a_list() {
    let fields = json!({"f:spec": {"f:template": {"f:spec": {"f:containers": {
        "k:{\"name\":\"web\"}": {".": {}, "f:name": {}, "f:image": {}}}}}}});
    let live = object(&json!([entry("lockstep", "Apply", &fields)]));
    let at = "/spec/template/spec/containers/1/image".to_owned();
    assert!(is_ours_apart(&live, &at));
    assert!(!is_ours_apart(
        &live,
        "/spec/template/spec/containers/0/image"
    ));
    let entries = release(&live, &[at]).expect("it was ours");
    assert_eq!(
        entries[0]["fieldsV1"]["f:spec"]["f:template"]["f:spec"]["f:containers"],
        json!({"k:{\"name\":\"web\"}": {".": {}, "f:name": {}}})
    );
}

#[test]
fn what_is_owned_with_what_is_around_it_is_not_apart() {
    let whole = entry(
        "hand",
        "Update",
        &json!({"f:spec": {"f:template": {}, "f:paused": {}}}),
    );
    let live = object(&json!([whole]));
    assert_eq!(is_apart(&live, "/spec/template/spec"), Some(false));
    assert_eq!(is_apart(&live, "/spec/paused"), Some(true));
    assert_eq!(is_apart(&live, "/spec/replicas"), None);
}

#[test]
fn what_force_took_is_what_others_had_and_only_we_have() {
    let hand = |fields: &Value| entry("hand", "Update", fields);
    let before = object(&json!([hand(
        &json!({"f:spec": {"f:replicas": {}, "f:paused": {}}})
    )]));
    let after = object(&json!([hand(&json!({"f:spec": {"f:paused": {}}})), ours()]));
    let found = seized(&before, &after);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].to_string(), "spec.replicas from hand");
    assert_eq!(seized(&after, &after), []);
}

#[test]
fn entries_are_rewritten_to_a_version_once() {
    let mut old = entry("hand", "Update", &json!({"f:spec": {"f:paused": {}}}));
    old["apiVersion"] = json!("apps/v1beta1");
    let live = object(&json!([old, ours()]));
    let entries = in_version(&live, "apps/v1").expect("one is of another version");
    assert!(entries.iter().all(|entry| entry["apiVersion"] == "apps/v1"));
    assert_eq!(in_version(&object(&json!(entries)), "apps/v1"), None);
}

#[test]
fn many_fields_are_counted_and_three_are_said() {
    let fields: Vec<String> = (0..20).map(|n| format!("data.{n}")).collect();
    let taken = Taken::from("helm".to_owned(), fields).expect("there are some");
    assert_eq!((taken.fields.len(), taken.count), (8, 20));
    assert_eq!(
        taken.to_string(),
        "data.0, data.1, data.2 and 17 more fields from helm"
    );
}
