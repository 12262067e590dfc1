//! The JWT confusion set: tokens that some reader somewhere takes for good ones.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac_by_hand::hmac_sha256;
use http::Method;
use serde_json::{Value, json};

use crate::contract::anonymous;
use crate::issuer::{CLIENT, Issuer, Signer, coded, log_in, now, provider, unsigned};
use crate::rest::{Rest, text};
use crate::world::World;

/// What an attacker computes when a server takes a public key for a shared one.
mod hmac_by_hand {
    use ring::hmac;

    pub(super) fn hmac_sha256(key: &[u8], bytes: &[u8]) -> Vec<u8> {
        hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), bytes).as_ref().to_vec()
    }
}

/// SubjectPublicKeyInfo of an RSA key with 2048 bits: what comes before PKCS #1.
const SPKI: [u8; 24] = [
    0x30, 0x82, 0x01, 0x22, 0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01,
    0x05, 0x00, 0x03, 0x82, 0x01, 0x0f, 0x00,
];

/// A tenant with two issuers, another tenant with one, and somebody who is known to all of them.
struct Stage {
    world: World,
    issuer: Issuer,
    second: Issuer,
    evil: Issuer,
    rsa: Arc<Signer>,
    ec: Arc<Signer>,
    ed: Arc<Signer>,
    second_key: Arc<Signer>,
    audience: String,
    foreign_audience: String,
}

impl Stage {
    async fn new() -> Stage {
        let world = World::new().await;
        let (one, two) = (world.tenant("one").await, world.tenant("two").await);
        let (rsa, ec, ed) = (Signer::rsa("rsa"), Signer::ec("ec"), Signer::ed("ed"));
        let second_key = Signer::ec("ec");
        let issuer = Issuer::new(vec![rsa.clone(), ec.clone(), ed.clone()]).await;
        let second = Issuer::new(vec![second_key.clone()]).await;
        let evil = Issuer::new(vec![Signer::rsa("rsa")]).await;
        let nobody = Rest::new(&world.url, None);
        let mut audiences = vec![];
        for tenant in [&one, &two] {
            let user = json!({"email": "ada@example.com", "name": "Ada", "role": "owner"});
            tenant.rest.create("/v1/users", &user).await;
            let made = tenant.rest.create("/v1/identityProviders", &provider(&issuer)).await;
            issuer.seat("sub-1", "ada@example.com", true);
            log_in(&nobody, &tenant.slug, &made, &issuer).await.ok(200);
            audiences.push(text(&made["bearerAudience"]).to_owned());
        }
        let made = one.rest.create("/v1/identityProviders", &provider(&second)).await;
        second.seat("sub-2", "ada@example.com", true);
        log_in(&nobody, &one.slug, &made, &second).await.ok(200);
        // Tenant two trusts somebody whom tenant one does not.
        let made = two.rest.create("/v1/identityProviders", &provider(&evil)).await;
        evil.seat("sub-1", "ada@example.com", true);
        log_in(&nobody, &two.slug, &made, &evil).await.ok(200);
        let foreign_audience = audiences.remove(1);
        let audience = audiences.remove(0);
        Stage { world, issuer, second, evil, rsa, ec, ed, second_key, audience, foreign_audience }
    }

    /// Good claims, changed.
    fn claims(&self, change: &Value) -> Value {
        let mut claims = self.issuer.access_claims(&self.audience, "sub-1");
        let object = claims.as_object_mut().expect("an object");
        for (name, value) in change.as_object().expect("an object") {
            match value {
                Value::Null => drop(object.remove(name)),
                value => drop(object.insert(name.clone(), value.clone())),
            }
        }
        claims
    }

    fn good(&self) -> String {
        self.rsa.token("at+jwt", &self.claims(&json!({})))
    }

    fn header(&self, change: Value) -> String {
        let mut header = json!({"alg": "RS256", "kid": "rsa", "typ": "at+jwt"});
        for (name, value) in change.as_object().expect("an object") {
            header[name] = value.clone();
        }
        header.to_string()
    }

    /// Every token is answered like a credential that nobody has; nothing is written, and nobody is asked who is not
    /// trusted.
    async fn refuses(self, tokens: Vec<(String, String)>) {
        assert!(!tokens.is_empty());
        let nobody = Rest::new(&self.world.url, None);
        let ask = |credential: &str| {
            nobody.call(Method::GET, "/v1/caller").header("authorization", &format!("Bearer {credential}"))
        };
        // The good one first and last: what is refused is refused for what is wrong with it.
        ask(&self.good()).send().await.ok(200);
        let unknown =
            ask("cp_live_01h455vb4pex5vsknk084sn02q_0").send().await.problem(401, "UNAUTHENTICATED");
        let expected = anonymous(&unknown);
        self.evil.take_asked();
        let written = self.world.commit_count();
        for (name, token) in tokens {
            let answer = ask(&token).send().await;
            assert_eq!(anonymous(&answer), expected, "{name}: {token}");
        }
        assert_eq!(self.world.commit_count(), written, "something was written");
        assert_eq!(self.evil.take_asked(), Vec::<String>::new(), "somebody was asked who is not trusted");
        ask(&self.good()).send().await.ok(200);
        self.world.close().await;
    }
}

fn named<T: Into<String>>(tokens: impl IntoIterator<Item = (T, String)>) -> Vec<(String, String)> {
    tokens.into_iter().map(|(name, token)| (name.into(), token)).collect()
}

/// OWASP API 2023, 2: a token that says that it is not signed.
#[tokio::test]
async fn alg_none_is_refused_in_all_spellings() {
    let stage = Stage::new().await;
    let claims = stage.claims(&json!({})).to_string();
    let mut tokens = vec![];
    for spelling in ["none", "None", "NONE", "nOnE", "none ", "", "null"] {
        let unsigned = unsigned(&stage.header(json!({"alg": spelling})), &claims);
        let signature = coded(&stage.rsa.sign(unsigned.as_bytes()));
        tokens.push((format!("{spelling:?} without a signature"), format!("{unsigned}.")));
        tokens.push((format!("{spelling:?} with one"), format!("{unsigned}.{signature}")));
    }
    for alg in [json!(null), json!(["RS256"]), json!(256)] {
        tokens.push((alg.to_string(), stage.rsa.token_of(&stage.header(json!({"alg": alg})), &claims)));
    }
    let absent = stage.rsa.token_of(r#"{"typ":"at+jwt","kid":"rsa"}"#, &claims);
    tokens.push(("absent".to_owned(), absent));
    stage.refuses(tokens).await;
}

/// OWASP API 2023, 2: a token that takes the public key for a shared secret.
#[tokio::test]
async fn a_public_key_is_no_shared_secret() {
    let stage = Stage::new().await;
    let claims = stage.claims(&json!({})).to_string();
    let pkcs1 = stage.rsa.public();
    let spki = [&SPKI[..], &pkcs1].concat();
    let pem = |label: &str, der: &[u8]| {
        let text = STANDARD.encode(der);
        let lines: Vec<&str> =
            text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).expect("ASCII")).collect();
        format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
    };
    let (pem_spki, pem_pkcs1) = (pem("PUBLIC KEY", &spki), pem("RSA PUBLIC KEY", &pkcs1));
    let jwk = stage.rsa.jwk().to_string();
    let secrets: [(&str, &[u8]); 7] = [
        ("SPKI in PEM", pem_spki.as_bytes()),
        ("SPKI in PEM, trimmed", pem_spki.trim_end().as_bytes()),
        ("PKCS #1 in PEM", pem_pkcs1.as_bytes()),
        ("SPKI in DER", &spki),
        ("PKCS #1 in DER", &pkcs1),
        ("JWK", jwk.as_bytes()),
        ("nothing", b""),
    ];
    let mut tokens = vec![];
    for (name, secret) in secrets {
        for alg in ["HS256", "RS256", "hs256"] {
            let unsigned = unsigned(&stage.header(json!({"alg": alg})), &claims);
            let signature = coded(&hmac_sha256(secret, unsigned.as_bytes()));
            tokens.push((format!("{alg} with {name}"), format!("{unsigned}.{signature}")));
        }
    }
    stage.refuses(tokens).await;
}

/// OWASP API 2023, 2: a token that brings its key, or says where to get it; nobody is asked.
#[tokio::test]
async fn a_key_comes_from_the_issuer_and_not_from_the_token() {
    let stage = Stage::new().await;
    let claims = stage.claims(&json!({})).to_string();
    let own = Signer::ec("mine");
    let elsewhere = format!("{}/keys", stage.evil.url);
    let mut tokens = vec![];
    for (name, header) in [
        ("jwk", json!({"jwk": own.jwk()})),
        ("jku", json!({"jku": elsewhere})),
        ("x5u", json!({"x5u": elsewhere})),
        ("x5c", json!({"x5c": [STANDARD.encode(own.public())]})),
        ("kid is a URL", json!({"kid": elsewhere})),
    ] {
        let mut whole = json!({"alg": "ES256", "kid": "mine", "typ": "at+jwt"});
        for (member, value) in header.as_object().expect("an object") {
            whole[member] = value.clone();
        }
        tokens.push((name.to_owned(), own.token_of(&whole.to_string(), &claims)));
        // Also when the right key has signed it.
        tokens.push((
            format!("{name}, signed by the issuer"),
            stage.rsa.token_of(&stage.header(header), &claims),
        ));
    }
    let evil_claims = stage.claims(&json!({"iss": stage.evil.url}));
    tokens.push((
        "of an issuer of another tenant".to_owned(),
        Signer::rsa("rsa").token("at+jwt", &evil_claims),
    ));
    stage.refuses(tokens).await;
}

/// OWASP API 2023, 2: the name of a key is compared and used for nothing else.
#[tokio::test]
async fn the_name_of_a_key_is_a_name() {
    let stage = Stage::new().await;
    let claims = stage.claims(&json!({})).to_string();
    let long = "k".repeat(4_000);
    let names = [
        "unknown",
        "",
        "RSA",
        "rsa ",
        "../../../../dev/null",
        "/dev/null",
        "rsa' OR '1'='1",
        "rsa;--",
        "rsa\0",
        "| sleep 10",
        "ec",
        "ed",
        &long,
    ];
    let mut tokens: Vec<(String, String)> = names
        .into_iter()
        .map(|kid| (format!("kid {kid:?}"), stage.rsa.token_of(&stage.header(json!({"kid": kid})), &claims)))
        .collect();
    for kid in [json!(1), json!(["rsa"]), json!({"a": 1}), json!(null)] {
        tokens.push((format!("kid {kid}"), stage.rsa.token_of(&stage.header(json!({"kid": kid})), &claims)));
    }
    stage.refuses(tokens).await;
}

/// OWASP API 2023, 2: who issued a token, and for whom, is compared letter by letter.
#[tokio::test]
async fn issuer_and_audience_are_exact() {
    let stage = Stage::new().await;
    let issuer = stage.issuer.url.clone();
    let (own, foreign) = (stage.audience.clone(), stage.foreign_audience.clone());
    let changes = [
        json!({"iss": format!("{issuer}/")}),
        json!({"iss": issuer.to_uppercase()}),
        json!({"iss": format!("{issuer}?x")}),
        json!({"iss": issuer.replace("127.0.0.1", "localhost")}),
        json!({"iss": [issuer]}),
        json!({"iss": ""}),
        json!({"iss": null}),
        json!({"iss": stage.second.url}),
        json!({"iss": stage.evil.url}),
        json!({"aud": "another"}),
        json!({"aud": CLIENT}),
        json!({"aud": own.to_uppercase()}),
        json!({"aud": format!("{own}/")}),
        json!({"aud": format!(" {own}")}),
        json!({"aud": ["another"]}),
        json!({"aud": [own, foreign]}),
        json!({"aud": [own, 1]}),
        json!({"aud": [[own]]}),
        json!({"aud": {"a": own}}),
        json!({"aud": []}),
        json!({"aud": ""}),
        json!({"aud": null}),
        json!({"aud": "urn:cargo-pilot:"}),
        json!({"aud": "urn:cargo-pilot:ten_01h455vb4pex5vsknk084sn02q"}),
        json!({"sub": "sub-2"}),
        json!({"sub": "unknown"}),
        json!({"sub": ""}),
        json!({"sub": 1}),
        json!({"sub": null}),
    ];
    let tokens =
        changes.iter().map(|change| (change.to_string(), stage.rsa.token("at+jwt", &stage.claims(change))));
    let tokens = tokens.collect();
    stage.refuses(tokens).await;
}

/// OWASP API 2023, 2, between tenants: a token for tenant two is one there and nothing here, and what tenant two has
/// registered makes no token for tenant one. `aud` may be a list.
#[tokio::test]
async fn a_token_is_for_the_tenant_that_it_names() {
    let stage = Stage::new().await;
    let nobody = Rest::new(&stage.world.url, None);
    let tenant_of = async |token: String| {
        let call = nobody.call(Method::GET, "/v1/caller").header("authorization", &format!("Bearer {token}"));
        let caller = call.send().await.ok(200).json;
        format!("urn:cargo-pilot:{}", text(&caller["tenantId"]))
    };
    for audience in [stage.audience.clone(), stage.foreign_audience.clone()] {
        for aud in [json!(audience), json!([audience, "https://other.example.com"])] {
            let token = stage.rsa.token("at+jwt", &stage.claims(&json!({"aud": aud})));
            assert_eq!(tenant_of(token).await, audience);
        }
    }
    let evil = Signer::rsa("rsa");
    let forged = |aud: &str| evil.token("at+jwt", &stage.claims(&json!({"iss": stage.evil.url, "aud": aud})));
    assert_eq!(tenant_of(forged(&stage.foreign_audience)).await, stage.foreign_audience);
    let tokens = named([("of an issuer that this tenant does not trust", forged(&stage.audience))]);
    stage.refuses(tokens).await;
}

/// OWASP API 2023, 2: a token has its time, and what it must say.
#[tokio::test]
async fn a_token_has_its_time_and_is_complete() {
    let stage = Stage::new().await;
    let changes = [
        json!({"exp": now() - 60}),
        json!({"exp": 0}),
        json!({"exp": -1}),
        json!({"exp": null}),
        json!({"exp": "9999999999"}),
        json!({"exp": 9_999_999_999.5}),
        json!({"exp": [9_999_999_999_i64]}),
        json!({"exp": u64::MAX}),
        json!({"nbf": now() + 600}),
        json!({"nbf": "0"}),
        json!({"iat": now() + 600}),
        json!({"iat": null}),
        json!({"jti": null}),
        json!({"client_id": null}),
    ];
    let tokens =
        changes.iter().map(|change| (change.to_string(), stage.rsa.token("at+jwt", &stage.claims(change))));
    let tokens = tokens.collect();
    stage.refuses(tokens).await;
}

/// OWASP API 2023, 2: only an access token is one (RFC 9068), and nothing critical is understood.
#[tokio::test]
async fn another_kind_of_token_is_none() {
    let stage = Stage::new().await;
    let claims = stage.claims(&json!({}));
    let id_token = json!({"iss": stage.issuer.url, "aud": CLIENT, "sub": "sub-1", "iat": now(), "exp": now() + 300,
        "nonce": "n"});
    let mut tokens = named([("an ID token", stage.rsa.token("JWT", &id_token))]);
    for typ in ["JWT", "jwt", "", "at", "at+jwt ", "logout+jwt", "dpop+jwt", "application/jwt", "text/at+jwt"]
    {
        tokens.push((format!("typ {typ:?}"), stage.rsa.token(typ, &claims)));
    }
    let without = r#"{"alg":"RS256","kid":"rsa"}"#;
    tokens.push(("without typ".to_owned(), stage.rsa.token_of(without, &claims.to_string())));
    for header in [
        json!({"crit": ["exp"]}),
        json!({"crit": []}),
        json!({"b64": false, "crit": ["b64"]}),
        json!({"zip": "DEF"}),
        json!({"enc": "A256GCM"}),
        json!({"typ": ["at+jwt"]}),
        json!({"made": "up"}),
    ] {
        let name = header.to_string();
        tokens.push((name, stage.rsa.token_of(&stage.header(header), &claims.to_string())));
    }
    stage.refuses(tokens).await;
}

/// OWASP API 2023, 2: a name that stands twice is read by some as the first, by others as the last.
#[tokio::test]
async fn nothing_is_said_twice() {
    let stage = Stage::new().await;
    let claims = stage.claims(&json!({})).to_string();
    let open = claims.trim_end_matches('}');
    let header = r#"{"alg":"RS256","kid":"rsa","typ":"at+jwt""#;
    let tokens = named([
        ("sub twice", stage.rsa.token_of(&stage.header(json!({})), &format!("{open},\"sub\":\"sub-1\"}}"))),
        (
            "sub escaped",
            stage.rsa.token_of(&stage.header(json!({})), &format!("{open},\"s\\u0075b\":\"sub-1\"}}")),
        ),
        ("aud twice", stage.rsa.token_of(&stage.header(json!({})), &format!("{open},\"aud\":\"x\"}}"))),
        (
            "nested twice",
            stage.rsa.token_of(&stage.header(json!({})), &format!("{open},\"x\":{{\"a\":1,\"a\":2}}}}")),
        ),
        ("alg twice", stage.rsa.token_of(&format!("{header},\"alg\":\"RS256\"}}"), &claims)),
        ("typ twice", stage.rsa.token_of(&format!("{header},\"typ\":\"at+jwt\"}}"), &claims)),
        ("more after the end", stage.rsa.token_of(&stage.header(json!({})), &format!("{claims} {{}}"))),
        ("no object", stage.rsa.token_of(&stage.header(json!({})), "[]")),
        ("a byte order mark", stage.rsa.token_of(&stage.header(json!({})), &format!("\u{feff}{claims}"))),
        (
            "deep",
            stage.rsa.token_of(
                &stage.header(json!({})),
                &format!("{open},\"x\":{}{}}}", "[".repeat(500), "]".repeat(500)),
            ),
        ),
    ]);
    stage.refuses(tokens).await;
}

/// OWASP API 2023, 2: a signature is of the key, of the algorithm and of all bytes.
#[tokio::test]
async fn a_signature_is_right_to_the_last_bit() {
    let stage = Stage::new().await;
    let claims = stage.claims(&json!({})).to_string();
    let es = r#"{"alg":"ES256","kid":"ec","typ":"at+jwt"}"#;
    let unsigned_es = unsigned(es, &claims);
    let with = |signature: &[u8]| format!("{unsigned_es}.{}", coded(signature));
    let good = stage.good();
    let (head, signature) = good.rsplit_once('.').expect("three parts");
    let parts: Vec<&str> = good.split('.').collect();
    let mut tokens = named([
        ("zeros for ES256", with(&[0; 64])),
        ("r and s are the order", with(&[[0xff; 4].as_slice(), &[0; 60]].concat())),
        ("one byte", with(&[0])),
        ("ASN.1 for ES256", with(&[0x30, 0x06, 0x02, 0x01, 0x01, 0x02, 0x01, 0x01])),
        ("stripped", format!("{head}.")),
        ("without the last dot", head.to_owned()),
        ("truncated", good[..good.len() - 4].to_owned()),
        ("one letter less", good[..good.len() - 1].to_owned()),
        ("longer", format!("{good}AAAA")),
        ("padded", format!("{good}==")),
        ("a fourth part", format!("{good}.{signature}")),
        ("an empty fourth part", format!("{good}.")),
        ("JWE", format!("{}.{}.{}.{}.{}", parts[0], parts[1], parts[2], parts[1], parts[2])),
        ("two signatures", format!("{head}..{signature}")),
        (
            "other claims",
            format!("{}.{}.{}", parts[0], coded(claims.replace("sub-1", "sub-2").as_bytes()), parts[2]),
        ),
        (
            "ordinary base64",
            format!("{}.{}.{}", parts[0], parts[1], parts[2].replace('-', "+").replace('_', "/") + "+/"),
        ),
        ("by the key of another provider", stage.second_key.token_of(es, &claims)),
        ("by a key that nobody has", Signer::ec("ec").token_of(es, &claims)),
        ("RS256 by an EC key", stage.ec.token_of(&stage.header(json!({})), &claims)),
        ("ES256 by an RSA key", stage.rsa.token_of(es, &claims)),
        ("EdDSA, which is not accepted here", stage.ed.token("at+jwt", &stage.claims(&json!({})))),
        ("RS384", stage.rsa.token_of(&stage.header(json!({"alg": "RS384"})), &claims)),
        ("PS256", stage.rsa.token_of(&stage.header(json!({"alg": "PS256"})), &claims)),
        ("without kid", stage.ed.token_of(r#"{"alg":"EdDSA","typ":"at+jwt"}"#, &claims)),
    ]);
    // The last letter has bits to spare: another letter with the same bytes is another token.
    let last = good.chars().last().expect("a letter");
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    for letter in alphabet.chars().filter(|letter| *letter != last) {
        tokens.push((format!("trailing bits {letter}"), format!("{}{letter}", &good[..good.len() - 1])));
    }
    stage.refuses(tokens).await;
}

/// OWASP API 2023, 2: what is too long or no text is not looked at; 8 KiB are.
#[tokio::test]
async fn huge_and_garbled_tokens_are_refused() {
    let stage = Stage::new().await;
    let padded = |length: usize| stage.rsa.token("at+jwt", &stage.claims(&json!({"x": "x".repeat(length)})));
    let nobody = Rest::new(&stage.world.url, None);
    let fits =
        nobody.call(Method::GET, "/v1/caller").header("authorization", &format!("Bearer {}", padded(5_000)));
    fits.send().await.ok(200);
    let invalid = |bytes: &[u8]| {
        let unsigned = format!("{}.{}", coded(stage.header(json!({})).as_bytes()), coded(bytes));
        let signature = coded(&stage.rsa.sign(unsigned.as_bytes()));
        format!("{unsigned}.{signature}")
    };
    let tokens = named([
        ("more than 8 KiB", padded(6_000)),
        ("12 KiB of dots", ".".repeat(12_000)),
        ("dots", "..".to_owned()),
        ("letters", "a.b.c".to_owned()),
        ("empty objects", "e30.e30.e30".to_owned()),
        ("no UTF-8 in the claims", invalid(b"{\"sub\":\"\xff\"}")),
        ("a lone surrogate", invalid(br#"{"sub":"\ud800"}"#)),
        ("no JSON", invalid(b"sub=1")),
        ("nothing", invalid(b"")),
        ("letters beyond ASCII", "é.é.é".to_owned()),
    ]);
    stage.refuses(tokens).await;
}

/// What a token gives is what its user has, and never what needs a recent proof.
#[tokio::test]
async fn a_token_gives_what_its_user_has() {
    let stage = Stage::new().await;
    let rest = stage.world.rest(&stage.good());
    let caller = rest.get("/v1/caller").await;
    assert_eq!(caller["principal"]["kind"], "user");
    rest.create("/v1/locations", &json!({"code": "A", "name": "A"})).await;
    let key = json!({"name": "k", "role": "viewer"});
    rest.post("/v1/apiKeys", &key).send().await.problem(403, "STEP_UP_REQUIRED");
    rest.post("/v1/identityProviders", &provider(&stage.second))
        .send()
        .await
        .problem(403, "STEP_UP_REQUIRED");
    stage.world.close().await;
}
