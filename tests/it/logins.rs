//! Signing in with an identity provider, over the whole way: server, issuer, browser.

use std::sync::Arc;

use http::Method;
use serde_json::{Value, json};

use crate::issuer::{Issuer, REDIRECT, SECRET, Signer, form, log_in, provider};
use crate::rest::{Answer, Rest, text};
use crate::world::{Forward, Tenant, World};

/// What a test is about.
struct Stage {
    clock: Arc<Forward>,
    world: World,
    tenant: Tenant,
    issuer: Issuer,
    provider: Value,
    nobody: Rest,
}

impl Stage {
    async fn new() -> Stage {
        let clock = Arc::new(Forward::default());
        let world = World::at(clock.clone()).await;
        let tenant = world.tenant("acme").await;
        let issuer = Issuer::new(vec![Signer::rsa("one")]).await;
        let provider = tenant.rest.create("/v1/identityProviders", &provider(&issuer)).await;
        let nobody = Rest::new(&world.url, None);
        Stage { clock, world, tenant, issuer, provider, nobody }
    }

    async fn invite(&self, email: &str, role: &str) -> Value {
        let user = json!({"email": email, "name": "Ada", "role": role});
        self.tenant.rest.create("/v1/users", &user).await["user"].clone()
    }

    async fn log_in(&self) -> Answer {
        log_in(&self.nobody, &self.tenant.slug, &self.provider, &self.issuer).await
    }

    async fn start(&self) -> Value {
        let ask =
            json!({"tenant": self.tenant.slug, "providerId": self.provider["id"], "redirectUri": REDIRECT});
        self.nobody.post("/v1/logins:start", &ask).send().await.ok(200).json
    }

    async fn finish(&self, begun: &Value, code: &str, state: &str) -> Answer {
        let finish = json!({"loginToken": begun["loginToken"], "code": code, "state": state});
        self.nobody.post("/v1/logins:finish", &finish).send().await
    }

    async fn change(&self, change: Value) -> Answer {
        let uri = format!("/v1/identityProviders/{}", text(&self.provider["id"]));
        self.tenant.rest.patch(uri, &change).if_match("*").send().await
    }
}

fn refused(answer: Answer) {
    answer.problem(401, "INVALID_CREDENTIALS");
}

/// API-8, the part of single sign-on: somebody who was invited comes in with the login of the company, without ever choosing a password; from then on
/// the issuer's subject is who they are, whatever their email address becomes.
#[tokio::test]
async fn an_invited_user_signs_in_with_the_company_login() {
    let stage = Stage::new().await;
    let user = stage.invite("ada@example.com", "owner").await;
    stage.issuer.seat("sub-1", "Ada@Example.com", true);
    let begun = stage.start().await;
    let url = text(&begun["authorizationUrl"]);
    let fields = form(url.split_once('?').expect("a query").1);
    assert_eq!((fields["scope"].as_str(), fields["redirect_uri"].as_str()), ("openid email", REDIRECT));
    let (code, state) = stage.issuer.visit(url).await.expect("a code");
    let done = stage.finish(&begun, &code, &state).await.ok(200);
    assert_eq!(done.json["session"]["userId"], user["id"]);
    assert_eq!(done.header("cache-control"), "no-store");

    let rest = stage.world.rest(text(&done.json["token"]));
    assert_eq!(rest.get("/v1/caller").await["principal"]["id"], user["id"]);
    let uri = format!("/v1/users/{}", text(&user["id"]));
    assert_eq!(stage.tenant.rest.get(&uri).await["status"], "active");
    // The issuer did not say that it was just now that somebody was seen.
    rest.post("/v1/apiKeys", &json!({"name": "k", "role": "viewer"}))
        .send()
        .await
        .problem(403, "STEP_UP_REQUIRED");
    stage.issuer.seat("sub-1", "renamed@example.com", false);
    let again = stage.log_in().await.ok(200).json;
    assert_eq!(again["session"]["userId"], user["id"]);

    // Another subject with the address of somebody who is linked is not that person.
    stage.issuer.seat("sub-2", "ada@example.com", true);
    refused(stage.log_in().await);
    let cookie = stage.start().await;
    stage.issuer.seat("sub-1", "ada@example.com", true);
    let (code, state) = stage.issuer.visit(text(&cookie["authorizationUrl"])).await.expect("a code");
    let finish = json!({"loginToken": cookie["loginToken"], "code": code, "state": state});
    let set =
        stage.nobody.post("/v1/logins:finish", &finish).header("cp-session", "cookie").send().await.ok(200);
    assert!(
        set.header("set-cookie").starts_with("__Host-cp_session=cp_ses_")
            && text(&set.json["token"]).is_empty()
    );
    stage.world.close().await;
}

/// Inviting somebody again is the way back when the wrong person has come in: whoever was linked is not any more, and
/// who has the address now is.
#[tokio::test]
async fn inviting_again_takes_the_link_away() {
    let stage = Stage::new().await;
    let user = stage.invite("ada@example.com", "viewer").await;
    stage.issuer.seat("sub-1", "ada@example.com", true);
    let first = stage.world.rest(text(&stage.log_in().await.ok(200).json["token"]));
    first.get("/v1/caller").await;
    let uri = format!("/v1/users/{}:reinvite", text(&user["id"]));
    stage.tenant.rest.post(uri, &json!({})).send().await.ok(200);
    stage.clock.pass_seconds(5);
    first.call(Method::GET, "/v1/caller").send().await.problem(401, "UNAUTHENTICATED");
    stage.issuer.seat("sub-1", "other@example.com", true);
    refused(stage.log_in().await);
    stage.issuer.seat("sub-2", "ada@example.com", true);
    assert_eq!(stage.log_in().await.ok(200).json["session"]["userId"], user["id"]);
    stage.issuer.seat("sub-1", "ada@example.com", true);
    refused(stage.log_in().await);
    stage.world.close().await;
}

/// API-8, the part of step-up, with an issuer: with `prove` it asks again who sits there, and what it says about it
/// counts.
#[tokio::test]
async fn a_fresh_proof_of_the_issuer_counts() {
    let stage = Stage::new().await;
    stage.invite("ada@example.com", "owner").await;
    stage.issuer.seat("sub-1", "ada@example.com", true);
    let ask =
        json!({"tenant": "acme", "providerId": stage.provider["id"], "redirectUri": REDIRECT, "prove": true});
    let begun = stage.nobody.post("/v1/logins:start", &ask).send().await.ok(200).json;
    let (code, state) = stage.issuer.visit(text(&begun["authorizationUrl"])).await.expect("a code");
    let done = stage.finish(&begun, &code, &state).await.ok(200).json;
    let rest = stage.world.rest(text(&done["token"]));
    rest.create("/v1/apiKeys", &json!({"name": "k", "role": "viewer"})).await;
    stage.clock.pass_seconds(301);
    rest.post("/v1/apiKeys", &json!({"name": "k", "role": "viewer"}))
        .send()
        .await
        .problem(403, "STEP_UP_REQUIRED");
    stage.world.close().await;
}

/// What was begun by one is finished by that one, once, in time, with what the issuer gave for it.
#[tokio::test]
async fn a_login_is_of_whoever_began_it() {
    let stage = Stage::new().await;
    stage.invite("ada@example.com", "clerk").await;
    stage.issuer.seat("sub-1", "ada@example.com", true);
    let (one, two) = (stage.start().await, stage.start().await);
    let visit =
        async |begun: &Value| stage.issuer.visit(text(&begun["authorizationUrl"])).await.expect("a code");
    let (code, state) = visit(&one).await;
    // A page of others brings its own code, or the state of another login.
    refused(stage.finish(&two, &code, &state).await);
    let (_, other_state) = visit(&two).await;
    refused(stage.finish(&one, &code, &other_state).await);
    refused(stage.finish(&json!({"loginToken": "cp_lgn_x"}), &code, &state).await);
    // The right one; a second time neither the code nor another one works.
    stage.finish(&one, &code, &state).await.ok(200);
    refused(stage.finish(&one, &code, &state).await);
    let (code, state) = visit(&one).await;
    refused(stage.finish(&one, &code, &state).await);
    // The code of another login, redeemed with the verifier of this one.
    let (three, four) = (stage.start().await, stage.start().await);
    let ((_, state), (code, _)) = (visit(&three).await, visit(&four).await);
    refused(stage.finish(&three, &code, &state).await);
    // Too late.
    let late = stage.start().await;
    let (code, state) = visit(&late).await;
    stage.clock.pass_seconds(601);
    refused(stage.finish(&late, &code, &state).await);
    stage.world.close().await;
}

/// An ID token that is not right in every respect begins nothing.
#[tokio::test]
async fn an_id_token_is_checked_in_every_respect() {
    let stage = Stage::new().await;
    stage.invite("ada@example.com", "clerk").await;
    stage.issuer.seat("sub-1", "ada@example.com", true);
    let past = crate::issuer::now() - 1_000;
    for lie in [
        json!({"nonce": "another"}),
        json!({"nonce": null}),
        json!({"iss": "http://127.0.0.1:1"}),
        json!({"iss": format!("{}/", stage.issuer.url)}),
        json!({"aud": "another"}),
        json!({"aud": []}),
        json!({"aud": ["cargo-pilot", "another"]}),
        json!({"aud": ["cargo-pilot", "another"], "azp": "another"}),
        json!({"azp": "another"}),
        json!({"exp": past}),
        json!({"exp": null}),
        json!({"iat": null}),
        json!({"iat": past + 10_000}),
        json!({"nbf": past + 10_000}),
        json!({"at_hash": "another"}),
        json!({"sub": ""}),
        json!({"sub": null}),
        json!({"sub": "s".repeat(256)}),
        json!({"email_verified": false}),
        json!({"email_verified": "true"}),
        json!({"email_verified": null}),
        json!({"email": "stranger@example.com"}),
        json!({"email": null}),
    ] {
        stage.issuer.lie(lie.clone());
        let answer = stage.log_in().await;
        assert_eq!((answer.status, answer.reason()), (401, "INVALID_CREDENTIALS"), "{lie}: {}", answer.text);
    }
    stage.issuer.lie(json!({}));
    for instead in ["", "a.b.c", "e30.e30.e30"] {
        stage.issuer.answer_with(Some(instead.to_owned()));
        refused(stage.log_in().await);
    }
    stage.issuer.answer_with(None);
    stage.issuer.lie(json!({"aud": ["cargo-pilot", "another"], "azp": "cargo-pilot"}));
    stage.log_in().await.ok(200);
    stage.world.close().await;
}

/// Unknown tenants, providers, users, addresses that are not listed: one answer.
#[tokio::test]
async fn nobody_learns_what_is_there() {
    let stage = Stage::new().await;
    let other = stage.world.tenant("other").await;
    let foreign = other.rest.create("/v1/identityProviders", &provider(&stage.issuer)).await;
    let start = async |tenant: &str, provider: &Value, uri: &str| {
        let ask = json!({"tenant": tenant, "providerId": provider["id"], "redirectUri": uri});
        stage.nobody.post("/v1/logins:start", &ask).send().await
    };
    refused(start("nobody", &stage.provider, REDIRECT).await);
    refused(start("acme", &foreign, REDIRECT).await);
    refused(start("acme", &stage.provider, "https://app.example.com/back").await);
    refused(start("acme", &stage.provider, "https://evil.example.com/").await);
    refused(start("acme", &json!({"id": "idp_01h455vb4pex5vsknk084sn02q"}), REDIRECT).await);
    // No user is made, and a user of one tenant is none in another.
    stage.issuer.seat("sub-1", "ada@example.com", true);
    refused(stage.log_in().await);
    stage.invite("ada@example.com", "clerk").await;
    refused(log_in(&stage.nobody, "other", &foreign, &stage.issuer).await);
    stage.log_in().await.ok(200);
    refused(log_in(&stage.nobody, "other", &foreign, &stage.issuer).await);
    stage.world.close().await;
}

/// Who has left, a provider that is disabled or sends browsers elsewhere now: no login, and no credential within 5 s.
#[tokio::test]
async fn what_is_taken_away_ends() {
    let stage = Stage::new().await;
    let user = stage.invite("ada@example.com", "clerk").await;
    stage.issuer.seat("sub-1", "ada@example.com", true);
    stage.log_in().await.ok(200);
    let token = Signer::rsa("one")
        .token("at+jwt", &stage.issuer.access_claims(text(&stage.provider["bearerAudience"]), "sub-1"));
    let bearer = stage.world.rest(&token);
    let caller = async || bearer.call(Method::GET, "/v1/caller").send().await;
    assert_eq!(caller().await.ok(200).json["principal"]["id"], user["id"]);

    let begun = stage.start().await;
    let (code, state) = stage.issuer.visit(text(&begun["authorizationUrl"])).await.expect("a code");
    stage.change(json!({"status": "disabled"})).await.ok(200);
    refused(stage.finish(&begun, &code, &state).await);
    let ask = json!({"tenant": "acme", "providerId": stage.provider["id"], "redirectUri": REDIRECT});
    refused(stage.nobody.post("/v1/logins:start", &ask).send().await);
    stage.clock.pass_seconds(5);
    caller().await.problem(401, "UNAUTHENTICATED");

    stage.change(json!({"status": "active"})).await.ok(200);
    caller().await.ok(200);
    let begun = stage.start().await;
    let (code, state) = stage.issuer.visit(text(&begun["authorizationUrl"])).await.expect("a code");
    stage.change(json!({"redirectUris": ["https://elsewhere.example.com/"]})).await.ok(200);
    refused(stage.finish(&begun, &code, &state).await);
    stage.change(json!({"redirectUris": [REDIRECT]})).await.ok(200);

    let uri = format!("/v1/users/{}:deactivate", text(&user["id"]));
    stage.tenant.rest.post(uri, &json!({})).send().await.ok(200);
    refused(stage.log_in().await);
    stage.clock.pass_seconds(5);
    caller().await.problem(401, "UNAUTHENTICATED");
    stage.world.close().await;
}

/// What throws somebody out ends the tokens that were issued before, and no later ones.
#[tokio::test]
async fn a_token_from_before_a_lock_is_none_after_it() {
    let stage = Stage::new().await;
    let user = stage.invite("ada@example.com", "clerk").await;
    stage.issuer.seat("sub-1", "ada@example.com", true);
    stage.log_in().await.ok(200);
    let audience = text(&stage.provider["bearerAudience"]);
    let call = async |issued_later_s: i64| {
        let mut claims = stage.issuer.access_claims(audience, "sub-1");
        claims["iat"] = (claims["iat"].as_i64().expect("a moment") + issued_later_s).into();
        let token = Signer::rsa("one").token("at+jwt", &claims);
        stage.world.rest(&token).call(Method::GET, "/v1/caller").send().await
    };
    call(0).await.ok(200);
    stage.clock.pass_seconds(60);
    for turn in ["lock", "unlock"] {
        let uri = format!("/v1/users/{}:{turn}", text(&user["id"]));
        stage.tenant.rest.post(uri, &json!({})).send().await.ok(200);
    }
    stage.clock.pass_seconds(10);
    call(0).await.problem(401, "UNAUTHENTICATED");
    call(65).await.ok(200);
    stage.world.close().await;
}

/// An issuer changes its keys: new ones are found, old ones are forgotten, and it is not asked for every token.
#[tokio::test]
async fn keys_are_read_again_and_not_too_often() {
    let stage = Stage::new().await;
    stage.invite("ada@example.com", "clerk").await;
    stage.issuer.seat("sub-1", "ada@example.com", true);
    stage.log_in().await.ok(200);
    stage.issuer.take_asked();
    let audience = text(&stage.provider["bearerAudience"]).to_owned();
    let call = async |signer: &Signer, jti: usize| {
        let mut claims = stage.issuer.access_claims(&audience, "sub-1");
        claims["jti"] = jti.to_string().into();
        stage.world.rest(&signer.token("at+jwt", &claims)).call(Method::GET, "/v1/caller").send().await.status
    };
    let (old, new) = (Signer::rsa("one"), Signer::ec("two"));
    stage.clock.pass_seconds(11);
    stage.issuer.set_keys(vec![new.clone()]);
    assert_eq!(call(&new, 1).await, 200);
    assert_eq!(call(&old, 2).await, 401);
    let read = ["GET /.well-known/openid-configuration", "GET /keys"];
    assert_eq!(stage.issuer.take_asked(), read);
    for jti in 3..20 {
        assert_eq!(call(&Signer::ec(&format!("junk {jti}")), jti).await, 401);
    }
    assert_eq!(stage.issuer.take_asked(), Vec::<String>::new(), "junk makes nobody ask");
    stage.log_in().await.ok(200);

    // It is down: what is known serves for a while, and others are not disturbed.
    let long = async |jti: usize| {
        let mut claims = stage.issuer.access_claims(&audience, "sub-1");
        claims["exp"] = (crate::issuer::now() + 10_000).into();
        claims["jti"] = jti.to_string().into();
        stage.world.rest(&new.token("at+jwt", &claims)).call(Method::GET, "/v1/caller").send().await.status
    };
    stage.issuer.stop();
    stage.clock.pass_seconds(600);
    assert_eq!(long(21).await, 200);
    stage.clock.pass_seconds(3_600);
    assert_eq!(long(22).await, 401);
    let ask = json!({"tenant": "acme", "providerId": stage.provider["id"], "redirectUri": REDIRECT});
    stage.nobody.post("/v1/logins:start", &ask).send().await.problem(503, "ISSUER_UNAVAILABLE");
    stage.tenant.new_session("viewer").await;
    stage.world.close().await;
}

/// A provider is a resource like others: read, listed, changed with its revision, at most ten; its secret is shown to
/// nobody.
#[tokio::test]
async fn providers_are_looked_after() {
    let stage = Stage::new().await;
    let rest = &stage.tenant.rest;
    let uri = format!("/v1/identityProviders/{}", text(&stage.provider["id"]));
    let read = rest.call(Method::GET, &uri).send().await.ok(200);
    assert_eq!(read.json, stage.provider);
    assert!(!read.text.contains(SECRET) && read.json["confidential"] == true);
    assert_eq!(read.json["algorithms"], json!(["RS256", "ES256"]));
    assert_eq!(read.json["bearerAudience"], format!("urn:cargo-pilot:{}", stage.tenant.id));
    let change = json!({"algorithms": ["EdDSA"], "clientSecret": "", "bearer": false});
    let stale = rest.patch(&uri, &change).if_match("\"9\"").send().await;
    stale.problem(412, "STALE_REVISION");
    let changed = rest.patch(&uri, &change).if_match(read.header("etag")).key("c").send().await.ok(200);
    assert_eq!((&changed.json["confidential"], &changed.json["bearer"]), (&json!(false), &json!(false)));
    let again = rest.patch(&uri, &change).if_match(read.header("etag")).key("c").send().await.ok(200);
    assert_eq!(again.json, changed.json);
    rest.patch(&uri, &json!({"issuer": "https://b.example"}))
        .if_match("*")
        .send()
        .await
        .problem(400, "INVALID_REQUEST");
    for (bad, pointer) in [
        (json!({"issuer": "https://10.0.0.1"}), "/issuer NOT_ALLOWED"),
        (json!({"issuer": "http://idp.example.com"}), "/issuer NOT_ALLOWED"),
        (json!({"issuer": "idp.example.com"}), "/issuer MALFORMED"),
        (json!({"algorithms": ["HS256"]}), "/algorithms/0 UNKNOWN_VALUE"),
        (json!({"algorithms": ["none"]}), "/algorithms/0 UNKNOWN_VALUE"),
        (json!({"redirectUris": ["http://app.example.com"]}), "/redirectUris/0 NOT_ALLOWED"),
        (json!({"bearerAudience": "urn:cargo-pilot:x"}), "/bearerAudience OUTPUT_ONLY"),
    ] {
        let mut new = provider(&stage.issuer);
        for (name, value) in bad.as_object().expect("an object") {
            new[name] = value.clone();
        }
        let answer = rest.post("/v1/identityProviders", &new).send().await.problem(400, "INVALID_REQUEST");
        assert_eq!(answer.fields(), [pointer], "{}", answer.text);
    }
    for _ in 1..10 {
        rest.create("/v1/identityProviders", &provider(&stage.issuer)).await;
    }
    let more = rest.post("/v1/identityProviders", &provider(&stage.issuer)).send().await;
    more.problem(409, "TOO_MANY_PROVIDERS");
    let listed = rest.get("/v1/identityProviders").await;
    assert_eq!(listed["providers"].as_array().map(Vec::len), Some(10));
    // Who may not do everything names no issuer, though a role lets them.
    let narrow = json!({"name": "n", "role": "owner", "permissions": ["provider.create", "provider.update", "user.read"]});
    let narrow = rest.create("/v1/apiKeys", &narrow).await;
    let narrow = stage.world.rest(text(&narrow["secret"]));
    let answer = narrow.post("/v1/identityProviders", &provider(&stage.issuer)).send().await;
    answer.problem(403, "PERMISSION_ESCALATION");
    stage.world.close().await;
}
