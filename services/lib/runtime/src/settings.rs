//! Settings from a file and from the environment.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use config::{Config, Environment, File, FileFormat};
use serde::de::DeserializeOwned;

/// The file that is read from the working folder when no other is named.
pub const FILE: &str = "cargo-pilot.toml";
/// Environment variables that begin with this are settings: `CARGO_PILOT__LOG__LEVEL` is `log.level`.
pub const PREFIX: &str = "CARGO_PILOT";
/// Between the levels of a setting in the name of an environment variable.
const SEPARATOR: &str = "__";

/// Settings that cannot be used. The text names the setting and where it came from.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file that was asked for does not exist.
    #[error("there is no settings file '{}'", .0.display())]
    NoFile(PathBuf),
    /// A value of the wrong type, a setting that does not exist, a file that is no TOML.
    #[error("settings: {0}")]
    Invalid(#[from] config::ConfigError),
}

/// Reads the settings of the process: defaults of `T`, then the file, then the environment.
///
/// `file` must exist when it is named; without it [`FILE`] is read if there is one. Every struct in
/// `T` carries `#[serde(default, deny_unknown_fields)]`, so that a misspelt setting is an error here,
/// before anything starts.
///
/// # Errors
/// What is wrong, and where.
pub fn load<T: DeserializeOwned>(file: Option<&Path>) -> Result<T, Error> {
    load_from(file, std::env::vars().collect())
}

/// As [`load`], with a given environment.
///
/// # Errors
/// What is wrong, and where.
pub fn load_from<T: DeserializeOwned>(
    file: Option<&Path>,
    environment: HashMap<String, String>,
) -> Result<T, Error> {
    if let Some(path) = file.filter(|path| !path.is_file()) {
        return Err(Error::NoFile(path.to_owned()));
    }
    let path = file.unwrap_or(Path::new(FILE));
    let environment = environment.into_iter().collect();
    let merged = Config::builder()
        .add_source(File::from(path).format(FileFormat::Toml).required(file.is_some()))
        .add_source(
            Environment::with_prefix(PREFIX)
                .prefix_separator(SEPARATOR)
                .separator(SEPARATOR)
                .try_parsing(true)
                .source(Some(environment)),
        )
        .build()?;
    Ok(merged.try_deserialize()?)
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Default, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Settings {
        listen: String,
        log: Log,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Log {
        level: String,
        lines_max: u64,
    }

    impl Default for Log {
        fn default() -> Self {
            Log { level: "info".to_owned(), lines_max: 10 }
        }
    }

    fn load(toml: &str, environment: &[(&str, &str)]) -> Result<Settings, String> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(FILE);
        std::fs::write(&file, toml).unwrap();
        let environment = environment.iter().map(|(name, value)| (name.to_string(), value.to_string()));
        load_from(Some(&file), environment.collect()).map_err(|error| error.to_string())
    }

    #[test]
    fn the_environment_wins_over_the_file_and_the_file_over_the_defaults() {
        let toml = "listen = '127.0.0.1:80'\n[log]\nlevel = 'debug'";
        let settings = load(toml, &[("CARGO_PILOT__LOG__LEVEL", "warn"), ("OTHER__LISTEN", "x")]).unwrap();
        let log = Log { level: "warn".to_owned(), lines_max: 10 };
        assert_eq!(settings, Settings { listen: "127.0.0.1:80".to_owned(), log });
        assert_eq!(load("", &[("CARGO_PILOT__LOG__LINES_MAX", "7")]).unwrap().log.lines_max, 7);
        assert_eq!(load("", &[]).unwrap(), Settings::default());
    }

    #[test]
    fn a_setting_that_does_not_exist_is_refused_by_name() {
        let check = |toml: &str, environment: &[(&str, &str)], name: &str| {
            let error = load(toml, environment).unwrap_err();
            assert!(error.contains(name), "{error}");
        };
        check("lisen = 'x'", &[], "lisen");
        check("[log]\nlevle = 'x'", &[], "levle");
        check("", &[("CARGO_PILOT__LOG__LEVLE", "x")], "levle");
        check("", &[("CARGO_PILOT__LISEN", "x")], "lisen");
        check("[log]\nlines_max = 'many'", &[], "lines_max");
        check("listen = ", &[], FILE);
    }

    #[test]
    fn a_file_that_was_named_must_exist() {
        let error = load_from::<Settings>(Some(Path::new("nowhere.toml")), HashMap::new()).unwrap_err();
        assert_eq!(error.to_string(), "there is no settings file 'nowhere.toml'");
    }
}
