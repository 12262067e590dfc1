//! From wire bytes to canonical JSON, without building a message in between.
//!
//! proto3 JSON (protobuf.dev, "ProtoJSON Format") with these choices: enum values without the prefix of
//! their type; booleans, numbers, enums, lists and maps are always there; empty strings and bytes,
//! absent messages and absent `optional` or `oneof` members are left out; fields that the contract does
//! not know are skipped. 64-bit integers are strings.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::schema::{Field, Kind, Message, Schema, Shape};
use crate::time;
use crate::wire::{Malformed, Reader, Value};

/// Deepest message in a message. Ours nest five deep; a hostile encoding nests for ever.
const DEPTH_MAX: u32 = 64;

/// What is known of a field after its message was walked once.
#[derive(Clone, Copy)]
enum Slot<'a> {
    Absent,
    /// The last value of a scalar.
    One(Value<'a>),
    /// `count` occurrences of a message, list or map; the bytes begin with the first.
    Many {
        from: &'a [u8],
        count: u32,
    },
}

/// Prints `bytes`, a message of the type `message`, at the end of `out`.
///
/// # Errors
/// When the bytes are no such message; `out` then holds the beginning.
pub(crate) fn print(
    schema: &Schema,
    message: usize,
    bytes: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), Malformed> {
    Printer { schema, slots: Vec::with_capacity(64) }.message(message, bytes, out, 0)
}

struct Printer<'s, 'a> {
    schema: &'s Schema,
    /// The slots of all messages that are being printed, the innermost last.
    slots: Vec<Slot<'a>>,
}

impl<'s, 'a> Printer<'s, 'a> {
    fn message(
        &mut self,
        id: usize,
        bytes: &'a [u8],
        out: &mut Vec<u8>,
        depth: u32,
    ) -> Result<(), Malformed> {
        if DEPTH_MAX < depth {
            return Err(Malformed);
        }
        let schema: &'s Schema = self.schema;
        let message = &schema.messages[id];
        let base = self.slots.len();
        self.slots.resize(base + message.fields.len(), Slot::Absent);
        scan(message, bytes, &mut self.slots[base..])?;

        out.push(b'{');
        let mut first = true;
        for (index, field) in message.fields.iter().enumerate() {
            let slot = self.slots[base + index];
            if !shown(field, slot) {
                continue;
            }
            if !first {
                out.push(b',');
            }
            first = false;
            out.extend_from_slice(field.key.as_bytes());
            match field.shape {
                Shape::List => self.list(field, slot, out, depth)?,
                Shape::Map => self.map(field, slot, out, depth)?,
                _ => self.single(field, slot, out, depth)?,
            }
        }
        out.push(b'}');
        self.slots.truncate(base);
        Ok(())
    }

    fn single(
        &mut self,
        field: &Field,
        slot: Slot<'a>,
        out: &mut Vec<u8>,
        depth: u32,
    ) -> Result<(), Malformed> {
        match slot {
            Slot::Absent => self.value(field.kind, None, out, depth),
            Slot::One(value) => self.value(field.kind, Some(value), out, depth),
            Slot::Many { from, count: 1 } => {
                let (_, value) = Reader::new(from).next()?;
                self.value(field.kind, Some(value), out, depth)
            }
            Slot::Many { from, count } => {
                // Messages that come in parts are the concatenation of the parts.
                let mut whole = vec![];
                each(field.number, from, count, |value| match value {
                    Value::Bytes(part) => {
                        whole.extend_from_slice(part);
                        Ok(())
                    }
                    _ => Err(Malformed),
                })?;
                let mut printer = Printer { schema: self.schema, slots: vec![] };
                printer.value(field.kind, Some(Value::Bytes(&whole)), out, depth)
            }
        }
    }

    fn list(
        &mut self,
        field: &Field,
        slot: Slot<'a>,
        out: &mut Vec<u8>,
        depth: u32,
    ) -> Result<(), Malformed> {
        out.push(b'[');
        let mut first = true;
        let mut item = |printer: &mut Self, value, out: &mut Vec<u8>| {
            if !first {
                out.push(b',');
            }
            first = false;
            printer.value(field.kind, Some(value), out, depth)
        };
        if let Slot::Many { from, count } = slot {
            each(field.number, from, count, |value| match (value, field.kind) {
                (Value::Bytes(packed), kind) if is_number(kind) => {
                    let mut reader = Reader::new(packed);
                    while !reader.is_empty() {
                        item(self, Value::Varint(reader.varint()?), out)?;
                    }
                    Ok(())
                }
                (value, _) => item(self, value, out),
            })?;
        }
        out.push(b']');
        Ok(())
    }

    fn map(&mut self, field: &Field, slot: Slot<'a>, out: &mut Vec<u8>, depth: u32) -> Result<(), Malformed> {
        let mut entries: BTreeMap<&str, Option<Value<'a>>> = BTreeMap::new();
        if let Slot::Many { from, count } = slot {
            each(field.number, from, count, |entry| {
                let Value::Bytes(entry) = entry else { return Err(Malformed) };
                let (mut key, mut value, mut reader) = ("", None, Reader::new(entry));
                while !reader.is_empty() {
                    match reader.next()? {
                        (1, Value::Bytes(text)) => key = utf8(text)?,
                        (1, _) => return Err(Malformed),
                        (2, found) => value = Some(found),
                        _ => {}
                    }
                }
                entries.insert(key, value);
                Ok(())
            })?;
        }
        out.push(b'{');
        for (at, (key, value)) in entries.into_iter().enumerate() {
            if at != 0 {
                out.push(b',');
            }
            string(key, out)?;
            out.push(b':');
            self.value(field.kind, value, out, depth)?;
        }
        out.push(b'}');
        Ok(())
    }

    /// Prints one value; `None` is the default of its type.
    fn value(
        &mut self,
        kind: Kind,
        value: Option<Value<'a>>,
        out: &mut Vec<u8>,
        depth: u32,
    ) -> Result<(), Malformed> {
        match kind {
            Kind::Message(id) => self.message(id, bytes(value)?, out, depth + 1),
            Kind::String => string(utf8(bytes(value)?)?, out),
            Kind::Bytes => {
                out.push(b'"');
                out.extend_from_slice(STANDARD.encode(bytes(value)?).as_bytes());
                out.push(b'"');
                Ok(())
            }
            Kind::Timestamp => time::print(bytes(value)?, out),
            Kind::Bool => {
                out.extend_from_slice(if varint(value)? == 0 { b"false" } else { b"true" });
                Ok(())
            }
            Kind::Int32 => integer(low32(varint(value)?).cast_signed(), out),
            Kind::Uint32 => integer(low32(varint(value)?), out),
            Kind::Int64 => quoted(varint(value)?.cast_signed(), out),
            Kind::Uint64 => quoted(varint(value)?, out),
            Kind::Enum(id) => {
                let number = low32(varint(value)?).cast_signed();
                match self.schema.enums[id].name(number) {
                    Some(name) => string(name, out),
                    None => integer(number, out),
                }
            }
        }
    }
}

/// Sorts the values of one message into the slots of its fields.
fn scan<'a>(message: &Message, bytes: &'a [u8], slots: &mut [Slot<'a>]) -> Result<(), Malformed> {
    let mut reader = Reader::new(bytes);
    while !reader.is_empty() {
        let from = reader.rest();
        let (number, value) = reader.next()?;
        let Some(index) = message.by_number(number) else { continue };
        let field = &message.fields[index];
        if let Shape::Member(oneof) = field.shape {
            // The last member wins; parts of the same member belong together.
            for (other, slot) in slots.iter_mut().enumerate() {
                if other != index && message.fields[other].shape == Shape::Member(oneof) {
                    *slot = Slot::Absent;
                }
            }
        }
        // Messages may come in parts, lists and maps do.
        let many = matches!(field.shape, Shape::List | Shape::Map)
            || matches!(field.kind, Kind::Message(_) | Kind::Timestamp);
        slots[index] = match (many, slots[index]) {
            (false, _) => Slot::One(value),
            (true, Slot::Many { from, count }) => Slot::Many { from, count: count + 1 },
            (true, _) => Slot::Many { from, count: 1 },
        };
    }
    Ok(())
}

/// Calls `act` with `count` occurrences of a field.
fn each<'a>(
    number: u32,
    from: &'a [u8],
    count: u32,
    mut act: impl FnMut(Value<'a>) -> Result<(), Malformed>,
) -> Result<(), Malformed> {
    let mut reader = Reader::new(from);
    let mut left = count;
    while 0 < left {
        let (found, value) = reader.next()?;
        if found == number {
            left -= 1;
            act(value)?;
        }
    }
    Ok(())
}

fn shown(field: &Field, slot: Slot) -> bool {
    match (field.shape, slot) {
        (Shape::List | Shape::Map, _) => true,
        (Shape::Plain, Slot::Absent | Slot::One(Value::Bytes(b"")))
            if matches!(field.kind, Kind::String | Kind::Bytes) =>
        {
            false
        }
        (Shape::Plain, Slot::Absent) => !matches!(field.kind, Kind::Message(_) | Kind::Timestamp),
        (_, slot) => !matches!(slot, Slot::Absent),
    }
}

fn is_number(kind: Kind) -> bool {
    !matches!(kind, Kind::String | Kind::Bytes | Kind::Message(_) | Kind::Timestamp)
}

fn varint(value: Option<Value>) -> Result<u64, Malformed> {
    match value {
        None => Ok(0),
        Some(Value::Varint(value)) => Ok(value),
        Some(_) => Err(Malformed),
    }
}

fn bytes(value: Option<Value<'_>>) -> Result<&[u8], Malformed> {
    match value {
        None => Ok(b""),
        Some(Value::Bytes(bytes)) => Ok(bytes),
        Some(_) => Err(Malformed),
    }
}

fn utf8(bytes: &[u8]) -> Result<&str, Malformed> {
    std::str::from_utf8(bytes).map_err(|_| Malformed)
}

/// Numbers of 32 bits travel as 64: the upper half is sign or rubbish.
fn low32(value: u64) -> u32 {
    u32::try_from(value & u64::from(u32::MAX)).unwrap_or_default()
}

fn string(text: &str, out: &mut Vec<u8>) -> Result<(), Malformed> {
    serde_json::to_writer(out, text).map_err(|_| Malformed)
}

fn integer(number: impl serde::Serialize, out: &mut Vec<u8>) -> Result<(), Malformed> {
    serde_json::to_writer(out, &number).map_err(|_| Malformed)
}

fn quoted(number: impl serde::Serialize, out: &mut Vec<u8>) -> Result<(), Malformed> {
    out.push(b'"');
    integer(number, &mut *out)?;
    out.push(b'"');
    Ok(())
}
