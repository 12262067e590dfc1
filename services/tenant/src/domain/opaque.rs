//! Opaque tokens of people: `cp_ses_…` of a session, `cp_inv_…` of an invitation.

use std::fmt;

use hmac::{Hmac, KeyInit as _, Mac as _};
use ids::{SessionId, TenantId, UserId};
use sha2::Sha256;

use crate::domain::SECRET_LETTERS;

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const SESSION: &str = "cp_ses_";
const INVITATION: &str = "cp_inv_";
/// Letters of an id without its prefix.
const ID_LETTERS: usize = 26;
/// Letters of a recovery code, 5 bits each: 80 bits.
pub const RECOVERY_LETTERS: usize = 16;

/// What a token is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// Of a session.
    Session(SessionId),
    /// Of the invitation of a user.
    Invitation(UserId),
}

/// A token with its secret: 260 random bits. Shown once, never stored, never logged. It names its tenant and its
/// thing, so that nothing has to be looked up to find them; both ids are no secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Opaque {
    /// The tenant.
    pub tenant: TenantId,
    /// What it is for.
    pub purpose: Purpose,
    secret: String,
}

impl Opaque {
    /// Makes a token from random bytes.
    pub fn new(tenant: TenantId, purpose: Purpose, random: [u8; SECRET_LETTERS]) -> Opaque {
        Opaque { tenant, purpose, secret: letters(&random) }
    }

    /// Reads what a client sent; `None` for what cannot be a token.
    pub fn parse(text: &str) -> Option<Opaque> {
        let (prefix, rest) = text.split_at_checked(SESSION.len())?;
        let mut parts = rest.split('_');
        let (Some(tenant), Some(id), Some(secret), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return None;
        };
        let well_formed =
            secret.len() == SECRET_LETTERS && secret.bytes().all(|byte| ALPHABET.contains(&byte));
        let tenant = TenantId::parse(&format!("{}_{tenant}", TenantId::PREFIX)).ok()?;
        let purpose = match prefix {
            SESSION => Purpose::Session(SessionId::parse(&format!("{}_{id}", SessionId::PREFIX)).ok()?),
            INVITATION => Purpose::Invitation(UserId::parse(&format!("{}_{id}", UserId::PREFIX)).ok()?),
            _ => return None,
        };
        well_formed.then(|| Opaque { tenant, purpose, secret: secret.to_owned() })
    }

    /// The whole token: for the answer that shows it once.
    pub fn reveal(&self) -> String {
        let bare = |id: String| id[id.len() - ID_LETTERS..].to_owned();
        let (prefix, id) = match self.purpose {
            Purpose::Session(id) => (SESSION, id.to_string()),
            Purpose::Invitation(id) => (INVITATION, id.to_string()),
        };
        format!("{prefix}{}_{}_{}", bare(self.tenant.to_string()), bare(id), self.secret)
    }

    /// What is stored: HMAC-SHA256 under the pepper over the whole token.
    pub fn digest(&self, pepper: &[u8; 32]) -> [u8; 32] {
        keyed(pepper, b"cargo-pilot token 1", self.reveal().as_bytes())
    }
}

impl fmt::Debug for Opaque {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Opaque({:?}, …)", self.purpose)
    }
}

/// Makes a recovery code from random bytes: `k3m9-…`, four groups of four letters.
pub fn recovery_code(random: [u8; RECOVERY_LETTERS]) -> String {
    let code = letters(&random);
    [&code[..4], &code[4..8], &code[8..12], &code[12..]].join("-")
}

/// What is stored of a recovery code, however it was typed.
pub fn recovery_digest(pepper: &[u8; 32], user: UserId, code: &str) -> [u8; 16] {
    let typed = code.bytes().filter(u8::is_ascii_alphanumeric).map(|byte| byte.to_ascii_lowercase());
    let bytes: Vec<u8> = user.as_bytes().iter().copied().chain(typed).collect();
    let digest = keyed(pepper, b"cargo-pilot recovery 1", &bytes);
    std::array::from_fn(|at| digest[at])
}

fn letters(random: &[u8]) -> String {
    random.iter().map(|byte| char::from(ALPHABET[usize::from(byte % 32)])).collect()
}

fn keyed(pepper: &[u8; 32], purpose: &[u8], bytes: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(pepper).expect("HMAC takes keys of any length");
    mac.update(purpose);
    mac.update(bytes);
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_token_is_read_back(tenant: [u8; 16], id: [u8; 16], random in proptest::collection::vec(any::<u8>(), SECRET_LETTERS)) {
            let random: [u8; SECRET_LETTERS] = random.try_into().unwrap();
            let ids = [Purpose::Session(SessionId::from_bytes(id)), Purpose::Invitation(UserId::from_bytes(id))];
            for purpose in ids {
                let token = Opaque::new(TenantId::from_bytes(tenant), purpose, random);
                prop_assert_eq!(Opaque::parse(&token.reveal()), Some(token.clone()));
                let shown = format!("{token:?}");
                prop_assert!(token.reveal().len() <= 128 && !shown.contains(&token.secret));
            }
        }

        #[test]
        fn no_text_makes_the_parser_fail(text in ".*", tail in ".*") {
            let _ = Opaque::parse(&text);
            let _ = Opaque::parse(&format!("cp_ses_{tail}"));
        }
    }

    #[test]
    fn what_is_stored_depends_on_everything() {
        let (tenant, user) = (TenantId::from_bytes([1; 16]), UserId::from_bytes([2; 16]));
        let token = |id: u8, random: u8| {
            let purpose = Purpose::Session(SessionId::from_bytes([id; 16]));
            Opaque::new(tenant, purpose, [random; SECRET_LETTERS]).digest(&[9; 32])
        };
        assert_eq!(token(1, 1), token(1, 1));
        assert!(token(1, 1) != token(2, 1) && token(1, 1) != token(1, 2));
        let code = recovery_code(std::array::from_fn(|at| u8::try_from(at).unwrap()));
        assert_eq!(code, "0123-4567-89ab-cdef");
        let stored = recovery_digest(&[9; 32], user, &code);
        assert_eq!(stored, recovery_digest(&[9; 32], user, "0123 4567 89AB CDEF"));
        assert_ne!(stored, recovery_digest(&[9; 32], UserId::from_bytes([3; 16]), &code));
    }
}
