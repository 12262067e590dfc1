//! A person who signs in: states, and what leads from one to another.

use calendar::Instant;
use ids::{BusinessId, UserId};
use rpc::Permissions;
use subtle::ConstantTimeEq as _;

use crate::Error;
use crate::domain::Role;

/// What a user may do right now.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum UserStatus {
    /// Has not chosen a password yet.
    Invited,
    /// May sign in.
    Active,
    /// May not sign in for now.
    Locked,
    /// Has left.
    Deactivated,
}

impl UserStatus {
    const ALL: [UserStatus; 4] =
        [UserStatus::Invited, UserStatus::Active, UserStatus::Locked, UserStatus::Deactivated];

    /// `invited`, `active`, `locked`, `deactivated`: in the contract and in stored rows.
    pub fn name(self) -> &'static str {
        match self {
            UserStatus::Invited => "invited",
            UserStatus::Active => "active",
            UserStatus::Locked => "locked",
            UserStatus::Deactivated => "deactivated",
        }
    }

    /// Reads what [`UserStatus::name`] writes.
    pub fn parse(name: &str) -> Option<UserStatus> {
        UserStatus::ALL.into_iter().find(|status| status.name() == name)
    }
}

/// A user to be invited.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewUser {
    /// Its id.
    pub id: UserId,
    /// In lower case: unique in the tenant.
    pub email: String,
    /// What people call it.
    pub name: String,
    /// BCP 47, or empty.
    pub locale: String,
    /// What it may do.
    pub role: Role,
    /// The business that it works in.
    pub business: BusinessId,
    /// Lets the person choose a password: the last one.
    pub invitation: Invitation,
}

/// What lets an invited person in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Invitation {
    /// Keyed hash of the token.
    pub digest: [u8; 32],
    /// When it stops working.
    pub expires_at: Instant,
}

/// What makes one-time codes.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Totp {
    /// What the secret of the codes is made from, see `totp::secret_of`; `None` while signing in needs no code. The
    /// secret itself is stored nowhere: entries reach the audit log and its exports.
    pub seed: Option<[u8; 20]>,
    /// A seed that no code has confirmed yet.
    pub pending: Option<[u8; 20]>,
    /// The step of the last code that was used: no code works twice.
    pub last_step: u64,
    /// Keyed hashes of the recovery codes that are left, cut to 16 bytes.
    pub recovery: Vec<[u8; 16]>,
}

impl std::fmt::Debug for Totp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Totp({})", if self.seed.is_some() { "on" } else { "off" })
    }
}

/// A user.
#[derive(Clone, PartialEq, Eq)]
pub struct User {
    /// What the invitation said, and what was changed since.
    pub profile: NewUser,
    /// See [`UserStatus`].
    pub status: UserStatus,
    /// Argon2id hash of the password under the pepper, in PHC form; empty before there is one.
    pub password: String,
    /// One-time codes.
    pub totp: Totp,
    /// What identity providers recognise it by.
    pub links: Vec<Link>,
    /// Sessions that began before are over.
    pub sessions_from: Instant,
    /// Position of its last entry.
    pub revision: u64,
    /// When it was invited.
    pub created_at: Instant,
    /// When it last changed.
    pub updated_at: Instant,
}

impl std::fmt::Debug for User {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "User({}, {:?})", self.profile.id, self.status)
    }
}

/// What changes; absent fields stay as they are.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct UserUpdate {
    /// The revision that the caller has seen; `None` is any.
    pub expected: Option<u64>,
    /// See [`NewUser::name`].
    pub name: Option<String>,
    /// See [`NewUser::locale`].
    pub locale: Option<String>,
    /// See [`NewUser::role`].
    pub role: Option<Role>,
}

impl NewUser {
    /// Longest email address, in bytes.
    pub const EMAIL_BYTES_MAX: usize = 254;
    /// Longest name, in characters.
    pub const NAME_CHARS_MAX: usize = 100;
    /// How long an invitation works: seven days.
    pub const INVITED_SECONDS: i64 = 7 * 24 * 60 * 60;
}

/// What a user is recognised by when an identity provider says who it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Link {
    /// SHA-256 of the issuer.
    pub issuer: [u8; 32],
    /// [`crate::domain::provider::link`]
    pub subject: [u8; 32],
}

impl User {
    /// Most issuers that recognise a user.
    pub const LINKS_MAX: usize = 5;

    /// Permissions that every user has for what is its own, whatever its role.
    pub const OWN: [&'static str; 2] = ["self.read", "self.update"];

    /// These, as permissions.
    pub fn own_permissions() -> Permissions {
        Permissions::parse(User::OWN).unwrap_or_default()
    }

    /// The user right after it was invited.
    pub fn new(profile: NewUser, now: Instant) -> User {
        User {
            profile,
            status: UserStatus::Invited,
            password: String::new(),
            totp: Totp::default(),
            links: vec![],
            sessions_from: now,
            revision: 1,
            created_at: now,
            updated_at: now,
        }
    }

    /// What it may do now by its role; `None` while it may not sign in.
    pub fn permissions(&self) -> Option<Permissions> {
        let members = self.profile.role.members().iter().chain(&User::OWN);
        Permissions::parse(members).filter(|_| self.status == UserStatus::Active)
    }

    /// Whether it runs the tenant while it is active: an owner at the `master` business.
    pub fn runs(&self, role: Role, master: BusinessId) -> bool {
        role == Role::Owner && self.profile.business == master
    }

    /// Whether somebody else may vouch for the user: it is active, or its invitation has not ended.
    pub fn may_come_in(&self, now: Instant) -> bool {
        match self.status {
            UserStatus::Active => true,
            UserStatus::Invited => now < self.profile.invitation.expires_at,
            UserStatus::Locked | UserStatus::Deactivated => false,
        }
    }

    /// Whether the user is recognised by this link. For an issuer there is one, for good: who gets the email address
    /// of somebody who has left does not become them.
    ///
    /// # Errors
    /// [`Error::InvalidCredentials`] for another subject of an issuer that is linked, or one link too many.
    pub fn is_linked(&self, link: &Link) -> Result<bool, Error> {
        match self.links.iter().find(|known| known.issuer == link.issuer) {
            Some(known) if known == link => Ok(true),
            None if self.links.len() < User::LINKS_MAX => Ok(false),
            _ => Err(Error::InvalidCredentials),
        }
    }

    /// Whether the invitation with this digest still works.
    pub fn is_invited_by(&self, digest: &[u8; 32], now: Instant) -> bool {
        let genuine: bool = self.profile.invitation.digest.ct_eq(digest).into();
        genuine && self.status == UserStatus::Invited && now < self.profile.invitation.expires_at
    }

    /// Decides what an update really changes; `None` if nothing.
    ///
    /// # Errors
    /// [`Error::StaleRevision`] when the caller has seen another revision.
    pub fn update(&self, update: &UserUpdate) -> Result<Option<UserUpdate>, Error> {
        if update.expected.is_some_and(|seen| seen != self.revision) {
            return Err(Error::StaleRevision { what: "user", current: self.revision });
        }
        let changed = UserUpdate {
            expected: None,
            name: update.name.clone().filter(|name| *name != self.profile.name),
            locale: update.locale.clone().filter(|locale| *locale != self.profile.locale),
            role: update.role.filter(|role| *role != self.profile.role),
        };
        Ok((changed != UserUpdate::default()).then_some(changed))
    }

    /// Decides a change of status; false if it is that already.
    ///
    /// # Errors
    /// [`Error::IllegalTransition`].
    pub fn turn(&self, to: UserStatus) -> Result<bool, Error> {
        let illegal = |why| Err(Error::IllegalTransition { why });
        match (self.status, to) {
            (from, to) if from == to => Ok(false),
            (UserStatus::Invited | UserStatus::Active | UserStatus::Locked, UserStatus::Deactivated)
            | (UserStatus::Active, UserStatus::Locked)
            | (UserStatus::Locked, UserStatus::Active) => Ok(true),
            // Who never chose a password is invited again, not let in.
            (UserStatus::Deactivated, UserStatus::Active) if !self.password.is_empty() => Ok(true),
            (UserStatus::Invited, _) => illegal("the user has not accepted the invitation yet"),
            (UserStatus::Deactivated, UserStatus::Active) => {
                illegal("the user never chose a password: invite it again")
            }
            (UserStatus::Deactivated, _) => illegal("the user is deactivated"),
            (_, _) => illegal("a user becomes invited by another invitation only"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Instant = Instant::from_unix_micros(1_000_000);

    fn user(status: UserStatus, password: &str) -> User {
        let profile = NewUser {
            id: UserId::from_bytes([1; 16]),
            email: "ada@example.com".to_owned(),
            name: "Ada".to_owned(),
            locale: String::new(),
            role: Role::Clerk,
            business: BusinessId::from_bytes([1; 16]),
            invitation: Invitation { digest: [5; 32], expires_at: NOW },
        };
        User { status, password: password.to_owned(), ..User::new(profile, NOW) }
    }

    #[test]
    #[rustfmt::skip] // columns
    fn a_status_follows_from_the_one_before() {
        use UserStatus::{Active, Deactivated, Invited, Locked};
        let check = |from: UserStatus, to: UserStatus, expected: Option<bool>| {
            assert_eq!(user(from, "hash").turn(to).ok(), expected, "{from:?} to {to:?}");
        };
        check(Invited,     Active,      None);
        check(Invited,     Locked,      None);
        check(Invited,     Deactivated, Some(true));
        check(Active,      Active,      Some(false));
        check(Active,      Locked,      Some(true));
        check(Active,      Deactivated, Some(true));
        check(Locked,      Active,      Some(true));
        check(Locked,      Locked,      Some(false));
        check(Locked,      Deactivated, Some(true));
        check(Deactivated, Active,      Some(true));
        check(Deactivated, Locked,      None);
        check(Deactivated, Deactivated, Some(false));
        assert!(user(Deactivated, "").turn(Active).is_err());
    }

    #[test]
    fn only_an_active_user_may_do_anything() {
        for status in UserStatus::ALL {
            assert_eq!(UserStatus::parse(status.name()), Some(status));
            assert_eq!(
                user(status, "hash").permissions().is_some(),
                status == UserStatus::Active,
                "{status:?}"
            );
        }
    }

    #[test]
    fn an_invitation_ends_at_its_time() {
        let before = Instant::from_unix_micros(NOW.unix_micros() - 1);
        let invited = user(UserStatus::Invited, "");
        assert!(invited.is_invited_by(&[5; 32], before));
        assert!(!invited.is_invited_by(&[5; 32], NOW) && !invited.is_invited_by(&[6; 32], before));
        assert!(!user(UserStatus::Active, "hash").is_invited_by(&[5; 32], before));
    }
}
