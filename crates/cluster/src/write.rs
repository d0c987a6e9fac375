//! The one way to change an object: an authorized [`Write`], sent with what must hold.

use http::Method;
use lockstep_app::Authorized;
use lockstep_manifest::fields::takeover::Taken;
use lockstep_manifest::write::Propagation;
use lockstep_manifest::{Gvk, Manifest, ObjectId, Verb, Write};
use serde_json::{Value, json};

use crate::call::{APPLY_PATCH, Answer, Ask, CallError, JSON, MERGE_PATCH};
use crate::cluster::{Cluster, FIELD_MANAGER, parse_object, permission};
use crate::error::{ClusterError, Permission};
use crate::path;
use crate::refusal::WriteError;
use crate::served::{Lookup, Resource};
use crate::undeclared;

/// Asks for no validation of an apply besides what every apply gets.
///
/// The server compares an apply with the schema in any case, and refuses a field that is not in it. `Warn` and `Strict`
/// make it parse the body a second time, to look for keys that stand there twice; ours is written from a map, and that
/// second time is a sixth of what an apply costs the server.
/// Source: `applyPatchToCurrentObject` in `k8s.io/apiserver/pkg/endpoints/handlers/patch.go`.
const VALIDATION: &str = "&fieldValidation=Ignore";

/// What became of a write.
#[derive(Clone, Debug, PartialEq)]
pub struct Written {
    /// The object as the server has it now, or would have it after a dry run. None: it is gone.
    pub live: Option<Manifest>,
    /// Was it made by this very request?
    pub created: bool,
    /// What the server said besides, such as fields it does not know.
    pub warnings: Vec<String>,
    /// What became ours that was somebody else's, where the write was to tell.
    pub taken: Vec<Taken>,
}

impl Cluster {
    /// Carries out a write.
    ///
    /// Shape: an apply is a server-side apply with force, manager `lockstep`, in the manner that the write says; a dry
    /// run is one request of the same; a deletion carries uid and resourceVersion, and one that was already done is a
    /// success.
    /// Bounds: 30 s a request. One request, and one discovery when the kind is not known; an apply that is to tell whose
    /// fields it takes, to take over or to give up any sends more where there are any.
    /// Errors: every one names the object; where [`WriteError::outcome_unknown`] says so, look again before going on.
    pub async fn write(&self, write: Authorized<Write>) -> Result<Written, WriteError> {
        let write = write.into_inner();
        let written = match write.verb {
            Verb::Apply => self.apply_among_others(write).await,
            Verb::DryRun => self.apply(write, FIELD_MANAGER, Mode::DryRun).await,
            Verb::Delete(how) => self.delete(&write, how).await,
            Verb::LetGo => self.let_go(write).await,
        };
        match written {
            // The path is gone: what we believe to be served is old. The answer to the write stays what it is.
            Err(WriteError::NotServed {
                object,
                gvk,
                instead,
            }) if instead.is_empty() => {
                let asked = self.discover_soon().await;
                tracing::debug!(ok = asked.is_ok(), "asked again what is served");
                let instead = self.served().versions(&gvk.group_kind());
                let instead = instead.into_iter().filter(|v| *v != gvk.version).collect();
                Err(WriteError::NotServed {
                    object,
                    gvk,
                    instead,
                })
            }
            other => other,
        }
    }

    /// Applies in one request, with force, in this manager's name: dry runs, and Application files, whose gate is their
    /// kind.
    pub(crate) async fn apply(
        &self,
        write: Write,
        manager: &str,
        mode: Mode,
    ) -> Result<Written, WriteError> {
        let patch = self.patch(write, manager).await?;
        let answer = self.send(&patch, mode).await;
        patch.written(answer)
    }

    /// Makes a request of a write, addressed and complete.
    pub(crate) async fn patch(&self, write: Write, manager: &str) -> Result<Patch, WriteError> {
        let object = &write.id;
        let resource = self.resource_to_write(&write.gvk, object).await?;
        let Some(mut body) = write.body else {
            return Err(invalid(object, "", "there is nothing to apply"));
        };
        if body.name() != object.name || body.kind() != object.kind {
            return Err(invalid(
                object,
                "metadata.name",
                "it is not what the manifest says",
            ));
        }
        if resource.namespaced {
            if object.namespace.is_empty() {
                return Err(invalid(
                    object,
                    "metadata.namespace",
                    "this kind needs a namespace",
                ));
            }
            body.set_namespace(Some(&object.namespace));
        } else {
            // A kustomization's `namespace:` reaches cluster-scoped objects too; the server would refuse it.
            body.set_namespace(None);
        }
        demand(&mut body, &write.preconditions);
        let says_replicas = body.get(&["spec", "replicas"]).is_some();
        let manager = path::escape(manager);
        Ok(Patch {
            permission: permission(&["create", "patch"], &resource, &object.namespace),
            path: object_path(&resource, object)?,
            options: format!("?fieldManager={manager}{VALIDATION}"),
            body: body.to_bytes(),
            says_replicas,
            object: write.id,
            gvk: write.gvk,
        })
    }

    /// Sends it.
    pub(crate) async fn send(&self, patch: &Patch, mode: Mode) -> Result<Answer, CallError> {
        let mode = match mode {
            Mode::Real => "&force=true",
            Mode::Unforced => "",
            Mode::DryRun => "&force=true&dryRun=All",
        };
        let path = format!("{}{}{mode}", patch.path, patch.options);
        let ask = Ask::change(Method::PATCH, path, APPLY_PATCH, patch.body.clone());
        self.call_for(&patch.gvk, ask).await
    }

    /// Changes the finalizers of exactly the object that was looked at, and nothing else of it.
    ///
    /// Not a server-side apply: one that says only the finalizers would give up everything else that we own of it.
    async fn let_go(&self, write: Write) -> Result<Written, WriteError> {
        let object = &write.id;
        let resource = self.resource_to_write(&write.gvk, object).await?;
        let Some(mut body) = write.body else {
            return Err(invalid(object, "", "there is nothing to change"));
        };
        demand(&mut body, &write.preconditions);
        let body = json!({"metadata": body.get(&["metadata"])});
        let path = object_path(&resource, object)?;
        let path = format!("{path}?fieldManager={FIELD_MANAGER}");
        let ask = Ask::change(
            Method::PATCH,
            path,
            MERGE_PATCH,
            body.to_string().into_bytes(),
        );
        let permission = permission(&["patch"], &resource, &object.namespace);
        let answer = self.call(ask).await;
        written(object, &write.gvk, &permission, answer)
    }

    /// Deletes exactly the object that was looked at.
    async fn delete(&self, write: &Write, how: Propagation) -> Result<Written, WriteError> {
        let object = &write.id;
        let wanted = &write.preconditions;
        let (Some(uid), Some(version)) = (&wanted.uid, &wanted.resource_version) else {
            return Err(WriteError::Unguarded {
                object: Box::new(object.clone()),
            });
        };
        if uid.0.is_empty() || version.is_empty() {
            return Err(WriteError::Unguarded {
                object: Box::new(object.clone()),
            });
        }
        let resource = self.resource_to_write(&write.gvk, object).await?;
        let ask = delete_ask(&object_path(&resource, object)?, &uid.0, Some(version), how);
        let permission = permission(&["delete"], &resource, &object.namespace);
        let answer = self.call(ask).await;
        match &answer {
            Err(CallError::Refused(status)) if status.code == 404 && status.names().is_some() => {
                Ok(Written {
                    live: None,
                    created: false,
                    warnings: Vec::new(),
                    taken: Vec::new(),
                })
            }
            _ => written(object, &write.gvk, &permission, answer),
        }
    }

    /// Where the kind is, in a write's words.
    pub(crate) async fn resource_to_write(
        &self,
        gvk: &Gvk,
        object: &ObjectId,
    ) -> Result<Resource, WriteError> {
        if let Lookup::Found(resource) = self.served().find(gvk) {
            return Ok(resource);
        }
        let (object, gvk) = (Box::new(object.clone()), gvk.clone());
        match self.discover_soon().await {
            Ok(served) => match served.find(&gvk) {
                Lookup::Found(resource) => Ok(resource),
                Lookup::NotServed => {
                    let instead = served.versions(&gvk.group_kind());
                    Err(WriteError::NotServed {
                        object,
                        gvk,
                        instead,
                    })
                }
                Lookup::Unknown(why) => Err(WriteError::KindUnknown { object, gvk, why }),
            },
            Err(ClusterError::Unauthorized { .. }) => Err(WriteError::Unauthorized { object }),
            Err(ClusterError::TimedOut { after, .. }) => {
                Err(WriteError::TimedOut { object, after })
            }
            Err(ClusterError::Unreachable { why, .. }) => {
                Err(WriteError::Unreachable { object, why })
            }
            Err(error) => Err(WriteError::KindUnknown {
                object,
                gvk,
                why: error.to_string(),
            }),
        }
    }
}

/// What an answer to a write means.
pub(crate) fn written(
    object: &ObjectId,
    gvk: &Gvk,
    permission: &Permission,
    answer: Result<Answer, CallError>,
) -> Result<Written, WriteError> {
    let answer = answer.map_err(|error| WriteError::from_call(object, gvk, permission, error))?;
    let live = answered_object(&answer).map_err(|why| {
        let error = CallError::NotUnderstood { why };
        WriteError::from_call(object, gvk, permission, error)
    })?;
    let warnings = if object.group.is_empty() && object.kind == "Secret" {
        // A warning may quote what it warns of (R10).
        answer
            .warnings
            .iter()
            .map(|_| "the API server sent a warning".to_owned())
            .collect()
    } else {
        answer.warnings
    };
    Ok(Written {
        live,
        created: answer.status == 201,
        warnings,
        taken: Vec::new(),
    })
}

/// Is it meant, and what of fields that others own?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// It is, and they become ours.
    Real,
    /// It is, unless there are any: then the server says whose.
    Unforced,
    /// It is not.
    DryRun,
}

/// A server-side apply, ready to be sent, once or more often.
pub(crate) struct Patch {
    object: ObjectId,
    gvk: Gvk,
    permission: Permission,
    path: String,
    options: String,
    body: Vec<u8>,
    says_replicas: bool,
}

impl Patch {
    pub(crate) fn object(&self) -> &ObjectId {
        &self.object
    }

    /// Does it say how many there are?
    pub(crate) fn says_replicas(&self) -> bool {
        self.says_replicas
    }

    pub(crate) fn gvk(&self) -> &Gvk {
        &self.gvk
    }

    /// Where the object is.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// Leaves out what the server does not know; false when that is not in it.
    pub(crate) fn leave_out(&mut self, fields: &[String]) -> bool {
        let less = undeclared::without(&self.body, fields);
        less.map(|less| self.body = less).is_some()
    }

    /// What an answer to it means.
    pub(crate) fn written(&self, answer: Result<Answer, CallError>) -> Result<Written, WriteError> {
        written(&self.object, &self.gvk, &self.permission, answer)
    }

    /// What a failed call about its object means.
    pub(crate) fn failed(&self, error: CallError) -> WriteError {
        WriteError::from_call(&self.object, &self.gvk, &self.permission, error)
    }

    /// Its object is not what it was.
    pub(crate) fn conflict(&self) -> WriteError {
        WriteError::Conflict {
            object: Box::new(self.object.clone()),
        }
    }
}

/// The request to delete one object, with what must hold.
pub(crate) fn delete_ask(path: &str, uid: &str, version: Option<&str>, how: Propagation) -> Ask {
    let policy = match how {
        Propagation::Foreground => "Foreground",
        Propagation::Background => "Background",
        Propagation::Orphan => "Orphan",
    };
    let mut body = json!({
        "apiVersion": "v1",
        "kind": "DeleteOptions",
        "propagationPolicy": policy,
        "preconditions": {"uid": uid},
    });
    if let Some(version) = version {
        body["preconditions"]["resourceVersion"] = Value::from(version);
    }
    Ask::change(
        Method::DELETE,
        path.to_owned(),
        JSON,
        body.to_string().into_bytes(),
    )
}

/// The object of an answer; a deletion that is done answers a `Status` instead.
fn answered_object(answer: &Answer) -> Result<Option<Manifest>, String> {
    #[derive(serde::Deserialize)]
    struct Kind<'a> {
        kind: std::borrow::Cow<'a, str>,
    }
    let kind: Kind<'_> =
        serde_json::from_slice(&answer.body).map_err(|error| crate::cluster::not_json(&error))?;
    if kind.kind == "Status" {
        Ok(None)
    } else {
        parse_object(&answer.body).map(Some)
    }
}

/// Puts preconditions into what is applied: the server compares both with the live object.
fn demand(body: &mut Manifest, wanted: &lockstep_manifest::Preconditions) {
    let Some(Value::Object(metadata)) = body.body_mut().get_mut("metadata") else {
        return;
    };
    if let Some(uid) = &wanted.uid {
        metadata.insert("uid".to_owned(), Value::from(uid.0.as_str()));
    }
    if let Some(version) = &wanted.resource_version {
        metadata.insert("resourceVersion".to_owned(), Value::from(version.as_str()));
    }
}

pub(crate) fn object_path(resource: &Resource, object: &ObjectId) -> Result<String, WriteError> {
    path::object(resource, &object.namespace, &object.name)
        .map_err(|error| invalid(object, "metadata.name", &error.to_string()))
}

fn invalid(object: &ObjectId, field: &str, message: &str) -> WriteError {
    let causes = vec![(field.to_owned(), message.to_owned())];
    WriteError::Invalid {
        object: Box::new(object.clone()),
        causes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deletion_names_uid_version_and_what_becomes_of_the_rest() {
        let ask = delete_ask("/api/v1/x", "u-1", Some("7"), Propagation::Background);
        let body: Value = serde_json::from_slice(&ask.body).expect("json");
        assert_eq!(
            body,
            json!({"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background",
                   "preconditions": {"uid": "u-1", "resourceVersion": "7"}})
        );
    }
}
