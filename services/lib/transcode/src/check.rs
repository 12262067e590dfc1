//! What the contract says about single values.

use base64::Engine as _;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use calendar::{Date, Instant};
use problem::{FieldError as _, reason};
use prost::Message as _;
use proto::api::v1::Format;

use crate::schema::{Field, Kind};

/// Reason and detail of a violation.
type Fault = (&'static str, String);

/// Decimal places of quantities, unit prices and unit costs; amounts have at most as many.
const PLACES_MAX: usize = 6;
/// Characters of an id after its prefix.
const ID_CHARS: usize = 26;
/// Crockford's base32, lower case.
const ID_ALPHABET: &[u8] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Whether the field holds a decimal number.
pub(crate) fn is_decimal(field: &Field) -> bool {
    matches!(field.format(), Format::Quantity | Format::Amount | Format::UnitPrice)
}

/// Checks a string against everything that its field says. Empty is the same as absent.
pub(crate) fn string(field: &Field, text: &str) -> Result<(), Fault> {
    if text.is_empty() {
        return if field.options.required {
            Err((reason::REQUIRED, "must be given".to_owned()))
        } else {
            Ok(())
        };
    }
    length(text, field.chars_max())?;
    if !field.options.values.is_empty() && !field.options.values.iter().any(|value| value == text) {
        return Err((reason::UNKNOWN_VALUE, one_of(field.options.values.iter().map(String::as_str))));
    }
    if !field.options.reference.is_empty() {
        return id(&field.options.reference, text);
    }
    match field.format() {
        Format::Unspecified => Ok(()),
        Format::Quantity | Format::Amount | Format::UnitPrice => decimal(text),
        Format::Currency => {
            let letters = text.len() == 3 && text.bytes().all(|b| b.is_ascii_uppercase());
            letters.then_some(()).ok_or_else(|| malformed("must be a currency of ISO 4217 such as 'EUR'"))
        }
        Format::Date => Date::parse(text).map(drop).map_err(|e| (e.reason(), e.to_string())),
        Format::Code => {
            let fits = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-/#".contains(&b));
            fits.then_some(())
                .ok_or_else(|| malformed("must consist of letters, digits and '.', '_', '-', '/', '#'"))
        }
        Format::Gtin => {
            let fits = matches!(text.len(), 8 | 12 | 13 | 14) && text.bytes().all(|b| b.is_ascii_digit());
            fits.then_some(()).ok_or_else(|| malformed("must be a GTIN of 8, 12, 13 or 14 digits"))
        }
    }
}

/// Checks that `text` has at most `max` characters.
pub(crate) fn length(text: &str, max: u32) -> Result<(), Fault> {
    let max_chars = usize::try_from(max).unwrap_or(usize::MAX);
    // A text has at most as many characters as bytes, and counting bytes is free.
    if max_chars < text.len() && max_chars < text.chars().count() {
        return Err((reason::TOO_LONG, format!("must have at most '{max}' characters")));
    }
    Ok(())
}

/// An optional minus, digits, optionally a point and one to six digits.
fn decimal(text: &str) -> Result<(), Fault> {
    let not_a_decimal = || (reason::NOT_A_DECIMAL, "must be a decimal such as '12.5'".to_owned());
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let (whole, places) = match unsigned.split_once('.') {
        Some((whole, places)) if digits(places) => (whole, places.len()),
        Some(_) => return Err(not_a_decimal()),
        None => (unsigned, 0),
    };
    if !digits(whole) {
        return Err(not_a_decimal());
    }
    if PLACES_MAX < places {
        return Err((reason::TOO_MANY_PLACES, format!("must have at most '{PLACES_MAX}' decimal places")));
    }
    Ok(())
}

/// Checks that `text` is an id with this prefix; an id of something else has a reason of its own.
fn id(prefix: &str, text: &str) -> Result<(), Fault> {
    let (found, rest) = text.split_once('_').unwrap_or(("", text));
    let is_id = !found.is_empty()
        && found.bytes().all(|b| b.is_ascii_lowercase())
        && rest.len() == ID_CHARS
        // 26 characters are 130 bits, an id has 128.
        && rest.as_bytes()[0] <= b'7'
        && rest.bytes().all(|b| ID_ALPHABET.contains(&b));
    if !is_id {
        return Err((reason::MALFORMED_ID, format!("must be an id: '{prefix}_' and {ID_CHARS} characters")));
    }
    if found != prefix {
        let detail = format!("must be an id that begins with '{prefix}_', not with '{found}_'");
        return Err((reason::WRONG_ID_PREFIX, detail));
    }
    Ok(())
}

/// Reads an instant of RFC 3339 as an encoded `google.protobuf.Timestamp`.
pub(crate) fn timestamp(text: &str) -> Result<Vec<u8>, Fault> {
    let instant = Instant::parse(text).map_err(|e| (e.reason(), e.to_string()))?;
    let (seconds, nanos) = instant.seconds_nanos();
    Ok(prost_reflect::prost_types::Timestamp { seconds, nanos }.encode_to_vec())
}

/// Reads a whole number: digits, perhaps after a minus.
pub(crate) fn integer(text: &str) -> Option<i128> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let fits = (1..=20).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    fits.then(|| text.parse().ok()).flatten()
}

/// Reads base64 of either alphabet, with or without padding.
pub(crate) fn base64(text: &str) -> Option<Vec<u8>> {
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let alphabet = if text.contains(['-', '_']) { &URL_SAFE } else { &STANDARD };
    GeneralPurpose::new(alphabet, config).decode(text).ok()
}

/// "must be one of", for a closed list; a long one is cut.
pub(crate) fn one_of<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<String> =
        names.filter(|name| *name != "UNSPECIFIED").map(|name| format!("'{name}'")).collect();
    format!("must be one of {}", names.join(", "))
}

/// What fits into a number, for a person.
pub(crate) fn range(kind: Kind) -> String {
    let (low, high) = match kind {
        Kind::Int32 => (i128::from(i32::MIN), i128::from(i32::MAX)),
        Kind::Uint32 => (0, i128::from(u32::MAX)),
        Kind::Int64 => (i128::from(i64::MIN), i128::from(i64::MAX)),
        _ => (0, i128::from(u64::MAX)),
    };
    format!("must lie between '{low}' and '{high}'")
}

fn malformed(detail: &str) -> Fault {
    (reason::MALFORMED, detail.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[rustfmt::skip] // columns
    fn a_decimal_is_plain_and_has_six_places() {
        let check = |text, expected: Result<(), &str>| assert_eq!(decimal(text).map_err(|(why, _)| why), expected, "{text}");
        check("0",          Ok(()));
        check("12.5",       Ok(()));
        check("-12.500000", Ok(()));
        check("12.5000000", Err("TOO_MANY_PLACES"));
        check("1e3",        Err("NOT_A_DECIMAL"));
        check("+1",         Err("NOT_A_DECIMAL"));
        check(".5",         Err("NOT_A_DECIMAL"));
        check("5.",         Err("NOT_A_DECIMAL"));
        check("1,5",        Err("NOT_A_DECIMAL"));
        check(" 1",         Err("NOT_A_DECIMAL"));
        check("-",          Err("NOT_A_DECIMAL"));
        check("٣",          Err("NOT_A_DECIMAL"));
        check("NaN",        Err("NOT_A_DECIMAL"));
    }

    #[test]
    #[rustfmt::skip] // columns
    fn an_id_has_its_prefix() {
        let check = |text: &str, expected: Result<(), &str>| assert_eq!(id("prd", text).map_err(|(why, _)| why), expected, "{text}");
        let product = ids::ProductId::new(1_780_000_000_000, [7; 10]).to_string();
        let variant = ids::VariantId::new(1_780_000_000_000, [7; 10]).to_string();
        check(&product,                           Ok(()));
        check(&variant,                           Err("WRONG_ID_PREFIX"));
        check(&product.to_uppercase(),            Err("MALFORMED_ID"));
        check(&product[..product.len() - 1],      Err("MALFORMED_ID"));
        check("prd_80000000000000000000000000",   Err("MALFORMED_ID"));
        check("prd_0000000000000000000000000u",   Err("MALFORMED_ID"));
        check("7",                                Err("MALFORMED_ID"));
        check("_",                                Err("MALFORMED_ID"));
        check("prd_",                             Err("MALFORMED_ID"));
        check("prd_ä000000000000000000000000",    Err("MALFORMED_ID"));
    }

    #[test]
    #[rustfmt::skip] // columns
    fn a_whole_number_has_digits_only() {
        let check = |text, expected| assert_eq!(integer(text), expected, "{text}");
        check("0",                        Some(0));
        check("-9223372036854775808",     Some(i128::from(i64::MIN)));
        check("18446744073709551615",     Some(i128::from(u64::MAX)));
        check("+1",                       None);
        check("1.0",                      None);
        check("",                         None);
        check("-",                        None);
        check("999999999999999999999999", None);
    }

    #[test]
    fn base64_is_read_in_every_spelling() {
        for text in ["+/8=", "+/8", "-_8=", "-_8"] {
            assert_eq!(base64(text), Some(vec![0xfb, 0xff]), "{text}");
        }
        assert_eq!(base64("+_8"), None);
        assert_eq!(base64("a b"), None);
    }
}
