//! `replacements`: a field of one object copied into fields of others.

mod walk;

use lockstep_manifest::Place;
use lockstep_manifest::yaml::{Content, Dialect, Node, Tag};

use super::build::{Accumulated, Build, Here};
use super::entries::{self, Target};
use super::resource::{Gvk, Id, Resource};
use super::select;
use super::spent::{self, DEEPEST, VALUE};
use super::take::{self, Text};
use crate::error::RenderError;
use walk::{Walk, look_up, split};

#[derive(Debug)]
struct Replacement {
    source: Source,
    targets: Vec<TargetFields>,
}

#[derive(Debug)]
struct Source {
    place: Place,
    object: Target,
    path: String,
    options: Options,
}

#[derive(Debug)]
struct TargetFields {
    place: Place,
    select: Option<Target>,
    reject: Vec<Target>,
    paths: Vec<Text>,
    options: Options,
}

#[derive(Debug, Default)]
struct Options {
    delimiter: String,
    index: i64,
    create: bool,
}

/// Runs the entries of a `replacements` field in order.
pub(crate) fn run(
    build: &mut Build<'_, '_>,
    here: &Here,
    entries: &[Node],
    all: &mut Accumulated,
) -> Result<(), RenderError> {
    for entry in entries {
        let path = entry
            .get("path")
            .map(|node| take::text(node, "path"))
            .transpose()?;
        match path.filter(|path| !path.text.is_empty()) {
            None => apply(build, &replacement(entry)?, all)?,
            Some(path) => {
                if entry.as_map().is_some_and(|pairs| pairs.len() > 1) {
                    return Err(RenderError::invalid_hint(
                        &entry.place,
                        "a replacement takes `path` or `source` and `targets`, not both",
                        "remove one of them",
                    ));
                }
                let (text, path) = build.load(here, &path)?;
                for node in build.documents(&text, Dialect::Kubectl, &path)? {
                    match node.as_list() {
                        Some(items) => {
                            for item in items {
                                apply(build, &replacement(item)?, all)?;
                            }
                        }
                        None => apply(build, &replacement(&node)?, all)?,
                    }
                }
            }
        }
    }
    Ok(())
}

fn replacement(node: &Node) -> Result<Replacement, RenderError> {
    let (mut from, mut targets) = (None, None);
    take::fields(
        node,
        "replacements",
        &["path", "source", "targets"],
        |field, value, _| {
            match field {
                "source" => from = Some(source(value)?),
                "targets" => {
                    targets = Some(
                        take::list(value, field)?
                            .iter()
                            .map(target)
                            .collect::<Result<Vec<_>, _>>()?,
                    );
                }
                _ => {}
            }
            Ok(())
        },
    )?;
    let needs =
        |what: &str| RenderError::invalid(&node.place, format!("a replacement needs `{what}`"));
    Ok(Replacement {
        source: from.ok_or_else(|| needs("source"))?,
        targets: targets
            .filter(|targets| !targets.is_empty())
            .ok_or_else(|| needs("targets"))?,
    })
}

/// Some fields of a map as a map of their own.
fn part(node: &Node, names: &[&str]) -> Node {
    let pairs = node.as_map().unwrap_or_default().iter();
    let pairs = pairs.filter(|pair| {
        names
            .iter()
            .any(|name| name.eq_ignore_ascii_case(&pair.key.text))
    });
    Node::new(Content::Map(pairs.cloned().collect()), node.place.clone())
}

const OBJECT: [&str; 5] = ["group", "version", "kind", "name", "namespace"];

fn source(node: &Node) -> Result<Source, RenderError> {
    let mut source = Source {
        place: node.place.clone(),
        object: entries::target(&part(node, &OBJECT), "source")?,
        path: String::new(),
        options: Options::default(),
    };
    let mut known = OBJECT.to_vec();
    known.extend(["fieldPath", "options"]);
    take::fields(node, "source", &known, |field, value, _| {
        match field {
            "fieldPath" => source.path = take::string(value, field)?,
            "options" => source.options = options(value)?,
            _ => {}
        }
        Ok(())
    })?;
    if source.path.is_empty() {
        "metadata.name".clone_into(&mut source.path);
    }
    Ok(source)
}

fn target(node: &Node) -> Result<TargetFields, RenderError> {
    let mut target = TargetFields {
        place: node.place.clone(),
        select: None,
        reject: Vec::new(),
        paths: Vec::new(),
        options: Options::default(),
    };
    take::fields(
        node,
        "targets",
        &["select", "reject", "fieldPaths", "options"],
        |field, value, _| {
            match field {
                "select" if value.is_null() => {}
                "select" => target.select = Some(entries::target(value, field)?),
                "reject" => {
                    target.reject = take::list(value, field)?
                        .iter()
                        .map(|node| entries::target(node, field))
                        .collect::<Result<_, _>>()?;
                }
                "fieldPaths" => target.paths = take::texts(value, field)?,
                _ => target.options = options(value)?,
            }
            Ok(())
        },
    )?;
    if target.paths.is_empty() {
        target
            .paths
            .push(Text::new("metadata.name", node.place.clone()));
    }
    Ok(target)
}

fn options(node: &Node) -> Result<Options, RenderError> {
    let mut options = Options::default();
    take::fields(
        node,
        "options",
        &["delimiter", "index", "create", "encoding"],
        |field, value, _| {
            match field {
                "delimiter" => options.delimiter = take::string(value, field)?,
                "index" => options.index = take::int(value, field)?,
                "create" => options.create = take::boolean(value, field)?,
                _ => drop(take::string(value, field)?),
            }
            Ok(())
        },
    )?;
    Ok(options)
}

/// Does one of the ids that the resource has or had fit?
fn is_meant(resource: &Resource, target: &Target) -> bool {
    let gvk = Gvk::new(&target.group, &target.version, &target.kind);
    let fits = |id: &Id| {
        let namespace = || Id::new(id.gvk.clone(), "", &target.namespace).namespace == id.namespace;
        (target.name.is_empty() || target.name == id.name)
            && (target.namespace.is_empty() || namespace())
            && id.gvk.is_selected_by(&gvk)
    };
    fits(&resource.id()) || resource.past_ids().iter().any(fits)
}

fn names_an_object(target: &Target) -> bool {
    [
        &target.group,
        &target.version,
        &target.kind,
        &target.name,
        &target.namespace,
    ]
    .iter()
    .any(|text| !text.is_empty())
}

fn apply(
    build: &mut Build<'_, '_>,
    replacement: &Replacement,
    all: &mut Accumulated,
) -> Result<(), RenderError> {
    let value = source_value(&replacement.source, all)?;
    let (weight, depth) = (spent::weight(&value), spent::depth(&value));
    for target in &replacement.targets {
        let Some(select) = &target.select else {
            return Err(RenderError::invalid_hint(
                &target.place,
                "a target needs `select`",
                "add `select:` with kind and name of the objects to change",
            ));
        };
        build.spent.look(2 * all.resources.len(), &target.place)?;
        for resource in all.resources.list_mut() {
            let fits = |target: &Target| {
                let place = target.place.as_ref().unwrap_or(&replacement.source.place);
                select::fits(resource, &target.labels, &target.annotations, place)
            };
            if !fits(select)? || !is_meant(resource, select) {
                continue;
            }
            let mut rejected = false;
            for reject in &target.reject {
                let by_text =
                    !(reject.labels.is_empty() && reject.annotations.is_empty()) && fits(reject)?;
                rejected |= by_text || (names_an_object(reject) && is_meant(resource, reject));
            }
            if rejected {
                continue;
            }
            for path in &target.paths {
                build.spent.make(VALUE + path.text.len(), &path.place)?;
                let parts = split(&path.text);
                // The value stands as deep as the path is long.
                if parts.len() + depth > DEEPEST {
                    return Err(RenderError::Limit {
                        place: path.place.clone(),
                        what: format!("this nests an object deeper than {DEEPEST}"),
                    });
                }
                let walk = Walk {
                    parts: &parts,
                    value: &value,
                    target,
                    path,
                    weight,
                };
                if walk.set(&mut resource.node, 0, &mut build.spent)? == 0 {
                    return Err(RenderError::invalid_hint(
                        &path.place,
                        format!(
                            "{} has no field {:?} to be replaced",
                            resource.id(),
                            path.text
                        ),
                        "correct the path, or add `options: {create: true}`",
                    ));
                }
            }
        }
    }
    Ok(())
}

fn source_value(source: &Source, all: &Accumulated) -> Result<Node, RenderError> {
    let mut found = all
        .resources
        .iter()
        .filter(|resource| is_meant(resource, &source.object));
    let resource = found.next().ok_or_else(|| {
        RenderError::invalid_hint(
            &source.place,
            "no object is what the source says",
            "correct its kind and name",
        )
    })?;
    if let Some(second) = found.next() {
        return Err(RenderError::invalid_hint(
            &source.place,
            format!(
                "the source means more than one object: {} and {}",
                resource.id(),
                second.id()
            ),
            "add kind, name or namespace",
        ));
    }
    let missing = || {
        RenderError::invalid_hint(
            &source.place,
            format!("{} has nothing at {:?}", resource.id(), source.path),
            "correct the fieldPath",
        )
    };
    let node = split(&source.path)
        .iter()
        .try_fold(&resource.node, |at, part| look_up(at, part));
    let mut node = node
        .filter(|node| !is_empty(node))
        .ok_or_else(missing)?
        .clone();
    if source.options.delimiter.is_empty() {
        return Ok(node);
    }
    let Content::Scalar(scalar) = &mut node.content else {
        return Err(RenderError::invalid(
            &source.place,
            "a delimiter is for texts only",
        ));
    };
    let parts: Vec<&str> = scalar
        .text
        .split(source.options.delimiter.as_str())
        .collect();
    let part = usize::try_from(source.options.index)
        .ok()
        .and_then(|index| parts.get(index));
    let part = part.ok_or_else(|| {
        RenderError::invalid(
            &source.place,
            format!(
                "{:?} has no part {} between {:?}",
                scalar.text, source.options.index, source.options.delimiter
            ),
        )
    })?;
    scalar.text = (*part).to_owned();
    Ok(node)
}

fn is_empty(node: &Node) -> bool {
    match &node.content {
        Content::Scalar(scalar) => scalar.tag == Tag::Null || scalar.text.is_empty(),
        Content::List(items) => items.is_empty(),
        Content::Map(pairs) => pairs.is_empty(),
    }
}
