//! What is asked of a host, what is kept, and what outlives a killed process.

use futures::future::join_all;
use lockstep_source::{Counts, SetupError, Sources};

use crate::server::Manner;
use crate::{Shop, file, options, revision};

#[tokio::test]
async fn twenty_callers_at_once_cost_one_listing_and_one_fetch() {
    let shop = Shop::new();
    let commit = shop.host.push("main", "first");
    let remote = shop.host.remote();
    let refs = join_all((0..20).map(|_| shop.sources.refs(&remote, None))).await;
    assert!(refs.iter().all(Result::is_ok));
    let revision = revision(&commit);
    let trees = join_all((0..20).map(|_| shop.sources.tree(&remote, None, &revision))).await;
    assert!(trees.iter().all(Result::is_ok));
    assert_eq!(
        shop.sources.counts(),
        Counts {
            ls_refs: 1,
            fetches: 1,
            failures: 0
        }
    );
    assert_eq!(
        shop.host.take_requests().len(),
        3,
        "capabilities, a listing and a fetch"
    );
}

#[tokio::test]
async fn a_push_is_a_tree_after_two_requests() {
    let shop = Shop::new();
    for number in 0..200 {
        shop.host.write(
            &format!("apps/{number}/web.yaml"),
            &format!("number: {number}\n").repeat(40),
        );
    }
    shop.host.push("main", "first");
    shop.latest("main").await.unwrap();
    shop.host.take_requests();
    let mut took = Vec::new();
    for number in 0..20 {
        shop.host
            .write("apps/7/web.yaml", &format!("pushed: {number}\n"));
        let commit = shop.host.push("main", "again");
        let start = std::time::Instant::now();
        let snapshot = shop.latest("main").await.unwrap();
        took.push(start.elapsed());
        assert_eq!(snapshot.commit.revision, revision(&commit));
        assert_eq!(shop.host.take_requests().len(), 2);
    }
    took.sort();
    eprintln!(
        "listing and fetch of a push: p50 {:?}, p95 {:?}, slowest {:?}",
        took[10], took[18], took[19]
    );
}

#[tokio::test]
async fn a_second_fetch_brings_only_what_changed() {
    let shop = Shop::new();
    for number in 0..50 {
        shop.host.write(
            &format!("apps/{number}.yaml"),
            &format!("number: {number}\n"),
        );
    }
    shop.host.push("main", "first");
    shop.latest("main").await.unwrap();
    let first = shop.packs();
    shop.host.write("apps/7.yaml", "number: seven\n");
    shop.host.push("main", "second");
    let snapshot = shop.latest("main").await.unwrap();
    assert_eq!(
        file(&snapshot, "apps/7.yaml").as_deref(),
        Some(&b"number: seven\n"[..])
    );
    assert_eq!(
        file(&snapshot, "apps/8.yaml").as_deref(),
        Some(&b"number: 8\n"[..])
    );
    let second: Vec<_> = shop
        .packs()
        .into_iter()
        .filter(|pack| !first.contains(pack))
        .collect();
    assert_eq!(second.len(), 1);
    let listed = shop.host.git(
        shop.cache.path(),
        &["verify-pack", "-v", second[0].to_str().unwrap()],
    );
    let objects = listed
        .lines()
        .filter(|line| {
            line.contains(" blob ") || line.contains(" tree ") || line.contains(" commit ")
        })
        .count();
    // The commit, two folders and a file; and what those folders are written as differences from.
    assert!(objects <= 6, "{listed}");
    // What is on disk is a repository that git itself finds whole.
    shop.host.git(
        &shop.repositories()[0],
        &[
            "fsck",
            "--full",
            "--strict",
            &snapshot.commit.revision.to_string(),
        ],
    );
}

#[tokio::test]
async fn a_commit_that_was_fetched_needs_no_request_after_a_restart() {
    let shop = Shop::new();
    shop.host.write("web.yaml", "a: 1\n");
    let commit = shop.host.push("main", "first");
    shop.latest("main").await.unwrap();
    let shop = shop.restart();
    shop.host.behave(Manner::Status(503, vec![]));
    shop.host.take_requests();
    let snapshot = shop
        .sources
        .tree(&shop.host.remote(), None, &revision(&commit))
        .await
        .unwrap();
    assert_eq!(file(&snapshot, "web.yaml").as_deref(), Some(&b"a: 1\n"[..]));
    assert_eq!(shop.host.take_requests().len(), 0);
}

#[tokio::test]
async fn what_a_killed_process_leaves_behind_blocks_nothing() {
    let shop = Shop::new();
    shop.host.push("main", "first");
    shop.latest("main").await.unwrap();
    let repository = shop.repositories().remove(0);
    for stray in [
        "shallow.lock",
        "config.lock",
        "shallow.new",
        "objects/pack/pack-half.pack",
    ] {
        std::fs::write(repository.join(stray), "half").unwrap();
    }
    let half = shop.cache.path().join("incoming/41");
    std::fs::create_dir_all(&half).unwrap();
    std::fs::write(half.join("tmp"), "half").unwrap();
    let shop = shop.restart();
    assert_eq!(shop.quarantined(), 0);
    assert!(!repository.join("shallow.lock").exists());
    let second = shop.host.push("main", "second");
    assert_eq!(
        shop.latest("main").await.unwrap().commit.revision,
        revision(&second)
    );
}

#[tokio::test]
async fn a_cache_belongs_to_one_process_at_a_time() {
    let shop = Shop::new();
    let other = Sources::new(options(shop.cache.path()));
    assert!(matches!(other, Err(SetupError::InUse { .. })));
    shop.restart();
}

#[tokio::test]
async fn a_damaged_cache_is_replaced_by_a_fresh_clone() {
    let shop = Shop::new();
    shop.host.write("web.yaml", "a: 1\n");
    let commit = shop.host.push("main", "first");
    shop.latest("main").await.unwrap();
    let pack = shop.packs().remove(0);
    let bytes = std::fs::read(&pack).unwrap();
    std::fs::remove_file(&pack).unwrap();
    std::fs::write(&pack, vec![0; bytes.len()]).unwrap();
    let shop = shop.restart();
    let snapshot = shop
        .sources
        .tree(&shop.host.remote(), None, &revision(&commit))
        .await
        .unwrap();
    assert_eq!(file(&snapshot, "web.yaml").as_deref(), Some(&b"a: 1\n"[..]));
}

#[tokio::test]
async fn past_fifty_packs_a_fresh_clone_takes_the_place_of_the_old_one() {
    let shop = Shop::new();
    shop.host.write("web.yaml", "a: 1\n");
    shop.host.push("main", "first");
    let first = shop.latest("main").await.unwrap();
    let bare = shop.host.bare();
    let tree = shop.host.git(&bare, &["rev-parse", "main^{tree}"]);
    for number in 0..51 {
        let commit = shop.host.git(
            &bare,
            &[
                "commit-tree",
                &tree,
                "-p",
                "main",
                "-m",
                &number.to_string(),
            ],
        );
        shop.host
            .git(&bare, &["update-ref", "refs/heads/main", &commit]);
        assert_eq!(
            shop.latest("main").await.unwrap().commit.subject,
            number.to_string()
        );
        assert!(shop.packs().len() <= 50);
    }
    assert!(shop.packs().len() < 10, "{} packs", shop.packs().len());
    assert_eq!(
        file(&first, "web.yaml").as_deref(),
        Some(&b"a: 1\n"[..]),
        "a reader keeps the old clone"
    );
    assert_eq!(shop.repositories().len(), 2);
    drop(first);
    assert_eq!(shop.repositories().len(), 1);
}

#[tokio::test]
async fn a_fresh_clone_brings_along_what_refs_still_point_to() {
    let shop = Shop::new();
    shop.host.write("web.yaml", "a: sale\n");
    let sale = shop.host.push("sale", "a branch that stays");
    shop.latest("sale").await.unwrap();
    let bare = shop.host.bare();
    shop.host.git(&bare, &["branch", "main", "sale"]);
    let tree = shop.host.git(&bare, &["rev-parse", "main^{tree}"]);
    for number in 0..51 {
        let message = number.to_string();
        let commit = shop
            .host
            .git(&bare, &["commit-tree", &tree, "-p", "main", "-m", &message]);
        shop.host
            .git(&bare, &["update-ref", "refs/heads/main", &commit]);
        shop.latest("main").await.unwrap();
    }
    assert!(shop.packs().len() < 10, "{} packs", shop.packs().len());
    let fetches = shop.sources.counts().fetches;
    let snapshot = shop.latest("sale").await.unwrap();
    assert_eq!(snapshot.commit.revision, revision(&sale));
    assert_eq!(shop.sources.counts().fetches, fetches, "it was here");
}

#[tokio::test]
async fn the_root_of_an_empty_commit_is_an_empty_folder() {
    let shop = Shop::new();
    shop.host.push("main", "nothing yet");
    let snapshot = shop.latest("main").await.unwrap();
    assert_eq!(crate::kinds(&snapshot), []);
}
