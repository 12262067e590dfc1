//! The client secret of a provider, encrypted: no entry, backup or export holds it.

use hmac::{Hmac, KeyInit as _, Mac as _};
use ids::{ProviderId, TenantId};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use sha2::Sha256;

/// A key that follows from the pepper, for one purpose.
pub(super) fn derived(pepper: &[u8; 32], purpose: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(pepper).expect("HMAC takes keys of any length");
    for part in [&[purpose], parts].concat() {
        mac.update(&part.len().to_be_bytes());
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

/// One key per provider of a tenant, so that a secret works nowhere else.
fn key(pepper: &[u8; 32], tenant: TenantId, provider: ProviderId) -> LessSafeKey {
    let parts: [&[u8]; 2] = [tenant.as_bytes(), provider.as_bytes()];
    let key = derived(pepper, b"cargo-pilot client secret 1", &parts);
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &key).expect("a key of 32 bytes"))
}

/// Encrypts a secret; an empty one stays empty. `random` must be new each time.
pub(super) fn seal(
    pepper: &[u8; 32],
    tenant: TenantId,
    provider: ProviderId,
    secret: &str,
    random: [u8; NONCE_LEN],
) -> Vec<u8> {
    if secret.is_empty() {
        return vec![];
    }
    let mut bytes = secret.as_bytes().to_vec();
    let nonce = Nonce::assume_unique_for_key(random);
    let sealed = key(pepper, tenant, provider).seal_in_place_append_tag(nonce, Aad::empty(), &mut bytes);
    sealed.expect("a secret is short");
    [&random[..], &bytes].concat()
}

/// Decrypts what [`seal`] made; `None` under another pepper.
pub(super) fn open(
    pepper: &[u8; 32],
    tenant: TenantId,
    provider: ProviderId,
    sealed: &[u8],
) -> Option<String> {
    if sealed.is_empty() {
        return Some(String::new());
    }
    let (random, bytes) = sealed.split_first_chunk::<NONCE_LEN>()?;
    let mut bytes = bytes.to_vec();
    let nonce = Nonce::assume_unique_for_key(*random);
    let plain = key(pepper, tenant, provider).open_in_place(nonce, Aad::empty(), &mut bytes).ok()?;
    String::from_utf8(plain.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_of_one_provider() {
        let (tenant, provider) = (TenantId::from_bytes([1; 16]), ProviderId::from_bytes([2; 16]));
        let sealed = seal(&[9; 32], tenant, provider, "hush", [3; 12]);
        assert!(!sealed.windows(4).any(|part| part == b"hush"));
        assert_eq!(open(&[9; 32], tenant, provider, &sealed).as_deref(), Some("hush"));
        assert_eq!(open(&[8; 32], tenant, provider, &sealed), None);
        assert_eq!(open(&[9; 32], tenant, ProviderId::from_bytes([4; 16]), &sealed), None);
        assert_eq!(open(&[9; 32], tenant, provider, &sealed[..5]), None);
        assert_eq!(
            open(&[9; 32], tenant, provider, &seal(&[9; 32], tenant, provider, "", [0; 12])).as_deref(),
            Some("")
        );
    }
}
