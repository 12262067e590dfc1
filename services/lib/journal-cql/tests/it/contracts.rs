//! The suites that every store passes, each case in a keyspace of its own.

use std::sync::Arc;

use journal::SharedStore;
use journal::claims::Claiming;
use journal::group::{GroupStore, Grouping};
use journal::relay_store::RelayStore;
use journal_cql::CqlStore;

use crate::{keyspace, one_node, store};

/// Opens a store for a case, which is not asynchronous when it asks for it.
fn opened() -> (Arc<CqlStore>, Kept) {
    let node = tokio::task::block_in_place(one_node);
    let opened = async {
        let config = keyspace(node).await;
        (Arc::new(store(&config).await), Kept(config))
    };
    tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(opened))
}

/// Drops the keyspace after its case: tables cost the node memory.
struct Kept(journal_cql::Config);

impl Drop for Kept {
    fn drop(&mut self) {
        let dropped = crate::drop_keyspace(&self.0);
        tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(dropped));
    }
}

journal::store_contract!(
    stored,
    || {
        let (store, kept) = opened();
        (Arc::new(Claiming::new(Arc::new(Grouping::new(store)))) as SharedStore, kept)
    },
    keys_expire_by_themselves
);

journal::group_contract!(grouped, || {
    let (store, kept) = opened();
    (store as Arc<dyn GroupStore>, kept)
});

journal::relay_contract!(relayed, || {
    let (store, kept) = opened();
    (store as Arc<dyn RelayStore>, kept)
});
