//! API-6: roles that are assigned within limits: at some locations, for some categories, up to an amount.

use std::collections::BTreeSet;
use std::sync::Arc;

use http::Method;
use serde_json::{Value, json};

use crate::rest::{Rest, text};
use crate::shop::source;
use crate::world::{Forward, Tenant, World};

/// A tenant with two stores, the bins of one of them, and a product in each of two categories.
struct Chain {
    clock: Arc<Forward>,
    world: World,
    tenant: Tenant,
    north: String,
    /// Lies in a rack that lies in `north`.
    bin: String,
    south: String,
    tea: String,
    coffee: String,
}

impl Chain {
    async fn open() -> Chain {
        let clock = Arc::new(Forward::default());
        let world = World::at(clock.clone()).await;
        let tenant = world.tenant("chain").await;
        let place = async |code: &str, parent: &str| {
            let location = json!({"code": code, "name": code, "parentId": parent});
            text(&tenant.rest.create("/v1/locations", &location).await["id"]).to_owned()
        };
        let (north, south) = (place("NORTH", "").await, place("SOUTH", "").await);
        let bin = place("NORTH-BIN", &place("NORTH-RACK", &north).await).await;
        let variant = async |category: &str| {
            let product = json!({"name": category, "category": category, "variants": [{"sku": category.to_uppercase()}]});
            text(&tenant.rest.create("/v1/products", &product).await["variants"][0]["id"]).to_owned()
        };
        let (tea, coffee) = (variant("tea").await, variant("coffee").await);
        let chain = Chain { clock, north, bin, south, tea, coffee, tenant, world };
        for (number, location) in [&chain.north, &chain.bin, &chain.south].into_iter().enumerate() {
            for variant in [&chain.tea, &chain.coffee] {
                let mut receipt = draft("purchase.receipt", "100", variant, location, number);
                receipt["totalCost"] = json!({"currency": "EUR", "amount": "250.00"});
                post(&chain.tenant.rest, &receipt).await.expect("opening stock");
            }
        }
        chain
    }

    /// How a key speaks that has nothing but a role, within limits.
    async fn limited(&self, permissions: &[&str], limits: Value) -> Rest {
        let rest = &self.tenant.rest;
        let code = format!("ROLE-{}", crate::door::unique());
        let role = rest.create("/v1/roles", &json!({"code": code, "permissions": permissions})).await;
        let key = json!({"name": "till", "role": "viewer", "permissions": ["descendants.read"]});
        let made = rest.create("/v1/apiKeys", &key).await;
        let assignment = json!({"apiKeyId": made["apiKey"]["id"], "roleId": role["id"], "reach": "REACH_SELF",
            "limits": limits});
        let assigned = rest.create("/v1/assignments", &assignment).await;
        assert_eq!(assigned["limits"], shown(&limits));
        self.world.rest(text(&made["secret"]))
    }
}

/// Limits as they are shown: lists are there when they are empty.
fn shown(limits: &Value) -> Value {
    let mut shown = limits.clone();
    for list in ["locationIds", "categories"] {
        if shown[list].is_null() {
            shown[list] = json!([]);
        }
    }
    shown
}

fn draft(kind: &str, quantity: &str, variant: &str, location: &str, number: usize) -> Value {
    let id = format!("{kind}-{number}-{}", crate::door::unique());
    json!({"kind": kind, "variantId": variant, "locationId": location, "quantity": quantity, "reasonCode": "recount",
        "source": {"type": source(kind), "id": id, "number": id, "lineId": "1"}})
}

/// Posts; the answer, or the limit that is in the way.
async fn post(rest: &Rest, draft: &Value) -> Result<Value, String> {
    let answer = rest.post("/v1/movements", draft).key(&format!("k{}", crate::door::unique())).send().await;
    if answer.status == 201 {
        return Ok(answer.json);
    }
    let problem = answer.problem(403, "BEYOND_LIMITS").json;
    Err(text(&problem["metadata"]["limit"]).to_owned())
}

/// What is granted at a location counts there and in what lies in it, and nowhere else: for postings, for both
/// ends of a transfer, for reversals, for all doors.
#[tokio::test]
async fn a_clerk_of_one_store_works_in_that_store() {
    let chain = Chain::open().await;
    let clerk = chain.limited(&["stock.*", "location.*"], json!({"locationIds": [chain.north]})).await;
    let sell = |location: &str| draft("sale.shipment", "1", &chain.tea, location, 0);
    post(&clerk, &sell(&chain.north)).await.expect("its own store");
    post(&clerk, &sell(&chain.bin)).await.expect("a bin in it");
    assert_eq!(post(&clerk, &sell(&chain.south)).await, Err("location".to_owned()));

    let transfer = |from: &str, to: &str| {
        let mut draft = draft("transfer.direct", "1", &chain.tea, from, 0);
        draft["toLocationId"] = to.into();
        draft
    };
    post(&clerk, &transfer(&chain.north, &chain.bin)).await.expect("within the store");
    for (from, to) in [(&chain.north, &chain.south), (&chain.south, &chain.north)] {
        assert_eq!(post(&clerk, &transfer(from, to)).await, Err("location".to_owned()));
    }

    // A batch, all or none and each by itself.
    let movements = json!({"atomic": false, "movements": [sell(&chain.north), sell(&chain.south)]});
    let each = clerk.post("/v1/movements:batchCreate", &movements).key("each").send().await.ok(207).json;
    assert_eq!(each["results"][1]["problem"]["reason"], "BEYOND_LIMITS", "{each}");
    assert!(each["results"][0]["posting"].is_object(), "{each}");
    let movements = json!({"atomic": true, "movements": [sell(&chain.north), sell(&chain.south)]});
    clerk.post("/v1/movements:batchCreate", &movements).key("all").send().await.problem(403, "BEYOND_LIMITS");

    // What somebody else posted elsewhere is not taken back, read or changed.
    let theirs = post(&chain.tenant.rest, &sell(&chain.south)).await.expect("the owner's");
    let uri = format!("/v1/movements/{}", text(&theirs["movements"][0]["id"]));
    let reason = json!({"reasonCode": "wrong"});
    let reverse = clerk.post(format!("{uri}:reverse"), &reason).key("back");
    reverse.send().await.problem(403, "BEYOND_LIMITS");
    clerk.call(Method::GET, uri).send().await.problem(403, "BEYOND_LIMITS");
    let south = format!("/v1/locations/{}", chain.south);
    clerk.call(Method::GET, &south).send().await.problem(403, "BEYOND_LIMITS");
    let rename = clerk.patch(&south, &json!({"name": "mine"})).if_match("*");
    rename.send().await.problem(403, "BEYOND_LIMITS");
    let north = format!("/v1/locations/{}", chain.north);
    clerk.patch(&north, &json!({"name": "North"})).if_match("*").send().await.ok(200);
    // A new location is none of its own: the grant does not count for what knows no location.
    let new = clerk.post("/v1/locations", &json!({"code": "NEW", "name": "New"}));
    new.send().await.problem(403, "PERMISSION_DENIED");
    clerk.call(Method::GET, "/v1/apiKeys").send().await.problem(403, "PERMISSION_DENIED");
    chain.world.close().await;
}

/// Lists are what may be read one by one, and totals say nothing of other places.
#[tokio::test]
async fn a_clerk_of_one_store_sees_that_store() {
    let chain = Chain::open().await;
    let owner = &chain.tenant.rest;
    let clerk = chain.limited(&["*.read"], json!({"locationIds": [chain.north]})).await;

    let all = owner.get("/v1/locations?pageSize=500").await;
    let all: Vec<&str> =
        all["locations"].as_array().expect("a list").iter().map(|one| text(&one["id"])).collect();
    let mut readable = BTreeSet::new();
    for id in &all {
        match clerk.call(Method::GET, format!("/v1/locations/{id}")).send().await {
            answer if answer.status == 200 => drop(readable.insert((*id).to_owned())),
            answer => drop(answer.problem(403, "BEYOND_LIMITS")),
        }
    }
    let listed = clerk.get("/v1/locations?pageSize=500").await;
    let listed = listed["locations"].as_array().expect("a list").iter();
    assert_eq!(listed.map(|one| text(&one["id"]).to_owned()).collect::<BTreeSet<_>>(), readable);
    assert_eq!(readable.len(), 3);
    assert_eq!(clerk.get("/v1/locations?code=SOUTH").await["locations"], json!([]));

    let movements = |variant: &str| format!("/v1/movements?variantId={variant}&pageSize=500");
    for variant in [&chain.tea, &chain.coffee] {
        let all = owner.get(movements(variant)).await;
        let seen = clerk.get(movements(variant)).await;
        let (all, seen) =
            (all["movements"].as_array().expect("a list"), seen["movements"].as_array().expect("a list"));
        let mut readable = Vec::new();
        for movement in all {
            let uri = format!("/v1/movements/{}", text(&movement["id"]));
            if clerk.call(Method::GET, uri).send().await.status == 200 {
                readable.push(&movement["id"]);
            }
        }
        assert_eq!(seen.iter().map(|one| &one["id"]).collect::<Vec<_>>(), readable);
        assert_eq!((all.len(), seen.len()), (3, 2));
        for movement in seen {
            assert_eq!(movement["poolValueAfter"], Value::Null, "{movement}");
            assert_eq!(text(&movement["itemBalanceAfter"]), "", "{movement}");
        }
    }
    let uri = format!("{}&locationId={}", movements(&chain.tea), chain.south);
    clerk.call(Method::GET, uri).send().await.problem(403, "BEYOND_LIMITS");

    let balance = clerk.get(format!("/v1/balances/{}", chain.tea)).await;
    assert_eq!(balance["onHand"], "200", "{balance}");
    assert_eq!(balance["value"], Value::Null, "{balance}");
    assert!(!balance.to_string().contains(&chain.south), "{balance}");
    let listed = clerk.get("/v1/balances").await.to_string();
    assert!(listed.contains(&chain.bin) && !listed.contains(&chain.south), "{listed}");
    let uri = format!("/v1/balances?locationId={}", chain.south);
    clerk.call(Method::GET, uri).send().await.problem(403, "BEYOND_LIMITS");
    chain.world.close().await;
}

/// What two grants let through is what either does: one for a store and one for a category show no more of other
/// things, and nothing of them elsewhere.
#[tokio::test]
async fn two_grants_show_what_either_shows() {
    let chain = Chain::open().await;
    let both = chain.limited(&["*.read"], json!({"locationIds": [chain.north]})).await;
    let owner = &chain.tenant.rest;
    let role = owner.create("/v1/roles", &json!({"code": "READS", "permissions": ["*.read"]})).await;
    let caller = both.get("/v1/caller").await;
    let tea = json!({"apiKeyId": caller["principal"]["id"], "roleId": role["id"], "reach": "REACH_SELF",
        "limits": {"categories": ["tea"]}});
    owner.create("/v1/assignments", &tea).await;
    chain.clock.pass_seconds(5);
    let tea = both.get(format!("/v1/balances/{}", chain.tea)).await;
    assert_eq!((&tea["onHand"], tea["value"].is_object()), (&json!("300"), true), "{tea}");
    let coffee = both.get(format!("/v1/balances/{}", chain.coffee)).await;
    assert_eq!((&coffee["onHand"], &coffee["value"]), (&json!("200"), &Value::Null), "{coffee}");
    assert!(!coffee.to_string().contains(&chain.south), "{coffee}");
    let moved = both.get(format!("/v1/movements?variantId={}", chain.coffee)).await;
    let moved = moved["movements"].as_array().expect("a list");
    assert_eq!(moved.len(), 2);
    assert!(moved.iter().all(|one| one["poolValueAfter"].is_null()), "{moved:?}");
    chain.world.close().await;
}

/// A grant for some categories counts for their products, as they are now.
#[tokio::test]
async fn a_buyer_of_tea_moves_tea() {
    let chain = Chain::open().await;
    let buyer = chain.limited(&["stock.*"], json!({"categories": ["tea"]})).await;
    let receive = |variant: &str| {
        let mut draft = draft("purchase.receipt", "1", variant, &chain.south, 0);
        draft["unitCost"] = json!({"currency": "EUR", "amount": "2.50"});
        draft
    };
    post(&buyer, &receive(&chain.tea)).await.expect("tea");
    assert_eq!(post(&buyer, &receive(&chain.coffee)).await, Err("category".to_owned()));
    let balance = |variant: &str| format!("/v1/balances/{variant}");
    assert_eq!(buyer.get(balance(&chain.tea)).await["onHand"], "301");
    buyer.call(Method::GET, balance(&chain.coffee)).send().await.problem(403, "BEYOND_LIMITS");
    let listed = buyer.get("/v1/balances").await;
    let listed: Vec<&Value> =
        listed["balances"].as_array().expect("a list").iter().map(|one| &one["variantId"]).collect();
    assert_eq!(listed, [&json!(chain.tea)]);
    let movements = format!("/v1/movements?variantId={}", chain.coffee);
    buyer.call(Method::GET, movements).send().await.problem(403, "BEYOND_LIMITS");
    chain.world.close().await;
}

/// The same in the catalogue: products, variants and prices of other categories are neither read nor changed, and
/// nothing is moved out of a category or into another one.
#[tokio::test]
async fn a_buyer_of_tea_keeps_the_catalogue_of_tea() {
    let chain = Chain::open().await;
    let buyer = chain.limited(&["product.*", "price.*"], json!({"categories": ["tea"]})).await;
    let owner = &chain.tenant.rest;
    let products = |listed: &Value| -> BTreeSet<String> {
        let listed = listed["products"].as_array().expect("a list").iter();
        listed.map(|one| text(&one["id"]).to_owned()).collect()
    };
    let mut readable = BTreeSet::new();
    for id in products(&owner.get("/v1/products").await) {
        let answer = buyer.call(Method::GET, format!("/v1/products/{id}")).send().await;
        let whole = buyer.call(Method::GET, format!("/v1/products/{id}?origins=true")).send().await;
        assert_eq!(whole.status, answer.status);
        if answer.status == 200 {
            assert_eq!(answer.json["category"], "tea");
            readable.insert(id);
        } else {
            answer.problem(403, "BEYOND_LIMITS");
        }
    }
    assert_eq!(products(&buyer.get("/v1/products").await), readable);
    assert_eq!(readable.len(), 1);
    let variants = buyer.get("/v1/variants").await.to_string();
    assert!(variants.contains(&chain.tea) && !variants.contains(&chain.coffee), "{variants}");
    assert_eq!(buyer.get("/v1/variants?sku=COFFEE").await["variants"], json!([]));
    let coffee = format!("/v1/variants/{}", chain.coffee);
    buyer.call(Method::GET, &coffee).send().await.problem(403, "BEYOND_LIMITS");
    buyer.patch(&coffee, &json!({"sku": "MINE"})).if_match("*").send().await.problem(403, "BEYOND_LIMITS");

    let new =
        |category: &str, sku: &str| json!({"name": sku, "category": category, "variants": [{"sku": sku}]});
    let green = buyer.create("/v1/products", &new("tea", "GREEN")).await;
    buyer.post("/v1/products", &new("coffee", "MOCHA")).send().await.problem(403, "BEYOND_LIMITS");
    let each = json!({"atomic": false, "products": [new("tea", "BLACK"), new("coffee", "MOCHA")]});
    let each = buyer.post("/v1/products:batchCreate", &each).send().await.ok(207).json;
    assert_eq!(each["results"][1]["problem"]["reason"], "BEYOND_LIMITS", "{each}");
    let uri = format!("/v1/products/{}", text(&green["id"]));
    let away = buyer.patch(&uri, &json!({"category": "coffee"})).if_match("*").send().await;
    away.problem(403, "BEYOND_LIMITS");
    buyer.patch(&uri, &json!({"name": "Green tea"})).if_match("*").send().await.ok(200);

    let list = json!({"code": "RETAIL", "name": "Retail", "kind": "SALE", "currency": "EUR"});
    let prices =
        format!("/v1/priceLists/{}/prices", text(&owner.create("/v1/priceLists", &list).await["id"]));
    let price = |variant: &str| json!({"variantId": variant, "amount": "2", "reason": "new"});
    buyer.post(&prices, &price(&chain.tea)).key("tea").send().await.ok(200);
    buyer.post(&prices, &price(&chain.coffee)).key("coffee").send().await.problem(403, "BEYOND_LIMITS");
    owner.post(&prices, &price(&chain.coffee)).key("coffee").send().await.ok(200);
    for (variant, status) in [(&chain.tea, 200), (&chain.coffee, 403)] {
        let uri = format!("{prices}/{variant}?unit=C62");
        assert_eq!(buyer.call(Method::GET, uri).send().await.status, status);
    }
    chain.world.close().await;
}

/// A grant up to an amount counts for movements of at most that value, in that currency.
#[tokio::test]
async fn a_write_off_is_worth_at_most_what_was_granted() {
    let chain = Chain::open().await;
    let eur = |amount: &str| json!({"amountMax": {"currency": "EUR", "amount": amount}});
    let clerk = chain.limited(&["stock.post", "stock.reverse"], eur("25.00")).await;
    // Units are worth 2.50 each.
    let write_off = |quantity: &str| draft("write_off.damage", quantity, &chain.tea, &chain.north, 0);
    let posted = post(&clerk, &write_off("10")).await.expect("25.00");
    assert_eq!(posted["movements"][0]["value"]["amount"], "-25.00", "{posted}");
    assert_eq!(post(&clerk, &write_off("11")).await, Err("amount".to_owned()));
    let uri = format!("/v1/movements/{}:reverse", text(&posted["movements"][0]["id"]));
    clerk.post(&uri, &json!({"reasonCode": "wrong"})).key("back").send().await.ok(201);

    let theirs = post(&chain.tenant.rest, &write_off("11")).await.expect("the owner's");
    let uri = format!("/v1/movements/{}:reverse", text(&theirs["movements"][0]["id"]));
    let back = clerk.post(&uri, &json!({"reasonCode": "wrong"})).key("back-2").send().await;
    assert_eq!(back.problem(403, "BEYOND_LIMITS").json["metadata"]["limit"], "amount");

    // A transfer changes no value; what it moves is worth what it costs.
    let transfer = |quantity: &str| {
        let mut draft = draft("transfer.direct", quantity, &chain.tea, &chain.north, 0);
        draft["toLocationId"] = chain.south.clone().into();
        draft
    };
    post(&clerk, &transfer("10")).await.expect("25.00");
    assert_eq!(post(&clerk, &transfer("11")).await, Err("amount".to_owned()));

    let other = json!({"amountMax": {"currency": "USD", "amount": "1000000.00"}});
    let abroad = chain.limited(&["stock.post"], other).await;
    assert_eq!(post(&abroad, &write_off("1")).await, Err("amount".to_owned()));
    chain.world.close().await;
}

/// What is limited is explained, shown to its holder, refused in the audit log, and not given on.
#[tokio::test]
async fn limits_are_explained_and_never_given_on() {
    let chain = Chain::open().await;
    let owner = &chain.tenant.rest;
    let limits = json!({"locationIds": [chain.north], "categories": ["tea"],
        "amountMax": {"currency": "EUR", "amount": "10.00"}});
    let clerk = chain
        .limited(&["stock.post", "tenant.read", "key.create", "assignment.create"], limits.clone())
        .await;

    let caller = clerk.get("/v1/caller").await;
    assert_eq!(caller["limited"][0]["limits"], limits, "{caller}");
    assert!(!caller["permissions"].to_string().contains("stock.post"), "{caller}");
    let explain = async |permission: &str| {
        let ask = json!({"permission": permission, "apiKeyId": caller["principal"]["id"]});
        owner.post("/v1/permissions:explain", &ask).send().await.ok(200).json
    };
    let explained = explain("stock.post").await;
    assert_eq!((&explained["allowed"], &explained["limited"]), (&json!(true), &json!(true)), "{explained}");
    let grant =
        explained["grants"].as_array().expect("grants").iter().find(|grant| grant["source"] == "assignment");
    assert_eq!(grant.expect("the assignment")["limits"], limits);
    assert_eq!(explain("descendants.read").await["limited"], json!(false));
    // No call with this permission keeps to the limits.
    let none = explain("key.create").await;
    assert_eq!((&none["allowed"], &none["limited"]), (&json!(false), &json!(false)), "{none}");

    // Who may assign roles gives on what he has without limits, and nothing else.
    let key = json!({"name": "lead", "role": "owner",
        "permissions": ["assignment.create", "tenant.read", "product.read"]});
    let lead = owner.create("/v1/apiKeys", &key).await;
    let role = |permission: &str| json!({"code": permission.to_uppercase(), "permissions": [permission]});
    let posts = owner.create("/v1/roles", &role("stock.post")).await;
    let reads = owner.create("/v1/roles", &role("product.read")).await;
    let assign = |to: &Value, role: &Value| json!({"apiKeyId": to, "roleId": role["id"], "reach": "REACH_SELF", "limits": limits});
    owner.create("/v1/assignments", &assign(&lead["apiKey"]["id"], &posts)).await;
    let till = owner.create("/v1/apiKeys", &json!({"name": "till", "role": "viewer"})).await;
    let lead = chain.world.rest(text(&lead["secret"]));
    post(&lead, &draft("sale.shipment", "1", &chain.tea, &chain.north, 0)).await.expect("within its limits");
    let on = lead.post("/v1/assignments", &assign(&till["apiKey"]["id"], &posts)).send().await;
    assert_eq!(on.problem(403, "PERMISSION_ESCALATION").json["metadata"]["field"], "role_id");
    lead.create("/v1/assignments", &assign(&till["apiKey"]["id"], &reads)).await;

    // Whatever else the role holds counts for nothing that does not keep to the limits.
    let key = json!({"name": "more", "role": "viewer"});
    clerk.post("/v1/apiKeys", &key).send().await.problem(403, "PERMISSION_DENIED");

    assert_eq!(
        post(&clerk, &draft("sale.shipment", "1", &chain.tea, &chain.south, 0)).await,
        Err("location".to_owned())
    );
    chain.world.audit().await;
    let path = "/cargopilot.stock.v1.StockService/PostMovement";
    let denied = owner.get(format!("/v1/auditEvents?resource={path}")).await;
    assert_eq!(denied["events"][0]["action"], "audit.access.denied", "{denied}");
    assert_eq!(denied["events"].as_array().map(Vec::len), Some(1), "{denied}");
    chain.world.close().await;
}

/// Limits name what is there, and say something. TEN-4: locations of the business only.
#[tokio::test]
async fn limits_name_what_is_there() {
    let chain = Chain::open().await;
    let rest = &chain.tenant.rest;
    let other = chain.world.tenant("other").await;
    let place = json!({"code": "FAR", "name": "Far"});
    let foreign = text(&other.rest.create("/v1/locations", &place).await["id"]).to_owned();
    let role = rest.create("/v1/roles", &json!({"code": "POSTS", "permissions": ["stock.post"]})).await;
    let key = rest.create("/v1/apiKeys", &json!({"name": "till", "role": "viewer"})).await;
    let assign = async |reach: &str, limits: Value| {
        let assignment =
            json!({"apiKeyId": key["apiKey"]["id"], "roleId": role["id"], "reach": reach, "limits": limits});
        rest.post("/v1/assignments", &assignment).send().await
    };
    let unknown = chain.north.replace(&chain.north[10..14], "zzzz");
    assign("REACH_SELF", json!({"locationIds": [foreign]})).await.problem(404, "NOT_FOUND");
    assign("REACH_SELF", json!({"locationIds": [unknown]})).await.problem(404, "NOT_FOUND");
    let fields = async |reach: &str, limits: Value| {
        assign(reach, limits).await.problem(400, "INVALID_REQUEST").fields()
    };
    let at = |field: &str| vec![format!("/limits{field}")];
    assert_eq!(fields("REACH_SELF", json!({})).await, at(" REQUIRED"));
    assert_eq!(
        fields("REACH_SUBTREE", json!({"locationIds": [chain.north]})).await,
        at("/locationIds NOT_ALLOWED")
    );
    assert_eq!(
        fields("REACH_SELF", json!({"locationIds": ["prd_1"]})).await,
        at("/locationIds/0 MALFORMED_ID")
    );
    assert_eq!(fields("REACH_SELF", json!({"categories": vec!["a"; 21]})).await, at("/categories TOO_MANY"));
    assert_eq!(fields("REACH_SELF", json!({"categories": [""]})).await, at("/categories/0 REQUIRED"));
    for (currency, amount, field) in [
        ("EUR", "0", "amount OUT_OF_RANGE"),
        ("EUR", "1.005", "amount TOO_MANY_PLACES"),
        ("EURO", "1", "currency MALFORMED"),
    ] {
        let limits = json!({"amountMax": {"currency": currency, "amount": amount}});
        assert_eq!(fields("REACH_SELF", limits).await, at(&format!("/amountMax/{field}")));
    }
    // What travels with every call is bounded.
    let long: Vec<String> = (0..20).map(|number| format!("{number}{}", "ä".repeat(190))).collect();
    assert_eq!(fields("REACH_SELF", json!({"categories": long})).await, at(" TOO_LARGE"));
    chain.world.close().await;
}
