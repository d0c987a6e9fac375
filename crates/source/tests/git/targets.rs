//! Which commit a target names, with the files it holds.

use lockstep_app::Blame;
use lockstep_source::{FetchError, Sources};
use lockstep_tree::EntryKind;

use crate::{Shop, file, kinds, revision};

#[tokio::test]
async fn a_branch_a_tag_head_and_a_commit_lead_to_their_files() {
    let shop = Shop::new();
    let host = &shop.host;
    host.write("base/web.yaml", "replicas: 1\n");
    let first = host.push("main", "one replica\n\nWith a body.");
    host.git(&host.work(), &["tag", "-a", "-m", "first", "v1"]);
    host.git(&host.work(), &["tag", "plain"]);
    host.git(&host.work(), &["push", "-q", "origin", "v1", "plain"]);
    host.write("base/web.yaml", "replicas: 2\n");
    let second = host.push("main", "two replicas");
    let third = host.push("feature/sale", "a branch with a slash");

    for (target, commit, text) in [
        ("", &second, "replicas: 2\n"),
        ("HEAD", &second, "replicas: 2\n"),
        ("main", &second, "replicas: 2\n"),
        ("refs/heads/main", &second, "replicas: 2\n"),
        ("feature/sale", &third, "replicas: 2\n"),
        ("v1", &first, "replicas: 1\n"),
        ("refs/tags/v1", &first, "replicas: 1\n"),
        ("plain", &first, "replicas: 1\n"),
        (first.as_str(), &first, "replicas: 1\n"),
        (&second[..9], &second, "replicas: 2\n"),
    ] {
        let snapshot = shop.latest(target).await.unwrap();
        assert_eq!(snapshot.commit.revision, revision(commit), "{target}");
        assert_eq!(
            file(&snapshot, "base/web.yaml").as_deref(),
            Some(text.as_bytes()),
            "{target}"
        );
    }
    let commit = shop.latest("v1").await.unwrap().commit;
    assert_eq!(commit.subject, "one replica");
    assert_eq!(commit.author, "Ada Author");
    assert_eq!(commit.author_email, "ada@git.example");
    assert_eq!(commit.committed_at.as_second(), 1_700_000_060);
    assert_eq!(shop.sources.counts().fetches, 3, "each commit came once");
}

#[tokio::test]
async fn a_shortened_id_of_a_commit_that_no_ref_names_is_found_once_it_was_fetched() {
    let shop = Shop::new();
    let first = shop.host.push("main", "first");
    shop.host.push("main", "second");
    let short = &first[..8];
    assert!(matches!(
        shop.latest(short).await,
        Err(FetchError::NoSuchTarget { .. })
    ));
    shop.latest(&first).await.unwrap();
    assert_eq!(
        shop.latest(short).await.unwrap().commit.revision,
        revision(&first)
    );
}

#[tokio::test]
async fn a_branch_that_is_gone_names_nothing_and_its_commit_stays_readable() {
    let shop = Shop::new();
    shop.host.push("main", "first");
    shop.host.write("web.yaml", "a: 1\n");
    let gone = shop.host.push("sale", "second");
    let before = shop.latest("sale").await.unwrap();
    shop.host
        .git(&shop.host.work(), &["push", "-q", "origin", ":sale"]);

    let error = shop.latest("sale").await.err().unwrap();
    assert!(
        matches!(&error, FetchError::NoSuchTarget { target, .. } if target == "sale"),
        "{error}"
    );
    assert_eq!(error.blame(), Blame::User);
    assert_eq!(error.fault().code, "repo.no_such_target");
    assert_eq!(file(&before, "web.yaml").as_deref(), Some(&b"a: 1\n"[..]));
    let remote = shop.host.remote();
    shop.sources
        .tree(&remote, None, &revision(&gone))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_branch_and_a_tag_of_one_name_are_refused_with_both_full_names() {
    let shop = Shop::new();
    shop.host.push("main", "first");
    shop.host.push("v1", "second");
    shop.host.git(&shop.host.work(), &["tag", "v1", "HEAD~1"]);
    shop.host
        .git(&shop.host.work(), &["push", "-q", "origin", "refs/tags/v1"]);

    let error = shop.latest("v1").await.err().unwrap();
    let FetchError::Ambiguous { names, .. } = &error else {
        panic!("{error}")
    };
    assert_eq!(names, &["refs/heads/v1", "refs/tags/v1"]);
    shop.latest("refs/tags/v1").await.unwrap();
}

#[tokio::test]
async fn a_commit_that_the_remote_does_not_have_names_nothing() {
    let shop = Shop::new();
    shop.host.push("main", "first");
    let error = shop
        .latest("0123456789012345678901234567890123456789")
        .await
        .err()
        .unwrap();
    assert!(matches!(error, FetchError::NoSuchTarget { .. }), "{error}");
    let tree = shop
        .host
        .git(&shop.host.work(), &["rev-parse", "HEAD^{tree}"]);
    let error = shop.latest(&tree).await.err().unwrap();
    assert!(matches!(error, FetchError::NotACommit { .. }), "{error}");
}

#[tokio::test]
async fn a_ref_beside_branches_and_tags_is_found_by_its_full_name() {
    let shop = Shop::new();
    shop.host.push("main", "first");
    let commit = shop.host.push("change", "a change");
    shop.host.git(
        &shop.host.work(),
        &["push", "-q", "origin", ":change", "HEAD:refs/pull/7/head"],
    );
    let snapshot = shop.latest("refs/pull/7/head").await.unwrap();
    assert_eq!(snapshot.commit.revision, revision(&commit));
}

#[tokio::test]
async fn a_repository_without_commits_has_no_head() {
    let shop = Shop::new();
    let refs = shop.sources.refs(&shop.host.remote(), None).await.unwrap();
    assert_eq!(refs.iter().count(), 0);
    assert!(matches!(
        Sources::resolve(&refs, "HEAD"),
        Err(FetchError::NoSuchTarget { .. })
    ));
}

#[tokio::test]
async fn a_rewritten_branch_is_an_ordinary_change() {
    let shop = Shop::new();
    shop.host.write("web.yaml", "a: 1\n");
    shop.host.push("main", "first");
    shop.latest("main").await.unwrap();
    shop.host
        .git(&shop.host.work(), &["checkout", "-q", "--orphan", "other"]);
    shop.host.write("web.yaml", "a: 2\n");
    let rewritten = shop.host.push("main", "another history");
    shop.host.git(
        &shop.host.bare(),
        &["reflog", "expire", "--expire=all", "--all"],
    );
    shop.host
        .git(&shop.host.bare(), &["gc", "-q", "--prune=now"]);
    let snapshot = shop.latest("main").await.unwrap();
    assert_eq!(snapshot.commit.revision, revision(&rewritten));
    assert_eq!(file(&snapshot, "web.yaml").as_deref(), Some(&b"a: 2\n"[..]));
}

#[tokio::test]
async fn symlinks_submodules_and_executables_are_entries_of_their_kind() {
    let shop = Shop::new();
    shop.host.write("script", "#!/bin/sh\n");
    shop.host.write("folder/file", "text\n");
    let work = shop.host.work();
    shop.host.git(&work, &["add", "-A"]);
    shop.host
        .git(&work, &["update-index", "--chmod=+x", "script"]);
    std::os::unix::fs::symlink("folder/file", work.join("link")).unwrap();
    shop.host.git(&work, &["add", "link"]);
    let module = format!("160000,{},module", "1".repeat(40));
    shop.host
        .git(&work, &["update-index", "--add", "--cacheinfo", &module]);
    shop.host.git(&work, &["commit", "-q", "-m", "kinds"]);
    shop.host
        .git(&work, &["push", "-q", "origin", "HEAD:refs/heads/main"]);
    let snapshot = shop.latest("main").await.unwrap();
    assert_eq!(
        kinds(&snapshot),
        [
            ("folder", EntryKind::Folder),
            ("link", EntryKind::Symlink),
            ("module", EntryKind::Submodule),
            ("script", EntryKind::Executable),
        ]
        .map(|(name, kind)| (name.to_owned(), kind))
    );
    assert_eq!(file(&snapshot, "link").as_deref(), Some(&b"text\n"[..]));
}
