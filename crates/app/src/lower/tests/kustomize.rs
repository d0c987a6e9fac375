//! Overrides of a kustomization, in the Application and in files of its folder.

use serde_json::json;

use super::*;

#[test]
fn overrides_of_a_kustomization_change_what_git_is_asked_for() {
    let with = |kustomize: Value| meant(json!({"spec": {"source": {"kustomize": kustomize}}}));
    let digests: BTreeSet<String> = [
        json!({}),
        json!({"namePrefix": "a-"}),
        json!({"images": ["web:1"]}),
        json!({"images": ["web:2"]}),
        json!({"forceCommonLabels": true}),
    ]
    .into_iter()
    .map(|kustomize| with(kustomize).source_digest)
    .collect();
    assert_eq!(digests.len(), 5);
    let app = with(json!({"version": "v4", "kubeVersion": "1.30", "apiVersions": ["a/v1"]}));
    assert_eq!(
        app.not_acted_on,
        [
            "spec.source.kustomize.apiVersions",
            "spec.source.kustomize.kubeVersion",
            "spec.source.kustomize.version"
        ]
    );
}

#[test]
fn a_file_of_the_folder_is_laid_over_how_the_source_is_rendered() {
    let source = |over: Value| meant(json!({"spec": {"source": over}})).sources.remove(0);
    let written = source(json!({"kustomize": {
        "namePrefix": "a-", "images": ["web:1", "db:1"], "commonLabels": {"a": "1", "b": "1"}}}));
    let merged = written
        .merged(
            "deploy/.argocd-source.yaml",
            &json!({"repoURL": "https://elsewhere.example/x", "path": "y", "kustomize": {
                "images": ["web:2"], "commonLabels": {"b": "2", "c": "3"}, "namePrefix": null}}),
        )
        .expect("it goes together");
    let SourceType::Kustomize(overrides) = &merged.kind else {
        panic!("it is a kustomization: {:?}", merged.kind);
    };
    assert_eq!(
        serde_json::to_value(&overrides.options).expect("it can be written"),
        json!({"images": ["web:2"], "commonLabels": {"a": "1", "b": "2", "c": "3"}})
    );
    assert_eq!(overrides.at, "spec.source.kustomize");
    let fields: Vec<&str> = overrides.from_files.keys().map(String::as_str).collect();
    assert_eq!(fields, ["commonLabels", "images", "namePrefix"]);
    assert_eq!(
        (&merged.remote, &merged.path),
        (&written.remote, &written.path)
    );

    let detected = source(json!({}));
    let merged = detected
        .merged("f", &json!({"directory": {"recurse": true}}))
        .expect("so is this");
    assert!(matches!(merged.kind, SourceType::Directory(d) if d.recurse));
    assert_eq!(
        detected.merged("f", &Value::Null).as_ref(),
        Ok(&detected),
        "an empty file says nothing"
    );

    for (said, place) in [
        (
            json!({"kustomize": {"images": ["web"]}}),
            "kustomize.images[0]",
        ),
        (
            json!({"kustomize": {"image": ["web:1"]}}),
            "kustomize.image",
        ),
        (
            json!({"kustomize": {"images": "web:1"}}),
            "kustomize.images",
        ),
        (json!({"helm": {"values": "a: 1"}}), "helm"),
        (json!(["kustomize"]), ""),
    ] {
        let errors = written.merged("f", &said).expect_err("it is wrong");
        assert_eq!(
            errors.iter().map(SpecError::path).collect::<Vec<_>>(),
            [place]
        );
    }
}
