//! The journal: append-only aggregates with their state, committed atomically.
//!
//! Read in this order: [`aggregate`] (what a service tells the journal), [`entry`] (what is written),
//! [`journal`] (submit, batch, read), [`slot`] (one writer per aggregate), [`actor`] (folding, three outcomes),
//! [`verify`] (re-computes chains and states), [`store`] (the port to a database), [`feed`] and
//! [`relay_store`] (the ports behind relay and claims), [`relay`] (every entry reaches every sink, on a
//! shared store), [`group`] (commits to several aggregates at once there), [`claims`] (unique values there), [`document`] (postings
//! over many items on a shared store), [`seal`] (old entries in compressed segments), [`member`] (all of that as one store for services), [`tally`] (numbers of what was done), [`memory`] (the reference store).

mod actor;
pub mod aggregate;
#[cfg(feature = "seeded-bugs")]
pub mod bug;
#[cfg(not(feature = "seeded-bugs"))]
mod bug;
pub mod claims;
#[cfg(any(test, feature = "contract"))]
pub mod contract;
pub mod document;
mod each;
pub mod entry;
pub mod env;
pub mod error;
pub mod feed;
pub mod group;
pub mod journal;
pub mod member;
pub mod memory;
mod passing;
pub mod relay;
pub mod relay_store;
pub mod seal;
mod slot;
pub mod store;
pub mod tally;
pub mod verify;

pub use crate::aggregate::{Aggregate, Changes, Damage, Need};
pub use crate::entry::{Actor, Entry, Posted};
pub use crate::env::{Env, SystemEnv};
pub use crate::error::{Error, Rejection, SubmitError};
pub use crate::journal::{Answer, Journal, Keep, Meta, Request, Scope, stored, unstored};
pub use crate::store::{Chain, Claim, KeyHash, Order, Seq, SharedStore, StoreError};
pub use crate::tally::Trace;
