//! What becomes of effects: git answers, the server is written to, and what must hold before a write is checked.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lockstep_app::app::{AppKey, Base, Bases, Revision};
use lockstep_app::lower::is_of_deletion_hooks;
use lockstep_app::{Blame, Fault};
use lockstep_manifest::{Digest, GroupKind, Manifest, ObjectId, Uid, marks};
use lockstep_plan::hook::leftover;
use lockstep_plan::{Action, Entry, KindView, Leftover, Reason, Seen, Step, Wanted, prepare};
use lockstep_reconcile::view::CommitView;
use lockstep_reconcile::{Effect, Event, Measured, Outcome, Slot, spec_digest};

use super::{Item, World};

impl World {
    pub(super) fn perform(&mut self, key: &AppKey, effect: Effect) {
        match effect {
            Effect::Resolve { turn, bases } => {
                let result = match self.targets.get(key) {
                    _ if self.git_is_down => Err(Fault::new(
                        Blame::Environment,
                        "repo.unreachable",
                        "git does not answer",
                    )),
                    Some(revision) => Ok(revision.clone()),
                    None => Err(Fault::new(
                        Blame::User,
                        "repo.ref_gone",
                        "the branch is gone",
                    )),
                };
                let bases = bases
                    .into_iter()
                    .map(|base| {
                        (
                            base.clone(),
                            self.bases.get(&base).cloned().ok_or_else(no_base),
                        )
                    })
                    .collect();
                let news = Event::Resolved {
                    turn,
                    result,
                    bases,
                };
                self.tell_once(key, news);
            }
            Effect::Render {
                turn,
                revision,
                bases: pins,
            } => {
                let (bases, result) = self.render(key, &revision, &pins);
                self.tell_once(
                    key,
                    Event::Rendered {
                        turn,
                        revision,
                        bases,
                        result,
                    },
                );
            }
            Effect::Observe(kinds) => {
                for gvk in kinds {
                    self.observe(&gvk.group_kind());
                }
            }
            Effect::Discover => {
                let served = |kind: &GroupKind| self.server.serves(kind);
                let now: Vec<GroupKind> = self
                    .kinds
                    .iter()
                    .filter(|(kind, view)| **view == KindView::NotServed && served(kind))
                    .map(|(kind, _)| kind.clone())
                    .collect();
                for kind in now {
                    self.kinds.remove(&kind);
                    self.wakes.insert(key.clone(), self.now);
                }
            }
            Effect::Claim { turn, draft } => {
                self.writes.push(format!("{} claims", key.name));
                self.task([Item::Claim(key.clone(), turn, draft)]);
            }
            Effect::Apply { turn, steps } => self.front(key, turn, steps),
            Effect::Probe { plan, .. } => {
                let event = Event::Probed {
                    plan,
                    foreseen: BTreeMap::new(),
                };
                self.task([Item::Tell(key.clone(), event)]);
            }
            Effect::Measure(asked) => {
                let found = asked
                    .iter()
                    .map(|wanted| (wanted.id.clone(), self.measure(wanted)))
                    .collect();
                self.task([Item::Tell(key.clone(), Event::Measured(found))]);
            }
            Effect::Queue => {
                self.wakes.insert(key.clone(), self.now);
            }
            Effect::WakeAt(at) => {
                let wake = self.wakes.entry(key.clone()).or_insert(at);
                *wake = (*wake).min(at);
            }
            Effect::Recover {
                turn,
                revision,
                bases,
                bundle,
            } => {
                let stored = bundle.and_then(|bundle| self.bundles.get(&(key.clone(), bundle)));
                let result = match stored {
                    Some(slot) => Ok(slot.clone()),
                    None => self.slot(key, &revision, bases),
                };
                self.task([Item::Tell(key.clone(), Event::Recovered { turn, result })]);
            }
            Effect::Store { slot, keep, .. } => {
                self.task([Item::Store(key.clone(), slot, keep)]);
            }
            Effect::Guard(finalizers) => self.task([Item::Guard(key.clone(), finalizers)]),
            Effect::Find => {
                let found = self.server.marked(key).into_iter().map(|id| {
                    let live = self.server.live(&id).expect("it is marked");
                    let entry = Entry {
                        uid: live.uid(),
                        version: "v1".to_owned(),
                        by_mark_alone: true,
                        ..Entry::default()
                    };
                    (id, entry)
                });
                let found = found.collect();
                self.task([Item::Tell(key.clone(), Event::Found(found))]);
            }
            Effect::Farewell(_) => {
                let left: Vec<ObjectId> = self.server.marked(key);
                let kept = |id: &&ObjectId| id.kind != "CustomResourceDefinition";
                assert_eq!(
                    left.iter().find(kept),
                    None,
                    "{} leaves and something of it stands",
                    key.name
                );
                self.farewells.push(key.clone());
            }
            Effect::Heard => {}
        }
    }

    pub(super) fn store(&mut self, key: &AppKey, slot: Slot, keep: Option<&BTreeSet<Digest>>) {
        let bundle = slot.desired.digest();
        let is_kept = |bundle: &Digest| keep.is_none_or(|keep| keep.contains(bundle));
        self.bundles
            .retain(|(of, bundle), _| of != key || is_kept(bundle));
        self.bundles.insert((key.clone(), bundle.clone()), slot);
        let result = Ok(());
        self.task([Item::Tell(key.clone(), Event::Stored { bundle, result })]);
    }

    /// Puts finalizers on an Application, unless something else of it was changed just now; on one that is being deleted
    /// no server does.
    pub(super) fn guard(&mut self, key: &AppKey, finalizers: Vec<String>) {
        let mut app = self.apps[key].as_ref().clone();
        let result = if app.leaving || self.pick(3) == 0 {
            let text = "it changed since it was looked at";
            Err(Fault::new(Blame::Environment, "apply.conflict", text))
        } else {
            app.finalizers.retain(|known| !is_of_deletion_hooks(known));
            app.finalizers.extend(finalizers);
            self.specify(app);
            Ok(())
        };
        self.task([Item::Tell(key.clone(), Event::Guarded(result))]);
    }

    /// What is live, and what a dry run of the same apply answers.
    fn measure(&self, wanted: &Wanted) -> Option<Measured> {
        let live = self.server.live(&wanted.id)?;
        let answered = self.server.clone().apply(&self.body(wanted)).ok()?;
        Some(Measured {
            digest: wanted.digest.clone(),
            seen: Seen::of(&live, &wanted.ignored)?,
            answered: Seen::of(&answered, &wanted.ignored)?.fingerprint,
        })
    }

    /// A front is about to be carried out: was everything written down that has to be?
    fn front(&mut self, key: &AppKey, turn: u64, steps: Vec<Step>) {
        let life = self.life(key);
        let leaves = life.app().is_some_and(|app| app.leaving);
        assert!(
            leaves || !life.is_frozen(),
            "{} writes while its source is frozen",
            key.name
        );
        let enforced = life.enforced().map(|slot| slot.commit.revision.clone());
        let record = self.server.recall(key);
        for step in &steps {
            let entry = record.entries.get(&step.id);
            match &step.action {
                Action::Apply(_) if step.reason == Reason::Namespace => {}
                Action::Apply(_) => assert!(entry.is_some(), "{step} is not on record"),
                Action::Prune { uid, .. } => {
                    let on_record = entry.and_then(|entry| entry.uid.as_ref());
                    assert_eq!(
                        on_record,
                        Some(uid),
                        "{step} goes by another uid than the record's"
                    );
                    let hooks = record.run.iter().flat_map(|run| &run.run.hooks);
                    let mut of_it = hooks.filter(|((_, id), _)| *id == step.id);
                    let over = of_it.all(|(_, hook)| hook.state.is_over());
                    assert!(over, "{step} before it is written down what became of it");
                }
                Action::Run { hook, .. } => {
                    let run = record.run.as_ref().expect("a hook belongs to a run");
                    let hook = run.run.hooks.get(&(hook.phase, step.id.clone()));
                    assert!(hook.is_some(), "{step} is not on record");
                }
                Action::LetGo { .. } => {
                    let run = record.run.as_ref().expect("a hook belongs to a run");
                    let mut hooks = run.run.hooks.iter();
                    let over = hooks.any(|((_, id), hook)| *id == step.id && hook.state.is_over());
                    assert!(over, "{step} before it is written down what became of it");
                }
                Action::Release => {}
            }
            let is_drift = matches!(step.reason, Reason::Heal | Reason::Recreate);
            let is_apply = matches!(step.action, Action::Apply(_));
            if is_apply && !is_drift {
                assert_eq!(record.revision, enforced, "{step} is of another commit");
            }
            self.writes.push(format!("{} {step}", key.name));
        }
        let done = Item::Tell(key.clone(), Event::FrontDone { turn });
        let observed = self.life(key).observed();
        let mut items: Vec<Item> = steps
            .into_iter()
            .map(|step| {
                let uid = observed.objects.get(&step.id).map(|seen| seen.uid.clone());
                Item::Step(key.clone(), turn, step, uid)
            })
            .collect();
        // All of them are under way at the same time: which of them a kill leaves undone is anybody's guess.
        for last in (1..items.len()).rev() {
            let other = self.pick(last + 1);
            items.swap(last, other);
        }
        items.push(done);
        self.task(items);
        self.old_news.push((
            key.clone(),
            Event::FrontDone {
                turn: turn.saturating_sub(1),
            },
        ));
        let stale = Event::Claimed {
            turn: turn.saturating_sub(1).max(1),
            result: Ok(Some("1".to_owned())),
        };
        if turn > 1 {
            self.old_news.push((key.clone(), stale));
        }
    }

    pub(super) fn carry_out(&mut self, key: &AppKey, step: &Step, uid: Option<&Uid>) -> Outcome {
        let refuse =
            |blame| Outcome::Failed(Fault::new(blame, "apply.refused", "the server refused it"));
        if let Some(blame) = self.refuses.get(&step.id) {
            return refuse(*blame);
        }
        // What was seen is changed, or nothing is: it is not made again under a record that names another uid.
        let live = self.server.objects.get(&step.id).map(|live| &live.uid);
        if matches!(step.action, Action::Apply(_)) && uid.is_some() && live != uid {
            let why = "it is not the object that was seen";
            return Outcome::Failed(Fault::new(Blame::Environment, "apply.conflict", why));
        }
        match &step.action {
            Action::Apply(wanted) => match self.server.apply(&self.body(wanted)) {
                Ok(live) => {
                    let seen =
                        Seen::of(&live, &wanted.ignored).expect("the server says uid and version");
                    Outcome::Applied {
                        seen,
                        changes: Vec::new(),
                        taken: Vec::new(),
                    }
                }
                Err(why) => Outcome::Failed(Fault::new(
                    Blame::Environment,
                    "apply.namespace_missing",
                    why,
                )),
            },
            Action::Prune { uid, .. } => {
                let Some(live) = self.server.live(&step.id) else {
                    return Outcome::Absent;
                };
                let is_marked =
                    live.label(marks::PART_OF) == Some(&*marks::set_id(&key.namespace, &key.name));
                if live.uid().as_ref() != Some(uid) {
                    let why = "it is another object of the same name".to_owned();
                    return if is_marked {
                        Outcome::NotOurs { why }
                    } else {
                        Outcome::Absent
                    };
                }
                if !is_marked {
                    return Outcome::NotOurs {
                        why: "it carries no mark of this app".to_owned(),
                    };
                }
                self.delete_once(step);
                if self.server.objects.contains_key(&step.id) {
                    Outcome::Deleting
                } else {
                    Outcome::Absent
                }
            }
            Action::Run { hook, runs_in } => {
                let set = marks::set_id(&key.namespace, &key.name);
                let live = self.server.live(&step.id);
                let stands = live.map(|live| leftover(&live, runs_in, &set, ""));
                match stands {
                    Some(Leftover::Foreign(why)) => return Outcome::NotOurs { why },
                    Some(Leftover::Earlier) => {
                        // As the daemon does, which looks at it afresh.
                        self.server.let_go(&step.id);
                        if !self.server.is_going(&step.id) {
                            self.delete_once(step);
                        }
                        return Outcome::Deleting;
                    }
                    Some(Leftover::Itself) => {}
                    None => {
                        let is_first = self.ran.insert((runs_in.clone(), step.id.clone()));
                        assert!(is_first, "{step} runs twice in {runs_in}");
                    }
                }
                match self.server.apply(&hook.body(runs_in, &step.id)) {
                    Ok(live) => Outcome::Applied {
                        seen: Seen::of(&live, &[]).expect("the server says uid and version"),
                        changes: Vec::new(),
                        taken: Vec::new(),
                    },
                    Err(why) => Outcome::Failed(Fault::new(
                        Blame::Environment,
                        "apply.namespace_missing",
                        why,
                    )),
                }
            }
            Action::LetGo { .. } => {
                self.server.let_go(&step.id);
                match self.server.live(&step.id) {
                    Some(live) => Outcome::Applied {
                        seen: Seen::of(&live, &[]).expect("the server says uid and version"),
                        changes: Vec::new(),
                        taken: Vec::new(),
                    },
                    None => Outcome::Absent,
                }
            }
            Action::Release => Outcome::Released,
        }
    }

    /// The server takes a deletion from us, of each object once.
    fn delete_once(&mut self, step: &Step) {
        self.server.let_go(&step.id);
        if let Some(live) = self.server.objects.get(&step.id) {
            let is_first = self.deleted.insert(live.uid.clone());
            assert!(is_first, "{step} is deleted twice");
            self.server.delete(&step.id);
        }
    }

    /// What an autoscaler set stays set.
    fn body(&self, wanted: &Wanted) -> Manifest {
        let mut body = wanted.manifest.as_ref().clone();
        if let Some(live) = self.server.live(&wanted.id)
            && wanted.handed_over.iter().any(|at| at == "/spec/replicas")
            && let (Some(kept), Some(spec)) = (
                live.get(&["spec", "replicas"]),
                body.body_mut().get_mut("spec"),
            )
        {
            spec["replicas"] = kept.clone();
        }
        body
    }

    /// The commit with the manifests of every base that it names, at the commits that were asked for.
    fn render(
        &self,
        key: &AppKey,
        revision: &Revision,
        pins: &Bases,
    ) -> (BTreeMap<Base, Option<Revision>>, Result<Slot, Fault>) {
        let named = self.names.get(revision).into_iter().flatten();
        let at = |base: &Base| pins.get(base).or_else(|| self.bases.get(base)).cloned();
        let found: BTreeMap<Base, Option<Revision>> =
            named.map(|base| (base.clone(), at(base))).collect();
        let bases: Option<Bases> = found
            .iter()
            .map(|(base, at)| Some((base.clone(), at.clone()?)))
            .collect();
        let result = bases.ok_or_else(no_base);
        let result = result.and_then(|bases| self.slot(key, revision, bases));
        (found, result)
    }

    fn slot(&self, key: &AppKey, revision: &Revision, bases: Bases) -> Result<Slot, Fault> {
        if self.broken.contains(revision) {
            return Err(Fault::new(
                Blame::User,
                "render.invalid",
                "a file is no YAML",
            ));
        }
        let actor = self.actors.get(key).expect("the app is there");
        let mut manifests = self.commits.get(revision).cloned().unwrap_or_default();
        for at in bases.values() {
            manifests.extend(self.commits.get(at).cloned().unwrap_or_default());
        }
        let desired = prepare(&actor.app, revision.clone(), manifests, &|_| None);
        let commit = CommitView {
            revision: revision.clone(),
            subject: "change".to_owned(),
            author: "dev".to_owned(),
            committed_at: None,
        };
        Ok(Slot {
            commit,
            desired: Arc::new(desired),
            kind: "Directory".to_owned(),
            spec: spec_digest(&actor.app.source_digest, &bases),
            bases,
            seen_at: self.now,
            rendered_at: self.now,
            warnings: Vec::new(),
        })
    }

    fn tell_once(&mut self, key: &AppKey, event: Event) {
        let stale = match event.clone() {
            Event::Resolved {
                turn,
                result,
                bases,
            } => Event::Resolved {
                turn: turn.wrapping_sub(1),
                result,
                bases,
            },
            Event::Rendered {
                turn,
                revision,
                bases,
                result,
            } => Event::Rendered {
                turn: turn.wrapping_sub(1),
                revision,
                bases,
                result,
            },
            other => other,
        };
        self.old_news.push((key.clone(), stale));
        self.task([Item::Tell(key.clone(), event)]);
    }
}

fn no_base() -> Fault {
    Fault::new(
        Blame::Environment,
        "repo.unreachable",
        "a base cannot be read",
    )
}
