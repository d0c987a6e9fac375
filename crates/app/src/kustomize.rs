//! `spec.source.kustomize`: what an Application changes in the kustomization that it renders.
//!
//! The options stay as they were written; [`check`] says what is wrong with them, so that whoever renders can take
//! them as they are.

use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::spec_error::SpecError;
use crate::v1alpha1::{KustomizePatch, SourceKustomize};

/// The overrides of one source, checked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Kustomize {
    /// Where they stand in the Application, as people write it: `spec.source.kustomize`.
    pub at: String,
    /// What was written.
    pub options: SourceKustomize,
    /// Fields that a file of the source's own folder set, by name, with that file.
    pub from_files: BTreeMap<String, String>,
}

/// `[old=]name[:tag][@digest]`, taken apart. An asterisk keeps what the kustomization says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageOverride {
    /// The image as the manifests name it.
    pub name: String,
    /// The image that takes its place; empty keeps the name.
    pub new_name: String,
    /// The new tag; empty is none.
    pub new_tag: String,
    /// The new digest; empty is none.
    pub digest: String,
}

/// The text names an image and nothing that would change about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("says nothing new about an image")]
pub struct NotAnImage;

/// What to write instead of such a text.
pub const IMAGE_FORMS: &str =
    "write it as IMAGE:TAG, IMAGE@DIGEST, IMAGE=NEWIMAGE or IMAGE=NEWIMAGE:TAG@DIGEST";

/// Takes an image override apart, as `kustomize edit set image` does.
pub fn image(text: &str) -> Result<ImageOverride, NotAnImage> {
    let (old, new) = match text.split_once('=') {
        Some((old, new)) => (old, new),
        None => ("", text),
    };
    let (name, tag, digest) = image_parts(new);
    if name == text {
        return Err(NotAnImage);
    }
    let (name, new_name) = if old.is_empty() {
        (name, "")
    } else {
        (old, name)
    };
    Ok(ImageOverride {
        name: name.to_owned(),
        new_name: new_name.to_owned(),
        new_tag: tag.to_owned(),
        digest: digest.to_owned(),
    })
}

/// Name, tag and digest; the port of a registry belongs to the name.
fn image_parts(image: &str) -> (&str, &str, &str) {
    let from = image.find('/').unwrap_or(0);
    let (before, digest) = match image[from..].find('@') {
        Some(at) => (&image[..from + at], &image[from + at + 1..]),
        None => (image, ""),
    };
    match before[from..].find(':') {
        Some(at) => (&before[..from + at], &before[from + at + 1..], digest),
        None => (before, "", digest),
    }
}

/// A count that was written as a number or as a text.
pub fn count(count: &IntOrString) -> Option<i64> {
    match count {
        IntOrString::Int(number) => Some(i64::from(*number)),
        IntOrString::String(text) => text.parse().ok(),
    }
}

/// A label's or annotation's value without the one pair of quotes that `kustomize edit add` takes off.
pub fn unquoted(value: &str) -> &str {
    value
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
        .unwrap_or(value)
}

/// Has a text variables of the build in it, so that it is known only when it is rendered?
pub fn has_variables(text: &str) -> bool {
    text.contains('$')
}

/// Everything that is wrong with the options, each with its place below `at`, a JSON pointer.
pub fn check(at: &str, options: &SourceKustomize) -> Vec<SpecError> {
    let mut errors = Vec::new();
    let mut error = |place: String, message: String, hint: &str| {
        errors.push(SpecError::new(format!("{at}/{place}"), message).hint(hint));
    };
    for (field, text) in [
        ("namePrefix", &options.name_prefix),
        ("nameSuffix", &options.name_suffix),
    ] {
        if text.contains(|c: char| c.is_whitespace() || c.is_control() || c == '/') {
            error(
                field.to_owned(),
                format!("{text:?} cannot be part of a name"),
                "use lower-case letters, digits, `-` and `.`",
            );
        }
    }
    for (index, text) in options.images.iter().enumerate() {
        if !has_variables(text)
            && let Err(not) = image(text)
        {
            error(
                format!("images/{index}"),
                format!("{text:?} {not}"),
                IMAGE_FORMS,
            );
        }
    }
    for (index, replica) in options.replicas.iter().enumerate() {
        if replica.name.is_empty() || replica.name.contains('=') {
            error(
                format!("replicas/{index}/name"),
                format!("{:?} is no object's name", replica.name),
                "name a Deployment, StatefulSet, ReplicaSet or ReplicationController as git has it",
            );
        }
        if count(&replica.count).is_none_or(|count| count < 0) {
            error(
                format!("replicas/{index}/count"),
                format!("{} is no number of replicas", Written(&replica.count)),
                "write a whole number, 0 or more",
            );
        }
    }
    metadata(options, &mut error);
    let namespace = &options.namespace;
    if !namespace.is_empty() && !is_label_name(namespace) {
        error(
            "namespace".to_owned(),
            format!("{namespace:?} cannot be a namespace's name"),
            "use lower-case letters, digits and `-`, at most 63",
        );
    }
    for (index, patch) in options.patches.iter().enumerate() {
        check_patch(index, patch, &mut error);
    }
    for (index, component) in options.components.iter().enumerate() {
        if component.is_empty() || component.starts_with('/') {
            error(
                format!("components/{index}"),
                format!("{component:?} is no folder seen from the app's own"),
                "write it as in the kustomization: ../components/tls",
            );
        }
    }
    errors
}

struct Written<'a>(&'a IntOrString);

impl fmt::Display for Written<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            IntOrString::Int(number) => write!(f, "{number}"),
            IntOrString::String(text) => write!(f, "{text:?}"),
        }
    }
}

fn metadata(options: &SourceKustomize, error: &mut impl FnMut(String, String, &str)) {
    let part = |key: &str| key.replace('~', "~0").replace('/', "~1");
    let says = |flag: Option<bool>| flag == Some(true);
    if says(options.label_include_templates)
        && !says(options.label_without_selector)
        && !options.common_labels.is_empty()
    {
        error(
            "labelIncludeTemplates".to_owned(),
            "does nothing without labelWithoutSelector".to_owned(),
            "add `labelWithoutSelector: true`, or take it away: labels in selectors are in templates, too",
        );
    }
    let key_hint = "write it as NAME or DOMAIN/NAME: letters, digits, `-`, `_` and `.`";
    for (key, value) in &options.common_labels {
        let place = format!("commonLabels/{}", part(key));
        if !is_key(key) {
            error(
                place,
                format!("{key:?} cannot be the key of a label"),
                key_hint,
            );
        } else if !has_variables(value) && !is_label_value(unquoted(value)) {
            error(
                place,
                format!("{value:?} cannot be the value of a label"),
                "use letters, digits, `-`, `_` and `.`, at most 63",
            );
        }
    }
    for key in options.common_annotations.keys().filter(|key| !is_key(key)) {
        error(
            format!("commonAnnotations/{}", part(key)),
            format!("{key:?} cannot be the key of an annotation"),
            key_hint,
        );
    }
}

fn check_patch(index: usize, patch: &KustomizePatch, error: &mut impl FnMut(String, String, &str)) {
    let one = "give it `path`, a file below the app's folder, or `patch`, the text itself";
    match (patch.path.is_empty(), patch.patch.trim().is_empty()) {
        (true, true) => error(
            format!("patches/{index}"),
            "has neither a path nor a patch".to_owned(),
            one,
        ),
        (false, false) => error(
            format!("patches/{index}"),
            "has both a path and a patch".to_owned(),
            one,
        ),
        _ => {}
    }
    for option in patch.options.keys() {
        if !matches!(option.as_str(), "allowNameChange" | "allowKindChange") {
            error(
                format!("patches/{index}/options/{option}"),
                "is no option of a patch".to_owned(),
                "there are allowNameChange and allowKindChange",
            );
        }
    }
}

fn is_label_name(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 63
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// Can the text be the value of a label?
pub fn is_label_value(text: &str) -> bool {
    text.is_empty()
        || text.len() <= 63
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
            && text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.ends_with(|c: char| c.is_ascii_alphanumeric())
}

/// The key of a label or an annotation.
fn is_key(key: &str) -> bool {
    let (domain, name) = match key.split_once('/') {
        Some((domain, name)) => (Some(domain), name),
        None => (None, key),
    };
    !name.is_empty()
        && is_label_value(name)
        && domain.is_none_or(|domain| domain.len() <= 253 && domain.split('.').all(is_label_name))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn an_image_override_is_read_as_kustomize_edit_reads_it() {
        for (text, name, new_name, new_tag, digest) in [
            ("node:8.15.0", "node", "", "8.15.0", ""),
            ("mysql=mariadb", "mysql", "mariadb", "", ""),
            ("alpine@sha256:24a0", "alpine", "", "", "sha256:24a0"),
            ("a:1@sha256:24a0", "a", "", "1", "sha256:24a0"),
            (
                "web=registry.example:5000/org/web:v2@sha256:ff",
                "web",
                "registry.example:5000/org/web",
                "v2",
                "sha256:ff",
            ),
            (
                "registry.example:5000/web:v2",
                "registry.example:5000/web",
                "",
                "v2",
                "",
            ),
            ("web=*:v2", "web", "*", "v2", ""),
            ("web=web:*", "web", "web", "*", ""),
            ("a=b=c:1", "a", "b=c", "1", ""),
            ("=web:1", "web", "", "1", ""),
        ] {
            let read = image(text).unwrap_or_else(|_| panic!("{text:?} is one"));
            assert_eq!(
                (
                    read.name.as_str(),
                    read.new_name.as_str(),
                    read.new_tag.as_str(),
                    read.digest.as_str()
                ),
                (name, new_name, new_tag, digest),
                "{text:?}"
            );
        }
        for text in ["postgres", "registry.example:5000/web", ""] {
            assert_eq!(image(text), Err(NotAnImage), "{text:?}");
        }
    }

    #[test]
    fn every_wrong_option_is_told_at_once_with_its_place() {
        let options: SourceKustomize = serde_json::from_value(json!({
            "namePrefix": "a b",
            "images": ["web:1", "web", "web:$ARGOCD_APP_REVISION"],
            "replicas": [{"name": "web", "count": "3"}, {"name": "", "count": "three"}, {"name": "x", "count": -1}],
            "commonLabels": {"a": "b c", "example.com/ok": "${X}", "-": "x"},
            "labelIncludeTemplates": true,
            "commonAnnotations": {"any": "thing at all", "a/b/c": ""},
            "namespace": "Shop",
            "patches": [{"path": "a.yaml"}, {}, {"path": "a", "patch": "b"}, {"patch": "x: 1", "options": {"allow": true}}],
            "components": ["../c", "/c", ""],
        }))
        .expect("it can be read");
        let places: Vec<String> = check("/spec/source/kustomize", &options)
            .into_iter()
            .map(|error| {
                assert!(error.hint.is_some(), "{error} says what to do");
                error.path()
            })
            .collect();
        assert_eq!(
            places,
            [
                "namePrefix",
                "images[1]",
                "replicas[1].name",
                "replicas[1].count",
                "replicas[2].count",
                "labelIncludeTemplates",
                "commonLabels.-",
                "commonLabels.a",
                "commonAnnotations[a/b/c]",
                "namespace",
                "patches[1]",
                "patches[2]",
                "patches[3].options.allow",
                "components[1]",
                "components[2]",
            ]
            .map(|place| format!("spec.source.kustomize.{place}")
                .replace(".commonAnnotations.[", ".commonAnnotations["))
        );
        let none: SourceKustomize =
            serde_json::from_value(Value::Object(serde_json::Map::new())).expect("empty");
        assert!(check("", &none).is_empty());
    }
}
