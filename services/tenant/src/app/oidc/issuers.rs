//! What issuers say about themselves: endpoints and keys, remembered for a while.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use calendar::Instant;
use http::{HeaderName, HeaderValue, Method, header};
use ids::TenantId;
use outbound::{Ask, Client};
use parking_lot::Mutex;
use recent::Recent;
use serde::Deserialize;
use serde_json::Value;

use crate::Error;
use crate::domain::Provider;
use crate::domain::jwt::{Checked, Claims, KEYS_MAX, Key, Unverified};

/// Issuers that are remembered, some KiB each.
const ISSUERS_MAX: usize = 1024;
/// How long what an issuer says is believed without asking again.
const FRESH_SECONDS: i64 = 5 * 60;
/// How long it is believed when the issuer does not answer.
const STALE_SECONDS_MAX: i64 = 60 * 60;
/// An issuer is asked at most once in this time, whatever its tokens say and however it fails.
const ASK_SECONDS_MIN: i64 = 10;
/// Codes of one tenant that are redeemed at the same time: fewer than there are calls to one host, so that no tenant,
/// and nobody who only knows its name, keeps the others of an issuer out.
const REDEEMED_AT_ONCE_MAX: usize = 3;
const DISCOVERY: &str = "/.well-known/openid-configuration";

/// What is known of an issuer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Metadata {
    pub(super) authorization_endpoint: String,
    pub(super) token_endpoint: String,
    pub(super) keys: Vec<Key>,
    /// RFC 9207: answers name the issuer. Not needed here: a login token is of one provider.
    read_at: Instant,
}

/// The document of OpenID Connect Discovery 1.0, as far as it is read.
#[derive(Deserialize)]
struct Document {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    jwks_uri: String,
}

#[derive(Deserialize)]
struct KeySet {
    keys: Vec<Value>,
}

#[derive(Default)]
struct Slot {
    known: Mutex<Option<Arc<Metadata>>>,
    /// When it was asked last. Who holds it asks; the others wait, or go on with what is known.
    asked_at: tokio::sync::Mutex<Option<Instant>>,
}

/// Issuers by their names. What they say is public and the same for every tenant.
pub(in crate::app) struct Issuers {
    client: Client,
    slots: Recent<String, Arc<Slot>>,
    /// Codes that are being redeemed, by tenant.
    redeeming: Mutex<HashMap<TenantId, usize>>,
}

/// A code that is being redeemed, until it is dropped.
pub(super) struct Redeeming<'a>(&'a Mutex<HashMap<TenantId, usize>>, TenantId);

impl<'a> Redeeming<'a> {
    fn begin(redeeming: &'a Mutex<HashMap<TenantId, usize>>, tenant: TenantId) -> Result<Self, Error> {
        let mut all = redeeming.lock();
        let count = all.entry(tenant).or_default();
        if REDEEMED_AT_ONCE_MAX <= *count {
            return Err(Error::Busy);
        }
        *count += 1;
        Ok(Redeeming(redeeming, tenant))
    }
}

impl Drop for Redeeming<'_> {
    fn drop(&mut self) {
        let mut all = self.0.lock();
        match all.get_mut(&self.1) {
            Some(count) if 1 < *count => *count -= 1,
            _ => drop(all.remove(&self.1)),
        }
    }
}

impl Issuers {
    pub(in crate::app) fn new(client: Client) -> Self {
        Issuers { client, slots: Recent::new(ISSUERS_MAX), redeeming: Mutex::default() }
    }

    /// Begins to redeem a code of a tenant.
    ///
    /// # Errors
    /// [`Error::Busy`] while several of its codes are.
    pub(super) fn redeem(&self, tenant: TenantId) -> Result<Redeeming<'_>, Error> {
        Redeeming::begin(&self.redeeming, tenant)
    }

    /// Whether something may be called there.
    pub(super) fn may_call(&self, url: &str) -> bool {
        self.client.may_call(url)
    }

    /// What an issuer says about itself.
    ///
    /// # Errors
    /// [`Error::IssuerUnavailable`] when it does not answer, or not as the standard says.
    pub(super) async fn metadata(&self, issuer: &str, now: Instant) -> Result<Arc<Metadata>, Error> {
        self.read(issuer, now, FRESH_SECONDS).await
    }

    /// Checks the signature of a token with the keys of a provider, which are read again if it names one that is not
    /// known.
    ///
    /// # Errors
    /// [`Error::InvalidCredentials`], [`Error::IssuerUnavailable`]
    pub(super) async fn check(
        &self,
        provider: &Provider,
        token: Unverified,
        now: Instant,
    ) -> Result<Claims, Error> {
        let issuer = &provider.is.issuer;
        for seconds in [FRESH_SECONDS, 0] {
            let metadata = self.read(issuer, now, seconds).await?;
            match token.clone().check(&metadata.keys, &provider.is.algorithms) {
                Checked::Signed(claims) => return Ok(claims),
                Checked::Forged => break,
                Checked::UnknownKey => {}
            }
        }
        Err(Error::InvalidCredentials)
    }

    /// What is known of an issuer and not older than `seconds`, or as old as it may be when it was asked a moment ago
    /// or does not answer.
    async fn read(&self, issuer: &str, now: Instant, seconds: i64) -> Result<Arc<Metadata>, Error> {
        let slot = self.slots.get_or_insert(issuer.to_owned(), |_| true, Arc::default);
        let known = || slot.known.lock().clone();
        let within = |seconds: i64| known().filter(|known| now < known.read_at.plus_seconds(seconds));
        if let Some(known) = within(seconds) {
            return Ok(known);
        }
        let usable = || within(STALE_SECONDS_MAX).ok_or(Error::IssuerUnavailable);
        // Somebody else asks: what is known is good enough meanwhile.
        let mut asked_at = match (slot.asked_at.try_lock(), usable()) {
            (Ok(asked_at), _) => asked_at,
            (Err(_), Ok(known)) if seconds != 0 => return Ok(known),
            (Err(_), _) => slot.asked_at.lock().await,
        };
        let lately = asked_at.is_some_and(|at| now < at.plus_seconds(ASK_SECONDS_MIN));
        if lately {
            return usable();
        }
        *asked_at = Some(now);
        match self.ask(issuer, now).await {
            Some(metadata) => {
                let metadata = Arc::new(metadata);
                *slot.known.lock() = Some(Arc::clone(&metadata));
                Ok(metadata)
            }
            None => usable(),
        }
    }

    async fn ask(&self, issuer: &str, now: Instant) -> Option<Metadata> {
        let url = format!("{}{DISCOVERY}", issuer.strip_suffix('/').unwrap_or(issuer));
        let document: Document = serde_json::from_slice(&self.get(&url).await?).ok()?;
        let endpoints = [&document.authorization_endpoint, &document.token_endpoint, &document.jwks_uri];
        if document.issuer != issuer || !endpoints.iter().all(|url| self.client.may_call(url)) {
            return None;
        }
        let set: KeySet = serde_json::from_slice(&self.get(&document.jwks_uri).await?).ok()?;
        let keys = set.keys.iter().take(KEYS_MAX).filter_map(Key::parse).collect();
        let Document { authorization_endpoint, token_endpoint, .. } = document;
        Some(Metadata { authorization_endpoint, token_endpoint, keys, read_at: now })
    }

    async fn get(&self, url: &str) -> Option<Bytes> {
        let accept = (header::ACCEPT, HeaderValue::from_static("application/json"));
        let ask = Ask { method: Method::GET, url, headers: vec![accept], body: Bytes::new() };
        self.client.call(ask).await.ok().filter(|answer| answer.status == 200).map(|answer| answer.body)
    }

    /// Sends a form; the status and what came back.
    ///
    /// # Errors
    /// [`Error::IssuerUnavailable`]
    pub(super) async fn post(
        &self,
        url: &str,
        form: String,
        authorization: Option<HeaderValue>,
    ) -> Result<(u16, Bytes), Error> {
        let form_type = HeaderValue::from_static("application/x-www-form-urlencoded");
        let mut headers: Vec<(HeaderName, HeaderValue)> = vec![
            (header::CONTENT_TYPE, form_type),
            (header::ACCEPT, HeaderValue::from_static("application/json")),
        ];
        headers.extend(authorization.map(|value| (header::AUTHORIZATION, value)));
        let ask = Ask { method: Method::POST, url, headers, body: form.into() };
        let answer = self.client.call(ask).await.map_err(|_| Error::IssuerUnavailable)?;
        Ok((answer.status, answer.body))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_redeems_some_codes_at_a_time_and_leaves_others_alone() {
        let redeeming = Mutex::default();
        let [one, two] = [1, 2].map(|byte| TenantId::from_bytes([byte; 16]));
        let mut held: Vec<_> =
            (0..REDEEMED_AT_ONCE_MAX).map(|_| Redeeming::begin(&redeeming, one).unwrap()).collect();
        assert_eq!(Redeeming::begin(&redeeming, one).err(), Some(Error::Busy));
        assert!(Redeeming::begin(&redeeming, two).is_ok());
        held.pop();
        held.push(Redeeming::begin(&redeeming, one).unwrap());
        drop(held);
        assert!(redeeming.lock().is_empty());
    }
}
