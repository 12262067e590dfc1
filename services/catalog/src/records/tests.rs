use std::collections::{BTreeMap, HashSet};

use bytes::Bytes;
use calendar::Instant;
use ids::{BusinessId, PriceListId, ProductId, PublicationId, VariantId};
use journal::store::ClaimChange;
use journal::{Aggregate, Changes, Claim, Seq};
use money::{Currency, UnitPrice};
use proptest::prelude::*;
use quantity::Factor;

use super::*;
use crate::domain::{
    Barcode, Caller, ClearPrice, Command, Details, DetailsChange, Kind, Line, NewPriceList, NewProduct,
    NewVariant, PriceCommand, PriceList, Publish, SetPrice, Source, Status, Symbology, UnitFactor,
    VariantChange, VariantDetails, units,
};

/// What a store would have after some commits.
#[derive(Default)]
struct Stored {
    header: Bytes,
    rows: BTreeMap<Bytes, Bytes>,
    claims: BTreeMap<Claim, bool>,
    index: BTreeMap<(u16, Bytes), Bytes>,
    seq: Seq,
}

impl Stored {
    /// Loads what `command` needs, as the journal does.
    fn load<A: Aggregate>(&self, command: &A::Command) -> A {
        let mut state = if self.seq == 0 { A::default() } else { A::from_header(&self.header).unwrap() };
        loop {
            let needs = state.needs(command);
            if needs.is_empty() {
                return state;
            }
            for need in needs {
                let journal::Need::Row(key) = &need else { panic!("only rows are needed") };
                state.load(&need, self.rows.get(key).map(|row| &**row)).unwrap();
            }
        }
    }

    /// Commits commands in one fold, those that are not refused, through the encoded form of their events.
    fn commit<A: Aggregate>(&mut self, state: &mut A, commands: &[A::Command], now: Instant) {
        let mut changes = Changes::default();
        for command in commands {
            assert!(state.needs(command).is_empty(), "a state in memory has what every command needs");
            for event in state.decide(command, now).unwrap_or_default() {
                let event = A::decode(&A::encode(&event)).unwrap();
                self.seq += 1;
                state.evolve(&event, self.seq, now);
                state.project(&event, self.seq, &mut changes);
            }
        }
        state.save(&mut changes);
        self.header = state.header();
        for change in changes.index {
            match change.value {
                Some(value) => self.index.insert((change.index, change.key), value),
                None => self.index.remove(&(change.index, change.key)),
            };
        }
        for (key, row) in changes.rows {
            match row {
                Some(row) => self.rows.insert(key, row),
                None => self.rows.remove(&key),
            };
        }
        // Releases happen before takes.
        for change in &changes.claims {
            if let ClaimChange::Release(claim) = change {
                self.claims.insert(claim.clone(), false);
            }
        }
        for change in changes.claims {
            if let ClaimChange::Take(claim) = change {
                self.claims.insert(claim, true);
            }
        }
    }
}

fn now(n: usize) -> Instant {
    Instant::from_unix_micros(1_780_000_000_000_000 + i64::try_from(n).unwrap())
}

prop_compose! {
    fn details()(sku in "[A-E]", barcode in prop::option::of("[P-T]"), gtin: bool, size in prop::option::of("[SML]"),
                 unit in prop::option::of(prop::sample::select(vec!["C62", "DZN"])), archived: bool) -> VariantDetails {
        let symbology = if gtin { Symbology::Gtin } else { Symbology::Internal };
        let unit = unit.and_then(units::find);
        VariantDetails {
            sku,
            option_values: size.map(|size| ("size".to_owned(), size)).into_iter().collect(),
            barcodes: barcode.map(|value| Barcode { value, symbology, unit }).into_iter().collect(),
            status: if archived { Status::Archived } else { Status::Active },
        }
    }
}

prop_compose! {
    fn factor()(unit in prop::sample::select(vec!["BX", "CT"]), num in 1..9i64, den in 1..3i64) -> UnitFactor {
        UnitFactor { unit: units::find(unit).unwrap(), factor: Factor::new(num, den).unwrap() }
    }
}

prop_compose! {
    fn variant()(id in 0..6u8, details in details(), factor in prop::option::of(factor())) -> NewVariant {
        NewVariant { id: VariantId::from_bytes([id; 16]), details, factors: factor.into_iter().collect() }
    }
}

/// Who owns the product of these tests.
fn asked(command: Command) -> Asked {
    let caller = Caller {
        path: std::sync::Arc::from([BusinessId::from_bytes([8; 16])]),
        policies: std::sync::Arc::default(),
        actor: "key_test".into(),
        categories: None,
    };
    Asked { caller, command }
}

fn new_product(mut variants: Vec<NewVariant>) -> Asked {
    for (at, variant) in variants.iter_mut().enumerate() {
        variant.id = VariantId::from_bytes([100 + u8::try_from(at).unwrap(); 16]);
        variant.details.sku = format!("first-{at}");
        variant.details.barcodes.clear();
    }
    asked(Command::Create(Box::new(NewProduct {
        id: ProductId::from_bytes([9; 16]),
        business: BusinessId::from_bytes([8; 16]),
        base_unit: units::PIECE,
        quantity_scale: 2,
        details: Details {
            name: "Shirt".to_owned(),
            description: "Line 1\nline 2".to_owned(),
            brand: String::new(),
            category: "Clothes".to_owned(),
            option_axes: vec!["size".to_owned()],
            tags: vec!["new".to_owned()],
            status: Status::Draft,
        },
        variants,
    })))
}

fn commands() -> impl Strategy<Value = Asked> {
    let product = ProductId::from_bytes([9; 16]);
    let some = |id: u8| VariantId::from_bytes([if id < 6 { id } else { 94 + id }; 16]);
    prop_oneof![
        ("[a-z]{0,3}", prop::option::of(Just(Status::Active))).prop_map(move |(brand, status)| {
            Command::Update {
                id: product,
                expected: None,
                change: DetailsChange { brand: Some(brand), status, ..DetailsChange::default() },
            }
        }),
        variant().prop_map(move |new| Command::AddVariant { product, new: Box::new(new) }),
        (0..9u8, details()).prop_map(move |(id, details)| Command::UpdateVariant {
            id: some(id),
            expected: None,
            change: VariantChange {
                sku: Some(details.sku),
                option_values: None,
                barcodes: Some(details.barcodes),
                status: None,
            },
        }),
        (0..9u8, factor()).prop_map(move |(id, factor)| Command::SetFactor { variant: some(id), factor }),
        (0..9u8, "[a-c]{1,2}", "[a-c]{0,2}", 0..3u8).prop_map(move |(id, name, brand, stages)| {
            let change = DetailsChange { name: Some(name), brand: Some(brand), ..DetailsChange::default() };
            let stages = (0..stages).map(|byte| vec![BusinessId::from_bytes([20 + byte; 16])]).collect();
            let publication = PublicationId::from_bytes([id; 16]);
            Command::Publish(Box::new(Publish {
                publication,
                product,
                change,
                stages,
                note: "why".to_owned(),
            }))
        }),
        (0..9u8, 1..5usize).prop_map(move |(id, stage)| Command::Advance {
            id: product,
            publication: PublicationId::from_bytes([id; 16]),
            stage,
        }),
        (0..9u8).prop_map(move |id| Command::RollBack {
            id: product,
            publication: PublicationId::from_bytes([id; 16]),
            reason: "why".to_owned(),
        }),
    ]
    .prop_map(asked)
}

proptest! {
    /// What is read back is what was decided, whether the state stays in memory or comes from its rows; and
    /// the claims are the codes that variants have.
    #[test]
    fn a_product_is_what_its_rows_say(
        first in prop::collection::vec(variant(), 1..20),
        commands in prop::collection::vec(commands(), 0..30),
        forget: u64,
        fold in 1..4usize,
    ) {
        let mut stored = Stored::default();
        let create = new_product(first);
        let mut hot: ProductRecord = stored.load(&create);
        stored.commit(&mut hot, std::slice::from_ref(&create), now(0));
        // A variant is made once; the ids of the test are few.
        let (mut made, mut published) = (HashSet::new(), HashSet::new());
        let is_new = |asked: &Asked| match &asked.command {
            Command::AddVariant { new, .. } => made.insert(new.id),
            Command::Publish(wish) => published.insert(wish.publication),
            _ => true,
        };
        let commands: Vec<Asked> = commands.into_iter().filter(is_new).collect();
        for (n, fold) in commands.chunks(fold).enumerate() {
            let command = &fold[0];
            if forget >> n & 1 == 1 {
                hot = stored.load(command);
            }
            stored.commit(&mut hot, fold, now(n + 1));
            let cold: ProductRecord = stored.load(command);
            prop_assert_eq!(&cold.product, &hot.product);
            let product = cold.product.unwrap();
            prop_assert_eq!(product.revision, stored.seq);
            let mut codes: Vec<Claim> = product.variants.iter().flat_map(|one| claims(&one.details)).collect();
            codes.sort();
            let owned: Vec<Claim> =
                stored.claims.iter().filter(|(_, owned)| **owned).map(|(claim, _)| claim.clone()).collect();
            prop_assert_eq!(owned, codes);
        }
    }

    /// Prices of the owner of a list or of a business below it, set and taken back: the state in memory is what the rows
    /// say, and the index knows no moment that will not come.
    #[test]
    fn prices_are_what_their_rows_say(
        is_below: bool,
        wishes in prop::collection::vec((0..2usize, 0..1_000i64, prop::option::of(0..60i64), 0..5u8), 1..40),
    ) {
        let path: Vec<BusinessId> = (1..=2).map(|byte| BusinessId::from_bytes([byte; 16])).collect();
        let mut policies = inherit::Policies::default();
        policies.add(inherit::Policy {
            owner: path[0],
            group: "prices".to_owned(),
            mode: inherit::Mode::Overridable,
            reach: inherit::Reach::Subtree,
            effective_from: now(0),
            version: 1,
            existing: inherit::Existing::Reject,
            recorded_at: now(0),
            by: String::new(),
            reason: String::new(),
        });
        let caller = Caller {
            path: path[..1 + usize::from(is_below)].into(),
            policies: policies.into(),
            actor: "key_1".into(),
            categories: None,
        };
        let (list, variant, currency) =
            (PriceListId::from_bytes([1; 16]), VariantId::from_bytes([2; 16]), Currency::parse("JPY").unwrap());
        let made = NewPriceList {
            id: list,
            business: path[0],
            code: "A".to_owned(),
            name: "A".to_owned(),
            kind: Kind::Sale,
            currency,
            tax_inclusive: false,
        };
        let made = PriceList { list: made, created_at: now(0) };
        let mut stored = Stored::default();
        let mut hot = PriceRecord::default();
        let mut said = HashSet::new();
        for (n, (unit, amount, offset, act)) in wishes.into_iter().enumerate() {
            let unit = units::find(["C62", "BX"][unit]).unwrap();
            let (reason, source) = ("test".to_owned(), if amount % 2 == 0 { Source::Api } else { Source::Import });
            let command = match act {
                0 => PriceCommand::Clear(ClearPrice { list, variant, unit, currency, reason, source }),
                _ => PriceCommand::Set(SetPrice {
                    list,
                    variant,
                    unit,
                    currency,
                    amount: UnitPrice::from_micros(amount),
                    effective_at: offset.map(|offset| now(n).plus_seconds(offset)),
                    reason,
                    source,
                }),
            };
            let asked = AskedPrice { caller: caller.clone(), list: made.clone(), command };
            for need in hot.needs(&asked) {
                hot.load(&need, None).unwrap();
            }
            stored.commit(&mut hot, std::slice::from_ref(&asked), now(n));
            let cold: PriceRecord = stored.load(&asked);
            prop_assert_eq!(cold.line(unit), hot.line(unit));
            match act {
                0 if is_below => drop(said.remove(unit.code)),
                0 => prop_assert!(hot.line(unit).is_some()),
                _ => {
                    prop_assert_ne!(cold.line(unit), Some(&Line::default()));
                    said.insert(unit.code);
                }
            }
            let key = LineKey { list, variant, business: is_below.then_some(path[1]), unit };
            let mut waiting: Vec<Vec<u8>> = hot.line(unit).unwrap().points.iter()
                .filter(|point| now(n) < point.effective_at)
                .map(|point| key.row(point.effective_at, point.sequence))
                .collect();
            let (prefix, after) = key.rows_after(now(n));
            waiting.sort();
            let indexed = stored.index.keys().filter(|(index, row)| {
                *index == key.index() && row.starts_with(&prefix) && row[..] < after[..]
            });
            prop_assert_eq!(indexed.map(|(_, row)| row.to_vec()).collect::<Vec<_>>(), waiting);
            let overrides = stored.index.keys().filter(|(index, _)| *index == index::OVERRIDES).count();
            prop_assert_eq!(overrides, usize::from(is_below && !said.is_empty()));
        }
    }

    /// The keys of the index are in the order in which prices at a moment are looked for.
    #[test]
    fn the_first_key_behind_a_moment_is_the_change_in_force(
        changes in prop::collection::vec((0..30i64, 1..9u64), 1..20), moment in -1..31i64,
    ) {
        let (list, variant, unit) = (PriceListId::from_bytes([1; 16]), VariantId::from_bytes([2; 16]), units::PIECE);
        let line = LineKey { list, variant, business: None, unit };
        let mut keys: Vec<_> = changes
            .iter()
            .map(|(at, sequence)| (line.row(now(0).plus_seconds(*at), *sequence), (*at, *sequence)))
            .collect();
        keys.sort();
        let (prefix, after) = line.rows_after(now(0).plus_seconds(moment));
        let found = keys.iter().find(|(key, _)| key.starts_with(&prefix) && key[..] > after[..]).map(|(_, change)| *change);
        let expected = changes.iter().filter(|(at, _)| *at <= moment).max().copied();
        prop_assert_eq!(found, expected);
    }
}

#[test]
fn bytes_that_do_not_decode_are_damage() {
    for bytes in [&b""[..], b"\xff", b"\x0a\x01\x00", b"\x12\x00"] {
        assert!(ProductRecord::decode(bytes).is_err(), "{bytes:?}");
        assert!(PriceListRecord::decode(bytes).is_err(), "{bytes:?}");
        assert!(PriceRecord::decode(bytes).is_err(), "{bytes:?}");
        assert!(InheritedRecord::decode(bytes).is_err(), "{bytes:?}");
    }
    for bytes in [&b"\xff"[..], b"\x0a\x01\x00"] {
        assert!(ProductRecord::from_header(bytes).is_err(), "{bytes:?}");
        assert!(PriceListRecord::from_header(bytes).is_err(), "{bytes:?}");
        assert!(PriceRecord::from_header(bytes).is_err(), "{bytes:?}");
        assert!(InheritedRecord::from_header(bytes).is_err(), "{bytes:?}");
    }
}
