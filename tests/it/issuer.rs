//! An OpenID issuer on a port of its own: discovery, keys, authorization with PKCE, tokens. It follows the standards
//! unless a test tells it not to, and keeps what it was asked.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use journal::{Env as _, SystemEnv};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair,
};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use std::sync::Mutex;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::rest::{Answer, Rest, text};

/// A key of nobody, for tests alone: RSA with 2048 bits, PKCS #8.
const RSA_KEY: &[u8] = include_bytes!("issuer-key.pk8");
/// As which tenants are known to issuers.
pub(crate) const CLIENT: &str = "cargo-pilot";
pub(crate) const SECRET: &str = "a/secret:with+signs";
pub(crate) const REDIRECT: &str = "https://app.example.com/back?from=idp";

/// What signs tokens.
pub(crate) struct Signer {
    pub(crate) kid: String,
    pair: Pair,
}

enum Pair {
    Rsa(Box<RsaKeyPair>),
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
}

impl Signer {
    pub(crate) fn rsa(kid: &str) -> Arc<Signer> {
        let pair = RsaKeyPair::from_pkcs8(RSA_KEY).expect("a key");
        Arc::new(Signer { kid: kid.to_owned(), pair: Pair::Rsa(Box::new(pair)) })
    }

    pub(crate) fn ec(kid: &str) -> Arc<Signer> {
        let (algorithm, random) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
        let made = EcdsaKeyPair::generate_pkcs8(algorithm, &random).expect("a key");
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, made.as_ref(), &random).expect("a key");
        Arc::new(Signer { kid: kid.to_owned(), pair: Pair::Ec(pair) })
    }

    pub(crate) fn ed(kid: &str) -> Arc<Signer> {
        let made = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).expect("a key");
        let pair = Ed25519KeyPair::from_pkcs8(made.as_ref()).expect("a key");
        Arc::new(Signer { kid: kid.to_owned(), pair: Pair::Ed(pair) })
    }

    pub(crate) fn algorithm(&self) -> &'static str {
        match self.pair {
            Pair::Rsa(_) => "RS256",
            Pair::Ec(_) => "ES256",
            Pair::Ed(_) => "EdDSA",
        }
    }

    pub(crate) fn sign(&self, bytes: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, bytes, &mut signature).expect("a signature");
                signature
            }
            Pair::Ec(pair) => pair.sign(&random, bytes).expect("a signature").as_ref().to_vec(),
            Pair::Ed(pair) => pair.sign(bytes).as_ref().to_vec(),
        }
    }

    /// The public key as others get it: RSA as PKCS #1.
    pub(crate) fn public(&self) -> Vec<u8> {
        match &self.pair {
            Pair::Rsa(pair) => pair.public_key().as_ref().to_vec(),
            Pair::Ec(pair) => pair.public_key().as_ref().to_vec(),
            Pair::Ed(pair) => pair.public_key().as_ref().to_vec(),
        }
    }

    pub(crate) fn jwk(&self) -> Value {
        let public = self.public();
        let mut jwk = match &self.pair {
            Pair::Rsa(pair) => {
                let parts = ring::rsa::PublicKeyComponents::<Vec<u8>>::from(pair.public());
                json!({"kty": "RSA", "n": coded(&parts.n), "e": coded(&parts.e)})
            }
            Pair::Ec(_) => {
                json!({"kty": "EC", "crv": "P-256", "x": coded(&public[1..33]), "y": coded(&public[33..])})
            }
            Pair::Ed(_) => json!({"kty": "OKP", "crv": "Ed25519", "x": coded(&public)}),
        };
        jwk["kid"] = self.kid.clone().into();
        jwk["use"] = "sig".into();
        jwk["alg"] = self.algorithm().into();
        jwk
    }

    /// A token with these claims, as an issuer of good faith writes it.
    pub(crate) fn token(&self, kind: &str, claims: &Value) -> String {
        let header = json!({"alg": self.algorithm(), "kid": self.kid, "typ": kind});
        self.token_of(&header.to_string(), &claims.to_string())
    }

    /// A token of any texts, signed.
    pub(crate) fn token_of(&self, header: &str, claims: &str) -> String {
        let signed = unsigned(header, claims);
        let signature = coded(&self.sign(signed.as_bytes()));
        format!("{signed}.{signature}")
    }
}

pub(crate) fn coded(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub(crate) fn unsigned(header: &str, claims: &str) -> String {
    format!("{}.{}", coded(header.as_bytes()), coded(claims.as_bytes()))
}

/// Seconds since 1970.
pub(crate) fn now() -> i64 {
    SystemEnv.now().unix_micros() / 1_000_000
}

/// An authorization that was given.
struct Grant {
    user: Value,
    nonce: String,
    challenge: String,
    redirect_uri: String,
}

#[derive(Default)]
struct State {
    keys: Vec<Arc<Signer>>,
    grants: HashMap<String, Grant>,
    /// Who sits there: claims of the next ID tokens.
    user: Value,
    /// What ID tokens say beside or instead; `null` for nothing.
    lies: Map<String, Value>,
    /// Written into the place of the ID token.
    instead: Option<String>,
    asked: Vec<String>,
}

pub(crate) struct Issuer {
    pub(crate) url: String,
    state: Arc<Mutex<State>>,
    task: JoinHandle<()>,
}

static CODES: AtomicUsize = AtomicUsize::new(1);

impl Issuer {
    /// Starts one whose keys are these.
    pub(crate) async fn new(keys: Vec<Arc<Signer>>) -> Issuer {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let state = Arc::new(Mutex::new(State { keys, ..State::default() }));
        let (shared, name) = (Arc::clone(&state), url.clone());
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (state, url) = (Arc::clone(&shared), name.clone());
                let service = service_fn(move |request| serve(Arc::clone(&state), url.clone(), request));
                tokio::spawn(async move {
                    let server = Builder::new(TokioExecutor::new());
                    let _ = server.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Issuer { url, state, task }
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().expect("no test failed inside"))
    }

    /// From now on it signs with the first of these.
    pub(crate) fn set_keys(&self, keys: Vec<Arc<Signer>>) {
        self.change(|state| state.keys = keys);
    }

    /// Who sits before the browser from now on.
    pub(crate) fn seat(&self, subject: &str, email: &str, verified: bool) {
        let user = json!({"sub": subject, "email": email, "email_verified": verified});
        self.change(|state| state.user = user);
    }

    /// What ID tokens say from now on, beside or instead of what is right.
    pub(crate) fn lie(&self, lies: Value) {
        self.change(|state| state.lies = lies.as_object().cloned().unwrap_or_default());
    }

    pub(crate) fn answer_with(&self, id_token: Option<String>) {
        self.change(|state| state.instead = id_token);
    }

    /// `METHOD PATH` of everything that it was asked since this was asked last.
    pub(crate) fn take_asked(&self) -> Vec<String> {
        self.change(|state| std::mem::take(&mut state.asked))
    }

    /// Nobody listens any more.
    pub(crate) fn stop(&self) {
        self.task.abort();
    }

    /// A browser goes where it is sent, and is sent back: code and state.
    pub(crate) async fn visit(&self, url: &str) -> Result<(String, String), Answer> {
        let path = url.strip_prefix(&self.url).expect("an address of this issuer");
        let answer = Rest::new(&self.url, None).call(Method::GET, path).send().await;
        if answer.status != 302 {
            return Err(answer);
        }
        let location = answer.header("location");
        assert!(location.starts_with(REDIRECT), "{location}");
        let fields = form(location.split_once('?').expect("a query").1);
        Ok((fields["code"].clone(), fields["state"].clone()))
    }

    /// The claims of an access token for a tenant.
    pub(crate) fn access_claims(&self, audience: &str, subject: &str) -> Value {
        json!({"iss": self.url, "aud": audience, "sub": subject, "client_id": "script", "jti": "1", "iat": now(),
            "exp": now() + 300})
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The fields of a form or query.
pub(crate) fn form(text: &str) -> HashMap<String, String> {
    let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), decoded(value))).collect()
}

fn decoded(text: &str) -> String {
    let mut bytes = vec![];
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'%' => {
                let digits: String = rest.by_ref().take(2).map(char::from).collect();
                bytes.push(u8::from_str_radix(&digits, 16).expect("two digits"));
            }
            b'+' => bytes.push(b' '),
            plain => bytes.push(plain),
        }
    }
    String::from_utf8(bytes).expect("text")
}

async fn serve(
    state: Arc<Mutex<State>>,
    url: String,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let mut state = state.lock().expect("no test failed inside");
    state.asked.push(format!("{} {}", parts.method, parts.uri.path()));
    let authorization = parts.headers.get("authorization").and_then(|value| value.to_str().ok());
    let answer = match (parts.method.as_str(), parts.uri.path()) {
        ("GET", "/.well-known/openid-configuration") => json_answer(
            200,
            &json!({"issuer": url, "authorization_endpoint": format!("{url}/authorize"),
                "token_endpoint": format!("{url}/token"), "jwks_uri": format!("{url}/keys"),
                "response_types_supported": ["code"], "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["RS256"]}),
        ),
        ("GET", "/keys") => {
            let keys: Vec<Value> = state.keys.iter().map(|key| key.jwk()).collect();
            json_answer(200, &json!({"keys": keys}))
        }
        ("GET", "/authorize") => authorize(&mut state, parts.uri.query().unwrap_or_default()),
        ("POST", "/token") => match redeem(&mut state, &url, authorization, &body) {
            Ok(tokens) => json_answer(200, &tokens),
            Err(error) => json_answer(400, &json!({"error": error})),
        },
        _ => json_answer(404, &json!({})),
    };
    Ok(answer)
}

fn json_answer(status: u16, body: &Value) -> Response<Full<Bytes>> {
    let response = Response::builder().status(status).header("content-type", "application/json");
    response.body(Full::new(Bytes::from(body.to_string()))).expect("a response")
}

fn authorize(state: &mut State, query: &str) -> Response<Full<Bytes>> {
    let fields = form(query);
    let given = |name: &str| fields.get(name).cloned().unwrap_or_default();
    let right = given("response_type") == "code"
        && given("client_id") == CLIENT
        && given("redirect_uri") == REDIRECT
        && given("scope").split(' ').any(|scope| scope == "openid")
        && given("code_challenge_method") == "S256"
        && given("code_challenge").len() == 43
        && !given("state").is_empty();
    if !right {
        return json_answer(400, &json!({"error": "invalid_request", "query": query}));
    }
    let code = format!("code-{}", CODES.fetch_add(1, Ordering::Relaxed));
    let mut user = state.user.clone();
    if given("max_age") == "0" {
        user["auth_time"] = now().into();
    }
    let grant = Grant {
        user,
        nonce: given("nonce"),
        challenge: given("code_challenge"),
        redirect_uri: given("redirect_uri"),
    };
    state.grants.insert(code.clone(), grant);
    let location = format!("{REDIRECT}&code={code}&state={}", given("state"));
    let response = Response::builder().status(302).header("location", location);
    response.body(Full::default()).expect("a response")
}

fn redeem(
    state: &mut State,
    url: &str,
    authorization: Option<&str>,
    body: &[u8],
) -> Result<Value, &'static str> {
    let fields = form(&String::from_utf8_lossy(body));
    let given = |name: &str| fields.get(name).cloned().unwrap_or_default();
    let secret = STANDARD.decode(authorization.unwrap_or_default().trim_start_matches("Basic "));
    let secret = String::from_utf8(secret.map_err(|_| "invalid_client")?).map_err(|_| "invalid_client")?;
    let (client, secret) = secret.split_once(':').ok_or("invalid_client")?;
    if (decoded(client), decoded(secret)) != (CLIENT.to_owned(), SECRET.to_owned()) {
        return Err("invalid_client");
    }
    // A code is used up by the try.
    let grant = state.grants.remove(&given("code")).ok_or("invalid_grant")?;
    let challenge = coded(&Sha256::digest(given("code_verifier")));
    if given("grant_type") != "authorization_code"
        || challenge != grant.challenge
        || given("redirect_uri") != grant.redirect_uri
    {
        return Err("invalid_grant");
    }
    let access_token = "an opaque access token";
    let mut claims = json!({"iss": url, "aud": CLIENT, "iat": now(), "exp": now() + 300, "nonce": grant.nonce,
        "at_hash": coded(&Sha256::digest(access_token)[..16])});
    let said = grant.user.as_object().cloned().unwrap_or_default().into_iter().chain(state.lies.clone());
    let object = claims.as_object_mut().expect("an object");
    for (name, value) in said {
        match value {
            Value::Null => drop(object.remove(&name)),
            value => drop(object.insert(name, value)),
        }
    }
    let signer = state.keys.first().ok_or("server_error")?;
    let id_token = state.instead.clone().unwrap_or_else(|| signer.token("JWT", &claims));
    Ok(json!({"access_token": access_token, "token_type": "Bearer", "expires_in": 300, "id_token": id_token}))
}

/// How a tenant trusts an issuer.
pub(crate) fn provider(issuer: &Issuer) -> Value {
    json!({"name": "Company login", "issuer": issuer.url, "clientId": CLIENT, "clientSecret": SECRET, "bearer": true,
        "redirectUris": [REDIRECT], "linkByEmail": true})
}

/// A login from its beginning to its end, with one issuer.
pub(crate) async fn log_in(rest: &Rest, slug: &str, provider: &Value, issuer: &Issuer) -> Answer {
    let ask = json!({"tenant": slug, "providerId": provider["id"], "redirectUri": REDIRECT});
    let begun = rest.post("/v1/logins:start", &ask).send().await.ok(200).json;
    let (code, state) = issuer.visit(text(&begun["authorizationUrl"])).await.expect("a code");
    let finish = json!({"loginToken": begun["loginToken"], "code": code, "state": state});
    rest.post("/v1/logins:finish", &finish).send().await
}
