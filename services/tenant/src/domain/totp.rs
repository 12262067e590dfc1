//! One-time codes by time. Source: RFC 6238, with HMAC-SHA-1, six digits and steps of 30 s, as every app makes them.

use calendar::Instant;
use hmac::{Hmac, KeyInit as _, Mac as _};
use ids::UserId;
use sha1::Sha1;
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

/// Length of a step.
const STEP_SECONDS: i64 = 30;
/// Steps before and after the current one whose codes are taken: clocks differ, people type.
const WINDOW: u64 = 1;
/// RFC 4648.
const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// The secret that follows from a seed: HMAC-SHA256 under the pepper, which is kept apart from the data.
pub fn secret_of(pepper: &[u8; 32], user: UserId, seed: &[u8; 20]) -> [u8; 20] {
    let mut mac = Hmac::<Sha256>::new_from_slice(pepper).expect("HMAC takes keys of any length");
    mac.update(b"cargo-pilot totp 1");
    mac.update(user.as_bytes());
    mac.update(seed);
    let bytes: [u8; 32] = mac.finalize().into_bytes().into();
    std::array::from_fn(|at| bytes[at])
}

/// The step that `code` belongs to, if it is one of those around `now`. Compared in constant time.
pub fn step_of(secret: &[u8; 20], code: &str, now: Instant) -> Option<u64> {
    let current = u64::try_from(now.unix_micros() / 1_000_000 / STEP_SECONDS).ok()?;
    let mut steps = current.saturating_sub(WINDOW)..=current + WINDOW;
    steps.rfind(|step| bool::from(code_at(secret, *step).as_bytes().ct_eq(code.as_bytes())))
}

/// The code of a step.
pub fn code_at(secret: &[u8; 20], step: u64) -> String {
    let mut mac = Hmac::<Sha1>::new_from_slice(secret).expect("HMAC takes keys of any length");
    mac.update(&step.to_be_bytes());
    let hash: [u8; 20] = mac.finalize().into_bytes().into();
    // RFC 4226, 5.3: the last half byte says where the number begins.
    let at = usize::from(hash[19] & 0x0f);
    let number = u32::from_be_bytes([hash[at] & 0x7f, hash[at + 1], hash[at + 2], hash[at + 3]]);
    format!("{:06}", number % 1_000_000)
}

/// The step at `now`.
pub fn step_at(now: Instant) -> u64 {
    u64::try_from(now.unix_micros() / 1_000_000 / STEP_SECONDS).unwrap_or(0)
}

/// The secret as people type it: 32 letters.
pub fn base32(secret: &[u8; 20]) -> String {
    let bits = |at: usize| {
        // Five bits that begin at bit `5 * at`: within two bytes.
        let (byte, offset) = (at * 5 / 8, at * 5 % 8);
        let pair = u16::from_be_bytes([secret[byte], secret.get(byte + 1).copied().unwrap_or(0)]);
        usize::from(pair >> (11 - offset)) & 0x1f
    };
    (0..32).map(|at| char::from(BASE32[bits(at)])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &[u8; 20] = b"12345678901234567890";

    fn at(second: i64) -> Instant {
        Instant::from_unix_micros(second * 1_000_000)
    }

    /// API-8, the part of codes: those of RFC 6238, appendix B, cut to six digits.
    #[test]
    fn codes_are_those_of_the_standard() {
        for (second, code) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
        ] {
            assert_eq!(code_at(SECRET, step_at(at(second))), code);
            assert_eq!(step_of(SECRET, code, at(second)), Some(step_at(at(second))));
            assert_eq!(step_of(SECRET, code, at(second + 30)), Some(step_at(at(second))));
            assert_eq!(step_of(SECRET, code, at(second + 90)), None);
        }
        assert_eq!(step_of(SECRET, "", at(59)), None);
        assert_eq!(step_of(SECRET, "28708", at(59)), None);
    }

    #[test]
    fn a_secret_is_written_as_apps_read_it() {
        assert_eq!(base32(SECRET), "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
        assert_eq!(base32(&[0xff; 20]), "7".repeat(32));
    }
}
