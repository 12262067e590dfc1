//! Time and randomness as a port, so that a simulation can own both.

use calendar::Instant;

/// Where time and randomness come from.
pub trait Env: Send + Sync + 'static {
    /// The present moment.
    fn now(&self) -> Instant;
    /// Fills `bytes` with randomness fit for secrets.
    fn random(&self, bytes: &mut [u8]);
}

/// The clock and the random source of the operating system.
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemEnv;

impl Env for SystemEnv {
    fn now(&self) -> Instant {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Instant::from_unix_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }

    fn random(&self, bytes: &mut [u8]) {
        assert!(getrandom::fill(bytes).is_ok(), "the operating system gives no randomness");
    }
}
