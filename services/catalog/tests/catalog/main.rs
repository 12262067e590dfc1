//! The catalogue as other services see it: through its client and guard, over a store in memory.

#![allow(clippy::unwrap_used)] // a test that cannot go on fails

mod batch;
mod inheritance;
mod isolation;
mod mutations;
mod prices;
mod products;
mod units;
mod world;
