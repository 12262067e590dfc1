//! `google.protobuf.Timestamp` as RFC 3339.

use std::io::Write as _;

use crate::wire::{Malformed, Value, last};

const SECONDS_PER_DAY: i64 = 86_400;
/// 0001-01-01T00:00:00Z and 9999-12-31T23:59:59Z in Unix seconds: what RFC 3339 can write.
const RANGE: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;

/// Prints an encoded `Timestamp` in UTC, with no, three, six or nine places.
///
/// # Errors
/// When the bytes are no `Timestamp` or name a moment that RFC 3339 cannot write.
pub(crate) fn print(bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Malformed> {
    let number = |field| match last(bytes, field) {
        Ok(None) => Ok(0),
        Ok(Some(Value::Varint(value))) => Ok(value.cast_signed()),
        _ => Err(Malformed),
    };
    let (seconds, nanos) = (number(1)?, number(2)?);
    if !RANGE.contains(&seconds) || !(0..1_000_000_000).contains(&nanos) {
        return Err(Malformed);
    }
    let (year, month, day) = civil(seconds.div_euclid(SECONDS_PER_DAY));
    let second = seconds.rem_euclid(SECONDS_PER_DAY);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    // Writing to a vector cannot fail.
    let _ = write!(out, "\"{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}");
    let _ = match (nanos, nanos % 1_000_000, nanos % 1_000) {
        (0, _, _) => Ok(()),
        (_, 0, _) => write!(out, ".{:03}", nanos / 1_000_000),
        (_, _, 0) => write!(out, ".{:06}", nanos / 1_000),
        _ => write!(out, ".{nanos:09}"),
    };
    out.extend_from_slice(b"Z\"");
    Ok(())
}

/// Year, month and day of a day since 1970-01-01 in the proleptic Gregorian calendar.
/// Source: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`.
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}
