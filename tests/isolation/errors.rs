//! Keeps what is logged: an error fails the test, and so does a text or a secret of a tenant in any line.

use std::io::{self, Write};
use std::sync::{Mutex, OnceLock};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// Everything that this process would log if it were asked to talk: our own parts in full.
const LEVELS: &str = "info,audit=trace,catalog=trace,events=trace,gateway=trace,journal=trace,rpc=trace,\
    server=trace,stock=trace,tenant=trace,transcode=trace";

/// One JSON object per line.
static LINES: Mutex<Vec<u8>> = Mutex::new(Vec::new());

struct Kept;

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LINES.lock().expect("no test panics in here").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Kept {
    type Writer = Kept;

    fn make_writer(&self) -> Kept {
        Kept
    }
}

/// Begins to listen, once for all tests of the process.
pub(crate) fn watch() {
    static WATCHED: OnceLock<()> = OnceLock::new();
    WATCHED.get_or_init(|| {
        let lines = tracing_subscriber::fmt().json().flatten_event(true).with_writer(Kept);
        lines.with_env_filter(EnvFilter::new(LEVELS)).init();
    });
}

/// Everything that was logged so far, by whichever test.
pub(crate) fn lines() -> String {
    String::from_utf8_lossy(&LINES.lock().expect("no test panics in here")).into_owned()
}

/// Fails when anything was logged as an error, by whichever test.
pub(crate) fn none() {
    let all = lines();
    let errors: Vec<&str> = all.lines().filter(|line| line.contains("\"level\":\"ERROR\"")).collect();
    assert!(errors.is_empty(), "errors were logged: {errors:#?}");
}
