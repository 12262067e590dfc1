//! Posts movements, one or many, and takes postings back.

use std::collections::HashMap;
use std::sync::Arc;

use ids::{AggregateId, LocationId, MovementId, VariantId};
use journal::{Answer, Keep, Meta, Posted, Request, Seq};
use problem::reason;
use quantity::Factor;
use rpc::Ctx;

use crate::app::{Stock, item_scope, refused, scope};
use crate::convert::{MovementDraft, movement_id};
use crate::domain::item::Command;
use crate::domain::location::{Location, Usage};
use crate::domain::movement::{Cause, Entered, Facts, Movement};
use crate::domain::post::Post;
use crate::domain::reverse::Reverse;
use crate::error::Error;
use crate::metrics;
use crate::records;

/// What a posting became, and what is needed to show it.
pub(crate) struct Done {
    pub(crate) item: AggregateId,
    pub(crate) facts: Arc<Facts>,
    pub(crate) movements: Vec<Posted<Movement>>,
    pub(crate) replayed: bool,
}

impl Stock {
    /// Posts one movement.
    pub(crate) async fn post(&self, ctx: &Ctx, draft: MovementDraft, meta: Meta) -> Result<Done, Error> {
        let variant = draft.variant;
        let (facts, command) = match self.prepare(ctx, draft, &mut Known::default()).await {
            Ok(prepared) => prepared,
            Err(error) => return Box::pin(self.posted_before(ctx, &meta, error)).await,
        };
        let request = Request { command, meta };
        let answer = self.items.submit(item_scope(ctx, variant), request).await;
        self.done(ctx, facts, answer.map_err(|rejection| refused(rejection, None))?)
    }

    /// The answer of an earlier call with the same key, when what it named cannot be looked up any more;
    /// otherwise the `error` of looking it up.
    async fn posted_before(&self, ctx: &Ctx, meta: &Meta, error: Error) -> Result<Done, Error> {
        let row = self.items.store().key(ctx.tenant, meta.key).await.map_err(journal::Error::from)?;
        let Some(row) = row else { return Err(error) };
        if row.fingerprint != meta.fingerprint {
            return Err(Error::Journal(journal::Error::IdempotencyConflict));
        }
        let view = self.items.read(scope(ctx, row.aggregate), |_| vec![]).await?;
        let (Some(facts), Some((_, movements))) =
            (view.and_then(|view| view.state.facts), self.items.find(ctx.tenant, meta.key).await?)
        else {
            return Err(error);
        };
        Ok(Done { item: row.aggregate, facts: Arc::new(facts), movements, replayed: true })
    }

    /// Posts movements, each by itself.
    pub(crate) async fn post_each(
        &self,
        ctx: &Ctx,
        drafts: Vec<Result<(MovementDraft, Meta), Error>>,
    ) -> Vec<Result<Done, Error>> {
        let mut known = Known::default();
        let mut results = Vec::with_capacity(drafts.len());
        let mut requests = Vec::with_capacity(drafts.len());
        let mut waiting = Vec::with_capacity(drafts.len());
        for (at, draft) in drafts.into_iter().enumerate() {
            let prepared = match draft {
                Ok((draft, meta)) => {
                    let item = records::item_id(ctx.business, draft.variant);
                    match self.prepare(ctx, draft, &mut known).await {
                        Ok((facts, command)) => {
                            requests.push((item, Request { command, meta }));
                            waiting.push((at, facts));
                            Err(Error::Unprepared) // replaced below
                        }
                        Err(error) => self.posted_before(ctx, &meta, error).await,
                    }
                }
                Err(error) => Err(error),
            };
            results.push(prepared.map_err(|error| error.within("movements", at)));
        }
        let answers = self.items.submit_each(ctx.tenant, requests).await;
        for ((at, facts), answer) in waiting.into_iter().zip(answers) {
            let answer = answer.map_err(|rejection| refused(rejection, None).within("movements", at));
            results[at] = answer.and_then(|answer| self.done(ctx, facts, answer));
        }
        results
    }

    /// Posts movements, all or none. The error is that of the first one that is refused.
    pub(crate) async fn post_all(
        &self,
        ctx: &Ctx,
        drafts: Vec<(MovementDraft, Meta)>,
    ) -> Result<Vec<Done>, (usize, Error)> {
        let mut known = Known::default();
        let mut requests = Vec::with_capacity(drafts.len());
        let mut all_facts = Vec::with_capacity(drafts.len());
        let mut drafts = drafts.into_iter().enumerate();
        while let Some((at, (draft, meta))) = drafts.next() {
            let item = records::item_id(ctx.business, draft.variant);
            match self.prepare(ctx, draft, &mut known).await {
                Ok((facts, command)) => {
                    all_facts.push(facts);
                    requests.push((item, Request { command, meta }));
                }
                Err(error) => {
                    let before = requests.into_iter().map(|(_, request): (_, Request<Command>)| request.meta);
                    let metas = before.chain([meta]).chain(drafts.map(|(_, (_, meta))| meta)).collect();
                    return self.all_posted_before(ctx, metas, at, error.within("movements", at)).await;
                }
            }
        }
        let answers = self.items.submit_all(ctx.tenant, requests).await;
        let answers = answers.map_err(|refusal| {
            (refusal.at, refused(refusal.rejection, None).within("movements", refusal.at))
        })?;
        let dones = all_facts.into_iter().zip(answers).map(|(facts, answer)| self.done(ctx, facts, answer));
        dones.enumerate().map(|(at, done)| done.map_err(|error| (at, error))).collect()
    }

    async fn all_posted_before(
        &self,
        ctx: &Ctx,
        metas: Vec<Meta>,
        at: usize,
        error: Error,
    ) -> Result<Vec<Done>, (usize, Error)> {
        let mut done = Vec::with_capacity(metas.len());
        for meta in metas {
            done.push(self.posted_before(ctx, &meta, error.clone()).await.map_err(|error| (at, error))?);
        }
        Ok(done)
    }

    /// Takes back the posting that a movement belongs to.
    pub(crate) async fn reverse(
        &self,
        ctx: &Ctx,
        id: MovementId,
        reason_code: String,
        note: String,
        meta: Meta,
    ) -> Result<Done, Error> {
        let (aggregate, posting, facts) = self.posting_of(ctx, id).await?;
        let mut places: Vec<Location> = Vec::with_capacity(2);
        for posted in &posting {
            if !places.iter().any(|known| known.id == posted.event.location) {
                places.push(self.location(ctx, posted.event.location).await?.0);
            }
        }
        let touched: Vec<LocationId> = places.iter().map(|place| place.id).collect();
        let amounts_max = self.within(ctx, &touched, Some(facts.variant)).await?;
        let originals: Vec<_> = posting.into_iter().map(|posted| (posted.seq, posted.event)).collect();
        let Some((_, first)) = originals.first() else { return Err(Error::NotFound) };
        let Cause { entered, source, .. } = Cause::clone(&first.cause);
        let cause = Arc::new(Cause { entered, source, reason_code, note });
        let command = Command::Reverse(Box::new(Reverse { originals, places, cause, amounts_max }));
        let answer = self.items.submit(scope(ctx, aggregate), Request { command, meta }).await;
        self.done(ctx, facts, answer.map_err(|rejection| refused(rejection, None))?)
    }

    fn done(&self, ctx: &Ctx, facts: Arc<Facts>, answer: Answer<Movement>) -> Result<Done, Error> {
        let opened = answer.events.first().and_then(|first| first.event.facts.clone()).map(Arc::new);
        if let Some(opened) = &opened {
            self.directory.remember(ctx, opened);
        }
        let Answer { aggregate: item, events: movements, replayed, .. } = answer;
        if !replayed {
            movements.iter().for_each(|posted| metrics::posted(posted.event.kind));
        }
        Ok(Done { item, facts: opened.unwrap_or(facts), movements, replayed })
    }

    /// Looks up what the decision needs to know: facts, unit, locations, the movement that is returned.
    async fn prepare(
        &self,
        ctx: &Ctx,
        draft: MovementDraft,
        known: &mut Known,
    ) -> Result<(Arc<Facts>, Command), Error> {
        let business = self.directory.business(ctx).await?;
        let (facts, opened) = self.facts(ctx, draft.variant, known).await?;
        let (entered, integral) = self.entered(ctx, &draft, &facts).await?;
        let place = self.real_location(ctx, draft.location, "movement.location_id").await?;
        let to = match draft.to {
            Some(to) => Some(self.real_location(ctx, to, "movement.to_location_id").await?),
            None => None,
        };
        let touched = [Some(place.id), to.as_ref().map(|to| to.id)];
        let touched: Vec<LocationId> = touched.into_iter().flatten().collect();
        let amounts_max = self.within(ctx, &touched, Some(draft.variant)).await?;
        let return_of = match draft.return_of {
            Some(original) => Some(Box::pin(self.original(ctx, &draft, original)).await?),
            None => None,
        };
        let line = records::line(ctx.business, draft.kind, &draft.source);
        let (source, reason_code, note) = (draft.source, draft.reason_code, draft.note);
        let post = Post {
            kind: draft.kind,
            direction: draft.direction,
            place,
            to,
            counterpart: business.virtual_id(draft.kind.counterpart()),
            cause: Arc::new(Cause { entered, source, reason_code, note }),
            line,
            integral,
            cost: draft.cost,
            occurred_at: draft.occurred_at,
            may_backdate: ctx.permissions.allows("stock.backdate"),
            backdate_days: business.backdate_days,
            amounts_max,
            return_of,
            facts: (!opened).then(|| Arc::clone(&facts)),
        };
        Ok((facts, Command::Post(Box::new(post))))
    }

    /// What the person typed, and whether fractions of its unit are refused.
    async fn entered(
        &self,
        ctx: &Ctx,
        draft: &MovementDraft,
        facts: &Facts,
    ) -> Result<(Entered, bool), Error> {
        let quantity = draft.quantity;
        let code = draft.unit.as_ref().filter(|code| **code != facts.base_unit);
        let Some(code) = code else {
            return Ok((Entered { quantity, unit: facts.base_unit.clone(), factor: Factor::ONE }, false));
        };
        let Some(unit) = Box::pin(self.directory.unit(ctx, draft.variant, code)).await? else {
            let detail =
                format!("'{code}' is no unit of this variant; its base unit is '{}'", facts.base_unit);
            return Err(Error::field("movement.unit", reason::UNKNOWN_VALUE, detail));
        };
        Ok((Entered { quantity, unit: code.clone(), factor: unit.factor }, unit.integral))
    }

    /// Facts of the item, and whether it has a movement that fixed them.
    async fn facts(
        &self,
        ctx: &Ctx,
        variant: VariantId,
        known: &mut Known,
    ) -> Result<(Arc<Facts>, bool), Error> {
        if let Some(facts) = self.directory.opened(ctx, variant) {
            return Ok((facts, true));
        }
        if let Some(facts) = known.facts.get(&variant) {
            return Ok((Arc::clone(facts), false));
        }
        // Seldom, and large: the future of every posting would carry it along.
        Box::pin(self.first_facts(ctx, variant, known)).await
    }

    async fn first_facts(
        &self,
        ctx: &Ctx,
        variant: VariantId,
        known: &mut Known,
    ) -> Result<(Arc<Facts>, bool), Error> {
        if let Some(view) = self.items.read(item_scope(ctx, variant), |_| vec![]).await?
            && let Some(facts) = view.state.facts
        {
            let facts = Arc::new(facts);
            self.directory.remember(ctx, &facts);
            return Ok((facts, true));
        }
        let facts = Arc::new(self.directory.facts(ctx, variant).await?);
        known.facts.insert(variant, Arc::clone(&facts));
        Ok((facts, false))
    }

    async fn real_location(&self, ctx: &Ctx, id: LocationId, field: &str) -> Result<Arc<Location>, Error> {
        let location = match self.known_places.get(ctx, id) {
            Some(location) => location,
            // Seldom, and large: the future of every posting would carry it along.
            None => Box::pin(self.read_place(ctx, id)).await?,
        };
        if let Usage::Virtual(which) = location.usage {
            let detail = format!("is the virtual {} location, not a place", which.name());
            return Err(Error::field(field, reason::NOT_ALLOWED, detail));
        }
        Ok(location)
    }

    /// Reads a location, and remembers it.
    pub(crate) async fn read_place(&self, ctx: &Ctx, id: LocationId) -> Result<Arc<Location>, Error> {
        let changes = self.known_places.changes();
        let location = Arc::new(self.location(ctx, id).await?.0);
        self.known_places.remember(ctx, &location, changes);
        Ok(location)
    }

    /// The movement that a return returns.
    async fn original(
        &self,
        ctx: &Ctx,
        draft: &MovementDraft,
        id: MovementId,
    ) -> Result<(Seq, Movement), Error> {
        const FIELD: &str = "movement.return_of";
        let (aggregate, posting, _) = self.posting_of(ctx, id).await?;
        if aggregate != records::item_id(ctx.business, draft.variant) {
            return Err(Error::field(FIELD, reason::NOT_ALLOWED, "is a movement of another variant"));
        }
        let posted = posting.into_iter().find(|posted| movement_id(posted, posted.event.position) == id);
        let posted = posted.ok_or(Error::NotFound)?;
        // It is marked as returned: that is a change of it.
        self.within(ctx, &[posted.event.location], Some(draft.variant)).await?;
        let fits = draft.kind.returns() == Some(posted.event.kind) && posted.event.reversal_of.is_none();
        if !fits {
            let expected = draft.kind.returns().map_or("", |kind| kind.code());
            let detail = format!("must be a '{expected}' movement, not '{}'", posted.event.kind);
            return Err(Error::field(FIELD, reason::NOT_ALLOWED, detail));
        }
        Ok((posted.seq, posted.event))
    }

    /// The posting that a movement belongs to, in the caller's business.
    pub(crate) async fn posting_of(
        &self,
        ctx: &Ctx,
        id: MovementId,
    ) -> Result<(AggregateId, Vec<Posted<Movement>>, Arc<Facts>), Error> {
        let found = self.items.find(ctx.tenant, journal::KeyHash(id.random_part().0)).await?;
        let (aggregate, posting) = found.ok_or(Error::NotFound)?;
        let exists = posting.iter().any(|posted| movement_id(posted, posted.event.position) == id);
        let view = self.items.read(scope(ctx, aggregate), |_| vec![]).await?;
        match view.and_then(|view| view.state.facts) {
            Some(facts) if exists && facts.business == ctx.business => {
                Ok((aggregate, posting, Arc::new(facts)))
            }
            _ => Err(Error::NotFound),
        }
    }
}

/// What one request has looked up already.
#[derive(Default)]
struct Known {
    facts: HashMap<VariantId, Arc<Facts>>,
}

/// Keys of postings are kept for ever: they are also how movements are found by id.
pub(crate) const KEEP: Keep = Keep::Forever;
