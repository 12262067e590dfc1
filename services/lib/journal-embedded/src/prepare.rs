//! Turns a group of commits into records, on the caller's thread: the writer has enough to do.

use ids::{AggregateId, TenantId};
use journal::store::{ClaimChange, Commit, Seq};

use crate::records;
use crate::tables::{Record, Table};

/// A group that is ready to be checked and written.
pub(crate) struct Group {
    pub(crate) checks: Vec<Check>,
    pub(crate) records: Vec<Record>,
    /// Bytes of the records.
    pub(crate) bytes: usize,
}

/// What must hold for one commit, and what the groups' hash says about it.
pub(crate) struct Check {
    pub(crate) tenant: TenantId,
    pub(crate) aggregate: AggregateId,
    pub(crate) expect: Seq,
    pub(crate) seq: Seq,
    /// The aggregate's own chain stands for its entries.
    pub(crate) chain: [u8; 32],
    pub(crate) claims: Vec<ClaimChange>,
}

/// Encodes everything but the claims, whose records depend on who owns them.
pub(crate) fn prepare(commits: Vec<Commit>) -> Group {
    let mut group = Group { checks: Vec::with_capacity(commits.len()), records: Vec::new(), bytes: 0 };
    group.records.reserve(commits.iter().map(records_of).sum());
    for commit in commits {
        let Commit { tenant, aggregate, expect, bucket: _, head, entries, rows, keys, claims, index } =
            commit;
        group.write(Table::Head, records::aggregate_key(tenant, aggregate), &records::head_value(&head));
        for (seq, entry) in (expect + 1..).zip(entries) {
            group.write(Table::Entry, records::entry_key(tenant, aggregate, seq), &entry);
        }
        for (key, value) in rows {
            group.set(Table::Row, records::row_key(tenant, aggregate, &key), value.as_deref());
        }
        for (hash, row) in keys {
            group.write(Table::Key, records::key_key(tenant, hash), &records::key_value(&row));
        }
        for change in index {
            let key = records::index_key(tenant, change.index, &change.key, aggregate);
            group.set(Table::Index, key, change.value.as_deref());
        }
        let chain = head.chain.0;
        group.checks.push(Check { tenant, aggregate, expect, seq: head.seq, chain, claims });
    }
    group
}

fn records_of(commit: &Commit) -> usize {
    1 + commit.entries.len() + commit.rows.len() + commit.keys.len() + commit.index.len()
}

impl Group {
    fn write(&mut self, table: Table, key: impl AsRef<[u8]>, value: &[u8]) {
        self.set(table, key, Some(value));
    }

    fn set(&mut self, table: Table, key: impl AsRef<[u8]>, value: Option<&[u8]>) {
        let key = key.as_ref();
        self.bytes += key.len() + value.map_or(0, <[u8]>::len);
        self.records.push(Record { table, key: key.into(), value: value.map(Into::into) });
    }
}
