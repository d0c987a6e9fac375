//! Sources against a real `git http-backend`, on its good days and on its bad ones.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod server;

use std::path::Path;
use std::time::Duration;

use futures::future::join_all;
use lockstep_app::Blame;
use lockstep_app::app::{RemoteUrl, Revision};
use lockstep_source::{Counts, FetchError, Options, SetupError, Snapshot, Sources, Why};
use lockstep_tree::{EntryKind, RelPath};
use server::{Host, Manner, login};

fn options(cache: &Path) -> Options {
    Options {
        timeout: Duration::from_secs(20),
        fetch_timeout: Duration::from_secs(20),
        ..Options::new(cache)
    }
}

struct Shop {
    host: Host,
    cache: tempfile::TempDir,
    sources: Sources,
}

impl Shop {
    fn new() -> Self {
        Self::on(Host::new())
    }

    fn on(host: Host) -> Self {
        let cache = tempfile::tempdir().unwrap();
        let sources = Sources::new(options(cache.path())).unwrap();
        Self {
            host,
            cache,
            sources,
        }
    }

    /// The same cache, as after a restart.
    fn restart(self) -> Self {
        let Self {
            host,
            cache,
            sources,
        } = self;
        drop(sources);
        let sources = Sources::new(options(cache.path())).unwrap();
        Self {
            host,
            cache,
            sources,
        }
    }

    async fn latest(&self, target: &str) -> Result<Snapshot, FetchError> {
        self.sources.latest(&self.host.remote(), None, target).await
    }

    fn repositories(&self) -> Vec<std::path::PathBuf> {
        let mut found: Vec<_> = std::fs::read_dir(self.cache.path())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|ending| ending == "git"))
            .collect();
        found.sort();
        found
    }

    fn packs(&self) -> Vec<std::path::PathBuf> {
        let mut found: Vec<_> =
            std::fs::read_dir(self.repositories().last().unwrap().join("objects/pack"))
                .unwrap()
                .map(|entry| entry.unwrap().path())
                .filter(|path| path.extension().is_some_and(|ending| ending == "pack"))
                .collect();
        found.sort();
        found
    }

    fn quarantined(&self) -> usize {
        std::fs::read_dir(self.cache.path().join("incoming"))
            .unwrap()
            .count()
    }
}

fn revision(id: &str) -> Revision {
    id.parse().unwrap()
}

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
async fn credentials_open_a_private_repository_and_wrong_ones_are_told_by_their_secret() {
    let shop = Shop::new();
    shop.host.push("main", "first");
    shop.host.ask_for("deploy", "s3cret");
    let remote = shop.host.remote();

    let error = shop.sources.refs(&remote, None).await.err().unwrap();
    assert!(
        matches!(
            &error,
            FetchError::Refused {
                secret: None,
                status: 401,
                ..
            }
        ),
        "{error}"
    );
    let error = shop
        .sources
        .refs(&remote, Some(&login("deploy", "wr0ng")))
        .await
        .err()
        .unwrap();
    let FetchError::Refused {
        secret: Some(secret),
        ..
    } = &error
    else {
        panic!("{error}")
    };
    assert_eq!(secret, "argocd/shop-repo");
    let fault = error.fault();
    let said = format!("{error:?} {} {}", fault.message, fault.hint.unwrap());
    assert!(
        !said.contains("wr0ng") && !said.contains("deploy"),
        "{said}"
    );
    assert_eq!((error.blame(), error.code()), (Blame::User, "repo.refused"));

    let good = login("deploy", "s3cret");
    let snapshot = shop
        .sources
        .latest(&remote, Some(&good), "main")
        .await
        .unwrap();
    // What one Secret opened is not served to whoever has none.
    let without = shop
        .sources
        .tree(&remote, None, &snapshot.commit.revision)
        .await;
    assert!(matches!(
        without,
        Err(FetchError::Refused { secret: None, .. })
    ));
}

#[tokio::test]
async fn credentials_do_not_travel_over_plain_http_to_another_machine() {
    let shop = Shop::new();
    let remote: RemoteUrl = "http://git.example/shop".parse().unwrap();
    let error = shop
        .sources
        .refs(&remote, Some(&login("deploy", "s3cret")))
        .await
        .err()
        .unwrap();
    assert!(matches!(error, FetchError::PlainHttp { .. }), "{error}");
    assert_eq!(shop.sources.counts(), Counts::default());
}

#[tokio::test]
async fn a_host_that_is_not_there_is_the_environments_fault() {
    let shop = Shop::new();
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let remote: RemoteUrl = format!("http://127.0.0.1:{port}/shop").parse().unwrap();
    let error = shop.sources.refs(&remote, None).await.err().unwrap();
    assert!(
        matches!(
            &error,
            FetchError::Unreachable {
                why: Why::ConnectionRefused,
                ..
            }
        ),
        "{error:?}"
    );
    assert_eq!(
        (error.blame(), error.code()),
        (Blame::Environment, "repo.unreachable")
    );
    assert_eq!(
        shop.sources.counts(),
        Counts {
            ls_refs: 1,
            fetches: 0,
            failures: 1
        }
    );
}

#[tokio::test]
async fn statuses_are_told_apart() {
    let shop = Shop::new();
    let remote = shop.host.remote();
    for (status, headers, code) in [
        (404, vec![], "repo.not_found"),
        (403, vec![], "repo.refused"),
        (503, vec![], "repo.unreachable"),
        (
            429,
            vec![("Retry-After", "7".to_owned())],
            "repo.rate_limited",
        ),
        (
            403,
            vec![("X-RateLimit-Remaining", "0".to_owned())],
            "repo.rate_limited",
        ),
    ] {
        shop.host.behave(Manner::Status(status, headers));
        let error = shop.sources.refs(&remote, None).await.err().unwrap();
        assert_eq!(error.code(), code, "{status}: {error}");
    }
    shop.host.behave(Manner::Html);
    let error = shop.sources.refs(&remote, None).await.err().unwrap();
    assert!(matches!(error, FetchError::NotGit { .. }), "{error}");
}

#[tokio::test]
async fn a_redirect_is_refused_and_says_where_it_leads() {
    let shop = Shop::new();
    let elsewhere = Host::new();
    let to = format!("{}/info/refs?service=git-upload-pack", elsewhere.remote());
    shop.host
        .behave(Manner::Status(302, vec![("Location", to)]));
    let error = shop
        .sources
        .refs(&shop.host.remote(), Some(&login("deploy", "s3cret")))
        .await
        .err()
        .unwrap();
    let FetchError::Redirected { to: Some(to), .. } = &error else {
        panic!("{error}")
    };
    assert_eq!(to, &elsewhere.remote());
    assert_eq!(elsewhere.take_requests().len(), 0);
}

#[tokio::test]
async fn a_host_that_wants_dot_git_behind_the_address_is_asked_there() {
    let shop = Shop::new();
    let commit = shop.host.push("main", "first");
    shop.host.behave(Manner::Suffixed);
    let snapshot = shop
        .sources
        .latest(&shop.host.remote_at("shop"), None, "main")
        .await
        .unwrap();
    assert_eq!(snapshot.commit.revision, revision(&commit));
}

#[tokio::test]
async fn a_host_that_hangs_is_given_up_at_the_deadline() {
    let host = Host::new();
    let commit = host.push("main", "first");
    let cache = tempfile::tempdir().unwrap();
    let soon = Duration::from_millis(300);
    let sources = Sources::new(Options {
        timeout: soon,
        fetch_timeout: soon,
        ..Options::new(cache.path())
    })
    .unwrap();
    host.behave(Manner::Hang);
    let error = sources.refs(&host.remote(), None).await.err().unwrap();
    assert!(
        matches!(
            &error,
            FetchError::TimedOut {
                doing: "listing",
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(error.blame(), Blame::Environment);
    host.behave(Manner::HangOnPost);
    let error = sources
        .tree(&host.remote(), None, &revision(&commit))
        .await
        .err()
        .unwrap();
    assert!(
        matches!(
            &error,
            FetchError::TimedOut {
                doing: "fetching",
                ..
            }
        ),
        "{error}"
    );
    host.behave(Manner::Well);
    sources
        .tree(&host.remote(), None, &revision(&commit))
        .await
        .unwrap();
}

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
async fn a_pack_that_breaks_off_leaves_nothing_behind() {
    let shop = Shop::new();
    shop.host.write(
        "web.yaml",
        &(0..4000)
            .map(|number| format!("{number}: {}\n", number * 7919))
            .collect::<String>(),
    );
    let commit = revision(&shop.host.push("main", "first"));
    let remote = shop.host.remote();
    shop.host.behave(Manner::Truncated(4000));
    let error = shop
        .sources
        .tree(&remote, None, &commit)
        .await
        .err()
        .unwrap();
    assert!(
        matches!(
            &error,
            FetchError::Unreachable {
                why: Why::BrokeOff,
                ..
            }
        ),
        "{error:?}"
    );
    assert_eq!((shop.quarantined(), shop.repositories().len()), (0, 0));
    shop.host.behave(Manner::Flipped);
    let error = shop
        .sources
        .tree(&remote, None, &commit)
        .await
        .err()
        .unwrap();
    assert!(matches!(&error, FetchError::Corrupt { .. }), "{error:?}");
    assert_eq!((shop.quarantined(), shop.repositories().len()), (0, 0));
    shop.host.behave(Manner::Well);
    shop.sources.tree(&remote, None, &commit).await.unwrap();
}

#[tokio::test]
async fn a_repository_over_the_limit_is_refused_and_leaves_nothing_behind() {
    let host = Host::new();
    host.write(
        "web.yaml",
        &(0..4000)
            .map(|number| format!("{number}: {}\n", number * 7919))
            .collect::<String>(),
    );
    host.push("main", "first");
    let cache = tempfile::tempdir().unwrap();
    let sources = Sources::new(Options {
        largest_repository_bytes: 4096,
        ..options(cache.path())
    })
    .unwrap();
    let error = sources
        .latest(&host.remote(), None, "main")
        .await
        .err()
        .unwrap();
    assert!(matches!(&error, FetchError::TooLarge { .. }), "{error:?}");
    assert_eq!(
        std::fs::read_dir(cache.path().join("incoming"))
            .unwrap()
            .count(),
        0
    );
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
async fn a_server_of_protocol_0_serves_the_same() {
    let shop = Shop::new();
    shop.host.behave(Manner::Protocol0);
    shop.host.write("web.yaml", "a: 1\n");
    shop.host.push("main", "first");
    shop.host
        .git(&shop.host.work(), &["tag", "-a", "-m", "first", "v1"]);
    shop.host
        .git(&shop.host.work(), &["push", "-q", "origin", "v1"]);
    shop.latest("v1").await.unwrap();
    shop.host.write("web.yaml", "a: 2\n");
    shop.host.push("main", "second");
    let snapshot = shop.latest("HEAD").await.unwrap();
    assert_eq!(file(&snapshot, "web.yaml").as_deref(), Some(&b"a: 2\n"[..]));
    let protocols: Vec<_> = shop
        .host
        .take_requests()
        .into_iter()
        .filter(|request| request.method == "POST")
        .collect();
    assert!(
        protocols
            .iter()
            .all(|request| !request.body.starts_with(b"0011command"))
    );
}

#[tokio::test]
async fn a_repository_of_sha_256_serves_the_same() {
    let shop = Shop::on(Host::with_format("sha256"));
    shop.host.write("web.yaml", "a: 1\n");
    shop.host.push("main", "first");
    shop.latest("main").await.unwrap();
    let shop = shop.restart();
    shop.host.write("web.yaml", "a: 2\n");
    let second = shop.host.push("main", "second");
    assert_eq!(second.len(), 64);
    let snapshot = shop.latest("main").await.unwrap();
    assert_eq!(file(&snapshot, "web.yaml").as_deref(), Some(&b"a: 2\n"[..]));
}

/// The contents of a file.
fn file(snapshot: &Snapshot, path: &str) -> Option<Vec<u8>> {
    let path = RelPath::root().join(path).unwrap();
    snapshot
        .tree
        .read(&path)
        .unwrap()
        .map(|bytes| bytes.to_vec())
}

/// The names in the root, with what each is.
fn kinds(snapshot: &Snapshot) -> Vec<(String, EntryKind)> {
    let entries = snapshot.tree.list(&RelPath::root()).unwrap().unwrap();
    entries
        .into_iter()
        .map(|entry| (entry.name, entry.kind))
        .collect()
}
