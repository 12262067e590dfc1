//! Drives documents forward, from wherever they are.

use ids::{AggregateId, TenantId};
use tracing::error;

use super::state::{Command, Document, OPEN_KEY, Phase, Refused};
use super::{Hold, Line};
use crate::aggregate::{Aggregate, Damage};
use crate::entry::Actor;
use crate::error::{Error, Rejection};
use crate::journal::{Journal, Keep, Meta, Request, Scope};
use crate::store::{KeyHash, Seq};

/// Phases that one call walks through, with room for others that walk at the same time.
const STEPS_MAX: usize = 16;
/// Open documents that are read at once.
const PAGE: usize = 256;

/// What a line does to its item, as commands of the item.
pub trait Lines: Send + Sync + 'static {
    /// The items.
    type Item: Aggregate;

    /// Checks what there is and keeps it back. Follows [`super::hold`].
    ///
    /// # Errors
    /// [`Damage`] when what the line wants does not decode.
    fn hold(&self, hold: &Hold) -> Result<<Self::Item as Aggregate>::Command, Damage>;

    /// Writes the movement. Follows [`super::post`]; never refuses for a reason of the business.
    ///
    /// # Errors
    /// [`Damage`] when what the line wants does not decode.
    fn post(&self, hold: &Hold) -> Result<<Self::Item as Aggregate>::Command, Damage>;

    /// Gives back what was kept. Follows [`super::void`]; never refuses for a reason of the business.
    ///
    /// # Errors
    /// [`Damage`] when what the line wants does not decode.
    fn void(&self, hold: &Hold) -> Result<<Self::Item as Aggregate>::Command, Damage>;

    /// Says why an item refuses, for the document.
    fn reason(&self, error: &<Self::Item as Aggregate>::Error) -> String;
}

/// How a round ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ended {
    /// The round.
    pub round: u32,
    /// [`Phase::Posted`] or [`Phase::Voided`]; [`Phase::New`] if no round ever began.
    pub phase: Phase,
    /// Why it was aborted.
    pub reason: String,
}

/// All documents of one kind, and their items.
pub struct Documents<L: Lines, const KIND: u8, const OPEN: u16> {
    pub(super) documents: Journal<Document<KIND, OPEN>>,
    pub(super) items: Journal<L::Item>,
    pub(super) lines: L,
}

#[derive(Clone, Copy)]
enum Step {
    Hold,
    Post,
    Void,
}

impl<L: Lines, const KIND: u8, const OPEN: u16> Documents<L, KIND, OPEN> {
    /// Documents whose lines go to `items`.
    #[must_use]
    pub fn new(documents: Journal<Document<KIND, OPEN>>, items: Journal<L::Item>, lines: L) -> Self {
        Documents { documents, items, lines }
    }

    /// Posts lines as one round of a document, all or none, and drives it to its end. Safe to repeat with the
    /// same key.
    ///
    /// # Errors
    /// [`Refused::Open`] while another round is under way. After an error of the journal the round goes on
    /// whenever somebody drives the document.
    pub async fn post(
        &self,
        tenant: TenantId,
        document: AggregateId,
        lines: Vec<Line>,
        meta: Meta,
    ) -> Result<Ended, Rejection<Refused>> {
        let scope = Scope { tenant, aggregate: document };
        self.documents.submit(scope, Request { command: Command::Begin(lines), meta }).await?;
        Ok(self.drive(tenant, document).await?)
    }

    /// Aborts the open round of a document, unless it is committed already, and drives it to its end.
    ///
    /// # Errors
    /// When the journal cannot answer.
    pub async fn abort(&self, tenant: TenantId, document: AggregateId, reason: &str) -> Result<Ended, Error> {
        let scope = Scope { tenant, aggregate: document };
        if let Some(view) = self.documents.read(scope, |_| vec![]).await?
            && view.state.phase == Phase::Posting
        {
            self.decide(scope, Command::Abort(view.state.round, reason.to_owned())).await?;
        }
        self.drive(tenant, document).await
    }

    /// Drives a document forward to the end of its round, from wherever it is. Any process may, at any time,
    /// also several at once.
    ///
    /// # Errors
    /// When the journal cannot answer; the call can be repeated.
    pub async fn drive(&self, tenant: TenantId, document: AggregateId) -> Result<Ended, Error> {
        let scope = Scope { tenant, aggregate: document };
        for _ in 0..STEPS_MAX {
            let view = self.documents.read(scope, Document::needs_lines).await?;
            let Some(Document { round, phase, reason, lines, .. }) = view.map(|view| view.state) else {
                return Ok(Ended { round: 0, phase: Phase::New, reason: String::new() });
            };
            let lines = lines.unwrap_or_default();
            let next = match phase {
                Phase::New | Phase::Posted | Phase::Voided => return Ok(Ended { round, phase, reason }),
                Phase::Posting => match self.each(scope, round, lines, Step::Hold).await? {
                    None => Command::Commit(round),
                    Some(reason) => Command::Abort(round, reason),
                },
                Phase::Committed | Phase::Aborted => {
                    let step = if phase == Phase::Committed { Step::Post } else { Step::Void };
                    if let Some(reason) = self.each(scope, round, lines, step).await? {
                        error!(%document, round, "a hold of a decided document is refused: {reason}");
                        return Err(Error::Damaged(Damage(reason)));
                    }
                    Command::Finish(round)
                }
            };
            self.decide(scope, next).await?;
        }
        Err(Error::ConcurrentUpdate)
    }

    /// Says it to the document. A refusal means that somebody else was faster: the document tells what is true.
    async fn decide(&self, scope: Scope, command: Command) -> Result<(), Error> {
        let mut key = KeyHash([0; 9]);
        self.documents.env().random(&mut key.0);
        match self.documents.submit(scope, Request { command, meta: meta(key) }).await {
            Ok(_) | Err(Rejection::Domain(_)) => Ok(()),
            Err(Rejection::Journal(error)) => Err(error),
            Err(Rejection::Claimed { .. }) => Err(Error::ConcurrentUpdate),
        }
    }

    /// Does one step to every line; gives back why an item refuses.
    async fn each(
        &self,
        scope: Scope,
        round: u32,
        lines: Vec<Line>,
        step: Step,
    ) -> Result<Option<String>, Error> {
        let mut requests = Vec::with_capacity(lines.len());
        for (number, line) in (0..).zip(lines) {
            let item = line.item()?;
            let hold = Hold::new(scope.tenant, scope.aggregate, round, number, line.what);
            let command = match step {
                Step::Hold => self.lines.hold(&hold)?,
                Step::Post => self.lines.post(&hold)?,
                Step::Void => self.lines.void(&hold)?,
            };
            let mut key = KeyHash([0; 9]);
            key.0.copy_from_slice(&hold.id.0[..9]);
            requests.push((item, Request { command, meta: meta(key) }));
        }
        let mut refused = None;
        for answer in self.items.submit_each(scope.tenant, requests).await {
            match answer {
                Ok(_) => {}
                Err(Rejection::Domain(error)) => {
                    refused.get_or_insert_with(|| self.lines.reason(&error));
                }
                Err(Rejection::Claimed { .. }) => {
                    refused.get_or_insert_with(|| "a value that must be unique is taken".to_owned());
                }
                Err(Rejection::Journal(error)) => return Err(error),
            }
        }
        Ok(refused)
    }

    /// Drives every open document of a tenant; gives back how many ended.
    ///
    /// # Errors
    /// The first failure; the call can be repeated.
    pub async fn recover(&self, tenant: TenantId) -> Result<usize, Error> {
        let (mut after, mut ended) = (None, 0);
        loop {
            let page =
                self.documents.store().index(tenant, OPEN, OPEN_KEY.into(), after.take(), PAGE).await?;
            let Some(last) = page.last() else { return Ok(ended) };
            after = Some((last.key.clone(), last.aggregate));
            for row in page {
                self.drive(tenant, row.aggregate).await?;
                ended += 1;
            }
        }
    }

    /// Drives every document that holds something on an item: for who is in the way of a hold.
    ///
    /// # Errors
    /// When the journal cannot answer; the call can be repeated.
    pub async fn settle(&self, tenant: TenantId, item: AggregateId) -> Result<(), Error> {
        for hold in self.pending(tenant, item).await? {
            self.drive(tenant, hold.document).await?;
        }
        Ok(())
    }

    /// Reads where a document is: round and phase, and its sequence.
    ///
    /// # Errors
    /// When the journal cannot answer.
    pub async fn phase(&self, tenant: TenantId, document: AggregateId) -> Result<(u32, Phase, Seq), Error> {
        let view = self.documents.read(Scope { tenant, aggregate: document }, |_| vec![]).await?;
        Ok(view.map_or((0, Phase::New, 0), |view| (view.state.round, view.state.phase, view.seq)))
    }
}

/// Commands of the protocol are safe to repeat by what they say, so they need no key row.
fn meta(key: KeyHash) -> Meta {
    Meta {
        actor: Actor { kind: "system".into(), id: "documents".into() },
        key,
        fingerprint: [0; 16],
        keep: Keep::No,
        request_id: String::new(),
        trace: None,
    }
}
