//! REST from the contract: routes, requests, answers, problems and OpenAPI, made from descriptors at
//! run time; no RPC has code of its own here.
//!
//! In reading order: [`Catalogue`] (operations and routes), [`Catalogue::request`] (path, query and JSON
//! to the request on the wire), [`unary`] (calls any service with raw bytes), [`Catalogue::answer`] (wire
//! to canonical JSON and headers), [`Problem`] (what goes wrong), [`Catalogue::openapi`].

mod answer;
mod call;
mod catalogue;
mod check;
mod json;
mod openapi;
mod openapi_schema;
mod problem;
mod request;
mod schema;
mod time;
mod tree;
mod url;
mod wire;

pub use answer::Answered;
pub use call::unary;
pub use catalogue::{Catalogue, Found, Operation, PathFields, Unservable};

pub use openapi::Info;
pub use problem::{CONTENT_TYPE as PROBLEM_CONTENT_TYPE, FieldProblem, Problem};
pub use request::{BODY_BYTES_MAX, too_large};
pub use schema::{CHARS_MAX_DEFAULT, ITEMS_MAX_DEFAULT};
pub use tree::DEPTH_MAX;
pub use wire::Malformed;
