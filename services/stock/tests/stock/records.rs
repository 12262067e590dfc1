//! What is stored decodes to what it was.

use std::sync::Arc;

use calendar::Instant;
use ids::LocationId;
use journal::Aggregate;
use proptest::prelude::*;
use quantity::{Factor, Quantity};
use stock::domain::item::{Balance, Item, Marks};
use stock::domain::kind::Kind;
use stock::domain::location::{Change, Event, Location, NegativePolicy, Place, Status, Usage};
use stock::domain::movement::{Cause, Cover, Entered, Facts, Method, Movement, Slice, Source};
use stock::domain::pool::Deficit;
use stock::records;

use crate::ledger::{BUSINESS, VARIANT, eur};

fn quantities() -> impl Strategy<Value = Quantity> {
    any::<i64>().prop_map(Quantity::from_micros)
}

fn instants() -> impl Strategy<Value = Instant> {
    (Instant::MIN.unix_micros()..=Instant::MAX.unix_micros()).prop_map(Instant::from_unix_micros)
}

fn locations() -> impl Strategy<Value = LocationId> {
    any::<[u8; 16]>().prop_map(LocationId::from_bytes)
}

fn methods() -> impl Strategy<Value = Method> {
    prop_oneof![Just(Method::Fifo), Just(Method::MovingAverage)]
}

fn slices() -> impl Strategy<Value = Slice> {
    let parts = (any::<u64>(), quantities(), any::<i64>());
    parts.prop_map(|(receipt, quantity, value)| Slice { receipt, quantity, value })
}

prop_compose! {
    fn facts()(base_unit in ".{0,4}", quantity_scale in 0..7u32, cost_scale in 0..7u32, method in methods()) -> Facts {
        Facts { business: BUSINESS, variant: VARIANT, base_unit, quantity_scale, currency: eur(), cost_scale, method }
    }
}

prop_compose! {
    fn causes()(
        quantity in quantities(), unit in ".{0,4}", num in 1..i64::MAX, den in 1..i64::MAX,
        texts in prop::array::uniform4(".{0,9}"), revision: u32, reason_code in ".{0,9}", note in ".{0,9}",
    ) -> Cause {
        let [kind, id, number, line] = texts;
        Cause {
            entered: Entered { quantity, unit, factor: Factor::new(num, den).unwrap() },
            source: Source { kind, id, number, line, revision },
            reason_code,
            note,
        }
    }
}

fn covers() -> impl Strategy<Value = Cover> {
    let parts = (any::<u64>(), quantities(), any::<i64>(), any::<i64>());
    parts.prop_map(|(issue, quantity, provisional, actual)| Cover { issue, quantity, provisional, actual })
}

prop_compose! {
    fn movements()(
        head in (prop::option::of(facts()), any::<u32>(), 1..17u32, locations(), locations()),
        quantities in prop::array::uniform5(quantities()),
        values in prop::array::uniform3(any::<i64>()),
        cause in causes(), occurred_at in instants(), late: bool, method in methods(),
        lists in (prop::collection::vec(slices(), 0..4), prop::collection::vec(slices(), 0..4), prop::collection::vec(covers(), 0..4)),
        pairs in prop::array::uniform2(prop::option::of((quantities(), any::<i64>()))),
        links in prop::array::uniform3(prop::option::of(1..u64::MAX)),
    ) -> Movement {
        let (facts, position, kind, location, counterpart) = head;
        let [quantity, balance_before, balance_after, item_after, pool_quantity_after] = quantities;
        let [value, pool_value_after, variance] = values;
        let (consumed, restored, covered) = lists;
        let ([layer, provisional], [reversal_of, return_of, settles]) = (pairs, links);
        Movement {
            facts, position, kind: Kind::from_number(kind).unwrap(), location, counterpart, quantity,
            balance_before, balance_after, item_after, value, pool_quantity_after, pool_value_after,
            cause: Arc::new(cause), occurred_at, consumed, restored, layer, covered, provisional, late,
            reversal_of, return_of, settles, variance, method,
        }
    }
}

prop_compose! {
    fn places()(
        id in locations(), code in ".{0,9}", name in ".{0,9}", parent in prop::option::of(locations()),
        usage in prop_oneof![Just(Usage::Internal), Just(Usage::Transit), Just(Usage::Quarantine)],
        negative in policies(), status in statuses(), created_at in instants(), updated_at in instants(),
    ) -> Location {
        Location { id, business: BUSINESS, code, name, parent, usage, negative, status, created_at, updated_at }
    }
}

fn policies() -> impl Strategy<Value = NegativePolicy> {
    prop_oneof![Just(NegativePolicy::Forbid), Just(NegativePolicy::Allow)]
}

fn statuses() -> impl Strategy<Value = Status> {
    prop_oneof![Just(Status::Active), Just(Status::BlockedIn), Just(Status::BlockedOut), Just(Status::Closed)]
}

proptest! {
    #[test]
    fn a_movement_decodes_to_itself(movement in movements()) {
        prop_assert_eq!(Item::decode(&Item::encode(&movement)), Ok(movement));
    }

    #[test]
    fn events_of_a_location_decode_to_themselves(
        location in places(), revision: u64, name in prop::option::of(".{0,9}"),
        negative in prop::option::of(policies()), status in prop::option::of(statuses()),
    ) {
        let created = Event::Created(location.clone());
        prop_assert_eq!(Place::decode(&Place::encode(&created)), Ok(created));
        let changed = Event::Changed(Change { name, negative, status });
        prop_assert_eq!(Place::decode(&Place::encode(&changed)), Ok(changed));
        let place = Place { location: Some(location), revision };
        prop_assert_eq!(Place::from_header(&place.header()), Ok(place));
    }

    #[test]
    fn rows_decode_to_themselves(
        location in locations(), on_hand in quantities(), latest in instants(), numbers in prop::array::uniform4(any::<u64>()),
        layers in prop::collection::vec(slices(), 0..9), values in prop::array::uniform2(any::<i64>()),
    ) {
        let [movements, last, _, reversed_by] = numbers;
        let balance = Balance { on_hand, movements, last, latest, inline: false };
        prop_assert_eq!(records::decode_balance(&records::encode_balance(location, &balance)), Ok((location, balance)));
        prop_assert_eq!(records::decode_chunk(&records::encode_chunk(&layers)), Ok(layers.clone()));
        let deficits: Vec<_> =
            layers.iter().map(|slice| Deficit { issue: slice.receipt, quantity: slice.quantity, value: slice.value }).collect();
        prop_assert_eq!(records::decode_deficits(&records::encode_deficits(&deficits)), Ok(deficits));
        let marks = Marks { settled: values[0], returned: on_hand, returned_value: values[1], reversed_by };
        prop_assert_eq!(records::decode_marks(&records::encode_marks(&marks)), Ok(marks));
    }

    /// Damaged bytes are an error, never a panic.
    #[test]
    fn any_bytes_decode_or_are_damaged(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Item::decode(&bytes);
        let _ = Item::from_header(&bytes);
        let _ = Place::decode(&bytes);
        let _ = Place::from_header(&bytes);
        let _ = records::decode_balance(&bytes);
        let _ = records::decode_chunk(&bytes);
        let _ = records::decode_deficits(&bytes);
        let _ = records::decode_marks(&bytes);
    }
}

/// Numbers in stored entries are for ever.
#[test]
fn kinds_keep_their_numbers() {
    let numbers = Kind::POSTABLE.map(|kind| (kind.number(), kind.code()));
    assert_eq!(numbers.map(|(number, _)| number), std::array::from_fn(|at| u32::try_from(at).unwrap() + 1));
    assert_eq!(numbers[0].1, "purchase.receipt");
    assert_eq!(numbers[14].1, "return.supplier");
    assert_eq!(Kind::from_number(16), Some(Kind::ValueSettlement));
    assert_eq!((Kind::from_number(0), Kind::from_number(17)), (None, None));
    assert_eq!(Kind::parse("value.settlement"), None, "nobody posts it");
}
