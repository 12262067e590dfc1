//! One aggregate of the people of a tenant: a user, a session, an identity provider, or a list of the tenant.

use calendar::Instant;
use ids::{ProviderId, UserId};

use crate::Error;
use crate::domain::{
    Invitation, Link, NewProvider, NewUser, PROVIDERS_MAX, Provider, ProviderUpdate, Role, Session, Totp,
    User, UserStatus, UserUpdate,
};

/// Most owners of a tenant.
pub const OWNERS_MAX: usize = 50;

/// The state of one aggregate.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum People {
    /// Nothing happened yet.
    #[default]
    Unborn,
    /// One per user.
    User(Box<User>),
    /// One per session.
    Session(Session),
    /// One per tenant that ever had an active owner: who they are. It is committed together with what makes or
    /// unmakes one, so that two owners who take each other out at the same moment cannot both succeed.
    Owners(Vec<UserId>),
    /// One per identity provider.
    Provider(Box<Provider>),
    /// One per tenant that ever had an identity provider: which, the oldest first.
    Providers(Vec<ProviderId>),
}

/// What is asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PeopleCommand {
    /// Invites a user.
    Invite(NewUser),
    /// Chooses the first password: the user becomes active.
    Accept {
        /// Keyed hash of the invitation's token.
        invitation: [u8; 32],
        /// In PHC form.
        password: String,
        /// The role that was reckoned with.
        role: Role,
    },
    /// Invites a user again: password, one-time codes and sessions before are void.
    Reinvite(Invitation),
    /// Changes a user.
    Update(UserUpdate),
    /// Changes the status.
    Turn {
        /// What it becomes.
        to: UserStatus,
        /// The role that was reckoned with.
        role: Role,
    },
    /// Chooses another password; sessions that began before are over.
    ChangePassword {
        /// In PHC form.
        password: String,
    },
    /// Makes a secret for one-time codes that is not confirmed yet.
    Enrol {
        /// Its seed.
        seed: [u8; 20],
    },
    /// Confirms it.
    Confirm {
        /// The seed of the secret that the code was made with.
        seed: [u8; 20],
        /// Step of the code.
        step: u64,
        /// Keyed hashes of the recovery codes.
        recovery: Vec<[u8; 16]>,
    },
    /// Uses a one-time code up.
    UseCode {
        /// Its step.
        step: u64,
    },
    /// Uses a recovery code up.
    UseRecovery {
        /// Its keyed hash.
        digest: [u8; 16],
    },
    /// Adds an owner to the list.
    AddOwner(UserId),
    /// Takes an owner off the list, unless it is the last one.
    RemoveOwner(UserId),
    /// Makes an identity provider.
    AddProvider(NewProvider),
    /// Changes an identity provider.
    UpdateProvider(ProviderUpdate),
    /// Adds an identity provider to the list.
    ListProvider(ProviderId),
    /// A provider has said who signs in: the user is recognised by it from now on, and one who was invited is active.
    Link {
        /// The provider.
        provider: ProviderId,
        /// What it is recognised by.
        link: Link,
        /// The role that was reckoned with.
        role: Role,
    },
    /// Begins a session.
    Begin(Session),
    /// Notes a use of a session, unless that was noted a short while ago.
    NoteSeen,
    /// The user of the session proved himself again.
    Prove,
    /// Ends a session. Repeating it changes nothing.
    End,
}

/// What happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PeopleEvent {
    /// A user was invited.
    Invited(Box<User>),
    /// An invitation was accepted.
    Accepted {
        /// In PHC form.
        password: String,
    },
    /// A user was invited again.
    Reinvited(Invitation),
    /// A user changed: the fields that did.
    Updated(UserUpdate),
    /// The status changed.
    Turned(UserStatus),
    /// Another password was chosen.
    PasswordChanged {
        /// In PHC form.
        password: String,
    },
    /// A secret for one-time codes was made.
    Enrolled {
        /// Its seed.
        seed: [u8; 20],
    },
    /// It was confirmed.
    Confirmed {
        /// Its seed.
        seed: [u8; 20],
        /// Step of the code that confirmed it.
        step: u64,
        /// Keyed hashes of the recovery codes.
        recovery: Vec<[u8; 16]>,
    },
    /// A one-time code was used.
    CodeUsed {
        /// Its step.
        step: u64,
    },
    /// A recovery code was used.
    RecoveryUsed {
        /// Its keyed hash.
        digest: [u8; 16],
    },
    /// An identity provider was made.
    ProviderAdded(Box<Provider>),
    /// An identity provider changed: the fields that did.
    ProviderUpdated(ProviderUpdate),
    /// An identity provider was added to the list.
    ProviderListed(ProviderId),
    /// A user is recognised by what a provider says.
    Linked {
        /// The provider.
        provider: ProviderId,
        /// What it is recognised by.
        link: Link,
    },
    /// An owner was added.
    OwnerAdded(UserId),
    /// An owner was taken off.
    OwnerRemoved(UserId),
    /// A session began.
    Begun(Session),
    /// A session was used: one of many uses.
    Seen,
    /// The user of a session proved himself again.
    Proven,
    /// A session was ended.
    Ended,
}

use PeopleCommand as C;
use PeopleEvent as E;

impl People {
    /// Decides what a command leads to. Pure: no clock, no I/O, `self` unchanged.
    ///
    /// # Errors
    /// What [`User::update`] and [`User::turn`] refuse, [`Error::LastOwner`], [`Error::TooManyOwners`],
    /// [`Error::InvalidProof`] for a code that was used before, [`Error::InvalidCredentials`] for an invitation that
    /// does not work, [`Error::StaleRevision`] for another role than was reckoned with, [`Error::NotFound`],
    /// [`Error::AlreadyExists`].
    pub fn decide(&self, command: &C, now: Instant) -> Result<Vec<E>, Error> {
        match (self, command) {
            (People::Unborn, C::Invite(new)) => Ok(vec![E::Invited(Box::new(User::new(new.clone(), now)))]),
            (People::Unborn, C::Begin(session)) => Ok(vec![E::Begun(session.clone())]),
            (People::User(user), command) => on_user(user, command, now),
            (People::Session(session), C::NoteSeen) if session.notes_use(now) => Ok(vec![E::Seen]),
            (People::Session(session), C::Prove) if session.is_alive(now) => Ok(vec![E::Proven]),
            (People::Session(session), C::End) if session.ended_at.is_none() => Ok(vec![E::Ended]),
            (People::Session(_), C::NoteSeen | C::End) => Ok(vec![]),
            (People::Unborn | People::Owners(_), C::AddOwner(user)) => {
                let owners = self.owners();
                match owners.contains(user) {
                    true => Ok(vec![]),
                    false if owners.len() < OWNERS_MAX => Ok(vec![E::OwnerAdded(*user)]),
                    false => Err(Error::TooManyOwners { max: OWNERS_MAX }),
                }
            }
            (People::Unborn | People::Owners(_), C::RemoveOwner(user)) => match self.owners() {
                owners if !owners.contains(user) => Ok(vec![]),
                [_] => Err(Error::LastOwner),
                _ => Ok(vec![E::OwnerRemoved(*user)]),
            },
            (People::Unborn, C::AddProvider(new)) => {
                Ok(vec![E::ProviderAdded(Box::new(Provider::new(new.clone(), now)))])
            }
            (People::Provider(provider), C::UpdateProvider(update)) => {
                Ok(provider.update(update)?.map(E::ProviderUpdated).into_iter().collect())
            }
            (People::Unborn | People::Providers(_), C::ListProvider(id)) => match self.providers() {
                listed if listed.contains(id) => Ok(vec![]),
                listed if listed.len() < PROVIDERS_MAX => Ok(vec![E::ProviderListed(*id)]),
                _ => Err(Error::TooManyProviders { max: PROVIDERS_MAX }),
            },
            (_, C::UpdateProvider(_)) => Err(Error::NotFound { what: "identity provider" }),
            (_, C::Invite(_) | C::Begin(_) | C::AddProvider(_)) => Err(Error::AlreadyExists),
            (People::Unborn, _) => Err(Error::NotFound { what: "user" }),
            (_, _) => Err(Error::NotFound { what: "session" }),
        }
    }

    fn owners(&self) -> &[UserId] {
        if let People::Owners(owners) = self { owners } else { &[] }
    }

    /// Those in the list; empty for what is no list.
    pub fn providers(&self) -> &[ProviderId] {
        if let People::Providers(providers) = self { providers } else { &[] }
    }

    /// Changes the state as the event says. Cannot fail.
    pub fn evolve(&mut self, event: &E, seq: u64, recorded_at: Instant) {
        match (&mut *self, event) {
            (_, E::Invited(user)) => *self = People::User(user.clone()),
            (_, E::Begun(session)) => *self = People::Session(session.clone()),
            (People::Owners(owners), E::OwnerAdded(user)) => owners.push(*user),
            (_, E::OwnerAdded(user)) => *self = People::Owners(vec![*user]),
            (People::Owners(owners), E::OwnerRemoved(user)) => owners.retain(|owner| owner != user),
            (_, E::ProviderAdded(provider)) => *self = People::Provider(provider.clone()),
            (People::Provider(provider), E::ProviderUpdated(changed)) => {
                provider.apply(changed);
                provider.revision = seq;
                provider.updated_at = recorded_at;
            }
            (People::Providers(listed), E::ProviderListed(provider)) => listed.push(*provider),
            (_, E::ProviderListed(provider)) => *self = People::Providers(vec![*provider]),
            (People::Session(session), E::Seen) => session.seen_at = recorded_at,
            (People::Session(session), E::Proven) => session.proven_at = recorded_at,
            (People::Session(session), E::Ended) => session.ended_at = Some(recorded_at),
            (People::User(user), event) => {
                apply(user, event, recorded_at);
                user.revision = seq;
                user.updated_at = recorded_at;
            }
            // `decide` lets these follow their own kind only; in damaged data `verify` finds the difference.
            _ => {}
        }
    }
}

fn on_user(user: &User, command: &C, now: Instant) -> Result<Vec<E>, Error> {
    Ok(match command {
        C::Accept { invitation, password, role } => match user.is_invited_by(invitation, now) {
            true => {
                reckoned(user, *role)?;
                vec![E::Accepted { password: password.clone() }]
            }
            false => return Err(Error::InvalidCredentials),
        },
        C::Link { provider, link, role } => {
            reckoned(user, *role)?;
            if !user.may_come_in(now) {
                return Err(Error::InvalidCredentials);
            }
            match user.is_linked(link)? && user.status == UserStatus::Active {
                true => vec![],
                false => vec![E::Linked { provider: *provider, link: *link }],
            }
        }
        C::Reinvite(invitation) => vec![E::Reinvited(invitation.clone())],
        C::Update(update) => user.update(update)?.map(E::Updated).into_iter().collect(),
        C::Turn { to, role } => {
            reckoned(user, *role)?;
            user.turn(*to)?.then_some(E::Turned(*to)).into_iter().collect()
        }
        C::ChangePassword { password } => vec![E::PasswordChanged { password: password.clone() }],
        C::Enrol { seed } => vec![E::Enrolled { seed: *seed }],
        C::Confirm { seed, step, recovery } if user.totp.pending == Some(*seed) => {
            vec![E::Confirmed { seed: *seed, step: *step, recovery: recovery.clone() }]
        }
        C::UseCode { step } if user.totp.last_step < *step => vec![E::CodeUsed { step: *step }],
        C::UseRecovery { digest } if user.totp.recovery.contains(digest) => {
            vec![E::RecoveryUsed { digest: *digest }]
        }
        C::Confirm { .. } | C::UseCode { .. } | C::UseRecovery { .. } => return Err(Error::InvalidProof),
        C::Invite(_) => return Err(Error::AlreadyExists),
        _ => return Err(Error::NotFound { what: "session" }),
    })
}

/// What is decided together with the list of owners depends on the role: it must be the one that was read.
fn reckoned(user: &User, role: Role) -> Result<(), Error> {
    match user.profile.role == role {
        true => Ok(()),
        false => Err(Error::StaleRevision { what: "user", current: user.revision }),
    }
}

fn apply(user: &mut User, event: &E, recorded_at: Instant) {
    match event {
        E::Accepted { password } => {
            user.password.clone_from(password);
            user.status = UserStatus::Active;
        }
        E::Linked { link, .. } => {
            user.status = UserStatus::Active;
            if !user.links.contains(link) {
                user.links.push(*link);
            }
        }
        E::Reinvited(invitation) => {
            user.profile.invitation = invitation.clone();
            user.status = UserStatus::Invited;
            user.password.clear();
            user.totp = Totp::default();
            user.links.clear();
            user.sessions_from = recorded_at;
        }
        E::Updated(changed) => {
            let profile = &mut user.profile;
            profile.name = changed.name.clone().unwrap_or(std::mem::take(&mut profile.name));
            profile.locale = changed.locale.clone().unwrap_or(std::mem::take(&mut profile.locale));
            profile.role = changed.role.unwrap_or(profile.role);
        }
        E::Turned(to) => {
            user.status = *to;
            user.sessions_from = recorded_at;
        }
        E::PasswordChanged { password } => {
            user.password.clone_from(password);
            user.sessions_from = recorded_at;
        }
        E::Enrolled { seed } => user.totp.pending = Some(*seed),
        E::Confirmed { seed, step, recovery } => {
            user.totp.seed = Some(*seed);
            user.totp.pending = None;
            user.totp.last_step = *step;
            user.totp.recovery.clone_from(recovery);
        }
        E::CodeUsed { step } => user.totp.last_step = *step,
        E::RecoveryUsed { digest } => user.totp.recovery.retain(|left| left != digest),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Instant = Instant::from_unix_micros(1_000_000);

    fn user(byte: u8) -> UserId {
        UserId::from_bytes([byte; 16])
    }

    /// API-7, the part of the last owner: what changes the list of owners holds for the role that was read, and for no other.
    #[test]
    fn a_role_that_changed_meanwhile_is_not_reckoned_with() {
        let invitation = Invitation { digest: [5; 32], expires_at: Instant::MAX };
        let new = NewUser {
            id: user(1),
            email: "ada@example.com".to_owned(),
            name: "Ada".to_owned(),
            locale: String::new(),
            role: Role::Owner,
            business: ids::BusinessId::from_bytes([1; 16]),
            invitation,
        };
        let invited = User::new(new, NOW);
        let accept = |role| C::Accept { invitation: [5; 32], password: "hash".to_owned(), role };
        let turn = |role| C::Turn { to: UserStatus::Locked, role };
        let active = User { status: UserStatus::Active, ..invited.clone() };
        for (state, command) in [(invited, &accept as &dyn Fn(Role) -> C), (active, &turn)] {
            let state = People::User(Box::new(state));
            assert_eq!(state.decide(&command(Role::Owner), NOW).unwrap().len(), 1);
            let stale = state.decide(&command(Role::Clerk), NOW).unwrap_err();
            assert_eq!(stale, Error::StaleRevision { what: "user", current: 1 });
        }
    }

    /// API-7, the part of the last owner: it stays.
    #[test]
    fn the_last_owner_is_not_taken_off_the_list() {
        let mut owners = People::Unborn;
        let mut run = |command: C| {
            let events = owners.decide(&command, NOW)?;
            events.iter().for_each(|event| owners.evolve(event, 1, NOW));
            Ok::<_, Error>(events.len())
        };
        assert_eq!(run(C::AddOwner(user(1))), Ok(1));
        assert_eq!(run(C::AddOwner(user(1))), Ok(0));
        assert_eq!(run(C::RemoveOwner(user(1))), Err(Error::LastOwner));
        assert_eq!(run(C::RemoveOwner(user(2))), Ok(0));
        assert_eq!(run(C::AddOwner(user(2))), Ok(1));
        assert_eq!(run(C::RemoveOwner(user(1))), Ok(1));
        assert_eq!(run(C::RemoveOwner(user(2))), Err(Error::LastOwner));
        for byte in 3..=u8::try_from(OWNERS_MAX + 1).unwrap() {
            assert_eq!(run(C::AddOwner(user(byte))), Ok(1));
        }
        assert_eq!(run(C::AddOwner(user(200))), Err(Error::TooManyOwners { max: OWNERS_MAX }));
    }
}
