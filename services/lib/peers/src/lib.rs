//! The other processes of the cluster: how they are found, called and served.
//!
//! In reading order: [`Settings`] (where they are), [`Peers`] (all of them; its handles are what clients are made over),
//! `role` (the processes of one role, which [`Resolve`] finds), `choose` (which one gets a call), `endpoint` (one of
//! them), `connect` (one connection, with [`Tls`]), `call` (one call, and when it is sent again), and the other side,
//! [`serve`].

mod body;
mod call;
mod choose;
mod connect;
mod dice;
mod endpoint;
mod error;
mod linger;
mod method;
mod peers;
mod resolve;
mod role;
mod serve;
mod settings;
mod tls;

pub use error::Error;
pub use peers::{EndpointState, Peers, RoleCounts};
pub use resolve::{Resolve, System};
pub use serve::{ServeSettings, serve};
pub use settings::{Settings, TlsSettings};
pub use tls::Tls;
