//! Format 1 of identity providers: protobuf. Fields are added, never renumbered.

use journal::Damage;
use prost::Message;

use super::codec::{damage, instant};
use super::people_codec::provider_id;
use crate::domain::jwt::Algorithm;
use crate::domain::{NewProvider, Provider, ProviderUpdate};

#[derive(Clone, PartialEq, Message)]
pub(super) struct StoredProvider {
    #[prost(bytes = "vec", tag = "1")]
    id: Vec<u8>,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(string, tag = "3")]
    issuer: String,
    #[prost(string, tag = "4")]
    client_id: String,
    /// Encrypted.
    #[prost(bytes = "vec", tag = "5")]
    secret: Vec<u8>,
    #[prost(bool, tag = "6")]
    bearer: bool,
    #[prost(string, repeated, tag = "7")]
    algorithms: Vec<String>,
    #[prost(string, repeated, tag = "8")]
    redirect_uris: Vec<String>,
    #[prost(bool, tag = "9")]
    link_by_email: bool,
    #[prost(bool, tag = "10")]
    enabled: bool,
    #[prost(uint64, tag = "11")]
    revision: u64,
    #[prost(sint64, tag = "12")]
    created_us: i64,
    #[prost(sint64, tag = "13")]
    updated_us: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct StoredProviderUpdate {
    #[prost(string, optional, tag = "1")]
    name: Option<String>,
    #[prost(string, optional, tag = "2")]
    client_id: Option<String>,
    #[prost(bytes = "vec", optional, tag = "3")]
    secret: Option<Vec<u8>>,
    #[prost(bool, optional, tag = "4")]
    bearer: Option<bool>,
    #[prost(message, optional, tag = "5")]
    algorithms: Option<StoredTexts>,
    #[prost(message, optional, tag = "6")]
    redirect_uris: Option<StoredTexts>,
    #[prost(bool, optional, tag = "7")]
    link_by_email: Option<bool>,
    #[prost(bool, optional, tag = "8")]
    enabled: Option<bool>,
}

#[derive(Clone, PartialEq, Message)]
struct StoredTexts {
    #[prost(string, repeated, tag = "1")]
    texts: Vec<String>,
}

fn names(algorithms: &[Algorithm]) -> Vec<String> {
    algorithms.iter().map(|algorithm| algorithm.name().to_owned()).collect()
}

fn algorithms(names: &[String]) -> Result<Vec<Algorithm>, Damage> {
    let parsed = names.iter().map(|name| Algorithm::parse(name));
    parsed.collect::<Option<_>>().ok_or_else(|| damage("an unknown algorithm"))
}

impl From<&Provider> for StoredProvider {
    fn from(provider: &Provider) -> Self {
        let is = &provider.is;
        StoredProvider {
            id: is.id.as_bytes().to_vec(),
            name: is.name.clone(),
            issuer: is.issuer.clone(),
            client_id: is.client_id.clone(),
            secret: is.secret.clone(),
            bearer: is.bearer,
            algorithms: names(&is.algorithms),
            redirect_uris: is.redirect_uris.clone(),
            link_by_email: is.link_by_email,
            enabled: provider.enabled,
            revision: provider.revision,
            created_us: provider.created_at.unix_micros(),
            updated_us: provider.updated_at.unix_micros(),
        }
    }
}

impl TryFrom<StoredProvider> for Provider {
    type Error = Damage;

    fn try_from(stored: StoredProvider) -> Result<Self, Damage> {
        Ok(Provider {
            is: NewProvider {
                id: provider_id(stored.id)?,
                name: stored.name,
                issuer: stored.issuer,
                client_id: stored.client_id,
                secret: stored.secret,
                bearer: stored.bearer,
                algorithms: algorithms(&stored.algorithms)?,
                redirect_uris: stored.redirect_uris,
                link_by_email: stored.link_by_email,
            },
            enabled: stored.enabled,
            revision: stored.revision,
            created_at: instant(stored.created_us)?,
            updated_at: instant(stored.updated_us)?,
        })
    }
}

impl From<&ProviderUpdate> for StoredProviderUpdate {
    fn from(changed: &ProviderUpdate) -> Self {
        StoredProviderUpdate {
            name: changed.name.clone(),
            client_id: changed.client_id.clone(),
            secret: changed.secret.clone(),
            bearer: changed.bearer,
            algorithms: changed.algorithms.as_deref().map(|all| StoredTexts { texts: names(all) }),
            redirect_uris: changed.redirect_uris.clone().map(|texts| StoredTexts { texts }),
            link_by_email: changed.link_by_email,
            enabled: changed.enabled,
        }
    }
}

impl TryFrom<StoredProviderUpdate> for ProviderUpdate {
    type Error = Damage;

    fn try_from(stored: StoredProviderUpdate) -> Result<Self, Damage> {
        Ok(ProviderUpdate {
            expected: None,
            name: stored.name,
            client_id: stored.client_id,
            secret: stored.secret,
            bearer: stored.bearer,
            algorithms: stored.algorithms.map(|all| algorithms(&all.texts)).transpose()?,
            redirect_uris: stored.redirect_uris.map(|all| all.texts),
            link_by_email: stored.link_by_email,
            enabled: stored.enabled,
        })
    }
}
