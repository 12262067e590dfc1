//! What the policies say about a signed context, asked once per permission.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU8, Ordering};

use authz::{Decision, Kind};
use proto::MethodRule;

use crate::signed::Verified;
use crate::{Actor, ActorKind, Limits, Permissions};

const UNKNOWN: u8 = 0;
const ALLOWED: u8 = 1;
const DENIED: u8 = 2;

/// Decisions of one context that depend on no row: one byte per permission of the contract.
pub(crate) struct Decided(Box<[AtomicU8]>);

impl Default for Decided {
    fn default() -> Self {
        static PERMISSIONS: LazyLock<usize> = LazyLock::new(|| {
            let numbers = proto::rules().values().map(|rule| rule.permission_number);
            numbers.max().map_or(0, |last| last + 1)
        });
        Decided((0..*PERMISSIONS).map(|_| AtomicU8::new(UNKNOWN)).collect())
    }
}

impl Verified {
    /// Whether the policies let this context call methods with `rule`. The same question is asked once: afterwards
    /// it costs one load.
    pub(crate) fn may(&self, rule: &MethodRule) -> bool {
        self.ask(&self.decided, rule, &self.permissions)
    }

    /// The limits within which this context may call methods with `rule`; empty when it may not.
    pub(crate) fn may_within(&self, rule: &MethodRule) -> Vec<Limits> {
        let grants = self.permissions.limited().iter().zip(&self.limited_decided);
        let counts = grants.filter(|(grant, decided)| {
            grant.limits.count_for(rule) && self.ask(decided, rule, &grant.permissions)
        });
        counts.map(|(grant, _)| grant.limits.clone()).collect()
    }

    fn ask(&self, decided: &Decided, rule: &MethodRule, permissions: &Permissions) -> bool {
        let Some(known) = decided.0.get(rule.permission_number) else { return false };
        match known.load(Ordering::Relaxed) {
            ALLOWED => true,
            DENIED => false,
            _ => {
                let allowed = self.decide(&rule.permission, permissions).allowed;
                known.store(if allowed { ALLOWED } else { DENIED }, Ordering::Relaxed);
                allowed
            }
        }
    }

    /// Asks the policies whether this context may do something in the business that it works in.
    fn decide(&self, permission: &str, permissions: &Permissions) -> Decision {
        let principal = authz::Principal {
            kind: kind(&self.actor),
            id: &self.actor.id,
            tenant: self.tenant,
            business: self.business,
            grants: permissions.members().collect(),
        };
        let id = self.business.to_string();
        let business = authz::Resource::business(self.tenant, &id, &self.path);
        authz::authorizer().decide(&principal, permission, &business, &[])
    }
}

fn kind(actor: &Actor) -> Kind {
    match actor.kind {
        ActorKind::ApiKey => Kind::ApiKey,
        ActorKind::User => Kind::User,
        ActorKind::System => Kind::System,
    }
}
