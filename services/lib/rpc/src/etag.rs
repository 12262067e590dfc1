//! Revisions as HTTP sees them.

use crate::{Ctx, Refused};

/// Writes a revision as a strong entity tag, `"17"` with its quotes: the value of `ETag`.
pub fn etag(revision: u64) -> String {
    format!("\"{revision}\"")
}

impl Ctx {
    /// The revision that `If-Match` names; `None` without the header and for `*` (any revision).
    ///
    /// # Errors
    /// [`Refused::PreconditionMalformed`] for what is no revision; a weak tag is none.
    pub fn expected_revision(&self) -> Result<Option<u64>, Refused> {
        match self.if_match.as_deref().map(str::trim) {
            None | Some("*") => Ok(None),
            Some(tag) => parse(tag).map(Some).ok_or(Refused::PreconditionMalformed),
        }
    }
}

/// Accepts the tag without its quotes too: they are easily lost on a command line.
fn parse(tag: &str) -> Option<u64> {
    let digits = tag.strip_prefix('"').map_or(Some(tag), |rest| rest.strip_suffix('"'))?;
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[rustfmt::skip] // columns
    fn a_tag_is_a_revision_in_quotes() {
        assert_eq!(parse(&etag(17)), Some(17));
        let check = |text: &str, expected: Option<u64>| assert_eq!(parse(text), expected, "{text:?}");
        check("17",       Some(17));
        check("\"0\"",    Some(0));
        check("W/\"17\"", None);
        check("\"17",     None);
        check("17\"",     None);
        check("",         None);
        check("\"\"",     None);
        check("\"+1\"",   None);
        check("99999999999999999999", None);
    }
}
