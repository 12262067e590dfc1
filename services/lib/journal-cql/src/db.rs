//! The one place through which every statement goes.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use journal::StoreError;
use scylla::client::session::Session;
use scylla::deserialize::row::DeserializeRow;
use scylla::errors::ExecutionError;
use scylla::policies::load_balancing::LoadBalancingPolicy;
use scylla::response::query_result::QueryResult;
use scylla::statement::Consistency;
use scylla::statement::batch::{Batch, BatchType};
use scylla::statement::prepared::PreparedStatement;
use scylla::value::{CqlValue, Row};

use crate::config::Config;
use crate::error::Error;
use crate::policy::InOrder;
use crate::schema::{STATEMENTS, Sent, Statement, VERSION, version};

/// Rows that are read at once.
const PAGE_ROWS: i32 = 512;

/// A value to bind; `None` is null.
pub(crate) type Value = Option<CqlValue>;
/// A statement with its values.
pub(crate) type Bound = (Statement, Vec<Value>);

pub(crate) fn blob(bytes: impl AsRef<[u8]>) -> Value {
    Some(CqlValue::Blob(bytes.as_ref().to_vec()))
}

pub(crate) fn opt(bytes: Option<impl AsRef<[u8]>>) -> Value {
    bytes.and_then(blob)
}

pub(crate) fn bigint(number: u64) -> Value {
    Some(CqlValue::BigInt(i64::try_from(number).unwrap_or(i64::MAX)))
}

pub(crate) fn int(number: impl Into<i32>) -> Value {
    Some(CqlValue::Int(number.into()))
}

pub(crate) fn small(number: impl Into<i16>) -> Value {
    Some(CqlValue::SmallInt(number.into()))
}

pub(crate) fn tiny(number: i8) -> Value {
    Some(CqlValue::TinyInt(number))
}

pub(crate) fn limit(limit: usize) -> Value {
    int(i32::try_from(limit).unwrap_or(i32::MAX))
}

/// What a conditional write answered.
#[derive(Debug)]
pub(crate) struct Decided {
    /// It was written.
    pub(crate) applied: bool,
    /// What was there instead, by name; what is null is not there.
    found: HashMap<String, CqlValue>,
}

impl Decided {
    pub(crate) fn bigint(&self, name: &str) -> Option<u64> {
        self.found.get(name).and_then(CqlValue::as_bigint).map(i64::cast_unsigned)
    }

    pub(crate) fn blob(&self, name: &str) -> Option<Bytes> {
        self.found.get(name).and_then(CqlValue::as_blob).map(|bytes| Bytes::copy_from_slice(bytes))
    }
}

/// A session with all statements prepared.
pub(crate) struct Db {
    session: Session,
    prepared: Vec<PreparedStatement>,
    in_order: Arc<dyn LoadBalancingPolicy>,
}

impl Db {
    /// Connects to a keyspace with tables of this version; changes nothing there.
    pub(crate) async fn open(config: &Config) -> Result<Db, Error> {
        let keyspace = config.keyspace()?;
        // First without the keyspace: one that is missing would look like a database that is away.
        let found = version(&config.connect_for_tables().await?, keyspace).await?;
        match found {
            Some(VERSION) => {}
            Some(found) if found > VERSION => {
                return Err(Error::Newer { keyspace: keyspace.to_owned(), found });
            }
            _ => return Err(Error::NotMigrated { keyspace: keyspace.to_owned() }),
        }
        let session = config.connect().await?;
        let in_order: Arc<dyn LoadBalancingPolicy> =
            Arc::new(InOrder { datacenter: config.datacenter.clone() });
        let mut prepared = Vec::with_capacity(STATEMENTS.len());
        for (at, (statement, sent, text)) in STATEMENTS.iter().enumerate() {
            assert_eq!(at, *statement as usize, "statements are listed in their order");
            let mut one = session.prepare(qualified(text, keyspace)).await?;
            one.set_page_size(PAGE_ROWS);
            match sent {
                Sent::Serially => {
                    one.set_consistency(Consistency::LocalSerial);
                    one.set_load_balancing_policy(Some(Arc::clone(&in_order)));
                }
                Sent::Conditionally => one.set_load_balancing_policy(Some(Arc::clone(&in_order))),
                Sent::AtQuorum | Sent::AsWrite => one.set_is_idempotent(true),
                Sent::InBatch => {}
            }
            prepared.push(one);
        }
        Ok(Db { session, prepared, in_order })
    }

    fn prepared(&self, statement: Statement, sent: &[Sent]) -> &PreparedStatement {
        let at = statement as usize;
        assert!(sent.contains(&STATEMENTS[at].1), "{statement:?} is sent in another way");
        &self.prepared[at]
    }

    /// Reads the rows that a statement finds; it says how many at most.
    pub(crate) async fn read<R>(&self, statement: Statement, values: Vec<Value>) -> Result<Vec<R>, StoreError>
    where
        R: for<'f, 'm> DeserializeRow<'f, 'm> + 'static,
    {
        let prepared = self.prepared(statement, &[Sent::Serially, Sent::AtQuorum]).clone();
        let pages = self.session.execute_iter(prepared, values).await;
        let rows = pages.map_err(away)?.rows_stream::<R>().map_err(damaged)?;
        rows.try_collect().await.map_err(away)
    }

    /// Writes where repeating is harmless.
    pub(crate) async fn write(&self, statement: Statement, values: Vec<Value>) -> Result<(), StoreError> {
        let prepared = self.prepared(statement, &[Sent::AsWrite]);
        self.session.execute_unpaged(prepared, values).await.map_err(away)?;
        Ok(())
    }

    /// Writes rows of one partition at once where repeating is harmless.
    pub(crate) async fn write_batch(&self, rows: Vec<Bound>) -> Result<(), StoreError> {
        let mut batch = Batch::new(BatchType::Unlogged);
        batch.set_is_idempotent(true);
        let mut values = Vec::with_capacity(rows.len());
        for (statement, row) in rows {
            batch.append_statement(self.prepared(statement, &[Sent::AsWrite]).clone());
            values.push(row);
        }
        self.session.batch(&batch, values).await.map_err(away)?;
        Ok(())
    }

    /// Writes under a condition.
    pub(crate) async fn decide(&self, condition: Bound) -> Result<Decided, StoreError> {
        let prepared = self.prepared(condition.0, &[Sent::Conditionally]);
        decided(self.session.execute_unpaged(prepared, condition.1).await)
    }

    /// Writes rows of one partition under a condition on it.
    pub(crate) async fn decide_batch(
        &self,
        condition: Bound,
        rows: Vec<Bound>,
    ) -> Result<Decided, StoreError> {
        let mut batch = Batch::new(BatchType::Logged);
        batch.set_is_idempotent(false);
        batch.set_load_balancing_policy(Some(Arc::clone(&self.in_order)));
        batch.append_statement(self.prepared(condition.0, &[Sent::Conditionally]).clone());
        let mut values = vec![condition.1];
        for (statement, row) in rows {
            batch.append_statement(self.prepared(statement, &[Sent::InBatch]).clone());
            values.push(row);
        }
        decided(self.session.batch(&batch, values).await)
    }
}

/// The statement with the keyspace before its table: what a database prepared without it, it cannot prepare again
/// by itself when it was started anew.
fn qualified(text: &str, keyspace: &str) -> String {
    let verbs = ["FROM ", "INTO ", "UPDATE "];
    verbs.iter().fold(text.to_owned(), |text, verb| text.replace(verb, &format!("{verb}{keyspace}.")))
}

/// Reads every row of the answer by name: ScyllaDB answers one for each statement of a batch, Cassandra fewer, with
/// the columns of the condition if it does not hold.
fn decided(answer: Result<QueryResult, ExecutionError>) -> Result<Decided, StoreError> {
    let rows = answer.map_err(away)?.into_rows_result().map_err(damaged)?;
    let names: Vec<String> = rows.column_specs().iter().map(|column| column.name().to_owned()).collect();
    let (mut applied, mut found) = (None, HashMap::new());
    for row in rows.rows::<Row>().map_err(damaged)? {
        let columns = names.iter().cloned().zip(row.map_err(damaged)?.columns);
        let mut row: HashMap<_, _> =
            columns.filter_map(|(name, value)| value.map(|value| (name, value))).collect();
        match row.remove("[applied]").and_then(|value| value.as_boolean()) {
            Some(true) => applied = Some(applied.unwrap_or(true)),
            Some(false) => {
                applied = Some(false);
                if found.is_empty() {
                    found = row;
                }
            }
            None => {}
        }
    }
    let applied = applied.ok_or_else(|| damaged("a conditional write was not answered as one"))?;
    Ok(Decided { applied, found })
}

/// It may have happened, may happen later, or never.
fn away(error: impl ToString) -> StoreError {
    StoreError::Unavailable(error.to_string())
}

pub(crate) fn damaged(error: impl ToString) -> StoreError {
    StoreError::Damaged(error.to_string())
}
