//! What runs beside requests: the follower, which tells businesses what changed above them.

use std::sync::Arc;
use std::time::Duration;

use events::{Beside, Completeness, Consumer, Follows, Sweep};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::app::Catalog;
use crate::records::is_followed;
use crate::sink::FollowSink;

/// How often is looked whether a policy begins to count.
const MOMENTS_EVERY: Duration = Duration::from_secs(1);

/// Follows products and policies.
#[derive(Clone)]
pub struct Follower(Arc<Parts>);

struct Parts {
    source: Arc<Beside>,
    /// What looks at all heads, if nobody tells of changes.
    sweep: Option<Arc<Sweep>>,
    sink: Arc<FollowSink>,
    consumer: Consumer<FollowSink>,
}

/// The follower at work.
pub struct Running {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Follower {
    pub(crate) fn new(catalog: Arc<Catalog>, heard: Option<Arc<dyn events::Source>>) -> Follower {
        let store = Arc::clone(&catalog.store);
        let (heard, sweep): (Arc<dyn events::Source>, _) = match heard {
            Some(heard) => (heard, None),
            None => {
                let sweep = Sweep::new("catalog", Arc::clone(&store));
                (sweep.clone(), Some(sweep))
            }
        };
        // Not what it writes itself.
        let source = Beside::new(heard, Follows::Heads(is_followed));
        let sink = FollowSink::new(catalog);
        let consumer = Consumer::new("inheritance", source.clone(), Arc::clone(&sink));
        Follower(Arc::new(Parts { source, sweep, sink, consumer }))
    }

    /// Follows from now on.
    #[must_use]
    pub fn start(&self) -> Running {
        self.0.source.collect();
        let (stop, mut stopped) = watch::channel(false);
        let follower = self.clone();
        let task = tokio::spawn(async move {
            let stop = async move { drop(stopped.wait_for(|stop| *stop).await) };
            tokio::select! {
                () = follower.0.consumer.run(stop) => {}
                () = follower.watch_moments() => {}
            }
        });
        Running { stop, task }
    }

    async fn watch_moments(&self) {
        loop {
            if let Err(error) = self.0.sink.follow_moments().await {
                tracing::warn!("what begins to hold by a policy is not told yet, trying again: {error}");
            }
            tokio::time::sleep(MOMENTS_EVERY).await;
        }
    }

    /// Follows everything that was written before the call, and every moment that has come; gives back how many
    /// entries there were.
    ///
    /// # Errors
    /// A journal that cannot be read, or the tenant service.
    pub async fn catch_up(&self) -> Result<u64, events::Error> {
        if let Some(sweep) = &self.0.sweep {
            sweep.look_again();
        }
        let step = self.0.consumer.catch_up().await?;
        self.0.sink.follow_moments().await?;
        Ok(step.applied)
    }

    /// Compares how far everything has been followed with all heads.
    ///
    /// # Errors
    /// As [`Follower::catch_up`].
    pub async fn check(&self) -> Result<Completeness, events::Error> {
        self.0.consumer.check().await
    }
}

impl Running {
    /// Stops: what is being written is written.
    pub async fn stop(self) {
        let _ = self.stop.send(true); // nobody listens who has ended by himself
        let _ = self.task.await; // it ends by itself, or has panicked and said so
    }
}
