//! What who runs the cluster is told.

use std::io::Write;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use peers::{Peers, Tls};
use tracing::subscriber::DefaultGuard;

use crate::tls::{Authority, Files, HERE, Kept};
use crate::world::{Caller, Names, With, fixed, nowhere, settings};

/// What was logged on this thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn listen() -> (Self, DefaultGuard) {
        let log = Log::default();
        let writer = log.clone();
        let subscriber =
            tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
        (log, tracing::subscriber::set_default(subscriber))
    }

    fn lines(&self, words: &[&str]) -> Vec<String> {
        let text = String::from_utf8(self.0.lock().clone()).unwrap();
        let lines = text.lines().filter(|line| words.iter().all(|word| line.contains(word)));
        lines.map(str::to_owned).collect()
    }
}

/// The operator learns addresses and causes, the caller does not.
#[tokio::test]
async fn who_is_asked_and_why_nobody_answers() {
    let (log, _guard) = Log::listen();
    let (first, second) = (nowhere(), nowhere());
    let peers = Peers::new(&fixed(&[first, second])).unwrap();
    let caller = Caller::new(&peers);
    let begun = Instant::now();
    for _ in 0..20 {
        let status = caller.read("pub_1", With::default()).await.unwrap_err();
        assert!(!format!("{status:?}").contains("127.0.0"), "{status:?}");
    }
    let refused = "Connection refused (os error 111)";
    let one = |address| format!("{address} ({refused})");
    let mut both = [first, second];
    both.sort();
    let said = format!("no process of role catalog answers at {}, {}", one(both[0]), one(both[1]));
    let complaints = log.lines(&["WARN", &said]);
    let seconds = usize::try_from(begun.elapsed().as_secs()).unwrap();
    assert!((1..=seconds + 1).contains(&complaints.len()), "once a second: {complaints:?}");
    for address in [first, second] {
        let lines = log.lines(&["WARN", &format!("catalog does not answer at {address}: {refused}")]);
        assert_eq!(lines.len(), 1, "once for each that goes away: {lines:?}");
    }
}

#[tokio::test]
async fn names_that_do_not_resolve() {
    let (log, _guard) = Log::listen();
    let names = Arc::<Names>::default();
    *names.fails.lock() = true;
    let resolver = Arc::clone(&names);
    let peers = Peers::with_resolver(&settings(&["catalog-headless:7000"]), resolver).unwrap();
    Caller::new(&peers).read("pub_1", With::default()).await.unwrap_err();
    names.was_heard().await;
    let said = "no process of role catalog is known; 'catalog-headless:7000' does not resolve: the name server is away";
    assert_eq!(log.lines(&["WARN", said]).len(), 1);
    let once =
        "'catalog-headless:7000' of catalog does not resolve, 0 known addresses stay in use: the name server";
    assert_eq!(log.lines(&["WARN", once]).len(), 1, "however often it is asked");
}

#[test]
fn a_file_that_cannot_be_used_is_named_once() {
    let (log, _guard) = Log::listen();
    let authority = Authority::new("cell");
    let files = Files::new(&authority, HERE, Kept::Valid);
    let tls = Tls::load(&files.settings()).unwrap();
    files.write("key", "no key");
    for _ in 0..3 {
        tls.reload();
    }
    let key = files.path("key").display().to_string();
    let said = format!("the old certificates stay in use: cluster.tls: '{key}' holds no private key");
    assert_eq!(log.lines(&["ERROR", &said]).len(), 1);
    // New ones that nobody believes are taken, with a word of warning.
    files.issue(&authority, HERE, Kept::Expired);
    tls.reload();
    assert_eq!(log.lines(&["WARN", "others will refuse", "expired"]).len(), 1);
    assert_eq!(log.lines(&["INFO", "new certificates are in use"]).len(), 1);
}
