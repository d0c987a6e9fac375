//! What an apply would do, for people to read and for the machine to compare: asked by dry run.

use lockstep_app::app::App;
use lockstep_app::project::Project;
use lockstep_cluster::Cluster;
use lockstep_manifest::fields::{REPLICAS, others, takeover};
use lockstep_manifest::{Manifest, Write};
use lockstep_plan::{Action, Foreseen, Seen, Step, Wanted, changes::changes, overlaid};
use lockstep_reconcile::Measured;

use super::{Known, hand_over, manner};

/// What it takes to ask the server what it would do.
pub(super) struct Look<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) project: &'a Project,
    pub(super) app: &'a App,
}

impl Look<'_> {
    /// What an apply of this step would change and take, by the server's own word; where it gives none, by laying git
    /// over what is live. None: there is nothing yet, or it cannot be read.
    pub(super) async fn foresee(&self, step: &Step, known: &Known) -> Option<Foreseen> {
        let Action::Apply(wanted) = &step.action else {
            return None;
        };
        let live = self.cluster.get(&wanted.gvk, &wanted.id).await.ok()??;
        let Some(answered) = self.dry_run(wanted, &live).await else {
            let after = overlaid(&live, &wanted.manifest)?;
            return Some(Foreseen {
                changes: changes(&live, &after),
                taken: Vec::new(),
            });
        };
        let whose = manner(wanted, known).takeover;
        let left_behind = takeover::take_over(&answered, &whose, &[]).map(|found| found.taken);
        let seized = takeover::seized(&live, &answered).into_iter();
        let after = others::without_left_behind(&answered, &whose).unwrap_or(answered);
        Some(Foreseen {
            changes: changes(&live, &after),
            taken: takeover::together(seized.chain(left_behind.into_iter().flatten())),
        })
    }

    /// An object and what an apply would make of it, measured by the same rules.
    pub(super) async fn compare(&self, wanted: &Wanted) -> Option<Measured> {
        let live = self.cluster.get(&wanted.gvk, &wanted.id).await.ok()??;
        let answered = self.dry_run(wanted, &live).await?;
        Some(Measured {
            digest: wanted.digest.clone(),
            seen: Seen::of(&live, &wanted.ignored)?,
            answered: Seen::of(&answered, &wanted.ignored)?.fingerprint,
        })
    }

    /// What the server answers to an apply that it does not carry out.
    async fn dry_run(&self, wanted: &Wanted, live: &Manifest) -> Option<Manifest> {
        let owns = takeover::is_ours_apart(live, REPLICAS);
        let pointers = hand_over::pointers(self.cluster, wanted, owns).await.ok()?;
        let body = hand_over::keep(wanted.manifest.as_ref().clone(), live, &pointers);
        let mut write = Write::dry_run(body);
        write.manner.validation = wanted.manner.validation;
        let authorized = self.project.authorize(self.app, write, wanted.scope).ok()?;
        self.cluster.write(authorized).await.ok()?.live
    }
}
