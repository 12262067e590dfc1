//! Says the same over REST and over gRPC, and hears the same.

use std::collections::HashMap;
use std::sync::LazyLock;

use prost_reflect::DynamicMessage;
use serde_json::{Map, Value};
use tonic::metadata::AsciiMetadataValue;
use tonic_types::StatusExt as _;

use crate::contract::rpc;
use crate::door::Door;
use crate::rest::text;

/// Which way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Way {
    Rest,
    Grpc,
}

/// Calls RPCs by name, with the whole request as JSON.
pub(crate) struct Speaker {
    pub(crate) door: Door,
    way: Way,
    calls: usize,
    /// Every answer, without what differs from run to run.
    pub(crate) heard: Vec<Value>,
}

/// A refusal.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) reason: String,
    pub(crate) detail: String,
    pub(crate) metadata: Map<String, Value>,
    /// `POINTER REASON` into the whole request.
    pub(crate) fields: Vec<String>,
}

impl Speaker {
    pub(crate) fn new(door: Door, way: Way) -> Speaker {
        Speaker { door, way, calls: 0, heard: vec![] }
    }

    /// Calls; the answer must be a success.
    pub(crate) async fn ok(&mut self, name: &str, request: &Value) -> Value {
        self.calls += 1;
        let key = format!("call-{}", self.calls);
        self.ok_with(name, request, &key).await
    }

    /// Calls under an idempotency key.
    pub(crate) async fn ok_with(&mut self, name: &str, request: &Value, key: &str) -> Value {
        match self.call(name, request, key).await {
            Ok(answer) => answer,
            Err(refused) => panic!("{:?} {name} {request}: {refused:?}", self.way),
        }
    }

    /// Calls; the answer must be a refusal for this reason.
    pub(crate) async fn refused(&mut self, name: &str, request: &Value, reason: &str) -> Refused {
        self.calls += 1;
        let key = format!("call-{}", self.calls);
        match self.call(name, request, &key).await {
            Err(refused) if refused.reason == reason => refused,
            other => panic!("{:?} {name} {request}: not {reason} but {other:?}", self.way),
        }
    }

    async fn call(&mut self, name: &str, request: &Value, key: &str) -> Result<Value, Refused> {
        let rpc = rpc(name);
        let heard = match self.way {
            Way::Rest => {
                let answer = rpc.rest(&self.door, request).key(key).send().await;
                if answer.status < 300 {
                    Ok(answer.json)
                } else {
                    let document = &answer.json;
                    let body = rpc.body();
                    let prefix =
                        if matches!(body.as_str(), "*" | "") { String::new() } else { format!("/{body}") };
                    let outside = |pointer: &str| {
                        rpc.input.get_field_by_json_name(pointer.trim_start_matches('/')).is_some()
                    };
                    let whole = |error: &Value| {
                        let pointer = text(&error["pointer"]);
                        let prefix = if outside(pointer) { "" } else { &prefix };
                        format!("{prefix}{pointer} {}", text(&error["reason"]))
                    };
                    Err(Refused {
                        reason: answer.reason().to_owned(),
                        detail: text(&document["detail"]).to_owned(),
                        metadata: document["metadata"].as_object().cloned().unwrap_or_default(),
                        fields: document["errors"].as_array().into_iter().flatten().map(whole).collect(),
                    })
                }
            }
            Way::Grpc => {
                let mut call = rpc.grpc(&self.door, request);
                let key: AsciiMetadataValue = key.parse().expect("a key");
                call.metadata_mut().insert("idempotency-key", key);
                match rpc.send_grpc(&self.door, call).await {
                    Ok(bytes) => {
                        let answer =
                            DynamicMessage::decode(rpc.output.clone(), bytes).expect("an answer of its type");
                        Ok(short(&serde_json::to_value(answer).expect("JSON of a message")))
                    }
                    Err(status) => {
                        let info = status.get_details_error_info().expect("a reason");
                        let fields = status
                            .get_details_bad_request()
                            .map(|bad| bad.field_violations)
                            .unwrap_or_default();
                        Err(Refused {
                            reason: info.reason,
                            detail: status.message().to_owned(),
                            metadata: info
                                .metadata
                                .into_iter()
                                .map(|(name, value)| (name, value.into()))
                                .collect(),
                            fields: fields
                                .iter()
                                .map(|bad| format!("{} {}", ::rpc::pointer(&bad.field), bad.reason))
                                .collect(),
                        })
                    }
                }
            }
        };
        self.heard.push(match &heard {
            Ok(answer) => bare(answer),
            Err(Refused { reason, detail, metadata, fields }) => {
                // Bad fields are called by their pointers here and by their names there.
                let detail = if fields.is_empty() { detail } else { "" };
                serde_json::json!({"reason": reason, "detail": detail, "metadata": metadata, "fields": fields})
            }
        });
        heard
    }
}

/// An answer without defaults, which only one of both ways writes.
fn bare(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let kept = fields.iter().map(|(name, value)| match bare(value) {
                // They are in the order of their ids, which differ.
                Value::Array(mut places) if name == "locations" => {
                    places.sort_by_key(|place| place["lastSequence"].to_string());
                    (name.clone(), Value::Array(places))
                }
                value => (name.clone(), value),
            });
            Value::Object(kept.filter(|(_, value)| !is_default(value)).collect())
        }
        Value::Array(items) => items.iter().map(bare).collect(),
        other => other.clone(),
    }
}

/// An answer with values of enums as REST writes them: `ACTIVE` for `PRODUCT_STATUS_ACTIVE`.
fn short(value: &Value) -> Value {
    static NAMES: LazyLock<HashMap<String, String>> = LazyLock::new(|| {
        let of_enum = |of: prost_reflect::EnumDescriptor| {
            let zero = of.default_value().name().to_owned();
            let prefix = zero.trim_end_matches("UNSPECIFIED").to_owned();
            of.values()
                .map(|value| (value.name().to_owned(), value.name().replacen(&prefix, "", 1)))
                .collect::<Vec<_>>()
        };
        proto::pool().all_enums().flat_map(of_enum).collect()
    });
    match value {
        Value::Object(fields) => fields.iter().map(|(name, value)| (name.clone(), short(value))).collect(),
        Value::Array(items) => items.iter().map(short).collect(),
        Value::String(text) => NAMES.get(text).unwrap_or(text).as_str().into(),
        other => other.clone(),
    }
}

fn is_default(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::Number(value) => value.as_u64() == Some(0),
        Value::String(text) => matches!(text.as_str(), "" | "0" | "UNSPECIFIED"),
        Value::Array(items) => items.is_empty(),
        Value::Object(_) => false,
    }
}

/// What was heard, with names that are the same in every run: ids and times by the order in which they
/// came up, hashes not at all.
pub(crate) fn comparable(heard: &[Value]) -> Vec<Value> {
    let mut names = Names::default();
    heard.iter().map(|value| names.rename(value)).collect()
}

#[derive(Default)]
struct Names(HashMap<String, String>);

impl Names {
    fn rename(&mut self, value: &Value) -> Value {
        match value {
            Value::Object(fields) => {
                let kept = fields.iter().filter(|(name, _)| *name != "chainHash");
                Value::Object(kept.map(|(name, value)| (name.clone(), self.rename(value))).collect())
            }
            Value::Array(items) => items.iter().map(|item| self.rename(item)).collect(),
            Value::String(text) => self.name(text).into(),
            other => other.clone(),
        }
    }

    fn name(&mut self, text: &str) -> String {
        let is_id = text.split_once('_').is_some_and(|(prefix, rest)| prefix.len() == 3 && rest.len() == 26);
        let is_time = text.ends_with('Z') && calendar::Instant::parse(text).is_ok();
        if !is_id && !is_time {
            return text.to_owned();
        }
        let next = format!("{} {}", if is_id { &text[..3] } else { "time" }, self.0.len());
        self.0.entry(text.to_owned()).or_insert(next).clone()
    }
}
