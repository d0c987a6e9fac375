//! What an Application changes in the kustomization that it renders, as Argo CD would with `kustomize edit`.
//!
//! Nothing is edited: the file as it was read takes the options before anything is built. Source: `argo-cd.md` 1.2 for
//! the options and their order, `kustomize edit` 5.5 for what each of them does to the file.

use globset::GlobBuilder;
use lockstep_app::kustomize::{
    IMAGE_FORMS, ImageOverride, Kustomize, count, image, is_label_value, unquoted,
};
use lockstep_app::v1alpha1::KustomizePatch;
use lockstep_manifest::Place;
use lockstep_tree::{EntryKind, RelPath};

use super::build::{Build, Here};
use super::entries::{Image, Labels, Patch, Replica, Target};
use super::file::File;
use super::take::Text;
use crate::environment::Environment;
use crate::error::RenderError;

/// Keeps what the kustomization says of this part of an image.
const KEEP: &str = "*";

/// The options, and what they may speak of.
pub(crate) struct Overrides<'a> {
    pub(crate) options: &'a Kustomize,
    /// The Application's name; empty when there is none.
    pub(crate) app: &'a str,
    pub(crate) environment: Environment<'a>,
}

impl Overrides<'_> {
    /// Where an option stands. An Application has no lines; what stands there does not need them.
    fn place(&self, field: &str, below: &str) -> Place {
        let file = match self.options.from_files.get(field) {
            Some(file) => format!("{file}: kustomize.{field}{below}"),
            None if self.app.is_empty() => format!("{}.{field}{below}", self.options.at),
            None => format!(
                "Application {}: {}.{field}{below}",
                self.app, self.options.at
            ),
        };
        Place {
            file: file.into(),
            line: 0,
            column: 0,
        }
    }

    fn text(&self, text: &str, field: &str, below: &str) -> Text {
        Text {
            // Lines of a text are counted from its own first one.
            block: text.contains('\n'),
            ..Text::new(text, self.place(field, below))
        }
    }

    /// Changes the kustomization of the app's own folder.
    pub(crate) fn apply(
        &mut self,
        build: &mut Build<'_, '_>,
        here: &Here,
        file: &mut File,
    ) -> Result<(), RenderError> {
        let options = &self.options.options;
        for (text, field, slot) in [
            (&options.name_prefix, "namePrefix", &mut file.name_prefix),
            (&options.name_suffix, "nameSuffix", &mut file.name_suffix),
            (&options.namespace, "namespace", &mut file.namespace),
        ] {
            if !text.is_empty() {
                *slot = Some(self.text(text, field, ""));
            }
        }
        self.images(&mut file.images)?;
        self.replicas(&mut file.replicas)?;
        self.labels(file)?;
        self.annotations(file)?;
        for (index, patch) in options.patches.iter().enumerate() {
            file.patches.push(self.patch(index, patch));
        }
        self.components(build, here, file)
    }

    /// `edit set image`: an entry takes the place of the file's own for the same image, and all are sorted by name.
    /// Of two overrides the last one counts, of two entries of the file the first.
    fn images(&mut self, images: &mut Vec<Image>) -> Result<(), RenderError> {
        let options = self.options;
        if options.options.images.is_empty() {
            return Ok(());
        }
        let mut all = Vec::new();
        for (index, text) in options.options.images.iter().enumerate() {
            let place = self.place("images", &format!("[{index}]"));
            let text = self.environment.filled(text);
            let new = image(&text).map_err(|not| {
                RenderError::invalid_hint(&place, format!("{text:?} {not}"), IMAGE_FORMS)
            })?;
            let old = images.iter().find(|old| old.name == new.name);
            all.push(entry(new, old, place));
        }
        all.reverse();
        all.append(images);
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all.dedup_by(|later, first| later.name == first.name);
        *images = all;
        Ok(())
    }

    /// `edit set replicas`, likewise.
    fn replicas(&self, replicas: &mut Vec<Replica>) -> Result<(), RenderError> {
        let written = &self.options.options.replicas;
        if written.is_empty() {
            return Ok(());
        }
        let mut all = Vec::new();
        for (index, new) in written.iter().enumerate() {
            let place = self.place("replicas", &format!("[{index}]"));
            let count = count(&new.count).ok_or_else(|| {
                RenderError::invalid_hint(
                    &place,
                    "the count is no number",
                    "write a whole number, 0 or more",
                )
            })?;
            all.push(Replica {
                name: new.name.clone(),
                count,
                place,
            });
        }
        all.reverse();
        all.append(replicas);
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all.dedup_by(|later, first| later.name == first.name);
        *replicas = all;
        Ok(())
    }

    /// `edit add label`: into `commonLabels`, or without selectors into the first entry of `labels` of that sort.
    fn labels(&mut self, file: &mut File) -> Result<(), RenderError> {
        let options = self.options;
        let options = &options.options;
        if options.common_labels.is_empty() {
            return Ok(());
        }
        let says = |flag: Option<bool>| flag == Some(true);
        let templates = says(options.label_include_templates);
        let pairs = if says(options.label_without_selector) {
            let fits = |entry: &Labels| !entry.selectors && entry.templates == templates;
            if !file.labels.iter().any(fits) {
                file.labels.push(Labels {
                    pairs: Vec::new(),
                    selectors: false,
                    templates,
                    fields: Vec::new(),
                    place: self.place("commonLabels", ""),
                });
            }
            let entry = file.labels.iter_mut().find(|entry| fits(entry));
            let Some(entry) = entry else { return Ok(()) };
            &mut entry.pairs
        } else {
            &mut file.common_labels
        };
        let force = says(options.force_common_labels);
        for (key, value) in &options.common_labels {
            let place = self.place("commonLabels", &below(key));
            let value = self.environment.filled(value);
            let value = unquoted(&value);
            if !is_label_value(value) {
                return Err(RenderError::invalid_hint(
                    &place,
                    format!("{value:?} cannot be the value of a label"),
                    "use letters, digits, `-`, `_` and `.`, at most 63",
                ));
            }
            add(
                pairs,
                key,
                value,
                place,
                force.then_some(()),
                "forceCommonLabels",
            )?;
        }
        Ok(())
    }

    /// `edit add annotation`.
    fn annotations(&mut self, file: &mut File) -> Result<(), RenderError> {
        let options = self.options;
        let options = &options.options;
        let force = options.force_common_annotations == Some(true);
        for (key, value) in &options.common_annotations {
            let place = self.place("commonAnnotations", &below(key));
            let value = if options.common_annotations_envsubst == Some(true) {
                self.environment.filled(value)
            } else {
                value.clone()
            };
            add(
                &mut file.common_annotations,
                key,
                unquoted(&value),
                place,
                force.then_some(()),
                "forceCommonAnnotations",
            )?;
        }
        Ok(())
    }

    /// One more patch, after those of the file.
    fn patch(&self, index: usize, patch: &KustomizePatch) -> Patch {
        let says = |text: &str, part: &str| {
            (!text.is_empty()).then(|| self.text(text, "patches", &format!("[{index}].{part}")))
        };
        let option = |name: &str| patch.options.get(name) == Some(&true);
        let place = self.place("patches", &format!("[{index}]"));
        Patch {
            path: says(&patch.path, "path"),
            inline: says(&patch.patch, "patch"),
            target: patch.target.as_ref().map(|target| Target {
                place: Some(place.clone()),
                group: target.group.clone(),
                version: target.version.clone(),
                kind: target.kind.clone(),
                name: target.name.clone(),
                namespace: target.namespace.clone(),
                labels: target.label_selector.clone(),
                annotations: target.annotation_selector.clone(),
            }),
            allow_name_change: option("allowNameChange"),
            allow_kind_change: option("allowKindChange"),
            place,
        }
    }

    /// `edit add component`: what is not there yet, at the end.
    fn components(
        &self,
        build: &mut Build<'_, '_>,
        here: &Here,
        file: &mut File,
    ) -> Result<(), RenderError> {
        let options = &self.options.options;
        let ignore_missing = options.ignore_missing_components == Some(true);
        for (index, text) in options.components.iter().enumerate() {
            let entry = self.text(text, "components", &format!("[{index}]"));
            if ignore_missing {
                let Ok(path) = here.folder.join(text) else {
                    continue;
                };
                // A link that leads out of the repository is as good as nothing, as it is for Argo CD.
                if !matches!(build.reading.find(&path, &entry.place), Ok(Some(_))) {
                    continue;
                }
            }
            let found =
                if !ignore_missing && text.contains(['*', '?', '[']) && !text.contains("://") {
                    matching(build, here, &entry)?
                } else {
                    vec![entry]
                };
            for entry in found {
                if file.components.iter().all(|old| old.text != entry.text) {
                    file.components.push(entry);
                }
            }
        }
        Ok(())
    }
}

/// `.key`, or `[key]` when it has dots of its own.
fn below(key: &str) -> String {
    if key.contains(['.', '/']) {
        format!("[{key}]")
    } else {
        format!(".{key}")
    }
}

/// A pair more, unless its key is there and nothing forces it.
fn add(
    pairs: &mut Vec<(String, Text)>,
    key: &str,
    value: &str,
    place: Place,
    force: Option<()>,
    force_field: &str,
) -> Result<(), RenderError> {
    let text = Text::new(value, place);
    match pairs.binary_search_by(|(old, _)| old.as_str().cmp(key)) {
        Ok(at) => {
            let Some((_, old)) = pairs.get_mut(at) else {
                return Ok(());
            };
            if force.is_none() {
                return Err(RenderError::invalid_hint(
                    &text.place,
                    format!("the kustomization sets {key} itself, at {}", old.place),
                    format!("take one of the two away, or add `{force_field}: true`"),
                ));
            }
            *old = text;
        }
        Err(at) => pairs.insert(at, (key.to_owned(), text)),
    }
    Ok(())
}

/// The entry that an override makes, with what it keeps of the old one. A suffix of tags is not kept, as in the
/// reference.
fn entry(new: ImageOverride, old: Option<&Image>, place: Place) -> Image {
    let kept = |new: String, old: Option<&String>| {
        if new == KEEP {
            old.cloned().unwrap_or_default()
        } else {
            new
        }
    };
    Image {
        place,
        name: new.name,
        new_name: kept(new.new_name, old.map(|old| &old.new_name)),
        new_tag: kept(new.new_tag, old.map(|old| &old.new_tag)),
        tag_suffix: String::new(),
        digest: kept(new.digest, old.map(|old| &old.digest)),
    }
}

/// The folders that a pattern of a component's path matches, in the order of their names.
fn matching(
    build: &mut Build<'_, '_>,
    here: &Here,
    entry: &Text,
) -> Result<Vec<Text>, RenderError> {
    let wrong = |what: String| {
        RenderError::invalid_hint(
            &entry.place,
            what,
            "name the components one by one, from this folder",
        )
    };
    let mut found: Vec<RelPath> = vec![here.folder.clone()];
    for part in entry.text.split('/') {
        let mut next = Vec::new();
        let glob = part.contains(['*', '?', '[']).then(|| {
            let glob = GlobBuilder::new(part).literal_separator(true).build();
            glob.map(|glob| glob.compile_matcher())
                .map_err(|error| wrong(format!("{:?} is no pattern: {error}", entry.text)))
        });
        let glob = glob.transpose()?;
        for folder in found {
            let Some(glob) = &glob else {
                next.push(folder.join(part).map_err(|e| wrong(e.to_string()))?);
                continue;
            };
            build.reading.enter(&entry.place)?;
            for inside in build.reading.list(&folder)? {
                let leads_on = matches!(inside.kind, EntryKind::Folder | EntryKind::Symlink);
                if leads_on
                    && glob.is_match(&inside.name)
                    && let Ok(path) = folder.join(&inside.name)
                {
                    next.push(path);
                }
            }
        }
        found = next;
    }
    let mut texts = Vec::new();
    for path in found {
        if build.reading.find(&path, &entry.place)?.is_some() {
            let path = path.from_folder(&here.folder);
            texts.push(Text::new(path, entry.place.clone()));
        }
    }
    if texts.is_empty() {
        return Err(wrong(format!("nothing matches {:?}", entry.text)));
    }
    Ok(texts)
}
