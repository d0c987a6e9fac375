//! A panic is our bug and one app's fault only (S16): what a life decides and what runs beside the loop is caught, and
//! whoever waits for it is told.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use futures::FutureExt as _;
use lockstep_app::app::AppKey;
use lockstep_app::{Blame, Fault};
use lockstep_manifest::Uid;
use lockstep_reconcile::{Effect, Event, Life, World};
use lockstep_source::Refs;

use super::{Engine, News};

/// What is said of whatever broke.
pub(super) fn fault(doing: &str) -> Fault {
    Fault::new(
        Blame::Lockstep,
        "lockstep.broken",
        format!("Lockstep broke while {doing}; this is a bug"),
    )
    .hint("report it with the daemon's log; changing the Application, or a restart, tries again")
}

impl Engine {
    /// Runs work beside the loop; what it finds comes back as news. When it breaks, whoever waits is told instead.
    pub(super) fn spawn<F>(&mut self, broke: Option<News>, work: F)
    where
        F: Future<Output = Vec<News>> + Send + 'static,
    {
        let news = self.news.clone();
        self.spawn_saying(broke, async move {
            for found in work.await {
                if news.send(found).await.is_err() {
                    return; // the engine has ended; nobody is left to tell
                }
            }
        });
    }

    /// The same for work that says by itself what it finds.
    pub(super) fn spawn_saying<F>(&mut self, broke: Option<News>, work: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let news = self.news.clone();
        let metrics = Arc::clone(&self.metrics);
        self.work.spawn(async move {
            if AssertUnwindSafe(work).catch_unwind().await.is_err() {
                metrics.violated("no_panic");
                if let Some(broke) = broke {
                    let _closed = news.send(broke).await;
                }
            }
        });
    }

    /// What is said when work for this app breaks.
    pub(super) fn broke(&self, key: &AppKey) -> Option<News> {
        let uid = self.lives.get(key)?.uid().clone();
        let key = key.clone();
        Some(News::Broke { key, uid })
    }

    /// Lets a life decide, and does what it asks for.
    pub(super) fn with_life(
        &mut self,
        key: &AppKey,
        refs: Option<&Arc<Refs>>,
        decide: impl FnOnce(&mut Life, &World<'_>) -> Vec<Effect>,
    ) {
        let Some(mut life) = self.lives.remove(key) else {
            return;
        };
        let uid = life.uid().clone();
        self.contained(key, &uid, "deciding what to do with this app", |engine| {
            let effects = engine.in_world(key, |world| decide(&mut life, world));
            engine.after(key, life, effects, refs);
        });
    }

    /// Does something that concerns one app.
    pub(super) fn contained(
        &mut self,
        key: &AppKey,
        uid: &Uid,
        doing: &str,
        work: impl FnOnce(&mut Self),
    ) {
        if catch_unwind(AssertUnwindSafe(|| work(self))).is_err() {
            self.metrics.violated("no_panic");
            self.set_aside(key, uid, doing);
        }
    }

    /// Work for an app broke: nobody will answer what it waits for.
    pub(super) fn work_broke(&mut self, key: &AppKey, uid: &Uid) {
        if self.lives.get(key).is_some_and(|life| life.uid() == uid) {
            self.set_aside(key, uid, "working for this app");
        }
    }

    /// Sets an app aside until its Application changes or the process begins anew; whatever it was about to do is in
    /// its record.
    fn set_aside(&mut self, key: &AppKey, uid: &Uid, doing: &str) {
        tracing::error!(app = %key, doing, "an app is set aside: Lockstep broke");
        let mut aside = Box::new(Life::new(key.clone(), uid.clone(), self.now));
        let fault = fault(&format!("{doing}, and does nothing more with it"));
        let effects = self.in_world(key, |world| {
            aside.step(Event::Misspecified(vec![fault]), world)
        });
        self.after(key, aside, effects, None);
        self.recall(key);
    }
}
