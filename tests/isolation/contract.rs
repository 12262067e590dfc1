//! The parts of the contract's tests that these are made of.

#[path = "../it/contract/home.rs"]
mod home;
#[path = "../it/contract/model.rs"]
mod model;
#[path = "../it/contract/sample.rs"]
mod sample;
#[path = "../it/contract/send.rs"]
mod send;

pub(crate) use home::Home;
pub(crate) use model::{Rpc, options, public, routed};
pub(crate) use sample::{sample, set};
pub(crate) use send::{anonymous, parts};
