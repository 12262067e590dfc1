//! The printer against an independent one.

use proptest::prelude::*;
use prost_reflect::prost::Message as _;
use prost_reflect::{
    Cardinality, DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, SerializeOptions, Value,
};
use proto::api::v1 as api;
use proto::stock::v1 as stock;
use serde_json::{Map, Value as Json, json};
use transcode::Operation;

use crate::{CATALOGUE, operation};

fn printed(operation: &Operation, bytes: &[u8]) -> Option<Json> {
    let mut out = vec![];
    CATALOGUE.print(operation, bytes, &mut out).ok()?;
    Some(serde_json::from_slice(&out).unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&out))))
}

fn output(operation: &Operation) -> MessageDescriptor {
    let (service, method) = operation.path.as_str()[1..].split_once('/').unwrap();
    let service = proto::pool().get_service_by_name(service).unwrap();
    service.methods().find(|m| m.name() == method).unwrap().output()
}

/// Makes messages out of a run of bytes, so that a failing one can be shrunk.
struct Source<'a>(std::slice::Iter<'a, u8>);

impl Source<'_> {
    fn byte(&mut self) -> u8 {
        self.0.next().copied().unwrap_or(0)
    }

    fn number(&mut self) -> u64 {
        let length = self.byte() % 9;
        (0..length).fold(0, |number, _| number << 8 | u64::from(self.byte()))
    }

    fn text(&mut self) -> String {
        let length = self.byte() % 6;
        (0..length)
            .map(|_| ['a', 'Z', '"', '\\', '\n', '\u{1}', 'ä', '🚢'][usize::from(self.byte() % 8)])
            .collect()
    }

    fn message(&mut self, descriptor: &MessageDescriptor) -> DynamicMessage {
        let mut message = DynamicMessage::new(descriptor.clone());
        if descriptor.full_name() == "google.protobuf.Timestamp" {
            // From the year 1 to 9999, nanoseconds of every length.
            let seconds = i64::try_from(self.number() % 315_537_897_600).unwrap() - 62_135_596_800;
            let nanos = i32::try_from(self.number() % 1_000_000_000).unwrap();
            let unit = [1_000_000_000, 1_000_000, 1_000, 1][usize::from(self.byte() % 4)];
            message.set_field_by_name("seconds", Value::I64(seconds));
            message.set_field_by_name("nanos", Value::I32(nanos / unit * unit));
            return message;
        }
        for field in descriptor.fields() {
            if self.byte().is_multiple_of(3) {
                continue;
            }
            let value = if field.is_map() {
                let entry = field.kind().as_message().unwrap().map_entry_value_field();
                let count = self.byte() % 3;
                Value::Map((0..count).map(|_| (MapKey::String(self.text()), self.value(&entry))).collect())
            } else if field.cardinality() == Cardinality::Repeated {
                let count = self.byte() % 4;
                Value::List((0..count).map(|_| self.value(&field)).collect())
            } else {
                self.value(&field)
            };
            message.set_field(&field, value);
        }
        message
    }

    fn value(&mut self, field: &FieldDescriptor) -> Value {
        let number = self.number();
        match field.kind() {
            Kind::Bool => Value::Bool(number % 2 == 1),
            Kind::Int32 => {
                Value::I32(number.cast_signed().rem_euclid(1 << 32).wrapping_sub(1 << 31).try_into().unwrap())
            }
            Kind::Uint32 => Value::U32(u32::try_from(number % (1 << 32)).unwrap()),
            Kind::Int64 => Value::I64(number.cast_signed()),
            Kind::Uint64 => Value::U64(number),
            Kind::String => Value::String(self.text()),
            Kind::Bytes => Value::Bytes(self.text().into_bytes().into()),
            // Now and then a number that has no name.
            Kind::Enum(_) => Value::EnumNumber(i32::try_from(number % 12).unwrap()),
            Kind::Message(message) => Value::Message(self.message(&message)),
            other => panic!("{other:?}"),
        }
    }
}

/// Turns what we print into canonical proto3 JSON: defaults away, full enum names.
fn canonical(json: Json, descriptor: &MessageDescriptor) -> Json {
    let Json::Object(members) = json else { return json };
    let mut out = Map::new();
    for (key, value) in members {
        let field = descriptor.get_field_by_json_name(&key).unwrap();
        let (kind, is_map) = match field.kind() {
            Kind::Message(entry) if field.is_map() => (entry.map_entry_value_field().kind(), true),
            kind => (kind, false),
        };
        let value = match value {
            Json::Array(items) => items.into_iter().map(|item| canonical_value(item, &kind)).collect(),
            Json::Object(entries) if is_map => {
                entries.into_iter().map(|(key, item)| (key, canonical_value(item, &kind))).collect()
            }
            value => canonical_value(value, &kind),
        };
        let is_default = match (&value, &kind) {
            (Json::Array(items), _) => items.is_empty(),
            (Json::Object(entries), _) if is_map => entries.is_empty(),
            (Json::String(text), Kind::Enum(values)) => *text == values.default_value().name(),
            (Json::String(text), Kind::Int64 | Kind::Uint64) => text == "0",
            (value, _) => *value == json!(false) || *value == json!(0),
        };
        if field.supports_presence() || !is_default {
            out.insert(key, value);
        }
    }
    Json::Object(out)
}

fn canonical_value(value: Json, kind: &Kind) -> Json {
    match (value, kind) {
        (Json::String(short), Kind::Enum(values)) => {
            let full = values.values().map(|value| value.name().to_owned());
            Json::String(full.into_iter().find(|name| name.ends_with(&format!("_{short}"))).unwrap())
        }
        (value, Kind::Message(message)) if message.full_name() != "google.protobuf.Timestamp" => {
            canonical(value, message)
        }
        (value, _) => value,
    }
}

fn oracle(message: &DynamicMessage) -> Json {
    message.serialize_with_options(serde_json::value::Serializer, &SerializeOptions::new()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// E2: what is printed is what prost-reflect prints, also when the encoding of a message is cut into
    /// parts, repeats fields and changes its mind about a oneof.
    #[test]
    fn printing_agrees_with_an_independent_printer(
        which in any::<prop::sample::Index>(),
        one in prop::collection::vec(any::<u8>(), 0..400),
        two in prop::collection::vec(any::<u8>(), 0..400),
    ) {
        let operation = which.get(CATALOGUE.operations());
        let descriptor = output(operation);
        let message = Source(one.iter()).message(&descriptor);
        let mut bytes = message.encode_to_vec();
        prop_assert_eq!(canonical(printed(operation, &bytes).unwrap(), &descriptor), oracle(&message));

        bytes.extend(Source(two.iter()).message(&descriptor).encode_to_vec());
        let merged = DynamicMessage::decode(descriptor.clone(), bytes.as_slice()).unwrap();
        // Two timestamps added up may leave the calendar; then nothing is printed.
        if let Some(json) = printed(operation, &bytes) {
            prop_assert_eq!(canonical(json, &descriptor), oracle(&merged));
        }
    }

    /// E2: no string of bytes makes the printer panic, and what it prints is JSON.
    #[test]
    fn any_bytes_are_printed_or_refused(
        which in any::<prop::sample::Index>(),
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        seed in prop::collection::vec(any::<u8>(), 0..200),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        let operation = which.get(CATALOGUE.operations());
        printed(operation, &bytes);
        let mut nearly = Source(seed.iter()).message(&output(operation)).encode_to_vec();
        for (at, flip) in flips {
            if !nearly.is_empty() {
                let at = at.index(nearly.len());
                nearly[at] ^= flip;
            }
        }
        printed(operation, &nearly);
    }
}

#[test]
fn what_is_always_there_is_there() {
    let balance = stock::ItemBalance {
        variant_id: "var_1".to_owned(),
        value: Some(api::Money { currency: "EUR".to_owned(), amount: "19.99".to_owned() }),
        locations: vec![stock::LocationBalance { location_id: "loc_1".to_owned(), ..Default::default() }],
        sequence: u64::MAX,
        updated_at: Some(prost_reflect::prost_types::Timestamp {
            seconds: 1_795_428_000,
            nanos: 500_000_000,
        }),
        ..Default::default()
    };
    let expected = json!({
        "variantId": "var_1",
        "value": {"currency": "EUR", "amount": "19.99"},
        "locations": [{"locationId": "loc_1", "movements": "0", "lastSequence": "0"}],
        "sequence": "18446744073709551615",
        "updatedAt": "2026-11-23T10:00:00.500Z",
    });
    assert_eq!(printed(operation("GetBalance"), &balance.encode_to_vec()), Some(expected));

    let location = stock::Location { code: "A".to_owned(), ..Default::default() };
    let expected = json!({
        "code": "A", "usage": "UNSPECIFIED", "negativePolicy": "UNSPECIFIED", "status": "UNSPECIFIED",
    });
    assert_eq!(printed(operation("GetLocation"), &location.encode_to_vec()), Some(expected));

    let empty = json!({"movements": []});
    assert_eq!(printed(operation("ListMovements"), b""), Some(empty));
}

#[test]
fn an_answer_shows_itself_in_its_headers() {
    let header = |answered: &transcode::Answered, name: &str| {
        let found = answered.headers.iter().find(|(own, _)| own.as_str() == name);
        found.map(|(_, value)| value.to_str().unwrap().to_owned())
    };
    let answer = |name: &str, bytes: Vec<u8>, known: Option<&str>| {
        CATALOGUE.answer(operation(name), &bytes, "/v1/x?pageSize=2", known, false).unwrap()
    };

    let location = stock::Location { id: "loc_1".to_owned(), etag: "\"3\"".to_owned(), ..Default::default() };
    let made = answer("CreateLocation", location.encode_to_vec(), None);
    assert_eq!(made.status, 201);
    assert_eq!(header(&made, "location").as_deref(), Some("/v1/locations/loc_1"));
    assert_eq!(header(&made, "etag").as_deref(), Some("\"3\""));
    let known = answer("GetLocation", location.encode_to_vec(), Some("\"3\""));
    assert_eq!((known.status.as_u16(), known.body.len()), (304, 0));
    assert_eq!(answer("GetLocation", location.encode_to_vec(), Some("\"2\"")).status, 200);

    let movement = stock::Movement { id: "mov_1".to_owned(), ..Default::default() };
    let posting = stock::Posting { movements: vec![movement], replayed: true };
    let posted = answer("PostMovement", posting.encode_to_vec(), None);
    assert_eq!(posted.status, 201);
    assert_eq!(header(&posted, "location").as_deref(), Some("/v1/movements/mov_1"));
    assert_eq!(header(&posted, "idempotent-replayed").as_deref(), Some("true"));

    let fine = stock::posting_result::Result::Posting(posting);
    let bad = stock::posting_result::Result::Problem(api::Problem { status: 409, ..Default::default() });
    let results = |all: Vec<stock::posting_result::Result>| stock::BatchPostMovementsResponse {
        results: all.into_iter().map(|result| stock::PostingResult { result: Some(result) }).collect(),
    };
    assert_eq!(answer("BatchPostMovements", results(vec![fine.clone()]).encode_to_vec(), None).status, 200);
    assert_eq!(answer("BatchPostMovements", results(vec![fine, bad]).encode_to_vec(), None).status, 207);

    let page = stock::ListMovementsResponse { next_page_token: "t".to_owned(), ..Default::default() };
    let listed = answer("ListMovements", page.encode_to_vec(), None);
    assert_eq!(header(&listed, "link").as_deref(), Some(r#"</v1/x?pageSize=2&pageToken=t>; rel="next""#));
    assert!(CATALOGUE.answer(operation("ListMovements"), b"\xff", "/", None, false).is_err());
}
