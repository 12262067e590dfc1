//! Sizes, READMEs, links and versions.

use std::fs;

use crate::hold;
use crate::lexer::{lines_with, parts};
use crate::tree::{files, packages, root, rust_below};

const LINES_MAX: usize = 700;

/// A file that does not fit into a head gets split before it grows further.
#[test]
fn files_are_short() {
    let all = files(&[".rs", ".proto", ".py", ".sh", ".sql"]).into_iter();
    let long =
        all.map(|file| (file.text.lines().count(), file.path)).filter(|(lines, _)| *lines >= LINES_MAX);
    hold("a file is too long", long.map(|(lines, path)| format!("{path}: {lines} lines")).collect());
}

#[test]
fn every_folder_of_ours_says_what_it_owns() {
    let crates = packages().into_values().map(|package| package.folder);
    let folders = crates.chain(["services".to_owned(), "services/lib".to_owned()]);
    let lacking =
        folders.map(|folder| format!("{folder}/README.md")).filter(|path| !root().join(path).is_file());
    hold("a README is missing", lacking.collect());
}

#[test]
fn every_service_explains_its_errors() {
    let pages =
        ["tenant", "catalog", "stock", "audit"].map(|service| format!("services/{service}/errors.md"));
    hold("an error page is missing", pages.into_iter().filter(|path| !root().join(path).is_file()).collect());
}

#[test]
fn links_between_pages_lead_somewhere() {
    let mut broken = Vec::new();
    for page in files(&[".md"]) {
        let folder = root().join(&page.path);
        let folder = folder.parent().expect("a folder");
        for (number, line) in (1..).zip(page.text.lines()) {
            let targets =
                links(line).filter(|target| !target.contains("://") && !target.starts_with(['#', '/']));
            let targets = targets.map(|target| target.split('#').next().unwrap_or_default());
            let lost =
                targets.filter(|target| !target.starts_with("mailto:") && !folder.join(target).exists());
            broken.extend(lost.map(|target| format!("{}:{number}: {target}", page.path)));
        }
    }
    hold("a link leads nowhere", broken);
}

/// The targets of `[text](target)` in a line.
fn links(line: &str) -> impl Iterator<Item = &str> {
    line.split("](").skip(1).filter_map(|rest| rest.split(')').next())
}

#[test]
fn links_are_found() {
    let found: Vec<_> = links("see [a](b.md) and [c](d/e.md#f), not (g.md)").collect();
    assert_eq!(found, ["b.md", "d/e.md#f"]);
}

/// Versions and features are written once, in the root manifest.
#[test]
fn members_inherit_their_dependencies() {
    let mut broken = Vec::new();
    for package in packages().into_values() {
        let path = format!("{}/Cargo.toml", package.folder);
        let manifest = fs::read_to_string(root().join(&path)).expect("a manifest");
        let mut in_dependencies = false;
        for (number, line) in (1..).zip(manifest.lines()) {
            if line.starts_with('[') {
                in_dependencies = line.ends_with("dependencies]");
            } else if in_dependencies
                && line.contains('=')
                && !line.replace(' ', "").contains("workspace=true")
            {
                broken.push(format!("{path}:{number}: {line}"));
            }
        }
    }
    hold("a version of its own", broken);
}

/// What is not used costs everybody's build time.
#[test]
fn dependencies_are_used() {
    // Named only by the code that is generated from the contract.
    let generated = |package: &str, used: &str| {
        package == "proto" && matches!(used, "tonic" | "tonic-prost" | "prost" | "prost-types")
    };
    let mut broken = Vec::new();
    for (name, package) in packages() {
        let codes: Vec<_> = rust_below(&[&format!("{}/", package.folder)])
            .into_iter()
            .map(|file| parts(&file.text).code)
            .collect();
        for used in package.uses.iter().chain(&package.tests_use).filter(|used| !generated(&name, used)) {
            let word = used.replace('-', "_");
            if codes.iter().all(|code| lines_with(code, &word).is_empty()) {
                broken.push(format!("{}: '{used}'", package.folder));
            }
        }
    }
    hold("a dependency that nothing names", broken);
}
