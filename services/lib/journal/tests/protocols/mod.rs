//! The protocols of a store that several processes share, under every interleaving of their steps within
//! bounds, with crashes, pauses and lost answers.

mod claims;
mod documents;
mod explore;
mod gated;
mod groups;
mod relay;
mod seal;
mod shelf;
