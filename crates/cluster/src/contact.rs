//! An apply that meets what others own: told of conflicts, taking over what was left behind, giving up what is not ours
//! to say.
//!
//! What belongs to whom stands in `metadata.managedFields`, and the server takes changes of it in an ordinary patch. Every
//! such patch here carries the uid and the version that it was made from, so that nothing is lost which somebody else
//! wrote meanwhile; when it was, the object is read again.

use std::collections::BTreeMap;

use http::Method;
use lockstep_manifest::fields::REPLICAS;
use lockstep_manifest::fields::takeover::{self, Reassigned, Taken};
use lockstep_manifest::write::{Conflicts, Takeover, Validation};
use lockstep_manifest::{Gvk, Manifest, ObjectId, Write};
use serde_json::{Value, json};

use crate::call::{Answer, Ask, CallError, MERGE_PATCH};
use crate::cluster::{Cluster, FIELD_MANAGER, parse_object};
use crate::error::ClusterError;
use crate::path;
use crate::refusal::WriteError;
use crate::status::{Status, presentable};
use crate::undeclared;
use crate::write::{Mode, Patch, Written};

/// How often a change of the bookkeeping is made anew because somebody else wrote in between. A controller that writes
/// all the time leaves gaps of some hundred milliseconds, and a try takes ten.
const TRIES: usize = 5;

impl Cluster {
    /// Applies, in as many requests as it takes: one, unless somebody else has a part in the object.
    pub(crate) async fn apply_among_others(&self, mut write: Write) -> Result<Written, WriteError> {
        let manner = std::mem::take(&mut write.manner);
        let uid = write.preconditions.uid.clone();
        let mut patch = self.patch(write, FIELD_MANAGER).await?;
        if !manner.release.is_empty() {
            let given_up = |live: &Manifest| takeover::release(live, &manner.release);
            self.reassign(&patch, uid.as_ref(), None, |live| {
                given_up(live).map(|entries| (entries, ()))
            })
            .await?;
        }
        let mode = match manner.conflicts {
            Conflicts::Force => Mode::Real,
            Conflicts::Tell => Mode::Unforced,
        };
        let mut taken = Vec::new();
        let mut answer = self.send(&patch, mode).await;
        if manner.validation == Validation::Ignore
            && let Err(CallError::Refused(status)) = &answer
            && let Some(fields) = undeclared::fields(status)
            && patch.leave_out(&fields)
        {
            answer = self.send(&patch, mode).await;
        }
        if let Err(CallError::Refused(status)) = &answer
            && mode == Mode::Unforced
            && status.has_cause(CONFLICT)
        {
            taken = told(status);
            answer = self.send(&patch, Mode::Real).await;
        }
        if let Err(CallError::Refused(status)) = &answer
            && is_of_another_version(status)
        {
            let version = patch.gvk().api_version();
            let rewritten = self
                .reassign(&patch, uid.as_ref(), None, |live| {
                    takeover::in_version(live, &version).map(|entries| (entries, ()))
                })
                .await?;
            if rewritten.is_some() {
                answer = self.send(&patch, Mode::Real).await;
            }
        }
        let mut written = patch.written(answer)?;
        written.taken = taken;
        if manner.takeover != Takeover::None && !written.created {
            written = self.take_over(&patch, &manner.takeover, written).await?;
        }
        Ok(written)
    }

    /// Does an autoscaler scale this object, whoever made that?
    ///
    /// Bounds: a list of the namespace's autoscalers.
    pub async fn is_scaled(&self, id: &ObjectId) -> Result<bool, ClusterError> {
        let autoscaler = Gvk::from_api_version("autoscaling/v2", "HorizontalPodAutoscaler");
        let found = match self.list(&autoscaler, &id.namespace, "").await {
            Err(ClusterError::NotServed { .. }) => return Ok(false),
            found => found?,
        };
        Ok(found.iter().any(|autoscaler| {
            let text = |key: &str| autoscaler.text(&["spec", "scaleTargetRef", key]);
            let target = Gvk::from_api_version(text("apiVersion"), text("kind"));
            target.group_kind() == id.group_kind() && text("name") == id.name
        }))
    }

    /// Takes over what others left behind, and applies once more, so that what git does not say of it goes; but for a
    /// number that an autoscaler sets.
    async fn take_over(
        &self,
        patch: &Patch,
        whose: &Takeover,
        mut written: Written,
    ) -> Result<Written, WriteError> {
        let live = written.live.take();
        let uid = live.as_ref().and_then(Manifest::uid);
        let mut left = Vec::new();
        match &live {
            Some(live) if takeover::take_over(live, whose, &left).is_some() => {
                let counts = takeover::is_apart(live, REPLICAS).is_some();
                // What nobody says would fall back to one. Where it is not known who scales it, the number stays.
                if counts
                    && !patch.says_replicas()
                    && self.is_scaled(patch.object()).await != Ok(false)
                {
                    left.push(REPLICAS.to_owned());
                }
            }
            _ => {
                written.live = live;
                return Ok(written);
            }
        }
        let taken = self
            .reassign(patch, uid.as_ref(), live, |live| {
                takeover::take_over(live, whose, &left)
                    .map(|Reassigned { entries, taken }| (entries, taken))
            })
            .await?;
        let mut again = patch.written(self.send(patch, Mode::Real).await)?;
        let also = taken.into_iter().flatten();
        again.taken = takeover::together(written.taken.into_iter().chain(also));
        Ok(again)
    }

    /// Changes who owns what of an object, as it is live; `first` is what is known of it. None: there is nothing to
    /// change, or no object.
    async fn reassign<T>(
        &self,
        patch: &Patch,
        uid: Option<&lockstep_manifest::Uid>,
        mut first: Option<Manifest>,
        change: impl Fn(&Manifest) -> Option<(Vec<Value>, T)>,
    ) -> Result<Option<T>, WriteError> {
        for _ in 0..TRIES {
            let live = match first.take() {
                Some(live) => Some(live),
                None => self.read_again(patch).await?,
            };
            let Some((live, (entries, said))) = live.and_then(|live| {
                let changed = change(&live)?;
                Some((live, changed))
            }) else {
                return Ok(None);
            };
            let now = live.uid();
            if uid.is_some() && uid != now.as_ref() {
                return Err(patch.conflict());
            }
            // An empty list would make the server forget everybody, and call them `before-first-apply` next time.
            if entries.is_empty() {
                return Ok(None);
            }
            let body = json!({"metadata": {
                "uid": now.map(|uid| uid.0),
                "resourceVersion": live.resource_version(),
                "managedFields": entries,
            }});
            let manager = path::escape(FIELD_MANAGER);
            let at = format!("{}?fieldManager={manager}", patch.path());
            let body = body.to_string().into_bytes();
            let ask = Ask::change(Method::PATCH, at, MERGE_PATCH, body);
            match self.call_for(patch.gvk(), ask).await {
                Err(CallError::Refused(status)) if status.code == 409 => {}
                answer => {
                    patch.written(answer)?;
                    return Ok(Some(said));
                }
            }
        }
        Err(patch.conflict())
    }

    async fn read_again(&self, patch: &Patch) -> Result<Option<Manifest>, WriteError> {
        match self.call(Ask::get(patch.path().to_owned())).await {
            Err(CallError::Refused(status)) if status.code == 404 && status.names().is_some() => {
                Ok(None)
            }
            Err(error) => Err(patch.failed(error)),
            Ok(Answer { body, .. }) => parse_object(&body)
                .map(Some)
                .map_err(|why| patch.failed(CallError::NotUnderstood { why })),
        }
    }
}

/// The reason of a cause that says whose a field is.
/// Source: `k8s.io/apimachinery/pkg/apis/meta/v1`, `CauseTypeFieldManagerConflict`.
const CONFLICT: &str = "FieldManagerConflict";

/// Whose fields they are, as a refused apply says: `conflict with "kubectl-edit" using apps/v1` at `.spec.replicas`.
/// Source: `k8s.io/apimachinery/pkg/util/managedfields/internal/conflict.go`.
fn told(status: &Status) -> Vec<Taken> {
    let mut by: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for cause in status.causes().iter().filter(|c| c.reason == CONFLICT) {
        let quoted = |after: &str| {
            let (_, rest) = cause.message.split_once(after)?;
            Some(rest.split_once('"')?.0)
        };
        let manager = quoted("conflict with \"").unwrap_or("somebody");
        let label = match quoted(" with subresource \"") {
            Some(subresource) => format!("{manager} ({subresource})"),
            None => manager.to_owned(),
        };
        let fields = by.entry(presentable(&label)).or_default();
        fields.push(presentable(&readable(&cause.field)));
    }
    by.into_iter()
        .filter_map(|(manager, fields)| Taken::from(manager, fields))
        .collect()
}

/// `.spec.containers[name="web"].image` as people read it here: `spec.containers[web].image`.
fn readable(field: &str) -> String {
    // Keys of these maps have dots in them, and the server does not quote them.
    for map in [".metadata.labels.", ".metadata.annotations.", ".data."] {
        if let Some(key) = field.strip_prefix(map) {
            let map = map.trim_matches('.');
            return if key.contains(['.', '/']) {
                format!("{map}[{key}]")
            } else {
                format!("{map}.{key}")
            };
        }
    }
    let mut text = String::new();
    for (at, piece) in field.trim_start_matches('.').split('[').enumerate() {
        let Some((keys, rest)) = piece.split_once(']').filter(|_| at > 0) else {
            text.push_str(piece);
            continue;
        };
        let names: Vec<&str> = keys
            .split(',')
            .map(|key| key.split_once('=').map_or(key, |(_, value)| value))
            .map(|value| value.trim_matches('"'))
            .collect();
        text.extend(["[", &names.join("/"), "]", rest]);
    }
    text
}

/// Does the server refuse because it cannot express the object in the version of somebody's older entry? It says no more
/// than `.spec.x: field not declared in schema`, of a field that is not in what was applied.
fn is_of_another_version(status: &Status) -> bool {
    const OF_OURS: &str = "failed to create typed patch object";
    status.code >= 500
        && status.reason.is_empty()
        && status.message.contains("field not declared in schema")
        && !status.message.starts_with(OF_OURS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conflict_is_told_by_manager_and_path() {
        let status = Status::from_answer(
            409,
            br#"{"reason": "Conflict", "details": {"causes": [
                {"reason": "FieldManagerConflict", "field": ".spec.replicas",
                 "message": "conflict with \"kubectl\" with subresource \"scale\" using apps/v1"},
                {"reason": "FieldManagerConflict", "field": ".spec.template.spec.containers[name=\"web\"].image",
                 "message": "conflict with \"argocd-controller\" using apps/v1"},
                {"reason": "FieldManagerConflict", "field": ".metadata.labels.app.kubernetes.io/name",
                 "message": "conflict with \"argocd-controller\""}]}}"#,
            None,
        );
        let said: Vec<String> = told(&status).iter().map(ToString::to_string).collect();
        assert_eq!(
            said,
            [
                "spec.template.spec.containers[web].image, metadata.labels[app.kubernetes.io/name] from argocd-controller",
                "spec.replicas from kubectl (scale)"
            ]
        );
    }

    #[test]
    fn a_field_of_ours_that_no_schema_has_is_not_a_matter_of_versions() {
        let status = |message: &str| Status {
            code: 500,
            message: message.to_owned(),
            ..Status::default()
        };
        assert!(is_of_another_version(&status(
            ".spec.target.kind: field not declared in schema"
        )));
        assert!(!is_of_another_version(&status(
            "failed to create typed patch object (a/b; apps/v1, Kind=Deployment): .spec.foo: field not declared in schema"
        )));
    }

    #[test]
    fn the_keys_of_a_list_are_read_as_in_every_other_path() {
        assert_eq!(
            readable(".spec.ports[port=80,protocol=\"TCP\"].targetPort"),
            "spec.ports[80/TCP].targetPort"
        );
    }
}
