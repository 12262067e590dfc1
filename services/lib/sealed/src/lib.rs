//! Values sealed with the key of their tenant, over any store.
//!
//! Read in this order: [`root`] (the root key, from which the key of one tenant can be cut out for good),
//! [`wrapped`] (the keys of a tenant as a file keeps them), [`keyring`] (all keys in use, rotation,
//! destruction), [`cipher`] (how a value is sealed), [`store`] (the decorator over the store port).

pub mod cipher;
mod file;
pub mod keyring;
pub mod root;
pub mod store;
pub mod wrapped;

pub use crate::keyring::{KeyError, KeyTable, Keyring};
pub use crate::store::SealedStore;
