//! Units of measure and what they are in the base unit of a variant.

use proto::catalog::v1::*;
use tonic::Code;

use crate::world::*;

fn in_force<'a>(variant: &'a Variant, unit: &str) -> Option<&'a UnitConversion> {
    variant.conversions.iter().find(|one| one.unit == unit && one.superseded_at.is_none())
}

fn ratio(conversion: Option<&UnitConversion>) -> Option<(i64, i64)> {
    conversion.map(|one| (one.numerator, one.denominator))
}

/// CAT-2: a factor is rational, of the variant, dated; a used factor is superseded, never edited.
#[tokio::test]
async fn a_factor_is_superseded_never_edited() {
    let mut world = World::new();
    let owner = owner(1);
    let made = world.create(&owner, simple("NAILS")).await.unwrap();
    let id = &made.variants[0].id;

    let first_at = world.in_seconds(0);
    let first = world.convert(&owner, id, "BX", 100, 3).await.unwrap();
    assert_eq!(ratio(in_force(&first, "BX")), Some((100, 3)));
    assert_eq!(in_force(&first, "BX").unwrap().valid_from, Some(first_at));
    assert_eq!(first.etag, "\"2\"");

    world.pass_seconds(60);
    let second_at = world.in_seconds(0);
    let second = world.convert(&owner, id, "BX", 240, 2).await.unwrap();
    assert_eq!(ratio(in_force(&second, "BX")), Some((120, 1)), "reduced");
    let boxes: Vec<_> = second.conversions.iter().filter(|one| one.unit == "BX").collect();
    assert_eq!(boxes.len(), 2);
    assert_eq!(ratio(Some(boxes[0])), Some((100, 3)));
    assert_eq!((boxes[0].valid_from, boxes[0].superseded_at), (Some(first_at), Some(second_at)));
    assert_eq!((boxes[1].valid_from, boxes[1].superseded_at), (Some(second_at), None));

    let same = world.convert(&owner, id, "BX", 120, 0).await.unwrap();
    assert_eq!(same, second, "the same factor again changes nothing; no denominator is 1");
    world.restart();
    assert_eq!(world.variant(&owner, id).await.unwrap(), second);
    assert_eq!(world.product(&owner, &made.id).await.unwrap().variants, [second]);
    world.verify().await;
}

/// CAT-2: what is the same for every product is known without being set, and cannot be set.
#[tokio::test]
async fn standard_factors_are_known() {
    let world = World::new();
    let owner = owner(1);
    let flour = Product { base_unit: "KGM".to_owned(), ..simple("FLOUR") };
    let flour = world.create(&owner, flour).await.unwrap().variants.remove(0);
    assert_eq!(ratio(in_force(&flour, "GRM")), Some((1, 1000)));
    assert_eq!(ratio(in_force(&flour, "TNE")), Some((1000, 1)));
    assert_eq!(ratio(in_force(&flour, "LBR")), Some((45_359_237, 100_000_000)));
    assert_eq!(in_force(&flour, "GRM").unwrap().valid_from, None);
    assert_eq!(
        (in_force(&flour, "KGM"), in_force(&flour, "LTR"), in_force(&flour, "BX")),
        (None, None, None)
    );

    let check = async |unit: &str, numerator: i64, denominator: i64, expected: &str| {
        let refused = world.convert(&owner, &flour.id, unit, numerator, denominator).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
        assert_eq!(fields(&refused), [expected]);
    };
    check("KGM", 1, 1, "conversion.unit NOT_ALLOWED").await;
    check("GRM", 1, 999, "conversion.unit NOT_ALLOWED").await;
    check("XYZ", 1, 1, "conversion.unit UNKNOWN_VALUE").await;
    check("BX", 0, 1, "conversion.numerator NOT_POSITIVE").await;
    check("BX", -5, 1, "conversion.numerator NOT_POSITIVE").await;
    check("BX", 5, -1, "conversion.denominator NOT_POSITIVE").await;
    // What a litre weighs depends on what is in it.
    let dense = world.convert(&owner, &flour.id, "LTR", 57, 100).await.unwrap();
    assert_eq!(ratio(in_force(&dense, "LTR")), Some((57, 100)));
}

/// CAT-3: a barcode stands on a unit, and the unit has a factor.
#[tokio::test]
async fn a_barcode_stands_on_a_unit() {
    let world = World::new();
    let owner = owner(1);
    let id = world.create(&owner, simple("WINE")).await.unwrap().variants.remove(0).id;
    let codes = Variant {
        barcodes: vec![
            barcode("96385074", Symbology::Gtin, ""),
            barcode("10614141000415", Symbology::Gtin, "CS"),
            barcode("SIX", Symbology::Internal, "DZN"),
        ],
        ..Variant::default()
    };
    let refused = world.change(&owner, &id, codes.clone(), &[]).await.unwrap_err();
    assert_eq!(fields(&refused), ["variant.barcodes[1].unit UNIT_NOT_CONVERTIBLE"]);
    world.convert(&owner, &id, "CS", 6, 1).await.unwrap();
    let changed = world.change(&owner, &id, codes, &[]).await.unwrap();
    let found: Vec<_> = changed.barcodes.iter().map(|one| (one.value.as_str(), one.unit.as_str())).collect();
    assert_eq!(found, [("00000096385074", "C62"), ("10614141000415", "CS"), ("SIX", "DZN")]);
    world.verify().await;
}

#[tokio::test]
async fn factors_have_a_limit() {
    let world = World::new();
    let owner = owner(1);
    let id = world.create(&owner, simple("A")).await.unwrap().variants.remove(0).id;
    for n in 0..200 {
        world.convert(&owner, &id, "BX", n + 1, 1).await.unwrap();
    }
    let refused = world.convert(&owner, &id, "BX", 300, 1).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::FailedPrecondition, "LIMIT_REACHED"));
    assert_eq!(metadata(&refused, "max"), "200");
}

#[tokio::test]
async fn the_units_are_listed() {
    let world = World::new();
    let request = world.request(&owner(1), ListUnitsRequest {});
    let units = world.client.clone().list_units(request).await.unwrap().into_inner().units;
    let check = |code: &str, dimension: &str, integral: bool| {
        let unit = units.iter().find(|unit| unit.code == code).unwrap();
        assert_eq!((unit.dimension.as_str(), unit.integral), (dimension, integral), "{code}");
        assert!(!unit.name.is_empty());
    };
    check("C62", "count", true);
    check("DZN", "count", true);
    check("KGM", "mass", false);
    check("LTR", "volume", false);
    check("MTR", "length", false);
    check("MTK", "area", false);
    check("HUR", "time", false);
    check("BX", "package", true);
}
