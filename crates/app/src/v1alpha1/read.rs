//! Reading one object at a time, so that one that cannot be read stops no other.

use std::sync::LazyLock;

use lockstep_manifest::pointer;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{
    AppProject, AppProjectSpec, Application, ApplicationFields, ApplicationSpec, Operation,
};
use crate::schema::{self, Findings};
use crate::spec_error::SpecError;

static APPLICATION: LazyLock<Value> = LazyLock::new(schema::of::<ApplicationFields>);
static PROJECT: LazyLock<Value> = LazyLock::new(schema::of::<AppProjectSpec>);

impl Application {
    /// Reads one Application, from a cluster or from a file.
    ///
    /// Shape: keys that the schema does not know are left out and recorded in `spec.unknown`; a status in another
    /// shape counts as none. Errors: every value of a wrong type, each with its place.
    pub fn read(value: Value) -> Result<Self, Vec<SpecError>> {
        let (read, findings) = Self::read_strictly(value)?;
        let mut read = read;
        read.spec.unknown = findings.unknown.iter().map(SpecError::path).collect();
        Ok(read)
    }

    /// The same, and what the schema does not know as errors: for files, where a slip can still be mended.
    pub(crate) fn read_strictly(mut value: Value) -> Result<(Self, Findings), Vec<SpecError>> {
        if !value.is_object() {
            return Err(vec![SpecError::new("", "an Application is a map")]);
        }
        let mut findings = Findings::default();
        for key in ["spec", "operation"] {
            let at = format!("/{key}");
            let schema = APPLICATION
                .pointer(&format!("/properties/{key}"))
                .unwrap_or(&Value::Null);
            match value.get_mut(key) {
                Some(part) if !part.is_null() => {
                    let found = schema::check(schema, part, &at);
                    findings.wrong.extend(found.wrong);
                    findings.unknown.extend(found.unknown);
                    schema::without_nulls(schema, part);
                }
                _ if key == "spec" => findings.wrong.push(SpecError::new(at, "is missing")),
                _ => {}
            }
        }
        if !findings.wrong.is_empty() {
            return Err(findings.wrong);
        }
        // Decoded part by part: what serde says then has at least the place of its part.
        let spec: ApplicationSpec = decode(&value, "/spec")?.unwrap_or_default();
        let operation: Option<Operation> = decode(&value, "/operation")?;
        let metadata = decode(&value, "/metadata")?.unwrap_or_default();
        let status = value
            .get("status")
            .cloned()
            .and_then(|s| serde_json::from_value(s).ok());
        let fields = ApplicationFields {
            spec,
            operation,
            unknown: Vec::new(),
        };
        Ok((
            Self {
                metadata,
                spec: fields,
                status,
            },
            findings,
        ))
    }

    /// What is wanted.
    pub fn wanted(&self) -> &ApplicationSpec {
        &self.spec.spec
    }

    /// One of its labels.
    pub fn label(&self, key: &str) -> Option<&str> {
        self.metadata.labels.as_ref()?.get(key).map(String::as_str)
    }

    /// One of its annotations.
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.metadata
            .annotations
            .as_ref()?
            .get(key)
            .map(String::as_str)
    }
}

impl AppProject {
    /// Reads one AppProject. Errors: every value of a wrong type, each with its place. Keys that the schema does
    /// not know are errors too: a rule that is not read would be a rule that does not hold.
    pub fn read(mut value: Value) -> Result<Self, Vec<SpecError>> {
        let mut errors = Vec::new();
        if let Some(spec) = value.get_mut("spec") {
            let found = schema::check(&PROJECT, spec, "/spec");
            errors.extend(found.wrong);
            errors.extend(found.unknown);
            schema::without_nulls(&PROJECT, spec);
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        Ok(Self {
            metadata: decode(&value, "/metadata")?.unwrap_or_default(),
            spec: decode(&value, "/spec")?.unwrap_or_default(),
            status: value
                .get("status")
                .cloned()
                .and_then(|s| serde_json::from_value(s).ok()),
        })
    }
}

fn decode<T: DeserializeOwned>(value: &Value, at: &str) -> Result<Option<T>, Vec<SpecError>> {
    let parts = pointer::parts(at).unwrap_or_default();
    let part = parts.iter().try_fold(value, |value, part| value.get(part));
    let Some(part) = part.filter(|part| !part.is_null()) else {
        return Ok(None);
    };
    serde_json::from_value(part.clone())
        .map(Some)
        .map_err(|error| vec![SpecError::new(at, error.to_string())])
}
