//! The rules, pure: no clock, no store, no randomness of its own.
//!
//! In reading order: [`merkle`] (the tree and its proofs), [`tile`] (where its hashes are), [`leaf`] (what
//! is hashed), [`note`] (signed checkpoints), [`log`] (which entries are leaves), [`summary`] (what a search
//! skips), [`access`] (reads and refusals).

pub mod access;
pub mod leaf;
pub mod log;
pub mod merkle;
pub mod note;
pub mod summary;
pub mod tile;
