//! Sends the JSON of a request, over REST and over gRPC.

use bytes::Bytes;
use http::Method;
use http::uri::PathAndQuery;
use prost::Message as _;
use prost_reflect::DynamicMessage;
use proto::Idempotency;
use serde_json::Value;
use tonic::Status;

use super::Rpc;
use crate::door::{Door, unique};
use crate::rest::{Answer, Call, text};

/// Headers that differ from call to call.
const OF_THE_CALL: [&str; 3] = ["request-id", "traceparent", "date"];

impl Rpc {
    /// Path and query of a request, and its body.
    pub(crate) fn route(&self, request: &Value) -> (Method, String, Option<Value>) {
        let route = self.rule.http.as_ref().expect("a route");
        let mut rest = request.as_object().expect("an object").clone();
        let mut path = String::new();
        for (at, part) in route.path.split(['{', '}']).enumerate() {
            if at % 2 == 0 {
                path.push_str(part);
            } else {
                let name =
                    self.input.get_field_by_name(part).expect("a field of the path").json_name().to_owned();
                path.push_str(&encoded(rest.remove(&name).as_ref().map(text).expect("a value for the path")));
            }
        }
        let body = match self.body().as_str() {
            "" => None,
            "*" => return (method(route.method), path, Some(Value::Object(rest))),
            name => Some(rest.remove(name).unwrap_or_default()),
        };
        let pairs = rest.iter().flat_map(|(name, value)| match value {
            Value::Array(items) => items.iter().map(|item| (name, item)).collect(),
            one => vec![(name, one)],
        });
        let query = pairs.map(|(name, value)| match value {
            Value::String(text) => format!("{name}={}", encoded(text)),
            other => format!("{name}={other}"),
        });
        let query: Vec<String> = query.collect();
        if !query.is_empty() {
            path = format!("{path}?{}", query.join("&"));
        }
        (method(route.method), path, body)
    }

    /// The request over REST, with every header that it needs.
    pub(crate) fn rest<'a>(&self, door: &'a Door, request: &Value) -> Call<'a> {
        let (method, uri, body) = self.route(request);
        let mut call = door.rest.call(method, uri);
        if let Some(body) = body {
            call = call.json(&body);
        }
        if self.rule.idempotency == Idempotency::Required {
            call = call.key(&format!("sample-{}", unique()));
        }
        if self.rule.if_match { call.if_match("*") } else { call }
    }

    /// The request over gRPC, with every header that it needs.
    pub(crate) fn grpc(&self, door: &Door, request: &Value) -> tonic::Request<Bytes> {
        let message = DynamicMessage::deserialize(self.input.clone(), request);
        let message = message.unwrap_or_else(|error| panic!("{} {request}: {error}", self.path));
        let mut request = tonic::Request::new(Bytes::from(message.encode_to_vec()));
        let headers = request.metadata_mut();
        if let Some(key) = &door.key {
            headers.insert("authorization", format!("Bearer {key}").parse().expect("a header"));
        }
        if self.rule.idempotency == Idempotency::Required {
            headers.insert("idempotency-key", format!("sample-{}", unique()).parse().expect("a header"));
        }
        if self.rule.if_match {
            headers.insert("if-match", "*".parse().expect("a header"));
        }
        request
    }

    pub(crate) async fn send_grpc(
        &self,
        door: &Door,
        request: tonic::Request<Bytes>,
    ) -> Result<Bytes, Status> {
        let path: PathAndQuery = self.path.parse().expect("a path");
        let answer = transcode::unary(door.grpc.clone(), path, request).await?;
        Ok(answer.into_inner())
    }
}

fn method(name: &str) -> Method {
    name.parse().expect("a method")
}

/// A text as it stands in a URL.
fn encoded(text: &str) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(byte);
    let letters =
        text.bytes().map(|byte| if plain(&byte) { char::from(byte).into() } else { format!("%{byte:02X}") });
    letters.collect()
}

/// An answer without what names the call: status, headers, body.
pub(crate) fn anonymous(answer: &Answer) -> (u16, Vec<(String, String)>, String) {
    let headers = answer.headers.iter().filter(|(name, _)| !OF_THE_CALL.contains(&name.as_str()));
    let headers = headers
        .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()));
    let mut body = answer.text.clone();
    for member in ["traceId", "instance"] {
        if let Some(value) = answer.json[member].as_str() {
            body = body.replace(&format!("\"{member}\":\"{value}\""), &format!("\"{member}\":\"\""));
        }
    }
    let mut headers: Vec<_> = headers.collect();
    headers.sort();
    (answer.status, headers, body)
}

/// A gRPC status: code, message, details.
pub(crate) fn parts(status: &Status) -> (tonic::Code, String, Vec<u8>) {
    (status.code(), status.message().to_owned(), status.details().to_vec())
}
