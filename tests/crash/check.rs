//! Compares what a server has with the ledgers of its callers.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::{Value, json};

use crate::http::Http;
use crate::ledger::{self, Entry, stored, things};
use crate::load::Random;

/// Answers that are asked for again after each start.
const REPEATS: u64 = 3;

/// Everything that a server has, by id; movements with what was added to them later.
pub(crate) type Content = BTreeMap<String, Value>;

/// Reads everything, or gives the answer that a read was refused with.
pub(crate) fn fetch(http: &mut Http, entries: &[Entry]) -> Result<Content, (u16, Value)> {
    let mut all = http.all("/v1/products", "products")?;
    all.extend(http.all("/v1/locations", "locations")?);
    let moved = http.all("/v1/balances", "balances")?;
    let mut variants: BTreeSet<String> = moved.iter().map(|balance| text(&balance["variantId"])).collect();
    for entry in entries {
        let body = &entry.intent.body;
        let drafts = body["movements"].as_array().into_iter().flatten().chain([body]);
        variants.extend(drafts.filter(|draft| draft["variantId"].is_string()).map(|d| text(&d["variantId"])));
    }
    for variant in variants {
        let history = http.all(&format!("/v1/movements?variantId={variant}&orderBy=OLDEST"), "movements")?;
        assert_history(&history);
        all.extend(history);
    }
    let count = all.len();
    let content: Content = all.into_iter().map(|thing| (text(&thing["id"]), thing)).collect();
    assert_eq!(content.len(), count, "an id is there twice");
    Ok(content)
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

fn number(value: &Value) -> i64 {
    value.as_str().expect("a decimal").parse().expect("whole")
}

/// INV-2, INV-3: no gap, and each balance follows from the one before.
fn assert_history(history: &[Value]) {
    let mut balances: BTreeMap<String, i64> = BTreeMap::new();
    for (at, movement) in history.iter().enumerate() {
        assert_eq!(movement["sequence"], (at + 1).to_string(), "a gap");
        let balance = balances.entry(text(&movement["locationId"])).or_default();
        assert_eq!(number(&movement["balanceBefore"]), *balance, "{movement}");
        *balance += number(&movement["quantity"]);
        assert_eq!(number(&movement["balanceAfter"]), *balance, "{movement}");
    }
}

/// Which request, or item of a batch, a thing comes from.
fn origin(thing: &Value, content: &Content) -> String {
    match thing["reversalOf"].as_str() {
        // Callers name the first movement of the posting that they take back.
        Some(reversed) => format!("reversal of {}", text(&content[reversed]["postingId"])),
        None => ledger::origin(thing),
    }
}

/// INV-1: what was acknowledged is there, once, as it was acknowledged; what is there beside it comes from
/// requests without an answer, whole and once.
fn assert_explained(content: &Content, entries: &[Entry]) {
    let mut acknowledged = BTreeSet::new();
    for entry in entries {
        for thing in entry.things() {
            let id = text(&thing["id"]);
            let there = content.get(&id).unwrap_or_else(|| panic!("lost: {thing}"));
            assert_eq!(stored(there.clone()), thing, "changed");
            acknowledged.insert(id);
        }
    }
    let mut open: BTreeMap<String, bool> = BTreeMap::new();
    for entry in entries.iter().filter(|entry| entry.told.is_none()) {
        open.extend(entry.intent.origins().into_iter().map(|origin| (origin, false)));
    }
    // A posting is known by its first movement; what else belongs to it follows.
    let is_first = |thing: &Value| thing["postingId"].is_null() || thing["postingId"] == thing["id"];
    for (id, thing) in content {
        if acknowledged.contains(id) {
            continue;
        }
        let first = if is_first(thing) { thing } else { &content[&text(&thing["postingId"])] };
        let found =
            open.get_mut(&origin(first, content)).unwrap_or_else(|| panic!("nobody asked for {thing}"));
        if is_first(thing) {
            assert!(!*found, "doubled: {thing}");
            *found = true;
        }
    }
    for entry in entries.iter().filter(|entry| entry.told.is_none() && entry.intent.is_atomic()) {
        let found: BTreeSet<bool> = entry.intent.origins().iter().map(|origin| open[origin]).collect();
        assert!(found.len() < 2, "half of an atomic batch is there: {entry:?}");
    }
    // Two postings of one origin would both be first.
    let origins: Vec<String> =
        content.values().filter(|thing| is_first(thing)).map(|thing| origin(thing, content)).collect();
    assert_eq!(origins.iter().collect::<BTreeSet<_>>().len(), origins.len(), "doubled");
}

/// The server has exactly what the callers were told.
pub(crate) fn assert_equal(content: &Content, entries: &[Entry]) {
    let told = entries.iter().flat_map(Entry::things).map(|thing| (text(&thing["id"]), thing));
    let told: Content = told.collect();
    let there: Content = content.iter().map(|(id, thing)| (id.clone(), stored(thing.clone()))).collect();
    let ids = |content: &Content| content.keys().cloned().collect::<BTreeSet<_>>();
    assert_eq!(ids(&there), ids(&told));
    assert_eq!(there, told);
    for thing in content.values().filter(|thing| thing["reversalOf"].is_string()) {
        let reversed = &content[&text(&thing["reversalOf"])]["reversedBy"];
        // A transfer has two movements, and both of its reversal name what they reverse.
        assert!(reversed.is_string(), "{thing} reverses what does not know it");
    }
}

/// INV-3: balances are the sums of what the callers were told.
fn assert_balances(balances: &[Value], entries: &[Entry]) {
    let mut expected: BTreeMap<String, (i64, i64, Value, BTreeMap<String, Value>)> = BTreeMap::new();
    let moved = entries.iter().flat_map(Entry::things).filter(|thing| thing["variantId"].is_string());
    let mut moved: Vec<Value> = moved.collect();
    moved.sort_by_key(|movement| number(&movement["sequence"]));
    for movement in moved {
        let item = expected.entry(text(&movement["variantId"])).or_default();
        item.0 += number(&movement["quantity"]);
        item.1 += 1;
        item.2 = movement["poolValueAfter"].clone();
        if movement["class"] == "valuation" {
            continue; // goods do not move
        }
        let place = item.3.entry(text(&movement["locationId"])).or_insert(json!([0, 0, 0]));
        let count = |value: &Value| value.as_i64().expect("a number");
        *place = json!([
            count(&place[0]) + number(&movement["quantity"]),
            count(&place[1]) + 1,
            number(&movement["sequence"])
        ]);
    }
    let shown = balances.iter().map(|item| {
        let places = item["locations"].as_array().expect("places").iter().map(|place| {
            let numbers = ["onHand", "movements", "lastSequence"].map(|field| number(&place[field]));
            (text(&place["locationId"]), json!(numbers))
        });
        let sums = (number(&item["onHand"]), number(&item["sequence"]), item["value"].clone());
        (text(&item["variantId"]), (sums.0, sums.1, sums.2, places.collect()))
    });
    assert_eq!(shown.collect::<BTreeMap<_, _>>(), expected);
}

/// What came of the requests of all callers so far.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Counts {
    /// Requests that were acknowledged when they were made.
    pub(crate) acknowledged: usize,
    /// Requests without an answer.
    pub(crate) unknown: usize,
    /// Of these, those that had happened.
    pub(crate) happened: usize,
}

impl Counts {
    pub(crate) fn add(&mut self, more: Counts) {
        self.acknowledged += more.acknowledged;
        self.unknown += more.unknown;
        self.happened += more.happened;
    }
}

/// Checks a server against the ledgers in `folder`, repeats what has no answer until it has one, and checks
/// again: then both are the same, to the last field.
pub(crate) fn check(http: &mut Http, folder: &Path, random: &mut Random) -> Counts {
    let mut entries = ledger::read(folder);
    let before = fetch(http, &entries).expect("readable");
    assert_explained(&before, &entries);
    let mut counts = Counts::default();
    let there: BTreeSet<String> = before.values().map(|thing| origin(thing, &before)).collect();
    for entry in &mut entries {
        if entry.told.is_some() {
            counts.acknowledged += 1;
            continue;
        }
        counts.unknown += 1;
        counts.happened += usize::from(entry.intent.origins().iter().any(|origin| there.contains(origin)));
        settle(http, entry);
    }
    let done: Vec<&Entry> = entries.iter().filter(|entry| entry.is_done()).collect();
    for _ in 0..REPEATS.min(done.len() as u64) {
        let entry: &&Entry = random.pick(&done);
        assert_repeats(http, entry).expect("an answer");
    }
    let after = fetch(http, &entries).expect("readable");
    assert_explained(&after, &entries);
    assert_equal(&after, &entries);
    for (id, thing) in before {
        assert_eq!(stored(after[&id].clone()), stored(thing), "changed by a repeated request");
    }
    assert_balances(&http.all("/v1/balances", "balances").expect("readable"), &entries);
    counts
}

/// Repeats a request until it has an answer, and once more: the answer stays the same.
fn settle(http: &mut Http, entry: &mut Entry) {
    let intent = entry.intent.clone();
    let (status, answer) = http.send("POST", &intent.path, &intent.key, &intent.body).expect("an answer");
    assert!((200..300).contains(&status) || status == 409, "{intent:?}: {status} {answer}");
    entry.settle(status, answer).expect("a ledger");
    if entry.is_done() {
        assert_repeats(http, entry).expect("an answer");
    }
}

/// Repeats a request: the answer is the same, or it cannot be given.
pub(crate) fn assert_repeats(http: &mut Http, entry: &Entry) -> Result<(), (u16, Value)> {
    let Entry { intent, .. } = entry;
    let sent = http.send("POST", &intent.path, &intent.key, &intent.body);
    let (status, answer) = sent.map_err(|error| (0, Value::from(error.to_string())))?;
    if status >= 500 {
        return Err((status, answer));
    }
    assert!((200..300).contains(&status), "{intent:?}: {status} {answer}");
    // An item of a batch that cannot be answered is an error of its own.
    let mut problems = answer["results"].as_array().into_iter().flatten().map(|result| &result["problem"]);
    if let Some(problem) = problems.find(|problem| problem["reason"] == "DATA_DAMAGED") {
        return Err((500, problem.clone()));
    }
    assert_eq!(things(&answer), entry.things(), "another answer to the same key");
    Ok(())
}
