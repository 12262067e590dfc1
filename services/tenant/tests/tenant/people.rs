//! People: invitations, signing in, codes, sessions, the last owner.

use proto::tenant::v1::identity_service_client::IdentityServiceClient;
use proto::tenant::v1::*;
use rpc::{Principal, Transport, header};
use tenant::domain::totp;
use tonic::{Code, Request, Response, Status};

use crate::world::*;

const PASSWORD: &str = "correct horse battery";

impl World {
    fn people(&self) -> IdentityServiceClient<Transport> {
        IdentityServiceClient::new(self.transport.clone())
    }

    async fn invite(
        &self,
        caller: &Principal,
        email: &str,
        role: &str,
    ) -> Result<CreateUserResponse, Status> {
        let user = User {
            email: email.to_owned(),
            name: "Ada".to_owned(),
            role: role.to_owned(),
            ..User::default()
        };
        let request = self.request(caller, CreateUserRequest { user: Some(user) });
        self.people().create_user(request).await.map(Response::into_inner)
    }

    async fn accept(&self, token: &str, password: &str) -> Result<User, Status> {
        let (invitation_token, password) = (token.to_owned(), password.to_owned());
        let request = self.public(AcceptInvitationRequest { invitation_token, password });
        Ok(self.people().accept_invitation(request).await?.into_inner().user.unwrap())
    }

    async fn sign_in(
        &self,
        tenant: &str,
        email: &str,
        password: &str,
        code: &str,
    ) -> Result<SignInResponse, Status> {
        let text = str::to_owned;
        let ask = SignInRequest {
            tenant: text(tenant),
            email: text(email),
            password: text(password),
            code: text(code),
        };
        Ok(self.people().sign_in(self.public(ask)).await?.into_inner())
    }

    /// A user who has accepted, and the principal of a session.
    async fn person(&self, owner: &Principal, slug: &str, email: &str, role: &str) -> (User, Principal) {
        let invited = self.invite(owner, email, role).await.unwrap();
        let user = self.accept(&invited.invitation_token, PASSWORD).await.unwrap();
        let token = self.sign_in(slug, email, PASSWORD, "").await.unwrap().token;
        (user, self.login(&token).await.unwrap())
    }

    async fn get(&self, caller: &Principal, id: &str) -> Result<User, Status> {
        let request = self.request(caller, GetUserRequest { user_id: id.to_owned() });
        self.people().get_user(request).await.map(Response::into_inner)
    }

    async fn deactivate(&self, caller: &Principal, id: &str) -> Result<User, Status> {
        let request = self.request(caller, DeactivateUserRequest { user_id: id.to_owned() });
        self.people().deactivate_user(request).await.map(Response::into_inner)
    }

    fn changed<T>(&self, caller: &Principal, etag: &str, message: T) -> Request<T> {
        let mut request = self.request(caller, message);
        request.metadata_mut().insert(header::IF_MATCH, etag.parse().unwrap());
        request
    }
}

#[tokio::test]
async fn an_invited_person_signs_in() {
    let world = World::new();
    let owner = world.tenant("acme").await;
    let invited = world.invite(&owner, "Ada@Example.com", "clerk").await.unwrap();
    let user = invited.user.unwrap();
    assert_eq!((user.email.as_str(), user.status.as_str()), ("ada@example.com", "invited"));
    assert_eq!(
        world.sign_in("acme", "ada@example.com", PASSWORD, "").await.unwrap_err().code(),
        Code::Unauthenticated
    );

    let short = world.accept(&invited.invitation_token, "too short").await.unwrap_err();
    assert_eq!(fields(&short), [("password".to_owned(), "OUT_OF_RANGE".to_owned())]);
    assert_eq!(world.accept(&invited.invitation_token, PASSWORD).await.unwrap().status, "active");
    let again = world.accept(&invited.invitation_token, "another password").await.unwrap_err();
    assert_eq!(reason(&again), "INVALID_CREDENTIALS");

    let signed_in = world.sign_in("acme", "ADA@example.com", PASSWORD, "").await.unwrap();
    assert_eq!(signed_in.csrf_token, rpc::csrf_token(&signed_in.token));
    let clerk = world.login(&signed_in.token).await.unwrap();
    assert_eq!((clerk.actor.kind, &*clerk.actor.id), (rpc::ActorKind::User, user.id.as_str()));
    assert!(clerk.permissions.allows("stock.post") && !clerk.permissions.allows("user.create"));
    assert_eq!((clerk.tenant, clerk.business), (owner.tenant, owner.business));

    let stored = format!("{:?}", world.service.app().journal().store().aggregates(None, 100).await.unwrap());
    let secret = signed_in.token.rsplit('_').next().unwrap();
    assert!(!stored.contains(PASSWORD) && !stored.contains(secret));
}

/// Whatever is wrong: one answer.
#[tokio::test]
async fn signing_in_says_nothing_about_why_not() {
    let world = World::new();
    let owner = world.tenant("acme").await;
    let (user, _) = world.person(&owner, "acme", "ada@example.com", "clerk").await;
    let wrong = world.sign_in("acme", "ada@example.com", "wrong password", "").await.unwrap_err();
    assert_eq!((wrong.code(), reason(&wrong).as_str()), (Code::Unauthenticated, "INVALID_CREDENTIALS"));
    for (tenant, email) in [("acme", "bob@example.com"), ("nobody", "ada@example.com")] {
        assert_eq!(bytes(&world.sign_in(tenant, email, PASSWORD, "").await.unwrap_err()), bytes(&wrong));
    }
    world.deactivate(&owner, &user.id).await.unwrap();
    let left = world.sign_in("acme", "ada@example.com", PASSWORD, "").await.unwrap_err();
    assert_eq!(bytes(&left), bytes(&wrong));
}

/// Failures alone are counted, for accounts that exist and for others.
#[tokio::test]
async fn a_guesser_is_slowed_down_and_nobody_else() {
    let world = World::new();
    let owner = world.tenant("acme").await;
    world.person(&owner, "acme", "ada@example.com", "clerk").await;
    for _ in 0..10 {
        world.sign_in("acme", "ada@example.com", PASSWORD, "").await.unwrap();
    }
    for email in ["ada@example.com", "nobody@example.com"] {
        let mut reasons = vec![];
        for _ in 0..8 {
            reasons.push(reason(&world.sign_in("acme", email, "wrong password", "").await.unwrap_err()));
        }
        assert_eq!(reasons[..6], ["INVALID_CREDENTIALS"; 6].map(str::to_owned));
        assert_eq!(reasons[6..], ["TOO_MANY_FAILURES"; 2].map(str::to_owned));
    }
    world.pass_seconds(1);
    world.sign_in("acme", "ada@example.com", PASSWORD, "").await.unwrap();
}

/// API-8, the part of codes: with a confirmed secret nobody comes in without a code, and no code works twice.
#[tokio::test]
async fn codes_are_needed_once_they_are_confirmed() {
    let world = World::new();
    let owner = world.tenant("acme").await;
    let (_, ada) = world.person(&owner, "acme", "ada@example.com", "clerk").await;
    let enrolled =
        world.people().enrol_totp(world.request(&ada, EnrolTotpRequest {})).await.unwrap().into_inner();
    assert!(enrolled.uri.starts_with("otpauth://totp/acme:ada@example.com?secret="), "{}", enrolled.uri);
    assert!(world.sign_in("acme", "ada@example.com", PASSWORD, "").await.is_ok(), "not confirmed yet");

    let secret = unbase32(&enrolled.secret);
    let code = |world: &World| totp::code_at(&secret, totp::step_at(world.now()));
    let confirm = async |code: String| {
        let request = world.request(&ada, ConfirmTotpRequest { code });
        world.people().confirm_totp(request).await.map(|done| done.into_inner().recovery_codes)
    };
    let wrong = if code(&world) == "000000" { "000001" } else { "000000" };
    assert_eq!(reason(&confirm(wrong.to_owned()).await.unwrap_err()), "INVALID_PROOF");
    let recovery = confirm(code(&world)).await.unwrap();
    assert_eq!(recovery.len(), 10);

    let sign_in = async |code: &str| world.sign_in("acme", "ada@example.com", PASSWORD, code).await;
    assert_eq!(reason(&sign_in("").await.unwrap_err()), "INVALID_CREDENTIALS");
    assert_eq!(
        reason(&sign_in(&code(&world)).await.unwrap_err()),
        "INVALID_CREDENTIALS",
        "it confirmed the secret"
    );
    world.pass_seconds(30);
    sign_in(&code(&world)).await.unwrap();
    assert_eq!(reason(&sign_in(&code(&world)).await.unwrap_err()), "INVALID_CREDENTIALS");
    sign_in(&recovery[3].to_uppercase()).await.unwrap();
    assert_eq!(reason(&sign_in(&recovery[3]).await.unwrap_err()), "INVALID_CREDENTIALS");
    sign_in(&recovery[4]).await.unwrap();
}

#[tokio::test]
async fn a_session_ends_when_it_is_ended_idle_old_or_its_password_changed() {
    let world = World::new();
    let owner = world.tenant("acme").await;
    let (user, ada) = world.person(&owner, "acme", "ada@example.com", "clerk").await;
    // Sessions of different moments, so that the list has an order.
    let sign_in = async |password: &str| {
        world.pass_seconds(1);
        world.sign_in("acme", "ada@example.com", password, "").await.unwrap()
    };
    let is_dead = async |token: &str| {
        world.login(token).await.is_err_and(|status| status.code() == Code::Unauthenticated)
    };
    let (one, two) = (sign_in(PASSWORD).await, sign_in(PASSWORD).await);
    let list = async || {
        let request = world.request(&ada, ListSessionsRequest::default());
        world.people().list_sessions(request).await.unwrap().into_inner().sessions
    };
    assert_eq!(list().await.iter().map(|session| session.current).collect::<Vec<_>>(), [true, false, false]);

    let session_id = one.session.unwrap().id;
    let end = EndSessionRequest { session_id: session_id.clone() };
    world.people().end_session(world.request(&ada, end)).await.unwrap();
    assert!(is_dead(&one.token).await && !is_dead(&two.token).await);
    assert_eq!(list().await.len(), 2);
    let stranger = world.tenant("rival").await;
    let (_, eve) = world.person(&stranger, "rival", "eve@example.com", "clerk").await;
    let foreign = world.request(&eve, EndSessionRequest { session_id });
    assert_eq!(world.people().end_session(foreign).await.unwrap_err().code(), Code::NotFound);

    world.pass_seconds(3_600);
    assert!(is_dead(&two.token).await, "nobody used it");
    let three = sign_in(PASSWORD).await;
    let ada = world.login(&three.token).await.unwrap();
    let change = ChangePasswordRequest {
        password: PASSWORD.to_owned(),
        new_password: "another long password".to_owned(),
        ..ChangePasswordRequest::default()
    };
    world.pass_seconds(1);
    world.people().change_password(world.request(&ada, change)).await.unwrap();
    assert!(is_dead(&three.token).await);
    world.pass_seconds(1);
    let four = sign_in("another long password").await;
    assert!(!is_dead(&four.token).await);
    world.deactivate(&owner, &user.id).await.unwrap();
    assert!(is_dead(&four.token).await);
}

/// A user has a bounded number of sessions, and they are its own.
#[tokio::test]
async fn one_more_session_ends_the_oldest() {
    let world = World::new();
    let owner = world.tenant("acme").await;
    world.person(&owner, "acme", "ada@example.com", "clerk").await;
    let (_, bob) = world.person(&owner, "acme", "bob@example.com", "owner").await;
    let mut tokens = vec![];
    for _ in 0..=tenant::domain::Session::OPEN_MAX {
        world.pass_seconds(1);
        tokens.push(world.sign_in("acme", "ada@example.com", PASSWORD, "").await.unwrap().token);
    }
    assert_eq!(world.login(&tokens[0]).await.unwrap_err().code(), Code::Unauthenticated);
    let mut last = None;
    for token in &tokens[1..] {
        last = Some(world.login(token).await.unwrap());
    }
    let request = world.request(&last.unwrap(), ListSessionsRequest::default());
    let listed = world.people().list_sessions(request).await.unwrap().into_inner().sessions;
    assert_eq!(listed.len(), tenant::domain::Session::OPEN_MAX);

    let end = world.request(&bob, EndSessionRequest { session_id: listed[0].id.clone() });
    assert_eq!(world.people().end_session(end).await.unwrap_err().code(), Code::NotFound);
    let request = world.request(&bob, ListSessionsRequest::default());
    assert_eq!(world.people().list_sessions(request).await.unwrap().into_inner().sessions.len(), 1);
}

/// API-8, the part of step-up: making a key needs a recent proof of a user; a proof is given again with the
/// password.
#[tokio::test]
async fn a_key_is_made_after_a_recent_proof() {
    let world = World::new();
    let owner = world.tenant("acme").await;
    world.person(&owner, "acme", "ada@example.com", "owner").await;
    let token = world.sign_in("acme", "ada@example.com", PASSWORD, "").await.unwrap().token;
    let ada = world.login(&token).await.unwrap();
    let made = world.create(&ada, new_key("clerk")).await.unwrap();
    world.login(&made.secret).await.unwrap();
    world.pass_seconds(300);
    let ada = world.login(&token).await.unwrap();
    let refused = world.create(&ada, new_key("clerk")).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::PermissionDenied, "STEP_UP_REQUIRED"));

    let prove = async |password: &str| {
        let request = StepUpRequest { password: password.to_owned(), code: String::new() };
        world.people().step_up(world.request(&ada, request)).await
    };
    assert_eq!(reason(&prove("wrong password").await.unwrap_err()), "INVALID_PROOF");
    prove(PASSWORD).await.unwrap();
    let ada = world.login(&token).await.unwrap();
    world.create(&ada, new_key("clerk")).await.unwrap();
}

/// API-3, the part of users: a key can do no more than the user who made it can today.
#[tokio::test]
async fn a_key_is_lowered_and_locked_with_its_user() {
    let world = World::new();
    let owner = world.tenant("acme").await;
    world.person(&owner, "acme", "bob@example.com", "owner").await;
    let (user, ada) = world.person(&owner, "acme", "ada@example.com", "owner").await;
    let secret = world.create(&ada, new_key("clerk")).await.unwrap().secret;
    assert!(world.login(&secret).await.unwrap().permissions.allows("stock.post"));

    let lowered = User { role: "viewer".to_owned(), ..User::default() };
    let request = UpdateUserRequest { user_id: user.id.clone(), user: Some(lowered), update_mask: vec![] };
    world.people().update_user(world.changed(&owner, &user.etag, request)).await.unwrap();
    let key = world.login(&secret).await.unwrap();
    assert!(key.permissions.allows("stock.read") && !key.permissions.allows("stock.post"));
    let ask = || ExplainPermissionRequest {
        api_key_id: key.actor.id.to_string(),
        permission: "stock.post".to_owned(),
        ..ExplainPermissionRequest::default()
    };
    assert!(!world.explain(&owner, ask()).await.unwrap().allowed, "what is explained is what holds");

    let lock = world.request(&owner, LockUserRequest { user_id: user.id.clone() });
    world.people().lock_user(lock).await.unwrap();
    assert_eq!(world.login(&secret).await.unwrap_err().code(), Code::Unauthenticated);
    assert_eq!(world.explain(&owner, ask()).await.unwrap().gate, "credential");
    let unlock = world.request(&owner, UnlockUserRequest { user_id: user.id.clone() });
    world.people().unlock_user(unlock).await.unwrap();
    world.login(&secret).await.unwrap();
}

/// API-7, the part of the last owner: it cannot be taken out, locked or lowered; another one makes it possible.
#[tokio::test]
async fn the_last_owner_stays() {
    let world = World::new();
    let owner = world.tenant("acme").await;
    let (ada, _) = world.person(&owner, "acme", "ada@example.com", "owner").await;
    let last = |status: Status| {
        assert_eq!((status.code(), reason(&status).as_str()), (Code::FailedPrecondition, "LAST_OWNER"))
    };
    last(world.deactivate(&owner, &ada.id).await.unwrap_err());
    let lock = world.request(&owner, LockUserRequest { user_id: ada.id.clone() });
    last(world.people().lock_user(lock).await.unwrap_err());
    let lower = || {
        let user = Some(User { role: "clerk".to_owned(), ..User::default() });
        let request = UpdateUserRequest { user_id: ada.id.clone(), user, update_mask: vec![] };
        world.changed(&owner, &ada.etag, request)
    };
    last(world.people().update_user(lower()).await.unwrap_err());
    assert_eq!(world.get(&owner, &ada.id).await.unwrap(), ada, "nothing changed");

    let (bob, _) = world.person(&owner, "acme", "bob@example.com", "owner").await;
    assert_eq!(world.people().update_user(lower()).await.unwrap().into_inner().role, "clerk");
    last(world.deactivate(&owner, &bob.id).await.unwrap_err());
    assert_eq!(world.deactivate(&owner, &ada.id).await.unwrap().status, "deactivated");
}

/// API-7, the part of the last owner: the last two owners are not both taken out at the same moment.
#[tokio::test(flavor = "multi_thread")]
async fn the_last_two_owners_do_not_both_go() {
    let world = World::new();
    let owner = world.tenant("acme").await;
    for round in 0..8 {
        let (one, two) = (format!("one{round}@example.com"), format!("two{round}@example.com"));
        let (ada, _) = world.person(&owner, "acme", &one, "owner").await;
        let (bob, _) = world.person(&owner, "acme", &two, "owner").await;
        if 0 < round {
            // The one who is left of the round before.
            let request = world.request(&owner, ListUsersRequest { page_size: 500, ..Default::default() });
            let users = world.people().list_users(request).await.unwrap().into_inner().users;
            let left = users.into_iter().filter(|user| user.status == "active");
            for user in left.filter(|user| ![&ada.id, &bob.id].contains(&&user.id)) {
                world.deactivate(&owner, &user.id).await.unwrap();
            }
        }
        let (first, second) =
            tokio::join!(world.deactivate(&owner, &bob.id), world.deactivate(&owner, &ada.id));
        let refused = first.as_ref().err().or(second.as_ref().err()).expect("one stays");
        assert!(first.is_ok() || second.is_ok(), "{first:?} {second:?}");
        assert_eq!(reason(refused), "LAST_OWNER");
    }
}

/// API-5: nobody invites or changes somebody who can do more.
#[tokio::test]
async fn a_user_can_do_no_more_than_who_invites_it() {
    let world = World::new();
    let owner = world.tenant("acme").await;
    let (ada, _) = world.person(&owner, "acme", "ada@example.com", "owner").await;
    let permissions = ["*.read", "user.create", "user.update"].map(str::to_owned).to_vec();
    let narrow = world.create(&owner, ApiKey { permissions, ..new_key("owner") }).await.unwrap();
    let narrow = world.login(&narrow.secret).await.unwrap();
    let escalation = |status: Status| assert_eq!(reason(&status), "PERMISSION_ESCALATION");
    escalation(world.invite(&narrow, "eve@example.com", "clerk").await.unwrap_err());
    escalation(world.deactivate(&narrow, &ada.id).await.unwrap_err());
    let viewer = world.invite(&narrow, "eve@example.com", "viewer").await.unwrap().user.unwrap();
    let user = Some(User { role: "owner".to_owned(), ..User::default() });
    let raise = UpdateUserRequest { user_id: viewer.id, user, update_mask: vec![] };
    escalation(world.people().update_user(world.changed(&narrow, &viewer.etag, raise)).await.unwrap_err());
}

/// TEN-7, the part of email addresses: the same one in two tenants is two people who do not meet; twice in one is refused.
#[tokio::test]
async fn an_address_is_unique_in_its_tenant_only() {
    let world = World::new();
    let (acme, rival) = (world.tenant("acme").await, world.tenant("rival").await);
    let (one, ada) = world.person(&acme, "acme", "ada@example.com", "clerk").await;
    let (other, twin) = world.person(&rival, "rival", "ada@example.com", "viewer").await;
    assert!(one.id != other.id && ada.tenant == acme.tenant && twin.tenant == rival.tenant);
    let taken = world.invite(&acme, "ADA@example.com", "clerk").await.unwrap_err();
    assert_eq!((taken.code(), reason(&taken).as_str()), (Code::AlreadyExists, "EMAIL_TAKEN"));

    let foreign = world.get(&acme, &other.id).await.unwrap_err();
    let random = world.get(&acme, &ids::UserId::from_bytes([7; 16]).to_string()).await.unwrap_err();
    assert_eq!(bytes(&foreign), bytes(&random));
    let request = world.request(&acme, ListUsersRequest::default());
    let listed = world.people().list_users(request).await.unwrap().into_inner().users;
    assert_eq!(listed.into_iter().map(|user| user.id).collect::<Vec<_>>(), [one.id]);
    world.deactivate(&rival, &other.id).await.unwrap();
    world.sign_in("acme", "ada@example.com", PASSWORD, "").await.unwrap();
}

/// API-6, the part of users: a role is assigned to a user as to a key: it acts where it is assigned, is explained, and is taken back.
/// Nobody gives more than they have, and nobody gives on what is only assigned to them.
#[tokio::test]
async fn a_user_has_what_is_assigned_to_it() {
    let world = World::new();
    let owner = world.tenant("acme").await;
    let branch = world.below(&owner, &[owner.business]).await;
    let (ada, _) = world.person(&owner, "acme", "ada@example.com", "viewer").await;
    let token = world.sign_in("acme", "ada@example.com", PASSWORD, "").await.unwrap().token;
    let to = |user: &User, role: &str, reach: Reach| Assignment {
        user_id: user.id.clone(),
        role_id: role.to_owned(),
        reach: reach.into(),
        ..Assignment::default()
    };
    let posts = world.role(&owner, "POST", &["stock.post", "key.create"]).await.unwrap();
    let made = world.assign(&owner, to(&ada, &posts.id, Reach::Self_)).await.unwrap();
    assert_eq!((made.user_id.as_str(), made.api_key_id.as_str()), (ada.id.as_str(), ""));
    let viewer = world.login(&token).await.unwrap();
    assert!(viewer.permissions.allows("stock.post") && viewer.permissions.allows("stock.read"));
    let below = world.login_at(&token, branch).await.unwrap();
    assert!(!below.permissions.allows("stock.post") && below.permissions.allows("self.update"));
    assert_eq!((below.business, below.path.len()), (branch, 2));

    let ask = |permission: &str| ExplainPermissionRequest {
        user_id: ada.id.clone(),
        permission: permission.to_owned(),
        ..ExplainPermissionRequest::default()
    };
    let found = world.explain(&owner, ask("stock.post")).await.unwrap();
    let sources: Vec<_> =
        found.grants.iter().map(|grant| (&*grant.source, &*grant.id, &*grant.role)).collect();
    assert!(found.allowed);
    assert_eq!(sources, [("user", &*ada.id, "viewer"), ("assignment", &*made.id, "POST")]);
    for permission in
        authz::authorizer().permissions().into_iter().filter(|name| !name.starts_with("internal."))
    {
        let found =
            world.explain(&viewer, ExplainPermissionRequest { user_id: String::new(), ..ask(permission) });
        assert_eq!(found.await.unwrap().allowed, viewer.permissions.allows(permission), "{permission}");
    }

    // What is only assigned goes into nothing that would stay.
    let key = ApiKey { permissions: vec!["stock.post".to_owned()], ..new_key("owner") };
    let refused = world.create(&viewer, key).await.unwrap_err();
    assert_eq!(reason(&refused), "PERMISSION_ESCALATION");
    world.create(&viewer, new_key("viewer")).await.unwrap();
    let helper =
        ApiKey { permissions: vec!["*.read".to_owned(), "assignment.create".to_owned()], ..new_key("owner") };
    let helper = world.login(&world.create(&owner, helper).await.unwrap().secret).await.unwrap();
    let refused = world.assign(&helper, to(&ada, &posts.id, Reach::Self_)).await.unwrap_err();
    assert_eq!(reason(&refused), "PERMISSION_ESCALATION");

    // Neither both nor none, and nobody who has left.
    let both = Assignment { api_key_id: owner.actor.id.to_string(), ..to(&ada, &posts.id, Reach::Self_) };
    let refused = world.assign(&owner, both).await.unwrap_err();
    assert_eq!(fields(&refused), [("assignment.user_id".to_owned(), "NOT_ALLOWED".to_owned())]);
    let none = Assignment { user_id: String::new(), ..to(&ada, &posts.id, Reach::Self_) };
    let refused = world.assign(&owner, none).await.unwrap_err();
    assert_eq!(fields(&refused), [("assignment.api_key_id".to_owned(), "REQUIRED".to_owned())]);
    let (bob, _) = world.person(&owner, "acme", "bob@example.com", "viewer").await;
    world.deactivate(&owner, &bob.id).await.unwrap();
    let gone = world.assign(&owner, to(&bob, &posts.id, Reach::Self_)).await.unwrap_err();
    assert_eq!(gone.code(), Code::NotFound);
    let over = world.explain(&owner, ExplainPermissionRequest { user_id: bob.id, ..ask("stock.read") });
    assert_eq!(over.await.unwrap().gate, "credential");

    let revoke = RevokeAssignmentRequest { assignment_id: made.id };
    world.access.clone().revoke_assignment(world.request(&owner, revoke)).await.unwrap();
    assert!(!world.login(&token).await.unwrap().permissions.allows("stock.post"));
}

/// Inviting again is the way back in for who lost password or codes; until then nothing of before works.
#[tokio::test]
async fn a_user_is_invited_again() {
    let world = World::new();
    let owner = world.tenant("acme").await;
    world.person(&owner, "acme", "bob@example.com", "owner").await;
    let invited = world.invite(&owner, "ada@example.com", "owner").await.unwrap();
    let id = invited.user.unwrap().id;
    let again = async |caller: &Principal| {
        let request = world.request(caller, ReinviteUserRequest { user_id: id.clone() });
        world.people().reinvite_user(request).await.map(Response::into_inner)
    };
    let second = again(&owner).await.unwrap();
    let old = world.accept(&invited.invitation_token, PASSWORD).await.unwrap_err();
    assert_eq!(reason(&old), "INVALID_CREDENTIALS");
    world.accept(&second.invitation_token, PASSWORD).await.unwrap();
    let token = world.sign_in("acme", "ada@example.com", PASSWORD, "").await.unwrap().token;
    world.pass_seconds(1);

    // Who takes an account over gets what it has: that must be no more than the caller has.
    let permissions = ["*.read", "user.update"].map(str::to_owned).to_vec();
    let narrow = world.create(&owner, ApiKey { permissions, ..new_key("owner") }).await.unwrap();
    let narrow = world.login(&narrow.secret).await.unwrap();
    assert_eq!(reason(&again(&narrow).await.unwrap_err()), "PERMISSION_ESCALATION");

    let third = again(&owner).await.unwrap();
    assert_eq!(third.user.unwrap().status, "invited");
    assert_eq!(world.login(&token).await.unwrap_err().code(), Code::Unauthenticated);
    assert!(world.sign_in("acme", "ada@example.com", PASSWORD, "").await.is_err());
    world.accept(&third.invitation_token, "another long password").await.unwrap();
    world.sign_in("acme", "ada@example.com", "another long password", "").await.unwrap();
}

/// A viewer with more by an assignment is not taken over by who may do no more than a viewer.
#[tokio::test]
async fn what_is_assigned_counts_when_a_user_is_changed() {
    let world = World::new();
    let owner = world.tenant("acme").await;
    let (ada, _) = world.person(&owner, "acme", "ada@example.com", "viewer").await;
    let permissions = ["*.read", "user.update"].map(str::to_owned).to_vec();
    let helper = world.create(&owner, ApiKey { permissions, ..new_key("owner") }).await.unwrap();
    let helper = world.login(&helper.secret).await.unwrap();
    let again = async || {
        let request = world.request(&helper, ReinviteUserRequest { user_id: ada.id.clone() });
        world.people().reinvite_user(request).await.map(drop)
    };
    again().await.unwrap();
    let posts = world.role(&owner, "POST", &["stock.post"]).await.unwrap();
    let more = Assignment {
        user_id: ada.id.clone(),
        role_id: posts.id,
        reach: Reach::Self_.into(),
        ..Assignment::default()
    };
    world.assign(&owner, more).await.unwrap();
    assert_eq!(reason(&again().await.unwrap_err()), "PERMISSION_ESCALATION");
}

/// API-5: users last, so a key that ends or works from some networks only makes none.
#[tokio::test]
async fn a_key_that_ends_or_is_bound_to_networks_makes_no_users() {
    let world = World::new();
    let owner = world.tenant("acme").await;
    let bound = ApiKey { ip_allow: vec!["192.0.2.0/24".to_owned()], ..new_key("owner") };
    let bound = world.create(&owner, bound).await.unwrap();
    let bound = world.login(&bound.secret).await.unwrap();
    let refused = world.invite(&bound, "ada@example.com", "viewer").await.unwrap_err();
    assert_eq!(reason(&refused), "PERMISSION_ESCALATION");
    let ending = ApiKey { expires_at: Some(world.in_seconds(60)), ..new_key("owner") };
    let ending = world.login(&world.create(&owner, ending).await.unwrap().secret).await.unwrap();
    let refused = world.invite(&ending, "ada@example.com", "viewer").await.unwrap_err();
    assert_eq!(reason(&refused), "PERMISSION_ESCALATION");
}

#[tokio::test]
async fn what_users_do_with_their_own_is_not_for_keys() {
    let world = World::new();
    let owner = world.tenant("acme").await;
    let refused = world.people().enrol_totp(world.request(&owner, EnrolTotpRequest {})).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::FailedPrecondition, "USERS_ONLY"));
    let list = world.request(&owner, ListSessionsRequest::default());
    assert_eq!(reason(&world.people().list_sessions(list).await.unwrap_err()), "USERS_ONLY");
}

/// RFC 4648, the letters that apps show.
fn unbase32(text: &str) -> [u8; 20] {
    let (mut bytes, mut bits, mut held) = (vec![], 0u32, 0);
    for letter in text.bytes() {
        let value = if letter.is_ascii_digit() { letter - b'2' + 26 } else { letter - b'A' };
        bits = bits << 5 | u32::from(value);
        held += 5;
        if 8 <= held {
            held -= 8;
            bytes.push(u8::try_from(bits >> held & 0xff).unwrap());
        }
    }
    bytes.try_into().unwrap()
}
