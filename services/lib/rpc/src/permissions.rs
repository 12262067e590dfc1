//! What a principal may do.

use std::sync::Arc;

use proto::MethodRule;

use crate::Limited;

/// A set of permissions. A member is one of
/// - `resource.action`: exactly that,
/// - `resource.*`: every action on a resource,
/// - `*.action`: one action on every resource,
/// - `*`: everything.
///
/// Wildcards never grant `internal.…`: those are named one by one, to the platform's own principals.
///
/// Beside the members there may be grants that count within limits only. Whatever is asked here is asked without
/// them, except where the name says so: what is limited cannot be given on, and grants nothing else.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Permissions {
    /// Whether `*` is a member.
    all: bool,
    /// Sorted resources of `resource.*`.
    resources: Box<[Box<str>]>,
    /// Sorted actions of `*.action`.
    actions: Box<[Box<str>]>,
    /// Sorted members without a wildcard.
    names: Box<[Box<str>]>,
    /// What counts within limits.
    limited: Arc<[Limited]>,
}

const INTERNAL: &str = "internal";

impl Permissions {
    /// Makes a set of `members`; what is not of one of the four forms is `None`.
    pub fn parse<S: AsRef<str>>(members: impl IntoIterator<Item = S>) -> Option<Self> {
        let (mut all, mut resources, mut actions, mut names) = (false, vec![], vec![], vec![]);
        for member in members {
            let member = member.as_ref();
            if member == "*" {
                all = true;
                continue;
            }
            let (resource, action) = member.split_once('.')?;
            match (resource, action) {
                (INTERNAL, "*") | ("*", "*") => return None,
                ("*", action) if is_word(action) => actions.push(action.into()),
                (resource, "*") if is_word(resource) => resources.push(resource.into()),
                (resource, action) if is_word(resource) && is_word(action) => names.push(member.into()),
                _ => return None,
            }
        }
        Some(Permissions {
            all,
            resources: sorted(resources),
            actions: sorted(actions),
            names: sorted(names),
            limited: Arc::default(),
        })
    }

    /// The same set, and what counts within limits beside it.
    #[must_use]
    pub fn with_limited(self, limited: Vec<Limited>) -> Self {
        Permissions { limited: limited.into(), ..self }
    }

    /// What counts within limits.
    pub fn limited(&self) -> &[Limited] {
        &self.limited
    }

    /// Whether a method with this rule may be called, maybe within limits.
    pub fn lets_call(&self, rule: &MethodRule) -> bool {
        let within =
            |grant: &Limited| grant.permissions.allows(&rule.permission) && grant.limits.count_for(rule);
        self.allows(&rule.permission) || self.limited.iter().any(within)
    }

    /// Whether `permission` (`resource.action`) is granted.
    pub fn allows(&self, permission: &str) -> bool {
        if contains(&self.names, permission) {
            return true;
        }
        match permission.split_once('.') {
            None | Some((INTERNAL, _)) => false,
            Some((resource, action)) => {
                self.all || contains(&self.resources, resource) || contains(&self.actions, action)
            }
        }
    }

    /// Whether everything that `other` grants is granted here too, today and for permissions that
    /// will exist later: a wildcard is covered by wildcards only.
    pub fn covers(&self, other: &Permissions) -> bool {
        (self.all || !other.all)
            && other.resources.iter().all(|resource| self.all || contains(&self.resources, resource))
            && other.actions.iter().all(|action| self.all || contains(&self.actions, action))
            && other.names.iter().all(|name| self.allows(name))
    }

    /// What either grants.
    #[must_use]
    pub fn union(&self, other: &Permissions) -> Permissions {
        let both = |one: &[Box<str>], two: &[Box<str>]| sorted([one, two].concat());
        Permissions {
            all: self.all || other.all,
            resources: both(&self.resources, &other.resources),
            actions: both(&self.actions, &other.actions),
            names: both(&self.names, &other.names),
            limited: [&*self.limited, &*other.limited].concat().into(),
        }
    }

    /// What both grant without limits.
    #[must_use]
    pub fn intersect(&self, other: &Permissions) -> Permissions {
        if self.all || other.all {
            let (wide, narrow) = if self.all { (self, other) } else { (other, self) };
            // `*` grants nothing internal.
            let names = narrow.names.iter().filter(|name| wide.allows(name)).cloned();
            return Permissions { names: sorted(names.collect()), limited: Arc::default(), ..narrow.clone() };
        }
        let common = |one: &[Box<str>], two: &[Box<str>]| {
            sorted(one.iter().filter(|word| contains(two, word)).cloned().collect())
        };
        let crossed = |one: &Permissions, two: &Permissions| {
            let pairs = one.resources.iter().flat_map(|resource| {
                two.actions.iter().map(move |action| format!("{resource}.{action}").into_boxed_str())
            });
            let names = one.names.iter().filter(|name| two.allows(name)).cloned();
            pairs.chain(names).collect::<Vec<_>>()
        };
        Permissions {
            all: false,
            resources: common(&self.resources, &other.resources),
            actions: common(&self.actions, &other.actions),
            names: sorted([crossed(self, other), crossed(other, self)].concat()),
            limited: Arc::default(),
        }
    }

    /// The members, in a fixed order.
    pub fn members(&self) -> impl Iterator<Item = String> {
        let all = self.all.then(|| "*".to_owned());
        let resources = self.resources.iter().map(|resource| format!("{resource}.*"));
        let actions = self.actions.iter().map(|action| format!("*.{action}"));
        let names = self.names.iter().map(|name| name.to_string());
        all.into_iter().chain(resources).chain(actions).chain(names)
    }
}

fn sorted(mut words: Vec<Box<str>>) -> Box<[Box<str>]> {
    words.sort_unstable();
    words.dedup();
    words.into_boxed_slice()
}

fn contains(words: &[Box<str>], word: &str) -> bool {
    words.binary_search_by(|member| (**member).cmp(word)).is_ok()
}

/// Lower-case letters and `_`.
fn is_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(members: &str) -> Permissions {
        Permissions::parse(members.split_whitespace()).unwrap()
    }

    #[test]
    #[rustfmt::skip] // columns
    fn wildcards_grant_what_they_say_and_never_what_is_internal() {
        let check = |members: &str, permission: &str, expected: bool| {
            assert_eq!(set(members).allows(permission), expected, "{members} allows {permission}");
        };
        check("*",                "stock.post",       true);
        check("*",                "internal.gateway", false);
        check("internal.gateway", "internal.gateway", true);
        check("internal.gateway", "internal.stock",   false);
        check("stock.*",          "stock.post",       true);
        check("stock.*",          "stocks.post",      false);
        check("*.read",           "stock.read",       true);
        check("*.read",           "stock.post",       false);
        check("*.gateway",        "internal.gateway", false);
        check("stock.post",       "stock.post",       true);
        check("stock.post",       "stock.reverse",    false);
        check("",                 "stock.read",       false);
        check("*",                "stock",            false);
        check("*",                "",                 false);
    }

    #[test]
    #[rustfmt::skip] // columns
    fn a_set_covers_what_grants_no_more() {
        let check = |a: &str, b: &str, expected: bool| assert_eq!(set(a).covers(&set(b)), expected, "{a} covers {b}");
        check("*",                 "*",                          true);
        check("*",                 "stock.* *.read key.create",  true);
        check("*",                 "internal.gateway",           false);
        check("stock.* *.read",    "stock.post price.read",      true);
        check("stock.* *.read",    "stock.*",                    true);
        check("stock.* *.read",    "*",                          false);
        check("stock.* *.read",    "price.publish",              false);
        check("stock.post",        "stock.*",                    false);
        check("stock.read",        "*.read",                     false);
        check("",                  "",                           true);
        check("",                  "stock.read",                 false);
    }

    /// A permission is granted by an intersection exactly when both sets grant it.
    #[test]
    fn an_intersection_grants_what_both_grant() {
        let sets = [
            "",
            "*",
            "* internal.gateway",
            "stock.*",
            "*.read",
            "stock.post",
            "stock.* *.read key.create",
            "price.* *.post stock.read",
            "internal.gateway stock.read",
            "internal.gateway",
        ];
        let asked = [
            "stock.post",
            "stock.read",
            "stock.reverse",
            "price.read",
            "price.post",
            "key.create",
            "internal.gateway",
            "internal.stock",
        ];
        for (one, two) in sets.iter().flat_map(|one| sets.iter().map(move |two| (set(one), set(two)))) {
            let both = one.intersect(&two);
            assert_eq!(both, two.intersect(&one));
            assert_eq!(Permissions::parse(both.members()).as_ref(), Some(&both));
            for permission in asked {
                let expected = one.allows(permission) && two.allows(permission);
                assert_eq!(both.allows(permission), expected, "{permission} in {one:?} and {two:?}");
            }
        }
    }

    #[test]
    fn a_union_grants_what_either_grants() {
        let sets = ["", "*", "stock.*", "*.read", "stock.post price.read", "internal.gateway"].map(set);
        for (one, two) in sets.iter().flat_map(|one| sets.iter().map(move |two| (one, two))) {
            let both = one.union(two);
            assert_eq!(both, two.union(one));
            assert_eq!(Permissions::parse(both.members()).as_ref(), Some(&both));
            for permission in ["stock.post", "stock.read", "price.read", "price.publish", "internal.gateway"]
            {
                let expected = one.allows(permission) || two.allows(permission);
                assert_eq!(both.allows(permission), expected, "{permission} in {one:?} or {two:?}");
            }
        }
    }

    #[test]
    fn what_is_not_a_permission_is_refused() {
        for text in
            ["", "stock", "stock.", ".read", "*.*", "internal.*", "Stock.read", "a.b.c", "st*.read", "**"]
        {
            assert_eq!(Permissions::parse([text]), None, "{text:?}");
        }
    }

    #[test]
    fn members_are_given_back_once_and_in_order() {
        let members: Vec<_> = set("stock.post *.read stock.post stock.* *").members().collect();
        assert_eq!(members, ["*", "stock.*", "*.read", "stock.post"]);
    }
}
