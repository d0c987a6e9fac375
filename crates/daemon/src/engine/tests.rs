//! What breaks, and what goes on: an engine without a server, fed by hand.

use lockstep_app::config::Config;
use lockstep_cluster::Connect;
use lockstep_reconcile::view::Word;
use lockstep_source::Options;
use serde_json::json;

use super::*;

/// An engine with the Applications `front` and `back`, whose server does not answer.
async fn engine(directory: &std::path::Path) -> Engine {
    let kubeconfig = directory.join("kubeconfig");
    let text = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "none",
        "clusters": [{"name": "none", "cluster": {"server": "http://127.0.0.1:9"}}],
        "users": [{"name": "none", "user": {}}],
        "contexts": [{"name": "none", "context": {"cluster": "none", "user": "none"}}],
    });
    std::fs::write(&kubeconfig, text.to_string()).expect("the directory is ours");
    let connect = Connect {
        kubeconfig: Some(kubeconfig),
        ..Connect::default()
    };
    let cluster = Cluster::unconnected(&connect)
        .await
        .expect("the kubeconfig is complete");
    let config = Arc::new(Config::default());
    let (news, inbox) = channel();
    let (board, _) = watch::channel(Arc::new(crate::run::first_board(&config, &cluster)));
    let parts = Parts {
        lease: Arc::new(Lease::new(
            cluster.clone(),
            &config.namespace,
            "lockstep",
            "test",
        )),
        config,
        cluster,
        sources: Sources::new(Options::new(directory.join("git"))).expect("the directory is ours"),
        metrics: Arc::new(Metrics::new()),
        board,
        commands: mpsc::channel(1).1,
        news,
        inbox,
    };
    let mut engine = Engine::new(parts, CancellationToken::new());
    for name in ["front", "back"] {
        apply(&mut engine, name, 1);
    }
    engine
}

/// The watch says how an Application is written.
fn apply(engine: &mut Engine, name: &str, version: u32) {
    let object = json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "Application",
        "metadata": {"name": name, "namespace": "argocd", "uid": format!("uid-{name}"),
            "resourceVersion": version.to_string()},
        "spec": {
            "project": "default",
            "source": {"repoURL": "https://git.example/shop", "path": ".",
                "targetRevision": format!("v{version}")},
            "destination": {"server": "https://kubernetes.default.svc", "namespace": "shop"},
        },
    });
    let object = Manifest::from_value(object).expect("it is an object");
    engine.watched(&Feed::Applications, Watched::Applied(Box::new(object)));
}

/// The word of each app, and why.
fn words(engine: &mut Engine) -> Vec<(String, Word, Option<String>)> {
    engine.publish();
    let views = engine.views.values();
    views
        .map(|view| {
            let why = view.why.as_ref().map(|why| why.code.clone());
            (view.name.clone(), view.word, why)
        })
        .collect()
}

fn set_aside() -> Vec<(String, Word, Option<String>)> {
    let code = |code: &str| Some(code.to_owned());
    vec![
        (
            "back".to_owned(),
            Word::Unknown,
            code("unknown.first_check"),
        ),
        ("front".to_owned(), Word::Held, code("lockstep.broken")),
    ]
}

fn key(name: &str) -> AppKey {
    AppKey {
        namespace: "argocd".to_owned(),
        name: name.to_owned(),
    }
}

#[tokio::test]
async fn a_panic_over_one_app_sets_that_one_aside_until_its_application_changes() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut engine = engine(directory.path()).await;
    engine.with_life(&key("front"), None, |_, _| panic!("as a bug would"));
    assert_eq!(words(&mut engine), set_aside());
    engine.step(&key("back"), Event::Tick);
    apply(&mut engine, "front", 2);
    let now = words(&mut engine);
    assert!(
        now.iter().all(|(_, word, _)| *word == Word::Unknown),
        "{now:?}"
    );
}

#[tokio::test]
async fn work_that_panics_is_told_to_whoever_waits_for_it() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut engine = engine(directory.path()).await;
    let broke = engine.broke(&key("front"));
    engine.spawn(broke, async { panic!("as a bug would") });
    let news = engine.inbox.recv().await.expect("something is said");
    engine.take(news);
    assert_eq!(words(&mut engine), set_aside());
}

#[tokio::test]
async fn a_watch_that_panics_is_said_of_its_kind_or_ends_the_process() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut engine = engine(directory.path()).await;
    let kind = Feed::Kind(GroupKind::new(String::new(), "ConfigMap".to_owned()));
    let breaks = || futures::stream::poll_fn(|_| panic!("as a bug would"));
    engine.feed(kind.clone(), breaks());
    let news = engine.inbox.recv().await;
    let of_kind = matches!(&news, Some(News::Watched(feed, Watched::Broken(_))) if *feed == kind);
    assert!(of_kind, "{news:?}");
    engine.feed(Feed::Secrets, breaks());
    let news = engine.inbox.recv().await;
    assert!(matches!(news, Some(News::Lost(_))), "{news:?}");
}

#[tokio::test]
async fn what_broke_for_an_application_that_is_another_by_now_concerns_nobody() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut engine = engine(directory.path()).await;
    let uid = Uid("an-older-one".to_owned());
    engine.take(News::Broke {
        key: key("front"),
        uid,
    });
    let now = words(&mut engine);
    assert!(
        now.iter().all(|(_, word, _)| *word == Word::Unknown),
        "{now:?}"
    );
}

#[tokio::test]
async fn who_does_not_lead_is_not_woken_for_what_it_may_not_tell() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut engine = engine(directory.path()).await;
    engine.heard(&key("front"));
    assert_eq!(engine.next_publication(), None);
    engine.leading = true;
    assert!(engine.next_publication().is_some());
}

#[tokio::test]
async fn what_the_holder_before_us_claimed_is_remembered_of_apps_that_are_there() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut engine = engine(directory.path()).await;
    let claim = |app: &str| lockstep_app::v1alpha1::RecordFields {
        app: lockstep_app::v1alpha1::RecordedApp {
            name: app.to_owned(),
            uid: format!("uid-{app}"),
        },
        serial: 1,
        entries: vec![lockstep_app::v1alpha1::Entry {
            kind: "ConfigMap".to_owned(),
            namespace: "shop".to_owned(),
            name: "made".to_owned(),
            ..Default::default()
        }],
        ..Default::default()
    };
    let mut claims = crate::claims::Claims::default();
    assert!(claims.add(&[claim("front")]));
    assert!(claims.add(&[claim("gone")]));
    engine.lease.put(&claims.text());
    // It stood by: it had read that there are no records.
    for feed in [Feed::Applications, Feed::Records] {
        engine.watched(&feed, Watched::Restarted);
        for name in ["front", "back"] {
            if feed == Feed::Applications {
                apply(&mut engine, name, 1);
            }
        }
        engine.watched(&feed, Watched::Complete);
    }
    let entries = |engine: &Engine, app: &str| engine.lives[&key(app)].inventory().entries.len();
    assert_eq!(
        [entries(&engine, "front"), entries(&engine, "back")],
        [0, 0]
    );
    engine.take(News::Leading(true));
    assert_eq!(
        [entries(&engine, "front"), entries(&engine, "back")],
        [1, 0]
    );
    let (left, _) = crate::claims::Claims::read(&engine.lease.text());
    assert!(
        left.of(&Uid("uid-gone".to_owned())).is_none(),
        "nobody asks for it any more"
    );
    assert!(
        left.of(&Uid("uid-front".to_owned())).is_some(),
        "the record does not say it yet"
    );
    // The record is written: the lease need not say it any more.
    let event = Event::Claimed {
        turn: 0,
        result: Ok(Some("7".to_owned())),
    };
    engine.take(News::App {
        key: key("front"),
        uid: Uid("uid-front".to_owned()),
        event,
    });
    assert_eq!(&*engine.lease.text(), "");
}

#[tokio::test]
async fn an_app_whose_record_cannot_be_read_waits_until_it_can() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut engine = engine(directory.path()).await;
    let record = |entries: serde_json::Value| {
        let object = json!({"apiVersion": "lockstep.dev/v1alpha1", "kind": "Record",
            "metadata": {"name": "front", "namespace": "argocd", "resourceVersion": "7"},
            "app": {"name": "front", "uid": "uid-front"}, "entries": entries});
        Watched::Applied(Box::new(
            Manifest::from_value(object).expect("it is an object"),
        ))
    };
    let feeds = [
        (Feed::Applications, None),
        (Feed::Records, Some(record(json!("not a list")))),
    ];
    for (feed, object) in feeds {
        engine.watched(&feed, Watched::Restarted);
        if let Some(object) = object {
            engine.watched(&feed, object);
        } else {
            apply(&mut engine, "front", 1);
            apply(&mut engine, "back", 1);
        }
        engine.watched(&feed, Watched::Complete);
    }
    let recalled =
        |engine: &Engine| ["front", "back"].map(|app| engine.lives[&key(app)].is_recalled());
    assert_eq!(recalled(&engine), [false, true], "unknown is not empty");
    engine.watched(
        &Feed::Records,
        record(json!([{"kind": "ConfigMap", "name": "made"}])),
    );
    assert_eq!(recalled(&engine), [true, true]);
    assert_eq!(engine.lives[&key("front")].inventory().entries.len(), 1);
}

#[tokio::test]
async fn a_record_that_the_server_does_not_answer_with_is_asked_for_again_but_not_at_once() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut engine = engine(directory.path()).await;
    engine.read_record(&key("front"));
    let news = engine.inbox.recv().await.expect("nobody answers");
    assert!(
        matches!(&news, News::Record { result: Err(_), .. }),
        "{news:?}"
    );
    engine.take(news);
    engine.read_unread_records();
    assert!(engine.inbox.try_recv().is_err());
    let again = engine.unread.next().expect("it is asked for again");
    assert!(again > engine.now);
    engine.now = again;
    engine.read_unread_records();
    let news = engine.inbox.recv().await.expect("nobody answers");
    assert!(matches!(news, News::Record { .. }), "{news:?}");
}

#[tokio::test]
async fn what_was_heard_is_said_until_the_server_takes_it() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut engine = engine(directory.path()).await;
    engine.leading = true;
    let front = key("front");
    engine.heard(&front);
    let (_, extras) = engine.take_publication(&front).expect("it is said");
    assert!(extras.clear_operation);
    let lost = Fault::new(
        lockstep_app::Blame::Environment,
        "unknown.cluster",
        "no answer",
    );
    engine.published(&front, Err(lost));
    let (_, extras) = engine.take_publication(&front).expect("it is said again");
    assert!(extras.clear_operation);
    engine.published(&front, Ok(()));
    assert!(engine.take_publication(&front).is_none());
}

#[tokio::test]
async fn in_a_storm_of_syncs_a_status_lets_objects_go_first_but_not_for_ever() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut engine = engine(directory.path()).await;
    engine.leading = true;
    engine.heard(&key("front"));
    assert_eq!(engine.next_publication(), Some(engine.now));
    for number in 0..9 {
        engine.turns.note(&key(&format!("app-{number}")), true);
    }
    let late = engine.next_publication().expect("it is told");
    assert_eq!(late.duration_since(engine.now).as_secs(), 5);
    engine.send_statuses();
    assert!(engine.next_publication().is_some(), "it was told too early");
    engine.now = late;
    engine.send_statuses();
    assert_eq!(engine.next_publication(), None);
}
