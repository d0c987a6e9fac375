//! Checks a value against a structural schema, so that every slip is told at once and with its place.
//!
//! serde stops at the first error and knows no places; an API server is not there when a file is checked. The
//! schema is the one that stands in the CRD, so the two cannot come to differ.

use lockstep_manifest::pointer::join;
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use schemars::transform::AddNullable;
use serde_json::{Map, Value};

use crate::spec_error::SpecError;
use crate::spelling;

/// Schemas are 12 deep at most; what is deeper is no schema of ours.
const DEPTH: usize = 32;

/// What a check found.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    /// Values of a wrong type, and missing ones.
    pub(crate) wrong: Vec<SpecError>,
    /// Keys that the schema does not know.
    pub(crate) unknown: Vec<SpecError>,
}

/// The structural schema of a type, by the same steps that make the CRDs.
pub(crate) fn of<T: JsonSchema>() -> Value {
    let mut settings = SchemaSettings::openapi3();
    settings.inline_subschemas = true;
    settings.meta_schema = None;
    let generator = settings
        .with_transform(AddNullable::default())
        .with_transform(kube_core::schema::StructuralSchemaRewriter)
        .with_transform(kube_core::schema::OptionalEnum)
        .with_transform(kube_core::schema::OptionalIntOrString)
        .into_generator();
    generator.into_root_schema_for::<T>().to_value()
}

/// Checks `value`, which stands at `pointer`, against `schema`.
pub(crate) fn check(schema: &Value, value: &Value, pointer: &str) -> Findings {
    let mut findings = Findings::default();
    walk(schema, value, pointer, DEPTH, &mut findings);
    findings
}

/// Takes out what is null where the schema has a place for something: `syncOptions:` with nothing after it is
/// common in git and means that there are none.
pub(crate) fn without_nulls(schema: &Value, value: &mut Value) {
    prune(schema, value, DEPTH);
}

fn prune(schema: &Value, value: &mut Value, depth: usize) {
    if depth == 0 || is_free(schema) {
        return;
    }
    match value {
        Value::Object(map) => {
            map.retain(|_, value| !value.is_null());
            for (key, value) in map {
                if let Some(schema) = property(schema, key) {
                    prune(schema, value, depth - 1);
                }
            }
        }
        Value::Array(list) => {
            if let Some(schema) = schema.get("items") {
                for value in list {
                    prune(schema, value, depth - 1);
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn walk(schema: &Value, value: &Value, at: &str, depth: usize, findings: &mut Findings) {
    if depth == 0 || value.is_null() {
        return;
    }
    if is_true(schema, "x-kubernetes-int-or-string") {
        if !value.is_i64() && !value.is_string() {
            findings
                .wrong
                .push(wrong_type(at, "a number or a text", value));
        }
        return;
    }
    let kind = schema
        .get("type")
        .and_then(Value::as_str)
        .unwrap_or_default();
    match (kind, value) {
        ("object", Value::Object(map)) => object(schema, map, at, depth, findings),
        ("array", Value::Array(list)) => {
            let Some(items) = schema.get("items") else {
                return;
            };
            for (index, item) in list.iter().enumerate() {
                walk(
                    items,
                    item,
                    &join(at, &index.to_string()),
                    depth - 1,
                    findings,
                );
            }
        }
        ("string", Value::String(text)) => one_of(schema, text, at, findings),
        ("boolean", Value::Bool(_)) | ("number", Value::Number(_)) | ("", _) => {}
        ("integer", Value::Number(number)) if number.is_i64() || number.is_u64() => {}
        (kind, value) => findings.wrong.push(wrong_type(at, article(kind), value)),
    }
}

fn object(
    schema: &Value,
    map: &Map<String, Value>,
    at: &str,
    depth: usize,
    findings: &mut Findings,
) {
    for required in schema
        .get("required")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        let Some(key) = required.as_str() else {
            continue;
        };
        if map.get(key).is_none_or(Value::is_null) {
            findings
                .wrong
                .push(SpecError::new(join(at, key), "is missing"));
        }
    }
    for (key, value) in map {
        let place = join(at, key);
        match property(schema, key) {
            Some(schema) => walk(schema, value, &place, depth - 1, findings),
            None if is_free(schema) || schema.get("properties").is_none() => {}
            None => findings.unknown.push(unknown(schema, key, &place)),
        }
    }
}

fn unknown(schema: &Value, key: &str, at: &str) -> SpecError {
    let known: Vec<&str> = schema
        .get("properties")
        .and_then(Value::as_object)
        .map(|map| map.keys().map(String::as_str).collect())
        .unwrap_or_default();
    let hint = match spelling::nearest(key, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("the keys here are {}", known.join(", ")),
    };
    SpecError::new(at, "there is no such key").hint(hint)
}

fn one_of(schema: &Value, text: &str, at: &str, findings: &mut Findings) {
    let Some(allowed) = schema.get("enum").and_then(Value::as_array) else {
        return;
    };
    let allowed: Vec<&str> = allowed.iter().filter_map(Value::as_str).collect();
    if !allowed.contains(&text) {
        let message = format!("{text:?} is not one of {}", allowed.join(", "));
        let near = spelling::nearest(text, allowed.iter().copied());
        let error = SpecError::new(at, message);
        findings.wrong.push(match near {
            Some(near) => error.hint(format!("did you mean `{near}`?")),
            None => error,
        });
    }
}

/// The schema of one key: its own, or the one of all keys of a map.
fn property<'a>(schema: &'a Value, key: &str) -> Option<&'a Value> {
    schema
        .get("properties")
        .and_then(|p| p.get(key))
        .or_else(|| schema.get("additionalProperties").filter(|p| p.is_object()))
}

fn is_free(schema: &Value) -> bool {
    is_true(schema, "x-kubernetes-preserve-unknown-fields")
}

fn is_true(schema: &Value, key: &str) -> bool {
    schema.get(key).and_then(Value::as_bool) == Some(true)
}

fn article(kind: &str) -> &str {
    match kind {
        "object" => "a map",
        "array" => "a list",
        "string" => "a text",
        "boolean" => "true or false",
        "integer" => "a whole number",
        "number" => "a number",
        other => other,
    }
}

fn wrong_type(at: &str, wanted: &str, value: &Value) -> SpecError {
    let found = match value {
        Value::Null => "nothing".to_owned(),
        Value::Bool(b) => b.to_string(),
        Value::Number(n) => format!("the number {n}"),
        Value::String(_) => "a text".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a map".to_owned(),
    };
    let error = SpecError::new(at, format!("should be {wanted} and is {found}"));
    match value {
        Value::Bool(_) | Value::Number(_) if wanted == "a text" => error.hint("put it into quotes"),
        _ => error,
    }
}
