//! Who may depend on whom. Arrows go one way: server, services, kit, ports, vocabulary.

use std::collections::BTreeMap;

use crate::hold;
use crate::tree::{Package, packages};

const VOCABULARY: [&str; 7] = ["ids", "inherit", "money", "quantity", "calendar", "problem", "recent"];
const SERVICES: [&str; 4] = ["tenant", "catalog", "stock", "audit"];

/// What each package of ours may use of ours, beside the vocabulary.
fn allowed(package: &str) -> Option<&'static [&'static str]> {
    Some(match package {
        "ids" | "inherit" | "money" | "quantity" | "calendar" | "problem" | "recent" => &[],
        "proto" | "journal" | "runtime" | "outbound" => &[],
        "journal-cql" | "journal-embedded" | "events" | "sealed" => &["journal"],
        "events-nats" => &["events", "journal"],
        "authz" => &["proto"],
        "telemetry" => &["events", "journal", "proto", "runtime"],
        "rpc" => &["authz", "journal", "proto", "telemetry"],
        "peers" => &["proto", "rpc"],
        "transcode" => &["proto"],
        "journal-rpc" => &["events", "journal", "proto", "rpc"],
        "tenant" => &["authz", "journal", "outbound", "proto", "rpc", "runtime"],
        "catalog" => &["events", "journal", "proto", "rpc", "runtime"],
        "stock" => &["journal", "proto", "rpc", "runtime", "telemetry"],
        // What checks a log shares nothing with what writes it.
        "audit-verifier" => &[],
        "audit" => &["events", "journal", "proto", "rpc"],
        "gateway" => &["proto", "rpc", "runtime", "telemetry", "transcode"],
        "server" => &[
            "audit",
            "audit-verifier",
            "catalog",
            "events",
            "events-nats",
            "gateway",
            "journal",
            "journal-cql",
            "journal-embedded",
            "journal-rpc",
            "outbound",
            "peers",
            "proto",
            "rpc",
            "runtime",
            "sealed",
            "stock",
            "telemetry",
            "tenant",
            "transcode",
        ],
        // Tests and measurements look at everything.
        "platform-tests" | "load-tests" => &[
            "audit",
            "audit-verifier",
            "catalog",
            "gateway",
            "journal",
            "journal-embedded",
            "outbound",
            "peers",
            "proto",
            "rpc",
            "runtime",
            "sealed",
            "server",
            "stock",
            "telemetry",
            "tenant",
            "transcode",
        ],
        _ => return None,
    })
}

fn broken_edges(packages: &BTreeMap<String, Package>) -> Vec<String> {
    let mut broken = Vec::new();
    for (name, package) in packages {
        let Some(allowed) = allowed(name) else {
            broken.push(format!("{}: say in tests/tidy/edges.rs what '{name}' may use", package.folder));
            continue;
        };
        let ours = package.uses.iter().filter(|used| packages.contains_key(*used));
        for used in ours.filter(|used| !VOCABULARY.contains(&used.as_str())) {
            if !allowed.contains(&used.as_str()) {
                broken.push(format!("{}: '{name}' may not use '{used}'", package.folder));
            }
        }
        // Not even in tests: what needs two services is tested in `tests/`.
        let service = |used: &str| SERVICES.contains(&used) && used != name && !allowed.contains(&used);
        for used in package.tests_use.iter().filter(|used| service(used)) {
            broken.push(format!("{}: tests of '{name}' may not use '{used}'", package.folder));
        }
    }
    broken
}

#[test]
fn dependencies_go_one_way() {
    hold("a package uses what it may not", broken_edges(&packages()));
}

/// A verifier that shares code with the writer shares its mistakes.
#[test]
fn what_checks_the_audit_log_shares_nothing_with_what_writes_it() {
    let packages = packages();
    let verifier = &packages["audit-verifier"];
    let ours = verifier.uses.iter().filter(|used| packages.contains_key(*used));
    hold("shared code", ours.cloned().collect());
}

/// A test that cannot fail proves nothing.
#[test]
fn a_wrong_edge_is_found() {
    let check = |name: &str, uses: &[&str], tests_use: &[&str], expected: usize| {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let mut packages = packages();
        let package = Package { folder: name.to_owned(), uses: owned(uses), tests_use: owned(tests_use) };
        packages.retain(|_, known| {
            (known.uses, known.tests_use) = (Vec::new(), Vec::new());
            true
        });
        packages.insert(name.to_owned(), package);
        assert_eq!(broken_edges(&packages).len(), expected, "{name} {uses:?} {tests_use:?}");
    };
    check("stock", &["ids", "journal", "rpc", "serde"], &["journal-embedded"], 0);
    check("stock", &["catalog"], &[], 1);
    check("stock", &["journal-embedded"], &[], 1);
    check("stock", &[], &["catalog", "tenant"], 2);
    check("gateway", &["stock"], &[], 1);
    check("transcode", &["gateway", "stock"], &[], 2);
    check("ids", &["problem"], &[], 0);
    check("ids", &["journal"], &[], 1);
    check("server", &["journal-embedded", "stock"], &[], 0);
    check("something-new", &[], &[], 1);
}

/// Services are reached through their clients, in other processes by `peers`, and other people's servers through one
/// door, `outbound`: nothing else that ships makes connections of its own.
#[test]
fn nothing_that_ships_has_an_http_client() {
    let ships = |name: &str| !matches!(name, "load-tests" | "platform-tests");
    let packages = packages();
    let clients = packages.iter().filter(|(name, _)| ships(name));
    let outgoing = ["reqwest", "rustls", "tokio-rustls", "webpki-roots"];
    let clients = clients.filter(|(name, _)| !matches!(name.as_str(), "outbound" | "peers"));
    let clients =
        clients.filter(|(_, package)| package.uses.iter().any(|used| outgoing.contains(&used.as_str())));
    hold("an HTTP client", clients.map(|(_, package)| package.folder.clone()).collect());
}
