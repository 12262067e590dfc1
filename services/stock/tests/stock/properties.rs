//! Random commands: the ledger does what the model does, and what always adds up does.

use proptest::prelude::*;
use quantity::Quantity;
use stock::domain::kind::Kind;
use stock::domain::location::Status;
use stock::domain::movement::Method;
use stock::domain::post::{Cost, Direction};

use crate::ledger::{Draft, Ledger, draft, eur, loc, why};
use crate::model::{Model, Step, What};

const PLACES: u8 = 9;

fn micros(quantity: i128) -> Quantity {
    Quantity::from_micros(i64::try_from(quantity).unwrap())
}

fn total(cents: i128) -> Cost {
    Cost::Total(money::UnitPrice::from_micros(i64::try_from(cents * 10_000).unwrap()), eur())
}

/// Few places at first, so that something happens there; sometimes more than the header has room for.
fn places() -> impl Strategy<Value = u8> {
    prop_oneof![5 => 1..3u8, 1 => 3..=PLACES]
}

fn quantities() -> impl Strategy<Value = i128> {
    prop_oneof![
        4 => (1..20i128).prop_map(|whole| whole * 1_000_000),
        1 => (1..60_000i128).prop_map(|thousandths| thousandths * 1000),
        1 => 1..20_000_000i128,
    ]
}

fn steps() -> impl Strategy<Value = Step> {
    let cents = prop_oneof![1 => Just(0i128), 5 => 1..50_000i128];
    prop_oneof![
        6 => (places(), quantities(), cents.clone())
            .prop_map(|(place, quantity, total)| Step::Receive { place, quantity, total }),
        6 => (places(), quantities()).prop_map(|(place, quantity)| Step::Sell { place, quantity }),
        2 => (places(), places(), quantities()).prop_map(|(from, to, quantity)| Step::Move {
            from,
            to: if from == to { from % PLACES + 1 } else { to },
            quantity,
        }),
        1 => (places(), quantities(), prop::option::of(cents))
            .prop_map(|(place, quantity, total)| Step::Find { place, quantity, total }),
        1 => (places(), quantities()).prop_map(|(place, quantity)| Step::Lose { place, quantity }),
        3 => (places(), quantities(), any::<usize>())
            .prop_map(|(place, quantity, of)| Step::ComeBack { place, quantity, of }),
        2 => (places(), quantities(), any::<usize>())
            .prop_map(|(place, quantity, of)| Step::GoBack { place, quantity, of }),
        5 => any::<usize>().prop_map(|of| Step::Reverse { of }),
        1 => (places(), any::<bool>(), any::<bool>())
            .prop_map(|(place, arrivals, issues)| Step::Block { place, arrivals, issues }),
    ]
}

/// Lets a step name a movement that there is; `None` if there is none.
fn aimed(step: Step, model: &Model) -> Option<Step> {
    let pick = |of: usize, fits: &dyn Fn(usize) -> bool| {
        let fitting: Vec<usize> = (0..model.past.len()).filter(|at| fits(*at)).collect();
        (!fitting.is_empty()).then(|| fitting[of % fitting.len()])
    };
    let is = |what: What| {
        move |at: usize| {
            let moved = &model.past[at];
            moved.what == what && !moved.is_reversal
        }
    };
    Some(match step {
        Step::ComeBack { place, quantity, of } => {
            Step::ComeBack { place, quantity, of: pick(of, &is(What::Sell))? }
        }
        Step::GoBack { place, quantity, of } => {
            Step::GoBack { place, quantity, of: pick(of, &is(What::Receive))? }
        }
        Step::Reverse { of } => Step::Reverse { of: pick(of, &|_| true)? },
        other => other,
    })
}

fn seq(at: usize) -> u64 {
    at as u64 + 1
}

fn perform(ledger: &mut Ledger, step: &Step) -> Result<u64, String> {
    let of =
        |kind, place: u8, quantity: i128| Draft { quantity: micros(quantity), ..draft(kind, "1").at(place) };
    let found = match *step {
        Step::Receive { place, quantity, total: cents } => {
            ledger.post(Draft { cost: Some(total(cents)), ..of(Kind::PurchaseReceipt, place, quantity) })
        }
        Step::Sell { place, quantity } => ledger.post(of(Kind::SaleShipment, place, quantity)),
        Step::Move { from, to, quantity } => {
            ledger.post(Draft { to: Some(to), ..of(Kind::TransferDirect, from, quantity) })
        }
        Step::Find { place, quantity, total: cents } => {
            let (direction, cost) = (Some(Direction::In), cents.map(total));
            ledger.post(Draft { direction, cost, ..of(Kind::AdjustmentManual, place, quantity) })
        }
        Step::Lose { place, quantity } => {
            let direction = Some(Direction::Out);
            ledger.post(Draft { direction, ..of(Kind::AdjustmentManual, place, quantity) })
        }
        Step::ComeBack { place, quantity, of: at } => {
            ledger.post(of(Kind::ReturnCustomer, place, quantity).of(seq(at)))
        }
        Step::GoBack { place, quantity, of: at } => {
            ledger.post(of(Kind::ReturnSupplier, place, quantity).of(seq(at)))
        }
        Step::Reverse { of } => ledger.reverse(seq(of)),
        Step::Block { place, arrivals, issues } => {
            let status = match (arrivals, issues) {
                (false, false) => Status::Active,
                (true, false) => Status::BlockedIn,
                (false, true) => Status::BlockedOut,
                (true, true) => Status::Closed,
            };
            ledger.status(place, status);
            return Ok(0);
        }
    };
    found.map_err(|error| why(&error))
}

fn compare(ledger: &Ledger, model: &Model) {
    let pool = &ledger.item().pool;
    assert_eq!(pool.quantity, micros(model.on_hand()));
    assert_eq!(i128::from(pool.value), model.value);
    for (place, quantity) in &model.places {
        assert_eq!(ledger.item().at(loc(*place)), micros(*quantity), "place {place}");
    }
    let layers: Vec<_> = pool.layers.iter().map(|layer| (layer.receipt, layer.quantity)).collect();
    let expected: Vec<_> =
        model.layers.iter().map(|layer| (seq(layer.from), micros(layer.quantity))).collect();
    assert_eq!(layers, expected);
    if model.fifo {
        let values: Vec<_> = pool.layers.iter().map(|layer| i128::from(layer.value)).collect();
        assert_eq!(values, model.layers.iter().map(|layer| layer.value).collect::<Vec<_>>());
    }
    let shortages: Vec<_> = pool
        .deficits
        .iter()
        .map(|deficit| (deficit.issue, deficit.quantity, i128::from(deficit.value)))
        .collect();
    let expected: Vec<_> =
        model.shortages.iter().map(|part| (seq(part.from), micros(part.quantity), part.value)).collect();
    assert_eq!(shortages, expected);
}

fn run(method: Method, may_lack: &[u8], fold: usize, steps: Vec<Step>) {
    let mut ledger = Ledger::new(method);
    ledger.fold = fold;
    let mut model = Model::default();
    model.fifo = method == Method::Fifo;
    for place in may_lack {
        ledger.allow(*place);
        model.may_lack.insert(*place);
    }
    for step in steps {
        let Some(step) = aimed(step, &model) else { continue };
        let before = model.past.len();
        let expected = model.step(&step);
        let found = perform(&mut ledger, &step);
        assert_eq!(found.as_ref().err().map(String::as_str), expected.err(), "{step:?}");
        assert_eq!(ledger.movements.len(), model.past.len(), "{step:?}");
        for (movement, moved) in ledger.movements[before..].iter().zip(&model.past[before..]) {
            assert_eq!(movement.location, loc(moved.place), "{step:?}");
            assert_eq!(movement.quantity, micros(moved.quantity), "{step:?}");
            assert_eq!(i128::from(movement.value), moved.value, "{step:?}");
            let link = movement.settles.or(movement.reversal_of).or(movement.return_of);
            assert_eq!(link, moved.of.map(seq), "{step:?}");
        }
        compare(&ledger, &model);
    }
    // Dropped here: the ledger replays everything and checks all rules.
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn fifo_does_what_the_model_does(
        may_lack in prop::collection::vec(1..4u8, 0..3), fold in 1..6usize,
        steps in prop::collection::vec(steps(), 1..80),
    ) {
        run(Method::Fifo, &may_lack, fold, steps);
    }

    #[test]
    fn the_moving_average_does_what_the_model_does(
        may_lack in prop::collection::vec(1..4u8, 0..3), fold in 1..6usize,
        steps in prop::collection::vec(steps(), 1..80),
    ) {
        run(Method::MovingAverage, &may_lack, fold, steps);
    }
}
