//! People, between the contract and the domain.

use ids::{ApiKeyId, BusinessId, SessionId, UserId};
use problem::{Invalid, Violations, reason};
use proto::tenant::v1 as wire;
use rpc::Ctx;

use super::{finish, name, refuse_output_only, required_id, snake, timestamp};
use crate::app::{
    Enrolled, Invite, Invited, Page, Proof, REASSIGNED_MAX, Reassign, Reassigned, SignIn, SignedIn,
};
use crate::domain::{NewUser, Role, Session, User, UserUpdate, totp};

/// Shortest password, in characters. Source: NIST SP 800-63B asks for 8, ASVS 5.0 recommends 15 without a second factor.
const PASSWORD_CHARS_MIN: usize = 12;
const PASSWORD_CHARS_MAX: usize = 128;
const LOCALE_CHARS_MAX: usize = 35;
const CODE_CHARS_MAX: usize = 20;

pub(crate) fn user_id(text: &str) -> Result<UserId, Invalid> {
    let mut violations = Violations::new();
    let id = required_id(&mut violations, "user_id", text, UserId::parse);
    finish(violations, id)
}

pub(crate) fn reassign_keys(request: &wire::ReassignUserKeysRequest) -> Result<Reassign, Invalid> {
    let mut violations = Violations::new();
    let from = required_id(&mut violations, "user_id", &request.user_id, UserId::parse);
    let to = required_id(&mut violations, "to_user_id", &request.to_user_id, UserId::parse);
    let mut keys = Vec::new();
    if REASSIGNED_MAX < request.api_key_ids.len() {
        violations.add(
            "api_key_ids",
            reason::TOO_MANY,
            format!("must have at most '{REASSIGNED_MAX}' items"),
        );
    }
    for (at, id) in request.api_key_ids.iter().enumerate().take(REASSIGNED_MAX) {
        let field = format!("api_key_ids[{at}]");
        match violations.field(&field, ApiKeyId::parse(id)) {
            Some(id) if keys.contains(&id) => violations.add(&field, reason::NOT_ALLOWED, "stands twice"),
            Some(id) => keys.push(id),
            None => {}
        }
    }
    finish(violations, from.zip(to).map(|(from, to)| Reassign { from, to, keys }))
}

pub(crate) fn reassigned(done: Reassigned) -> wire::ReassignUserKeysResponse {
    let api_keys = done.keys.into_iter().map(super::api_key).collect();
    wire::ReassignUserKeysResponse { api_keys, more: done.more }
}

pub(crate) fn session_id(text: &str) -> Result<SessionId, Invalid> {
    let mut violations = Violations::new();
    let id = required_id(&mut violations, "session_id", text, SessionId::parse);
    finish(violations, id)
}

pub(crate) fn create_user(request: wire::CreateUserRequest) -> Result<Invite, Invalid> {
    let mut violations = Violations::new();
    let Some(user) = request.user else {
        return Err(Invalid::field("user", reason::REQUIRED, "must be given"));
    };
    let new = violations.within("user", |violations| {
        refuse_output_only(violations, &output_only(&user));
        let email = email(violations, &user.email);
        name(violations, "name", &user.name, NewUser::NAME_CHARS_MAX);
        locale(violations, &user.locale);
        let role = role(violations, &user.role);
        let business = (!user.business_id.is_empty())
            .then(|| violations.field("business_id", BusinessId::parse(&user.business_id)))
            .flatten();
        Some(Invite { email: email?, name: user.name, locale: user.locale, role: role?, business })
    });
    finish(violations, new)
}

pub(crate) fn update_user(request: &wire::UpdateUserRequest) -> Result<(UserId, UserUpdate), Invalid> {
    let mut violations = Violations::new();
    let id = required_id(&mut violations, "user_id", &request.user_id, UserId::parse);
    let mut update = UserUpdate::default();
    match &request.user {
        None => violations.add("user", reason::REQUIRED, "must be given"),
        Some(user) => violations.within("user", |violations| {
            refuse_output_only(violations, &output_only(user));
            for field in mask(user, &request.update_mask) {
                match field.as_str() {
                    "name" => {
                        name(violations, "name", &user.name, NewUser::NAME_CHARS_MAX);
                        update.name = Some(user.name.clone());
                    }
                    "locale" => {
                        locale(violations, &user.locale);
                        update.locale = Some(user.locale.clone());
                    }
                    "role" => update.role = role(violations, &user.role),
                    "email" | "business_id" => {
                        violations.add(&field, reason::NOT_ALLOWED, "is fixed when the user is invited");
                    }
                    "id" | "status" | "totp" | "stopped_keys" | "etag" | "created_at" | "updated_at" => {
                        violations.add(&field, reason::OUTPUT_ONLY, "is set by the server");
                    }
                    unknown => violations.add(unknown, reason::UNKNOWN_FIELD, "is no field of a user"),
                }
            }
        }),
    }
    finish(violations, id.map(|id| (id, update)))
}

/// The fields to change: those of the mask; without a mask those that are set.
fn mask(user: &wire::User, mask: &[String]) -> Vec<String> {
    if !mask.is_empty() {
        return mask.iter().map(|field| snake(field)).collect();
    }
    let set = [
        ("email", !user.email.is_empty()),
        ("name", !user.name.is_empty()),
        ("locale", !user.locale.is_empty()),
        ("role", !user.role.is_empty()),
        ("business_id", !user.business_id.is_empty()),
    ];
    set.into_iter().filter(|(_, set)| *set).map(|(field, _)| field.to_owned()).collect()
}

fn output_only(user: &wire::User) -> [(&'static str, bool); 7] {
    [
        ("stopped_keys", user.stopped_keys != 0),
        ("id", !user.id.is_empty()),
        ("status", !user.status.is_empty()),
        ("totp", user.totp),
        ("etag", !user.etag.is_empty()),
        ("created_at", user.created_at.is_some()),
        ("updated_at", user.updated_at.is_some()),
    ]
}

/// In lower case: addresses that differ in case only reach one person.
fn email(violations: &mut Violations, text: &str) -> Option<String> {
    let text = violations.required("email", text)?;
    let well_formed = text.split_once('@').is_some_and(|(local, domain)| {
        let plain = |letter: char| !letter.is_whitespace() && !letter.is_control() && letter != '@';
        !local.is_empty()
            && !domain.is_empty()
            && text.chars().filter(|letter| *letter != '@').all(plain)
            && !domain.contains('@')
    });
    if NewUser::EMAIL_BYTES_MAX < text.len() {
        violations.add("email", reason::TOO_LONG, "must have at most '254' bytes");
    } else if !well_formed {
        violations.add("email", reason::MALFORMED, "must be an address such as 'ada@example.com'");
    }
    Some(text.to_lowercase()).filter(|email| email.len() <= NewUser::EMAIL_BYTES_MAX)
}

fn locale(violations: &mut Violations, text: &str) {
    violations.at_most("locale", text, LOCALE_CHARS_MAX);
    if !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        violations.add("locale", reason::MALFORMED, "must be a language tag such as 'de' or 'en-GB'");
    }
}

fn role(violations: &mut Violations, code: &str) -> Option<Role> {
    let code = violations.required("role", code)?;
    let role = Role::parse(code);
    if role.is_none() {
        let detail = format!("must be 'owner', 'clerk' or 'viewer', not '{code}'");
        violations.add("role", reason::UNKNOWN_VALUE, detail);
    }
    role
}

fn new_password(violations: &mut Violations, field: &str, text: &str) {
    if violations.required(field, text).is_some() && text.chars().count() < PASSWORD_CHARS_MIN {
        let detail = format!("must have at least '{PASSWORD_CHARS_MIN}' characters");
        violations.add(field, reason::OUT_OF_RANGE, detail);
    }
    violations.at_most(field, text, PASSWORD_CHARS_MAX);
}

/// A password that was chosen before; no more is said about it than that it is given.
fn old_password(violations: &mut Violations, text: &str) {
    violations.required("password", text);
    violations.at_most("password", text, PASSWORD_CHARS_MAX);
}

/// Token and password.
pub(crate) fn accept(request: wire::AcceptInvitationRequest) -> Result<(String, String), Invalid> {
    let mut violations = Violations::new();
    violations.required("invitation_token", &request.invitation_token);
    new_password(&mut violations, "password", &request.password);
    finish(violations, Some((request.invitation_token, request.password)))
}

pub(crate) fn sign_in(request: wire::SignInRequest) -> Result<SignIn, Invalid> {
    let mut violations = Violations::new();
    violations.required("tenant", &request.tenant);
    violations.at_most("tenant", &request.tenant, 63);
    violations.required("email", &request.email);
    violations.at_most("email", &request.email, NewUser::EMAIL_BYTES_MAX);
    old_password(&mut violations, &request.password);
    violations.at_most("code", &request.code, CODE_CHARS_MAX);
    let wire::SignInRequest { tenant, email, password, code } = request;
    finish(violations, Some(SignIn { tenant, email: email.to_lowercase(), password, code }))
}

pub(crate) fn step_up(request: wire::StepUpRequest) -> Result<Proof, Invalid> {
    let mut violations = Violations::new();
    old_password(&mut violations, &request.password);
    violations.at_most("code", &request.code, CODE_CHARS_MAX);
    finish(violations, Some(Proof { password: request.password, code: request.code }))
}

/// The proof, and the new password.
pub(crate) fn change_password(request: wire::ChangePasswordRequest) -> Result<(Proof, String), Invalid> {
    let mut violations = Violations::new();
    old_password(&mut violations, &request.password);
    violations.at_most("code", &request.code, CODE_CHARS_MAX);
    new_password(&mut violations, "new_password", &request.new_password);
    let proof = Proof { password: request.password, code: request.code };
    finish(violations, Some((proof, request.new_password)))
}

pub(crate) fn totp_code(text: &str) -> Result<(), Invalid> {
    let mut violations = Violations::new();
    let digits = text.len() == 6 && text.bytes().all(|byte| byte.is_ascii_digit());
    if violations.required("code", text).is_some() && !digits {
        violations.add("code", reason::MALFORMED, "must be six digits");
    }
    violations.into_result()
}

pub(crate) fn user(user: User) -> wire::User {
    wire::User {
        id: user.profile.id.to_string(),
        email: user.profile.email,
        name: user.profile.name,
        locale: user.profile.locale,
        role: user.profile.role.code().to_owned(),
        business_id: user.profile.business.to_string(),
        status: user.status.name().to_owned(),
        totp: user.totp.seed.is_some(),
        etag: rpc::etag(user.revision),
        created_at: Some(timestamp(user.created_at)),
        updated_at: Some(timestamp(user.updated_at)),
        stopped_keys: 0,
    }
}

pub(crate) fn users(page: Page<User>) -> wire::ListUsersResponse {
    wire::ListUsersResponse { users: page.items.into_iter().map(user).collect(), next_page_token: page.next }
}

pub(crate) fn invited(invited: Invited) -> wire::CreateUserResponse {
    let invitation_token = invited.token.reveal();
    wire::CreateUserResponse { user: Some(user(invited.user)), invitation_token }
}

pub(crate) fn reinvited(invited: Invited) -> wire::ReinviteUserResponse {
    let invitation_token = invited.token.reveal();
    wire::ReinviteUserResponse { user: Some(user(invited.user)), invitation_token }
}

pub(crate) fn session(session: Session, current: Option<&str>) -> wire::Session {
    let id = session.id.to_string();
    wire::Session {
        current: current == Some(&id),
        id,
        user_id: session.user.to_string(),
        created_at: Some(timestamp(session.created_at)),
        last_seen_at: Some(timestamp(session.seen_at)),
        expires_at: Some(timestamp(session.expires_at())),
        ended_at: session.ended_at.map(timestamp),
        proven_until: Some(timestamp(session.proven_until())),
    }
}

/// The session of the call.
pub(crate) fn own_session(ctx: &Ctx) -> Option<&str> {
    ctx.actor.session.as_ref().map(|session| &*session.id)
}

pub(crate) fn signed_in(done: SignedIn) -> wire::SignInResponse {
    let token = done.token.reveal();
    let id = done.session.id.to_string();
    wire::SignInResponse {
        session: Some(session(done.session, Some(&id))),
        csrf_token: rpc::csrf_token(&token),
        token,
    }
}

pub(crate) fn enrolled(enrolled: &Enrolled) -> wire::EnrolTotpResponse {
    let secret = totp::base32(&enrolled.secret);
    let label = |text: &str| -> String {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~@".contains(&byte);
        text.bytes()
            .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
            .collect()
    };
    let (issuer, email) = (label(&enrolled.issuer), label(&enrolled.email));
    let uri = format!("otpauth://totp/{issuer}:{email}?secret={secret}&issuer={issuer}");
    wire::EnrolTotpResponse { secret, uri }
}
