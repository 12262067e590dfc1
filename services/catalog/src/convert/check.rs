//! Checks of one field. Each reports what is wrong, and gives back the value if nothing is.

use calendar::Instant;
use ids::ParseError;
use problem::{Invalid, Violations, reason};
use prost_types::Timestamp;

use crate::domain::{UnitRef, units};

/// Characters of a text for which the contract names no other limit.
pub(super) const TEXT_MAX: usize = 200;
/// Characters of a code.
pub(super) const CODE_MAX: usize = 64;

/// Runs the checks of a request.
///
/// # Errors
/// Everything that they reported.
pub(super) fn checked<T>(check: impl FnOnce(&mut Violations) -> Option<T>) -> Result<T, Invalid> {
    let mut violations = Violations::new();
    let value = check(&mut violations);
    violations.into_result()?;
    value.ok_or_else(|| Invalid::field("", reason::MALFORMED, "the request cannot be read"))
}

/// Reads the one id that a request consists of.
///
/// # Errors
/// What is wrong with it.
pub(super) fn one_id<T>(
    field: &str,
    text: &str,
    parse: fn(&str) -> Result<T, ParseError>,
) -> Result<T, Invalid> {
    checked(|v| id(v, field, text, parse))
}

/// An id that must be there.
pub(super) fn id<T>(
    v: &mut Violations,
    field: &str,
    text: &str,
    parse: fn(&str) -> Result<T, ParseError>,
) -> Option<T> {
    let text = v.required(field, text)?;
    v.field(field, parse(text))
}

/// A message that must be there.
pub(super) fn message<T>(v: &mut Violations, field: &str, message: Option<T>) -> Option<T> {
    if message.is_none() {
        v.add(field, reason::REQUIRED, "must be given");
    }
    message
}

/// A field that the service sets.
pub(super) fn output_only(v: &mut Violations, field: &str, is_set: bool) {
    if is_set {
        v.add(field, reason::OUTPUT_ONLY, "must not be given; the service sets it");
    }
}

/// A name: one line that is not blank.
pub(super) fn name(v: &mut Violations, field: &str, text: &str, max: usize) -> Option<String> {
    v.required(field, text)?;
    let text = line(v, field, text, max)?;
    if text.trim().is_empty() {
        v.add(field, reason::REQUIRED, "must not be blank");
        return None;
    }
    Some(text)
}

/// One line, or nothing.
pub(super) fn line(v: &mut Violations, field: &str, text: &str, max: usize) -> Option<String> {
    free_text(v, field, text, max, char::is_control)
}

/// A text that may have several lines, or nothing.
pub(super) fn paragraphs(v: &mut Violations, field: &str, text: &str, max: usize) -> Option<String> {
    free_text(v, field, text, max, |letter| letter.is_control() && !matches!(letter, '\n' | '\r' | '\t'))
}

fn free_text(
    v: &mut Violations,
    field: &str,
    text: &str,
    max: usize,
    is_bad: impl Fn(char) -> bool,
) -> Option<String> {
    v.at_most(field, text, max);
    if text.contains(is_bad) {
        v.add(field, reason::MALFORMED, "must not have control characters");
        return None;
    }
    fits(text, max).then(|| text.to_owned())
}

fn fits(text: &str, max: usize) -> bool {
    text.len() <= max || text.chars().count() <= max
}

/// A code: ASCII letters, digits and `. _ - / #`.
pub(super) fn code(v: &mut Violations, field: &str, text: &str) -> Option<String> {
    let text = v.required(field, text)?;
    v.at_most(field, text, CODE_MAX);
    let is_good = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/#".contains(&byte);
    if !text.bytes().all(is_good) {
        v.add(field, reason::MALFORMED, "must have letters, digits and '. _ - / #' only");
        return None;
    }
    fits(text, CODE_MAX).then(|| text.to_owned())
}

/// The code of a unit that must be there.
pub(super) fn unit(v: &mut Violations, field: &str, code: &str) -> Option<UnitRef> {
    let code = v.required(field, code)?;
    let found = units::find(code);
    if found.is_none() {
        v.add(field, reason::UNKNOWN_VALUE, "must be a unit of UN/ECE Rec 20 that is listed, such as 'C62'");
    }
    found
}

/// The code of a unit, or none; the outer `None` is a bad one.
pub(super) fn optional_unit(v: &mut Violations, field: &str, code: &str) -> Option<Option<UnitRef>> {
    if code.is_empty() { Some(None) } else { unit(v, field, code).map(Some) }
}

/// A moment, or none; the outer `None` is a bad one.
pub(super) fn optional_instant(
    v: &mut Violations,
    field: &str,
    at: Option<Timestamp>,
) -> Option<Option<Instant>> {
    let Some(at) = at else { return Some(None) };
    let instant = Instant::from_seconds_nanos(at.seconds, at.nanos);
    if instant.is_none() {
        v.add(field, reason::OUT_OF_RANGE, "must be a moment from the year 1900 to 2199");
    }
    instant.map(Some)
}

/// Whether a list has at most `max` items.
pub(super) fn at_most<T>(v: &mut Violations, field: &str, items: &[T], max: usize) -> bool {
    if items.len() > max {
        v.add(field, reason::TOO_MANY, format!("must have at most '{max}' items"));
    }
    items.len() <= max
}

/// Which fields of an update count: those that the mask names or, without a mask, those that are set.
pub(super) struct Mask<'a> {
    named: Option<Vec<&'a str>>,
}

/// What callers may do with a field of an update.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Change it.
    Free,
    /// Nothing: it is set at creation.
    Immutable,
    /// Nothing: it is the service's.
    OutputOnly,
    /// Nothing here: it has a call of its own.
    Elsewhere(&'static str),
}

impl<'a> Mask<'a> {
    /// Reads a mask; names are those of the contract, in its spelling or in that of JSON.
    pub(super) fn read(v: &mut Violations, paths: &[String], fields: &'a [(&'a str, Access)]) -> Mask<'a> {
        const PATHS_MAX: usize = 50;
        if paths.is_empty() || !at_most(v, "update_mask", paths, PATHS_MAX) {
            return Mask { named: None };
        }
        let mut named = Vec::with_capacity(paths.len());
        for (at, path) in paths.iter().enumerate() {
            let wanted = snake_case(path);
            match fields.iter().find(|(field, _)| *field == wanted) {
                Some((field, _)) => named.push(*field),
                None if path == "*" => {
                    named.extend(
                        fields.iter().filter(|(_, access)| *access == Access::Free).map(|(field, _)| *field),
                    );
                }
                None => v.add(
                    &format!("update_mask[{at}]"),
                    reason::UNKNOWN_FIELD,
                    format!("'{path}' is no field"),
                ),
            }
        }
        Mask { named: Some(named) }
    }

    /// Whether `field` is to be changed.
    pub(super) fn has(&self, field: &str, is_set: bool) -> bool {
        match &self.named {
            Some(named) => named.contains(&field),
            None => is_set,
        }
    }

    /// Reports a field that is not to be changed here.
    pub(super) fn deny(&self, v: &mut Violations, field: &str, access: Access, is_set: bool) {
        match access {
            Access::Free => {}
            Access::Immutable if self.has(field, is_set) => {
                v.add(field, reason::IMMUTABLE, "must not be given; it is set at creation");
            }
            Access::OutputOnly => output_only(v, field, is_set || self.has(field, is_set)),
            Access::Elsewhere(call) if self.has(field, is_set) => {
                v.add(field, reason::NOT_ALLOWED, format!("must not be given here; '{call}' changes it"));
            }
            Access::Immutable | Access::Elsewhere(_) => {}
        }
    }
}

fn snake_case(path: &str) -> String {
    let mut out = String::with_capacity(path.len() + 4);
    for letter in path.chars() {
        if letter.is_ascii_uppercase() {
            out.push('_');
        }
        out.push(letter.to_ascii_lowercase());
    }
    out
}
