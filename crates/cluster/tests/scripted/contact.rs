//! An apply that meets what others own: how many requests that takes, and what they say.

use lockstep_cluster::WriteError;
use lockstep_manifest::write::{Conflicts, Manner, Takeover};
use lockstep_manifest::{Manifest, Write};
use serde_json::{Value, json};

use super::allowed;
use super::server::{Reply, Server};

const APPLY: &str =
    "PATCH /api/v1/namespaces/a/configmaps/b?fieldManager=lockstep&fieldValidation=Ignore";
const REASSIGN: &str = "PATCH /api/v1/namespaces/a/configmaps/b?fieldManager=lockstep";
const READ: &str = "GET /api/v1/namespaces/a/configmaps/b";

fn write(manner: Manner) -> lockstep_app::Authorized<Write> {
    let body = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "b", "namespace": "a"}});
    let mut write = Write::apply(Manifest::from_value(body).expect("an object"));
    write.manner = manner;
    allowed(write)
}

/// As the daemon applies what it sees for the first time.
fn first_contact() -> Manner {
    Manner {
        conflicts: Conflicts::Tell,
        takeover: Takeover::LeftBehind { also: None },
        ..Manner::default()
    }
}

fn live(version: &str, others: &[Value]) -> Value {
    let ours = json!({"manager": "lockstep", "operation": "Apply", "apiVersion": "v1",
                      "fieldsV1": {"f:data": {"f:ours": {}}}});
    let entries: Vec<&Value> = others.iter().chain([&ours]).collect();
    json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"ours": "1", "theirs": "2"},
           "metadata": {"name": "b", "namespace": "a", "uid": "u-1", "resourceVersion": version,
                        "managedFields": entries}})
}

fn kubectl() -> Value {
    json!({"manager": "kubectl-client-side-apply", "operation": "Update", "apiVersion": "v1",
           "fieldsV1": {"f:data": {"f:theirs": {}}}})
}

fn conflict() -> Reply {
    Reply::json(
        409,
        json!({"kind": "Status", "reason": "Conflict", "code": 409, "details": {"causes": [
            {"reason": "FieldManagerConflict", "message": "conflict with \"hand\" using v1", "field": ".data.ours"}]}}),
    )
}

#[tokio::test]
async fn making_an_object_is_one_request() {
    let server = Server::start(|_, _| Reply::json(201, live("1", &[])));
    let cluster = server.connect().await.expect("it is there");
    let written = cluster.write(write(first_contact())).await.expect("made");
    assert!(written.created);
    assert_eq!(server.asked(), [APPLY]);
}

#[tokio::test]
async fn an_object_that_others_have_no_part_in_is_one_request() {
    let server = Server::start(|_, _| Reply::json(200, live("1", &[])));
    let cluster = server.connect().await.expect("it is there");
    let written = cluster
        .write(write(first_contact()))
        .await
        .expect("applied");
    assert_eq!((written.created, written.taken.len()), (false, 0));
    assert_eq!(server.asked(), [APPLY]);
}

#[tokio::test]
async fn fields_of_others_are_taken_by_force_once_it_is_said_whose_they_are() {
    let server = Server::start(|_, count| match count {
        1 => conflict(),
        _ => Reply::json(200, live("2", &[])),
    });
    let cluster = server.connect().await.expect("it is there");
    let written = cluster
        .write(write(first_contact()))
        .await
        .expect("applied");
    assert_eq!(written.taken[0].to_string(), "data.ours from hand");
    assert_eq!(
        server.asked(),
        [APPLY.to_owned(), format!("{APPLY}&force=true")]
    );
}

#[tokio::test]
async fn what_was_left_behind_is_taken_over_and_the_object_applied_once_more() {
    let server = Server::start(|_, count| match count {
        1 => Reply::json(200, live("7", &[kubectl()])),
        _ => Reply::json(200, live("8", &[])),
    });
    let cluster = server.connect().await.expect("it is there");
    let written = cluster
        .write(write(first_contact()))
        .await
        .expect("applied");
    assert_eq!(
        written.taken[0].to_string(),
        "data.theirs from kubectl-client-side-apply"
    );
    assert_eq!(
        server.asked(),
        [
            APPLY.to_owned(),
            REASSIGN.to_owned(),
            format!("{APPLY}&force=true")
        ]
    );
    let patch = &server.bodies()[1]["metadata"];
    assert_eq!(
        (&patch["uid"], &patch["resourceVersion"]),
        (&json!("u-1"), &json!("7"))
    );
    assert_eq!(
        patch["managedFields"][0]["fieldsV1"]["f:data"],
        json!({"f:ours": {}, "f:theirs": {}})
    );
    assert_eq!(patch["managedFields"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn a_write_in_between_makes_the_bookkeeping_be_read_again() {
    let server = Server::start(|request, count| match (request, count) {
        (_, 1) => Reply::json(200, live("7", &[kubectl()])),
        (READ, _) => Reply::json(200, live("9", &[kubectl()])),
        (_, 2) => Reply::status(409, "Conflict"),
        _ => Reply::json(200, live("10", &[])),
    });
    let cluster = server.connect().await.expect("it is there");
    cluster
        .write(write(first_contact()))
        .await
        .expect("applied");
    assert_eq!(
        server.asked(),
        [
            APPLY.to_owned(),
            REASSIGN.to_owned(),
            READ.to_owned(),
            REASSIGN.to_owned(),
            format!("{APPLY}&force=true")
        ]
    );
    assert_eq!(
        server.bodies()[3]["metadata"]["resourceVersion"],
        json!("9")
    );
}

#[tokio::test]
async fn a_bookkeeping_that_is_always_written_in_between_is_given_up() {
    let server = Server::start(|request, count| match (request, count) {
        (_, 1) | (READ, _) => Reply::json(200, live("7", &[kubectl()])),
        _ => Reply::status(409, "Conflict"),
    });
    let cluster = server.connect().await.expect("it is there");
    let refused = cluster.write(write(first_contact())).await;
    assert!(
        matches!(refused, Err(WriteError::Conflict { .. })),
        "{refused:?}"
    );
    assert_eq!(server.asked().len(), 10);
}

#[tokio::test]
async fn an_object_that_is_another_one_meanwhile_is_not_touched() {
    let another = || {
        let mut live = live("9", &[kubectl()]);
        live["metadata"]["uid"] = json!("u-2");
        Reply::json(200, live)
    };
    let server = Server::start(move |request, count| match (request, count) {
        (READ, _) => another(),
        (_, 1) => Reply::json(200, live("7", &[kubectl()])),
        _ => Reply::status(409, "Conflict"),
    });
    let cluster = server.connect().await.expect("it is there");
    let refused = cluster.write(write(first_contact())).await;
    assert!(
        matches!(refused, Err(WriteError::Conflict { .. })),
        "{refused:?}"
    );
    assert_eq!(server.asked().len(), 3);
}

#[tokio::test]
async fn entries_of_a_version_that_cannot_express_the_object_are_rewritten() {
    let old = || {
        let mut entry = kubectl();
        entry["apiVersion"] = json!("v1beta1");
        Reply::json(200, live("7", &[entry]))
    };
    let server = Server::start(move |request, count| match (request, count) {
        (_, 1) => Reply::json(
            500,
            json!({"kind": "Status", "code": 500, "message": ".spec.x: field not declared in schema"}),
        ),
        (READ, _) => old(),
        _ => Reply::json(200, live("8", &[])),
    });
    let cluster = server.connect().await.expect("it is there");
    cluster
        .write(write(Manner::default()))
        .await
        .expect("applied");
    let forced = format!("{APPLY}&force=true");
    assert_eq!(
        server.asked(),
        [forced.clone(), READ.to_owned(), REASSIGN.to_owned(), forced]
    );
    let entries = &server.bodies()[2]["metadata"]["managedFields"];
    assert!(
        entries
            .as_array()
            .is_some_and(|all| all.iter().all(|entry| entry["apiVersion"] == "v1")),
        "{entries}"
    );
}

#[tokio::test]
async fn what_is_not_ours_to_say_is_given_up_before_the_apply() {
    let server = Server::start(|_, _| Reply::json(200, live("7", &[])));
    let cluster = server.connect().await.expect("it is there");
    let manner = Manner {
        release: vec!["/data/ours".to_owned()],
        ..Manner::default()
    };
    cluster.write(write(manner)).await.expect("applied");
    assert_eq!(
        server.asked(),
        [
            READ.to_owned(),
            REASSIGN.to_owned(),
            format!("{APPLY}&force=true")
        ]
    );
    assert_eq!(
        server.bodies()[1]["metadata"]["managedFields"][0]["fieldsV1"],
        json!({})
    );
}
