//! The daemon is one program: whatever it does, it starts no other.

use std::process::Command;

use anyhow::{Context as _, Result, bail};
use lockstep_tests::World;
use serde_json::json;

use crate::objects::{config_map, push};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_a_whole_life_exactly_one_program_is_executed() -> Result<()> {
    if Command::new("strace").arg("-V").output().is_err() {
        bail!("strace is missing; on Debian: apt-get install strace");
    }
    let mut world = World::new("strace").await?;
    let trace = world.folder().join("trace");
    let trace_text = trace.to_str().context("a path in ASCII")?.to_owned();
    let under = [
        "strace",
        "-f",
        "-qq",
        "-e",
        "trace=execve,execveat,ptrace",
        "-e",
        "signal=none",
        "-o",
        &trace_text,
    ];
    world.daemon = Some(world.another("", &under)?);
    // Directory and kustomization, private git, drift, prune, a bad commit, the end: what others start programs for.
    let first = push(
        &world,
        "shop",
        &[config_map("front", "1"), config_map("back", "1")],
    )?;
    world
        .kube
        .create(&world.application("shop", "shop"))
        .await?;
    world.synced("shop", &first).await?;
    let by_hand = json!({"data": {"value": "9"}});
    world
        .kube
        .patch(
            &lockstep_tests::kube::path("ConfigMap", &world.target, "front"),
            by_hand,
            "hand",
        )
        .await?;
    world
        .object_until("ConfigMap", "front", "being put back", |object| {
            object.is_some_and(|object| object["data"]["value"] == "1")
        })
        .await?;
    world.repository.write(
        "shop/kustomization.yaml",
        "resources: [configmap-front.json]\nnamePrefix: a-\n",
    )?;
    let second = world.repository.push("a kustomization")?;
    world.synced("shop", &second).await?;
    assert!(world.object("ConfigMap", "a-front").await?.is_some());
    world.repository.write(
        "shop/kustomization.yaml",
        "resources: [https://git.example.org/base]\nexec: [rm]\n",
    )?;
    world.repository.push("what nobody renders")?;
    world.condition("shop", "ComparisonError", "").await?;

    // strace holds back signals from itself while it traces, so the daemon is told, not strace.
    let strace = world.daemon().pid();
    let children = std::fs::read_to_string(format!("/proc/{strace}/task/{strace}/children"))?;
    let daemon = children
        .split_whitespace()
        .next()
        .context("strace has a child")?;
    let name = std::fs::read_to_string(format!("/proc/{daemon}/comm"))?;
    assert_eq!(name.trim(), "lockstep");
    assert!(
        Command::new("kill")
            .args(["-TERM", daemon])
            .status()?
            .success()
    );
    let ended = tokio::task::block_in_place(|| world.daemon().ended())?;
    assert_eq!(ended.code(), Some(0), "{}", world.daemon().log());

    let text = std::fs::read_to_string(&trace)?;
    let executed: Vec<&str> = text
        .lines()
        .filter(|line| line.contains("execve"))
        .collect();
    assert_eq!(executed.len(), 1, "{text}");
    assert!(
        executed[0].contains("lockstep\"") && executed[0].ends_with("= 0"),
        "{text}"
    );
    Ok(())
}
