//! What pure code may not touch.

use crate::hold;
use crate::lexer::{lines_with, parts};
use crate::tree::{SourceFile, rust_below};

const VOCABULARY: [&str; 6] = [
    "services/lib/ids/src/",
    "services/lib/money/src/",
    "services/lib/quantity/src/",
    "services/lib/calendar/src/",
    "services/lib/problem/src/",
    "services/lib/recent/src/",
];
const SERVICES: [&str; 4] =
    ["services/tenant/src/", "services/catalog/src/", "services/stock/src/", "services/audit/src/"];

const CLOCK: [&str; 3] = ["SystemTime", "Instant::now", "Timestamp::now"];
const ENVIRONMENT: [&str; 4] = ["std::env", "env::var", "env::vars", "env::var_os"];
const RANDOM: [&str; 2] = ["getrandom", "thread_rng"];
const OUTSIDE: [&str; 15] = [
    "std::fs",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "ToSocketAddrs",
    "std::process",
    "std::thread",
    "std::io",
    "async",
    "await",
    "tokio",
    "tonic",
    "tracing",
    "println",
    "eprintln",
];

/// Lines of `files` in whose code one of `words` stands.
fn mentions<'a>(files: &[SourceFile], words: impl IntoIterator<Item = &'a str> + Clone) -> Vec<String> {
    let mut found = Vec::new();
    for file in files {
        let code = parts(&file.text).code;
        for word in words.clone() {
            let lines = lines_with(&code, word).into_iter();
            found.extend(lines.map(|line| format!("{}:{line}: {word}", file.path)));
        }
    }
    found
}

#[test]
fn vocabulary_is_pure() {
    let words = CLOCK.into_iter().chain(ENVIRONMENT).chain(RANDOM).chain(OUTSIDE);
    hold("vocabulary touches the world", mentions(&rust_below(&VOCABULARY), words));
}

#[test]
fn domains_are_pure() {
    let files: Vec<_> =
        rust_below(&SERVICES).into_iter().filter(|file| file.path.contains("/domain")).collect();
    let words = CLOCK.into_iter().chain(ENVIRONMENT).chain(RANDOM).chain(OUTSIDE);
    hold("a domain touches the world", mentions(&files, words));
}

/// Time comes from `journal::Env`, settings from `runtime::settings`.
#[test]
fn services_have_no_clock_and_no_environment_of_their_own() {
    let words = ["SystemTime", "Timestamp::now"].into_iter().chain(ENVIRONMENT);
    hold("a service looks at the machine", mentions(&rust_below(&SERVICES), words));
}

#[test]
fn only_the_server_and_the_runtime_read_the_environment() {
    let ours = rust_below(&["services/", "proto/src/"]).into_iter();
    let files: Vec<_> = ours
        .filter(|file| {
            !["services/server/", "services/lib/runtime/"].iter().any(|free| file.path.starts_with(free))
        })
        .filter(|file| !["/tests/", "/examples/", "/build.rs"].iter().any(|free| file.path.contains(free)))
        .collect();
    hold("the environment is read", mentions(&files, ENVIRONMENT));
}

/// INV-10: decimals are exact.
#[test]
fn numbers_of_the_business_are_never_floats() {
    let exact = rust_below(&[
        "services/stock/",
        "services/catalog/",
        "services/lib/money/",
        "services/lib/quantity/",
    ]);
    let mut found = mentions(&exact, ["f32", "f64"]);
    for file in &exact {
        let code = parts(&file.text).code;
        let lines = (1..).zip(code.lines()).filter(|(_, line)| has_float(line));
        found.extend(lines.map(|(line, _)| format!("{}:{line}: a float literal", file.path)));
    }
    hold("a float", found);
}

/// Whether a line of code has a literal such as `1.5`; `x.0.1` is two fields.
fn has_float(line: &str) -> bool {
    let letters: Vec<char> = line.chars().collect();
    let digit = |at: usize| letters.get(at).is_some_and(char::is_ascii_digit);
    (1..letters.len()).filter(|&point| letters[point] == '.' && digit(point - 1) && digit(point + 1)).any(
        |point| {
            let number = |letter: &&char| letter.is_ascii_digit() || **letter == '_';
            let digits = letters[..point].iter().rev().take_while(number).count();
            let before = point.checked_sub(digits + 1).map(|at| letters[at]);
            before.is_none_or(|before| before != '.' && !before.is_alphanumeric())
        },
    )
}

/// A test that cannot fail proves nothing.
#[test]
fn what_is_forbidden_is_found() {
    let file = |text: &str| vec![SourceFile { path: "a.rs".to_owned(), text: text.to_owned() }];
    let found =
        mentions(&file("// SystemTime\nlet t = std::time::SystemTime::now();\n\"SystemTime\""), CLOCK);
    assert_eq!(found, ["a.rs:2: SystemTime"]);
    assert_eq!(mentions(&file("use std::env;\nstd::env::var(\"A\")"), ENVIRONMENT).len(), 3);
    assert_eq!(mentions(&file("env!(\"A\"); journal::Env; environment"), ENVIRONMENT).len(), 0);
    for line in ["let x = 1.5;", "(0.25)", "-1_000.0", "0.1"] {
        assert!(has_float(line), "{line}");
    }
    for line in ["x.0.1", "x.10.2", "0..10", "1.max(2)", "[1, 2]", "a1.5x"] {
        assert!(!has_float(line), "{line}");
    }
}
