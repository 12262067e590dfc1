//! A time during which a user is signed in.

use calendar::Instant;
use ids::{SessionId, UserId};
use subtle::ConstantTimeEq as _;

/// A session, without its secret.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Session {
    /// Its id.
    pub id: SessionId,
    /// Whose it is.
    pub user: UserId,
    /// Keyed hash of the secret.
    pub digest: [u8; 32],
    /// When it began.
    pub created_at: Instant,
    /// The last use that was noted.
    pub seen_at: Instant,
    /// When the user proved himself last.
    pub proven_at: Instant,
    /// When it was ended.
    pub ended_at: Option<Instant>,
}

impl Session {
    /// How long a session lasts at most: twelve hours.
    pub const LONGEST_SECONDS: i64 = 12 * 60 * 60;
    /// How long it lasts without use: one hour.
    pub const IDLE_SECONDS: i64 = 60 * 60;
    /// How long after a use that was noted another one is not.
    pub const SEEN_EVERY_SECONDS: i64 = 5 * 60;
    /// How long a proof of the user counts.
    pub const PROOF_SECONDS: i64 = 5 * 60;
    /// Sessions of a user at the same time; one more ends the oldest.
    pub const OPEN_MAX: usize = 20;

    /// When it ends without another use.
    pub fn expires_at(&self) -> Instant {
        let longest = self.created_at.plus_seconds(Session::LONGEST_SECONDS);
        longest.min(self.seen_at.plus_seconds(Session::IDLE_SECONDS))
    }

    /// Whether it has neither ended nor expired.
    pub fn is_alive(&self, now: Instant) -> bool {
        self.ended_at.is_none() && now < self.expires_at()
    }

    /// Whether a request with this secret is the session's. Compared in constant time.
    pub fn admits(&self, digest: &[u8; 32], now: Instant) -> bool {
        let genuine: bool = self.digest.ct_eq(digest).into();
        genuine && self.is_alive(now)
    }

    /// Whether a use at `now` is to be noted.
    pub fn notes_use(&self, now: Instant) -> bool {
        self.is_alive(now) && self.seen_at.plus_seconds(Session::SEEN_EVERY_SECONDS) <= now
    }

    /// Until when what needs a recent proof is let in.
    pub fn proven_until(&self) -> Instant {
        self.proven_at.plus_seconds(Session::PROOF_SECONDS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Instant {
        Instant::from_unix_micros(second * 1_000_000)
    }

    #[test]
    #[rustfmt::skip] // columns
    fn a_session_ends_when_it_is_old_or_not_used() {
        let check = |seen: i64, ended: Option<i64>, digest: u8, now: i64, expected: bool| {
            let session = Session {
                id: SessionId::from_bytes([1; 16]), user: UserId::from_bytes([2; 16]), digest: [5; 32],
                created_at: at(0), seen_at: at(seen), proven_at: at(0), ended_at: ended.map(at),
            };
            assert_eq!(session.admits(&[digest; 32], at(now)), expected, "seen {seen}, now {now}");
        };
        check(0,      None,    5, 0,      true);
        check(0,      None,    6, 0,      false);
        check(0,      None,    5, 3_599,  true);
        check(0,      None,    5, 3_600,  false);
        check(3_000,  None,    5, 3_600,  true);
        check(43_000, None,    5, 43_199, true);
        check(43_000, None,    5, 43_200, false);
        check(0,      Some(1), 5, 2,      false);
    }
}
