//! `spec.source` and `spec.sources`.

use std::sync::LazyLock;

use serde_json::{Map, Value, json};

use super::Notes;
use crate::app::{Directory, NotARemote, Source, SourceType};
use crate::kustomize::{self, Kustomize};
use crate::schema;
use crate::spec_error::SpecError;
use crate::v1alpha1::{ApplicationSource, ApplicationSpec, SourceJsonnet};

static SCHEMA: LazyLock<Value> = LazyLock::new(schema::of::<ApplicationSource>);

/// What a file in a source's folder may say: how it is rendered, and nothing about where it comes from.
const RENDERED_BY: [&str; 4] = ["kustomize", "directory", "helm", "plugin"];

/// The sources that render something, in order. One that is there only to be pointed at renders nothing.
pub(super) fn sources(spec: &ApplicationSpec, notes: &mut Notes) -> Vec<Source> {
    if spec.source_hydrator.is_some() {
        notes.error(
            "/spec/sourceHydrator",
            "the source hydrator is not served",
            "name the branch that holds the hydrated manifests in spec.source",
        );
    }
    let written: Vec<(String, &ApplicationSource)> = if spec.sources.is_empty() {
        spec.source
            .iter()
            .map(|source| ("/spec/source".to_owned(), source))
            .collect()
    } else {
        let all = spec.sources.iter().enumerate();
        all.map(|(i, source)| (format!("/spec/sources/{i}"), source))
            .collect()
    };
    if written.is_empty() && spec.source_hydrator.is_none() {
        notes.error(
            "/spec/source",
            "is missing",
            "say where the manifests come from: repoURL and path",
        );
    }
    written
        .into_iter()
        .filter_map(|(at, source)| lower(&at, source, notes))
        .collect()
}

fn lower(at: &str, written: &ApplicationSource, notes: &mut Notes) -> Option<Source> {
    let before = notes.errors.len();
    let remote = remote(at, written, notes);
    refuse_what_is_not_rendered(at, written, notes);
    if !written.reference.is_empty() {
        notes.left_aside(format!("{}.ref", crate::spec_error::path(at)));
        if written.path.is_empty() && written.chart.is_empty() {
            return None;
        }
    }
    let path = path(at, written, notes);
    if written
        .target_revision
        .contains(|c: char| c.is_control() || c == ' ' && !is_range(&written.target_revision))
    {
        notes.error(
            format!("{at}/targetRevision"),
            "is no branch, tag or commit",
            "name a branch, a tag or a commit",
        );
    }
    let kind = kind(at, written, notes);
    let remote = remote?;
    (notes.errors.len() == before).then(|| Source {
        remote,
        target: written.target_revision.clone(),
        path,
        kind,
    })
}

/// A range of versions has spaces in it; it is refused where it is resolved, with a better word.
fn is_range(target: &str) -> bool {
    target.starts_with(['>', '<', '=', '^', '~'])
}

fn remote(
    at: &str,
    written: &ApplicationSource,
    notes: &mut Notes,
) -> Option<crate::app::RemoteUrl> {
    let at = format!("{at}/repoURL");
    if written.repo_url.is_empty() {
        notes.error(at, "is missing", "name the repository by its https address");
        return None;
    }
    match written.repo_url.parse() {
        Ok(remote) => Some(remote),
        Err(error) => {
            let hint = match &error {
                NotARemote::Scheme { .. } => "write its https address",
                NotARemote::UserInfo => {
                    "put them into a Secret labelled argocd.argoproj.io/secret-type=repository"
                }
                NotARemote::Host => "write it as https://HOST/PATH",
            };
            notes.error(at, error.to_string(), hint);
            None
        }
    }
}

fn refuse_what_is_not_rendered(at: &str, written: &ApplicationSource, notes: &mut Notes) {
    let mut refuse = |there: bool, field: &str, message: &str, hint: &str| {
        if there {
            notes.error(format!("{at}/{field}"), message, hint);
        }
    };
    let later = "leave this Application to Argo CD until it is served";
    refuse(
        !written.chart.is_empty(),
        "chart",
        "Helm charts are not rendered in this version",
        later,
    );
    refuse(
        written.helm.is_some(),
        "helm",
        "Helm charts are not rendered in this version",
        later,
    );
    refuse(
        written.plugin.is_some(),
        "plugin",
        "plugins are not run: nothing but Lockstep's own code renders",
        "render it in CI and commit the result",
    );
    refuse(
        !written.tag_prefix.is_empty(),
        "tagPrefix",
        "ranges of versions are not resolved in this version",
        "name a branch, a tag or a commit in targetRevision",
    );
}

/// The folder, without anything that could lead out of the repository.
fn path(at: &str, written: &ApplicationSource, notes: &mut Notes) -> String {
    let at = format!("{at}/path");
    let text = written.path.as_str();
    if text.is_empty() && written.chart.is_empty() {
        notes.error(
            at,
            "is missing",
            "name a folder, or write `.` for the whole repository",
        );
        return String::new();
    }
    if text.starts_with('/') {
        notes.error(
            at,
            "begins with `/`",
            "write it from the root of the repository: no leading slash",
        );
        return String::new();
    }
    let mut parts = Vec::new();
    for part in text.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                notes.error(at, "leaves its folder by `..`", "write it without `..`");
                return String::new();
            }
            part if part.contains(|c: char| c.is_control() || c == '\\') => {
                notes.error(
                    at,
                    "has characters that no folder's name has",
                    "write it with `/`",
                );
                return String::new();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

fn kind(at: &str, written: &ApplicationSource, notes: &mut Notes) -> SourceType {
    match (&written.directory, &written.kustomize) {
        (Some(_), Some(_)) => {
            notes.error(
                at,
                "is a directory and a kustomization at once",
                "take `directory` or `kustomize` away",
            );
            SourceType::Detect
        }
        (None, None) => SourceType::Detect,
        (None, Some(options)) => {
            let at = format!("{at}/kustomize");
            notes.errors.extend(kustomize::check(&at, options));
            // One renderer of one version is built in, and charts, which would see the other two, are not rendered.
            for (given, field) in [
                (!options.version.is_empty(), "version"),
                (!options.kube_version.is_empty(), "kubeVersion"),
                (!options.api_versions.is_empty(), "apiVersions"),
            ] {
                if given {
                    notes.left_aside(crate::spec_error::path(&format!("{at}/{field}")));
                }
            }
            SourceType::Kustomize(Box::new(Kustomize {
                at: crate::spec_error::path(&at),
                options: options.clone(),
                ..Kustomize::default()
            }))
        }
        (Some(directory), None) => {
            if directory
                .jsonnet
                .as_ref()
                .is_some_and(|j| *j != SourceJsonnet::default())
            {
                notes.error(
                    format!("{at}/directory/jsonnet"),
                    "Jsonnet is not rendered",
                    "render it in CI and commit the result",
                );
            }
            if directory.disable_extension_filter == Some(true) {
                notes.error(
                    format!("{at}/directory/disableExtensionFilter"),
                    "only .yaml, .yml and .json files are read",
                    "give the files one of these endings",
                );
            }
            SourceType::Directory(Directory {
                recurse: directory.recurse == Some(true),
                include: directory.include.clone(),
                exclude: directory.exclude.clone(),
            })
        }
    }
}

impl Source {
    /// The source with what a file of its own folder says about how it is rendered: `.argocd-source.yaml`.
    ///
    /// Shape: a JSON merge patch over `kustomize` and `directory`, so that a list takes the place of the other one.
    /// What the file says about repository, target and path does not count, as in Argo CD. Errors: every one at
    /// once, with places inside the file.
    pub fn merged(&self, file: &str, said: &Value) -> Result<Self, Vec<SpecError>> {
        let Some(said) = said.as_object() else {
            if said.is_null() {
                return Ok(self.clone());
            }
            return Err(vec![
                SpecError::new("", "is no map")
                    .hint("write `kustomize:` and what is to be changed"),
            ]);
        };
        let found = schema::check(&SCHEMA, &Value::Object(said.clone()), "");
        let mut errors = found.wrong;
        errors.extend(found.unknown);
        if !errors.is_empty() {
            return Err(errors);
        }
        let mut written = self.written();
        for field in RENDERED_BY {
            if let Some(patch) = said.get(field) {
                merge(written.entry(field).or_insert(Value::Null), patch);
            }
        }
        let mut written = Value::Object(written);
        schema::without_nulls(&SCHEMA, &mut written);
        let written: ApplicationSource = serde_json::from_value(written)
            .map_err(|error| vec![SpecError::new("", error.to_string())])?;
        let mut notes = Notes::default();
        refuse_what_is_not_rendered("", &written, &mut notes);
        let mut kind = kind("", &written, &mut notes);
        if !notes.errors.is_empty() {
            return Err(notes.errors);
        }
        if let SourceType::Kustomize(overrides) = &mut kind {
            if let SourceType::Kustomize(before) = &self.kind {
                overrides.at.clone_from(&before.at);
                overrides.from_files.clone_from(&before.from_files);
            }
            let fields = said.get("kustomize").and_then(Value::as_object);
            for field in fields.into_iter().flat_map(Map::keys) {
                overrides.from_files.insert(field.clone(), file.to_owned());
            }
        }
        Ok(Self {
            kind,
            ..self.clone()
        })
    }

    /// How it is rendered, as an Application says it.
    fn written(&self) -> Map<String, Value> {
        let (field, value) = match &self.kind {
            SourceType::Detect => return Map::new(),
            SourceType::Kustomize(overrides) => ("kustomize", json!(overrides.options)),
            SourceType::Directory(directory) => (
                "directory",
                json!({
                    "recurse": directory.recurse,
                    "include": directory.include,
                    "exclude": directory.exclude,
                }),
            ),
        };
        Map::from_iter([(field.to_owned(), value)])
    }
}

/// A JSON merge patch (RFC 7386). As deep as the schema, which the patch was checked against.
fn merge(into: &mut Value, patch: &Value) {
    let Some(patch) = patch.as_object() else {
        into.clone_from(patch);
        return;
    };
    if !into.is_object() {
        *into = Value::Object(Map::new());
    }
    let Some(into) = into.as_object_mut() else {
        return;
    };
    for (key, value) in patch {
        if value.is_null() {
            into.remove(key);
        } else {
            merge(into.entry(key.clone()).or_insert(Value::Null), value);
        }
    }
}
