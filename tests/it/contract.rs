//! The RPCs of the contract, from its descriptors: what is added to a `.proto` file is in these tests
//! on the same day.
//!
//! In reading order: `model` (an RPC and its fields), `home` (a tenant with one of everything),
//! `sample` (a valid request), `send` (REST and gRPC), then a file per promise. What one tenant can do to
//! another is the matter of `tests/isolation`, which is made of the same parts.

mod bodies;
mod credentials;
mod headers;
mod home;
mod malformed;
mod model;
mod repeats;
mod roles;
mod sample;
mod send;

pub(crate) use home::Home;
pub(crate) use model::{Field, Rpc, all, options, public, routed, rpc};
pub(crate) use send::anonymous;
