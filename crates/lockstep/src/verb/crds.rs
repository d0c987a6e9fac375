//! `lockstep crds`.

use lockstep_manifest::Manifest;
use lockstep_manifest::yaml::print_manifests;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::screen::Screen;

/// Prints the custom resource definitions.
pub(super) fn run(screen: &Screen) -> Result<Exit, Failure> {
    let crds: Result<Vec<Manifest>, _> = lockstep_app::v1alpha1::crds()
        .into_iter()
        .map(Manifest::from_value)
        .collect();
    let crds = crds.map_err(|error| {
        Failure::new(
            Exit::Unexpected,
            "a definition is no object",
            "report it: this is a bug",
        )
        .why(error.to_string())
    })?;
    screen.raw(&print_manifests(&crds));
    Ok(Exit::Yes)
}
