//! A tenant with many businesses, through the public door.

use std::sync::Arc;

use serde_json::{Value, json};
use tenant::domain::QUIET_SECONDS;

use crate::rest::{Answer, Rest, text};
use crate::world::{Forward, Tenant, World};

async fn create(rest: &Rest, parent: &str) -> String {
    let business =
        json!({"legalName": "Branch SARL", "country": "FR", "baseCurrency": "EUR", "parentId": parent});
    text(&rest.create("/v1/businesses", &business).await["id"]).to_owned()
}

/// Receives ten at `cost` in a business; the answer is the movement.
async fn receive(tenant: &Tenant, business: &str, variant: &str, cost: &str) -> Answer {
    let place = json!({"code": "SHOP", "name": "Shop"});
    let made = tenant.rest.post("/v1/locations", &place).header("cp-business", business).send().await.ok(201);
    let receipt = json!({"kind": "purchase.receipt", "variantId": variant, "locationId": made.json["id"],
        "quantity": "10", "unitCost": {"currency": "EUR", "amount": cost},
        "source": {"type": "goods_receipt", "id": "GR-1", "lineId": "1"}});
    let call = tenant.rest.post("/v1/movements", &receipt).header("cp-business", business);
    call.key("receipt").send().await.ok(201)
}

/// HIE-1: a tree of 1,000 businesses on 9 levels; a subtree moves in one call, which is one entry of the audit
/// log, and what a key reaches follows.
#[tokio::test]
async fn a_thousand_businesses_and_a_subtree_that_moves() {
    const BUSINESSES: usize = 1_000;
    const LEVELS: usize = 9;
    let world = World::new().await;
    let tenant = world.tenant("group").await;
    let mut chain = vec![tenant.business.to_string()];
    while chain.len() < LEVELS {
        chain.push(create(&tenant.rest, &chain[chain.len() - 1]).await);
    }
    for number in 0..BUSINESSES - LEVELS {
        create(&tenant.rest, &chain[number % (LEVELS - 1)]).await;
    }
    let list = async |rest: &Rest, query: &str| -> Vec<Value> {
        let (mut found, mut token) = (vec![], String::new());
        loop {
            let page = rest.get(format!("/v1/businesses?pageSize=500&pageToken={token}{query}")).await;
            found.extend(page["businesses"].as_array().cloned().unwrap_or_default());
            token = text(&page["nextPageToken"]).to_owned();
            if token.is_empty() {
                return found;
            }
        }
    };
    assert_eq!(list(&tenant.rest, "").await.len(), BUSINESSES);

    let (top, low) = (&chain[1], &chain[LEVELS - 1]);
    let key = json!({"name": "top", "role": "owner", "businessId": top});
    let key = tenant.rest.create("/v1/apiKeys", &key).await;
    let top_key = world.rest(text(&key["secret"]));
    let below = list(&tenant.rest, &format!("&withinId={}", chain[4])).await.len();
    let reached = list(&top_key, "").await.len();
    assert!(below < reached && reached < BUSINESSES, "{below} {reached}");

    let to = create(&tenant.rest, &chain[0]).await;
    let path = format!("/v1/businesses/{}:move", chain[4]);
    let moved = tenant.rest.post(&path, &json!({"parentId": to})).send().await.ok(200);
    assert_eq!(moved.json["parentId"], to.as_str());
    assert_eq!(list(&top_key, "").await.len(), reached - below);
    assert_eq!(list(&tenant.rest, &format!("&withinId={to}")).await.len(), below + 1);
    let lost = world.rest(text(&key["secret"]));
    lost.call(http::Method::GET, format!("/v1/businesses/{low}")).send().await.problem(404, "NOT_FOUND");
    let path = format!("/v1/businesses/{to}:move");
    let cycle = tenant.rest.post(&path, &json!({"parentId": low})).send().await;
    cycle.problem(409, "TREE_CYCLE");

    world.audit().await;
    let events = tenant.rest.get("/v1/auditEvents?action=tenant.business.moved").await;
    assert_eq!(events["events"].as_array().map(Vec::len), Some(1), "{events}");
    world.close().await;
}

/// HIE-10, HIE-11: two sisters with the same codes, keys and receipts have each their own stock and cost, and
/// see nothing of each other.
#[tokio::test]
async fn sisters_have_their_own_stock_and_see_nothing_of_each_other() {
    let world = World::new().await;
    let tenant = world.tenant("group").await;
    let master = tenant.business.to_string();
    let product = json!({"name": "Shirt", "variants": [{"sku": "S-1"}]});
    let product = tenant.rest.create("/v1/products", &product).await;
    let variant = text(&product["variants"][0]["id"]);
    let (one, two) = (create(&tenant.rest, &master).await, create(&tenant.rest, &master).await);
    let first = receive(&tenant, &one, variant, "2").await;
    let second = receive(&tenant, &two, variant, "3").await;
    assert_ne!(first.json["movements"][0]["id"], second.json["movements"][0]["id"]);

    let key = json!({"name": "one", "role": "owner", "businessId": one});
    let key = tenant.rest.create("/v1/apiKeys", &key).await;
    let sister = world.rest(text(&key["secret"]));
    for (rest, business, value) in
        [(&sister, &one, "20.00"), (&tenant.rest, &one, "20.00"), (&tenant.rest, &two, "30.00")]
    {
        let balance = rest.call(http::Method::GET, format!("/v1/balances/{variant}"));
        let balance = balance.header("cp-business", business).send().await.ok(200);
        assert!(balance.text.contains(value), "{business} {}", balance.text);
    }
    let get = async |uri: String| sister.call(http::Method::GET, uri).send().await;
    let movement = text(&second.json["movements"][0]["id"]);
    let place = text(&second.json["movements"][0]["locationId"]);
    get(format!("/v1/movements/{movement}")).await.problem(404, "NOT_FOUND");
    get(format!("/v1/locations/{place}")).await.problem(404, "NOT_FOUND");
    get(format!("/v1/businesses/{two}")).await.problem(404, "NOT_FOUND");
    get(format!("/v1/businesses/{master}")).await.problem(404, "NOT_FOUND");
    for business in [&two, &master] {
        let call = sister.call(http::Method::GET, "/v1/balances").header("cp-business", business);
        call.send().await.problem(404, "NOT_FOUND");
    }
    world.close().await;
}

/// A suspended business is read and not changed, with a reason of its own; so is all below it.
#[tokio::test]
async fn a_suspended_business_is_read_and_not_changed() {
    let clock = Arc::new(Forward::default());
    let world = World::at(clock.clone()).await;
    let tenant = world.tenant("group").await;
    let sub = create(&tenant.rest, &tenant.business.to_string()).await;
    let below = create(&tenant.rest, &sub).await;
    let act = async |business: &str, what: &str| {
        tenant.rest.post(format!("/v1/businesses/{business}:{what}"), &json!({})).send().await
    };
    act(&sub, "suspend").await.ok(200);
    let location = json!({"code": "A", "name": "A"});
    for business in [&sub, &below] {
        let write = tenant.rest.post("/v1/locations", &location).header("cp-business", business);
        write.send().await.problem(403, "BUSINESS_SUSPENDED");
        let read = tenant.rest.call(http::Method::GET, "/v1/locations").header("cp-business", business);
        read.send().await.ok(200);
    }
    act(&sub, "close").await.problem(409, "ILLEGAL_TRANSITION");
    act(&below, "suspend").await.ok(200);
    clock.pass_seconds(QUIET_SECONDS);
    for business in [&below, &sub] {
        assert_eq!(act(business, "close").await.ok(200).json["status"], "CLOSED");
    }
    act(&sub, "reactivate").await.problem(409, "ILLEGAL_TRANSITION");
    act(&tenant.business.to_string(), "close").await.problem(409, "ILLEGAL_TRANSITION");
    world.close().await;
}

/// TEN-2, for the header that names a business: one of another tenant, of a sister or of nobody is answered alike, and
/// each such call is one event of the tenant that asked, under the method that it wanted; over REST and gRPC.
#[tokio::test]
async fn a_business_out_of_reach_is_answered_like_none_and_written_down() {
    let world = World::new().await;
    let (tenant, other) = (world.tenant("one").await, world.tenant("two").await);
    let random = format!("{}00000000", &other.business.to_string()[..other.business.to_string().len() - 8]);
    let mut answers = Vec::new();
    for business in [other.business.to_string(), random] {
        let call = tenant.rest.call(http::Method::GET, "/v1/locations").header("cp-business", &business);
        let problem = call.send().await.problem(404, "NOT_FOUND").json;
        answers.push((problem["code"].clone(), problem["detail"].clone(), problem["metadata"].clone()));

        let door = crate::door::Door::new(&world, Some(&tenant.key)).await;
        let mut request = tonic::Request::new(proto::stock::v1::ListLocationsRequest::default());
        request
            .metadata_mut()
            .insert("authorization", format!("Bearer {}", tenant.key).parse().expect("a header"));
        request.metadata_mut().insert("cp-business", business.parse().expect("a header"));
        let mut client = proto::stock::v1::stock_service_client::StockServiceClient::new(door.grpc);
        let status = client.list_locations(request).await.expect_err("a business out of reach");
        assert_eq!(status.code(), tonic::Code::NotFound);
    }
    assert_eq!(answers[0], answers[1]);
    world.audit().await;
    let uri = "/v1/auditEvents?resource=/cargopilot.stock.v1.StockService/ListLocations";
    let events = tenant.rest.get(uri).await;
    let events = events["events"].as_array().expect("a list");
    assert_eq!(events.len(), 4, "{events:?}");
    assert!(events.iter().all(|event| event["action"] == "audit.access.unknown_id"), "{events:?}");
    assert_eq!(other.rest.get(uri).await["events"], json!([]));
    world.close().await;
}
