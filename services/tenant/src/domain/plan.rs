//! Plans: what a tenant has paid for, as data. A feature is a switch, a limit or one of several values.

use crate::domain::Tree;

/// What a plan may differ in. One is added together with what enforces it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Feature {
    /// Whether API keys work.
    ApiAccess,
    /// Most businesses that are not closed, the master included.
    BusinessesMax,
    /// How soon people of the operator answer; for people, nothing in the software depends on it.
    SupportLevel,
}

/// What a plan, or an override, says about a feature.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Value {
    /// Whether it is there.
    Switch(bool),
    /// How many there may be.
    Limit(u64),
    /// Which one.
    Choice(&'static str),
}

/// What a feature's value is one of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// `true` or `false`.
    Switch,
    /// A whole number, at most this one.
    Limit(u64),
    /// One of these.
    Choice(&'static [&'static str]),
}

const SUPPORT: &[&str] = &["community", "business", "priority"];

impl Feature {
    /// All of them.
    pub const ALL: [Feature; 3] = [Feature::ApiAccess, Feature::BusinessesMax, Feature::SupportLevel];

    /// `api.access`, `businesses.max`, `support.level`: in the contract and in stored rows.
    pub fn code(self) -> &'static str {
        match self {
            Feature::ApiAccess => "api.access",
            Feature::BusinessesMax => "businesses.max",
            Feature::SupportLevel => "support.level",
        }
    }

    /// Reads what [`Feature::code`] writes.
    pub fn parse(code: &str) -> Option<Feature> {
        Feature::ALL.into_iter().find(|feature| feature.code() == code)
    }

    /// What its value is one of.
    pub fn kind(self) -> Kind {
        match self {
            Feature::ApiAccess => Kind::Switch,
            Feature::BusinessesMax => Kind::Limit(Tree::BUSINESSES_MAX as u64),
            Feature::SupportLevel => Kind::Choice(SUPPORT),
        }
    }

    /// Reads a value of this feature: `true`, `25`, `priority`.
    ///
    /// # Errors
    /// What it must be, in words.
    pub fn value(self, text: &str) -> Result<Value, String> {
        match self.kind() {
            Kind::Switch => match text {
                "true" => Ok(Value::Switch(true)),
                "false" => Ok(Value::Switch(false)),
                _ => Err("must be 'true' or 'false'".to_owned()),
            },
            Kind::Limit(most) => match text.parse() {
                Ok(number) if number <= most => Ok(Value::Limit(number)),
                _ => Err(format!("must be a whole number, at most '{most}'")),
            },
            Kind::Choice(values) => match values.iter().find(|value| **value == text) {
                Some(value) => Ok(Value::Choice(value)),
                None => Err(format!("must be one of {}", values.join(", "))),
            },
        }
    }
}

impl Value {
    /// As [`Feature::value`] reads it.
    pub fn text(&self) -> String {
        match self {
            Value::Switch(on) => on.to_string(),
            Value::Limit(most) => most.to_string(),
            Value::Choice(value) => (*value).to_owned(),
        }
    }
}

/// What a tenant has agreed with who runs the server.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Plan {
    /// For one business, at the dashboard.
    Starter,
    /// For a few businesses, at the dashboard.
    Standard,
    /// With the API.
    Premium,
    /// Everything.
    Enterprise,
}

impl Plan {
    /// All of them, the smallest first.
    pub const ALL: [Plan; 4] = [Plan::Starter, Plan::Standard, Plan::Premium, Plan::Enterprise];

    /// `starter`, `standard`, `premium`, `enterprise`: in the contract and in stored rows.
    pub fn code(self) -> &'static str {
        match self {
            Plan::Starter => "starter",
            Plan::Standard => "standard",
            Plan::Premium => "premium",
            Plan::Enterprise => "enterprise",
        }
    }

    /// Reads what [`Plan::code`] writes.
    pub fn parse(code: &str) -> Option<Plan> {
        Plan::ALL.into_iter().find(|plan| plan.code() == code)
    }

    /// What the plan says about a feature.
    #[rustfmt::skip] // columns
    pub fn value(self, feature: Feature) -> Value {
        use Value::{Choice, Limit, Switch};
        let [starter, standard, premium, enterprise] = match feature {
            Feature::ApiAccess     => [Switch(false), Switch(false), Switch(true), Switch(true)],
            Feature::BusinessesMax => [Limit(1), Limit(5), Limit(100), Limit(Tree::BUSINESSES_MAX as u64)],
            Feature::SupportLevel  => [Choice("community"), Choice("business"), Choice("business"), Choice("priority")],
        };
        match self {
            Plan::Starter => starter,
            Plan::Standard => standard,
            Plan::Premium => premium,
            Plan::Enterprise => enterprise,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// API-10: entitlements are typed, and every plan has a value of the right type for each feature.
    #[test]
    fn every_plan_has_a_well_formed_value_of_every_feature() {
        for plan in Plan::ALL {
            assert_eq!(Plan::parse(plan.code()), Some(plan));
            for feature in Feature::ALL {
                let value = plan.value(feature);
                assert_eq!(Feature::parse(feature.code()), Some(feature));
                assert_eq!(feature.value(&value.text()), Ok(value), "{plan:?} {feature:?}");
            }
        }
    }

    #[test]
    #[rustfmt::skip] // columns
    fn a_value_of_another_type_is_refused() {
        let refused = |feature: Feature, text: &str| assert!(feature.value(text).is_err(), "{feature:?} {text}");
        refused(Feature::ApiAccess,     "1");
        refused(Feature::ApiAccess,     "");
        refused(Feature::BusinessesMax, "-1");
        refused(Feature::BusinessesMax, "10001");
        refused(Feature::BusinessesMax, "many");
        refused(Feature::SupportLevel,  "gold");
    }
}
