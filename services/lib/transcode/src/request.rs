//! From path, query and body to the request on the wire, with everything that is wrong at once.

use std::borrow::Cow;

use bytes::Bytes;
use problem::{Code, VIOLATIONS_MAX, reason};
use prost::encoding::{self, WireType};

use crate::catalogue::{Body, Catalogue, Operation, PathFields};
use crate::check;
use crate::problem::{FieldProblem, Problem};
use crate::schema::{Field, Kind, Message, Schema, Shape};
use crate::tree::{self, Json};
use crate::url;

/// Largest body, in bytes.
pub const BODY_BYTES_MAX: usize = 1024 * 1024;

/// A key that is there twice.
const DUPLICATE_KEY: &str = "DUPLICATE_KEY";

impl Catalogue {
    /// Makes the request message of an operation. `fields` is what [`Catalogue::find`] gave,
    /// `query` is what stands after `?`, an empty body means `{}`.
    ///
    /// # Errors
    /// The body is too large, is no JSON, nests deeper than [`crate::DEPTH_MAX`]; or every bad field, up to
    /// [`VIOLATIONS_MAX`].
    pub fn request(
        &self,
        operation: &Operation,
        fields: &PathFields<'_>,
        query: Option<&str>,
        body: &[u8],
    ) -> Result<Bytes, Box<Problem>> {
        if BODY_BYTES_MAX < body.len() {
            return Err(Box::new(too_large()));
        }
        let mut walk = Walk { schema: &self.schema, errors: vec![], pointer: String::new() };
        let mut out = Vec::with_capacity(body.len() + 64);
        let message = &self.schema.messages[operation.input];

        for (index, raw) in &fields.0 {
            let field = &message.fields[*index];
            walk.parameter(field, url::decode(raw).map(Cow::into_owned), &mut out);
        }
        let mask_given = walk.query(operation, message, query.unwrap_or_default(), &mut out);
        if operation.body != Body::None {
            let json = if body.is_empty() { Json::Object(vec![]) } else { parsed(body)? };
            let Json::Object(entries) = &json else {
                return Err(Box::new(Problem::invalid(vec![wrong_type("", "an object", &json)])));
            };
            match operation.body {
                Body::Field(index) => {
                    let field = &message.fields[index];
                    if let (Some(mask), false) = (operation.mask, mask_given) {
                        walk.derive_mask(field, &message.fields[mask], entries, &mut out);
                    }
                    let patch = operation.mask.is_some();
                    walk.nested(field, &mut out, |walk, inner, out| {
                        walk.object(inner, entries, Level { patch, ..Level::default() }, out);
                    });
                }
                _ => {
                    let taken: Vec<usize> = fields.0.iter().map(|(index, _)| *index).collect();
                    walk.object(message, entries, Level { taken: &taken, ..Level::default() }, &mut out);
                }
            }
        }
        if walk.errors.is_empty() { Ok(out.into()) } else { Err(Box::new(Problem::invalid(walk.errors))) }
    }
}

/// The body is larger than any request may be.
pub fn too_large() -> Problem {
    let detail = format!("the body must have at most '{BODY_BYTES_MAX}' bytes");
    Problem::new(Code::ResourceExhausted, reason::PAYLOAD_TOO_LARGE, detail)
}

fn parsed(body: &[u8]) -> Result<Json<'_>, Box<Problem>> {
    tree::parse(body).map_err(|error| {
        let (reason, detail) = match error {
            tree::Error::TooDeep => {
                ("JSON_TOO_DEEP", format!("the body nests deeper than '{}' levels", tree::DEPTH_MAX))
            }
            tree::Error::Malformed(why) => ("MALFORMED_JSON", format!("the body is not JSON: {why}")),
        };
        Box::new(Problem::new(Code::InvalidArgument, reason, detail))
    })
}

/// How an object is read.
#[derive(Clone, Copy, Default)]
struct Level<'a> {
    /// Absent fields stay as they are, so none is required.
    patch: bool,
    /// Fields that the path carries.
    taken: &'a [usize],
}

/// Reads values, writes wire bytes, remembers what is wrong.
struct Walk<'s> {
    schema: &'s Schema,
    errors: Vec<FieldProblem>,
    /// Where it is.
    pointer: String,
}

impl<'s> Walk<'s> {
    fn object(
        &mut self,
        message: &'s Message,
        entries: &[(Cow<str>, Json)],
        level: Level,
        out: &mut Vec<u8>,
    ) {
        let mut seen = vec![false; message.fields.len()];
        let mut members: Vec<Option<&str>> = vec![None; message.oneofs];
        for (key, json) in entries {
            let Some((index, field)) = message.field(key) else {
                self.at(key, |walk| walk.fail(reason::UNKNOWN_FIELD, "is not a field of this object"));
                continue;
            };
            self.at(key, |walk| {
                if std::mem::replace(&mut seen[index], true) {
                    walk.fail(DUPLICATE_KEY, "is there twice");
                } else if field.options.output_only {
                    walk.fail(reason::OUTPUT_ONLY, "is set by the service and cannot be sent");
                } else if level.patch && field.options.immutable {
                    walk.fail(reason::IMMUTABLE, "cannot change after creation");
                } else if level.taken.contains(&index) {
                    walk.fail(reason::NOT_ALLOWED, "is in the path already");
                } else if matches!(json, Json::Null) {
                    if field.options.required {
                        walk.fail(reason::REQUIRED, "must be given");
                    }
                } else {
                    if let Shape::Member(oneof) = field.shape
                        && let Some(other) = members[oneof].replace(&field.json)
                    {
                        walk.fail(reason::NOT_ALLOWED, format!("cannot stand beside '{other}'"));
                    }
                    walk.field(field, json, out);
                }
            });
        }
        if level.patch {
            return;
        }
        for (index, field) in message.fields.iter().enumerate() {
            if field.options.required && !seen[index] && !level.taken.contains(&index) {
                self.at(&field.json, |walk| walk.fail(reason::REQUIRED, "must be given"));
            }
        }
    }

    fn field(&mut self, field: &'s Field, json: &Json, out: &mut Vec<u8>) {
        match (field.shape, json) {
            (Shape::List, Json::List(items)) => {
                if self.fits(field, items.len()) {
                    for (at, item) in items.iter().enumerate() {
                        self.at(&at.to_string(), |walk| walk.value(field, field.number, item, out));
                    }
                }
            }
            (Shape::List, _) => self.wrong_type("a list", json),
            (Shape::Map, Json::Object(entries)) => {
                if self.fits(field, entries.len()) {
                    self.map(field, entries, out);
                }
            }
            (Shape::Map, _) => self.wrong_type("an object", json),
            _ => self.value(field, field.number, json, out),
        }
    }

    fn map(&mut self, field: &'s Field, entries: &[(Cow<str>, Json)], out: &mut Vec<u8>) {
        for (at, (key, json)) in entries.iter().enumerate() {
            self.at(key, |walk| {
                if entries[..at].iter().any(|(other, _)| other == key) {
                    return walk.fail(DUPLICATE_KEY, "is there twice");
                }
                if let Err((why, detail)) = check::length(key, field.chars_max()) {
                    return walk.fail(why, detail);
                }
                let mut entry = vec![];
                encoding::string::encode(1, &key.to_string(), &mut entry);
                walk.value(field, 2, json, &mut entry);
                put(field.number, &entry, out);
            });
        }
    }

    /// Whether a list or map may have `count` items.
    fn fits(&mut self, field: &Field, count: usize) -> bool {
        if count == 0 && field.options.required {
            self.fail(reason::REQUIRED, "must not be empty");
        }
        let max = field.max();
        let fits = u32::try_from(count).is_ok_and(|count| count <= max);
        if !fits {
            self.fail(reason::TOO_MANY, format!("must have at most '{max}' items"));
        }
        fits
    }

    /// Writes one value under `number`, which is the field's own or the value's in an entry of a map.
    fn value(&mut self, field: &'s Field, number: u32, json: &Json, out: &mut Vec<u8>) {
        match (field.kind, json) {
            (Kind::Bool, Json::Bool(value)) => encoding::bool::encode(number, value, out),
            (Kind::Bool, _) => self.wrong_type("true or false", json),
            (Kind::Int32 | Kind::Int64 | Kind::Uint32 | Kind::Uint64, _) => {
                self.integer(field, number, json, out)
            }
            (Kind::String, Json::String(text)) => match check::string(field, text) {
                Ok(()) => put(number, text.as_bytes(), out),
                Err((why, detail)) => self.fail(why, detail),
            },
            (Kind::String, Json::Integer(_) | Json::Float) if check::is_decimal(field) => {
                self.fail(
                    reason::WRONG_TYPE,
                    "must be a string: send decimals as strings, for example \"12.5\"",
                );
            }
            (Kind::String, _) => self.wrong_type("a string", json),
            (Kind::Bytes, Json::String(text)) => match check::base64(text) {
                Some(bytes) => put(number, &bytes, out),
                None => self.fail(reason::MALFORMED, "must be base64"),
            },
            (Kind::Bytes, _) => self.wrong_type("a string", json),
            (Kind::Enum(id), Json::String(name)) => match self.schema.enums[id].number(name) {
                Some(0) if field.options.required => self.fail(reason::REQUIRED, "must be given"),
                Some(value) => encoding::int32::encode(number, &value, out),
                None => {
                    let names = self.schema.enums[id].values.iter().map(|value| value.name.as_str());
                    self.fail(reason::UNKNOWN_VALUE, check::one_of(names));
                }
            },
            (Kind::Enum(_), _) => self.wrong_type("a string", json),
            (Kind::Timestamp, Json::String(text)) => match check::timestamp(text) {
                Ok(bytes) => put(number, &bytes, out),
                Err((why, detail)) => self.fail(why, detail),
            },
            (Kind::Timestamp, _) => self.wrong_type("a string", json),
            (Kind::Message(id), Json::Object(entries)) => {
                let mut inner = vec![];
                self.object(&self.schema.messages[id], entries, Level::default(), &mut inner);
                put(number, &inner, out);
            }
            (Kind::Message(_), _) => self.wrong_type("an object", json),
        }
    }

    fn integer(&mut self, field: &Field, number: u32, json: &Json, out: &mut Vec<u8>) {
        let value = match json {
            Json::Integer(value) => *value,
            // 64 bits travel as strings; the same is taken for 32.
            Json::String(text) => match check::integer(text) {
                Some(value) => value,
                None => return self.fail(reason::WRONG_TYPE, "must be a whole number"),
            },
            Json::Float => {
                return self.fail(reason::WRONG_TYPE, "must be a whole number, without point or exponent");
            }
            _ => return self.wrong_type("a whole number", json),
        };
        // Negative numbers travel as 64 bits in two's complement, whatever the field.
        let wire = match field.kind {
            Kind::Int32 => i32::try_from(value).ok().map(|value| i64::from(value).cast_unsigned()),
            Kind::Uint32 => u32::try_from(value).ok().map(u64::from),
            Kind::Int64 => i64::try_from(value).ok().map(i64::cast_unsigned),
            _ => u64::try_from(value).ok(),
        };
        match wire {
            Some(wire) => encoding::uint64::encode(number, &wire, out),
            None => self.fail(reason::OUT_OF_RANGE, check::range(field.kind)),
        }
    }

    /// Writes a value of a path or query; `None` did not decode.
    fn parameter(&mut self, field: &'s Field, text: Option<String>, out: &mut Vec<u8>) {
        self.at(&field.json, |walk| match text {
            None => walk.fail(reason::MALFORMED, "is not encoded as a URL encodes text"),
            Some(text) => {
                let json = match (field.kind, text.as_str()) {
                    (Kind::Bool, "true") => Json::Bool(true),
                    (Kind::Bool, "false") => Json::Bool(false),
                    _ => Json::String(text.into()),
                };
                walk.value(field, field.number, &json, out);
            }
        });
    }

    /// Reads the query; tells whether it names an update mask.
    fn query(&mut self, operation: &Operation, message: &'s Message, query: &str, out: &mut Vec<u8>) -> bool {
        let mut counts = vec![0u32; message.fields.len()];
        for pair in url::pairs(query) {
            let (key, value) = match pair {
                Ok((key, value)) => (key, Some(value)),
                Err(key) => (Cow::Borrowed(key), None),
            };
            let Some((index, field)) =
                message.field(&key).filter(|(index, _)| operation.query.contains(index))
            else {
                self.at(&key, |walk| walk.fail(reason::UNKNOWN_FIELD, "is not a parameter of this query"));
                continue;
            };
            counts[index] += 1;
            let (count, max) = (counts[index], if field.shape == Shape::List { field.max() } else { 1 });
            if max < count {
                // Once is enough, however often it is there.
                if count == max + 1 && max == 1 {
                    self.at(&field.json, |walk| walk.fail(DUPLICATE_KEY, "is there twice"));
                } else if count == max + 1 {
                    let detail = format!("must have at most '{max}' items");
                    self.at(&field.json, |walk| walk.fail(reason::TOO_MANY, detail));
                }
                continue;
            }
            match (operation.mask == Some(index), &value) {
                (true, Some(names)) => self.named_mask(operation, message, field, names, out),
                _ => self.parameter(field, value, out),
            }
        }
        for index in &operation.query {
            let field = &message.fields[*index];
            if field.options.required && counts[*index] == 0 {
                self.at(&field.json, |walk| walk.fail(reason::REQUIRED, "must be given"));
            }
        }
        operation.mask.is_some_and(|index| 0 < counts[index])
    }

    /// Writes the names of an `updateMask`: `name,legalName`.
    fn named_mask(
        &mut self,
        operation: &Operation,
        message: &'s Message,
        mask: &Field,
        names: &str,
        out: &mut Vec<u8>,
    ) {
        let Body::Field(body) = operation.body else { return };
        let Kind::Message(id) = message.fields[body].kind else { return };
        for name in names.split(',') {
            match self.schema.messages[id].field(name) {
                Some((_, field)) => put(mask.number, field.name.as_bytes(), out),
                None => self.at(&mask.json, |walk| {
                    walk.fail(reason::UNKNOWN_VALUE, format!("'{name}' is not a field of the body"));
                }),
            }
        }
    }

    /// Writes the names of the fields that the body has; unknown ones are reported where they stand.
    fn derive_mask(&mut self, body: &Field, mask: &Field, entries: &[(Cow<str>, Json)], out: &mut Vec<u8>) {
        let Kind::Message(id) = body.kind else { return };
        for (key, _) in entries {
            if let Some((_, field)) = self.schema.messages[id].field(key) {
                put(mask.number, field.name.as_bytes(), out);
            }
        }
    }

    fn nested(
        &mut self,
        field: &Field,
        out: &mut Vec<u8>,
        fill: impl FnOnce(&mut Self, &'s Message, &mut Vec<u8>),
    ) {
        let Kind::Message(id) = field.kind else { return };
        let mut inner = vec![];
        fill(self, &self.schema.messages[id], &mut inner);
        put(field.number, &inner, out);
    }

    /// Runs `act` one step further down.
    fn at(&mut self, key: &str, act: impl FnOnce(&mut Self)) {
        let length = self.pointer.len();
        self.pointer.push('/');
        for letter in key.chars() {
            match letter {
                '~' => self.pointer.push_str("~0"),
                '/' => self.pointer.push_str("~1"),
                letter => self.pointer.push(letter),
            }
        }
        act(self);
        self.pointer.truncate(length);
    }

    fn fail(&mut self, reason: &'static str, detail: impl Into<Cow<'static, str>>) {
        if self.errors.len() < VIOLATIONS_MAX {
            let pointer = self.pointer.clone();
            self.errors.push(FieldProblem { pointer, reason: reason.into(), detail: detail.into() });
        }
    }

    fn wrong_type(&mut self, expected: &str, found: &Json) {
        let problem = wrong_type(&self.pointer, expected, found);
        if self.errors.len() < VIOLATIONS_MAX {
            self.errors.push(problem);
        }
    }
}

fn wrong_type(pointer: &str, expected: &str, found: &Json) -> FieldProblem {
    FieldProblem {
        pointer: pointer.to_owned(),
        reason: reason::WRONG_TYPE.into(),
        detail: format!("must be {expected}, not {}", found.kind()).into(),
    }
}

/// Writes bytes of a known length: a string, bytes or a message.
fn put(number: u32, bytes: &[u8], out: &mut Vec<u8>) {
    encoding::encode_key(number, WireType::LengthDelimited, out);
    encoding::encode_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}
