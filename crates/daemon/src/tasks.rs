//! Long-lived tasks, none of them detached: the first that ends stops the rest, and is named (S17).

use std::future::Future;
use std::time::Duration;

use tokio::task::{Id, JoinSet};
use tokio_util::sync::CancellationToken;

/// A task ended that should not have, or would not end in time.
#[derive(Debug, thiserror::Error)]
pub enum TaskEnded {
    /// It came back by itself.
    #[error("task {0} ended by itself")]
    ByItself(&'static str),
    /// It failed.
    #[error("task {name} failed")]
    Failed {
        /// Which.
        name: &'static str,
        /// Why.
        #[source]
        cause: Cause,
    },
    /// It panicked: our bug.
    #[error("task {0} panicked")]
    Panicked(&'static str),
    /// These were still running when the grace was over.
    #[error("still running after the grace: {}", .0.join(", "))]
    Late(Vec<&'static str>),
}

/// Any error, boxed: tasks are of many kinds, and nobody matches on why one failed.
pub(crate) type Cause = Box<dyn std::error::Error + Send + Sync>;

/// The tasks of the process.
#[derive(Debug)]
pub(crate) struct Tasks {
    set: JoinSet<Result<(), Cause>>,
    names: Vec<(Id, &'static str)>,
    stop: CancellationToken,
}

impl Tasks {
    /// None yet; they end when `stop` says so.
    pub(crate) fn new(stop: CancellationToken) -> Self {
        Self {
            set: JoinSet::new(),
            names: Vec::new(),
            stop,
        }
    }

    /// Runs one until it ends or is told to stop.
    pub(crate) fn run<F>(&mut self, name: &'static str, task: F)
    where
        F: Future<Output = Result<(), Cause>> + Send + 'static,
    {
        let handle = self.set.spawn(task);
        self.names.push((handle.id(), name));
    }

    /// Waits for the first end, stops the rest, and waits for them no longer than `grace`.
    ///
    /// Errors: the first task ended without having been told to.
    pub(crate) async fn until_first_end(mut self, grace: Duration) -> Result<(), TaskEnded> {
        let first = self.set.join_next_with_id().await;
        let asked = self.stop.is_cancelled();
        self.stop.cancel();
        let first = match first {
            None => Ok(()),
            Some(Ok((_, Ok(())))) if asked => Ok(()),
            Some(Ok((id, Ok(())))) => Err(TaskEnded::ByItself(self.name(id))),
            Some(Ok((id, Err(cause)))) => Err(TaskEnded::Failed {
                name: self.name(id),
                cause,
            }),
            Some(Err(panic)) => Err(TaskEnded::Panicked(self.name(panic.id()))),
        };
        let rest = async { while self.set.join_next().await.is_some() {} };
        let late = tokio::time::timeout(grace, rest).await.is_err();
        if late && first.is_ok() {
            self.set.abort_all();
            return Err(TaskEnded::Late(
                self.names.iter().map(|(_, name)| *name).collect(),
            ));
        }
        first
    }

    fn name(&self, id: Id) -> &'static str {
        self.names
            .iter()
            .find(|(known, _)| *known == id)
            .map_or("unnamed", |(_, name)| name)
    }
}
