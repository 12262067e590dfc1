//! Access of whoever runs the server: the operator asks and opens, the tenant grants and ends.

use bytes::Bytes;
use ids::{ApiKeyId, OperatorAccessId, TenantId};
use journal::{Aggregate as _, Meta, Request, Scope};
use problem::{Violations, reason};
use rpc::{Actor, ActorKind, Ctx};

use crate::app::App;
use crate::app::list::{List, Page};
use crate::domain::{
    Command, Credential, NewKey, Operator, OperatorAccess, OperatorCommand, OperatorStatus, Role, State,
};
use crate::{Error, records};

const JOB: &str = "operator";

/// Whether a key was made for the operator: the tenant let it in, whatever its plan.
pub(super) fn is_operators(creator: &Actor) -> bool {
    creator.kind == ActorKind::System && &*creator.id == JOB
}

impl App {
    /// Lists what the operator asked for, newest last. It is the tenant's: in a business below the master there is
    /// none.
    ///
    /// # Errors
    /// A page token that does not belong here, or the journal.
    pub async fn operator_accesses(
        &self,
        ctx: &Ctx,
        size: usize,
        token: &str,
    ) -> Result<Page<OperatorAccess>, Error> {
        let list = List { name: "operatorAccesses", index: records::OPERATOR_ACCESSES, prefix: Bytes::new() };
        let sees = ctx.path.len() == 1;
        self.page(ctx, list, size, token, |header| Ok(Operator::from_header(header)?.0.filter(|_| sees)))
            .await
    }

    /// Shows one.
    ///
    /// # Errors
    /// [`Error::NotFound`], or the journal.
    pub async fn operator_access(&self, ctx: &Ctx, id: OperatorAccessId) -> Result<OperatorAccess, Error> {
        let not_found = Error::NotFound { what: "operator access" };
        if ctx.path.len() != 1 {
            return Err(not_found);
        }
        self.operator_access_of(ctx.tenant, id).await?.ok_or(not_found)
    }

    /// Grants one, or refuses or ends it; with its end its key is revoked. True if the answer is a stored one.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::IllegalTransition`], or the journal.
    pub async fn decide_operator_access(
        &self,
        ctx: &Ctx,
        id: OperatorAccessId,
        command: OperatorCommand,
        meta: Meta,
    ) -> Result<(OperatorAccess, bool), Error> {
        self.operator_access(ctx, id).await?;
        let ends = command == OperatorCommand::End;
        let scope = Scope { tenant: ctx.tenant, aggregate: id.into() };
        let answer = self.operators.submit(scope, Request { command, meta }).await?;
        let access =
            self.operators.state_at(scope, answer.seq).await.map_err(journal::Error::after_commit)?;
        let access = access.state.0.ok_or(Error::NotFound { what: "operator access" })?;
        // A repeated request completes an interrupted one.
        if let Some(key) = access.key.filter(|_| ends) {
            let scope = Scope { tenant: ctx.tenant, aggregate: key.into() };
            self.journal.submit(scope, self.internal(JOB, Command::RevokeKey)).await.map_err(
                |rejection| match Error::from(rejection) {
                    Error::Journal(error) => Error::Journal(error.after_commit()),
                    other => other,
                },
            )?;
        }
        Ok((access, answer.replayed))
    }

    /// Asks a tenant for access.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::NotFound`] without the tenant, or the journal.
    pub async fn request_operator_access(
        &self,
        slug: &str,
        why: &str,
        role: Role,
        hours: u32,
    ) -> Result<OperatorAccess, Error> {
        let mut violations = Violations::new();
        if why.trim().is_empty() {
            violations.add("reason", reason::REQUIRED, "must be given: the tenant reads it");
        }
        violations.at_most("reason", why, OperatorAccess::REASON_CHARS_MAX);
        if !(1..=OperatorAccess::HOURS_MAX).contains(&hours) {
            let detail = format!("must be from '1' to '{}'", OperatorAccess::HOURS_MAX);
            violations.add("hours", reason::OUT_OF_RANGE, detail);
        }
        if !OperatorAccess::ROLES.contains(&role) {
            violations.add("role", reason::NOT_ALLOWED, "must be 'viewer' or 'clerk': no other is granted");
        }
        violations.into_result()?;
        let tenant = self.tenancy(slug).await?.tenant;
        let id = OperatorAccessId::new(self.env.now().unix_ms(), self.random());
        let command = OperatorCommand::Request { id, reason: why.to_owned(), role, hours };
        let scope = Scope { tenant, aggregate: id.into() };
        self.operators.submit(scope, self.internal(JOB, command)).await?;
        self.operator_access_of(tenant, id).await?.ok_or(Error::NotFound { what: "operator access" })
    }

    /// Makes the key of an access that was granted; it ends with it. Once.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::IllegalTransition`], or the journal.
    pub async fn open_operator_access(
        &self,
        slug: &str,
        id: OperatorAccessId,
    ) -> Result<(OperatorAccess, Credential), Error> {
        let not_found = Error::NotFound { what: "operator access" };
        let tenant = self.tenancy(slug).await?.tenant;
        let State::Tenant(found) = self.state(tenant, tenant).await? else { return Err(not_found) };
        let credential =
            Credential::new(ApiKeyId::new(self.env.now().unix_ms(), self.random()), self.random());
        let scope = Scope { tenant, aggregate: id.into() };
        let command = OperatorCommand::Open { key: credential.id };
        self.operators.submit(scope, self.internal(JOB, command)).await?;
        let access = self.operator_access_of(tenant, id).await?.ok_or(not_found.clone())?;
        let OperatorStatus::Granted { until } = access.status else { return Err(not_found) };
        self.register_key(tenant, credential.id).await?;
        let key = NewKey {
            id: credential.id,
            name: format!("operator: {}", access.reason.chars().take(100).collect::<String>()),
            role: access.role,
            narrowed: vec![],
            path: vec![found.master],
            digest: credential.digest(&self.config.pepper),
            last4: credential.last4(),
            expires_at: Some(until),
            ip_allow: vec![],
            created_by: Actor::new(ActorKind::System, JOB),
        };
        let scope = Scope { tenant, aggregate: credential.id.into() };
        self.journal.submit(scope, self.internal(JOB, Command::IssueKey(key))).await?;
        // It may have been ended meanwhile, before there was a key to revoke.
        let access = self.operator_access_of(tenant, id).await?.ok_or(not_found)?;
        if !matches!(access.status.at(self.env.now()), OperatorStatus::Granted { .. }) {
            self.journal.submit(scope, self.internal(JOB, Command::RevokeKey)).await?;
            return Err(Error::IllegalTransition { why: "it has ended" });
        }
        Ok((access, credential))
    }

    /// Shows one to the operator.
    ///
    /// # Errors
    /// [`Error::NotFound`], or the journal.
    pub async fn operator_access_named(
        &self,
        slug: &str,
        id: OperatorAccessId,
    ) -> Result<OperatorAccess, Error> {
        let access = self.operator_access_of(self.tenancy(slug).await?.tenant, id).await?;
        access.ok_or(Error::NotFound { what: "operator access" })
    }

    async fn operator_access_of(
        &self,
        tenant: TenantId,
        id: OperatorAccessId,
    ) -> Result<Option<OperatorAccess>, Error> {
        let scope = Scope { tenant, aggregate: id.into() };
        Ok(self.operators.read(scope, |_| vec![]).await?.and_then(|view| view.state.0))
    }
}
