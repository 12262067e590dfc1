//! The document itself: an aggregate.

use bytes::Bytes;
use calendar::Instant;
use prost::{Message, Oneof};

use super::{LINES_MAX, Line};
use crate::aggregate::{Aggregate, Changes, Damage, Need};
use crate::store::{Seq, VALUE_BYTES_MAX};

/// Where a round of a document is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Phase {
    /// No round has begun.
    #[default]
    New,
    /// Holds are put on items. Not decided.
    Posting,
    /// Decided: every hold is posted, or will be.
    Committed,
    /// Decided: every hold is voided, or will be.
    Aborted,
    /// Every hold is posted.
    Posted,
    /// Every hold is voided.
    Voided,
}

impl Phase {
    /// Whether something is left to do.
    #[must_use]
    pub fn is_open(self) -> bool {
        matches!(self, Phase::Posting | Phase::Committed | Phase::Aborted)
    }
}

/// A document of one round after the other. `KIND` is the kind of aggregate and `OPEN` the index of open
/// documents, both numbered by the service.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Document<const KIND: u8, const OPEN: u16> {
    pub(super) round: u32,
    pub(super) phase: Phase,
    /// Why it was aborted.
    pub(super) reason: String,
    /// Lines of the open round, where they are loaded.
    pub(super) lines: Option<Vec<Line>>,
    lines_changed: bool,
}

/// What is asked of a document.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command {
    /// Begin a round.
    Begin(Vec<Line>),
    /// All lines of the round hold.
    Commit(u32),
    /// A line of the round does not hold, or somebody does not want it any more.
    Abort(u32, String),
    /// All holds of the round are posted, or voided.
    Finish(u32),
}

/// Why a document refuses.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refused {
    /// A round is open.
    #[error("the document is being posted")]
    Open,
    /// No lines, or more than [`LINES_MAX`], or too large.
    #[error("a document has 1 to {LINES_MAX} lines")]
    Lines,
    /// The round was decided otherwise, or is not the present one.
    #[error("the document was decided already")]
    Decided,
}

/// What happened to a document.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Event {
    #[prost(oneof = "What", tags = "1, 2, 3, 4")]
    what: Option<What>,
}

#[derive(Clone, PartialEq, Eq, Oneof)]
enum What {
    #[prost(message, tag = "1")]
    Begun(Lines),
    #[prost(uint32, tag = "2")]
    Committed(u32),
    #[prost(message, tag = "3")]
    Aborted(Aborted),
    #[prost(uint32, tag = "4")]
    Finished(u32),
}

#[derive(Clone, PartialEq, Eq, Message)]
struct Lines {
    #[prost(message, repeated, tag = "1")]
    lines: Vec<Line>,
}

#[derive(Clone, PartialEq, Eq, Message)]
struct Aborted {
    #[prost(uint32, tag = "1")]
    round: u32,
    #[prost(string, tag = "2")]
    reason: String,
}

#[derive(Clone, PartialEq, Eq, Message)]
struct Header {
    #[prost(uint32, tag = "1")]
    round: u32,
    #[prost(uint32, tag = "2")]
    phase: u32,
    #[prost(string, tag = "3")]
    reason: String,
}

/// Key of the row with the lines of the open round.
const LINES_ROW: &[u8] = b"lines";
/// Key of the row in the index of open documents.
pub(super) const OPEN_KEY: &[u8] = b"open";
/// Most bytes of a reason.
const REASON_BYTES_MAX: usize = 512;
/// Most bytes of all lines: an entry holds them, and more around them.
const LINES_BYTES_MAX: usize = VALUE_BYTES_MAX - 1024;

impl<const KIND: u8, const OPEN: u16> Document<KIND, OPEN> {
    /// The present round, from 1; 0 before the first.
    #[must_use]
    pub fn round(&self) -> u32 {
        self.round
    }

    /// Where it is.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// What must be loaded to see the lines of the open round.
    pub(super) fn needs_lines(&self) -> Vec<Need> {
        match self.phase.is_open() && self.lines.is_none() {
            true => vec![Need::Row(Bytes::from_static(LINES_ROW))],
            false => vec![],
        }
    }

    fn begin(&self, lines: &[Line]) -> Result<What, Refused> {
        let lines = Lines { lines: lines.to_vec() };
        if self.phase.is_open() {
            Err(Refused::Open)
        } else if lines.lines.is_empty()
            || lines.lines.len() > LINES_MAX
            || lines.encoded_len() > LINES_BYTES_MAX
            || lines.lines.iter().any(|line| line.item().is_err())
        {
            Err(Refused::Lines)
        } else {
            Ok(What::Begun(lines))
        }
    }
}

impl<const KIND: u8, const OPEN: u16> Aggregate for Document<KIND, OPEN> {
    type Command = Command;
    type Event = Event;
    type Error = Refused;

    const KIND: u8 = KIND;
    const FORMAT: u8 = 1;

    fn needs(&self, _: &Command) -> Vec<Need> {
        vec![]
    }

    fn load(&mut self, _: &Need, value: Option<&[u8]>) -> Result<(), Damage> {
        let value = value.ok_or_else(|| Damage("an open document has no lines".into()))?;
        self.lines = Some(Lines::decode(value)?.lines);
        Ok(())
    }

    fn decide(&self, command: &Command, _: Instant) -> Result<Vec<Event>, Refused> {
        let what = match command {
            Command::Begin(lines) => self.begin(lines)?,
            Command::Commit(round) | Command::Abort(round, _) | Command::Finish(round)
                if *round != self.round =>
            {
                return Err(Refused::Decided);
            }
            Command::Commit(round) => match self.phase {
                Phase::Posting => What::Committed(*round),
                Phase::Committed | Phase::Posted => return Ok(vec![]),
                _ => return Err(Refused::Decided),
            },
            Command::Abort(round, reason) => match self.phase {
                Phase::Posting => {
                    let mut end = reason.len().min(REASON_BYTES_MAX);
                    while !reason.is_char_boundary(end) {
                        end -= 1;
                    }
                    What::Aborted(Aborted { round: *round, reason: reason[..end].to_owned() })
                }
                Phase::Aborted | Phase::Voided => return Ok(vec![]),
                _ => return Err(Refused::Decided),
            },
            Command::Finish(round) => match self.phase {
                Phase::Committed | Phase::Aborted => What::Finished(*round),
                Phase::Posted | Phase::Voided => return Ok(vec![]),
                _ => return Err(Refused::Decided),
            },
        };
        Ok(vec![Event { what: Some(what) }])
    }

    fn evolve(&mut self, event: &Event, _: Seq, _: Instant) {
        match &event.what {
            Some(What::Begun(lines)) => {
                *self = Document {
                    round: self.round + 1,
                    phase: Phase::Posting,
                    reason: String::new(),
                    lines: Some(lines.lines.clone()),
                    lines_changed: true,
                };
            }
            Some(What::Committed(_)) => self.phase = Phase::Committed,
            Some(What::Aborted(aborted)) => {
                self.phase = Phase::Aborted;
                self.reason.clone_from(&aborted.reason);
            }
            Some(What::Finished(_)) => {
                self.phase = match self.phase {
                    Phase::Committed => Phase::Posted,
                    _ => Phase::Voided,
                };
                (self.lines, self.lines_changed) = (None, true);
            }
            None => {}
        }
    }

    fn project(&self, event: &Event, _: Seq, changes: &mut Changes) {
        match &event.what {
            Some(What::Begun(_)) => changes.index(OPEN, OPEN_KEY, Bytes::new()),
            Some(What::Finished(_)) => changes.unindex(OPEN, OPEN_KEY),
            _ => {}
        }
    }

    fn save(&mut self, changes: &mut Changes) {
        if std::mem::take(&mut self.lines_changed) {
            let lines = self.lines.take().map(|lines| Lines { lines }.encode_to_vec().into());
            changes.rows.push((Bytes::from_static(LINES_ROW), lines));
        }
    }

    fn header(&self) -> Bytes {
        let phase = match self.phase {
            Phase::New => 0,
            Phase::Posting => 1,
            Phase::Committed => 2,
            Phase::Aborted => 3,
            Phase::Posted => 4,
            Phase::Voided => 5,
        };
        Header { round: self.round, phase, reason: self.reason.clone() }.encode_to_vec().into()
    }

    fn from_header(header: &[u8]) -> Result<Self, Damage> {
        let header = Header::decode(header)?;
        let phase = match header.phase {
            0 => Phase::New,
            1 => Phase::Posting,
            2 => Phase::Committed,
            3 => Phase::Aborted,
            4 => Phase::Posted,
            5 => Phase::Voided,
            other => return Err(Damage(format!("a document is in phase {other}"))),
        };
        Ok(Document { round: header.round, phase, reason: header.reason, ..Document::default() })
    }

    fn encode(event: &Event) -> Bytes {
        event.encode_to_vec().into()
    }

    fn decode(bytes: &[u8]) -> Result<Event, Damage> {
        let event = Event::decode(bytes)?;
        match event.what {
            Some(_) => Ok(event),
            None => Err(Damage("an event of a document of a later version".into())),
        }
    }
}
