//! The rows of a commit.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use journal::store::{
    Bucket, ClaimChange, Commit, GroupId, IndexChange, NO_BUCKET, Refusal, Seq, check_group,
};

use crate::codec;
use crate::db::{Bound, Value, bigint, blob, int, tiny};
use crate::schema::{Statement, kind};

/// Most bytes of keys and values of a commit. Both databases refuse a mutation above half a segment of their commit
/// log, 16 MiB where nobody changes it; far below, a large commit delays the others.
pub const COMMIT_BYTES_MAX: usize = 1024 * 1024;
/// Most rows that a commit writes.
pub const COMMIT_ROWS_MAX: usize = 2048;

/// A key that has expired already is kept for so long, so that whoever wrote it finds it.
const KEY_SECONDS_MIN: u64 = 60;
/// Both databases keep nothing for longer than 20 years; such keys are kept for ever.
const KEY_SECONDS_MAX: u64 = 20 * 365 * 24 * 3600;

/// Checks the rules of the port, and the limits of this store.
///
/// # Errors
/// The first rule that is broken.
pub(crate) fn check(commit: &Commit) -> Result<(), Refusal> {
    check_group(std::slice::from_ref(commit))?;
    let rule = if commit.entries.is_empty() && !commit.index.is_empty() {
        "index rows without entries on a shared store"
    } else if rows_of(commit) > COMMIT_ROWS_MAX {
        "more than 2048 rows in a commit"
    } else if bytes_of(commit) > COMMIT_BYTES_MAX {
        "more than 1 MiB in a commit"
    } else if commit.bucket != NO_BUCKET && i64::try_from(commit.bucket).is_err() {
        "the bucket is too late"
    } else {
        return Ok(());
    };
    Err(Refusal::Invalid { at: 0, rule })
}

fn rows_of(commit: &Commit) -> usize {
    commit.entries.len() + commit.rows.len() + commit.keys.len() + commit.claims.len() + commit.index.len()
}

fn bytes_of(commit: &Commit) -> usize {
    const KEY_ROW: usize = 64;
    let entries = commit.entries.iter().map(Bytes::len).sum::<usize>();
    let rows = commit.rows.iter().map(|(key, value)| key.len() + value.as_ref().map_or(0, Bytes::len));
    let index = commit.index.iter().map(|row| row.key.len() + row.value.as_ref().map_or(0, Bytes::len));
    let claims = commit.claims.iter().map(|change| change.claim().value.len());
    let keyed = rows.chain(index).chain(claims).sum::<usize>();
    commit.head.header.len() + entries + keyed + commit.keys.len() * KEY_ROW
}

/// What a partition's rows are written with.
struct Rows {
    place: [Value; 2],
    rows: Vec<Bound>,
}

impl Rows {
    fn key(&self, kind: i8, key: &[u8]) -> Vec<Value> {
        let [tenant, aggregate] = self.place.clone();
        vec![tenant, aggregate, tiny(kind), blob(key)]
    }

    fn put(&mut self, kind: i8, key: &[u8], value: impl AsRef<[u8]>) {
        let mut values = self.key(kind, key);
        values.push(blob(value));
        self.rows.push((Statement::Put, values));
    }

    fn put_for(&mut self, kind: i8, key: &[u8], value: impl AsRef<[u8]>, seconds: i32) {
        let mut values = self.key(kind, key);
        values.extend([blob(value), int(seconds)]);
        self.rows.push((Statement::PutFor, values));
    }

    fn remove(&mut self, kind: i8, key: &[u8]) {
        self.rows.push((Statement::Remove, self.key(kind, key)));
    }
}

/// The partition of a commit.
pub(crate) fn place(commit: &Commit) -> [Value; 2] {
    [blob(commit.tenant.as_bytes()), blob(commit.aggregate.as_bytes())]
}

/// The values of the head, then those of the partition.
pub(crate) fn head(commit: &Commit) -> Vec<Value> {
    let head = &commit.head;
    let mut values = vec![
        bigint(head.seq),
        blob(head.attempt.0),
        blob(head.chain.0),
        blob(&head.header),
        int(head.format),
    ];
    values.extend(place(commit));
    values
}

/// All rows of a commit. Index rows of commits up to `moved` are removed: they are where lists are read.
pub(crate) fn rows(commit: &Commit, moved: Option<Seq>) -> Vec<Bound> {
    let mut all = Rows { place: place(commit), rows: Vec::new() };
    for (seq, entry) in (commit.expect + 1..).zip(&commit.entries) {
        all.put(kind::ENTRY, &seq.to_be_bytes(), entry);
    }
    for (key, value) in &commit.rows {
        match value {
            Some(value) => all.put(kind::ROW, key, value),
            None => all.remove(kind::ROW, key),
        }
    }
    // A row is written once: of two writes in a batch the removal would win.
    let keys: BTreeMap<_, _> = commit.keys.iter().map(|(hash, row)| (hash.0, row)).collect();
    for (hash, row) in keys {
        all.put_for(kind::KEY, &hash, codec::key_row(row), seconds_to_live(row.expires_s));
    }
    let releases = commit.claims.iter().filter(|change| matches!(change, ClaimChange::Release(_)));
    let takes = commit.claims.iter().filter(|change| matches!(change, ClaimChange::Take(_)));
    let claims: BTreeMap<_, _> = releases.chain(takes).map(|change| (change.claim(), change)).collect();
    for (claim, change) in claims {
        match change {
            ClaimChange::Take(_) => all.put(kind::CLAIM, &codec::claim_key(claim), []),
            ClaimChange::Release(_) => all.remove(kind::CLAIM, &codec::claim_key(claim)),
        }
    }
    if !commit.index.is_empty() {
        let last: BTreeMap<_, _> =
            commit.index.iter().map(|change| ((change.index, &change.key), change)).collect();
        let last: Vec<IndexChange> = last.into_values().cloned().collect();
        all.put(kind::INDEX, &commit.head.seq.to_be_bytes(), codec::index(&last));
    }
    if let Some(moved) = moved {
        let values = all.key(kind::INDEX, &moved.to_be_bytes());
        all.rows.push((Statement::RemoveUpto, values));
    }
    all.rows
}

/// The row that keeps a commit of a group, and its removal.
pub(crate) fn prepared(commit: &Commit, group: GroupId) -> Bound {
    let mut all = Rows { place: place(commit), rows: Vec::new() };
    all.put(kind::PREPARED, &group.0, codec::commit(commit));
    all.rows.remove(0)
}

pub(crate) fn unprepared(place: [Value; 2], group: GroupId) -> Bound {
    let mut all = Rows { place, rows: Vec::new() };
    all.remove(kind::PREPARED, &group.0);
    all.rows.remove(0)
}

/// Seconds for which a key row is kept; 0 for ever.
pub(crate) fn seconds_to_live(expires_s: u64) -> i32 {
    if expires_s == 0 {
        return 0;
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    match expires_s.saturating_sub(now) {
        seconds if seconds > KEY_SECONDS_MAX => 0,
        0 => i32::try_from(KEY_SECONDS_MIN).unwrap_or(i32::MAX),
        seconds => i32::try_from(seconds).unwrap_or(i32::MAX),
    }
}

/// A bucket as it is compared with fences.
pub(crate) fn bucket(bucket: Bucket) -> Value {
    bigint(bucket)
}
