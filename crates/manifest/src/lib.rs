//! One Kubernetes object as plain data, with everything that can be said by looking at it alone.
//!
//! Reading order: [`id`] names an object, [`object`] is one, [`places`] where it was written, [`yaml`] reads and writes them, [`mod@pointer`] and
//! [`fields`] point into them, [`marks`] says what Argo CD's annotations and ours mean, [`kinds`] what the
//! built-in kinds are, [`health`] how a live object is doing, [`write`](mod@write) what may be asked of a cluster.

pub mod digest;
pub mod fields;
pub mod health;
pub mod id;
pub mod kinds;
pub mod marks;
pub mod object;
pub mod places;
pub mod pointer;
pub mod sensitive;
pub mod write;
pub mod yaml;

pub use digest::Digest;
pub use health::Health;
pub use id::{GroupKind, Gvk, ObjectId, Uid};
pub use object::{Manifest, NotAnObject};
pub use places::{Leaf, Place, Places, Trail};
pub use sensitive::Sensitive;
pub use write::{Preconditions, Verb, Write};
