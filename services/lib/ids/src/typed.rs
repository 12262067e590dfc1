//! Ids that callers see, one type per kind of thing.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

use crate::{AggregateId, ParseError, RandomPart, base32};

/// Longest prefix that a wrong id is told apart by; more letters are no prefix of ours.
const PREFIX_LETTERS_MAX: usize = 8;

/// First instant that does not fit into an id, in Unix milliseconds (the year 10889).
const UNIX_MS_END: u64 = 1 << 48;

/// How many legs one posting can have.
const LEGS: u8 = 64;

/// The bits of an id below the variant, and the place of the bits above the version.
const BELOW_VARIANT: u32 = 62;
const VERSION_AND_TIME: u32 = 76;

fn parse(text: &str, expected: &'static str) -> Result<Uuid, ParseError> {
    let (prefix, rest) = text.split_once('_').ok_or(ParseError::Malformed)?;
    if prefix != expected {
        let like_ours = (1..=PREFIX_LETTERS_MAX).contains(&prefix.len())
            && prefix.bytes().all(|letter| letter.is_ascii_lowercase());
        return Err(match like_ours {
            true => ParseError::WrongPrefix { expected, found: prefix.to_owned() },
            false => ParseError::Malformed,
        });
    }
    base32::decode(rest.as_bytes()).map(Uuid::from_bytes).ok_or(ParseError::Malformed)
}

fn new(unix_ms: u64, random: &[u8; 10]) -> Uuid {
    assert!(unix_ms < UNIX_MS_END, "a time after the year 10889");
    uuid::Builder::from_unix_timestamp_millis(unix_ms, random).into_uuid()
}

/// Lays `part` and `leg` into the 74 random bits of a UUIDv7: 12 above the variant, 62 below it.
fn derived(unix_ms: u64, part: RandomPart, leg: u8) -> Uuid {
    assert!(unix_ms < UNIX_MS_END, "a time after the year 10889");
    assert!(leg < LEGS, "a posting has fewer than {LEGS} legs");
    let random = part.bits() << 6 | u128::from(leg);
    let above = random >> BELOW_VARIANT;
    let below = random & ((1 << BELOW_VARIANT) - 1);
    let (version, variant) = (7 << VERSION_AND_TIME, 0b10 << BELOW_VARIANT);
    Uuid::from_u128(u128::from(unix_ms) << 80 | version | above << 64 | variant | below)
}

/// The 74 random bits of an id.
fn random_bits(id: Uuid) -> u128 {
    let bits = id.as_u128();
    let above = bits >> 64 & 0xfff;
    let below = bits & ((1 << BELOW_VARIANT) - 1);
    above << BELOW_VARIANT | below
}

macro_rules! typed_id {
    ($(#[$doc:meta])* $name:ident $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Uuid);

        impl $name {
            /// What its text begins with, before the underscore.
            pub const PREFIX: &'static str = $prefix;

            /// A new id made at `unix_ms` (Unix time in milliseconds); 74 bits of `random` are used.
            pub fn new(unix_ms: u64, random: [u8; 10]) -> Self {
                Self(new(unix_ms, &random))
            }

            /// The id that follows from the random part of a posting and the number of its leg.
            ///
            /// # Panics
            /// When `leg` is 64 or more.
            pub fn derived(unix_ms: u64, part: RandomPart, leg: u8) -> Self {
                Self(derived(unix_ms, part, leg))
            }

            /// The id with these bytes; every 16 bytes are an id.
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(Uuid::from_bytes(bytes))
            }

            /// The bytes, as they appear in keys.
            pub const fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }

            /// Reads the text form, and no other spelling of it.
            ///
            /// # Errors
            /// [`ParseError::WrongPrefix`] for an id of something else, else
            /// [`ParseError::Malformed`].
            pub fn parse(text: &str) -> Result<Self, ParseError> {
                parse(text, Self::PREFIX).map(Self)
            }

            /// When the id was made, in Unix milliseconds.
            pub fn unix_ms(&self) -> u64 {
                (self.0.as_u64_pair().0) >> 16
            }

            /// The random part that a derived id was made with, masked.
            pub fn random_part(&self) -> RandomPart {
                RandomPart::from_bits(random_bits(self.0) >> 6)
            }

            /// The number of the leg that a derived id was made with, less than 64.
            pub fn leg(&self) -> u8 {
                self.0.as_bytes()[15] & (LEGS - 1)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut text = [0; $prefix.len() + 1 + base32::LENGTH];
                text[..$prefix.len()].copy_from_slice($prefix.as_bytes());
                text[$prefix.len()] = b'_';
                text[$prefix.len() + 1..].copy_from_slice(&base32::encode(self.as_bytes()));
                f.pad(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = ParseError;

            fn from_str(text: &str) -> Result<Self, ParseError> {
                Self::parse(text)
            }
        }

        impl From<$name> for AggregateId {
            fn from(id: $name) -> AggregateId {
                AggregateId::from_bytes(*id.as_bytes())
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                Self::parse(&text).map_err(serde::de::Error::custom)
            }
        }
    };
}

typed_id! {
    /// A tenant: isolation, contract, plan and keys.
    TenantId "ten"
}
typed_id! {
    /// A business of a tenant: the master or one below it.
    BusinessId "biz"
}
typed_id! {
    /// An API key; the id is no secret.
    ApiKeyId "key"
}
typed_id! {
    /// A role: a named set of permissions.
    RoleId "rol"
}
typed_id! {
    /// The assignment of a role to a principal.
    AssignmentId "asg"
}
typed_id! {
    /// A person who signs in.
    UserId "usr"
}
typed_id! {
    /// A time during which a user is signed in.
    SessionId "ses"
}
typed_id! {
    /// An identity provider that a tenant trusts.
    ProviderId "idp"
}
typed_id! {
    /// A request of whoever runs the server to see the data of a tenant.
    OperatorAccessId "opa"
}
typed_id! {
    /// A product: what its variants have in common.
    ProductId "prd"
}
typed_id! {
    /// A variant of a product: what is stocked and sold.
    VariantId "var"
}
typed_id! {
    /// A price list.
    PriceListId "prl"
}
typed_id! {
    /// A publication: changes of products that reach businesses in stages.
    PublicationId "pub"
}
typed_id! {
    /// A place where stock is, or one of the virtual places that take the other leg.
    LocationId "loc"
}
typed_id! {
    /// A posted movement.
    MovementId "mov"
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TEXT: &str = "mov_01h455vb4pex5vsknk084sn02q";

    #[test]
    #[rustfmt::skip] // columns
    fn texts_and_what_is_wrong_with_them() {
        fn check(text: &str, expected: Result<(), &str>) {
            let answer = MovementId::parse(text).map(|id| assert_eq!(id.to_string(), text));
            assert_eq!(answer.map_err(|error| problem::FieldError::reason(&error)), expected, "{text}");
        }
        check(TEXT,                             Ok(()));
        check("loc_01h455vb4pex5vsknk084sn02q", Err("WRONG_ID_PREFIX"));
        check("loc_",                           Err("WRONG_ID_PREFIX"));
        check("mov_01H455VB4PEX5VSKNK084SN02Q", Err("MALFORMED_ID"));
        check("MOV_01h455vb4pex5vsknk084sn02q", Err("MALFORMED_ID"));
        check("_01h455vb4pex5vsknk084sn02q",    Err("MALFORMED_ID"));
        check("mov-01h455vb4pex5vsknk084sn02q", Err("MALFORMED_ID"));
        check("mov_mov_01h455vb4pex5vsknk084s", Err("MALFORMED_ID"));
        check("mov_",                           Err("MALFORMED_ID"));
        check("",                               Err("MALFORMED_ID"));
        check("01890a5d-ac96-774b-bcce-b302099a8057", Err("MALFORMED_ID"));
        check("averylongprefix_01h455vb4pex5vsknk084sn02q", Err("MALFORMED_ID"));
    }

    #[test]
    fn a_new_id_is_a_uuid_of_version_7() {
        let id = MovementId::new(0x0189_0a5d_ac96, [0xff; 10]);
        assert_eq!(id.0.get_version_num(), 7);
        assert_eq!(id.0.get_variant(), uuid::Variant::RFC4122);
        assert_eq!(id.unix_ms(), 0x0189_0a5d_ac96);
        assert_ne!(id, MovementId::new(0x0189_0a5d_ac96, [0xfe; 10]));
    }

    #[test]
    #[should_panic(expected = "fewer than 64 legs")]
    fn a_posting_has_no_leg_64() {
        MovementId::derived(0, RandomPart([0; 9]), 64);
    }

    #[test]
    fn an_id_is_a_string_in_other_formats() {
        use serde::de::{IntoDeserializer, value::Error};
        let id = MovementId::parse(TEXT).unwrap();
        let text: serde::de::value::StrDeserializer<'_, Error> = TEXT.into_deserializer();
        assert_eq!(MovementId::deserialize(text), Ok(id));
        let text: serde::de::value::StrDeserializer<'_, Error> = TEXT.into_deserializer();
        assert!(LocationId::deserialize(text).is_err());
        assert_eq!(format!("{id:?} {id:>32}|"), format!("{TEXT}   {TEXT}|"));
    }

    proptest! {
        #[test]
        fn parse_undoes_format(bytes: [u8; 16]) {
            let id = TenantId::from_bytes(bytes);
            prop_assert_eq!(TenantId::parse(&id.to_string()), Ok(id));
            prop_assert_eq!(id.to_string().parse(), Ok(id));
            prop_assert_eq!(*AggregateId::from(id).as_bytes(), bytes);
        }

        #[test]
        fn any_text_is_refused_or_round_trips(text in "(mov_)?[0-9a-z_]{24,28}|\\PC{0,40}") {
            if let Ok(id) = MovementId::parse(&text) {
                prop_assert_eq!(id.to_string(), text);
            }
        }

        #[test]
        fn older_ids_sort_first(
            early in 0..UNIX_MS_END - 1, later in 1..1_000u64, a: [u8; 10], b: [u8; 10],
        ) {
            let late = (early + later).min(UNIX_MS_END - 1);
            let (first, second) = (MovementId::new(early, a), MovementId::new(late, b));
            prop_assert!(first < second);
            prop_assert!(first.as_bytes() < second.as_bytes());
            prop_assert!(first.to_string() < second.to_string());
            prop_assert_eq!(first.unix_ms(), early);
        }

        #[test]
        fn a_derived_id_gives_back_what_it_was_made_of(
            unix_ms in 0..UNIX_MS_END, part: [u8; 9], leg in 0..LEGS,
        ) {
            let part = RandomPart(part);
            let id = MovementId::derived(unix_ms, part, leg);
            prop_assert_eq!(id.unix_ms(), unix_ms);
            prop_assert_eq!(id.random_part(), part.masked());
            prop_assert_eq!(id.leg(), leg);
            prop_assert_eq!(id, MovementId::derived(unix_ms, part.masked(), leg));
            prop_assert_eq!(id.0.get_version_num(), 7);
            prop_assert_eq!(id.0.get_variant(), uuid::Variant::RFC4122);
        }
    }
}
