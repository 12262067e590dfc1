//! What one tenant can do to another: nothing. And what a stranger can do to the door: nothing either.
//!
//! In reading order: `contract` (what `tests/it` makes of the descriptors), `places` (where an id can stand),
//! `callers` (every kind of credential), `matrix` (every place, every caller, an id of somebody else), `tokens`
//! (page tokens, idempotency keys, signed contexts, keys), `revoked`, `canaries` (texts that must not turn up
//! elsewhere), `same_names`, `properties`, `bounds`, `inventory`, `storms` (calls that are dropped); then over a
//! process of the server: `process`, `flood`, `quota`. `errors` keeps what is logged.
//!
//! | OWASP API 2023 | where |
//! |---|---|
//! | 1 object level | `matrix`, `tokens`, `canaries` |
//! | 2 authentication | `tokens`, `revoked`, `tests/it/contract/credentials.rs`, `tests/it/jwt.rs` |
//! | 3 property level | `properties` |
//! | 4 resources | `bounds`, `flood`, `quota` |
//! | 5 function level | `matrix`, `tests/it/contract/roles.rs` |
//! | 8 configuration | `inventory`, `canaries` |
//! | 9 inventory | `inventory`, `tests/it/pages.rs` |

mod bounds;
mod callers;
mod canaries;
#[allow(dead_code, reason = "`tests/it` uses the rest")]
mod contract;
#[allow(dead_code, reason = "`tests/it` uses the rest")]
#[path = "../it/door.rs"]
mod door;
mod errors;
mod flood;
mod inventory;
mod kin;
mod matrix;
mod places;
mod process;
mod properties;
mod quota;
#[allow(dead_code, reason = "`tests/it` uses the rest")]
#[path = "../it/rest.rs"]
mod rest;
mod revoked;
mod same_names;
#[allow(dead_code, reason = "`tests/it` uses the rest")]
#[path = "../it/shape.rs"]
mod shape;
#[path = "../it/spy.rs"]
mod spy;
mod storms;
mod tokens;
#[allow(dead_code, reason = "`tests/it` uses the rest")]
#[path = "../it/world.rs"]
mod world;
