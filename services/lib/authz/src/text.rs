//! Schema and policies as Cedar text. What is generated is a function of the contract alone.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::contract::{Contract, grants_of, is_internal};

/// The static policies: what holds for everybody.
pub const FORBIDS: &str = include_str!("../policies/static.cedar");

/// Writes the Cedar schema of a contract: one action per permission within groups for its wildcards, one entity
/// type per resource, each with tenant and business.
#[must_use]
pub fn schema(contract: &Contract) -> String {
    let mut out = String::from(
        "// Made from the contract.\n\
         entity Tenant;\n\
         entity Business in [Business] = { tenant: Tenant, business: Business, owner: Business, \
         locked: Set<String> };\n",
    );
    for principal in ["KeyPrincipal", "UserPrincipal", "SystemPrincipal"] {
        let _ = writeln!(
            out,
            "entity {principal} = {{ tenant: Tenant, business: Business, grants: Set<String> }};"
        );
    }
    let own = ["Business", "Tenant"];
    for resource in contract.resources.values().filter(|name| !own.contains(&name.as_str())) {
        let _ = writeln!(
            out,
            "entity {resource} = {{ tenant: Tenant, business: Business, owner: Business, locked: Set<String> }};"
        );
    }
    let groups: BTreeSet<String> =
        contract.operations.keys().flat_map(|name| grants_of(name).skip(1)).collect();
    for group in ["internal", "reads", "writes"].into_iter().chain(groups.iter().map(String::as_str)) {
        let _ = writeln!(out, "action {group:?};");
    }
    for (name, operation) in &contract.operations {
        let groups: Vec<String> =
            groups_of(name, operation.reads).map(|group| format!("{group:?}")).collect();
        let resources: Vec<&str> =
            operation.resources.iter().map(String::as_str).filter(|name| *name != "Tenant").collect();
        let _ = writeln!(
            out,
            "action {name:?} in [{}] appliesTo {{ principal: [KeyPrincipal, UserPrincipal, SystemPrincipal], \
             resource: [{}], context: {{ fields: Set<String> }} }};",
            groups.join(", "),
            resources.join(", "),
        );
    }
    out
}

/// Writes the policies that let in what was granted: one per permission and one per wildcard.
#[must_use]
pub fn permits(contract: &Contract) -> Vec<(String, String)> {
    let grants: BTreeSet<String> = contract.operations.keys().flat_map(|name| grants_of(name)).collect();
    let permit = |grant: String| {
        let scope = if contract.operations.contains_key(&grant) { "==" } else { "in" };
        let text = format!(
            "@id(\"permit:{grant}\")\npermit (principal, action {scope} Action::{grant:?}, resource)\n\
             when {{ principal.grants.contains({grant:?}) }};\n"
        );
        (grant, text)
    };
    grants.into_iter().map(permit).collect()
}

/// The groups that an action is a member of.
pub(crate) fn groups_of(permission: &str, reads: bool) -> impl Iterator<Item = String> {
    let kind = match (is_internal(permission), reads) {
        (true, _) => "internal",
        (false, true) => "reads",
        (false, false) => "writes",
    };
    grants_of(permission).skip(1).chain([kind.to_owned()])
}
