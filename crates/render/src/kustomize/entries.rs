//! Entries of a kustomization's lists, as written: labels, patches, images, replicas, generators.

use lockstep_manifest::Place;
use lockstep_manifest::yaml::Node;

use super::fieldspec::FieldSpec;
use super::take::{self, Text};
use crate::error::RenderError;

/// An entry of `labels`.
#[derive(Debug)]
pub(crate) struct Labels {
    pub(crate) pairs: Vec<(String, Text)>,
    pub(crate) selectors: bool,
    pub(crate) templates: bool,
    pub(crate) fields: Vec<FieldSpec>,
    pub(crate) place: Place,
}

/// An entry of `patches` or `patchesJson6902`.
#[derive(Debug)]
pub(crate) struct Patch {
    pub(crate) place: Place,
    pub(crate) path: Option<Text>,
    pub(crate) inline: Option<Text>,
    pub(crate) target: Option<Target>,
    pub(crate) allow_name_change: bool,
    pub(crate) allow_kind_change: bool,
}

/// Which objects are meant, as written.
#[derive(Debug, Default, Clone)]
pub(crate) struct Target {
    pub(crate) place: Option<Place>,
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) namespace: String,
    pub(crate) labels: String,
    pub(crate) annotations: String,
}

#[derive(Debug, Clone)]
pub(crate) struct Image {
    pub(crate) place: Place,
    pub(crate) name: String,
    pub(crate) new_name: String,
    pub(crate) new_tag: String,
    pub(crate) tag_suffix: String,
    pub(crate) digest: String,
}

#[derive(Debug)]
pub(crate) struct Replica {
    pub(crate) name: String,
    pub(crate) count: i64,
    pub(crate) place: Place,
}

/// An entry of `configMapGenerator` or `secretGenerator`.
#[derive(Debug)]
pub(crate) struct Generator {
    pub(crate) place: Place,
    pub(crate) name: String,
    pub(crate) namespace: String,
    pub(crate) behavior: String,
    pub(crate) secret_type: String,
    pub(crate) files: Vec<Text>,
    pub(crate) literals: Vec<Text>,
    pub(crate) envs: Vec<Text>,
    pub(crate) options: Options,
}

#[derive(Debug, Default, Clone)]
pub(crate) struct Options {
    pub(crate) labels: Vec<(String, Text)>,
    pub(crate) annotations: Vec<(String, Text)>,
    pub(crate) no_hash: bool,
    pub(crate) immutable: bool,
}

pub(crate) fn field_specs(node: &Node, field: &str) -> Result<Vec<FieldSpec>, RenderError> {
    take::list(node, field)?
        .iter()
        .map(|node| field_spec(node, field))
        .collect()
}

pub(crate) fn field_spec(node: &Node, owner: &str) -> Result<FieldSpec, RenderError> {
    let (mut group, mut version, mut kind, mut path, mut create) = (
        String::new(),
        String::new(),
        String::new(),
        String::new(),
        false,
    );
    take::fields(
        node,
        owner,
        &["group", "version", "kind", "path", "create"],
        |field, value, _| {
            match field {
                "group" => group = take::string(value, field)?,
                "version" => version = take::string(value, field)?,
                "kind" => kind = take::string(value, field)?,
                "path" => path = take::string(value, field)?,
                _ => create = take::boolean(value, field)?,
            }
            Ok(())
        },
    )?;
    Ok(FieldSpec::new(&group, &version, &kind, &path, create))
}

pub(crate) fn labels(node: &Node) -> Result<Labels, RenderError> {
    let mut labels = Labels {
        pairs: Vec::new(),
        selectors: false,
        templates: false,
        fields: Vec::new(),
        place: node.place.clone(),
    };
    let known = ["pairs", "includeSelectors", "includeTemplates", "fields"];
    take::fields(node, "labels", &known, |field, value, _| {
        match field {
            "pairs" => labels.pairs = take::text_map(value, "labels.pairs")?,
            "includeSelectors" => labels.selectors = take::boolean(value, field)?,
            "includeTemplates" => labels.templates = take::boolean(value, field)?,
            _ => labels.fields = field_specs(value, "labels.fields")?,
        }
        Ok(())
    })?;
    Ok(labels)
}

pub(crate) fn patches(node: &Node, owner: &str) -> Result<Vec<Patch>, RenderError> {
    take::list(node, owner)?
        .iter()
        .map(|node| patch(node, owner))
        .collect()
}

pub(crate) fn patch(node: &Node, owner: &str) -> Result<Patch, RenderError> {
    let mut patch = Patch {
        place: node.place.clone(),
        path: None,
        inline: None,
        target: None,
        allow_name_change: false,
        allow_kind_change: false,
    };
    take::fields(
        node,
        owner,
        &["path", "patch", "target", "options"],
        |field, value, _| {
            match field {
                "path" => patch.path = Some(take::text(value, field)?),
                "patch" => patch.inline = Some(take::text(value, field)?),
                "target" if value.is_null() => {}
                "target" => patch.target = Some(target(value, "target")?),
                _ => {
                    let known = ["allowNameChange", "allowKindChange"];
                    take::fields(value, "options", &known, |field, value, _| {
                        let on = take::boolean(value, field)?;
                        if field == "allowNameChange" {
                            patch.allow_name_change = on;
                        } else {
                            patch.allow_kind_change = on;
                        }
                        Ok(())
                    })?;
                }
            }
            Ok(())
        },
    )?;
    patch.path = patch.path.filter(|path| !path.text.is_empty());
    patch.inline = patch.inline.filter(|patch| !patch.text.is_empty());
    Ok(patch)
}

pub(crate) fn target(node: &Node, owner: &str) -> Result<Target, RenderError> {
    let mut target = Target {
        place: Some(node.place.clone()),
        ..Target::default()
    };
    let known = [
        "group",
        "version",
        "kind",
        "name",
        "namespace",
        "labelSelector",
        "annotationSelector",
    ];
    take::fields(node, owner, &known, |field, value, _| {
        let text = take::string(value, field)?;
        *match field {
            "group" => &mut target.group,
            "version" => &mut target.version,
            "kind" => &mut target.kind,
            "name" => &mut target.name,
            "namespace" => &mut target.namespace,
            "labelSelector" => &mut target.labels,
            _ => &mut target.annotations,
        } = text;
        Ok(())
    })?;
    Ok(target)
}

pub(crate) fn images(node: &Node, owner: &str) -> Result<Vec<Image>, RenderError> {
    take::list(node, owner)?
        .iter()
        .map(|node| image(node, owner))
        .collect()
}

pub(crate) fn image(node: &Node, owner: &str) -> Result<Image, RenderError> {
    let mut image = Image {
        place: node.place.clone(),
        name: String::new(),
        new_name: String::new(),
        new_tag: String::new(),
        tag_suffix: String::new(),
        digest: String::new(),
    };
    take::fields(
        node,
        owner,
        &["name", "newName", "newTag", "tagSuffix", "digest"],
        |field, value, _| {
            let text = take::string(value, field)?;
            *match field {
                "name" => &mut image.name,
                "newName" => &mut image.new_name,
                "newTag" => &mut image.new_tag,
                "tagSuffix" => &mut image.tag_suffix,
                _ => &mut image.digest,
            } = text;
            Ok(())
        },
    )?;
    Ok(image)
}

pub(crate) fn replicas(node: &Node) -> Result<Vec<Replica>, RenderError> {
    take::list(node, "replicas")?
        .iter()
        .map(|node| replica(node, "replicas"))
        .collect()
}

pub(crate) fn replica(node: &Node, owner: &str) -> Result<Replica, RenderError> {
    let mut replica = Replica {
        name: String::new(),
        count: 0,
        place: node.place.clone(),
    };
    take::fields(node, owner, &["name", "count"], |field, value, _| {
        match field {
            "name" => replica.name = take::string(value, field)?,
            _ => replica.count = take::int(value, field)?,
        }
        Ok(())
    })?;
    Ok(replica)
}

pub(crate) fn generators(
    node: &Node,
    owner: &str,
    secret: bool,
) -> Result<Vec<Generator>, RenderError> {
    take::list(node, owner)?
        .iter()
        .map(|node| generator(node, owner, secret, &[]))
        .collect()
}

/// One generator; `more` are field names that the caller has seen to.
pub(crate) fn generator(
    node: &Node,
    owner: &str,
    secret: bool,
    more: &[&str],
) -> Result<Generator, RenderError> {
    let mut generator = Generator {
        place: node.place.clone(),
        name: String::new(),
        namespace: String::new(),
        behavior: String::new(),
        secret_type: String::new(),
        files: Vec::new(),
        literals: Vec::new(),
        envs: Vec::new(),
        options: Options::default(),
    };
    let mut env = None;
    let mut known = vec![
        "name",
        "namespace",
        "behavior",
        "files",
        "literals",
        "envs",
        "env",
        "options",
    ];
    if secret {
        known.push("type");
    }
    known.extend(more);
    take::fields(node, owner, &known, |field, value, _| {
        match field {
            "name" => generator.name = take::string(value, field)?,
            "namespace" => generator.namespace = take::string(value, field)?,
            "behavior" => generator.behavior = take::string(value, field)?,
            "type" => generator.secret_type = take::string(value, field)?,
            "files" => generator.files = take::texts(value, field)?,
            "literals" => generator.literals = take::texts(value, field)?,
            "envs" => generator.envs = take::texts(value, field)?,
            "env" => env = Some(take::text(value, field)?),
            "options" => generator.options = options(value, field)?,
            _ => {}
        }
        Ok(())
    })?;
    generator
        .envs
        .extend(env.filter(|env| !env.text.is_empty()));
    Ok(generator)
}

pub(crate) fn options(node: &Node, owner: &str) -> Result<Options, RenderError> {
    let mut options = Options::default();
    let known = [
        "labels",
        "annotations",
        "disableNameSuffixHash",
        "immutable",
    ];
    take::fields(node, owner, &known, |field, value, _| {
        match field {
            "labels" => options.labels = take::text_map(value, field)?,
            "annotations" => options.annotations = take::text_map(value, field)?,
            "disableNameSuffixHash" => options.no_hash = take::boolean(value, field)?,
            _ => options.immutable = take::boolean(value, field)?,
        }
        Ok(())
    })?;
    Ok(options)
}
