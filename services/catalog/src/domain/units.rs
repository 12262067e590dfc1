//! Units of measure, and what one is in another of the same dimension.
//!
//! Source of codes and names: UN/ECE Recommendation 20 (units) and 21 (packages, without the `X` that
//! some lists put before them). Source of factors: the International System of Units and the
//! international yard and pound agreement of 1959; all of them are exact.

use std::collections::HashMap;
use std::fmt;
use std::sync::LazyLock;

use quantity::Factor;

use Dimension::{Area, Count, Length, Mass, Package, Time, Volume};

/// What a unit measures.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Dimension {
    /// Things.
    Count,
    /// How heavy.
    Mass,
    /// How much room.
    Volume,
    /// How long.
    Length,
    /// How wide and long.
    Area,
    /// How much time.
    Time,
    /// A package: what is in it is known per variant only.
    Package,
}

impl Dimension {
    /// `count`, `mass`, …
    pub fn name(self) -> &'static str {
        match self {
            Count => "count",
            Mass => "mass",
            Volume => "volume",
            Length => "length",
            Area => "area",
            Time => "time",
            Package => "package",
        }
    }
}

/// A unit of measure.
#[derive(Clone, Copy)]
pub struct Unit {
    /// `KGM`; at most three characters.
    pub code: &'static str,
    /// `kilogram`.
    pub name: &'static str,
    /// `kg`.
    pub symbol: &'static str,
    /// What it measures.
    pub dimension: Dimension,
    /// Fractions of it are refused.
    pub integral: bool,
    /// How many reference units of its dimension it is; of no meaning for packages.
    num: i64,
    den: i64,
}

/// A unit of [`UNITS`]; equal codes are equal units.
pub type UnitRef = &'static Unit;

impl PartialEq for Unit {
    fn eq(&self, other: &Unit) -> bool {
        self.code == other.code
    }
}

impl Eq for Unit {}

impl fmt::Debug for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code)
    }
}

impl Unit {
    /// How many decimal places quantities have when the product does not say.
    pub fn default_scale(&self) -> u8 {
        match self.dimension {
            Count | Package => 0,
            Mass | Volume | Length | Area | Time => 3,
        }
    }

    /// How many of `base` one of `self` is, where that is the same for every product.
    pub fn standard_factor(&self, base: &Unit) -> Option<Factor> {
        if self == base {
            return Some(Factor::ONE);
        }
        if self.dimension != base.dimension || self.dimension == Package {
            return None;
        }
        let own = Factor::new(self.num, self.den).ok()?;
        own.compose(Factor::new(base.num, base.den).ok()?.inverse())
    }

    /// The units that have a standard factor to `base`, without `base` itself, in the order of [`UNITS`].
    pub fn standard_factors(base: &Unit) -> impl Iterator<Item = (UnitRef, Factor)> {
        UNITS
            .iter()
            .filter(move |unit| *unit != base)
            .filter_map(move |unit| Some((unit, unit.standard_factor(base)?)))
    }
}

/// Finds a unit by its code, as it is written in [`UNITS`].
pub fn find(code: &str) -> Option<UnitRef> {
    static BY_CODE: LazyLock<HashMap<&'static str, UnitRef>> =
        LazyLock::new(|| UNITS.iter().map(|unit| (unit.code, unit)).collect());
    BY_CODE.get(code).copied()
}

/// The unit of a product that names none: piece.
pub const PIECE: UnitRef = &UNITS[0];

const fn unit(
    code: &'static str,
    name: &'static str,
    symbol: &'static str,
    dimension: Dimension,
    num: i64,
    den: i64,
) -> Unit {
    let integral = matches!(dimension, Count | Package);
    Unit { code, name, symbol, dimension, integral, num, den }
}

const fn package(code: &'static str, name: &'static str) -> Unit {
    unit(code, name, "", Package, 1, 1)
}

/// Every unit that is known.
#[rustfmt::skip] // columns
pub static UNITS: [Unit; 70] = [
    //   code   name                      symbol       dimension  of the reference: piece
    unit("C62", "piece",                  "",          Count,     1,               1),
    unit("H87", "piece (article)",        "",          Count,     1,               1),
    unit("EA",  "each",                   "",          Count,     1,               1),
    unit("PR",  "pair",                   "",          Count,     2,               1),
    unit("DZN", "dozen",                  "doz",       Count,     12,              1),
    unit("CEN", "hundred",                "",          Count,     100,             1),
    unit("GRO", "gross",                  "gr",        Count,     144,             1),
    unit("MIL", "thousand",               "",          Count,     1_000,           1),
    // gram
    unit("KGM", "kilogram",               "kg",        Mass,      1_000,           1),
    unit("GRM", "gram",                   "g",         Mass,      1,               1),
    unit("MGM", "milligram",              "mg",        Mass,      1,               1_000),
    unit("TNE", "tonne",                  "t",         Mass,      1_000_000,       1),
    unit("LBR", "pound",                  "lb",        Mass,      45_359_237,      100_000),
    unit("ONZ", "ounce",                  "oz",        Mass,      45_359_237,      1_600_000),
    unit("STN", "ton (US)",               "ton (US)",  Mass,      45_359_237,      50),
    // litre
    unit("LTR", "litre",                  "l",         Volume,    1,               1),
    unit("DLT", "decilitre",              "dl",        Volume,    1,               10),
    unit("CLT", "centilitre",             "cl",        Volume,    1,               100),
    unit("MLT", "millilitre",             "ml",        Volume,    1,               1_000),
    unit("HLT", "hectolitre",             "hl",        Volume,    100,             1),
    unit("MTQ", "cubic metre",            "m³",        Volume,    1_000,           1),
    unit("DMQ", "cubic decimetre",        "dm³",       Volume,    1,               1),
    unit("CMQ", "cubic centimetre",       "cm³",       Volume,    1,               1_000),
    unit("GLL", "gallon (US)",            "gal (US)",  Volume,    3_785_411_784,   1_000_000_000),
    unit("QTL", "liquid quart (US)",      "liq qt (US)", Volume,  946_352_946,     1_000_000_000),
    unit("PTL", "liquid pint (US)",       "liq pt (US)", Volume,  473_176_473,     1_000_000_000),
    unit("OZA", "fluid ounce (US)",       "fl oz (US)", Volume,   295_735_295_625, 10_000_000_000_000),
    unit("GLI", "gallon (UK)",            "gal (UK)",  Volume,    454_609,         100_000),
    unit("PTI", "pint (UK)",              "pt (UK)",   Volume,    56_826_125,      100_000_000),
    // metre
    unit("MTR", "metre",                  "m",         Length,    1,               1),
    unit("DMT", "decimetre",              "dm",        Length,    1,               10),
    unit("CMT", "centimetre",             "cm",        Length,    1,               100),
    unit("MMT", "millimetre",             "mm",        Length,    1,               1_000),
    unit("KMT", "kilometre",              "km",        Length,    1_000,           1),
    unit("INH", "inch",                   "in",        Length,    254,             10_000),
    unit("FOT", "foot",                   "ft",        Length,    3_048,           10_000),
    unit("YRD", "yard",                   "yd",        Length,    9_144,           10_000),
    // square metre
    unit("MTK", "square metre",           "m²",        Area,      1,               1),
    unit("DMK", "square decimetre",       "dm²",       Area,      1,               100),
    unit("CMK", "square centimetre",      "cm²",       Area,      1,               10_000),
    unit("MMK", "square millimetre",      "mm²",       Area,      1,               1_000_000),
    unit("HAR", "hectare",                "ha",        Area,      10_000,          1),
    unit("FTK", "square foot",            "ft²",       Area,      9_290_304,       100_000_000),
    // second
    unit("SEC", "second",                 "s",         Time,      1,               1),
    unit("MIN", "minute",                 "min",       Time,      60,              1),
    unit("HUR", "hour",                   "h",         Time,      3_600,           1),
    unit("DAY", "day",                    "d",         Time,      86_400,          1),
    unit("WEE", "week",                   "wk",        Time,      604_800,         1),
    package("SET", "set"),
    package("KT",  "kit"),
    package("BX",  "box"),
    package("CT",  "carton"),
    package("CS",  "case"),
    package("PK",  "package"),
    package("PA",  "packet"),
    package("BG",  "bag"),
    package("SA",  "sack"),
    package("BO",  "bottle"),
    package("CA",  "can, rectangular"),
    package("CX",  "can, cylindrical"),
    package("JR",  "jar"),
    package("TU",  "tube"),
    package("TB",  "tub"),
    package("RO",  "roll"),
    package("BE",  "bundle"),
    package("CR",  "crate"),
    package("PU",  "tray"),
    package("DR",  "drum"),
    package("BA",  "barrel"),
    package("PX",  "pallet"),
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn codes_are_found_and_are_there_once() {
        for unit in &UNITS {
            assert_eq!(find(unit.code), Some(unit), "{}", unit.code);
            assert!((1..=3).contains(&unit.code.len()), "row keys have room for three characters");
            assert!(Factor::new(unit.num, unit.den).is_ok());
        }
        assert_eq!(PIECE.code, "C62");
        for unknown in ["", "kgm", "XBX", "KG"] {
            assert_eq!(find(unknown), None, "{unknown}");
        }
    }

    /// CAT-2: factors within a dimension are rational and known without being set.
    #[test]
    #[rustfmt::skip] // columns
    fn what_a_unit_is_in_another() {
        fn check(unit: &str, base: &str, expected: Option<(i64, i64)>) {
            let factor = find(unit).unwrap().standard_factor(find(base).unwrap());
            assert_eq!(factor.map(|factor| (factor.num(), factor.den())), expected, "{unit} in {base}");
        }
        check("KGM", "GRM", Some((1_000, 1)));
        check("GRM", "KGM", Some((1, 1_000)));
        check("TNE", "MGM", Some((1_000_000_000, 1)));
        check("LBR", "KGM", Some((45_359_237, 100_000_000)));
        check("LBR", "ONZ", Some((16, 1)));
        check("STN", "LBR", Some((2_000, 1)));
        check("GLL", "OZA", Some((128, 1)));
        check("GLL", "PTL", Some((8, 1)));
        check("QTL", "PTL", Some((2, 1)));
        check("GLI", "PTI", Some((8, 1)));
        check("MTQ", "LTR", Some((1_000, 1)));
        check("CMQ", "MLT", Some((1, 1)));
        check("FOT", "INH", Some((12, 1)));
        check("YRD", "FOT", Some((3, 1)));
        check("INH", "MMT", Some((127, 5)));
        check("HUR", "MIN", Some((60, 1)));
        check("MIN", "DAY", Some((1, 1_440)));
        check("WEE", "DAY", Some((7, 1)));
        check("HAR", "MTK", Some((10_000, 1)));
        check("DZN", "C62", Some((12, 1)));
        check("GRO", "DZN", Some((12, 1)));
        check("EA",  "C62", Some((1, 1)));
        check("BX",  "BX",  Some((1, 1)));
        check("BX",  "C62", None); // what is in a box is known per variant
        check("BX",  "CT",  None);
        check("KGM", "LTR", None); // so is what a litre of it weighs
        check("FTK", "MTR", None);
    }

    proptest! {
        /// CAT-2: going through a third unit changes nothing.
        #[test]
        fn factors_agree_with_each_other(a in 0..UNITS.len(), b in 0..UNITS.len(), c in 0..UNITS.len()) {
            let (a, b, c) = (&UNITS[a], &UNITS[b], &UNITS[c]);
            prop_assert_eq!(a.standard_factor(b).map(Factor::inverse), b.standard_factor(a));
            if let (Some(ab), Some(bc)) = (a.standard_factor(b), b.standard_factor(c)) {
                prop_assert_eq!(ab.compose(bc), a.standard_factor(c));
            }
        }
    }
}
