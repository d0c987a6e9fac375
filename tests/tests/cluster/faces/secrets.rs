//! What is secret stays in git and in the Secret: no face, no log, no status and no record shows it.

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lockstep_tests::World;
use lockstep_tests::kube::path;
use reqwest::Method;
use serde_json::{Value, json};

use crate::objects::{config_map, in_environment, push};

/// A value and every form in which it might slip out.
struct Canary(Vec<(String, &'static str)>);

impl Canary {
    fn new(values: &[&str]) -> Self {
        let forms = values.iter().flat_map(|value| {
            // A beginning of the base64, since a text in quotation marks may be cut.
            let encoded = STANDARD.encode(value);
            [
                ((*value).to_owned(), "the value"),
                (encoded[..16].to_owned(), "its base64"),
            ]
        });
        Self(forms.collect())
    }

    fn look_for(&self, place: &str, text: &str) {
        for (form, what) in &self.0 {
            assert!(
                !text.contains(form.as_str()),
                "{what} stands in {place}:\n{text}"
            );
        }
    }
}

/// Every place where something about an app is shown or kept.
async fn search(world: &mut World, canary: &Canary, app: &str, name: &str) -> Result<()> {
    let mut paths = vec![
        "/",
        "/metrics",
        "/api/v1/apps",
        "/api/v1/overview",
        "/api/v1/applications",
    ]
    .into_iter()
    .map(str::to_owned)
    .collect::<Vec<_>>();
    for part in ["", "/plan", "/drift", "/objects", "/history", "/events"] {
        paths.push(format!("/api/v1/apps/{app}{part}"));
    }
    paths.push(format!("/apps/{app}"));
    paths.push(format!("/api/v1/applications/{name}"));
    let (_, view) = world
        .rest(Method::GET, &format!("/api/v1/apps/{app}"), None)
        .await?;
    if let Some(id) = view["operation"]["id"].as_str() {
        paths.push(format!("/api/v1/operations/{id}"));
    }
    let client = reqwest::Client::new();
    let url = world.daemon().url.clone();
    for path in paths {
        for accept in ["application/json", "text/html", "text/plain"] {
            let answer = client
                .get(format!("{url}{path}"))
                .header("Accept", accept)
                .send()
                .await?;
            canary.look_for(&format!("{path} as {accept}"), &answer.text().await?);
        }
    }
    for (kind, at) in [("Application", name), ("Record", name)] {
        if let Some(object) = world.kube.get(&path(kind, &world.apps, at)).await? {
            canary.look_for(&format!("{kind} {at}"), &object.to_string());
        }
    }
    for event in world
        .kube
        .list(&format!("/api/v1/namespaces/{}/events", world.apps))
        .await?
    {
        canary.look_for("an Event", &event.to_string());
    }
    for verb in [
        &["diff", app][..],
        &["drift", app],
        &["status", app],
        &["status", app, "-o", "json"],
    ] {
        let said = world.cli(verb)?;
        canary.look_for(&format!("{verb:?}"), &format!("{}{}", said.out, said.err));
    }
    let log = world.daemon().log();
    assert!(
        log.contains("\"DEBUG\""),
        "the log is not the talkative one"
    );
    canary.look_for("the log", &log);
    Ok(())
}

fn secret(kind: &str, field: &str, values: &[(&str, &str)]) -> Value {
    let mut object = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "payments"}, "type": kind});
    for (key, value) in values {
        object[field][key] = json!(value);
    }
    object
}

/// A world whose daemon logs everything that it ever logs.
async fn talkative(name: &str) -> Result<World> {
    let mut world = World::new(name).await?;
    world.daemon = Some(world.another("", &["env", "LOCKSTEP_LOG=trace,h2=info,hyper=info"])?);
    Ok(world)
}

/// Waits until the app is in this state, with a reason that tells of the object.
async fn until(world: &World, app: &str, state: &str) -> Result<Value> {
    world
        .rest_until(&format!("/api/v1/apps/{app}"), state, |_, app| {
            app["state"] == state
        })
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secrets_values_are_shown_nowhere_while_it_is_changed_by_git_and_by_hand() -> Result<()> {
    let mut world = talkative("secrets").await?;
    let (first, second, third) = (
        "kanarienvogel-one-7731",
        "kanarienvogel-two-7732",
        "kanarienvogel-three-7733",
    );
    let canary = Canary::new(&[first, second, third]);
    let data = |value: &str| secret("Opaque", "data", &[("TOKEN", &STANDARD.encode(value))]);
    push(&world, "shop", &[data(first), config_map("front", "1")])?;
    world
        .kube
        .create(&in_environment(
            "prod",
            world.application("shop-prod", "shop"),
        ))
        .await?;
    // Held: the plan would make it.
    until(&world, "prod/shop", "held").await?;
    search(&mut world, &canary, "prod/shop", "shop-prod").await?;
    let said = world.cli(&["sync", "prod/shop"])?;
    assert_eq!(said.code, Some(0), "{said:?}");
    canary.look_for("sync", &format!("{said:?}"));
    // Held again: the plan would change it.
    push(&world, "shop", &[data(second)])?;
    let plan = world
        .rest_until("/api/v1/apps/prod/shop/plan", "the change", |_, plan| {
            plan["update"] == 1 && plan["steps"][0]["changes"][0].is_object()
        })
        .await?;
    let change = &plan["steps"][0]["changes"][0];
    assert_eq!(
        (&change["sensitive"], &change["before"], &change["after"]),
        (&json!(true), &Value::Null, &Value::Null)
    );
    search(&mut world, &canary, "prod/shop", "shop-prod").await?;
    assert_eq!(world.cli(&["sync", "prod/shop"])?.code, Some(0));
    // By hand: drift, and its way back.
    let by_hand = json!({"data": {"TOKEN": STANDARD.encode(third)}});
    world
        .kube
        .patch(&path("Secret", &world.target, "payments"), by_hand, "hand")
        .await?;
    world
        .object_until("Secret", "payments", "being put back", |object| {
            object.is_some_and(|object| object["data"]["TOKEN"] == STANDARD.encode(second))
        })
        .await?;
    until(&world, "prod/shop", "synced").await?;
    search(&mut world, &canary, "prod/shop", "shop-prod").await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_that_the_api_server_refuses_is_named_and_its_values_are_not() -> Result<()> {
    let mut world = talkative("refused").await?;
    let value = "kanarienvogel-refused-7734";
    let canary = Canary::new(&[value]);
    let encoded = STANDARD.encode(value);
    let mut nested = secret("Opaque", "data", &[]);
    nested["data"] = json!({"TOKEN": {"inner": value}});
    let mut listed = secret("Opaque", "data", &[]);
    listed["data"] = json!([value]);
    let refused = [
        // The type of a Secret never changes.
        (
            "type",
            secret(
                "kubernetes.io/basic-auth",
                "data",
                &[("username", &encoded), ("password", &encoded)],
            ),
        ),
        // No base64 at all, so the API server quotes what it could not read.
        (
            "base64",
            secret("Opaque", "data", &[("TOKEN", &format!("{value}!"))]),
        ),
        // Not even text.
        ("nested", nested),
        ("listed", listed),
        // A key that is none.
        (
            "key",
            secret("Opaque", "stringData", &[("no such key", value)]),
        ),
        (
            "kind",
            secret(
                "kubernetes.io/tls",
                "stringData",
                &[("tls.crt", value), ("tls.key", value)],
            ),
        ),
        (
            "json",
            secret(
                "kubernetes.io/dockerconfigjson",
                "stringData",
                &[(".dockerconfigjson", value)],
            ),
        ),
    ];
    for (name, object) in refused {
        let folder = format!("shop-{name}");
        let mut first = secret("Opaque", "data", &[("TOKEN", &encoded)]);
        first["metadata"]["name"] = json!(format!("payments-{name}"));
        let mut object = object;
        object["metadata"]["name"] = json!(format!("payments-{name}"));
        let revision = push(&world, &folder, &[first])?;
        world
            .kube
            .create(&in_environment(
                "dev",
                world.application(&format!("{name}-dev"), &folder),
            ))
            .await?;
        world.synced(&format!("{name}-dev"), &revision).await?;
        push(&world, &folder, &[object])?;
        let app = format!("dev/{name}");
        let view = until(&world, &app, "failing")
            .await
            .with_context(|| format!("{name} is not refused"))?;
        let said = view["reason"]["text"].as_str().unwrap_or_default();
        assert!(
            said.contains("ecret"),
            "{name}: the object is not named: {said}"
        );
        search(&mut world, &canary, &app, &format!("{name}-dev")).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credentials_of_a_repository_are_shown_nowhere_when_it_refuses_them() -> Result<()> {
    let mut world = talkative("login").await?;
    let password = "kanarienvogel-login-7735";
    let canary = Canary::new(&[password]);
    let url = world
        .repository
        .url
        .replace(".git", "-that-is-not-there.git");
    let login = json!({"apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": "login", "namespace": world.apps, "labels": {"argocd.argoproj.io/secret-type": "repository"}},
        "stringData": {"type": "git", "url": url, "username": "ada", "password": password}});
    world.kube.create(&login).await?;
    let mut app = in_environment("dev", world.application("shop-dev", "shop"));
    app["spec"]["source"]["repoURL"] = json!(url);
    world.kube.create(&app).await?;
    world.condition("shop-dev", "ComparisonError", "").await?;
    search(&mut world, &canary, "dev/shop", "shop-dev").await?;
    // Written into the address, where they do not belong.
    let inside = url.replace("http://", &format!("http://ada:{password}@"));
    let mut app = in_environment("dev", world.application("store-dev", "shop"));
    app["spec"]["source"]["repoURL"] = json!(inside);
    world.kube.create(&app).await?;
    let has_condition = |app: &Value| {
        app["status"]["conditions"]
            .as_array()
            .is_some_and(|all| !all.is_empty())
    };
    world.app("store-dev", "a condition", has_condition).await?;
    for path in [
        "/",
        "/api/v1/apps",
        "/apps/dev/store",
        "/api/v1/apps/dev/store",
        "/metrics",
    ] {
        let (_, text) = world.rest(Method::GET, path, None).await?;
        canary.look_for(path, &text.to_string());
    }
    canary.look_for("the log", &world.daemon().log());
    Ok(())
}
