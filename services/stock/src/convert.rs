//! Proto to domain and back. Every bad field of a request is reported at once.

use calendar::Instant;
use ids::{LocationId, MovementId, VariantId};
use money::{Currency, UnitPrice};
use problem::{Violations, reason};
use proto::stock::v1 as pb;
use quantity::Quantity;

use crate::domain::kind::{Flow, Kind};
use crate::domain::movement::Source;
use crate::domain::post::{Cost, Direction};
use crate::error::Error;

mod answer;
mod location;

pub(crate) use answer::{Links, item_balance, location, movement, movement_id, no_balance};
pub(crate) use location::{LocationDraft, location_change, location_draft};

/// Longest texts, in characters.
pub(crate) const CODE_CHARS_MAX: usize = 64;
const NAME_CHARS_MAX: usize = 200;
const NOTE_CHARS_MAX: usize = 1000;
pub(crate) const SOURCE_CHARS_MAX: usize = 100;
/// Longest idempotency key.
const KEY_CHARS_MAX: usize = 255;
/// Fields of an update mask.
const MASK_MAX: usize = 50;
/// Items of a batch.
pub(crate) const BATCH_MAX: usize = 1000;

/// A movement draft whose fields are well-formed; ids in it are not looked up yet.
#[derive(Clone, Debug)]
pub(crate) struct MovementDraft {
    pub(crate) kind: Kind,
    pub(crate) variant: VariantId,
    pub(crate) location: LocationId,
    pub(crate) to: Option<LocationId>,
    pub(crate) quantity: Quantity,
    pub(crate) unit: Option<String>,
    pub(crate) direction: Option<Direction>,
    pub(crate) cost: Option<Cost>,
    pub(crate) source: Source,
    pub(crate) reason_code: String,
    pub(crate) note: String,
    pub(crate) occurred_at: Option<Instant>,
    pub(crate) return_of: Option<MovementId>,
}

/// Reads an id that must be there.
pub(crate) fn id<T>(
    field: &str,
    text: &str,
    parse: fn(&str) -> Result<T, ids::ParseError>,
) -> Result<T, Error> {
    let mut violations = Violations::new();
    let id = required_id(&mut violations, field, text, parse);
    violations.into_result()?;
    id.ok_or(Error::Unprepared)
}

fn required_id<T>(
    violations: &mut Violations,
    field: &str,
    text: &str,
    parse: fn(&str) -> Result<T, ids::ParseError>,
) -> Option<T> {
    let text = violations.required(field, text)?;
    violations.field(field, parse(text))
}

fn optional_id<T>(
    violations: &mut Violations,
    field: &str,
    text: &str,
    parse: fn(&str) -> Result<T, ids::ParseError>,
) -> Option<T> {
    if text.is_empty() { None } else { violations.field(field, parse(text)) }
}

/// Letters, digits and `. _ - / #`, at most 64.
fn code(violations: &mut Violations, field: &str, text: &str) {
    violations.at_most(field, text, CODE_CHARS_MAX);
    let allowed = |char: char| char.is_ascii_alphanumeric() || "._-/#".contains(char);
    if !text.chars().all(allowed) {
        violations.add(field, reason::MALFORMED, "must consist of letters, digits and '. _ - / #'");
    }
}

/// A name that people read, on one line.
fn name(violations: &mut Violations, field: &str, text: &str) {
    if violations.required(field, text).is_none() {
        return;
    }
    violations.at_most(field, text, NAME_CHARS_MAX);
    if text.trim().len() != text.len() || text.contains(char::is_control) {
        let detail = "must not begin or end with white space nor have control characters";
        violations.add(field, reason::MALFORMED, detail);
    }
}

/// A text of a document, on one line; may be empty.
fn line(violations: &mut Violations, field: &str, text: &str) {
    violations.at_most(field, text, SOURCE_CHARS_MAX);
    if text.contains(char::is_control) {
        violations.add(field, reason::MALFORMED, "must not have control characters");
    }
}

/// A text with any number of lines; may be empty.
fn note(violations: &mut Violations, text: &str) {
    violations.at_most("note", text, NOTE_CHARS_MAX);
    if text.contains(|letter: char| letter.is_control() && !"\n\r\t".contains(letter)) {
        violations.add("note", reason::MALFORMED, "must not have control characters");
    }
}

/// Reads an instant of the wire.
pub(crate) fn instant(
    violations: &mut Violations,
    field: &str,
    time: Option<&prost_types::Timestamp>,
) -> Option<Instant> {
    let time = time?;
    let instant = Instant::from_seconds_nanos(time.seconds, time.nanos);
    if instant.is_none() {
        violations.add(field, reason::OUT_OF_RANGE, "must be between the years 1900 and 2200");
    }
    instant
}

/// Checks one draft; `field` is `movement` or `movements[3]`.
pub(crate) fn movement_draft(field: &str, draft: Option<pb::MovementDraft>) -> Result<MovementDraft, Error> {
    let mut violations = Violations::new();
    let Some(draft) = draft else {
        violations.add(field, reason::REQUIRED, "must be given");
        violations.into_result()?;
        return Err(Error::Unprepared);
    };
    let checked = violations.within(field, |v| checked_draft(v, draft));
    violations.into_result()?;
    checked.ok_or(Error::Unprepared)
}

fn checked_draft(v: &mut Violations, draft: pb::MovementDraft) -> Option<MovementDraft> {
    let kind = kind(v, &draft.kind);
    if let Some(kind) = kind {
        fits_kind(v, kind, &draft);
    }
    let variant = required_id(v, "variant_id", &draft.variant_id, VariantId::parse);
    let location = required_id(v, "location_id", &draft.location_id, LocationId::parse);
    let to = optional_id(v, "to_location_id", &draft.to_location_id, LocationId::parse);
    let quantity = quantity(v, &draft.quantity);
    let direction = direction(v, draft.direction);
    let cost = cost(v, draft.unit_cost.as_ref(), draft.total_cost.as_ref());
    let source = source(v, draft.source.unwrap_or_default());
    let occurred_at = instant(v, "occurred_at", draft.occurred_at.as_ref());
    let return_of = optional_id(v, "return_of", &draft.return_of, MovementId::parse);
    code(v, "reason_code", &draft.reason_code);
    code(v, "unit", &draft.unit);
    note(v, &draft.note);
    idempotency_key(v, &draft.idempotency_key);
    Some(MovementDraft {
        kind: kind?,
        variant: variant?,
        location: location?,
        to,
        quantity: quantity?,
        unit: (!draft.unit.is_empty()).then_some(draft.unit),
        direction,
        cost,
        source,
        reason_code: draft.reason_code,
        note: draft.note,
        occurred_at,
        return_of,
    })
}

/// What a kind requires and what it has no use for.
fn fits_kind(v: &mut Violations, kind: Kind, draft: &pb::MovementDraft) {
    let mut check = |field: &str, given: bool, fits: bool, needed: bool| match (given, fits) {
        (true, false) => v.add(field, reason::NOT_ALLOWED, format!("does not belong to '{kind}'")),
        (false, _) if needed => v.add(field, reason::REQUIRED, format!("must be given for '{kind}'")),
        _ => {}
    };
    let moves = kind.flow() == Flow::Move;
    check("to_location_id", !draft.to_location_id.is_empty(), moves, moves);
    let either = kind.flow() == Flow::Either;
    check("direction", draft.direction != i32::from(pb::Direction::Unspecified), either, either);
    let returns = kind.returns().is_some();
    check("return_of", !draft.return_of.is_empty(), returns, returns);
    let costs = kind.takes_cost() && draft.direction != i32::from(pb::Direction::Out);
    match draft.total_cost {
        Some(_) => check("total_cost", true, costs, false),
        None => check("unit_cost", draft.unit_cost.is_some(), costs, kind.needs_cost()),
    }
    check("reason_code", !draft.reason_code.is_empty(), true, kind.needs_reason());
    if moves && draft.to_location_id == draft.location_id {
        v.add("to_location_id", reason::NOT_ALLOWED, "must be another location");
    }
    let source = draft.source.as_ref().map_or("", |source| &source.r#type);
    if !source.is_empty() && !kind.sources().contains(&source) {
        let permitted = kind.sources().join("', '");
        v.add("source.type", "SOURCE_NOT_PERMITTED", format!("'{kind}' is posted from '{permitted}'"));
    }
}

fn kind(v: &mut Violations, text: &str) -> Option<Kind> {
    let text = v.required("kind", text)?;
    let kind = Kind::parse(text);
    if kind.is_none() {
        let known = Kind::POSTABLE.map(Kind::code).join("', '");
        v.add("kind", reason::UNKNOWN_VALUE, format!("'{text}' is none of '{known}'"));
    }
    kind
}

fn quantity(v: &mut Violations, text: &str) -> Option<Quantity> {
    let text = v.required("quantity", text)?;
    let quantity = v.field("quantity", Quantity::parse(text))?;
    if !quantity.is_positive() {
        v.add("quantity", reason::NOT_POSITIVE, format!("'{text}' must be greater than zero"));
        return None;
    }
    if Quantity::whole(crate::domain::post::QUANTITY_MAX) < quantity {
        v.add("quantity", reason::TOO_LARGE, "must be at most 10^12");
        return None;
    }
    Some(quantity)
}

fn direction(v: &mut Violations, number: i32) -> Option<Direction> {
    match pb::Direction::try_from(number) {
        Ok(pb::Direction::Unspecified) => None,
        Ok(pb::Direction::In) => Some(Direction::In),
        Ok(pb::Direction::Out) => Some(Direction::Out),
        Err(_) => {
            v.add("direction", reason::UNKNOWN_VALUE, format!("'{number}' is none of 'IN', 'OUT'"));
            None
        }
    }
}

type Money = proto::api::v1::Money;

fn cost(v: &mut Violations, unit: Option<&Money>, total: Option<&Money>) -> Option<Cost> {
    match (unit, total) {
        (Some(_), Some(_)) => {
            v.add("total_cost", reason::NOT_ALLOWED, "give either unit_cost or total_cost");
            None
        }
        (Some(money), None) => {
            price(v, "unit_cost", money).map(|(price, currency)| Cost::Unit(price, currency))
        }
        (None, Some(money)) => {
            price(v, "total_cost", money).map(|(price, currency)| Cost::Total(price, currency))
        }
        (None, None) => None,
    }
}

fn price(v: &mut Violations, field: &str, money: &Money) -> Option<(UnitPrice, Currency)> {
    v.within(field, |v| {
        let currency = v.required("currency", &money.currency).map(str::to_owned);
        let currency = currency.and_then(|code| v.field("currency", Currency::parse(&code)));
        let amount = v.required("amount", &money.amount).map(str::to_owned);
        let amount = amount.and_then(|text| v.field("amount", UnitPrice::parse(&text)));
        if amount.is_some_and(UnitPrice::is_negative) {
            v.add("amount", reason::OUT_OF_RANGE, "must not be negative");
            return None;
        }
        Some((amount?, currency?))
    })
}

fn source(v: &mut Violations, source: pb::Source) -> Source {
    v.within("source", |v| {
        v.required("type", &source.r#type);
        v.required("id", &source.id);
        for (field, text) in [("id", &source.id), ("number", &source.number), ("line_id", &source.line_id)] {
            line(v, field, text);
        }
    });
    Source {
        kind: source.r#type,
        id: source.id,
        number: source.number,
        line: source.line_id,
        revision: source.revision,
    }
}

fn idempotency_key(v: &mut Violations, key: &str) {
    v.at_most("idempotency_key", key, KEY_CHARS_MAX);
    if !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        v.add("idempotency_key", reason::MALFORMED, "must consist of visible ASCII characters");
    }
}

/// Checks the reason and note of a reversal.
pub(crate) fn reversal(request: &pb::ReverseMovementRequest) -> Result<MovementId, Error> {
    let mut violations = Violations::new();
    let id = required_id(&mut violations, "movement_id", &request.movement_id, MovementId::parse);
    violations.required("reason_code", &request.reason_code);
    code(&mut violations, "reason_code", &request.reason_code);
    note(&mut violations, &request.note);
    violations.into_result()?;
    id.ok_or(Error::Unprepared)
}
