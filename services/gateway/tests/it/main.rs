//! The door with small services behind it.

#![allow(clippy::unwrap_used)] // helpers are tests too

mod bounds;
mod credentials;
mod fair;
mod grpc;
mod listener;
mod pages;
mod rest;
mod world;
