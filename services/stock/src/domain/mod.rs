//! The rules of the stock ledger. Pure: no clock, no store, no network.
//!
//! Read in this order: [`kind`] (what can happen), [`movement`] (the event), [`layers`] and [`pool`]
//! (what it costs), [`item`] (the aggregate), [`post`] and [`reverse`] (the decisions), [`location`].

pub mod item;
pub mod kind;
pub mod layers;
pub mod location;
pub mod movement;
pub mod pool;
pub mod post;
pub mod reverse;
