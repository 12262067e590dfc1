//! Repeatable choices and unique keys.

/// SplitMix64. Source: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014.
#[derive(Clone)]
pub(crate) struct Random(u64);

impl Random {
    /// The same choices for the same seed.
    #[cfg(test)]
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Another sequence on every call, from the system's entropy.
    pub(crate) fn fresh() -> Result<Self, crate::Error> {
        Ok(Self(getrandom::u64()?))
    }

    /// 64 random bits.
    pub(crate) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in `0..limit`; the bias of the multiplication is below `limit / 2^64`.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        let product = u128::from(self.bits()) * limit as u128;
        (product >> 64) as usize
    }

    /// Uniform in `[0, 1)`.
    pub(crate) fn fraction(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// An idempotency key: 128 random bits in hex, as spread as the keys of independent tills.
    pub(crate) fn key(&mut self) -> String {
        format!("{:016x}{:016x}", self.bits(), self.bits())
    }
}
