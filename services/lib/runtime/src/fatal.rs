//! The end after a failure that cannot be survived: a broken disk, a damaged store.

use tracing::error;

/// Exit code after a fatal failure. Source: `EX_IOERR` of `sysexits.h`.
pub const EXIT_CODE: i32 = 74;

/// Logs the failure and ends the process, so that nothing is acknowledged after it.
///
/// Given to a store as its hook: what was acknowledged before is on disk, and the next start checks it.
pub fn exit(what: &str) -> ! {
    error!("the process ends: {what}");
    std::process::exit(EXIT_CODE)
}
