//! Tells code, texts and comments of a Rust file apart, well enough for house rules.

/// A Rust file taken apart. Lines count from 1.
#[derive(Default)]
pub(crate) struct Parts {
    /// The file with comments and the insides of texts blanked; same lines.
    pub(crate) code: String,
    /// Contents of string literals, as written, with their lines.
    pub(crate) texts: Vec<(usize, String)>,
    /// Comments with their slashes, with their first lines.
    pub(crate) comments: Vec<(usize, String)>,
}

/// Takes `source` apart.
pub(crate) fn parts(source: &str) -> Parts {
    let mut parts = Parts::default();
    let mut rest = source;
    let mut line = 1;
    while let Some(first) = rest.chars().next() {
        let (length, kind) = token(rest, parts.code.chars().next_back());
        let (taken, after) = rest.split_at(length.max(first.len_utf8()));
        match kind {
            Kind::Code => parts.code.push_str(taken),
            Kind::Comment => {
                parts.comments.push((line, taken.to_owned()));
                blank(taken, &mut parts.code);
            }
            Kind::Text(hashes) => {
                let inside = taken.trim_start_matches(['b', 'c', 'r']);
                let inside = &inside[hashes + 1..];
                let inside = inside.get(..inside.len().saturating_sub(hashes + 1)).unwrap_or_default();
                parts.texts.push((line, inside.to_owned()));
                blank(taken, &mut parts.code);
            }
            Kind::Char => blank(taken, &mut parts.code),
        }
        line += taken.matches('\n').count();
        rest = after;
    }
    parts
}

enum Kind {
    Code,
    Comment,
    /// A string literal with so many hashes.
    Text(usize),
    Char,
}

/// The length and kind of the token at the start of `rest`; code comes one character at a time.
fn token(rest: &str, before: Option<char>) -> (usize, Kind) {
    if rest.starts_with("//") {
        return (rest.find('\n').unwrap_or(rest.len()), Kind::Comment);
    }
    if rest.starts_with("/*") {
        return (block_comment(rest), Kind::Comment);
    }
    let in_word = before.is_some_and(|before| before.is_alphanumeric() || before == '_');
    if !in_word && let Some(token) = string(rest) {
        return token;
    }
    if let Some(after) = rest.strip_prefix('\'') {
        let mut inside = after.char_indices();
        let end = match inside.next() {
            Some((_, '\\')) => rest[3..].find('\'').map(|end| end + 4),
            // Otherwise it is a lifetime.
            Some(_) => inside.next().filter(|(_, next)| *next == '\'').map(|(end, _)| end + 2),
            None => None,
        };
        if let Some(end) = end {
            return (end, Kind::Char);
        }
    }
    (0, Kind::Code)
}

/// A string literal of any kind at the start of `rest`.
fn string(rest: &str) -> Option<(usize, Kind)> {
    let prefix = ["br", "cr", "r", "b", "c", ""].into_iter().find(|prefix| {
        let after = rest.strip_prefix(prefix).unwrap_or_default();
        let after = if prefix.ends_with('r') { after.trim_start_matches('#') } else { after };
        after.starts_with('"')
    })?;
    let after = &rest[prefix.len()..];
    if prefix.ends_with('r') {
        let hashes = after.len() - after.trim_start_matches('#').len();
        let end = format!("\"{}", "#".repeat(hashes));
        let start = prefix.len() + hashes + 1;
        let length = rest[start..].find(&end).map_or(rest.len(), |at| start + at + end.len());
        return Some((length, Kind::Text(hashes)));
    }
    let mut escaped = false;
    let end = after.char_indices().skip(1).find(|(_, letter)| {
        let ends = *letter == '"' && !escaped;
        escaped = *letter == '\\' && !escaped;
        ends
    });
    Some((prefix.len() + end.map_or(after.len(), |(at, _)| at + 1), Kind::Text(0)))
}

/// Length of a block comment, which may hold others.
fn block_comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        match &rest.as_bytes()[at..rest.len().min(at + 2)] {
            b"/*" => (depth, at) = (depth + 1, at + 2),
            b"*/" => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

fn blank(taken: &str, code: &mut String) {
    code.extend(taken.chars().map(|letter| if letter == '\n' { '\n' } else { ' ' }));
}

/// Lines of `code` in which `word` stands by itself; `word` may contain `::`.
pub(crate) fn lines_with(code: &str, word: &str) -> Vec<usize> {
    let part = |letter: Option<char>| letter.is_some_and(|letter| letter.is_alphanumeric() || letter == '_');
    let alone = |line: &str| {
        line.match_indices(word).any(|(at, _)| {
            !part(line[..at].chars().next_back()) && !part(line[at + word.len()..].chars().next())
        })
    };
    (1..).zip(code.lines()).filter(|(_, line)| alone(line)).map(|(number, _)| number).collect()
}

#[test]
fn code_texts_and_comments_are_told_apart() {
    let parts = parts(concat!(
        "fn f<'a>(x: &'a str) -> char { // now() \"no text\"\n",
        "    /* a /* nested */ f64 */ let s = \"f32 // \\\" no comment\";\n",
        "    let r = r#\"raw \"f64\" text\"#; let b = b\"bytes\"; let c = '\"'; let d = '\\'';\n",
        "    let e = 'x'; var(\"last\", \"\")\n",
    ));
    let texts: Vec<_> = parts.texts.iter().map(|(line, text)| (*line, text.as_str())).collect();
    let expected =
        [(2, "f32 // \\\" no comment"), (3, "raw \"f64\" text"), (3, "bytes"), (4, "last"), (4, "")];
    assert_eq!(texts, expected);
    let comments: Vec<_> = parts.comments.iter().map(|(line, text)| (*line, text.as_str())).collect();
    assert_eq!(comments, [(1, "// now() \"no text\""), (2, "/* a /* nested */ f64 */")]);
    assert_eq!(parts.code.lines().count(), 4);
    assert!(lines_with(&parts.code, "f64").is_empty() && lines_with(&parts.code, "f32").is_empty());
    assert_eq!(lines_with(&parts.code, "let"), [2, 3, 4]);
    assert_eq!(lines_with("a::b(); b2; ab::b\nx", "b"), [1]);
    assert_eq!(lines_with("xstd::env; std::env::var\nstd::environment", "std::env"), [1]);
}
