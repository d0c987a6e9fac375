//! What an Application changes in its kustomization: the same as if the kustomization said so itself.
//!
//! Every case of the corpus is rendered under every override of `overrides`, and once more with the override written
//! into its kustomization by `edit`, which does to the text what `kustomize edit` does.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use lockstep_app::kustomize::Kustomize;
use lockstep_app::{Source, SourceType};
use lockstep_manifest::yaml::{self, Dialect, print_value};
use lockstep_render::{Facts, Forest, Limits, RenderError, Rendered, Rendering, print, render_in};
use lockstep_tree::Tree;
use serde_json::{Map, Value, json};

/// The files of a case, by path.
type Files = BTreeMap<String, String>;

const COMPONENT: &str = "overriding-component";

fn source(path: &str, options: Option<&Value>) -> Source {
    let options = options.map_or_else(Default::default, |options| {
        serde_json::from_value(options.clone()).expect("they are options")
    });
    let wrong = lockstep_app::kustomize::check("", &options);
    assert!(wrong.is_empty(), "{wrong:?}");
    Source {
        remote: "https://git.example/shop.git".parse().expect("an address"),
        target: "main".to_owned(),
        path: path.to_owned(),
        kind: SourceType::Kustomize(Box::new(Kustomize {
            at: "spec.source.kustomize".to_owned(),
            options,
            ..Kustomize::default()
        })),
    }
}

fn facts() -> Facts {
    Facts {
        app: "shop-prod".to_owned(),
        namespace: "shop".to_owned(),
        project: "team".to_owned(),
        revision: "0123456789012345678901234567890123456789".parse().ok(),
    }
}

fn rendered(files: &Files, path: &str, options: Option<&Value>) -> Result<Rendered, RenderError> {
    let files = files.iter().map(|(path, text)| (&**path, &**text));
    let forest = Forest::of(Tree::from_files(files));
    let source = source(path, options);
    match render_in(&source, &forest, &facts(), &Limits::default())? {
        Rendering::Done(rendered) => Ok(*rendered),
        Rendering::Needs(needs) => Err(RenderError::Remote {
            place: needs[0].place.clone(),
            what: needs[0].base.to_string(),
        }),
    }
}

/// The files of a case that is all text and has no links.
fn files(folder: &Path, below: &str, into: &mut Files) -> Option<()> {
    for entry in fs::read_dir(folder).expect("readable") {
        let entry = entry.expect("readable");
        let name = format!("{below}{}", entry.file_name().to_string_lossy());
        let kind = entry.file_type().expect("known");
        if kind.is_dir() {
            files(&entry.path(), &format!("{name}/"), into)?;
        } else if kind.is_file() {
            into.insert(name, fs::read_to_string(entry.path()).ok()?);
        } else {
            return None;
        }
    }
    Some(())
}

/// A field by its name, whatever the letter case: `null` when it is not there.
fn field<'v>(kustomization: &'v mut Map<String, Value>, name: &str) -> &'v mut Value {
    let key = kustomization
        .keys()
        .find(|key| key.eq_ignore_ascii_case(name));
    let key = key.cloned().unwrap_or_else(|| name.to_owned());
    kustomization.entry(key).or_insert(Value::Null)
}

fn list<'v>(kustomization: &'v mut Map<String, Value>, name: &str) -> &'v mut Vec<Value> {
    let value = field(kustomization, name);
    if value.is_null() {
        *value = json!([]);
    }
    value.as_array_mut().expect("a list")
}

/// What `kustomize edit` would do for the override; none when it refuses.
fn edit(kustomization: &mut Map<String, Value>, options: &Value) -> Option<()> {
    for (name, value) in options.as_object().expect("a map") {
        match name.as_str() {
            "namePrefix" | "nameSuffix" | "namespace" => {
                field(kustomization, name).clone_from(value);
            }
            "images" => {
                let old = field(kustomization, "imageTags").take();
                let images = list(kustomization, "images");
                images.extend(old.as_array().cloned().unwrap_or_default());
                let written = value.as_array().expect("a list");
                let new: Vec<Value> = written.iter().map(|text| image(text, images)).collect();
                replace(images, new);
            }
            "replicas" => {
                let written = value.as_array().expect("a list").iter();
                let count = |replica: &Value| replica["count"].as_str()?.parse::<i64>().ok();
                let new = written
                    .map(|replica| json!({"name": replica["name"], "count": count(replica)}))
                    .collect();
                replace(list(kustomization, "replicas"), new);
            }
            "commonLabels" if options["labelWithoutSelector"] == json!(true) => {
                let templates = options["labelIncludeTemplates"] == json!(true);
                let labels = list(kustomization, "labels");
                let fits = |entry: &&mut Value| {
                    entry["includeSelectors"] != json!(true)
                        && (entry["includeTemplates"] == json!(true)) == templates
                };
                if !labels.iter_mut().any(|entry| fits(&entry)) {
                    labels.push(json!({"pairs": {}, "includeTemplates": templates}));
                }
                let entry = labels.iter_mut().find(fits).expect("it is there");
                add(
                    &mut entry["pairs"],
                    value,
                    options["forceCommonLabels"] == json!(true),
                )?;
            }
            "commonLabels" => add(
                field(kustomization, name),
                value,
                options["forceCommonLabels"] == json!(true),
            )?,
            "commonAnnotations" => add(
                field(kustomization, name),
                value,
                options["forceCommonAnnotations"] == json!(true),
            )?,
            "patches" => {
                let patches = list(kustomization, name);
                patches.extend(value.as_array().expect("a list").iter().cloned());
            }
            "components" => {
                let components = list(kustomization, name);
                for component in value.as_array().expect("a list") {
                    if !components.contains(component) {
                        components.push(component.clone());
                    }
                }
            }
            _ => {}
        }
    }
    Some(())
}

/// Entries by name, new ones over old ones, sorted.
fn replace(entries: &mut Vec<Value>, new: Vec<Value>) {
    let name = |entry: &Value| entry["name"].as_str().unwrap_or_default().to_owned();
    let mut all: BTreeMap<String, Value> = BTreeMap::new();
    for entry in new {
        all.insert(name(&entry), entry);
    }
    for entry in entries.drain(..) {
        all.entry(name(&entry)).or_insert(entry);
    }
    entries.extend(all.into_values());
}

/// `[old=]name[:tag][@digest]` as an entry, `*` as what the first entry of that name says.
fn image(text: &Value, old: &[Value]) -> Value {
    let read = lockstep_app::kustomize::image(text.as_str().expect("a text")).expect("an image");
    let old = old.iter().find(|entry| entry["name"] == json!(read.name));
    let kept = |new: String, key: &str| {
        if new == "*" {
            old.map_or(Value::Null, |old| old[key].clone())
        } else {
            json!(new)
        }
    };
    json!({
        "name": read.name,
        "newName": kept(read.new_name, "newName"),
        "newTag": kept(read.new_tag, "newTag"),
        "digest": kept(read.digest, "digest"),
    })
}

fn add(pairs: &mut Value, more: &Value, force: bool) -> Option<()> {
    if pairs.is_null() {
        *pairs = json!({});
    }
    let pairs = pairs.as_object_mut()?;
    for (key, value) in more.as_object().expect("a map") {
        if pairs.contains_key(key) && !force {
            return None;
        }
        pairs.insert(key.clone(), value.clone());
    }
    Some(())
}

/// Overrides that any kustomization takes; `name` is that of a Deployment, `image` that of an entry of its own.
fn overrides(name: &str, image: &str) -> Vec<Value> {
    let patch =
        "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: any\nspec:\n  paused: true\n";
    vec![
        json!({"namePrefix": "over-"}),
        json!({"nameSuffix": "-under"}),
        json!({"namespace": "elsewhere"}),
        json!({"images": [
            "nginx=registry.example:5000/nginx:9", "redis@sha256:24a0", "aaa=bbb",
            format!("{image}=*:7"),
        ]}),
        json!({"images": [format!("{image}=other:*"), "nginx:1", "nginx:2"]}),
        json!({"replicas": [{"name": name, "count": "7"}]}),
        json!({"commonLabels": {"app.example.com/over": "a", "team": "b"}}),
        json!({"commonLabels": {"over": "a", "app": "b"}, "labelWithoutSelector": true}),
        json!({"commonLabels": {"over": "a", "team": "x"}, "labelWithoutSelector": true,
            "labelIncludeTemplates": true, "forceCommonLabels": true}),
        json!({"commonLabels": {"app": "forced"}, "forceCommonLabels": true}),
        json!({"commonAnnotations": {"example.com/over": "a b", "note": "c"}}),
        json!({"commonAnnotations": {"note": "forced"}, "forceCommonAnnotations": true}),
        json!({"patches": [
            {"target": {"kind": "Deployment"}, "patch": patch},
            {"target": {"kind": "ConfigMap"}, "patch": "- op: add\n  path: /metadata/annotations\n  value: {over: x}\n"},
        ]}),
        json!({"components": [format!("../{COMPONENT}"), COMPONENT]}),
        json!({"namePrefix": "over-", "namespace": "elsewhere", "commonLabels": {"over": "a"},
            "images": ["nginx:9"], "commonAnnotations": {"over": "b"}}),
    ]
}

#[test]
fn every_override_does_what_the_same_words_in_the_kustomization_do() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/corpus/kustomize");
    let mut folders: Vec<PathBuf> = fs::read_dir(corpus)
        .expect("the corpus is in the repository")
        .map(|entry| entry.expect("readable").path())
        .filter(|path| path.join("build-path").is_file())
        .collect();
    folders.sort();
    let (mut compared, mut same_text, mut refused) = (0, 0, 0);
    for folder in folders {
        let case = folder.file_name().unwrap_or_default().to_string_lossy();
        let mut tree = Files::new();
        if files(&folder.join("input"), "", &mut tree).is_none() {
            continue;
        }
        let path = fs::read_to_string(folder.join("build-path")).expect("it is there");
        let path = path.trim().trim_start_matches("./").trim_matches('.');
        let prefix = if path.is_empty() {
            String::new()
        } else {
            format!("{path}/")
        };
        let Ok(before) = rendered(&tree, path, None) else {
            continue;
        };
        let deployment = before
            .manifests
            .iter()
            .find(|object| object.kind() == "Deployment")
            .map_or("none", |object| object.name());
        let names = ["kustomization.yaml", "kustomization.yml", "Kustomization"];
        let file = names
            .iter()
            .map(|name| format!("{prefix}{name}"))
            .find(|name| tree.contains_key(name))
            .expect("it was rendered");
        let text = tree[&file].clone();
        let parsed = yaml::read(
            text.as_bytes(),
            Dialect::Kubectl,
            "k",
            &yaml::Limits::default(),
        )
        .expect("it was read");
        let Ok(Value::Object(parsed)) = parsed[0].to_value() else {
            continue;
        };
        let component =
            "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\nnameSuffix: -c\n";
        let above = prefix
            .rsplit_once('/')
            .and_then(|(path, _)| Some(path.rsplit_once('/')?.0));
        let above = above.map_or_else(String::new, |above| format!("{above}/"));
        for folder in [above, prefix] {
            tree.insert(
                format!("{folder}{COMPONENT}/kustomization.yaml"),
                component.to_owned(),
            );
        }
        let image = parsed
            .get("images")
            .and_then(|images| images[0]["name"].as_str())
            .unwrap_or("nginx");
        for options in overrides(deployment, image) {
            let overridden = rendered(&tree, path, Some(&options));
            let mut kustomization = parsed.clone();
            let edited = edit(&mut kustomization, &options).map(|()| {
                let mut tree = tree.clone();
                tree.insert(file.clone(), print_value(&Value::Object(kustomization)));
                rendered(&tree, path, None)
            });
            compared += 1;
            match (overridden, edited) {
                (Ok(overridden), Some(Ok(edited))) => {
                    assert_eq!(print(&overridden), print(&edited), "{case} under {options}");
                    same_text += 1;
                }
                (Err(_), None | Some(Err(_))) => refused += 1,
                (Err(error), Some(Ok(_))) => panic!("{case} under {options}: {error}"),
                (Ok(_), None) => panic!("{case} under {options} is to be refused"),
                (Ok(_), Some(Err(error))) => panic!("{case} edited by {options}: {error}"),
            }
        }
    }
    assert!(
        compared > 2500 && same_text > 2300,
        "{same_text} of {compared}, {refused} refused"
    );
}

fn shop() -> Files {
    [
        ("app/kustomization.yaml", "resources: [web.yaml]\ncommonLabels: {team: git}\n"),
        (
            "app/web.yaml",
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec:\n  template:\n    spec:\n      containers:\n      - {name: web, image: 'web:1'}\n",
        ),
    ]
    .into_iter()
    .map(|(path, text)| (path.to_owned(), text.to_owned()))
    .collect()
}

fn place(rendered: &Rendered, pointer: &str) -> String {
    let place = rendered.manifests[0]
        .place(pointer)
        .expect("it has a place");
    place.to_string()
}

#[test]
fn a_value_that_an_override_set_comes_from_the_application() {
    let options = json!({
        "images": ["other:1", "web:2"],
        "replicas": [{"name": "web", "count": 3}],
        "commonLabels": {"example.com/a": "b"},
        "patches": [{"target": {"kind": "Deployment"},
            "patch": "- op: add\n  path: /spec/paused\n  value: true\n"}],
    });
    let rendered = rendered(&shop(), "app", Some(&options)).expect("it renders");
    let image = "/spec/template/spec/containers/0/image";
    let at = |pointer: &str| place(&rendered, pointer);
    let said = "Application shop-prod: spec.source.kustomize";
    assert_eq!(at(image), format!("{said}.images[1]"));
    assert_eq!(at("/spec/replicas"), format!("{said}.replicas[0]"));
    assert_eq!(
        at("/metadata/labels/example.com~1a"),
        format!("{said}.commonLabels[example.com/a]")
    );
    assert_eq!(at("/spec/paused"), format!("{said}.patches[0].patch:3:10"));
    assert_eq!(at("/metadata/labels/team"), "app/kustomization.yaml:2:22");
}

#[test]
fn variables_of_the_build_are_filled_in_where_argo_cd_fills_them_in() {
    let options = json!({
        "images": ["web:$ARGOCD_APP_REVISION_SHORT"],
        "commonLabels": {"app": "${ARGOCD_APP_NAME}"},
        "commonAnnotations": {"ns": "$ARGOCD_APP_NAMESPACE-$NOBODY"},
    });
    let with = |more: Value| {
        let mut options = options.clone();
        options
            .as_object_mut()
            .expect("a map")
            .extend(more.as_object().expect("a map").clone());
        rendered(&shop(), "app", Some(&options)).expect("it renders")
    };
    let plain = with(json!({}));
    let text = print(&plain);
    assert!(text.contains("image: web:0123456\n"), "{text}");
    assert!(text.contains("app: shop-prod\n"), "{text}");
    assert!(
        text.contains("ns: $ARGOCD_APP_NAMESPACE-$NOBODY\n"),
        "{text}"
    );
    assert!(plain.by_revision);
    let warned = |rendered: &Rendered| {
        rendered
            .warnings
            .iter()
            .any(|text| text.contains("$NOBODY"))
    };
    assert!(!warned(&plain));
    let filled = with(json!({"commonAnnotationsEnvsubst": true, "images": ["web:2"]}));
    assert!(print(&filled).contains("ns: shop-\n"));
    assert!(warned(&filled) && !filled.by_revision);
}

#[test]
fn what_cannot_be_done_names_the_option_and_the_way_out() {
    let cases = [
        (
            json!({"commonLabels": {"team": "app"}}),
            "Application shop-prod: spec.source.kustomize.commonLabels.team",
            "forceCommonLabels: true",
        ),
        (
            json!({"replicas": [{"name": "wbe", "count": 2}]}),
            "Application shop-prod: spec.source.kustomize.replicas[0]: no Deployment",
            "correct the name",
        ),
        (
            json!({"components": ["../missing"]}),
            "spec.source.kustomize.components[0]",
            "add the file",
        ),
        (
            json!({"components": ["../miss*"]}),
            "nothing matches \"../miss*\"",
            "name the components",
        ),
        (
            json!({"patches": [{"patch": "kind: Deployment\nspec: {\n"}]}),
            "spec.source.kustomize.patches[0].patch:2:",
            "correct the YAML",
        ),
        (
            json!({"images": ["$NOBODY"]}),
            "spec.source.kustomize.images[0]",
            "IMAGE:TAG",
        ),
        (
            json!({"commonLabels": {"at": "$ARGOCD_APP_SOURCE_REPO_URL"}}),
            "spec.source.kustomize.commonLabels.at",
            "letters, digits",
        ),
    ];
    for (options, said, hint) in cases {
        let error = rendered(&shop(), "app", Some(&options)).expect_err("it is wrong");
        assert!(error.to_string().contains(said), "{error}");
        let hinted = error.hint().expect("it says what to do");
        assert!(hinted.contains(hint), "{hinted}");
    }
}

#[test]
fn components_may_be_missing_where_that_is_allowed_and_named_by_a_pattern() {
    let mut files = shop();
    let component = "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\n";
    for name in ["a", "b"] {
        files.insert(
            format!("parts/{name}/kustomization.yaml"),
            format!("{component}nameSuffix: -{name}\n"),
        );
    }
    let options = json!({"components": ["../none", "../parts/b"], "ignoreMissingComponents": true});
    let text = print(&rendered(&files, "app", Some(&options)).expect("it renders"));
    assert!(text.contains("name: web-b\n"), "{text}");
    let options = json!({"components": ["../parts/*"]});
    let text = print(&rendered(&files, "app", Some(&options)).expect("it renders"));
    assert!(text.contains("name: web-a-b\n"), "{text}");
}

#[test]
fn files_of_the_folder_speak_first_for_all_apps_and_then_for_one() {
    let mut files = shop();
    let read = |files: &Files, options: Option<&Value>| rendered(files, "app", options);
    files.insert(
        "app/.argocd-source.yaml".to_owned(),
        "kustomize:\n  images: ['web:2']\n  namePrefix: all-\n".to_owned(),
    );
    files.insert(
        "app/.argocd-source-shop-prod.yaml".to_owned(),
        "kustomize:\n  images: ['web:3']\n".to_owned(),
    );
    files.insert(
        "app/.argocd-source-other.yaml".to_owned(),
        "kustomize: {images: ['web:4']}\n".to_owned(),
    );
    let options = json!({"namePrefix": "app-", "commonLabels": {"a": "b"}});
    let rendered = read(&files, Some(&options)).expect("it renders");
    let text = print(&rendered);
    for want in ["image: web:3\n", "name: all-web\n", "a: b\n"] {
        assert!(text.contains(want), "{want}: {text}");
    }
    assert_eq!(
        place(&rendered, "/spec/template/spec/containers/0/image"),
        "app/.argocd-source-shop-prod.yaml: kustomize.images[0]"
    );
    assert_eq!(
        place(&rendered, "/metadata/name"),
        "app/.argocd-source.yaml: kustomize.namePrefix"
    );
    for name in [".argocd-source.yaml", ".argocd-source-shop-prod.yaml"] {
        let path = format!("app/{name}").parse().expect("a path");
        assert!(rendered.read.contains(&path), "{name} is looked at");
    }
    files.insert(
        "app/.argocd-source.yaml".to_owned(),
        "kustomize:\n  images: [web]\n  nameprefix: x\n".to_owned(),
    );
    let error = read(&files, None).expect_err("it is wrong");
    let text = error.to_string();
    assert!(text.starts_with("app/.argocd-source.yaml:1:1: "), "{text}");
    assert!(text.contains("kustomize.nameprefix"), "{text}");
}
