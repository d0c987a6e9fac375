//! The catalogue of reasons.

use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::sample;
use crate::site::Site;

/// The texts of the source files of these crates that look like a reason's code.
fn codes(crates: &[&str]) -> BTreeSet<String> {
    let families = [
        "abandon", "access", "apply", "bundle", "config", "delete", "diff", "drift", "health",
        "held", "hook", "lease", "plan", "project", "render", "repo", "rollback", "stream", "sync",
        "unknown", "webhook",
    ];
    let mut found = BTreeSet::new();
    let mut folders: Vec<PathBuf> = crates
        .iter()
        .map(|name| format!("{}/../{name}/src", env!("CARGO_MANIFEST_DIR")).into())
        .collect();
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(folder) else {
            continue;
        };
        for path in entries.map(|entry| entry.expect("an entry").path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(path).expect("a source file");
                let is_code = |text: &&str| {
                    let (family, rest) = text.split_once('.').unwrap_or_default();
                    families.contains(&family)
                        && !rest.is_empty()
                        && rest.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
                };
                found.extend(text.split('"').filter(is_code).map(str::to_owned));
            }
        }
    }
    found
}

#[tokio::test]
async fn every_code_that_a_reason_or_an_error_can_carry_is_explained() {
    let page = Site::new(sample::board()).get("/help/words").await;
    let used = codes(&[
        "app",
        "cluster",
        "daemon",
        "plan",
        "reconcile",
        "render",
        "source",
    ]);
    let missing: Vec<&String> = used
        .iter()
        .filter(|code| !page.body.contains(&format!("<tr id=\"{code}\">")))
        .collect();
    assert_eq!(missing, Vec::<&String>::new());
    assert!(used.contains("held.approval"));
}
