//! Names of requests: `Request-Id` and W3C trace context.

use std::sync::atomic::{AtomicU64, Ordering};

use http::{HeaderMap, HeaderValue, Method, StatusCode};

use rpc::header::name::{REQUEST_ID, TRACEPARENT};
use runtime::scope::Scope;
use telemetry::Class;
use telemetry::http::Kind;
use telemetry::trace::{Span, begins_sampled, sampled};

/// Makes names that no other process makes.
pub(crate) struct Traces {
    seed: u64,
    count: AtomicU64,
}

/// The names of one request.
pub(crate) struct Trace {
    request_id: HeaderValue,
    traceparent: HeaderValue,
    /// If it is sampled.
    span: Option<Box<Span>>,
}

impl Traces {
    /// # Errors
    /// When the machine gives no random bytes.
    pub(crate) fn new() -> Result<Self, getrandom::Error> {
        let mut seed = [0; 8];
        getrandom::fill(&mut seed)?;
        Ok(Traces { seed: u64::from_le_bytes(seed), count: AtomicU64::new(0) })
    }

    /// Names a request; a trace that the client began goes on. If somebody asks for traces and this one is sampled,
    /// services are told of the span that begins here.
    pub(crate) fn begin(&self, method: &Method, headers: &HeaderMap) -> Trace {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        let given = headers.get(&TRACEPARENT).filter(|value| is_traceparent(value.as_bytes()));
        let mut span = None;
        let traceparent = given.cloned().unwrap_or_else(|| {
            let [a, b, c] = [0, 1, 2].map(|lane| mix(self.seed ^ lane << 62, count));
            // All zeros would be no trace.
            let mut id = [0; 16];
            id[..8].copy_from_slice(&a.to_be_bytes());
            id[8..].copy_from_slice(&(b | 1).to_be_bytes());
            if begins_sampled(&id) {
                span = Some(Box::new(Span::request(method, id, None)));
            }
            let mut text = *b"00-                                -                -00";
            for (at, number) in [(3, a), (19, b | 1), (36, c | 1)] {
                write_hex(&mut text[at..at + 16], number);
            }
            visible(&text)
        });
        if let Some(parent) = given.and_then(|given| sampled(given.as_bytes())) {
            span = Some(Box::new(Span::request(method, parent.id, Some(parent.span))));
        }
        let traceparent = span.as_ref().map_or(traceparent, |span| span.header());
        let mut text = *b"req_                  ";
        write_hex(&mut text[4..12], self.seed >> 32);
        write_hex(&mut text[12..], count);
        let request_id = visible(&text);
        Trace { request_id, traceparent, span }
    }
}

impl Trace {
    /// `req_…`.
    pub(crate) fn request_id(&self) -> &str {
        self.request_id.to_str().unwrap_or_default()
    }

    /// What lines of the log say that are written for this request.
    pub(crate) fn scope(&self) -> Option<Scope> {
        Scope::of(self.traceparent.as_bytes(), "gateway")
    }

    /// The request was answered.
    pub(crate) fn end(&mut self, kind: Kind, class: Class, status: StatusCode) {
        if let Some(mut span) = self.span.take() {
            span.set("kind", kind.name());
            span.number("http.response.status_code", status.as_u16().into());
            span.end(class);
        }
    }

    /// 32 hexadecimal digits.
    pub(crate) fn trace_id(&self) -> &str {
        self.traceparent.to_str().unwrap_or_default().get(3..35).unwrap_or_default()
    }

    /// Writes the names into the headers of a request or an answer.
    pub(crate) fn mark(&self, headers: &mut HeaderMap) {
        headers.insert(REQUEST_ID, self.request_id.clone());
        headers.insert(TRACEPARENT, self.traceparent.clone());
    }
}

/// Every request has two names, and a formatter takes longer for them than anything else that the gateway does.
fn write_hex(text: &mut [u8], mut number: u64) {
    for digit in text.iter_mut().rev() {
        *digit = b"0123456789abcdef"[(number & 15) as usize];
        number >>= 4;
    }
}

fn visible(text: &[u8]) -> HeaderValue {
    HeaderValue::from_bytes(text).expect("letters, digits and '-' are a header value")
}

/// `00-` trace `-` parent `-` flags. Source: W3C Trace Context, 3.2.
fn is_traceparent(bytes: &[u8]) -> bool {
    let hex = |part: &[u8]| part.iter().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(b));
    let some = |part: &[u8]| hex(part) && part.iter().any(|b| *b != b'0');
    bytes.len() == 55
        && bytes.starts_with(b"00-")
        && bytes[35] == b'-'
        && bytes[52] == b'-'
        && some(&bytes[3..35])
        && some(&bytes[36..52])
        && hex(&bytes[53..])
}

/// Source: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", SplitMix64.
fn mix(seed: u64, count: u64) -> u64 {
    let mut z = seed.wrapping_add(count.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_request_has_a_name_of_its_own() {
        let traces = Traces::new().unwrap();
        let (one, two) =
            (traces.begin(&Method::GET, &HeaderMap::new()), traces.begin(&Method::GET, &HeaderMap::new()));
        assert_ne!(one.request_id(), two.request_id());
        assert_ne!(one.trace_id(), two.trace_id());
        assert!(is_traceparent(one.traceparent.as_bytes()));
    }

    #[test]
    #[rustfmt::skip] // columns
    fn a_trace_goes_on_if_it_is_one() {
        let check = |text: &'static str, goes_on: bool| {
            let mut headers = HeaderMap::new();
            headers.insert(TRACEPARENT, HeaderValue::from_static(text));
            let trace = Traces::new().unwrap().begin(&Method::GET, &headers);
            assert_eq!(trace.traceparent == text, goes_on, "{text}");
        };
        check("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", true);
        check("00-00000000000000000000000000000000-00f067aa0ba902b7-01", false);
        check("00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01", false);
        check("00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01", false);
        check("01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", false);
        check("rubbish",                                                 false);
    }
}
