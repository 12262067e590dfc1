//! What whoever began a login keeps: everything that finishing it needs, so that nothing is stored.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use calendar::Instant;
use ids::{ProviderId, SessionId, TenantId};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::secret::derived;

const PREFIX: &str = "cp_lgn_";
/// How long a login may take.
pub(super) const LOGIN_SECONDS: i64 = 10 * 60;
/// Random bytes.
pub(super) const RANDOM: usize = 32;
/// Tenant, provider, when, redirect URI, random bytes, MAC.
const BYTES: usize = 16 + 16 + 8 + 16 + RANDOM + 32;

/// A login that was begun. What is sent to the issuer follows from it under the pepper: `state`, `nonce` and the PKCE
/// verifier are no part of the token, and nobody finds them from it, or it from them.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct LoginToken {
    pub(super) tenant: TenantId,
    pub(super) provider: ProviderId,
    pub(super) begun_at: Instant,
    /// Of the redirect URI.
    pub(super) redirect: [u8; 16],
    pub(super) random: [u8; RANDOM],
}

/// A redirect URI in a token.
pub(super) fn redirect_digest(uri: &str) -> [u8; 16] {
    let hash = Sha256::digest(uri.as_bytes());
    std::array::from_fn(|at| hash[at])
}

impl LoginToken {
    fn body(&self) -> Vec<u8> {
        let at = self.begun_at.unix_micros().to_be_bytes();
        let parts: [&[u8]; 5] =
            [self.tenant.as_bytes(), self.provider.as_bytes(), &at, &self.redirect, &self.random];
        parts.concat()
    }

    /// The token as the caller keeps it.
    pub(super) fn reveal(&self, pepper: &[u8; 32]) -> String {
        let body = self.body();
        let mac = derived(pepper, b"cargo-pilot login 1", &[&body]);
        format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode([&body[..], &mac].concat()))
    }

    /// Reads what [`LoginToken::reveal`] made, unless it is too old.
    pub(super) fn open(text: &str, pepper: &[u8; 32], now: Instant) -> Option<LoginToken> {
        let bytes = URL_SAFE_NO_PAD.decode(text.strip_prefix(PREFIX)?).ok()?;
        let bytes: [u8; BYTES] = bytes.try_into().ok()?;
        let (body, mac) = bytes.split_last_chunk::<32>()?;
        let genuine: bool = derived(pepper, b"cargo-pilot login 1", &[body]).ct_eq(mac).into();
        if !genuine {
            return None;
        }
        let (tenant, rest) = body.split_first_chunk::<16>()?;
        let (provider, rest) = rest.split_first_chunk::<16>()?;
        let (at, rest) = rest.split_first_chunk::<8>()?;
        let (redirect, rest) = rest.split_first_chunk::<16>()?;
        let token = LoginToken {
            tenant: TenantId::from_bytes(*tenant),
            provider: ProviderId::from_bytes(*provider),
            begun_at: Instant::from_unix_micros(i64::from_be_bytes(*at)),
            redirect: *redirect,
            random: rest.try_into().ok()?,
        };
        (now < token.expires_at()).then_some(token)
    }

    pub(super) fn expires_at(&self) -> Instant {
        self.begun_at.plus_seconds(LOGIN_SECONDS)
    }

    fn part(&self, pepper: &[u8; 32], purpose: &[u8]) -> String {
        URL_SAFE_NO_PAD.encode(derived(pepper, purpose, &[&self.body()]))
    }

    /// What the issuer gives back with the code.
    pub(super) fn state(&self, pepper: &[u8; 32]) -> String {
        self.part(pepper, b"cargo-pilot login state 1")
    }

    /// What the ID token must say.
    pub(super) fn nonce(&self, pepper: &[u8; 32]) -> String {
        self.part(pepper, b"cargo-pilot login nonce 1")
    }

    /// RFC 7636: 43 letters.
    pub(super) fn verifier(&self, pepper: &[u8; 32]) -> String {
        self.part(pepper, b"cargo-pilot login verifier 1")
    }

    /// The session that it leads to, the only one: a second one would have the same id, which is taken for good.
    pub(super) fn session(&self, pepper: &[u8; 32]) -> SessionId {
        let random = derived(pepper, b"cargo-pilot login session 1", &[&self.body()]);
        SessionId::new(self.begun_at.unix_ms(), std::array::from_fn(|at| random[at]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_token_is_read_back_for_ten_minutes() {
        let begun_at = Instant::from_unix_micros(1_000_000_000_000);
        let (tenant, provider) = (TenantId::from_bytes([1; 16]), ProviderId::from_bytes([2; 16]));
        let redirect = redirect_digest("https://app/back");
        let token = LoginToken { tenant, provider, begun_at, redirect, random: [3; 32] };
        let pepper = [9; 32];
        let text = token.reveal(&pepper);
        let open = |text: &str, seconds: i64| LoginToken::open(text, &pepper, begun_at.plus_seconds(seconds));
        assert!(open(&text, 0) == Some(token.clone()) && open(&text, 599).is_some());
        assert!(open(&text, 600).is_none() && LoginToken::open(&text, &[8; 32], begun_at).is_none());
        for at in PREFIX.len()..text.len() {
            let mut other = text.clone().into_bytes();
            other[at] = if other[at] == b'A' { b'B' } else { b'A' };
            assert!(open(&String::from_utf8(other).unwrap(), 0).is_none(), "{at}");
        }
        assert_eq!(token.verifier(&pepper).len(), 43);
        let all = [token.state(&pepper), token.nonce(&pepper), token.verifier(&pepper)];
        assert!(all[0] != all[1] && all[1] != all[2] && !all.iter().any(|part| text.contains(part)));
        assert!(text.len() <= 400);
    }
}
