//! Files of a stopped server change: bits flip, ends get lost, files vanish.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use crate::check::{assert_equal, assert_repeats, fetch};
use crate::ledger::{self, Entry, Ledger};
use crate::load::{Caller, Random, Shop};
use crate::process::{MACHINE, Place, Process, ready};

/// The ledger does not add up, says `verify`.
const DATA: i32 = 65;
/// Damages of one run; `CRASH_DAMAGES` asks for others, or `all`.
const SAMPLE: usize = 80;
/// Places of a file where bits flip.
const FLIPS: u64 = 12;
/// Damages that are tried at the same time.
const THREADS: usize = 2;
/// Lines of a large batch, and how many of them: enough for the store to write all kinds of its files.
const LINES: u64 = 400;
const BATCHES: u64 = 10;
/// Acknowledged requests that are repeated on what is left.
const REPEATS: u64 = 12;

#[derive(Debug, Clone)]
enum Damage {
    /// The bits of `mask` at `at` are others.
    Flip { at: u64, mask: u8 },
    /// The block around `at` is empty.
    Blank { at: u64 },
    /// The file ends here.
    Cut { at: u64 },
    /// The file is not there.
    Remove,
}

impl Damage {
    /// Whether it changed anything.
    fn apply(&self, path: &Path) -> io::Result<bool> {
        let before = fs::read(path)?;
        let mut after = before.clone();
        let at = |at: u64| usize::try_from(at).expect("small");
        match *self {
            Damage::Remove => return fs::remove_file(path).map(|()| true),
            Damage::Flip { at: place, mask } => after[at(place)] ^= mask,
            Damage::Cut { at: end } => after.truncate(at(end)),
            Damage::Blank { at: place } => {
                let from = at(place) / 512 * 512;
                let to = after.len().min(from + 512);
                after[from..to].fill(0);
            }
        }
        fs::write(path, &after)?;
        Ok(after != before)
    }
}

/// All damages of a file that has these bytes.
fn damages(bytes: &[u8], random: &mut Random) -> Vec<Damage> {
    // Behind what is used there is nothing to damage.
    let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last as u64 + 1);
    let mut all = vec![Damage::Remove];
    if used == 0 {
        return all;
    }
    let mut flip = |at| Damage::Flip { at, mask: 1 << random.below(8) };
    all.extend([flip(0), flip(used / 2), flip(used - 1)]);
    all.extend([Damage::Cut { at: 0 }, Damage::Cut { at: used / 2 }, Damage::Cut { at: used - 1 }]);
    all.push(Damage::Blank { at: used / 2 });
    all.extend((3..FLIPS).map(|_| {
        let at = random.below(used);
        Damage::Flip { at, mask: 1 << random.below(8) }
    }));
    all
}

/// All files below `folder`, in order, by their path in it.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(below) = folders.pop() {
        for entry in fs::read_dir(folder.join(&below)).expect("a folder") {
            let entry = entry.expect("an entry");
            let path = below.join(entry.file_name());
            match entry.file_type().expect("a type").is_dir() {
                true => folders.push(path),
                false => found.push(path),
            }
        }
    }
    found.sort();
    found
}

/// A stopped server with some history.
struct Template {
    place: Place,
    key: String,
    entries: Vec<Entry>,
}

impl Template {
    fn new() -> Template {
        let place = Place::new();
        let key = place.init("main");
        let server = place.serve();
        let mut ledger = Ledger::begin(&place.beside("ledgers"), "0");
        let shop = Shop::open(&mut server.http(&key), &mut ledger, "");
        let mut caller = Caller::new("before".to_owned(), server.http(&key), ledger, &shop, Random(9));
        for _ in 0..BATCHES {
            let (status, answer) = caller.receive(LINES).expect("an answer");
            assert_eq!(status, 200, "{answer}");
        }
        for _ in 0..60 {
            caller.call().expect("an answer");
        }
        server.stop();
        let entries = ledger::read(&place.beside("ledgers"));
        Template { place, key, entries }
    }

    /// What comes of a damage, or what is wrong about it.
    fn damaged(&self, file: &Path, damage: &Damage, verify_first: bool) -> Result<&'static str, String> {
        let place = Place::new();
        crate::process::copy(&self.place.data(), &place.data());
        if !damage.apply(&place.data().join(file)).map_err(|error| error.to_string())? {
            return Ok("nothing changed");
        }
        let verified = |place: &Place| {
            let finished = place.verify();
            match finished.code {
                Some(0) => Ok(true),
                Some(MACHINE | DATA) => finished.complaint().map(|_| false),
                _ => Err(format!("verify: {finished:?}")),
            }
        };
        let first = if verify_first { Some(verified(&place)?) } else { None };
        let served = self.serve(&place)?;
        let sound = match first {
            Some(sound) => sound,
            None => verified(&place)?,
        };
        match served {
            "has all" if !sound => Ok("verify finds it"),
            "answers with an error" if sound => Err("verify does not find what cannot be read".to_owned()),
            served => Ok(served),
        }
    }

    /// Serves what is left, and compares it with what was acknowledged.
    fn serve(&self, place: &Place) -> Result<&'static str, String> {
        let server = match ready(Process::spawn(place.serve_command())) {
            Ok(server) => server,
            Err(finished) if finished.code == Some(MACHINE) => {
                return finished.complaint().map(|_| "does not start");
            }
            Err(finished) => return Err(format!("serve: {finished:?}")),
        };
        let mut http = server.http(&self.key);
        let read = match fetch(&mut http, &self.entries) {
            Ok(content) => {
                assert_equal(&content, &self.entries);
                let done: Vec<&Entry> = self.entries.iter().filter(|entry| entry.is_done()).collect();
                let mut random = Random(content.len() as u64);
                let repeats = (0..REPEATS).map(|_| -> &&Entry { random.pick(&done) });
                repeats.map(|entry| assert_repeats(&mut http, entry)).find_map(Result::err)
            }
            Err(refused) => Some(refused),
        };
        server.process.terminate();
        let finished = server.process.finish();
        match (read, finished.code) {
            (None, Some(0 | MACHINE)) => Ok("has all"),
            // It is away: the read ended it.
            (Some((0, _)), Some(MACHINE)) => finished.complaint().map(|_| "ends"),
            (Some((500, answer)), Some(0 | MACHINE)) if answer["reason"] == "DATA_DAMAGED" => {
                Ok("answers with an error")
            }
            (Some((503, answer)), Some(0 | MACHINE)) if answer["reason"] == "TENANT_KEY_MISSING" => {
                Ok("says that a key is missing")
            }
            (read, _) => Err(format!("{read:?} {finished:?}")),
        }
    }
}

/// INV-1: whatever changes in whatever file, it is repaired, the start is refused, or what cannot be read is an
/// error; nothing else than what was acknowledged passes for it.
#[test]
fn damage_is_never_served() {
    let template = Template::new();
    let mut random = Random(11);
    let mut all = Vec::new();
    for file in files(&template.place.data()) {
        let bytes = fs::read(template.place.data().join(&file)).expect("a file");
        let damages = damages(&bytes, &mut random);
        all.extend(damages.into_iter().map(|damage| (file.clone(), damage)));
    }
    let wanted = match std::env::var("CRASH_DAMAGES").as_deref() {
        Ok("all") => all.len(),
        Ok(number) => number.parse().expect("a number, or `all`"),
        Err(_) => SAMPLE,
    };
    let wanted = wanted.min(all.len());
    let chosen: Vec<_> = (0..wanted).map(|part| all[all.len() * part / wanted].clone()).collect();

    let (next, found) = (Mutex::new(chosen.iter().enumerate()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let Some((number, (file, damage))) = next.lock().expect("whole").next() else { return };
                    let look = || template.damaged(file, damage, number % 2 == 0);
                    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(look));
                    let outcome = outcome.unwrap_or_else(|_| Err("not what was acknowledged".to_owned()));
                    found.lock().expect("whole").push((format!("{} {damage:?}", file.display()), outcome));
                }
            });
        }
    });
    let found = found.into_inner().expect("whole");
    let mut outcomes = std::collections::BTreeMap::<&str, u64>::new();
    for (_, outcome) in &found {
        *outcomes.entry(outcome.as_ref().map_or("wrong", |outcome| outcome)).or_default() += 1;
    }
    println!("{wanted} of {} damages: {outcomes:?}", all.len());
    let wrong: Vec<String> = found
        .iter()
        .filter_map(|(damage, outcome)| Some(format!("{damage}: {}", outcome.as_ref().err()?)))
        .collect();
    assert!(wrong.is_empty(), "{} of {wanted}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(found.iter().any(|(_, outcome)| *outcome == Ok("does not start")), "no damage was noticed");
}
