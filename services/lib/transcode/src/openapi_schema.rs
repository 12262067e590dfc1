//! JSON Schemas of messages, as clients send and as they receive them.

use std::collections::BTreeMap;

use proto::api::v1::Format;
use serde_json::{Map, Value, json};

use crate::catalogue::Catalogue;
use crate::openapi::described;
use crate::schema::{Field, Kind, Message, Shape};

/// The schema of `application/problem+json`.
pub(crate) const PROBLEM: &str = "Problem";

/// From which side a message is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum View {
    /// Sent: no output-only fields, no unknown ones, the required ones there; `null` is the same as not there.
    Input,
    /// Sent as a part of the path: never empty.
    Path,
    /// Sent as a change: nothing is required, `null` clears.
    Patch,
    /// Received: what is always there is required.
    Output,
}

/// The schemas that were asked for so far, by component name.
pub(crate) struct Schemas<'c> {
    catalogue: &'c Catalogue,
    made: BTreeMap<String, Value>,
    /// Messages that answers hold; their inputs have a name of their own.
    received: Vec<bool>,
}

impl<'c> Schemas<'c> {
    pub(crate) fn new(catalogue: &'c Catalogue) -> Self {
        let mut received = vec![false; catalogue.schema.messages.len()];
        let mut queue: Vec<usize> = catalogue.operations.iter().map(|operation| operation.output).collect();
        while let Some(id) = queue.pop() {
            if !std::mem::replace(&mut received[id], true) {
                let fields = catalogue.schema.messages[id].fields.iter();
                queue.extend(fields.filter_map(|field| match field.kind {
                    Kind::Message(id) => Some(id),
                    _ => None,
                }));
            }
        }
        Schemas { catalogue, made: BTreeMap::new(), received }
    }

    pub(crate) fn into_components(self) -> Map<String, Value> {
        self.made.into_iter().collect()
    }

    /// A reference to the schema of a message, which is made if need be.
    pub(crate) fn reference(&mut self, id: usize, view: View) -> Value {
        let name = self.name(id, view);
        self.make(&name, id, view, &[]);
        json!({"$ref": format!("#/components/schemas/{name}")})
    }

    /// A reference to the schema of a whole request without the fields that the path carries.
    pub(crate) fn request(&mut self, id: usize, taken: &[usize]) -> Value {
        let name = self.name(id, View::Input);
        self.make(&name, id, View::Input, taken);
        json!({"$ref": format!("#/components/schemas/{name}")})
    }

    fn make(&mut self, name: &str, id: usize, view: View, taken: &[usize]) {
        if self.made.contains_key(name) {
            return;
        }
        // Takes its place first: a message may contain itself.
        self.made.insert(name.to_owned(), Value::Null);
        let catalogue = self.catalogue;
        let schema = self.message(&catalogue.schema.messages[id], view, taken);
        self.made.insert(name.to_owned(), schema);
    }

    /// `Product` where it is received, `ProductInput` and `ProductPatch` where it is sent. [`PROBLEM`] is the whole
    /// document that a refused request gets; a message of this name is the problem of an item of a batch.
    fn name(&self, id: usize, view: View) -> String {
        let messages = &self.catalogue.schema.messages;
        let message = &messages[id];
        let is_unique = messages.iter().filter(|other| other.name == message.name).count() == 1;
        let name = match is_unique {
            true if message.name == PROBLEM => format!("Item{PROBLEM}"),
            true => message.name.clone(),
            false => message.full_name.replace('.', "_"),
        };
        match view {
            View::Output => name,
            View::Input | View::Path if !self.received[id] => name,
            View::Input | View::Path => name + "Input",
            View::Patch => name + "Patch",
        }
    }

    fn message(&mut self, message: &Message, view: View, taken: &[usize]) -> Value {
        let (mut properties, mut required) = (Map::new(), vec![]);
        for (index, field) in message.fields.iter().enumerate() {
            let hidden = match view {
                View::Output | View::Path => false,
                View::Input => field.options.output_only,
                View::Patch => field.options.output_only || field.options.immutable,
            };
            if hidden || taken.contains(&index) {
                continue;
            }
            let is_required = match view {
                View::Patch => false,
                View::Input | View::Path => field.options.required,
                View::Output => is_always_there(field),
            };
            if is_required {
                required.push(Value::from(field.json.clone()));
            }
            let mut schema = described(self.field_value(field, view), &field.doc);
            if view != View::Output && !field.options.required {
                schema = nullable(schema);
            }
            properties.insert(field.json.clone(), schema);
        }
        let mut schema = json!({"type": "object", "properties": properties});
        if !required.is_empty() {
            schema["required"] = Value::Array(required);
        }
        if view != View::Output {
            schema["additionalProperties"] = Value::Bool(false);
        }
        described(schema, &message.doc)
    }

    /// The schema of what a field holds.
    pub(crate) fn field_value(&mut self, field: &Field, view: View) -> Value {
        let sent = view != View::Output;
        match field.shape {
            Shape::List => {
                let mut schema = json!({"type": "array", "items": self.value(field, view)});
                if sent {
                    schema["maxItems"] = field.max().into();
                    if field.options.required {
                        schema["minItems"] = 1.into();
                    }
                }
                schema
            }
            Shape::Map => {
                let mut schema = json!({"type": "object", "additionalProperties": self.value(field, view)});
                if sent {
                    schema["maxProperties"] = field.max().into();
                    schema["propertyNames"] = json!({"maxLength": field.chars_max()});
                }
                schema
            }
            _ => self.value(field, view),
        }
    }

    fn value(&mut self, field: &Field, view: View) -> Value {
        match field.kind {
            Kind::Bool => json!({"type": "boolean"}),
            Kind::Int32 => json!({"type": "integer", "format": "int32"}),
            Kind::Uint32 => json!({"type": "integer", "format": "int64", "minimum": 0, "maximum": u32::MAX}),
            Kind::Int64 => json!({"type": "string", "format": "int64", "pattern": "^-?[0-9]{1,18}$"}),
            Kind::Uint64 => json!({"type": "string", "format": "int64", "pattern": "^[0-9]{1,19}$"}),
            Kind::Bytes => json!({"type": "string", "contentEncoding": "base64"}),
            Kind::Timestamp => json!({"type": "string", "format": "date-time"}),
            Kind::Message(id) => {
                self.reference(id, if view == View::Output { View::Output } else { View::Input })
            }
            Kind::Enum(id) => {
                let values = &self.catalogue.schema.enums[id].values;
                let names: Vec<&str> = values.iter().map(|value| value.name.as_str()).collect();
                json!({"type": "string", "enum": names, "x-values": values_doc(values)})
            }
            Kind::String => string(field, view),
        }
    }
}

fn values_doc(values: &[crate::schema::EnumValue]) -> Value {
    let documented = values.iter().filter(|value| !value.doc.is_empty());
    Value::Object(documented.map(|value| (value.name.clone(), Value::from(value.doc.clone()))).collect())
}

fn string(field: &Field, view: View) -> Value {
    let sent = view != View::Output;
    let mut schema = json!({"type": "string"});
    let decimal = "^-?[0-9]+(\\.[0-9]{1,6})?$";
    let pattern = match field.format() {
        Format::Unspecified => None,
        Format::Quantity | Format::Amount | Format::UnitPrice => Some(decimal.to_owned()),
        Format::Currency => Some("^[A-Z]{3}$".to_owned()),
        Format::Date => {
            schema["format"] = "date".into();
            None
        }
        Format::Code => Some("^[A-Za-z0-9._/#-]+$".to_owned()),
        Format::Gtin => Some("^([0-9]{8}|[0-9]{12,14})$".to_owned()),
    };
    let reference = &field.options.reference;
    let id = (!reference.is_empty()).then(|| format!("^{reference}_[0-7][0-9a-hjkmnp-tv-z]{{25}}$"));
    // What may be left out may be empty: to the wire it is the same.
    let may_be_empty = sent && view != View::Path && !field.options.required;
    if let Some(pattern) = id.or(pattern) {
        schema["pattern"] = if may_be_empty { format!("^$|{pattern}") } else { pattern }.into();
    }
    if !field.options.values.is_empty() {
        let empty = may_be_empty.then(String::new);
        schema["enum"] = field.options.values.iter().cloned().chain(empty).collect::<Vec<_>>().into();
    }
    if sent {
        schema["maxLength"] = field.chars_max().into();
        if field.options.required {
            schema["minLength"] = 1.into();
        }
    }
    schema
}

/// What the printer never leaves out.
fn is_always_there(field: &Field) -> bool {
    match field.shape {
        Shape::List | Shape::Map => true,
        Shape::Plain => {
            !matches!(field.kind, Kind::String | Kind::Bytes | Kind::Message(_) | Kind::Timestamp)
        }
        Shape::Optional | Shape::Member(_) => false,
    }
}

fn nullable(schema: Value) -> Value {
    match schema {
        Value::Object(mut members) if members.contains_key("type") => {
            if let Some(values) = members.get_mut("enum").and_then(Value::as_array_mut) {
                values.push(Value::Null);
            }
            let kind = members.remove("type");
            members.insert("type".to_owned(), json!([kind, "null"]));
            Value::Object(members)
        }
        other => json!({"anyOf": [other, {"type": "null"}]}),
    }
}
