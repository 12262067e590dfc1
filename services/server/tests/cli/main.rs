//! The command line on real processes, each test in a folder of its own.
//!
//! Read in this order: `process` and `http` (how tests start and ask), `dataset` (files for an import and
//! what they must lead to), then the tests.

#![allow(clippy::unwrap_used)] // helpers are tests too

mod account;
mod audit;
mod backup;
mod crash;
mod dataset;
mod first_start;
mod folder;
mod help;
mod http;
mod import;
mod import_rows;
mod inherited;
mod init;
mod interrupted;
mod keys;
mod observed;
mod operator_access;
mod process;
mod serve;
mod verify;
