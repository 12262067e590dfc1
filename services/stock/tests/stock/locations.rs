//! Places: made, shown, listed, changed.

use proto::stock::v1::location_result::Result::{Location as Made, Problem as Refused};
use proto::stock::v1::*;
use proto::tenant::v1::CostingMethod::Fifo;
use rpc::header;
use tonic::{Code, Status};

use crate::world::{Shop, World, detail, fields, reason};

fn named(code: &str) -> Location {
    Location { code: code.to_owned(), name: format!("Place {code}"), ..Location::default() }
}

impl Shop<'_> {
    async fn place(&self, id: &str) -> Result<Location, Status> {
        let request = GetLocationRequest { location_id: id.to_owned() };
        Ok(self.get_location(request, &[]).await?.into_inner())
    }

    async fn change(
        &self,
        id: &str,
        etag: &str,
        mask: &[&str],
        location: Location,
    ) -> Result<Location, Status> {
        let request = UpdateLocationRequest {
            location_id: id.to_owned(),
            location: Some(location),
            update_mask: mask.iter().map(ToString::to_string).collect(),
        };
        Ok(self.update_location(request, &[(header::IF_MATCH, etag)]).await?.into_inner())
    }

    async fn places(&self, code: &str, page_size: u32) -> Vec<Vec<String>> {
        let mut request =
            ListLocationsRequest { code: code.to_owned(), page_size, page_token: String::new() };
        let mut pages = Vec::new();
        loop {
            let page = self.list_locations(request.clone(), &[]).await.unwrap().into_inner();
            pages.push(page.locations.into_iter().map(|location| location.code).collect());
            if page.next_page_token.is_empty() {
                return pages;
            }
            request.page_token = page.next_page_token;
        }
    }

    async fn make_many(
        &self,
        key: &str,
        atomic: bool,
        locations: Vec<Location>,
    ) -> Result<Vec<LocationResult>, Status> {
        let request = BatchCreateLocationsRequest { locations, atomic };
        let answer = self.batch_create_locations(request, &[(header::IDEMPOTENCY_KEY, key)]).await?;
        Ok(answer.into_inner().results)
    }
}

#[tokio::test]
async fn a_location_is_what_it_was_made_as() {
    let world = World::new();
    let shop = world.shop(1, Fifo).await;
    let wanted = Location {
        code: "Q/1-a_b.c#2".to_owned(),
        name: "Überlauf Nord".to_owned(),
        parent_id: shop.a.clone(),
        usage: LocationUsage::Quarantine.into(),
        negative_policy: NegativePolicy::Allow.into(),
        status: LocationStatus::BlockedOut.into(),
        ..Location::default()
    };
    let made = shop.make(wanted.clone()).await.unwrap();
    let now = Some(world.seconds_ago(0));
    let expected = Location {
        id: made.id.clone(),
        business_id: shop.caller.business.to_string(),
        etag: "\"1\"".to_owned(),
        created_at: now,
        updated_at: now,
        ..wanted
    };
    assert_eq!(made, expected);
    assert_eq!(shop.place(&made.id).await.unwrap(), expected);
    // What is not said.
    let plain = shop.make(named("P")).await.unwrap();
    assert_eq!(plain.usage(), LocationUsage::Internal);
    assert_eq!(plain.negative_policy(), NegativePolicy::Forbid);
    assert_eq!((plain.status(), &*plain.parent_id), (LocationStatus::Active, ""));
}

#[tokio::test]
async fn a_code_is_taken_once() {
    let world = World::new();
    let shop = world.shop(1, Fifo).await;
    let refused = shop.make(named("A")).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused)), (Code::AlreadyExists, "CODE_TAKEN".into()));
    assert_eq!(detail(&refused, "code"), "A");
    shop.make(named("a")).await.unwrap();
    let stranger = world.shop(2, Fifo).await;
    assert_eq!(stranger.places("A", 0).await, [["A"]], "another tenant has its own");
}

#[tokio::test]
async fn making_is_repeated_under_a_key() {
    let world = World::new();
    let shop = world.shop(1, Fifo).await;
    let request = CreateLocationRequest { location: Some(named("P")) };
    let headers = [(header::IDEMPOTENCY_KEY, "p")];
    let first = shop.create_location(request.clone(), &headers).await.unwrap().into_inner();
    shop.change(&first.id, &first.etag, &[], Location { name: "Other".to_owned(), ..Location::default() })
        .await
        .unwrap();
    world.pass_seconds(5);
    let again = shop.create_location(request, &headers).await.unwrap();
    assert_eq!(again.metadata().get(header::IDEMPOTENT_REPLAYED).unwrap(), "true");
    assert_eq!(again.into_inner(), first, "as it was made");
    let other = CreateLocationRequest { location: Some(named("Q")) };
    assert_eq!(reason(&shop.create_location(other, &headers).await.unwrap_err()), "IDEMPOTENCY_CONFLICT");
}

#[tokio::test]
async fn a_location_is_changed_by_who_saw_it() {
    let world = World::new();
    let shop = world.shop(1, Fifo).await;
    let seen = shop.place(&shop.a).await.unwrap();
    world.pass_seconds(5);
    let wanted = Location {
        name: "New".to_owned(),
        status: LocationStatus::BlockedIn.into(),
        negative_policy: NegativePolicy::Allow.into(),
        ..Location::default()
    };
    // What the mask names, and nothing else.
    let changed =
        shop.change(&shop.a, &seen.etag, &["name", "negativePolicy"], wanted.clone()).await.unwrap();
    let expected = Location {
        name: "New".to_owned(),
        negative_policy: NegativePolicy::Allow.into(),
        etag: "\"2\"".to_owned(),
        updated_at: Some(world.seconds_ago(0)),
        ..seen.clone()
    };
    assert_eq!(changed, expected);
    let stale = shop.change(&shop.a, &seen.etag, &["status"], wanted.clone()).await.unwrap_err();
    assert_eq!(
        (stale.code(), reason(&stale), detail(&stale, "current")),
        (Code::Aborted, "STALE_REVISION".into(), "\"2\"".into())
    );
    // Without a mask: what is set. It counts from the next posting on.
    let blocked = Location { status: LocationStatus::BlockedIn.into(), ..Location::default() };
    let changed = shop.change(&shop.a, "\"2\"", &[], blocked).await.unwrap();
    assert_eq!((changed.status(), &*changed.name), (LocationStatus::BlockedIn, "New"));
    assert_eq!(reason(&shop.post(shop.receipt("1", "1")).await.unwrap_err()), "LOCATION_BLOCKED");
    // Changing nothing makes no revision, `*` is any.
    let same = shop.change(&shop.a, "*", &["status"], wanted).await.unwrap();
    assert_eq!(same.etag, "\"3\"");
    let malformed = shop.change(&shop.a, "W/\"3\"", &[], named("A")).await.unwrap_err();
    assert_eq!(malformed.code(), Code::InvalidArgument);
}

#[tokio::test]
#[rustfmt::skip] // columns
async fn bad_fields_of_a_location_are_named() {
    let world = World::new();
    let shop = world.shop(1, Fifo).await;
    let check = async |location: Location, expected: &[&str]| {
        assert_eq!(fields(&shop.make(location).await.unwrap_err()), expected);
    };
    check(Location::default(),                                            &["location.code REQUIRED", "location.name REQUIRED"]).await;
    check(Location { code: "a b".into(), ..named("P") },                  &["location.code MALFORMED"]).await;
    check(Location { code: "ä".into(), ..named("P") },                    &["location.code MALFORMED"]).await;
    check(Location { code: "c".repeat(65), ..named("P") },                &["location.code TOO_LONG"]).await;
    check(Location { name: "n".repeat(201), ..named("P") },               &["location.name TOO_LONG"]).await;
    check(Location { name: " n".into(), ..named("P") },                   &["location.name MALFORMED"]).await;
    check(Location { name: "a\u{0}b".into(), ..named("P") },              &["location.name MALFORMED"]).await;
    check(Location { parent_id: "loc_".into(), ..named("P") },            &["location.parent_id MALFORMED_ID"]).await;
    check(Location { parent_id: shop.variant.clone(), ..named("P") },     &["location.parent_id WRONG_ID_PREFIX"]).await;
    check(Location { usage: 4, ..named("P") },                            &["location.usage NOT_ALLOWED"]).await;
    check(Location { usage: 99, ..named("P") },                           &["location.usage UNKNOWN_VALUE"]).await;
    check(Location { negative_policy: 99, ..named("P") },                 &["location.negative_policy UNKNOWN_VALUE"]).await;
    check(Location { status: 99, ..named("P") },                          &["location.status UNKNOWN_VALUE"]).await;
    check(Location { id: shop.a.clone(), etag: "\"1\"".into(), ..named("P") }, &["location.id OUTPUT_ONLY", "location.etag OUTPUT_ONLY"]).await;
    let none = shop.create_location(CreateLocationRequest { location: None }, &[]).await.unwrap_err();
    assert_eq!(fields(&none), ["location REQUIRED"]);

    let change = async |mask: &[&str], location: Location, expected: &[&str]| {
        assert_eq!(fields(&shop.change(&shop.a, "\"1\"", mask, location).await.unwrap_err()), expected);
    };
    change(&["name"],               Location::default(),  &["location.name REQUIRED"]).await;
    change(&["status"],             Location { status: 99, ..named("A") }, &["location.status UNKNOWN_VALUE"]).await;
    change(&["code", "usage", "parentId"], named("A"),    &["location.code IMMUTABLE", "location.usage IMMUTABLE", "location.parent_id IMMUTABLE"]).await;
    change(&["etag", "colour"],     named("A"),           &["location.etag OUTPUT_ONLY", "location.colour UNKNOWN_FIELD"]).await;
    change(&[],                     named("A"),           &["location.code IMMUTABLE"]).await;
    change(&["name"; 51],           named("A"),           &["update_mask TOO_MANY"]).await;
    let supplier = shop.post(shop.receipt("1", "1")).await.unwrap().remove(0).counterpart_location_id;
    let refused = shop.change(&supplier, "\"1\"", &["name"], named("S")).await.unwrap_err();
    assert_eq!(fields(&refused), ["location_id NOT_ALLOWED"]);
    let child = Location { parent_id: supplier.clone(), ..named("P") };
    check(child, &["location.parent_id NOT_ALLOWED"]).await;
    let there = MovementDraft { location_id: supplier, ..shop.receipt("1", "1") };
    assert_eq!(fields(&shop.post(there).await.unwrap_err()), ["movement.location_id NOT_ALLOWED"]);
}

#[tokio::test]
async fn locations_are_listed_oldest_first() {
    let world = World::new();
    let shop = world.shop(1, Fifo).await;
    for code in ["C", "D", "E"] {
        world.pass_seconds(1);
        shop.make(named(code)).await.unwrap();
    }
    let pages = shop.places("", 2).await;
    assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [2, 2, 1]);
    assert_eq!(pages.concat()[2..], ["C", "D", "E"]);
    assert_eq!(shop.places("D", 0).await, [["D"]]);
    assert_eq!(shop.places("X", 0).await, [Vec::<String>::new()]);
    let request = ListLocationsRequest { code: "c".repeat(65), ..ListLocationsRequest::default() };
    assert_eq!(fields(&shop.list_locations(request, &[]).await.unwrap_err()), ["code TOO_LONG"]);
}

#[tokio::test]
async fn locations_are_made_in_batches() {
    let world = World::new();
    let shop = world.shop(1, Fifo).await;
    let codes = |codes: &[&str]| codes.iter().map(|code| named(code)).collect::<Vec<_>>();
    // All or none.
    let refused = shop.make_many("a", true, codes(&["C", "D", "A"])).await.unwrap_err();
    assert_eq!((reason(&refused), detail(&refused, "code")), ("CODE_TAKEN".into(), "A".into()));
    let twice = shop.make_many("b", true, codes(&["C", "C"])).await.unwrap_err();
    assert_eq!(reason(&twice), "CODE_TAKEN");
    let bad = vec![Location { code: String::new(), ..named("C") }, Location { status: 99, ..named("D") }];
    let refused = shop.make_many("c", true, bad).await.unwrap_err();
    assert_eq!(fields(&refused), ["locations[0].code REQUIRED", "locations[1].status UNKNOWN_VALUE"]);
    assert_eq!(shop.places("C", 0).await, [Vec::<String>::new()]);
    let made = shop.make_many("d", true, codes(&["C", "D"])).await.unwrap();
    assert_eq!(shop.make_many("d", true, codes(&["C", "D"])).await.unwrap(), made);

    // Each by itself.
    let mut each = codes(&["E", "A", "F"]);
    each[2].name.clear();
    let results = shop.make_many("e", false, each).await.unwrap();
    let found: Vec<_> = results
        .iter()
        .map(|result| match result.result.as_ref().unwrap() {
            Made(location) => location.code.clone(),
            Refused(problem) => {
                let at = problem.errors.first().map(|error| error.pointer.clone()).unwrap_or_default();
                format!("{} {at}", problem.reason)
            }
        })
        .collect();
    assert_eq!(found, ["E", "CODE_TAKEN ", "INVALID_REQUEST /locations/2/name"]);
    assert_eq!(fields(&shop.make_many("f", false, vec![]).await.unwrap_err()), ["locations REQUIRED"]);
    let many = vec![named("Z"); 1001];
    assert_eq!(fields(&shop.make_many("g", false, many).await.unwrap_err()), ["locations TOO_MANY"]);
}
