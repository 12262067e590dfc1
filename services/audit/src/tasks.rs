//! What runs beside requests: a consumer for each source.

use std::sync::Arc;

use events::Consumer;
use futures::future::join_all;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::app::App;
use crate::sink::LogSink;
use crate::source::Source;

/// The consumers of all journals.
#[derive(Clone)]
pub struct Consumers(Arc<[(Source, Consumer<LogSink>)]>);

/// Consumers at work.
pub struct Running {
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Consumers {
    pub(crate) fn new(app: &App) -> Consumers {
        let consumer = |source: &Source| {
            let sink = LogSink::new(app.clone(), source.clone());
            (source.clone(), Consumer::new("audit", Arc::clone(&source.feed), sink))
        };
        Consumers(app.sources().iter().map(consumer).collect())
    }

    /// Makes leaves of entries from now on.
    #[must_use]
    pub fn start(&self) -> Running {
        let (stop, stopped) = watch::channel(false);
        let tasks = (0..self.0.len()).map(|number| {
            self.0[number].0.run_beside();
            let (consumers, mut stopped) = (Arc::clone(&self.0), stopped.clone());
            tokio::spawn(async move {
                let stop = async move { drop(stopped.wait_for(|stop| *stop).await) };
                consumers[number].1.run(stop).await;
            })
        });
        Running { tasks: tasks.collect(), stop }
    }

    /// Makes leaves of everything that was written before the call; gives back how many there were.
    ///
    /// # Errors
    /// A journal that cannot be read, or the log.
    pub async fn catch_up(&self) -> Result<u64, events::Error> {
        let mut applied = 0;
        for (source, consumer) in self.0.iter() {
            source.look_again();
            applied += consumer.catch_up().await?.applied;
        }
        Ok(applied)
    }
}

impl Running {
    /// Stops: what is being written is written.
    pub async fn stop(self) {
        let _ = self.stop.send(true); // nobody listens who has ended by himself
        join_all(self.tasks).await;
    }
}
