//! Format 1: protobuf. Fields are added, never renumbered.

use std::collections::BTreeSet;

use calendar::Instant;
use events::{Cursor, Parking};
use ids::AggregateId;
use journal::{Chain, Damage};
use prost::{Message, Oneof};

use crate::domain::access::{Access, Outcome};
use crate::domain::log::{Appended, Event, Run, Subject};
use crate::domain::summary::Summary;

#[derive(Clone, PartialEq, Message)]
pub(super) struct LogRecord {
    #[prost(uint64, tag = "1")]
    pub(super) size: u64,
    /// 32 bytes each.
    #[prost(bytes = "vec", tag = "2")]
    pub(super) peaks: Vec<u8>,
    #[prost(uint64, tag = "3")]
    pub(super) bundle_entry: u64,
    #[prost(uint64, tag = "4")]
    pub(super) signed: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct EventRecord {
    #[prost(oneof = "What", tags = "1, 2, 3, 4")]
    what: Option<What>,
}

#[derive(Clone, PartialEq, Oneof)]
enum What {
    #[prost(message, tag = "1")]
    Appended(AppendedRecord),
    #[prost(message, tag = "2")]
    Signed(SignedRecord),
    #[prost(message, tag = "3")]
    Parked(ParkedRecord),
    #[prost(message, tag = "4")]
    Heard(HeardRecord),
}

#[derive(Clone, PartialEq, Message)]
struct ParkedRecord {
    #[prost(string, tag = "1")]
    service: String,
    #[prost(bytes = "vec", tag = "2")]
    aggregate: Vec<u8>,
    #[prost(message, optional, tag = "3")]
    cursor: Option<CursorRecord>,
}

#[derive(Clone, PartialEq, Message)]
struct HeardRecord {
    #[prost(string, tag = "1")]
    service: String,
    #[prost(uint64, tag = "2")]
    position: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct CursorRecord {
    #[prost(uint64, tag = "1")]
    seq: u64,
    #[prost(bytes = "vec", tag = "2")]
    chain: Vec<u8>,
    /// The entry that an aggregate waits with; 0 if it does not wait.
    #[prost(uint64, tag = "3")]
    parked_seq: u64,
    #[prost(string, tag = "4")]
    parked_reason: String,
}

#[derive(Clone, PartialEq, Message)]
struct AppendedRecord {
    #[prost(uint64, tag = "1")]
    first: u64,
    #[prost(message, repeated, tag = "2")]
    runs: Vec<RunRecord>,
}

#[derive(Clone, PartialEq, Message)]
struct RunRecord {
    #[prost(string, tag = "1")]
    service: String,
    #[prost(uint32, tag = "2")]
    kind: u32,
    #[prost(bytes = "vec", tag = "3")]
    aggregate: Vec<u8>,
    #[prost(uint64, tag = "4")]
    first: u64,
    /// Microseconds: the first one since 1970, each other since its predecessor.
    #[prost(sint64, repeated, tag = "5")]
    recorded_us: Vec<i64>,
    /// 32 bytes each.
    #[prost(bytes = "vec", tag = "6")]
    commitments: Vec<u8>,
    #[prost(bytes = "vec", tag = "7")]
    chain: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct SignedRecord {
    #[prost(uint64, tag = "1")]
    size: u64,
    #[prost(string, tag = "2")]
    note: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct SummaryRecord {
    #[prost(uint64, tag = "1")]
    first_entry: u64,
    #[prost(fixed32, repeated, tag = "2")]
    actors: Vec<u32>,
    #[prost(fixed32, repeated, tag = "3")]
    actions: Vec<u32>,
    #[prost(fixed32, repeated, tag = "4")]
    resources: Vec<u32>,
    #[prost(sint64, tag = "5")]
    from_us: i64,
    #[prost(sint64, tag = "6")]
    to_us: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct AccessRecord {
    #[prost(string, tag = "1")]
    method: String,
    #[prost(string, tag = "2")]
    permission: String,
    /// 1 read, 2 denied.
    #[prost(uint32, tag = "3")]
    outcome: u32,
}

fn instant(micros: i64) -> Result<Instant, Damage> {
    Instant::checked_from_unix_micros(micros).ok_or_else(|| Damage("an instant is out of range".into()))
}

impl EventRecord {
    pub(super) fn of(event: &Event) -> Self {
        let what = match event {
            Event::Heard { service, position } => {
                What::Heard(HeardRecord { service: service.clone(), position: *position })
            }
            Event::Parked { subject, cursor } => What::Parked(ParkedRecord {
                service: subject.service.clone(),
                aggregate: subject.aggregate.as_bytes().to_vec(),
                cursor: Some(CursorRecord::of(cursor)),
            }),
            Event::Signed { size, note } => What::Signed(SignedRecord { size: *size, note: note.clone() }),
            Event::Appended(appended) => {
                let runs = appended.runs.iter().map(RunRecord::of).collect();
                What::Appended(AppendedRecord { first: appended.first, runs })
            }
        };
        EventRecord { what: Some(what) }
    }

    pub(super) fn read(self) -> Result<Event, Damage> {
        match self.what {
            None => Err(Damage("an event of a log says nothing".into())),
            Some(What::Heard(heard)) => Ok(Event::Heard { service: heard.service, position: heard.position }),
            Some(What::Parked(parked)) => {
                let aggregate = parked.aggregate.try_into().map_err(|_| Damage("an aggregate".into()))?;
                let aggregate = AggregateId::from_bytes(aggregate);
                let cursor = parked.cursor.unwrap_or_default().read()?;
                Ok(Event::Parked { subject: Subject { service: parked.service, aggregate }, cursor })
            }
            Some(What::Signed(signed)) => Ok(Event::Signed { size: signed.size, note: signed.note }),
            Some(What::Appended(appended)) => {
                let runs = appended.runs.into_iter().map(RunRecord::read).collect::<Result<_, _>>()?;
                Ok(Event::Appended(Appended { first: appended.first, runs, beside: None }))
            }
        }
    }
}

impl CursorRecord {
    pub(super) fn of(cursor: &Cursor) -> Self {
        let (parked_seq, parked_reason) = match &cursor.parked {
            Some(parking) => (parking.seq, parking.reason.clone()),
            None => (0, String::new()),
        };
        CursorRecord { seq: cursor.seq, chain: cursor.chain.0.to_vec(), parked_seq, parked_reason }
    }

    pub(super) fn read(self) -> Result<Cursor, Damage> {
        let chain = self.chain.try_into().map_err(|_| Damage("a cursor has no hash".into()))?;
        let parking = Parking { seq: self.parked_seq, reason: self.parked_reason };
        let parked = (self.parked_seq != 0).then_some(parking);
        Ok(Cursor { seq: self.seq, chain: Chain(chain), parked })
    }
}

impl RunRecord {
    fn of(run: &Run) -> Self {
        let mut before = 0;
        let deltas = run.items.iter().map(|(recorded_at, _)| {
            let micros = recorded_at.unix_micros();
            micros - std::mem::replace(&mut before, micros)
        });
        RunRecord {
            service: run.subject.service.clone(),
            kind: run.kind.into(),
            aggregate: run.subject.aggregate.as_bytes().to_vec(),
            first: run.first,
            recorded_us: deltas.collect(),
            commitments: run.items.iter().flat_map(|(_, commitment)| *commitment).collect(),
            chain: run.chain.0.to_vec(),
        }
    }

    fn read(self) -> Result<Run, Damage> {
        let damage = |what: &str| Damage(format!("a run of a log has no right {what}"));
        let (commitments, rest) = self.commitments.as_chunks::<32>();
        if !rest.is_empty() || commitments.len() != self.recorded_us.len() || commitments.is_empty() {
            return Err(damage("number of commitments"));
        }
        let (mut micros, mut items) = (0_i64, Vec::with_capacity(commitments.len()));
        for (delta, commitment) in self.recorded_us.iter().zip(commitments) {
            micros = micros.checked_add(*delta).ok_or_else(|| damage("time"))?;
            items.push((instant(micros)?, *commitment));
        }
        let aggregate = self.aggregate.try_into().map_err(|_| damage("aggregate"))?;
        Ok(Run {
            subject: Subject { service: self.service, aggregate: AggregateId::from_bytes(aggregate) },
            kind: u8::try_from(self.kind).map_err(|_| damage("kind"))?,
            first: self.first,
            items,
            chain: Chain(self.chain.try_into().map_err(|_| damage("chain"))?),
        })
    }
}

impl SummaryRecord {
    pub(super) fn of(summary: &Summary, first_entry: u64) -> Self {
        let marks = |marks: &BTreeSet<u32>| marks.iter().copied().collect();
        let micros = |(from, to): (Instant, Instant)| (from.unix_micros(), to.unix_micros());
        let (from_us, to_us) = summary.recorded.map_or((0, 0), micros);
        SummaryRecord {
            first_entry,
            actors: marks(&summary.actors),
            actions: marks(&summary.actions),
            resources: marks(&summary.resources),
            from_us,
            to_us,
        }
    }

    pub(super) fn read(self) -> Result<Summary, Damage> {
        let marks = |marks: Vec<u32>| marks.into_iter().collect();
        Ok(Summary {
            first_entry: self.first_entry,
            actors: marks(self.actors),
            actions: marks(self.actions),
            resources: marks(self.resources),
            recorded: Some((instant(self.from_us)?, instant(self.to_us)?)),
        })
    }
}

impl AccessRecord {
    pub(super) fn of(access: &Access) -> Self {
        let outcome = match access.outcome {
            Outcome::Read => 1,
            Outcome::Denied => 2,
            Outcome::UnknownId => 3,
        };
        AccessRecord { method: access.method.clone(), permission: access.permission.clone(), outcome }
    }

    pub(super) fn read(self) -> Result<Access, Damage> {
        let outcome = match self.outcome {
            1 => Outcome::Read,
            2 => Outcome::Denied,
            3 => Outcome::UnknownId,
            other => return Err(Damage(format!("an access ended in an unknown way: {other}"))),
        };
        Ok(Access { method: self.method, permission: self.permission, outcome })
    }
}
