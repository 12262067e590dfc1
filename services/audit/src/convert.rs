//! Between the contract and the domain: every field check is here, and all bad fields are reported at
//! once.

use calendar::Instant;
use ids::AggregateId;
use problem::{Invalid, Violations, reason};
use prost_types::Timestamp;
use proto::audit::v1 as wire;

use crate::app::{AuditEvent, Completeness, Gap, Inclusion, Page, Part, Signed};
use crate::domain::merkle::Hash;
use crate::domain::summary::Filter;

/// Longest text of a filter.
const TEXT_CHARS_MAX: usize = 200;

pub(crate) fn list(request: &wire::ListAuditEventsRequest) -> Result<(Filter, usize), Invalid> {
    let mut violations = Violations::new();
    let texts =
        [("actor_id", &request.actor_id), ("action", &request.action), ("resource", &request.resource)];
    for (field, text) in texts {
        violations.at_most(field, text, TEXT_CHARS_MAX);
    }
    let given = |text: &String| (!text.is_empty()).then(|| text.clone());
    let filter = Filter {
        actor: given(&request.actor_id),
        action: given(&request.action),
        resource: given(&request.resource),
        from: instant(&mut violations, "recorded_from", request.recorded_from.as_ref()),
        before: instant(&mut violations, "recorded_before", request.recorded_before.as_ref()),
    };
    let size = rpc::page_size(request.page_size).unwrap_or_else(|size| {
        violations.add("page_size", reason::TOO_LARGE, format!("must be at most '500', not '{size}'"));
        0
    });
    violations.into_result()?;
    Ok((filter, size))
}

fn instant(violations: &mut Violations, field: &str, at: Option<&Timestamp>) -> Option<Instant> {
    let at = at?;
    let found = Instant::from_seconds_nanos(at.seconds, at.nanos);
    if found.is_none() {
        violations.add(field, reason::OUT_OF_RANGE, "is no time between the years 1 and 9999");
    }
    found
}

fn timestamp(at: Instant) -> Timestamp {
    let (seconds, nanos) = at.seconds_nanos();
    Timestamp { seconds, nanos }
}

/// A number that is not given when it is 0.
pub(crate) fn given(number: u64) -> Option<u64> {
    (number != 0).then_some(number)
}

pub(crate) fn page(page: Page) -> wire::ListAuditEventsResponse {
    wire::ListAuditEventsResponse {
        events: page.events.into_iter().map(event).collect(),
        next_page_token: page.next,
    }
}

fn event(event: AuditEvent) -> wire::AuditEvent {
    wire::AuditEvent {
        leaf_index: event.index,
        recorded_at: Some(timestamp(event.recorded_at)),
        actor: Some(proto::api::v1::Actor { kind: event.actor_kind, id: event.actor }),
        action: event.action,
        resource: event.resource,
        service: event.service,
        aggregate: event.aggregate.to_string(),
        seq: event.seq,
        request_id: event.request_id,
    }
}

pub(crate) fn checkpoint(signed: Signed) -> wire::Checkpoint {
    let [log_key, witness_key] = signed.keys;
    wire::Checkpoint {
        origin: signed.checkpoint.origin,
        tree_size: signed.checkpoint.size,
        root_hash: signed.checkpoint.root.to_vec(),
        note: signed.note,
        log_key,
        witness_key,
    }
}

fn bytes(hashes: Vec<Hash>) -> Vec<Vec<u8>> {
    hashes.into_iter().map(|hash| hash.to_vec()).collect()
}

pub(crate) fn inclusion(leaf_index: u64, proof: Inclusion) -> wire::InclusionProof {
    wire::InclusionProof {
        leaf_index,
        tree_size: proof.size,
        leaf: proof.leaf.encode(),
        hashes: bytes(proof.hashes),
        checkpoint: proof.signed.map(checkpoint),
    }
}

pub(crate) fn consistency(
    old_size: u64,
    (new_size, hashes, signed): (u64, Vec<Hash>, Option<Signed>),
) -> wire::ConsistencyProof {
    wire::ConsistencyProof { old_size, new_size, hashes: bytes(hashes), checkpoint: signed.map(checkpoint) }
}

pub(crate) fn completeness(found: Completeness, next: String) -> wire::CheckCompletenessResponse {
    wire::CheckCompletenessResponse {
        aggregates: found.aggregates,
        entries: found.entries,
        gaps: found.gaps.into_iter().map(gap).collect(),
        next_page_token: next,
    }
}

fn gap(gap: Gap) -> wire::AuditGap {
    wire::AuditGap {
        service: gap.service.to_owned(),
        aggregate: gap.aggregate.to_string(),
        head_seq: gap.head,
        covered_seq: gap.covered,
        contradicts: gap.contradicts,
        parked: gap.parked,
    }
}

pub(crate) fn part(part: Part) -> wire::ExportAuditLogResponse {
    wire::ExportAuditLogResponse { data: part.data, next_page_token: part.next }
}

/// Where a comparison goes on, as a page token holds it.
pub(crate) fn position((service, aggregate): (u8, AggregateId)) -> Vec<u8> {
    [[service].as_slice(), aggregate.as_bytes()].concat()
}

pub(crate) fn read_position(bytes: &[u8]) -> Option<(u8, AggregateId)> {
    let (service, aggregate) = bytes.split_first()?;
    Some((*service, AggregateId::from_bytes(aggregate.try_into().ok()?)))
}
