//! Makes, changes and finds identity providers.

use ids::{ProviderId, TenantId};
use journal::{Meta, Request};
use rpc::Ctx;

use super::secret;
use crate::app::App;
use crate::domain::jwt::Algorithm;
use crate::domain::{NewProvider, People, PeopleCommand, Provider, ProviderUpdate, Role, State};
use crate::{Error, convert, records};

/// A provider to be made.
#[derive(Clone, PartialEq, Eq)]
pub struct CreateProvider {
    /// What people call it.
    pub name: String,
    /// The issuer, letter by letter.
    pub issuer: String,
    /// As which the tenant is known there.
    pub client_id: String,
    /// Empty for a public client.
    pub client_secret: String,
    /// Whether its access tokens are credentials.
    pub bearer: bool,
    /// Signatures that are accepted, at least one.
    pub algorithms: Vec<Algorithm>,
    /// Where a browser may be sent back to.
    pub redirect_uris: Vec<String>,
    /// Whether users are found by verified email addresses.
    pub link_by_email: bool,
}

/// A change of a provider.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct UpdateProvider {
    /// All but the secret.
    pub update: ProviderUpdate,
    /// The new secret, empty for none any more.
    pub client_secret: Option<String>,
}

impl App {
    /// Makes a provider.
    ///
    /// # Errors
    /// [`Error::GrantEscalation`] for who may not do everything in the master business for good,
    /// bad fields, [`Error::TooManyProviders`], or the journal.
    pub async fn create_provider(
        &self,
        ctx: &Ctx,
        new: CreateProvider,
        meta: Meta,
    ) -> Result<Provider, Error> {
        self.may_name_issuers(ctx).await?;
        if !self.issuers.may_call(&new.issuer) {
            return Err(convert::provider::issuer_refused().into());
        }
        let id = ProviderId::new(self.env.now().unix_ms(), self.random());
        let secret = self.sealed_secret(ctx.tenant, id, &new.client_secret);
        let CreateProvider {
            name, issuer, client_id, bearer, algorithms, redirect_uris, link_by_email, ..
        } = new;
        let add = PeopleCommand::AddProvider(NewProvider {
            id,
            name,
            issuer,
            client_id,
            secret,
            bearer,
            algorithms,
            redirect_uris,
            link_by_email,
        });
        let follows = self.internal_meta("identity_providers");
        let (request_id, trace) = (meta.request_id.clone(), meta.trace);
        let follows = Meta { actor: meta.actor.clone(), request_id, trace, ..follows };
        let requests = vec![
            (id.into(), Request { command: add, meta }),
            (
                records::providers(ctx.tenant),
                Request { command: PeopleCommand::ListProvider(id), meta: follows },
            ),
        ];
        let done = self.people.submit_all(ctx.tenant, requests).await;
        done.map_err(|error| Error::from(error.rejection))?;
        self.provider(ctx.tenant, id).await
    }

    /// Changes a provider. True if the answer is a stored one.
    ///
    /// # Errors
    /// [`Error::GrantEscalation`], [`Error::NotFound`], [`Error::StaleRevision`], or the journal.
    pub async fn update_provider(
        &self,
        ctx: &Ctx,
        id: ProviderId,
        change: UpdateProvider,
        meta: Meta,
    ) -> Result<(Provider, bool), Error> {
        self.provider(ctx.tenant, id).await?;
        self.may_name_issuers(ctx).await?;
        let mut update = change.update;
        update.secret = change.client_secret.map(|secret| self.sealed_secret(ctx.tenant, id, &secret));
        let command = PeopleCommand::UpdateProvider(update);
        match self.submit_people(ctx.tenant, id, command, meta).await? {
            (People::Provider(provider), replayed) => Ok((*provider, replayed)),
            _ => Err(Error::NotFound { what: "identity provider" }),
        }
    }

    /// Reads a provider.
    ///
    /// # Errors
    /// [`Error::NotFound`], or the journal.
    pub async fn provider(&self, tenant: TenantId, id: ProviderId) -> Result<Provider, Error> {
        match self.people(tenant, id).await? {
            People::Provider(provider) => Ok(*provider),
            _ => Err(Error::NotFound { what: "identity provider" }),
        }
    }

    /// Reads the providers of a tenant, the oldest first: at most [`crate::domain::PROVIDERS_MAX`].
    ///
    /// # Errors
    /// The journal.
    pub async fn providers(&self, tenant: TenantId) -> Result<Vec<Provider>, Error> {
        let list = self.people(tenant, records::providers(tenant)).await?;
        let mut providers = vec![];
        for id in list.providers() {
            providers.push(self.provider(tenant, *id).await?);
        }
        Ok(providers)
    }

    fn sealed_secret(&self, tenant: TenantId, id: ProviderId, text: &str) -> Vec<u8> {
        secret::seal(&self.config.pepper, tenant, id, text, self.random())
    }

    /// Whoever names an issuer, or where it sends browsers, can be every user of the tenant. So it takes somebody who
    /// has everything in the master business for good.
    async fn may_name_issuers(&self, ctx: &Ctx) -> Result<(), Error> {
        let State::Tenant(tenant) = self.state(ctx.tenant, ctx.tenant).await? else {
            return Err(Error::NotFound { what: "tenant" });
        };
        if tenant.master != ctx.business {
            return Err(Error::GrantEscalation { field: "business_id" });
        }
        let lasting = self.lasting(ctx, &[tenant.master], true, None).await?;
        let everything = Role::Owner.permissions();
        match ctx.permissions.covers(&everything) && lasting.covers(&everything) {
            true => Ok(()),
            false => Err(Error::GrantEscalation { field: "issuer" }),
        }
    }
}
