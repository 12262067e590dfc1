//! What a leaf of the tree says, byte by byte.
//!
//! A leaf does not hold what happened; it commits to it. It says of which entry it speaks (service,
//! aggregate, sequence) and holds a salted hash of the entry as the journal stores it. Without the salt,
//! 16 random bytes of this leaf alone, the hash tells nothing, not even to somebody who guesses the content:
//! so the content and its salt can be erased and every root, proof and signature stays valid.

use calendar::Instant;
use ids::AggregateId;
use sha2::{Digest as _, Sha256};

/// First byte of a leaf.
const VERSION: u8 = 1;
/// Longest name of a service.
pub const SERVICE_BYTES_MAX: usize = 32;
/// Bytes of a salt.
pub const SALT_BYTES: usize = 16;
/// What is hashed before salt and content, so that the hash is good for nothing else.
const COMMITMENT: &[u8] = b"cargo-pilot audit payload v1\n";

/// Random bytes of one leaf.
pub type Salt = [u8; SALT_BYTES];

/// A leaf.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Leaf {
    /// Whose journal: `stock`. Lower-case letters and `-`.
    pub service: String,
    /// Which kind of aggregate, numbered by the service.
    pub kind: u8,
    /// Which aggregate.
    pub aggregate: AggregateId,
    /// Which entry of it.
    pub seq: u64,
    /// When it was recorded.
    pub recorded_at: Instant,
    /// See [`commitment`].
    pub commitment: [u8; 32],
}

/// The hash that stands for a payload: `SHA-256("cargo-pilot audit payload v1\n" || salt || payload)`. The
/// payload is the entry as the journal stores it: the hash over the aggregate's entries up to this one
/// (32 bytes), then the encoded entry.
#[must_use]
pub fn commitment(salt: &Salt, payload: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update(COMMITMENT).chain_update(salt).chain_update(payload).finalize().into()
}

impl Leaf {
    /// Encodes a leaf, all numbers big-endian: version 1 (1 byte), length of the service's name (1), the name,
    /// kind (1), aggregate (16), sequence (8), microseconds since 1970 (8, signed), commitment (32).
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(67 + self.service.len());
        bytes.push(VERSION);
        bytes.push(u8::try_from(self.service.len()).expect("a short name"));
        bytes.extend_from_slice(self.service.as_bytes());
        bytes.push(self.kind);
        bytes.extend_from_slice(self.aggregate.as_bytes());
        bytes.extend_from_slice(&self.seq.to_be_bytes());
        bytes.extend_from_slice(&self.recorded_at.unix_micros().to_be_bytes());
        bytes.extend_from_slice(&self.commitment);
        bytes
    }
}

/// Whether `name` may name a service in a leaf.
#[must_use]
pub fn is_service(name: &str) -> bool {
    (1..=SERVICE_BYTES_MAX).contains(&name.len())
        && name.bytes().all(|letter| letter.is_ascii_lowercase() || letter == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The form is part of every root that was ever signed: it must never change.
    #[test]
    fn the_bytes_of_a_leaf_are_fixed() {
        let leaf = Leaf {
            service: "stock".to_owned(),
            kind: 2,
            aggregate: AggregateId::from_bytes([0xaa; 16]),
            seq: 258,
            recorded_at: Instant::from_unix_micros(-2),
            commitment: [0xcc; 32],
        };
        let hex: String = leaf.encode().iter().map(|byte| format!("{byte:02x}")).collect();
        let expected = [
            "0105",
            "73746f636b",
            "02",
            &"aa".repeat(16),
            "0000000000000102",
            "fffffffffffffffe",
            &"cc".repeat(32),
        ];
        assert_eq!(hex, expected.concat());
        let hex: String = commitment(&[7; 16], b"payload").iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "e8ac2c63edccadc4451861af3f985a47140d0ef8a38ac2955fbef96734c10f9b");
    }

    #[test]
    fn a_commitment_hangs_on_every_byte_of_salt_and_payload() {
        let one = commitment(&[7; 16], b"payload");
        let mut salt = [7; 16];
        salt[15] = 8;
        assert_ne!(one, commitment(&salt, b"payload"));
        assert_ne!(one, commitment(&[7; 16], b"payloae"));
        assert_ne!(one, commitment(&[7; 16], b"payload\0"));
    }

    #[test]
    fn names_of_services_are_short_and_plain() {
        assert!(["stock", "a", "a-b", &"a".repeat(32)].into_iter().all(is_service));
        assert!(!["", "Stock", "stock.v1", "st ock", &"a".repeat(33)].into_iter().any(is_service));
    }
}
