//! Accounts between the contract and the domain.

use calendar::Instant;
use ids::TenantId;
use problem::{Invalid, Violations, reason};
use proto::tenant::v1 as wire;

use super::timestamp;
use crate::domain::{Account, AccountChange, AccountCommand, Entitlement, Feature, Standing, Value};

/// Longest reason, in characters.
const REASON_CHARS_MAX: usize = 500;

pub(crate) fn close(request: wire::CloseAccountRequest) -> Result<AccountCommand, Invalid> {
    let mut violations = Violations::new();
    let export_days = request.export_days.unwrap_or(Account::EXPORT_DAYS_DEFAULT);
    if export_days > Account::EXPORT_DAYS_MAX {
        let detail = format!("must be from '0' to '{}'", Account::EXPORT_DAYS_MAX);
        violations.add("export_days", reason::OUT_OF_RANGE, detail);
    }
    violations.at_most("reason", &request.reason, REASON_CHARS_MAX);
    violations.into_result()?;
    Ok(AccountCommand::new(AccountChange::Close { export_days }, request.reason))
}

pub(crate) fn withdraw(request: wire::WithdrawClosureRequest) -> Result<AccountCommand, Invalid> {
    let mut violations = Violations::new();
    violations.at_most("reason", &request.reason, REASON_CHARS_MAX);
    violations.into_result()?;
    Ok(AccountCommand::new(AccountChange::Withdraw, request.reason))
}

pub(crate) fn account(tenant: TenantId, account: &Account, now: Instant) -> wire::Account {
    use wire::TenantStanding as Wire;
    let (standing, trial_ends_at, purge_from) = match account.standing.at(now) {
        Standing::Trial { until } => (Wire::Trial, Some(until), None),
        Standing::Active => (Wire::Active, None, None),
        Standing::PastDue => (Wire::PastDue, None, None),
        Standing::Suspended => (Wire::Suspended, None, None),
        Standing::Closing { purge_from, .. } => (Wire::Closing, None, Some(purge_from)),
    };
    let held = Feature::ALL.map(|feature| entitlement(account.entitlement(feature, now)));
    wire::Account {
        tenant_id: tenant.to_string(),
        standing: standing.into(),
        trial_ends_at: trial_ends_at.map(timestamp),
        purge_from: purge_from.map(timestamp),
        plan: account.plan.code().to_owned(),
        entitlements: held.into(),
    }
}

fn entitlement(held: Entitlement) -> wire::Entitlement {
    use wire::entitlement::Value as Wire;
    wire::Entitlement {
        feature: held.feature.code().to_owned(),
        value: Some(match held.value {
            Value::Switch(on) => Wire::Enabled(on),
            Value::Limit(most) => Wire::Limit(u32::try_from(most).unwrap_or(u32::MAX)),
            Value::Choice(value) => Wire::Choice(value.to_owned()),
        }),
        overridden: held.overridden,
        until: held.until.map(timestamp),
    }
}
