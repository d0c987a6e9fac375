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

/// What of the schema an object may break.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Validation {
    /// Nothing: a field that the schema does not have is refused, as `kubectl` and Argo CD do.
    #[default]
    Strict,
    /// `Validate=false`: what it does not have is left out.
    Ignore,
}

/// What is done about fields that somebody else owns with another value. They become ours in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Conflicts {
    /// They are taken at once, in one request.
    #[default]
    Force,
    /// They are taken once the server has said whose they are: one request more where there are any, none elsewhere.
    Tell,
}

/// Whose fields become ours when the object turns out to be there already.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Takeover {
    /// Nobody's: what others own beside us stays theirs.
    #[default]
    None,
    /// Those that `kubectl`, Argo CD, Flux and Helm left behind.
    LeftBehind {
        /// One more manager, that the Application names.
        also: Option<String>,
    },
    /// Everybody's: what git does not say goes, as if the object were replaced.
    Everything,
}

/// How an apply is meant, besides what is applied.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Manner {
    /// What of the schema it may break.
    pub validation: Validation,
    /// What is done about fields of others.
    pub conflicts: Conflicts,
    /// Whose fields become ours.
    pub takeover: Takeover,
    /// JSON pointers that are given up before, since the manifest does not say them: they stay as they are.
    pub release: Vec<String>,
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
    /// How an apply is meant.
    pub manner: Manner,
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
            manner: Manner::default(),
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
            manner: Manner::default(),
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
            manner: Manner::default(),
        }
    }
}
