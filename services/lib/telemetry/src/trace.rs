//! Traces: spans of requests, of the calls behind them, of commits, and links to them from what consumes their entries.
//!
//! Nothing happens unless somebody asks for traces ([`start`]) and a request is sampled: then each of its steps is one
//! [`SpanData`], put into a bounded queue when it ends. What follows the journals links to the spans whose entries it
//! takes in; it is no child of theirs, because it works for many of them at once and later.
//!
//! A span says what was done and how it ended. It never carries a name, a body or a key; the tenant is a hash with a
//! key of this cell.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use events::progress::Consumed;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::HeaderValue;
use journal::Trace;
use journal::tally::Committed;
use opentelemetry::trace::{Link, SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::trace::{IdGenerator as _, RandomIdGenerator, SpanData, SpanEvents, SpanLinks};
use sha2::Sha256;

use crate::class::Class;
use crate::export;

/// Bytes of a tenant's hash that are shown.
const HASH_BYTES: usize = 8;

/// Whether this trace context is one that is sampled, and somebody asks for traces.
#[must_use]
pub fn sampled(traceparent: &[u8]) -> Option<Trace> {
    if !export::is_on() {
        return None;
    }
    let (trace, flags) = parse(traceparent)?;
    (flags & 1 == 1).then_some(trace)
}

pub(crate) fn sampled_header(traceparent: &HeaderValue) -> Option<Trace> {
    sampled(traceparent.as_bytes())
}

/// Whether a trace that begins here is sampled: the same everywhere for the same trace.
#[must_use]
pub fn begins_sampled(trace_id: &[u8; 16]) -> bool {
    export::is_on() && {
        let [.., a, b, c, d, e, f, g, h] = *trace_id;
        u64::from_be_bytes([a, b, c, d, e, f, g, h]) >> 1 < export::sample_below()
    }
}

/// `00-` trace `-` span `-` flags. Source: W3C Trace Context, 3.2.
fn parse(text: &[u8]) -> Option<(Trace, u8)> {
    let text = std::str::from_utf8(text).ok()?;
    let mut parts = text.split('-');
    let (version, id, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    if version != "00" || id.len() != 32 || span.len() != 16 || flags.len() != 2 || parts.next().is_some() {
        return None;
    }
    let trace = Trace {
        id: u128::from_str_radix(id, 16).ok().filter(|id| *id != 0)?.to_be_bytes(),
        span: u64::from_str_radix(span, 16).ok().filter(|span| *span != 0)?.to_be_bytes(),
    };
    Some((trace, u8::from_str_radix(flags, 16).ok()?))
}

/// A step that has begun.
pub struct Span(SpanData);

impl Span {
    /// A request at the public door. Its parent is the client's span, or nobody.
    #[must_use]
    pub fn request(method: &http::Method, trace_id: [u8; 16], parent: Option<[u8; 8]>) -> Span {
        // A method is whatever a client sends: only those of the contract get into a name.
        let name = match method.as_str() {
            "GET" | "POST" | "PUT" | "PATCH" | "DELETE" | "HEAD" | "OPTIONS" => method.as_str(),
            _ => "OTHER",
        };
        let mut span = Span::begin(name.to_owned().into(), SpanKind::Server, trace_id, parent);
        span.0.parent_span_is_remote = true;
        span.set("service", "gateway");
        span
    }

    /// A call that a service answers.
    pub(crate) fn answer(service: &'static str, method: &'static str, parent: Trace) -> Span {
        let name = format!("{service}/{method}").into();
        let mut span = Span::begin(name, SpanKind::Server, parent.id, Some(parent.span));
        span.set("service", service);
        span.set("rpc.method", method);
        span
    }

    fn begin(name: Cow<'static, str>, kind: SpanKind, trace: [u8; 16], parent: Option<[u8; 8]>) -> Span {
        let id = RandomIdGenerator::default().new_span_id();
        let now = SystemTime::now();
        Span(SpanData {
            span_context: context(trace, id.to_bytes()),
            parent_span_id: parent.map_or(SpanId::INVALID, SpanId::from_bytes),
            parent_span_is_remote: false,
            span_kind: kind,
            name,
            start_time: now,
            end_time: now,
            attributes: Vec::with_capacity(6),
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: Status::Unset,
            instrumentation_scope: InstrumentationScope::builder("cargo-pilot").build(),
        })
    }

    /// The trace context of what this step asks for.
    #[must_use]
    pub fn header(&self) -> HeaderValue {
        let context = &self.0.span_context;
        let text = format!("00-{}-{}-01", context.trace_id(), context.span_id());
        HeaderValue::try_from(text).expect("digits and '-' are a header value")
    }

    /// What it says of itself.
    pub fn set(&mut self, key: &'static str, value: &'static str) {
        self.0.attributes.push(KeyValue::new(key, value));
    }

    /// As [`Span::set`], for a number.
    pub fn number(&mut self, key: &'static str, value: u64) {
        self.0.attributes.push(KeyValue::new(key, i64::try_from(value).unwrap_or(i64::MAX)));
    }

    pub(crate) fn tenant(&mut self, tenant: &[u8; 16]) {
        let Some(key) = export::cell_key() else { return };
        self.0.attributes.push(KeyValue::new("tenant.hash", hash(&key, tenant)));
    }

    /// It has ended.
    pub fn end(mut self, class: Class) {
        self.set("code", class.name());
        self.0.status = match class {
            Class::Server => Status::error("server"),
            _ => Status::Unset,
        };
        self.0.end_time = SystemTime::now();
        export::put(self.0);
    }

    fn ended(mut self, took: Duration) {
        self.0.start_time = self.0.end_time.checked_sub(took).unwrap_or(self.0.end_time);
        export::put(self.0);
    }
}

/// Tells tenants apart for who reads traces, and names them to nobody who lacks the key.
fn hash(cell_key: &[u8; 32], tenant: &[u8; 16]) -> String {
    let mut mac = <Hmac<Sha256>>::new_from_slice(cell_key).expect("a key of any length");
    mac.update(tenant);
    let hash = mac.finalize().into_bytes();
    hash.iter().take(HASH_BYTES).map(|byte| format!("{byte:02x}")).collect()
}

fn context(trace: [u8; 16], span: [u8; 8]) -> SpanContext {
    let (trace, span) = (TraceId::from_bytes(trace), SpanId::from_bytes(span));
    SpanContext::new(trace, span, TraceFlags::SAMPLED, false, TraceState::NONE)
}

/// Tells of commits and of what follows them.
pub(crate) struct Watch;

impl journal::tally::Observer for Watch {
    /// A commit that answered several commands is a step of each of them.
    fn committed(&self, commit: &Committed<'_>) {
        if !export::is_on() {
            return;
        }
        for trace in commit.traces {
            let mut span = Span::begin("commit".into(), SpanKind::Internal, trace.id, Some(trace.span));
            span.set("service", commit.service);
            span.set("outcome", commit.outcome);
            span.number("commands", commit.commands as u64);
            span.ended(commit.took);
        }
    }
}

impl events::progress::Observer for Watch {
    fn consumed(&self, consumed: &Consumed<'_>) {
        if !export::is_on() {
            return;
        }
        let trace = RandomIdGenerator::default().new_trace_id();
        let name = format!("consume {} {}", consumed.consumer, consumed.source).into();
        let mut span = Span::begin(name, SpanKind::Consumer, trace.to_bytes(), None);
        span.number("entries", consumed.entries);
        let link = |trace: &Trace| Link::new(context(trace.id, trace.span), Vec::new(), 0);
        span.0.links.links.extend(consumed.traces.iter().map(link));
        span.ended(consumed.took);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// INV-6: the same tenant is the same in all traces of a cell, and nobody else's hash.
    #[test]
    fn a_hash_is_of_one_tenant_in_one_cell() {
        let one = hash(&[7; 32], &[1; 16]);
        assert_eq!((one.len(), &one), (2 * HASH_BYTES, &hash(&[7; 32], &[1; 16])));
        assert_ne!(one, hash(&[7; 32], &[2; 16]), "another tenant");
        assert_ne!(one, hash(&[8; 32], &[1; 16]), "another cell");
    }

    #[test]
    #[rustfmt::skip] // columns
    fn a_trace_context_is_read_as_the_standard_says() {
        let check = |text: &str, expected: Option<u8>| {
            assert_eq!(parse(text.as_bytes()).map(|(_, flags)| flags), expected, "{text}");
        };
        check("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", Some(1));
        check("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00", Some(0));
        check("00-00000000000000000000000000000000-00f067aa0ba902b7-01", None);
        check("00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01", None);
        check("01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", None);
        check("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",    None);
        check("00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",  None);
        check("",                                                        None);
    }
}
