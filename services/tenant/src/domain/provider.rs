//! An identity provider that a tenant trusts.

use calendar::Instant;
use ids::{ProviderId, TenantId};
use sha2::{Digest as _, Sha256};

use crate::Error;
use crate::domain::jwt::Algorithm;

/// Most providers of a tenant, the disabled ones too.
pub const PROVIDERS_MAX: usize = 10;

/// A provider to be made.
#[derive(Clone, PartialEq, Eq)]
pub struct NewProvider {
    /// Its id.
    pub id: ProviderId,
    /// What people call it.
    pub name: String,
    /// As its tokens say, letter by letter. Never changed: links of users are made with it.
    pub issuer: String,
    /// As which the tenant is known there.
    pub client_id: String,
    /// Encrypted; empty for a public client.
    pub secret: Vec<u8>,
    /// Whether its access tokens are credentials here.
    pub bearer: bool,
    /// Signatures that are accepted, at least one.
    pub algorithms: Vec<Algorithm>,
    /// Where a browser may be sent back to, letter by letter.
    pub redirect_uris: Vec<String>,
    /// Whether users are found by verified email addresses when they come for the first time.
    pub link_by_email: bool,
}

/// A provider.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Provider {
    /// What it was made with, as it is now.
    pub is: NewProvider,
    /// Whether it is used.
    pub enabled: bool,
    /// Number of its last change.
    pub revision: u64,
    /// When it was made.
    pub created_at: Instant,
    /// When it changed last.
    pub updated_at: Instant,
}

/// What changes of a provider; absent: nothing.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct ProviderUpdate {
    /// The revision that the caller has seen; never part of an event.
    pub expected: Option<u64>,
    /// As in [`NewProvider`], like the others.
    pub name: Option<String>,
    /// The client id.
    pub client_id: Option<String>,
    /// The encrypted secret.
    pub secret: Option<Vec<u8>>,
    /// Whether its access tokens are credentials.
    pub bearer: Option<bool>,
    /// Signatures.
    pub algorithms: Option<Vec<Algorithm>>,
    /// Redirect URIs.
    pub redirect_uris: Option<Vec<String>>,
    /// Whether users are found by email.
    pub link_by_email: Option<bool>,
    /// Whether it is used.
    pub enabled: Option<bool>,
}

impl std::fmt::Debug for NewProvider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "NewProvider({}, {})", self.id, self.issuer)
    }
}

impl std::fmt::Debug for ProviderUpdate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ProviderUpdate(…)")
    }
}

impl NewProvider {
    /// Longest name, in characters.
    pub const NAME_CHARS_MAX: usize = 100;
    /// Longest issuer or redirect URI, in bytes.
    pub const URL_BYTES_MAX: usize = 200;
    /// Longest client id, in characters.
    pub const CLIENT_ID_CHARS_MAX: usize = 100;
    /// Longest client secret, in characters.
    pub const SECRET_CHARS_MAX: usize = 200;
    /// Most redirect URIs.
    pub const REDIRECT_URIS_MAX: usize = 4;
}

impl Provider {
    /// A provider that is made now.
    pub fn new(is: NewProvider, now: Instant) -> Provider {
        Provider { is, enabled: true, revision: 1, created_at: now, updated_at: now }
    }

    /// What of an update changes something.
    ///
    /// # Errors
    /// [`Error::StaleRevision`]
    pub fn update(&self, update: &ProviderUpdate) -> Result<Option<ProviderUpdate>, Error> {
        if update.expected.is_some_and(|seen| seen != self.revision) {
            return Err(Error::StaleRevision { what: "identity provider", current: self.revision });
        }
        let is = &self.is;
        let changed = ProviderUpdate {
            expected: None,
            name: update.name.clone().filter(|name| *name != is.name),
            client_id: update.client_id.clone().filter(|client| *client != is.client_id),
            secret: update.secret.clone(),
            bearer: update.bearer.filter(|bearer| *bearer != is.bearer),
            algorithms: update.algorithms.clone().filter(|algorithms| *algorithms != is.algorithms),
            redirect_uris: update.redirect_uris.clone().filter(|uris| *uris != is.redirect_uris),
            link_by_email: update.link_by_email.filter(|link| *link != is.link_by_email),
            enabled: update.enabled.filter(|enabled| *enabled != self.enabled),
        };
        Ok((changed != ProviderUpdate::default()).then_some(changed))
    }

    /// Applies what [`Provider::update`] gave.
    pub fn apply(&mut self, changed: &ProviderUpdate) {
        fn set<T: Clone>(to: &mut T, from: Option<&T>) {
            if let Some(from) = from {
                to.clone_from(from);
            }
        }
        let ProviderUpdate {
            expected: _,
            name,
            client_id,
            secret,
            bearer,
            algorithms,
            redirect_uris,
            link_by_email,
            enabled,
        } = changed;
        set(&mut self.is.name, name.as_ref());
        set(&mut self.is.client_id, client_id.as_ref());
        set(&mut self.is.secret, secret.as_ref());
        set(&mut self.is.bearer, bearer.as_ref());
        set(&mut self.is.algorithms, algorithms.as_ref());
        set(&mut self.is.redirect_uris, redirect_uris.as_ref());
        set(&mut self.is.link_by_email, link_by_email.as_ref());
        set(&mut self.enabled, enabled.as_ref());
    }
}

/// What begins the audience of a tenant.
pub const AUDIENCE: &str = "urn:cargo-pilot:";

/// The audience that access tokens for a tenant must have. It follows from the tenant and is nobody's choice, so that
/// no registration of an issuer by another tenant makes its tokens credentials here.
pub fn audience(tenant: TenantId) -> String {
    format!("{AUDIENCE}{tenant}")
}

/// What a user is recognised by: the issuer and its subject.
pub fn link(issuer: &str, subject: &str) -> [u8; 32] {
    let hash = Sha256::new().chain_update(b"cargo-pilot link 1").chain_update(issuer.len().to_be_bytes());
    hash.chain_update(issuer).chain_update(subject).finalize().into()
}
