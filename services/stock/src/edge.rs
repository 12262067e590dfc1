//! What several methods of the edge share: sizes, filters, batches.

use std::collections::HashSet;

use ids::LocationId;
use journal::Meta;
use problem::{Invalid, Violations, reason};
use proto::stock::v1 as pb;

use crate::app::Filter;
use crate::convert::{self, CODE_CHARS_MAX, SOURCE_CHARS_MAX};
use crate::domain::kind::Kind;
use crate::error::Error;

/// Kinds in one filter.
const KINDS_MAX: usize = 20;

pub(crate) fn page_size(requested: u32) -> Result<usize, Error> {
    rpc::page_size(requested).map_err(|_| Error::field("page_size", reason::TOO_LARGE, "must be at most 500"))
}

pub(crate) fn batch_size(field: &str, items: usize) -> Result<(), Error> {
    match items {
        0 => Err(Error::field(field, reason::REQUIRED, "must be given")),
        items if convert::BATCH_MAX < items => Err(Error::field(
            field,
            reason::TOO_MANY,
            format!("must have at most '{}' items", convert::BATCH_MAX),
        )),
        _ => Ok(()),
    }
}

/// Key of one item of a batch, from the key of the batch.
pub(crate) fn item_key(batch: &str, at: usize) -> String {
    format!("{batch}#{at}")
}

/// The drafts, or the violations of all of them at once.
pub(crate) fn all_valid<T>(drafts: impl Iterator<Item = Result<T, Error>>) -> Result<Vec<T>, Error> {
    let mut valid = Vec::new();
    let mut violations = Vec::new();
    for draft in drafts {
        match draft {
            Ok(draft) => valid.push(draft),
            Err(Error::Invalid(invalid)) => violations.extend(invalid.violations),
            Err(other) => return Err(other),
        }
    }
    if violations.is_empty() { Ok(valid) } else { Err(Error::Invalid(Invalid { violations })) }
}

/// Refuses an idempotency key that stands twice in a batch: the second would be "in progress".
pub(crate) fn each_key_once<T>(
    drafts: impl Iterator<Item = Result<(T, Meta), Error>>,
) -> impl Iterator<Item = Result<(T, Meta), Error>> {
    let mut seen = HashSet::new();
    drafts.enumerate().map(move |(at, draft)| match draft {
        Ok((_, meta)) if !seen.insert(meta.key) => {
            let field = format!("movements[{at}].idempotency_key");
            Err(Error::field(&field, reason::NOT_ALLOWED, "stands twice in this batch"))
        }
        other => other,
    })
}

/// Checks the code that a list is filtered by.
pub(crate) fn code_filter(code: &str) -> Result<(), Error> {
    let mut v = Violations::new();
    v.at_most("code", code, CODE_CHARS_MAX);
    Ok(v.into_result()?)
}

pub(crate) fn optional_location(text: &str) -> Result<Option<LocationId>, Error> {
    if text.is_empty() {
        return Ok(None);
    }
    convert::id("location_id", text, LocationId::parse).map(Some)
}

pub(crate) fn after_variant(text: &str) -> Result<Option<ids::VariantId>, Error> {
    if text.is_empty() {
        return Ok(None);
    }
    convert::id("after_variant_id", text, ids::VariantId::parse).map(Some)
}

pub(crate) fn filter(request: &pb::ListMovementsRequest) -> Result<Filter, Error> {
    let mut v = Violations::new();
    let mut filter = Filter::default();
    if !request.variant_id.is_empty() {
        filter.variant = v.field("variant_id", ids::VariantId::parse(&request.variant_id));
    }
    if !request.location_id.is_empty() {
        filter.location = v.field("location_id", LocationId::parse(&request.location_id));
    }
    if KINDS_MAX < request.kind.len() {
        v.add("kind", reason::TOO_MANY, format!("must have at most '{KINDS_MAX}' items"));
    }
    for (at, code) in request.kind.iter().enumerate().take(KINDS_MAX) {
        let settlement = Some(Kind::ValueSettlement).filter(|kind| kind.code() == code);
        match Kind::parse(code).or(settlement) {
            Some(kind) => filter.kinds.push(kind),
            None => v.add(
                &format!("kind[{at}]"),
                reason::UNKNOWN_VALUE,
                format!("'{code}' is no kind of movement"),
            ),
        }
    }
    v.at_most("source_type", &request.source_type, SOURCE_CHARS_MAX);
    v.at_most("source_id", &request.source_id, SOURCE_CHARS_MAX);
    match (request.source_type.is_empty(), request.source_id.is_empty()) {
        (true, true) => {}
        (false, false) => filter.source = Some((request.source_type.clone(), request.source_id.clone())),
        (true, false) => v.add("source_type", reason::REQUIRED, "must be given with source_id"),
        (false, true) => v.add("source_id", reason::REQUIRED, "must be given with source_type"),
    }
    if request.variant_id.is_empty() && request.source_id.is_empty() && request.source_type.is_empty() {
        v.add("variant_id", reason::REQUIRED, "either variant_id or source_type and source_id must be given");
    }
    filter.from = convert::instant(&mut v, "occurred_from", request.occurred_from.as_ref());
    filter.before = convert::instant(&mut v, "occurred_before", request.occurred_before.as_ref());
    match pb::MovementOrder::try_from(request.order_by) {
        Ok(order) => filter.oldest_first = order == pb::MovementOrder::Oldest,
        Err(_) => v.add("order_by", reason::UNKNOWN_VALUE, "is none of 'NEWEST', 'OLDEST'"),
    }
    v.into_result()?;
    Ok(filter)
}
