//! What others wrote beside git, in wire types.

use lockstep_api::drift::{OtherField, OtherFields, OtherKind};
use lockstep_manifest::fields::others::Sort;
use lockstep_reconcile::view::ObjectView;

use super::{count, object_ref};

/// What others wrote to this object; none when there is nothing.
pub(super) fn fields(object: &ObjectView) -> Option<OtherFields> {
    let others = object.others.as_ref()?;
    Some(OtherFields {
        id: object_ref(&object.id),
        count: count(others.count),
        fields: others
            .named
            .iter()
            .map(|other| OtherField {
                path: other.path.clone(),
                kind: match other.sort {
                    Sort::Addition => OtherKind::Addition,
                    Sort::Field => OtherKind::Field,
                },
                by: other.manager.clone(),
            })
            .collect(),
    })
}
