//! Nodes that tests share, and keyspaces on them.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use journal_cql::{Config, CqlStore, Error, Replication, migrate};
use parking_lot::Mutex;

use crate::cluster::{self, Cluster};

/// The node that all tests share which do it no harm.
pub(crate) fn one_node() -> &'static Cluster {
    static NODE: OnceLock<&Cluster> = OnceLock::new();
    NODE.get_or_init(|| kept(Cluster::start(1)))
}

/// Keeps a cluster until the process ends: a static is never dropped.
pub(crate) fn kept(cluster: Cluster) -> &'static Cluster {
    static KEPT: Mutex<Vec<&Cluster>> = Mutex::new(Vec::new());
    extern "C" fn end() {
        KEPT.lock().drain(..).for_each(Cluster::end);
    }
    let cluster: &Cluster = Box::leak(Box::new(cluster));
    let mut kept = KEPT.lock();
    if kept.is_empty() {
        // SAFETY: a function of this process, called when it exits.
        #[allow(unsafe_code)]
        unsafe {
            libc::atexit(end);
        }
    }
    kept.push(cluster);
    cluster
}

/// A keyspace of its own on a cluster.
pub(crate) async fn keyspace(cluster: &Cluster) -> Config {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let name = format!("k{}_{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
    let config = cluster.config(&name);
    // Nodes that answer may not know of each other yet.
    let until = Instant::now() + Duration::from_secs(120);
    while let Err(error) = migrate(&config, &Replication::of(cluster::DATACENTER, cluster.copies())).await {
        assert!(matches!(error, Error::Database(_)) && Instant::now() < until, "migrates: {error:?}");
        tokio::time::sleep(Duration::from_millis(200)).await; // between two tries, until the deadline
    }
    config
}

pub(crate) async fn store(config: &Config) -> CqlStore {
    CqlStore::open(config).await.expect("opens")
}

/// A connection beside the store's.
pub(crate) async fn session(config: &Config) -> scylla::client::session::Session {
    let builder = scylla::client::session_builder::SessionBuilder::new();
    builder.known_nodes(&config.contact_points).build().await.expect("connects")
}

pub(crate) async fn drop_keyspace(config: &Config) {
    let drop = format!("DROP KEYSPACE {}", config.keyspace);
    session(config).await.query_unpaged(drop, ()).await.expect("drops");
}
