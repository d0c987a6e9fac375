//! Callers that want the same thing at the same time share one errand.

use std::collections::HashMap;
use std::future::Future;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};

use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared, WeakShared};

use crate::error::FetchError;

type Errand<V> = BoxFuture<'static, Result<V, FetchError>>;

/// Errands under way, by what they are for.
///
/// An errand is carried by whoever waits for it and ends when the last of them goes away: nothing is spawned.
pub(crate) struct Flights<K, V: Clone> {
    under_way: Mutex<HashMap<K, WeakShared<Errand<V>>>>,
}

impl<K, V: Clone> Default for Flights<K, V> {
    fn default() -> Self {
        Self {
            under_way: Mutex::default(),
        }
    }
}

impl<K: Hash + Eq, V: Clone> Flights<K, V> {
    /// Joins the errand for `key` or sets out on it.
    pub(crate) fn join<F>(&self, key: K, errand: impl FnOnce() -> F) -> Shared<Errand<V>>
    where
        F: Future<Output = Result<V, FetchError>> + Send + 'static,
    {
        let mut under_way = self
            .under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(shared) = under_way.get(&key).and_then(WeakShared::upgrade) {
            return shared;
        }
        let shared = errand().boxed().shared();
        under_way.retain(|_, weak| weak.upgrade().is_some());
        if let Some(weak) = shared.downgrade() {
            under_way.insert(key, weak);
        }
        shared
    }

    /// From now on callers set out on an errand of their own: this one has asked its question already.
    pub(crate) fn close(&self, key: &K) {
        self.under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(key);
    }
}
