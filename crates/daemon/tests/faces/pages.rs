//! What people read.

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use lockstep_app::{Blame, Fault};
use lockstep_daemon::board::Board;
use lockstep_reconcile::view::{AppView, Word};

use crate::sample;
use crate::site::Site;

const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// The addresses of every kind of page, good and bad.
const PAGES: [&str; 12] = [
    "/",
    "/?q=ledger",
    "/?status=failing,drifted",
    "/?only=head",
    "/?only=prod/ledger",
    "/apps/prod/ledger",
    "/apps/prod/checkout",
    "/apps/prod/search",
    "/apps/dev/sessions",
    "/apps/prod/chekout",
    "/help/words",
    "/nowhere",
];

/// The names of all attributes and elements of a page, with its scripts' contents: enough to find what is inline.
fn tags(html: &str) -> Vec<&str> {
    html.split('<')
        .skip(1)
        .filter_map(|rest| rest.split_once('>').map(|(tag, _)| tag))
        .collect()
}

fn has_inline(html: &str) -> Option<String> {
    for (tag, content) in html
        .split('<')
        .skip(1)
        .filter_map(|rest| rest.split_once('>'))
    {
        // Attributes without their values: what a value says is text.
        let bare: String = tag.split('"').step_by(2).collect();
        let name = tag.split_whitespace().next().unwrap_or_default();
        let inline = name == "style"
            || (name == "script" && (!tag.contains(" src=") || !content.trim().is_empty()))
            || bare.contains(" style=")
            || bare
                .split_whitespace()
                .any(|part| part.starts_with("on") && part.contains('='))
            || tag.contains("=\"javascript:");
        if inline {
            return Some(tag.to_owned());
        }
    }
    None
}

fn with(apps: Vec<AppView>) -> Site {
    Site::new(sample::board_of(apps))
}

#[tokio::test]
async fn every_answer_carries_the_security_headers_whatever_its_status() {
    let site = Site::new(sample::board());
    let assets = [
        "/static/lockstep.css",
        "/static/nothing.css",
        "/healthz",
        "/metrics",
        "/api/v1/apps/a/b",
    ];
    for path in PAGES.iter().chain(&assets) {
        let answer = site.get(path).await;
        assert_eq!(answer.header("content-security-policy"), POLICY, "{path}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(answer.header("x-frame-options"), "DENY", "{path}");
        assert_eq!(answer.header("referrer-policy"), "no-referrer", "{path}");
        assert!(answer.header("vary").contains("Accept"), "{path}");
        assert!(!answer.header("x-request-id").is_empty(), "{path}");
    }
}

#[tokio::test]
async fn no_page_holds_an_inline_style_script_or_handler() {
    let site = Site::new(sample::board());
    for path in PAGES {
        let answer = site.get(path).await;
        assert_eq!(has_inline(&answer.body), None, "{path}");
        assert!(answer.body.contains('<'), "{path} is a page");
    }
    let checker = "<p style=\"a\">";
    assert!(has_inline(checker).is_some() && has_inline("<a onclick=\"x\">").is_some());
}

#[tokio::test]
async fn hostile_names_and_subjects_are_text_and_nothing_else() {
    let evil = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>";
    let mut app = sample::failing();
    app.name = evil.to_owned();
    app.environment = "<b>".to_owned();
    app.source.path = evil.to_owned();
    app.namespace = evil.to_owned();
    if let Some(why) = &mut app.why {
        why.text = evil.to_owned();
        why.next = Some(format!("lockstep sync {evil}"));
    }
    for strip in &mut app.strips {
        strip.commit.subject = evil.to_owned();
        strip.commit.author = evil.to_owned();
        for step in &mut strip.steps {
            step.facts = vec![evil.to_owned()];
        }
    }
    let mut drifted = sample::drifted();
    drifted.environment = "<b>".to_owned();
    for field in drifted
        .drift
        .iter_mut()
        .flat_map(|object| &mut object.fields)
    {
        field.path = evil.to_owned();
        for by in &mut field.by {
            by.manager = evil.to_owned();
        }
    }
    for commit in [&mut app.wanted, &mut app.live].into_iter().flatten() {
        evil.clone_into(&mut commit.subject);
    }
    let mut board = sample::board_of(vec![app, drifted]);
    if let Some(repository) = board.repositories.first_mut()
        && let Some(head) = &mut repository.head
    {
        head.subject = evil.to_owned();
    }
    let site = Site::new(board);
    let name = "%3Cscript%3Ealert%281%29%3C%2Fscript%3E%22%27%3E%3Cimg%20src%3Dx%20onerror%3Dalert%282%29%3E";
    let paths = [
        "/".to_owned(),
        format!("/?q={name}"),
        format!("/apps/%3Cb%3E/{name}"),
        "/apps/%3Cb%3E/checkout".to_owned(),
        format!("/apps/prod/{name}"),
    ];
    for path in &paths {
        let answer = site.get(path).await;
        assert!(!answer.body.contains("<script>alert"), "{path}");
        assert!(!answer.body.contains("<img"), "{path}");
        assert!(!answer.body.contains("<b>\""), "{path}");
        assert_eq!(has_inline(&answer.body), None, "{path}");
        assert!(answer.body.contains("alert(1)"), "{path} shows it as text");
    }
}

#[tokio::test]
async fn a_secret_is_never_rendered_in_any_representation() {
    let site = Site::new(sample::board());
    let paths = [
        "/apps/prod/search",
        "/apps/prod/checkout",
        "/api/v1/apps/prod/search/plan",
        "/api/v1/apps/prod/checkout/drift",
        "/api/v1/apps/prod/search",
        "/api/v1/apps/prod/search/objects",
        "/api/v1/applications/prod-search",
        "/api/v1/overview",
        "/metrics",
    ];
    for path in paths {
        for accept in ["text/html", "application/json", "text/plain"] {
            let answer = site.get_as(path, accept).await;
            assert_eq!(answer.status, StatusCode::OK, "{path}");
            for secret in [sample::HIDDEN, sample::SECRET, sample::TOKEN] {
                assert!(!answer.body.contains(secret), "{path} as {accept}");
            }
        }
    }
    let page = site.get("/apps/prod/checkout").await;
    assert!(page.body.contains("data.<wbr></span>API_KEY") && page.body.contains("differs"));
    let drift = site.get("/api/v1/apps/prod/checkout/drift").await.json();
    let field = &drift["objects"][1]["fields"][0];
    assert_eq!(
        (&field["sensitive"], &field["git"]),
        (&true.into(), &serde_json::Value::Null)
    );
}

#[tokio::test]
async fn the_front_page_says_all_six_words_with_reasons_and_commands() {
    let page = Site::new(sample::board()).get("/").await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(
        page.body
            .contains("<h1 id=\"head\">4 of 24 apps need a look</h1>")
    );
    for word in ["Failing", "Drifted", "Held", "Unknown", "Syncing", "Synced"] {
        assert!(
            page.body.contains(&format!("</svg>{word}</span>")),
            "{word}"
        );
    }
    for text in [
        "Apply was refused",
        "changed outside git",
        "lockstep sync search -e prod",
        "It is live everywhere except prod",
    ] {
        assert!(page.body.contains(text), "{text}");
    }
    let place = |env: &str| {
        page.body
            .find(&format!("id=\"env-{env}\""))
            .expect("a table")
    };
    assert!(place("prod") < place("staging") && place("staging") < place("dev"));
}

#[tokio::test]
async fn a_page_without_apps_shows_the_smallest_application_that_works() {
    let page = with(Vec::new()).get("/").await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.body.contains("No apps yet") && page.body.contains("kind: Application"));
}

#[tokio::test]
async fn the_app_page_says_who_changed_what_and_when() {
    let page = Site::new(sample::board()).get("/apps/prod/checkout").await;
    for text in [
        "kubectl-edit",
        "scale subresource",
        "14:07:41",
        "512Mi",
        "1Gi",
        "apps/checkout/prod/replicas.yaml:7",
        "overrides apps/checkout/base/deployment.yaml:41",
        "decided by the environment prod",
        "put back after 5 min",
    ] {
        assert!(page.body.contains(text), "{text}");
    }
}

#[tokio::test]
async fn a_held_app_shows_its_plan_and_the_digest_to_approve() {
    let page = Site::new(sample::board()).get("/apps/prod/search").await;
    let digest = sample::held().plan_digest.expect("a digest").to_string();
    for text in [
        "2 objects to update, 0 to create, 1 to prune",
        "apps/search/prod/search.yaml:12",
        "waits for a person to let it through",
        &digest,
        "env[SHARDS].value",
        "is no longer in git, and is kept",
    ] {
        assert!(page.body.contains(text), "{text}");
    }
}

#[tokio::test]
async fn a_plan_shows_its_hooks_and_what_waits_for_them() {
    let page = with(vec![sample::with_hooks_to_run()])
        .get("/apps/prod/migrate")
        .await;
    for text in [
        "2 objects to update, 0 to create, 1 to prune, 2 hooks to run",
        "is a PreSync hook",
        "waits for the hook Job/schema to do its work",
        "is a PostSync hook · waits for Deployment/search to be healthy",
        "<span class=\"run\">run</span>",
    ] {
        assert!(page.body.contains(text), "{text}");
    }
}

#[tokio::test]
async fn the_last_sync_shows_its_hooks_and_whether_it_is_verified() {
    let site = with(vec![sample::verified()]);
    let page = site.get("/apps/prod/catalog").await;
    for text in [
        "<h2>Hooks</h2><p>of the last sync, op-5b1e22aa</p>",
        "exit code 1 &#60;&#38;&#62;",
        "<span class=\"kind\">PostSync Job</span><span class=\"nm\">smoke</span>",
        "<p>6 of 6 pods ready</p><p class=\"q\">verified</p>",
        "<dt>Verified</dt><dd>13:59:23 UTC</dd>",
        "<dt>Retried</dt><dd>once</dd>",
        "Put back by itself 3 times",
        "Everything that was done, 1 entry",
    ] {
        assert!(page.body.contains(text), "{text}");
    }
    assert_eq!(has_inline(&page.body), None);
    site.publish(|board| {
        let at = ("prod".to_owned(), "catalog".to_owned());
        let app = board.apps.get_mut(&at).map(std::sync::Arc::make_mut);
        if let Some(operation) = app.and_then(|app| app.operation.as_mut()) {
            operation.dry_run = true;
            operation.verified = None;
        }
    });
    let page = site.get("/apps/prod/catalog").await;
    assert!(
        page.body
            .contains("<h2>Dry run</h2><p>what op-5b1e22aa would do; nothing was written</p>")
    );
    assert!(page.body.contains("<span class=\"nm\">catalog</span>"));
}

#[tokio::test]
async fn a_rolled_back_app_says_by_whom_why_until_when_and_how_to_end_it() {
    let page = with(vec![sample::rolled_back()])
        .get("/apps/prod/ledger")
        .await;
    for text in [
        "</svg>Held</span>",
        "Rolled back to a3f19d7 by ann until a newer commit: errors since 14:00.",
        "<h2>Rolled back</h2>",
        "<dt>Until</dt><dd>a newer commit</dd>",
        "<dt>Follow git again</dt><dd><span class=\"cmd\"><code>lockstep release ledger -e prod</code>",
        "Everything that was done, 2 entries",
    ] {
        assert!(page.body.contains(text), "{text}");
    }
}

#[tokio::test]
async fn a_leaving_app_says_which_object_is_kept_by_what_since_when() {
    let page = with(vec![sample::leaving()]).get("/apps/dev/search").await;
    for text in [
        "Waits until somebody lets go of:",
        "since 14:05:00 UTC; finalizer kubernetes.io/pvc-protection keeps it",
        "what goes with the app: 1 to delete",
        "lockstep abandon search -e dev /PersistentVolumeClaim/shop/search-data",
        "the app is being deleted · waits for PersistentVolumeClaim/search-data to be gone",
    ] {
        assert!(page.body.contains(text), "{text}");
    }
    assert!(!page.body.contains("left alone"));
}

#[tokio::test]
async fn every_link_on_a_page_leads_somewhere() {
    let site = Site::new(sample::board());
    for path in [
        "/",
        "/apps/prod/checkout",
        "/apps/prod/chekout",
        "/help/words",
        "/nowhere",
    ] {
        let page = site.get(path).await;
        for tag in tags(&page.body) {
            let link = ["href=\"", "src=\""].iter().find_map(|start| {
                tag.split_once(start)
                    .and_then(|(_, rest)| rest.split_once('"'))
                    .map(|(link, _)| link)
            });
            let Some(link) = link.filter(|link| link.starts_with('/')) else {
                continue;
            };
            let link = link.replace("&#38;", "&").replace("&amp;", "&");
            let answer = site.get(link.split('#').next().unwrap_or_default()).await;
            assert_eq!(answer.status, StatusCode::OK, "{link} on {path}");
        }
    }
}

#[tokio::test]
async fn a_reader_who_has_this_version_is_answered_304_and_the_next_version_in_full() {
    let site = Site::new(sample::board());
    for path in [
        "/",
        "/apps/prod/checkout",
        "/api/v1/overview",
        "/api/v1/apps",
        "/static/lockstep.css",
    ] {
        let etag = site.get(path).await.header("etag").to_owned();
        let again = || {
            Request::get(path)
                .header(header::IF_NONE_MATCH, &etag)
                .body(Body::empty())
        };
        let answer = site.send(again().expect("a request")).await;
        assert_eq!(
            (answer.status, answer.body.as_str()),
            (StatusCode::NOT_MODIFIED, ""),
            "{path}"
        );
        assert_eq!(answer.header("content-security-policy"), POLICY);
    }
    let etag = site.get("/").await.header("etag").to_owned();
    site.publish(|_| {});
    let request = Request::get("/")
        .header(header::IF_NONE_MATCH, etag)
        .body(Body::empty());
    assert_eq!(
        site.send(request.expect("a request")).await.status,
        StatusCode::OK
    );
}

#[tokio::test]
async fn plain_text_is_the_status_table_of_the_command_line() {
    let site = Site::new(sample::board());
    let table = site.get_as("/", "text/plain").await;
    assert_eq!(table.header("content-type"), "text/plain; charset=utf-8");
    assert!(table.body.starts_with("4 of 24 apps need a look\n"));
    assert!(
        table
            .body
            .contains("✕ Failing   ledger      e1a9d42 → 4f2a9c1  ━━━✕┄")
    );
    assert!(table.body.contains("● Synced    4 more"));
    let app = site.get_as("/apps/prod/checkout", "text/plain").await;
    assert!(
        app.body
            .starts_with("checkout in prod: ◆ Drifted for 24m\n")
    );
    assert_eq!(app.body, site.get("/apps/prod/checkout.txt").await.body);
}

#[tokio::test]
async fn an_app_that_is_not_there_suggests_the_nearest_names() {
    let answer = Site::new(sample::board()).get("/apps/prod/chekout").await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    assert!(answer.body.contains("No app called “chekout” in prod"));
    assert!(
        answer
            .body
            .contains("<a href=\"/apps/prod/checkout\">checkout in prod</a>")
    );
    assert!(answer.body.contains("<header class=\"bar\">"));
}

#[tokio::test]
async fn an_app_that_is_gone_is_410_with_its_last_sync() {
    let site = Site::new(sample::board());
    site.publish(|board| {
        board.apps.remove(&("prod".to_owned(), "ledger".to_owned()));
    });
    let answer = site.get("/apps/prod/ledger").await;
    assert_eq!(answer.status, StatusCode::GONE);
    assert!(answer.body.contains("op-7c21d0ee"));
}

fn starting() -> Board {
    let mut board = sample::board_of(Vec::new());
    board.complete = false;
    board
}

#[tokio::test]
async fn before_the_first_read_the_page_is_503_and_comes_back_by_itself() {
    let site = Site::new(starting());
    let answer = site.get("/").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(
        answer
            .body
            .contains("<meta http-equiv=\"refresh\" content=\"5\">")
    );
    assert_eq!(answer.header("retry-after"), "5");
    assert_eq!(
        site.get("/readyz").await.status,
        StatusCode::SERVICE_UNAVAILABLE
    );
    assert_eq!(site.get("/healthz").await.status, StatusCode::OK);
    site.publish(|board| board.leading = false);
    assert_eq!(site.get("/readyz").await.status, StatusCode::OK);
    site.publish(|board| (board.leading, board.complete) = (true, true));
    assert_eq!(site.get("/readyz").await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_broken_configuration_and_a_silent_cluster_stand_on_every_page() {
    let mut board = sample::board();
    let fault = |code: &str, text: &str| Fault::new(Blame::User, code, text).hint("mend it");
    board.config_fault = Some(fault(
        "config.invalid",
        "lockstep.yaml:14:5: no such policy",
    ));
    board.cluster_fault = Some(fault("unknown.cluster", "connection refused"));
    let site = Site::new(board);
    for path in ["/", "/apps/prod/ledger"] {
        let page = site.get(path).await;
        assert!(
            page.body.contains("lockstep.yaml:14:5: no such policy"),
            "{path}"
        );
        assert!(page.body.contains("connection refused"), "{path}");
    }
    assert!(
        site.get("/")
            .await
            .body
            .contains("Lockstep can’t see https://kubernetes.default.svc")
    );
}

#[tokio::test]
async fn a_filter_says_how_much_it_hides() {
    let site = Site::new(sample::board());
    let page = site.get("/?q=gateway").await;
    assert!(page.body.contains("Showing 3 of 24") && !page.body.contains("data-k=\"prod/search\""));
    let page = site.get("/?q=status:drifted+env:prod").await;
    assert!(
        page.body.contains("Showing 1 of 24") && page.body.contains("data-k=\"prod/checkout\"")
    );
    let none = site.get("/?q=nonesuch").await;
    assert!(none.body.contains("No app matches"));
}

#[tokio::test]
async fn one_piece_of_a_page_is_that_piece_alone() {
    let site = Site::new(sample::board());
    let row = site.get("/?only=prod/ledger").await;
    assert!(
        row.body
            .starts_with("<tbody id=\"prod-ledger\" class=\"app hot fail\" data-k=\"prod/ledger\"")
    );
    let head = site.get("/?only=head").await;
    assert!(
        head.body
            .starts_with("<div data-k=\"head\" data-title=\"4 need a look · Lockstep\"")
    );
    let body = site.get("/apps/prod/ledger?only=prod/ledger").await;
    assert!(body.body.starts_with("<div data-k=\"prod/ledger\">") && !body.body.contains("<html"));
    assert_eq!(
        site.get("/?only=prod/nonesuch").await.status,
        StatusCode::NOT_FOUND
    );
}

fn many(count: usize) -> Vec<AppView> {
    (0..count)
        .map(|n| sample::app("prod", &format!("app-{n:04}")))
        .collect()
}

#[tokio::test]
async fn over_fifty_rows_the_synced_ones_fold_and_over_five_hundred_the_page_is_cut() {
    let mut apps = many(60);
    if let Some(app) = apps.first_mut() {
        app.word = Word::Failing;
    }
    let page = with(apps).get("/").await;
    assert!(page.body.contains("<summary>59 more, all synced</summary>"));
    let site = with(many(501));
    let page = site.get("/").await;
    assert!(page.body.contains("Apps 1 to 200 of 501") && page.body.contains("href=\"/?page=2\""));
    assert_eq!(page.body.matches("class=\"app\"").count(), 200);
    let last = site.get("/?page=3").await;
    assert!(last.body.contains("Apps 401 to 501 of 501"));
}

#[tokio::test]
async fn pages_take_get_and_head_and_nothing_else() {
    let site = Site::new(sample::board());
    let head = Request::head("/").body(Body::empty()).expect("a request");
    let head = site.send(head).await;
    assert_eq!((head.status, head.body.as_str()), (StatusCode::OK, ""));
    for method in ["POST", "PUT", "DELETE", "PATCH"] {
        let request = Request::builder()
            .method(method)
            .uri("/apps/prod/ledger")
            .body(Body::empty());
        let answer = site.send(request.expect("a request")).await;
        assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED, "{method}");
        assert_eq!(answer.header("allow"), "GET,HEAD");
    }
}

#[tokio::test]
async fn a_trailing_slash_redirects_within_the_site_only() {
    let site = Site::new(sample::board());
    let answer = site.get("/apps/prod/ledger/").await;
    assert_eq!(answer.header("location"), "/apps/prod/ledger");
    let answer = site.get("//elsewhere.example/").await;
    assert_eq!(
        (answer.status, answer.header("location")),
        (StatusCode::NOT_FOUND, "")
    );
    assert_eq!(
        site.get("/apps/ledger").await.header("location"),
        "/?q=ledger"
    );
}

#[tokio::test]
async fn assets_are_kept_for_good_under_their_digest_and_the_page_names_it() {
    let site = Site::new(sample::board());
    let page = site.get("/").await;
    let start = page
        .body
        .find("/static/lockstep.css?v=")
        .expect("a style sheet");
    let address = page
        .body
        .get(start..)
        .and_then(|rest| rest.split('"').next())
        .expect("an address");
    let style = site.get(address).await;
    assert_eq!(
        style.header("cache-control"),
        "public, max-age=31536000, immutable"
    );
    assert_eq!(
        site.get("/static/lockstep.css?v=0")
            .await
            .header("cache-control"),
        "public, no-cache"
    );
    assert_eq!(
        site.get("/static/..%2fCargo.toml").await.status,
        StatusCode::NOT_FOUND
    );
    assert!(style.body.len() < 40_000);
}

#[tokio::test]
async fn a_browser_that_takes_gzip_gets_it() {
    let site = Site::new(sample::board());
    let request = Request::get("/")
        .header(header::ACCEPT_ENCODING, "gzip")
        .body(Body::empty());
    let response =
        tower::ServiceExt::oneshot(site.router.clone(), request.expect("a request")).await;
    let response = response.expect("it cannot fail");
    assert_eq!(
        response
            .headers()
            .get(header::CONTENT_ENCODING)
            .expect("an encoding"),
        "gzip"
    );
}
