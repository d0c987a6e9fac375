//! Every answer here was recorded from kube-apiserver 1.36.3, but for the denying webhook, whose text is from its source.

use super::*;

fn refused(object: &str, code: u16, json: &str) -> WriteError {
    let object: ObjectId = object.parse().expect("an object");
    let gvk = Gvk {
        group: object.group.clone(),
        version: "v1".into(),
        kind: object.kind.clone(),
    };
    let permission = Permission {
        verbs: vec!["create", "patch"],
        group: object.group.clone(),
        resource: format!("{}s", object.kind.to_lowercase()),
        namespace: object.namespace.clone(),
    };
    let status = Status::from_answer(code, json.as_bytes(), None);
    WriteError::from_call(&object, &gvk, &permission, CallError::Refused(status))
}

const DEPLOYMENT: &str = "apps/Deployment t1/d";

#[test]
fn a_changed_selector_is_an_immutable_field_by_its_path() {
    let error = refused(
        DEPLOYMENT,
        422,
        r#"{"kind":"Status","message":"Deployment.apps \"d\" is invalid: …","reason":"Invalid","details":{"name":"d","group":"apps","kind":"Deployment","causes":[
           {"reason":"FieldValueInvalid","message":"Invalid value: {\"matchLabels\":{\"a\":\"y\"}}: field is immutable","field":"spec.selector"}]},"code":422}"#,
    );
    let WriteError::Immutable { fields, .. } = &error else {
        panic!("{error}")
    };
    assert_eq!(fields, &["spec.selector"]);
    assert_eq!(
        (error.blame(), error.fault().code.as_str()),
        (Blame::User, "apply.immutable_field")
    );
    assert_eq!(
        error.to_string(),
        "apps/Deployment t1/d changes spec.selector, which can never be changed"
    );
}

#[test]
fn a_changed_role_ref_is_immutable_too() {
    let error = refused(
        "rbac.authorization.k8s.io/RoleBinding t1/rb",
        422,
        r#"{"reason":"Invalid","details":{"causes":[{"reason":"FieldValueInvalid","message":"Invalid value: {\"Name\":\"edit\"}: cannot change roleRef","field":"roleRef"}]},"code":422}"#,
    );
    assert!(matches!(error, WriteError::Immutable { .. }), "{error}");
}

#[test]
fn invalid_fields_are_all_named_even_beside_an_immutable_one() {
    let error = refused(
        DEPLOYMENT,
        422,
        r#"{"reason":"Invalid","details":{"causes":[
           {"reason":"FieldValueInvalid","message":"Invalid value: 99999: must be between 1 and 65535, inclusive","field":"spec.template.spec.containers[0].ports[0].containerPort"},
           {"reason":"FieldValueInvalid","message":"Invalid value: {}: field is immutable","field":"spec.selector"}]},"code":422}"#,
    );
    let WriteError::Invalid { causes, .. } = &error else {
        panic!("{error}")
    };
    assert_eq!(causes.len(), 2);
    assert_eq!(
        causes[0].0,
        "spec.template.spec.containers[0].ports[0].containerPort"
    );
}

#[test]
fn what_does_not_fit_the_schema_is_the_users_though_the_server_says_500() {
    let error = refused(
        DEPLOYMENT,
        500,
        r#"{"message":"failed to create typed patch object (t1/d; apps/v1, Kind=Deployment): .spec.foo: field not declared in schema","code":500}"#,
    );
    assert_eq!(
        error.to_string(),
        "apps/Deployment t1/d is not valid: spec.foo: field not declared in schema"
    );
    assert_eq!(error.blame(), Blame::User);
    assert!(!error.outcome_unknown());
    let several = refused(
        DEPLOYMENT,
        500,
        "{\"message\":\"failed to create typed patch object (t1/d; apps/v1, Kind=Deployment): errors:\\n  .spec.a: x\\n  .spec.b: y\",\"code\":500}",
    );
    assert_eq!(
        several.to_string(),
        "apps/Deployment t1/d is not valid: spec.a: x; spec.b: y"
    );
}

#[test]
fn a_policys_denial_names_the_policy_whatever_status_it_chose() {
    let error = refused(
        "ConfigMap t1/v",
        422,
        r#"{"message":"configmaps \"v\" is forbidden: ValidatingAdmissionPolicy 'deny' with binding 'deny' denied request: label deny is not allowed","reason":"Invalid","details":{"name":"v","kind":"configmaps","causes":[{"message":"ValidatingAdmissionPolicy 'deny' with binding 'deny' denied request: label deny is not allowed"}]},"code":422}"#,
    );
    assert_eq!(
        error.to_string(),
        "ConfigMap t1/v was denied by ValidatingAdmissionPolicy deny: label deny is not allowed"
    );
    assert_eq!(error.fault().code, "apply.denied_by_admission");
    for code in [400, 403, 418] {
        let error = refused(
            "ConfigMap t1/v",
            code,
            r#"{"message":"admission webhook \"a.b.c\" denied the request: no","reason":"Forbidden"}"#,
        );
        assert_eq!(
            error.to_string(),
            "ConfigMap t1/v was denied by webhook a.b.c: no"
        );
    }
}

#[test]
fn a_name_that_only_looks_like_a_denial_is_none() {
    let error = refused(
        "ConfigMap t1/v",
        422,
        r#"{"message":"ConfigMap \"admission webhook \" is invalid: x: ValidatingAdmissionPolicy 'y'","reason":"Invalid","code":422}"#,
    );
    assert!(matches!(error, WriteError::Invalid { .. }), "{error}");
}

#[test]
fn a_webhook_that_does_not_answer_is_named_and_tried_again() {
    let error = refused(
        "LimitRange t1/l",
        500,
        r#"{"message":"Internal error occurred: failed calling webhook \"down.example.com\": failed to call webhook: Post \"https://127.0.0.1:1/x?timeout=2s\": connection refused","reason":"InternalError","details":{"causes":[{"message":"failed calling webhook \"down.example.com\": …"}]},"code":500}"#,
    );
    let WriteError::WebhookDown { webhook, .. } = &error else {
        panic!("{error}")
    };
    assert_eq!(
        (webhook.as_str(), error.blame()),
        ("down.example.com", Blame::Environment)
    );
}

#[test]
fn a_missing_permission_is_told_as_the_rule_that_grants_it() {
    let error = refused(
        "ConfigMap t1/r",
        403,
        r#"{"message":"configmaps \"r\" is forbidden: User \"system:serviceaccount:t1:sa\" cannot patch resource \"configmaps\" in API group \"\" in the namespace \"t1\"","reason":"Forbidden","details":{"name":"r","kind":"configmaps"},"code":403}"#,
    );
    assert_eq!(
        error.to_string(),
        "ConfigMap t1/r: not allowed to create and patch configmaps in namespace t1"
    );
    assert_eq!(
        error.hint().as_deref(),
        Some(
            "Grant Lockstep's ServiceAccount this rule in a Role in namespace t1, or a ClusterRole: \
             {apiGroups: [\"\"], resources: [\"configmaps\"], verbs: [\"create\", \"patch\"]}"
        )
    );
}

#[test]
fn namespaces_quotas_and_conflicts_are_told_apart() {
    let cases = [
        (
            404,
            r#"{"message":"namespaces \"t1\" not found","reason":"NotFound","details":{"name":"t1","kind":"namespaces"},"code":404}"#,
            "apply.namespace_missing",
        ),
        (
            403,
            r#"{"message":"services \"s\" is forbidden: unable to create new content in namespace t1 because it is being terminated","reason":"Forbidden","details":{"name":"s","kind":"services","causes":[{"reason":"NamespaceTerminating","message":"namespace t1 is being terminated","field":"metadata.namespace"}]},"code":403}"#,
            "apply.namespace_missing",
        ),
        (
            403,
            r#"{"message":"services \"s\" is forbidden: exceeded quota: q, requested: services=1, used: services=0, limited: services=0","reason":"Forbidden","details":{"name":"s","kind":"services"},"code":403}"#,
            "apply.quota",
        ),
        (
            409,
            r#"{"message":"Operation cannot be fulfilled on services \"s\": the UID in the precondition (a) does not match","reason":"Conflict","details":{"name":"s","kind":"services"},"code":409}"#,
            "apply.conflict",
        ),
        (
            404,
            r#"{"message":"services \"s\" not found","reason":"NotFound","details":{"name":"s","kind":"services"},"code":404}"#,
            "apply.conflict",
        ),
        (404, "404 page not found\n", "apply.crd_missing"),
        (
            429,
            r#"{"details":{"retryAfterSeconds":3},"code":429}"#,
            "unknown.cluster",
        ),
        (503, "upstream", "unknown.cluster"),
    ];
    for (code, json, expected) in cases {
        let error = refused("Service t1/s", code, json);
        assert_eq!(error.fault().code, expected, "{error}");
    }
}

#[test]
fn nothing_the_server_says_of_a_secret_is_repeated() {
    let secret = "Secret t1/s";
    let cases = [
        refused(
            secret,
            422,
            r#"{"message":"Secret \"s\" is invalid: data[a b]: Invalid value: \"hunter2\"","reason":"Invalid","details":{"name":"s","kind":"Secret","causes":[{"reason":"FieldValueInvalid","message":"Invalid value: \"hunter2\"","field":"data[a b]"}]},"code":422}"#,
        ),
        refused(
            secret,
            500,
            r#"{"message":"failed to convert new object (t1/s; /v1, Kind=Secret) to proper version: unable to convert: hunter2): hunter2","code":500}"#,
        ),
        refused(
            secret,
            500,
            r#"{"message":"failed to create typed patch object (t1/s; /v1, Kind=Secret): .data.a: expected string, got hunter2","code":500}"#,
        ),
        refused(
            secret,
            400,
            r#"{"message":"hunter2","reason":"BadRequest","code":400}"#,
        ),
        refused(
            secret,
            418,
            r#"{"message":"hunter2","reason":"Teapot","code":418}"#,
        ),
        refused(
            secret,
            403,
            r#"{"message":"admission webhook \"w\" denied the request: hunter2","code":403}"#,
        ),
        refused(
            secret,
            403,
            r#"{"message":"secrets \"s\" is forbidden: plugin says hunter2","reason":"Forbidden","code":403}"#,
        ),
    ];
    for error in &cases {
        assert!(
            !format!("{error:?} {error} {:?}", error.fault()).contains("hunter2"),
            "{error:?}"
        );
    }
    assert_eq!(
        cases[0].to_string(),
        "Secret t1/s is not valid: data[a b]: FieldValueInvalid"
    );
}
