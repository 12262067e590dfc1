//! How an answer counts: four classes, so that a metric by method stays small.

use http::{HeaderMap, StatusCode};
use tonic::{Code, Status};

/// The class of an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Class {
    /// It worked.
    Ok,
    /// The caller's: what it asks for is wrong, not there or not allowed, or it went away.
    Client,
    /// Ours: overload counts too.
    Server,
    /// The caller asked more often than it may.
    Limited,
}

impl Class {
    /// All of them, in the order of their numbers.
    pub const ALL: [Class; 4] = [Class::Ok, Class::Client, Class::Server, Class::Limited];

    /// `ok`, `client`, `server`, `limited`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Class::Ok => "ok",
            Class::Client => "client",
            Class::Server => "server",
            Class::Limited => "limited",
        }
    }

    /// The class of a gRPC status.
    #[must_use]
    pub fn of_code(code: Code) -> Class {
        match code {
            Code::Ok => Class::Ok,
            Code::ResourceExhausted => Class::Limited,
            Code::Unknown | Code::DeadlineExceeded | Code::Internal | Code::Unavailable | Code::DataLoss => {
                Class::Server
            }
            _ => Class::Client,
        }
    }

    /// The class of a gRPC answer. A refusal has its status in the headers; what has none there has begun to answer.
    #[must_use]
    pub fn of_grpc(headers: &HeaderMap) -> Class {
        match headers.get(Status::GRPC_STATUS) {
            None => Class::Ok,
            Some(code) => Class::of_code(Code::from_bytes(code.as_bytes())),
        }
    }

    /// The class of an HTTP status.
    #[must_use]
    pub fn of_http(status: StatusCode) -> Class {
        match status.as_u16() {
            429 => Class::Limited,
            400..500 => Class::Client,
            500.. => Class::Server,
            _ => Class::Ok,
        }
    }

    pub(crate) fn number(self) -> usize {
        self as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[rustfmt::skip] // columns
    fn answers_count_as_the_contract_says() {
        let grpc = |code: &'static str| {
            let mut headers = HeaderMap::new();
            if !code.is_empty() {
                headers.insert(Status::GRPC_STATUS, http::HeaderValue::from_static(code));
            }
            Class::of_grpc(&headers)
        };
        let http = |status| Class::of_http(StatusCode::from_u16(status).unwrap());
        for (code, status, expected) in [
            ("",   200, Class::Ok),      ("0",  201, Class::Ok),      ("0",  304, Class::Ok),
            ("3",  400, Class::Client),  ("5",  404, Class::Client),  ("16", 401, Class::Client),
            ("8",  429, Class::Limited), ("13", 500, Class::Server),  ("14", 503, Class::Server),
            ("4",  504, Class::Server),  ("1",  499, Class::Client),  ("9",  409, Class::Client),
        ] {
            assert_eq!((grpc(code), http(status)), (expected, expected), "{code} {status}");
        }
        for (number, class) in Class::ALL.into_iter().enumerate() {
            assert_eq!(class.number(), number);
        }
    }
}
