//! What git wants, made ready to be applied: namespaces filled in, our marks set, what is not ours to say left out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use globset::GlobBuilder;
use lockstep_app::app::{App, Ignore, Revision};
use lockstep_app::project::Scope;
use lockstep_app::{Blame, Fault};
use lockstep_manifest::fields::REPLICAS;
use lockstep_manifest::marks::{HookPhase, UnknownHook};
use lockstep_manifest::write::Manner;
use lockstep_manifest::{Digest, GroupKind, Gvk, Manifest, ObjectId, Place, kinds, marks};
use serde_json::Value;

use crate::hook::Hook;
use crate::{manner, unsaid};

/// One object that git wants.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    /// What it is called.
    pub id: ObjectId,
    /// Its kind with the version.
    pub gvk: Gvk,
    /// Is it namespaced?
    pub scope: Scope,
    /// What is applied.
    pub manifest: Arc<Manifest>,
    /// The digest of that.
    pub digest: Digest,
    /// Its wave.
    pub wave: i32,
    /// JSON pointers whose values do not count as drift.
    pub ignored: Vec<String>,
    /// JSON pointers whose values stay as they are when we apply: with `RespectIgnoreDifferences=true` those that are
    /// ignored, and the replicas of what an autoscaler of the same app scales.
    pub handed_over: Vec<String>,
    /// How it is applied.
    pub manner: Manner,
    /// `Force=true`: when git changes what can never be changed, it is deleted and made again.
    pub recreate: bool,
}

/// Something worth saying about what git wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// The same object twice; the last one counts.
    Repeated(ObjectId),
    /// An object that has only `generateName`: it cannot be applied.
    NoName {
        /// Its kind.
        kind: String,
    },
    /// A namespaced object without a namespace, in an app without one.
    NoNamespace(ObjectId),
    /// A hook annotation says something that nobody knows: the commit is not taken, since what was to run before or
    /// after it is not known.
    UnknownHook {
        /// The object.
        id: ObjectId,
        /// What it says.
        why: UnknownHook,
        /// Where.
        place: Option<Place>,
    },
}

/// Everything that git wants at one revision.
#[derive(Clone, Debug, PartialEq)]
pub struct Desired {
    /// The revision.
    pub revision: Revision,
    /// In the order of waves, kinds and names.
    pub objects: Vec<Arc<Wanted>>,
    /// The hooks, one for each of their phases, in the order in which they run.
    pub hooks: Vec<Arc<Hook>>,
    /// Hooks that never run.
    pub skipped: BTreeSet<ObjectId>,
    /// What is worth saying.
    pub findings: Vec<Finding>,
    /// The kinds that have to be seen before anything is planned.
    pub kinds: BTreeSet<Gvk>,
    /// The places in `objects`, in the order of the ids: every watch event looks one up.
    by_id: Vec<u32>,
}

impl Desired {
    /// Why the commit cannot be taken at all, if so.
    pub fn fault(&self) -> Option<Fault> {
        self.findings.iter().find_map(|finding| {
            let Finding::UnknownHook { id, why, place } = finding else {
                return None;
            };
            let at = place
                .as_ref()
                .map_or_else(String::new, |place| format!("{place}: "));
            let fault = Fault::new(Blame::User, "spec.unknown_hook", format!("{at}{id}: {why}"));
            Some(fault.hint(format!(
                "write {}, or take the annotation away",
                if why.annotation == marks::HOOK {
                    "PreSync, Sync, PostSync, SyncFail, PreDelete, PostDelete or Skip"
                } else {
                    "one of Helm's hooks, such as pre-install or post-upgrade"
                }
            )))
        })
    }

    /// Does it want nothing at all?
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty() && self.hooks.is_empty()
    }

    /// A digest of everything that would be applied: equal digests, equal bytes.
    pub fn digest(&self) -> Digest {
        let objects = self.objects.iter().map(|wanted| (HookPhase::Sync, wanted));
        let hooks = self.hooks.iter().map(|hook| (hook.phase, &hook.wanted));
        let mut lines: Vec<String> = objects
            .chain(hooks)
            .map(|(phase, wanted)| format!("{} {} {}", phase.text(), wanted.id, wanted.digest))
            .collect();
        lines.sort_unstable();
        Digest::of(lines.join("\n").as_bytes())
    }

    /// The object of this name, if git wants it.
    pub fn get(&self, id: &ObjectId) -> Option<&Arc<Wanted>> {
        let object = |at: &u32| self.objects.get(usize::try_from(*at).ok()?);
        let found = self
            .by_id
            .binary_search_by(|at| object(at).map(|wanted| &wanted.id).cmp(&Some(id)));
        self.by_id.get(found.ok()?).and_then(object)
    }
}

/// Whether a kind is namespaced, as far as the API server says; none when it does not serve the kind.
pub type Scopes<'a> = &'a dyn Fn(&Gvk) -> Option<Scope>;

/// Makes manifests ready: pure, so equal inputs give equal bytes.
///
/// Shape: the namespace of the destination is filled in, that of a cluster-scoped object taken out; the server's own
/// fields are dropped; `stringData` becomes `data`; label and annotation of ours are set; the last of two objects of
/// one name counts. A kind that the server does not know takes its scope from a CRD among the manifests, and
/// counts as namespaced without one, as in Argo CD.
pub fn prepare(
    app: &App,
    revision: Revision,
    manifests: Vec<Manifest>,
    scopes: Scopes<'_>,
) -> Desired {
    let brought: BTreeMap<GroupKind, Scope> = manifests.iter().filter_map(scope_of_crd).collect();
    let set = marks::set_id(&app.key.namespace, &app.key.name);
    let mut findings = Vec::new();
    let mut hooks: BTreeMap<ObjectId, (Arc<Wanted>, marks::Hook, bool)> = BTreeMap::new();
    let mut by_id: BTreeMap<ObjectId, Wanted> = BTreeMap::new();

    for mut manifest in manifests {
        let gvk = manifest.gvk();
        let hook = match marks::hook(&manifest) {
            Ok(hook) => hook,
            Err(why) => {
                let place = manifest.places().origin();
                let id = manifest.id();
                findings.push(Finding::UnknownHook { id, why, place });
                continue;
            }
        };
        let prefix = manifest.text(&["metadata", "generateName"]).to_owned();
        let has_name = !manifest.name().is_empty() && manifest.name() != prefix;
        let generated = !has_name && hook.is_some();
        if !has_name && hook.is_none() {
            findings.push(Finding::NoName { kind: gvk.kind });
            continue;
        }
        if generated && let Some(Value::Object(metadata)) = manifest.body_mut().get_mut("metadata")
        {
            metadata.insert("name".to_owned(), Value::from(prefix)); // each run adds the rest
        }
        let scope = scopes(&gvk)
            .or_else(|| brought.get(&gvk.group_kind()).copied())
            .or_else(|| {
                kinds::is_cluster_scoped(&gvk.group_kind()).map(|cluster| {
                    if cluster {
                        Scope::Cluster
                    } else {
                        Scope::Namespaced
                    }
                })
            })
            .unwrap_or(Scope::Namespaced);
        match scope {
            Scope::Cluster => manifest.set_namespace(None),
            Scope::Namespaced if manifest.namespace().is_none() => {
                if app.namespace.is_empty() {
                    findings.push(Finding::NoNamespace(manifest.id()));
                    continue;
                }
                manifest.set_namespace(Some(&app.namespace));
            }
            Scope::Namespaced => {}
        }
        drop_what_the_server_owns(&mut manifest);
        unsaid::leave_out(&mut manifest);
        if gvk.group.is_empty() && gvk.kind == "Secret" {
            merge_string_data(&mut manifest);
        }
        let id = manifest.id();
        manifest.set_label(marks::PART_OF, &set);
        manifest.set_annotation(
            marks::TRACKING_ID,
            &marks::tracking_id(&app.key.name, &id, &app.namespace),
        );
        let ignored: Vec<String> = app
            .ignore
            .iter()
            .filter(|rule| applies(rule, &id))
            .flat_map(|rule| rule.json_pointers.iter().cloned())
            .collect();
        let wanted = Wanted {
            digest: manifest.digest(),
            wave: marks::wave(&manifest),
            manner: manner::of(app, &manifest),
            recreate: manner::is_recreated(&manifest),
            manifest: Arc::new(manifest),
            handed_over: if app.options.respect_ignore_differences {
                ignored.clone()
            } else {
                Vec::new()
            },
            ignored,
            scope,
            gvk,
            id: id.clone(),
        };
        let (was_hook, was_object) = (hooks.remove(&id).is_some(), by_id.remove(&id).is_some());
        if was_hook || was_object {
            findings.push(Finding::Repeated(id.clone()));
        }
        match hook {
            None => {
                by_id.insert(id, wanted);
            }
            Some(hook) => {
                hooks.insert(id, (Arc::new(wanted), hook, generated));
            }
        }
    }

    hand_over_replicas(&mut by_id);
    let of_hooks = hooks.values().map(|(wanted, ..)| wanted.gvk.clone());
    let kinds = by_id.values().map(|wanted| wanted.gvk.clone());
    let kinds = kinds.chain(of_hooks).collect();
    let (hooks, skipped) = phases(hooks);
    let mut objects: Vec<Arc<Wanted>> = by_id.into_values().map(Arc::new).collect();
    objects.sort_by(|a, b| {
        (a.wave, kinds::rank(&a.id.kind), &a.id).cmp(&(b.wave, kinds::rank(&b.id.kind), &b.id))
    });
    let mut by_id: Vec<u32> = (0..).take(objects.len()).collect();
    by_id.sort_by_key(|at| {
        usize::try_from(*at)
            .ok()
            .and_then(|at| objects.get(at))
            .map(|wanted| &wanted.id)
    });
    Desired {
        revision,
        objects,
        hooks,
        skipped,
        findings,
        kinds,
        by_id,
    }
}

/// One hook for each phase, in the order in which they run; and those that never do.
fn phases(
    hooks: BTreeMap<ObjectId, (Arc<Wanted>, marks::Hook, bool)>,
) -> (Vec<Arc<Hook>>, BTreeSet<ObjectId>) {
    let mut found = Vec::new();
    let mut skipped = BTreeSet::new();
    for (id, (wanted, hook, generated)) in hooks {
        if hook.phases.is_empty() {
            skipped.insert(id);
        }
        for phase in hook.phases {
            found.push(Arc::new(Hook {
                wanted: Arc::clone(&wanted),
                phase,
                delete: hook.delete,
                generated,
            }));
        }
    }
    found.sort_by(|a, b| {
        let place = |hook: &Hook| {
            (
                hook.phase,
                hook.wanted.wave,
                kinds::rank(&hook.wanted.id.kind),
            )
        };
        (place(a), &a.wanted.id).cmp(&(place(b), &b.wanted.id))
    });
    (found, skipped)
}

fn drop_what_the_server_owns(manifest: &mut Manifest) {
    let is_crd = manifest.kind() == "CustomResourceDefinition";
    let body = manifest.body_mut();
    // A CRD printed by a generator carries an empty status, which apply refuses as much as any other.
    if is_crd || !body.get("status").is_some_and(Value::is_string) {
        body.remove("status");
    }
    if let Some(metadata) = body.get_mut("metadata").and_then(Value::as_object_mut) {
        for key in [
            "managedFields",
            "resourceVersion",
            "uid",
            "generation",
            "creationTimestamp",
            "selfLink",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
        ] {
            metadata.remove(key);
        }
    }
}

/// The server moves `stringData` into `data` on every write and never removes a key again; so it is moved here.
fn merge_string_data(manifest: &mut Manifest) {
    let body = manifest.body_mut();
    let Some(Value::Object(texts)) = body.remove("stringData") else {
        return;
    };
    let data = body
        .entry("data")
        .or_insert_with(|| Value::Object(serde_json::Map::new()));
    if !data.is_object() {
        *data = Value::Object(serde_json::Map::new());
    }
    if let Some(data) = data.as_object_mut() {
        for (key, value) in texts {
            let text = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            data.insert(key, Value::from(STANDARD.encode(text)));
        }
    }
}

fn scope_of_crd(manifest: &Manifest) -> Option<(GroupKind, Scope)> {
    if !manifest
        .gvk()
        .group_kind()
        .is("apiextensions.k8s.io", "CustomResourceDefinition")
    {
        return None;
    }
    let scope = match manifest.text(&["spec", "scope"]) {
        "Cluster" => Scope::Cluster,
        _ => Scope::Namespaced,
    };
    let kind = manifest.text(&["spec", "names", "kind"]);
    Some((
        GroupKind::new(manifest.text(&["spec", "group"]), kind),
        scope,
    ))
}

fn applies(rule: &Ignore, id: &ObjectId) -> bool {
    let glob = |pattern: &str, text: &str| {
        pattern == text
            || GlobBuilder::new(pattern)
                .build()
                .is_ok_and(|glob| glob.compile_matcher().is_match(text))
    };
    glob(&rule.group, &id.group)
        && glob(&rule.kind, &id.kind)
        && (rule.namespace.is_empty() || rule.namespace == id.namespace)
        && (rule.name.is_empty() || rule.name == id.name)
}

/// Replicas of what an autoscaler of this app scales are the autoscaler's: git's number is for the creation only.
fn hand_over_replicas(by_id: &mut BTreeMap<ObjectId, Wanted>) {
    let targets: Vec<ObjectId> = by_id
        .values()
        .filter(|wanted| {
            wanted
                .id
                .group_kind()
                .is("autoscaling", "HorizontalPodAutoscaler")
        })
        .map(|wanted| {
            let text = |key: &str| wanted.manifest.text(&["spec", "scaleTargetRef", key]);
            ObjectId {
                group: Gvk::from_api_version(text("apiVersion"), text("kind")).group,
                kind: text("kind").to_owned(),
                namespace: wanted.id.namespace.clone(),
                name: text("name").to_owned(),
            }
        })
        .collect();
    for target in targets {
        if let Some(wanted) = by_id.get_mut(&target) {
            if wanted.manifest.get(&["spec", "replicas"]).is_some() {
                wanted.ignored.push(REPLICAS.to_owned());
            }
            // Also when git does not say how many (any more): what we own and do not say would be set back to one.
            wanted.handed_over.push(REPLICAS.to_owned());
        }
    }
}
