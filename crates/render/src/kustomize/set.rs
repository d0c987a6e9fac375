//! The objects of a build, in the order they were loaded, no two with one id.

use std::collections::HashSet;

use lockstep_manifest::Place;

use super::resource::{Id, Resource};
use crate::error::RenderError;

#[derive(Debug, Default)]
pub(crate) struct Resources {
    list: Vec<Resource>,
    /// Present ids, known until something may have changed them.
    ids: Option<HashSet<Id>>,
}

impl Resources {
    pub(crate) fn iter(&self) -> std::slice::Iter<'_, Resource> {
        self.list.iter()
    }

    /// All objects, to be changed.
    pub(crate) fn list_mut(&mut self) -> &mut Vec<Resource> {
        self.ids = None;
        &mut self.list
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
        let mut found = self
            .list
            .iter()
            .enumerate()
            .filter(|(_, resource)| resource.may_be(id) && resource.was(id));
        let first = found.next().map(|(at, _)| at);
        if let Some((_, second)) = found.next() {
            return Err(RenderError::invalid_hint(
                place,
                format!(
                    "{id} is what more than one object is or was called, one of them from {}",
                    second.place()
                ),
                "name it as it is called now",
            ));
        }
        // Whoever asks adds what is not there: then the ids are still right.
        if first.is_some() {
            self.ids = None;
        }
        Ok(first.and_then(|at| self.list.get_mut(at)))
    }

    /// Removes what a patch emptied.
    pub(crate) fn drop_empty(&mut self) {
        if self.list.iter().any(Resource::is_empty) {
            self.ids = None;
            self.list.retain(|resource| !resource.is_empty());
        }
    }
}
