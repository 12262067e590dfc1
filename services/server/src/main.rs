//! `cargo-pilot`: see `cargo-pilot --help`.

use std::process::ExitCode;

/// A posting makes a few hundred small allocations on one thread and frees them on another.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    server::run(std::env::args_os())
}
