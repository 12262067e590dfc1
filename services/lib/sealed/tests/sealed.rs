//! Sealed stores keep the contract of the port, open nothing elsewhere, and forget a tenant for good.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use ids::{AggregateId, TenantId};
use journal::feed::FeedStore;
use journal::member::Member;
use journal::memory::MemoryStore;
use journal::seal::{SealStore as _, Sizes};
use journal::store::{
    AttemptId, Chain, Claim, ClaimChange, Commit, Head, IndexChange, KeyHash, KeyRow, NO_BUCKET, Order,
    Outcome, Refusal, Store,
};
use journal::{SharedStore, StoreError, SystemEnv, feed_contract, store_contract};
use journal_embedded::{EmbeddedStore, Options};
use sealed::{KeyError, KeyTable, Keyring, SealedStore};
use tempfile::{TempDir, tempdir};

fn ring() -> Arc<Keyring> {
    Arc::new(Keyring::in_memory().unwrap())
}

fn over<S: Store + ?Sized>(store: Arc<S>, ring: &Arc<Keyring>) -> SealedStore<S> {
    SealedStore::new(store, Arc::clone(ring), "stock")
}

fn embedded(folder: &Path) -> Arc<EmbeddedStore> {
    let options = Options { sync: false, ..Options::default() };
    Arc::new(EmbeddedStore::open(folder, options).unwrap())
}

store_contract!(memory, || -> (SharedStore, ()) {
    (Arc::new(over(Arc::new(MemoryStore::default()), &ring())), ())
});

feed_contract!(memory_feed, || -> (Arc<dyn FeedStore>, ()) {
    (Arc::new(over(Arc::new(MemoryStore::default()), &ring())), ())
});

store_contract!(on_disk, || -> (SharedStore, TempDir) {
    let folder = tempdir().unwrap();
    let ring = Keyring::make(&folder.path().join("root-key"), &folder.path().join("keys")).unwrap();
    let store = over(embedded(&folder.path().join("stock")), &Arc::new(ring));
    (Arc::new(store), folder)
});

const SECRET: &str = "canary-7f3a";

fn tenant(number: u8) -> TenantId {
    TenantId::from_bytes([number; 16])
}

fn aggregate(number: u8) -> AggregateId {
    AggregateId::from_bytes([number; 16])
}

fn claim() -> Claim {
    Claim { kind: 3, value: SECRET.into() }
}

/// Entry `expect + 1` with every kind of record, the secret in each that may have one.
fn commit(of: u8, to: u8, expect: u64) -> Commit {
    let secret = Bytes::from(SECRET);
    let row =
        KeyRow { aggregate: aggregate(to), first: expect + 1, count: 1, fingerprint: [6; 16], expires_s: 0 };
    Commit {
        tenant: tenant(of),
        aggregate: aggregate(to),
        expect,
        bucket: NO_BUCKET,
        head: Head {
            seq: expect + 1,
            attempt: AttemptId([4; 16]),
            chain: Chain([5; 32]),
            format: 3,
            header: secret.clone(),
        },
        entries: vec![secret.clone()],
        rows: vec![("row".into(), Some(secret.clone()))],
        keys: vec![(KeyHash([to; 9]), row)],
        claims: vec![ClaimChange::Take(claim())],
        index: vec![IndexChange { index: 1, key: "key".into(), value: Some(secret) }],
    }
}

async fn applies(store: &impl Store, commit: Commit) {
    assert_eq!(store.commit(vec![commit]).await, Outcome::Applied);
}

/// What each kind of read says about aggregate `to` of tenant `of`: the secret once, if it is readable.
async fn reads(store: &impl Store, of: u8, to: u8) -> Vec<Result<Bytes, StoreError>> {
    let (of, to) = (tenant(of), aggregate(to));
    let index = store.index(of, 1, "key".into(), None, 1).await;
    let scanned = store.scan_rows(of, to, "row".into(), 1).await;
    let entries = store.entries(of, to, 1, 1, Order::Ascending, 1).await;
    vec![
        store.head(of, to).await.map(|head| head.unwrap().header),
        store.rows(of, to, vec!["row".into()]).await.map(|mut rows| rows.remove(0).unwrap()),
        scanned.map(|mut rows| rows.remove(0).1),
        entries.map(|mut entries| entries.remove(0).1),
        index.map(|mut rows| rows.remove(0).value),
        store.index_row(of, 1, "key".into(), to).await.map(Option::unwrap),
    ]
}

async fn all_readable(store: &impl Store, of: u8, to: u8) {
    for (at, read) in reads(store, of, to).await.into_iter().enumerate() {
        assert_eq!(read, Ok(Bytes::from(SECRET)), "read {at}");
    }
    assert_eq!(store.claim(tenant(of), claim()).await, Ok(Some(aggregate(to))));
    let key = store.key(tenant(of), KeyHash([to; 9])).await.unwrap().unwrap();
    assert_eq!(key.fingerprint, [6; 16]);
    assert_eq!(store.head(tenant(of), aggregate(to)).await.unwrap().unwrap().chain, Chain([5; 32]));
}

async fn all_say(store: &impl Store, of: u8, to: u8, error: &StoreError) {
    for (at, read) in reads(store, of, to).await.into_iter().enumerate() {
        assert_eq!(read.as_ref(), Err(error), "read {at}");
    }
    assert_eq!(store.claim(tenant(of), claim()).await.as_ref(), Err(error));
    assert_eq!(store.key(tenant(of), KeyHash([to; 9])).await.as_ref(), Err(error));
}

/// Moves everything that a raw store has of an aggregate somewhere else in another raw store, as an attacker with
/// the disk could.
async fn moved(raw: &MemoryStore, from: (u8, u8, u64), to: (u8, u8, u64)) -> Arc<MemoryStore> {
    let (of, at) = (tenant(from.0), aggregate(from.1));
    let head = raw.head(of, at).await.unwrap().unwrap();
    let entries = raw.entries(of, at, from.2, from.2, Order::Ascending, 1).await.unwrap();
    let rows = raw.scan_rows(of, at, Bytes::new(), 9).await.unwrap();
    let index = raw.index(of, 1, Bytes::new(), None, 9).await.unwrap();
    let expect = to.2 - 1;
    let commit = Commit {
        tenant: tenant(to.0),
        aggregate: aggregate(to.1),
        head: Head { seq: expect + 1, ..head },
        entries: vec![entries[0].1.clone()],
        rows: rows.into_iter().map(|(key, value)| (key, Some(value))).collect(),
        keys: Vec::new(),
        claims: Vec::new(),
        index: index
            .into_iter()
            .map(|row| IndexChange { index: 1, key: row.key, value: Some(row.value) })
            .collect(),
        ..commit(to.0, to.1, expect)
    };
    let target = Arc::new(MemoryStore::default());
    for seq in 0..expect {
        applies(&*target, Commit { rows: vec![], ..self::commit(to.0, to.1, seq) }).await;
    }
    applies(&*target, commit).await;
    target
}

/// TEN-10: what is moved to another tenant, aggregate, sequence, row or service does not open.
#[tokio::test]
async fn what_is_moved_elsewhere_does_not_open() {
    let (ring, raw) = (ring(), Arc::new(MemoryStore::default()));
    let store = over(Arc::clone(&raw), &ring);
    applies(&store, commit(1, 1, 0)).await;
    // The other tenant has keys too.
    applies(&store, commit(2, 9, 0)).await;
    for read in reads(&over(moved(&raw, (1, 1, 1), (1, 1, 1)).await, &ring), 1, 1).await {
        assert_eq!(read, Ok(Bytes::from(SECRET)), "where it was it opens");
    }

    let is_damaged = |read: &Result<Bytes, StoreError>| {
        matches!(read, Err(StoreError::Damaged(_) | StoreError::KeyMissing(_)))
    };
    for (of, to) in [(2, 1), (1, 2), (2, 2)] {
        let elsewhere = over(moved(&raw, (1, 1, 1), (of, to, 1)).await, &ring);
        for (at, read) in reads(&elsewhere, of, to).await.iter().enumerate() {
            assert!(is_damaged(read), "read {at} of {of} {to}: {read:?}");
        }
    }
    let later = over(moved(&raw, (1, 1, 1), (1, 1, 2)).await, &ring);
    assert!(matches!(later.head(tenant(1), aggregate(1)).await, Err(StoreError::Damaged(_))));
    let entries = later.entries(tenant(1), aggregate(1), 2, 2, Order::Ascending, 1).await;
    assert!(matches!(entries, Err(StoreError::Damaged(_))), "{entries:?}");

    let other_service = SealedStore::new(Arc::clone(&raw), Arc::clone(&ring), "catalog");
    for read in reads(&other_service, 1, 1).await {
        assert!(is_damaged(&read), "{read:?}");
    }
    let sealed = raw.rows(tenant(1), aggregate(1), vec!["row".into()]).await.unwrap();
    applies(&*raw, Commit { rows: vec![("other".into(), sealed[0].clone())], ..commit(1, 1, 1) }).await;
    let row = store.rows(tenant(1), aggregate(1), vec!["other".into()]).await;
    assert!(matches!(row, Err(StoreError::Damaged(_))), "{row:?}");
}

/// TEN-10: no value is in the files of a store, neither in its log nor in its tables, and none in the keys.
#[tokio::test]
async fn no_value_is_on_disk_in_the_clear() {
    let folder = tempdir().unwrap();
    let ring = Arc::new(Keyring::make(&folder.path().join("root-key"), &folder.path().join("keys")).unwrap());
    let raw = embedded(&folder.path().join("stock"));
    let store = over(Arc::clone(&raw), &ring);
    for seq in 0..50 {
        applies(&store, commit(1, 1, seq)).await;
    }
    raw.close();
    let (mut files, mut open) = (0, vec![folder.path().to_owned()]);
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(fs::read_dir(path).unwrap().map(|file| file.unwrap().path()));
            continue;
        }
        let bytes = fs::read(&path).unwrap();
        let found = bytes.windows(SECRET.len()).any(|part| part == SECRET.as_bytes());
        assert!(!found, "{}", path.display());
        files += 1;
    }
    assert!(files > 4);
}

/// TEN-10: after a rotation old values open, new ones have the new version, and claims keep their owners.
#[tokio::test]
async fn a_rotated_key_opens_what_was_and_seals_what_comes() {
    let folder = tempdir().unwrap();
    let (root, keys) = (folder.path().join("root-key"), folder.path().join("keys"));
    let raw = Arc::new(MemoryStore::default());
    let ring = Arc::new(Keyring::make(&root, &keys).unwrap());
    let store = over(Arc::clone(&raw), &ring);
    applies(&store, commit(1, 1, 0)).await;
    let sealed =
        || async { raw.rows(tenant(1), aggregate(1), vec!["row".into()]).await.unwrap()[0].clone().unwrap() };
    let before = sealed().await;
    assert_eq!(ring.rotate(tenant(7)), Ok(None), "it has no keys");
    let version = ring.rotate(tenant(1)).unwrap().unwrap();
    all_readable(&store, 1, 1).await;
    applies(&store, commit(1, 1, 1)).await;
    let after = sealed().await;
    assert_ne!(before[1..5], after[1..5]);
    assert_eq!(after[1..5], version.to_be_bytes());
    let twice = commit(1, 2, 0);
    let refused = Refusal::Claimed { at: 0, claim: claim(), owner: aggregate(1) };
    assert_eq!(store.commit(vec![twice]).await, Outcome::Refused(refused));
    // And after a restart.
    let again = over(raw, &Arc::new(Keyring::open(&root, &keys).unwrap()));
    assert_eq!(again.entries(tenant(1), aggregate(1), 1, 2, Order::Ascending, 9).await.unwrap().len(), 2);
    all_readable(&again, 1, 1).await;
}

/// TEN-10: what a destroyed key sealed is unreadable with a reason of its own, after a restart and with the wrapped
/// keys of an old backup too; no other tenant is touched.
#[tokio::test]
async fn a_destroyed_key_makes_its_tenant_unreadable() {
    let folder = tempdir().unwrap();
    let (root, keys) = (folder.path().join("root-key"), folder.path().join("keys"));
    let raw = embedded(&folder.path().join("stock"));
    let ring = Arc::new(Keyring::make(&root, &keys).unwrap());
    let store = over(Arc::clone(&raw), &ring);
    for of in [1, 2, 3] {
        applies(&store, commit(of, 1, 0)).await;
    }
    let wrapped = fs::read(keys.join(tenant(2).to_string())).unwrap();
    let old_root = fs::read_to_string(&root).unwrap();

    ring.destroy(tenant(2)).unwrap();
    ring.destroy(tenant(2)).unwrap();
    assert_eq!(ring.tenants().unwrap(), [tenant(1), tenant(3)]);
    fs::write(keys.join(tenant(2).to_string()), wrapped).unwrap();
    let again = over(raw, &Arc::new(Keyring::open(&root, &keys).unwrap()));
    for store in [&store, &again] {
        all_say(store, 2, 1, &StoreError::KeyDestroyed).await;
        let refused = store.commit(vec![commit(2, 1, 1)]).await;
        assert!(matches!(refused, Outcome::Refused(Refusal::Moved { .. })), "{refused:?}");
        for of in [1, 3] {
            all_readable(store, of, 1).await;
        }
        let listed = store.aggregates(None, 1).await.unwrap();
        let next = store.aggregates(Some((tenant(1), aggregate(1))), 1).await.unwrap();
        assert_eq!((listed[0].0, next[0].0), (tenant(1), tenant(3)));
        let feed = store.feed(0, 9).await.unwrap();
        let tenants: Vec<_> = feed.groups.iter().flat_map(|group| &group.changes).map(|c| c.tenant).collect();
        assert_eq!(tenants, [tenant(1), tenant(3)]);
    }
    let new_root = fs::read_to_string(&root).unwrap();
    let seed = old_root.lines().nth(2).unwrap().rsplit(' ').next().unwrap();
    assert!(!new_root.contains(seed), "the seed of all keys is gone");
}

/// A file of keys that was lost or changed is never made anew: that would hide the loss.
#[tokio::test]
async fn a_lost_key_is_said_to_be_missing() {
    let folder = tempdir().unwrap();
    let (root, keys) = (folder.path().join("root-key"), folder.path().join("keys"));
    let raw = Arc::new(MemoryStore::default());
    let first = over(Arc::clone(&raw), &Arc::new(Keyring::make(&root, &keys).unwrap()));
    applies(&first, commit(1, 1, 0)).await;
    applies(&first, commit(2, 1, 0)).await;
    let file = keys.join(tenant(1).to_string());
    let text = fs::read_to_string(&file).unwrap();
    for broken in [None, Some(text.replace("key 1", "key 1x")), Some(text.replace("root ", "root f"))] {
        match &broken {
            None => fs::remove_file(&file).unwrap(),
            Some(text) => fs::write(&file, format!("{text}x")).unwrap(),
        }
        let store = over(Arc::clone(&raw), &Arc::new(Keyring::open(&root, &keys).unwrap()));
        let head = store.head(tenant(1), aggregate(1)).await;
        assert!(matches!(head, Err(StoreError::KeyMissing(_))), "{head:?}");
        let owner = store.claim(tenant(1), claim()).await;
        assert!(matches!(owner, Err(StoreError::KeyMissing(_))), "{owner:?}");
        assert_eq!(store.claim(tenant(3), claim()).await, Ok(None), "nothing is stored of it");
        let other = commit(1, 5, 0);
        let outcome = store.commit(vec![other]).await;
        assert!(matches!(outcome, Outcome::Refused(Refusal::Moved { .. })), "{outcome:?}");
        all_readable(&store, 2, 1).await;
        assert_eq!(store.aggregates(None, 9).await.unwrap().len(), 2);
    }
    fs::write(&file, text).unwrap();
    all_readable(&over(raw, &Arc::new(Keyring::open(&root, &keys).unwrap())), 1, 1).await;
}

#[test]
fn a_root_key_is_made_once_and_belongs_to_its_folder() {
    let folder = tempdir().unwrap();
    let (root, keys) = (folder.path().join("secrets/root-key"), folder.path().join("keys"));
    assert_eq!(Keyring::open(&root, &keys).err(), Some(KeyError::Missing));
    let ring = Keyring::make(&root, &keys).unwrap();
    assert!(matches!(Keyring::make(&root, &keys).err(), Some(KeyError::File { .. })));
    ring.of_new(tenant(1)).unwrap();
    let other = folder.path().join("other");
    Keyring::make(&other, &keys).unwrap();
    let stranger = Keyring::open(&other, &keys).unwrap().of(tenant(1)).err();
    assert!(
        matches!(&stranger, Some(KeyError::File { what, .. }) if what.contains("another root key")),
        "{stranger:?}"
    );
}

/// Keys that several processes share; a step that another process makes first is made before it.
#[derive(Default)]
struct Table {
    keys: Mutex<BTreeMap<TenantId, String>>,
    down: AtomicBool,
}

impl KeyTable for Table {
    fn read(&self, tenant: TenantId) -> Result<Option<String>, String> {
        match self.down.load(Ordering::Relaxed) {
            true => Err("cannot be reached".to_owned()),
            false => Ok(self.keys.lock().unwrap().get(&tenant).cloned()),
        }
    }

    fn insert(&self, tenant: TenantId, text: &str) -> Result<bool, String> {
        let mut keys = self.keys.lock().unwrap();
        let is_first = !keys.contains_key(&tenant);
        keys.entry(tenant).or_insert_with(|| text.to_owned());
        Ok(is_first)
    }
}

/// Two processes over one database write as the first of a tenant, and read what the other wrote.
#[tokio::test]
async fn processes_share_the_keys_of_a_tenant() {
    let folder = tempdir().unwrap();
    let root = folder.path().join("root-key");
    Keyring::make_root(&root).unwrap();
    assert!(Keyring::make_root(&root).is_err(), "one root key for all");
    let (table, raw) = (Arc::new(Table::default()), Arc::new(MemoryStore::default()));
    let process = || {
        let ring = Keyring::shared(&root, Arc::<Table>::clone(&table)).unwrap();
        (SealedStore::new(Arc::clone(&raw), Arc::new(ring), "stock"), ())
    };
    let ((one, ()), (two, ())) = (process(), process());
    // The other looked before there was anything.
    assert_eq!(two.head(tenant(1), aggregate(1)).await, Ok(None));
    assert_eq!(one.commit(vec![commit(1, 1, 0)]).await, Outcome::Applied);
    let head = two.head(tenant(1), aggregate(1)).await.unwrap().unwrap();
    assert_eq!(head.header, Bytes::from(SECRET));
    assert_eq!(two.commit(vec![commit(1, 1, 1)]).await, Outcome::Applied);
    let entries = one.entries(tenant(1), aggregate(1), 1, 2, Order::Ascending, 10).await.unwrap();
    assert_eq!(entries.len(), 2);
    // Both at once: the keys of one of them are those of both.
    let rings = [(); 2].map(|()| Keyring::shared(&root, Arc::<Table>::clone(&table)).unwrap());
    let sealed: Vec<_> = std::thread::scope(|scope| {
        let threads = rings.each_ref().map(|ring| scope.spawn(|| ring.of_new(tenant(2)).unwrap()));
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let value = sealed[0].seal(b"place", &[b"value"]).unwrap();
    assert_eq!(sealed[1].open(b"place", &[&value]).unwrap(), Bytes::from("value"));

    assert!(matches!(rings[0].rotate(tenant(2)), Err(KeyError::File { .. })), "others hold it in memory");
    assert!(matches!(rings[0].destroy(tenant(2)), Err(KeyError::File { .. })));
    assert!(!rings[0].is_destroyed(tenant(2)));
    table.down.store(true, Ordering::Relaxed);
    let (three, ()) = process();
    let away = three.head(tenant(1), aggregate(1)).await.unwrap_err();
    assert!(matches!(&away, StoreError::Unavailable(why) if why.contains("cannot be reached")), "{away:?}");
    // A head that cannot be opened now is no damaged one.
    let listed = three.aggregates(None, 10).await.unwrap_err();
    assert!(matches!(listed, StoreError::Unavailable(_)), "{listed:?}");
}

/// The oldest entries of a long journal become segments although nobody there can open them, and read as before.
#[tokio::test]
async fn sealed_entries_are_put_into_segments() {
    let store = Arc::new(MemoryStore::cluster());
    let sizes = Sizes { segment: 4, tail: 8 };
    let member = Member::join(Arc::clone(&store) as _, Arc::new(SystemEnv), vec![], sizes);
    let sealed = over(member, &ring());
    for expect in 0..40 {
        assert_eq!(sealed.commit(vec![commit(1, 1, expect)]).await, Outcome::Applied);
    }
    let done = async {
        while store.sealed(tenant(1), aggregate(1)).await.unwrap() < 28 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), done).await.expect("old entries become segments");
    let read = sealed.entries(tenant(1), aggregate(1), 1, 40, Order::Ascending, 100).await.unwrap();
    assert!(read.iter().map(|(seq, _)| *seq).eq(1..=40), "{read:?}");
    assert!(read.iter().all(|(_, entry)| String::from_utf8_lossy(entry).contains(SECRET)), "{read:?}");
}
