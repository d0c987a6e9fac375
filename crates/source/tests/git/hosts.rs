//! Hosts that want credentials, are elsewhere, are old, or misbehave.

use std::time::Duration;

use lockstep_app::Blame;
use lockstep_app::app::RemoteUrl;
use lockstep_source::{Counts, FetchError, Options, Sources, Why};

use crate::server::{Host, Manner, login};
use crate::{Shop, file, long_text, options, revision};

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
async fn a_pack_that_breaks_off_leaves_nothing_behind() {
    let shop = Shop::new();
    shop.host.write("web.yaml", &long_text());
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
    host.write("web.yaml", &long_text());
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
