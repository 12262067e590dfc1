//! Identity providers and logins, between the contract and the domain.

use ids::{ProviderId, TenantId};
use problem::{Invalid, Violations, reason};
use proto::tenant::v1 as wire;

use super::{finish, name, refuse_output_only, required_id, snake, timestamp};
use crate::app::{CreateProvider, FinishLogin, StartLogin, Started, UpdateProvider};
use crate::domain::jwt::Algorithm;
use crate::domain::{NewProvider, Provider, provider as of};

const SLUG_CHARS_MAX: usize = 63;
const LOGIN_TOKEN_CHARS_MAX: usize = 400;
const CODE_CHARS_MAX: usize = 2048;
const STATE_CHARS_MAX: usize = 200;

pub(crate) fn provider_id(text: &str) -> Result<ProviderId, Invalid> {
    let mut violations = Violations::new();
    let id = required_id(&mut violations, "provider_id", text, ProviderId::parse);
    finish(violations, id)
}

pub(crate) fn create(request: wire::CreateIdentityProviderRequest) -> Result<CreateProvider, Invalid> {
    let mut violations = Violations::new();
    let Some(provider) = request.provider else {
        return Err(Invalid::field("provider", reason::REQUIRED, "must be given"));
    };
    let new = violations.within("provider", |violations| {
        refuse_output_only(violations, &output_only(&provider));
        name(violations, "name", &provider.name, NewProvider::NAME_CHARS_MAX);
        if violations.required("issuer", &provider.issuer).is_some() {
            url(violations, "issuer", &provider.issuer);
        }
        if provider.issuer.contains('?') {
            violations.add("issuer", reason::MALFORMED, "must have no query");
        }
        violations.required("client_id", &provider.client_id);
        plain(violations, "client_id", &provider.client_id, NewProvider::CLIENT_ID_CHARS_MAX);
        plain(violations, "client_secret", &provider.client_secret, NewProvider::SECRET_CHARS_MAX);
        redirects(violations, &provider.redirect_uris);
        if !["", "active"].contains(&provider.status.as_str()) {
            violations.add("status", reason::NOT_ALLOWED, "is 'active' when it is made");
        }
        let algorithms = algorithms(violations, &provider.algorithms);
        CreateProvider {
            name: provider.name,
            issuer: provider.issuer,
            client_id: provider.client_id,
            client_secret: provider.client_secret,
            bearer: provider.bearer,
            algorithms,
            redirect_uris: provider.redirect_uris,
            link_by_email: provider.link_by_email,
        }
    });
    finish(violations, Some(new))
}

/// An issuer that is not called.
pub(crate) fn issuer_refused() -> Invalid {
    let detail =
        "must be an 'https' address on the public internet, or one that whoever runs the server allows";
    Invalid::field("provider.issuer", reason::NOT_ALLOWED, detail)
}

pub(crate) fn update(
    request: &wire::UpdateIdentityProviderRequest,
) -> Result<(ProviderId, UpdateProvider), Invalid> {
    let mut violations = Violations::new();
    let id = required_id(&mut violations, "provider_id", &request.provider_id, ProviderId::parse);
    let mut change = UpdateProvider::default();
    match &request.provider {
        None => violations.add("provider", reason::REQUIRED, "must be given"),
        Some(provider) => violations.within("provider", |violations| {
            refuse_output_only(violations, &output_only(provider));
            for field in mask(provider, &request.update_mask) {
                set(violations, &mut change, provider, &field);
            }
        }),
    }
    finish(violations, id.map(|id| (id, change)))
}

fn set(violations: &mut Violations, change: &mut UpdateProvider, from: &wire::IdentityProvider, field: &str) {
    let update = &mut change.update;
    match field {
        "name" => {
            name(violations, "name", &from.name, NewProvider::NAME_CHARS_MAX);
            update.name = Some(from.name.clone());
        }
        "client_id" => {
            violations.required("client_id", &from.client_id);
            plain(violations, "client_id", &from.client_id, NewProvider::CLIENT_ID_CHARS_MAX);
            update.client_id = Some(from.client_id.clone());
        }
        "client_secret" => {
            plain(violations, "client_secret", &from.client_secret, NewProvider::SECRET_CHARS_MAX);
            change.client_secret = Some(from.client_secret.clone());
        }
        "bearer" => update.bearer = Some(from.bearer),
        "algorithms" => update.algorithms = Some(algorithms(violations, &from.algorithms)),
        "redirect_uris" => {
            redirects(violations, &from.redirect_uris);
            update.redirect_uris = Some(from.redirect_uris.clone());
        }
        "link_by_email" => update.link_by_email = Some(from.link_by_email),
        "status" => match from.status.as_str() {
            "active" => update.enabled = Some(true),
            "disabled" => update.enabled = Some(false),
            other => {
                let detail = format!("must be 'active' or 'disabled', not '{other}'");
                violations.add("status", reason::UNKNOWN_VALUE, detail);
            }
        },
        "issuer" => violations.add("issuer", reason::IMMUTABLE, "cannot be changed"),
        "id" | "confidential" | "bearer_audience" | "etag" | "created_at" | "updated_at" => {
            violations.add(field, reason::OUTPUT_ONLY, "is set by the server");
        }
        unknown => violations.add(unknown, reason::UNKNOWN_FIELD, "is no field of an identity provider"),
    }
}

/// The fields to change: those of the mask; without a mask those that are set.
fn mask(provider: &wire::IdentityProvider, mask: &[String]) -> Vec<String> {
    if !mask.is_empty() {
        return mask.iter().map(|field| snake(field)).collect();
    }
    let set = [
        ("name", !provider.name.is_empty()),
        ("issuer", !provider.issuer.is_empty()),
        ("client_id", !provider.client_id.is_empty()),
        ("client_secret", !provider.client_secret.is_empty()),
        ("bearer", provider.bearer),
        ("algorithms", !provider.algorithms.is_empty()),
        ("redirect_uris", !provider.redirect_uris.is_empty()),
        ("link_by_email", provider.link_by_email),
        ("status", !provider.status.is_empty()),
    ];
    set.into_iter().filter(|(_, set)| *set).map(|(field, _)| field.to_owned()).collect()
}

fn output_only(provider: &wire::IdentityProvider) -> [(&'static str, bool); 6] {
    [
        ("id", !provider.id.is_empty()),
        ("confidential", provider.confidential),
        ("bearer_audience", !provider.bearer_audience.is_empty()),
        ("etag", !provider.etag.is_empty()),
        ("created_at", provider.created_at.is_some()),
        ("updated_at", provider.updated_at.is_some()),
    ]
}

/// Printable ASCII without spaces: what is put into headers and forms.
fn plain(violations: &mut Violations, field: &str, text: &str, chars_max: usize) {
    violations.at_most(field, text, chars_max);
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        violations.add(field, reason::MALFORMED, "must be printable ASCII letters without spaces");
    }
}

/// An absolute address, compared letter by letter.
fn url(violations: &mut Violations, field: &str, text: &str) {
    plain(violations, field, text, NewProvider::URL_BYTES_MAX);
    let after = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let host = after.and_then(|rest| rest.split(['/', '?']).next());
    if text.contains(['#', '@', '\\']) || host.is_none_or(str::is_empty) {
        let detail = "must be an address such as 'https://login.example.com', without a fragment";
        violations.add(field, reason::MALFORMED, detail);
    }
}

/// `http` is for the caller's own machine only (RFC 8252).
fn redirects(violations: &mut Violations, uris: &[String]) {
    if NewProvider::REDIRECT_URIS_MAX < uris.len() {
        let detail = format!("must be at most '{}'", NewProvider::REDIRECT_URIS_MAX);
        violations.add("redirect_uris", reason::TOO_MANY, detail);
    }
    for (at, uri) in uris.iter().enumerate().take(NewProvider::REDIRECT_URIS_MAX) {
        let field = format!("redirect_uris[{at}]");
        url(violations, &field, uri);
        let local = ["http://127.0.0.1", "http://[::1]", "http://localhost"];
        let at_home = local.iter().any(|local| {
            uri.strip_prefix(local).is_some_and(|rest| rest.is_empty() || rest.starts_with([':', '/', '?']))
        });
        if uri.starts_with("http://") && !at_home {
            violations.add(&field, reason::NOT_ALLOWED, "must begin with 'https://'");
        }
    }
}

fn algorithms(violations: &mut Violations, names: &[String]) -> Vec<Algorithm> {
    if names.is_empty() {
        return Algorithm::USUAL.to_vec();
    }
    let mut found: Vec<Algorithm> = vec![];
    for (at, name) in names.iter().enumerate() {
        match Algorithm::parse(name) {
            Some(algorithm) if found.contains(&algorithm) => {}
            Some(algorithm) => found.push(algorithm),
            None => {
                let detail = format!("must be 'RS256', 'ES256' or 'EdDSA', not '{name}'");
                violations.add(&format!("algorithms[{at}]"), reason::UNKNOWN_VALUE, detail);
            }
        }
    }
    found
}

pub(crate) fn start(request: wire::StartLoginRequest) -> Result<StartLogin, Invalid> {
    let mut violations = Violations::new();
    violations.required("tenant", &request.tenant);
    violations.at_most("tenant", &request.tenant, SLUG_CHARS_MAX);
    let provider = required_id(&mut violations, "provider_id", &request.provider_id, ProviderId::parse);
    violations.required("redirect_uri", &request.redirect_uri);
    violations.at_most("redirect_uri", &request.redirect_uri, NewProvider::URL_BYTES_MAX);
    let wire::StartLoginRequest { tenant, redirect_uri, prove, .. } = request;
    finish(violations, provider.map(|provider| StartLogin { tenant, provider, redirect_uri, prove }))
}

pub(crate) fn finish_login(request: wire::FinishLoginRequest) -> Result<FinishLogin, Invalid> {
    let mut violations = Violations::new();
    let given = [
        ("login_token", &request.login_token, LOGIN_TOKEN_CHARS_MAX),
        ("code", &request.code, CODE_CHARS_MAX),
        ("state", &request.state, STATE_CHARS_MAX),
    ];
    for (field, text, chars_max) in given {
        violations.required(field, text);
        violations.at_most(field, text, chars_max);
    }
    let wire::FinishLoginRequest { login_token, code, state } = request;
    finish(violations, Some(FinishLogin { login_token, code, state }))
}

pub(crate) fn started(started: Started) -> wire::StartLoginResponse {
    wire::StartLoginResponse {
        authorization_url: started.authorization_url,
        login_token: started.login_token,
        expires_at: Some(timestamp(started.expires_at)),
    }
}

pub(crate) fn provider(tenant: TenantId, provider: Provider) -> wire::IdentityProvider {
    let Provider { is, enabled, revision, created_at, updated_at } = provider;
    wire::IdentityProvider {
        id: is.id.to_string(),
        name: is.name,
        issuer: is.issuer,
        client_id: is.client_id,
        client_secret: String::new(),
        confidential: !is.secret.is_empty(),
        bearer: is.bearer,
        bearer_audience: of::audience(tenant),
        algorithms: is.algorithms.iter().map(|algorithm| algorithm.name().to_owned()).collect(),
        redirect_uris: is.redirect_uris,
        link_by_email: is.link_by_email,
        status: if enabled { "active" } else { "disabled" }.to_owned(),
        etag: rpc::etag(revision),
        created_at: Some(timestamp(created_at)),
        updated_at: Some(timestamp(updated_at)),
    }
}
