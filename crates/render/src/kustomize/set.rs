//! The objects of a build, in the order they were loaded, no two with one id.

use std::collections::{HashMap, HashSet};

use lockstep_manifest::Place;

use super::resource::{Id, Resource};
use crate::error::RenderError;

#[derive(Debug, Default)]
pub(crate) struct Resources {
    list: Vec<Resource>,
    /// Present ids, known until something may have changed them.
    ids: Option<HashSet<Id>>,
    /// Who has or had which name, known until something may have changed all of them.
    names: Option<Names>,
    /// How often somebody was looked for since then.
    looked: usize,
}

/// Looking for somebody so often goes through all; only then is it worth knowing who is called what.
const FEW: usize = 4;

/// Who has or had which name.
#[derive(Debug, Default)]
struct Names {
    by: HashMap<String, Vec<usize>>,
    /// Those who may have another name by now.
    changed: Vec<usize>,
}

impl Names {
    fn of(list: &[Resource]) -> Self {
        let mut names = Self::default();
        for (at, resource) in list.iter().enumerate() {
            names.add(at, resource);
        }
        names
    }

    fn add(&mut self, at: usize, resource: &Resource) {
        let past = resource.past.iter().map(|past| past.name.as_str());
        for name in past.chain([resource.name()]) {
            let all = self.by.entry(name.to_owned()).or_default();
            if all.last().is_none_or(|last| *last < at) || !all.contains(&at) {
                all.push(at);
            }
        }
    }

    /// Everybody who may have or have had the name, in order.
    fn called(&mut self, name: &str, list: &[Resource]) -> Vec<usize> {
        for at in std::mem::take(&mut self.changed) {
            if let Some(resource) = list.get(at) {
                self.add(at, resource);
            }
        }
        let mut all = self.by.get(name).cloned().unwrap_or_default();
        all.sort_unstable();
        all.dedup();
        all
    }
}

impl Resources {
    pub(crate) fn iter(&self) -> std::slice::Iter<'_, Resource> {
        self.list.iter()
    }

    /// All objects, to be changed.
    pub(crate) fn list_mut(&mut self) -> &mut Vec<Resource> {
        self.forget();
        &mut self.list
    }

    /// One object, to be changed.
    pub(crate) fn get_mut(&mut self, at: usize) -> Option<&mut Resource> {
        self.ids = None;
        if let Some(names) = &mut self.names {
            names.changed.push(at);
            if names.changed.len() > self.list.len() {
                self.forget();
            }
        }
        self.list.get_mut(at)
    }

    fn forget(&mut self) {
        self.ids = None;
        self.names = None;
        self.looked = 0;
    }

    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    pub(crate) fn into_list(self) -> Vec<Resource> {
        self.list
    }

    /// Adds one at the end.
    pub(crate) fn append(&mut self, resource: Resource) -> Result<(), RenderError> {
        let list = &self.list;
        let ids = self
            .ids
            .get_or_insert_with(|| list.iter().map(Resource::id).collect());
        let id = resource.id();
        if ids.contains(&id) {
            let first = list
                .iter()
                .find(|known| known.id() == id)
                .map_or(resource.place(), Resource::place);
            return Err(RenderError::invalid_hint(
                resource.place(),
                format!("{id} is there already, from {first}"),
                "name the file once, give one of them another name, or make it a patch",
            ));
        }
        ids.insert(id);
        if let Some(names) = &mut self.names {
            names.add(self.list.len(), &resource);
        }
        self.list.push(resource);
        Ok(())
    }

    /// Adds all of another list at the end.
    pub(crate) fn append_all(&mut self, other: Self) -> Result<(), RenderError> {
        other
            .list
            .into_iter()
            .try_for_each(|resource| self.append(resource))
    }

    /// The one that has or had this id; none, when there is none.
    pub(crate) fn by_any_id(
        &mut self,
        id: &Id,
        place: &Place,
    ) -> Result<Option<&mut Resource>, RenderError> {
        self.looked += 1;
        if self.names.is_none() && self.looked > FEW {
            self.names = Some(Names::of(&self.list));
        }
        let called = match &mut self.names {
            Some(names) => names.called(&id.name, &self.list),
            None => (0..self.list.len()).collect(),
        };
        let meant = |resource: &Resource| resource.may_be(id) && resource.was(id);
        let found: Vec<usize> = called
            .into_iter()
            .filter(|at| self.list.get(*at).is_some_and(meant))
            .collect();
        if let Some(second) = found.get(1).and_then(|at| self.list.get(*at)) {
            return Err(RenderError::invalid_hint(
                place,
                format!(
                    "{id} is what more than one object is or was called, one of them from {}",
                    second.place()
                ),
                "name it as it is called now",
            ));
        }
        // Whoever asks adds what is not there: then what is known is still right.
        Ok(found.first().and_then(|at| self.get_mut(*at)))
    }

    /// Removes what a patch emptied.
    pub(crate) fn drop_empty(&mut self) {
        if self.list.iter().any(Resource::is_empty) {
            self.forget();
            self.list.retain(|resource| !resource.is_empty());
        }
    }
}
