//! What a message says: which aggregate got entries, and up to which one. Not what is in them.
//!
//! Consumers read entries from the journal: many at once, as far as it goes, and with the hash chain checked. So a
//! message need not carry them, and one message tells of all entries that were relayed together. Nothing that belongs to a
//! tenant leaves its store, so nothing here must be sealed, or destroyed with the tenant's key.

use bytes::{BufMut, Bytes, BytesMut};
use events::MessageId;
use ids::{AggregateId, TenantId};
use journal::feed::Change;
use journal::store::Seq;

/// Format of the body. A body may grow at its end; another format has another number.
const FORMAT: u8 = 1;
const BYTES: usize = 1 + 1 + 16 + 16 + 8 + 8;

/// Subjects per tenant. The order of an aggregate is that of its subject, and the server remembers each subject that
/// a stream has, so there are not as many as aggregates.
pub const SHARDS: u8 = 16;

/// What is said.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Says {
    /// An aggregate got entries, up to this one.
    Changed(Change),
    /// Nobody knows what changed: compare all heads.
    Compare,
}

/// One message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Announcement {
    /// What is said.
    pub says: Says,
    /// For a store that tells what changed: everything up to this position of its feed is on the bus. 0 for others.
    pub feed: u64,
}

impl Announcement {
    /// The body of the message: format, sort, tenant, aggregate, seq, feed; numbers with their highest byte first.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let nobody = Change {
            tenant: TenantId::from_bytes([0; 16]),
            aggregate: AggregateId::from_bytes([0; 16]),
            seq: 0,
        };
        let (sort, change) = match self.says {
            Says::Changed(change) => (1, change),
            Says::Compare => (2, nobody),
        };
        let mut bytes = BytesMut::with_capacity(BYTES);
        bytes.put_u8(FORMAT);
        bytes.put_u8(sort);
        bytes.put_slice(change.tenant.as_bytes());
        bytes.put_slice(change.aggregate.as_bytes());
        bytes.put_u64(change.seq);
        bytes.put_u64(self.feed);
        bytes.freeze()
    }

    /// Reads a body; `None` if it is none of ours.
    #[must_use]
    pub fn decode(body: &[u8]) -> Option<Announcement> {
        let (head, body) = body.split_first_chunk::<2>()?;
        let (tenant, body) = body.split_first_chunk::<16>()?;
        let (aggregate, body) = body.split_first_chunk::<16>()?;
        let (seq, body) = body.split_first_chunk::<8>()?;
        let (feed, _) = body.split_first_chunk::<8>()?;
        let says = match head {
            [FORMAT, 1] => Says::Changed(Change {
                tenant: TenantId::from_bytes(*tenant),
                aggregate: AggregateId::from_bytes(*aggregate),
                seq: Seq::from_be_bytes(*seq),
            }),
            [FORMAT, 2] => Says::Compare,
            _ => return None,
        };
        Some(Announcement { says, feed: u64::from_be_bytes(*feed) })
    }

    /// What follows the subject of the stream: `<shard>.<tenant>`, or `all`.
    #[must_use]
    pub fn subject(&self) -> String {
        match self.says {
            Says::Compare => "all".to_owned(),
            Says::Changed(change) => {
                let shard =
                    change.aggregate.as_bytes().iter().fold(0_u8, |hash, byte| hash.rotate_left(3) ^ byte);
                let tenant = u128::from_be_bytes(*change.tenant.as_bytes());
                format!("{}.{tenant:032x}", shard % SHARDS)
            }
        }
    }

    /// By which the server knows that it has it already; none if it is to be said again.
    ///
    /// It names the last entry. A message that is dropped for it would have told nothing new: the one that is there
    /// leads consumers to the same entry, wherever each of them began.
    #[must_use]
    pub fn id(&self) -> Option<MessageId> {
        match self.says {
            Says::Compare => None,
            Says::Changed(change) => Some(MessageId::of(change.tenant, change.aggregate, change.seq)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(tenant: u8, aggregate: u8, seq: Seq) -> Announcement {
        let (tenant, aggregate) =
            (TenantId::from_bytes([tenant; 16]), AggregateId::from_bytes([aggregate; 16]));
        Announcement { says: Says::Changed(Change { tenant, aggregate, seq }), feed: 7 }
    }

    #[test]
    fn what_is_written_is_read() {
        let compare = Announcement { says: Says::Compare, feed: u64::MAX };
        for announcement in [changed(1, 2, 3), changed(255, 0, Seq::MAX), compare] {
            let body = announcement.encode();
            assert_eq!(body.len(), BYTES);
            assert_eq!(Announcement::decode(&body), Some(announcement));
            let longer = [&body[..], b"later"].concat();
            assert_eq!(Announcement::decode(&longer), Some(announcement), "a body may grow");
            for end in 0..body.len() {
                assert_eq!(Announcement::decode(&body[..end]), None);
            }
            let mut other = body.to_vec();
            other[0] = FORMAT + 1;
            assert_eq!(Announcement::decode(&other), None);
        }
    }

    /// Entries of an aggregate are told of in order, so they have one subject.
    #[test]
    fn an_aggregate_has_one_subject_and_subjects_are_few() {
        assert_eq!(changed(1, 2, 3).subject(), changed(1, 2, 4).subject());
        assert_ne!(changed(1, 2, 3).subject(), changed(2, 2, 3).subject());
        let subjects = (0..=255_u8).map(|number| {
            let mut bytes = [7; 16];
            bytes[15] = number;
            let mut announcement = changed(1, 2, 3);
            let Says::Changed(change) = &mut announcement.says else { panic!("a change") };
            change.aggregate = AggregateId::from_bytes(bytes);
            announcement.subject()
        });
        let subjects: std::collections::BTreeSet<_> = subjects.collect();
        assert_eq!(subjects.len(), usize::from(SHARDS));
    }

    #[test]
    fn a_message_is_known_by_its_last_entry() {
        assert_eq!(changed(1, 2, 3).id(), changed(1, 2, 3).id());
        for other in [changed(2, 2, 3), changed(1, 3, 3), changed(1, 2, 4)] {
            assert_ne!(changed(1, 2, 3).id(), other.id());
        }
    }
}
