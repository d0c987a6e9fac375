//! A plain directory: every object in its files, as Argo CD takes them.

use globset::{GlobBuilder, GlobMatcher};
use lockstep_app::app::Directory;
use lockstep_manifest::Manifest;
use lockstep_manifest::yaml::{self, Dialect, Node};
use lockstep_tree::{EntryKind, RelPath};
use serde_json::Value;

use crate::error::RenderError;
use crate::reading::Reading;

/// A file that holds this anywhere is left out.
const SKIP: &str = "+argocd:skip-file-rendering";

/// All objects of a folder, files in the order of their names.
///
/// Source: Argo CD's directory sources: `.yaml`, `.yml`, `.json`; globs against the path below the folder, `*` also
/// across `/`, `exclude` wins; `kind: List` expanded; a file that is YAML and no manifest is left out.
pub(crate) fn objects(
    reading: &mut Reading<'_>,
    folder: &RelPath,
    options: &Directory,
) -> Result<Vec<Manifest>, RenderError> {
    let include = glob(reading, folder, "include", &options.include)?;
    let exclude = glob(reading, folder, "exclude", &options.exclude)?;
    let mut files = Vec::new();
    let mut open = vec![folder.clone()];
    while let Some(at) = open.pop() {
        reading.enter(&reading.start_of(&at))?;
        for entry in reading.list(&at)? {
            // A name with a backslash is a file's name on Linux, and nobody's manifest.
            let Ok(path) = at.join(&entry.name) else {
                continue;
            };
            match entry.kind {
                EntryKind::Folder if options.recurse => open.push(path),
                EntryKind::File | EntryKind::Executable | EntryKind::Symlink => files.push(path),
                EntryKind::Folder | EntryKind::Submodule => {}
            }
        }
    }
    files.sort();
    let mut objects = Vec::new();
    let mut bytes = 0;
    for path in files {
        let name = path.name();
        let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
        let below = path.from_folder(folder);
        if exclude.as_ref().is_some_and(|glob| glob.is_match(&below))
            || include.as_ref().is_some_and(|glob| !glob.is_match(&below))
        {
            continue;
        }
        if extension == "jsonnet" {
            reading
                .warnings
                .push(format!("{path} is left out: Jsonnet is not rendered"));
            continue;
        }
        if !matches!(extension, "yaml" | "yml" | "json") {
            continue;
        }
        let start = reading.start_of(&path);
        reading.enter(&start)?;
        let Some(text) = reading.file(&path, &start)? else {
            continue;
        };
        bytes += text.len();
        if bytes > reading.limits.directory_bytes {
            return Err(RenderError::Limit {
                place: start,
                what: format!(
                    "more than {} bytes of manifests in {folder}",
                    reading.limits.directory_bytes
                ),
            });
        }
        read_file(reading, &path, extension == "json", &text, &mut objects)?;
        reading.check_count(objects.len(), &start)?;
    }
    Ok(objects)
}

fn glob(
    reading: &Reading<'_>,
    folder: &RelPath,
    field: &str,
    pattern: &str,
) -> Result<Option<GlobMatcher>, RenderError> {
    if pattern.is_empty() {
        return Ok(None);
    }
    let glob = GlobBuilder::new(pattern).literal_separator(false).build();
    let glob = glob.map_err(|e| RenderError::Invalid {
        place: reading.start_of(folder),
        what: format!("spec.source.directory.{field} is no glob: {e}"),
        hint: Some("write something like `*.yaml` or `{web,api}/*`".to_owned()),
    })?;
    Ok(Some(glob.compile_matcher()))
}

fn read_file(
    reading: &mut Reading<'_>,
    path: &RelPath,
    json: bool,
    text: &[u8],
    objects: &mut Vec<Manifest>,
) -> Result<(), RenderError> {
    if contains(text, SKIP) {
        return Ok(());
    }
    let read = documents(path, json, text, reading).and_then(|documents| {
        let mut found = Vec::new();
        for node in &documents {
            objects_of(node, &mut found)?;
        }
        Ok(found)
    });
    match read {
        Ok(found) => objects.extend(found),
        // Values files and the like lie beside manifests; what looks like a manifest must be one.
        Err(error) => {
            if ["apiVersion", "kind", "metadata"]
                .into_iter()
                .all(|word| contains(text, word))
            {
                return Err(error);
            }
            reading
                .warnings
                .push(format!("{path} is left out: it holds no manifest"));
        }
    }
    Ok(())
}

fn contains(text: &[u8], word: &str) -> bool {
    text.windows(word.len())
        .any(|window| window == word.as_bytes())
}

fn documents(
    path: &RelPath,
    json: bool,
    text: &[u8],
    reading: &Reading<'_>,
) -> Result<Vec<Node>, RenderError> {
    match yaml::read(text, Dialect::Kubectl, path.as_str(), &reading.limits.yaml) {
        Ok(documents) => Ok(documents),
        // JSON has escapes that YAML has not (surrogate pairs).
        Err(error) if json => match serde_json::from_slice::<Value>(text) {
            Ok(value) => Ok(vec![Node::from_value(&value, &reading.start_of(path))]),
            Err(_) => Err(error.into()),
        },
        Err(error) => Err(error.into()),
    }
}

fn objects_of(node: &Node, into: &mut Vec<Manifest>) -> Result<(), RenderError> {
    if node.is_null() || node.as_map().is_some_and(<[_]>::is_empty) {
        return Ok(());
    }
    let list =
        node.get("kind").is_some() && node.get("metadata").and_then(|m| m.get("name")).is_none();
    let items = node.get("items").and_then(Node::as_list).filter(|_| list);
    // A list in a list is no object, and will say so.
    for object in items.unwrap_or(std::slice::from_ref(node)) {
        if !object.is_null() {
            into.push(yaml::manifest(object)?);
        }
    }
    Ok(())
}
