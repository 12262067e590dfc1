//! HIE-9: a change of a master is one change in each business in which something else holds afterwards.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use http::Method;
use journal::store::Commit;
use journal::{Env as _, SystemEnv};
use serde_json::{Value, json};

use crate::rest::{Answer, text};
use crate::world::{Forward, Tenant, World};

/// A tenant with a tree of businesses, which are named here by short names.
pub(crate) struct Group {
    pub(crate) world: World,
    pub(crate) tenant: Tenant,
    pub(crate) ids: BTreeMap<&'static str, String>,
}

impl Group {
    /// Makes businesses: each with the name of the one above.
    pub(crate) async fn of(world: World, tree: &[(&'static str, &'static str)]) -> Group {
        let tenant = world.tenant("group").await;
        let mut ids = BTreeMap::from([("master", tenant.business.to_string())]);
        for (name, parent) in tree {
            let business =
                json!({"legalName": name, "country": "DE", "baseCurrency": "EUR", "parentId": ids[parent]});
            ids.insert(*name, text(&tenant.rest.create("/v1/businesses", &business).await["id"]).to_owned());
        }
        Group { world, tenant, ids }
    }

    pub(crate) async fn product(&self, name: &str) -> String {
        let sku = format!("SKU-{}", crate::door::unique());
        let product = json!({"name": name, "brand": "Old", "tags": ["a"], "variants": [{"sku": sku}]});
        text(&self.tenant.rest.create("/v1/products", &product).await["id"]).to_owned()
    }

    async fn read(&self, business: &str, uri: impl Into<String>) -> Answer {
        let call = self.tenant.rest.call(Method::GET, uri);
        call.header("cp-business", &self.ids[business]).send().await
    }

    async fn post(&self, business: &str, uri: impl Into<String>, body: &Value) -> Answer {
        self.tenant.rest.post(uri, body).header("cp-business", &self.ids[business]).send().await
    }

    pub(crate) async fn patch(&self, business: &str, product: &str, body: &Value) -> Answer {
        let call = self.tenant.rest.patch(format!("/v1/products/{product}"), body).if_match("*");
        call.header("cp-business", &self.ids[business]).send().await
    }

    pub(crate) async fn policy(&self, business: &str, group: &str, mode: &str, more: &Value) -> Answer {
        let mut policy = json!({"entityType": "product", "fieldGroup": group, "mode": mode});
        let all = more.as_object().expect("an object").clone();
        policy.as_object_mut().expect("an object").extend(all);
        self.post(business, "/v1/inheritancePolicies", &policy).await
    }

    /// Everything that a business has heard, in pages of `size`.
    async fn heard_in_pages(&self, business: &str, filter: &str, size: usize) -> Vec<Value> {
        let (mut found, mut token) = (Vec::new(), String::new());
        loop {
            let uri = format!("/v1/inheritedChanges?pageSize={size}&pageToken={token}{filter}");
            let page = self.read(business, uri).await.ok(200).json;
            found.extend(page["changes"].as_array().cloned().unwrap_or_default());
            token = text(&page["nextPageToken"]).to_owned();
            if token.is_empty() {
                return found;
            }
        }
    }

    pub(crate) async fn heard(&self, business: &str) -> Vec<Value> {
        self.heard_in_pages(business, "", 500).await
    }

    /// Who has heard something since the last time, what and which fields: `cause fields visibility`, one text each.
    pub(crate) async fn news(
        &self,
        seen: &mut BTreeMap<&'static str, usize>,
    ) -> BTreeMap<&'static str, Vec<String>> {
        self.world.follow().await;
        let mut news = BTreeMap::new();
        for name in self.ids.keys() {
            let heard = self.heard(name).await;
            let old = seen.insert(*name, heard.len()).unwrap_or(0);
            let new: Vec<String> = heard[old..].iter().map(told).collect();
            if !new.is_empty() {
                news.insert(*name, new);
            }
        }
        news
    }
}

/// A change as a text: cause, fields, visibility.
fn told(change: &Value) -> String {
    let fields = change["fields"].as_array().cloned().unwrap_or_default();
    let fields: Vec<&str> = fields.iter().map(text).collect();
    let visibility = Some(text(&change["visibility"])).filter(|one| *one != "UNCHANGED").unwrap_or("");
    let all = [text(&change["cause"]), &fields.join(","), visibility];
    all.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

pub(crate) fn each<const N: usize>(
    names: [&'static str; N],
    what: &str,
) -> BTreeMap<&'static str, Vec<String>> {
    names.into_iter().map(|name| (name, vec![what.to_owned()])).collect()
}

pub(crate) const TREE: [(&str, &str); 5] =
    [("east", "master"), ("far east", "east"), ("west", "master"), ("far west", "west"), ("north", "master")];

/// HIE-9: with an override in one business and another that does not see the product, exactly those in which
/// something else holds hear of an update, a lock, each stage of a publication and the way back; once.
#[tokio::test]
async fn exactly_the_affected_businesses_hear_of_a_change() {
    let group = Group::of(World::new().await, &TREE).await;
    let tea = group.product("Tea").await;
    let seen = &mut BTreeMap::new();
    assert_eq!(group.news(seen).await, BTreeMap::new(), "nothing held before a product was made");

    let hide = json!({"exclude": [group.ids["north"]], "reason": "no licence"});
    group.post("master", format!("/v1/products/{tea}:setVisibility"), &hide).await.ok(200);
    assert_eq!(group.news(seen).await, each(["north"], "VISIBILITY_SET HIDDEN"));

    group.patch("west", &tea, &json!({"name": "Our tea"})).await.ok(200);
    assert_eq!(group.news(seen).await, each(["far west"], "OVERRIDDEN name"), "who says it knows it");

    group.patch("master", &tea, &json!({"name": "Green tea"})).await.ok(200);
    assert_eq!(group.news(seen).await, each(["east", "far east"], "UPDATED name"));
    let change = group.heard("far east").await.pop().expect("a change");
    let product = group.read("master", format!("/v1/products/{tea}")).await.ok(200);
    assert_eq!(format!("\"{}\"", text(&change["revision"])), text(&product.json["etag"]));
    assert_eq!(change["originBusinessId"], json!(group.ids["master"]));
    assert_eq!(change["productId"], json!(tea));
    assert_eq!(change["occurredAt"], product.json["updatedAt"]);

    group.patch("master", &tea, &json!({"name": "Black tea", "brand": "New"})).await.ok(200);
    let mut expected = each(["east", "far east"], "UPDATED name,brand");
    expected.extend(each(["west", "far west"], "UPDATED brand"));
    assert_eq!(group.news(seen).await, expected, "one change for all fields");

    let suspend = json!({"existingOverrides": "SUSPEND", "reason": "one name"});
    group.policy("master", "text", "LOCKED", &suspend).await.ok(200);
    assert_eq!(group.news(seen).await, each(["far west", "west"], "POLICY name"));
    let change = group.heard("west").await.pop().expect("a change");
    assert_eq!((text(&change["policyFieldGroup"]), text(&change["policyVersion"])), ("text", "1"));
    group.policy("master", "text", "OVERRIDABLE", &json!({})).await.ok(200);
    assert_eq!(group.news(seen).await, each(["far west", "west"], "POLICY name"));

    let change = json!({"productId": tea, "product": {"name": "White tea", "tags": ["a", "b"]}});
    let stages = json!([{"businesses": [group.ids["far east"]]}, {"businesses": [group.ids["far west"]]}]);
    let draft = json!({"changes": [change], "stages": stages, "note": "spring"});
    let id = group.post("master", "/v1/publications", &draft).await.ok(201).json["id"].clone();
    assert_eq!(group.news(seen).await, each(["far east"], "PUBLISHED name,tags"));
    assert_eq!(group.heard("far east").await.pop().expect("a change")["publicationId"], id);
    let advance = format!("/v1/publications/{}:advance", text(&id));
    group.post("master", &advance, &json!({"stage": 2})).await.ok(200);
    assert_eq!(group.news(seen).await, each(["far west"], "ADVANCED tags"), "west has its own name");
    group.post("master", &advance, &json!({"stage": 3})).await.ok(200);
    let mut expected = each(["west"], "ADVANCED tags");
    expected.extend(each(["east"], "ADVANCED name,tags"));
    assert_eq!(group.news(seen).await, expected);
    let back = format!("/v1/publications/{}:rollBack", text(&id));
    group.post("master", &back, &json!({"reason": "wrong"})).await.ok(200);
    let mut expected = each(["west", "far west"], "ROLLED_BACK tags");
    expected.extend(each(["east", "far east"], "ROLLED_BACK name,tags"));
    assert_eq!(group.news(seen).await, expected);

    let clear = format!("/v1/products/{tea}:clearOverrides");
    group.post("west", clear, &json!({"reason": "as all"})).await.ok(200);
    assert_eq!(group.news(seen).await, each(["far west"], "OVERRIDDEN name"));
    group.post("master", format!("/v1/products/{tea}:setVisibility"), &json!({})).await.ok(200);
    assert_eq!(group.news(seen).await, each(["north"], "VISIBILITY_SET SHOWN"));
    assert_eq!(group.news(seen).await, BTreeMap::new(), "nothing is told twice");

    // What a business in the middle owns is inherited below it, and nowhere else.
    let own = json!({"name": "Own", "variants": [{"sku": "OWN-1"}]});
    let own = text(&group.post("east", "/v1/products", &own).await.ok(201).json["id"]).to_owned();
    group.patch("east", &own, &json!({"brand": "Ours"})).await.ok(200);
    assert_eq!(group.news(seen).await, each(["far east"], "UPDATED brand"));
    group.patch("master", &own, &json!({"brand": "Theirs"})).await.problem(404, "NOT_FOUND");

    // Who is made behind a change did not have what was before.
    group.patch("master", &tea, &json!({"brand": "Newer"})).await.ok(200);
    let late = json!({"legalName": "late", "country": "DE", "baseCurrency": "EUR"});
    let late = text(&group.tenant.rest.create("/v1/businesses", &late).await["id"]).to_owned();
    assert_eq!(group.news(seen).await.len(), 5);
    let heard = group.tenant.rest.call(Method::GET, "/v1/inheritedChanges").header("cp-business", &late);
    assert_eq!(heard.send().await.ok(200).json["changes"], json!([]));

    // All of it is in the audit log.
    group.world.audit().await;
    let compared = group.tenant.rest.get("/v1/auditLog/completeness").await;
    assert!(compared["gaps"].as_array().is_none_or(Vec::is_empty), "{compared}");
    let uri =
        format!("/v1/auditEvents?action=catalog.inherited_change.noted&resource={}", group.ids["north"]);
    assert_eq!(group.tenant.rest.get(uri).await["events"].as_array().map(Vec::len), Some(3));
    assert!(group.world.platform.follower.check().await.expect("it can be read").is_complete());
    group.world.close().await;
}

/// HIE-9: what is heard is listed for the business that heard it: by product, from a sequence on, page by page. The
/// changes of a sister are not there; a parent looks down with `descendants.read`.
#[tokio::test]
async fn a_business_lists_what_it_heard() {
    let group = Group::of(World::new().await, &TREE).await;
    let (tea, coffee) = (group.product("Tea").await, group.product("Coffee").await);
    for number in 0..5 {
        group.patch("master", &tea, &json!({"name": format!("Tea {number}")})).await.ok(200);
        group.patch("master", &coffee, &json!({"brand": format!("Brand {number}")})).await.ok(200);
    }
    group.patch("east", &tea, &json!({"description": "Ours"})).await.ok(200);
    group.world.follow().await;

    let all = group.heard("east").await;
    let sequences: Vec<&str> = all.iter().map(|change| text(&change["sequence"])).collect();
    assert_eq!(sequences, ["1", "2", "3", "4", "5", "6", "7", "8", "9", "10"]);
    for size in [1, 3, 10] {
        assert_eq!(group.heard_in_pages("east", "", size).await, all);
        let behind = group.heard_in_pages("east", "&afterSequence=7", size).await;
        assert_eq!(behind, all[7..]);
        let of_tea: Vec<Value> =
            all.iter().filter(|change| change["productId"] == json!(tea)).cloned().collect();
        assert_eq!(of_tea.len(), 5);
        let filter = format!("&productId={tea}");
        assert_eq!(group.heard_in_pages("east", &filter, size).await, of_tea);
        let filter = format!("&productId={tea}&afterSequence={}", text(&of_tea[1]["sequence"]));
        assert_eq!(group.heard_in_pages("east", &filter, size).await, of_tea[2..]);
    }
    assert_eq!(group.heard("far east").await.len(), 11, "it hears what the one above says, too");
    assert_eq!(group.heard("west").await.len(), 10);
    assert_eq!(group.heard("master").await, Vec::<Value>::new());

    // Who works in one business and has no more reads that one alone.
    let key = json!({"name": "till", "role": "viewer", "businessId": group.ids["east"]});
    let key = group.tenant.rest.create("/v1/apiKeys", &key).await;
    let till = group.tenant.rest.with_key(text(&key["secret"]));
    assert_eq!(till.get("/v1/inheritedChanges").await["changes"].as_array().map(Vec::len), Some(10));
    let sister = till.call(Method::GET, "/v1/inheritedChanges").header("cp-business", &group.ids["west"]);
    assert!(!sister.send().await.json.to_string().contains("changes"), "a sister's are not there");

    let first = group.read("east", "/v1/inheritedChanges?pageSize=2").await.ok(200).json;
    let next = format!("/v1/inheritedChanges?pageSize=2&pageToken={}", text(&first["nextPageToken"]));
    group.read("east", next.as_str()).await.ok(200);
    till.call(Method::GET, next.as_str()).send().await.problem(400, "PAGE_TOKEN_INVALID");
    group.read("east", format!("{next}&productId={tea}")).await.problem(400, "PAGE_TOKEN_INVALID");
    group.read("east", format!("{next}&afterSequence=1")).await.problem(400, "PAGE_TOKEN_INVALID");

    let own = json!({"name": "Own", "variants": [{"sku": "OWN-1"}]});
    let own = group.post("west", "/v1/products", &own).await.ok(201).json;
    let filter = format!("/v1/inheritedChanges?productId={}", text(&own["id"]));
    group.read("east", filter).await.problem(404, "NOT_FOUND");
    let filter = format!("/v1/inheritedChanges?productId={}&pageSize=501", tea);
    group.read("east", filter).await.problem(400, "INVALID_REQUEST");
    group.world.close().await;
}

/// HIE-9: a policy with a beginning, and a lock with a grace, are told when they begin to count, and not
/// before; also by a process that was not there when they were set.
#[tokio::test]
async fn what_begins_later_is_told_when_it_begins() {
    let clock = Arc::new(Forward::default());
    let group = Group::of(World::at(clock.clone()).await, &TREE).await;
    let tea = group.product("Tea").await;
    group.patch("west", &tea, &json!({"name": "Our tea"})).await.ok(200);
    let seen = &mut BTreeMap::new();
    group.news(seen).await;
    let inside = |seconds: i64| SystemEnv.now().plus_seconds(seconds).to_string();

    let grace = json!({"existingOverrides": "GRACE", "graceUntil": inside(3_600)});
    group.policy("master", "text", "LOCKED", &grace).await.ok(200);
    let later = json!({"existingOverrides": "SUSPEND", "effectiveFrom": inside(7_200)});
    group.policy("master", "tags", "LOCKED", &later).await.ok(200);
    group.patch("east", &tea, &json!({"tags": ["a", "ours"]})).await.ok(200);
    assert_eq!(group.news(seen).await, each(["far east"], "OVERRIDDEN tags"));

    clock.pass_seconds(3_700);
    assert_eq!(group.news(seen).await, each(["far west", "west"], "POLICY name"));
    assert_eq!(group.news(seen).await, BTreeMap::new());
    clock.pass_seconds(3_600);
    let group = Group { world: group.world.again(clock).await, ..group };
    let rest = group.world.rest(&group.tenant.key);
    let group = Group { tenant: Tenant { rest, ..group.tenant }, ..group };
    assert_eq!(group.news(seen).await, each(["east", "far east"], "POLICY tags"));
    let change = group.heard("east").await.pop().expect("a change");
    assert!(text(&change["occurredAt"]) < text(&change["recordedAt"]), "{change}");
    assert_eq!(group.news(seen).await, BTreeMap::new());
    group.world.close().await;
}

/// HIE-10: policies of sisters that begin at one moment: each branch hears of its own, and learns nothing of the other.
#[tokio::test]
async fn nobody_hears_of_a_policy_of_a_sister() {
    let clock = Arc::new(Forward::default());
    let group = Group::of(World::at(clock.clone()).await, &TREE).await;
    let tea = group.product("Tea").await;
    group.patch("far east", &tea, &json!({"name": "Our tea"})).await.ok(200);
    group.patch("far west", &tea, &json!({"name": "My tea"})).await.ok(200);
    let at = SystemEnv.now().plus_seconds(3_600).to_string();
    let later = json!({"existingOverrides": "SUSPEND", "effectiveFrom": at});
    group.policy("east", "text", "LOCKED", &later).await.ok(200);
    group.policy("west", "text", "LOCKED", &later).await.ok(200);
    let seen = &mut BTreeMap::new();
    group.news(seen).await;

    clock.pass_seconds(3_700);
    assert_eq!(group.news(seen).await, each(["far east", "far west"], "POLICY name"));
    for (business, above) in [("far east", "east"), ("far west", "west")] {
        let change = group.heard(business).await.pop().expect("a change");
        assert_eq!(change["originBusinessId"], json!(group.ids[above]), "{change}");
    }
    group.world.close().await;
}

/// Numbers that follow from a seed.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from((self.0 >> 33) % bound as u64).expect("it is small")
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }
}

const FIELDS: [&str; 5] = ["name", "description", "brand", "category", "tags"];

/// What holds of a product in a business; `None` if it does not see it.
type Holds = BTreeMap<(usize, &'static str), Option<Value>>;

impl Group {
    async fn holds(&self, products: &[String]) -> Holds {
        let mut holds = Holds::new();
        for (number, product) in products.iter().enumerate() {
            for name in self.ids.keys() {
                let answer = self.read(name, format!("/v1/products/{product}")).await;
                let product = match answer.status {
                    200 => Some(FIELDS.iter().map(|field| (*field, answer.json[*field].clone())).collect()),
                    _ => None,
                };
                holds.insert((number, *name), product);
            }
        }
        holds
    }

    /// Does something to one of the products, or to all of them; gives who did it to himself alone, if somebody did.
    async fn do_something(&self, random: &mut Random, products: &[String]) -> Option<&'static str> {
        let names: Vec<&'static str> = self.ids.keys().copied().collect();
        let product = &products[random.below(products.len())];
        let word = ["one", "two", "three"];
        let body = match random.below(3) {
            0 => json!({"name": random.of(&word), "description": random.of(&word)}),
            1 => {
                let tags = [random.of(&["a", "b", "c"]), "d", "e"];
                json!({"tags": tags[..=random.below(3)].to_vec()})
            }
            _ => json!({random.of(&["brand", "category"]): random.of(&word)}),
        };
        match random.below(8) {
            0 | 1 => drop(self.patch("master", product, &body).await),
            2 | 3 => {
                let name = random.of(&names);
                self.patch(name, product, &body).await;
                return Some(name).filter(|name| *name != "master");
            }
            4 => {
                let name = random.of(&names);
                let all = json!({"reason": "back"});
                self.post(name, format!("/v1/products/{product}:clearOverrides"), &all).await;
                return Some(name);
            }
            5 => {
                let exclude = (0..random.below(3)).map(|_| self.ids[random.of(&names[..])].clone());
                let exclude: BTreeSet<String> = exclude.filter(|id| *id != self.ids["master"]).collect();
                let uri = format!("/v1/products/{product}:setVisibility");
                self.post("master", uri, &json!({"exclude": exclude})).await;
            }
            6 => {
                let mode = random.of(&["LOCKED", "OVERRIDABLE", "EXTEND", "LOCAL"]);
                let existing = if mode == "LOCKED" { "SUSPEND" } else { "REJECT" };
                let reach = match random.below(3) {
                    0 => {
                        json!({"existingOverrides": existing, "reach": "EXCEPT", "businesses": [self.ids["far east"]]})
                    }
                    _ => json!({"existingOverrides": existing}),
                };
                let owner = random.of(&["master", "master", "east", "west"]);
                self.policy(owner, random.of(&["text", "classification", "tags"]), mode, &reach).await;
            }
            _ => {
                let list = self.tenant.rest.get("/v1/publications").await["publications"].clone();
                let list = list.as_array().cloned().unwrap_or_default();
                let open = list.iter().find(|one| one["state"] == json!("UNDER_WAY"));
                match open.map(|one| (text(&one["id"]).to_owned(), one["stage"].as_u64().expect("a number")))
                {
                    Some((id, _)) if random.below(3) == 0 => {
                        self.post("master", format!("/v1/publications/{id}:rollBack"), &json!({}))
                            .await
                            .ok(200);
                    }
                    Some((id, stage)) => {
                        let next = json!({"stage": stage + 1});
                        self.post("master", format!("/v1/publications/{id}:advance"), &next).await.ok(200);
                    }
                    None => {
                        let stages =
                            json!([{"businesses": [self.ids[random.of(&["east", "far west", "north"])]]}]);
                        let changes = json!([{"productId": product, "product": body}]);
                        let draft = json!({"changes": changes, "stages": stages});
                        self.post("master", "/v1/publications", &draft).await;
                    }
                }
            }
        }
        None
    }
}

/// The product, the fields that hold something else, and whether it came or went.
type Difference = (String, BTreeSet<String>, bool);

/// Whether it is of what businesses hear, or of how far that has come.
pub(crate) fn is_inherited(commit: &Commit) -> bool {
    const INHERITED: u8 = 5;
    commit.head.format.to_be_bytes()[0] == INHERITED
}

impl Group {
    /// What every business has heard of each product, in its order, but for the moments at which it was written and its
    /// place among what was heard of others.
    async fn without_times(&self) -> BTreeMap<(&'static str, String), Vec<Value>> {
        let mut found: BTreeMap<_, Vec<Value>> =
            self.ids.keys().map(|name| ((*name, String::new()), vec![])).collect();
        for name in self.ids.keys() {
            for mut change in self.heard(name).await {
                let product = text(&change["productId"]).to_owned();
                let fields = change.as_object_mut().expect("an object");
                fields.retain(|field, _| !["sequence", "recordedAt"].contains(&field.as_str()));
                found.entry((*name, product)).or_default().push(change);
            }
        }
        found
    }

    /// Starts anew over stores in which nothing was ever told.
    async fn forget_what_was_told(self) -> Group {
        let world = self.world.with_catalog(|commit| !is_inherited(commit)).await;
        let rest = world.rest(&self.tenant.key);
        Group { world, tenant: Tenant { rest, ..self.tenant }, ids: self.ids }
    }
}

/// HIE-9. Goal: a business hears of a change exactly when something else holds there afterwards, of each change once,
/// and of the right fields; whether the follower looks at once, late, or over all of it again.
/// Method: random acts; what holds everywhere is read before and after each through the public door, which knows
/// nothing of the follower. The lists of the follower are compared with the differences.
#[tokio::test]
async fn changes_are_heard_exactly_where_something_else_holds() {
    for seed in 0..12 {
        let group = Group::of(World::new().await, &TREE).await;
        let products = [group.product("Tea").await, group.product("Coffee").await];
        let mut random = Random(seed);
        let mut expected: BTreeMap<&str, Vec<Difference>> = BTreeMap::new();
        let mut before = group.holds(&products).await;
        for _ in 0..60 {
            let actor = group.do_something(&mut random, &products).await;
            let after = group.holds(&products).await;
            for ((number, name), new) in &after {
                let old = &before[&(*number, *name)];
                if old == new || actor == Some(*name) || *name == "master" {
                    continue;
                }
                let fields = match (old, new) {
                    (Some(old), Some(new)) => {
                        FIELDS.iter().filter(|field| old[**field] != new[**field]).collect()
                    }
                    _ => vec![],
                };
                let fields = fields.into_iter().map(ToString::to_string).collect();
                let seen = old.is_some() == new.is_some();
                expected.entry(*name).or_default().push((products[*number].clone(), fields, !seen));
            }
            before = after;
            if random.below(4) == 0 {
                // It may be stopped in the middle.
                let (_, spy) = group.world.stores().find(|(name, _)| *name == "catalog").expect("a store");
                spy.allow(random.of(&[0, 1, 2, usize::MAX]));
                let _ = group.world.platform.follower.catch_up().await;
                spy.allow(usize::MAX);
            }
        }
        group.world.follow().await;
        let mut told = 0;
        for name in group.ids.keys() {
            let heard = group.heard(name).await;
            let mut heard: Vec<_> = heard
                .iter()
                .map(|change| {
                    let fields = change["fields"].as_array().cloned().unwrap_or_default();
                    let fields = fields.iter().map(|field| text(field).to_owned()).collect::<BTreeSet<_>>();
                    let seen = text(&change["visibility"]) != "UNCHANGED";
                    (text(&change["productId"]).to_owned(), fields, seen)
                })
                .collect();
            let mut differences = expected.remove(name).unwrap_or_default();
            told += heard.len();
            // A policy changes several products at once: in no order that matters. Of one product the order does.
            for all in [&mut heard, &mut differences] {
                all.sort_by(|one, other| one.0.cmp(&other.0));
            }
            assert_eq!(heard, differences, "{name}, seed {seed}");
        }
        assert!(told > 40, "only {told} changes with seed {seed}");
        assert!(group.world.platform.follower.check().await.expect("it can be read").is_complete());
        let live = group.without_times().await;
        let group = group.forget_what_was_told().await;
        assert!(group.without_times().await.values().all(Vec::is_empty));
        group.world.follow().await;
        assert_eq!(group.without_times().await, live, "rebuilt, seed {seed}");
        group.world.close().await;
    }
}

/// HIE-9: a change that more businesses hear of than one commit has room for is told to each once, wherever the
/// follower stops in the middle.
#[tokio::test]
async fn a_change_is_told_once_wherever_the_follower_stops() {
    const BUSINESSES: usize = 1_000;
    let group = Group::of(World::new().await, &TREE).await;
    let names: Vec<String> = (TREE.len() + 1..BUSINESSES).map(|number| format!("{number:04}")).collect();
    for name in &names {
        let business =
            json!({"legalName": name, "country": "DE", "baseCurrency": "EUR", "parentId": group.ids["west"]});
        group.tenant.rest.create("/v1/businesses", &business).await;
    }
    let tea = group.product("Tea").await;
    group.patch("east", &tea, &json!({"name": "Our tea"})).await.ok(200);
    group.patch("west", &tea, &json!({"description": "The best"})).await.ok(200);
    group.world.follow().await;

    let catalog = |world: &World| {
        world.stores().find(|(name, _)| *name == "catalog").map(|(_, spy)| spy.commits().len())
    };
    for (number, change) in ["name", "brand", "lock", "name"].into_iter().enumerate() {
        match change {
            "lock" => {
                let suspend = json!({"existingOverrides": "SUSPEND"});
                drop(group.policy("master", "text", "LOCKED", &suspend).await.ok(200));
            }
            field => drop(group.patch("master", &tea, &json!({field: format!("{number}")})).await.ok(200)),
        }
        let mut stops = 0;
        for allowed in [0, 1, 1, 1, 1, 1] {
            let (_, spy) = group.world.stores().find(|(name, _)| *name == "catalog").expect("a store");
            spy.allow(allowed);
            let done = group.world.platform.follower.catch_up().await;
            spy.allow(usize::MAX);
            stops += usize::from(done.is_err());
        }
        assert!(stops >= 2, "{change}: it stopped only {stops} times");
        group.world.follow().await;
    }
    assert!(catalog(&group.world).is_some_and(|commits| commits > 3 * BUSINESSES));

    let told_to = |heard: Vec<Value>| heard.iter().map(told).collect::<Vec<_>>();
    let all =
        ["OVERRIDDEN description", "UPDATED name", "UPDATED brand", "POLICY description", "UPDATED name"];
    let list = group.tenant.rest.call(Method::GET, "/v1/businesses?pageSize=500").send().await.ok(200).json;
    let more = group
        .tenant
        .rest
        .call(Method::GET, format!("/v1/businesses?pageSize=500&pageToken={}", text(&list["nextPageToken"])));
    let more = more.send().await.ok(200).json;
    let (mut heard_by_all, mut businesses) = (0, 0);
    for page in [&list, &more] {
        for business in page["businesses"].as_array().expect("a list") {
            let id = text(&business["id"]);
            let call = group.tenant.rest.call(Method::GET, "/v1/inheritedChanges");
            let heard = call.header("cp-business", id).send().await.ok(200).json["changes"].clone();
            let heard = told_to(heard.as_array().cloned().unwrap_or_default());
            businesses += 1;
            match id {
                _ if *id == group.ids["master"] => assert!(heard.is_empty()),
                _ if *id == group.ids["east"] => {
                    assert_eq!(heard, ["UPDATED brand", "POLICY name", "UPDATED name"]);
                }
                _ if *id == group.ids["far east"] => {
                    assert_eq!(heard, ["OVERRIDDEN name", "UPDATED brand", "POLICY name", "UPDATED name"]);
                }
                _ if *id == group.ids["west"] => assert_eq!(heard, all[1..], "it knows what it said"),
                _ if *id == group.ids["north"] => {
                    assert_eq!(heard, ["UPDATED name", "UPDATED brand", "UPDATED name"])
                }
                _ => {
                    assert_eq!(heard, all, "{business}");
                    heard_by_all += 1;
                }
            }
        }
    }
    assert_eq!((businesses, heard_by_all), (1_000, BUSINESSES - 5));
    assert!(group.world.platform.follower.check().await.expect("it can be read").is_complete());
    group.world.close().await;
}

/// HIE-9: several changes that wait together are told in more than one commit, each to each business once, also where a
/// commit ends just between two of them.
#[tokio::test]
async fn changes_that_wait_are_told_once_each() {
    // Five changes of so many businesses fill a commit.
    const BUSINESSES: usize = 800;
    const CHANGES: usize = 11;
    let group = Group::of(World::new().await, &[]).await;
    let mut ids = Vec::new();
    for number in 0..BUSINESSES {
        let business = json!({"legalName": number.to_string(), "country": "DE", "baseCurrency": "EUR"});
        ids.push(text(&group.tenant.rest.create("/v1/businesses", &business).await["id"]).to_owned());
    }
    let tea = group.product("Tea").await;
    group.world.follow().await;
    let mut revisions = Vec::new();
    for number in 0..CHANGES {
        let changed = group.patch("master", &tea, &json!({"brand": number.to_string()})).await.ok(200).json;
        revisions.push(text(&changed["etag"]).trim_matches('"').to_owned());
    }
    let (_, spy) = group.world.stores().find(|(name, _)| *name == "catalog").expect("a store");
    let mut stops = 0;
    loop {
        spy.allow(1);
        let done = group.world.platform.follower.catch_up().await;
        spy.allow(usize::MAX);
        if done.is_ok() {
            break;
        }
        stops += 1;
        assert!(stops < 100, "it does not come to an end: {done:?}");
    }
    assert!(stops >= 2, "it stopped only {stops} times");
    for id in &ids {
        let call = group.tenant.rest.call(Method::GET, "/v1/inheritedChanges");
        let heard = call.header("cp-business", id).send().await.ok(200).json["changes"].clone();
        let heard = heard.as_array().cloned().unwrap_or_default();
        let told: Vec<&str> = heard.iter().map(|change| text(&change["revision"])).collect();
        assert_eq!(told, revisions);
    }
    group.world.close().await;
}
