//! `make demo`: a cluster, a git server, a web shop in three environments, and Lockstep between them.
//!
//! Four facts are shown with the time each took, and checked on the API server itself. Without `--check` everything
//! stays up afterwards, to be played with, until Ctrl-C.
#![expect(clippy::print_stdout, reason = "telling is what this program is for")]

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use hmac::{Hmac, KeyInit as _, Mac as _};
use lockstep_tests::audit::fresh;
use lockstep_tests::controlplane::{ControlPlane, install_tls, workspace};
use lockstep_tests::daemon::{Daemon, Start};
use lockstep_tests::git::Repository;
use lockstep_tests::kube::{Kube, path};
use lockstep_tests::world::{prepare, sha256};
use reqwest::{Client, Method};
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};

const APPS: &str = "argocd";

fn main() -> ExitCode {
    let check = std::env::args().any(|argument| argument == "--check");
    install_tls();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("demo: {error}");
            return ExitCode::FAILURE;
        }
    };
    // At any moment: whatever runs by then is dropped, and ends.
    let shown = runtime.block_on(async {
        tokio::select! {
            biased;
            ended = asked_to_end() => {
                ended?;
                println!("\nTaking everything away again.");
                if check { bail!("it was interrupted") }
                Ok(0)
            }
            failed = show(check) => failed,
        }
    });
    match shown {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("demo: {error:#}");
            println!("test result: FAILED. 0 passed; 1 failed; 0 ignored");
            ExitCode::FAILURE
        }
    }
}

/// Everything that runs. It ends with this value, the folder last.
struct Demo {
    daemon: Daemon,
    kube: Kube,
    repository: Repository,
    client: Client,
    token: String,
    secret: String,
    plane: ControlPlane,
}

async fn show(check: bool) -> Result<usize> {
    println!("Starting a Kubernetes control plane, a git server and Lockstep on this machine.");
    let begun = Instant::now();
    let demo = Demo::start().await?;
    println!("Up after {}.\n", took(begun.elapsed()));
    demo.introduce();
    demo.first_deployment().await?;

    let facts = [
        ("a commit goes live in dev", demo.commit_goes_live().await),
        (
            "the same commit waits in prod until a person lets it through",
            demo.prod_waits().await,
        ),
        (
            "a change by hand is put back",
            demo.hand_edit_is_put_back().await,
        ),
        (
            "a deleted file is pruned in dev and waits in prod",
            demo.deletion().await,
        ),
    ];
    let mut failed = 0;
    for (number, (what, result)) in facts.iter().enumerate() {
        match result {
            Ok(said) => println!("{}. ok: {what}\n   {said}", number + 1),
            Err(error) => {
                failed += 1;
                println!("{}. FAILED: {what}\n   {error:#}", number + 1);
            }
        }
    }
    let passed = facts.len() - failed;
    println!("\n{passed} facts passed, {failed} failed");
    if check {
        let word = if failed == 0 { "ok" } else { "FAILED" };
        println!("test result: {word}. {passed} passed; {failed} failed; 0 ignored");
        return Ok(failed);
    }
    demo.invite();
    std::future::pending().await
}

/// Waits for Ctrl-C, or for a `kill` without a number.
async fn asked_to_end() -> Result<()> {
    let mut terminated = signal(SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted?,
        _ = terminated.recv() => {}
    }
    Ok(())
}

impl Demo {
    async fn start() -> Result<Self> {
        let plane = ControlPlane::start()?;
        let kube = Kube::admin(&plane.address)?;
        prepare(&kube).await?;
        kube.namespace(APPS).await?;

        let repository = Repository::new(&plane.address, plane.folder(), "shop")?;
        copy(&workspace().join("config/demo/shop"), repository.work())?;
        repository.push("shop: four services in three environments")?;

        let etc = plane.folder().join("etc");
        std::fs::create_dir_all(etc.join("apps"))?;
        for file in ["dev.yaml", "staging.yaml", "prod.yaml"] {
            let text = std::fs::read_to_string(workspace().join("config/demo/apps").join(file))?;
            std::fs::write(
                etc.join("apps").join(file),
                text.replace("${REPOSITORY}", &repository.url),
            )?;
        }
        let text = std::fs::read_to_string(workspace().join("config/demo/lockstep.yaml"))?;
        let text =
            format!("{text}\nwebhook:\n  secret:\n    name: lockstep-webhook\n    key: secret\n");
        std::fs::write(etc.join("lockstep.yaml"), text)?;

        let (token, secret) = (
            format!("{:016x}{:016x}", fresh(), fresh()),
            format!("{:016x}{:016x}", fresh(), fresh()),
        );
        for (name, key, value) in [
            ("lockstep-tokens", "demo", sha256(&token)),
            ("lockstep-webhook", "secret", secret.clone()),
        ] {
            let object = json!({"apiVersion": "v1", "kind": "Secret",
                "metadata": {"name": name, "namespace": APPS}, "stringData": {key: value}});
            kube.create(&object).await?;
        }
        let daemon = Daemon::start(&Start {
            config: &etc.join("lockstep.yaml"),
            kubeconfig: &plane.address.kubeconfig,
            cache: &plane.folder().join("cache"),
            under: &[],
        })?;
        Ok(Self {
            daemon,
            kube,
            repository,
            client: Client::new(),
            token,
            secret,
            plane,
        })
    }

    fn introduce(&self) {
        println!("  The page    {}", self.daemon.url);
        println!(
            "  The cluster export KUBECONFIG={}",
            self.plane.address.kubeconfig.display()
        );
        println!("  The git     {}", self.repository.url);
        println!(
            "\nThe shop has four services in dev, staging and prod. dev and staging take commits by"
        );
        println!("themselves; prod waits for a person, for new commits and for deletions.\n");
    }

    fn invite(&self) {
        let url = &self.daemon.url;
        println!("\nIt is all yours now. In another terminal:\n");
        println!(
            "  export KUBECONFIG={}",
            self.plane.address.kubeconfig.display()
        );
        println!(
            "  export LOCKSTEP_SERVER={url} LOCKSTEP_TOKEN={}",
            self.token
        );
        println!(
            "  export PATH={}:$PATH\n",
            workspace().join("target/debug").display()
        );
        println!("  lockstep                                           what needs a look");
        println!(
            "  kubectl -n shop-dev scale deployment catalog --replicas 7     it is back before you look"
        );
        println!("  kubectl -n shop-dev delete service catalog                    so is this");
        println!("  lockstep diff catalog -e prod                      what a sync would do");
        println!("  lockstep sync catalog -e prod                      let it through");
        println!(
            "  git clone {} && cd shop      change something and push it",
            self.repository.url
        );
        println!("\nCtrl-C ends everything that was started here, and removes its folder.");
    }

    /// Everything is live once: dev and staging by themselves, prod because a person says so.
    async fn first_deployment(&self) -> Result<()> {
        let begun = Instant::now();
        let names = ["catalog", "checkout", "search", "storefront"];
        for name in names {
            for environment in ["dev", "staging"] {
                self.application(
                    &format!("{name}-{environment}"),
                    "its first sync",
                    is_synced,
                )
                .await?;
            }
        }
        println!("dev and staging are live after {}.", took(begun.elapsed()));
        for name in names {
            let held = format!("{name}-prod");
            self.application(&held, "being held", |app| state(app) == "held")
                .await?;
            self.sync(name).await?;
            self.application(&held, "its first sync", is_synced).await?;
        }
        println!("prod was held, and is live after one sync by REST for each service.");
        // No controller here gives an Ingress its address or an autoscaler its numbers; so the demo does.
        for environment in ["dev", "staging", "prod"] {
            self.play_the_cloud(&format!("shop-{environment}")).await?;
        }
        println!();
        Ok(())
    }

    async fn play_the_cloud(&self, namespace: &str) -> Result<()> {
        for ingress in self.kube.list(&path("Ingress", namespace, "")).await? {
            let name = ingress["metadata"]["name"].as_str().unwrap_or_default();
            let status = json!({"status": {"loadBalancer": {"ingress": [{"ip": "127.0.0.1"}]}}});
            let at = format!("{}/status", path("Ingress", namespace, name));
            self.kube.patch(&at, status, "demo-cloud").await?;
        }
        for scaler in self
            .kube
            .list(&path("HorizontalPodAutoscaler", namespace, ""))
            .await?
        {
            let name = scaler["metadata"]["name"].as_str().unwrap_or_default();
            let condition = |kind: &str| json!({"type": kind, "status": "True", "reason": "ReadyForNewScale", "message": ""});
            let status = json!({"status": {"currentReplicas": 2, "desiredReplicas": 2,
                "conditions": [condition("AbleToScale"), condition("ScalingActive")]}});
            let at = format!(
                "{}/status",
                path("HorizontalPodAutoscaler", namespace, name)
            );
            self.kube.patch(&at, status, "demo-cloud").await?;
        }
        Ok(())
    }

    async fn commit_goes_live(&self) -> Result<String> {
        let file = "catalog/base/settings.properties";
        let text = std::fs::read_to_string(self.repository.work().join(file))?;
        let before = self.settings_of("shop-dev").await?;
        let commit = self.repository.commit(
            "catalog: greet people",
            &[(file, &format!("{text}GREETING=hello\n"))],
        )?;
        let pushed = Instant::now();
        self.webhook().await?;
        self.deployment("shop-dev", "the new settings", |found| {
            settings(found) != before
        })
        .await?;
        let live = pushed.elapsed();
        self.application("catalog-dev", "being synced at the commit", |app| {
            is_synced(app) && app["status"]["sync"]["revision"] == commit.as_str()
        })
        .await?;
        Ok(format!(
            "pushed {}; its webhook, a fetch, a render and an apply later, {} after, the Deployment has it",
            &commit[..7],
            took(live)
        ))
    }

    async fn prod_waits(&self) -> Result<String> {
        self.application("catalog-prod", "being held", |app| {
            state(app) == "held" && app["status"]["lockstep"]["reason"]["code"] == "held.approval"
        })
        .await?;
        let before = self.settings_of("shop-prod").await?;
        if before == self.settings_of("shop-dev").await? {
            bail!("prod has what only dev should have");
        }
        let begun = Instant::now();
        self.sync("catalog").await?;
        self.deployment("shop-prod", "the new settings", |found| {
            settings(found) != before
        })
        .await?;
        Ok(format!(
            "held with its plan; POST …/sync with that plan's digest, and {} later it is live",
            took(begun.elapsed())
        ))
    }

    async fn hand_edit_is_put_back(&self) -> Result<String> {
        let at = path("Deployment", "shop-dev", "catalog");
        let wanted = self.kube.must(&at).await?["spec"]["replicas"].clone();
        self.kube
            .patch(&at, json!({"spec": {"replicas": 7}}), "kubectl-edit")
            .await?;
        let edited = Instant::now();
        self.deployment("shop-dev", "the replicas of git", |found| {
            found["spec"]["replicas"] == wanted
        })
        .await?;
        Ok(format!(
            "spec.replicas 7 by kubectl-edit; back at {wanted} after {}",
            took(edited.elapsed())
        ))
    }

    async fn deletion(&self) -> Result<String> {
        let file = "catalog/base/kustomization.yaml";
        let text = std::fs::read_to_string(self.repository.work().join(file))?;
        self.repository.remove("catalog/base/nightly-export.yaml")?;
        self.repository.commit(
            "catalog: no more nightly export",
            &[(file, &text.replace("  - nightly-export.yaml\n", ""))],
        )?;
        let pushed = Instant::now();
        self.webhook().await?;
        self.kube
            .until(
                "CronJob",
                "shop-dev",
                "nightly-export",
                "being pruned",
                |found| found.is_none(),
            )
            .await?;
        let pruned = pushed.elapsed();
        self.application("catalog-prod", "being held", |app| state(app) == "held")
            .await?;
        self.kube
            .must(&path("CronJob", "shop-prod", "nightly-export"))
            .await
            .context("prod should have kept it")?;
        Ok(format!(
            "the CronJob is gone from dev after {}; in prod it stands, and the app says that it waits",
            took(pruned)
        ))
    }

    /// Lets prod through as a script would: reads the plan, and approves exactly that.
    async fn sync(&self, app: &str) -> Result<()> {
        let base = format!("{}/api/v1/apps/prod/{app}", self.daemon.url);
        let plan: Value = self
            .client
            .get(format!("{base}/plan"))
            .send()
            .await?
            .json()
            .await?;
        let body = json!({"plan": plan["digest"]});
        let answer = self
            .client
            .request(Method::POST, format!("{base}/sync"))
            .bearer_auth(&self.token)
            .json(&body)
            .send()
            .await?;
        let status = answer.status();
        let operation: Value = answer.json().await?;
        if !status.is_success() {
            bail!("the sync of {app} was refused: {status} {operation}");
        }
        let id = operation["id"].as_str().unwrap_or_default();
        let url = format!("{}/api/v1/operations/{id}?wait=30s", self.daemon.url);
        let ended: Value = self.client.get(url).send().await?.json().await?;
        if ended["phase"] != "succeeded" {
            bail!("the sync of {app} did not succeed: {ended}");
        }
        Ok(())
    }

    /// What GitHub would send after the push.
    async fn webhook(&self) -> Result<()> {
        let body =
            json!({"ref": "refs/heads/main", "repository": {"clone_url": self.repository.url}})
                .to_string();
        let mut mac = Hmac::<sha2::Sha256>::new_from_slice(self.secret.as_bytes())?;
        mac.update(body.as_bytes());
        let answer = self
            .client
            .post(format!("{}/api/webhook", self.daemon.url))
            .header("X-GitHub-Event", "push")
            .header(
                "X-Hub-Signature-256",
                format!("sha256={}", hex::encode(mac.finalize().into_bytes())),
            )
            .header("Content-Type", "application/json")
            .body(body)
            .send()
            .await?;
        if !answer.status().is_success() {
            bail!(
                "the webhook was refused: {} {}",
                answer.status(),
                answer.text().await?
            );
        }
        Ok(())
    }

    async fn application(
        &self,
        name: &str,
        what: &str,
        holds: impl Fn(&Value) -> bool,
    ) -> Result<()> {
        let found = self
            .kube
            .until("Application", APPS, name, what, |app| {
                app.is_some_and(&holds)
            })
            .await;
        found.map(|_| ()).with_context(|| self.last_words())
    }

    async fn deployment(
        &self,
        namespace: &str,
        what: &str,
        holds: impl Fn(&Value) -> bool,
    ) -> Result<()> {
        let found = self
            .kube
            .until("Deployment", namespace, "catalog", what, |found| {
                found.is_some_and(&holds)
            })
            .await;
        found.map(|_| ()).with_context(|| self.last_words())
    }

    async fn settings_of(&self, namespace: &str) -> Result<String> {
        Ok(settings(
            &self
                .kube
                .must(&path("Deployment", namespace, "catalog"))
                .await?,
        ))
    }

    fn last_words(&self) -> String {
        let log = self.daemon.log();
        let lines: Vec<&str> = log.lines().collect();
        format!(
            "the daemon's log ends with:\n{}",
            lines[lines.len().saturating_sub(15)..].join("\n")
        )
    }
}

/// The name of the generated ConfigMap that the Deployment reads its settings from.
fn settings(deployment: &Value) -> String {
    let at = "/spec/template/spec/containers/0/envFrom/0/configMapRef/name";
    deployment
        .pointer(at)
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

fn is_synced(app: &Value) -> bool {
    app["status"]["sync"]["status"] == "Synced"
}

fn state(app: &Value) -> &str {
    app["status"]["lockstep"]["state"]
        .as_str()
        .unwrap_or_default()
}

fn took(time: Duration) -> String {
    if time < Duration::from_secs(2) {
        format!("{} ms", time.as_millis())
    } else {
        format!("{:.1} s", time.as_secs_f64())
    }
}

fn copy(from: &std::path::Path, to: &std::path::Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in
        std::fs::read_dir(from).with_context(|| format!("{} cannot be read", from.display()))?
    {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
