//! ConfigMaps and Secrets made of literals and files, and the hash behind their names.

use base64::Engine as _;
use lockstep_manifest::Place;
use lockstep_manifest::yaml::{Content, Node, Pair, Scalar, Tag};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::build::{Accumulated, Build, Here};
use super::entries::{Generator, Options};
use super::file::File;
use super::metadata::by_built_in;
use super::resource::Resource;
use super::spent::{Spent, VALUE};
use super::take::Text;
use crate::error::RenderError;

/// Base64 of a Secret is broken into lines from this length on, as the reference does.
const BASE64_LINE: usize = 70;

/// One key with its contents and what set it.
struct Entry {
    key: String,
    value: Vec<u8>,
    place: Place,
}

/// Runs all generators of a kustomization.
pub(crate) fn run(
    build: &mut Build<'_, '_>,
    here: &Here,
    file: &File,
    all: &mut Accumulated,
) -> Result<(), RenderError> {
    let options = &file.generator_options;
    for (generators, secret) in [(&file.config_maps, false), (&file.secrets, true)] {
        for generator in generators {
            let mut made = make(build, here, generator, options, secret)?;
            let kind = if secret {
                "SecretGenerator"
            } else {
                "ConfigMapGenerator"
            };
            made.origin = Some(by_built_in(here, kind));
            absorb(all, made, generator, &mut build.spent)?;
        }
    }
    Ok(())
}

/// What a generator makes by itself.
pub(crate) fn make(
    build: &mut Build<'_, '_>,
    here: &Here,
    generator: &Generator,
    global: &Options,
    secret: bool,
) -> Result<Resource, RenderError> {
    let place = &generator.place;
    let what = if secret { "secret" } else { "configmap" };
    if generator.name.is_empty() {
        return Err(RenderError::invalid_hint(
            place,
            format!("a {what} generator needs a name"),
            "add `name:`",
        ));
    }
    let entries = entries(build, here, generator)?;
    let text = |text: &str| Node::text(text, place.clone());
    let mut node = Node::map(place.clone());
    node.set("apiVersion", text("v1"));
    node.set("kind", text(if secret { "Secret" } else { "ConfigMap" }));
    let mut metadata = Node::map(place.clone());
    metadata.set("name", text(&generator.name));
    if !generator.namespace.is_empty() {
        metadata.set("namespace", text(&generator.namespace));
    }
    let own = &generator.options;
    for (field, global, own) in [
        ("labels", &global.labels, &own.labels),
        ("annotations", &global.annotations, &own.annotations),
    ] {
        if global.is_empty() && own.is_empty() {
            continue;
        }
        let mut map = Node::map(place.clone());
        let texts = global
            .iter()
            .chain(own)
            .map(|(key, value)| key.len() + value.text.len());
        let many = global.len() + own.len();
        build.spent.make(
            many * many / 16 + VALUE * many + texts.sum::<usize>(),
            place,
        )?;
        for (key, value) in global.iter().chain(own) {
            map.set(key, Node::text(&*value.text, value.place.clone()));
        }
        metadata.set(field, map);
    }
    node.set("metadata", metadata);
    if secret {
        node.set(
            "type",
            text(if generator.secret_type.is_empty() {
                "Opaque"
            } else {
                &generator.secret_type
            }),
        );
        node.set("data", Node::map(place.clone()));
    }
    for entry in entries {
        build
            .spent
            .make(VALUE + 2 * entry.value.len(), &entry.place)?;
        let (field, value) = encoded(&entry, secret);
        if let Some(map) = node.map_under(field, place) {
            // Keys are known to differ, so there is no need to look for an old one.
            if let Some(pairs) = map.as_map_mut() {
                pairs.push(Pair {
                    key: Scalar::text(entry.key),
                    place: entry.place.clone(),
                    value: Node::text(value, entry.place),
                });
            }
        }
    }
    if global.immutable || own.immutable {
        node.set("immutable", Node::bool(true, place.clone()));
    }
    let mut resource = Resource::new(node);
    resource.hashed = !(global.no_hash || own.no_hash);
    Ok(resource)
}

/// The field a value goes to, and how it is written there.
fn encoded(entry: &Entry, secret: bool) -> (&'static str, String) {
    let base64 = |bytes: &[u8]| base64::engine::general_purpose::STANDARD.encode(bytes);
    if secret {
        return ("data", in_lines(&base64(&entry.value)));
    }
    match std::str::from_utf8(&entry.value) {
        // A text of one newline is lost on the reference's way through YAML.
        Ok("\n") => ("data", String::new()),
        Ok(text) => ("data", text.to_owned()),
        Err(_) => ("binaryData", in_lines(&base64(&entry.value))),
    }
}

fn in_lines(text: &str) -> String {
    if text.len() < BASE64_LINE {
        return text.to_owned();
    }
    let mut lines = String::with_capacity(text.len() + text.len() / BASE64_LINE + 1);
    let mut rest = text;
    while !rest.is_empty() {
        let (line, more) = rest.split_at(rest.len().min(BASE64_LINE));
        lines.push_str(line);
        lines.push('\n');
        rest = more;
    }
    lines
}

/// Everything a generator names: environment files, literals, files, in this order.
fn entries(
    build: &mut Build<'_, '_>,
    here: &Here,
    generator: &Generator,
) -> Result<Vec<Entry>, RenderError> {
    let mut entries = Vec::new();
    for path in &generator.envs {
        let (text, path) = build.load(here, path)?;
        env_file(&text, &build.reading.name(&path), &mut entries);
    }
    for literal in &generator.literals {
        let (key, value) = literal
            .text
            .split_once('=')
            .filter(|(key, _)| !key.is_empty())
            .ok_or_else(|| {
                RenderError::invalid_hint(
                    &literal.place,
                    "a literal is written key=value",
                    "add a key and an `=`",
                )
            })?;
        let unquoted = ['"', '\'']
            .into_iter()
            .find_map(|quote| value.strip_prefix(quote)?.strip_suffix(quote));
        entries.push(Entry {
            key: key.to_owned(),
            value: unquoted.unwrap_or(value).as_bytes().to_vec(),
            place: literal.place.clone(),
        });
    }
    for file in &generator.files {
        let (key, path) = file_key(file)?;
        let named = Text::new(path, file.place.clone());
        let (bytes, path) = build.load(here, &named)?;
        let key = key.unwrap_or_else(|| path.name().to_owned());
        entries.push(Entry {
            key,
            value: bytes.to_vec(),
            place: build.reading.start_of(&path),
        });
    }
    let mut seen = std::collections::HashSet::new();
    for entry in &entries {
        if !seen.insert(entry.key.as_str()) {
            let what = format!("{} has the key {:?} twice", generator.name, entry.key);
            return Err(RenderError::invalid_hint(
                &entry.place,
                what,
                "remove one of them",
            ));
        }
    }
    Ok(entries)
}

fn file_key(file: &Text) -> Result<(Option<String>, String), RenderError> {
    let bad = || {
        RenderError::invalid_hint(
            &file.place,
            format!("{:?} is no file entry", file.text),
            "write PATH or KEY=PATH",
        )
    };
    let mut parts = file.text.split('=');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(path), None, _) if !path.is_empty() => Ok((None, path.to_owned())),
        (Some(key), Some(path), None) if !key.is_empty() && !path.is_empty() => {
            Ok((Some(key.to_owned()), path.to_owned()))
        }
        _ => Err(bad()),
    }
}

fn env_file(text: &[u8], path: &str, entries: &mut Vec<Entry>) {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    for (at, line) in text.split(|byte| *byte == b'\n').enumerate() {
        let line = line.strip_suffix(b"\r").unwrap_or(line).trim_ascii_start();
        if line.is_empty() || line.starts_with(b"#") {
            continue;
        }
        let cut = line.iter().position(|byte| *byte == b'=');
        let (key, value) = cut.map_or((line, &b""[..]), |cut| (&line[..cut], &line[cut + 1..]));
        entries.push(Entry {
            key: String::from_utf8_lossy(key).into_owned(),
            value: value.to_vec(),
            place: Place {
                file: path.into(),
                line: u32::try_from(at + 1).unwrap_or(u32::MAX),
                column: 1,
            },
        });
    }
}

/// Adds what was generated: as a new object, or merged with or in place of the one it is for.
pub(crate) fn absorb(
    all: &mut Accumulated,
    made: Resource,
    generator: &Generator,
    spent: &mut Spent,
) -> Result<(), RenderError> {
    let id = made.id();
    let place = &generator.place;
    spent.look(all.resources.len(), place)?;
    let replaces = matches!(generator.behavior.as_str(), "merge" | "replace");
    let Some(old) = all.resources.by_any_id(&id, place)? else {
        if replaces {
            return Err(RenderError::invalid_hint(
                place,
                format!("there is no {id} to {} with", generator.behavior),
                "remove `behavior:`, or correct name and namespace to those the base gives it",
            ));
        }
        return all.resources.append(made);
    };
    if !replaces {
        return Err(RenderError::invalid_hint(
            place,
            format!("{id} is there already, from {}", old.place()),
            "add `behavior: merge` or `behavior: replace`, or take another name",
        ));
    }
    let mut new = made;
    for field in ["labels", "annotations"] {
        let old_map = old.node.at(&["metadata", field]).cloned();
        let new_map = new.node.at(&["metadata", field]).cloned();
        if let (Some(map), Some(metadata)) =
            (united(old_map, new_map), new.node.get_mut("metadata"))
        {
            metadata.set(field, map);
        }
    }
    if generator.behavior == "merge" {
        for field in ["data", "binaryData"] {
            let keys = |node: &Node| node.get(field).and_then(Node::as_map).map_or(0, <[_]>::len);
            spent.make(keys(&old.node) * keys(&new.node) / 16, place)?;
            let map = united(old.node.get(field).cloned(), new.node.get(field).cloned());
            if let Some(map) = map {
                new.node.set(field, map);
            }
        }
        new.origin = old.origin.clone().or(new.origin);
    }
    let (name, namespace) = (old.name().to_owned(), old.namespace().to_owned());
    new.set_name(&name, place);
    new.set_namespace(&namespace, place);
    // What it is called was said by the one that was there.
    for field in ["name", "namespace"] {
        let said = old.node.at(&["metadata", field]);
        let kept = new.node.get_mut("metadata").and_then(|m| m.get_mut(field));
        if let (Some(said), Some(kept)) = (said, kept) {
            kept.place = said.place.clone();
            kept.trail = said.trail.clone();
        }
    }
    new.node.follow(&old.node);
    new.hashed &= old.hashed;
    new.past.clone_from(&old.past);
    new.prefixes.clone_from(&old.prefixes);
    new.suffixes.clone_from(&old.suffixes);
    new.changed_by.clone_from(&old.changed_by);
    new.variables.clone_from(&old.variables);
    *old = new;
    Ok(())
}

/// Two maps of texts as one, the second winning. Values that were no texts become such.
fn united(old: Option<Node>, new: Option<Node>) -> Option<Node> {
    let mut map = match (old, new) {
        (None, None) => return None,
        (Some(one), None) | (None, Some(one)) => one,
        (Some(mut old), Some(new)) if old.as_map().is_some() => {
            if let Content::Map(pairs) = new.content {
                for pair in pairs {
                    old.set(&pair.key.text.clone(), pair.value);
                }
            }
            old
        }
        (Some(_), Some(new)) => new,
    };
    for pair in map.as_map_mut().into_iter().flatten() {
        pair.value.link = 0;
        if let Content::Scalar(scalar) = &mut pair.value.content {
            if scalar.tag == Tag::Null {
                scalar.text.clear();
            }
            scalar.tag = Tag::Text;
        }
    }
    Some(map)
}

/// Puts the hash of its contents behind the name of everything that wants one.
pub(crate) fn append_hashes(resources: &mut [Resource]) -> Result<(), RenderError> {
    for resource in resources.iter_mut().filter(|resource| resource.hashed) {
        let name = format!("{}-{}", resource.name(), hash(&resource.node)?);
        // It is the contents that give it this name.
        let place = resource.place().clone();
        resource.remember();
        resource.set_name(&name, &place);
    }
    Ok(())
}

/// The ten characters behind a generated name. The name itself does not count, as in the reference.
fn hash(node: &Node) -> Result<String, RenderError> {
    let json = |node: &Node| {
        node.to_value()
            .map_err(|e| RenderError::invalid(&e.place, e.what))
    };
    let field = |name: &str| node.get(name).map(json).transpose();
    let none = || Value::String(String::new());
    let kind = node
        .get("kind")
        .and_then(Node::as_written)
        .unwrap_or_default();
    let mut body = serde_json::Map::new();
    body.insert("kind".to_owned(), Value::from(kind));
    body.insert("name".to_owned(), none());
    body.insert("data".to_owned(), field("data")?.unwrap_or_else(none));
    let body = match kind {
        "ConfigMap" => {
            if let Some(binary) = field("binaryData")?.filter(Value::is_object) {
                body.insert("binaryData".to_owned(), binary);
            }
            Value::Object(body)
        }
        "Secret" => {
            body.insert("type".to_owned(), field("type")?.unwrap_or_else(none));
            if let Some(texts) = field("stringData")?.filter(Value::is_object) {
                body.insert("stringData".to_owned(), texts);
            }
            Value::Object(body)
        }
        _ => json(node)?,
    };
    let mut text = body.to_string();
    // Go escapes these in JSON, because JSON ends up in HTML.
    for (plain, escaped) in [
        ("<", "\\u003c"),
        (">", "\\u003e"),
        ("&", "\\u0026"),
        ("\u{2028}", "\\u2028"),
        ("\u{2029}", "\\u2029"),
    ] {
        if text.contains(plain) {
            text = text.replace(plain, escaped);
        }
    }
    let digest = hex::encode(Sha256::digest(text.as_bytes()));
    let letter = |c: char| match c {
        '0' => 'g',
        '1' => 'h',
        '3' => 'k',
        'a' => 'm',
        'e' => 't',
        other => other,
    };
    Ok(digest.chars().take(10).map(letter).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockstep_manifest::yaml::{Dialect, Limits, read};

    #[test]
    fn the_hash_is_the_references() {
        for (text, want) in [
            ("kind: ConfigMap\ndata: {a: b}\n", "4h2mbtbbt6"),
            ("kind: ConfigMap\n", "6ct58987ht"),
            (
                "kind: Secret\ndata: {a: Yg==}\ntype: Opaque\n",
                "k695gkmbtk",
            ),
        ] {
            let node = read(text.as_bytes(), Dialect::Kustomize, "t", &Limits::default())
                .expect("YAML")
                .remove(0);
            assert_eq!(hash(&node).expect("a hash"), want, "{text}");
        }
    }
}
