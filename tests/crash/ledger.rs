//! What callers asked and were told, in files of their own that are synced before and after each request.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::http::Http;

/// A request that changes something.
#[derive(Clone, Debug)]
pub(crate) struct Intent {
    /// Its idempotency key.
    pub(crate) key: String,
    pub(crate) path: String,
    pub(crate) body: Value,
}

impl Intent {
    /// What may come of it, each at most once.
    pub(crate) fn origins(&self) -> Vec<String> {
        if let Some(movement) = self.path.strip_suffix(":reverse") {
            let movement = movement.strip_prefix("/v1/movements/").expect("a movement");
            return vec![format!("reversal of {movement}")];
        }
        match ["movements", "products", "locations"].iter().find_map(|list| self.body[list].as_array()) {
            Some(items) => items.iter().map(origin).collect(),
            None => vec![origin(&self.body)],
        }
    }

    pub(crate) fn is_atomic(&self) -> bool {
        self.body["atomic"] == true
    }
}

/// Which request, or item of a batch, a thing that is no reversal or its draft comes from.
pub(crate) fn origin(thing: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("no text: {thing}")).to_owned();
    if thing["source"].is_object() {
        format!("posting {}/{}", text(&thing["source"]["id"]), text(&thing["source"]["lineId"]))
    } else if thing["code"].is_string() {
        format!("location {}", text(&thing["code"]))
    } else {
        format!("product {}", text(&thing["name"]))
    }
}

/// An intent and its answer, if a definite one came.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) intent: Intent,
    pub(crate) told: Option<(u16, Value)>,
    file: PathBuf,
}

impl Entry {
    /// Movements, products and locations of the answer.
    pub(crate) fn things(&self) -> Vec<Value> {
        match &self.told {
            Some((200..300, answer)) => things(answer),
            _ => Vec::new(),
        }
    }

    /// Whether each item of the request was done.
    pub(crate) fn is_done(&self) -> bool {
        match &self.told {
            Some((200..300, answer)) => {
                let mut results = answer["results"].as_array().into_iter().flatten();
                results.all(|result| result["problem"].is_null())
            }
            _ => false,
        }
    }

    /// Notes a definite answer.
    pub(crate) fn settle(&mut self, status: u16, answer: Value) -> io::Result<()> {
        let mut file = OpenOptions::new().append(true).open(&self.file)?;
        write_line(&mut file, &json!({"key": self.intent.key, "status": status, "answer": answer}))?;
        self.told = Some((status, answer));
        Ok(())
    }
}

/// Movements, products and locations of an answer, as [`stored`].
pub(crate) fn things(answer: &Value) -> Vec<Value> {
    if let Some(results) = answer["results"].as_array() {
        let made = results.iter().flat_map(|result| ["posting", "product", "location"].map(|of| &result[of]));
        return made.filter(|thing| thing.is_object()).flat_map(things).collect();
    }
    match answer["movements"].as_array() {
        Some(movements) => movements.iter().cloned().map(stored).collect(),
        None => vec![stored(answer.clone())],
    }
}

/// A thing without what later requests add to it.
pub(crate) fn stored(mut thing: Value) -> Value {
    thing.as_object_mut().expect("an object").remove("reversedBy");
    thing
}

/// The file of one caller.
pub(crate) struct Ledger {
    file: File,
}

impl Ledger {
    /// Begins a file in `folder`.
    pub(crate) fn begin(folder: &Path, name: &str) -> Ledger {
        fs::create_dir_all(folder).expect("a folder");
        let file = OpenOptions::new().create_new(true).append(true).open(folder.join(name)).expect("a file");
        Ledger { file }
    }

    /// Makes a request: the intent is on disk before it is sent, the answer before it is given to the caller.
    ///
    /// An answer of the 500s says nothing about what happened.
    pub(crate) fn send(&mut self, http: &mut Http, intent: &Intent) -> io::Result<(u16, Value)> {
        let Intent { key, path, body } = intent;
        write_line(&mut self.file, &json!({"key": key, "path": path, "body": body})).expect("a ledger");
        let (status, answer) = http.send("POST", path, key, body)?;
        if status < 500 {
            write_line(&mut self.file, &json!({"key": key, "status": status, "answer": answer}))
                .expect("a ledger");
        }
        Ok((status, answer))
    }
}

fn write_line(file: &mut File, line: &Value) -> io::Result<()> {
    file.write_all(format!("{line}\n").as_bytes())?;
    file.sync_data()
}

/// Reads all files of a folder.
pub(crate) fn read(folder: &Path) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    let files = fs::read_dir(folder).into_iter().flatten().map(|file| file.expect("a file").path());
    let mut files: Vec<PathBuf> = files.collect();
    files.sort();
    for file in files {
        for line in fs::read_to_string(&file).expect("a ledger").lines() {
            let line: Value = serde_json::from_str(line).expect("a whole line");
            let text = |field: &str| line[field].as_str().expect("a text").to_owned();
            let key = text("key");
            if line["status"].is_null() {
                let intent = Intent { key: key.clone(), path: text("path"), body: line["body"].clone() };
                assert_eq!(places.insert(key, entries.len()), None, "a key is used once");
                entries.push(Entry { intent, told: None, file: file.clone() });
            } else {
                let status = line["status"].as_u64().and_then(|status| u16::try_from(status).ok());
                entries[places[&key]].told = Some((status.expect("a status"), line["answer"].clone()));
            }
        }
    }
    entries
}
