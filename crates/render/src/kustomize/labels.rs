//! Labels and annotations.

use lockstep_manifest::yaml::{self, Dialect, Node, Tag};

use super::build::Accumulated;
use super::config::Which;
use super::entries::Labels;
use super::fieldspec::{FieldSpec, Make};
use super::spent::{Spent, VALUE};
use super::tables;
use super::take::Text;
use crate::error::RenderError;

/// An entry of `labels`.
pub(crate) fn add(
    all: &mut Accumulated,
    labels: &Labels,
    spent: &mut Spent,
) -> Result<(), RenderError> {
    let mut specs = Vec::new();
    let mut merge = |more: &[FieldSpec]| -> Result<(), RenderError> {
        for spec in more {
            match specs.iter().find(|old: &&FieldSpec| old.overlaps(spec)) {
                Some(old) if old.create != spec.create => {
                    return Err(RenderError::invalid_hint(
                        &labels.place,
                        format!(
                            "the field {} is there already with another `create`",
                            spec.path.join("/")
                        ),
                        "remove it, or give it the same `create`",
                    ));
                }
                Some(_) => {}
                None => specs.push(spec.clone()),
            }
        }
        Ok(())
    };
    if labels.selectors {
        merge(&labels.fields)?;
        merge(&all.config.specs(Which::CommonLabels))?;
    } else {
        merge(&labels.fields)?;
        if labels.templates {
            merge(&all.config.specs(Which::TemplateLabels))?;
        }
        merge(&tables::LABELS)?;
        merge(&all.config.specs(Which::Labels))?;
    }
    set_all(all, &specs, &labels.pairs, spent)
}

/// `commonLabels`.
pub(crate) fn add_common(
    all: &mut Accumulated,
    pairs: &[(String, Text)],
    spent: &mut Spent,
) -> Result<(), RenderError> {
    if pairs.is_empty() {
        return Ok(());
    }
    let specs = all.config.specs(Which::CommonLabels);
    set_all(all, &specs, pairs, spent)
}

/// `commonAnnotations`.
pub(crate) fn annotate(
    all: &mut Accumulated,
    pairs: &[(String, Text)],
    spent: &mut Spent,
) -> Result<(), RenderError> {
    if pairs.is_empty() {
        return Ok(());
    }
    let specs = all.config.specs(Which::CommonAnnotations);
    set_all(all, &specs, pairs, spent)
}

/// Sets every pair in every field.
pub(crate) fn set_all(
    all: &mut Accumulated,
    specs: &[FieldSpec],
    pairs: &[(String, Text)],
    spent: &mut Spent,
) -> Result<(), RenderError> {
    let Some((_, first)) = pairs.first() else {
        return Ok(());
    };
    for (key, value) in pairs {
        // The reference writes these keys without quotes and cannot read them back.
        if yaml::meaning(Dialect::Kustomize, key) != Tag::Text {
            return Err(RenderError::invalid_hint(
                &value.place,
                format!("the key {key:?} is read as something else than a text"),
                "quote it if it was not, or take another key",
            ));
        }
    }
    let texts = pairs
        .iter()
        .map(|(key, value)| key.len() + value.text.len());
    let cost = VALUE * pairs.len() + texts.sum::<usize>();
    spent.look(
        all.resources.len().saturating_mul(specs.len() / 16 + 1),
        &first.place,
    )?;
    for resource in all.resources.list_mut() {
        spent.make(cost, &first.place)?;
        let gvk = resource.gvk();
        let links: Vec<u32> = pairs
            .iter()
            .map(|(_, value)| resource.link(&value.text))
            .collect();
        for spec in specs.iter().filter(|spec| gvk.is_selected_by(&spec.gvk)) {
            spec.each(&mut resource.node, Make::Map, &first.place, &mut |node| {
                if node.is_null() {
                    *node = Node::map(first.place.clone());
                }
                if node.as_map().is_none() {
                    let what = format!(
                        "{} should be a map, to take labels or annotations",
                        spec.path.join("/")
                    );
                    return Err(RenderError::invalid(&node.place, what));
                }
                let there = node.as_map().map_or(0, <[_]>::len) + pairs.len();
                spent.make(cost + there * pairs.len() / 16, &first.place)?;
                for ((key, value), link) in pairs.iter().zip(&links) {
                    let mut new = Node::text(&*value.text, value.place.clone());
                    new.link = node.get(key).map_or(*link, |old| old.link);
                    node.set_over(key, new);
                }
                Ok(())
            })?;
        }
        resource.settle_links();
    }
    Ok(())
}
