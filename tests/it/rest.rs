//! A JSON client, as small as `curl`.

use bytes::Bytes;
use http::{HeaderMap, Method, Request};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

/// Speaks to one server with one API key, or with none.
#[derive(Clone)]
pub(crate) struct Rest {
    client: Client<HttpConnector, Full<Bytes>>,
    url: String,
    key: Option<String>,
}

/// A request that is being put together.
pub(crate) struct Call<'a> {
    rest: &'a Rest,
    method: Method,
    uri: String,
    headers: Vec<(String, String)>,
    body: Bytes,
}

/// What came back.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
    /// The body, if it is JSON.
    pub(crate) json: Value,
}

impl Rest {
    pub(crate) fn new(url: &str, key: Option<&str>) -> Rest {
        let client = Client::builder(TokioExecutor::new()).build_http();
        Rest { client, url: url.to_owned(), key: key.map(str::to_owned) }
    }

    /// The same over HTTP/2: any number of requests at a time on one connection.
    pub(crate) fn http2(&self) -> Rest {
        let client = Client::builder(TokioExecutor::new()).http2_only(true).build_http();
        Rest { client, ..self.clone() }
    }

    /// The same as somebody else.
    pub(crate) fn with_key(&self, key: &str) -> Rest {
        Rest { key: Some(key.to_owned()), ..self.clone() }
    }

    pub(crate) fn call(&self, method: Method, uri: impl Into<String>) -> Call<'_> {
        let (headers, body) = (vec![], Bytes::new());
        Call { rest: self, method, uri: uri.into(), headers, body }
    }

    /// Reads; the answer must be 200.
    pub(crate) async fn get(&self, uri: impl Into<String>) -> Value {
        self.call(Method::GET, uri).send().await.ok(200).json
    }

    pub(crate) fn post(&self, uri: impl Into<String>, body: &Value) -> Call<'_> {
        self.call(Method::POST, uri).json(body)
    }

    pub(crate) fn patch(&self, uri: impl Into<String>, body: &Value) -> Call<'_> {
        self.call(Method::PATCH, uri).json(body)
    }

    /// Makes something under a route without an idempotency key; the answer must be 201.
    pub(crate) async fn create(&self, uri: &str, body: &Value) -> Value {
        self.post(uri, body).send().await.ok(201).json
    }
}

impl Call<'_> {
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(there, _)| there != name);
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Leaves a header out again.
    pub(crate) fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(there, _)| there != name);
        self
    }

    /// With an idempotency key.
    pub(crate) fn key(self, key: &str) -> Self {
        self.header("idempotency-key", key)
    }

    pub(crate) fn if_match(self, tag: &str) -> Self {
        self.header("if-match", tag)
    }

    pub(crate) fn json(self, body: &Value) -> Self {
        self.text(body.to_string())
    }

    /// A body that claims to be JSON.
    pub(crate) fn text(self, body: impl Into<Bytes>) -> Self {
        let mut call = self.header("content-type", "application/json");
        call.body = body.into();
        call
    }

    pub(crate) async fn send(self) -> Answer {
        self.try_send().await.expect("an answer")
    }

    /// As [`Call::send`]; `None` when there is no answer, or what is asked is no request.
    pub(crate) async fn try_send(self) -> Option<Answer> {
        let mut request =
            Request::builder().method(self.method).uri(format!("{}{}", self.rest.url, self.uri));
        if let Some(key) = &self.rest.key {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(self.body)).ok()?;
        let response = self.rest.client.request(request).await.ok()?;
        let (parts, body) = response.into_parts();
        let body = body.collect().await.ok()?.to_bytes();
        let text = String::from_utf8_lossy(&body).into_owned();
        let json = serde_json::from_str(&text).unwrap_or_default();
        Some(Answer { status: parts.status.as_u16(), headers: parts.headers, text, json })
    }
}

impl Answer {
    /// A header, or nothing.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("a header of text"))
    }

    /// Fails unless the status is this one.
    #[track_caller]
    pub(crate) fn ok(self, status: u16) -> Answer {
        assert_eq!(self.status, status, "{}", self.text);
        self
    }

    /// Fails unless it is a whole problem document with this status and reason.
    #[track_caller]
    pub(crate) fn problem(self, status: u16, reason: &str) -> Answer {
        assert_eq!((self.status, self.reason()), (status, reason), "{}", self.text);
        assert_eq!(self.header("content-type"), "application/problem+json");
        let page = format!("/problems/{}", reason.to_ascii_lowercase().replace('_', "-"));
        assert_eq!(self.json["type"], page);
        assert_eq!(self.json["status"], status);
        for member in ["title", "detail", "instance", "code", "traceId"] {
            assert!(self.json[member].as_str().is_some_and(|text| !text.is_empty()), "{}", self.text);
        }
        assert!(self.json["errors"].is_array(), "{}", self.text);
        assert!(!self.header("request-id").is_empty());
        if let (Some(first), "INVALID_REQUEST") = (self.json["errors"][0]["pointer"].as_str(), reason) {
            let place = if first.is_empty() { "the body" } else { first };
            assert!(text(&self.json["detail"]).starts_with(&format!("'{place}' ")), "{}", self.text);
        }
        self
    }

    /// The reason of a problem.
    pub(crate) fn reason(&self) -> &str {
        self.json["reason"].as_str().unwrap_or_default()
    }

    /// `POINTER REASON` of every bad field.
    pub(crate) fn fields(&self) -> Vec<String> {
        let errors = self.json["errors"].as_array().cloned().unwrap_or_default();
        errors.iter().map(|error| format!("{} {}", text(&error["pointer"]), text(&error["reason"]))).collect()
    }
}

/// The text of a JSON string; empty for anything else.
pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
