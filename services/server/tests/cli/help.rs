//! What people read when they ask, and when they mistype.

use tempfile::tempdir;

use crate::process::run;

#[test]
fn every_command_explains_itself() {
    let folder = tempdir().unwrap();
    let help = run(folder.path(), ["--help"]).ok();
    for word in [
        "serve",
        "init",
        "import",
        "verify",
        "export",
        "backup",
        "restore",
        "keys",
        "account",
        "serve --demo",
        "Exit codes",
    ] {
        assert!(help.contains(word), "{help}");
    }
    for command in ["serve", "init", "owner-key", "import", "verify", "backup"] {
        let help = run(folder.path(), [command, "--help"]).ok();
        for word in ["--data", "--json", command] {
            assert!(help.contains(word), "{help}");
        }
        let longest = help.lines().map(|line| line.chars().count()).max();
        assert!(longest <= Some(100), "{help}");
    }
    for args in [["verify", "audit", "--help"], ["export", "audit", "--help"]] {
        let help = run(folder.path(), args).ok();
        assert!(help.contains("FILE") && help.contains("--json"), "{help}");
    }
    assert!(run(folder.path(), ["--version"]).ok().starts_with("cargo-pilot "));
}

/// Installed, it is also `cargo pilot`.
#[test]
fn cargo_calls_it_by_its_name() {
    let folder = tempdir().unwrap();
    let own = run(folder.path(), ["serve", "--help"]).ok();
    assert_eq!(run(folder.path(), ["pilot", "serve", "--help"]).ok(), own);
    let version = run(folder.path(), ["--version"]).ok();
    assert_eq!(run(folder.path(), ["pilot", "--version"]).ok(), version);
}

#[test]
fn wrong_arguments_are_refused_on_standard_error() {
    let folder = tempdir().unwrap();
    let check = |args: &[&str], word: &str| {
        let finished = run(folder.path(), args);
        assert_eq!((finished.code, finished.stdout.as_str()), (Some(64), ""), "{args:?}: {finished:?}");
        assert!(finished.stderr.contains(word), "{args:?}: {finished:?}");
    };
    check(&[], "Usage");
    check(&["sreve"], "sreve");
    check(&["serve", "--lisen", "127.0.0.1:0"], "--listen");
    check(&["serve", "--listen", "here"], "here");
    check(&["import"], "PATH");
    check(&["verify", "audit", "a.audit"], "--log-key");
    check(&["init", "--name", "X"], "--currency");
    check(&["init", "--name", "X", "--country", "DE", "--currency", "EUR", "--costing", "lifo"], "fifo");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing was made");
}
