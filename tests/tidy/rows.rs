//! A test that proves a row of the product's list names it: `/// TEN-7: …`.

use crate::hold;
use crate::lexer::parts;
use crate::tree::files;

/// The rows that exist: a group per line, then its numbers (`1-12`) and letters.
const ROWS: &str = include_str!("rows.txt");

/// Three capitals and a hyphen that are no row.
const OTHERS: [&str; 5] = ["SHA-", "UTF-", "ISO-", "RFC-", "CRC-"];

fn exists(row: &str) -> bool {
    let Some((group, name)) = row.split_once('-') else { return false };
    let Some(line) = ROWS.lines().find(|line| line.split(' ').next() == Some(group)) else { return false };
    line.split(' ').skip(1).any(|part| match part.split_once('-') {
        Some((first, last)) => {
            let number = |text: &str| text.parse::<u32>().ok();
            number(name).is_some_and(|name| number(first) <= Some(name) && Some(name) <= number(last))
        }
        None => part == name,
    })
}

/// What looks like the id of a row in a comment: `TEN-7`, `TEN-A`.
fn ids(comment: &str) -> Vec<&str> {
    let words = comment.split(|letter: char| letter != '-' && !letter.is_ascii_alphanumeric());
    let like_a_row = |word: &&str| {
        let bytes = word.as_bytes();
        let (group, name) = bytes.split_at(bytes.len().min(4));
        group.len() == 4
            && group[..3].iter().all(u8::is_ascii_uppercase)
            && group[3] == b'-'
            && (name.len() == 1 && name[0].is_ascii_uppercase()
                || !name.is_empty() && name.iter().all(u8::is_ascii_digit))
    };
    words.filter(like_a_row).filter(|word| !OTHERS.iter().any(|other| word.starts_with(other))).collect()
}

#[test]
fn rows_that_tests_name_exist() {
    let mut broken = Vec::new();
    for file in files(&[".rs"]) {
        for (line, comment) in parts(&file.text).comments {
            let unknown = ids(&comment).into_iter().filter(|row| !exists(row));
            broken.extend(unknown.map(|row| format!("{}:{line}: {row}", file.path)));
        }
    }
    hold("a row that does not exist", broken);
}

#[test]
fn rows_are_found() {
    assert_eq!(
        ids("/// TEN-7: as CAT-3, TEN-A and SHA-256 (API-11) or A-1, TENT-1, TEN-1x"),
        ["TEN-7", "CAT-3", "TEN-A", "API-11"]
    );
    for (row, expected) in
        [("TEN-1", true), ("TEN-12", true), ("TEN-13", false), ("TEN-0", false), ("XYZ-1", false)]
    {
        assert_eq!(exists(row), expected, "{row}");
    }
}
