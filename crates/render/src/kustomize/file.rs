//! A kustomization file, as written: every field with its place.

use lockstep_manifest::Place;
use lockstep_manifest::yaml::{Dialect, Node};
use lockstep_tree::RelPath;

use super::entries::{self, Generator, Image, Labels, Options, Patch, Replica};
use super::take::{self, Text};
use crate::error::RenderError;
use crate::reading::Reading;

/// A kustomization or a component.
#[derive(Debug, Default)]
pub(crate) struct File {
    pub(crate) component: bool,
    pub(crate) resources: Vec<Text>,
    pub(crate) components: Vec<Text>,
    pub(crate) crds: Vec<Text>,
    pub(crate) configurations: Vec<Text>,
    pub(crate) openapi: Option<OpenApi>,
    pub(crate) name_prefix: Option<Text>,
    pub(crate) name_suffix: Option<Text>,
    pub(crate) namespace: Option<Text>,
    pub(crate) common_labels: Vec<(String, Text)>,
    pub(crate) labels: Vec<Labels>,
    pub(crate) common_annotations: Vec<(String, Text)>,
    pub(crate) patches: Vec<Patch>,
    pub(crate) patches_strategic_merge: Vec<Text>,
    pub(crate) patches_json6902: Vec<Patch>,
    pub(crate) images: Vec<Image>,
    pub(crate) replicas: Vec<Replica>,
    pub(crate) replacements: Vec<Node>,
    pub(crate) vars: Vec<Node>,
    pub(crate) config_maps: Vec<Generator>,
    pub(crate) secrets: Vec<Generator>,
    pub(crate) generator_options: Options,
    pub(crate) generators: Vec<Text>,
    pub(crate) transformers: Vec<Text>,
    pub(crate) validators: Vec<Text>,
    pub(crate) sort: Option<Sort>,
    pub(crate) build_metadata: Vec<Text>,
}

#[derive(Debug)]
pub(crate) struct OpenApi {
    pub(crate) path: Option<Text>,
}

#[derive(Debug)]
pub(crate) struct Sort {
    pub(crate) fifo: bool,
    pub(crate) first: Option<Vec<String>>,
    pub(crate) last: Option<Vec<String>>,
}

const FIELDS: [&str; 34] = [
    "apiVersion",
    "kind",
    "metadata",
    "resources",
    "bases",
    "components",
    "crds",
    "configurations",
    "openapi",
    "namePrefix",
    "nameSuffix",
    "namespace",
    "commonLabels",
    "labels",
    "commonAnnotations",
    "patches",
    "patchesStrategicMerge",
    "patchesJson6902",
    "images",
    "imageTags",
    "replicas",
    "replacements",
    "vars",
    "configMapGenerator",
    "secretGenerator",
    "generatorOptions",
    "helmGlobals",
    "helmCharts",
    "helmChartInflationGenerator",
    "generators",
    "transformers",
    "validators",
    "sortOptions",
    "buildMetadata",
];

/// Reads the kustomization of a folder: its path and what it says. Deprecated fields are moved to their successors.
pub(crate) fn read(
    reading: &mut Reading<'_>,
    folder: &RelPath,
    named: Option<&Place>,
) -> Result<(RelPath, File), RenderError> {
    let mut found: Option<RelPath> = None;
    for name in crate::KUSTOMIZATION_FILES {
        let path = reading.below(folder, name)?;
        if !reading.is_file(&path)? {
            continue;
        }
        if let Some(other) = &found {
            return Err(RenderError::invalid_hint(
                &reading.start_of(&path),
                format!(
                    "{} has two kustomization files, the other is {}",
                    reading.name(folder),
                    other.name()
                ),
                "remove one of them",
            ));
        }
        found = Some(path);
    }
    let path = found.ok_or_else(|| RenderError::NoKustomization {
        folder: reading.name(folder).into_owned(),
        place: named.cloned(),
    })?;
    let start = reading.start_of(&path);
    let documents = reading.documents(&path, &start, Dialect::Kubectl)?;
    let documents = documents.unwrap_or_default();
    let empty = || {
        RenderError::invalid_hint(
            &start,
            "the kustomization is empty",
            "name at least one file under `resources:`",
        )
    };
    // Later documents are left unread, as the reference does.
    let node = documents.first().ok_or_else(empty)?;
    let mut warnings = Vec::new();
    let (file, any) = parse(node, &mut warnings)?;
    for (field, successor) in warnings {
        reading.warnings.push(format!(
            "{}: `{field}` is deprecated; use `{successor}`",
            start.file
        ));
    }
    if !any {
        return Err(empty());
    }
    Ok((path, file))
}

fn parse(
    node: &Node,
    warnings: &mut Vec<(&'static str, &'static str)>,
) -> Result<(File, bool), RenderError> {
    let mut file = File::default();
    let (mut bases, mut image_tags) = (Vec::new(), Vec::new());
    let (mut kind, mut api_version, mut any) = (None, None, false);
    take::fields(node, "the kustomization", &FIELDS, |field, value, pair| {
        if value.is_null() {
            return Ok(());
        }
        any |= !matches!(field, "apiVersion" | "kind");
        match field {
            "apiVersion" => api_version = Some(take::text(value, field)?),
            "kind" => kind = Some(take::text(value, field)?),
            "metadata" => drop(take::map(value, field)?),
            "resources" => file.resources = take::texts(value, field)?,
            "bases" => bases = take::texts(value, field)?,
            "components" => file.components = take::texts(value, field)?,
            "crds" => file.crds = take::texts(value, field)?,
            "configurations" => file.configurations = take::texts(value, field)?,
            "openapi" => file.openapi = Some(openapi(value)?),
            "namePrefix" => file.name_prefix = Some(take::text(value, field)?),
            "nameSuffix" => file.name_suffix = Some(take::text(value, field)?),
            "namespace" => file.namespace = Some(take::text(value, field)?),
            "commonLabels" => {
                warnings.push(("commonLabels", "labels"));
                file.common_labels = take::text_map(value, field)?;
            }
            "labels" => {
                file.labels = take::list(value, field)?
                    .iter()
                    .map(entries::labels)
                    .collect::<Result<_, _>>()?;
            }
            "commonAnnotations" => file.common_annotations = take::text_map(value, field)?,
            "patches" => file.patches = entries::patches(value, field)?,
            "patchesStrategicMerge" => {
                warnings.push(("patchesStrategicMerge", "patches"));
                file.patches_strategic_merge = take::texts(value, field)?;
            }
            "patchesJson6902" => {
                warnings.push(("patchesJson6902", "patches"));
                file.patches_json6902 = entries::patches(value, field)?;
            }
            "images" => file.images = entries::images(value, field)?,
            "imageTags" => {
                warnings.push(("imageTags", "images"));
                image_tags = entries::images(value, field)?;
            }
            "replicas" => file.replicas = entries::replicas(value)?,
            "replacements" => file.replacements = take::list(value, field)?.to_vec(),
            "vars" => {
                warnings.push(("vars", "replacements"));
                file.vars = take::list(value, field)?.to_vec();
            }
            "configMapGenerator" => file.config_maps = entries::generators(value, field, false)?,
            "secretGenerator" => file.secrets = entries::generators(value, field, true)?,
            "generatorOptions" => file.generator_options = entries::options(value, field)?,
            "generators" => file.generators = take::texts(value, field)?,
            "transformers" => file.transformers = take::texts(value, field)?,
            "validators" => file.validators = take::texts(value, field)?,
            "sortOptions" => file.sort = Some(sort(value)?),
            "buildMetadata" => file.build_metadata = take::texts(value, field)?,
            "helmGlobals" | "helmCharts" | "helmChartInflationGenerator" => {
                return Err(RenderError::Unsupported {
                    place: pair.place.clone(),
                    what: format!("`{field}` would run Helm, which is not rendered yet"),
                    hint: "render the chart into a folder and name that under `resources:`"
                        .to_owned(),
                });
            }
            _ => {
                return Err(RenderError::FieldUnknown {
                    place: pair.place.clone(),
                    field: pair.key.text.clone(),
                    owner: "the kustomization".to_owned(),
                    meant: None,
                });
            }
        }
        Ok(())
    })?;
    if !bases.is_empty() {
        warnings.push(("bases", "resources"));
        file.resources.extend(bases);
    }
    file.images.extend(image_tags);
    check_type(kind.as_ref(), api_version.as_ref(), &mut file)?;
    Ok((file, any))
}

fn check_type(
    kind: Option<&Text>,
    api_version: Option<&Text>,
    file: &mut File,
) -> Result<(), RenderError> {
    file.component = match kind {
        None => false,
        Some(kind) if kind.text.is_empty() || kind.text == "Kustomization" => false,
        Some(kind) if kind.text == "Component" => true,
        Some(kind) => {
            let what = format!(
                "the kind here is Kustomization or Component, not {:?}",
                kind.text
            );
            return Err(RenderError::invalid(&kind.place, what));
        }
    };
    let Some(version) = api_version.filter(|version| !version.text.is_empty()) else {
        return Ok(());
    };
    let wanted = if file.component {
        "kustomize.config.k8s.io/v1alpha1"
    } else {
        "kustomize.config.k8s.io/v1beta1"
    };
    if version.text != wanted {
        let what = format!(
            "the apiVersion of this kind is {wanted}, not {:?}",
            version.text
        );
        return Err(RenderError::invalid(&version.place, what));
    }
    Ok(())
}

fn openapi(node: &Node) -> Result<OpenApi, RenderError> {
    let (mut path, mut version) = (None, None);
    take::fields(node, "openapi", &["path", "version"], |field, value, _| {
        match field {
            "path" => path = Some(take::text(value, field)?),
            _ => version = Some(take::text(value, field)?),
        }
        Ok(())
    })?;
    let path = path.filter(|path| !path.text.is_empty());
    let version = version.filter(|version| !version.text.is_empty());
    match (&path, &version) {
        (Some(_), Some(version)) => Err(RenderError::invalid(
            &version.place,
            "`openapi` takes a path or a version, not both",
        )),
        (None, Some(version)) if version.text != "v1.21.2" => {
            let what = format!(
                "the OpenAPI version {:?} is not built in; v1.21.2 is",
                version.text
            );
            Err(RenderError::invalid(&version.place, what))
        }
        _ => Ok(OpenApi { path }),
    }
}

fn sort(node: &Node) -> Result<Sort, RenderError> {
    let mut sort = Sort {
        fifo: false,
        first: None,
        last: None,
    };
    let mut legacy = None;
    take::fields(
        node,
        "sortOptions",
        &["order", "legacySortOptions"],
        |field, value, _| {
            if field == "order" {
                let order = take::text(value, field)?;
                sort.fifo = match order.text.as_str() {
                    "fifo" => true,
                    "legacy" | "" => false,
                    other => {
                        let what = format!("sortOptions.order is legacy or fifo, not {other:?}");
                        return Err(RenderError::invalid(&order.place, what));
                    }
                };
                return Ok(());
            }
            if value.is_null() {
                return Ok(());
            }
            legacy = Some(value.place.clone());
            take::fields(
                value,
                field,
                &["orderFirst", "orderLast"],
                |field, value, _| {
                    let kinds = take::texts(value, field)?
                        .into_iter()
                        .map(|kind| kind.text)
                        .collect();
                    if field == "orderFirst" {
                        sort.first = Some(kinds);
                    } else {
                        sort.last = Some(kinds);
                    }
                    Ok(())
                },
            )
        },
    )?;
    match legacy {
        Some(place) if sort.fifo => Err(RenderError::invalid(
            &place,
            "legacySortOptions go with order: legacy only",
        )),
        Some(_) => {
            sort.first.get_or_insert_default();
            sort.last.get_or_insert_default();
            Ok(sort)
        }
        None => Ok(sort),
    }
}
