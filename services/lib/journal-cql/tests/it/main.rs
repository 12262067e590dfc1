//! The store against Apache Cassandra 5: the contracts on one node, faults on three.

mod cluster;
mod contracts;
mod opening;

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use journal_cql::{Config, CqlStore, Replication, migrate};
use parking_lot::Mutex;

use crate::cluster::Cluster;

/// The node that all tests share which do it no harm.
fn one_node() -> &'static Cluster {
    static NODE: OnceLock<Mutex<Option<&'static Cluster>>> = OnceLock::new();
    /// A static is never dropped.
    extern "C" fn end() {
        if let Some(node) = NODE.get().and_then(|node| node.lock().take()) {
            node.end();
        }
    }
    let mut node = NODE.get_or_init(Mutex::default).lock();
    node.get_or_insert_with(|| {
        // SAFETY: a function that does not unwind, called once when the process exits.
        #[allow(unsafe_code)]
        unsafe {
            libc::atexit(end);
        }
        Box::leak(Box::new(Cluster::start(1)))
    })
}

/// A keyspace of its own on a cluster.
async fn keyspace(cluster: &Cluster) -> Config {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let name = format!("k{}_{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
    let config = cluster.config(&name);
    migrate(&config, &Replication::of(cluster::DATACENTER, cluster.copies())).await.expect("migrates");
    config
}

async fn store(config: &Config) -> CqlStore {
    CqlStore::open(config).await.expect("opens")
}

/// A connection beside the store's.
async fn session(config: &Config) -> scylla::client::session::Session {
    let builder = scylla::client::session_builder::SessionBuilder::new();
    builder.known_nodes(&config.contact_points).build().await.expect("connects")
}

async fn drop_keyspace(config: &Config) {
    let drop = format!("DROP KEYSPACE {}", config.keyspace);
    session(config).await.query_unpaged(drop, ()).await.expect("drops");
}
