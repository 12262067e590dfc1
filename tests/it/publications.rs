//! HIE-A: changes of a master are published versions: preview, stages, the way back in one call.

use http::Method;
use serde_json::{Value, json};

use crate::rest::{Rest, text};
use crate::world::{Tenant, World};

/// A master with two businesses, `east` with one below it, and a product of the master.
struct Group {
    world: World,
    tenant: Tenant,
    east: String,
    far_east: String,
    west: String,
    tea: String,
}

impl Group {
    async fn open() -> Group {
        let world = World::new().await;
        let tenant = world.tenant("group").await;
        let business = async |name: &str, parent: &str| {
            let business =
                json!({"legalName": name, "country": "DE", "baseCurrency": "EUR", "parentId": parent});
            text(&tenant.rest.create("/v1/businesses", &business).await["id"]).to_owned()
        };
        let (east, west) = (business("East", "").await, business("West", "").await);
        let far_east = business("Far East", &east).await;
        let tea = product(&tenant.rest, "Tea").await;
        Group { world, tenant, east, far_east, west, tea }
    }

    fn master(&self) -> String {
        self.tenant.business.to_string()
    }

    async fn read(&self, business: &str, product: &str) -> Value {
        let call = self.tenant.rest.call(Method::GET, format!("/v1/products/{product}"));
        call.header("cp-business", business).send().await.ok(200).json
    }

    /// The name of a product in the master, `east`, `far_east` and `west`.
    async fn names(&self, product: &str) -> Vec<String> {
        let mut names = Vec::new();
        for business in [&self.master(), &self.east, &self.far_east, &self.west] {
            names.push(text(&self.read(business, product).await["name"]).to_owned());
        }
        names
    }

    async fn override_name(&self, business: &str, name: &str) {
        let patch = self.tenant.rest.patch(format!("/v1/products/{}", self.tea), &json!({"name": name}));
        patch.if_match("*").header("cp-business", business).send().await.ok(200);
    }

    /// What a preview of a publication lists, all pages of `size` businesses: who, which field, before, after.
    async fn preview(&self, publication: &Value, size: u32) -> Vec<(String, String, String, String)> {
        let (mut found, mut token, mut businesses) = (Vec::new(), String::new(), 0);
        loop {
            let ask = json!({"publication": publication, "pageSize": size, "pageToken": token});
            let page = self.tenant.rest.post("/v1/publications:preview", &ask).send().await.ok(200).json;
            for one in page["differences"].as_array().expect("a list") {
                let of = |value: &Value| text(&value["text"]).to_owned();
                let field = text(&one["field"]).to_owned();
                found.push((
                    text(&one["businessId"]).to_owned(),
                    field,
                    of(&one["before"]),
                    of(&one["after"]),
                ));
            }
            businesses += page["businesses"].as_u64().expect("a number");
            token = text(&page["nextPageToken"]).to_owned();
            if token.is_empty() {
                assert_eq!(businesses, 4);
                return found;
            }
        }
    }
}

async fn product(rest: &Rest, name: &str) -> String {
    let sku = format!("SKU-{}", crate::door::unique());
    let product = json!({"name": name, "brand": "Old", "variants": [{"sku": sku}]});
    text(&rest.create("/v1/products", &product).await["id"]).to_owned()
}

fn renamed(product: &str, name: &str) -> Value {
    json!({"productId": product, "product": {"name": name}})
}

async fn advance(rest: &Rest, id: &str, stage: u32) -> Value {
    let call = rest.post(format!("/v1/publications/{id}:advance"), &json!({"stage": stage}));
    call.send().await.ok(200).json
}

async fn roll_back(rest: &Rest, id: &str) -> Value {
    let call = rest.post(format!("/v1/publications/{id}:rollBack"), &json!({"reason": "wrong"}));
    call.send().await.ok(200).json
}

/// HIE-A: a preview lists exactly the businesses and values that change, each as it is found afterwards; a stage
/// reaches those it names and all below them; the last one reaches everybody; one call takes all of it back.
#[tokio::test]
async fn a_publication_goes_from_stage_to_stage_and_back() {
    let group = Group::open().await;
    let rest = &group.tenant.rest;
    let coffee = product(rest, "Coffee").await;
    group.override_name(&group.far_east, "Our tea").await;
    let draft = json!({"changes": [renamed(&group.tea, "Green tea"), renamed(&coffee, "Espresso")],
        "stages": [{"businesses": [group.east]}], "note": "spring"});

    let mut expected = vec![];
    for business in [&group.master(), &group.east, &group.west] {
        expected.push((business.clone(), "name".to_owned(), "Tea".to_owned(), "Green tea".to_owned()));
    }
    for business in [&group.master(), &group.east, &group.far_east, &group.west] {
        expected.push((business.clone(), "name".to_owned(), "Coffee".to_owned(), "Espresso".to_owned()));
    }
    expected.sort();
    for size in [1, 3, 50] {
        let mut found = group.preview(&draft, size).await;
        found.sort();
        assert_eq!(found, expected);
    }
    assert_eq!(group.names(&group.tea).await, ["Tea", "Tea", "Our tea", "Tea"], "nothing is written");

    let made = rest.create("/v1/publications", &draft).await;
    let id = text(&made["id"]).to_owned();
    assert_eq!((&made["state"], &made["stage"]), (&json!("UNDER_WAY"), &json!(1)), "{made}");
    assert_eq!(made["changes"].as_array().map(Vec::len), Some(2));
    assert_eq!(group.names(&group.tea).await, ["Tea", "Green tea", "Our tea", "Tea"]);
    assert_eq!(group.names(&coffee).await, ["Coffee", "Espresso", "Espresso", "Coffee"]);

    let explained = rest.call(Method::GET, format!("/v1/products/{}:explain?field=name", group.tea));
    let explained = explained.header("cp-business", &group.east).send().await.ok(200).json;
    let step = &explained["fields"][0]["steps"][0];
    assert_eq!(
        (&step["said"]["text"], &step["saidReason"]),
        (&json!("Green tea"), &json!("spring")),
        "{explained}"
    );

    // Under way, nobody changes the fields behind its back; others are free.
    let uri = format!("/v1/products/{}", group.tea);
    let patch = rest.patch(&uri, &json!({"name": "Black tea"})).if_match("*").send().await;
    let problem = patch.problem(409, "PUBLICATION_UNDER_WAY").json;
    assert_eq!(problem["metadata"]["publication"], json!(id));
    rest.patch(&uri, &json!({"brand": "New"})).if_match("*").send().await.ok(200);
    let again = json!({"changes": [renamed(&group.tea, "Red tea")]});
    rest.post("/v1/publications", &again).send().await.problem(409, "PUBLICATION_UNDER_WAY");

    let skip = rest.post(format!("/v1/publications/{id}:advance"), &json!({"stage": 3})).send().await;
    assert_eq!(skip.problem(409, "STAGE_NOT_NEXT").json["metadata"]["next"], "2");
    for _ in 0..2 {
        let everywhere = advance(rest, &id, 2).await;
        assert_eq!(everywhere["state"], "EVERYWHERE", "{everywhere}");
        assert_eq!(group.names(&group.tea).await, ["Green tea", "Green tea", "Our tea", "Green tea"]);
    }
    for _ in 0..2 {
        let back = roll_back(rest, &id).await;
        assert_eq!(back["state"], "ROLLED_BACK", "{back}");
        assert_eq!(group.names(&group.tea).await, ["Tea", "Tea", "Our tea", "Tea"]);
        assert_eq!(group.names(&coffee).await, ["Coffee"; 4]);
    }
    let ended = rest.post(format!("/v1/publications/{id}:advance"), &json!({"stage": 2})).send().await;
    ended.problem(409, "PUBLICATION_ENDED");
    assert_eq!(group.read(&group.west, &group.tea).await["brand"], "New", "what was changed at once stays");

    // The history keeps both.
    group.world.audit().await;
    let events = rest.get(format!("/v1/auditEvents?resource={}&pageSize=500", group.tea)).await.to_string();
    for action in ["published", "advanced", "rolled_back"] {
        assert!(events.contains(&format!("catalog.publication.{action}")), "{events}");
    }
    group.world.close().await;
}

/// HIE-A: taking back restores what was there before it, and leaves what was changed since.
#[tokio::test]
async fn what_was_changed_since_is_not_taken_back() {
    let group = Group::open().await;
    let rest = &group.tenant.rest;
    let publish = async |changes: Value| {
        text(&rest.create("/v1/publications", &json!({"changes": changes})).await["id"]).to_owned()
    };
    let first =
        publish(json!([{"productId": group.tea, "product": {"name": "One", "brand": "First"}}])).await;
    assert_eq!(group.names(&group.tea).await, ["One"; 4]);
    let second = publish(json!([renamed(&group.tea, "Two")])).await;
    // The name is the second one's; the brand goes back to what was before the first one.
    roll_back(rest, &first).await;
    let tea = group.read(&group.east, &group.tea).await;
    assert_eq!((&tea["name"], &tea["brand"]), (&json!("Two"), &json!("Old")), "{tea}");
    rest.patch(format!("/v1/products/{}", group.tea), &json!({"name": "By hand"}))
        .if_match("*")
        .send()
        .await
        .ok(200);
    roll_back(rest, &second).await;
    assert_eq!(group.names(&group.tea).await, ["By hand"; 4]);

    // Taken back while it was under way, nothing is left of it.
    let draft = json!({"changes": [renamed(&group.tea, "Three")], "stages": [{"businesses": [group.west]}]});
    let third = text(&rest.create("/v1/publications", &draft).await["id"]).to_owned();
    assert_eq!(group.names(&group.tea).await, ["By hand", "By hand", "By hand", "Three"]);
    roll_back(rest, &third).await;
    assert_eq!(group.names(&group.tea).await, ["By hand"; 4]);

    let listed = rest.get("/v1/publications").await;
    let listed: Vec<&str> =
        listed["publications"].as_array().expect("a list").iter().map(|one| text(&one["id"])).collect();
    assert_eq!(listed, [&first, &second, &third]);
    let page = rest.get("/v1/publications?pageSize=2").await;
    let next = format!("/v1/publications?pageSize=2&pageToken={}", text(&page["nextPageToken"]));
    assert_eq!(text(&rest.get(next).await["publications"][0]["id"]), third);
    group.world.close().await;
}

/// HIE-A: publications of the same field are taken back in any order; when all are, what was there before all holds.
#[tokio::test]
async fn publications_of_one_field_are_taken_back_in_any_order() {
    for order in [[0, 1], [1, 0]] {
        let group = Group::open().await;
        let rest = &group.tenant.rest;
        let mut made = Vec::new();
        for name in ["One", "Two"] {
            let draft = json!({"changes": [renamed(&group.tea, name)]});
            made.push(text(&rest.create("/v1/publications", &draft).await["id"]).to_owned());
        }
        roll_back(rest, &made[order[0]]).await;
        assert_eq!(group.names(&group.tea).await, [if order[0] == 0 { "Two" } else { "One" }; 4]);
        roll_back(rest, &made[order[1]]).await;
        assert_eq!(group.names(&group.tea).await, ["Tea"; 4]);
        group.world.close().await;
    }
}

/// A business that a stage has reached before its parent extends what it reads itself: what was published there is not
/// taken for its own, and goes when it is taken back.
#[tokio::test]
async fn what_is_extended_in_a_stage_is_not_kept_when_it_is_taken_back() {
    let group = Group::open().await;
    let rest = &group.tenant.rest;
    let tags = async |business: &str| group.read(business, &group.tea).await["tags"].clone();
    let extend = async |tags: Value| {
        let patch = rest.patch(format!("/v1/products/{}", group.tea), &json!({"tags": tags}));
        patch.if_match("*").header("cp-business", &group.far_east).send().await
    };
    let draft = json!({"changes": [{"productId": group.tea, "product": {"tags": ["organic"]}}],
        "stages": [{"businesses": [group.far_east]}]});
    let id = text(&rest.create("/v1/publications", &draft).await["id"]).to_owned();
    assert_eq!((tags(&group.east).await, tags(&group.far_east).await), (json!([]), json!(["organic"])));
    extend(json!(["sencha"])).await.problem(403, "INHERITED_LOCKED");
    extend(json!(["organic", "sencha"])).await.ok(200);
    assert_eq!(tags(&group.far_east).await, json!(["organic", "sencha"]));
    roll_back(rest, &id).await;
    assert_eq!(tags(&group.far_east).await, json!(["sencha"]));
    group.world.close().await;
}

/// All or none: a product that is not the caller's, or not there, keeps the others as they are; repeated with the
/// same key, a publication is made once.
#[tokio::test]
async fn a_publication_is_whole_or_not_there() {
    let group = Group::open().await;
    let rest = &group.tenant.rest;
    let other = product(&group.world.tenant("other").await.rest, "Foreign").await;
    let draft = json!({"changes": [renamed(&group.tea, "New"), renamed(&other, "New")]});
    rest.post("/v1/publications", &draft).send().await.problem(404, "NOT_FOUND");
    let preview = json!({"publication": draft});
    rest.post("/v1/publications:preview", &preview).send().await.problem(404, "NOT_FOUND");
    assert_eq!(group.names(&group.tea).await, ["Tea"; 4]);

    let draft = json!({"changes": [renamed(&group.tea, "New")]});
    let below = rest.post("/v1/publications", &draft).header("cp-business", &group.east).send().await;
    assert_eq!(below.problem(403, "INHERITED_LOCKED").json["metadata"]["owner"], json!(group.master()));

    let make = || rest.post("/v1/publications", &draft).key("spring");
    let (one, two) = (make().send().await.ok(201).json, make().send().await.ok(201).json);
    assert_eq!(one["id"], two["id"]);
    let uri = format!("/v1/publications/{}", text(&one["id"]));
    rest.call(Method::GET, &uri).header("cp-business", &group.east).send().await.problem(404, "NOT_FOUND");
    let nothing = rest.post("/v1/publications", &draft).send().await.problem(400, "INVALID_REQUEST");
    assert_eq!(nothing.fields(), ["/changes NOT_ALLOWED"]);

    let fields = async |draft: Value| {
        rest.post("/v1/publications", &draft).send().await.problem(400, "INVALID_REQUEST").fields()
    };
    assert_eq!(fields(json!({})).await, ["/changes REQUIRED"]);
    let twice = json!({"changes": [renamed(&group.tea, "A"), renamed(&group.tea, "B")]});
    assert_eq!(fields(twice).await, ["/changes/1/productId DUPLICATE"]);
    let change = |product: Value| json!({"changes": [{"productId": group.tea, "product": product}]});
    let unknown = fields(change(json!({"status": "DISCONTINUED"}))).await;
    assert_eq!(unknown, ["/changes/0/product/status UNKNOWN_FIELD"]);
    let empty = json!({"changes": [renamed(&group.tea, "A")], "stages": [{"businesses": []}]});
    assert_eq!(fields(empty).await, ["/stages/0/businesses REQUIRED"]);
    let named = json!([{"productId": group.tea, "product": {"name": "A"}, "updateMask": ["baseUnit"]}]);
    assert_eq!(fields(json!({"changes": named})).await, ["/changes/0/updateMask/0 UNKNOWN_FIELD"]);
    group.world.close().await;
}
