//! Publications: what they would change, their stages, and the way back.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use ids::{BusinessId, ProductId, PublicationId};
use inherit::{Difference, Value};
use journal::Scope;
use problem::{Invalid, reason};
use rpc::{Ctx, PageToken};

use super::page::PageRequest;
use super::{Catalog, Mutation, Page, Saved};
use crate::Error;
use crate::domain::{Command, DetailsChange, Edition, PRODUCTS, Product, Publish};
use crate::records::{self, Asked, index};

/// Products of one publication.
pub(crate) const CHANGES_MAX: usize = 100;
/// What a page of a preview holds, about: with more, it ends at the business that it is at.
const ANSWER_BYTES_MAX: usize = 256 * 1024;
/// Index rows that are read at a time.
const CHUNK: usize = 500;

/// What a publication is to be.
#[derive(Debug, Clone)]
pub(crate) struct NewPublication {
    /// Products, each once, and what changes of them.
    pub(crate) changes: Vec<(ProductId, DetailsChange)>,
    pub(crate) stages: Vec<Vec<BusinessId>>,
    pub(crate) note: String,
}

/// A publication as it is now.
#[derive(Debug)]
pub(crate) struct Publication {
    pub(crate) id: PublicationId,
    pub(crate) business: BusinessId,
    /// Never empty; all of them are in the same stage.
    pub(crate) editions: Vec<(ProductId, Edition)>,
}

/// A page of a preview.
#[derive(Debug)]
pub(crate) struct Preview {
    pub(crate) differences: Vec<(ProductId, Difference)>,
    /// Businesses that were looked at.
    pub(crate) businesses: usize,
    pub(crate) next: String,
}

impl Catalog {
    /// Finds what would hold otherwise in the businesses below the caller's, some of them at a time.
    ///
    /// # Errors
    /// [`Error::NotFound`] and [`Error::InheritedLocked`] for what is not the caller's to publish,
    /// [`Error::PublicationUnderWay`], the tenant service.
    pub(crate) async fn preview_publication(
        &self,
        ctx: &Ctx,
        new: &NewPublication,
        page: &PageRequest,
    ) -> Result<Preview, Error> {
        const SCOPE: &str = "publications:preview";
        let opened = page.open(ctx, SCOPE)?;
        let caller = self.alone(ctx);
        for (at, (id, _)) in new.changes.iter().enumerate() {
            let product = self.read_raw(ctx, records::product(*id)).await?;
            let command = Command::Publish(Box::new(new.publish(at, PublicationId::from_bytes([0; 16]))));
            let decided = Product::decide(product.as_ref(), &caller, &command, self.env.now());
            decided.map_err(|error| Error::InBatch { position: at, error: Box::new(error) })?;
        }
        let after: Option<BusinessId> = match &opened.position {
            None => None,
            Some(position) => {
                let id = position.as_slice().try_into().map_err(|_| rpc::Refused::PageTokenInvalid)?;
                Some(BusinessId::from_bytes(id))
            }
        };
        let paths = self.tree.paths_below(ctx).await?;
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut rest = paths.range((from, Bound::Unbounded));
        let (mut differences, mut businesses, mut last) = (Vec::new(), 0, None);
        for (business, path) in rest.by_ref().take(opened.size) {
            let there = Ctx { business: *business, path: Arc::clone(path), ..ctx.clone() };
            self.differences(&there, new, &mut differences).await?;
            businesses += 1;
            last = Some(*business);
            if ANSWER_BYTES_MAX < differences.iter().map(|(_, one)| length(one)).sum() {
                break; // a page with much in it ends early
            }
        }
        let next = last.filter(|_| rest.next().is_some());
        let next = next.map(|last| PageToken::seal(ctx, SCOPE, last.as_bytes())).unwrap_or_default();
        Ok(Preview { differences, businesses, next })
    }

    /// What would hold otherwise in one business.
    async fn differences(
        &self,
        there: &Ctx,
        new: &NewPublication,
        found: &mut Vec<(ProductId, Difference)>,
    ) -> Result<(), Error> {
        let (policies, now) = (self.policies(there).await?, self.env.now());
        for (id, change) in &new.changes {
            let scope = Scope { tenant: there.tenant, aggregate: records::product(*id) };
            let view = self.products.read(scope, |record| record.needs_some(&[], &there.path)).await?;
            let Some(before) = view.and_then(|view| view.state.product) else { continue };
            let Some(line) = before.line(&there.path) else { continue };
            let after = before.when_published(change);
            let now = |product| (product, &*policies, now);
            let differences = inherit::preview(&PRODUCTS, now(&before), now(&after), &[line]);
            found.extend(differences.into_iter().map(|difference| (*id, difference)));
        }
        Ok(())
    }

    /// Publishes, all or none.
    ///
    /// # Errors
    /// [`Error::InBatch`] with the first product that is refused, and why; [`Error::Invalid`] when nothing would
    /// change.
    pub(crate) async fn create_publication(
        &self,
        ctx: &Ctx,
        mutations: &[Mutation],
        new: &NewPublication,
    ) -> Result<Saved<Publication>, Error> {
        // Its id follows from the idempotency key of the first change, but for the time.
        let id = self.ids(&mutations[0]).publication();
        let publish = |at| Command::Publish(Box::new(new.publish(at, id)));
        let commands = (0..new.changes.len()).map(|at| (new.changes[at].0, publish(at))).collect();
        let (made, replayed) = self.submit_to_all(ctx, mutations, commands).await?;
        // A repeated call gets the one that the first call made.
        match made {
            Some(id) => Ok(Saved { value: self.publication(ctx, id).await.map_err(after_commit)?, replayed }),
            None => {
                let detail = "nothing of this would change: all products hold it already";
                Err(Invalid::field("publication.changes", reason::NOT_ALLOWED, detail).into())
            }
        }
    }

    /// Gives one command to each of some products, all or none; the publication that the entries name, and whether
    /// they were there before.
    async fn submit_to_all(
        &self,
        ctx: &Ctx,
        mutations: &[Mutation],
        commands: Vec<(ProductId, Command)>,
    ) -> Result<(Option<PublicationId>, bool), Error> {
        let caller = self.alone(ctx);
        let request = |(mutation, (id, command)): (&Mutation, (ProductId, Command))| {
            (records::product(id), mutation.change(Asked { caller: caller.clone(), command }))
        };
        let requests = mutations.iter().zip(commands).map(request).collect();
        let answers = self.products.submit_all(ctx.tenant, requests).await.map_err(|refused| {
            Error::InBatch { position: refused.at, error: Box::new(refused.rejection.into()) }
        })?;
        let events = answers.iter().flat_map(|answer| &answer.events);
        let named = events.filter_map(|posted| posted.event.publication()).next();
        Ok((named, answers.iter().all(|answer| answer.replayed)))
    }

    /// Shows a publication of the caller's business.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub(crate) async fn publication(&self, ctx: &Ctx, id: PublicationId) -> Result<Publication, Error> {
        let prefix = records::publications_key(ctx.business, Some(id));
        let rows = self.store.index(ctx.tenant, index::PUBLICATIONS, prefix, None, CHANGES_MAX).await;
        let rows = rows.map_err(journal::Error::from)?;
        let editions = rows.iter().map(|row| records::read_edition(&row.value));
        let editions = editions.collect::<Result<Vec<_>, _>>().map_err(journal::Error::from)?;
        match editions.is_empty() {
            true => Err(Error::NotFound { what: "publication" }),
            false => Ok(Publication { id, business: ctx.business, editions }),
        }
    }

    /// Lists the publications of the caller's business, oldest first.
    ///
    /// # Errors
    /// A page token that does not belong here.
    pub(crate) async fn publications(
        &self,
        ctx: &Ctx,
        page: &PageRequest,
    ) -> Result<Page<Publication>, Error> {
        const SCOPE: &str = "publications";
        let opened = page.open(ctx, SCOPE)?;
        let prefix = records::publications_key(ctx.business, None);
        // Behind every product of the last publication of the page before.
        let mut after = match opened.position {
            None => None,
            Some(id) => {
                let id = id.as_slice().try_into().map_err(|_| rpc::Refused::PageTokenInvalid)?;
                let key = records::publications_key(ctx.business, Some(PublicationId::from_bytes(id)));
                Some((key, ids::AggregateId::from_bytes([u8::MAX; 16])))
            }
        };
        let mut items: Vec<Publication> = Vec::new();
        loop {
            let rows = self.store.index(ctx.tenant, index::PUBLICATIONS, prefix.clone(), after, CHUNK).await;
            let rows = rows.map_err(journal::Error::from)?;
            for row in &rows {
                let id = records::publication_of(&row.key).map_err(journal::Error::from)?;
                let edition = records::read_edition(&row.value).map_err(journal::Error::from)?;
                if let Some(last) = items.last_mut().filter(|last| last.id == id) {
                    last.editions.push(edition);
                } else if items.len() < opened.size {
                    items.push(Publication { id, business: ctx.business, editions: vec![edition] });
                } else {
                    let next = items.last().map(|last| PageToken::seal(ctx, SCOPE, last.id.as_bytes()));
                    return Ok(Page { items, next: next.unwrap_or_default() });
                }
            }
            match rows.last() {
                Some(last) if rows.len() == CHUNK => after = Some((last.key.clone(), last.aggregate)),
                _ => return Ok(Page { items, next: String::new() }),
            }
        }
    }

    /// Begins a stage.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::StageNotNext`], [`Error::PublicationEnded`].
    pub(crate) async fn advance_publication(
        &self,
        ctx: &Ctx,
        mutations: &[Mutation],
        publication: PublicationId,
        stage: usize,
    ) -> Result<Saved<Publication>, Error> {
        let command = |id| Command::Advance { id, publication, stage };
        self.change_publication(ctx, mutations, publication, command).await
    }

    /// Takes a publication back.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::PublicationEnded`].
    pub(crate) async fn roll_back_publication(
        &self,
        ctx: &Ctx,
        mutations: &[Mutation],
        publication: PublicationId,
        reason: &str,
    ) -> Result<Saved<Publication>, Error> {
        let command = |id| Command::RollBack { id, publication, reason: reason.to_owned() };
        self.change_publication(ctx, mutations, publication, command).await
    }

    async fn change_publication(
        &self,
        ctx: &Ctx,
        mutations: &[Mutation],
        id: PublicationId,
        command: impl Fn(ProductId) -> Command,
    ) -> Result<Saved<Publication>, Error> {
        let now = self.publication(ctx, id).await?;
        let commands = now.editions.iter().map(|(product, _)| (*product, command(*product))).collect();
        let (_, replayed) = self.submit_to_all(ctx, mutations, commands).await.map_err(unwrapped)?;
        Ok(Saved { value: self.publication(ctx, id).await.map_err(after_commit)?, replayed })
    }
}

/// Bytes of the values of a difference, and some for the rest.
fn length(one: &Difference) -> usize {
    let value = |value: &Option<Value>| match value {
        Some(Value::Text(text)) => text.len(),
        Some(Value::List(items)) => items.iter().map(|item| item.len() + 4).sum(),
        None => 0,
    };
    100 + value(&one.before) + value(&one.after)
}

/// All products of a publication are in the same stage: what one says, all say.
fn unwrapped(error: Error) -> Error {
    match error {
        Error::InBatch { error, .. } => *error,
        other => other,
    }
}

fn after_commit(error: Error) -> Error {
    match error {
        Error::Journal(error) => error.after_commit().into(),
        other => other,
    }
}

impl NewPublication {
    fn publish(&self, at: usize, publication: PublicationId) -> Publish {
        let (product, change) = self.changes[at].clone();
        let (stages, note) = (self.stages.clone(), self.note.clone());
        Publish { publication, product, change, stages, note }
    }
}

/// Paths of businesses from the root, by business.
pub(crate) type Paths = BTreeMap<BusinessId, Arc<[BusinessId]>>;

/// The paths of the business at the end of `path` and of all that lie below it.
pub(super) fn paths(path: &[BusinessId], children: &HashMap<BusinessId, Vec<BusinessId>>) -> Paths {
    let mut found = Paths::new();
    let mut open: Vec<Arc<[BusinessId]>> = vec![path.into()];
    while let Some(path) = open.pop() {
        let Some(business) = path.last() else { continue };
        if found.insert(*business, Arc::clone(&path)).is_some() {
            continue; // no tree has it twice
        }
        let below = children.get(business).into_iter().flatten();
        open.extend(below.map(|child| [&path, std::slice::from_ref(child)].concat().into()));
    }
    found
}
