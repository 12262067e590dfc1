//! What is left of each receipt, oldest first, in chunks.
//!
//! A busy item can have thousands of open layers, and one issue may cross hundreds. They are kept in
//! chunks of [`CHUNK_LAYERS`], each a state row, so that an issue loads and rewrites what it touches; a
//! single short chunk lives in the header. Where a layer is stored depends on the movements alone, never on
//! when they were saved, so that a replay leads to the same rows.

use std::collections::{BTreeMap, BTreeSet};

use journal::Seq;
use quantity::Quantity;

use crate::domain::movement::Slice;
use crate::domain::pool::share;

/// Layers of a chunk that arriving goods still go into.
pub const CHUNK_LAYERS: usize = 128;
/// Layers of a chunk; one that grows longer, by layers that come back, becomes two.
pub const CHUNK_LAYERS_MAX: usize = 2 * CHUNK_LAYERS;
/// Layers of a chunk that is stored in the header.
pub const INLINE_LAYERS: usize = 12;
/// Chunks of an item: the header has room for the directory of so many.
pub const CHUNKS_MAX: usize = 64;

/// What the header knows of a chunk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Chunk {
    /// Names the row. A chunk holds the receipts from its id up to the next chunk's; the first one holds
    /// earlier receipts too.
    pub id: Seq,
    /// Quantity in it.
    pub quantity: Quantity,
    /// Layers in it.
    pub layers: u32,
    /// It is a row; otherwise it is in the header, the only chunk of the item.
    pub row: bool,
}

/// All open layers, those of loaded chunks in memory.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Layers {
    /// In order of age.
    pub directory: Vec<Chunk>,
    /// Chunks that are in memory.
    pub loaded: BTreeMap<Seq, Vec<Slice>>,
    /// Rows to write, or to remove, since they were last saved.
    pub dirty: BTreeSet<Seq>,
}

impl Layers {
    /// Chunks that are not loaded and that an issue of `quantity` in order of age looks at.
    pub fn missing_for(&self, quantity: Quantity) -> Vec<Seq> {
        let mut left = quantity;
        let mut missing = Vec::new();
        for chunk in &self.directory {
            if !left.is_positive() {
                break;
            }
            if !self.loaded.contains_key(&chunk.id) {
                missing.push(chunk.id);
            }
            left -= chunk.quantity;
        }
        missing
    }

    /// Chunks that are not loaded.
    pub fn missing(&self) -> Vec<Seq> {
        self.directory.iter().map(|chunk| chunk.id).filter(|id| !self.loaded.contains_key(id)).collect()
    }

    /// The last chunk, if arriving goods go into it and it is not loaded.
    pub fn missing_last(&self) -> Option<Seq> {
        let last = self.directory.last().filter(|chunk| (chunk.layers as usize) < CHUNK_LAYERS);
        last.map(|chunk| chunk.id).filter(|id| !self.loaded.contains_key(id))
    }

    /// True if goods that arrive would open a chunk too many.
    pub fn is_full(&self) -> bool {
        CHUNKS_MAX <= self.directory.len()
            && self.directory.last().is_some_and(|chunk| CHUNK_LAYERS <= chunk.layers as usize)
    }

    /// The open layers of loaded chunks, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Slice> {
        self.directory.iter().filter_map(|chunk| self.loaded.get(&chunk.id)).flatten()
    }

    /// Total quantity.
    pub fn quantity(&self) -> Quantity {
        self.directory.iter().map(|chunk| chunk.quantity).sum()
    }

    /// The open layer of a receipt, if its chunk is loaded.
    pub fn of(&self, receipt: Seq) -> Option<&Slice> {
        let chunk = self.directory.get(self.chunk_of(receipt))?;
        let layers = self.loaded.get(&chunk.id)?;
        layers.binary_search_by_key(&receipt, |layer| layer.receipt).ok().map(|at| &layers[at])
    }

    /// Adds goods that arrived last.
    pub fn push(&mut self, layer: Slice) {
        match self.directory.last() {
            Some(last) if (last.layers as usize) < CHUNK_LAYERS => {
                self.insert(self.directory.len() - 1, layer);
            }
            _ => self.open(layer),
        }
    }

    /// Puts goods back that an issue had taken: into their layer, or where their layer was.
    pub fn restore(&mut self, layer: Slice) {
        if self.directory.is_empty() {
            self.open(layer);
        } else {
            self.insert(self.chunk_of(layer.receipt), layer);
        }
    }

    /// Takes goods out of a layer, with their share of what the receipt was worth.
    pub fn take(&mut self, receipt: Seq, quantity: Quantity) {
        let at = self.chunk_of(receipt);
        self.change(at, |layers| {
            let Ok(at) = layers.binary_search_by_key(&receipt, |layer| layer.receipt) else {
                panic!("receipt {receipt} has no open layer");
            };
            let layer = &mut layers[at];
            assert!(quantity <= layer.quantity, "a layer has what is taken from it");
            layer.value -= share(layer.value, quantity, layer.quantity);
            layer.quantity -= quantity;
            if layer.quantity.is_zero() {
                layers.remove(at);
            }
            -quantity
        });
    }

    /// Position of the chunk that a receipt's layer belongs to.
    fn chunk_of(&self, receipt: Seq) -> usize {
        self.directory.partition_point(|chunk| chunk.id <= receipt).saturating_sub(1)
    }

    /// Opens a last chunk.
    fn open(&mut self, layer: Slice) {
        // Only the first chunk of an item that has no other can be in the header.
        let row = !self.directory.is_empty();
        let id = layer.receipt;
        self.directory.push(Chunk { id, quantity: layer.quantity, layers: 1, row });
        self.loaded.insert(id, vec![layer]);
        if row {
            self.dirty.insert(id);
        }
    }

    fn insert(&mut self, at: usize, layer: Slice) {
        self.change(at, |layers| {
            match layers.binary_search_by_key(&layer.receipt, |open| open.receipt) {
                Ok(at) => {
                    layers[at].quantity += layer.quantity;
                    layers[at].value += layer.value;
                }
                Err(at) => layers.insert(at, layer),
            }
            layer.quantity
        });
        self.split(at);
    }

    /// Changes a chunk; `change` says by how much its quantity grew.
    fn change(&mut self, at: usize, change: impl FnOnce(&mut Vec<Slice>) -> Quantity) {
        let Some(layers) = self.directory.get(at).and_then(|chunk| self.loaded.get_mut(&chunk.id)) else {
            panic!("a chunk that was not loaded is changed");
        };
        let chunk = &mut self.directory[at];
        chunk.quantity += change(layers);
        chunk.layers = u32::try_from(layers.len()).unwrap_or(u32::MAX);
        chunk.row = chunk.row || INLINE_LAYERS < layers.len();
        if chunk.row {
            self.dirty.insert(chunk.id);
        }
        if layers.is_empty() {
            let id = self.directory.remove(at).id;
            self.loaded.remove(&id);
        }
    }

    /// Makes two chunks of one that is too long.
    fn split(&mut self, at: usize) {
        let old = self.directory[at].id;
        let Some(layers) = self.loaded.get_mut(&old).filter(|layers| CHUNK_LAYERS_MAX < layers.len()) else {
            return;
        };
        let later = layers.split_off(CHUNK_LAYERS);
        let earlier = std::mem::take(layers);
        self.loaded.remove(&old);
        self.directory.remove(at);
        // The first chunk's id may be greater than its first receipts: then neither half can have it.
        let id = if old < later[0].receipt { old } else { earlier[0].receipt };
        self.dirty.insert(old);
        for (id, layers) in [(later[0].receipt, later), (id, earlier)] {
            let quantity = layers.iter().map(|layer| layer.quantity).sum();
            let count = u32::try_from(layers.len()).unwrap_or(u32::MAX);
            self.directory.insert(at, Chunk { id, quantity, layers: count, row: true });
            self.loaded.insert(id, layers);
            self.dirty.insert(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Most of what arrived leaves before it comes back, so that chunks come and go.
    #[derive(Clone, Copy, Debug)]
    enum Step {
        Push(u64),
        Take(u64),
        TakeNewest(u64),
        Restore { count: u64, newest_first: bool },
    }

    fn steps() -> impl Strategy<Value = Step> {
        prop_oneof![
            (1..300u64).prop_map(Step::Push),
            (1..300u64).prop_map(Step::Take),
            (1..300u64).prop_map(Step::TakeNewest),
            (1..300u64, any::<bool>())
                .prop_map(|(count, newest_first)| Step::Restore { count, newest_first }),
        ]
    }

    fn layer(receipt: Seq) -> Slice {
        Slice { receipt, quantity: Quantity::whole(1), value: 7 }
    }

    fn check(layers: &Layers, open: &BTreeSet<Seq>) {
        assert!(layers.iter().map(|layer| &layer.receipt).eq(open), "all layers, in order");
        assert!(layers.directory.is_sorted_by(|a, b| a.id < b.id), "ids in order, each once");
        assert_eq!(layers.loaded.len(), layers.directory.len());
        for chunk in &layers.directory {
            let loaded = &layers.loaded[&chunk.id];
            assert!((1..=CHUNK_LAYERS_MAX).contains(&loaded.len()));
            assert_eq!(chunk.layers as usize, loaded.len());
            assert_eq!(chunk.quantity, loaded.iter().map(|layer| layer.quantity).sum());
            assert!(chunk.row || (layers.directory.len() == 1 && loaded.len() <= INLINE_LAYERS));
        }
        for receipt in open {
            assert_eq!(layers.of(*receipt), Some(&layer(*receipt)));
        }
    }

    proptest! {
        #[test]
        fn layers_are_where_they_are_looked_for(steps in prop::collection::vec(steps(), 1..30)) {
            let (mut layers, mut next) = (Layers::default(), 1);
            let (mut open, mut taken) = (BTreeSet::new(), Vec::new());
            for step in steps {
                match step {
                    Step::Push(count) => for _ in 0..count {
                        layers.push(layer(next));
                        open.insert(next);
                        next += 1;
                    },
                    Step::Take(count) => for _ in 0..count {
                        let Some(receipt) = open.pop_first() else { break };
                        layers.take(receipt, Quantity::whole(1));
                        taken.push(receipt);
                    },
                    Step::TakeNewest(count) => for _ in 0..count {
                        let Some(receipt) = open.pop_last() else { break };
                        layers.take(receipt, Quantity::whole(1));
                        taken.push(receipt);
                    },
                    Step::Restore { count, newest_first } => for _ in 0..count {
                        let at = if newest_first { taken.len().saturating_sub(1) } else { 0 };
                        if taken.is_empty() { break }
                        let receipt = taken.remove(at);
                        layers.restore(layer(receipt));
                        open.insert(receipt);
                    },
                }
                check(&layers, &open);
            }
        }
    }
}
