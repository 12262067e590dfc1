//! Why a store is not opened or migrated.

use crate::schema::VERSION;

/// Why a store cannot be opened, or its tables cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A setting cannot be used.
    #[error("the settings of the database cannot be used: {0}")]
    Config(&'static str),
    /// The tables are missing, or are of an earlier version than this program needs.
    #[error("the keyspace '{keyspace}' has no tables of version {VERSION}: run `cargo-pilot migrate` first")]
    NotMigrated {
        /// The keyspace.
        keyspace: String,
    },
    /// The tables are of a later version than this program knows.
    #[error(
        "the tables of the keyspace '{keyspace}' are of version {found}, and this program knows {VERSION}: run a newer one"
    )]
    Newer {
        /// The keyspace.
        keyspace: String,
        /// The version of its tables.
        found: i32,
    },
    /// The database does not answer, or says no.
    #[error("the database does not do what it is asked")]
    Database(#[source] Box<dyn std::error::Error + Send + Sync>),
}

macro_rules! from_driver {
    ($($error:path)*) => {
        $(impl From<$error> for Error {
            fn from(error: $error) -> Error {
                Error::Database(Box::new(error))
            }
        })*
    };
}

from_driver!(
    scylla::errors::NewSessionError
    scylla::errors::ExecutionError
    scylla::errors::PrepareError
    scylla::errors::UseKeyspaceError
    scylla::errors::SchemaAgreementError
    scylla::errors::IntoRowsResultError
    scylla::errors::MaybeFirstRowError
);
