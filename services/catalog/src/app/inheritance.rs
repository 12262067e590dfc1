//! Policies, what is taken back, who sees a product.

use std::sync::Arc;

use bytes::Bytes;
use ids::ProductId;
use inherit::{Existing, Mode, Policies, Policy, Purpose, Visibility};
use journal::Scope;
use rpc::Ctx;

use super::{Catalog, Mutation, Saved};
use crate::Error;
use crate::domain::{Caller, Command, Product, SCHEMAS, SetPolicy, Standing};
use crate::records::{self, Asked, index};

/// Overrides that a lock looks at before it is refused for one of them.
const STANDING_MAX: usize = 20_000;
/// Index rows that are read at a time.
const CHUNK: usize = 500;

/// The categories that a caller is limited to; `None` is all. Other limits say nothing about products.
fn categories(ctx: &Ctx) -> Option<Arc<[String]>> {
    let limits = ctx.limits.as_ref()?;
    match limits.iter().any(|limits| limits.categories.is_empty()) {
        true => None,
        false => Some(limits.iter().flat_map(|limits| limits.categories.iter().cloned()).collect()),
    }
}

/// What a list shows: not what lies beyond the limits of the caller.
///
/// # Errors
/// Those of reading.
pub(super) fn listed<T>(read: Result<Option<T>, Error>) -> Result<Option<T>, Error> {
    match read {
        Err(Error::Refused(rpc::Refused::BeyondLimits { .. })) => Ok(None),
        read => read,
    }
}

impl Catalog {
    /// Who asks, for a command that looks at no policy.
    pub(super) fn alone(&self, ctx: &Ctx) -> Caller {
        let (path, actor) = (Arc::clone(&ctx.path), Arc::clone(&ctx.actor.id));
        Caller { path, policies: Arc::default(), actor, categories: categories(ctx) }
    }

    /// Who asks, with the policies of the businesses above.
    pub(super) async fn caller(&self, ctx: &Ctx) -> Result<Caller, Error> {
        Ok(Caller { policies: self.policies(ctx).await?, ..self.alone(ctx) })
    }

    /// The policies of every business on the caller's path. One read of a head, while nothing has changed.
    pub(super) async fn policies(&self, ctx: &Ctx) -> Result<Arc<Policies>, Error> {
        if ctx.path.len() == 1 {
            return Ok(Arc::default()); // nobody is above
        }
        self.policies_on(ctx).await
    }

    async fn policies_on(&self, ctx: &Ctx) -> Result<Arc<Policies>, Error> {
        let scope = Scope { tenant: ctx.tenant, aggregate: records::policies() };
        let head = self.store.head(scope.tenant, scope.aggregate).await.map_err(journal::Error::from)?;
        let Some(head) = head else { return Ok(Arc::default()) };
        let key = (ctx.tenant, ctx.business);
        if let Some((seq, path, policies)) = self.known_policies.get(&key)
            && seq == head.seq
            && path == ctx.path
        {
            return Ok(policies);
        }
        let view = self.policies.read(scope, |record| record.needs_of(&ctx.path)).await?;
        let Some(view) = view else { return Ok(Arc::default()) };
        let policies = Arc::new(view.state.into_policies());
        self.known_policies.insert(key, (view.seq, Arc::clone(&ctx.path), Arc::clone(&policies)));
        Ok(policies)
    }

    /// The product as it holds in the caller's business; `None` if it is not seen there.
    ///
    /// # Errors
    /// [`rpc::Refused::BeyondLimits`], or the journal.
    pub(super) async fn seen(&self, ctx: &Ctx, product: Product) -> Result<Option<Product>, Error> {
        let Some(line) = product.line(&ctx.path) else { return Ok(None) };
        let product = match line.len() {
            1 => product,
            _ => product.effective(line, &*self.policies(ctx).await?, self.env.now()).0,
        };
        if ctx.is_limited() {
            self.alone(ctx).check_category(&product.details.category)?;
        }
        Ok(Some(product))
    }

    /// Makes a new version of a policy of the caller's business.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::OverridesExist`], [`Error::LimitReached`].
    pub(crate) async fn set_policy(
        &self,
        ctx: &Ctx,
        mutation: &Mutation,
        mut wish: SetPolicy,
    ) -> Result<Saved<Policy>, Error> {
        if wish.mode == Mode::Locked && wish.existing == Existing::Reject {
            wish.standing = self.standing(ctx, &wish.group).await?;
        }
        let scope = Scope { tenant: ctx.tenant, aggregate: records::policies() };
        let answer = self.policies.submit(scope, mutation.change(wish)).await?;
        let replayed = answer.replayed;
        let set = answer.events.into_iter().next().ok_or(Error::NotFound { what: "policy" })?;
        Ok(Saved { value: set.event.0, replayed })
    }

    /// The overrides about a group of fields, of the caller's business and those below it.
    async fn standing(&self, ctx: &Ctx, group: &str) -> Result<Vec<Standing>, Error> {
        let (mut found, mut after) = (Vec::new(), None);
        if crate::domain::group(group).is_none() {
            return Ok(found); // refused for that
        }
        let prefix = Bytes::from(records::index_prefix(group));
        loop {
            let rows = self.store.index(ctx.tenant, index::OVERRIDES, prefix.clone(), after, CHUNK).await;
            let rows = rows.map_err(journal::Error::from)?;
            for row in &rows {
                let path = records::businesses(&row.value).map_err(journal::Error::from)?;
                // What others say elsewhere in the tree is no matter of theirs.
                if path.contains(&ctx.business) && found.last() != Some(&Standing(path.clone())) {
                    found.push(Standing(path));
                }
            }
            if found.len() > STANDING_MAX {
                return Err(Error::LimitReached { what: "overrides to look at", max: STANDING_MAX });
            }
            match rows.last() {
                Some(last) if rows.len() == CHUNK => after = Some((last.key.clone(), last.aggregate)),
                _ => return Ok(found),
            }
        }
    }

    /// The policies of the businesses on the caller's path that hold or will hold.
    pub(crate) async fn standing_policies(&self, ctx: &Ctx) -> Result<Vec<Policy>, Error> {
        let (policies, now) = (self.policies_on(ctx).await?, self.env.now());
        let mut found = Vec::new();
        for owner in ctx.path.iter() {
            for group in SCHEMAS.iter().flat_map(|schema| schema.groups) {
                let holds = |purpose| policies.in_force(*owner, group.name, now, purpose);
                let (read, write) = (holds(Purpose::Read), holds(Purpose::Write));
                let same = policies.all().iter().filter(|one| one.owner == *owner && one.group == group.name);
                let stands =
                    same.filter(|one| one.effective_from > now || [read, write].contains(&Some(*one)));
                found.extend(stands.cloned());
            }
        }
        Ok(found)
    }

    /// Takes back what the caller's business said about a product; no fields are all fields.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Invalid`].
    pub(crate) async fn clear_overrides(
        &self,
        ctx: &Ctx,
        mutation: &Mutation,
        id: ProductId,
        fields: Vec<String>,
        reason: String,
    ) -> Result<Saved<Product>, Error> {
        self.change_product(ctx, mutation, id, Command::ClearOverrides { id, fields, reason }).await
    }

    /// Says which businesses below the owner see a product.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::InheritedLocked`].
    pub(crate) async fn set_visibility(
        &self,
        ctx: &Ctx,
        mutation: &Mutation,
        id: ProductId,
        visibility: Visibility,
        reason: String,
    ) -> Result<Saved<Product>, Error> {
        self.change_product(ctx, mutation, id, Command::SetVisibility { id, visibility, reason }).await
    }

    /// Commits a change of a product.
    pub(super) async fn change_product(
        &self,
        ctx: &Ctx,
        mutation: &Mutation,
        id: ProductId,
        command: Command,
    ) -> Result<Saved<Product>, Error> {
        let scope = Scope { tenant: ctx.tenant, aggregate: records::product(id) };
        let asked = Asked { caller: self.caller(ctx).await?, command };
        let answer = self.products.submit(scope, mutation.change(asked)).await?;
        let value = self.product_after(ctx, answer.aggregate, answer.seq).await?;
        Ok(Saved { value, replayed: answer.replayed })
    }
}
