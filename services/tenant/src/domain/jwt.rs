//! JSON Web Tokens: a strict reader, and signatures. Pure.
//!
//! Only what is needed is read. What other readers are known to disagree about is refused: a name that stands twice,
//! bits that are left over, a header that wants more than a signature by a key that is known.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// Longest token that is looked at, in bytes.
pub const TOKEN_BYTES_MAX: usize = 8 * 1024;
/// Deepest nesting of what a token says.
const DEPTH_MAX: usize = 16;
/// Keys of an issuer that are read.
pub const KEYS_MAX: usize = 100;

/// How a token is signed. There is no symmetric one and no `none`: nothing to be confused about.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Algorithm {
    /// RSA PKCS #1 1.5 with SHA-256, 2048 bits or more.
    Rs256,
    /// ECDSA over P-256 with SHA-256.
    Es256,
    /// Ed25519.
    EdDsa,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Algorithm; 3] = [Algorithm::Rs256, Algorithm::Es256, Algorithm::EdDsa];
    /// What is accepted when nothing else was said.
    pub const USUAL: [Algorithm; 2] = [Algorithm::Rs256, Algorithm::Es256];

    /// As it is called in tokens, in the contract and in stored rows.
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::Rs256 => "RS256",
            Algorithm::Es256 => "ES256",
            Algorithm::EdDsa => "EdDSA",
        }
    }

    /// Reads what [`Algorithm::name`] writes, and no other spelling.
    pub fn parse(name: &str) -> Option<Algorithm> {
        Algorithm::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }
}

/// A public key of an issuer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Key {
    /// What tokens call it.
    pub id: Option<String>,
    public: Public,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Public {
    Rsa { n: Vec<u8>, e: Vec<u8> },
    P256(Vec<u8>),
    Ed25519(Vec<u8>),
}

impl Key {
    /// Reads a key of a JWKS (RFC 7517); `None` for what signs nothing that is accepted.
    pub fn parse(jwk: &Value) -> Option<Key> {
        let text = |name: &str| jwk.get(name).and_then(Value::as_str);
        let bytes = |name: &str| text(name).and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
        if jwk.get("use").is_some_and(|used| used != "sig") {
            return None;
        }
        let public = match (text("kty")?, text("crv")) {
            ("RSA", None) => Public::Rsa { n: bytes("n")?, e: bytes("e")? },
            ("EC", Some("P-256")) => {
                let (x, y) = (bytes("x")?, bytes("y")?);
                (x.len() == 32 && y.len() == 32).then(|| Public::P256([&[4][..], &x, &y].concat()))?
            }
            ("OKP", Some("Ed25519")) => Public::Ed25519(bytes("x").filter(|x| x.len() == 32)?),
            _ => return None,
        };
        let key = Key { id: text("kid").map(str::to_owned), public };
        let fits = jwk.get("alg").is_none_or(|alg| alg == key.algorithm().name());
        fits.then_some(key)
    }

    /// The only one that it is for.
    fn algorithm(&self) -> Algorithm {
        match self.public {
            Public::Rsa { .. } => Algorithm::Rs256,
            Public::P256(_) => Algorithm::Es256,
            Public::Ed25519(_) => Algorithm::EdDsa,
        }
    }

    fn verifies(&self, signed: &[u8], signature: &[u8]) -> bool {
        let outcome = match &self.public {
            Public::Rsa { n, e } => {
                RsaPublicKeyComponents { n, e }.verify(&RSA_PKCS1_2048_8192_SHA256, signed, signature)
            }
            Public::P256(point) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(signed, signature)
            }
            Public::Ed25519(point) => UnparsedPublicKey::new(&ED25519, point).verify(signed, signature),
        };
        outcome.is_ok()
    }
}

/// What a token says, before anybody has looked at who says it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unverified {
    /// How it claims to be signed.
    pub algorithm: Algorithm,
    /// `typ` of the header, in lower case, without `application/`.
    pub kind: Option<String>,
    /// What it calls the key.
    pub key_id: Option<String>,
    claims: Map<String, Value>,
    signed: Vec<u8>,
    signature: Vec<u8>,
}

/// What a key that was trusted has signed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Claims(Map<String, Value>);

/// Whether a signature is right.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Checked {
    /// It is.
    Signed(Claims),
    /// None of the keys has the name that the token names: there may be new ones.
    UnknownKey,
    /// It is not.
    Forged,
}

impl Unverified {
    /// Reads the compact form; `None` for what is no token, or one that wants what is not done here.
    pub fn parse(token: &str) -> Option<Unverified> {
        if TOKEN_BYTES_MAX < token.len() {
            return None;
        }
        let mut parts = token.split('.');
        let (Some(header), Some(claims), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return None;
        };
        let signed = token.as_bytes()[..header.len() + 1 + claims.len()].to_vec();
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        let (header, claims) = (object(header)?, object(claims)?);
        // A key comes from the issuer, never from the token; and nothing critical is understood.
        if header.keys().any(|name| !["alg", "typ", "kid", "cty", "x5t", "x5t#S256"].contains(&name.as_str()))
        {
            return None;
        }
        let text = |name: &str| match header.get(name) {
            None => Some(None),
            Some(value) => value.as_str().map(Some),
        };
        let algorithm = Algorithm::parse(text("alg")??)?;
        let kind = text("typ")?.map(str::to_ascii_lowercase);
        let kind = kind.map(|kind| kind.strip_prefix("application/").unwrap_or(&kind).to_owned());
        let key_id = text("kid")?.map(str::to_owned);
        Some(Unverified { algorithm, kind, key_id, claims, signed, signature })
    }

    /// The issuer that it claims.
    pub fn issuer(&self) -> Option<&str> {
        self.claims.get("iss").and_then(Value::as_str)
    }

    /// Whom it claims to be for.
    pub fn audiences(&self) -> Vec<&str> {
        audiences(&self.claims)
    }

    /// Checks its signature with the keys of an issuer. The algorithm must be among those that are accepted, and the
    /// key made for it.
    pub fn check(self, keys: &[Key], accepted: &[Algorithm]) -> Checked {
        if !accepted.contains(&self.algorithm) {
            return Checked::Forged;
        }
        let fitting = keys.iter().filter(|key| key.algorithm() == self.algorithm);
        let named: Vec<&Key> = match &self.key_id {
            Some(_) => fitting.filter(|key| key.id == self.key_id).collect(),
            None => fitting.collect(),
        };
        if named.is_empty() {
            return Checked::UnknownKey;
        }
        // Without a name there is only one that it can be.
        let one = self.key_id.is_some() || named.len() == 1;
        match one && named.iter().any(|key| key.verifies(&self.signed, &self.signature)) {
            true => Checked::Signed(Claims(self.claims)),
            false => Checked::Forged,
        }
    }
}

impl Claims {
    /// A text that is not empty.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).and_then(Value::as_str).filter(|text| !text.is_empty())
    }

    /// Whether something is there, whatever it is.
    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// A moment in whole seconds since 1970.
    pub fn seconds(&self, name: &str) -> Option<i64> {
        self.0.get(name).and_then(Value::as_i64)
    }

    /// Whether something is `true`.
    pub fn is_true(&self, name: &str) -> bool {
        self.0.get(name) == Some(&Value::Bool(true))
    }

    /// Whom it is for.
    pub fn audiences(&self) -> Vec<&str> {
        audiences(&self.0)
    }
}

/// A text, or a list of texts and of nothing else.
fn audiences(claims: &Map<String, Value>) -> Vec<&str> {
    match claims.get("aud") {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(all)) => all.iter().map(Value::as_str).collect::<Option<_>>().unwrap_or_default(),
        _ => vec![],
    }
}

fn object(part: &str) -> Option<Map<String, Value>> {
    let bytes = URL_SAFE_NO_PAD.decode(part).ok()?;
    match serde_json::from_slice(&bytes).ok()? {
        Strict(Value::Object(object)) if depth_is_fine(&object) => Some(object),
        _ => None,
    }
}

fn depth_is_fine(object: &Map<String, Value>) -> bool {
    fn fine(value: &Value, left: usize) -> bool {
        match value {
            Value::Array(items) => 0 < left && items.iter().all(|item| fine(item, left - 1)),
            Value::Object(fields) => 0 < left && fields.values().all(|item| fine(item, left - 1)),
            _ => true,
        }
    }
    object.values().all(|value| fine(value, DEPTH_MAX))
}

/// JSON in which no name stands twice. Fractions are refused: no claim that is read has one.
struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Strict)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JSON without fractions and without names that stand twice")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut all = vec![];
        while let Some(Strict(item)) = items.next_element()? {
            all.push(item);
        }
        Ok(all.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let mut all = Map::new();
        while let Some((name, Strict(value))) = fields.next_entry::<String, Strict>()? {
            if all.insert(name, value).is_some() {
                return Err(A::Error::custom("a name stands twice"));
            }
        }
        Ok(all.into())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use ring::signature::{Ed25519KeyPair, KeyPair as _};
    use serde_json::json;

    use super::*;

    fn token(header: &str, claims: &str, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
        let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        let signature = URL_SAFE_NO_PAD.encode(sign(signed.as_bytes()));
        format!("{signed}.{signature}")
    }

    fn pair() -> (Ed25519KeyPair, Key) {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
        let x = URL_SAFE_NO_PAD.encode(pair.public_key().as_ref());
        let key = Key::parse(&json!({"kty": "OKP", "crv": "Ed25519", "x": x, "kid": "a"})).unwrap();
        (pair, key)
    }

    #[test]
    fn a_token_is_what_its_key_has_signed() {
        let (pair, key) = pair();
        let sign = |bytes: &[u8]| pair.sign(bytes).as_ref().to_vec();
        let good = token(r#"{"alg":"EdDSA","kid":"a"}"#, r#"{"sub":"x","iat":1}"#, sign);
        let check = |token: &str| {
            Unverified::parse(token).map(|token| token.check(std::slice::from_ref(&key), &Algorithm::ALL))
        };
        let Some(Checked::Signed(claims)) = check(&good) else { panic!("a good token") };
        assert_eq!(
            (claims.text("sub"), claims.seconds("iat"), claims.text("no")),
            (Some("x"), Some(1), None)
        );
        let parsed = Unverified::parse(&good).unwrap();
        assert_eq!(parsed.check(std::slice::from_ref(&key), &Algorithm::USUAL), Checked::Forged);
        let other = token(r#"{"alg":"EdDSA","kid":"b"}"#, "{}", sign);
        assert_eq!(check(&other), Some(Checked::UnknownKey));
        let forged = token(r#"{"alg":"EdDSA","kid":"a"}"#, "{}", |_| vec![0; 64]);
        assert_eq!(check(&forged), Some(Checked::Forged));
        for header in [
            r#"{"alg":"none"}"#,
            r#"{"alg":"HS256"}"#,
            r#"{"alg":"eddsa"}"#,
            r#"{"kid":"a"}"#,
            r#"{"alg":"EdDSA","alg":"EdDSA"}"#,
            r#"{"alg":"EdDSA","crit":["x"]}"#,
            r#"{"alg":"EdDSA","jwk":{}}"#,
            r#"{"alg":"EdDSA","kid":1}"#,
            r#"["EdDSA"]"#,
        ] {
            assert_eq!(check(&token(header, "{}", sign)), None, "{header}");
        }
        assert_eq!(check(&token(r#"{"alg":"EdDSA"}"#, r#"{"a":{"b":1,"b":2}}"#, sign)), None);
        for cut in [format!("{good}.x"), format!("{good}="), good.replace('.', ""), format!(" {good}")] {
            assert_eq!(check(&cut), None, "{cut}");
        }
    }

    #[test]
    fn a_key_is_for_one_algorithm() {
        let x = URL_SAFE_NO_PAD.encode([1; 32]);
        for bad in [
            json!({"kty": "oct", "k": "AAAA"}),
            json!({"kty": "EC", "crv": "P-384", "x": x, "y": x}),
            json!({"kty": "EC", "crv": "P-256", "x": "AAAA", "y": x}),
            json!({"kty": "EC", "crv": "P-256", "x": x, "y": x, "use": "enc"}),
            json!({"kty": "RSA", "n": x, "e": "AQAB", "alg": "HS256"}),
            json!({"kty": "RSA", "n": x}),
            json!({}),
            json!(1),
        ] {
            assert_eq!(Key::parse(&bad), None, "{bad}");
        }
        assert!(
            Key::parse(&json!({"kty": "RSA", "n": x, "e": "AQAB", "use": "sig", "alg": "RS256"})).is_some()
        );
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_fail(text in ".*", header in ".*", claims in ".*") {
            let _ = Unverified::parse(&text);
            let _ = Unverified::parse(&token(&header, &claims, |_| vec![]));
        }
    }
}
