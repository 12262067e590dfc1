//! Opening and migrating.

use journal_cql::{Config, CqlStore, Error, Replication, VERSION, migrate};

use crate::cluster::DATACENTER;
use crate::{drop_keyspace, keyspace, one_node, session, store};

fn said(result: Result<CqlStore, Error>) -> String {
    result.err().expect("refused").to_string()
}

/// A store that is opened changes nothing, and says what to do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_without_tables_is_not_opened() {
    let node = tokio::task::block_in_place(one_node);
    let config = node.config("nothing_here");
    let expected = format!(
        "the keyspace 'nothing_here' has no tables of version {VERSION}: run `cargo-pilot migrate` first"
    );
    assert_eq!(said(CqlStore::open(&config).await), expected);
    let session = session(&config).await;
    let found = "SELECT keyspace_name FROM system_schema.keyspaces WHERE keyspace_name='nothing_here'";
    let found = session.query_unpaged(found, ()).await.expect("reads").into_rows_result().expect("rows");
    assert_eq!(found.rows_num(), 0);
}

/// Migrating again changes nothing; tables of a later version are left alone by an older program.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_are_made_once_and_never_taken_back() {
    let node = tokio::task::block_in_place(one_node);
    let config = keyspace(node).await;
    let copies = Replication::of(DATACENTER, 1);
    migrate(&config, &copies).await.expect("migrates again");
    store(&config).await;
    let later = format!("UPDATE {}.version SET version={} WHERE one=0", config.keyspace, VERSION + 1);
    session(&config).await.query_unpaged(later, ()).await.expect("writes");
    for newer in [
        said(CqlStore::open(&config).await),
        migrate(&config, &copies).await.expect_err("refused").to_string(),
    ] {
        assert!(newer.contains(&format!("are of version {}", VERSION + 1)), "{newer}");
    }
    drop_keyspace(&config).await;
}

/// What stands in statements as it is, is checked first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_that_are_no_names_are_refused() {
    for keyspace in ["", "1a", "a-b", "A", "a; DROP KEYSPACE system", &"a".repeat(49)] {
        let config = Config::new(vec!["127.0.0.1:1".into()], keyspace, DATACENTER);
        assert!(
            said(CqlStore::open(&config).await).contains("a keyspace begins with a letter"),
            "{keyspace}"
        );
    }
    let config = Config::new(vec!["127.0.0.1:1".into()], "stock", DATACENTER);
    let copies = Replication::of("x': 1} AND durable_writes={'y", 1);
    let refused = migrate(&config, &copies).await.expect_err("refused").to_string();
    assert!(refused.contains("a datacenter has letters"), "{refused}");
}
