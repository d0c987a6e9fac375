//! A kustomization into objects, as the reference (version 5.5) builds it: in process, without a network.
//!
//! Reading order: `build` accumulates folders depth first, `file` is a kustomization as written (`entries` are those of
//! its lists), `named` what its entries name, other repositories included (`address`), `overrides` what an Application
//! changes in it; `resource` is one object with every name it had, `set` the list of them; then the steps in the order
//! in which they run: `generate`, `patch` (with `merge`, `schema`, `json` and `select`), `names`, `labels`, `images`,
//! `replacements`, `plugins`; and at the end of a build `references`, `variables` and `order`. `tables`, `scope` and
//! `config` hold field specifications.

mod address;
mod build;
mod config;
mod entries;
mod fieldspec;
mod file;
mod generate;
mod images;
mod json;
mod labels;
mod merge;
mod metadata;
mod named;
mod names;
mod order;
mod overrides;
mod patch;
mod plugins;
mod printed;
mod references;
mod replacements;
mod resource;
mod schema;
mod scope;
mod select;
mod set;
mod spent;
mod tables;
mod take;
mod variables;

use lockstep_manifest::Manifest;
use lockstep_tree::RelPath;
use serde_json::Value;

use crate::error::RenderError;
use crate::reading::Reading;
pub(crate) use overrides::Overrides;

/// Builds the kustomization in a folder: its objects, and how they are printed where that is something else.
pub(crate) fn build(
    reading: &mut Reading<'_>,
    folder: &RelPath,
    overrides: &mut Overrides<'_>,
) -> Result<Vec<(Manifest, Option<Value>)>, RenderError> {
    build::Build::new(reading).whole(folder, overrides)
}
