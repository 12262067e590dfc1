//! A moment in time.

use std::{fmt, str::FromStr};

use jiff::Timestamp;

use crate::Error;

const MICROS_PER_SECOND: i64 = 1_000_000;
const NANOS_PER_MICRO: i32 = 1_000;

/// A moment, in microseconds since 1970-01-01T00:00:00Z; from the year 1900 to the year 2199.
///
/// Text form: RFC 3339 in UTC, with as much of a fraction as there is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(i64);

impl Instant {
    /// 1900-01-01T00:00:00Z.
    pub const MIN: Instant = Instant(-2_208_988_800 * MICROS_PER_SECOND);
    /// The last microsecond of 2199.
    pub const MAX: Instant = Instant(7_258_118_400 * MICROS_PER_SECOND - 1);

    /// The instant that is `micros` microseconds after 1970.
    ///
    /// # Panics
    /// Outside the years 1900 to 2199; what a caller sends is checked by
    /// [`Instant::checked_from_unix_micros`] or [`Instant::parse`].
    pub const fn from_unix_micros(micros: i64) -> Instant {
        match Instant::checked_from_unix_micros(micros) {
            Some(instant) => instant,
            None => panic!("an instant outside the years 1900 to 2199"),
        }
    }

    /// The instant that is `micros` microseconds after 1970, or `None` outside the range.
    pub const fn checked_from_unix_micros(micros: i64) -> Option<Instant> {
        if Instant::MIN.0 <= micros && micros <= Instant::MAX.0 { Some(Instant(micros)) } else { None }
    }

    /// Microseconds since 1970; negative before.
    pub const fn unix_micros(self) -> i64 {
        self.0
    }

    /// Whole milliseconds since 1970; 0 before.
    pub fn unix_ms(self) -> u64 {
        u64::try_from(self.0 / 1_000).unwrap_or(0)
    }

    /// The instant `seconds` later (earlier if negative), at most [`Instant::MAX`] and at least
    /// [`Instant::MIN`].
    pub fn plus_seconds(self, seconds: i64) -> Instant {
        let micros = self.0.saturating_add(seconds.saturating_mul(MICROS_PER_SECOND));
        Instant(micros.clamp(Instant::MIN.0, Instant::MAX.0))
    }

    /// The instant of a protobuf timestamp; `None` when `nanos` is not in `0..10^9` or the year is
    /// out of range. What is finer than a microsecond is cut off.
    pub fn from_seconds_nanos(seconds: i64, nanos: i32) -> Option<Instant> {
        if !(0..1_000_000_000).contains(&nanos) {
            return None;
        }
        let micros = seconds.checked_mul(MICROS_PER_SECOND)?;
        Instant::checked_from_unix_micros(micros.checked_add(i64::from(nanos / NANOS_PER_MICRO))?)
    }

    /// Seconds and nanoseconds of a protobuf timestamp; the nanoseconds are never negative.
    pub fn seconds_nanos(self) -> (i64, i32) {
        let micros = self.0.rem_euclid(MICROS_PER_SECOND);
        #[allow(clippy::cast_possible_truncation)] // less than a million
        let nanos = micros as i32 * NANOS_PER_MICRO;
        (self.0.div_euclid(MICROS_PER_SECOND), nanos)
    }

    /// Reads an instant of RFC 3339 with any offset; what is finer than a microsecond is cut off.
    ///
    /// # Errors
    /// [`Error::NotAnInstant`], [`Error::OutOfRange`].
    pub fn parse(text: &str) -> Result<Instant, Error> {
        if !is_rfc3339(text.as_bytes()) {
            return Err(Error::NotAnInstant);
        }
        let instant: Timestamp = text.parse().map_err(|_| Error::NotAnInstant)?;
        // Not `as_microsecond`, which cuts towards 1970.
        let micros = instant.as_nanosecond().div_euclid(i128::from(NANOS_PER_MICRO));
        let micros = i64::try_from(micros).map_err(|_| Error::OutOfRange)?;
        Instant::checked_from_unix_micros(micros).ok_or(Error::OutOfRange)
    }
}

/// Whether `text` has the shape of RFC 3339; the parser behind it also takes other standards.
fn is_rfc3339(text: &[u8]) -> bool {
    const SECONDS: &[u8] = b"dddd-dd-ddTdd:dd:dd";
    let Some((seconds, rest)) = text.split_at_checked(SECONDS.len()) else { return false };
    let rest = match rest.strip_prefix(b".") {
        Some(fraction) => {
            let digits = fraction.iter().take_while(|byte| byte.is_ascii_digit()).count();
            if !(1..=9).contains(&digits) {
                return false;
            }
            &fraction[digits..]
        }
        None => rest,
    };
    has_shape(seconds, SECONDS) && (rest == b"Z" || has_shape(rest, b"+dd:dd") || has_shape(rest, b"-dd:dd"))
}

/// Whether `text` is `shape` with a digit for each `d`.
pub(crate) fn has_shape(text: &[u8], shape: &[u8]) -> bool {
    let fits =
        |(byte, wanted): (&u8, &u8)| if *wanted == b'd' { byte.is_ascii_digit() } else { byte == wanted };
    text.len() == shape.len() && text.iter().zip(shape).all(fits)
}

impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let instant = Timestamp::from_microsecond(self.0).map_err(|_| fmt::Error)?;
        fmt::Display::fmt(&instant, f)
    }
}

impl fmt::Debug for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Instant {
    type Err = Error;

    fn from_str(text: &str) -> Result<Instant, Error> {
        Instant::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    #[rustfmt::skip] // columns
    fn texts_and_what_they_mean() {
        fn check(text: &str, expected: Result<&str, Error>) {
            assert_eq!(Instant::parse(text).map(|instant| instant.to_string()).as_deref(), expected.as_ref().map(|t| *t), "{text}");
        }
        check("2026-11-23T10:00:00Z",           Ok("2026-11-23T10:00:00Z"));
        check("2026-11-23T10:00:00.5Z",         Ok("2026-11-23T10:00:00.5Z"));
        check("2026-11-23T10:00:00.120000Z",    Ok("2026-11-23T10:00:00.12Z"));
        check("2026-11-23T10:00:00.123456789Z", Ok("2026-11-23T10:00:00.123456Z"));
        check("1969-12-31T23:59:59.9999999Z",   Ok("1969-12-31T23:59:59.999999Z"));
        check("2026-11-23T10:00:00+05:30",      Ok("2026-11-23T04:30:00Z"));
        check("2026-11-23T10:00:00-08:00",      Ok("2026-11-23T18:00:00Z"));
        check("2024-02-29T00:00:00Z",           Ok("2024-02-29T00:00:00Z"));
        check("2016-12-31T23:59:60Z",           Ok("2016-12-31T23:59:59Z")); // a leap second
        check("1900-01-01T00:00:00Z",           Ok("1900-01-01T00:00:00Z"));
        check("2199-12-31T23:59:59.999999Z",    Ok("2199-12-31T23:59:59.999999Z"));
        check("1899-12-31T23:59:59Z",           Err(Error::OutOfRange));
        check("2200-01-01T00:00:00Z",           Err(Error::OutOfRange));
        check("2026-02-29T00:00:00Z",           Err(Error::NotAnInstant));
        check("2026-11-23T24:00:00Z",           Err(Error::NotAnInstant));
        check("2026-11-23T10:00:00",            Err(Error::NotAnInstant)); // which offset?
        check("2026-11-23T10:00Z",              Err(Error::NotAnInstant));
        check("2026-11-23 10:00:00Z",           Err(Error::NotAnInstant));
        check("2026-11-23t10:00:00z",           Err(Error::NotAnInstant));
        check("2026-11-23T10:00:00.Z",          Err(Error::NotAnInstant));
        check("2026-11-23T10:00:00,5Z",         Err(Error::NotAnInstant));
        check("2026-11-23T10:00:00+0530",       Err(Error::NotAnInstant));
        check("2026-11-23T10:00:00Z[UTC]",      Err(Error::NotAnInstant));
        check("+002026-11-23T10:00:00Z",        Err(Error::NotAnInstant));
        check("2026-11-23",                     Err(Error::NotAnInstant));
        check("",                               Err(Error::NotAnInstant));
    }

    #[test]
    #[rustfmt::skip] // columns
    fn protobuf_timestamps() {
        fn check(seconds: i64, nanos: i32, micros: Option<i64>) {
            assert_eq!(Instant::from_seconds_nanos(seconds, nanos).map(Instant::unix_micros), micros);
        }
        check(0,          0,             Some(0));
        check(1,          1_999,         Some(1_000_001));
        check(-1,         999_999_000,   Some(-1));
        check(0,          -1,            None);
        check(0,          1_000_000_000, None);
        check(i64::MAX,   0,             None);
        check(i64::MIN,   0,             None);
        assert_eq!(Instant::from_unix_micros(-1).seconds_nanos(), (-1, 999_999_000));
        assert_eq!(Instant::from_unix_micros(-1).unix_ms(), 0);
        assert_eq!(Instant::from_unix_micros(1_999).unix_ms(), 1);
    }

    #[test]
    fn adding_stops_at_the_ends() {
        assert_eq!(Instant::from_unix_micros(5).plus_seconds(2).unix_micros(), 2_000_005);
        assert_eq!(Instant::MAX.plus_seconds(1), Instant::MAX);
        assert_eq!(Instant::MIN.plus_seconds(i64::MIN), Instant::MIN);
    }

    fn instants() -> impl Strategy<Value = Instant> {
        (Instant::MIN.0..=Instant::MAX.0).prop_map(Instant::from_unix_micros)
    }

    proptest! {
        #[test]
        fn parse_undoes_format(instant in instants()) {
            prop_assert_eq!(Instant::parse(&instant.to_string()), Ok(instant));
            let (seconds, nanos) = instant.seconds_nanos();
            prop_assert_eq!(Instant::from_seconds_nanos(seconds, nanos), Some(instant));
        }

        #[test]
        fn no_text_panics(text in "[0-9TZ:.+-]{18,30}|\\PC{0,40}") {
            let _ = Instant::parse(&text);
        }
    }
}
