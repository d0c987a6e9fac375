//! Accumulating a kustomization: resources depth first, then its own steps over them.

use std::sync::Arc;

use lockstep_manifest::yaml::{self, Dialect, Node};
use lockstep_manifest::{Manifest, Place};
use lockstep_tree::{EntryKind, RelPath};
use serde_json::Value;

use super::config::Config;
use super::file::{self, File};
use super::metadata::Metadata;
use super::resource::{self, Resource};
use super::schema::Own;
use super::set::Resources;
use super::take::Text;
use super::variables::Variable;
use super::{
    generate, images, labels, names, order, patch, plugins, printed, references, replacements,
    variables,
};
use crate::error::RenderError;
use crate::reading::{Reading, start_of};

pub(crate) struct Build<'r, 't> {
    pub(crate) reading: &'r mut Reading<'t>,
    /// The folders that are being built, outermost first.
    visiting: Vec<RelPath>,
    /// The schema a kustomization brought: the first one in build order holds for all.
    pub(crate) own_schema: Option<Arc<Own>>,
    pub(crate) metadata: Metadata,
    /// Values that patches copied so far.
    made: usize,
}

/// What a folder was built to so far.
#[derive(Debug, Default)]
pub(crate) struct Accumulated {
    pub(crate) resources: Resources,
    pub(crate) config: Config,
    pub(crate) variables: Vec<Variable>,
}

/// The folder whose kustomization is at work: how it is called, and where it really is.
#[derive(Clone, Debug)]
pub(crate) struct Here {
    pub(crate) folder: RelPath,
    pub(crate) file: RelPath,
}

impl Here {
    /// What concerns the whole kustomization file.
    pub(crate) fn place(&self) -> Place {
        start_of(&self.file)
    }
}

impl<'r, 't> Build<'r, 't> {
    pub(crate) fn new(reading: &'r mut Reading<'t>) -> Self {
        Self {
            reading,
            visiting: Vec::new(),
            own_schema: None,
            metadata: Metadata::default(),
            made: 0,
        }
    }

    /// Builds the folder and everything that is done once, at the end.
    pub(crate) fn whole(
        &mut self,
        folder: &RelPath,
    ) -> Result<Vec<(Manifest, Option<Value>)>, RenderError> {
        let folder = self
            .real_folder(folder, &start_of(folder))?
            .unwrap_or_else(|| folder.clone());
        let (path, file) = file::read(self.reading, &folder, None)?;
        self.metadata = Metadata::new(&file.build_metadata, &folder)?;
        let mut all = Accumulated::default();
        self.visiting.push(folder.clone());
        let here = Here { folder, file: path };
        self.accumulate(&here, &file, &mut all)?;
        generate::append_hashes(all.resources.list_mut())?;
        references::fix(all.resources.list_mut(), &all.config)?;
        variables::resolve(&mut all)?;
        let mut resources = all.resources.into_list();
        resources.retain(|resource| {
            let local = resource.texts_of("annotations");
            !local.iter().any(|(key, value)| {
                *key == "config.kubernetes.io/local-config" && *value != "false"
            })
        });
        order::sort(&mut resources, file.sort.as_ref());
        resources
            .into_iter()
            .map(|resource| self.object(resource))
            .collect()
    }

    /// The object as it is printed, and its value where an API server would not take that.
    fn object(&self, mut resource: Resource) -> Result<(Manifest, Option<Value>), RenderError> {
        self.metadata.write(&mut resource)?;
        let not_written = |place: &Place, what: String| {
            RenderError::invalid_hint(
                place,
                what,
                "correct the value; JSON, and so Kubernetes, does not have it",
            )
        };
        let place = resource.node.place.clone();
        let places = resource.node.places();
        let mut node = resource.node;
        printed::finish(&mut node);
        let value = node.to_value().map_err(|e| not_written(&e.place, e.what))?;
        // `name: 123` is printed as the number it is; what is applied is a text.
        let odd = value
            .pointer("/metadata/name")
            .is_some_and(|name| !name.is_string())
            .then(|| value.clone());
        let value = if odd.is_none() {
            value
        } else {
            if let Some(metadata) = node.get_mut("metadata") {
                let name = metadata
                    .get("name")
                    .and_then(Node::as_written)
                    .map(str::to_owned);
                metadata.set("name", Node::text(name.unwrap_or_default(), place.clone()));
            }
            node.to_value().map_err(|e| not_written(&e.place, e.what))?
        };
        let manifest = Manifest::from_value(value).map_err(|e| {
            RenderError::invalid_hint(
                &place,
                format!("not an object: {e}"),
                "complete it, or remove it",
            )
        })?;
        Ok((manifest.with_places(places), odd))
    }

    /// One folder's own resources and steps, into `all`.
    pub(crate) fn accumulate(
        &mut self,
        here: &Here,
        file: &File,
        all: &mut Accumulated,
    ) -> Result<(), RenderError> {
        if let Some(path) = file
            .openapi
            .as_ref()
            .and_then(|openapi| openapi.path.as_ref())
        {
            let text = self.load(here, path)?;
            if self.own_schema.is_none() {
                let documents = self.documents(&text.0, Dialect::Kubectl, &text.1)?;
                self.own_schema = documents.first().map(|node| Arc::new(Own::new(node)));
            }
        }
        for entry in &file.resources {
            self.resource(here, entry, all)?;
        }
        let mut config = Config::default();
        for path in &file.configurations {
            let (text, path) = self.load(here, path)?;
            config.read(&text, path.as_str(), &self.reading.limits.yaml)?;
        }
        all.config.merge(config, &here.place())?;
        let mut config = Config::default();
        for path in &file.crds {
            let (text, path) = self.load(here, path)?;
            config.read_crds(&text, path.as_str(), &self.reading.limits.yaml)?;
        }
        all.config.merge(config, &here.place())?;
        generate::run(self, here, file, all)?;
        plugins::generators(self, here, &file.generators, all)?;
        for entry in &file.components {
            self.component(here, entry, all)?;
        }
        self.transform(here, file, all)?;
        plugins::transformers(self, here, &file.transformers, all)?;
        plugins::validators(self, here, &file.validators, all)?;
        variables::record(&file.vars, all)?;
        self.reading.check_count(all.resources.len(), &here.place())
    }

    fn transform(
        &mut self,
        here: &Here,
        file: &File,
        all: &mut Accumulated,
    ) -> Result<(), RenderError> {
        patch::strategic_merges(self, here, &file.patches_strategic_merge, all)?;
        for entry in &file.patches {
            patch::patch(self, here, entry, all)?;
        }
        let by = |kind: &str| super::metadata::by_built_in(here, kind);
        if let Some(namespace) = file
            .namespace
            .as_ref()
            .filter(|namespace| !namespace.text.is_empty())
        {
            names::set_namespace(all, namespace)?;
            self.metadata.changed(all, &by("NamespaceTransformer"));
        }
        if let Some(prefix) = &file.name_prefix {
            names::add_prefix(all, prefix)?;
        }
        self.metadata
            .changed_if(file.name_prefix.is_some(), all, &by("PrefixTransformer"));
        if let Some(suffix) = &file.name_suffix {
            names::add_suffix(all, suffix)?;
        }
        self.metadata
            .changed_if(file.name_suffix.is_some(), all, &by("SuffixTransformer"));
        for entry in &file.labels {
            labels::add(all, entry)?;
            self.metadata.changed(all, &by("LabelTransformer"));
        }
        labels::add_common(all, &file.common_labels)?;
        self.metadata.changed_if(
            !file.labels.is_empty() || !file.common_labels.is_empty(),
            all,
            &by("LabelTransformer"),
        );
        labels::annotate(all, &file.common_annotations)?;
        self.metadata.changed_if(
            !file.common_annotations.is_empty(),
            all,
            &by("AnnotationsTransformer"),
        );
        for entry in &file.patches_json6902 {
            patch::json6902(self, here, entry, all)?;
            self.metadata.changed(all, &by("PatchJson6902Transformer"));
        }
        for replica in &file.replicas {
            images::set_replicas(all, replica)?;
            self.metadata.changed(all, &by("ReplicaCountTransformer"));
        }
        for image in &file.images {
            images::set_image(all, image, self.reading.limits.regex_bytes)?;
            self.metadata.changed(all, &by("ImageTagTransformer"));
        }
        if !file.replacements.is_empty() {
            replacements::run(self, here, &file.replacements, all)?;
            self.metadata.changed(all, &by("ReplacementTransformer"));
        }
        all.resources.drop_empty();
        Ok(())
    }

    /// An entry of `resources`: a file, else a folder.
    fn resource(
        &mut self,
        here: &Here,
        entry: &Text,
        all: &mut Accumulated,
    ) -> Result<(), RenderError> {
        let path = self.path(here, entry)?;
        let found = self.reading.find(&path, &entry.place)?;
        match found.as_ref().map(|found| found.kind) {
            Some(EntryKind::Folder) => {
                let folder = found.map_or(path, |found| found.path);
                let inner = self.folder(&folder, &entry.place, false, None)?;
                all.config.merge(inner.config, &entry.place)?;
                variables::join(&mut all.variables, inner.variables)?;
                all.resources.append_all(inner.resources)?;
            }
            Some(_) => {
                let (text, path) = self.load(here, entry)?;
                self.reading.enter(&entry.place)?;
                for mut resource in
                    resource::resources(self.documents(&text, Dialect::Kustomize, &path)?)?
                {
                    self.metadata.loaded(&mut resource, &path);
                    all.resources.append(resource)?;
                }
            }
            None => return Err(missing(entry, &path)),
        }
        self.reading.check_count(all.resources.len(), &entry.place)
    }

    fn component(
        &mut self,
        here: &Here,
        entry: &Text,
        all: &mut Accumulated,
    ) -> Result<(), RenderError> {
        let path = self.path(here, entry)?;
        let found = self
            .reading
            .find(&path, &entry.place)?
            .filter(|found| found.kind == EntryKind::Folder);
        let Some(found) = found else {
            return Err(missing(entry, &path));
        };
        let so_far = std::mem::take(all);
        *all = self.folder(&found.path, &entry.place, true, Some(so_far))?;
        Ok(())
    }

    /// Builds another folder: a base into a new list, a component into the one that it gets.
    pub(crate) fn folder(
        &mut self,
        folder: &RelPath,
        named: &Place,
        component: bool,
        into: Option<Accumulated>,
    ) -> Result<Accumulated, RenderError> {
        self.reading.enter(named)?;
        if let Some(above) = self.visiting.iter().find(|above| above.is_within(folder)) {
            return Err(RenderError::invalid_hint(
                named,
                if above == folder {
                    format!("this leads in a circle: {folder} is being built already")
                } else {
                    format!(
                        "this leads in a circle: {above}, which lies in {folder}, is being built already"
                    )
                },
                "move what both need into a folder of its own",
            ));
        }
        if self.visiting.len() >= self.reading.limits.nesting {
            return Err(RenderError::Limit {
                place: named.clone(),
                what: format!(
                    "more than {} bases inside each other",
                    self.reading.limits.nesting
                ),
            });
        }
        let (path, file) = file::read(self.reading, folder, Some(named))?;
        if file.component != component {
            let (what, hint) = if component {
                (
                    format!("{folder} is a Kustomization, and a Component is expected here"),
                    "name it under `resources:`",
                )
            } else {
                (
                    format!("{folder} is a Component, and a Kustomization is expected here"),
                    "name it under `components:`",
                )
            };
            return Err(RenderError::invalid_hint(named, what, hint));
        }
        let mut all = into.unwrap_or_default();
        self.visiting.push(folder.clone());
        let here = Here {
            folder: folder.clone(),
            file: path,
        };
        self.accumulate(&here, &file, &mut all)?;
        self.visiting.pop();
        Ok(all)
    }

    fn real_folder(
        &mut self,
        folder: &RelPath,
        named: &Place,
    ) -> Result<Option<RelPath>, RenderError> {
        Ok(self.reading.find(folder, named)?.map(|found| found.path))
    }

    /// A path that the kustomization names, seen from its folder. Errors: an address instead of a path.
    pub(crate) fn path(&mut self, here: &Here, entry: &Text) -> Result<RelPath, RenderError> {
        let text = entry.text.as_str();
        if text.is_empty() {
            return Err(RenderError::invalid(&entry.place, "an empty path"));
        }
        let path = here.folder.join(text);
        let there = match &path {
            Ok(path) => self.reading.find(path, &entry.place)?.is_some(),
            Err(_) => false,
        };
        if !there && is_remote(text) {
            return Err(RenderError::Remote {
                place: entry.place.clone(),
                what: without_user(text),
            });
        }
        path.map_err(|e| {
            RenderError::invalid_hint(
                &entry.place,
                e.to_string(),
                "write a path relative to this folder, inside the repository",
            )
        })
    }

    /// The contents of a file that the kustomization names, and its path. It must lie in or below its folder.
    pub(crate) fn load(
        &mut self,
        here: &Here,
        entry: &Text,
    ) -> Result<(bytes::Bytes, RelPath), RenderError> {
        let path = self.path(here, entry)?;
        let Some(found) = self.reading.find(&path, &entry.place)? else {
            return Err(missing(entry, &path));
        };
        if !found.is_file() {
            return Err(RenderError::invalid(
                &entry.place,
                format!("{path} is a folder, and a file is expected"),
            ));
        }
        if !found.path.is_within(&here.folder) {
            return Err(RenderError::Outside {
                place: entry.place.clone(),
                path: path.to_string(),
                folder: here.folder.to_string(),
            });
        }
        let text = self.reading.file(&path, &entry.place)?;
        text.map(|text| (text, path.clone()))
            .ok_or_else(|| missing(entry, &path))
    }

    pub(crate) fn documents(
        &self,
        text: &[u8],
        dialect: Dialect,
        path: &RelPath,
    ) -> Result<Vec<Node>, RenderError> {
        Ok(yaml::read(
            text,
            dialect,
            path.as_str(),
            &self.reading.limits.yaml,
        )?)
    }

    /// Patches copy what they bring into every object they meet: this counts it.
    pub(crate) fn count_made(&mut self, bytes: usize, place: &Place) -> Result<(), RenderError> {
        self.made = self.made.saturating_add(bytes);
        if self.made > self.reading.limits.made_bytes {
            return Err(RenderError::Limit {
                place: place.clone(),
                what: format!(
                    "patches and generators make more than {} bytes",
                    self.reading.limits.made_bytes
                ),
            });
        }
        Ok(())
    }
}

fn missing(entry: &Text, path: &RelPath) -> RenderError {
    RenderError::FileMissing {
        place: entry.place.clone(),
        path: path.to_string(),
    }
}

/// Addresses as the reference takes them: a scheme, `git@host:`, a well-known host, or a marked repository.
fn is_remote(text: &str) -> bool {
    let host = text.split('/').next().unwrap_or_default();
    text.contains("://")
        || text.starts_with("git@")
        || text.starts_with("git::")
        || text.contains(".git/")
        || text.contains("?ref=")
        || (text.contains("//") && host.contains('.') && !host.starts_with('.'))
        || matches!(host, "github.com" | "gitlab.com" | "bitbucket.org")
}

/// The address without what stands before an `@` in it.
fn without_user(text: &str) -> String {
    match text.split_once("://") {
        Some((scheme, rest)) => {
            let host = rest.split('/').next().unwrap_or_default();
            let cut = host.rfind('@').map_or(0, |at| at + 1);
            format!("{scheme}://{}", &rest[cut..])
        }
        None => text.to_owned(),
    }
}
