//! An error that is logged fails the test: what goes wrong inside is nobody's normal day.

use std::sync::{Mutex, OnceLock};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

static SEEN: Mutex<Vec<String>> = Mutex::new(Vec::new());
static EXPECTED: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct Errors;

impl<S: Subscriber> Layer<S> for Errors {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if *event.metadata().level() == Level::ERROR {
            let mut text = Text(event.metadata().target().to_owned());
            event.record(&mut text);
            SEEN.lock().expect("no test panics in here").push(text.0);
        }
    }
}

struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.0.push_str(&format!(" {}={value:?}", field.name()));
    }
}

/// Begins to listen, once for all tests of the process.
pub(crate) fn watch() {
    static WATCHED: OnceLock<()> = OnceLock::new();
    WATCHED.get_or_init(|| {
        let subscriber = tracing_subscriber::registry().with(Errors);
        tracing::subscriber::set_global_default(subscriber).expect("nobody else listens");
    });
}

/// Fails when anything was logged as an error, by whichever test.
pub(crate) fn none() {
    let expected = EXPECTED.lock().expect("no test panics in here");
    let mut seen = SEEN.lock().expect("no test panics in here");
    seen.retain(|seen| !expected.iter().any(|expected| seen.contains(expected)));
    assert!(seen.is_empty(), "errors were logged: {seen:#?}");
}

/// Lets errors be logged in which this stands: an alert that a test is about.
#[allow(dead_code, reason = "the isolation tests are about none")]
pub(crate) fn expect(text: &str) {
    EXPECTED.lock().expect("no test panics in here").push(text.to_owned());
}
