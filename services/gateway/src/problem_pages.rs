//! What a reason means, for the person who got it: the address in `type` of every problem.

use std::collections::BTreeMap;

/// Reasons that more than one service answers with.
const COMMON: &str = include_str!("../problems.md");
/// Reasons of this door.
const OWN: &str = include_str!("../errors.md");

/// Reason to HTML.
pub(crate) struct ProblemPages(BTreeMap<String, String>);

impl ProblemPages {
    /// Reads the tables `| reason | code | HTTP | when | what to do |` of Markdown pages.
    pub(crate) fn new(pages: &[&str]) -> Self {
        let mut found: BTreeMap<String, Vec<Row>> = BTreeMap::new();
        for row in [COMMON, OWN].iter().chain(pages).flat_map(|page| page.lines()).filter_map(row) {
            let rows = found.entry(row.reason.clone()).or_default();
            // A service repeats what is common.
            if !rows.contains(&row) {
                rows.push(row);
            }
        }
        ProblemPages(found.into_iter().map(|(reason, rows)| (reason, html(&rows))).collect())
    }

    /// The page of a reason, `insufficient-stock` or `INSUFFICIENT_STOCK`.
    pub(crate) fn page(&self, reason: &str) -> Option<String> {
        self.0.get(&reason.to_ascii_uppercase().replace('-', "_")).cloned()
    }
}

/// One row of a table.
#[derive(Debug, PartialEq, Eq)]
struct Row {
    reason: String,
    code: String,
    http: String,
    when: String,
    remedy: String,
}

fn row(line: &str) -> Option<Row> {
    let cells: Vec<&str> =
        line.trim().strip_prefix('|')?.trim_end_matches('|').split('|').map(str::trim).collect();
    let [reason, code, http, when, remedy] = cells.as_slice() else { return None };
    let reason = reason.trim_matches('`');
    let is_reason = reason.starts_with(|letter: char| letter.is_ascii_uppercase())
        && reason.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
    is_reason.then(|| Row {
        reason: reason.to_owned(),
        code: (*code).to_owned(),
        http: (*http).to_owned(),
        when: (*when).to_owned(),
        remedy: (*remedy).to_owned(),
    })
}

fn html(rows: &[Row]) -> String {
    let mut page = String::from("<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">");
    for (at, row) in rows.iter().enumerate() {
        if at == 0 {
            let title = escaped(&row.reason);
            page.push_str(&format!("<title>{title}</title><h1>{title}</h1>"));
        }
        let place = match (row.code.as_str(), row.http.as_str()) {
            ("", "") => "A field of the request.".to_owned(),
            (code, http) => format!("HTTP {}, {}.", escaped(http), escaped(code)),
        };
        page.push_str(&format!(
            "<p>{place}</p><p>{}</p><p><strong>What to do:</strong> {}</p>",
            escaped(&row.when),
            escaped(&row.remedy)
        ));
    }
    page.push_str("<p><a href=\"/docs/\">API</a></p></html>\n");
    page
}

/// Text of Markdown as HTML: only code is marked.
fn escaped(text: &str) -> String {
    let safe = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;");
    let mut out = String::new();
    for (at, part) in safe.split('`').enumerate() {
        match at % 2 {
            0 => out.push_str(part),
            _ => out.push_str(&format!("<code>{part}</code>")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_becomes_pages() {
        let pages =
            ProblemPages::new(&["| reason | code | HTTP | when | what to do |\n|---|---|---|---|---|\n\
            | `TOO_LITTLE` | FAILED_PRECONDITION | 409 | Less than `wanted` <b>. | Ask for less. |\n"]);
        let page = pages.page("too-little").unwrap();
        assert!(page.contains("<h1>TOO_LITTLE</h1><p>HTTP 409, FAILED_PRECONDITION.</p>"), "{page}");
        assert!(page.contains("Less than <code>wanted</code> &lt;b&gt;."), "{page}");
        assert_eq!(pages.page("TOO_LITTLE"), Some(page));
        assert_eq!(pages.page("reason"), None);
        assert_eq!(pages.page(""), None);
    }

    #[test]
    fn common_reasons_have_pages() {
        let pages = ProblemPages::new(&[]);
        for reason in
            ["invalid-request", "unauthenticated", "unknown-route", "not-a-decimal", "malformed-json"]
        {
            assert!(pages.page(reason).is_some(), "{reason}");
        }
    }
}
