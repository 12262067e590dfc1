//! Paths and queries.

use std::borrow::Cow;

/// Splits `/v1/movements/{id}:reverse` into its segments and its verb; `None` for what no route has: an
/// empty segment, a trailing slash.
pub(crate) fn split(path: &str) -> Option<(Vec<&str>, Option<&str>)> {
    let mut segments: Vec<&str> = path.strip_prefix('/')?.split('/').collect();
    let last = segments.last_mut()?;
    let mut verb = None;
    if let Some((name, after)) = last.rsplit_once(':') {
        (*last, verb) = (name, Some(after));
    }
    if segments.iter().any(|segment| segment.is_empty()) { None } else { Some((segments, verb)) }
}

/// Takes `%41` for `A`; `None` when that gives no UTF-8 or a `%` stands alone.
/// Source: RFC 3986, 2.1.
pub(crate) fn decode(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('%') {
        return Some(Cow::Borrowed(text));
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first != b'%' {
            out.push(*first);
            continue;
        }
        let (digits, tail) = rest.split_at_checked(2)?;
        let digits = std::str::from_utf8(digits).ok().filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()))?;
        out.push(u8::from_str_radix(digits, 16).ok()?);
        rest = tail;
    }
    String::from_utf8(out).ok().map(Cow::Owned)
}

/// The pairs of a query, in order: `a=1&b=%20`; a pair that does not decode is an error, as it came.
/// Source: WHATWG URL, `application/x-www-form-urlencoded`.
pub(crate) fn pairs(query: &str) -> impl Iterator<Item = Result<(Cow<'_, str>, String), &str>> {
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = value.replace('+', " ");
        decode(key).zip(decode(&value).map(Cow::into_owned)).ok_or(key)
    })
}

/// Encodes a value for a query; what is unreserved stays.
pub(crate) fn encode(text: &str, out: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[rustfmt::skip] // columns
    fn a_path_has_segments_and_perhaps_a_verb() {
        let check = |path, expected: Option<(&[&str], Option<&str>)>| {
            assert_eq!(split(path), expected.map(|(segments, verb)| (segments.to_vec(), verb)), "{path}");
        };
        check("/v1/products",              Some((&["v1", "products"],               None)));
        check("/v1/products:batchCreate",  Some((&["v1", "products"],               Some("batchCreate"))));
        check("/v1/movements/mov_1:reverse", Some((&["v1", "movements", "mov_1"],   Some("reverse"))));
        check("/v1/a/b:c:d",               Some((&["v1", "a", "b:c"],               Some("d"))));
        check("/v1/products/",             None);
        check("//products",                None);
        check("/v1/:verb",                 None);
        check("products",                  None);
        check("",                          None);
    }

    #[test]
    #[rustfmt::skip] // columns
    fn percent_signs_are_decoded_or_refused() {
        let check = |text, expected: Option<&str>| assert_eq!(decode(text).as_deref(), expected, "{text}");
        check("plain",    Some("plain"));
        check("%41%2fb",  Some("A/b"));
        check("%C3%A4",   Some("ä"));
        check("%",        None);
        check("%4",       None);
        check("%zz",      None);
        check("%+1",      None);
        check("%FF",      None);
    }

    #[test]
    fn what_is_encoded_is_decoded_again() {
        let (text, mut encoded) = ("a b&c=d/ä%", String::new());
        encode(text, &mut encoded);
        assert_eq!(encoded, "a%20b%26c%3Dd%2F%C3%A4%25");
        assert_eq!(decode(&encoded).as_deref(), Some(text));
    }
}
