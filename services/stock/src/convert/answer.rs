//! Domain to proto.

use calendar::Instant;
use ids::{LocationId, MovementId, RandomPart, VariantId};
use journal::{Posted, Seq};
use money::{Currency, div_half_away, format_decimal, format_decimal_trimmed};
use proto::stock::v1 as pb;
use quantity::Quantity;

use crate::domain::item::{Balance, Item};
use crate::domain::kind::Virtual;
use crate::domain::location::{Location, NegativePolicy, Status, Usage};
use crate::domain::movement::{Facts, Movement};

type Money = proto::api::v1::Money;

/// Decimal places of unit costs shown to people.
const UNIT_COST_PLACES: u32 = 6;

/// An instant on the wire.
pub(crate) fn timestamp(instant: Instant) -> Option<prost_types::Timestamp> {
    let (seconds, nanos) = instant.seconds_nanos();
    Some(prost_types::Timestamp { seconds, nanos })
}

/// A value on the wire: in units of 10^-`scale`.
pub(crate) fn money(value: i64, currency: Currency, scale: u32) -> Option<Money> {
    Some(Money { currency: currency.code().to_owned(), amount: format_decimal(value, scale) })
}

/// Value per unit, rounded to six places for people.
fn unit_cost(value: i64, quantity: Quantity, facts: &Facts) -> Option<Money> {
    if quantity.is_zero() {
        return None;
    }
    // value / 10^scale / (micros / 10^6), in units of 10^-6.
    let micros = i128::from(value) * 10i128.pow(6 + UNIT_COST_PLACES - facts.cost_scale);
    let rounded = div_half_away(micros, i128::from(quantity.micros()));
    let amount = i64::try_from(rounded).ok()?;
    let amount = format_decimal_trimmed(amount, UNIT_COST_PLACES);
    Some(Money { currency: facts.currency.code().to_owned(), amount })
}

/// Ids of movements that a movement names by sequence; those of its own posting follow from its key.
#[derive(Clone, Copy, Default)]
pub(crate) struct Links {
    pub(crate) reversal_of: Option<MovementId>,
    pub(crate) reversed_by: Option<MovementId>,
    pub(crate) return_of: Option<MovementId>,
    pub(crate) settles: Option<MovementId>,
}

/// Id of a posted movement: from when it was recorded, the idempotency key, and its position.
pub(crate) fn movement_id(posted: &Posted<Movement>, position: u32) -> MovementId {
    let leg = u8::try_from(position).unwrap_or(u8::MAX).min(63);
    MovementId::derived(posted.recorded_at.unix_ms(), RandomPart(posted.key.0), leg)
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}

/// A movement on the wire.
pub(crate) fn movement(posted: &Posted<Movement>, facts: &Facts, links: Links) -> pb::Movement {
    let event = &posted.event;
    let value = |value: i64| money(value, facts.currency, facts.cost_scale);
    let text = |id: Option<MovementId>| id.map(|id| id.to_string()).unwrap_or_default();
    pb::Movement {
        id: movement_id(posted, event.position).to_string(),
        business_id: facts.business.to_string(),
        variant_id: facts.variant.to_string(),
        location_id: event.location.to_string(),
        counterpart_location_id: event.counterpart.to_string(),
        sequence: posted.seq,
        kind: event.kind.code().to_owned(),
        class: event.kind.class().to_owned(),
        quantity: event.quantity.to_string(),
        balance_before: event.balance_before.to_string(),
        balance_after: event.balance_after.to_string(),
        item_balance_after: event.item_after.to_string(),
        pool_quantity_after: event.pool_quantity_after.to_string(),
        pool_value_after: value(event.pool_value_after),
        entered: Some(pb::Entered {
            quantity: event.cause.entered.quantity.to_string(),
            unit: event.cause.entered.unit.clone(),
            numerator: event.cause.entered.factor.num(),
            denominator: event.cause.entered.factor.den(),
        }),
        unit_cost: unit_cost(event.value.abs(), event.quantity.abs(), facts),
        value: value(event.value),
        consumed: event
            .consumed
            .iter()
            .map(|slice| pb::Consumed {
                receipt_sequence: slice.receipt,
                quantity: slice.quantity.to_string(),
                value: value(slice.value),
            })
            .collect(),
        provisional: event.provisional.map(|(quantity, assumed)| pb::Provisional {
            quantity: quantity.to_string(),
            value: value(assumed),
        }),
        source: Some(pb::Source {
            r#type: event.cause.source.kind.clone(),
            id: event.cause.source.id.clone(),
            number: event.cause.source.number.clone(),
            line_id: event.cause.source.line.clone(),
            revision: event.cause.source.revision,
        }),
        reason_code: event.cause.reason_code.clone(),
        note: event.cause.note.clone(),
        occurred_at: timestamp(event.occurred_at),
        recorded_at: timestamp(posted.recorded_at),
        actor: Some(proto::api::v1::Actor { kind: posted.actor.kind.clone(), id: posted.actor.id.clone() }),
        late: event.late,
        reversal_of: text(links.reversal_of),
        reversed_by: text(links.reversed_by),
        return_of: text(links.return_of),
        settles: text(links.settles),
        posting_id: movement_id(posted, 0).to_string(),
        costing_method: event.method.name().to_owned(),
        chain_hash: posted.chain.map(|chain| hex(&chain.0)).unwrap_or_default(),
    }
}

/// The stock of an item on the wire.
pub(crate) fn item_balance(
    item: &Item,
    facts: &Facts,
    balances: &[(LocationId, Balance)],
    seq: Seq,
    updated_at: Instant,
) -> pb::ItemBalance {
    pb::ItemBalance {
        variant_id: facts.variant.to_string(),
        business_id: facts.business.to_string(),
        base_unit: facts.base_unit.clone(),
        on_hand: item.on_hand.to_string(),
        value: money(item.pool.value, facts.currency, facts.cost_scale),
        unit_cost: unit_cost(item.pool.value, item.pool.quantity, facts),
        costing_method: facts.method.name().to_owned(),
        locations: balances
            .iter()
            .map(|(location, balance)| pb::LocationBalance {
                location_id: location.to_string(),
                on_hand: balance.on_hand.to_string(),
                movements: balance.movements,
                last_sequence: balance.last,
            })
            .collect(),
        sequence: seq,
        updated_at: timestamp(updated_at),
    }
}

/// The stock of a variant that never moved.
pub(crate) fn no_balance(
    business: ids::BusinessId,
    variant: VariantId,
    base_unit: String,
) -> pb::ItemBalance {
    pb::ItemBalance {
        variant_id: variant.to_string(),
        business_id: business.to_string(),
        base_unit,
        on_hand: Quantity::ZERO.to_string(),
        ..pb::ItemBalance::default()
    }
}

/// A location on the wire.
pub(crate) fn location(location: &Location, revision: u64) -> pb::Location {
    let usage = match location.usage {
        Usage::Internal => pb::LocationUsage::Internal,
        Usage::Transit => pb::LocationUsage::Transit,
        Usage::Quarantine => pb::LocationUsage::Quarantine,
        Usage::Virtual(Virtual::Supplier) => pb::LocationUsage::Supplier,
        Usage::Virtual(Virtual::Customer) => pb::LocationUsage::Customer,
        Usage::Virtual(Virtual::Loss) => pb::LocationUsage::Loss,
    };
    let negative = match location.negative {
        NegativePolicy::Forbid => pb::NegativePolicy::Forbid,
        NegativePolicy::Allow => pb::NegativePolicy::Allow,
    };
    let status = match location.status {
        Status::Active => pb::LocationStatus::Active,
        Status::BlockedIn => pb::LocationStatus::BlockedIn,
        Status::BlockedOut => pb::LocationStatus::BlockedOut,
        Status::Closed => pb::LocationStatus::Closed,
    };
    pb::Location {
        id: location.id.to_string(),
        business_id: location.business.to_string(),
        code: location.code.clone(),
        name: location.name.clone(),
        parent_id: location.parent.map(|parent| parent.to_string()).unwrap_or_default(),
        usage: usage.into(),
        negative_policy: negative.into(),
        status: status.into(),
        etag: rpc::etag(revision),
        created_at: timestamp(location.created_at),
        updated_at: timestamp(location.updated_at),
    }
}
