//! The id under which the journal keeps an aggregate.

use std::fmt;

use sha2::{Digest, Sha256};

/// Sixteen opaque bytes that name one aggregate of a tenant.
///
/// The journal does not care what they mean: the bytes of a typed id, or derived from what makes
/// the aggregate unique (a business and a variant, for example).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AggregateId([u8; 16]);

impl AggregateId {
    /// The id with these bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> AggregateId {
        AggregateId(bytes)
    }

    /// The bytes, as they appear in keys.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// The id that follows from `parts`; other parts, or parts split elsewhere, give another id.
    ///
    /// The first 16 bytes of SHA-256 over each part behind its length (8 bytes, big-endian).
    pub fn derive(parts: &[&[u8]]) -> AggregateId {
        let mut hash = Sha256::new();
        for part in parts {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hash.finalize()[..16]);
        AggregateId(bytes)
    }
}

impl fmt::Display for AggregateId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for AggregateId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn where_parts_are_split_matters() {
        let id = AggregateId::derive(&[b"ab", b"c"]);
        assert_eq!(id, AggregateId::derive(&[b"ab", b"c"]));
        assert_ne!(id, AggregateId::derive(&[b"a", b"bc"]));
        assert_ne!(id, AggregateId::derive(&[b"abc"]));
        assert_ne!(AggregateId::derive(&[]), AggregateId::derive(&[b""]));
    }

    /// The derivation is part of the stored format: it must never change.
    #[test]
    fn the_derivation_is_fixed() {
        assert_eq!(AggregateId::derive(&[]).to_string(), "e3b0c44298fc1c149afbf4c8996fb924");
        assert_eq!(
            AggregateId::derive(&[b"stock", &[7; 16]]).to_string(),
            "1b77b1bbae660c2a468c06c55de04cbd"
        );
    }

    proptest! {
        #[test]
        fn the_text_is_the_bytes_in_hex(bytes: [u8; 16]) {
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            prop_assert_eq!(AggregateId::from_bytes(bytes).to_string(), hex);
        }
    }
}
