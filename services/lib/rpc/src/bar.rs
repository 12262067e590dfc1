//! What stands against calls whatever the permissions of the caller are.

use proto::{Audit, MethodRule};

use crate::Refused;

/// A reason for which some calls are refused, carried in the signed context.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Bar {
    /// The tenant is suspended: it is read and exported, not changed.
    TenantSuspended,
    /// The tenant has given notice: it is read and exported, not changed.
    TenantClosing,
    /// The plan of the tenant has no API access.
    PlanNotEntitled,
    /// The business, or one above it, is suspended: it is read and not changed.
    BusinessSuspended,
    /// The business, or one above it, is closed: it is read and not changed.
    BusinessClosed,
}

/// All that stand, looked at in the order of [`Bar::ALL`]: standing of the tenant, plan, business.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Bars(u8);

impl Bar {
    /// All of them, in the order in which they are looked at.
    pub const ALL: [Bar; 5] = [
        Bar::TenantSuspended,
        Bar::TenantClosing,
        Bar::PlanNotEntitled,
        Bar::BusinessSuspended,
        Bar::BusinessClosed,
    ];

    /// `TENANT_SUSPENDED`, `PLAN_NOT_ENTITLED`, `BUSINESS_CLOSED`: in answers and in the signed context.
    pub fn reason(self) -> &'static str {
        match self {
            Bar::TenantSuspended => "TENANT_SUSPENDED",
            Bar::TenantClosing => "TENANT_CLOSING",
            Bar::PlanNotEntitled => "PLAN_NOT_ENTITLED",
            Bar::BusinessSuspended => "BUSINESS_SUSPENDED",
            Bar::BusinessClosed => "BUSINESS_CLOSED",
        }
    }

    /// Reads what [`Bar::reason`] writes.
    pub fn parse(reason: &str) -> Option<Bar> {
        Bar::ALL.into_iter().find(|bar| bar.reason() == reason)
    }

    /// For people.
    pub fn sentence(self) -> &'static str {
        match self {
            Bar::TenantSuspended => "the tenant is suspended: it can be read and exported, not changed",
            Bar::TenantClosing => "the tenant has given notice: it can be read and exported, not changed",
            Bar::PlanNotEntitled => "the plan of the tenant does not include the use of API keys",
            Bar::BusinessSuspended => "the business is suspended: it can be read and not changed",
            Bar::BusinessClosed => "the business is closed: it can be read and not changed",
        }
    }

    /// Whether calls with this rule may pass. Changes to who may do what, and what is never gated, always may; reads
    /// may unless the plan is against it.
    ///
    /// # Errors
    /// [`Refused::Barred`] for the others.
    pub fn check(self, rule: &MethodRule) -> Result<(), Refused> {
        let passes = match self {
            Bar::PlanNotEntitled => rule.ungated || rule.audit == Audit::Security,
            Bar::TenantSuspended | Bar::TenantClosing | Bar::BusinessSuspended | Bar::BusinessClosed => {
                rule.ungated || rule.audit != Audit::Write
            }
        };
        if passes { Ok(()) } else { Err(Refused::Barred(self)) }
    }
}

impl Bars {
    /// Those that stand.
    pub fn iter(self) -> impl Iterator<Item = Bar> {
        Bar::ALL.into_iter().filter(move |bar| self.0 & (1 << *bar as u8) != 0)
    }

    /// Their reasons, as [`Bars::parse`] reads them.
    pub fn reasons(self) -> Vec<String> {
        self.iter().map(|bar| bar.reason().to_owned()).collect()
    }

    /// Reads reasons; `None` if one of them is not known: it would let pass what it should not.
    pub fn parse(reasons: impl IntoIterator<Item = impl AsRef<str>>) -> Option<Bars> {
        reasons.into_iter().map(|reason| Bar::parse(reason.as_ref())).collect()
    }

    /// Whether calls with this rule may pass all of them.
    ///
    /// # Errors
    /// [`Refused::Barred`] with the first that is against it.
    pub fn check(self, rule: &MethodRule) -> Result<(), Refused> {
        self.iter().try_for_each(|bar| bar.check(rule))
    }
}

impl FromIterator<Bar> for Bars {
    fn from_iter<I: IntoIterator<Item = Bar>>(bars: I) -> Bars {
        Bars(bars.into_iter().fold(0, |all, bar| all | 1 << bar as u8))
    }
}

#[cfg(test)]
mod tests {
    use proto::rules;

    use super::*;

    #[test]
    fn bars_are_read_back() {
        for set in 0..1u8 << Bar::ALL.len() {
            assert_eq!(Bars::parse(Bars(set).reasons()), Some(Bars(set)));
        }
        assert_eq!(Bars::parse(["CLOSED"]), None);
    }

    /// API-2: the standing of the tenant is looked at before its plan, and the plan before the business.
    #[test]
    fn the_first_bar_answers() {
        let first = |bars: &[Bar], method: &str| {
            let bars: Bars = bars.iter().copied().collect();
            bars.check(&rules()[method]).map_err(|refused| match refused {
                Refused::Barred(bar) => bar,
                other => panic!("{other:?}"),
            })
        };
        let (post, read) = (
            "/cargopilot.stock.v1.StockService/PostMovement",
            "/cargopilot.stock.v1.StockService/ListBalances",
        );
        let all = [Bar::BusinessClosed, Bar::PlanNotEntitled, Bar::TenantSuspended];
        assert_eq!(first(&all, post), Err(Bar::TenantSuspended));
        assert_eq!(first(&all, read), Err(Bar::PlanNotEntitled));
        assert_eq!(first(&all[..2], post), Err(Bar::PlanNotEntitled));
        assert_eq!(first(&all[..1], post), Err(Bar::BusinessClosed));
        assert_eq!(first(&all[..1], read), Ok(()));
        assert_eq!(first(&[], post), Ok(()));
    }

    /// API-9: exports and security functions are never gated.
    #[test]
    fn exports_and_security_functions_pass_every_bar() {
        let all: Bars = Bar::ALL.into_iter().collect();
        for (path, rule) in rules() {
            let free = rule.audit == Audit::Security || rule.permission == "audit.export";
            assert!(!free || all.check(rule).is_ok(), "{path}");
        }
    }
}
