//! Slows down whoever guesses: failed credentials only, per account.

use parking_lot::Mutex;
use recent::Recent;

/// Failures in a row that cost nothing.
const FREE: u32 = 5;
/// The wait after the next failure; each further one doubles it.
const FIRST_WAIT_MS: u64 = 1_000;
/// The longest wait.
const WAIT_MS_MAX: u64 = 15 * 60 * 1_000;
/// Accounts that are remembered; known and unknown ones alike.
const ACCOUNTS_MAX: usize = 100_000;

#[derive(Clone, Copy, Default)]
struct Failures {
    in_a_row: u32,
    /// Nothing is tried before, in Unix milliseconds.
    wait_until_ms: u64,
}

/// Counts failures in a row per account, whether or not the account exists.
pub(in crate::app) struct Throttle {
    accounts: Recent<[u8; 32], Failures>,
    /// Reading and counting are one step.
    counting: Mutex<()>,
}

impl Default for Throttle {
    fn default() -> Self {
        Throttle { accounts: Recent::new(ACCOUNTS_MAX), counting: Mutex::new(()) }
    }
}

impl Throttle {
    /// Begins a try, which counts as failed until [`Throttle::succeeded`]: tries at the same moment count each.
    /// Otherwise how many milliseconds to wait.
    pub(super) fn begin(&self, account: [u8; 32], now_ms: u64) -> Result<(), u64> {
        let _counting = self.counting.lock();
        let before = self.accounts.get(&account).unwrap_or_default();
        if now_ms < before.wait_until_ms {
            return Err(before.wait_until_ms - now_ms);
        }
        let in_a_row = before.in_a_row.saturating_add(1);
        let wait_ms = match in_a_row.checked_sub(FREE + 1) {
            None => 0,
            Some(more) => FIRST_WAIT_MS.saturating_mul(1 << more.min(20)).min(WAIT_MS_MAX),
        };
        self.accounts.insert(account, Failures { in_a_row, wait_until_ms: now_ms + wait_ms });
        Ok(())
    }

    /// The try was right: nothing is held against the account.
    pub(super) fn succeeded(&self, account: [u8; 32]) {
        self.accounts.insert(account, Failures::default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guesser_waits_longer_and_longer() {
        let (throttle, account) = (Throttle::default(), [1; 32]);
        for _ in 0..FREE {
            assert_eq!(throttle.begin(account, 0), Ok(()));
        }
        let mut now = 0;
        for wait in [1_000, 2_000, 4_000, 8_000] {
            assert_eq!(throttle.begin(account, now), Ok(()));
            assert_eq!(throttle.begin(account, now), Err(wait));
            assert_eq!(throttle.begin(account, now + wait - 1), Err(1));
            assert_eq!(throttle.begin([2; 32], now), Ok(()), "others do not wait");
            throttle.succeeded([2; 32]);
            now += wait;
        }
        for _ in 0..40 {
            now += throttle.begin(account, now).err().unwrap_or(0);
        }
        assert!(throttle.begin(account, now).is_ok() && throttle.begin(account, now) == Err(WAIT_MS_MAX));
        throttle.succeeded(account);
        assert_eq!(throttle.begin(account, now), Ok(()));
    }
}
