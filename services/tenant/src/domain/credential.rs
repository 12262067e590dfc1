//! The key as the client holds it: `cp_live_<26 letters of the id>_<secret>`.

use std::fmt;

use hmac::{Hmac, KeyInit as _, Mac as _};
use ids::ApiKeyId;
use sha2::Sha256;

const PREFIX: &str = "cp_live_";
/// Crockford's base32: no letter that is easily taken for another.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// Letters of a secret, 5 bits each: 260 bits.
pub const SECRET_LETTERS: usize = 52;
/// Letters of the secret that stay visible.
const VISIBLE: usize = 4;

/// A key with its secret. Shown once, never stored, never logged.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    /// Which key; no secret.
    pub id: ApiKeyId,
    secret: String,
}

impl Credential {
    /// Makes the secret of a key from random bytes.
    pub fn new(id: ApiKeyId, random: [u8; SECRET_LETTERS]) -> Credential {
        let letter = |byte: u8| char::from(ALPHABET[usize::from(byte % 32)]);
        Credential { id, secret: random.into_iter().map(letter).collect() }
    }

    /// Reads what a client sent; `None` for what cannot be a key.
    pub fn parse(text: &str) -> Option<Credential> {
        let (id, secret) = text.strip_prefix(PREFIX)?.split_once('_')?;
        let id = ApiKeyId::parse(&format!("{}_{id}", ApiKeyId::PREFIX)).ok()?;
        let well_formed =
            secret.len() == SECRET_LETTERS && secret.bytes().all(|byte| ALPHABET.contains(&byte));
        well_formed.then(|| Credential { id, secret: secret.to_owned() })
    }

    /// The whole key: for the answer that shows it once.
    pub fn reveal(&self) -> String {
        format!("{}_{}", Credential::prefix(self.id), self.secret)
    }

    /// What of a key is no secret: `cp_live_<id>`.
    pub fn prefix(id: ApiKeyId) -> String {
        let text = id.to_string();
        format!("{PREFIX}{}", text.trim_start_matches(ApiKeyId::PREFIX).trim_start_matches('_'))
    }

    /// The last four letters, by which people tell keys apart; 240 bits stay unknown.
    pub fn last4(&self) -> String {
        self.secret[SECRET_LETTERS - VISIBLE..].to_owned()
    }

    /// What is stored: HMAC-SHA256 under the pepper, which is kept apart from the data, over id and
    /// secret. The secret has full entropy, so a slow hash would protect nothing more.
    pub fn digest(&self, pepper: &[u8; 32]) -> [u8; 32] {
        let mut mac = Hmac::<Sha256>::new_from_slice(pepper).expect("HMAC takes keys of any length");
        mac.update(b"cargo-pilot api key 1");
        mac.update(self.id.as_bytes());
        mac.update(self.secret.as_bytes());
        mac.finalize().into_bytes().into()
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credential({}, …)", self.id)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sample() -> Credential {
        Credential::new(
            ApiKeyId::from_bytes([7; 16]),
            std::array::from_fn(|at| u8::try_from(at * 5).unwrap()),
        )
    }

    proptest! {
        /// API-3: 256 bits, a prefix that tells what it is, the last four letters visible.
        #[test]
        fn a_key_is_read_back(id: [u8; 16], random in proptest::collection::vec(any::<u8>(), SECRET_LETTERS)) {
            let credential = Credential::new(ApiKeyId::from_bytes(id), random.try_into().unwrap());
            let text = credential.reveal();
            let visible = Credential::prefix(credential.id) + "_";
            prop_assert!(text.starts_with(&visible));
            prop_assert!(text.ends_with(&credential.last4()));
            prop_assert_eq!(Credential::parse(&text), Some(credential));
        }

        #[test]
        fn no_text_makes_the_parser_fail(text in ".*") {
            let _ = Credential::parse(&text);
        }
    }

    #[test]
    fn what_cannot_be_a_key_is_none() {
        let good = sample().reveal();
        for bad in [
            String::new(),
            "cp_live_".to_owned(),
            good.replace("cp_live_", "cp_test_"),
            good.to_uppercase(),
            format!("{good}0"),
            good[..good.len() - 1].to_owned(),
            good.replacen('_', "", 1),
            format!(" {good}"),
        ] {
            assert_eq!(Credential::parse(&bad), None, "{bad}");
        }
    }

    #[test]
    fn the_stored_form_depends_on_id_secret_and_pepper() {
        let one = sample();
        let other_id = Credential { id: ApiKeyId::from_bytes([8; 16]), ..one.clone() };
        let other_secret = Credential::new(one.id, [0; SECRET_LETTERS]);
        let digest = one.digest(&[1; 32]);
        assert_eq!(digest, one.digest(&[1; 32]));
        assert_ne!(digest, one.digest(&[2; 32]));
        assert_ne!(digest, other_id.digest(&[1; 32]));
        assert_ne!(digest, other_secret.digest(&[1; 32]));
    }

    #[test]
    fn the_secret_is_not_in_debug_output() {
        let shown = format!("{:?}", sample());
        assert!(!shown.contains(&sample().last4()), "{shown}");
    }
}
