//! What cannot become what git wants: deleted, where that was asked for, and made again by the next plan.

use lockstep_app::project::Project;
use lockstep_app::{Blame, Fault};
use lockstep_manifest::write::Propagation;
use lockstep_manifest::{ObjectId, Write, marks};
use lockstep_plan::Wanted;
use lockstep_reconcile::Outcome;

use super::Hands;

impl Hands {
    /// Deletes what cannot become what git wants, since git asked for that (`Force=true`): it is made again once it is
    /// gone. Only what carries the mark of this app, ours or Argo CD's, and is still what was seen.
    pub(super) async fn clear_away(&self, project: &Project, wanted: &Wanted) -> Outcome {
        let id = &wanted.id;
        let live = match self.cluster.get(&wanted.gvk, id).await {
            Ok(Some(live)) => live,
            Ok(None) => return Outcome::Absent,
            Err(error) => return Outcome::Failed(error.fault()),
        };
        let tracked = live.annotation(marks::TRACKING_ID);
        let is_marked = live.label(marks::PART_OF) == Some(self.set.as_str());
        let is_tracked =
            tracked.is_some() && tracked == wanted.manifest.annotation(marks::TRACKING_ID);
        let (Some(uid), Some(version)) = (live.uid(), live.resource_version()) else {
            return Outcome::Failed(refused(id, "the server does not say its version"));
        };
        let seen = self.known.get(id).and_then(|known| known.uid.as_ref());
        if seen.is_some_and(|seen| *seen != uid) || !(is_marked || is_tracked) {
            return Outcome::Failed(refused(id, "it carries no mark of this app"));
        }
        let how = Propagation::Background;
        let write = Write::delete(id.clone(), wanted.gvk.clone(), uid, version.to_owned(), how);
        let authorized = match project.authorize(&self.app, write, wanted.scope) {
            Ok(authorized) => authorized,
            Err(refused) => return Outcome::Failed(refused.fault()),
        };
        match self.cluster.write(authorized).await {
            Ok(written) if written.live.is_none() => Outcome::Absent,
            Ok(_) if is_marked => Outcome::Deleting,
            // No watch of ours says when it is gone: the next try finds out.
            Ok(_) => Outcome::Failed(Fault::new(
                Blame::Environment,
                "apply.conflict",
                format!("{id} is being deleted, to be made again"),
            )),
            Err(error) => Outcome::Failed(error.fault()),
        }
    }
}

fn refused(id: &ObjectId, why: &str) -> Fault {
    let text = format!("{id} would have to be deleted to be changed, and is kept: {why}");
    Fault::new(Blame::User, "apply.immutable_field", text).hint(format!(
        "Delete {} by hand, or give the object another name in git",
        id.short()
    ))
}
