//! Bad fields: a request is checked to the end and all of them are reported at once.

use std::fmt::{self, Display, Write};

use crate::{Code, Problem, reason};

/// How many violations one answer lists at most; further ones are not recorded.
///
/// A batch of a thousand broken lines would otherwise answer with more than it was sent.
pub const VIOLATIONS_MAX: usize = 100;

/// One bad field of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Path of the field in the proto's spelling: `quantity`, `movements[3].quantity`.
    pub field: String,
    /// Why, stable; one of [`reason`] or a service's own.
    pub reason: &'static str,
    /// The same for a person.
    pub detail: String,
}

/// An error about one value, which knows the reason to report it with.
///
/// Implemented by the vocabulary's parse errors, so that `convert` modules need no mapping.
pub trait FieldError: Display {
    /// The reason of the violation, for example [`reason::NOT_A_DECIMAL`].
    fn reason(&self) -> &'static str;
}

/// Collects the violations of one request.
///
/// ```
/// let mut violations = problem::Violations::new();
/// violations.add("quantity", problem::reason::NOT_POSITIVE, "must be more than '0'");
/// violations.within("lines[3]", |line| line.required("variant_id", ""));
/// let invalid = violations.into_result().unwrap_err();
/// assert_eq!(invalid.violations[1].field, "lines[3].variant_id");
/// ```
#[derive(Debug, Default)]
pub struct Violations {
    /// Path of the enclosing message, empty or ending in a dot.
    prefix: String,
    found: Vec<Violation>,
}

impl Violations {
    /// An empty collector.
    pub fn new() -> Violations {
        Violations::default()
    }

    /// Reports `field` of the current message.
    pub fn add(&mut self, field: &str, reason: &'static str, detail: impl Into<String>) {
        if self.found.len() < VIOLATIONS_MAX {
            let field = format!("{}{field}", self.prefix);
            self.found.push(Violation { field, reason, detail: detail.into() });
        }
    }

    /// Takes the value out of `result`, or reports `field` with what the error says.
    pub fn field<T, E: FieldError>(&mut self, field: &str, result: Result<T, E>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                self.add(field, error.reason(), error.to_string());
                None
            }
        }
    }

    /// Gives `text` back if there is any, or reports `field` as required.
    pub fn required<'a>(&mut self, field: &str, text: &'a str) -> Option<&'a str> {
        if text.is_empty() {
            self.add(field, reason::REQUIRED, "must be given");
            return None;
        }
        Some(text)
    }

    /// Reports `field` if `text` has more than `chars_max` characters.
    pub fn at_most(&mut self, field: &str, text: &str, chars_max: usize) {
        // A text has at most as many characters as bytes, and counting bytes is free.
        if chars_max < text.len() && chars_max < text.chars().count() {
            self.add(field, reason::TOO_LONG, format!("must have at most '{chars_max}' characters"));
        }
    }

    /// Runs `check` with all fields under `path`, for example `format_args!("lines[{index}]")`.
    pub fn within<R>(&mut self, path: impl Display, check: impl FnOnce(&mut Violations) -> R) -> R {
        let length = self.prefix.len();
        write!(self.prefix, "{path}.").expect("a String takes every write");
        let answer = check(self);
        self.prefix.truncate(length);
        answer
    }

    /// Whether nothing was reported yet.
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// Ends the check.
    ///
    /// # Errors
    /// [`Invalid`] when anything was reported.
    pub fn into_result(self) -> Result<(), Invalid> {
        if self.found.is_empty() { Ok(()) } else { Err(Invalid { violations: self.found }) }
    }
}

/// A request with bad fields.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Invalid {
    /// At least one, in the order of the checks, at most [`VIOLATIONS_MAX`].
    pub violations: Vec<Violation>,
}

impl Invalid {
    /// A request with one bad field.
    pub fn field(field: impl Into<String>, reason: &'static str, detail: impl Into<String>) -> Invalid {
        Invalid { violations: vec![Violation { field: field.into(), reason, detail: detail.into() }] }
    }
}

impl From<Violation> for Invalid {
    fn from(violation: Violation) -> Invalid {
        Invalid { violations: vec![violation] }
    }
}

impl Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(first) = self.violations.first() else { return f.write_str("the request is not valid") };
        write!(f, "'{}' {}", first.field, first.detail)?;
        match self.violations.len() - 1 {
            0 => Ok(()),
            more => write!(f, ", and {more} more"),
        }
    }
}

impl Problem for Invalid {
    const DOMAIN: &'static str = "request";

    fn code(&self) -> Code {
        Code::InvalidArgument
    }

    fn reason(&self) -> &'static str {
        reason::INVALID_REQUEST
    }

    fn violations(&self) -> &[Violation] {
        &self.violations
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Bad;

    impl Display for Bad {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("must be good")
        }
    }

    impl FieldError for Bad {
        fn reason(&self) -> &'static str {
            reason::MALFORMED
        }
    }

    #[test]
    fn every_bad_field_is_reported_under_its_path() {
        let mut violations = Violations::new();
        assert_eq!(violations.field("code", Err::<u8, _>(Bad)), None);
        for index in 0..2 {
            violations.within(format_args!("lines[{index}]"), |line| {
                assert_eq!(line.required("unit", "pcs"), Some("pcs"));
                line.within("lot", |lot| lot.required("number", ""));
            });
        }
        violations.at_most("note", "größe", 4);
        violations.at_most("note", "größe", 5);

        let invalid = violations.into_result().unwrap_err();
        let found: Vec<_> = invalid.violations.iter().map(|v| (v.field.as_str(), v.reason)).collect();
        assert_eq!(
            found,
            [
                ("code", "MALFORMED"),
                ("lines[0].lot.number", "REQUIRED"),
                ("lines[1].lot.number", "REQUIRED"),
                ("note", "TOO_LONG"),
            ]
        );
        assert_eq!(invalid.to_string(), "'code' must be good, and 3 more");
        assert_eq!((invalid.code(), invalid.reason()), (Code::InvalidArgument, "INVALID_REQUEST"));
    }

    #[test]
    fn a_request_without_bad_fields_is_valid() {
        let mut violations = Violations::new();
        assert_eq!(violations.field("code", Ok::<_, Bad>(7)), Some(7));
        assert!(violations.is_empty());
        assert_eq!(violations.into_result(), Ok(()));
    }

    #[test]
    fn an_answer_lists_a_limited_number_of_violations() {
        let mut violations = Violations::new();
        for _ in 0..=VIOLATIONS_MAX {
            violations.add("quantity", reason::REQUIRED, "must be given");
        }
        assert_eq!(violations.into_result().unwrap_err().violations.len(), VIOLATIONS_MAX);
    }
}
