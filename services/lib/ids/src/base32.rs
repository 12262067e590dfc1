//! Crockford's base32 as TypeID uses it: 26 lower-case characters for 16 bytes.
//!
//! Source: github.com/jetify-com/typeid, spec v0.3: 128 bits, most significant first, padded to
//! 130 with two zero bits in front, so the first character is at most '7'.

/// Characters of an encoded id.
pub(crate) const LENGTH: usize = 26;

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Value of each ASCII character, `NONE` for characters outside the alphabet.
const VALUES: [u8; 256] = {
    let mut values = [NONE; 256];
    let mut value = 0;
    while value < 32 {
        values[ALPHABET[value as usize] as usize] = value;
        value += 1;
    }
    values
};

const NONE: u8 = 0xff;

/// Twelve characters.
const SIXTY_BITS: u128 = (1 << 60) - 1;

/// Encodes 16 bytes; the order of the texts is the order of the bytes.
pub(crate) fn encode(bytes: &[u8; 16]) -> [u8; LENGTH] {
    let number = u128::from_be_bytes(*bytes);
    let mut text = [0; LENGTH];
    // 64 bits at a time are several times faster: 12 characters of 60 bits, 12 more, the first two.
    let (first, rest) = text.split_at_mut(2);
    let (middle, last) = rest.split_at_mut(12);
    for (part, shift) in [(last, 0), (middle, 60), (first, 120)] {
        let mut rest = (number >> shift & SIXTY_BITS) as u64;
        for character in part.iter_mut().rev() {
            *character = ALPHABET[(rest & 31) as usize];
            rest >>= 5;
        }
    }
    text
}

/// Decodes what [`encode`] wrote and nothing else; one id has one text.
pub(crate) fn decode(text: &[u8]) -> Option<[u8; 16]> {
    if text.len() != LENGTH || text[0] > b'7' {
        return None;
    }
    let mut number: u128 = 0;
    for character in text {
        let value = VALUES[usize::from(*character)];
        if value == NONE {
            return None;
        }
        number = number << 5 | u128::from(value);
    }
    Some(number.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    #[rustfmt::skip] // columns
    fn known_texts() {
        fn check(bytes: u128, text: &str) {
            assert_eq!(encode(&bytes.to_be_bytes()), text.as_bytes());
            assert_eq!(decode(text.as_bytes()), Some(bytes.to_be_bytes()));
        }
        // Source: typeid spec, valid.yml.
        check(0,                                     "00000000000000000000000000");
        check(1,                                     "00000000000000000000000001");
        check(10,                                    "0000000000000000000000000a");
        check(32,                                    "00000000000000000000000010");
        check(u128::MAX,                             "7zzzzzzzzzzzzzzzzzzzzzzzzz");
        check(0x01890a5d_ac96_774b_bcce_b302099a8057, "01h455vb4pex5vsknk084sn02q");
    }

    #[test]
    #[rustfmt::skip] // columns
    fn texts_that_are_no_ids() {
        fn check(text: &str) {
            assert_eq!(decode(text.as_bytes()), None, "{text}");
        }
        check("");
        check("1234567890123456789012345");   // too short
        check("123456789012345678901234567"); // too long
        check("8zzzzzzzzzzzzzzzzzzzzzzzzz");  // more than 128 bits
        check("0123456789ABCDEFGHJKMNPQRS");  // upper case
        check("ooooooiiiiiiuuuuuuulllllll");  // not in the alphabet
        check("00000000000000000000000-01");
    }

    proptest! {
        #[test]
        fn decode_undoes_encode(bytes: [u8; 16]) {
            prop_assert_eq!(decode(&encode(&bytes)), Some(bytes));
        }

        #[test]
        fn the_order_of_texts_is_the_order_of_bytes(a: [u8; 16], b: [u8; 16]) {
            prop_assert_eq!(encode(&a).cmp(&encode(&b)), a.cmp(&b));
        }

        #[test]
        fn any_text_is_refused_or_round_trips(text in "[0-9a-z]{26}") {
            if let Some(bytes) = decode(text.as_bytes()) {
                prop_assert_eq!(&encode(&bytes)[..], text.as_bytes());
            }
        }
    }
}
