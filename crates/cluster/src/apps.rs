//! Argo CD's kinds and our own, in the one namespace where they live.

mod event;

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use futures::Stream;
use http::Method;
use lockstep_app::AppKey;
use lockstep_app::project::permissive_default;
use lockstep_app::v1alpha1::{BUNDLE_OF, Bundle, Record};
use lockstep_manifest::write::Propagation;
use lockstep_manifest::{Gvk, Manifest, ObjectId, Sensitive, Uid, Write};
use serde_json::{Map, Value, json};

use crate::call::{Ask, CallError, JSON, MERGE_PATCH};
use crate::cluster::{Cluster, FIELD_MANAGER, permission};
use crate::error::ClusterError;
use crate::path;
use crate::refusal::WriteError;
use crate::served::Resource;
use crate::watch::{Scope, Seen};
use crate::write::{Mode, Written, delete_ask, object_path, written};

pub use event::{EventType, NewEvent};

/// The manager of Application files that the daemon applies for people.
const FILES_MANAGER: &str = "lockstep-files";

/// The annotation by which people ask for a refresh.
const REFRESH: &str = "argocd.argoproj.io/refresh";

/// Argo CD's resources and our records in one namespace. Clones are cheap.
#[derive(Clone, Debug)]
pub struct Apps {
    cluster: Cluster,
    namespace: String,
}

/// What is published besides the status, in the same request.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Extras {
    /// The Application must still be this one: one that was deleted and made again has its own status.
    pub uid: Option<Uid>,
    /// Nobody may have changed it since: for changes that answer what was read.
    pub resource_version: Option<String>,
    /// Takes the top-level `operation` away: it has been taken up.
    pub clear_operation: bool,
    /// Takes the refresh annotation away: it has been done.
    pub clear_refresh: bool,
    /// Replaces the finalizers.
    pub set_finalizers: Option<Vec<String>>,
    /// Sets annotations; none takes one away.
    pub annotations: BTreeMap<String, Option<String>>,
}

/// What a publication left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// The Application's version now: its watch event is an echo of ours.
    pub resource_version: String,
}

/// A record that is ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claimed {
    /// The version to name in the next claim.
    pub resource_version: String,
    /// The record's own uid.
    pub uid: Option<Uid>,
}

/// A record was not claimed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClaimError {
    /// Somebody else changed it, made it or took it away. Read it again; nothing was changed.
    #[error("{object} was changed by somebody else")]
    Lost {
        /// The record.
        object: ObjectId,
    },
    /// The server would not. With [`WriteError::outcome_unknown`] it may be claimed all the same: read it again.
    #[error(transparent)]
    Failed(#[from] WriteError),
}

impl Apps {
    /// Those of one namespace.
    pub fn new(cluster: Cluster, namespace: impl Into<String>) -> Self {
        Self {
            cluster,
            namespace: namespace.into(),
        }
    }

    /// The server that they are on.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Which namespace.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Watches the Applications.
    pub fn watch_applications(&self) -> impl Stream<Item = Seen> + Send + use<> {
        self.watch(&application(), "")
    }

    /// Watches the AppProjects.
    pub fn watch_projects(&self) -> impl Stream<Item = Seen> + Send + use<> {
        self.watch(&project(), "")
    }

    /// Watches our records.
    pub fn watch_records(&self) -> impl Stream<Item = Seen> + Send + use<> {
        self.watch(&record(), "")
    }

    /// Watches the Secrets that carry these labels. An empty selector is every Secret of the namespace.
    pub fn watch_secrets(&self, selector: &str) -> impl Stream<Item = Seen> + Send + use<> {
        self.watch(&secret(), selector)
    }

    fn watch(&self, gvk: &Gvk, selector: &str) -> impl Stream<Item = Seen> + Send + use<> {
        self.cluster.watch_in(Scope {
            gvk: gvk.clone(),
            namespace: self.namespace.clone(),
            selector: selector.to_owned(),
        })
    }

    /// Publishes an app's status, and what belongs to it, by one merge patch on the Application: it has no status
    /// subresource, as in Argo CD.
    ///
    /// Shape: `status` is merged; a key that went away must be in it as null. `Value::Null` leaves the status alone.
    /// Errors: `Conflict` when it is another Application, or was changed where `resource_version` forbids it.
    pub async fn publish(
        &self,
        app: &AppKey,
        status: Value,
        extras: Extras,
    ) -> Result<Published, WriteError> {
        let object = id_in(&app.namespace, &application(), &app.name);
        let body = publication(status, extras);
        let written =
            self.patch(&application(), &object, &body)
                .await
                .map_err(|error| match error {
                    // A uid that differs is refused as a change of an immutable field.
                    WriteError::Immutable { object, .. } => WriteError::Conflict { object },
                    other => other,
                })?;
        Ok(Published {
            resource_version: version_of(&written),
        })
    }

    /// Writes a record where it is as it was: the compare-and-swap that everything else rests on.
    ///
    /// Shape: without `previous` it is created, and must not be there; with it, it is replaced whole.
    pub async fn claim(
        &self,
        record: &Record,
        previous: Option<&str>,
    ) -> Result<Claimed, ClaimError> {
        let gvk = self::record();
        let name = record.metadata.name.clone().unwrap_or_default();
        let object = self.id(&gvk, &name);
        let mut body = serde_json::to_value(record).unwrap_or(Value::Null);
        body["metadata"]["namespace"] = Value::from(self.namespace.as_str());
        let resource = self.cluster.resource_to_write(&gvk, &object).await?;
        let (ask, verb) = match previous {
            None => {
                forget_version(&mut body);
                let path = collection(&resource, &object)?;
                (change(Method::POST, &path, JSON, &body), "create")
            }
            Some(version) => {
                body["metadata"]["resourceVersion"] = Value::from(version);
                let path = object_path(&resource, &object)?;
                (change(Method::PUT, &path, JSON, &body), "update")
            }
        };
        let permission = permission(&[verb], &resource, &self.namespace);
        let answer = self.cluster.call(ask).await;
        if let Err(CallError::Refused(status)) = &answer {
            let gone = status.code == 404 && previous.is_some() && status.names().is_some();
            if status.code == 409 || gone {
                return Err(ClaimError::Lost { object });
            }
        }
        let written = written(&object, &gvk, &permission, answer)?;
        let uid = written.live.as_ref().and_then(Manifest::uid);
        Ok(Claimed {
            resource_version: version_of(&written),
            uid,
        })
    }

    /// Reads one Application, as it is now.
    pub async fn application(&self, app: &AppKey) -> Result<Option<Manifest>, ClusterError> {
        let gvk = application();
        let object = id_in(&app.namespace, &gvk, &app.name);
        self.cluster.get(&gvk, &object).await
    }

    /// Reads one record, as it is now.
    pub async fn record(&self, name: &str) -> Result<Option<Manifest>, ClusterError> {
        let gvk = record();
        self.cluster.get(&gvk, &self.id(&gvk, name)).await
    }

    /// Deletes a record exactly as it was last claimed.
    pub async fn delete_record(
        &self,
        name: &str,
        uid: &Uid,
        version: &str,
    ) -> Result<(), ClaimError> {
        let gvk = record();
        let object = self.id(&gvk, name);
        let resource = self.cluster.resource_to_write(&gvk, &object).await?;
        let path = object_path(&resource, &object)?;
        let ask = delete_ask(&path, &uid.0, Some(version), Propagation::Background);
        let permission = permission(&["delete"], &resource, &self.namespace);
        match self.cluster.call(ask).await {
            Err(CallError::Refused(status)) if status.code == 404 && status.names().is_some() => {
                Ok(())
            }
            Err(CallError::Refused(status)) if status.code == 409 => {
                Err(ClaimError::Lost { object })
            }
            answer => Ok(written(&object, &gvk, &permission, answer).map(|_| ())?),
        }
    }

    /// Stores a bundle. It is named by what is in it, so one that is there already is the same.
    pub async fn store_bundle(&self, bundle: &Bundle) -> Result<(), WriteError> {
        let gvk = self::bundle();
        let name = bundle.metadata.name.clone().unwrap_or_default();
        let object = self.id(&gvk, &name);
        let body = serde_json::to_value(bundle).unwrap_or(Value::Null);
        match self.create(&gvk, &object, &body).await {
            Ok(_) | Err(WriteError::Conflict { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Reads one bundle.
    pub async fn bundle(&self, name: &str) -> Result<Option<Manifest>, ClusterError> {
        let gvk = bundle();
        self.cluster.get(&gvk, &self.id(&gvk, name)).await
    }

    /// Deletes the bundles of a set but for these.
    pub async fn forget_bundles(
        &self,
        set: &str,
        keep: &BTreeSet<String>,
    ) -> Result<(), ClusterError> {
        let gvk = bundle();
        let selector = format!("{BUNDLE_OF}={set}");
        let all = self.cluster.list(&gvk, &self.namespace, &selector).await?;
        for old in all.iter().filter(|old| !keep.contains(old.name())) {
            let (Some(uid), Ok(resource)) = (old.uid(), self.cluster.resource(&gvk).await) else {
                continue;
            };
            let Ok(path) = object_path(&resource, &old.id()) else {
                continue;
            };
            let ask = delete_ask(&path, &uid.0, None, Propagation::Background);
            if let Err(error) = self.cluster.call(ask).await {
                tracing::debug!(bundle = old.name(), ?error, "stays for now");
            }
        }
        Ok(())
    }

    /// Creates the permissive project `default` where it is not there, and answers with what it made.
    pub async fn ensure_project_default(&self) -> Result<Option<Manifest>, WriteError> {
        let gvk = project();
        let object = self.id(&gvk, "default");
        match self.cluster.get(&gvk, &object).await {
            Ok(Some(_)) => return Ok(None),
            Ok(None) => {}
            // Creating it says better why it cannot be looked at.
            Err(error) => tracing::debug!(%error, "cannot look for the project default"),
        }
        let project = permissive_default(&self.namespace);
        let mut body = serde_json::to_value(&project).unwrap_or(Value::Null);
        body["apiVersion"] = Value::from(gvk.api_version());
        body["kind"] = Value::from(gvk.kind.as_str());
        match self.create(&gvk, &object, &body).await {
            Ok(written) => Ok(written.live),
            Err(WriteError::Conflict { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Applies an Application or AppProject that stands in a file, in the name of `lockstep-files`. Other kinds are
    /// refused: only these need no project.
    pub async fn apply_application(&self, manifest: Manifest) -> Result<Written, WriteError> {
        let gvk = manifest.gvk();
        let mut write = Write::apply(manifest);
        if gvk != application() && gvk != project() {
            let causes = vec![(
                "kind".to_owned(),
                "neither Application nor AppProject".to_owned(),
            )];
            return Err(WriteError::Invalid {
                object: Box::new(write.id),
                causes,
            });
        }
        if write.id.namespace.is_empty() {
            write.id.namespace.clone_from(&self.namespace);
        }
        self.cluster.apply(write, FILES_MANAGER, Mode::Real).await
    }

    /// Reads a Secret.
    pub async fn secret(&self, name: &str) -> Result<Option<Sensitive<Manifest>>, ClusterError> {
        let gvk = secret();
        let found = self.cluster.get(&gvk, &self.id(&gvk, name)).await?;
        Ok(found.map(Sensitive::new))
    }

    /// Sets one key of a Secret, or takes it away; makes the Secret where it is not there.
    pub async fn set_secret_key(
        &self,
        name: &str,
        key: &str,
        value: Option<&[u8]>,
    ) -> Result<(), WriteError> {
        let gvk = secret();
        let object = self.id(&gvk, name);
        let mut data = Map::new();
        data.insert(
            key.to_owned(),
            value.map_or(Value::Null, |v| Value::from(BASE64.encode(v))),
        );
        let body = json!({ "data": data });
        match self.patch(&gvk, &object, &body).await {
            Err(WriteError::Missing { .. }) if value.is_some() => {}
            other => return other.map(|_| ()),
        }
        let body = json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "Opaque",
            "metadata": {"name": name, "namespace": self.namespace},
            "data": data,
        });
        self.create(&gvk, &object, &body).await.map(|_| ())
    }

    pub(crate) async fn create(
        &self,
        gvk: &Gvk,
        object: &ObjectId,
        body: &Value,
    ) -> Result<Written, WriteError> {
        let resource = self.cluster.resource_to_write(gvk, object).await?;
        let path = collection(&resource, object)?;
        let ask = change(Method::POST, &path, JSON, body);
        let permission = permission(&["create"], &resource, &object.namespace);
        written(object, gvk, &permission, self.cluster.call(ask).await)
    }

    async fn patch(
        &self,
        gvk: &Gvk,
        object: &ObjectId,
        body: &Value,
    ) -> Result<Written, WriteError> {
        let resource = self.cluster.resource_to_write(gvk, object).await?;
        let path = object_path(&resource, object)?;
        let ask = change(Method::PATCH, &path, MERGE_PATCH, body);
        let permission = permission(&["patch"], &resource, &object.namespace);
        written(object, gvk, &permission, self.cluster.call(ask).await)
    }

    fn id(&self, gvk: &Gvk, name: &str) -> ObjectId {
        id_in(&self.namespace, gvk, name)
    }
}

fn id_in(namespace: &str, gvk: &Gvk, name: &str) -> ObjectId {
    ObjectId {
        group: gvk.group.clone(),
        kind: gvk.kind.clone(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    }
}

/// A request that changes something, in our name.
fn change(method: Method, path: &str, content_type: &'static str, body: &Value) -> Ask {
    let path = format!("{path}?fieldManager={FIELD_MANAGER}");
    Ask::change(method, path, content_type, body.to_string().into_bytes())
}

fn collection(resource: &Resource, object: &ObjectId) -> Result<String, WriteError> {
    path::collection(resource, &object.namespace).map_err(|error| WriteError::Invalid {
        object: Box::new(object.clone()),
        causes: vec![("metadata.namespace".to_owned(), error.to_string())],
    })
}

/// The merge patch of a publication.
fn publication(status: Value, extras: Extras) -> Value {
    let mut metadata = Map::new();
    if let Some(uid) = extras.uid {
        metadata.insert("uid".to_owned(), Value::from(uid.0));
    }
    if let Some(version) = extras.resource_version {
        metadata.insert("resourceVersion".to_owned(), Value::from(version));
    }
    if let Some(finalizers) = extras.set_finalizers {
        metadata.insert("finalizers".to_owned(), Value::from(finalizers));
    }
    let mut annotations: Map<String, Value> = extras
        .annotations
        .into_iter()
        .map(|(key, value)| (key, Value::from(value)))
        .collect();
    if extras.clear_refresh {
        annotations.insert(REFRESH.to_owned(), Value::Null);
    }
    if !annotations.is_empty() {
        metadata.insert("annotations".to_owned(), Value::from(annotations));
    }
    let mut body = Map::new();
    if !metadata.is_empty() {
        body.insert("metadata".to_owned(), Value::from(metadata));
    }
    if extras.clear_operation {
        body.insert("operation".to_owned(), Value::Null);
    }
    if !status.is_null() {
        body.insert("status".to_owned(), status);
    }
    Value::from(body)
}

fn forget_version(body: &mut Value) {
    if let Some(Value::Object(metadata)) = body.get_mut("metadata") {
        metadata.remove("resourceVersion");
        metadata.remove("uid");
    }
}

fn version_of(written: &Written) -> String {
    let version = written.live.as_ref().and_then(Manifest::resource_version);
    version.unwrap_or_default().to_owned()
}

fn application() -> Gvk {
    Gvk::from_api_version("argoproj.io/v1alpha1", "Application")
}

fn project() -> Gvk {
    Gvk::from_api_version("argoproj.io/v1alpha1", "AppProject")
}

fn record() -> Gvk {
    Gvk::from_api_version("lockstep.dev/v1alpha1", "Record")
}

fn bundle() -> Gvk {
    Gvk::from_api_version("lockstep.dev/v1alpha1", "Bundle")
}

fn secret() -> Gvk {
    Gvk::from_api_version("v1", "Secret")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_publication_is_one_patch_with_only_what_was_asked() {
        assert_eq!(publication(Value::Null, Extras::default()), json!({}));
        let extras = Extras {
            uid: Some(Uid("u".into())),
            clear_operation: true,
            clear_refresh: true,
            set_finalizers: Some(Vec::new()),
            ..Extras::default()
        };
        assert_eq!(
            publication(json!({"sync": {"status": "Synced"}}), extras),
            json!({
                "metadata": {"uid": "u", "finalizers": [], "annotations": {REFRESH: null}},
                "operation": null,
                "status": {"sync": {"status": "Synced"}},
            })
        );
    }
}
