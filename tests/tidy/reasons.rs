//! Every reason that a service answers with is explained, and nothing else is.

use std::collections::BTreeSet;

use crate::hold;
use crate::lexer::parts;
use crate::tree::{SourceFile, files};

/// Whether `text` looks like a reason: `INSUFFICIENT_STOCK`.
fn is_reason(text: &str) -> bool {
    text.len() > 2
        && text.starts_with(|letter: char| letter.is_ascii_uppercase())
        && text.chars().all(|letter| letter.is_ascii_uppercase() || letter.is_ascii_digit() || letter == '_')
}

/// The reasons in a Rust file: texts, and names of constants behind `reason::`.
fn in_source(source: &str) -> BTreeSet<String> {
    let parts = parts(source);
    let named = parts.code.split("reason::").skip(1);
    let named =
        named.map(|rest| rest.split(|letter: char| letter != '_' && !letter.is_ascii_alphanumeric()).next());
    let texts = parts.texts.into_iter().map(|(_, text)| text);
    texts.chain(named.flatten().map(str::to_owned)).filter(|text| is_reason(text)).collect()
}

/// The reasons that an error page explains: first column of its tables.
fn in_page(page: &str) -> BTreeSet<String> {
    let cells = page.lines().filter_map(|line| line.strip_prefix('|')?.split('|').next());
    cells.map(|cell| cell.trim().trim_matches('`').to_owned()).filter(|cell| is_reason(cell)).collect()
}

/// The reasons that the rules of a service's methods announce: `errors: "A"`, `errors: ["A", "B"]`.
fn in_contract(proto: &str) -> BTreeSet<String> {
    let lists = proto.split("errors:").skip(1).filter_map(|rest| {
        let rest = rest.trim_start();
        if rest.starts_with('[') { rest.split(']').next() } else { rest.split('"').nth(1) }
    });
    lists
        .flat_map(|list| list.split(['"', ',', '[', ' ', '\n']))
        .filter(|text| is_reason(text))
        .map(str::to_owned)
        .collect()
}

#[test]
fn error_pages_are_complete_and_true() {
    let mut broken = Vec::new();
    for page in files(&["errors.md"]) {
        let folder = page.path.trim_end_matches("errors.md");
        let explained = in_page(&page.text);
        let sources: Vec<_> = files(&["error.rs"])
            .into_iter()
            .filter(|file| file.path == format!("{folder}src/error.rs"))
            .collect();
        let answered: BTreeSet<String> =
            sources.iter().flat_map(|file| in_source(&before_tests(file))).collect();
        if sources.is_empty() {
            broken.push(format!("{folder}: an error page without src/error.rs"));
        }
        broken.extend(
            answered.difference(&explained).map(|reason| format!("{}: {reason} is missing", page.path)),
        );
        broken.extend(
            explained
                .difference(&answered)
                .map(|reason| format!("{}: {reason} is never answered", page.path)),
        );
    }
    hold("an error page", broken);
}

#[test]
fn the_contract_announces_reasons_that_are_explained() {
    let pages = files(&["errors.md"]);
    let mut broken = Vec::new();
    for proto in files(&[".proto"]) {
        let service = proto.path.split('/').nth(2).unwrap_or_default();
        let Some(page) = pages.iter().find(|page| page.path == format!("services/{service}/errors.md"))
        else {
            continue;
        };
        let explained = in_page(&page.text);
        let lost = in_contract(&proto.text).into_iter().filter(|reason| !explained.contains(reason));
        broken.extend(lost.map(|reason| format!("{}: {reason} is not in {}", proto.path, page.path)));
    }
    hold("an announced reason", broken);
}

/// The file up to its unit tests, which may quote what is not answered.
fn before_tests(file: &SourceFile) -> String {
    file.text.split("#[cfg(test)]").next().unwrap_or_default().to_owned()
}

#[test]
fn reasons_are_found() {
    let set = |reasons: &[&str]| reasons.iter().map(|reason| (*reason).to_owned()).collect::<BTreeSet<_>>();
    let source = "Error::A => \"NOT_THERE\", B => problem::reason::STALE_REVISION, // \"NOT_THIS\"\n\"text\"";
    assert_eq!(in_source(source), set(&["NOT_THERE", "STALE_REVISION"]));
    let page = "| reason | code |\n|---|---|\n| `NOT_THERE` | `NOT_FOUND` |\n| STALE_REVISION | 412 |\nCODE";
    assert_eq!(in_page(page), set(&["NOT_THERE", "STALE_REVISION"]));
    let contract = "errors: \"ONE\"\n } errors: [\"TWO_A\", \"TWO_B\"] permission: \"X\"";
    assert_eq!(in_contract(contract), set(&["ONE", "TWO_A", "TWO_B"]));
}
