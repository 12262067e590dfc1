//! The signed context: what the gateway learnt about a credential, proven to every service.
//!
//! Wire form, in the metadata entry `cp-context-bin` (base64 without padding): 64 bytes of Ed25519
//! signature, then the encoded [`SignedContext`] that they sign.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use ed25519_dalek::{SIGNATURE_LENGTH, Signature, Signer as _, SigningKey, VerifyingKey};
use http::HeaderValue;
use ids::{BusinessId, TenantId};
use prost::Message;
use recent::Recent;

use crate::decided::Decided;
use crate::{Actor, ActorKind, Bars, Limited, Permissions, Principal, Refused, Session};

/// How long a signed context is valid.
pub const VALIDITY_MS: u64 = 60_000;
/// Longest signed context that is looked at, encoded.
const TOKEN_BYTES_MAX: usize = 16 * 1024;
/// Verified contexts kept, about 1 KiB each.
const VERIFIED_MAX: usize = 10_000;
/// How far two clocks of one cluster may differ.
const CLOCK_SKEW_MS: u64 = 5_000;

/// Tells the time in Unix milliseconds.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// The clock of the machine.
pub fn wall_clock() -> Clock {
    Arc::new(|| {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)
    })
}

/// What is signed.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct SignedContext {
    /// The one service that may act on it.
    #[prost(string, tag = "1")]
    pub(crate) audience: String,
    #[prost(uint64, tag = "2")]
    pub(crate) issued_ms: u64,
    #[prost(uint64, tag = "3")]
    pub(crate) expires_ms: u64,
    #[prost(bytes = "vec", tag = "4")]
    pub(crate) tenant: Vec<u8>,
    /// From the master business down to the one that the call works in.
    #[prost(bytes = "vec", repeated, tag = "5")]
    pub(crate) path: Vec<Vec<u8>>,
    #[prost(string, tag = "6")]
    pub(crate) actor_kind: String,
    #[prost(string, tag = "7")]
    pub(crate) actor_id: String,
    #[prost(string, repeated, tag = "8")]
    pub(crate) permissions: Vec<String>,
    #[prost(bytes = "vec", tag = "9")]
    pub(crate) secret: Vec<u8>,
    /// Empty: no session.
    #[prost(string, tag = "11")]
    pub(crate) session: String,
    #[prost(uint64, tag = "12")]
    pub(crate) proven_until_ms: u64,
    #[prost(message, repeated, tag = "13")]
    pub(crate) limited: Vec<proto::tenant::v1::LimitedGrant>,
    /// Reasons of [`Bars`].
    #[prost(string, repeated, tag = "10")]
    pub(crate) bars: Vec<String>,
}

/// A signed context as it travels.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(pub(crate) HeaderValue);

impl Token {
    /// The value of the header [`crate::header::CONTEXT`].
    pub fn header(&self) -> HeaderValue {
        self.0.clone()
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(…)")
    }
}

/// The machine gives no random bytes.
#[derive(Debug, thiserror::Error)]
#[error("the system gives no random bytes")]
pub struct MintError(#[source] getrandom::Error);

/// Signs contexts: the gateway has one, and each service that calls another on its own account.
pub struct Minter {
    key: SigningKey,
    clock: Clock,
}

impl Minter {
    /// Makes a minter with a new random key.
    ///
    /// # Errors
    /// When the machine gives no random bytes.
    pub fn generate(clock: Clock) -> Result<Self, MintError> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(MintError)?;
        Ok(Minter::from_seed(&seed, clock))
    }

    /// Makes a minter whose key comes from a secret seed, so that several processes share one.
    pub fn from_seed(seed: &[u8; 32], clock: Clock) -> Self {
        Minter { key: SigningKey::from_bytes(seed), clock }
    }

    /// Tells the time by which contexts are signed.
    pub fn clock(&self) -> Clock {
        Arc::clone(&self.clock)
    }

    /// What a [`Verifier`] needs to know.
    pub fn public_key(&self) -> [u8; 32] {
        self.key.verifying_key().to_bytes()
    }

    /// Signs the context of a principal for one service, named as in [`proto::MethodRule::service`]: another
    /// refuses it. It is valid for [`VALIDITY_MS`]. About 30 us: keep it for 20 s per credential, so that a call
    /// that begins with it can still end with it.
    pub fn mint(&self, principal: &Principal, service: &str) -> Token {
        self.mint_barred(principal, Bars::default(), service)
    }

    /// Signs the context of a principal of whom some calls are refused.
    pub fn mint_barred(&self, principal: &Principal, bars: Bars, service: &str) -> Token {
        let now = (self.clock)();
        let session = principal.actor.session.as_ref();
        let context = SignedContext {
            audience: service.to_owned(),
            issued_ms: now,
            expires_ms: now + VALIDITY_MS,
            tenant: principal.tenant.as_bytes().to_vec(),
            path: principal.path.iter().map(|business| business.as_bytes().to_vec()).collect(),
            actor_kind: principal.actor.kind.name().to_owned(),
            actor_id: principal.actor.id.to_string(),
            permissions: principal.permissions.members().collect(),
            limited: principal.permissions.limited().iter().map(Into::into).collect(),
            secret: principal.secret.to_vec(),
            session: session.map(|session| session.id.to_string()).unwrap_or_default(),
            proven_until_ms: session.map_or(0, |session| session.proven_until_ms),
            bars: bars.reasons(),
        };
        self.sign(&context)
    }

    fn sign(&self, context: &SignedContext) -> Token {
        let body = context.encode_to_vec();
        let mut bytes = self.key.sign(&body).to_bytes().to_vec();
        bytes.extend_from_slice(&body);
        let mut value =
            HeaderValue::try_from(STANDARD_NO_PAD.encode(bytes)).expect("base64 is visible ASCII");
        value.set_sensitive(true);
        Token(value)
    }
}

/// A context whose signature was checked.
pub(crate) struct Verified {
    /// The service that it is meant for.
    pub(crate) audience: Box<str>,
    pub(crate) tenant: TenantId,
    pub(crate) business: BusinessId,
    pub(crate) path: Arc<[BusinessId]>,
    pub(crate) actor: Actor,
    pub(crate) permissions: Arc<Permissions>,
    pub(crate) secret: Arc<[u8; 32]>,
    pub(crate) bars: Bars,
    pub(crate) decided: Decided,
    /// The same for each grant that counts within limits.
    pub(crate) limited_decided: Box<[Decided]>,
    expires_ms: u64,
}

/// Checks signed contexts. A context that was checked is remembered, so a call costs one look-up and no
/// signature check.
pub struct Verifier {
    keys: Vec<VerifyingKey>,
    clock: Clock,
    seen: Recent<Box<[u8]>, Arc<Verified>>,
}

impl Verifier {
    /// Makes a verifier that accepts what the owner of any of `public_keys` signed; a key that is
    /// no Ed25519 point is ignored.
    pub fn new(public_keys: &[[u8; 32]], clock: Clock) -> Self {
        let keys = public_keys.iter().filter_map(|key| VerifyingKey::from_bytes(key).ok()).collect();
        Verifier { keys, clock, seen: Recent::new(VERIFIED_MAX) }
    }

    /// The time by which contexts expire, in Unix milliseconds.
    pub(crate) fn now_ms(&self) -> u64 {
        (self.clock)()
    }

    /// # Errors
    /// [`Refused::Unauthenticated`], whatever is wrong.
    pub(crate) fn verify(&self, token: &HeaderValue) -> Result<Arc<Verified>, Refused> {
        let now = (self.clock)();
        if let Some(verified) = self.seen.get(token.as_bytes()) {
            return if now < verified.expires_ms { Ok(verified) } else { Err(Refused::Unauthenticated) };
        }
        let verified = self.check(token, now).map(Arc::new).ok_or(Refused::Unauthenticated)?;
        self.seen.insert(token.as_bytes().into(), Arc::clone(&verified));
        Ok(verified)
    }

    fn check(&self, token: &HeaderValue, now: u64) -> Option<Verified> {
        if token.len() > TOKEN_BYTES_MAX {
            return None;
        }
        let bytes = STANDARD_NO_PAD.decode(token.as_bytes()).ok()?;
        let (signature, body) = bytes.split_first_chunk::<SIGNATURE_LENGTH>()?;
        let signature = Signature::from_bytes(signature);
        if !self.keys.iter().any(|key| key.verify_strict(body, &signature).is_ok()) {
            return None;
        }
        let context = SignedContext::decode(body).ok()?;
        let in_time = context.issued_ms <= now + CLOCK_SKEW_MS && now < context.expires_ms;
        if context.audience.is_empty() || !in_time || context.actor_id.is_empty() {
            return None;
        }
        let path = context.path.into_iter().map(|id| Some(BusinessId::from_bytes(id.try_into().ok()?)));
        let path: Arc<[BusinessId]> = path.collect::<Option<_>>()?;
        // A bar that is not known here bars nothing that it should: better none passes.
        let bars = Bars::parse(&context.bars)?;
        let mut actor = Actor::new(ActorKind::parse(&context.actor_kind)?, context.actor_id);
        if !context.session.is_empty() {
            let proven_until_ms = context.proven_until_ms;
            actor.session = Some(Session { id: context.session.into(), proven_until_ms });
        }
        let limited: Vec<Limited> = context.limited.into_iter().map(Limited::read).collect::<Option<_>>()?;
        Some(Verified {
            audience: context.audience.into(),
            tenant: TenantId::from_bytes(context.tenant.try_into().ok()?),
            business: *path.last()?,
            path,
            actor,
            limited_decided: limited.iter().map(|_| Decided::default()).collect(),
            permissions: Arc::new(Permissions::parse(&context.permissions)?.with_limited(limited)),
            secret: Arc::new(context.secret.try_into().ok()?),
            bars,
            decided: Decided::default(),
            expires_ms: context.expires_ms,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    const NOW: u64 = 1_780_000_000_000;

    fn fixed(now: u64) -> Clock {
        Arc::new(move || now)
    }

    fn principal() -> Principal {
        Principal {
            tenant: TenantId::from_bytes([1; 16]),
            business: BusinessId::from_bytes([2; 16]),
            path: Arc::from([1, 2].map(|byte| BusinessId::from_bytes([byte; 16]))),
            actor: Actor::new(ActorKind::ApiKey, "key_1"),
            permissions: Permissions::parse(["stock.*", "*.read"]).unwrap(),
            secret: [7; 32],
        }
    }

    fn refused(verifier: &Verifier, token: &HeaderValue) -> bool {
        matches!(verifier.verify(token), Err(Refused::Unauthenticated))
    }

    #[test]
    fn what_is_minted_is_read_back() {
        let minter = Minter::from_seed(&[3; 32], fixed(NOW));
        let verifier = Verifier::new(&[minter.public_key()], fixed(NOW));
        let token = minter.mint(&principal(), "stock");
        for _ in 0..2 {
            let verified = verifier.verify(&token.header()).unwrap();
            assert_eq!(&*verified.audience, "stock");
            assert_eq!(verified.tenant, principal().tenant);
            assert_eq!(verified.business, principal().business);
            assert_eq!(verified.path, principal().path);
            assert_eq!(verified.actor, principal().actor);
            assert_eq!(*verified.permissions, principal().permissions);
            assert_eq!(*verified.secret, principal().secret);
        }
    }

    #[test]
    fn a_context_expires_even_when_it_was_seen_before() {
        let minter = Minter::from_seed(&[3; 32], fixed(NOW));
        let now = Arc::new(AtomicU64::new(NOW));
        let clock = Arc::clone(&now);
        let verifier = Verifier::new(&[minter.public_key()], Arc::new(move || clock.load(Ordering::Relaxed)));
        let token = minter.mint(&principal(), "stock").header();

        assert!(verifier.verify(&token).is_ok());
        now.store(NOW + VALIDITY_MS - 1, Ordering::Relaxed);
        assert!(verifier.verify(&token).is_ok());
        now.store(NOW + VALIDITY_MS, Ordering::Relaxed);
        assert!(refused(&verifier, &token));
    }

    #[test]
    fn a_changed_bit_anywhere_is_refused() {
        let minter = Minter::from_seed(&[3; 32], fixed(NOW));
        let verifier = Verifier::new(&[minter.public_key()], fixed(NOW));
        let good = STANDARD_NO_PAD.decode(minter.mint(&principal(), "stock").header().as_bytes()).unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            let token = HeaderValue::try_from(STANDARD_NO_PAD.encode(bad)).unwrap();
            assert!(refused(&verifier, &token), "byte {at}");
        }
    }

    #[test]
    fn other_signers_audiences_times_and_rubbish_are_refused() {
        let minter = Minter::from_seed(&[3; 32], fixed(NOW));
        let verifier = Verifier::new(&[minter.public_key()], fixed(NOW));
        let stranger = Minter::from_seed(&[4; 32], fixed(NOW));
        assert!(refused(&verifier, &stranger.mint(&principal(), "stock").header()));
        let from_the_future = Minter::from_seed(&[3; 32], fixed(NOW + CLOCK_SKEW_MS + 1));
        assert!(refused(&verifier, &from_the_future.mint(&principal(), "stock").header()));

        let good = SignedContext {
            audience: "stock".to_owned(),
            issued_ms: NOW,
            expires_ms: NOW + 1,
            tenant: vec![1; 16],
            path: vec![vec![1; 16], vec![2; 16]],
            actor_kind: "user".to_owned(),
            actor_id: "usr_1".to_owned(),
            permissions: vec![],
            secret: vec![0; 32],
            session: String::new(),
            proven_until_ms: 0,
            limited: vec![],
            bars: vec![],
        };
        assert!(!refused(&verifier, &minter.sign(&good).header()));
        for bad in [
            SignedContext { audience: String::new(), ..good.clone() },
            SignedContext { expires_ms: NOW, ..good.clone() },
            SignedContext { tenant: vec![1; 15], ..good.clone() },
            SignedContext { path: vec![], ..good.clone() },
            SignedContext { path: vec![vec![1; 16], vec![2; 15]], ..good.clone() },
            SignedContext { actor_kind: "root".to_owned(), ..good.clone() },
            SignedContext { actor_id: String::new(), ..good.clone() },
            SignedContext { permissions: vec!["everything".to_owned()], ..good.clone() },
            SignedContext { secret: vec![0; 31], ..good.clone() },
            SignedContext { bars: vec!["CLOSED".to_owned()], ..good.clone() },
        ] {
            assert!(refused(&verifier, &minter.sign(&bad).header()), "{bad:?}");
        }
        for rubbish in ["", "A", "%%%%", &"A".repeat(100), &"A".repeat(TOKEN_BYTES_MAX + 1)] {
            assert!(refused(&verifier, &HeaderValue::try_from(rubbish).unwrap()));
        }
    }
}
