//! The server is killed, again and again, at any moment.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use serde_json::Value;

use crate::check::{Counts, check};
use crate::ledger::Ledger;
use crate::load::{Caller, Random, Shop};
use crate::process::{PATIENCE, Place, Process, Server};

/// Kills in one run; `CRASH_KILLS` asks for others.
const KILLS: u64 = 100;
/// Kills of one folder, before the next begins with an empty one.
const KILLS_OF_A_FOLDER: u64 = 20;
/// Folders at the same time.
const FOLDERS: u64 = 2;
/// Callers of each at the same time.
const CALLERS: u64 = 6;
/// Answers between two kills, at most.
const ANSWERS_MAX: u64 = 60;

/// A folder that is used until its server was killed often enough.
struct Round {
    place: Place,
    key: String,
    random: Random,
    number: u64,
    kills: u64,
    counts: Counts,
}

impl Round {
    fn new(seed: u64) -> Round {
        let place = Place::new();
        let key = place.init("main");
        Round { place, key, random: Random(seed), number: 0, kills: 0, counts: Counts::default() }
    }

    fn ledgers(&self) -> std::path::PathBuf {
        self.place.beside("ledgers")
    }

    fn check(&mut self, server: &Server) {
        let (ledgers, mut random) = (self.ledgers(), self.random.clone());
        let counts = check(&mut server.http(&self.key), &ledgers, &mut random);
        self.counts.acknowledged = counts.acknowledged;
        self.counts.unknown += counts.unknown;
        self.counts.happened += counts.happened;
    }

    /// Passes some time, about as long as `steps` times nothing.
    fn idle(&mut self, steps: u64) {
        for _ in 0..self.random.below(steps) {
            thread::yield_now();
        }
    }

    /// Kills a server that starts, before it is ready or just then.
    fn kill_at_start(&mut self) {
        let mut process = Process::spawn(self.place.serve_command());
        self.idle(400_000);
        process.kill();
        self.kills += 1;
    }

    /// Kills a server with requests under way; now and then one that just stops in good order.
    fn kill_under_load(&mut self, server: Server, shop: &Shop) {
        let answers = self.random.below(ANSWERS_MAX + 1);
        let in_order = self.random.below(10) == 0;
        let (count, stop) = (AtomicU64::default(), AtomicBool::default());
        self.number += 1;
        let callers: Vec<Caller> = (0..CALLERS)
            .map(|caller| {
                let name = format!("{}-{caller}", self.number);
                let ledger = Ledger::begin(&self.ledgers(), &name);
                let random = Random(self.random.below(u64::MAX));
                Caller::new(name, server.http(&self.key), ledger, shop, random)
            })
            .collect();
        let mut server = server;
        thread::scope(|scope| {
            for mut caller in callers {
                let (count, stop) = (&count, &stop);
                scope.spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        let Ok((status, answer)) = caller.call() else { return };
                        assert_expected(status, &answer, stop.load(Ordering::Relaxed) || in_order);
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            let deadline = Instant::now() + PATIENCE;
            while count.load(Ordering::Relaxed) < answers {
                assert!(Instant::now() < deadline, "no answers");
                thread::yield_now();
            }
            if in_order {
                server.process.terminate();
            }
            self.idle(2_000);
            server.process.kill();
            stop.store(true, Ordering::Relaxed);
        });
        self.kills += 1;
    }

    fn run(&mut self, kills: u64) {
        let mut shop = None;
        while self.kills < kills {
            if self.random.below(6) == 0 {
                self.kill_at_start();
            }
            // Each of the two is the first to look at what is left.
            if self.random.below(2) == 0 {
                self.place.assert_verifies();
            }
            let server = self.place.serve();
            let shop = shop.get_or_insert_with(|| {
                let mut ledger = Ledger::begin(&self.place.beside("ledgers"), "0");
                Shop::open(&mut server.http(&self.key), &mut ledger, "")
            });
            let shop = shop.clone();
            self.check(&server);
            self.kill_under_load(server, &shop);
        }
        let server = self.place.serve();
        self.check(&server);
        server.stop();
        self.place.assert_verifies();
    }
}

/// A business says no, and a server that stops may be unable to answer; nothing else happens.
fn assert_expected(status: u16, answer: &Value, stops: bool) {
    let reason = answer["reason"].as_str().unwrap_or_default();
    let expected = match status {
        200..300 => true,
        409 => ["INSUFFICIENT_STOCK", "REVERSAL_NOT_POSSIBLE"].contains(&reason),
        _ => stops && ["UNAVAILABLE", "OUTCOME_UNKNOWN", "OVERLOADED"].contains(&reason),
    };
    assert!(expected, "{status} {answer}");
}

/// INV-1, INV-2, INV-3: however often and whenever the server is killed, what it acknowledged is there once
/// and as it was acknowledged, what it did not acknowledge is there at most once, the same key has the same
/// answer, and everything adds up.
#[test]
fn what_was_acknowledged_survives_every_kill() {
    let kills = std::env::var("CRASH_KILLS").map_or(KILLS, |kills| kills.parse().expect("a number"));
    let seed = std::env::var("CRASH_SEED").map_or(4, |seed| seed.parse().expect("a number"));
    let total = Mutex::new(Counts::default());
    let next = AtomicU64::default();
    thread::scope(|scope| {
        for _ in 0..FOLDERS {
            scope.spawn(|| {
                loop {
                    let folder = next.fetch_add(1, Ordering::Relaxed);
                    let begun = folder * KILLS_OF_A_FOLDER;
                    if kills <= begun {
                        return;
                    }
                    let seed = seed + folder * 1000;
                    let mut round = Round::new(seed);
                    round.run(KILLS_OF_A_FOLDER.min(kills - begun));
                    println!("seed {seed}: {} kills, {:?}", round.kills, round.counts);
                    total.lock().expect("whole").add(round.counts);
                }
            });
        }
    });
    let total = total.into_inner().expect("whole");
    println!("{kills} kills, {total:?}");
    assert!(0 < total.happened && 0 < total.acknowledged, "the kills hit nothing: {total:?}");
}
