//! Problems as HTTP shows them.
//!
//! Source: RFC 9457.

use std::borrow::Cow;
use std::collections::BTreeMap;

use problem::Code;
use serde::Serialize;
use tonic_types::StatusExt as _;

use crate::catalogue::{Body, Catalogue, Operation};

/// The media type of problems.
pub const CONTENT_TYPE: &str = "application/problem+json";

/// What callers see of a failure that is ours.
const INTERNAL_TEXT: &str = "internal error";

/// A problem, ready to be answered with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The HTTP status.
    pub status: u16,
    /// `FAILED_PRECONDITION`.
    pub code: &'static str,
    /// `INSUFFICIENT_STOCK`.
    pub reason: Cow<'static, str>,
    /// For a person.
    pub detail: Cow<'static, str>,
    /// Every bad field of the request.
    pub errors: Vec<FieldProblem>,
    /// Values for a program.
    pub metadata: BTreeMap<String, String>,
    /// When trying again makes sense.
    pub retry_after_ms: Option<u64>,
}

/// One bad field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldProblem {
    /// JSON pointer into the body, or to the query or path parameter of that name: `/movements/3/quantity`.
    pub pointer: String,
    /// `NOT_A_DECIMAL`.
    pub reason: Cow<'static, str>,
    /// For a person.
    pub detail: Cow<'static, str>,
}

/// Members in the order of RFC 9457, then ours.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    r#type: String,
    title: String,
    status: u16,
    detail: &'a str,
    instance: &'a str,
    code: &'a str,
    reason: &'a str,
    trace_id: &'a str,
    errors: &'a [FieldProblem],
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    metadata: &'a BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<u64>,
}

impl Problem {
    /// Makes a problem without fields; the status is that of the code, or of the reason.
    pub fn new(
        code: Code,
        reason: impl Into<Cow<'static, str>>,
        detail: impl Into<Cow<'static, str>>,
    ) -> Problem {
        let reason = reason.into();
        Problem {
            status: problem::http_status(code, &reason),
            code: code.name(),
            reason,
            detail: detail.into(),
            errors: vec![],
            metadata: BTreeMap::new(),
            retry_after_ms: None,
        }
    }

    /// The same with an HTTP status that neither code nor reason has.
    pub fn with_status(self, status: u16) -> Problem {
        Problem { status, ..self }
    }

    /// A request with bad fields.
    pub(crate) fn invalid(errors: Vec<FieldProblem>) -> Problem {
        let detail = match errors.as_slice() {
            [] => "the request is not valid".to_owned(),
            [first, more @ ..] => {
                let place = if first.pointer.is_empty() { "the body" } else { &first.pointer };
                let rest = if more.is_empty() { String::new() } else { format!(", and {} more", more.len()) };
                format!("'{place}' {}{rest}", first.detail)
            }
        };
        Problem { errors, ..Problem::new(Code::InvalidArgument, problem::reason::INVALID_REQUEST, detail) }
    }

    /// What a service answered, in words of the request: `movement.quantity` is `/quantity` where the body
    /// is the movement. A failure that is ours has a fixed text.
    pub fn of_status(catalogue: &Catalogue, operation: &Operation, status: &tonic::Status) -> Problem {
        // Codes that we never answer with come from the transport.
        let code = Code::from_grpc(status.code() as i32).unwrap_or(Code::Internal);
        let details = status.get_error_details();
        let info = details.error_info();
        let reason = info.map(|info| info.reason.clone()).filter(|reason| !reason.is_empty());
        if code == Code::Internal {
            return Problem::new(code, reason.map_or("INTERNAL".into(), Cow::Owned), INTERNAL_TEXT);
        }
        let reason: Cow<'static, str> = reason.map_or(Cow::Borrowed(code.name()), Cow::Owned);
        let body = match operation.body {
            Body::Field(index) => catalogue.schema.messages[operation.input].fields[index].name.as_str(),
            Body::None | Body::Whole => "",
        };
        let violations = details.bad_request().map(|bad| bad.field_violations.as_slice()).unwrap_or_default();
        let errors: Vec<FieldProblem> = violations
            .iter()
            .map(|violation| FieldProblem {
                pointer: pointer(body, &violation.field),
                reason: violation.reason.clone().into(),
                detail: violation.description.clone().into(),
            })
            .collect();
        if reason == problem::reason::INVALID_REQUEST && !errors.is_empty() {
            // The service names fields as the contract does, the caller knows them by pointers.
            return Problem::invalid(errors);
        }
        Problem {
            status: problem::http_status(code, &reason),
            code: code.name(),
            reason,
            detail: status.message().to_owned().into(),
            errors,
            metadata: info
                .map(|info| info.metadata.iter().map(|(k, v)| (k.clone(), v.clone())).collect())
                .unwrap_or_default(),
            retry_after_ms: details
                .retry_info()
                .and_then(|info| info.retry_delay)
                .map(|delay| u64::try_from(delay.as_millis()).unwrap_or(u64::MAX)),
        }
    }

    /// Writes the document. `types` is where problem pages are (`/problems/`), `instance` what was asked
    /// for, `trace_id` the trace.
    pub fn to_json(&self, types: &str, instance: &str, trace_id: &str) -> Vec<u8> {
        let lower = self.reason.to_ascii_lowercase();
        let document = Document {
            r#type: format!("{types}{}", lower.replace('_', "-")),
            title: lower.replace('_', " "),
            status: self.status,
            detail: &self.detail,
            instance,
            code: self.code,
            reason: &self.reason,
            trace_id,
            errors: &self.errors,
            metadata: &self.metadata,
            retry_after_ms: self.retry_after_ms,
        };
        // Strings and numbers under string keys: nothing that JSON cannot hold.
        serde_json::to_vec(&document).unwrap_or_default()
    }
}

/// `movement.unit_cost` becomes `/unitCost` where the body is `movement`; `movements[3].unit_cost` becomes
/// `/movements/3/unitCost`. Source: RFC 6901.
fn pointer(body: &str, field: &str) -> String {
    let inside = field.strip_prefix(body).filter(|_| !body.is_empty());
    let field = match inside {
        Some("") => return String::new(),
        Some(rest) => rest.strip_prefix('.').unwrap_or(field),
        None => field,
    };
    if field.is_empty() {
        return String::new();
    }
    let mut out = String::with_capacity(field.len() + 1);
    for part in field.split(['.', '[']) {
        let part = part.trim_end_matches(']');
        out.push('/');
        let mut upper = false;
        for letter in part.chars() {
            match letter {
                '_' => upper = true,
                '~' => out.push_str("~0"),
                '/' => out.push_str("~1"),
                letter if upper => {
                    out.push(letter.to_ascii_uppercase());
                    upper = false;
                }
                letter => out.push(letter),
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[rustfmt::skip] // columns
    fn a_field_path_becomes_a_pointer_into_the_body() {
        let check = |body, field, expected| assert_eq!(pointer(body, field), expected, "{field} in {body}");
        check("movement", "movement.quantity",           "/quantity");
        check("movement", "movement.unit_cost.amount",   "/unitCost/amount");
        check("movement", "movement",                    "");
        check("movement", "movements[3].quantity",       "/movements/3/quantity");
        check("",         "movements[3].variant_id",     "/movements/3/variantId");
        check("",         "movement_id",                 "/movementId");
        check("product",  "product.variants[0].option_values[a/b]", "/variants/0/optionValues/a~1b");
    }

    #[test]
    fn a_document_has_its_members_in_order() {
        let mut problem =
            Problem::new(Code::FailedPrecondition, "INSUFFICIENT_STOCK", "3 available, 4 wanted");
        problem.metadata.insert("available".to_owned(), "3".to_owned());
        let json = String::from_utf8(problem.to_json("/problems/", "/v1/movements", "4bf9")).unwrap();
        assert_eq!(
            json,
            r#"{"type":"/problems/insufficient-stock","title":"insufficient stock","status":409,"#.to_owned()
                + r#""detail":"3 available, 4 wanted","instance":"/v1/movements","code":"FAILED_PRECONDITION","#
                + r#""reason":"INSUFFICIENT_STOCK","traceId":"4bf9","errors":[],"metadata":{"available":"3"}}"#
        );
    }
}
