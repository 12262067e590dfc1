//! Hashes of requests: the same question twice is known as the same question.

use hmac::{Hmac, KeyInit as _, Mac as _};
use ids::RandomPart;
use prost::Message;
use sha2::{Digest as _, Sha256};

use crate::Ctx;

/// Hashes the content of a request: the first 16 bytes of SHA-256 over its encoding.
///
/// Maps in the contract are compiled to ordered maps, so equal messages have equal encodings.
pub fn fingerprint(message: &impl Message) -> [u8; 16] {
    first(&Sha256::digest(message.encode_to_vec()))
}

/// Hashes an idempotency key in its scope: tenant (by its secret), principal, method, and business unless it
/// is the master.
///
/// The 68 bits that are not masked are also the random part of the ids that the command makes
/// (`ids::RandomPart`), so an entry is found by its id through the key row.
pub fn key_hash(ctx: &Ctx, method_path: &str, idempotency_key: &str) -> [u8; 9] {
    let mut parts = vec![
        b"idempotency-key".as_slice(),
        ctx.actor.kind.name().as_bytes(),
        ctx.actor.id.as_bytes(),
        method_path.as_bytes(),
        idempotency_key.as_bytes(),
    ];
    // Keys of a master were hashed without it before there were others.
    if ctx.path.first() != Some(&ctx.business) {
        parts.push(ctx.business.as_bytes());
    }
    let mac = keyed(&ctx.secret, &parts);
    RandomPart(first(&mac)).masked().0
}

/// HMAC-SHA256 over `parts`, each with its length before it, so that no two lists collide.
pub(crate) fn keyed(secret: &[u8; 32], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes keys of any length");
    for part in parts {
        mac.update(&(part.len() as u64).to_be_bytes());
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

fn first<const N: usize>(hash: &[u8]) -> [u8; N] {
    std::array::from_fn(|at| hash[at])
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ids::{BusinessId, TenantId};

    use super::*;
    use crate::{Actor, ActorKind, Permissions, Principal};

    fn ctx(kind: ActorKind, id: &str, secret: u8) -> Ctx {
        Ctx::internal(Principal {
            tenant: TenantId::from_bytes([1; 16]),
            business: BusinessId::from_bytes([2; 16]),
            path: Arc::from([BusinessId::from_bytes([2; 16])]),
            actor: Actor::new(kind, id),
            permissions: Permissions::default(),
            secret: [secret; 32],
        })
    }

    /// TEN-5: the same key of another tenant, business, principal or method is another key.
    #[test]
    fn an_idempotency_key_counts_in_its_scope_only() {
        let one = ctx(ActorKind::ApiKey, "key_a", 7);
        let mut hashes = vec![
            key_hash(&one, "/s/Post", "sale-1"),
            key_hash(&one, "/s/Post", "sale-2"),
            key_hash(&one, "/s/Reverse", "sale-1"),
            key_hash(&one, "/s/Post/", "ale-1"),
            key_hash(&ctx(ActorKind::ApiKey, "key_b", 7), "/s/Post", "sale-1"),
            key_hash(&ctx(ActorKind::User, "key_a", 7), "/s/Post", "sale-1"),
            key_hash(&ctx(ActorKind::ApiKey, "key_a", 8), "/s/Post", "sale-1"),
        ];
        assert_eq!(hashes[0], key_hash(&one, "/s/Post", "sale-1"));
        for byte in [3, 4] {
            let sub = BusinessId::from_bytes([byte; 16]);
            let below = Ctx { business: sub, path: Arc::from([one.business, sub]), ..one.clone() };
            hashes.push(key_hash(&below, "/s/Post", "sale-1"));
        }
        assert!(hashes.iter().all(|hash| RandomPart(*hash).masked().0 == *hash));
        hashes.sort_unstable();
        hashes.dedup();
        assert_eq!(hashes.len(), 9);
    }

    #[test]
    fn a_fingerprint_tells_requests_apart() {
        let request = |id: &str| proto::tenant::v1::GetBusinessRequest { business_id: id.to_owned() };
        assert_eq!(fingerprint(&request("biz_1")), fingerprint(&request("biz_1")));
        assert_ne!(fingerprint(&request("biz_1")), fingerprint(&request("biz_2")));
    }
}
