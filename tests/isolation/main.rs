//! What one tenant can do to another: nothing.
//!
//! In reading order: `contract` (what `tests/it` makes of the descriptors), `places` (where an id can stand),
//! `callers` (every kind of credential), `matrix` (every place, every caller, an id of somebody else). `errors`
//! keeps what is logged.

mod callers;
#[allow(dead_code, reason = "`tests/it` uses the rest")]
mod contract;
#[allow(dead_code, reason = "`tests/it` uses the rest")]
#[path = "../it/door.rs"]
mod door;
mod errors;
mod matrix;
mod places;
#[allow(dead_code, reason = "`tests/it` uses the rest")]
#[path = "../it/rest.rs"]
mod rest;
#[allow(dead_code, reason = "`tests/it` uses the rest")]
#[path = "../it/spy.rs"]
mod spy;
#[allow(dead_code, reason = "`tests/it` uses the rest")]
#[path = "../it/world.rs"]
mod world;
