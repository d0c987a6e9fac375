//! What the entries of a kustomization name: paths of the tree at hand, and folders of other repositories.

use lockstep_manifest::Place;
use lockstep_tree::{EntryKind, Found, RelPath};

use super::address::{self, Address};
use super::build::{Accumulated, Build, Here};
use super::take::Text;
use crate::error::RenderError;

/// What an entry names.
pub(super) enum Named {
    /// A path of the tree at hand, and what is there.
    Path(RelPath, Option<Found>),
    /// A folder of another repository.
    Remote(Address),
}

impl Build<'_, '_> {
    /// What an entry names: what is there as a path is one; only then it may be an address.
    pub(super) fn named(&mut self, here: &Here, entry: &Text) -> Result<Named, RenderError> {
        let text = entry.text.as_str();
        if text.is_empty() {
            return Err(RenderError::invalid(&entry.place, "an empty path"));
        }
        let path = here.folder.join(text);
        let found = match &path {
            Ok(path) => self.reading.find(path, &entry.place)?,
            Err(_) => None,
        };
        if found.is_none()
            && let Some(address) = address::parse(text)
        {
            return address.map(Named::Remote).map_err(|not| {
                let text = address::without_user(text);
                RenderError::Unsupported {
                    place: entry.place.clone(),
                    what: format!("{text:?} {}", not.why),
                    hint: not.hint,
                }
            });
        }
        match path {
            Ok(path) => Ok(Named::Path(path, found)),
            Err(error) => Err(RenderError::invalid_hint(
                &entry.place,
                error.to_string(),
                "write a path relative to this folder, inside the repository",
            )),
        }
    }

    /// A path that the kustomization names, seen from its folder. Errors: an address instead of a path.
    pub(crate) fn path(&mut self, here: &Here, entry: &Text) -> Result<RelPath, RenderError> {
        match self.named(here, entry)? {
            Named::Path(path, _) => Ok(path),
            Named::Remote(_) => Err(RenderError::Unsupported {
                place: entry.place.clone(),
                what: format!(
                    "{:?} is of another repository, and only resources and components may be",
                    address::without_user(&entry.text)
                ),
                hint: "copy the file into this repository".to_owned(),
            }),
        }
    }

    /// The path of a file that the kustomization names. It must lie in or below its folder.
    pub(super) fn file_of(&mut self, here: &Here, entry: &Text) -> Result<RelPath, RenderError> {
        let path = self.path(here, entry)?;
        let Some(found) = self.reading.find(&path, &entry.place)? else {
            return Err(self.missing(entry, &path));
        };
        if !found.is_file() {
            let name = self.reading.name(&path);
            return Err(RenderError::invalid(
                &entry.place,
                format!("{name} is a folder, and a file is expected"),
            ));
        }
        if !found.path.is_within(&here.folder) {
            return Err(RenderError::Outside {
                place: entry.place.clone(),
                path: self.reading.name(&path).into_owned(),
                folder: self.reading.name(&here.folder).into_owned(),
            });
        }
        Ok(path)
    }

    /// Remembers the repositories that components name, so that they are asked for together with those of resources.
    pub(super) fn look_ahead(
        &mut self,
        here: &Here,
        components: &[Text],
    ) -> Result<(), RenderError> {
        for entry in components {
            if let Named::Remote(address) = self.named(here, entry)? {
                match self.reading.turn_to(&address.base, &entry.place) {
                    Ok(before) => self.reading.turn_back(before),
                    Err(RenderError::Remote { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }

    /// Builds a folder of another repository, which sees nothing but its own tree.
    pub(super) fn remote(
        &mut self,
        address: &Address,
        named: &Place,
        component: bool,
        into: Option<Accumulated>,
    ) -> Result<Accumulated, RenderError> {
        let before = self.reading.turn_to(&address.base, named)?;
        let built = self.remote_folder(&address.path, named, component, into);
        self.reading.turn_back(before);
        built
    }

    fn remote_folder(
        &mut self,
        path: &RelPath,
        named: &Place,
        component: bool,
        into: Option<Accumulated>,
    ) -> Result<Accumulated, RenderError> {
        let Some(found) = self.reading.find(path, named)? else {
            return Err(RenderError::FileMissing {
                place: named.clone(),
                path: self.reading.name(path).into_owned(),
            });
        };
        if found.kind != EntryKind::Folder {
            return Err(RenderError::invalid_hint(
                named,
                format!(
                    "{} is a file, and a remote base is a folder with a kustomization",
                    self.reading.name(path)
                ),
                "name its folder, or copy the file into this repository",
            ));
        }
        self.folder(&found.path, named, component, into)
    }
}
