//! Follows products and policies, and tells each business what changed there above it.
//!
//! What is told and how far things have been followed is one commit: whatever dies in between, nothing is told twice
//! or left out. A step over more businesses than a commit has takes several; each says who has heard so far.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use calendar::Instant;
use events::{Cursor, Parking, SinkError, Stretch};
use ids::{AggregateId, BusinessId, TenantId};
use journal::{Actor, Keep, KeyHash, Meta, Order, Rejection, Request, Scope, Seq};

use super::Catalog;
use super::tree::Placed;
use crate::Error;
use crate::domain::{Compared, Event, InheritedChange, Known, PRODUCTS, PolicySet, Product, Step, Timeline};
use crate::records::{self, Due, Follow, InheritedCommand, Place, UnderWay, index};

/// Businesses that hear something in one commit, beside what was followed.
const BUSINESSES_MAX: usize = 900;
/// Changes that are told in one commit.
const CHANGES_MAX: usize = 4_000;
/// Products and policies that are followed in one commit.
const MOVED_MAX: usize = 512;
/// Index rows or entries that are read at a time.
const CHUNK: usize = 500;

/// What the journals of the catalogue say to the follower.
#[derive(Debug)]
pub(crate) enum Heard {
    /// Of a product, and when.
    Product(Box<Event>, Instant),
    /// Of the policies of a tenant.
    Policy(PolicySet),
}

/// The work on one tenant, from what is stored to what will be.
struct Following<'a> {
    catalog: &'a Catalog,
    tenant: TenantId,
    now: Instant,
    timeline: Arc<Timeline>,
    /// The businesses below an owner.
    below: HashMap<BusinessId, Arc<[Placed]>>,
    follow: BTreeMap<AggregateId, (Place, Place)>,
    due: Vec<Due>,
    done: Vec<Due>,
    notes: BTreeMap<BusinessId, Vec<InheritedChange>>,
    changes: usize,
}

/// One product on its way.
struct On {
    aggregate: AggregateId,
    /// What is stored of it.
    stored: Place,
    place: Place,
    product: Option<Arc<Product>>,
    /// Whether `place` is to be stored.
    changed: bool,
}

/// Why a product cannot be followed now.
enum Broken {
    /// What is stored of it cannot be read: the others go on.
    Damaged(String),
    Away(SinkError),
}

fn unavailable(error: impl std::fmt::Display) -> SinkError {
    SinkError::Unavailable(error.to_string())
}

impl Catalog {
    /// Takes in entries of products and policies, and tells what follows.
    ///
    /// # Errors
    /// [`SinkError::Moved`] when a cursor is not where a stretch begins; [`SinkError::Unavailable`].
    pub(crate) async fn follow(
        &self,
        tenant: TenantId,
        stretches: Vec<Stretch<Heard>>,
    ) -> Result<Vec<Due>, SinkError> {
        let aggregates: Vec<_> = stretches.iter().map(|stretch| stretch.aggregate).collect();
        let places = self.places(tenant, &aggregates).await?;
        if places.iter().zip(&stretches).any(|(place, stretch)| place.cursor != stretch.from) {
            return Err(SinkError::Moved);
        }
        let mut following = self.following(tenant).await?;
        let mut policies = None;
        for (stretch, place) in stretches.into_iter().zip(places) {
            match stretch.aggregate == records::policies() {
                true => policies = Some((stretch, place)),
                false => following.product(stretch, place).await?,
            }
        }
        following.flush().await?;
        let Some((stretch, place)) = policies else { return Ok(vec![]) };
        following.policies(stretch, place).await
    }

    /// Takes in the moments that have come at which policies begin to count; the next one.
    ///
    /// # Errors
    /// [`SinkError::Unavailable`].
    pub(crate) async fn follow_moments(&self, tenant: TenantId) -> Result<Option<Instant>, SinkError> {
        loop {
            let rows = self.store.index(tenant, index::DUE, Bytes::new(), None, CHUNK).await;
            let due = rows.map_err(unavailable)?.into_iter().map(|row| records::read_due(&row.key));
            let due = due.collect::<Result<Vec<_>, _>>().map_err(unavailable)?;
            let mut following = self.following(tenant).await?;
            let (now, next) = (following.now, due.first().map(|(at, _)| *at));
            let come: Vec<Due> = due.into_iter().take_while(|(at, _)| *at <= now).collect();
            if come.is_empty() {
                return Ok(next);
            }
            let groups = come.iter().map(|(_, group)| group.clone()).collect();
            following.sweep(&groups).await?;
            following.done = come;
            following.flush().await?;
        }
    }

    /// How far aggregates have been followed, in the order given.
    ///
    /// # Errors
    /// [`SinkError::Unavailable`].
    pub(crate) async fn places(
        &self,
        tenant: TenantId,
        aggregates: &[AggregateId],
    ) -> Result<Vec<Place>, SinkError> {
        let scope = Scope { tenant, aggregate: records::following() };
        let view = self.inherited.read(scope, |record| record.needs_places(aggregates)).await;
        let place = |view: &records::InheritedRecord, aggregate: &AggregateId| view.place(*aggregate);
        Ok(match view.map_err(unavailable)? {
            Some(view) => aggregates.iter().map(|aggregate| place(&view.state, aggregate)).collect(),
            None => vec![Place::default(); aggregates.len()],
        })
    }

    async fn following(&self, tenant: TenantId) -> Result<Following<'_>, SinkError> {
        let timeline = self.timeline(tenant).await.map_err(unavailable)?;
        Ok(Following {
            catalog: self,
            tenant,
            now: self.env.now(),
            timeline,
            below: HashMap::new(),
            follow: BTreeMap::new(),
            due: vec![],
            done: vec![],
            notes: BTreeMap::new(),
            changes: 0,
        })
    }

    /// Every policy of a tenant.
    async fn timeline(&self, tenant: TenantId) -> Result<Arc<Timeline>, Error> {
        let scope = Scope { tenant, aggregate: records::policies() };
        let head = self.store.head(tenant, scope.aggregate).await.map_err(journal::Error::from)?;
        let Some(head) = head else { return Ok(Arc::default()) };
        let known = self.timelines.get(&tenant).unwrap_or_default();
        if known.0.len() as u64 == head.seq {
            return Ok(known);
        }
        let mut timeline = Timeline::clone(&known);
        loop {
            let from = timeline.0.len() as u64 + 1;
            let page = self.policies.entries(scope, from, head.seq, Order::Ascending, CHUNK).await?;
            if page.is_empty() {
                break;
            }
            timeline.0.extend(page.into_iter().map(|posted| posted.event.0));
        }
        let timeline = Arc::new(timeline);
        self.timelines.insert(tenant, Arc::clone(&timeline));
        Ok(timeline)
    }

    /// A product as it was after entry `seq`.
    async fn product_followed(&self, scope: Scope, seq: Seq) -> Result<Option<Arc<Product>>, Error> {
        if seq == 0 {
            return Ok(None);
        }
        if let Some((known, product)) = self.followed.get(&scope)
            && known == seq
        {
            return Ok(Some(product));
        }
        Ok(self.products.state_at(scope, seq).await?.state.product.map(Arc::new))
    }

    /// Who writes what the follower writes.
    pub(crate) fn by_itself(&self) -> Meta {
        let mut key = KeyHash([0; 9]);
        self.env.random(&mut key.0);
        Meta {
            actor: Actor { kind: "system".to_owned(), id: "inheritance".to_owned() },
            key,
            fingerprint: [0; 16],
            keep: Keep::No,
            request_id: String::new(),
            trace: None,
        }
    }
}

impl Following<'_> {
    async fn on(&self, aggregate: AggregateId, place: Place) -> Result<On, Broken> {
        let scope = Scope { tenant: self.tenant, aggregate };
        let product = self.catalog.product_followed(scope, place.cursor.seq).await;
        let product = product.map_err(|error| match error {
            Error::Journal(journal::Error::Damaged(damage)) => Broken::Damaged(damage.to_string()),
            error => Broken::Away(unavailable(error)),
        })?;
        Ok(On { aggregate, stored: place.clone(), place, product, changed: false })
    }

    fn leave(&mut self, on: On) {
        if on.changed {
            self.follow.insert(on.aggregate, (on.stored, on.place.clone()));
        }
        if let Some(product) = on.product {
            let scope = Scope { tenant: self.tenant, aggregate: on.aggregate };
            self.catalog.followed.insert(scope, (on.place.cursor.seq, product));
        }
    }

    /// Takes up a product where it is. One that cannot be read is parked where it is, with an alert, until somebody
    /// takes it up again.
    async fn take_up(&mut self, aggregate: AggregateId, place: Place) -> Result<Option<On>, SinkError> {
        let reason = match self.on(aggregate, place.clone()).await {
            Ok(on) => return Ok(Some(on)),
            Err(Broken::Away(error)) => return Err(error),
            Err(Broken::Damaged(reason)) => reason,
        };
        let (tenant, seq) = (self.tenant, place.cursor.seq + 1);
        tracing::error!(
            tenant.id = %tenant, %aggregate, seq,
            "a product cannot be read and its changes are not told until it is unparked: {reason}"
        );
        let cursor = Cursor { parked: Some(Parking { seq, reason }), ..place.cursor.clone() };
        self.follow.insert(aggregate, (place.clone(), Place { cursor, ..place }));
        Ok(None)
    }

    /// Follows one product over some entries, and the policies up to now.
    async fn product(&mut self, stretch: Stretch<Heard>, place: Place) -> Result<(), SinkError> {
        if self.follow.len() >= MOVED_MAX {
            self.flush().await?;
        }
        let Some(mut on) = self.take_up(stretch.aggregate, place).await? else { return Ok(()) };
        for (envelope, heard) in stretch.events {
            let Heard::Product(event, at) = heard else { continue };
            if on.place.under_way.as_ref().is_none_or(|step| step.policies.is_some()) {
                self.take_policies(&mut on, at).await?;
            }
            let before = on.product.clone();
            let mut after = before.as_deref().cloned();
            Product::evolve(&mut after, &event, envelope.seq, at);
            let after = after.map(Arc::new);
            on.product.clone_from(&after);
            let mut next = Place { under_way: None, ..on.place.clone() };
            next.cursor = Cursor { seq: envelope.seq, chain: envelope.chain, parked: None };
            let Some(after) = after else { continue };
            next.groups = after.groups_said().into_iter().map(str::to_owned).collect();
            let step = before.as_ref().and_then(|before| {
                let step = Step::of_entry(before, &after, &event, envelope.seq, at)?;
                Some((step, Arc::clone(before)))
            });
            if let Some((step, before)) = step {
                self.tell(&mut on, &step, (&before, &after), (None, next.known)).await?;
            }
            (on.place, on.changed) = (next, true);
        }
        if stretch.to.parked.is_none() {
            self.take_policies(&mut on, self.now).await?;
        }
        on.place.cursor = stretch.to;
        on.changed = true;
        self.leave(on);
        Ok(())
    }

    /// Takes in entries of policies: what they change of the products that they may matter to.
    async fn policies(&mut self, stretch: Stretch<Heard>, place: Place) -> Result<Vec<Due>, SinkError> {
        let set = stretch.events.iter().filter_map(|(_, heard)| match heard {
            Heard::Policy(PolicySet(policy)) => Some(policy),
            Heard::Product(..) => None,
        });
        let (mut groups, mut due) = (BTreeSet::new(), Vec::new());
        for policy in set.filter(|policy| PRODUCTS.group(&policy.group).is_some()) {
            groups.insert(policy.group.clone());
            due.extend(Timeline::due(policy, self.now));
        }
        self.sweep(&groups).await?;
        self.due.clone_from(&due);
        let to = Place { cursor: stretch.to, ..place.clone() };
        self.follow.insert(stretch.aggregate, (place, to));
        self.flush().await?;
        Ok(due)
    }

    /// Takes in the policies up to now, for every product that those about these groups of fields may matter to.
    async fn sweep(&mut self, groups: &BTreeSet<String>) -> Result<(), SinkError> {
        for group in groups {
            let is_local = self.timeline.is_local(group);
            let (number, prefix) = match is_local {
                true => (index::PRODUCTS, Bytes::new()),
                false => (index::SPOKEN, Bytes::from(records::index_prefix(group))),
            };
            let mut after = None;
            loop {
                let store = &self.catalog.store;
                let rows = store.index(self.tenant, number, prefix.clone(), after, CHUNK).await;
                let rows = rows.map_err(unavailable)?;
                let aggregate = |row: &journal::store::IndexRow| match is_local {
                    true => Ok(row.aggregate),
                    false => records::spoken_aggregate(&row.key),
                };
                let aggregates =
                    rows.iter().map(aggregate).collect::<Result<Vec<_>, _>>().map_err(unavailable)?;
                let places = self.catalog.places(self.tenant, &aggregates).await?;
                for (aggregate, place) in aggregates.into_iter().zip(places) {
                    // One of which nothing has been followed yet takes them in when it is; one in the middle of an
                    // entry goes on with that.
                    let in_entry = place.under_way.as_ref().is_some_and(|step| step.policies.is_none());
                    if place.cursor.seq == 0 || place.cursor.parked.is_some() || in_entry {
                        continue;
                    }
                    let Some(mut on) = self.take_up(aggregate, place).await? else { continue };
                    self.take_policies(&mut on, self.now).await?;
                    self.leave(on);
                }
                // The next page reads what is stored.
                self.flush().await?;
                match rows.last() {
                    Some(last) if rows.len() == CHUNK => after = Some((last.key.clone(), last.aggregate)),
                    _ => break,
                }
            }
        }
        Ok(())
    }

    /// Takes in the policies up to a moment, for one product as it is.
    async fn take_policies(&mut self, on: &mut On, upto: Instant) -> Result<(), SinkError> {
        let timeline = Arc::clone(&self.timeline);
        loop {
            let under_way = on.place.under_way.as_ref().and_then(|step| step.policies);
            let matters = on.product.as_ref().is_some_and(|product| timeline.matters_at_all(product));
            let Some(product) = on.product.clone().filter(|_| matters || under_way.is_some()) else {
                on.place.known = timeline.last(on.place.known, upto);
                return Ok(());
            };
            let known = under_way.or_else(|| timeline.next(on.place.known, upto));
            let Some(known) = known else { return Ok(()) };
            let policies = timeline.begun(on.place.known, known);
            if policies.iter().any(|policy| timeline.matters(&product, &policy.group))
                && let Some(step) = Step::of_policies(&policies, known)
            {
                self.tell(on, &step, (&product, &product), (Some(known), known)).await?;
                on.changed = true;
            }
            (on.place.known, on.place.under_way) = (known, None);
        }
    }

    /// Tells the businesses below of a step: what is `before` and `after` it, and the policies that are taken in by
    /// it, or known all along.
    async fn tell(
        &mut self,
        on: &mut On,
        step: &Step,
        (before, after): (&Product, &Product),
        (policies, known): (Option<Known>, Known),
    ) -> Result<(), SinkError> {
        let below = self.below(after.business).await?;
        let heard = on.place.under_way.as_ref().map(|step| step.after);
        let timeline = Arc::clone(&self.timeline);
        let compared = Compared::new(step, &timeline, (before, on.place.known), (after, known));
        let mut last = None;
        for one in below.iter().filter(|one| one.created_at <= step.at) {
            if heard.is_some_and(|heard| one.business <= heard) {
                continue;
            }
            let Some(change) = compared.heard(&one.line) else { continue };
            let full = self.notes.len() >= BUSINESSES_MAX && !self.notes.contains_key(&one.business);
            if full || self.changes >= CHANGES_MAX {
                if let Some(after) = last {
                    on.place.under_way = Some(UnderWay { policies, after });
                }
                // Also what the steps before this one have told is in this commit.
                self.follow.insert(on.aggregate, (on.stored.clone(), on.place.clone()));
                on.stored = on.place.clone();
                self.flush().await?;
            }
            self.notes.entry(one.business).or_default().push(change);
            self.changes += 1;
            last = Some(one.business);
        }
        Ok(())
    }

    async fn below(&mut self, owner: BusinessId) -> Result<Arc<[Placed]>, SinkError> {
        if let Some(known) = self.below.get(&owner) {
            return Ok(Arc::clone(known));
        }
        let found = self.catalog.tree.below(self.tenant, owner).await.map_err(unavailable)?;
        self.below.insert(owner, Arc::clone(&found));
        Ok(found)
    }

    /// Writes what was followed and what is told, in one commit.
    async fn flush(&mut self) -> Result<(), SinkError> {
        let moved: Vec<_> = std::mem::take(&mut self.follow)
            .into_iter()
            .map(|(aggregate, (from, to))| (aggregate, from, to))
            .collect();
        let (due, done) = (std::mem::take(&mut self.due), std::mem::take(&mut self.done));
        let notes = std::mem::take(&mut self.notes);
        self.changes = 0;
        if moved.is_empty() && done.is_empty() && notes.is_empty() {
            return Ok(());
        }
        let follow = InheritedCommand::Follow(Follow { moved, due, done, position: None });
        let mut commands = vec![(records::following(), follow)];
        commands.extend(notes.into_iter().map(|(business, changes)| {
            (records::inherited(business), InheritedCommand::Note { business, changes })
        }));
        let catalog = self.catalog;
        let request = |(aggregate, command)| (aggregate, Request { command, meta: catalog.by_itself() });
        let requests = commands.into_iter().map(request).collect();
        match catalog.inherited.submit_all(self.tenant, requests).await {
            Ok(_) => Ok(()),
            Err(refused) => Err(match refused.rejection {
                Rejection::Domain(records::Moved) => SinkError::Moved,
                Rejection::Journal(error) => unavailable(error),
                Rejection::Claimed { .. } => unavailable("a claim"),
            }),
        }
    }
}
