//! What callers send of a location.

use ids::LocationId;
use problem::{Violations, reason};
use proto::stock::v1 as pb;

use crate::convert::{MASK_MAX, code, name, optional_id};
use crate::domain::location::{Change, NegativePolicy, Status, Usage};
use crate::error::Error;

/// A location draft.
#[derive(Clone, Debug)]
pub(crate) struct LocationDraft {
    pub(crate) code: String,
    pub(crate) name: String,
    pub(crate) parent: Option<LocationId>,
    pub(crate) usage: Usage,
    pub(crate) negative: NegativePolicy,
    pub(crate) status: Status,
}

/// Checks a new location; `field` is `location` or `locations[3]`.
pub(crate) fn location_draft(field: &str, draft: Option<pb::Location>) -> Result<LocationDraft, Error> {
    let mut violations = Violations::new();
    let Some(draft) = draft else {
        violations.add(field, reason::REQUIRED, "must be given");
        violations.into_result()?;
        return Err(Error::Unprepared);
    };
    let checked = violations.within(field, |v| {
        output_only(v, &draft);
        v.required("code", &draft.code);
        code(v, "code", &draft.code);
        name(v, "name", &draft.name);
        LocationDraft {
            parent: optional_id(v, "parent_id", &draft.parent_id, LocationId::parse),
            usage: usage(v, draft.usage).unwrap_or_default(),
            negative: negative(v, draft.negative_policy).unwrap_or_default(),
            status: status(v, draft.status).unwrap_or_default(),
            code: draft.code,
            name: draft.name,
        }
    });
    violations.into_result()?;
    Ok(checked)
}

/// Checks a change of a location: the fields that the mask names or, without a mask, those that are set.
pub(crate) fn location_change(request: &pb::UpdateLocationRequest) -> Result<Change, Error> {
    let mut violations = Violations::new();
    let mut change = Change::default();
    match &request.location {
        None => violations.add("location", reason::REQUIRED, "must be given"),
        Some(_) if MASK_MAX < request.update_mask.len() => {
            violations.add("update_mask", reason::TOO_MANY, format!("must have at most '{MASK_MAX}' items"));
        }
        Some(location) => violations.within("location", |v| {
            output_only(v, location);
            for field in mask(location, &request.update_mask) {
                change_field(v, location, &field, &mut change);
            }
        }),
    }
    violations.into_result()?;
    Ok(change)
}

/// The fields to change, in the contract's spelling; the mask may have JSON's.
fn mask(location: &pb::Location, mask: &[String]) -> Vec<String> {
    let snake = |path: &String| {
        let letters = path.chars().flat_map(|letter| {
            letter.is_ascii_uppercase().then_some('_').into_iter().chain([letter.to_ascii_lowercase()])
        });
        letters.collect()
    };
    if !mask.is_empty() {
        return mask.iter().map(snake).collect();
    }
    let set = [
        ("name", !location.name.is_empty()),
        ("negative_policy", location.negative_policy != 0),
        ("status", location.status != 0),
        ("code", !location.code.is_empty()),
        ("parent_id", !location.parent_id.is_empty()),
        ("usage", location.usage != 0),
    ];
    set.into_iter().filter(|(_, set)| *set).map(|(field, _)| field.to_owned()).collect()
}

fn change_field(v: &mut Violations, location: &pb::Location, field: &str, change: &mut Change) {
    match field {
        "name" => {
            name(v, field, &location.name);
            change.name = Some(location.name.clone());
        }
        "negative_policy" => {
            change.negative = Some(negative(v, location.negative_policy).unwrap_or_default());
        }
        "status" => change.status = Some(status(v, location.status).unwrap_or_default()),
        "code" | "parent_id" | "usage" => {
            v.add(field, reason::IMMUTABLE, "must not be given; it is set at creation");
        }
        "id" | "business_id" | "etag" | "created_at" | "updated_at" => set_by_us(v, field),
        unknown => v.add(unknown, reason::UNKNOWN_FIELD, "is no field of a location"),
    }
}

fn output_only(v: &mut Violations, location: &pb::Location) {
    let fields = [
        ("id", !location.id.is_empty()),
        ("business_id", !location.business_id.is_empty()),
        ("etag", !location.etag.is_empty()),
        ("created_at", location.created_at.is_some()),
        ("updated_at", location.updated_at.is_some()),
    ];
    fields.into_iter().filter(|(_, set)| *set).for_each(|(field, _)| set_by_us(v, field));
}

fn set_by_us(v: &mut Violations, field: &str) {
    v.add(field, reason::OUTPUT_ONLY, "must not be given; the service sets it");
}

fn usage(v: &mut Violations, number: i32) -> Option<Usage> {
    match pb::LocationUsage::try_from(number) {
        Ok(pb::LocationUsage::Unspecified) => None,
        Ok(pb::LocationUsage::Internal) => Some(Usage::Internal),
        Ok(pb::LocationUsage::Transit) => Some(Usage::Transit),
        Ok(pb::LocationUsage::Quarantine) => Some(Usage::Quarantine),
        Ok(_) => {
            v.add("usage", reason::NOT_ALLOWED, "virtual locations exist by themselves");
            None
        }
        Err(_) => {
            let detail = format!("'{number}' is none of 'INTERNAL', 'TRANSIT', 'QUARANTINE'");
            v.add("usage", reason::UNKNOWN_VALUE, detail);
            None
        }
    }
}

fn negative(v: &mut Violations, number: i32) -> Option<NegativePolicy> {
    match pb::NegativePolicy::try_from(number) {
        Ok(pb::NegativePolicy::Unspecified) => None,
        Ok(pb::NegativePolicy::Forbid) => Some(NegativePolicy::Forbid),
        Ok(pb::NegativePolicy::Allow) => Some(NegativePolicy::Allow),
        Err(_) => {
            v.add(
                "negative_policy",
                reason::UNKNOWN_VALUE,
                format!("'{number}' is none of 'FORBID', 'ALLOW'"),
            );
            None
        }
    }
}

fn status(v: &mut Violations, number: i32) -> Option<Status> {
    match pb::LocationStatus::try_from(number) {
        Ok(pb::LocationStatus::Unspecified) => None,
        Ok(pb::LocationStatus::Active) => Some(Status::Active),
        Ok(pb::LocationStatus::BlockedIn) => Some(Status::BlockedIn),
        Ok(pb::LocationStatus::BlockedOut) => Some(Status::BlockedOut),
        Ok(pb::LocationStatus::Closed) => Some(Status::Closed),
        Err(_) => {
            let detail = format!("'{number}' is none of 'ACTIVE', 'BLOCKED_IN', 'BLOCKED_OUT', 'CLOSED'");
            v.add("status", reason::UNKNOWN_VALUE, detail);
            None
        }
    }
}
