//! Images and replica counts.

use lockstep_manifest::yaml::{Content, Node};
use regex::Regex;

use super::build::{Accumulated, Build};
use super::config::Which;
use super::entries::{Image, Replica};
use super::fieldspec::{FieldSpec, Make};
use super::names::set_text;
use super::spent::{Spent, VALUE};
use crate::error::RenderError;

/// Entries of `images`, over the fields that the configuration names; `each` is called after each of them.
pub(crate) fn set_images(
    build: &mut Build<'_, '_>,
    all: &mut Accumulated,
    images: &[Image],
    each: impl Fn(&mut Build<'_, '_>, &mut Accumulated) -> Result<(), RenderError>,
) -> Result<(), RenderError> {
    let Some(first) = images.first() else {
        return Ok(());
    };
    let specs = all.config.specs(Which::Images);
    build
        .spent
        .look(all.resources.len() * (1 + specs.len() / 16), &first.place)?;
    let fields = Fields::of(all, specs);
    for image in images {
        fields.set(all, image, &mut build.spent)?;
        each(build, all)?;
    }
    Ok(())
}

/// The objects that have any field for an image. An image changes texts, so it stays the same for all of them.
pub(crate) struct Fields {
    specs: Vec<FieldSpec>,
    /// Where the object is, and which of the specifications are for it.
    objects: Vec<(usize, Vec<usize>)>,
}

impl Fields {
    pub(crate) fn of(all: &mut Accumulated, specs: Vec<FieldSpec>) -> Self {
        let mut objects = Vec::new();
        for (at, resource) in all.resources.list_mut().iter_mut().enumerate() {
            if resource.kind() == "CustomResourceDefinition" {
                continue;
            }
            let gvk = resource.gvk();
            let place = resource.place().clone();
            let mut has = |spec: &FieldSpec| {
                let mut found = false;
                let walked = spec.each(&mut resource.node, Make::Nothing, &place, &mut |_| {
                    found = true;
                    Ok(())
                });
                // Whoever sets an image there is the one to say what is wrong.
                found || walked.is_err()
            };
            let mine = specs.iter().enumerate();
            let mine = mine.filter(|(_, spec)| gvk.is_selected_by(&spec.gvk) && has(spec));
            let mine: Vec<usize> = mine.map(|(at, _)| at).collect();
            if !mine.is_empty() || has_containers(&resource.node) {
                objects.push((at, mine));
            }
        }
        Self { specs, objects }
    }

    /// Sets an image in every `containers` and `initContainers` at any depth, and in the fields.
    ///
    /// Both walks run, so that `tagSuffix` is added twice to the usual workloads, as in the reference.
    pub(crate) fn set(
        &self,
        all: &mut Accumulated,
        image: &Image,
        spent: &mut Spent,
    ) -> Result<(), RenderError> {
        // The name is taken as a regular expression, as in the reference: `.` is any character.
        let pattern = format!(
            "^{}(:[a-zA-Z0-9_.{{}}-]*)?(@sha256:[a-zA-Z0-9_.{{}}-]*)?$",
            image.name
        );
        let pattern = spent.regex(&pattern, &image.place)?;
        let list = all.resources.list_mut();
        for (at, specs) in &self.objects {
            let Some(resource) = list.get_mut(*at) else {
                continue;
            };
            spent.look(1 + specs.len() / 16, &image.place)?;
            everywhere(&mut resource.node, image, &pattern, spent)?;
            for spec in specs.iter().filter_map(|spec| self.specs.get(*spec)) {
                // Nothing is made: an image that is not there has no name that could match.
                spec.each(
                    &mut resource.node,
                    Make::Nothing,
                    &image.place,
                    &mut |node| change(node, image, &pattern, spent),
                )?;
            }
        }
        Ok(())
    }
}

fn is_containers(key: &str) -> bool {
    matches!(key, "containers" | "initContainers")
}

fn has_containers(node: &Node) -> bool {
    match &node.content {
        Content::Scalar(_) => false,
        Content::List(items) => items.iter().any(has_containers),
        Content::Map(pairs) => pairs
            .iter()
            .any(|pair| is_containers(&pair.key.text) || has_containers(&pair.value)),
    }
}

// As deep as the reader lets a document be.
fn everywhere(
    node: &mut Node,
    image: &Image,
    pattern: &Regex,
    spent: &mut Spent,
) -> Result<(), RenderError> {
    match &mut node.content {
        Content::Scalar(_) => {}
        Content::List(items) => {
            for item in items {
                everywhere(item, image, pattern, spent)?;
            }
        }
        Content::Map(pairs) => {
            for pair in pairs {
                if is_containers(&pair.key.text)
                    && let Some(items) = pair.value.as_list_mut()
                {
                    for item in items {
                        if let Some(node) = item.get_mut("image") {
                            change(node, image, pattern, spent)?;
                        }
                    }
                    continue;
                }
                everywhere(&mut pair.value, image, pattern, spent)?;
            }
        }
    }
    Ok(())
}

fn change(
    node: &mut Node,
    image: &Image,
    pattern: &Regex,
    spent: &mut Spent,
) -> Result<(), RenderError> {
    let Some(old) = node.as_text().filter(|old| pattern.is_match(old)) else {
        return Ok(());
    };
    let new = [
        &image.new_name,
        &image.new_tag,
        &image.tag_suffix,
        &image.digest,
    ];
    let new: usize = new.iter().map(|text| text.len()).sum();
    spent.make(VALUE + old.len() + new, &image.place)?;
    let (mut name, mut tag, mut digest) = parts(old);
    if !image.new_name.is_empty() {
        name = &image.new_name;
    }
    let with_suffix;
    match (image.new_tag.is_empty(), image.digest.is_empty()) {
        (false, false) => (tag, digest) = (&image.new_tag, &image.digest),
        (false, true) => (tag, digest) = (&image.new_tag, ""),
        (true, false) => (tag, digest) = ("", &image.digest),
        (true, true) if !image.tag_suffix.is_empty() => {
            with_suffix = format!("{tag}{}", image.tag_suffix);
            (tag, digest) = (&with_suffix, "");
        }
        (true, true) => {}
    }
    let mut new = name.to_owned();
    if !tag.is_empty() {
        new.push(':');
        new.push_str(tag);
    }
    if !digest.is_empty() {
        new.push('@');
        new.push_str(digest);
    }
    set_text(node, new, &image.place);
    Ok(())
}

/// Name, tag and digest; a registry's port is none of a tag's business.
fn parts(image: &str) -> (&str, &str, &str) {
    let from = image.find('/').map_or(0, |at| at + 1);
    let rest = &image[from..];
    let digest_at = rest.find('@');
    let tag_at = rest[..digest_at.unwrap_or(rest.len())].find(':');
    let digest = digest_at.map_or("", |at| &rest[at + 1..]);
    let tag = tag_at.map_or("", |at| &rest[at + 1..digest_at.unwrap_or(rest.len())]);
    let end = tag_at.or(digest_at).unwrap_or(rest.len());
    (&image[..from + end], tag, digest)
}

/// An entry of `replicas`.
pub(crate) fn set_replicas(
    all: &mut Accumulated,
    replica: &Replica,
    spent: &mut Spent,
) -> Result<(), RenderError> {
    let specs = all.config.specs(Which::Replicas);
    set_replicas_in(all, replica, &specs, spent)
}

/// Sets the count of every object of a kind with replicas that has or had the name.
pub(crate) fn set_replicas_in(
    all: &mut Accumulated,
    replica: &Replica,
    specs: &[FieldSpec],
    spent: &mut Spent,
) -> Result<(), RenderError> {
    spent.look(all.resources.len(), &replica.place)?;
    let mut found = false;
    for resource in all.resources.list_mut() {
        let named = resource.name() == replica.name
            || resource.past.iter().any(|past| past.name == replica.name);
        if !named {
            continue;
        }
        let gvk = resource.gvk();
        for spec in specs.iter().filter(|spec| gvk.is_selected_by(&spec.gvk)) {
            found = true;
            spec.each(
                &mut resource.node,
                Make::Scalar,
                &replica.place,
                &mut |node| {
                    spent.make(VALUE, &replica.place)?;
                    node.overwrite(Node::int(replica.count, replica.place.clone()));
                    Ok(())
                },
            )?;
        }
    }
    if found {
        return Ok(());
    }
    Err(RenderError::invalid_hint(
        &replica.place,
        format!(
            "no Deployment, StatefulSet, ReplicaSet or ReplicationController is called {:?}",
            replica.name
        ),
        "correct the name; other kinds need a `replicas` entry under `configurations:`",
    ))
}

#[cfg(test)]
mod tests {
    use super::parts;

    #[test]
    fn an_image_is_taken_apart_behind_its_registry() {
        assert_eq!(parts("nginx"), ("nginx", "", ""));
        assert_eq!(parts("host:5000/a/b:1"), ("host:5000/a/b", "1", ""));
        assert_eq!(parts("a:1@sha256:ff"), ("a", "1", "sha256:ff"));
        assert_eq!(parts("a@sha256:ff"), ("a", "", "sha256:ff"));
    }
}
