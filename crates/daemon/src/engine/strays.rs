//! Objects whose Application is not known: of another installation, of another tool that keeps sets, or of an
//! Application that comes in a moment.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use lockstep_manifest::{GroupKind, Manifest, ObjectId};
use lockstep_plan::Seen;

/// By set: what was seen, boiled down. The objects themselves may be a cluster's worth of what is none of our business,
/// Secrets among them; should an Application ask for one, it is read again.
#[derive(Debug, Default)]
pub(super) struct Strays(HashMap<String, BTreeMap<ObjectId, Seen>>);

impl Strays {
    /// Notes one; what it says of itself counts from now on.
    pub(super) fn put(&mut self, set: &str, id: &ObjectId, live: &Manifest) {
        let Some(seen) = Seen::of(live, &[]) else {
            return;
        };
        if let Some(known) = self.0.get_mut(set) {
            known.insert(id.clone(), seen);
        } else {
            let first = BTreeMap::from([(id.clone(), seen)]);
            self.0.insert(set.to_owned(), first);
        }
    }

    /// Those of a set, whose Application is known now.
    pub(super) fn take(&mut self, set: &str) -> BTreeMap<ObjectId, Seen> {
        self.0.remove(set).unwrap_or_default()
    }

    /// One is gone.
    pub(super) fn drop_one(&mut self, id: &ObjectId) {
        self.0.retain(|_, known| {
            known.remove(id);
            !known.is_empty()
        });
    }

    /// A complete list of a kind: what it does not say is gone.
    pub(super) fn keep_listed(&mut self, kind: &GroupKind, listed: &BTreeSet<ObjectId>) {
        let is_of_kind = |id: &ObjectId| id.group == kind.group && id.kind == kind.kind;
        self.0.retain(|_, known| {
            known.retain(|id, _| !is_of_kind(id) || listed.contains(id));
            !known.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(kind: &str, name: &str) -> Manifest {
        Manifest::from_value(json!({
            "apiVersion": "v1", "kind": kind,
            "metadata": {"name": name, "namespace": "shop", "uid": name, "resourceVersion": "7"},
        }))
        .expect("it is an object")
    }

    #[test]
    fn what_a_later_list_does_not_say_is_not_told_to_the_application_that_comes() {
        let mut strays = Strays::default();
        let all = [
            object("ConfigMap", "a"),
            object("ConfigMap", "b"),
            object("Service", "c"),
            object("Service", "d"),
        ];
        for live in &all {
            strays.put("set", &live.id(), live);
        }
        strays.drop_one(&all[3].id());
        let listed = BTreeSet::from([all[1].id()]);
        strays.keep_listed(&GroupKind::new("", "ConfigMap"), &listed);
        let told: Vec<ObjectId> = strays.take("set").into_keys().collect();
        assert_eq!(told, [all[1].id(), all[2].id()]);
        assert_eq!(strays.take("set"), BTreeMap::new());
    }
}
