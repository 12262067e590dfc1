//! The platform in one process, through its public door, as its users see it.
//!
//! In reading order: `world` (the platform on a port, over stores that `spy` watches), `rest` (a JSON
//! client), `door` (REST and gRPC), `contract` (every RPC, from the descriptors: isolation, credentials,
//! roles, headers, bad fields, repeats), `speaker` and `shop` (the same words over REST and gRPC), then
//! stories: `story`, `valuation`, `ledger`, `batches`, `paging`, `prices`, `catalogue`, `bad_input`, `tenants`,
//! `races`, `pages`, `audit`, `people`, `limits`, `publications`, `inherited_changes`, `own_prices`, `logins` (with an `issuer`), `jwt` (tokens that are
//! none). `errors` fails a test when an error is logged.

mod audit;
mod bad_input;
mod batches;
mod businesses;
mod catalogue;
mod closing;
mod contract;
mod door;
mod errors;
mod inherited_changes;
mod inherited_faults;
mod issuer;
mod jwt;
mod leaving;
mod ledger;
mod limits;
mod logins;
mod own_prices;
mod pages;
mod paging;
mod people;
mod prices;
mod publications;
mod races;
mod rest;
mod shape;
mod shop;
mod speaker;
mod spy;
mod story;
mod tenants;
mod valuation;
mod world;
