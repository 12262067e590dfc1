//! The disk fails, or the process dies, at one write, sync, rename or removal of many.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Mutex;

use crate::check::check;
use crate::ledger::Ledger;
use crate::load::{Caller, Random, Shop};
use crate::process::{Finished, MACHINE, Place, Process, USAGE, copy, ready};
use crate::shim::{Point, points, preload, take_trace};

/// Points of each test; `CRASH_FAULTS` asks for others, or `all`.
const SAMPLE: u64 = 40;
/// Requests while faults are waited for.
const REQUESTS: u64 = 25;
/// Points that are tried at the same time.
const THREADS: usize = 2;

/// Why the test goes on after a fault: how the process ended.
fn outcome(point: Point, fault: &str, finished: &Finished) -> &'static str {
    let killed = point.mode.starts_with("kill") || point.mode == "torn";
    match finished.code {
        None if killed => "killed",
        Some(0) if !killed => "survived",
        Some(MACHINE) if !killed && point.mode != "short" => {
            finished.sentence();
            "ended with a sentence"
        }
        _ => panic!("{point:?} {fault}: {finished:?}"),
    }
}

/// Tries all points, a few at a time, and tells what came of them; `try_one` gives `None` where the process did
/// not come to the point.
pub(crate) fn try_all(points: &[Point], try_one: impl Fn(Point) -> Option<&'static str> + Sync) {
    let (next, outcomes) = (Mutex::new(points.iter()), Mutex::new(BTreeMap::<_, u64>::new()));
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let Some(point) = next.lock().expect("whole").next() else { return };
                    let tried = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| try_one(*point)));
                    let outcome = match tried {
                        Ok(outcome) => outcome.unwrap_or("not reached"),
                        Err(_) => panic!("at {point:?}"),
                    };
                    *outcomes.lock().expect("whole").entry((point.mode, outcome)).or_default() += 1;
                }
            });
        }
    });
    let outcomes = outcomes.into_inner().expect("whole");
    println!("{} points: {outcomes:?}", points.len());
    let reached: u64 =
        outcomes.iter().filter(|((_, outcome), _)| *outcome != "not reached").map(|(_, count)| count).sum();
    assert!(points.len() as u64 * 3 / 4 <= reached, "only {reached} of {} were reached", points.len());
}

/// A folder can be used, and has what its callers were told.
pub(crate) fn assert_usable(place: &Place, key: &str, first: &str, random: &mut Random) {
    let server = place.serve();
    let mut http = server.http(key);
    if place.beside("ledgers").exists() {
        check(&mut http, &place.beside("ledgers"), random);
    }
    let mut ledger = Ledger::begin(&place.beside("ledgers"), first);
    let shop = Shop::open(&mut http, &mut ledger, first);
    let mut caller = Caller::new(format!("{first}-after"), http, ledger, &shop, random.clone());
    for _ in 0..5 {
        let (status, answer) = caller.call().expect("an answer");
        assert!(status < 500, "{status} {answer}");
    }
    check(&mut server.http(key), &place.beside("ledgers"), random);
    server.stop();
    place.assert_verifies();
}

/// INV-1: a first start that a fault ends is completed by the next one.
#[test]
fn a_first_start_is_completed_whatever_ended_it() {
    let place = Place::new();
    let mut init = place.init_command("main");
    preload(&mut init, &place, "count", 0);
    let finished = Process::spawn(init).finish();
    assert_eq!(finished.code, Some(0), "{finished:?}");
    let points = points(take_trace(&place).calls, SAMPLE, &mut Random(5));
    try_all(&points, first_start);
}

fn first_start(point: Point) -> Option<&'static str> {
    let place = Place::new();
    let mut init = place.init_command("main");
    preload(&mut init, &place, point.mode, point.at);
    let finished = Process::spawn(init).finish();
    let fault = take_trace(&place).fault?;
    let outcome = outcome(point, &fault, &finished);
    let key = key_after(&place, &finished);
    assert_usable(&place, &key, "shop", &mut Random(point.at));
    Some(outcome)
}

/// The key of a business whose making may have been interrupted: it is completed.
pub(crate) fn key_after(place: &Place, init: &Finished) -> String {
    if init.code == Some(0) {
        return init.json()["apiKey"].as_str().expect("a key").to_owned();
    }
    let again = Process::spawn(place.init_command("main")).finish();
    if again.code == Some(0) {
        return again.json()["apiKey"].as_str().expect("a key").to_owned();
    }
    // It was made, and the process died before it said so.
    let sentence = again.refused(USAGE);
    assert!(sentence.contains("another tenant with --slug"), "{sentence}");
    place.init("second")
}

/// A folder with a shop and some history, to be copied.
pub(crate) struct Template {
    place: Place,
    pub(crate) key: String,
    shop: Shop,
}

impl Template {
    pub(crate) fn new() -> Template {
        let place = Place::new();
        let key = place.init("main");
        let server = place.serve();
        let mut ledger = Ledger::begin(&place.beside("ledgers"), "0");
        let shop = Shop::open(&mut server.http(&key), &mut ledger, "");
        let mut caller = Caller::new("before".to_owned(), server.http(&key), ledger, &shop, Random(3));
        for _ in 0..40 {
            caller.call().expect("an answer");
        }
        server.stop();
        Template { place, key, shop }
    }

    /// Calls that change files while nothing goes wrong.
    pub(crate) fn count(&self) -> u64 {
        let place = self.copy();
        let finished = self.serve(&place, "count", 0, &[]);
        assert_eq!(finished.code, Some(0), "{finished:?}");
        take_trace(&place).calls
    }

    pub(crate) fn copy(&self) -> Place {
        let place = Place::new();
        for part in ["data", "ledgers"] {
            copy(&self.place.beside(part), &place.beside(part));
        }
        place
    }

    /// Serves a few requests with a fault; how the process ended.
    pub(crate) fn serve(&self, place: &Place, mode: &str, at: u64, env: &[(&str, PathBuf)]) -> Finished {
        let mut serve = place.serve_command();
        preload(&mut serve, place, mode, at);
        serve.envs(env.iter().map(|(name, value)| (name, value)));
        let server = match ready(Process::spawn(serve)) {
            Ok(server) => server,
            Err(finished) => return finished,
        };
        let ledger = Ledger::begin(&place.beside("ledgers"), "fault");
        let http = server.http(&self.key);
        let mut caller = Caller::new("fault".to_owned(), http, ledger, &self.shop, Random(7));
        for _ in 0..REQUESTS {
            match caller.call() {
                Ok((..500, _)) => {}
                // No acknowledgement.
                Ok(_) | Err(_) => break,
            }
        }
        server.process.terminate();
        server.process.finish()
    }
}

/// INV-1, INV-2, INV-3: whichever call fails, is cut short, or is the last one: the process ends with a sentence
/// or the request has an error, and what was acknowledged is there.
#[test]
fn what_was_acknowledged_survives_every_fault() {
    let template = Template::new();
    let points = points(template.count(), SAMPLE, &mut Random(6));
    try_all(&points, |point| {
        let place = template.copy();
        let finished = template.serve(&place, point.mode, point.at, &[]);
        let fault = take_trace(&place).fault?;
        let outcome = outcome(point, &fault, &finished);
        if point.at % 2 == 0 {
            place.assert_verifies();
        }
        assert_usable(&place, &template.key, "after", &mut Random(point.at));
        Some(outcome)
    });
}
