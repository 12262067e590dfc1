//! What an assignment is limited to: some locations, some categories, an amount.
//!
//! A limited grant counts only for methods whose rule names each of its limits (`limits` in the contract): such a
//! method keeps to it, or it says nothing about what the method touches. For every other method the grant is
//! none, so that a method that nobody thought about is closed.

use ids::LocationId;
use money::{Currency, Money};
use proto::MethodRule;
use proto::tenant::v1 as wire;

use crate::{Ctx, Permissions, Refused};

/// Location, as the contract and [`Refused::BeyondLimits`] name it.
pub const LOCATION: &str = "location";
/// Category of a product.
pub const CATEGORY: &str = "category";
/// Value of one movement.
pub const AMOUNT: &str = "amount";

/// Limits of one grant. What is empty limits nothing.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Limits {
    /// These locations and what lies in them.
    pub locations: Vec<LocationId>,
    /// Products of these categories.
    pub categories: Vec<String>,
    /// At most this value for one movement, in this currency and no other.
    pub amount_max: Option<Money>,
}

/// Permissions that count within limits.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Limited {
    /// What may be done.
    pub permissions: Permissions,
    /// Within what.
    pub limits: Limits,
}

/// The greatest values that a movement may have; `None` is any. The movement is within if it is within one.
pub type AmountsMax = Option<Vec<Money>>;

impl Limits {
    /// Whether nothing is limited.
    pub fn is_none(&self) -> bool {
        *self == Limits::default()
    }

    /// Whether a method with this rule keeps to all of them.
    pub fn count_for(&self, rule: &MethodRule) -> bool {
        let names = |limit: &str| rule.limits.iter().any(|name| name == limit);
        (self.locations.is_empty() || names(LOCATION))
            && (self.categories.is_empty() || names(CATEGORY))
            && (self.amount_max.is_none() || names(AMOUNT))
    }

    /// Length on the wire, about.
    pub fn encoded_len(&self) -> usize {
        prost::Message::encoded_len(&wire::Limits::from(self))
    }

    fn admits_location(&self, chain: &[LocationId]) -> bool {
        self.locations.is_empty() || self.locations.iter().any(|location| chain.contains(location))
    }

    fn admits_category(&self, category: &str) -> bool {
        self.categories.is_empty() || self.categories.iter().any(|known| known == category)
    }
}

impl Ctx {
    /// Whether some rows are out of the caller's limits.
    pub fn is_limited(&self) -> bool {
        self.limits.is_some()
    }

    /// Whether the caller may see products of this category (`None`: without looking at it) wherever they are: one
    /// grant that lets the category through names no location.
    pub fn sees_everywhere(&self, category: Option<&str>) -> bool {
        let everywhere = |limits: &Limits| {
            limits.locations.is_empty() && category.is_none_or(|category| limits.admits_category(category))
        };
        self.limits.as_ref().is_none_or(|all| all.iter().any(everywhere))
    }

    /// Whether a grant of the caller is limited to categories.
    pub fn is_limited_by_category(&self) -> bool {
        self.limits.as_ref().is_some_and(|all| all.iter().any(|limits| !limits.categories.is_empty()))
    }

    /// Checks a row against the limits of the caller: it must be within all limits of one grant.
    ///
    /// Shapes: a chain per location that the row names, from the location up to the outermost one that it lies in;
    /// `category` is that of the product, if the row has one. The answer bounds the value of a movement.
    ///
    /// # Errors
    /// [`Refused::BeyondLimits`] with the first limit that no grant of the caller lets through.
    pub fn within(&self, chains: &[Vec<LocationId>], category: Option<&str>) -> Result<AmountsMax, Refused> {
        let Some(limits) = &self.limits else { return Ok(None) };
        let mut left: Vec<&Limits> = limits.iter().collect();
        left.retain(|limits| chains.iter().all(|chain| limits.admits_location(chain)));
        if left.is_empty() {
            return Err(Refused::BeyondLimits { limit: LOCATION });
        }
        left.retain(|limits| category.is_none_or(|category| limits.admits_category(category)));
        if left.is_empty() {
            return Err(Refused::BeyondLimits { limit: CATEGORY });
        }
        // One grant without a bound is enough.
        Ok(left.iter().map(|limits| limits.amount_max).collect())
    }
}

impl From<&Limits> for wire::Limits {
    fn from(limits: &Limits) -> Self {
        wire::Limits {
            location_ids: limits.locations.iter().map(ToString::to_string).collect(),
            categories: limits.categories.clone(),
            amount_max: limits.amount_max.map(|max| proto::api::v1::Money {
                currency: max.currency.code().to_owned(),
                amount: max.amount(),
            }),
        }
    }
}

impl Limits {
    /// Reads what another service or the gateway wrote; `None` for what is malformed.
    pub(crate) fn read(limits: wire::Limits) -> Option<Limits> {
        let locations = limits.location_ids.iter().map(|id| LocationId::parse(id).ok());
        let amount_max = match limits.amount_max {
            None => None,
            Some(max) => Some(Money::parse(&max.amount, Currency::parse(&max.currency).ok()?).ok()?),
        };
        Some(Limits {
            locations: locations.collect::<Option<_>>()?,
            categories: limits.categories,
            amount_max,
        })
    }
}

impl From<&Limited> for wire::LimitedGrant {
    fn from(limited: &Limited) -> Self {
        let permissions = limited.permissions.members().collect();
        wire::LimitedGrant { permissions, limits: Some((&limited.limits).into()) }
    }
}

impl Limited {
    /// Reads what another service or the gateway wrote; `None` for what is malformed or not limited.
    pub(crate) fn read(grant: wire::LimitedGrant) -> Option<Limited> {
        let limits = Limits::read(grant.limits?)?;
        let permissions = Permissions::parse(&grant.permissions)?;
        (!limits.is_none()).then_some(Limited { permissions, limits })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ids::{BusinessId, TenantId};

    use super::*;
    use crate::{Actor, ActorKind, Principal};

    fn loc(byte: u8) -> LocationId {
        LocationId::from_bytes([byte; 16])
    }

    fn eur(amount: &str) -> Money {
        Money::parse(amount, Currency::parse("EUR").unwrap()).unwrap()
    }

    fn limits(locations: &[u8], categories: &[&str], amount: Option<&str>) -> Limits {
        Limits {
            locations: locations.iter().copied().map(loc).collect(),
            categories: categories.iter().map(ToString::to_string).collect(),
            amount_max: amount.map(eur),
        }
    }

    fn ctx(limits: Option<Vec<Limits>>) -> Ctx {
        let business = BusinessId::from_bytes([2; 16]);
        let principal = Principal {
            tenant: TenantId::from_bytes([1; 16]),
            business,
            path: Arc::from([business]),
            actor: Actor::new(ActorKind::User, "usr_a"),
            permissions: Permissions::default(),
            secret: [0; 32],
        };
        Ctx { limits: limits.map(Arc::from), ..Ctx::internal(principal) }
    }

    /// API-6: a row is within when one grant lets all of it through; what one lets through in one respect and
    /// another in another is not.
    #[test]
    fn a_row_must_be_within_all_limits_of_one_grant() {
        let two = ctx(Some(vec![limits(&[1], &["tea"], Some("10.00")), limits(&[2], &[], None)]));
        let check = |ctx: &Ctx, chains: &[&[u8]], category, expected: Result<AmountsMax, &'static str>| {
            let chains: Vec<Vec<_>> =
                chains.iter().map(|chain| chain.iter().copied().map(loc).collect()).collect();
            let expected = expected.map_err(|limit| Refused::BeyondLimits { limit });
            assert_eq!(ctx.within(&chains, category), expected, "{chains:?} {category:?}");
        };
        check(&two, &[&[1]], Some("tea"), Ok(Some(vec![eur("10.00")])));
        check(&two, &[&[9, 1]], Some("tea"), Ok(Some(vec![eur("10.00")]))); // a bin of it
        check(&two, &[&[1]], Some("coffee"), Err(CATEGORY));
        check(&two, &[&[2]], Some("coffee"), Ok(None));
        check(&two, &[&[3]], Some("tea"), Err(LOCATION));
        check(&two, &[&[1], &[2]], Some("tea"), Err(LOCATION)); // a transfer from one to the other
        check(&two, &[&[]], None, Err(LOCATION));
        check(&two, &[], None, Ok(None));
        check(&ctx(None), &[&[3]], Some("coffee"), Ok(None));
        check(&ctx(Some(vec![])), &[], None, Err(LOCATION));
    }

    /// What limits a grant is what a method must keep to, or the grant is none for it.
    #[test]
    fn a_grant_counts_for_methods_that_keep_to_its_limits() {
        let rule = |names: &[&str]| {
            let mut rule = proto::rules()["/cargopilot.stock.v1.StockService/PostMovement"].clone();
            rule.limits = names.iter().map(ToString::to_string).collect();
            rule
        };
        let all = limits(&[1], &["tea"], Some("1.00"));
        assert!(all.count_for(&rule(&[LOCATION, CATEGORY, AMOUNT])));
        for missing in [&[LOCATION, CATEGORY], &[LOCATION, AMOUNT], &[CATEGORY, AMOUNT]] {
            assert!(!all.count_for(&rule(missing)), "{missing:?}");
        }
        assert!(limits(&[1], &[], None).count_for(&rule(&[LOCATION])));
        assert!(!limits(&[1], &[], None).count_for(&rule(&[])));
    }

    #[test]
    fn limits_are_read_back_and_nothing_malformed_is() {
        let limited = Limited {
            permissions: Permissions::parse(["stock.post"]).unwrap(),
            limits: limits(&[1, 2], &["tea"], Some("0.50")),
        };
        let wire = wire::LimitedGrant::from(&limited);
        assert_eq!(Limited::read(wire.clone()), Some(limited));
        let bad = |change: fn(&mut wire::Limits)| {
            let mut grant = wire.clone();
            change(grant.limits.as_mut().unwrap());
            Limited::read(grant)
        };
        assert_eq!(bad(|limits| limits.location_ids[0] = "loc_x".to_owned()), None);
        assert_eq!(bad(|limits| limits.amount_max.as_mut().unwrap().amount = "0.505".to_owned()), None);
        assert_eq!(bad(|limits| limits.amount_max.as_mut().unwrap().currency = "EURO".to_owned()), None);
        assert_eq!(bad(|limits| *limits = wire::Limits::default()), None);
        assert_eq!(Limited::read(wire::LimitedGrant { limits: None, ..wire }), None);
    }
}
