//! Accumulating a kustomization: resources depth first, then its own steps over them.

use std::sync::Arc;

use lockstep_app::app::Base;
use lockstep_manifest::yaml::{self, Dialect, Node, Tag};
use lockstep_manifest::{Manifest, Place};
use lockstep_tree::{EntryKind, RelPath};
use serde_json::Value;

use super::config::Config;
use super::file::{self, File};
use super::metadata::Metadata;
use super::named::Named;
use super::overrides::Overrides;
use super::resource::{self, Origin, Resource};
use super::schema::Own;
use super::set::Resources;
use super::spent::{Spent, VALUE};
use super::take::Text;
use super::variables::Variable;
use super::{
    generate, images, labels, names, order, patch, plugins, printed, references, replacements,
    variables,
};
use crate::error::RenderError;
use crate::reading::Reading;
use crate::threads;

pub(crate) struct Build<'r, 't> {
    pub(crate) reading: &'r mut Reading<'t>,
    /// The folders that are being built, outermost first, and of which other repository each is.
    visiting: Vec<(Option<&'t Base>, RelPath)>,
    /// The schema a kustomization brought: the first one in build order holds for all.
    pub(crate) own_schema: Option<Arc<Own>>,
    pub(crate) metadata: Metadata,
    /// What it has cost so far.
    pub(crate) spent: Spent,
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
    /// The other repository that both are of.
    pub(crate) base: Option<Base>,
    place: Place,
}

impl Here {
    fn new(reading: &Reading<'_>, folder: RelPath, file: RelPath) -> Self {
        Self {
            base: reading.base().cloned(),
            place: reading.start_of(&file),
            folder,
            file,
        }
    }

    /// What concerns the whole kustomization file.
    pub(crate) fn place(&self) -> Place {
        self.place.clone()
    }
}

impl<'r, 't> Build<'r, 't> {
    pub(crate) fn new(reading: &'r mut Reading<'t>) -> Self {
        let spent = Spent::new(reading.limits);
        Self {
            reading,
            visiting: Vec::new(),
            own_schema: None,
            metadata: Metadata::default(),
            spent,
        }
    }

    /// Builds the folder and everything that is done once, at the end.
    pub(crate) fn whole(
        &mut self,
        folder: &RelPath,
        overrides: &mut Overrides<'_>,
    ) -> Result<Vec<(Manifest, Option<Value>)>, RenderError> {
        let folder = self
            .real_folder(folder, &self.reading.start_of(folder))?
            .unwrap_or_else(|| folder.clone());
        let (path, mut file) = file::read(self.reading, &folder, None)?;
        self.metadata = Metadata::new(&file.build_metadata, &folder)?;
        let mut all = Accumulated::default();
        self.visiting.push((None, folder.clone()));
        let here = Here::new(self.reading, folder, path);
        overrides.apply(self, &here, &mut file)?;
        self.accumulate(&here, &file, &mut all)?;
        generate::append_hashes(all.resources.list_mut())?;
        references::fix(all.resources.list_mut(), &all.config)?;
        variables::resolve(&mut all, &mut self.spent)?;
        let mut resources = all.resources.into_list();
        resources.retain(|resource| {
            let local = resource.texts_of("annotations");
            !local.iter().any(|(key, value)| {
                *key == "config.kubernetes.io/local-config" && *value != "false"
            })
        });
        order::sort(&mut resources, file.sort.as_ref());
        let metadata = &self.metadata;
        let threads = self.reading.threads();
        threads::each(threads, resources, |resource| {
            Self::object(metadata, resource)
        })
        .into_iter()
        .collect()
    }

    /// The object as it is printed, and its value where an API server would not take that.
    fn object(
        metadata: &Metadata,
        mut resource: Resource,
    ) -> Result<(Manifest, Option<Value>), RenderError> {
        metadata.write(&mut resource)?;
        let not_written = |place: &Place, what: String| {
            RenderError::invalid_hint(
                place,
                what,
                "correct the value; JSON, and so Kubernetes, does not have it",
            )
        };
        let place = resource.node.place.clone();
        let mut node = resource.node;
        printed::finish(&mut node);
        let places = node.places();
        // `name: 123` is printed as the number it is; what is applied is a text.
        let name = node.at(&["metadata", "name"]).and_then(Node::as_scalar);
        let odd = name.is_some_and(|name| !matches!(name.tag, Tag::Text | Tag::Date));
        let odd = odd.then(|| node.to_value()).transpose();
        let odd = odd.map_err(|e| not_written(&e.place, e.what))?;
        if odd.is_some()
            && let Some(metadata) = node.get_mut("metadata")
        {
            let name = metadata
                .get("name")
                .and_then(Node::as_written)
                .map(str::to_owned);
            metadata.set("name", Node::text(name.unwrap_or_default(), place.clone()));
        }
        let value = node
            .into_value()
            .map_err(|e| not_written(&e.place, e.what))?;
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
        let mut needed = None;
        let paths = file.resources.iter();
        let paths: Vec<RelPath> = paths
            .filter_map(|entry| here.folder.join(&entry.text).ok())
            .collect();
        self.reading.read_ahead(&paths, Dialect::Kustomize);
        for entry in &file.resources {
            match self.resource(here, entry, all) {
                // The others may name repositories of their own: all of them are asked for at once.
                Err(error @ RenderError::Remote { .. }) => drop(needed.get_or_insert(error)),
                result => result?,
            }
        }
        if let Some(error) = needed {
            self.look_ahead(here, &file.components)?;
            return Err(error);
        }
        let mut config = Config::default();
        for path in &file.configurations {
            let (text, path) = self.load(here, path)?;
            config.read(&text, &self.reading.name(&path), &self.reading.limits.yaml)?;
        }
        all.config.merge(config, &here.place())?;
        let mut config = Config::default();
        for path in &file.crds {
            let (text, path) = self.load(here, path)?;
            config.read_crds(&text, &self.reading.name(&path), &self.reading.limits.yaml)?;
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
        variables::record(&file.vars, all, &mut self.spent)?;
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
            names::set_namespace(all, namespace, &mut self.spent)?;
            self.changed(all, &by("NamespaceTransformer"))?;
        }
        if let Some(prefix) = &file.name_prefix {
            names::add_prefix(all, prefix, &mut self.spent)?;
        }
        if file.name_prefix.is_some() {
            self.changed(all, &by("PrefixTransformer"))?;
        }
        if let Some(suffix) = &file.name_suffix {
            names::add_suffix(all, suffix, &mut self.spent)?;
        }
        if file.name_suffix.is_some() {
            self.changed(all, &by("SuffixTransformer"))?;
        }
        for entry in &file.labels {
            labels::add(all, entry, &mut self.spent)?;
            self.changed(all, &by("LabelTransformer"))?;
        }
        labels::add_common(all, &file.common_labels, &mut self.spent)?;
        if !file.labels.is_empty() || !file.common_labels.is_empty() {
            self.changed(all, &by("LabelTransformer"))?;
        }
        labels::annotate(all, &file.common_annotations, &mut self.spent)?;
        if !file.common_annotations.is_empty() {
            self.changed(all, &by("AnnotationsTransformer"))?;
        }
        for entry in &file.patches_json6902 {
            patch::json6902(self, here, entry, all)?;
            self.changed(all, &by("PatchJson6902Transformer"))?;
        }
        for replica in &file.replicas {
            images::set_replicas(all, replica, &mut self.spent)?;
            self.changed(all, &by("ReplicaCountTransformer"))?;
        }
        images::set_images(self, all, &file.images, |build, all| {
            build.changed(all, &by("ImageTagTransformer"))
        })?;
        if !file.replacements.is_empty() {
            replacements::run(self, here, &file.replacements, all)?;
            self.changed(all, &by("ReplacementTransformer"))?;
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
        match self.named(here, entry)? {
            Named::Remote(address) => {
                let inner = self.remote(&address, &entry.place, false, None)?;
                self.take_in(inner, &entry.place, all)?;
            }
            Named::Path(path, found) => match found {
                Some(found) if found.kind == EntryKind::Folder => {
                    let inner = self.folder(&found.path, &entry.place, false, None)?;
                    self.take_in(inner, &entry.place, all)?;
                }
                Some(_) => {
                    let path = self.file_of(here, entry)?;
                    self.reading.enter(&entry.place)?;
                    let documents =
                        self.reading
                            .documents(&path, &entry.place, Dialect::Kustomize)?;
                    let documents = documents.ok_or_else(|| self.missing(entry, &path))?;
                    for mut resource in resource::resources(documents)? {
                        self.metadata.loaded(&mut resource, here, &path);
                        all.resources.append(resource)?;
                    }
                }
                None => return Err(self.missing(entry, &path)),
            },
        }
        self.reading.check_count(all.resources.len(), &entry.place)
    }

    /// What a base was built to goes to what there is already.
    fn take_in(
        &mut self,
        inner: Accumulated,
        named: &Place,
        all: &mut Accumulated,
    ) -> Result<(), RenderError> {
        all.config.merge(inner.config, named)?;
        variables::join(&mut all.variables, inner.variables, &mut self.spent)?;
        all.resources.append_all(inner.resources)
    }

    fn component(
        &mut self,
        here: &Here,
        entry: &Text,
        all: &mut Accumulated,
    ) -> Result<(), RenderError> {
        match self.named(here, entry)? {
            Named::Remote(address) => {
                let so_far = std::mem::take(all);
                *all = self.remote(&address, &entry.place, true, Some(so_far))?;
            }
            Named::Path(path, found) => {
                let found = found.filter(|found| found.kind == EntryKind::Folder);
                let Some(found) = found else {
                    return Err(self.missing(entry, &path));
                };
                let so_far = std::mem::take(all);
                *all = self.folder(&found.path, &entry.place, true, Some(so_far))?;
            }
        }
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
        let base = self.reading.base();
        let above = self
            .visiting
            .iter()
            .find(|(of, above)| *of == base && above.is_within(folder));
        if let Some((_, above)) = above {
            let name = self.reading.name(folder);
            return Err(RenderError::invalid_hint(
                named,
                if above == folder {
                    format!("this leads in a circle: {name} is being built already")
                } else {
                    format!(
                        "this leads in a circle: {}, which lies in {name}, is being built already",
                        self.reading.name(above)
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
            let folder = self.reading.name(folder);
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
        self.visiting.push((base, folder.clone()));
        let here = Here::new(self.reading, folder.clone(), path);
        let done = self.accumulate(&here, &file, &mut all);
        self.visiting.pop();
        done.map(|()| all)
    }

    fn real_folder(
        &mut self,
        folder: &RelPath,
        named: &Place,
    ) -> Result<Option<RelPath>, RenderError> {
        Ok(self.reading.find(folder, named)?.map(|found| found.path))
    }

    /// The contents of a file that the kustomization names, and its path.
    pub(crate) fn load(
        &mut self,
        here: &Here,
        entry: &Text,
    ) -> Result<(bytes::Bytes, RelPath), RenderError> {
        let path = self.file_of(here, entry)?;
        let text = self.reading.file(&path, &entry.place)?;
        text.map(|text| (text, path.clone()))
            .ok_or_else(|| self.missing(entry, &path))
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
            &self.reading.name(path),
            &self.reading.limits.yaml,
        )?)
    }

    /// Remembers a step for every object that there is, when the author asked for it.
    pub(crate) fn changed(
        &mut self,
        all: &mut Accumulated,
        by: &Origin,
    ) -> Result<(), RenderError> {
        if self.metadata.remembers_steps() {
            let place = all
                .resources
                .iter()
                .next()
                .map(|first| first.place().clone());
            if let Some(place) = place {
                self.spent.make(4 * VALUE * all.resources.len(), &place)?;
            }
            self.metadata.changed(all, by);
        }
        Ok(())
    }

    pub(super) fn missing(&self, entry: &Text, path: &RelPath) -> RenderError {
        RenderError::FileMissing {
            place: entry.place.clone(),
            path: self.reading.name(path).into_owned(),
        }
    }
}
