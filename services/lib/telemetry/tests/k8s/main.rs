//! Dashboards and rules are made from the table of metrics, and what is in the repository is what is made.
//!
//! `CARGO_PILOT_UPDATE=1 cargo test -p telemetry --test k8s` writes them anew.

#![allow(clippy::unwrap_used)] // helpers are tests too

mod dashboards;
mod rules;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::{env, fs};

use rules::Alert;
use telemetry::table::TABLE;

fn k8s() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../k8s")
}

/// Sees that a file holds `text`, or writes it; `same` says when two texts are the same.
fn hold(path: &str, text: &str, same: impl Fn(&str, &str) -> bool) {
    let file = k8s().join(path);
    if env::var_os("CARGO_PILOT_UPDATE").is_some() {
        fs::write(&file, text).unwrap();
    }
    let found = fs::read_to_string(&file).unwrap_or_default();
    assert!(
        same(&found, text),
        "k8s/{path} is not what the table says: CARGO_PILOT_UPDATE=1 cargo test -p telemetry --test k8s"
    );
}

/// Names of the files in a folder, without their endings.
fn names(folder: &str) -> BTreeSet<String> {
    let files = fs::read_dir(k8s().join(folder)).unwrap();
    files.map(|file| file.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned()).collect()
}

/// The metrics of ours that a text names.
fn named(text: &str) -> BTreeSet<&str> {
    let words = text.split(|letter: char| letter != '_' && !letter.is_ascii_alphanumeric());
    let ours = words.filter(|word| word.starts_with("cp_") || word.starts_with("process_"));
    ours.map(|word| {
        let parts = ["_bucket", "_sum", "_count"].iter().filter_map(|part| word.strip_suffix(part));
        let whole = |name: &&str| TABLE.iter().any(|metric| metric.name == *name);
        if whole(&word) { word } else { parts.clone().find(whole).unwrap_or(word) }
    })
    .collect()
}

#[test]
fn dashboards_are_those_of_the_table() {
    let made = dashboards::all();
    for (name, dashboard) in &made {
        let text = serde_json::to_string_pretty(dashboard).unwrap() + "\n";
        // The order of fields depends on what else is built with the tests.
        let json = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap_or_default();
        hold(&format!("dashboards/{name}.json"), &text, |found, text| json(found) == json(text));
    }
    assert_eq!(names("dashboards"), made.iter().map(|(name, _)| (*name).to_owned()).collect());
}

/// What is counted is shown, and what is shown is counted.
#[test]
fn every_metric_is_on_a_dashboard() {
    let all: String = dashboards::all().iter().map(|(_, dashboard)| dashboard.to_string()).collect();
    let expected: BTreeSet<&str> = TABLE.iter().map(|metric| metric.name).collect();
    assert_eq!(named(&all), expected);
    for (name, dashboard) in dashboards::all() {
        let panels = dashboard["panels"].as_array().unwrap().len();
        assert!(panels <= 24, "{name} has {panels} panels");
    }
}

#[test]
fn rules_are_those_of_the_code() {
    hold("rules/cargo-pilot.yaml", &rules::text(), |found, text| found == text);
    let known: BTreeSet<&str> = TABLE.iter().map(|metric| metric.name).collect();
    let rules = rules::text();
    let strange: Vec<_> = named(&rules).into_iter().filter(|name| !known.contains(name)).collect();
    assert_eq!(strange, [""; 0], "rules about what nobody counts");
}

/// Who is woken finds a page that says what to do, and a dashboard that shows it; each alert is tested both ways.
#[test]
fn every_alert_has_a_runbook_a_dashboard_and_a_test() {
    let alerts: BTreeSet<String> = rules::alerts().iter().map(|alert| alert.name.to_owned()).collect();
    assert_eq!(names("runbooks"), alerts);
    let tests = fs::read_to_string(k8s().join("rules/tests.yaml")).unwrap();
    let dashboards = dashboards::all();
    for Alert { name, dashboard, .. } in rules::alerts() {
        let page = fs::read_to_string(k8s().join(format!("runbooks/{name}.md"))).unwrap();
        for section in [&*format!("# {name}\n"), "## Meaning\n", "## Impact\n", "## Check\n", "## Act\n"] {
            assert!(page.contains(section), "runbooks/{name}.md lacks '{}'", section.trim());
        }
        assert!(dashboards.iter().any(|(known, _)| *known == dashboard), "{name}: {dashboard}");
        let cases: Vec<&str> =
            tests.split("alertname: ").filter(|rest| rest.lines().next() == Some(name)).collect();
        let fires = cases.iter().any(|case| case.lines().take(4).any(|line| line.contains("exp_labels")));
        let silent =
            cases.iter().any(|case| case.lines().nth(1).is_some_and(|line| line.contains("exp_alerts: []")));
        assert!(fires && silent, "rules/tests.yaml: {name} fires: {fires}, stays silent: {silent}");
    }
}
