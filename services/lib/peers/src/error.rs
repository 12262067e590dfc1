//! What goes wrong: with the settings, and with a call.

use std::path::PathBuf;
use std::sync::Arc;

use problem::{Code, Problem};

/// Why the processes of the cluster cannot be called or served at all.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A setting that cannot be meant.
    #[error("cluster.{setting}: {why}")]
    Setting {
        /// Its name, without the section.
        setting: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// A file of the certificates that cannot be used.
    #[error("cluster.tls: '{}' {why}", file.display())]
    Tls {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The system has no random numbers.
    #[error("the system gives no random numbers")]
    Random(#[from] getrandom::Error),
}

/// Why a call came to nothing. What listens where is for the log, not for who called.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum Failure {
    /// Nobody was asked: nothing was done.
    #[error("no process of '{role}' answers, try again")]
    Unreachable { role: Arc<str> },
    /// The connection was lost after the request had left.
    #[error("the connection to '{role}' was lost: what was asked for may have been done or not")]
    Lost { role: Arc<str> },
    /// The time is over.
    #[error("'{role}' did not answer in time: what was asked for may have been done or not")]
    TooLate { role: Arc<str> },
}

impl Problem for Failure {
    const DOMAIN: &'static str = "cluster";

    fn code(&self) -> Code {
        match self {
            Failure::Unreachable { .. } => Code::Unavailable,
            Failure::Lost { .. } | Failure::TooLate { .. } => Code::DeadlineExceeded,
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Failure::Unreachable { .. } => "UNAVAILABLE",
            Failure::Lost { .. } | Failure::TooLate { .. } => "OUTCOME_UNKNOWN",
        }
    }
}
