//! Leaves, and the contents that they commit to.

use sha2::{Digest as _, Sha256};

use crate::Fault;

/// Bytes of the salt before a content.
const SALT_BYTES: usize = 16;
/// What stands before salt and content in a commitment.
const COMMITMENT: &[u8] = b"cargo-pilot audit payload v1\n";

/// A leaf, taken apart.
pub(crate) struct Leaf<'a> {
    pub(crate) service: &'a str,
    pub(crate) aggregate: [u8; 16],
    pub(crate) seq: u64,
    recorded_us: i64,
    commitment: [u8; 32],
}

impl<'a> Leaf<'a> {
    /// Reads the bytes of a leaf, all of them.
    pub(crate) fn read(bytes: &'a [u8]) -> Option<Leaf<'a>> {
        let (version, rest) = bytes.split_first()?;
        let (length, rest) = rest.split_first()?;
        let (service, rest) = rest.split_at_checked(usize::from(*length))?;
        let (_kind, rest) = rest.split_first()?;
        let (aggregate, rest) = rest.split_first_chunk::<16>()?;
        let (seq, rest) = rest.split_first_chunk::<8>()?;
        let (recorded, rest) = rest.split_first_chunk::<8>()?;
        let commitment = rest.try_into().ok()?;
        let service = std::str::from_utf8(service).ok()?;
        (*version == 1).then_some(Leaf {
            service,
            aggregate: *aggregate,
            seq: u64::from_be_bytes(*seq),
            recorded_us: i64::from_be_bytes(*recorded),
            commitment,
        })
    }

    /// Checks a content with its salt. `before` is the hash over the aggregate's entries before this one; gives
    /// back the hash over those up to it.
    pub(crate) fn check(&self, content: &[u8], before: [u8; 32]) -> Result<[u8; 32], Fault> {
        if content.is_empty() {
            return Err(Fault::wrong("its content is not there"));
        }
        let hash: [u8; 32] = Sha256::new().chain_update(COMMITMENT).chain_update(content).finalize().into();
        if hash != self.commitment || content.len() < SALT_BYTES + 32 {
            return Err(Fault::wrong("its content is not the one that it commits to"));
        }
        let (chain, entry) = content[SALT_BYTES..].split_at(32);
        let expected: [u8; 32] = Sha256::new().chain_update(before).chain_update(entry).finalize().into();
        if chain != expected {
            return Err(Fault::wrong("its entry does not continue the journal"));
        }
        // An entry that nobody understands has the time 0.
        if recorded_us(entry).unwrap_or(0) != self.recorded_us {
            return Err(Fault::wrong("its entry was recorded at another time"));
        }
        Ok(expected)
    }
}

/// When an entry was recorded: the first field of its protobuf form, number 1, eight bytes little-endian. Nothing
/// else is looked at.
fn recorded_us(entry: &[u8]) -> Option<i64> {
    const FIELD_1_FIXED_64: u8 = 1 << 3 | 1;
    let (tag, rest) = entry.split_first()?;
    let (value, _) = rest.split_first_chunk::<8>()?;
    (*tag == FIELD_1_FIXED_64).then(|| i64::from_le_bytes(*value))
}
