//! Makes a tenant with its master business and the owner's key.

use ids::{ApiKeyId, BusinessId, TenantId};
use journal::{Rejection, Scope};
use money::Currency;
use problem::{Violations, reason};
use rpc::{Actor, ActorKind, SYSTEM_TENANT};

use crate::app::App;
use crate::domain::{Business, Command, Costing, Credential, NewBusiness, NewKey, Role, State};
use crate::{Error, convert, records};

const JOB: &str = "bootstrap";
/// Longest slug, in characters.
const SLUG_CHARS_MAX: usize = 63;

/// A tenant to be made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BootstrapTenant {
    /// What the tenant is called in addresses: lower-case letters, digits and `-`, beginning with a
    /// letter, at most 63; unique on the platform. Bootstrapping the same slug again changes nothing.
    pub slug: String,
    /// What people call the tenant.
    pub name: String,
    /// Legal name of the master business.
    pub legal_name: String,
    /// ISO 3166-1 alpha-2 code of its country: `DE`.
    pub country: String,
    /// Its base currency.
    pub currency: Currency,
    /// Decimal places of stock values: the minor unit of the currency, up to 6.
    pub cost_scale: u8,
    /// How issues are valued.
    pub costing: Costing,
}

impl BootstrapTenant {
    /// Checks every field, so that a caller can do so before it makes anything.
    ///
    /// # Errors
    /// All bad fields.
    pub fn check(&self) -> Result<(), Error> {
        let mut violations = Violations::new();
        let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let begins_well = self.slug.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase());
        if !begins_well || !self.slug.bytes().all(letter) {
            let detail = "must be lower-case letters, digits and '-', beginning with a letter";
            violations.add("slug", reason::MALFORMED, detail);
        }
        violations.at_most("slug", &self.slug, SLUG_CHARS_MAX);
        convert::name(&mut violations, "name", &self.name, Business::NAME_CHARS_MAX);
        convert::name(&mut violations, "legal_name", &self.legal_name, Business::NAME_CHARS_MAX);
        convert::country(&mut violations, &self.country);
        let finest = self.currency.minor_places();
        if !(finest..=u32::from(Business::COST_SCALE_MAX)).contains(&u32::from(self.cost_scale)) {
            let detail = format!("must be from '{finest}' to '{}'", Business::COST_SCALE_MAX);
            violations.add("cost_scale", reason::OUT_OF_RANGE, detail);
        }
        Ok(violations.into_result()?)
    }
}

/// A tenant that is there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Bootstrapped {
    /// The tenant.
    pub tenant: TenantId,
    /// Its master business.
    pub business: BusinessId,
    /// The owner's first key, if this call made the tenant; `None` if it was there before.
    pub credential: Option<Credential>,
}

impl App {
    /// Makes a tenant, its master business and an owner's key, all or none. Safe to repeat: what an
    /// interrupted call has begun is completed.
    ///
    /// # Errors
    /// Bad fields, or the journal.
    pub async fn bootstrap(&self, new: BootstrapTenant) -> Result<Bootstrapped, Error> {
        new.check()?;
        let tenant = self.register(&new.slug).await?;
        if let Some(found) = self.find(tenant).await? {
            return Ok(found);
        }
        let now = self.env.now().unix_ms();
        let business = BusinessId::new(now, self.random());
        let credential = Credential::new(ApiKeyId::new(now, self.random()), self.random());
        self.register_key(tenant, credential.id).await?;

        let secret = self.random();
        let BootstrapTenant { slug, name, legal_name, country, currency, cost_scale, costing } = new;
        let commands = [
            (tenant.into(), Command::CreateTenant { slug, name, master: business, secret }),
            (
                business.into(),
                Command::CreateBusiness(NewBusiness {
                    id: business,
                    parents: vec![],
                    legal_name,
                    country,
                    base_currency: currency,
                    cost_scale,
                    costing,
                }),
            ),
            (credential.id.into(), Command::IssueKey(self.owner_key(&credential, business))),
        ];
        let requests = commands.map(|(aggregate, command)| (aggregate, self.internal(JOB, command)));
        match self.journal.submit_all(tenant, requests.into()).await {
            Ok(_) => Ok(Bootstrapped { tenant, business, credential: Some(credential) }),
            // Another call with the same slug was faster.
            Err(error) => match Error::from(error.rejection) {
                Error::AlreadyExists => self.find(tenant).await?.ok_or(Error::AlreadyExists),
                other => Err(other),
            },
        }
    }

    /// Makes another owner's key, for the operator of a server whose owner has lost the first.
    ///
    /// # Errors
    /// [`Error::NotFound`] without the tenant, or the journal.
    pub async fn issue_owner_key(&self, tenant: TenantId) -> Result<Credential, Error> {
        let Some(found) = self.find(tenant).await? else {
            return Err(Error::NotFound { what: "tenant" });
        };
        let credential =
            Credential::new(ApiKeyId::new(self.env.now().unix_ms(), self.random()), self.random());
        self.register_key(tenant, credential.id).await?;
        let scope = Scope { tenant, aggregate: credential.id.into() };
        let command = Command::IssueKey(self.owner_key(&credential, found.business));
        self.journal.submit(scope, self.internal(JOB, command)).await?;
        Ok(credential)
    }

    /// The same for the tenant with a slug.
    ///
    /// # Errors
    /// [`Error::NotFound`] without the tenant, or the journal.
    pub async fn replace_owner_key(&self, slug: &str) -> Result<Credential, Error> {
        match self.tenant_called(slug).await? {
            Some(tenant) => self.issue_owner_key(tenant).await,
            None => Err(Error::NotFound { what: "tenant" }),
        }
    }

    fn owner_key(&self, credential: &Credential, master: BusinessId) -> NewKey {
        NewKey {
            id: credential.id,
            name: "owner".to_owned(),
            role: Role::Owner,
            narrowed: vec![],
            path: vec![master],
            digest: credential.digest(&self.config.pepper),
            last4: credential.last4(),
            expires_at: None,
            ip_allow: vec![],
            created_by: Actor::new(ActorKind::System, JOB),
        }
    }

    /// Finds the tenant that has the slug, or gives the slug to a new one.
    async fn register(&self, slug: &str) -> Result<TenantId, Error> {
        if let Some(tenant) = self.tenant_called(slug).await? {
            return Ok(tenant);
        }
        let tenant = TenantId::new(self.env.now().unix_ms(), self.random());
        let scope = Scope { tenant: SYSTEM_TENANT, aggregate: tenant.into() };
        let request = self.internal(JOB, Command::Register { slug: slug.to_owned() });
        match self.journal.submit(scope, request).await {
            Ok(_) => Ok(tenant),
            Err(Rejection::Claimed { owner, .. }) => Ok(TenantId::from_bytes(*owner.as_bytes())),
            Err(other) => Err(other.into()),
        }
    }

    /// The tenant that has the slug, whether it can be read or not.
    ///
    /// # Errors
    /// [`Error::NotFound`], or the journal.
    pub async fn tenant_named(&self, slug: &str) -> Result<TenantId, Error> {
        self.tenant_called(slug).await?.ok_or(Error::NotFound { what: "tenant" })
    }

    /// The tenant that has the slug.
    pub(super) async fn tenant_called(&self, slug: &str) -> Result<Option<TenantId>, Error> {
        let claim = journal::Claim { kind: records::SLUG, value: slug.to_owned().into_bytes().into() };
        let owner = self.journal.store().claim(SYSTEM_TENANT, claim).await.map_err(journal::Error::from)?;
        Ok(owner.map(|owner| TenantId::from_bytes(*owner.as_bytes())))
    }

    async fn find(&self, tenant: TenantId) -> Result<Option<Bootstrapped>, Error> {
        match self.state(tenant, tenant).await? {
            State::Tenant(found) => {
                Ok(Some(Bootstrapped { tenant, business: found.master, credential: None }))
            }
            _ => Ok(None),
        }
    }
}
