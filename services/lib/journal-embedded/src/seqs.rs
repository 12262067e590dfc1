//! Remembers where aggregates are.

use std::collections::HashMap;
use std::mem;

use journal::store::Seq;

use crate::overlay::Scope;

/// Most aggregates in each of the two generations: about 60 bytes each.
const GENERATION_MAX: usize = 100_000;

/// A cache in two generations: what was not used since the last turn is forgotten.
#[derive(Default)]
pub(crate) struct Seqs {
    young: HashMap<Scope, Seq>,
    old: HashMap<Scope, Seq>,
}

impl Seqs {
    pub(crate) fn get(&mut self, key: Scope) -> Option<Seq> {
        if let Some(seq) = self.young.get(&key) {
            return Some(*seq);
        }
        let seq = self.old.remove(&key)?;
        self.young.insert(key, seq);
        Some(seq)
    }

    pub(crate) fn set(&mut self, key: Scope, seq: Seq) {
        self.young.insert(key, seq);
    }

    /// Forgets the old generation when the young one is full. Only between two batches: a batch relies
    /// on finding what it set.
    pub(crate) fn turn(&mut self) {
        if self.young.len() > GENERATION_MAX {
            self.old = mem::take(&mut self.young);
        }
    }
}

#[cfg(test)]
mod tests {
    use ids::{AggregateId, TenantId};

    use super::*;

    #[test]
    fn what_is_used_survives_and_the_size_is_bounded() {
        let key = |n: usize| {
            let mut bytes = [0; 16];
            bytes[..8].copy_from_slice(&n.to_be_bytes());
            (TenantId::from_bytes([1; 16]), AggregateId::from_bytes(bytes))
        };
        let mut seqs = Seqs::default();
        for n in 0..5 * GENERATION_MAX {
            seqs.set(key(n), n as Seq);
            assert_eq!(seqs.get(key(0)), Some(0));
            seqs.turn();
        }
        assert!(seqs.young.len() + seqs.old.len() <= 2 * GENERATION_MAX + 2);
        assert_eq!(seqs.get(key(1)), None);
    }
}
