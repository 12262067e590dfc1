//! Tables made from descriptors: what a request is parsed by and an answer is printed by.
//!
//! Descriptors are walked once, at start; after that a field is an index, not a look-up by name.

use std::collections::HashMap;

use prost_reflect::{EnumDescriptor, FieldDescriptor, MessageDescriptor, ReflectMessage as _};
use proto::api::v1::{Field as FieldOptions, Format, Resource};

/// Longest string where the contract says nothing, in characters.
pub const CHARS_MAX_DEFAULT: u32 = 200;
/// Longest list where the contract says nothing, in items.
pub const ITEMS_MAX_DEFAULT: u32 = 1_000;

const TIMESTAMP: &str = "google.protobuf.Timestamp";

/// All messages and enums that operations reach.
#[derive(Debug, Default)]
pub(crate) struct Schema {
    pub(crate) messages: Vec<Message>,
    pub(crate) enums: Vec<Enum>,
    message_ids: HashMap<String, usize>,
    enum_ids: HashMap<String, usize>,
}

/// A message.
#[derive(Debug)]
pub(crate) struct Message {
    /// `cargopilot.stock.v1.Movement`.
    pub(crate) full_name: String,
    /// `Movement`.
    pub(crate) name: String,
    /// In the order of the contract.
    pub(crate) fields: Vec<Field>,
    pub(crate) resource: Option<Resource>,
    pub(crate) doc: String,
    /// JSON name and proto name to the index in `fields`.
    by_name: HashMap<String, usize>,
    /// Field number to the index in `fields`, `NONE` for gaps.
    by_number: Vec<u16>,
    /// How many oneofs it has.
    pub(crate) oneofs: usize,
}

const NONE: u16 = u16::MAX;
/// Largest field number; a table is indexed by it.
const NUMBER_MAX: u32 = 1_000;

/// A field.
#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) number: u32,
    /// `variant_id`.
    pub(crate) name: String,
    /// `variantId`.
    pub(crate) json: String,
    /// `"variantId":`, ready to print.
    pub(crate) key: String,
    /// Of the value, where the field is a list or a map.
    pub(crate) kind: Kind,
    pub(crate) shape: Shape,
    pub(crate) options: FieldOptions,
    pub(crate) doc: String,
}

/// What a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Bool,
    Int32,
    Int64,
    Uint32,
    Uint64,
    String,
    Bytes,
    /// Index in [`Schema::enums`].
    Enum(usize),
    /// Index in [`Schema::messages`].
    Message(usize),
    Timestamp,
}

/// How many values a field has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Zero or empty is the same as absent.
    Plain,
    /// Knows absent from zero.
    Optional,
    /// Member of the oneof with this index.
    Member(usize),
    List,
    /// From strings.
    Map,
}

/// An enum.
#[derive(Debug)]
pub(crate) struct Enum {
    pub(crate) values: Vec<EnumValue>,
    /// Both forms of every name to the number.
    by_name: HashMap<String, i32>,
    by_number: HashMap<i32, usize>,
}

/// A value of an enum.
#[derive(Debug)]
pub(crate) struct EnumValue {
    /// Without the prefix of the type: `ACTIVE`.
    pub(crate) name: String,
    pub(crate) doc: String,
}

impl Message {
    pub(crate) fn field(&self, name: &str) -> Option<(usize, &Field)> {
        let index = *self.by_name.get(name)?;
        Some((index, &self.fields[index]))
    }

    pub(crate) fn by_number(&self, number: u32) -> Option<usize> {
        let index = *self.by_number.get(usize::try_from(number).ok()?)?;
        (index != NONE).then_some(usize::from(index))
    }
}

impl Enum {
    pub(crate) fn number(&self, name: &str) -> Option<i32> {
        self.by_name.get(name).copied()
    }

    pub(crate) fn name(&self, number: i32) -> Option<&str> {
        self.by_number.get(&number).map(|index| self.values[*index].name.as_str())
    }
}

impl Field {
    /// Longest value: characters of a string, items of a list or map.
    pub(crate) fn max(&self) -> u32 {
        match (self.options.max, self.shape) {
            (0, Shape::List | Shape::Map) => ITEMS_MAX_DEFAULT,
            (0, _) => CHARS_MAX_DEFAULT,
            (max, _) => max,
        }
    }

    /// Longest single string in it: `max` counts the items of a list.
    pub(crate) fn chars_max(&self) -> u32 {
        match self.shape {
            Shape::List | Shape::Map => CHARS_MAX_DEFAULT,
            _ => self.max(),
        }
    }

    pub(crate) fn format(&self) -> Format {
        self.options.format()
    }
}

impl Schema {
    /// Reads a message and everything below it.
    ///
    /// # Errors
    /// What the transcoder does not carry, as text: floats (decimals are strings), groups, well-known
    /// types other than `Timestamp`, maps from anything but strings.
    pub(crate) fn message(&mut self, descriptor: &MessageDescriptor) -> Result<usize, String> {
        if let Some(id) = self.message_ids.get(descriptor.full_name()) {
            return Ok(*id);
        }
        let id = self.messages.len();
        self.message_ids.insert(descriptor.full_name().to_owned(), id);
        // Takes its place before its fields are read: a message may contain itself.
        self.messages.push(Message {
            full_name: descriptor.full_name().to_owned(),
            name: descriptor.name().to_owned(),
            fields: vec![],
            resource: option(&descriptor.options(), "cargopilot.api.v1.resource"),
            doc: comment(&descriptor.parent_file(), descriptor.path()),
            by_name: HashMap::new(),
            by_number: vec![],
            oneofs: descriptor.oneofs().len(),
        });

        let mut fields: Vec<FieldDescriptor> = descriptor.fields().collect();
        // By number otherwise; the contract's order is the one that people chose.
        fields.sort_by_key(|field| field.path().last().copied());
        let fields = fields.iter().map(|field| self.field(field)).collect::<Result<Vec<_>, _>>()?;

        let mut by_name = HashMap::new();
        let mut by_number = vec![];
        for (index, field) in fields.iter().enumerate() {
            by_name.insert(field.name.clone(), index);
            by_name.insert(field.json.clone(), index);
            let number = field.number as usize;
            if by_number.len() <= number {
                by_number.resize(number + 1, NONE);
            }
            by_number[number] = u16::try_from(index).map_err(|_| "has too many fields".to_owned())?;
        }
        let message = &mut self.messages[id];
        (message.fields, message.by_name, message.by_number) = (fields, by_name, by_number);
        Ok(id)
    }

    fn field(&mut self, descriptor: &FieldDescriptor) -> Result<Field, String> {
        let fail = |why: &str| Err(format!("{}: {why}", descriptor.full_name()));
        if NUMBER_MAX < descriptor.number() {
            return fail("its number is above 1,000");
        }
        let oneof = descriptor.containing_oneof().filter(|oneof| !oneof.is_synthetic());
        let (mut value, mut shape) = (descriptor.kind(), Shape::Plain);
        if descriptor.is_map() {
            let Some(entry) = descriptor.kind().as_message().cloned() else {
                return fail("a map of nothing");
            };
            if entry.map_entry_key_field().kind() != prost_reflect::Kind::String {
                return fail("a map goes from strings");
            }
            (value, shape) = (entry.map_entry_value_field().kind(), Shape::Map);
        } else if descriptor.is_list() {
            shape = Shape::List;
        } else if let Some(oneof) = oneof {
            shape =
                Shape::Member(usize::try_from(oneof.path().last().copied().unwrap_or_default()).unwrap_or(0));
        } else if descriptor.supports_presence() && value.as_message().is_none() {
            shape = Shape::Optional;
        }
        let kind = match &value {
            prost_reflect::Kind::Bool => Kind::Bool,
            prost_reflect::Kind::Int32 => Kind::Int32,
            prost_reflect::Kind::Int64 => Kind::Int64,
            prost_reflect::Kind::Uint32 => Kind::Uint32,
            prost_reflect::Kind::Uint64 => Kind::Uint64,
            prost_reflect::Kind::String => Kind::String,
            prost_reflect::Kind::Bytes => Kind::Bytes,
            prost_reflect::Kind::Enum(descriptor) => Kind::Enum(self.enumeration(descriptor)?),
            prost_reflect::Kind::Message(message) if message.full_name() == TIMESTAMP => Kind::Timestamp,
            prost_reflect::Kind::Message(message) if message.package_name() != "google.protobuf" => {
                Kind::Message(self.message(message)?)
            }
            other => return fail(&format!("{other:?} has no place in the contract")),
        };
        let json = descriptor.json_name().to_owned();
        Ok(Field {
            number: descriptor.number(),
            name: descriptor.name().to_owned(),
            key: format!("\"{json}\":"),
            json,
            kind,
            shape,
            options: option(&descriptor.options(), "cargopilot.api.v1.field").unwrap_or_default(),
            doc: comment(&descriptor.parent_file(), descriptor.path()),
        })
    }

    fn enumeration(&mut self, descriptor: &EnumDescriptor) -> Result<usize, String> {
        if let Some(id) = self.enum_ids.get(descriptor.full_name()) {
            return Ok(*id);
        }
        let prefix = format!("{}_", screaming(descriptor.name()));
        let (mut by_name, mut by_number, mut values) = (HashMap::new(), HashMap::new(), vec![]);
        for value in descriptor.values() {
            let Some(short) = value.name().strip_prefix(&prefix) else {
                return Err(format!("{} does not begin with {prefix}", value.full_name()));
            };
            by_number.insert(value.number(), values.len());
            by_name.insert(short.to_owned(), value.number());
            by_name.insert(value.name().to_owned(), value.number());
            let doc = comment(&descriptor.parent_file(), value.path());
            values.push(EnumValue { name: short.to_owned(), doc });
        }
        let id = self.enums.len();
        self.enums.push(Enum { values, by_name, by_number });
        self.enum_ids.insert(descriptor.full_name().to_owned(), id);
        Ok(id)
    }
}

/// An option of the contract, as its generated type.
fn option<M: prost::Message + Default>(options: &prost_reflect::DynamicMessage, name: &str) -> Option<M> {
    let pool = options.descriptor().parent_pool().clone();
    let extension = pool.get_extension_by_name(name)?;
    if !options.has_extension(&extension) {
        return None;
    }
    options.get_extension(&extension).as_message()?.transcode_to().ok()
}

/// The comment above something, without the margin.
pub(crate) fn comment(file: &prost_reflect::FileDescriptor, path: &[i32]) -> String {
    let info = file.file_descriptor_proto().source_code_info.as_ref();
    let location = info.and_then(|info| info.location.iter().find(|location| location.path == path));
    let text = location.map(|location| location.leading_comments()).unwrap_or_default();
    let lines: Vec<&str> = text.lines().map(|line| line.strip_prefix(' ').unwrap_or(line)).collect();
    lines.join("\n").trim().to_owned()
}

/// `CostingMethod` becomes `COSTING_METHOD`.
fn screaming(name: &str) -> String {
    let mut out = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !out.is_empty() {
            out.push('_');
        }
        out.push(letter.to_ascii_uppercase());
    }
    out
}
