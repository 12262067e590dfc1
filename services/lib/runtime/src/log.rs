//! Logs, on standard error: text on a terminal, one JSON object per line otherwise.

use std::io::IsTerminal as _;

use serde::Deserialize;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

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
    let done = if text { lines.try_init() } else { lines.json().flatten_event(true).try_init() };
    done.map_err(|_| Error::Already)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_that_does_not_exist_is_refused() {
        for level in ["stock=loud", "inof", "info,stock", "info,inof=debug,wran"] {
            let settings = Settings { level: level.to_owned(), ..Settings::default() };
            assert!(matches!(init(&settings), Err(Error::Level { level: told }) if told == level), "{level}");
        }
    }
}
