//! `replacements`: a field of one object copied into fields of others.

use lockstep_manifest::Place;
use lockstep_manifest::yaml::{self, Content, Dialect, Node, Pair, Scalar, Tag};

use super::build::{Accumulated, Build, Here};
use super::entries::{self, Target};
use super::resource::{Gvk, Id, Resource};
use super::select;
use super::spent::{self, DEEPEST, Spent, VALUE};
use super::take::{self, Text};
use crate::error::RenderError;

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

fn look_up<'n>(node: &'n Node, part: &str) -> Option<&'n Node> {
    match &node.content {
        Content::Map(_) => node.get(part),
        Content::List(items) => match condition(part) {
            Some((key, wanted)) => items
                .iter()
                .find(|item| element_value(item, key) == Some(wanted)),
            None if part == "-" => items.last(),
            None => part.parse::<usize>().ok().and_then(|at| items.get(at)),
        },
        Content::Scalar(_) => None,
    }
}

/// `[key=value]`; an empty key means the element itself.
fn condition(part: &str) -> Option<(&str, &str)> {
    part.strip_prefix('[')?.strip_suffix(']')?.split_once('=')
}

fn element_value<'n>(item: &'n Node, key: &str) -> Option<&'n str> {
    if key.is_empty() {
        item.as_written()
    } else {
        item.get(key)?.as_written()
    }
}

/// Splits a path at its dots: not at `\.`, and not inside brackets. Brackets without `=` only keep a key together.
fn split(path: &str) -> Vec<String> {
    let mut parts = Vec::new();
    let mut part = String::new();
    let mut inside = false;
    let mut rest = path.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\\' if rest.next_if_eq(&'.').is_some() => part.push('.'),
            '[' if part.is_empty() => {
                inside = true;
                part.push(c);
            }
            ']' if inside => {
                inside = false;
                part.push(c);
            }
            '.' if !inside => parts.push(std::mem::take(&mut part)),
            c => part.push(c),
        }
    }
    parts.push(part);
    parts.retain(|part| !part.is_empty());
    for part in &mut parts {
        let key = part
            .strip_prefix('[')
            .and_then(|part| part.strip_suffix(']'));
        if let Some(key) = key.filter(|key| !key.contains('=')) {
            *part = key.to_owned();
        }
    }
    parts
}

struct Walk<'w> {
    parts: &'w [String],
    value: &'w Node,
    target: &'w TargetFields,
    path: &'w Text,
    weight: usize,
}

impl Walk<'_> {
    /// Sets the value below this node; returns in how many places. As deep as the path is long.
    fn set(&self, node: &mut Node, at: usize, spent: &mut Spent) -> Result<usize, RenderError> {
        let Some(part) = self.parts.get(at) else {
            self.put(node, spent)?;
            return Ok(1);
        };
        let create = self.target.options.create;
        let place = &self.path.place;
        if create && node.is_null() {
            let list = condition(part).is_some() || part.parse::<usize>().is_ok();
            *node = if list {
                Node::list(place.clone())
            } else {
                Node::map(place.clone())
            };
        }
        match &mut node.content {
            Content::Scalar(_) => Ok(0),
            Content::Map(pairs) => {
                if part == "*" && !pairs.iter().any(|pair| pair.key.text == "*") {
                    return pairs.iter_mut().try_fold(0, |sum, pair| {
                        Ok(sum + self.set(&mut pair.value, at + 1, spent)?)
                    });
                }
                if let Some(pair) = pairs.iter_mut().find(|pair| pair.key.text == *part) {
                    return self.set(&mut pair.value, at + 1, spent);
                }
                if !create {
                    return Ok(0);
                }
                let mut made = self.made(at + 1);
                let count = self.set(&mut made, at + 1, spent)?;
                pairs.push(Pair {
                    key: Scalar::text(part),
                    place: place.clone(),
                    value: made,
                });
                Ok(count)
            }
            Content::List(items) => self.set_in_list(items, part, at, spent),
        }
    }

    fn set_in_list(
        &self,
        items: &mut Vec<Node>,
        part: &str,
        at: usize,
        spent: &mut Spent,
    ) -> Result<usize, RenderError> {
        let (create, place) = (self.target.options.create, &self.path.place);
        if part == "*" {
            return items
                .iter_mut()
                .try_fold(0, |sum, item| Ok(sum + self.set(item, at + 1, spent)?));
        }
        if let Some((key, wanted)) = condition(part) {
            let pattern = spent.regex(wanted, place)?;
            let mut count = 0;
            let mut found = false;
            for item in items.iter_mut() {
                if element_value(item, key).is_some_and(|value| pattern.is_match(value)) {
                    found = true;
                    count += self.set(item, at + 1, spent)?;
                }
            }
            if found || !create {
                return Ok(count);
            }
            let mut made = if key.is_empty() {
                Node::text(wanted, place.clone())
            } else {
                let mut map = Node::map(place.clone());
                map.set(key, Node::text(wanted, place.clone()));
                map
            };
            count = self.set(&mut made, at + 1, spent)?;
            items.push(made);
            return Ok(count);
        }
        let length = items.len();
        let index = if part == "-" {
            length.checked_sub(1)
        } else {
            part.parse::<usize>().ok()
        };
        let Some(index) = index else {
            return Err(RenderError::invalid(
                place,
                format!(
                    "{:?} asks a list for {part:?}; write an index, `*` or [key=value]",
                    self.path.text
                ),
            ));
        };
        if let Some(item) = items.get_mut(index) {
            return self.set(item, at + 1, spent);
        }
        if create && index == length {
            let mut made = self.made(at + 1);
            let count = self.set(&mut made, at + 1, spent)?;
            items.push(made);
            return Ok(count);
        }
        Err(RenderError::invalid(
            place,
            format!("the list has {length} elements, and index {index} is asked for"),
        ))
    }

    /// What is created for the rest of the path.
    fn made(&self, at: usize) -> Node {
        let place = self.path.place.clone();
        match self.parts.get(at) {
            // The end: a place to put the value into, of its kind and type.
            None => match &self.value.content {
                Content::Scalar(_) => Node::new(Content::Scalar(Scalar::new(Tag::Null, "")), place),
                Content::List(_) | Content::Map(_) => Node::null(place),
            },
            Some(part) if condition(part).is_some() || part.parse::<usize>().is_ok() => {
                Node::list(place)
            }
            Some(_) => Node::map(place),
        }
    }

    fn put(&self, node: &mut Node, spent: &mut Spent) -> Result<(), RenderError> {
        let there = node.as_scalar().map_or(0, |scalar| scalar.text.len());
        spent.make(there + self.weight, &self.path.place)?;
        let options = &self.target.options;
        let mut value = self.value.clone();
        if !options.delimiter.is_empty() {
            let (Content::Scalar(there), Content::Scalar(new)) =
                (&node.content, &mut value.content)
            else {
                return Err(RenderError::invalid(
                    &self.path.place,
                    "a delimiter is for texts only",
                ));
            };
            let mut parts: Vec<&str> = there.text.split(options.delimiter.as_str()).collect();
            match usize::try_from(options.index) {
                Err(_) => parts.insert(0, &new.text),
                Ok(index) => match parts.get_mut(index) {
                    Some(part) => *part = &new.text,
                    None => parts.push(&new.text),
                },
            }
            new.text = parts.join(&options.delimiter);
        }
        let here = &self.path.place;
        match (&mut node.content, value.content) {
            // A scalar keeps what it is, and takes the text alone.
            (Content::Scalar(there), Content::Scalar(new)) => {
                if there.tag == Tag::Null {
                    there.tag = yaml::meaning(Dialect::Kustomize, &new.text);
                }
                there.text = new.text;
                if node.place == *here {
                    // It was made for this.
                    node.place = value.place;
                } else {
                    node.set_at(&value.place);
                }
                node.set_at(here);
            }
            (_, content) => {
                let mut new = Node::new(content, value.place);
                new.moved_by(here);
                node.overwrite(new);
            }
        }
        Ok(())
    }
}
