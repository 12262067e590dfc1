//! `cargo-pilot` for the tests of this folder: what `services/server/src/main.rs` runs, with its allocator.
//!
//! Only the package of an executable learns where Cargo puts it, and the tests are in another one.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    server::run(std::env::args_os())
}
