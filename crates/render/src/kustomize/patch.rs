//! `patches`, `patchesStrategicMerge` and `patchesJson6902`: loading them, and finding what they are for.

use std::sync::Arc;

use lockstep_manifest::Place;
use lockstep_manifest::yaml::{self, Content, Dialect, Node, Tag, YamlError};

use super::build::{Accumulated, Build, Here};
use super::entries::Patch;
use super::json::{self, Operation};
use super::merge::merge_object;
use super::metadata::by_built_in;
use super::resource::{self, Id, Resource};
use super::schema::Own;
use super::select::Selector;
use super::spent::{Spent, VALUE};
use super::take::Text;
use crate::error::RenderError;

/// A patch's text: where it stands, and how many lines lie above it in that file.
pub(crate) struct Source {
    text: Vec<u8>,
    file: Arc<str>,
    spot: Spot,
    place: Place,
}

/// Where a patch's text stands in its file.
#[derive(Clone, Copy)]
enum Spot {
    /// It is the file.
    File,
    /// It is a block of lines in it: how many lines lie above the first one, and how far in they stand.
    Block { lines: u32, columns: u32 },
    /// It stands in a line with other things, and its own lines, if it has any, are none of the file's.
    Line,
}

/// What a patch says.
enum Said {
    Merge(Vec<Resource>),
    Json(Vec<Operation>),
}

/// Moves every place in a text to where it stands in its file.
fn relocate(node: &mut Node, to: &impl Fn(&mut Place)) {
    to(&mut node.place);
    match &mut node.content {
        Content::Scalar(_) => {}
        Content::List(items) => items.iter_mut().for_each(|item| relocate(item, to)),
        Content::Map(pairs) => {
            for pair in pairs {
                to(&mut pair.place);
                relocate(&mut pair.value, to);
            }
        }
    }
}

impl Source {
    pub(crate) fn inline(text: &Text) -> Self {
        let spot = if text.block {
            Spot::Block {
                lines: text.place.line.saturating_sub(1),
                columns: text.place.column.saturating_sub(1),
            }
        } else {
            Spot::Line
        };
        Self {
            text: text.text.trim().as_bytes().to_vec(),
            file: Arc::clone(&text.place.file),
            spot,
            place: text.place.clone(),
        }
    }

    pub(crate) fn load(
        build: &mut Build<'_, '_>,
        here: &Here,
        path: &Text,
    ) -> Result<Self, RenderError> {
        let (text, path) = build.load(here, path)?;
        Ok(Self {
            text: text.to_vec(),
            file: build.reading.name(&path).into(),
            spot: Spot::File,
            place: build.reading.start_of(&path),
        })
    }

    pub(crate) fn documents(
        &self,
        build: &Build<'_, '_>,
        dialect: Dialect,
    ) -> Result<Vec<Node>, YamlError> {
        let read = yaml::read(&self.text, dialect, &self.file, &build.reading.limits.yaml);
        let to = |place: &mut Place| match self.spot {
            Spot::File => {}
            Spot::Block { lines, columns } => {
                place.line += lines;
                place.column += columns;
            }
            Spot::Line => place.clone_from(&self.place),
        };
        match read {
            Ok(mut nodes) => {
                if !matches!(self.spot, Spot::File) {
                    for node in &mut nodes {
                        relocate(node, &to);
                    }
                }
                Ok(nodes)
            }
            Err(error) => {
                let mut place = error.place();
                to(&mut place);
                Err(YamlError {
                    line: place.line,
                    column: place.column,
                    ..error
                })
            }
        }
    }

    fn merges(&self, build: &Build<'_, '_>) -> Result<Vec<Resource>, RenderError> {
        resource::resources(self.documents(build, Dialect::Kustomize)?)
    }

    pub(crate) fn operations(&self, build: &Build<'_, '_>) -> Result<Vec<Operation>, RenderError> {
        // What begins like JSON is read as JSON alone, as the reference does.
        if self.text.starts_with(b"[")
            && let Err(error) = serde_json::from_slice::<serde_json::Value>(&self.text)
        {
            return Err(RenderError::invalid_hint(
                &self.place,
                format!(
                    "a JSON patch that begins with `[` has to be JSON, and this is none: {error}"
                ),
                "put keys and texts in double quotes, or write a list with dashes",
            ));
        }
        match self.documents(build, Dialect::Kubectl)?.first() {
            Some(node) => json::operations(node),
            None => Ok(Vec::new()),
        }
    }

    /// Tries both readings; exactly one must do.
    fn read(&self, build: &Build<'_, '_>) -> Result<Said, RenderError> {
        let empty = || {
            RenderError::invalid_hint(
                &self.place,
                "the patch is empty",
                "write a part of the object, or a list of operations",
            )
        };
        // A text that begins with a letter is a map, and need not be read to know that.
        let list = !self.text.first().is_some_and(u8::is_ascii_alphabetic);
        let list = list
            && self
                .documents(build, Dialect::Kubectl)
                .is_ok_and(|documents| {
                    documents
                        .first()
                        .is_some_and(|first| first.as_list().is_some())
                });
        if list {
            return self.operations(build).map(Said::Json);
        }
        let merges = self.merges(build)?;
        if merges.is_empty() {
            Err(empty())
        } else {
            Ok(Said::Merge(merges))
        }
    }
}

/// An entry of `patches`.
pub(crate) fn patch(
    build: &mut Build<'_, '_>,
    here: &Here,
    patch: &Patch,
    all: &mut Accumulated,
) -> Result<(), RenderError> {
    let source = source_of(build, here, patch)?;
    match source.read(build)? {
        Said::Json(operations) => {
            let Some(target) = &patch.target else {
                return Err(RenderError::invalid_hint(
                    &patch.place,
                    "a JSON patch needs a target",
                    "add `target:` with the kind and the name of the object",
                ));
            };
            let selector = Selector::new(target, &patch.place, &mut build.spent)?;
            build.spent.look(all.resources.len(), &patch.place)?;
            for at in selected(all, &selector) {
                build.spent.make(VALUE + source.text.len(), &patch.place)?;
                if let Some(resource) = all.resources.get_mut(at) {
                    resource.remember();
                    json::apply(&mut resource.node, &operations, &mut build.spent)?;
                    resource.lost_annotations |= json::take_annotations(&operations);
                }
            }
        }
        Said::Merge(merges) => match &patch.target {
            None => {
                for merge in &merges {
                    one_merge(build, merge, Some(patch), all)?;
                }
            }
            Some(target) => {
                let [merge] = merges.as_slice() else {
                    return Err(RenderError::invalid_hint(
                        &patch.place,
                        "several patches in one entry that has a target",
                        "make an entry for each of them",
                    ));
                };
                let selector = Selector::new(target, &patch.place, &mut build.spent)?;
                let own = build.own_schema.clone();
                for at in selected(all, &selector) {
                    build.spent.make(VALUE + source.text.len(), &patch.place)?;
                    if let Some(resource) = all.resources.get_mut(at) {
                        let mut merge = merge.node.clone();
                        if let Some(version) = resource.node.get("apiVersion") {
                            merge.set("apiVersion", version.clone());
                        }
                        labels_as_texts(&mut merge);
                        apply_merge(
                            resource,
                            &merge,
                            Some(patch),
                            own.as_deref(),
                            &mut build.spent,
                        )?;
                    }
                }
            }
        },
    }
    all.resources.drop_empty();
    build.changed(all, &by_built_in(here, "PatchTransformer"))?;
    Ok(())
}

fn selected(all: &Accumulated, selector: &Selector) -> Vec<usize> {
    let found = all
        .resources
        .iter()
        .enumerate()
        .filter(|(_, resource)| selector.selects(resource));
    found.map(|(at, _)| at).collect()
}

fn source_of(build: &mut Build<'_, '_>, here: &Here, patch: &Patch) -> Result<Source, RenderError> {
    match (&patch.path, &patch.inline) {
        (Some(_), Some(_)) => Err(RenderError::invalid_hint(
            &patch.place,
            "a patch entry takes `path` or `patch`, not both",
            "remove one of them",
        )),
        (None, None) => Err(RenderError::invalid_hint(
            &patch.place,
            "a patch entry needs `path` or `patch`",
            "name a file as `path:`, or write the patch under `patch: |-`",
        )),
        (Some(path), None) => Source::load(build, here, path),
        (None, Some(text)) => Ok(Source::inline(text)),
    }
}

/// The reference takes labels and annotations of a patch with a target through a map of texts: `null` is one, too.
fn labels_as_texts(patch: &mut Node) {
    let Some(metadata) = patch.get_mut("metadata") else {
        return;
    };
    for field in ["labels", "annotations"] {
        let Some(pairs) = metadata.get_mut(field).and_then(Node::as_map_mut) else {
            metadata.remove(field);
            continue;
        };
        if pairs.is_empty() {
            metadata.remove(field);
            continue;
        }
        for pair in pairs {
            if let Content::Scalar(scalar) = &mut pair.value.content {
                scalar.tag = Tag::Text;
            }
        }
    }
}

/// Does a strategic merge take all annotations away, or put others in their place?
fn takes_annotations(patch: &Node) -> bool {
    let Some(metadata) = patch.get("metadata") else {
        return false;
    };
    let said = |node: &Node| {
        let said = node.get("$patch").and_then(Node::as_written);
        matches!(said, Some("replace" | "delete"))
    };
    let annotations = metadata.get("annotations");
    said(metadata) || annotations.is_some_and(|node| node.is_null() || said(node))
}

/// A strategic merge that says itself what it is for.
fn one_merge(
    build: &mut Build<'_, '_>,
    merge: &Resource,
    options: Option<&Patch>,
    all: &mut Accumulated,
) -> Result<(), RenderError> {
    let id = merge.id();
    let own = build.own_schema.clone();
    build.spent.look(all.resources.len(), merge.place())?;
    let Some(resource) = all.resources.by_any_id(&id, merge.place())? else {
        return Err(no_match(&id, merge.place()));
    };
    apply_merge(
        resource,
        &merge.node,
        options,
        own.as_deref(),
        &mut build.spent,
    )?;
    all.resources.drop_empty();
    Ok(())
}

fn no_match(id: &Id, place: &Place) -> RenderError {
    RenderError::invalid_hint(
        place,
        format!(
            "this patch is for {id} ({}), and there is no such object",
            id.gvk
        ),
        "correct apiVersion, kind, name or namespace; names are those before this folder's own prefix and namespace",
    )
}

fn apply_merge(
    resource: &mut Resource,
    patch: &Node,
    options: Option<&Patch>,
    own: Option<&Own>,
    spent: &mut Spent,
) -> Result<(), RenderError> {
    let kept = |node: &Node, keys: &[&str]| node.at(keys).cloned();
    let version = kept(&resource.node, &["apiVersion"]);
    let name = kept(&resource.node, &["metadata", "name"]);
    let kind = kept(&resource.node, &["kind"]);
    let namespace = kept(&resource.node, &["metadata", "namespace"]);
    let (name_may, kind_may) = options.map_or((false, false), |options| {
        (options.allow_name_change, options.allow_kind_change)
    });
    if name_may || kind_may {
        resource.remember();
    }
    let (place, trail) = (resource.node.place.clone(), resource.node.trail.clone());
    let object = std::mem::replace(&mut resource.node, Node::null(place.clone()));
    let Some(mut merged) = merge_object(object, patch, own, spent)? else {
        return Ok(());
    };
    // An object's own place stays where it was loaded from.
    merged.place = place.clone();
    merged.trail = trail;
    if merged.as_map().is_some_and(<[_]>::is_empty) {
        return Ok(());
    }
    // A patch says the version to find its object, and does not set it.
    if let (Some(old), Some(new)) = (version, merged.get_mut("apiVersion"))
        && old.as_text() == new.as_text()
    {
        *new = old;
    }
    if let Some(kind) = kind.filter(|_| !kind_may) {
        merged.set("kind", kind);
    }
    let name = name.filter(|_| !name_may);
    let namespace = namespace.filter(|node| {
        node.as_scalar()
            .is_some_and(|s| s.tag != Tag::Null && !s.text.is_empty())
    });
    if let Some(metadata) = merged.map_under("metadata", &place) {
        if let Some(name) = name {
            metadata.set("name", name);
        }
        match namespace {
            Some(namespace) => metadata.set("namespace", namespace),
            None => drop(metadata.remove("namespace")),
        }
    }
    resource.node = merged;
    resource.lost_annotations |= takes_annotations(patch);
    resource.settle_links();
    Ok(())
}

/// `patchesStrategicMerge`: each entry a file, or the text itself.
pub(crate) fn strategic_merges(
    build: &mut Build<'_, '_>,
    here: &Here,
    entries: &[Text],
    all: &mut Accumulated,
) -> Result<(), RenderError> {
    for entry in entries {
        let inline = entry.text.contains('\n') || entry.text.trim_start().starts_with('{');
        let source = if inline {
            Source::inline(entry)
        } else {
            Source::load(build, here, entry)?
        };
        for merge in source.merges(build)? {
            one_merge(build, &merge, None, all)?;
        }
    }
    if !entries.is_empty() {
        build.changed(all, &by_built_in(here, "PatchStrategicMergeTransformer"))?;
    }
    Ok(())
}

/// An entry of `patchesJson6902`: exactly one object, by name.
pub(crate) fn json6902(
    build: &mut Build<'_, '_>,
    here: &Here,
    patch: &Patch,
    all: &mut Accumulated,
) -> Result<(), RenderError> {
    let target = patch
        .target
        .as_ref()
        .filter(|target| !target.name.is_empty());
    let Some(target) = target else {
        return Err(RenderError::invalid_hint(
            &patch.place,
            "a JSON patch here needs a target with a name",
            "add `target:` with version, kind and name of the object",
        ));
    };
    let source = source_of(build, here, patch)?;
    let operations = source.operations(build)?;
    if operations.is_empty() {
        return Err(RenderError::invalid(
            &patch.place,
            "the JSON patch has no operations",
        ));
    }
    build.spent.look(all.resources.len(), &patch.place)?;
    // What the target does not say may be anything.
    let gvk = resource::Gvk::new(&target.group, &target.version, &target.kind);
    let meant = |id: &Id| {
        id.name == target.name
            && id.gvk.is_selected_by(&gvk)
            && (target.namespace.is_empty()
                || id.namespace == Id::new(id.gvk.clone(), "", &target.namespace).namespace)
    };
    let mut found = all
        .resources
        .list_mut()
        .iter_mut()
        .filter(|resource| meant(&resource.id()) || resource.past_ids().iter().any(meant));
    let resource = found.next().ok_or_else(|| {
        no_match(
            &Id::new(gvk.clone(), &target.name, &target.namespace),
            &patch.place,
        )
    })?;
    if let Some(second) = found.next() {
        return Err(RenderError::invalid_hint(
            &patch.place,
            format!("the target means {} and {}", resource.id(), second.id()),
            "add group, version, kind or namespace",
        ));
    }
    json::apply(&mut resource.node, &operations, &mut build.spent)?;
    resource.lost_annotations |= json::take_annotations(&operations);
    Ok(())
}
