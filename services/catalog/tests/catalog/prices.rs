//! Price lists, prices, and their history.

use prost_types::Timestamp;
use proto::api::v1::Actor;
use proto::catalog::v1::*;
use tonic::{Code, Status};

use crate::world::*;

/// A price list and a variant whose price tests set.
struct Shop {
    world: World,
    owner: Caller,
    list: String,
    variant: String,
    calls: std::cell::Cell<u32>,
}

impl Shop {
    async fn open() -> Shop {
        let world = World::new();
        let owner = owner(1);
        let list = world.price_list(&owner, "RETAIL").await.unwrap().id;
        let variant = world.create(&owner, simple("A")).await.unwrap().variants.remove(0).id;
        world.convert(&owner, &variant, "BX", 12, 1).await.unwrap();
        Shop { world, owner, list, variant, calls: Default::default() }
    }

    fn price(&self, amount: &str) -> NewPrice {
        NewPrice {
            variant_id: self.variant.clone(),
            amount: amount.to_owned(),
            reason: "spring list".to_owned(),
            ..NewPrice::default()
        }
    }

    async fn set(&self, price: NewPrice) -> Result<PriceChange, Status> {
        self.calls.set(self.calls.get() + 1);
        let message = SetPriceRequest { price_list_id: self.list.clone(), price: Some(price) };
        let request = self.world.keyed(&self.owner, &format!("price-{}", self.calls.get()), message);
        Ok(self.world.client.clone().set_price(request).await?.into_inner())
    }

    async fn set_in(&self, seconds: i64, amount: &str) -> Result<PriceChange, Status> {
        self.set(NewPrice { effective_at: Some(self.world.in_seconds(seconds)), ..self.price(amount) }).await
    }

    async fn get(&self, unit: &str, at: Option<Timestamp>) -> Result<Price, Status> {
        let message = GetPriceRequest {
            price_list_id: self.list.clone(),
            variant_id: self.variant.clone(),
            unit: unit.to_owned(),
            at,
        };
        Ok(self.world.client.clone().get_price(self.world.request(&self.owner, message)).await?.into_inner())
    }

    /// The amount now or `seconds` from now, and that of the next change.
    async fn amounts(&self, seconds: i64) -> (String, String) {
        match self.get("", Some(self.world.in_seconds(seconds))).await {
            Ok(price) => {
                let change = price.change.unwrap();
                let amount = price.price.unwrap().amount;
                assert_eq!(change.new_amount, amount);
                (amount, price.next_change.map(|next| next.new_amount).unwrap_or_default())
            }
            Err(status) => (reason(&status), String::new()),
        }
    }

    async fn changes(&self, unit: &str, page_size: u32) -> (Vec<PriceChange>, usize) {
        let (mut all, mut pages, mut token) = (Vec::new(), 0, String::new());
        loop {
            let message = ListPriceChangesRequest {
                price_list_id: self.list.clone(),
                variant_id: self.variant.clone(),
                unit: unit.to_owned(),
                page_size,
                page_token: token,
                business_id: String::new(),
            };
            let request = self.world.request(&self.owner, message);
            let page = self.world.client.clone().list_price_changes(request).await.unwrap().into_inner();
            all.extend(page.changes);
            (pages, token) = (pages + 1, page.next_page_token);
            if token.is_empty() {
                return (all, pages);
            }
        }
    }
}

/// PRC-1: a change says key, old, new, currency, effective, recorded, actor, reason, source; nothing
/// changes it afterwards.
#[tokio::test]
async fn a_change_says_everything_and_stays() {
    let mut shop = Shop::open().await;
    let first = shop.set(shop.price("19.990")).await.unwrap();
    let expected = PriceChange {
        sequence: 1,
        price_list_id: shop.list.clone(),
        variant_id: shop.variant.clone(),
        unit: "C62".to_owned(),
        currency: "EUR".to_owned(),
        old_amount: String::new(),
        new_amount: "19.99".to_owned(),
        effective_at: Some(shop.world.in_seconds(0)),
        recorded_at: Some(shop.world.in_seconds(0)),
        actor: Some(Actor { kind: "api_key".to_owned(), id: "key_test".to_owned() }),
        reason: "spring list".to_owned(),
        source: "api".to_owned(),
        business_id: shop.owner.0.business.to_string(),
    };
    assert_eq!(first, expected);

    shop.world.pass_seconds(60);
    let second = shop.set(NewPrice { reason: "rise".to_owned(), ..shop.price("21.000001") }).await.unwrap();
    assert_eq!(
        (second.sequence, second.old_amount.as_str(), second.new_amount.as_str()),
        (2, "19.99", "21.000001")
    );
    let boxed = shop.set(NewPrice { unit: "BX".to_owned(), ..shop.price("200") }).await.unwrap();
    assert_eq!((boxed.sequence, boxed.unit.as_str(), boxed.old_amount.as_str()), (1, "BX", ""));
    let free = shop.set(shop.price("0")).await.unwrap();
    assert_eq!((free.sequence, free.old_amount.as_str(), free.new_amount.as_str()), (3, "21.000001", "0"));

    for _ in 0..2 {
        assert_eq!(shop.changes("", 0).await.0, [free.clone(), boxed.clone(), second.clone(), first.clone()]);
        assert_eq!(shop.changes("BX", 0).await.0, std::slice::from_ref(&boxed));
        assert_eq!(shop.changes("C62", 1).await, (vec![free.clone(), second.clone(), first.clone()], 3));
        assert_eq!(shop.changes("PR", 0).await.0, []);
        shop.world.restart();
    }
    let price = shop.get("BX", None).await.unwrap();
    assert_eq!(
        (price.price.unwrap().amount.as_str(), price.unit.as_str(), price.tax_inclusive),
        ("200", "BX", true)
    );
    assert_eq!(price.change, Some(boxed));
    shop.world.verify().await;
}

/// PRC-3: a price begins at its moment, in whatever order it was announced; what it was stays.
#[tokio::test]
async fn a_price_begins_at_its_moment() {
    let mut shop = Shop::open().await;
    let text = |pair: (String, String), expected: (&str, &str)| {
        assert_eq!((pair.0.as_str(), pair.1.as_str()), expected)
    };
    text(shop.amounts(0).await, ("PRICE_NOT_SET", ""));
    let late = shop.set_in(200, "30").await.unwrap();
    assert_eq!(late.old_amount, "");
    text(shop.amounts(0).await, ("PRICE_NOT_SET", ""));
    text(shop.amounts(200).await, ("30", ""));
    shop.set(shop.price("10")).await.unwrap();
    let early = shop.set_in(100, "20").await.unwrap();
    assert_eq!((early.sequence, early.old_amount.as_str()), (3, "10"));

    text(shop.amounts(-1).await, ("PRICE_NOT_SET", ""));
    text(shop.amounts(0).await, ("10", "20"));
    text(shop.amounts(99).await, ("10", "20"));
    text(shop.amounts(100).await, ("20", "30"));
    text(shop.amounts(199).await, ("20", "30"));
    text(shop.amounts(200).await, ("30", ""));
    assert_eq!(shop.get("", None).await.unwrap().next_change, Some(early));

    let taken = shop.set_in(100, "25").await.unwrap_err();
    assert_eq!(
        (taken.code(), reason(&taken).as_str()),
        (Code::FailedPrecondition, "PRICE_ALREADY_SCHEDULED")
    );
    assert_eq!(metadata(&taken, "effective_at"), "2026-05-28T20:28:20Z");

    shop.world.pass_seconds(150);
    text(shop.amounts(0).await, ("20", "30"));
    // Now replaces what is in force, not what waits.
    shop.set(shop.price("22")).await.unwrap();
    shop.world.restart();
    text(shop.amounts(0).await, ("22", "30"));
    text(shop.amounts(-1).await, ("20", "30"));
    text(shop.amounts(-51).await, ("10", "30"));
    text(shop.amounts(-151).await, ("PRICE_NOT_SET", ""));
    text(shop.amounts(50).await, ("30", ""));
    // Two changes at once: the later one counts.
    shop.set(shop.price("23")).await.unwrap();
    text(shop.amounts(0).await, ("23", "30"));
    shop.world.pass_seconds(1_000);
    shop.set(shop.price("40")).await.unwrap();
    shop.world.pass_seconds(1);
    text(shop.amounts(0).await, ("40", ""));
    text(shop.amounts(-2).await, ("30", ""));
    text(shop.amounts(-1_001).await, ("23", ""));
    text(shop.amounts(-1_002).await, ("20", ""));
    assert_eq!(shop.changes("", 2).await.1, 3);
    shop.world.verify().await;
}

#[tokio::test]
async fn a_price_that_makes_no_sense_is_refused() {
    let shop = Shop::open().await;
    let check = async |price: NewPrice, expected: &[&str]| {
        let refused = shop.set(price).await.unwrap_err();
        assert_eq!((refused.code(), reason(&refused).as_str()), (Code::InvalidArgument, "INVALID_REQUEST"));
        assert_eq!(fields(&refused), expected);
    };
    for (amount, expected) in [
        ("", "REQUIRED"),
        ("-0.01", "OUT_OF_RANGE"),
        ("1.0000001", "TOO_MANY_PLACES"),
        ("1,5", "NOT_A_DECIMAL"),
        ("1e3", "NOT_A_DECIMAL"),
        ("99999999999999999999", "TOO_LARGE"),
    ] {
        check(shop.price(amount), &[&format!("price.amount {expected}")]).await;
    }
    let bad = NewPrice {
        variant_id: shop.list.clone(),
        unit: "??".to_owned(),
        effective_at: Some(Timestamp { seconds: i64::MAX, nanos: 0 }),
        reason: "r".repeat(501),
        ..shop.price("1")
    };
    let expected = [
        "price.variant_id WRONG_ID_PREFIX",
        "price.unit UNKNOWN_VALUE",
        "price.effective_at OUT_OF_RANGE",
        "price.reason TOO_LONG",
    ];
    check(bad, &expected).await;
    check(NewPrice { reason: String::new(), ..shop.price("1") }, &["price.reason REQUIRED"]).await;
    // The past is history.
    let past = NewPrice { effective_at: Some(shop.world.in_seconds(-301)), ..shop.price("1") };
    check(past, &["price.effective_at IN_THE_PAST"]).await;
    // A clock that is a little behind is forgiven; the price begins now.
    let skewed = NewPrice { effective_at: Some(shop.world.in_seconds(-300)), ..shop.price("1") };
    assert_eq!(shop.set(skewed).await.unwrap().effective_at, Some(shop.world.in_seconds(0)));

    let foreign = shop.set(NewPrice { unit: "PX".to_owned(), ..shop.price("1") }).await.unwrap_err();
    assert_eq!(
        (foreign.code(), reason(&foreign).as_str()),
        (Code::FailedPrecondition, "UNIT_NOT_CONVERTIBLE")
    );
    assert_eq!(
        (metadata(&foreign, "unit"), metadata(&foreign, "base_unit")),
        ("PX".to_owned(), "C62".to_owned())
    );
    assert_eq!(reason(&shop.get("PX", None).await.unwrap_err()), "PRICE_NOT_SET");
    assert_eq!(shop.changes("", 0).await.0.len(), 1);

    let message = SetPriceRequest { price_list_id: shop.list.clone(), price: Some(shop.price("1")) };
    let unnamed =
        shop.world.client.clone().set_price(shop.world.request(&shop.owner, message)).await.unwrap_err();
    assert_eq!(reason(&unnamed), "IDEMPOTENCY_KEY_REQUIRED");
}

#[tokio::test]
async fn a_price_list_is_read_back_as_it_was_made() {
    let mut world = World::new();
    let owner = owner(1);
    let made = world.price_list(&owner, "RETAIL").await.unwrap();
    assert!(made.id.starts_with("prl_"));
    let expected = PriceList {
        id: made.id.clone(),
        business_id: owner.0.business.to_string(),
        etag: "\"1\"".to_owned(),
        created_at: Some(world.in_seconds(0)),
        ..new_list("RETAIL")
    };
    assert_eq!(made, expected);
    let taken = world.price_list(&owner, "RETAIL").await.unwrap_err();
    assert_eq!((taken.code(), reason(&taken).as_str()), (Code::AlreadyExists, "CODE_TAKEN"));
    assert_eq!(metadata(&taken, "code"), "RETAIL");

    world.pass_seconds(1);
    let other = world.price_list(&owner, "OUTLET").await.unwrap();
    world.restart();
    let get = GetPriceListRequest { price_list_id: made.id.clone() };
    assert_eq!(world.client.get_price_list(world.request(&owner, get)).await.unwrap().into_inner(), made);
    let first = ListPriceListsRequest { page_size: 1, ..Default::default() };
    let first = world.client.list_price_lists(world.request(&owner, first)).await.unwrap().into_inner();
    assert_eq!(first.price_lists, [made]);
    let second = ListPriceListsRequest { page_token: first.next_page_token, ..Default::default() };
    let second = world.client.list_price_lists(world.request(&owner, second)).await.unwrap().into_inner();
    assert_eq!((second.price_lists, second.next_page_token.as_str()), (vec![other], ""));

    let bad = PriceList {
        id: "x".to_owned(),
        code: "A B".to_owned(),
        name: String::new(),
        kind: 0,
        currency: "XAU".to_owned(),
        ..PriceList::default()
    };
    let request = world.request(&owner, CreatePriceListRequest { price_list: Some(bad) });
    let refused = world.client.create_price_list(request).await.unwrap_err();
    let expected = [
        "price_list.id OUTPUT_ONLY",
        "price_list.code MALFORMED",
        "price_list.name REQUIRED",
        "price_list.kind REQUIRED",
        "price_list.currency UNKNOWN_VALUE",
    ];
    assert_eq!(fields(&refused), expected);
    world.verify().await;
}

/// Prices set at the same time on one key are decided one after the other.
#[tokio::test]
async fn prices_set_at_once_are_numbered_without_gaps() {
    let shop = Shop::open().await;
    let sets = (0..50).map(|n| shop.set(shop.price(&n.to_string())));
    let mut changes: Vec<PriceChange> =
        futures::future::join_all(sets).await.into_iter().map(Result::unwrap).collect();
    changes.sort_by_key(|change| change.sequence);
    for (at, change) in changes.iter().enumerate() {
        assert_eq!(change.sequence, at as u64 + 1);
        let old = if at == 0 { "" } else { &changes[at - 1].new_amount };
        assert_eq!(change.old_amount, old);
    }
    assert_eq!(shop.amounts(0).await.0, changes[49].new_amount);
    shop.world.verify().await;
}
