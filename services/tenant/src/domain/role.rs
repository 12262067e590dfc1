//! Roles: named sets of permissions, the same in every tenant.

use rpc::Permissions;

/// What a key is for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Role {
    /// Runs the tenant.
    Owner,
    /// Works with goods.
    Clerk,
    /// Looks.
    Viewer,
}

impl Role {
    /// All of them, the most powerful first.
    pub const ALL: [Role; 3] = [Role::Owner, Role::Clerk, Role::Viewer];

    /// `owner`, `clerk`, `viewer`: in the contract and in stored rows.
    pub fn code(self) -> &'static str {
        match self {
            Role::Owner => "owner",
            Role::Clerk => "clerk",
            Role::Viewer => "viewer",
        }
    }

    /// Reads what [`Role::code`] writes.
    pub fn parse(code: &str) -> Option<Role> {
        Role::ALL.into_iter().find(|role| role.code() == code)
    }

    /// For people.
    pub fn description(self) -> &'static str {
        match self {
            Role::Owner => "Everything in the tenant, API keys and the audit log included.",
            Role::Clerk => "Products, prices and stock movements; no settings, no keys, no new locations.",
            Role::Viewer => "Reads everything but the audit log, changes nothing.",
        }
    }

    /// What it may do, as members of [`Permissions`]. Nothing internal is ever among them.
    pub fn members(self) -> &'static [&'static str] {
        match self {
            Role::Owner => &["*"],
            Role::Clerk => &[
                "location.read",
                "price.publish",
                "price.read",
                "product.*",
                "stock.post",
                "stock.read",
                "stock.reverse",
                "tenant.read",
            ],
            Role::Viewer => &["*.read"],
        }
    }

    /// What it may do.
    pub fn permissions(self) -> Permissions {
        Permissions::parse(self.members()).unwrap_or_default()
    }
}

/// A set of roles.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Roles(u8);

impl Roles {
    /// The set with `role` in it.
    #[must_use]
    pub fn with(self, role: Role) -> Roles {
        Roles(self.0 | Roles::bit(role))
    }

    /// Those that are in it, the most powerful first.
    pub fn iter(self) -> impl Iterator<Item = Role> {
        Role::ALL.into_iter().filter(move |role| self.0 & Roles::bit(*role) != 0)
    }

    fn bit(role: Role) -> u8 {
        match role {
            Role::Owner => 1,
            Role::Clerk => 2,
            Role::Viewer => 4,
        }
    }
}

impl FromIterator<Role> for Roles {
    fn from_iter<I: IntoIterator<Item = Role>>(roles: I) -> Roles {
        roles.into_iter().fold(Roles::default(), Roles::with)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_role_is_well_formed_and_the_owner_covers_all() {
        for role in Role::ALL {
            assert_eq!(Role::parse(role.code()), Some(role));
            assert!(Permissions::parse(role.members()).is_some(), "{role:?}");
            assert!(Role::Owner.permissions().covers(&role.permissions()), "{role:?}");
        }
        assert_eq!(Role::parse("Owner"), None);
    }

    /// API-2, the table of roles and operations, as the policies decide: over every permission of the contract, so
    /// a new one shows up here. What is not granted is refused.
    #[test]
    #[rustfmt::skip] // columns
    fn what_each_role_may_do() {
        let tenant = ids::TenantId::from_bytes([1; 16]);
        let path = [ids::BusinessId::from_bytes([2; 16])];
        let id = path[0].to_string();
        let may = |role: Role, permission: &str| {
            let grants = role.members().iter().map(ToString::to_string).collect();
            let who = authz::Principal { kind: authz::Kind::ApiKey, id: "key_a", tenant, business: path[0], grants };
            authz::authorizer().decide(&who, permission, &authz::Resource::business(tenant, &id, &path), &[]).allowed
        };
        let found: Vec<(&str, bool, bool, bool)> = authz::authorizer().permissions().into_iter().map(|permission| {
            (permission, may(Role::Owner, permission), may(Role::Clerk, permission), may(Role::Viewer, permission))
        }).collect();
        assert_eq!(found, [
            //                  owner  clerk  viewer
            ("account.close",    true,  false, false),
            ("assignment.create", true, false, false),
            ("assignment.read",  true,  false, true),
            ("assignment.revoke", true, false, false),
            ("audit.export",     true,  false, false),
            ("audit.inspect",    true,  false, false),
            ("business.close",   true,  false, false),
            ("business.create",  true,  false, false),
            ("business.move",    true,  false, false),
            ("business.suspend", true,  false, false),
            ("descendants.read", true,  false, true),
            ("descendants.write", true, false, false),
            ("inheritance.read", true,  false, true),
            ("inheritance.update", true, false, false),
            ("internal.gateway", false, false, false),
            ("internal.guard", false, false, false),
            ("internal.journal", false, false, false),
            ("internal.tenant", false, false, false),
            ("key.create",       true,  false, false),
            ("key.read",         true,  false, true),
            ("key.revoke",       true,  false, false),
            ("key.rotate",       true,  false, false),
            ("location.create",  true,  false, false),
            ("location.read",    true,  true,  true),
            ("location.update",  true,  false, false),
            ("operator.grant",   true,  false, false),
            ("operator.read",    true,  false, true),
            ("price.publish",    true,  true,  false),
            ("price.read",       true,  true,  true),
            ("product.create",   true,  true,  false),
            ("product.read",     true,  true,  true),
            ("product.update",   true,  true,  false),
            ("provider.create",  true,  false, false),
            ("provider.read",    true,  false, true),
            ("provider.update",  true,  false, false),
            ("public.accept",    true,  false, false),
            ("public.sign_in",   true,  false, false),
            ("role.create",      true,  false, false),
            ("role.update",      true,  false, false),
            ("self.read",        true,  false, true),
            ("self.update",      true,  false, false),
            ("stock.post",       true,  true,  false),
            ("stock.read",       true,  true,  true),
            ("stock.reverse",    true,  true,  false),
            ("tenant.read",      true,  true,  true),
            ("tenant.update",    true,  false, false),
            ("user.create",      true,  false, false),
            ("user.read",        true,  false, true),
            ("user.update",      true,  false, false),
        ]);
    }
}
