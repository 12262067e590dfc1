//! What is left of each receipt, oldest first, in chunks.
//!
//! A busy item can have thousands of open layers, and one issue may cross hundreds. They are kept in
//! chunks of [`CHUNK_LAYERS`], each a state row, so that an issue loads and rewrites what it touches; a
//! single short chunk lives in the header. Where a chunk is stored depends on the movements alone,
//! never on when they were saved, so that a replay leads to the same rows.

use std::collections::{BTreeMap, BTreeSet};

use journal::Seq;
use quantity::Quantity;

use crate::domain::movement::Slice;
use crate::domain::pool::share;

/// Layers in one chunk.
pub const CHUNK_LAYERS: usize = 128;
/// Layers of a chunk that is stored in the header.
pub const INLINE_LAYERS: usize = 12;
/// Chunks of an item: more open receipts than `CHUNKS_MAX * CHUNK_LAYERS` are refused.
pub const CHUNKS_MAX: usize = 64;

/// What the header knows of a chunk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Chunk {
    /// Names the row; chunks are ordered by it.
    pub id: Seq,
    /// Quantity in it.
    pub quantity: Quantity,
    /// Layers in it.
    pub layers: u32,
    /// It is a row; otherwise it is in the header.
    pub row: bool,
}

/// All open layers, those of loaded chunks in memory.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Layers {
    /// In order of age.
    pub directory: Vec<Chunk>,
    /// Chunks that are in memory.
    pub loaded: BTreeMap<Seq, Vec<Slice>>,
    /// Rows that changed since they were last saved.
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
        self.directory
            .last()
            .filter(|chunk| (chunk.layers as usize) < CHUNK_LAYERS && !self.loaded.contains_key(&chunk.id))
            .map(|chunk| chunk.id)
    }

    /// True if no further chunk may be opened.
    pub fn is_full(&self) -> bool {
        self.directory.len() >= CHUNKS_MAX
            && self.directory.last().is_none_or(|chunk| chunk.layers as usize >= CHUNK_LAYERS)
    }

    /// The open layers of loaded chunks, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Slice> {
        self.directory.iter().filter_map(|chunk| self.loaded.get(&chunk.id)).flatten()
    }

    /// Total quantity.
    pub fn quantity(&self) -> Quantity {
        self.directory.iter().map(|chunk| chunk.quantity).sum()
    }

    /// Adds goods that arrived last.
    pub fn push(&mut self, layer: Slice) {
        let last = self.directory.last().map(|chunk| (chunk.id, chunk.layers as usize));
        match last {
            Some((id, layers)) if layers < CHUNK_LAYERS => self.insert_into(id, layer),
            _ => self.open(self.directory.len(), layer),
        }
    }

    /// Puts goods back that an issue had taken: into their layer, or where their layer was.
    pub fn restore(&mut self, layer: Slice) {
        let at = self.directory.partition_point(|chunk| chunk.id <= layer.receipt);
        match at.checked_sub(1).map(|before| self.directory[before].id) {
            Some(id) => self.insert_into(id, layer),
            None => self.open(0, layer),
        }
    }

    /// Takes goods out of a layer, with their share of what the receipt was worth.
    pub fn take(&mut self, receipt: Seq, quantity: Quantity) {
        let holds = |layers: &Vec<Slice>| layers.iter().any(|layer| layer.receipt == receipt);
        let Some(id) = self.loaded.iter().find(|(_, layers)| holds(layers)).map(|(id, _)| *id) else {
            return;
        };
        let layers = self.loaded.entry(id).or_default();
        for layer in layers.iter_mut().filter(|layer| layer.receipt == receipt) {
            layer.value -= share(layer.value, quantity, layer.quantity);
            layer.quantity -= quantity;
        }
        layers.retain(|layer| !layer.quantity.is_zero());
        self.refresh(id);
    }

    /// The open layer of a receipt, if its chunk is loaded.
    pub fn of(&self, receipt: Seq) -> Option<&Slice> {
        self.iter().find(|layer| layer.receipt == receipt)
    }

    fn open(&mut self, at: usize, layer: Slice) {
        // Only one chunk can be in the header: the first of an item that has no other.
        let row = !self.directory.is_empty();
        let chunk = Chunk { id: layer.receipt, quantity: layer.quantity, layers: 1, row };
        self.directory.insert(at, chunk);
        self.loaded.insert(layer.receipt, vec![layer]);
        self.dirty.insert(layer.receipt);
    }

    fn insert_into(&mut self, id: Seq, layer: Slice) {
        let layers = self.loaded.entry(id).or_default();
        match layers.binary_search_by_key(&layer.receipt, |open| open.receipt) {
            Ok(at) => {
                layers[at].quantity += layer.quantity;
                layers[at].value += layer.value;
            }
            Err(at) => layers.insert(at, layer),
        }
        self.refresh(id);
    }

    fn refresh(&mut self, id: Seq) {
        self.dirty.insert(id);
        let Some(at) = self.directory.iter().position(|chunk| chunk.id == id) else { return };
        let layers = self.loaded.get(&id).map_or(&[][..], Vec::as_slice);
        if layers.is_empty() {
            // Its row, if it has one, is removed when the change is saved.
            let row = self.directory.remove(at).row;
            self.loaded.remove(&id);
            if !row {
                self.dirty.remove(&id);
            }
            return;
        }
        let chunk = &mut self.directory[at];
        chunk.quantity = layers.iter().map(|layer| layer.quantity).sum();
        chunk.layers = u32::try_from(layers.len()).unwrap_or(u32::MAX);
        chunk.row = chunk.row || layers.len() > INLINE_LAYERS;
    }
}
