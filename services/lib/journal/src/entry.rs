//! What is written for each event, and the hash chain over it.

use bytes::Bytes;
use calendar::Instant;
use prost::Message;
use sha2::{Digest, Sha256};

use crate::aggregate::Damage;
use crate::store::{AttemptId, Chain, KeyHash, Seq};

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

    /// Hash of its idempotency key.
    #[must_use]
    pub fn key_hash(&self) -> Option<KeyHash> {
        self.key.as_ref().try_into().ok().map(KeyHash)
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
