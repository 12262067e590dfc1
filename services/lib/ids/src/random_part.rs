//! The random bits of an id as a value of their own.

/// The random bits that the ids of one posting share; 68 of the 72 bits are used.
///
/// An idempotency key leads to the same part each time, so a posting that is tried again makes
/// the same ids, and its leg is the only thing in which the ids of one posting differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RandomPart(pub [u8; 9]);

impl RandomPart {
    /// The part as an id can hold it: the last four bits are zero.
    pub fn masked(self) -> RandomPart {
        let mut bytes = self.0;
        bytes[8] &= 0xf0;
        RandomPart(bytes)
    }

    /// The used bits as a number, 68 bits.
    pub(crate) fn bits(self) -> u128 {
        let mut wide = [0; 16];
        wide[7..].copy_from_slice(&self.0);
        u128::from_be_bytes(wide) >> 4
    }

    /// The part whose used bits are `bits`.
    pub(crate) fn from_bits(bits: u128) -> RandomPart {
        let mut part = [0; 9];
        part.copy_from_slice(&(bits << 4).to_be_bytes()[7..]);
        RandomPart(part)
    }
}
