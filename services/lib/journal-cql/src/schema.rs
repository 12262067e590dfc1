//! All CQL: tables, statements, and where ScyllaDB and Apache Cassandra differ.
//!
//! Ids are blobs: both databases order a `uuid` by its version first, and aggregates are listed in the order of
//! their bytes.

use scylla::client::session::Session;
use scylla::statement::Consistency;
use scylla::statement::unprepared::Statement as Text;

use crate::config::{Config, Replication};
use crate::error::Error;

/// The version of the tables below, which [`migrate`] leaves behind.
pub const VERSION: i32 = 1;

/// Kinds of rows in a partition of `journal`.
pub(crate) mod kind {
    /// `k` is the sequence, big-endian.
    pub(crate) const ENTRY: i8 = 1;
    /// `k` is the key of the state row.
    pub(crate) const ROW: i8 = 2;
    /// `k` is the hash of an idempotency key. Has a time to live.
    pub(crate) const KEY: i8 = 3;
    /// `k` is the kind of value, two bytes, and the value.
    pub(crate) const CLAIM: i8 = 4;
    /// Index rows that wait to be moved; `k` is the sequence of their commit. A later commit removes it.
    pub(crate) const INDEX: i8 = 5;
    /// The commit of the group that has locked the aggregate; `k` is the group.
    pub(crate) const PREPARED: i8 = 6;
}

/// Tables with conditional writes get no plain writes.
const TABLES: [&str; 13] = [
    "CREATE TABLE IF NOT EXISTS journal (tenant blob, agg blob, kind tinyint, k blob, \
     seq bigint STATIC, fence bigint STATIC, att blob STATIC, chain blob STATIC, hdr blob STATIC, fmt int STATIC, \
     sealed bigint STATIC, lock blob STATIC, v blob, PRIMARY KEY ((tenant, agg), kind, k))",
    "CREATE TABLE IF NOT EXISTS segment (tenant blob, agg blob, bucket bigint, first bigint, last bigint, codec tinyint, \
     chain_in blob, chain_out blob, data blob, PRIMARY KEY ((tenant, agg, bucket), first))",
    // Cells are written with the sequence of their commit as timestamp. Shard and bucket are 0: see the README.
    "CREATE TABLE IF NOT EXISTS idx (tenant blob, ix int, shard smallint, bucket int, k blob, agg blob, v blob, \
     PRIMARY KEY ((tenant, ix, shard, bucket), k, agg))",
    "CREATE TABLE IF NOT EXISTS claim (tenant blob, kind int, val blob, owner blob, att blob, bucket bigint, bfr blob, \
     PRIMARY KEY ((tenant, kind, val)))",
    "CREATE TABLE IF NOT EXISTS dirty (inst blob, bucket bigint, used boolean STATIC, closed boolean STATIC, \
     tenant blob, agg blob, PRIMARY KEY ((inst, bucket), tenant, agg))",
    "CREATE TABLE IF NOT EXISTS instance (one tinyint, inst blob, beat bigint, lo bigint, hi bigint, adopter blob, \
     PRIMARY KEY (one, inst))",
    // Written with the sequence as timestamp, so that it never moves backwards.
    "CREATE TABLE IF NOT EXISTS relay (tenant blob, agg blob, sink smallint, seq bigint, \
     PRIMARY KEY ((tenant, agg), sink))",
    "CREATE TABLE IF NOT EXISTS grp (tenant blob, gid blob, state tinyint, members int, PRIMARY KEY ((tenant, gid)))",
    // Where to look: written before the commit, so what it points to may not be there.
    "CREATE TABLE IF NOT EXISTS keyptr (tenant blob, hash blob, agg blob, PRIMARY KEY ((tenant, hash), agg))",
    "CREATE TABLE IF NOT EXISTS agg (tenant blob, agg blob, PRIMARY KEY (tenant, agg))",
    "CREATE TABLE IF NOT EXISTS tenant (one tinyint, tenant blob, PRIMARY KEY (one, tenant))",
    // What the processes of a service keep together beside its journals; written once.
    "CREATE TABLE IF NOT EXISTS kept (name blob PRIMARY KEY, value blob)",
    "CREATE TABLE IF NOT EXISTS version (one tinyint PRIMARY KEY, version int)",
];

/// How a statement is sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Sent {
    /// Reads what was decided, and decides what was begun.
    Serially,
    /// Reads what was acknowledged.
    AtQuorum,
    /// Writes where repeating is harmless.
    AsWrite,
    /// Writes under a condition, alone or first in a batch.
    Conditionally,
    /// Writes in the batch of a condition.
    InBatch,
}

macro_rules! statements {
    ($($name:ident $sent:ident $text:expr;)*) => {
        /// A statement, prepared when a store is opened.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub(crate) enum Statement { $($name,)* }

        pub(crate) const STATEMENTS: &[(Statement, Sent, &str)] =
            &[$((Statement::$name, Sent::$sent, $text),)*];
    };
}

statements! {
    Look Serially "SELECT seq, fence, att, chain, hdr, fmt, sealed, lock FROM journal WHERE tenant=? AND agg=? LIMIT 1";
    Row Serially "SELECT v FROM journal WHERE tenant=? AND agg=? AND kind=? AND k=?";
    Rows AtQuorum "SELECT k, v FROM journal WHERE tenant=? AND agg=? AND kind=? AND k IN ?";
    From AtQuorum "SELECT k, v FROM journal WHERE tenant=? AND agg=? AND kind=? AND k>=? LIMIT ?";
    Ascending AtQuorum "SELECT k, v FROM journal WHERE tenant=? AND agg=? AND kind=? AND k>=? AND k<? LIMIT ?";
    Descending AtQuorum "SELECT k, v FROM journal WHERE tenant=? AND agg=? AND kind=? AND k>=? AND k<? \
        ORDER BY kind DESC, k DESC LIMIT ?";

    Commit Conditionally "UPDATE journal SET seq=?, att=?, chain=?, hdr=?, fmt=? WHERE tenant=? AND agg=? \
        IF seq=? AND fence<? AND lock=null";
    // A comparison with null is false, so a head without a fence would refuse every later commit.
    CommitFirst Conditionally "UPDATE journal SET seq=?, att=?, chain=?, hdr=?, fmt=?, fence=0 WHERE tenant=? AND agg=? \
        IF seq=null AND fence=null AND lock=null";
    CommitFenced Conditionally "UPDATE journal SET seq=?, att=?, chain=?, hdr=?, fmt=? WHERE tenant=? AND agg=? \
        IF seq=null AND fence<? AND lock=null";
    Prepare Conditionally "UPDATE journal SET lock=? WHERE tenant=? AND agg=? IF seq=? AND fence<? AND lock=null";
    PrepareFirst Conditionally "UPDATE journal SET lock=?, fence=0 WHERE tenant=? AND agg=? \
        IF seq=null AND fence=null AND lock=null";
    PrepareFenced Conditionally "UPDATE journal SET lock=? WHERE tenant=? AND agg=? \
        IF seq=null AND fence<? AND lock=null";
    RollForward Conditionally "UPDATE journal SET seq=?, att=?, chain=?, hdr=?, fmt=?, lock=null WHERE tenant=? AND agg=? \
        IF lock=?";
    Unlock Conditionally "UPDATE journal SET lock=null WHERE tenant=? AND agg=? IF lock=?";
    Fence Conditionally "UPDATE journal SET fence=? WHERE tenant=? AND agg=? IF fence<?";
    FenceFirst Conditionally "UPDATE journal SET fence=? WHERE tenant=? AND agg=? IF fence=null";
    Seal Conditionally "UPDATE journal SET sealed=? WHERE tenant=? AND agg=? IF sealed=?";
    SealFirst Conditionally "UPDATE journal SET sealed=? WHERE tenant=? AND agg=? IF sealed=null";
    Put InBatch "INSERT INTO journal (tenant, agg, kind, k, v) VALUES (?, ?, ?, ?, ?)";
    PutFor InBatch "INSERT INTO journal (tenant, agg, kind, k, v) VALUES (?, ?, ?, ?, ?) USING TTL ?";
    Remove InBatch "DELETE FROM journal WHERE tenant=? AND agg=? AND kind=? AND k=?";
    RemoveUpto InBatch "DELETE FROM journal WHERE tenant=? AND agg=? AND kind=? AND k<=?";

    PutSegment AsWrite "INSERT INTO segment (tenant, agg, bucket, first, last, codec, chain_in, chain_out, data) \
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)";
    Segment AtQuorum "SELECT last, codec, chain_in, chain_out, data FROM segment \
        WHERE tenant=? AND agg=? AND bucket=? AND first=?";

    PutIndex AsWrite "INSERT INTO idx (tenant, ix, shard, bucket, k, agg, v) VALUES (?, ?, 0, 0, ?, ?, ?) USING TIMESTAMP ?";
    RemoveIndex AsWrite "DELETE FROM idx USING TIMESTAMP ? WHERE tenant=? AND ix=? AND shard=0 AND bucket=0 AND k=? AND agg=?";
    IndexRow AtQuorum "SELECT v FROM idx WHERE tenant=? AND ix=? AND shard=0 AND bucket=0 AND k=? AND agg=?";
    Index AtQuorum "SELECT k, agg, v FROM idx WHERE tenant=? AND ix=? AND shard=0 AND bucket=0 AND k>=? LIMIT ?";
    IndexUpto AtQuorum "SELECT k, agg, v FROM idx WHERE tenant=? AND ix=? AND shard=0 AND bucket=0 AND k>=? AND k<? LIMIT ?";
    IndexAfter AtQuorum "SELECT k, agg, v FROM idx WHERE tenant=? AND ix=? AND shard=0 AND bucket=0 \
        AND (k, agg)>(?, ?) LIMIT ?";
    IndexAfterUpto AtQuorum "SELECT k, agg, v FROM idx WHERE tenant=? AND ix=? AND shard=0 AND bucket=0 \
        AND (k, agg)>(?, ?) AND (k)<(?) LIMIT ?";

    Claim Serially "SELECT owner, att, bucket, bfr FROM claim WHERE tenant=? AND kind=? AND val=?";
    ClaimFirst Conditionally "INSERT INTO claim (tenant, kind, val, owner, att, bucket, bfr) \
        VALUES (?, ?, ?, ?, ?, ?, ?) IF NOT EXISTS";
    ClaimNext Conditionally "UPDATE claim SET owner=?, att=?, bucket=?, bfr=? WHERE tenant=? AND kind=? AND val=? \
        IF owner=? AND att=? AND bucket=? AND bfr=?";
    ClaimEnd Conditionally "DELETE FROM claim WHERE tenant=? AND kind=? AND val=? \
        IF owner=? AND att=? AND bucket=? AND bfr=?";

    Mark Conditionally "UPDATE dirty SET used=true WHERE inst=? AND bucket=? IF closed=null";
    PutMark InBatch "INSERT INTO dirty (inst, bucket, tenant, agg) VALUES (?, ?, ?, ?)";
    Close Conditionally "UPDATE dirty SET closed=true WHERE inst=? AND bucket=? IF closed=null";
    Marks Serially "SELECT tenant, agg FROM dirty WHERE inst=? AND bucket=? LIMIT ?";
    MarksAfter Serially "SELECT tenant, agg FROM dirty WHERE inst=? AND bucket=? AND (tenant, agg)>(?, ?) LIMIT ?";
    // Nothing is left of a bucket that was not closed.
    EndOpen Conditionally "UPDATE dirty SET used=null WHERE inst=? AND bucket=? IF closed=null";
    EndClosed Conditionally "UPDATE dirty SET used=null WHERE inst=? AND bucket=? IF closed=true";
    RemoveMarks InBatch "DELETE FROM dirty WHERE inst=? AND bucket=? AND tenant>=?";

    Lease Serially "SELECT beat, lo, hi, adopter FROM instance WHERE one=0 AND inst=?";
    Leases Serially "SELECT inst, beat, lo, hi, adopter FROM instance WHERE one=0 AND inst>? LIMIT ?";
    LeaseFirst Conditionally "INSERT INTO instance (one, inst, beat, lo, hi, adopter) VALUES (0, ?, ?, ?, ?, ?) \
        IF NOT EXISTS";
    LeaseNext Conditionally "UPDATE instance SET beat=?, lo=?, hi=?, adopter=? WHERE one=0 AND inst=? \
        IF beat=? AND lo=? AND hi=? AND adopter=?";
    LeaseEnd Conditionally "DELETE FROM instance WHERE one=0 AND inst=? IF beat=? AND lo=? AND hi=? AND adopter=?";

    Relayed AtQuorum "SELECT seq FROM relay WHERE tenant=? AND agg=? AND sink=?";
    SetRelayed AsWrite "INSERT INTO relay (tenant, agg, sink, seq) VALUES (?, ?, ?, ?) USING TIMESTAMP ?";

    Group Serially "SELECT state, members FROM grp WHERE tenant=? AND gid=?";
    GroupFirst Conditionally "UPDATE grp SET state=?, members=? WHERE tenant=? AND gid=? IF state=null";
    GroupNext Conditionally "UPDATE grp SET state=?, members=? WHERE tenant=? AND gid=? IF state=?";
    // The same, for records that are final: they end by themselves.
    GroupFirstFor Conditionally "UPDATE grp USING TTL ? SET state=?, members=? WHERE tenant=? AND gid=? IF state=null";
    GroupNextFor Conditionally "UPDATE grp USING TTL ? SET state=?, members=? WHERE tenant=? AND gid=? IF state=?";

    Kept Serially "SELECT value FROM kept WHERE name=?";
    Keep Conditionally "INSERT INTO kept (name, value) VALUES (?, ?) IF NOT EXISTS";

    PutKeyPointer AsWrite "INSERT INTO keyptr (tenant, hash, agg) VALUES (?, ?, ?) USING TTL ?";
    KeyPointers AtQuorum "SELECT agg FROM keyptr WHERE tenant=? AND hash=?";
    PutAggregate AsWrite "INSERT INTO agg (tenant, agg) VALUES (?, ?)";
    Aggregates AtQuorum "SELECT agg FROM agg WHERE tenant=? AND agg>=? LIMIT ?";
    PutTenant AsWrite "INSERT INTO tenant (one, tenant) VALUES (0, ?)";
    Tenants AtQuorum "SELECT tenant FROM tenant WHERE one=0 AND tenant>=? LIMIT ?";
}

/// Creates the keyspace and the tables that are missing, and notes their version. Changes nothing that is there,
/// and may run again; not twice at the same time.
///
/// # Errors
/// When the database does not answer, or its tables are of a later version than this program knows.
pub async fn migrate(config: &Config, replication: &Replication) -> Result<(), Error> {
    let keyspace = config.keyspace()?;
    let replication = replication.text()?;
    let session = config.connect_for_tables().await?;
    // Only ScyllaDB has this table, and only it lacks the option.
    let known = "SELECT table_name FROM system_schema.tables WHERE keyspace_name='system' AND table_name='scylla_local'";
    let is_scylla = session.query_unpaged(known, ()).await?.into_rows_result()?.rows_num() > 0;
    let options = if is_scylla { "" } else { " WITH read_repair='NONE'" };
    let create = format!(
        "CREATE KEYSPACE IF NOT EXISTS {keyspace} WITH replication={{'class': 'NetworkTopologyStrategy', {replication}}}"
    );
    session.query_unpaged(create, ()).await?;
    session.use_keyspace(keyspace, false).await?;
    if let Some(found) = version(&session, keyspace).await?
        && found > VERSION
    {
        return Err(Error::Newer { keyspace: keyspace.to_owned(), found });
    }
    for table in TABLES {
        session.query_unpaged(format!("{table}{options}"), ()).await?;
    }
    session.await_schema_agreement().await?;
    let mut note = Text::new("INSERT INTO version (one, version) VALUES (0, ?)");
    note.set_consistency(Consistency::All);
    session.query_unpaged(note, (VERSION,)).await?;
    Ok(())
}

/// The version of the tables of a keyspace; `None` if it has none.
pub(crate) async fn version(session: &Session, keyspace: &str) -> Result<Option<i32>, Error> {
    let known = "SELECT table_name FROM system_schema.tables WHERE keyspace_name=? AND table_name='version'";
    if session.query_unpaged(known, (keyspace,)).await?.into_rows_result()?.rows_num() == 0 {
        return Ok(None);
    }
    let mut read = Text::new(format!("SELECT version FROM {keyspace}.version WHERE one=0"));
    read.set_consistency(Consistency::LocalQuorum);
    let rows = session.query_unpaged(read, ()).await?.into_rows_result()?;
    Ok(rows.maybe_first_row::<(Option<i32>,)>()?.and_then(|row| row.0))
}
