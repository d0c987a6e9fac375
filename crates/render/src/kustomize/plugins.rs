//! `generators`, `transformers` and `validators`: the built-in steps, configured one by one.

use lockstep_manifest::yaml::{Dialect, Node};
use lockstep_tree::EntryKind;

use super::build::{Accumulated, Build, Here};
use super::entries::{self, Options, Patch};
use super::generate;
use super::images;
use super::labels;
use super::metadata::by_built_in;
use super::names::{self, Namespacing, Subjects};
use super::patch::{self, Source};
use super::replacements;
use super::resource::{By, Origin};
use super::take::{self, Text};
use crate::error::RenderError;

/// The configurations that an entry of such a list stands for: a file, a folder, or the text itself.
fn configurations(
    build: &mut Build<'_, '_>,
    here: &Here,
    entry: &Text,
) -> Result<Vec<Node>, RenderError> {
    if entry.text.contains('\n') || entry.text.trim_start().starts_with('{') {
        return Ok(Source::inline(entry).documents(build, Dialect::Kustomize)?);
    }
    let path = build.path(here, entry)?;
    let found = build.reading.find(&path, &entry.place)?;
    if let Some(found) = found.filter(|found| found.kind == EntryKind::Folder) {
        let inner = build.folder(&found.path, &entry.place, false, None)?;
        return Ok(inner
            .resources
            .into_list()
            .into_iter()
            .map(|resource| resource.node)
            .collect());
    }
    let (text, path) = build.load(here, entry)?;
    build.documents(&text, Dialect::Kustomize, &path)
}

fn text<'n>(node: &'n Node, keys: &[&str]) -> &'n str {
    node.at(keys).and_then(Node::as_text).unwrap_or_default()
}

fn origin(here: &Here, node: &Node) -> Origin {
    Origin {
        configured_in: node.place.file.as_ref().to_owned(),
        configured_by: Some(By {
            api_version: text(node, &["apiVersion"]).to_owned(),
            kind: text(node, &["kind"]).to_owned(),
            name: text(node, &["metadata", "name"]).to_owned(),
            namespace: text(node, &["metadata", "namespace"]).to_owned(),
        }),
        ..by_built_in(here, "")
    }
}

fn external(node: &Node) -> RenderError {
    RenderError::Unsupported {
        place: node.place.clone(),
        what: format!(
            "{} {} is no built-in step, and nothing of a repository is ever run",
            text(node, &["apiVersion"]),
            text(node, &["kind"])
        ),
        hint: "use one of the built-in generators and transformers, or render it before the commit"
            .to_owned(),
    }
}

fn is_built_in(node: &Node) -> bool {
    text(node, &["apiVersion"]) == "builtin"
}

const COMMON: [&str; 3] = ["apiVersion", "kind", "metadata"];

/// `generators`.
pub(crate) fn generators(
    build: &mut Build<'_, '_>,
    here: &Here,
    entries: &[Text],
    all: &mut Accumulated,
) -> Result<(), RenderError> {
    for entry in entries {
        for node in configurations(build, here, entry)? {
            let secret = match text(&node, &["kind"]) {
                "ConfigMapGenerator" if is_built_in(&node) => false,
                "SecretGenerator" if is_built_in(&node) => true,
                "HelmChartInflationGenerator" if is_built_in(&node) => {
                    return Err(RenderError::Unsupported {
                        place: node.place.clone(),
                        what: "this generator would run Helm, which is not rendered yet".to_owned(),
                        hint: "render the chart into a folder and name that under `resources:`"
                            .to_owned(),
                    });
                }
                _ => return Err(external(&node)),
            };
            let mut generator = entries::generator(&node, "the generator", secret, &COMMON)?;
            if generator.name.is_empty() {
                text(&node, &["metadata", "name"]).clone_into(&mut generator.name);
            }
            if generator.namespace.is_empty() {
                text(&node, &["metadata", "namespace"]).clone_into(&mut generator.namespace);
            }
            let mut made = generate::make(build, here, &generator, &Options::default(), secret)?;
            made.origin = Some(origin(here, &node));
            generate::absorb(all, made, &generator, &mut build.spent)?;
        }
    }
    Ok(())
}

/// `transformers`.
pub(crate) fn transformers(
    build: &mut Build<'_, '_>,
    here: &Here,
    entries: &[Text],
    all: &mut Accumulated,
) -> Result<(), RenderError> {
    for entry in entries {
        for node in configurations(build, here, entry)? {
            if !is_built_in(&node) {
                return Err(external(&node));
            }
            transform(build, here, &node, all)?;
            build.changed(all, &origin(here, &node))?;
            all.resources.drop_empty();
        }
    }
    Ok(())
}

/// `validators`: transformers that must not change anything.
pub(crate) fn validators(
    build: &mut Build<'_, '_>,
    here: &Here,
    entries: &[Text],
    all: &mut Accumulated,
) -> Result<(), RenderError> {
    for entry in entries {
        for node in configurations(build, here, entry)? {
            if !is_built_in(&node) {
                return Err(external(&node));
            }
            let bodies = |all: &Accumulated| {
                all.resources
                    .iter()
                    .map(|resource| resource.node.to_value().ok())
                    .collect::<Vec<_>>()
            };
            let before = bodies(all);
            transform(build, here, &node, all)?;
            if bodies(all) != before {
                return Err(RenderError::invalid(
                    &node.place,
                    "a validator changed an object, and may not",
                ));
            }
        }
    }
    Ok(())
}

fn specs_of(node: &Node) -> Result<Vec<super::fieldspec::FieldSpec>, RenderError> {
    node.get("fieldSpecs").map_or(Ok(Vec::new()), |node| {
        entries::field_specs(node, "fieldSpecs")
    })
}

/// Refuses fields that a step does not have.
fn check(node: &Node, kind: &str, own: &[&str]) -> Result<(), RenderError> {
    let known: Vec<&str> = COMMON.iter().chain(own).copied().collect();
    take::fields(node, kind, &known, |_, _, _| Ok(()))
}

fn transform(
    build: &mut Build<'_, '_>,
    here: &Here,
    node: &Node,
    all: &mut Accumulated,
) -> Result<(), RenderError> {
    let kind = text(node, &["kind"]);
    let text_at = |key: &str| -> Result<Text, RenderError> {
        let none = Text::new("", node.place.clone());
        node.get(key).map_or(Ok(none), |node| take::text(node, key))
    };
    let texts_at = |key: &str| {
        node.get(key)
            .map_or(Ok(Vec::new()), |node| take::text_map(node, key))
    };
    match kind {
        "AnnotationsTransformer" => {
            check(node, kind, &["annotations", "fieldSpecs"])?;
            labels::set_all(
                all,
                &specs_of(node)?,
                &texts_at("annotations")?,
                &mut build.spent,
            )
        }
        "LabelTransformer" => {
            check(node, kind, &["labels", "fieldSpecs"])?;
            labels::set_all(
                all,
                &specs_of(node)?,
                &texts_at("labels")?,
                &mut build.spent,
            )
        }
        "HashTransformer" => {
            check(node, kind, &[])?;
            generate::append_hashes(all.resources.list_mut())?;
            all.resources
                .list_mut()
                .iter_mut()
                .for_each(|resource| resource.hashed = false);
            Ok(())
        }
        "ImageTagTransformer" => {
            check(node, kind, &["imageTag", "fieldSpecs"])?;
            let Some(image) = node.get("imageTag") else {
                return Ok(());
            };
            let image = entries::image(image, "imageTag")?;
            images::Fields::of(all, specs_of(node)?).set(all, &image, &mut build.spent)
        }
        "NamespaceTransformer" => {
            check(
                node,
                kind,
                &["fieldSpecs", "unsetOnly", "setRoleBindingSubjects"],
            )?;
            let namespace = node.at(&["metadata", "namespace"]);
            let Some(namespace) = namespace
                .map(|node| take::text(node, "namespace"))
                .transpose()?
            else {
                return Ok(());
            };
            let how = text_at("setRoleBindingSubjects")?;
            let subjects = match how.text.as_str() {
                "" | "defaultOnly" => Subjects::DefaultOnly,
                "allServiceAccounts" => Subjects::AllServiceAccounts,
                "none" => Subjects::None,
                other => {
                    let what = format!(
                        "setRoleBindingSubjects is defaultOnly, allServiceAccounts or none, not {other:?}"
                    );
                    return Err(RenderError::invalid(&how.place, what));
                }
            };
            let unset_only = node
                .get("unsetOnly")
                .map_or(Ok(false), |node| take::boolean(node, "unsetOnly"))?;
            Namespacing {
                namespace: &namespace,
                unset_only,
                subjects,
                specs: specs_of(node)?,
            }
            .run(all, &mut build.spent)
        }
        "PatchTransformer" => {
            check(node, kind, &["path", "patch", "target", "options"])?;
            let entry = patch_of(node, "patch")?;
            patch::patch(build, here, &entry, all)
        }
        "PatchJson6902Transformer" => {
            check(node, kind, &["path", "jsonOp", "target"])?;
            let entry = patch_of(node, "jsonOp")?;
            patch::json6902(build, here, &entry, all)
        }
        "PatchStrategicMergeTransformer" => {
            check(node, kind, &["paths", "patches"])?;
            let mut entries = node
                .get("paths")
                .map_or(Ok(Vec::new()), |node| take::texts(node, "paths"))?;
            let inline = text_at("patches")?;
            if !inline.text.is_empty() {
                // One line is taken for a path, several for the text itself.
                entries.push(Text {
                    text: format!("{}\n", inline.text),
                    ..inline
                });
            }
            patch::strategic_merges(build, here, &entries, all)
        }
        "PrefixTransformer" | "SuffixTransformer" | "PrefixSuffixTransformer" => {
            check(node, kind, &["prefix", "suffix", "fieldSpecs"])?;
            let specs = specs_of(node)?;
            if specs.is_empty() {
                return Err(RenderError::invalid(
                    &node.place,
                    format!("{kind} needs `fieldSpecs`"),
                ));
            }
            names::affix(all, &specs, &text_at("prefix")?, true, &mut build.spent)?;
            names::affix(all, &specs, &text_at("suffix")?, false, &mut build.spent)
        }
        "ReplacementTransformer" => {
            check(node, kind, &["replacements"])?;
            let entries = node
                .get("replacements")
                .map_or(Ok(&[][..]), |node| take::list(node, "replacements"))?;
            replacements::run(build, here, entries, all)
        }
        "ReplicaCountTransformer" => {
            check(node, kind, &["replica", "fieldSpecs"])?;
            let Some(replica) = node.get("replica") else {
                return Ok(());
            };
            images::set_replicas_in(
                all,
                &entries::replica(replica, "replica")?,
                &specs_of(node)?,
                &mut build.spent,
            )
        }
        _ => Err(external(node)),
    }
}

/// The fields of a patch step as an entry of `patches`.
fn patch_of(node: &Node, inline: &str) -> Result<Patch, RenderError> {
    let mut entry = Node::map(node.place.clone());
    for (key, to) in [
        ("path", "path"),
        (inline, "patch"),
        ("target", "target"),
        ("options", "options"),
    ] {
        if let Some(value) = node.get(key) {
            entry.set(to, value.clone());
        }
    }
    entries::patch(&entry, "the patch")
}
