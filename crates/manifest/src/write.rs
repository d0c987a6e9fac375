//! What may be asked of a cluster, as a value that `Project::authorize` can look at.

use serde_json::{Value, json};

use crate::id::{Gvk, ObjectId, Uid};
use crate::object::Manifest;

/// What is to be done with the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Server-side apply, with force: git wins on every field it declares.
    Apply,
    /// The same as a dry run: nothing changes, the server says what would.
    DryRun,
    /// Delete, with both preconditions.
    Delete(Propagation),
    /// Leave these finalizers on it, and no others, with both preconditions: how a hook that has ended is let go.
    LetGo,
}

/// What happens to what the object owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Propagation {
    /// The object stays, terminating, until its dependents are gone. Argo CD's default.
    #[default]
    Foreground,
    /// The object goes at once, its dependents after it.
    Background,
    /// Its dependents stay.
    Orphan,
}

/// What must be true of the live object, or the server refuses.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Preconditions {
    /// It is still the one we knew.
    pub uid: Option<Uid>,
    /// Nobody changed it since we looked.
    pub resource_version: Option<String>,
}

/// One request that changes something, or asks what would change.
#[derive(Clone, Debug, PartialEq)]
pub struct Write {
    /// What is asked.
    pub verb: Verb,
    /// Of which object.
    pub id: ObjectId,
    /// Its kind with the version: where the request is addressed to.
    pub gvk: Gvk,
    /// What is applied; none for a deletion.
    pub body: Option<Manifest>,
    /// What must hold. A deletion without a uid is refused before it is sent.
    pub preconditions: Preconditions,
}

impl Write {
    /// An apply of this object.
    pub fn apply(body: Manifest) -> Self {
        Self {
            verb: Verb::Apply,
            id: body.id(),
            gvk: body.gvk(),
            body: Some(body),
            preconditions: Preconditions::default(),
        }
    }

    /// The same apply as a dry run.
    pub fn dry_run(body: Manifest) -> Self {
        Self {
            verb: Verb::DryRun,
            ..Self::apply(body)
        }
    }

    /// The same live object without this finalizer. None: it does not carry it, or does not say who it is.
    pub fn let_go(live: &Manifest, finalizer: &str) -> Option<Self> {
        let stand = live.get(&["metadata", "finalizers"])?.as_array()?;
        let rest: Vec<&Value> = stand.iter().filter(|one| **one != finalizer).collect();
        if rest.len() == stand.len() {
            return None;
        }
        let gvk = live.gvk();
        let mut body = json!({"apiVersion": gvk.api_version(), "kind": gvk.kind,
            "metadata": {"name": live.name(), "finalizers": rest}});
        if let Some(namespace) = live.namespace() {
            body["metadata"]["namespace"] = json!(namespace);
        }
        Some(Self {
            verb: Verb::LetGo,
            id: live.id(),
            gvk,
            body: Manifest::from_value(body).ok(),
            preconditions: Preconditions {
                uid: Some(live.uid()?),
                resource_version: Some(live.resource_version()?.to_owned()),
            },
        })
    }

    /// The deletion of exactly this live object, as it was when it was looked at.
    pub fn delete(
        id: ObjectId,
        gvk: Gvk,
        uid: Uid,
        resource_version: String,
        how: Propagation,
    ) -> Self {
        Self {
            verb: Verb::Delete(how),
            id,
            gvk,
            body: None,
            preconditions: Preconditions {
                uid: Some(uid),
                resource_version: Some(resource_version),
            },
        }
    }
}
