//! The end of the process: what is under way ends, and what is known is written down.

use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use lockstep_app::app::AppKey;
use lockstep_reconcile::Event;

use super::{Engine, News};
use crate::record;

/// How long saying goodbye may take, all apps together.
const GOODBYE: Duration = Duration::from_secs(3);

impl Engine {
    pub(super) async fn finish(&mut self) {
        // What is claimed or being written ends by itself within its own deadlines; the rest is dropped.
        let deadline = tokio::time::Instant::now() + Duration::from_secs(5);
        while !self.work.is_empty() {
            tokio::select! {
                biased;
                () = tokio::time::sleep_until(deadline) => break,
                Some(news) = self.inbox.recv() => {
                    self.now = crate::clock::now();
                    if let News::Claimed { .. } | News::App { event: Event::Applied { .. } | Event::Claimed { .. } | Event::FrontDone { .. }, .. } = &news {
                        self.leading = false;
                        self.take(news);
                    }
                }
                _ = self.work.join_next() => {}
            }
        }
        self.leading = false;
        self.say_goodbye().await;
    }

    /// Tells what is still untold, before the process ends.
    async fn say_goodbye(&mut self) {
        let keys: Vec<AppKey> = self.publications.keys().cloned().collect();
        let mut sends = FuturesUnordered::new();
        let mut notes = FuturesUnordered::new();
        let holder = self.lease.identity().to_owned();
        let epoch = self.lease.epoch();
        for (key, life) in &mut self.lives {
            let (Some(epoch), Some(draft)) = (epoch, life.last_note()) else {
                continue;
            };
            let uid = life.uid().clone();
            let record = record::write(key, &uid, &draft, &holder, epoch);
            let apps = self.apps.clone();
            notes.push(async move {
                let claimed = apps.claim(&record, draft.previous.as_deref()).await;
                claimed.map(|_| uid)
            });
        }
        for key in keys {
            self.show(&key);
            let Some((status, extras)) = self.take_publication(&key) else {
                continue;
            };
            let apps = self.apps.clone();
            sends.push(async move { apps.publish(&key, status, extras).await.map(|_| ()) });
        }
        let mut said = Vec::new();
        let all = async {
            while let Some(result) = notes.next().await {
                match result {
                    Ok(uid) => said.push(uid),
                    Err(error) => {
                        tracing::warn!(%error, "a record could not be brought up to date");
                    }
                }
            }
            while let Some(result) = sends.next().await {
                if let Err(error) = result {
                    tracing::warn!(%error, "status not published");
                }
            }
        };
        if tokio::time::timeout(GOODBYE, all).await.is_err() {
            tracing::warn!("not every status could be published in time");
        }
        for uid in said {
            self.settle_claim(&uid); // the lease, which is given back last, says so
        }
    }
}
