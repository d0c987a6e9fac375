//! Tries everything this crate does against a real API server, and prints what it cost.
//!
//! By hand: `cargo run --release -p lockstep-cluster --example probe -- KUBECONFIG`. It makes and deletes the
//! namespace `lockstep-probe`, applies the CRDs, and makes and deletes one of its own: not for a cluster in use.

#![expect(clippy::print_stdout, reason = "its output is what it is for")]

use std::collections::BTreeMap;
use std::error::Error;
use std::time::Duration;

use futures::{Stream, StreamExt, stream};
use lockstep_app::config::Environments;
use lockstep_app::project::{Project, Scope};
use lockstep_app::v1alpha1::{Application, Record};
use lockstep_app::{App, Authorized, lower};
use lockstep_cluster::lease::{Ended, Lease};
use lockstep_cluster::{Apps, ClaimError, Cluster, Connect, Extras, Lookup, Seen, WriteError};
use lockstep_manifest::write::Propagation;
use lockstep_manifest::{Gvk, Manifest, ObjectId, Uid, Write};
use serde_json::json;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

const NAMESPACE: &str = "lockstep-probe";

#[tokio::main]
async fn main() -> Outcome {
    let kubeconfig = std::env::args().nth(1).map(Into::into);
    let start = Instant::now();
    let cluster = Cluster::connect(Connect {
        kubeconfig,
        ..Connect::default()
    })
    .await?;
    println!(
        "connected and discovered {} in {:?}",
        cluster.server(),
        start.elapsed()
    );
    let start = Instant::now();
    let served = cluster.discover().await?;
    let kinds = served.kinds().count();
    println!(
        "discovered again: {kinds} kinds, digest {}, in {:?}",
        served.digest(),
        start.elapsed()
    );

    let gate = Gate::new()?;
    let namespace =
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}});
    cluster
        .write(gate.apply(namespace, Scope::Cluster)?)
        .await?;

    writes(&cluster, &gate).await?;
    refusals(&cluster, &gate).await?;
    watches(&cluster, &gate).await?;
    many_watches(&cluster).await?;
    claims(&cluster, &gate).await?;
    leases(&cluster).await?;

    let gvk = Gvk::from_api_version("v1", "Namespace");
    let id: ObjectId = format!("Namespace {NAMESPACE}").parse()?;
    let live = cluster
        .get(&gvk, &id)
        .await?
        .ok_or("the namespace is gone already")?;
    cluster.write(gate.delete(&live, Scope::Cluster)?).await?;
    println!("all of it held");
    Ok(())
}

/// The permissive project, and an app of it.
struct Gate {
    project: Project,
    app: App,
}

impl Gate {
    fn new() -> Outcome<Self> {
        let written = Application::read(json!({
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "Application",
            "metadata": {"name": "probe", "namespace": "argocd", "uid": "u"},
            "spec": {
                "project": "default",
                "source": {"repoURL": "https://git.example.com/a.git", "path": "."},
                "destination": {"server": "https://kubernetes.default.svc", "namespace": NAMESPACE},
            },
        }))
        .map_err(|errors| format!("{errors:?}"))?;
        let app =
            lower(&written, &Environments::default()).map_err(|errors| format!("{errors:?}"))?;
        Ok(Self {
            project: Project::permissive_default(),
            app,
        })
    }

    fn apply(&self, body: serde_json::Value, scope: Scope) -> Outcome<Authorized<Write>> {
        self.allow(Write::apply(Manifest::from_value(body)?), scope)
    }

    fn delete(&self, live: &Manifest, scope: Scope) -> Outcome<Authorized<Write>> {
        let uid = live.uid().ok_or("a live object has a uid")?;
        let version = live
            .resource_version()
            .ok_or("a live object has a version")?;
        let how = Propagation::Background;
        self.allow(
            Write::delete(live.id(), live.gvk(), uid, version.to_owned(), how),
            scope,
        )
    }

    fn allow(&self, write: Write, scope: Scope) -> Outcome<Authorized<Write>> {
        Ok(self.project.authorize(&self.app, write, scope)?)
    }
}

fn config_map(name: &str, value: &str) -> serde_json::Value {
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": {"probe": "yes"}},
        "data": {"value": value},
    })
}

async fn writes(cluster: &Cluster, gate: &Gate) -> Outcome {
    let mut took = Vec::new();
    for i in 0..200 {
        let write = gate.apply(
            config_map(&format!("one-{}", i % 50), &i.to_string()),
            Scope::Namespaced,
        )?;
        let start = Instant::now();
        let written = cluster.write(write).await?;
        took.push(start.elapsed());
        check(
            written.created == (i < 50),
            "the first fifty are created, the rest changed",
        )?;
    }
    println!("apply, one at a time:  {}", percentiles(took));

    let start = Instant::now();
    let took: Vec<Duration> = stream::iter(0..1000)
        .map(|i| async move {
            let name = format!("many-{i}");
            let write = gate.apply(config_map(&name, "x"), Scope::Namespaced)?;
            let start = Instant::now();
            cluster.write(write).await?;
            Outcome::Ok(start.elapsed())
        })
        .buffer_unordered(16)
        .collect::<Vec<_>>()
        .await
        .into_iter()
        .collect::<Outcome<_>>()?;
    let rate = 1000.0 / start.elapsed().as_secs_f64();
    println!(
        "create, 16 at a time:  {}, {rate:.0} a second",
        percentiles(took)
    );

    let dry = Write::dry_run(Manifest::from_value(config_map("one-0", "dry"))?);
    let answer = cluster.write(gate.allow(dry, Scope::Namespaced)?).await?;
    let would = answer.live.ok_or("a dry run answers the object")?;
    check(
        would.text(&["data", "value"]) == "dry",
        "a dry run says what would be",
    )?;
    let live = cluster
        .get(&would.gvk(), &would.id())
        .await?
        .ok_or("it is there")?;
    check(
        live.text(&["data", "value"]) != "dry",
        "a dry run changes nothing",
    )?;
    let listed = cluster.list(&live.gvk(), NAMESPACE, "probe=yes").await?;
    check(listed.len() == 1050, "a list of three pages is whole")?;

    // Somebody changes it between look and deletion: the deletion must fail, and then succeed with a new look.
    cluster
        .write(gate.apply(config_map("one-0", "changed"), Scope::Namespaced)?)
        .await?;
    let refused = cluster.write(gate.delete(&live, Scope::Namespaced)?).await;
    check(
        matches!(refused, Err(WriteError::Conflict { .. })),
        "a stale deletion conflicts",
    )?;
    let live = cluster
        .get(&live.gvk(), &live.id())
        .await?
        .ok_or("it is there")?;
    cluster
        .write(gate.delete(&live, Scope::Namespaced)?)
        .await?;
    check(
        cluster.get(&live.gvk(), &live.id()).await?.is_none(),
        "it is gone",
    )?;
    let again = cluster
        .write(gate.delete(&live, Scope::Namespaced)?)
        .await?;
    check(again.live.is_none(), "deleting what is gone is a success")
}

async fn refusals(cluster: &Cluster, gate: &Gate) -> Outcome {
    let mut missing = config_map("a", "b");
    missing["metadata"]["namespace"] = json!("no-such-namespace");
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "d", "namespace": NAMESPACE}, "spec": {"foo": 1},
    });
    let unserved = json!({
        "apiVersion": "example.com/v1", "kind": "Nothing",
        "metadata": {"name": "d", "namespace": NAMESPACE},
    });
    let hostile = config_map("../../secrets/x", "y");
    let cases = [
        (missing, "apply.namespace_missing"),
        (deployment, "apply.invalid"),
        (unserved, "apply.crd_missing"),
        (hostile, "apply.invalid"),
    ];
    for (body, code) in cases {
        let Err(error) = cluster.write(gate.apply(body, Scope::Namespaced)?).await else {
            return Err(format!("{code} was expected").into());
        };
        println!("refused: {error}");
        check(error.fault().code == code, code)?;
    }
    Ok(())
}

/// The next thing a watch says, or an error after 20 s.
async fn next(watch: &mut (impl Stream<Item = Seen> + Unpin)) -> Outcome<Seen> {
    let seen = timeout(Duration::from_secs(20), watch.next()).await;
    Ok(seen
        .map_err(|_| "the watch says nothing")?
        .ok_or("the watch ended")?)
}

async fn watches(cluster: &Cluster, gate: &Gate) -> Outcome {
    let gvk = Gvk::from_api_version("v1", "ConfigMap");
    let mut watch = Box::pin(cluster.watch(&gvk, "probe=yes"));
    let start = Instant::now();
    check(
        next(&mut watch).await? == Seen::Restarted,
        "a watch begins anew",
    )?;
    let mut there = 0;
    loop {
        match next(&mut watch).await? {
            Seen::Applied(object) => {
                check(
                    object.get(&["metadata", "managedFields"]).is_some(),
                    "managers are told",
                )?;
                check(object.kind() == "ConfigMap", "the kind is told")?;
                there += 1;
            }
            Seen::Complete => break,
            other => return Err(format!("unexpected: {other:?}").into()),
        }
    }
    println!("watch: {there} objects in {:?}", start.elapsed());
    check(there == 1049, "everything there is is said")?;

    let mut took = Vec::new();
    for i in 0..200 {
        let write = gate.apply(config_map("one-1", &format!("w{i}")), Scope::Namespaced)?;
        let start = Instant::now();
        let (written, seen) = tokio::join!(cluster.write(write), async {
            let seen = next(&mut watch).await.map_err(|error| error.to_string());
            (seen, start.elapsed())
        });
        let live = written?.live.ok_or("an apply answers the object")?;
        match seen.0? {
            Seen::Applied(object) => {
                check(*object == live, "a watch says what the apply answered")?;
            }
            other => return Err(format!("unexpected: {other:?}").into()),
        }
        took.push(seen.1);
    }
    println!("apply sent to watch event: {}", percentiles(took));

    let unserved = Gvk::from_api_version("example.com/v1", "Nothing");
    let mut nothing = Box::pin(cluster.watch(&unserved, ""));
    let Seen::Broken(fault) = next(&mut nothing).await? else {
        return Err("a kind that is not served cannot be seen".into());
    };
    println!("watch of a kind that is not there: {fault}");
    appearing(cluster, gate, &mut nothing).await
}

/// A watch of a kind that comes to be goes on by itself, and one whose kind goes says so.
async fn appearing(
    cluster: &Cluster,
    gate: &Gate,
    watch: &mut (impl Stream<Item = Seen> + Unpin),
) -> Outcome {
    let crd = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "nothings.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced",
            "names": {"kind": "Nothing", "plural": "nothings"},
            "versions": [{"name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}],
        },
    });
    let start = Instant::now();
    let crd = cluster
        .write(gate.apply(crd, Scope::Cluster)?)
        .await?
        .live
        .ok_or("made")?;
    while next(watch).await? != Seen::Complete {}
    println!(
        "watch of a kind that came to be: {:?} after its CRD",
        start.elapsed()
    );
    let object = json!({"apiVersion": "example.com/v1", "kind": "Nothing",
                        "metadata": {"name": "n", "namespace": NAMESPACE}});
    cluster
        .write(gate.apply(object, Scope::Namespaced)?)
        .await?;
    check(
        matches!(next(watch).await?, Seen::Applied(_)),
        "its objects are seen",
    )?;
    let crd = cluster
        .get(&crd.gvk(), &crd.id())
        .await?
        .ok_or("it is there")?;
    let start = Instant::now();
    cluster.write(gate.delete(&crd, Scope::Cluster)?).await?;
    loop {
        match next(watch).await? {
            Seen::Broken(fault) => {
                println!("watch of a kind that went: {:?}: {fault}", start.elapsed());
                break;
            }
            other => println!("  before: {}", name_of(&other)),
        }
    }
    let gvk = Gvk::from_api_version("example.com/v1", "Nothing");
    let mut served = cluster.served_changes();
    let gone = served.wait_for(|served| served.find(&gvk) == Lookup::NotServed);
    timeout(Duration::from_secs(20), gone)
        .await
        .map_err(|_| "it is still said to be served")??;
    Ok(())
}

fn name_of(seen: &Seen) -> &'static str {
    match seen {
        Seen::Restarted => "Restarted",
        Seen::Applied(_) => "Applied",
        Seen::Deleted(_) => "Deleted",
        Seen::Complete => "Complete",
        Seen::Broken(_) => "Broken",
    }
}

/// More watches than a connection has streams, and calls that still get through.
async fn many_watches(cluster: &Cluster) -> Outcome {
    let gvk = Gvk::from_api_version("v1", "ServiceAccount");
    let start = Instant::now();
    let watches: Vec<_> = stream::iter(0..170)
        .map(|i| {
            let mut watch = Box::pin(cluster.watch(&gvk, &format!("probe=n{i}")));
            async move {
                while next(&mut watch).await? != Seen::Complete {}
                Outcome::Ok(watch)
            }
        })
        .buffer_unordered(170)
        .collect()
        .await;
    let watches = watches.into_iter().collect::<Outcome<Vec<_>>>()?;
    println!(
        "{} watches complete in {:?}",
        watches.len(),
        start.elapsed()
    );
    let id: ObjectId = format!("Namespace {NAMESPACE}").parse()?;
    let start = Instant::now();
    cluster
        .get(&Gvk::from_api_version("v1", "Namespace"), &id)
        .await?;
    println!("a read beside them: {:?}", start.elapsed());
    Ok(())
}

async fn claims(cluster: &Cluster, gate: &Gate) -> Outcome {
    for crd in lockstep_app::v1alpha1::crds() {
        cluster.write(gate.apply(crd, Scope::Cluster)?).await?;
    }
    let record = Gvk::from_api_version("lockstep.dev/v1alpha1", "Record");
    let mut records = Box::pin(cluster.watch(&record, ""));
    while next(&mut records).await? != Seen::Complete {}
    let apps = Apps::new(cluster.clone(), NAMESPACE);
    let mut record = Record::default();
    record.metadata.name = Some("probe".to_owned());
    record.spec.epoch = 1;
    let first = apps.claim(&record, None).await?;
    let twice = apps.claim(&record, None).await;
    check(
        matches!(twice, Err(ClaimError::Lost { .. })),
        "a record is made once",
    )?;
    record.spec.epoch = 2;
    let second = apps.claim(&record, Some(&first.resource_version)).await?;
    let stale = apps.claim(&record, Some(&first.resource_version)).await;
    check(
        matches!(stale, Err(ClaimError::Lost { .. })),
        "a stale claim is lost",
    )?;
    let mut took = Vec::new();
    let mut version = second.resource_version;
    for i in 0..100 {
        record.spec.epoch = 3 + i;
        let start = Instant::now();
        version = apps.claim(&record, Some(&version)).await?.resource_version;
        took.push(start.elapsed());
    }
    println!("claim: {}", percentiles(took));
    let uid = second.uid.ok_or("a record has a uid")?;
    let stale = apps.delete_record("probe", &uid, "1").await;
    check(
        matches!(stale, Err(ClaimError::Lost { .. })),
        "a stale deletion is lost",
    )?;
    apps.delete_record("probe", &uid, &version).await?;
    let gone = apps.claim(&record, Some(&version)).await;
    check(
        matches!(gone, Err(ClaimError::Lost { .. })),
        "a record that is gone is lost",
    )?;

    check(
        apps.ensure_project_default().await?.is_some(),
        "the project default is made",
    )?;
    check(
        apps.ensure_project_default().await?.is_none(),
        "and made once",
    )?;
    let application = json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "Application",
        "metadata": {"name": "probe", "annotations": {"argocd.argoproj.io/refresh": "normal"}},
        "spec": {"project": "default", "source": {"repoURL": "https://git.example.com/a.git", "path": "."},
                 "destination": {"server": "https://kubernetes.default.svc", "namespace": "x"}},
    });
    let live = apps
        .apply_application(Manifest::from_value(application)?)
        .await?
        .live
        .ok_or("made")?;
    let key = lockstep_app::AppKey {
        namespace: NAMESPACE.to_owned(),
        name: "probe".to_owned(),
    };
    let extras = Extras {
        uid: live.uid(),
        clear_refresh: true,
        annotations: BTreeMap::from([("a".to_owned(), Some("b".to_owned()))]),
        ..Extras::default()
    };
    let status = json!({"sync": {"status": "Synced"}});
    apps.publish(&key, status.clone(), extras.clone()).await?;
    let live = cluster
        .get(&live.gvk(), &live.id())
        .await?
        .ok_or("it is there")?;
    check(
        live.text(&["status", "sync", "status"]) == "Synced",
        "the status is published",
    )?;
    check(
        live.annotation("argocd.argoproj.io/refresh").is_none(),
        "the refresh is taken up",
    )?;
    let other = Extras {
        uid: Some(Uid("another".to_owned())),
        ..extras
    };
    let refused = apps.publish(&key, status, other).await;
    check(
        matches!(refused, Err(WriteError::Conflict { .. })),
        "another Application is left alone",
    )?;

    apps.set_secret_key("tokens", "a", Some(b"1")).await?;
    apps.set_secret_key("tokens", "b", Some(b"2")).await?;
    apps.set_secret_key("tokens", "a", None).await?;
    let tokens = apps.secret("tokens").await?.ok_or("it was made")?;
    check(
        tokens.expose().text(&["data", "b"]) == "Mg==",
        "the key is set",
    )?;
    check(
        tokens.expose().get(&["data", "a"]).is_none(),
        "the other is gone",
    )?;
    apps.event(&lockstep_cluster::NewEvent {
        gvk: live.gvk(),
        object: live.id(),
        uid: live.uid().ok_or("a live object has a uid")?,
        event_type: lockstep_cluster::EventType::Normal,
        reason: "Probed".to_owned(),
        action: "Probe".to_owned(),
        note: "it was probed".to_owned(),
        instance: "probe".to_owned(),
        at: jiff::Timestamp::now(),
    })
    .await?;
    Ok(())
}

async fn leases(cluster: &Cluster) -> Outcome {
    let stop = CancellationToken::new();
    let first = Lease::new(cluster.clone(), NAMESPACE, "probe", "first");
    let second = Lease::new(cluster.clone(), NAMESPACE, "probe", "second");
    let hold = first.acquire(&stop).await.ok_or("it is free")?;
    check(
        first.allows(Duration::from_secs(5)),
        "five seconds of work may begin",
    )?;
    let handover = async {
        let waited = timeout(Duration::from_secs(7), second.acquire(&stop)).await;
        check(waited.is_err(), "a held lease is not had")?;
        stop.cancel();
        Outcome::Ok(())
    };
    let (ended, waited) = tokio::join!(first.keep(&stop), handover);
    waited?;
    check(ended == Ended::Stopped, "it ends when asked")?;
    let start = Instant::now();
    let next = second
        .acquire(&CancellationToken::new())
        .await
        .ok_or("it was given back")?;
    println!(
        "lease handed over in {:?}, epoch {} after {}",
        start.elapsed(),
        next.epoch,
        hold.epoch
    );
    check(next.epoch == hold.epoch + 1, "the epoch rises")
}

fn check(holds: bool, what: &str) -> Outcome {
    if holds {
        Ok(())
    } else {
        Err(format!("it does not hold: {what}").into())
    }
}

fn percentiles(mut took: Vec<Duration>) -> String {
    took.sort();
    let at = |percent: usize| {
        took.get(took.len() * percent / 100)
            .copied()
            .unwrap_or_default()
    };
    format!("p50 {:.1?}, p99 {:.1?}", at(50), at(99))
}
