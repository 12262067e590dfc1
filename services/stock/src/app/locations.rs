//! Makes, shows, lists and changes locations.

use ids::{AggregateId, LocationId, RandomPart};
use journal::{Answer, Meta, Request};
use problem::reason;
use rpc::{Ctx, PageToken, Refused};

use crate::app::{Stock, refused, scope};
use crate::convert::LocationDraft;
use crate::domain::kind::Virtual;
use crate::domain::location::{Change, Command, Event, Location, Place, virtual_id};
use crate::error::Error;
use crate::records;

impl Stock {
    /// Makes one location; the revision is the second part of the answer.
    pub(crate) async fn create_location(
        &self,
        ctx: &Ctx,
        draft: LocationDraft,
        meta: Meta,
    ) -> Result<(Location, u64, bool), Error> {
        let code = draft.code.clone();
        let (aggregate, request) = self.creation(ctx, draft, meta).await?;
        let answer = self.places.submit(scope(ctx, aggregate), request).await;
        self.created(ctx, answer.map_err(|rejection| refused(rejection, Some(&code)))?).await
    }

    /// Makes locations, each by itself.
    pub(crate) async fn create_locations_each(
        &self,
        ctx: &Ctx,
        drafts: Vec<Result<(LocationDraft, Meta), Error>>,
    ) -> Vec<Result<(Location, u64, bool), Error>> {
        let mut results = Vec::with_capacity(drafts.len());
        for (at, draft) in drafts.into_iter().enumerate() {
            results.push(match draft {
                Ok((draft, meta)) => self
                    .create_location(ctx, draft, meta)
                    .await
                    .map_err(|error| error.within("locations", at)),
                Err(error) => Err(error),
            });
        }
        results
    }

    /// Makes locations, all or none.
    pub(crate) async fn create_locations_all(
        &self,
        ctx: &Ctx,
        drafts: Vec<(LocationDraft, Meta)>,
    ) -> Result<Vec<(Location, u64, bool)>, (usize, Error)> {
        let codes: Vec<String> = drafts.iter().map(|(draft, _)| draft.code.clone()).collect();
        let mut requests = Vec::with_capacity(drafts.len());
        for (at, (draft, meta)) in drafts.into_iter().enumerate() {
            let made = self.creation(ctx, draft, meta).await;
            requests.push(made.map_err(|error| (at, error.within("locations", at)))?);
        }
        let answers = self.places.submit_all(ctx.tenant, requests).await.map_err(|refusal| {
            let code = codes.get(refusal.at).map(String::as_str);
            (refusal.at, refused(refusal.rejection, code).within("locations", refusal.at))
        })?;
        let mut made = Vec::with_capacity(answers.len());
        for (at, answer) in answers.into_iter().enumerate() {
            made.push(self.created(ctx, answer).await.map_err(|error| (at, error))?);
        }
        Ok(made)
    }

    async fn creation(
        &self,
        ctx: &Ctx,
        draft: LocationDraft,
        meta: Meta,
    ) -> Result<(AggregateId, Request<Command>), Error> {
        if let Some(parent) = draft.parent {
            let (parent, _) = self.location(ctx, parent).await?;
            if !parent.is_real() {
                return Err(Error::field("location.parent_id", reason::NOT_ALLOWED, "is a virtual location"));
            }
        }
        let now = self.places.env().now();
        let id = LocationId::derived(now.unix_ms(), RandomPart(meta.key.0), 0);
        let location = Location {
            id,
            business: ctx.business,
            code: draft.code,
            name: draft.name,
            parent: draft.parent,
            usage: draft.usage,
            negative: draft.negative,
            status: draft.status,
            created_at: now,
            updated_at: now,
        };
        Ok((id.into(), Request { command: Command::Create(location), meta }))
    }

    async fn created(&self, ctx: &Ctx, answer: Answer<Event>) -> Result<(Location, u64, bool), Error> {
        let place = self.places.state_at(scope(ctx, answer.aggregate), answer.seq).await;
        let place = place.map_err(journal::Error::after_commit)?.state;
        Ok((place.location.ok_or(Error::NotFound)?, answer.seq, answer.replayed))
    }

    /// Shows a location of the caller's business, real or virtual, with its revision.
    pub(crate) async fn location(&self, ctx: &Ctx, id: LocationId) -> Result<(Location, u64), Error> {
        if let Some(view) = self.places.read(scope(ctx, id), |_| vec![]).await?
            && let Place { location: Some(location), revision } = view.state
        {
            let own = location.business == ctx.business;
            return if own { Ok((location, revision)) } else { Err(Error::NotFound) };
        }
        let same = |which: &Virtual| virtual_id(ctx.tenant, ctx.business, *which) == id;
        let which = Virtual::ALL.into_iter().find(same).ok_or(Error::NotFound)?;
        Ok((Location::of_virtual(ctx.tenant, ctx.business, which), 1))
    }

    /// Lists locations of the caller's business, oldest first.
    pub(crate) async fn list_locations(
        &self,
        ctx: &Ctx,
        code: &str,
        size: usize,
        token: &str,
    ) -> Result<(Vec<(Location, u64)>, Option<String>), Error> {
        const LIST: &str = "locations";
        if !code.is_empty() {
            let claim =
                journal::Claim { kind: records::CLAIM_CODE, value: records::code_claim(ctx.business, code) };
            let owner = self.places.store().claim(ctx.tenant, claim).await.map_err(journal::Error::from)?;
            let Some(owner) = owner else { return Ok((vec![], None)) };
            let id = LocationId::from_bytes(*owner.as_bytes());
            return match self.sees(ctx, Some(id), None).await? {
                true => Ok((vec![self.location(ctx, id).await?], None)),
                false => Ok((vec![], None)),
            };
        }
        let after = PageToken::open(ctx, LIST, token)?.map(|key| cursor(&key)).transpose()?;
        let prefix = records::index_key(&[ctx.business.as_bytes()]);
        let store = self.places.store();
        let rows = store.index(ctx.tenant, records::INDEX_LOCATION, prefix, after, size + 1).await;
        let mut rows = rows.map_err(journal::Error::from)?;
        let more = size < rows.len();
        rows.truncate(size);
        let mut page = Vec::with_capacity(rows.len());
        for row in &rows {
            let id = LocationId::from_bytes(*row.aggregate.as_bytes());
            if self.sees(ctx, Some(id), None).await? {
                page.push(self.location(ctx, id).await?);
            }
        }
        let last = rows.last().filter(|_| more);
        let next = last.map(|row| PageToken::seal(ctx, LIST, &seal(&row.key, row.aggregate)));
        Ok((page, next))
    }

    /// Changes a location.
    pub(crate) async fn update_location(
        &self,
        ctx: &Ctx,
        id: LocationId,
        change: Change,
        meta: Meta,
    ) -> Result<(Location, u64, bool), Error> {
        let (location, _) = self.location(ctx, id).await?;
        self.within(ctx, &[id], None).await?;
        if !location.is_real() {
            return Err(Error::field(
                "location_id",
                reason::NOT_ALLOWED,
                "a virtual location cannot be changed",
            ));
        }
        let expected = ctx.expected_revision()?;
        let request = Request { command: Command::Change { change, expected }, meta };
        let _change = self.known_places.change();
        let answer = self.places.submit(scope(ctx, id), request).await;
        self.created(ctx, answer.map_err(|rejection| refused(rejection, None))?).await
    }
}

/// A position in an index: the aggregate, then the key.
pub(crate) fn seal(key: &[u8], aggregate: AggregateId) -> Vec<u8> {
    [aggregate.as_bytes(), key].concat()
}

/// Reads a position in an index.
pub(crate) fn cursor(bytes: &[u8]) -> Result<(bytes::Bytes, AggregateId), Error> {
    let (aggregate, key) = bytes.split_first_chunk::<16>().ok_or(Refused::PageTokenInvalid)?;
    Ok((bytes::Bytes::copy_from_slice(key), AggregateId::from_bytes(*aggregate)))
}
