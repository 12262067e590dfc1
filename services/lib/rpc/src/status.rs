//! From a problem to what the caller sees.

use std::collections::HashMap;
use std::fmt::Write as _;

use problem::{Code, Problem, Violation};
use tonic::Status;
use tonic_types::{ErrorDetails, FieldViolation, StatusExt as _};

/// What callers see of a failure that is ours.
const INTERNAL_TEXT: &str = "internal error";

/// Turns a problem into a gRPC status with `google.rpc.ErrorInfo` (reason, domain, metadata) and,
/// for bad fields, `google.rpc.BadRequest`.
///
/// A problem with a cause, and each internal one, is logged here, once; its cause is never shown.
pub fn status<P: Problem>(problem: P) -> Status {
    log(&problem);
    let metadata: HashMap<String, String> =
        problem.metadata().into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let mut details = ErrorDetails::with_error_info(problem.reason(), P::DOMAIN, metadata);
    if !problem.violations().is_empty() {
        let fields: Vec<FieldViolation> = problem.violations().iter().map(field_violation).collect();
        details.set_bad_request(fields);
    }
    Status::with_error_details(tonic::Code::from_i32(problem.code().grpc()), text(&problem), details)
}

/// Turns a problem into the message that stands for it in the answer of a batch.
pub fn item_problem<P: Problem>(problem: &P) -> proto::api::v1::Problem {
    log(problem);
    proto::api::v1::Problem {
        status: i32::from(problem::http_status(problem.code(), problem.reason())),
        code: problem.code().name().to_owned(),
        reason: problem.reason().to_owned(),
        detail: text(problem),
        errors: problem
            .violations()
            .iter()
            .map(|violation| proto::api::v1::Violation {
                pointer: pointer(&violation.field),
                reason: violation.reason.to_owned(),
                detail: violation.detail.clone(),
            })
            .collect(),
        metadata: problem.metadata().into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
    }
}

/// Turns the path of a field in the contract into a JSON pointer into the request:
/// `movements[3].variant_id` becomes `/movements/3/variantId`.
pub fn pointer(field: &str) -> String {
    let mut out = String::with_capacity(field.len() + 1);
    let mut upper = false;
    if !field.is_empty() {
        out.push('/');
    }
    for letter in field.chars() {
        match letter {
            '.' | '[' => out.push('/'),
            ']' => {}
            '_' => upper = true,
            _ if upper => {
                out.push(letter.to_ascii_uppercase());
                upper = false;
            }
            _ => out.push(letter),
        }
    }
    out
}

fn text<P: Problem>(problem: &P) -> String {
    if problem.code() == Code::Internal { INTERNAL_TEXT.to_owned() } else { problem.to_string() }
}

fn field_violation(violation: &Violation) -> FieldViolation {
    let mut field = FieldViolation::new(&violation.field, &violation.detail);
    field.reason = violation.reason.to_owned();
    field
}

fn log<P: Problem>(problem: &P) {
    let mut text = problem.to_string();
    let mut cause = problem.source();
    let has_cause = cause.is_some();
    while let Some(error) = cause {
        // Writing to a string cannot fail.
        let _ = write!(text, ": {error}");
        cause = error.source();
    }
    match problem.code() {
        Code::Internal => tracing::error!(reason = problem.reason(), domain = P::DOMAIN, "{text}"),
        _ if has_cause => tracing::warn!(reason = problem.reason(), domain = P::DOMAIN, "{text}"),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    enum Sample {
        #[error("only '{left}' left")]
        TooLittle { left: u32, fields: Vec<Violation> },
        #[error("row 7 of partition 9 is damaged")]
        Broken(#[source] std::io::Error),
    }

    impl Problem for Sample {
        const DOMAIN: &'static str = "sample";
        fn code(&self) -> Code {
            match self {
                Sample::TooLittle { .. } => Code::FailedPrecondition,
                Sample::Broken(_) => Code::Internal,
            }
        }
        fn reason(&self) -> &'static str {
            match self {
                Sample::TooLittle { .. } => "TOO_LITTLE",
                Sample::Broken(_) => "INTERNAL",
            }
        }
        fn metadata(&self) -> Vec<(&'static str, String)> {
            match self {
                Sample::TooLittle { left, .. } => vec![("left", left.to_string())],
                Sample::Broken(_) => vec![],
            }
        }
        fn violations(&self) -> &[Violation] {
            match self {
                Sample::TooLittle { fields, .. } => fields,
                Sample::Broken(_) => &[],
            }
        }
    }

    fn too_little() -> Sample {
        let field = Violation {
            field: "lines[3].unit_cost".to_owned(),
            reason: "REQUIRED",
            detail: "is required".to_owned(),
        };
        Sample::TooLittle { left: 3, fields: vec![field] }
    }

    #[test]
    fn a_problem_becomes_a_status_with_reason_and_fields() {
        let status = status(too_little());
        assert_eq!(status.code(), tonic::Code::FailedPrecondition);
        assert_eq!(status.message(), "only '3' left");
        let info = status.get_details_error_info().unwrap();
        assert_eq!((info.reason.as_str(), info.domain.as_str()), ("TOO_LITTLE", "sample"));
        assert_eq!(info.metadata["left"], "3");
        let bad = status.get_details_bad_request().unwrap();
        assert_eq!(bad.field_violations[0].field, "lines[3].unit_cost");
        assert_eq!(bad.field_violations[0].reason, "REQUIRED");
        assert_eq!(bad.field_violations[0].description, "is required");
    }

    #[test]
    fn nothing_internal_is_shown() {
        let shown = format!("{:?}", status(Sample::Broken(std::io::Error::other("disk /dev/sda1"))));
        assert!(shown.contains(INTERNAL_TEXT));
        assert!(!shown.contains("partition") && !shown.contains("sda1"), "{shown}");
    }

    #[test]
    fn an_item_of_a_batch_says_the_same() {
        let item = item_problem(&too_little());
        assert_eq!(
            (item.status, item.code.as_str(), item.reason.as_str()),
            (409, "FAILED_PRECONDITION", "TOO_LITTLE")
        );
        assert_eq!(item.errors[0].pointer, "/lines/3/unitCost");
        assert_eq!(item.metadata["left"], "3");
    }

    #[test]
    #[rustfmt::skip] // columns
    fn a_field_path_becomes_a_json_pointer() {
        let check = |field: &str, expected: &str| assert_eq!(pointer(field), expected);
        check("quantity",                 "/quantity");
        check("movements[3].variant_id",  "/movements/3/variantId");
        check("api_key.ip_allow[0]",      "/apiKey/ipAllow/0");
        check("",                         "");
    }
}
