//! The tree of businesses: reads it, adds, moves, suspends, reactivates and closes.
//!
//! The permissions for it (`business.…`) are for what lies below the caller's business: `descendants.…` is not asked
//! for beside them.

use std::sync::Arc;

use ids::{BusinessId, TenantId};
use journal::{Keep, KeyHash, Meta, Request, Scope};
use money::Currency;
use rpc::Ctx;

use crate::Error;
use crate::app::App;
use crate::domain::{Business, Change, Command, Costing, NewBusiness, Placed, State, Status, Tree, What};
use crate::records;

/// A business to be made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CreateBusiness {
    /// The business above; `None` is the caller's.
    pub parent: Option<BusinessId>,
    /// Its name on documents.
    pub legal_name: String,
    /// ISO 3166-1 alpha-2.
    pub country: String,
    /// Currency of costs and stock values.
    pub base_currency: Currency,
    /// Decimal places of stock values.
    pub cost_scale: u8,
    /// How issues are valued.
    pub costing: Costing,
}

impl App {
    /// The tree of a tenant as it is now.
    pub(crate) async fn tree(&self, tenant: TenantId) -> Result<Arc<Tree>, Error> {
        let scope = tree_scope(tenant);
        let head = self.trees.store().head(tenant, scope.aggregate).await.map_err(journal::Error::from)?;
        let Some(head) = head else {
            return match self.state(tenant, tenant).await? {
                State::Tenant(found) => Ok(Arc::new(Tree::of_master(found.master))),
                _ => Err(Error::NotFound { what: "tenant" }),
            };
        };
        if let Some((seq, tree)) = self.grown.get(&tenant)
            && seq == head.seq
        {
            return Ok(tree);
        }
        let view = self.trees.read(scope, Tree::missing).await?;
        let view = view.ok_or(Error::NotFound { what: "tenant" })?;
        let tree = Arc::new(view.state);
        self.grown.insert(tenant, (view.seq, Arc::clone(&tree)));
        Ok(tree)
    }

    /// Makes a business below one that the caller reaches. True if an earlier request made it.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a parent out of reach, what [`Tree::decide`] refuses, or the journal.
    pub async fn create_business(
        &self,
        ctx: &Ctx,
        new: CreateBusiness,
        meta: Meta,
    ) -> Result<(Placed, bool), Error> {
        let tree = self.tree(ctx.tenant).await?;
        let id = BusinessId::new(self.env.now().unix_ms(), self.random());
        let parent = new.parent.unwrap_or(ctx.business);
        let add = |business| Change {
            master: tree.master.unwrap_or(business),
            within: ctx.business,
            business,
            what: What::Add { parent },
        };
        // What will be refused leaves no record; what was done before is answered as it was.
        if self.journal.find(ctx.tenant, meta.key).await?.is_none() {
            tree.decide(&add(id))?;
            self.check_businesses(ctx.tenant, &tree).await?;
        }
        let CreateBusiness { legal_name, country, base_currency, cost_scale, costing, .. } = new;
        let command = Command::CreateBusiness(NewBusiness {
            id,
            parents: vec![],
            legal_name,
            country,
            base_currency,
            cost_scale,
            costing,
        });
        let scope = Scope { tenant: ctx.tenant, aggregate: id.into() };
        let unnamed = self.unnamed(&meta);
        let answer = self.journal.submit(scope, Request { command, meta }).await?;
        let scope = Scope { aggregate: answer.aggregate, ..scope };
        let State::Business(business) =
            self.journal.state_at(scope, answer.seq).await.map_err(journal::Error::after_commit)?.state
        else {
            return Err(Error::NotFound { what: "business" });
        };
        // Until it has a place in the tree nobody sees it; a repeated request completes an interrupted one.
        let request = Request { command: add(business.id), meta: unnamed };
        self.trees.submit(tree_scope(ctx.tenant), request).await?;
        let business = Business { path: vec![parent, business.id], ..business };
        let placed = Placed { business, status: Status::Active, changes: 0 };
        Ok((placed, answer.replayed))
    }

    /// Closes a business that the caller reaches, or puts it on the way to it: nothing may be on hand, now and once
    /// it was quiet for [`crate::domain::QUIET_SECONDS`]. True if the answer is a stored one.
    ///
    /// # Errors
    /// What [`Tree::decide`] refuses, [`Error::StockOnHand`], [`Error::StockUnknown`], the stock service, or the journal.
    pub async fn close_business(
        &self,
        ctx: &Ctx,
        business: BusinessId,
        meta: Meta,
    ) -> Result<(Placed, bool), Error> {
        let (tree, looked_at) = (self.tree(ctx.tenant).await?, self.env.now());
        let mut what = What::Close { changes: 0, looked_at };
        let done = self.trees.find(ctx.tenant, meta.key).await?.is_some();
        if !done
            && !tree.may_close(business, ctx.business)?
            && let Some((node, path)) = tree.node(business).zip(tree.path(business))
        {
            let looked_at = self.check_nothing_on_hand(ctx, path, node, looked_at).await?;
            what = What::Close { changes: node.changes, looked_at };
        }
        self.change_tree(ctx, business, what, meta).await
    }

    /// Moves, suspends or reactivates a business that the caller reaches, or closes one that was looked at. True if
    /// the answer is a stored one.
    ///
    /// # Errors
    /// What [`Tree::decide`] refuses, or the journal.
    pub async fn change_tree(
        &self,
        ctx: &Ctx,
        business: BusinessId,
        what: What,
        meta: Meta,
    ) -> Result<(Placed, bool), Error> {
        let master = self.tree(ctx.tenant).await?.master.unwrap_or(business);
        let command = Change { master, within: ctx.business, business, what };
        let answer = self.trees.submit(tree_scope(ctx.tenant), Request { command, meta }).await?;
        let answered = async {
            let tree = self.tree(ctx.tenant).await?;
            match self.state(ctx.tenant, business).await? {
                State::Business(found) => App::placed(&tree, found),
                _ => Err(Error::NotFound { what: "business" }),
            }
        };
        let placed = answered.await.map_err(|error| match error {
            Error::Journal(error) => Error::Journal(error.after_commit()),
            other => other,
        })?;
        Ok((placed, answer.replayed))
    }

    /// A business with its place in the tree.
    pub(crate) fn placed(tree: &Tree, business: Business) -> Result<Placed, Error> {
        let found = tree.node(business.id).zip(tree.path(business.id));
        let (node, path) = found.ok_or(Error::NotFound { what: "business" })?;
        Ok(Placed {
            business: Business { path: path.to_vec(), ..business },
            status: node.status,
            changes: node.changes,
        })
    }

    /// Who asks, without the idempotency key: it names the other half of what is done.
    fn unnamed(&self, meta: &Meta) -> Meta {
        Meta { key: KeyHash(self.random()), fingerprint: [0; 16], keep: Keep::No, ..meta.clone() }
    }
}

fn tree_scope(tenant: TenantId) -> Scope {
    Scope { tenant, aggregate: records::tree_id() }
}
