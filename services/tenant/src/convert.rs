//! Between the contract and the domain: every field check is here, and all bad fields are reported at
//! once.

pub(crate) mod access;
pub(crate) mod account;
mod business;
pub(crate) mod identity;
pub(crate) mod operator;
pub(crate) mod provider;

use calendar::Instant;
use ids::{ApiKeyId, BusinessId, TenantId, UserId};
use problem::{Invalid, Violations, reason};
use prost_types::Timestamp;
use proto::tenant::v1 as wire;
use rpc::Permissions;

use crate::app::{Authenticated, CreateApiKey, CreatedKey, Login, Page};
use crate::domain::{ApiKey, Credential, Network, NewKey, Opaque, Role, Tenant};

pub(crate) use business::{
    business, businesses, country, create_business, list_businesses, move_business, update_business,
};

/// Longest list of permissions of a key.
const PERMISSIONS_MAX: usize = 100;
/// Longest allow-list of a key.
const NETWORKS_MAX: usize = 50;

pub(crate) fn business_id(text: &str) -> Result<BusinessId, Invalid> {
    let mut violations = Violations::new();
    let id = required_id(&mut violations, "business_id", text, BusinessId::parse);
    finish(violations, id)
}

pub(crate) fn api_key_id(text: &str) -> Result<ApiKeyId, Invalid> {
    let mut violations = Violations::new();
    let id = required_id(&mut violations, "api_key_id", text, ApiKeyId::parse);
    finish(violations, id)
}

/// The key, and for how many seconds the secret before stays valid.
pub(crate) fn rotate_api_key(request: &wire::RotateApiKeyRequest) -> Result<(ApiKeyId, u32), Invalid> {
    let mut violations = Violations::new();
    let id = required_id(&mut violations, "api_key_id", &request.api_key_id, ApiKeyId::parse);
    let (overlap, most) = (request.overlap_seconds, ApiKey::OVERLAP_SECONDS_MAX);
    if overlap > most {
        let detail = format!("must be at most '{most}', not '{overlap}'");
        violations.add("overlap_seconds", reason::OUT_OF_RANGE, detail);
    }
    finish(violations, id.map(|id| (id, overlap)))
}

pub(crate) fn page_size(requested: u32) -> Result<usize, Invalid> {
    rpc::page_size(requested).map_err(|size| {
        Invalid::field("page_size", reason::TOO_LARGE, format!("must be at most '500', not '{size}'"))
    })
}

pub(crate) fn create_api_key(request: wire::CreateApiKeyRequest) -> Result<CreateApiKey, Invalid> {
    let mut violations = Violations::new();
    let Some(key) = request.api_key else {
        return Err(Invalid::field("api_key", reason::REQUIRED, "must be given"));
    };
    let new = violations.within("api_key", |violations| {
        refuse_output_only(violations, &output_only_of_key(&key));
        name(violations, "name", &key.name, NewKey::NAME_CHARS_MAX);
        let role = violations.required("role", &key.role).and_then(|code| {
            let role = Role::parse(code);
            if role.is_none() {
                let detail = format!("must be 'owner', 'clerk' or 'viewer', not '{code}'");
                violations.add("role", reason::UNKNOWN_VALUE, detail);
            }
            role
        });
        let narrowed = permissions(violations, role, &key.permissions);
        let business = (!key.business_id.is_empty())
            .then(|| violations.field("business_id", BusinessId::parse(&key.business_id)))
            .flatten();
        let expires_at = key.expires_at.and_then(|at| instant(violations, "expires_at", &at));
        let ip_allow = networks(violations, &key.ip_allow);
        Some(CreateApiKey { name: key.name, role: role?, narrowed, business, expires_at, ip_allow })
    });
    finish(violations, new)
}

fn output_only_of_key(key: &wire::ApiKey) -> [(&'static str, bool); 10] {
    [
        ("id", !key.id.is_empty()),
        ("key_prefix", !key.key_prefix.is_empty()),
        ("last4", !key.last4.is_empty()),
        ("created_at", key.created_at.is_some()),
        ("revoked_at", key.revoked_at.is_some()),
        ("created_by", key.created_by.is_some()),
        ("last_used_at", key.last_used_at.is_some()),
        ("last_used_ip", !key.last_used_ip.is_empty()),
        ("previous_last4", !key.previous_last4.is_empty()),
        ("previous_expires_at", key.previous_expires_at.is_some()),
    ]
}

/// Permissions that narrow a role: each within the role, and one that some method asks for.
fn permissions(violations: &mut Violations, role: Option<Role>, members: &[String]) -> Vec<String> {
    if members.len() > PERMISSIONS_MAX {
        violations.add("permissions", reason::TOO_MANY, format!("must be at most '{PERMISSIONS_MAX}'"));
        return vec![];
    }
    for (at, member) in members.iter().enumerate() {
        let field = format!("permissions[{at}]");
        let Some(wanted) = Permissions::parse([member]) else {
            violations.add(
                &field,
                reason::MALFORMED,
                format!("'{member}' is not of the form 'resource.action'"),
            );
            continue;
        };
        if !authz::authorizer().grants(member) {
            violations.add(&field, reason::UNKNOWN_VALUE, format!("there is no permission '{member}'"));
        } else if role.is_some_and(|role| !role.permissions().covers(&wanted)) {
            violations.add(&field, reason::NOT_ALLOWED, format!("'{member}' is not part of the role"));
        }
    }
    let mut members = members.to_vec();
    members.sort_unstable();
    members.dedup();
    members
}

fn networks(violations: &mut Violations, texts: &[String]) -> Vec<Network> {
    if texts.len() > NETWORKS_MAX {
        violations.add("ip_allow", reason::TOO_MANY, format!("must be at most '{NETWORKS_MAX}'"));
        return vec![];
    }
    let mut networks = Vec::with_capacity(texts.len());
    for (at, text) in texts.iter().enumerate() {
        match Network::parse(text) {
            Some(network) => networks.push(network),
            None => {
                let detail = format!("'{text}' is no network such as '192.0.2.0/24' or '2001:db8::/32'");
                violations.add(&format!("ip_allow[{at}]"), reason::MALFORMED, detail);
            }
        }
    }
    networks
}

pub(crate) fn login(request: &wire::AuthenticateRequest) -> Result<Login, Invalid> {
    let mut violations = Violations::new();
    let business = (!request.business_id.is_empty())
        .then(|| violations.field("business_id", BusinessId::parse(&request.business_id)))
        .flatten();
    violations.into_result()?;
    let (credential, session) = (Credential::parse(&request.credential), Opaque::parse(&request.credential));
    // Neither keys nor tokens of sessions have dots.
    let jwt = request.credential.contains('.').then(|| request.credential.clone());
    Ok(Login { credential, session, jwt, peer: request.peer_ip.parse().ok(), business })
}

/// Checks a name that people read.
pub(crate) fn name(violations: &mut Violations, field: &str, text: &str, chars_max: usize) {
    if violations.required(field, text).is_none() {
        return;
    }
    violations.at_most(field, text, chars_max);
    if text.trim().len() != text.len() || text.chars().any(char::is_control) {
        let detail = "must not begin or end with white space nor hold control characters";
        violations.add(field, reason::MALFORMED, detail);
    }
}

fn refuse_output_only(violations: &mut Violations, fields: &[(&'static str, bool)]) {
    for (field, _) in fields.iter().filter(|(_, set)| *set) {
        violations.add(field, reason::OUTPUT_ONLY, "is set by the server");
    }
}

fn required_id<T>(
    violations: &mut Violations,
    field: &str,
    text: &str,
    parse: fn(&str) -> Result<T, ids::ParseError>,
) -> Option<T> {
    let text = violations.required(field, text)?;
    violations.field(field, parse(text))
}

fn instant(violations: &mut Violations, field: &str, at: &Timestamp) -> Option<Instant> {
    let instant = Instant::from_seconds_nanos(at.seconds, at.nanos);
    if instant.is_none() {
        violations.add(field, reason::OUT_OF_RANGE, "must lie in the years 1900 to 2199");
    }
    instant
}

/// The value, if nothing was wrong: no value without a violation.
fn finish<T>(violations: Violations, value: Option<T>) -> Result<T, Invalid> {
    violations.into_result()?;
    value.ok_or_else(|| Invalid::field("", reason::REQUIRED, "must be given"))
}

/// `legalName` and `legal_name` name the same field.
fn snake(field: &str) -> String {
    let mut out = String::with_capacity(field.len() + 2);
    for letter in field.chars() {
        if letter.is_ascii_uppercase() {
            out.push('_');
        }
        out.push(letter.to_ascii_lowercase());
    }
    out
}

pub(crate) fn tenant(id: TenantId, tenant: Tenant) -> wire::Tenant {
    wire::Tenant {
        id: id.to_string(),
        name: tenant.name,
        master_business_id: tenant.master.to_string(),
        created_at: Some(timestamp(tenant.created_at)),
    }
}

pub(crate) fn api_key(key: ApiKey) -> wire::ApiKey {
    let issued = key.issued;
    wire::ApiKey {
        id: issued.id.to_string(),
        business_id: issued.business().map(|id| id.to_string()).unwrap_or_default(),
        name: issued.name,
        role: issued.role.code().to_owned(),
        permissions: issued.narrowed,
        key_prefix: Credential::prefix(issued.id),
        last4: issued.last4,
        expires_at: issued.expires_at.map(timestamp),
        created_at: Some(timestamp(key.created_at)),
        revoked_at: key.revoked_at.map(timestamp),
        created_by: Some((&issued.created_by).into()),
        last_used_at: key.last_used.map(|used| timestamp(used.at)),
        ip_allow: issued.ip_allow.iter().map(ToString::to_string).collect(),
        last_used_ip: key.last_used.and_then(|used| used.ip).map(|ip| ip.to_string()).unwrap_or_default(),
        previous_expires_at: key.previous.as_ref().map(|previous| timestamp(previous.until)),
        previous_last4: key.previous.map(|previous| previous.last4).unwrap_or_default(),
    }
}

pub(crate) fn list_api_keys(request: &wire::ListApiKeysRequest) -> Result<(Option<UserId>, usize), Invalid> {
    let size = page_size(request.page_size)?;
    if request.created_by.is_empty() {
        return Ok((None, size));
    }
    let mut violations = Violations::new();
    let maker = violations.field("created_by", UserId::parse(&request.created_by));
    finish(violations, maker.map(|maker| (Some(maker), size)))
}

pub(crate) fn api_keys(page: Page<ApiKey>) -> wire::ListApiKeysResponse {
    wire::ListApiKeysResponse {
        api_keys: page.items.into_iter().map(api_key).collect(),
        next_page_token: page.next,
    }
}

pub(crate) fn created_key(created: CreatedKey) -> wire::CreateApiKeyResponse {
    wire::CreateApiKeyResponse { api_key: Some(api_key(created.key)), secret: created.credential.reveal() }
}

pub(crate) fn rotated_key(rotated: CreatedKey) -> wire::RotateApiKeyResponse {
    wire::RotateApiKeyResponse { api_key: Some(api_key(rotated.key)), secret: rotated.credential.reveal() }
}

pub(crate) fn caller(ctx: &rpc::Ctx, role: Option<Role>) -> wire::Caller {
    wire::Caller {
        tenant_id: ctx.tenant.to_string(),
        business_id: ctx.business.to_string(),
        principal: Some((&ctx.actor).into()),
        role: role.map(|role| role.code().to_owned()).unwrap_or_default(),
        permissions: ctx.permissions.members().collect(),
        limited: ctx.permissions.limited().iter().map(Into::into).collect(),
    }
}

pub(crate) fn authenticated(authenticated: Authenticated) -> wire::AuthenticateResponse {
    let principal = authenticated.principal;
    let session = principal.actor.session.as_ref();
    wire::AuthenticateResponse {
        tenant_id: principal.tenant.to_string(),
        business_id: principal.business.to_string(),
        principal: Some((&principal.actor).into()),
        permissions: principal.permissions.members().collect(),
        limited: principal.permissions.limited().iter().map(Into::into).collect(),
        role: authenticated.role.code().to_owned(),
        expires_at: authenticated.expires_at.map(timestamp),
        bars: authenticated.bars.reasons(),
        derivation_secret: principal.secret.to_vec(),
        business_path: principal.path.iter().map(ToString::to_string).collect(),
        session_id: session.map(|session| session.id.to_string()).unwrap_or_default(),
        proven_until: session.map(|session| {
            let ms = i64::try_from(session.proven_until_ms).unwrap_or(i64::MAX);
            Timestamp { seconds: ms / 1_000, nanos: i32::try_from(ms % 1_000 * 1_000_000).unwrap_or(0) }
        }),
    }
}

fn timestamp(at: Instant) -> Timestamp {
    let (seconds, nanos) = at.seconds_nanos();
    Timestamp { seconds, nanos }
}
