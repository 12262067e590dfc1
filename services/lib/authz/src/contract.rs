//! What the contract says about permissions.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use prost_reflect::{DescriptorPool, Kind, MessageDescriptor};
use proto::{Audit, MethodRule};

/// Permissions that no RPC asks for by itself: they widen what the others reach (HIE-10).
pub const PLATFORM_WIDE: [(&str, bool); 2] = [("descendants.read", true), ("descendants.write", false)];

/// What may be done, and to what.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Contract {
    /// By permission: `stock.post`.
    pub operations: BTreeMap<String, Operation>,
    /// Every resource type of the contract by its id prefix: `prd` is `Product`.
    pub resources: BTreeMap<String, String>,
}

/// What one permission is for.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Operation {
    /// Whether it changes nothing: every RPC that asks for it is a read.
    pub reads: bool,
    /// Resource types that its RPCs take or give, `Product`; `Business` is always among them, as the place where
    /// it happens.
    pub resources: BTreeSet<String>,
}

impl Contract {
    /// Reads the options of a contract.
    #[must_use]
    pub fn read(pool: &DescriptorPool, rules: &HashMap<String, MethodRule>) -> Contract {
        let mut resources = BTreeMap::from([(String::from("biz"), String::from("Business"))]);
        for message in pool.all_messages() {
            if let Some(prefix) = prefix(pool, &message) {
                resources.insert(prefix, message.name().to_owned());
            }
        }
        let place = || BTreeSet::from([String::from("Business")]);
        let mut operations: BTreeMap<String, Operation> = PLATFORM_WIDE
            .into_iter()
            .map(|(permission, reads)| (permission.to_owned(), Operation { reads, resources: place() }))
            .collect();
        for service in pool.services() {
            for method in service.methods() {
                let Some(rule) = rules.get(&format!("/{}/{}", service.full_name(), method.name())) else {
                    continue;
                };
                let reads = rule.audit == Audit::Read;
                let operation = operations
                    .entry(rule.permission.clone())
                    .or_insert_with(|| Operation { reads, resources: place() });
                operation.reads &= reads;
                for message in [method.input(), method.output()] {
                    let prefixes = prefix(pool, &message).into_iter().chain(mentioned(pool, &message));
                    operation.resources.extend(prefixes.filter_map(|prefix| resources.get(&prefix).cloned()));
                }
            }
        }
        Contract { operations, resources }
    }
}

/// Whether only the platform itself may do it.
pub(crate) fn is_internal(permission: &str) -> bool {
    permission.starts_with("internal.")
}

/// What grants a permission: itself and its wildcards.
pub(crate) fn grants_of(permission: &str) -> impl Iterator<Item = String> {
    let wild = permission.split_once('.').filter(|_| !is_internal(permission));
    let wild =
        wild.map(|(resource, action)| [format!("{resource}.*"), format!("*.{action}"), "*".to_owned()]);
    [permission.to_owned()].into_iter().chain(wild.into_iter().flatten())
}

/// The id prefix of a message that is a resource.
fn prefix(pool: &DescriptorPool, message: &MessageDescriptor) -> Option<String> {
    let extension = pool.get_extension_by_name("cargopilot.api.v1.resource")?;
    let options = message.options();
    if !options.has_extension(&extension) {
        return None;
    }
    let resource = options.get_extension(&extension);
    let prefix = resource.as_message()?.get_field_by_name("prefix")?.as_str()?.to_owned();
    Some(prefix)
}

/// Prefixes of the resources that the fields of a message hold.
fn mentioned(pool: &DescriptorPool, message: &MessageDescriptor) -> Vec<String> {
    let held = message.fields().filter_map(|field| match field.kind() {
        Kind::Message(held) => prefix(pool, &held),
        _ => None,
    });
    held.collect()
}
