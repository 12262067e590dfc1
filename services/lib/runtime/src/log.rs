//! Logs, on standard error: text on a terminal, one JSON object per line otherwise.

use std::fmt;
use std::io::IsTerminal as _;

use serde::Deserialize;
use tracing::{Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::scope::Scope;

/// What is logged, and how.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// `error`, `warn`, `info`, `debug`, `trace`, or per module `info,stock=debug`. Default `info`.
    pub level: String,
    /// Default: as the output is a terminal or not.
    pub format: Format,
}

impl Default for Settings {
    fn default() -> Self {
        Settings { level: "info".to_owned(), format: Format::Auto }
    }
}

/// The form of a log line.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Text on a terminal, JSON otherwise.
    Auto,
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// Logs cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The level is none.
    #[error(
        "setting 'log.level': '{level}' is no level: error, warn, info, debug, trace or off, or 'module=level'"
    )]
    Level {
        /// What it is.
        level: String,
    },
    /// Another part of the process has set up logs.
    #[error("logs are set up already")]
    Already,
}

/// Sends the log lines of the whole process to standard error. Called once, early in `main`.
///
/// # Errors
/// For a level that does not exist, and when called twice.
pub fn init(settings: &Settings) -> Result<(), Error> {
    let refused = || Error::Level { level: settings.level.clone() };
    // A word alone would be taken as a module of all levels: mistyped levels would silence everything else.
    let is_word = |part: &&str| !part.contains(['=', '[']) && part.parse::<LevelFilter>().is_err();
    if settings.level.split(',').map(str::trim).filter(|part| !part.is_empty()).any(|part| is_word(&part)) {
        return Err(refused());
    }
    let filter = EnvFilter::try_new(&settings.level).map_err(|_| refused())?;
    let terminal = std::io::stderr().is_terminal();
    let lines =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(terminal);
    let text = match settings.format {
        Format::Auto => terminal,
        Format::Text => true,
        Format::Json => false,
    };
    let done = match text {
        true => lines.try_init(),
        false => lines.json().flatten_event(true).map_event_format(Scoped).try_init(),
    };
    done.map_err(|_| Error::Already)
}

/// A form of lines that are JSON objects, with the request that they are about in front.
struct Scoped<F>(F);

impl<S, N, F> FormatEvent<S, N> for Scoped<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let Some(scope) = Scope::current() else { return self.0.format_event(context, writer, event) };
        let mut line = String::new();
        self.0.format_event(context, Writer::new(&mut line), event)?;
        let rest = line.strip_prefix('{').unwrap_or(&line);
        let (trace_id, service) = (scope.trace_id(), scope.service());
        write!(writer, r#"{{"trace_id":"{trace_id}","service":"{service}",{rest}"#)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// Lines are JSON objects, and those that are written for a request say so.
    #[test]
    fn a_line_says_which_request_it_is_about() {
        let lines = Lines::default();
        let writer = lines.clone();
        let json = tracing_subscriber::fmt().with_writer(move || writer.clone()).json().flatten_event(true);
        tracing::subscriber::with_default(json.map_event_format(Scoped).finish(), || {
            tracing::info!(code = 7, "outside");
            let parent = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
            let _entered = Scope::of(parent, "stock").map(Scope::enter);
            tracing::info!(code = 8, "inside");
        });
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        let lines: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert_eq!((&lines[0]["code"], &lines[0]["trace_id"]), (&7.into(), &serde_json::Value::Null));
        assert_eq!(lines[1]["trace_id"], "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!((&lines[1]["service"], &lines[1]["message"]), (&"stock".into(), &"inside".into()));
        assert_eq!(lines[1]["level"], "INFO");
    }

    #[test]
    fn a_level_that_does_not_exist_is_refused() {
        for level in ["stock=loud", "inof", "info,stock", "info,inof=debug,wran"] {
            let settings = Settings { level: level.to_owned(), ..Settings::default() };
            assert!(matches!(init(&settings), Err(Error::Level { level: told }) if told == level), "{level}");
        }
    }
}
