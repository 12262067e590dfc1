//! JSON as it came: every key kept, also a second one of the same name.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

/// Deepest nesting of objects and lists in a body.
pub const DEPTH_MAX: u32 = 32;

/// A JSON value.
#[derive(Debug)]
pub(crate) enum Json<'a> {
    Null,
    Bool(bool),
    Integer(i128),
    /// A number with a fraction or an exponent: nothing that we take, so its value is of no interest.
    Float,
    String(Cow<'a, str>),
    List(Vec<Json<'a>>),
    Object(Vec<(Cow<'a, str>, Json<'a>)>),
}

/// Why a body is not JSON that we take.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Error {
    TooDeep,
    /// Where and what, for a person.
    Malformed(String),
}

impl Json<'_> {
    /// What it is, for a person.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Json::Null => "null",
            Json::Bool(_) => "a boolean",
            Json::Integer(_) | Json::Float => "a number",
            Json::String(_) => "a string",
            Json::List(_) => "a list",
            Json::Object(_) => "an object",
        }
    }
}

/// Reads one JSON value, which is all that there may be.
pub(crate) fn parse(body: &[u8]) -> Result<Json<'_>, Error> {
    // Positions only make sense in text; a slice of bytes would be checked string by string.
    let text = std::str::from_utf8(body)
        .map_err(|e| Error::Malformed(format!("the body is not UTF-8 after byte {}", e.valid_up_to())))?;
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let json = Node { depth: 0 }.deserialize(&mut deserializer);
    json.and_then(|json| deserializer.end().map(|()| json)).map_err(|e| match e.classify() {
        // `Node` itself fails for one reason only.
        serde_json::error::Category::Data if e.to_string().starts_with(TOO_DEEP) => Error::TooDeep,
        _ => Error::Malformed(e.to_string()),
    })
}

const TOO_DEEP: &str = "nested too deep";

/// Reads a value at a depth.
#[derive(Clone, Copy)]
struct Node {
    depth: u32,
}

impl Node {
    fn below<E: serde::de::Error>(self) -> Result<Node, E> {
        if self.depth == DEPTH_MAX { Err(E::custom(TOO_DEEP)) } else { Ok(Node { depth: self.depth + 1 }) }
    }
}

impl<'de> DeserializeSeed<'de> for Node {
    type Value = Json<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Json<'de>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node {
    type Value = Json<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Json<'de>, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json<'de>, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json<'de>, E> {
        Ok(Json::Integer(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json<'de>, E> {
        Ok(Json::Integer(value.into()))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Json<'de>, E> {
        Ok(Json::Float)
    }

    fn visit_str<E>(self, text: &str) -> Result<Json<'de>, E> {
        Ok(Json::String(text.to_owned().into()))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Json<'de>, E> {
        Ok(Json::String(text.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json<'de>, A::Error> {
        let below = self.below::<A::Error>()?;
        let mut list = vec![];
        while let Some(item) = items.next_element_seed(below)? {
            list.push(item);
        }
        Ok(Json::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Json<'de>, A::Error> {
        let below = self.below::<A::Error>()?;
        let mut object = vec![];
        while let Some(key) = entries.next_key_seed(Key)? {
            object.push((key, entries.next_value_seed(below)?));
        }
        Ok(Json::Object(object))
    }
}

/// Reads a key, borrowed where it has no escapes.
struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Key {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(text.to_owned().into())
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(text.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_key_of_the_same_name_is_kept() {
        let Ok(Json::Object(entries)) = parse(br#"{"a": 1, "\u0061": 2}"#) else { panic!("an object") };
        let keys: Vec<&str> = entries.iter().map(|(key, _)| key.as_ref()).collect();
        assert_eq!(keys, ["a", "a"]);
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(parse(nested(32).as_bytes()).is_ok());
        assert_eq!(parse(nested(33).as_bytes()).err(), Some(Error::TooDeep));
        assert_eq!(parse(nested(100_000).as_bytes()).err(), Some(Error::TooDeep));
    }

    #[test]
    fn what_is_not_json_is_refused_with_its_place() {
        let place = |text: &str| match parse(text.as_bytes()) {
            Err(Error::Malformed(why)) => why,
            other => panic!("{text:?} gave {other:?}"),
        };
        assert_eq!(place("{\n \"a\": }"), "expected value at line 2 column 7");
        assert!(place("{}{}").starts_with("trailing characters at line 1 column 3"));
        assert!(place("").starts_with("EOF while parsing"));
        assert!(place("{'a': 1}").starts_with("key must be a string"));
        assert!(place("[1, NaN]").starts_with("expected value"));
        assert!(matches!(parse(b"\"\xff\""), Err(Error::Malformed(_))));
    }
}
