//! What each RPC says about itself, and the check that it does.
//!
//! `build.rs` includes this file too: a contract that fails [`read`] does not build.

use std::collections::{BTreeSet, HashMap};
use std::fmt;

use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};
use prost_reflect::{DescriptorPool, DynamicMessage, Kind, MethodDescriptor, Value};

/// What an RPC says about itself with `(cargopilot.api.v1.rule)` and `(google.api.http)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MethodRule {
    /// Its gRPC path: `/cargopilot.stock.v1.StockService/PostMovement`.
    pub path: String,
    /// The service that answers it, for example `stock`: whom a signed context must be meant for.
    pub service: String,
    /// `resource.action`, for example `stock.post`. `internal.<caller>` is never granted to a credential.
    pub permission: String,
    /// Position of the permission among all of the contract, sorted: names it in tables.
    pub permission_number: usize,
    /// How it treats the idempotency key.
    pub idempotency: Idempotency,
    /// Whether the request must carry the revision that it was made from.
    pub if_match: bool,
    /// What the audit log keeps of a call.
    pub audit: Audit,
    /// Reasons that the RPC documents beside the common ones.
    pub errors: Vec<String>,
    /// Whether the answer has one result per item.
    pub multi_status: bool,
    /// Whether a success makes a resource.
    pub creates: bool,
    /// Whether a call that only reads is written down.
    pub audited_read: bool,
    /// Whether a user must have proven himself a short while ago.
    pub step_up: bool,
    /// Whether neither plan nor standing of the tenant is against it.
    pub ungated: bool,
    /// Limits of a grant (`location`, `category`, `amount`) that it keeps to, or that say nothing about what it
    /// touches: a grant with another limit does not count for it.
    pub limits: Vec<String>,
    /// Numbers of the request fields, from the outside in, that lead to the name of the aggregate which the call is
    /// about; empty if it names none.
    pub aggregate: Vec<u32>,
    /// Its REST route; `internal.*` RPCs have none.
    pub http: Option<Route>,
}

impl MethodRule {
    /// Whether the call needs no credential, and is made in nobody's name.
    pub fn is_public(&self) -> bool {
        self.permission.starts_with("public.")
    }

    /// Finds the name of the aggregate that a call is about in its encoded request. A request that does not decode
    /// names none: the service says what is wrong with it.
    pub fn aggregate_of<'a>(&self, request: &'a [u8]) -> Option<&'a [u8]> {
        let found = self.aggregate.iter().try_fold(request, |message, number| field(message, *number))?;
        Some(found).filter(|name| !self.aggregate.is_empty() && !name.is_empty())
    }
}

/// The last field of an encoded message with a number, if it is a string, bytes or a message.
fn field(mut message: &[u8], wanted: u32) -> Option<&[u8]> {
    let mut found = None;
    while !message.is_empty() {
        let (number, wire_type) = decode_key(&mut message).ok()?;
        if wire_type == WireType::LengthDelimited {
            let length = usize::try_from(decode_varint(&mut message).ok()?).ok()?;
            let (value, rest) = message.split_at_checked(length)?;
            message = rest;
            if number == wanted {
                found = Some(value);
            }
        } else {
            skip_field(wire_type, number, &mut message, DecodeContext::default()).ok()?;
        }
    }
    found
}

/// A REST route: `POST /v1/movements/{movement_id}:reverse`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// `GET`, `POST`, `PUT`, `PATCH` or `DELETE`.
    pub method: &'static str,
    /// The path template.
    pub path: String,
    /// The request field that the body becomes; `*` for the whole request, empty for no body.
    pub body: String,
}

/// How an RPC treats the idempotency key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Idempotency {
    /// It has no use for one.
    None,
    /// It honours one.
    Optional,
    /// It refuses a call without one.
    Required,
}

/// What the audit log keeps of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audit {
    /// A read.
    Read,
    /// A change.
    Write,
    /// A change to who may do what.
    Security,
}

/// Why an RPC may not be part of the contract.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// `cargopilot.stock.v1.StockService.PostMovement`.
    pub rpc: String,
    /// What is missing or wrong.
    pub why: String,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.rpc, self.why)
    }
}

/// Reads the rule of every RPC in `pool`, by gRPC path (`/cargopilot.stock.v1.StockService/PostMovement`).
///
/// # Errors
/// Every RPC that has no rule, no permission, no idempotency, no audit class, or whose route does not
/// fit its permission: `internal.*` has none, the others have one.
pub fn read(pool: &DescriptorPool) -> Result<HashMap<String, MethodRule>, Vec<Refused>> {
    let mut rules = HashMap::new();
    let mut refused = Vec::new();
    for service in pool.services() {
        for method in service.methods() {
            match rule(pool, &method) {
                Ok(rule) => {
                    rules.insert(rule.path.clone(), rule);
                }
                Err(why) => refused.push(Refused { rpc: method.full_name().to_owned(), why }),
            }
        }
    }
    number_permissions(&mut rules);
    if refused.is_empty() { Ok(rules) } else { Err(refused) }
}

fn number_permissions(rules: &mut HashMap<String, MethodRule>) {
    let names: BTreeSet<String> = rules.values().map(|rule| rule.permission.clone()).collect();
    let numbers: HashMap<String, usize> = names.into_iter().zip(0..).collect();
    for rule in rules.values_mut() {
        rule.permission_number = numbers[&rule.permission];
    }
}

fn rule(pool: &DescriptorPool, method: &MethodDescriptor) -> Result<MethodRule, String> {
    let rule = option(pool, method, "cargopilot.api.v1.rule").ok_or("has no (cargopilot.api.v1.rule)")?;
    let permission = string(&rule, "permission");
    if permission.is_empty() {
        return Err("has no permission".to_owned());
    }
    let idempotency = match number(&rule, "idempotency") {
        1 => Idempotency::None,
        2 => Idempotency::Optional,
        3 => Idempotency::Required,
        _ => return Err("does not say how it treats an idempotency key".to_owned()),
    };
    let audit = match number(&rule, "audit") {
        1 => Audit::Read,
        2 => Audit::Write,
        3 => Audit::Security,
        _ => return Err("has no audit class".to_owned()),
    };
    let http = option(pool, method, "google.api.http").map(|http| route(&http)).transpose()?;
    if permission.starts_with("internal.") != http.is_none() {
        return Err(format!("has permission {permission:?}: a route is for what is not internal"));
    }
    Ok(MethodRule {
        path: format!("/{}/{}", method.parent_service().full_name(), method.name()),
        service: service(method)?,
        permission,
        permission_number: 0,
        idempotency,
        if_match: boolean(&rule, "if_match"),
        audit,
        errors: strings(&rule, "errors"),
        multi_status: boolean(&rule, "multi_status"),
        creates: boolean(&rule, "creates"),
        audited_read: boolean(&rule, "audited_read"),
        step_up: boolean(&rule, "step_up"),
        ungated: boolean(&rule, "ungated"),
        limits: limits(&rule)?,
        aggregate: aggregate(&string(&rule, "aggregate"), method)?,
        http,
    })
}

/// Finds the string field that a path such as `movement.variant_id` leads to.
fn aggregate(path: &str, method: &MethodDescriptor) -> Result<Vec<u32>, String> {
    if path.is_empty() {
        return Ok(Vec::new());
    }
    let refused = || format!("names {path:?} as its aggregate: no string field of the request");
    let (mut message, mut numbers) = (Some(method.input()), Vec::new());
    let mut is_name = false;
    for name in path.split('.') {
        let field = message.and_then(|message| message.get_field_by_name(name)).ok_or_else(refused)?;
        if field.is_list() || field.is_map() {
            return Err(refused());
        }
        numbers.push(field.number());
        is_name = field.kind() == Kind::String;
        message = field.kind().as_message().cloned();
    }
    if is_name { Ok(numbers) } else { Err(refused()) }
}

/// What a grant can be limited by.
const LIMITS: [&str; 3] = ["location", "category", "amount"];

fn limits(rule: &DynamicMessage) -> Result<Vec<String>, String> {
    let limits = strings(rule, "limits");
    match limits.iter().find(|limit| !LIMITS.contains(&limit.as_str())) {
        Some(unknown) => Err(format!("names the limit {unknown:?}: there are {LIMITS:?}")),
        None => Ok(limits),
    }
}

/// `stock` of `cargopilot.stock.v1.StockService`: a service is a package.
fn service(method: &MethodDescriptor) -> Result<String, String> {
    let service = method.parent_service();
    let package = service.package_name();
    let name = package.strip_prefix("cargopilot.").and_then(|rest| rest.split_once('.'));
    let (name, _) =
        name.ok_or_else(|| format!("is in {package:?}: packages are cargopilot.SERVICE.VERSION"))?;
    Ok(name.to_owned())
}

fn route(http: &DynamicMessage) -> Result<Route, String> {
    let given = |method: &'static str| {
        let path = string(http, &method.to_ascii_lowercase());
        (!path.is_empty()).then_some((method, path))
    };
    let (method, path) = ["GET", "POST", "PUT", "PATCH", "DELETE"]
        .into_iter()
        .find_map(given)
        .ok_or("has a route without method and path")?;
    Ok(Route { method, path, body: string(http, "body") })
}

fn option(pool: &DescriptorPool, method: &MethodDescriptor, name: &str) -> Option<DynamicMessage> {
    let extension = pool.get_extension_by_name(name)?;
    let options = method.options();
    if !options.has_extension(&extension) {
        return None;
    }
    options.get_extension(&extension).as_message().cloned()
}

fn string(message: &DynamicMessage, field: &str) -> String {
    message.get_field_by_name(field).and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
}

fn strings(message: &DynamicMessage, field: &str) -> Vec<String> {
    let value = message.get_field_by_name(field);
    let items = value.as_deref().and_then(Value::as_list).unwrap_or_default();
    items.iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn boolean(message: &DynamicMessage, field: &str) -> bool {
    message.get_field_by_name(field).and_then(|v| v.as_bool()).unwrap_or_default()
}

fn number(message: &DynamicMessage, field: &str) -> i32 {
    message.get_field_by_name(field).and_then(|v| v.as_enum_number()).unwrap_or_default()
}
