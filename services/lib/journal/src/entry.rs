//! What is written for each event, and the hash chain over it.

use bytes::Bytes;
use calendar::Instant;
use prost::Message;
use prost::encoding::{self, WireType};
use sha2::{Digest, Sha256};

use crate::aggregate::Damage;
use crate::store::{AttemptId, Chain, KeyHash, Seq};
use crate::tally::Trace;

/// Bytes of the hash before each stored entry.
pub(crate) const CHAIN_BYTES: usize = 32;
/// Bytes of a stored entry beside its hash, its texts and its event, and a little more.
const FIXED_BYTES_MAX: usize = 106;

/// Who caused an entry.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct Actor {
    /// `api_key`, `user`, `system`.
    #[prost(string, tag = "1")]
    pub kind: String,
    /// `key_…`, `usr_…` or the name of a job.
    #[prost(string, tag = "2")]
    pub id: String,
}

/// The stored form of one event: the event's bytes and what the journal knows about it.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Entry {
    /// When it was recorded, in microseconds since 1970; monotonic per aggregate.
    #[prost(sfixed64, tag = "1")]
    pub recorded_at_us: i64,
    /// Who caused it.
    #[prost(message, optional, tag = "2")]
    pub actor: Option<Actor>,
    /// Attempt of the commit: 16 bytes.
    #[prost(bytes = "bytes", tag = "3")]
    pub attempt: Bytes,
    /// Hash of the idempotency key, or random: 9 bytes, also the random part of ids.
    #[prost(bytes = "bytes", tag = "4")]
    pub key: Bytes,
    /// Which event of its command, from 0.
    #[prost(uint32, tag = "5")]
    pub position: u32,
    /// The encoded event.
    #[prost(bytes = "bytes", tag = "6")]
    pub event: Bytes,
    /// The request that caused it, for the trail from an answer to its entries.
    #[prost(string, tag = "7")]
    pub request_id: String,
    /// The span that caused it, if that was traced: 24 bytes. Few entries have one.
    #[prost(bytes = "bytes", tag = "8")]
    pub trace: Bytes,
}

impl Entry {
    /// Decodes a stored entry.
    ///
    /// # Errors
    /// [`Damage`] when the bytes do not decode.
    pub fn read(bytes: Bytes) -> Result<Entry, Damage> {
        let entry = Entry::decode(bytes)?;
        match Instant::checked_from_unix_micros(entry.recorded_at_us) {
            Some(_) => Ok(entry),
            None => Err(Damage("an entry was recorded at an impossible time".into())),
        }
    }

    /// When it was recorded.
    #[must_use]
    pub fn recorded_at(&self) -> Instant {
        Instant::from_unix_micros(self.recorded_at_us)
    }

    /// The attempt of its commit.
    #[must_use]
    pub fn attempt_id(&self) -> Option<AttemptId> {
        self.attempt.as_ref().try_into().ok().map(AttemptId)
    }

    /// The span that caused it, if that was traced.
    #[must_use]
    pub fn trace(&self) -> Option<Trace> {
        Trace::read(&self.trace)
    }

    /// Hash of its idempotency key.
    #[must_use]
    pub fn key_hash(&self) -> Option<KeyHash> {
        self.key.as_ref().try_into().ok().map(KeyHash)
    }
}

/// An entry on its way to the store. It borrows what [`Entry`] would own: each posting makes one.
pub(crate) struct NewEntry<'a> {
    pub(crate) recorded_at_us: i64,
    pub(crate) actor: &'a Actor,
    pub(crate) attempt: AttemptId,
    pub(crate) key: KeyHash,
    pub(crate) position: u32,
    pub(crate) event: Bytes,
    pub(crate) request_id: &'a String,
    pub(crate) trace: Option<Trace>,
}

impl NewEntry<'_> {
    /// The chain with this entry, and its stored form: that chain, then the encoding of [`Entry`].
    pub(crate) fn after(&self, chain: Chain) -> (Chain, Bytes) {
        let texts = self.actor.kind.len() + self.actor.id.len() + self.request_id.len();
        let mut bytes = Vec::with_capacity(CHAIN_BYTES + FIXED_BYTES_MAX + texts + self.event.len());
        bytes.extend_from_slice(&[0; CHAIN_BYTES]);
        self.encode(&mut bytes);
        let chain = chain.then(&bytes[CHAIN_BYTES..]);
        bytes[..CHAIN_BYTES].copy_from_slice(&chain.0);
        (chain, bytes.into())
    }

    /// What the derived encoding of [`Entry`] writes, which leaves out what is zero or empty.
    fn encode(&self, out: &mut Vec<u8>) {
        if self.recorded_at_us != 0 {
            encoding::sfixed64::encode(1, &self.recorded_at_us, out);
        }
        encoding::message::encode(2, self.actor, out);
        for (tag, bytes) in [(3, &self.attempt.0[..]), (4, &self.key.0[..])] {
            encoding::encode_key(tag, WireType::LengthDelimited, out);
            encoding::encode_varint(bytes.len() as u64, out);
            out.extend_from_slice(bytes);
        }
        if self.position != 0 {
            encoding::uint32::encode(5, &self.position, out);
        }
        if !self.event.is_empty() {
            encoding::bytes::encode(6, &self.event, out);
        }
        if !self.request_id.is_empty() {
            encoding::string::encode(7, self.request_id, out);
        }
        if let Some(trace) = &self.trace {
            encoding::encode_key(8, WireType::LengthDelimited, out);
            encoding::encode_varint(Trace::BYTES as u64, out);
            out.extend_from_slice(&trace.stored());
        }
    }
}

impl Chain {
    /// The chain after one more entry: `SHA-256(chain || entry)`.
    #[must_use]
    pub fn then(self, entry: &[u8]) -> Chain {
        Chain(Sha256::new().chain_update(self.0).chain_update(entry).finalize().into())
    }
}

/// An event in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Posted<E> {
    /// Position in the aggregate.
    pub seq: Seq,
    /// What happened.
    pub event: E,
    /// When it was recorded.
    pub recorded_at: Instant,
    /// Who caused it.
    pub actor: Actor,
    /// Hash of the idempotency key.
    pub key: KeyHash,
    /// Which event of its command, from 0.
    pub position: u32,
    /// Hash over the entries up to this one, where the reader knows it.
    pub chain: Option<Chain>,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// INV-2: what is hashed and stored is what is read.
    #[test]
    fn a_new_entry_is_encoded_as_it_will_be_read() {
        let texts = ["", "key_1", "a somewhat longer text, as a request id may be: 0123456789abcdef"];
        for (byte, number) in [(0, 0), (1, 1), (2, i64::MAX)] {
            let at = usize::from(byte);
            let trace = (byte > 0).then_some(Trace { id: [byte; 16], span: [9; 8] });
            let actor = Actor { kind: texts[at].to_owned(), id: texts[2 - at].to_owned() };
            let entry = Entry {
                recorded_at_us: number,
                actor: Some(actor.clone()),
                attempt: vec![byte; 16].into(),
                key: vec![byte; 9].into(),
                position: u32::try_from(number).unwrap_or(u32::MAX),
                event: vec![7; at * 300].into(),
                request_id: texts[at].to_owned(),
                trace: trace.map_or_else(Bytes::new, |trace| trace.stored().to_vec().into()),
            };
            assert_eq!(entry.trace(), trace);
            let new = NewEntry {
                recorded_at_us: number,
                actor: &actor,
                attempt: AttemptId([byte; 16]),
                key: KeyHash([byte; 9]),
                position: entry.position,
                event: entry.event.clone(),
                request_id: &entry.request_id,
                trace,
            };
            let (chain, stored) = new.after(Chain([byte; 32]));
            assert_eq!(chain, Chain([byte; 32]).then(&entry.encode_to_vec()));
            assert_eq!(stored, crate::journal::stored(chain, &entry.encode_to_vec()));
        }
    }
}
