//! An API key: who may make which, and which requests it admits.

use std::net::IpAddr;

use calendar::Instant;
use ids::{ApiKeyId, BusinessId};
use rpc::{Actor, Permissions};
use subtle::ConstantTimeEq as _;

use crate::Error;
use crate::domain::{Network, Role, Roles};

/// An API key, without its secret.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ApiKey {
    /// What was asked for when it was made, with the secret of the last rotation.
    pub issued: NewKey,
    /// When it was made.
    pub created_at: Instant,
    /// When it was revoked.
    pub revoked_at: Option<Instant>,
    /// The secret before the last rotation.
    pub previous: Option<Box<Previous>>,
    /// The last use that was noted.
    pub last_used: Option<Use>,
    /// Roles of the users that it was reassigned from: it can do no more than they could.
    pub under: Roles,
}

/// A secret that was replaced, and is valid a while longer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Previous {
    /// Keyed hash of it.
    pub digest: [u8; 32],
    /// Its last four letters.
    pub last4: String,
    /// When it stops working.
    pub until: Instant,
}

/// A use of a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Use {
    /// When.
    pub at: Instant,
    /// Where the request came from.
    pub ip: Option<IpAddr>,
}

/// A new secret of a key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewSecret {
    /// Keyed hash of it.
    pub digest: [u8; 32],
    /// Its last four letters.
    pub last4: String,
    /// When the secret before it stops working.
    pub previous_until: Instant,
}

/// An API key to be made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewKey {
    /// Its id.
    pub id: ApiKeyId,
    /// What people call it.
    pub name: String,
    /// What it is for.
    pub role: Role,
    /// Narrows the role; empty is all that the role may do.
    pub narrowed: Vec<String>,
    /// From the master business down to the business that the key works in. Never empty.
    pub path: Vec<BusinessId>,
    /// Keyed hash of the secret.
    pub digest: [u8; 32],
    /// The last four letters of the secret.
    pub last4: String,
    /// When it stops working; `None` is never.
    pub expires_at: Option<Instant>,
    /// Networks that may use it; empty is any.
    pub ip_allow: Vec<Network>,
    /// Who made it.
    pub created_by: Actor,
}

/// Who makes a key.
#[derive(Clone, Copy, Debug)]
pub struct Creator<'a> {
    /// What the creator may do.
    pub permissions: &'a Permissions,
    /// The business that the creator works in.
    pub business: BusinessId,
    /// The creator's own key, if it is one.
    pub key: Option<&'a ApiKey>,
}

impl NewKey {
    /// Longest name, in characters.
    pub const NAME_CHARS_MAX: usize = 200;

    /// What it may do: the role, narrowed. `None` when a member is no permission or beyond the role.
    pub fn permissions(&self) -> Option<Permissions> {
        let role = self.role.permissions();
        if self.narrowed.is_empty() {
            return Some(role);
        }
        Permissions::parse(&self.narrowed).filter(|narrowed| role.covers(narrowed))
    }

    /// The business that it works in.
    pub fn business(&self) -> Option<BusinessId> {
        self.path.last().copied()
    }

    /// Decides whether `creator` may make this key: it can do no more than its creator, in no other
    /// business, for no longer, from no other network.
    ///
    /// # Errors
    /// [`Error::PermissionEscalation`] with the field that goes too far.
    pub fn may_be_made_by(&self, creator: Creator<'_>) -> Result<(), Error> {
        let escalation = |field| Err(Error::PermissionEscalation { field });
        if !self.permissions().is_some_and(|wanted| creator.permissions.covers(&wanted)) {
            return escalation("permissions");
        }
        if !self.path.contains(&creator.business) {
            return escalation("business_id");
        }
        let Some(own) = creator.key else { return Ok(()) };
        if let Some(end) = own.issued.expires_at
            && self.expires_at.is_none_or(|wanted| end < wanted)
        {
            return escalation("expires_at");
        }
        let allowed = &own.issued.ip_allow;
        let inside = |wanted: &Network| allowed.iter().any(|network| network.covers(*wanted));
        if !allowed.is_empty() && (self.ip_allow.is_empty() || !self.ip_allow.iter().all(inside)) {
            return escalation("ip_allow");
        }
        Ok(())
    }
}

impl ApiKey {
    /// Longest time that two secrets of a key are valid: 30 days.
    pub const OVERLAP_SECONDS_MAX: u32 = 30 * 24 * 60 * 60;
    /// How long after a use that was noted another one is not: a key in steady use makes six entries an hour.
    pub const USE_NOTED_EVERY_SECONDS: i64 = 10 * 60;

    /// The key as it is right after it was made.
    pub fn new(issued: NewKey, now: Instant) -> ApiKey {
        ApiKey {
            issued,
            created_at: now,
            revoked_at: None,
            previous: None,
            last_used: None,
            under: Roles::default(),
        }
    }

    /// What it may do by itself: see [`NewKey::permissions`], and no more than any user it was reassigned from.
    pub fn permissions(&self) -> Option<Permissions> {
        let own = self.issued.permissions()?;
        Some(self.under.iter().fold(own, |own, role| own.intersect(&role.permissions())))
    }

    /// Decides whether it may go on from `from` to `to`, whom it belongs to afterwards. True if it did already.
    ///
    /// # Errors
    /// [`Error::KeyEnded`] when it is revoked or expired, [`Error::NotFound`] when it belongs to neither.
    pub fn reassign(&self, from: &Actor, to: &Actor, now: Instant) -> Result<bool, Error> {
        let is = |who: &Actor| self.issued.created_by.kind == who.kind && self.issued.created_by.id == who.id;
        match (is(to), is(from)) {
            (true, _) => Ok(true),
            (false, true) if self.is_alive(now) => Ok(false),
            (false, true) => Err(Error::KeyEnded),
            (false, false) => Err(Error::NotFound { what: "API key" }),
        }
    }

    /// The key as it goes on with `to`, under the role of who had it.
    pub fn apply_reassignment(&mut self, to: &Actor, under: Role) {
        self.issued.created_by = to.clone();
        self.under = self.under.with(under);
    }

    /// Decides whether it may get a new secret.
    ///
    /// # Errors
    /// [`Error::KeyEnded`] when it is revoked or expired.
    pub fn rotate(&self, now: Instant) -> Result<(), Error> {
        if self.is_alive(now) { Ok(()) } else { Err(Error::KeyEnded) }
    }

    /// The key with a new secret.
    pub fn apply_rotation(&mut self, secret: &NewSecret) {
        let digest = std::mem::replace(&mut self.issued.digest, secret.digest);
        let last4 = std::mem::replace(&mut self.issued.last4, secret.last4.clone());
        self.previous = Some(Box::new(Previous { digest, last4, until: secret.previous_until }));
    }

    /// Whether a use at `now` is to be noted.
    pub fn notes_use(&self, now: Instant) -> bool {
        let since = |at: Instant| at.plus_seconds(ApiKey::USE_NOTED_EVERY_SECONDS) <= now;
        self.is_alive(now) && self.last_used.is_none_or(|used| since(used.at))
    }

    /// When the secret with this digest stops working; `None` is never.
    pub fn ends_at(&self, digest: &[u8; 32]) -> Option<Instant> {
        let current: bool = self.issued.digest.ct_eq(digest).into();
        match &self.previous {
            Some(previous) if !current => {
                Some(self.issued.expires_at.map_or(previous.until, |end| end.min(previous.until)))
            }
            _ => self.issued.expires_at,
        }
    }

    /// Whether a request with this secret, from this address, is the key's. The secret is compared in
    /// constant time.
    pub fn admits(&self, digest: &[u8; 32], peer: Option<IpAddr>, now: Instant) -> bool {
        let current: bool = self.issued.digest.ct_eq(digest).into();
        let previous = self.previous.as_ref().is_some_and(|previous| {
            let same: bool = previous.digest.ct_eq(digest).into();
            same && now < previous.until
        });
        let genuine = current || previous;
        let allowed = &self.issued.ip_allow;
        let from_here = allowed.is_empty()
            || peer.is_some_and(|peer| allowed.iter().any(|network| network.contains(peer)));
        genuine && self.is_alive(now) && from_here
    }

    /// Whether it is neither revoked nor expired.
    pub fn is_alive(&self, now: Instant) -> bool {
        self.revoked_at.is_none() && self.issued.expires_at.is_none_or(|end| now < end)
    }

    /// Whether a caller who works in `business` may see it.
    pub fn is_within(&self, business: BusinessId) -> bool {
        self.issued.path.contains(&business)
    }
}

#[cfg(test)]
mod tests {
    use rpc::ActorKind;

    use super::*;

    const NOW: Instant = Instant::from_unix_micros(1_000_000);
    const LATER: Instant = Instant::from_unix_micros(2_000_000);

    fn business(byte: u8) -> BusinessId {
        BusinessId::from_bytes([byte; 16])
    }

    fn new_key(role: Role) -> NewKey {
        NewKey {
            id: ApiKeyId::from_bytes([9; 16]),
            name: "till 4".to_owned(),
            role,
            narrowed: vec![],
            path: vec![business(1)],
            digest: [5; 32],
            last4: "wxyz".to_owned(),
            expires_at: None,
            ip_allow: vec![],
            created_by: Actor::new(ActorKind::System, "bootstrap"),
        }
    }

    fn key(new: NewKey) -> ApiKey {
        ApiKey::new(new, NOW)
    }

    fn networks(text: &str) -> Vec<Network> {
        text.split_whitespace().map(|network| Network::parse(network).unwrap()).collect()
    }

    /// API-5: no key makes a key that can do more.
    #[test]
    #[rustfmt::skip] // columns
    fn a_key_grants_no_more_than_its_creator_has() {
        let check = |creator: &str, role: Role, narrowed: &str, expected: Result<(), &str>| {
            let narrowed = narrowed.split_whitespace().map(str::to_owned).collect();
            let wanted = NewKey { narrowed, ..new_key(role) };
            let permissions = Permissions::parse(creator.split_whitespace()).unwrap();
            let creator = Creator { permissions: &permissions, business: business(1), key: None };
            let found = wanted.may_be_made_by(creator).map_err(|error| match error {
                Error::PermissionEscalation { field } => field,
                other => panic!("{other}"),
            });
            assert_eq!(found, expected, "{creator:?} makes {wanted:?}");
        };
        check("*",                       Role::Owner,  "",                      Ok(()));
        check("*",                       Role::Clerk,  "",                      Ok(()));
        check("*.read key.create",       Role::Viewer, "",                      Ok(()));
        check("*.read key.create",       Role::Clerk,  "",                      Err("permissions"));
        check("*.read key.create",       Role::Owner,  "",                      Err("permissions"));
        check("*.read key.create",       Role::Owner,  "stock.read",            Ok(()));
        check("*.read key.create",       Role::Owner,  "stock.read stock.post", Err("permissions"));
        check("key.create",              Role::Viewer, "",                      Err("permissions"));
        check("key.create",              Role::Owner,  "key.create",            Ok(()));
        check("*",                       Role::Viewer, "stock.post",            Err("permissions"));
        check("*",                       Role::Owner,  "internal.gateway",      Err("permissions"));
        check("*",                       Role::Owner,  "everything",            Err("permissions"));
    }

    /// API-5: in no other business, for no longer, from no other network.
    #[test]
    #[rustfmt::skip] // columns
    fn a_key_reaches_no_further_than_its_creator() {
        let check = |own: NewKey, wanted: NewKey, expected: Option<&str>| {
            let (permissions, own) = (Permissions::parse(["*"]).unwrap(), key(own));
            let creator = Creator { permissions: &permissions, business: own.issued.business().unwrap(), key: Some(&own) };
            let found = wanted.may_be_made_by(creator).err().map(|error| match error {
                Error::PermissionEscalation { field } => field,
                other => panic!("{other}"),
            });
            assert_eq!(found, expected, "{wanted:?}");
        };
        let owner = || new_key(Role::Owner);
        let until = |expires_at| NewKey { expires_at, ..owner() };
        let in_business = |path: &[u8]| NewKey { path: path.iter().copied().map(business).collect(), ..owner() };
        let from = |text| NewKey { ip_allow: networks(text), ..owner() };

        check(until(None),          until(None),            None);
        check(until(None),          until(Some(LATER)),     None);
        check(until(Some(NOW)),     until(Some(NOW)),       None);
        check(until(Some(NOW)),     until(Some(LATER)),     Some("expires_at"));
        check(until(Some(NOW)),     until(None),            Some("expires_at"));

        check(in_business(&[1]),    in_business(&[1]),      None);
        check(in_business(&[1]),    in_business(&[1, 2]),   None);
        check(in_business(&[1, 2]), in_business(&[1, 2, 3]), None);
        check(in_business(&[1, 2]), in_business(&[1]),      Some("business_id"));
        check(in_business(&[1, 2]), in_business(&[1, 3]),   Some("business_id"));

        check(from(""),             from("192.0.2.7"),      None);
        check(from("192.0.2.0/24"), from("192.0.2.7"),      None);
        check(from("192.0.2.0/24"), from(""),               Some("ip_allow"));
        check(from("192.0.2.0/24"), from("192.0.2.7 192.0.3.7"), Some("ip_allow"));
    }

    /// API-3: expiry, revocation and the allow-list hold for every request.
    #[test]
    #[rustfmt::skip] // columns
    fn a_request_is_admitted_when_everything_fits() {
        let check = |key: ApiKey, digest: u8, peer: Option<&str>, expected: bool| {
            let peer = peer.map(|peer| peer.parse().unwrap());
            assert_eq!(key.admits(&[digest; 32], peer, NOW), expected, "{key:?} from {peer:?}");
        };
        let plain = || key(new_key(Role::Clerk));
        let until = |end| key(NewKey { expires_at: Some(end), ..new_key(Role::Clerk) });
        let from = |text| key(NewKey { ip_allow: networks(text), ..new_key(Role::Clerk) });
        let just_after = Instant::from_unix_micros(NOW.unix_micros() + 1);

        check(plain(),              5, None,               true);
        check(plain(),              5, Some("192.0.2.7"),  true);
        check(plain(),              6, None,               false);
        check(until(just_after),    5, None,               true);
        check(until(NOW),           5, None,               false);
        check(ApiKey { revoked_at: Some(NOW), ..plain() }, 5, None, false);
        check(from("192.0.2.0/24 2001:db8::/32"), 5, Some("192.0.2.7"),    true);
        check(from("192.0.2.0/24 2001:db8::/32"), 5, Some("2001:db8::7"),  true);
        check(from("192.0.2.0/24"), 5, Some("192.0.3.7"),  false);
        check(from("192.0.2.0/24"), 5, None,               false);
    }

    /// API-4: two secrets are valid for the chosen time, never three.
    #[test]
    fn a_rotated_key_has_two_secrets_for_a_while() {
        let secret = |digest, previous_until| NewSecret { digest, last4: "abcd".to_owned(), previous_until };
        let mut key = key(new_key(Role::Clerk));
        key.apply_rotation(&secret([6; 32], LATER));
        assert!([5, 6].into_iter().all(|digest| key.admits(&[digest; 32], None, NOW)));
        assert_eq!((key.ends_at(&[5; 32]), key.ends_at(&[6; 32])), (Some(LATER), None));
        assert_eq!([5, 6].map(|digest| key.admits(&[digest; 32], None, LATER)), [false, true]);

        key.apply_rotation(&secret([7; 32], LATER));
        assert_eq!([5, 6, 7].map(|digest| key.admits(&[digest; 32], None, NOW)), [false, true, true]);
        key.revoked_at = Some(NOW);
        assert_eq!([5, 6, 7].map(|digest| key.admits(&[digest; 32], None, NOW)), [false; 3]);
        assert_eq!(key.rotate(NOW), Err(Error::KeyEnded));
    }
}
