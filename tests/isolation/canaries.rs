//! Texts that a tenant wrote turn up nowhere else.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use prost_reflect::Kind;
use proto::api::v1::Format;
use serde_json::{Value, json};

use crate::contract::{Home, Rpc, public, sample, set};
use crate::door::unique;
use crate::errors;
use crate::rest::{Answer, text};
use crate::world::World;

/// Requests per list and read, and per tenant.
const TRIES: u64 = 40;

/// Whole numbers from a seed: splitmix64.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        let at = self.next() % of.len() as u64;
        &of[usize::try_from(at).expect("an index")]
    }
}

/// A tenant and every text and id that is its own.
struct Marked {
    home: Home,
    name: &'static str,
    own: BTreeSet<String>,
}

/// Ids in a text: three letters, `_`, 26 letters.
fn ids(text: &str) -> impl Iterator<Item = &str> {
    let word = |letter: char| !letter.is_ascii_alphanumeric() && letter != '_';
    let is_id = |word: &&str| word.len() == 30 && word.as_bytes()[3] == b'_' && !word.starts_with("req_");
    text.split(word).filter(is_id)
}

fn canary(name: &str) -> String {
    format!("CNRY{name}{}", unique())
}

impl Marked {
    async fn new(world: &World, name: &'static str) -> Marked {
        let home = Home::new(world, name).await;
        let own = [home.tenant.key.clone(), home.tenant.id.to_string(), home.tenant.business.to_string()];
        let mut marked = Marked { home, name, own: own.into() };
        marked.write().await;
        marked
    }

    /// Writes a canary into every field of every call that takes a text and keeps it; counts the fields.
    async fn write(&mut self) -> usize {
        let mut kept = 0;
        let writes =
            |rpc: &Rpc| rpc.leaves_open() && rpc.rule.http.as_ref().is_some_and(|http| http.method != "GET");
        for rpc in public().into_iter().filter(writes) {
            for field in rpc.fields() {
                let free = matches!(field.options.format(), Format::Unspecified | Format::Code);
                let text = field.descriptor.kind() == Kind::String && !field.descriptor.is_map();
                let plain = field.options.reference.is_empty() && field.options.values.is_empty();
                if !(free && text && plain && rpc.accepts(&field)) || field.descriptor.name() == "update_mask"
                {
                    continue;
                }
                let mark = canary(self.name);
                let mut request = sample(&rpc, &self.home, "").await;
                let value = if field.descriptor.is_list() { json!([mark]) } else { mark.as_str().into() };
                set(&mut request, &field.pointer, value);
                // Some texts are names of things, which canaries are not.
                let answer = rpc.rest(&self.home.door, &request).key(&canary(self.name)).send().await;
                if matches!(answer.status, 200 | 201) {
                    self.own.insert(mark);
                    self.own.extend(ids(&answer.text).map(str::to_owned));
                    kept += 1;
                }
            }
        }
        kept
    }

    /// Everything of this tenant that stands in `text`, but for what the request had in it.
    fn leaks<'a>(&'a self, text: &'a str, sent: &str) -> Vec<&'a str> {
        let found = ids(text).chain(words(text, "CNRY"));
        let mut leaks: Vec<&str> =
            found.filter(|word| self.own.contains(*word) && !sent.contains(word)).collect();
        let legal = [format!("{} GmbH", self.name), format!("{} group", self.name)];
        let told = |word: &str| text.contains(word) && !sent.contains(word);
        if legal.iter().any(|name| told(name)) || told(&self.home.tenant.key) {
            leaks.push("its name or its key");
        }
        leaks
    }
}

/// Words of letters and digits that begin with `start`.
fn words<'a>(text: &'a str, start: &'a str) -> impl Iterator<Item = &'a str> {
    text.split(|letter: char| !letter.is_ascii_alphanumeric()).filter(move |word| word.starts_with(start))
}

/// A read with parameters of every kind: own ones, those of the other tenant, rubbish.
async fn asked(rpc: &Rpc, mine: &Marked, theirs: &Marked, tokens: &[String], dice: &mut Dice) -> Value {
    let mut request = sample(rpc, &mine.home, "").await;
    let (own, foreign): (Vec<&String>, Vec<&String>) =
        (mine.own.iter().collect(), theirs.own.iter().collect());
    for field in rpc.input.fields() {
        let pointer = format!("/{}", field.json_name());
        let options = crate::contract::options(&field);
        let prefix = format!("{}_", options.reference);
        let value: Value = match (field.kind(), field.name()) {
            (Kind::String, "page_token") => dice.pick(tokens).as_str().into(),
            (Kind::String, _) if !options.reference.is_empty() => {
                let fitting: Vec<&&String> =
                    own.iter().chain(&foreign).filter(|id| id.starts_with(&prefix)).collect();
                if fitting.is_empty() { continue } else { dice.pick(&fitting).as_str().into() }
            }
            (Kind::String, _) => match dice.next() % 4 {
                0 => dice.pick(&own).as_str().into(),
                1 => "' OR 1=1 -- %00 ${7*7} ../../".into(),
                _ => dice.pick(&foreign).as_str().into(),
            },
            (Kind::Uint32 | Kind::Uint64, _) => (dice.next() % 600).to_string().into(),
            (Kind::Bool, _) => (dice.next().is_multiple_of(2)).into(),
            _ => continue,
        };
        // What is needed to ask at all stays whole half of the time.
        if !dice.next().is_multiple_of(3) && (!options.required || dice.next().is_multiple_of(2)) {
            set(&mut request, &pointer, value);
        }
    }
    request
}

/// TEN-3: every field that keeps a text holds one of its tenant alone; all reads and lists, asked with fuzzed
/// filters, sizes and page tokens of both tenants, over both doors, and the exports, answer without a text, an id, a
/// name or a key of the other. Neither do the logs: they have no text of any tenant. `SIM_SEED` is not needed to
/// repeat it: the dice have a fixed seed, and a failure says what was asked.
#[tokio::test]
async fn no_answer_and_no_log_has_a_text_of_another_tenant() {
    let world = World::new().await;
    let marked = [Marked::new(&world, "one").await, Marked::new(&world, "two").await];
    for mark in &marked {
        let canaries = mark.own.iter().filter(|own| own.starts_with("CNRY")).count();
        assert!(20 < canaries, "{canaries} canaries are few");
    }
    world.audit().await;
    let reads: Vec<Rpc> = public()
        .into_iter()
        .filter(|rpc| rpc.rule.http.as_ref().is_some_and(|http| http.method == "GET"))
        .collect();
    let mut tokens = vec![String::new(), "bWFkZSB1cA".to_owned()];
    let (mut found, mut answered) = (BTreeSet::new(), 0);
    for seed in 0..TRIES {
        for (mine, theirs) in [(&marked[0], &marked[1]), (&marked[1], &marked[0])] {
            let mut dice = Dice(seed);
            for rpc in &reads {
                let request = asked(rpc, mine, theirs, &tokens, &mut dice).await;
                let sent = request.to_string();
                let answer = rpc.rest(&mine.home.door, &request).send().await;
                assert!(answer.status < 500, "{} {sent}: {}", rpc.name, answer.text);
                let whole = format!("{:?} {}", answer.headers, answer.text);
                assert_eq!(theirs.leaks(&whole, &sent), Vec::<&str>::new(), "{} {sent}: {whole}", rpc.name);
                tokens.extend(
                    Some(text(&answer.json["nextPageToken"]).to_owned()).filter(|token| !token.is_empty()),
                );
                found.extend(words(&answer.text, "CNRY").map(str::to_owned));
                answered += usize::from(answer.status == 200);

                let grpc = prost_reflect::DynamicMessage::deserialize(rpc.input.clone(), &request);
                if grpc.is_ok() {
                    let answer = rpc.send_grpc(&mine.home.door, rpc.grpc(&mine.home.door, &request)).await;
                    let whole = match &answer {
                        Ok(bytes) => String::from_utf8_lossy(bytes).into_owned(),
                        Err(status) => {
                            format!("{} {:?}", status.message(), String::from_utf8_lossy(status.details()))
                        }
                    };
                    assert_eq!(
                        theirs.leaks(&whole, &sent),
                        Vec::<&str>::new(),
                        "{} {sent}: {whole}",
                        rpc.name
                    );
                }
            }
        }
    }
    assert!(500 < answered, "{answered} answers are few");
    // The canaries can be found at all: the lists show them to their own tenant.
    assert!(20 < found.len(), "{found:?}");

    for (mine, theirs) in [(&marked[0], &marked[1]), (&marked[1], &marked[0])] {
        let (mut file, mut token) = (String::new(), String::new());
        loop {
            let uri = format!("/v1/auditLog:export?pageToken={token}");
            let part: Answer = mine.home.tenant.rest.call(Method::GET, uri).send().await.ok(200);
            file.push_str(&decoded(text(&part.json["data"])));
            token = text(&part.json["nextPageToken"]).to_owned();
            if token.is_empty() {
                break;
            }
        }
        assert!(!mine.leaks(&file, "").is_empty(), "an export has what its tenant wrote");
        assert_eq!(theirs.leaks(&file, ""), Vec::<&str>::new());
    }

    let logged = errors::lines();
    for mark in &marked {
        let texts = mark.own.iter().filter(|own| own.starts_with("CNRY") || own.starts_with("cp_live_"));
        let told: Vec<&String> = texts.filter(|own| logged.contains(own.as_str())).collect();
        assert_eq!(told, Vec::<&String>::new(), "a log line has it");
    }
    world.close().await;
}

/// What standard base64 says, as text.
fn decoded(text: &str) -> String {
    let bytes = STANDARD.decode(text).expect("base64");
    String::from_utf8_lossy(&bytes).into_owned()
}
