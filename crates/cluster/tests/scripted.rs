//! What an API server does on its bad days, from a script: an old server, an expired version, a refusal that is
//! lifted, a throttled one. A real one (the cluster ring) does none of this when asked.

#[path = "scripted/contact.rs"]
mod contact;
#[path = "scripted/lease.rs"]
mod lease;
mod server;

use std::time::Duration;

use futures::{Stream, StreamExt};
use lockstep_app::config::Environments;
use lockstep_app::project::{Project, Scope};
use lockstep_app::v1alpha1::Application;
use lockstep_app::{App, lower};
use lockstep_cluster::{Cluster, ClusterError, Lookup, Seen, WriteError};
use lockstep_manifest::write::{Preconditions, Propagation};
use lockstep_manifest::{Gvk, Manifest, ObjectId, Uid, Write};
use serde_json::json;

use server::{Reply, Server};

fn config_maps() -> Gvk {
    Gvk::from_api_version("v1", "ConfigMap")
}

async fn next(watch: &mut (impl Stream<Item = Seen> + Unpin)) -> String {
    let seen = tokio::time::timeout(Duration::from_secs(20), watch.next()).await;
    match seen
        .expect("the watch says something")
        .expect("a watch does not end")
    {
        Seen::Applied(object) => format!("applied {}", object.name()),
        Seen::Deleted(object) => format!("deleted {}", object.name()),
        Seen::Broken(fault) => format!("broken {}", fault.code),
        Seen::Restarted => "restarted".to_owned(),
        Seen::Complete => "complete".to_owned(),
    }
}

async fn said(watch: &mut (impl Stream<Item = Seen> + Unpin), count: usize) -> Vec<String> {
    let mut all = Vec::new();
    for _ in 0..count {
        all.push(next(watch).await);
    }
    all
}

fn event(kind: &str, name: &str, version: &str) -> String {
    let object = json!({"apiVersion": "v1", "kind": "ConfigMap",
                        "metadata": {"name": name, "namespace": "a", "resourceVersion": version}});
    format!("{}\n", json!({"type": kind, "object": object}))
}

fn end_of_beginning(version: &str) -> String {
    let metadata =
        json!({"resourceVersion": version, "annotations": {"k8s.io/initial-events-end": "true"}});
    format!(
        "{}\n",
        json!({"type": "BOOKMARK", "object": {"kind": "ConfigMap", "metadata": metadata}})
    )
}

#[tokio::test]
async fn a_server_without_streaming_lists_is_read_in_pages_and_then_followed() {
    let server = Server::start(|request, _| {
        let page = |name: &str, next: &str| {
            Reply::json(
                200,
                json!({"kind": "ConfigMapList", "metadata": {"resourceVersion": "5", "continue": next},
                       "items": [{"metadata": {"name": name, "namespace": "a", "resourceVersion": "4"}}]}),
            )
        };
        match request {
            r if r.contains("sendInitialEvents") => Reply::status(422, "Invalid"),
            r if r.contains("resourceVersion=5") => Reply::stream(event("DELETED", "one", "6")),
            r if r.contains("continue=token") => page("two", ""),
            r if r.contains("limit=500") => page("one", "token"),
            other => panic!("{other}"),
        }
    });
    let cluster = server.connect().await.expect("it is there");
    let mut watch = Box::pin(cluster.watch(&config_maps(), "a=b"));
    assert_eq!(
        said(&mut watch, 5).await,
        [
            "restarted",
            "applied one",
            "applied two",
            "complete",
            "deleted one"
        ]
    );
}

#[tokio::test]
async fn a_version_that_expired_is_answered_by_saying_everything_again() {
    let server = Server::start(|request, count| match (request, count) {
        (r, 1) if r.contains("sendInitialEvents") => Reply::stream(format!(
            "{}{}{}",
            event("ADDED", "one", "1"),
            end_of_beginning("1"),
            "{\"type\":\"ERROR\",\"object\":{\"kind\":\"Status\",\"reason\":\"Expired\",\"code\":410}}\n"
        )),
        (r, _) if r.contains("sendInitialEvents") => Reply::stream(end_of_beginning("9")),
        (other, _) => panic!("{other}"),
    });
    let cluster = server.connect().await.expect("it is there");
    let mut watch = Box::pin(cluster.watch(&config_maps(), ""));
    assert_eq!(
        said(&mut watch, 5).await,
        [
            "restarted",
            "applied one",
            "complete",
            "restarted",
            "complete"
        ]
    );
}

#[tokio::test]
async fn a_watch_that_ends_is_resumed_where_it_ended_and_nothing_is_said_twice() {
    let server = Server::start(|request, _| match request {
        r if r.contains("sendInitialEvents") => Reply::ended(format!(
            "{}{}",
            event("ADDED", "one", "1"),
            end_of_beginning("3")
        )),
        r if r.contains("resourceVersion=3") => Reply::ended(event("MODIFIED", "one", "4")),
        r if r.contains("resourceVersion=4") => Reply::stream(event("ADDED", "two", "5")),
        other => panic!("{other}"),
    });
    let cluster = server.connect().await.expect("it is there");
    let mut watch = Box::pin(cluster.watch(&config_maps(), ""));
    assert_eq!(
        said(&mut watch, 5).await,
        [
            "restarted",
            "applied one",
            "complete",
            "applied one",
            "applied two"
        ]
    );
}

#[tokio::test]
async fn a_forbidden_watch_is_broken_once_and_sees_when_it_may() {
    let server = Server::start(|request, count| match count {
        1 | 2 => Reply::status(403, "Forbidden"),
        _ if request.contains("sendInitialEvents") => Reply::stream(end_of_beginning("1")),
        _ => panic!("{request}"),
    });
    let cluster = server.connect().await.expect("it is there");
    let mut watch = Box::pin(cluster.watch(&config_maps(), ""));
    assert_eq!(
        said(&mut watch, 3).await,
        ["broken unknown.permission", "restarted", "complete"]
    );
}

#[tokio::test]
async fn what_breaks_after_it_was_complete_is_complete_again_without_a_restart() {
    let server = Server::start(|request, count| match (request, count) {
        (r, 1) if r.contains("sendInitialEvents") => Reply::ended(end_of_beginning("3")),
        (r, 2) if r.contains("resourceVersion=3") => Reply::status(500, "InternalError"),
        (r, _) if r.contains("resourceVersion=3") => Reply::stream(String::new()),
        (other, _) => panic!("{other}"),
    });
    let cluster = server.connect().await.expect("it is there");
    let mut watch = Box::pin(cluster.watch(&config_maps(), ""));
    assert_eq!(
        said(&mut watch, 4).await,
        [
            "restarted",
            "complete",
            "broken unknown.cluster",
            "complete"
        ]
    );
}

#[tokio::test]
async fn a_throttled_call_is_repeated_three_times_and_no_more() {
    let server = Server::start(|_, _| Reply::status(429, "TooManyRequests"));
    let cluster = server.connect().await.expect("it is there");
    let id: ObjectId = "ConfigMap a/b".parse().expect("an object");
    let error = cluster
        .get(&config_maps(), &id)
        .await
        .expect_err("it is throttled");
    assert!(matches!(error, ClusterError::Throttled { .. }), "{error}");
    assert_eq!(server.asked().len(), 4);
}

#[tokio::test]
async fn an_absent_object_and_an_absent_kind_are_told_apart() {
    let server = Server::start(|request, _| {
        if request.contains("/there") {
            let details = json!({"name": "there", "kind": "configmaps"});
            Reply::json(
                404,
                json!({"kind": "Status", "reason": "NotFound", "details": details, "code": 404}),
            )
        } else {
            Reply::text(404, "404 page not found")
        }
    });
    let cluster = server.connect().await.expect("it is there");
    let id = |name: &str| -> ObjectId { format!("ConfigMap a/{name}").parse().expect("an object") };
    assert_eq!(cluster.get(&config_maps(), &id("there")).await, Ok(None));
    let gone = cluster.get(&config_maps(), &id("gone")).await;
    assert_eq!(gone, Err(ClusterError::NotServed { gvk: config_maps() }));
}

#[tokio::test]
async fn a_server_that_fails_keeps_what_it_last_said_it_serves() {
    let server = Server::start(|_, _| Reply::status(500, "InternalError"));
    let cluster = server.connect().await.expect("it is there");
    server.break_discovery();
    cluster.discover().await.expect_err("it fails");
    assert!(matches!(
        cluster.served().find(&config_maps()),
        Lookup::Found(_)
    ));
}

fn allowed(write: Write) -> lockstep_app::Authorized<Write> {
    let written = Application::read(json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "Application",
        "metadata": {"name": "web", "namespace": "argocd", "uid": "u"},
        "spec": {"project": "default", "source": {"repoURL": "https://git.example.com/a.git", "path": "."},
                 "destination": {"server": "https://kubernetes.default.svc", "namespace": "a"}},
    }))
    .expect("an Application");
    let app: App = lower(&written, &Environments::default()).expect("an app");
    let project = Project::permissive_default();
    project
        .authorize(&app, write, Scope::Namespaced)
        .expect("everything is allowed")
}

#[tokio::test]
async fn a_deletion_without_both_preconditions_is_never_sent() {
    let server = Server::start(|request, _| panic!("{request}"));
    let cluster = server.connect().await.expect("it is there");
    let id: ObjectId = "ConfigMap a/b".parse().expect("an object");
    let uid = Some(Uid("u".into()));
    for preconditions in [
        Preconditions::default(),
        Preconditions {
            uid: uid.clone(),
            resource_version: None,
        },
        Preconditions {
            uid: uid.clone(),
            resource_version: Some(String::new()),
        },
        Preconditions {
            uid: None,
            resource_version: Some("1".into()),
        },
    ] {
        let how = Propagation::Background;
        let mut write = Write::delete(
            id.clone(),
            config_maps(),
            Uid(String::new()),
            String::new(),
            how,
        );
        write.preconditions = preconditions;
        let refused = cluster.write(allowed(write)).await;
        assert_eq!(
            refused,
            Err(WriteError::Unguarded {
                object: Box::new(id.clone())
            })
        );
    }
    assert!(server.asked().is_empty());
}

#[tokio::test]
async fn an_apply_is_one_forced_patch_that_is_parsed_once_and_so_is_its_dry_run() {
    let server = Server::start(|_, _| {
        Reply::json(
            201,
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "b", "namespace": "a"}}),
        )
        .warning("unknown field \\\"x\\\"")
    });
    let cluster = server.connect().await.expect("it is there");
    let body = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "b", "namespace": "a"}});
    let manifest = Manifest::from_value(body).expect("an object");
    let written = cluster
        .write(allowed(Write::apply(manifest.clone())))
        .await
        .expect("applied");
    assert!(written.created);
    assert_eq!(written.warnings, ["unknown field \"x\""]);
    cluster
        .write(allowed(Write::dry_run(manifest)))
        .await
        .expect("tried");
    let path =
        "PATCH /api/v1/namespaces/a/configmaps/b?fieldManager=lockstep&fieldValidation=Ignore";
    assert_eq!(
        server.asked(),
        [
            format!("{path}&force=true"),
            format!("{path}&force=true&dryRun=All")
        ]
    );
    let head = server.heads().join("\n").to_lowercase();
    assert!(
        head.contains("content-type: application/apply-patch+yaml"),
        "{head}"
    );
    assert!(
        head.contains(&format!(
            "user-agent: lockstep/{}",
            env!("CARGO_PKG_VERSION")
        )),
        "{head}"
    );
}

#[tokio::test]
async fn a_kubeconfig_that_runs_a_program_is_refused() {
    let user =
        json!({"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "true"}});
    let server = Server::start(|request, _| panic!("{request}"));
    let error = Cluster::connect(server.kubeconfig(user))
        .await
        .expect_err("it is refused");
    assert_eq!(error, ClusterError::Plugin);
    assert!(error.hint().is_some());
}
