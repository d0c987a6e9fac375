//! Transformer configuration: what is built in, and what `configurations` and `crds` add to it.

use lockstep_manifest::Place;
use lockstep_manifest::yaml::{self, Dialect, Node};

use super::entries;
use super::fieldspec::FieldSpec;
use super::resource::Gvk;
use super::tables::{self, NameReference};
use super::take;
use crate::error::RenderError;

/// Which list of field specifications.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    NamePrefix,
    NameSuffix,
    Namespace,
    CommonLabels,
    Labels,
    TemplateLabels,
    CommonAnnotations,
    VarReference,
    Images,
    Replicas,
}

const ALL: [(&str, Which); 10] = [
    ("namePrefix", Which::NamePrefix),
    ("nameSuffix", Which::NameSuffix),
    ("namespace", Which::Namespace),
    ("commonLabels", Which::CommonLabels),
    ("labels", Which::Labels),
    ("templateLabels", Which::TemplateLabels),
    ("commonAnnotations", Which::CommonAnnotations),
    ("varReference", Which::VarReference),
    ("images", Which::Images),
    ("replicas", Which::Replicas),
];

/// What was added to the built-in specifications.
#[derive(Clone, Debug, Default)]
pub(crate) struct Config {
    added: Vec<(Which, FieldSpec)>,
    references: Vec<NameReference>,
    /// Fields in `references` together.
    reference_fields: usize,
}

fn built_in(which: Which) -> &'static [FieldSpec] {
    match which {
        Which::NamePrefix | Which::NameSuffix => &tables::NAMES,
        Which::Namespace => &tables::NAMESPACES,
        Which::CommonLabels => &tables::COMMON_LABELS,
        Which::Labels => &[],
        Which::TemplateLabels => &tables::TEMPLATE_LABELS,
        Which::CommonAnnotations => &tables::ANNOTATIONS,
        Which::VarReference => &tables::VARIABLE_FIELDS,
        Which::Images => &tables::IMAGES,
        Which::Replicas => &tables::REPLICAS,
    }
}

impl Config {
    /// All specifications of a list: the built-in ones, then what was added.
    pub(crate) fn specs(&self, which: Which) -> Vec<FieldSpec> {
        let added = self
            .added
            .iter()
            .filter(|(of, _)| *of == which)
            .map(|(_, spec)| spec);
        built_in(which).iter().chain(added).cloned().collect()
    }

    /// All name references: the built-in ones, then what was added.
    pub(crate) fn references(&self) -> impl Iterator<Item = &NameReference> {
        tables::NAME_REFERENCES.iter().chain(&self.references)
    }

    fn add(&mut self, which: Which, spec: FieldSpec, place: &Place) -> Result<(), RenderError> {
        let mine = self
            .added
            .iter()
            .filter(|(of, _)| *of == which)
            .map(|(_, spec)| spec);
        match built_in(which)
            .iter()
            .chain(mine)
            .find(|old| old.overlaps(&spec))
        {
            Some(old) if old.create != spec.create => Err(conflict(&spec, place)),
            Some(_) => Ok(()),
            None if self.added.len() >= MOST_FIELDS => Err(too_many(place)),
            None => {
                self.added.push((which, spec));
                Ok(())
            }
        }
    }

    fn add_reference(
        &mut self,
        target: &Gvk,
        spec: FieldSpec,
        place: &Place,
    ) -> Result<(), RenderError> {
        let known = self.references().filter(|known| known.target == *target);
        match known
            .flat_map(|known| &known.referrers)
            .find(|old| old.overlaps(&spec))
        {
            Some(old) if old.create != spec.create => return Err(conflict(&spec, place)),
            Some(_) => return Ok(()),
            None if self.reference_fields >= MOST_FIELDS => return Err(too_many(place)),
            None => {}
        }
        self.reference_fields += 1;
        match self
            .references
            .iter_mut()
            .find(|known| known.target == *target)
        {
            Some(known) => known.referrers.push(spec),
            None => self.references.push(NameReference {
                target: target.clone(),
                referrers: vec![spec],
            }),
        }
        Ok(())
    }

    /// Takes over what another folder's configuration added.
    pub(crate) fn merge(&mut self, other: Self, place: &Place) -> Result<(), RenderError> {
        for (which, spec) in other.added {
            self.add(which, spec, place)?;
        }
        for reference in other.references {
            for spec in reference.referrers {
                self.add_reference(&reference.target, spec, place)?;
            }
        }
        Ok(())
    }

    /// Adds what a file of `configurations` says.
    pub(crate) fn read(
        &mut self,
        text: &[u8],
        path: &str,
        limits: &yaml::Limits,
    ) -> Result<(), RenderError> {
        let documents = yaml::read(text, Dialect::Kubectl, path, limits)?;
        let Some(node) = documents.first() else {
            return Ok(());
        };
        let mut known: Vec<&str> = ALL.iter().map(|(name, _)| *name).collect();
        known.push("nameReference");
        take::fields(
            node,
            "a transformer configuration",
            &known,
            |field, value, _| {
                if field == "nameReference" {
                    return take::list(value, field)?
                        .iter()
                        .try_for_each(|node| self.read_reference(node));
                }
                let Some((_, which)) = ALL.iter().find(|(name, _)| *name == field) else {
                    return Ok(());
                };
                for node in take::list(value, field)? {
                    self.add(*which, entries::field_spec(node, field)?, &node.place)?;
                }
                Ok(())
            },
        )
    }

    fn read_reference(&mut self, node: &Node) -> Result<(), RenderError> {
        let mut target = Gvk::default();
        let mut specs = Vec::new();
        take::fields(
            node,
            "nameReference",
            &["group", "version", "kind", "fieldSpecs"],
            |field, value, _| {
                match field {
                    "group" => target.group = take::string(value, field)?,
                    "version" => target.version = take::string(value, field)?,
                    "kind" => target.kind = take::string(value, field)?,
                    _ => specs = entries::field_specs(value, field)?,
                }
                Ok(())
            },
        )?;
        specs
            .into_iter()
            .try_for_each(|spec| self.add_reference(&target, spec, &node.place))
    }

    /// Adds what a file of `crds` says: types by name, each with a schema that may mark fields as references.
    pub(crate) fn read_crds(
        &mut self,
        text: &[u8],
        path: &str,
        limits: &yaml::Limits,
    ) -> Result<(), RenderError> {
        let documents = yaml::read(text, Dialect::Kubectl, path, limits)?;
        let Some(node) = documents.first() else {
            return Ok(());
        };
        for pair in node.as_map().unwrap_or_default() {
            let Some(properties) = pair.value.at(&["Schema", "properties"]) else {
                continue;
            };
            let has = |name: &str| properties.get(name).is_some();
            if has("apiVersion") && has("kind") && has("metadata") {
                let gvk = crd_gvk(&pair.key.text);
                self.crd_fields(
                    node,
                    properties,
                    &gvk,
                    &mut Vec::new(),
                    &mut vec![&pair.key.text],
                )?;
            }
        }
        Ok(())
    }

    fn crd_fields<'n>(
        &mut self,
        types: &'n Node,
        properties: &'n Node,
        gvk: &Gvk,
        path: &mut Vec<&'n str>,
        visited: &mut Vec<&'n str>,
    ) -> Result<(), RenderError> {
        for pair in properties.as_map().unwrap_or_default() {
            path.push(&pair.key.text);
            let spec = |path: &[&str], create| FieldSpec {
                gvk: gvk.clone(),
                path: path.iter().map(|&part| part.to_owned()).collect(),
                create,
            };
            let schema = &pair.value;
            let marked = |name: &str| schema.get(name).is_some();
            if marked("x-kubernetes-annotation") {
                self.add(Which::CommonAnnotations, spec(path, false), &pair.place)?;
            }
            if marked("x-kubernetes-label-selector") {
                self.add(Which::CommonLabels, spec(path, false), &pair.place)?;
            }
            if marked("x-kubernetes-identity") {
                self.add(Which::NamePrefix, spec(path, false), &pair.place)?;
            }
            let text = |name: &str| schema.get(name).and_then(Node::as_text);
            if let (Some(version), Some(kind)) = (
                text("x-kubernetes-object-ref-api-version"),
                text("x-kubernetes-object-ref-kind"),
            ) {
                let mut below = path.clone();
                below.push(text("x-kubernetes-object-ref-name-key").unwrap_or("name"));
                self.add_reference(&Gvk::parse(version, kind), spec(&below, false), &pair.place)?;
            }
            let reference = schema
                .get("$ref")
                .or_else(|| schema.at(&["items", "$ref"]))
                .and_then(Node::as_text);
            let name = reference.and_then(|reference| {
                types
                    .as_map()
                    .unwrap_or_default()
                    .iter()
                    .find(|pair| pair.key.text == reference)
            });
            if let Some(found) = name {
                // A type that holds itself is followed once.
                if !visited.contains(&found.key.text.as_str())
                    && let Some(below) = found.value.at(&["Schema", "properties"])
                {
                    visited.push(&found.key.text);
                    self.crd_fields(types, below, gvk, path, visited)?;
                    visited.pop();
                }
            }
            path.pop();
        }
        Ok(())
    }
}

/// `github.com/example/pkg/apis/jingfang/v1beta1.MyKind`: the kind is what the reference takes from it.
fn crd_gvk(name: &str) -> Gvk {
    let kind = name.rsplit('.').next().unwrap_or(name);
    Gvk::new("", "", kind)
}

/// Fields that configurations add. Each is looked for in every object; the largest known add some hundred.
const MOST_FIELDS: usize = 5_000;

fn too_many(place: &Place) -> RenderError {
    RenderError::Limit {
        place: place.clone(),
        what: format!("configurations and crds add more than {MOST_FIELDS} fields"),
    }
}

fn conflict(spec: &FieldSpec, place: &Place) -> RenderError {
    RenderError::invalid_hint(
        place,
        format!(
            "the field {} is there already with another `create`",
            spec.path.join("/")
        ),
        "remove it, or give it the same `create`",
    )
}
