//! The account of a tenant: who runs the server changes plan and standing, the owner gives notice.

use ids::TenantId;
use journal::{Meta, Request, Scope, Seq};
use rpc::{Bar, Bars, Ctx};

use crate::app::App;
use crate::domain::{Account, AccountChange, AccountCommand, Feature, Standing, State, Status, Tree};
use crate::{Error, records};

const JOB: &str = "operator";

/// What who runs the server wants of a tenant's account.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tenancy {
    /// The tenant.
    pub tenant: TenantId,
    /// Its account.
    pub account: Account,
}

impl App {
    /// The account of a tenant as it is now.
    pub(crate) async fn account_of(&self, tenant: TenantId) -> Result<Account, Error> {
        let scope = account_scope(tenant);
        let head = self.accounts.store().head(tenant, scope.aggregate).await.map_err(journal::Error::from)?;
        let Some(head) = head else { return Ok(Account::default()) };
        if let Some((seq, account)) = self.known_accounts.get(&tenant)
            && seq == head.seq
        {
            return Ok(account);
        }
        let view = self.accounts.read(scope, |_| vec![]).await?;
        let (seq, account): (Seq, Account) =
            view.map_or_else(Default::default, |view| (view.seq, view.state));
        self.known_accounts.insert(tenant, (seq, account.clone()));
        Ok(account)
    }

    /// The account of the caller's tenant.
    ///
    /// # Errors
    /// The journal.
    pub async fn account(&self, ctx: &Ctx) -> Result<Account, Error> {
        self.account_of(ctx.tenant).await
    }

    /// Gives notice, or takes it back. True if the answer is a stored one.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a caller who does not work in the master business, [`Error::IllegalTransition`], or
    /// the journal.
    pub async fn change_account(
        &self,
        ctx: &Ctx,
        command: AccountCommand,
        meta: Meta,
    ) -> Result<(Account, bool), Error> {
        // The tenant is more than a business of it.
        if ctx.path.len() != 1 {
            return Err(Error::NotFound { what: "account" });
        }
        let answer = self.accounts.submit(account_scope(ctx.tenant), Request { command, meta }).await?;
        let account = self.account_of(ctx.tenant).await.map_err(|error| match error {
            Error::Journal(error) => Error::Journal(error.after_commit()),
            other => other,
        })?;
        Ok((account, answer.replayed))
    }

    /// Finds a tenant by its slug, for who runs the server.
    ///
    /// # Errors
    /// [`Error::NotFound`], or the journal.
    pub async fn tenancy(&self, slug: &str) -> Result<Tenancy, Error> {
        let unknown = Error::NotFound { what: "tenant" };
        let tenant = self.tenant_called(slug).await?.ok_or(unknown.clone())?;
        match self.state(tenant, tenant).await? {
            State::Tenant(_) => Ok(Tenancy { tenant, account: self.account_of(tenant).await? }),
            _ => Err(unknown),
        }
    }

    /// Changes the account of a tenant, for who runs the server. Repeating it changes nothing.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::IllegalTransition`], or the journal.
    pub async fn set_account(&self, slug: &str, command: AccountCommand) -> Result<Tenancy, Error> {
        let tenant = self.tenancy(slug).await?.tenant;
        let request = Request { command, meta: self.internal(JOB, ()).meta };
        self.accounts.submit(account_scope(tenant), request).await?;
        Ok(Tenancy { tenant, account: self.account_of(tenant).await? })
    }

    /// What stands against calls of a tenant's credential in a business, in the order in which it is looked at:
    /// standing of the tenant, plan, business.
    pub(super) async fn bars(
        &self,
        tenant: TenantId,
        tree: &Tree,
        business: ids::BusinessId,
        is_api: bool,
    ) -> Result<Bars, Error> {
        let (account, now) = (self.account_of(tenant).await?, self.env.now());
        let standing = match account.standing.at(now) {
            Standing::Trial { .. } | Standing::Active | Standing::PastDue => None,
            Standing::Suspended => Some(Bar::TenantSuspended),
            Standing::Closing { .. } => Some(Bar::TenantClosing),
        };
        let plan = (is_api && !account.has(Feature::ApiAccess, now)).then_some(Bar::PlanNotEntitled);
        let place = match tree.effective(business) {
            Status::Active => None,
            Status::Suspended | Status::Closing => Some(Bar::BusinessSuspended),
            Status::Closed => Some(Bar::BusinessClosed),
        };
        Ok([standing, plan, place].into_iter().flatten().collect())
    }

    /// Refuses one more business than the plan has.
    pub(super) async fn check_businesses(&self, tenant: TenantId, tree: &Tree) -> Result<(), Error> {
        let max = self.account_of(tenant).await?.limit(Feature::BusinessesMax, self.env.now());
        match (tree.open() as u64) < max {
            true => Ok(()),
            false => Err(Error::PlanNotEntitled { feature: Feature::BusinessesMax, max }),
        }
    }
}

fn account_scope(tenant: TenantId) -> Scope {
    Scope { tenant, aggregate: records::account_id() }
}

impl AccountCommand {
    /// A change with its reason.
    pub fn new(what: AccountChange, reason: impl Into<String>) -> AccountCommand {
        AccountCommand { what, reason: reason.into() }
    }
}
