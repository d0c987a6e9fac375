//! Deleting exactly what is ours, and letting go of hooks that have ended.

use lockstep_app::project::{Project, Scope};
use lockstep_cluster::{Lookup, Written};
use lockstep_manifest::write::Propagation;
use lockstep_manifest::{Gvk, Manifest, ObjectId, Uid, Write, marks};
use lockstep_plan::Seen;
use lockstep_reconcile::Outcome;

use super::Hands;

impl Hands {
    /// Takes our finalizer off a hook that has ended.
    pub(super) async fn let_go(
        &self,
        project: &Project,
        id: &ObjectId,
        gvk: &Gvk,
        uid: &Uid,
    ) -> Outcome {
        let live = match self.cluster.get(gvk, id).await {
            Ok(Some(live)) if live.uid().as_ref() == Some(uid) => live,
            Ok(_) => return Outcome::Absent,
            Err(error) => return Outcome::Failed(error.fault()),
        };
        let answered = match Write::let_go(&live, marks::HOOK_FINALIZER) {
            None => Some(live),
            Some(write) => {
                let authorized = match project.authorize(&self.app, write, self.scope(gvk, id)) {
                    Ok(authorized) => authorized,
                    Err(refused) => return Outcome::Failed(refused.fault()),
                };
                match self.cluster.write(authorized).await {
                    Ok(written) => written.live,
                    Err(error) => return Outcome::Failed(error.fault()),
                }
            }
        };
        // What was terminating is gone with its last finalizer; its watch says so.
        match answered.as_ref().and_then(|live| Seen::of(live, &[])) {
            Some(seen) => Outcome::Applied {
                seen,
                changes: Vec::new(),
                taken: Vec::new(),
            },
            None => Outcome::Absent,
        }
    }

    fn scope(&self, gvk: &Gvk, id: &ObjectId) -> Scope {
        match self.cluster.served().find(gvk) {
            Lookup::Found(resource) if resource.namespaced => Scope::Namespaced,
            _ if id.namespace.is_empty() => Scope::Cluster,
            _ => Scope::Namespaced,
        }
    }

    /// Deletes exactly this live object; a hook is let go first.
    pub(super) async fn delete(
        &self,
        project: &Project,
        gvk: &Gvk,
        live: Manifest,
        propagation: Propagation,
    ) -> Outcome {
        let id = live.id();
        let scope = self.scope(gvk, &id);
        let mut live = live;
        if let Some(write) = Write::let_go(&live, marks::HOOK_FINALIZER) {
            let authorized = match project.authorize(&self.app, write, scope) {
                Ok(authorized) => authorized,
                Err(refused) => return Outcome::Failed(refused.fault()),
            };
            live = match self.cluster.write(authorized).await {
                Ok(Written {
                    live: Some(live), ..
                }) => live,
                Ok(_) => return Outcome::Absent,
                Err(error) => return Outcome::Failed(error.fault()),
            };
        }
        if live.is_terminating() {
            return Outcome::Deleting; // another process has asked for it, or somebody else
        }
        let (Some(uid), Some(version)) = (live.uid(), live.resource_version()) else {
            return Outcome::NotOurs {
                why: "the server does not say its version".to_owned(),
            };
        };
        let version = version.to_owned();
        let write = Write::delete(id, gvk.clone(), uid, version, propagation);
        let authorized = match project.authorize(&self.app, write, scope) {
            Ok(authorized) => authorized,
            Err(refused) => return Outcome::Failed(refused.fault()),
        };
        match self.cluster.write(authorized).await {
            Ok(written) if written.live.is_none() => Outcome::Absent,
            Ok(_) => Outcome::Deleting,
            Err(error) => Outcome::Failed(error.fault()),
        }
    }

    /// Deletes what is in the record with its uid *and* carries our mark on a fresh read; everything else stays.
    pub(super) async fn prune(
        &self,
        project: &Project,
        id: &ObjectId,
        gvk: &Gvk,
        uid: &Uid,
        propagation: Propagation,
    ) -> Outcome {
        let live = match self.cluster.get(gvk, id).await {
            Ok(Some(live)) => live,
            Ok(None) => return Outcome::Absent,
            Err(error) => return Outcome::Failed(error.fault()),
        };
        let is_marked = live.label(marks::PART_OF) == Some(self.set.as_str());
        match live.uid() {
            Some(now) if now == *uid => {}
            _ if is_marked => {
                let why = "it is another object of the same name than the one on record".to_owned();
                return Outcome::NotOurs { why };
            }
            _ => return Outcome::Absent, // ours is gone; the one that stands there is somebody else's
        }
        if !is_marked {
            let why = format!("it carries no mark of this app (label {})", marks::PART_OF);
            return Outcome::NotOurs { why };
        }
        self.delete(project, gvk, live, propagation).await
    }
}
