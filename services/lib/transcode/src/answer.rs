//! From the answer on the wire to status, headers and JSON.

use http::{HeaderName, HeaderValue, StatusCode, header};

use crate::catalogue::{Catalogue, Location, Operation};
use crate::json;
use crate::url;
use crate::wire::{Malformed, Reader, Value, last};

/// Says that an answer was given before.
pub(crate) const IDEMPOTENT_REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// An answer as HTTP shows it.
#[derive(Debug, PartialEq, Eq)]
pub struct Answered {
    /// 200; 201 for what is made; 207 when an item of a batch failed; 304 when nothing changed.
    pub status: StatusCode,
    /// `Content-Type`, `ETag`, `Location`, `Link`, `Idempotent-Replayed`, where they apply.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// JSON; empty for 304.
    pub body: Vec<u8>,
}

impl Catalogue {
    /// Prints the answer of an operation as canonical JSON, at the end of `out`.
    ///
    /// # Errors
    /// When `message` is not of the operation's type; `out` then holds the beginning.
    pub fn print(&self, operation: &Operation, message: &[u8], out: &mut Vec<u8>) -> Result<(), Malformed> {
        json::print(&self.schema, operation.output, message, out)
    }

    /// Makes the answer of an operation. `uri` is the path and query that were asked for, for the link to
    /// the next page; `if_none_match` is the header; `replayed` says that the metadata of the answer did.
    ///
    /// # Errors
    /// When `message` is not of the operation's type: a defect of the service.
    pub fn answer(
        &self,
        operation: &Operation,
        message: &[u8],
        uri: &str,
        if_none_match: Option<&str>,
        replayed: bool,
    ) -> Result<Answered, Malformed> {
        let shape = &operation.answer;
        let mut headers = vec![];
        let mut status = StatusCode::OK;

        let tag = text(message, shape.etag)?.map(quoted);
        if let Some(value) = tag.as_deref().and_then(|tag| HeaderValue::from_str(tag).ok()) {
            headers.push((header::ETAG, value));
        }
        if operation.method == http::Method::GET
            && let (Some(tag), Some(known)) = (&tag, if_none_match)
            && matches(known, tag)
        {
            return Ok(Answered { status: StatusCode::NOT_MODIFIED, headers, body: vec![] });
        }
        if let Some(location) = &shape.location {
            status = StatusCode::CREATED;
            let location = address(location, message)?.and_then(|text| HeaderValue::from_str(&text).ok());
            headers.extend(location.map(|value| (header::LOCATION, value)));
        }
        if let Some((results, problem)) = shape.problem
            && any_problem(message, results, problem)?
        {
            status = StatusCode::MULTI_STATUS;
        }
        if let Some(token) = text(message, shape.next_page_token)? {
            let link = HeaderValue::from_str(&next_page(uri, token)).ok();
            headers.extend(link.map(|value| (header::LINK, value)));
        }
        let says_so = match shape.replayed.map(|number| last(message, number)).transpose()?.flatten() {
            Some(Value::Varint(value)) => value != 0,
            _ => false,
        };
        if replayed || says_so {
            headers.push((IDEMPOTENT_REPLAYED, HeaderValue::from_static("true")));
        }

        // JSON is two to three times as long as the wire.
        let mut body = Vec::with_capacity(message.len() * 3 + 64);
        self.print(operation, message, &mut body)?;
        headers.push((header::CONTENT_TYPE, HeaderValue::from_static("application/json")));
        Ok(Answered { status, headers, body })
    }
}

/// A string field that is there and not empty.
fn text(message: &[u8], number: Option<u32>) -> Result<Option<&str>, Malformed> {
    let Some(number) = number else { return Ok(None) };
    match last(message, number)? {
        None | Some(Value::Bytes(b"")) => Ok(None),
        Some(Value::Bytes(bytes)) => std::str::from_utf8(bytes).map(Some).map_err(|_| Malformed),
        Some(_) => Err(Malformed),
    }
}

/// `17` and `"17"` become `"17"`.
fn quoted(tag: &str) -> String {
    if tag.starts_with('"') { tag.to_owned() } else { format!("\"{tag}\"") }
}

/// Whether `If-None-Match` names the tag, or anything. Source: RFC 9110, 13.1.2 (weak comparison).
fn matches(if_none_match: &str, tag: &str) -> bool {
    if_none_match.split(',').map(str::trim).any(|known| known == "*" || known.trim_start_matches("W/") == tag)
}

fn address(location: &Location, message: &[u8]) -> Result<Option<String>, Malformed> {
    let resource = match location.holder {
        None => Some(message),
        Some(number) => first(message, number)?,
    };
    let Some(resource) = resource else { return Ok(None) };
    Ok(text(resource, Some(location.id))?.map(|id| format!("{}{id}", location.prefix)))
}

/// The first of a list of messages, or the only one.
fn first(message: &[u8], number: u32) -> Result<Option<&[u8]>, Malformed> {
    let mut reader = Reader::new(message);
    while !reader.is_empty() {
        match reader.next()? {
            (found, Value::Bytes(bytes)) if found == number => return Ok(Some(bytes)),
            _ => {}
        }
    }
    Ok(None)
}

fn any_problem(message: &[u8], results: u32, problem: u32) -> Result<bool, Malformed> {
    let mut reader = Reader::new(message);
    while !reader.is_empty() {
        if let (number, Value::Bytes(result)) = reader.next()?
            && number == results
            && last(result, problem)?.is_some()
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// `</v1/products?pageSize=5&pageToken=…>; rel="next"`. Source: RFC 8288.
fn next_page(uri: &str, token: &str) -> String {
    let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
    let mut link = format!("<{path}?");
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let key = pair.split('=').next().unwrap_or_default();
        if !matches!(key, "pageToken" | "page_token") {
            link.push_str(pair);
            link.push('&');
        }
    }
    link.push_str("pageToken=");
    url::encode(token, &mut link);
    link.push_str(">; rel=\"next\"");
    link
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_the_same_question_with_another_token() {
        assert_eq!(next_page("/v1/products", "a/b"), r#"</v1/products?pageToken=a%2Fb>; rel="next""#);
        assert_eq!(
            next_page("/v1/products?pageToken=old&pageSize=5", "new"),
            r#"</v1/products?pageSize=5&pageToken=new>; rel="next""#
        );
    }

    #[test]
    #[rustfmt::skip] // columns
    fn a_known_tag_is_found() {
        let check = |known, tag, expected| assert_eq!(matches(known, tag), expected, "{known} {tag}");
        check("\"17\"",           "\"17\"", true);
        check("\"16\", \"17\"",   "\"17\"", true);
        check("W/\"17\"",         "\"17\"", true);
        check("*",                "\"17\"", true);
        check("\"16\"",           "\"17\"", false);
        check("",                 "\"17\"", false);
    }
}
