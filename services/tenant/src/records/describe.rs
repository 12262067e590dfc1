//! What the audit log says about this service's entries.

use ids::{AggregateId, ApiKeyId, BusinessId, ProviderId, RoleId, SessionId, TenantId, UserId};
use journal::Aggregate as _;
use journal::store::Head;

use super::{KIND_ACCESS, KIND_ACCOUNT, KIND_OPERATOR, KIND_PEOPLE, KIND_STATE, KIND_TREE};
use crate::domain::{
    Access, AccessEvent, Account, AccountFact, Event, Operator, OperatorEvent, People, PeopleEvent, Standing,
    State, Status, Tree, TreeEvent, UserStatus,
};

/// What has this history: `biz_…`, `key_…`, `ten_…`, `rol_…`, `asg_…`, `usr_…`, `ses_…`; for the tree its master
/// business; `owners` for the list of those who run the tenant.
#[must_use]
pub fn resource(head: &Head, aggregate: AggregateId) -> Option<String> {
    let id = *aggregate.as_bytes();
    let [kind, _] = head.format.to_be_bytes();
    let header = head.state_header()?;
    match kind {
        KIND_STATE => Some(match State::from_header(header).ok()? {
            State::Unborn => return None,
            State::Directory(_) | State::Tenant(_) => TenantId::from_bytes(id).to_string(),
            State::Business(_) => BusinessId::from_bytes(id).to_string(),
            State::ApiKey(_) => ApiKeyId::from_bytes(id).to_string(),
        }),
        KIND_TREE => Tree::from_header(header).ok()?.master.map(|master| master.to_string()),
        // Its aggregate has a number of its own; the tenant is who the log is about.
        KIND_ACCOUNT => Some("account".to_owned()),
        KIND_OPERATOR => Operator::from_header(header).ok()?.0.map(|access| access.id.to_string()),
        KIND_ACCESS => Some(match Access::from_header(header).ok()? {
            Access::Unborn => return None,
            Access::Role(_) => RoleId::from_bytes(id).to_string(),
            Access::Assignment(assignment) => assignment.made.id.to_string(),
        }),
        KIND_PEOPLE => Some(match People::from_header(header).ok()? {
            People::Unborn => return None,
            People::User(_) => UserId::from_bytes(id).to_string(),
            People::Session(_) => SessionId::from_bytes(id).to_string(),
            People::Owners(_) => "owners".to_owned(),
            People::Provider(_) => ProviderId::from_bytes(id).to_string(),
            People::Providers(_) => "identity_providers".to_owned(),
        }),
        _ => None,
    }
}

/// What happened: `tenant.business.updated`.
#[must_use]
pub fn action(kind: u8, event: &[u8]) -> Option<&'static str> {
    match kind {
        KIND_STATE => Some(match State::decode(event).ok()? {
            Event::Registered { .. } => "tenant.slug.registered",
            Event::KeyRegistered { .. } => "tenant.api_key.registered",
            Event::TenantCreated(_) => "tenant.tenant.created",
            Event::BusinessCreated(_) => "tenant.business.created",
            Event::BusinessUpdated(_) => "tenant.business.updated",
            Event::KeyIssued(_) => "tenant.api_key.created",
            Event::KeyRevoked => "tenant.api_key.revoked",
            Event::KeyRotated(_) => "tenant.api_key.rotated",
            Event::KeyReassigned { .. } => "tenant.api_key.reassigned",
            Event::KeyUsed { .. } => "tenant.api_key.used",
        }),
        KIND_TREE => Some(match Tree::decode(event).ok()? {
            TreeEvent::Planted { .. } => "tenant.tree.planted",
            TreeEvent::Added { .. } => "tenant.business.placed",
            TreeEvent::Moved { .. } => "tenant.business.moved",
            TreeEvent::StatusChanged { status: Status::Active, .. } => "tenant.business.reactivated",
            TreeEvent::StatusChanged { status: Status::Suspended, .. } => "tenant.business.suspended",
            TreeEvent::StatusChanged { status: Status::Closing, .. } => "tenant.business.closing",
            TreeEvent::StatusChanged { status: Status::Closed, .. } => "tenant.business.closed",
        }),
        KIND_OPERATOR => Some(match Operator::decode(event).ok()? {
            OperatorEvent::Requested(_) => "tenant.operator_access.requested",
            OperatorEvent::Granted { .. } => "tenant.operator_access.granted",
            OperatorEvent::Opened { .. } => "tenant.operator_access.opened",
            OperatorEvent::Refused => "tenant.operator_access.refused",
            OperatorEvent::Ended => "tenant.operator_access.ended",
        }),
        KIND_ACCOUNT => Some(match Account::decode(event).ok()?.what {
            AccountFact::Planned(_) => "tenant.plan.changed",
            AccountFact::Overridden(..) => "tenant.entitlement.agreed",
            AccountFact::OverrideEnded(_) => "tenant.entitlement.ended",
            AccountFact::Stands(Standing::Trial { .. }) => "tenant.trial.set",
            AccountFact::Stands(Standing::Active) => "tenant.reactivated",
            AccountFact::Stands(Standing::PastDue) => "tenant.past_due",
            AccountFact::Stands(Standing::Suspended) => "tenant.suspended",
            AccountFact::Stands(Standing::Closing { .. }) => "tenant.notice_given",
        }),
        KIND_ACCESS => Some(match Access::decode(event).ok()? {
            AccessEvent::RoleCreated(_) => "tenant.role.created",
            AccessEvent::RoleUpdated(_) => "tenant.role.updated",
            AccessEvent::Assigned(_) => "tenant.assignment.created",
            AccessEvent::Revoked => "tenant.assignment.revoked",
        }),
        KIND_PEOPLE => people(event),
        _ => None,
    }
}

fn people(event: &[u8]) -> Option<&'static str> {
    Some(match People::decode(event).ok()? {
        PeopleEvent::Invited(_) => "tenant.user.invited",
        PeopleEvent::Reinvited(_) => "tenant.user.reinvited",
        PeopleEvent::Accepted { .. } => "tenant.user.accepted",
        PeopleEvent::Updated(_) => "tenant.user.updated",
        PeopleEvent::Turned(UserStatus::Locked) => "tenant.user.locked",
        PeopleEvent::Turned(UserStatus::Deactivated) => "tenant.user.deactivated",
        PeopleEvent::Turned(UserStatus::Active | UserStatus::Invited) => "tenant.user.unlocked",
        PeopleEvent::PasswordChanged { .. } => "tenant.user.password_changed",
        PeopleEvent::Enrolled { .. } => "tenant.user.totp_enrolled",
        PeopleEvent::Confirmed { .. } => "tenant.user.totp_confirmed",
        PeopleEvent::CodeUsed { .. } => "tenant.user.code_used",
        PeopleEvent::RecoveryUsed { .. } => "tenant.user.recovery_code_used",
        PeopleEvent::OwnerAdded(_) => "tenant.owner.added",
        PeopleEvent::OwnerRemoved(_) => "tenant.owner.removed",
        PeopleEvent::ProviderAdded(_) => "tenant.identity_provider.created",
        PeopleEvent::ProviderUpdated(_) => "tenant.identity_provider.updated",
        PeopleEvent::ProviderListed(_) => "tenant.identity_provider.listed",
        PeopleEvent::Linked { .. } => "tenant.user.linked",
        PeopleEvent::Begun(_) => "tenant.session.begun",
        PeopleEvent::Seen => "tenant.session.seen",
        PeopleEvent::Proven => "tenant.session.proven",
        PeopleEvent::Ended => "tenant.session.ended",
    })
}
