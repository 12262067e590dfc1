//! What a product is, and every way to say it wrong.

use std::collections::BTreeSet;

use proto::catalog::v1::*;
use tonic::Code;

use crate::world::*;

fn shirt() -> Product {
    let large = Variant {
        barcodes: vec![
            barcode("4006381333931", Symbology::Unspecified, ""),
            barcode("BOX 12/L", Symbology::Unspecified, "BX"),
        ],
        conversions: vec![UnitConversion {
            unit: "BX".to_owned(),
            numerator: 24,
            denominator: 2,
            ..Default::default()
        }],
        ..sized("SHIRT-L", "L")
    };
    Product {
        name: "Shirt".to_owned(),
        description: "Cotton.\nWash cold.".to_owned(),
        brand: "Acme".to_owned(),
        category: "Clothes / Men".to_owned(),
        option_axes: vec!["size".to_owned()],
        variants: vec![
            sized("SHIRT-S", "S"),
            large,
            Variant { status: ProductStatus::Draft.into(), ..sized("SHIRT-XL", "XL") },
        ],
        ..Product::default()
    }
}

/// CAT-1: a product with options, one SKU, barcodes and status per variant, read back as it was made.
#[tokio::test]
async fn a_product_is_read_back_as_it_was_made() {
    let mut world = World::new();
    let owner = owner(1);
    let made = world.create(&owner, shirt()).await.unwrap();

    assert!(made.id.starts_with("prd_"), "{made:?}");
    assert_eq!(made.business_id, owner.0.business.to_string());
    assert_eq!((made.name.as_str(), made.description.as_str()), ("Shirt", "Cotton.\nWash cold."));
    assert_eq!((made.brand.as_str(), made.category.as_str()), ("Acme", "Clothes / Men"));
    assert_eq!((made.base_unit.as_str(), made.quantity_scale), ("C62", Some(0)));
    assert_eq!((made.status(), made.etag.as_str()), (ProductStatus::Active, "\"1\""));
    assert_eq!(made.created_at, Some(world.in_seconds(0)));
    assert_eq!(made.updated_at, made.created_at);
    let skus: Vec<_> = made.variants.iter().map(|variant| variant.sku.as_str()).collect();
    assert_eq!(skus, ["SHIRT-S", "SHIRT-L", "SHIRT-XL"]);
    assert_eq!(made.variants.iter().map(|variant| &variant.id).collect::<BTreeSet<_>>().len(), 3);

    let large = &made.variants[1];
    assert_eq!(large.option_values["size"], "L");
    assert_eq!(
        large.barcodes,
        [barcode("04006381333931", Symbology::Gtin, "C62"), barcode("BOX 12/L", Symbology::Internal, "BX")]
    );
    assert_eq!((large.product_id.as_str(), large.product_name.as_str()), (made.id.as_str(), "Shirt"));
    assert_eq!((large.base_unit.as_str(), large.quantity_scale, large.etag.as_str()), ("C62", 0, "\"1\""));
    assert_eq!([0, 1, 2].map(|at: usize| made.variants[at].status()), {
        use ProductStatus::{Active, Draft};
        [Active, Active, Draft]
    });

    for _ in 0..2 {
        assert_eq!(world.product(&owner, &made.id).await.unwrap(), made);
        for variant in &made.variants {
            assert_eq!(world.variant(&owner, &variant.id).await.unwrap(), *variant);
        }
        world.restart();
    }
    world.verify().await;
}

#[tokio::test]
async fn the_base_unit_says_how_many_places_a_quantity_has() {
    let world = World::new();
    let owner = owner(1);
    let check = async |unit: &str, scale: Option<u32>, expected: (&str, u32)| {
        let sku = format!("{unit}-{}", scale.unwrap_or(9));
        let product = Product { base_unit: unit.to_owned(), quantity_scale: scale, ..simple(&sku) };
        let made = world.create(&owner, product).await.unwrap();
        assert_eq!((made.base_unit.as_str(), made.quantity_scale), (expected.0, Some(expected.1)));
        assert_eq!(made.variants[0].quantity_scale, expected.1);
    };
    check("", None, ("C62", 0)).await;
    check("DZN", None, ("DZN", 0)).await;
    check("BX", None, ("BX", 0)).await;
    check("KGM", None, ("KGM", 3)).await;
    check("LTR", Some(6), ("LTR", 6)).await;
    check("MTR", Some(0), ("MTR", 0)).await;
    check("C62", Some(2), ("C62", 2)).await;
}

/// Checks which fields a product is refused for, and that nothing is written then.
async fn refuses(product: Product, expected: &[&str]) {
    let world = World::new();
    let refused = world.create(&owner(1), product).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::InvalidArgument, "INVALID_REQUEST"));
    assert_eq!(fields(&refused), expected);
    assert_eq!(world.aggregates().await, 0);
}

#[tokio::test]
async fn every_bad_field_is_reported_at_once() {
    let conversion =
        |unit: &str, numerator| UnitConversion { unit: unit.to_owned(), numerator, ..Default::default() };
    let bad = Product {
        id: "prd_1".to_owned(),
        etag: "\"1\"".to_owned(),
        name: " ".to_owned(),
        description: "bell \u{7}".to_owned(),
        brand: "b".repeat(201),
        base_unit: "kilo".to_owned(),
        quantity_scale: Some(7),
        option_axes: vec!["size".to_owned(), "size".to_owned()],
        status: 99,
        variants: vec![
            Variant { etag: "x".to_owned(), status: 99, ..variant("A B") },
            variant(""),
            Variant {
                barcodes: vec![
                    barcode("4006381333932", Symbology::Gtin, ""),
                    barcode("", Symbology::Internal, "??"),
                    barcode(" x", Symbology::Internal, ""),
                    Barcode { symbology: 9, ..barcode("x", Symbology::Internal, "") },
                ],
                conversions: vec![
                    conversion("BX", 0),
                    conversion("", 1),
                    UnitConversion {
                        denominator: -1,
                        valid_from: Some(Default::default()),
                        ..conversion("CT", 1)
                    },
                ],
                ..variant(&"s".repeat(65))
            },
        ],
        ..Product::default()
    };
    let expected = [
        "product.id OUTPUT_ONLY",
        "product.etag OUTPUT_ONLY",
        "product.name REQUIRED",
        "product.description MALFORMED",
        "product.brand TOO_LONG",
        "product.base_unit UNKNOWN_VALUE",
        "product.quantity_scale OUT_OF_RANGE",
        "product.option_axes[1] DUPLICATE",
        "product.status UNKNOWN_VALUE",
        "product.variants[0].etag OUTPUT_ONLY",
        "product.variants[0].sku MALFORMED",
        "product.variants[0].status UNKNOWN_VALUE",
        "product.variants[1].sku REQUIRED",
        "product.variants[2].sku TOO_LONG",
        "product.variants[2].barcodes[0].value WRONG_CHECK_DIGIT",
        "product.variants[2].barcodes[1].unit UNKNOWN_VALUE",
        "product.variants[2].barcodes[1].value REQUIRED",
        "product.variants[2].barcodes[2].value MALFORMED",
        "product.variants[2].barcodes[3].symbology UNKNOWN_VALUE",
        "product.variants[2].conversions[0].numerator NOT_POSITIVE",
        "product.variants[2].conversions[1].unit REQUIRED",
        "product.variants[2].conversions[2].valid_from OUTPUT_ONLY",
        "product.variants[2].conversions[2].denominator NOT_POSITIVE",
    ];
    refuses(bad, &expected).await;
}

#[tokio::test]
async fn what_spans_fields_is_checked_too() {
    let with = |variants| Product { option_axes: vec!["size".to_owned()], variants, ..simple("X") };
    refuses(with(vec![]), &["product.variants REQUIRED"]).await;
    refuses(with((0..201).map(|n| sized(&format!("{n}"), "S")).collect()), &["product.variants TOO_MANY"])
        .await;
    refuses(with(vec![variant("A")]), &["product.variants[0].option_values REQUIRED"]).await;
    let coloured =
        Variant { option_values: [("colour", "red"), ("size", "S")].map(text).into(), ..variant("A") };
    refuses(with(vec![coloured]), &["product.variants[0].option_values NOT_ALLOWED"]).await;
    refuses(
        with(vec![sized("A", "S"), sized("B", "S"), sized("A", "L")]),
        &["product.variants[1].option_values DUPLICATE", "product.variants[2].sku DUPLICATE"],
    )
    .await;
    // Without options there is one variant.
    let two = Product { variants: vec![variant("A"), variant("B")], ..simple("X") };
    refuses(two, &["product.variants[1].option_values DUPLICATE"]).await;

    let scanned = |sku: &str, size: &str, code: &str| Variant {
        barcodes: vec![barcode(code, Symbology::Unspecified, "")],
        ..sized(sku, size)
    };
    // The same GTIN in two lengths.
    let same = with(vec![scanned("A", "S", "036000291452"), scanned("B", "L", "0036000291452")]);
    refuses(same, &["product.variants[1].barcodes[0].value DUPLICATE"]).await;

    let conversion =
        |unit: &str| UnitConversion { unit: unit.to_owned(), numerator: 6, ..Default::default() };
    let units = Variant {
        conversions: ["C62", "DZN", "BX", "BX"].map(conversion).into(),
        barcodes: vec![barcode("1", Symbology::Internal, "DZN"), barcode("2", Symbology::Internal, "PX")],
        ..sized("A", "S")
    };
    let expected = [
        "product.variants[0].conversions[0].unit NOT_ALLOWED",
        "product.variants[0].conversions[1].unit NOT_ALLOWED",
        "product.variants[0].conversions[3].unit DUPLICATE",
        "product.variants[0].barcodes[1].unit UNIT_NOT_CONVERTIBLE",
    ];
    refuses(with(vec![units]), &expected).await;
}

fn text((name, value): (&str, &str)) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

#[tokio::test]
async fn an_empty_request_lists_what_it_lacks() {
    let world = World::new();
    let owner = owner(1);
    let mut client = world.client.clone();
    let check = |status: tonic::Status, expected: &[&str]| {
        assert_eq!(status.code(), Code::InvalidArgument);
        assert_eq!(fields(&status), expected);
    };
    macro_rules! check {
        ($method:ident($request:expr), $($expected:literal),*) => {
            let mut request = world.keyed(&owner, stringify!($method), $request);
            request.metadata_mut().insert(rpc::header::IF_MATCH, "*".parse().unwrap());
            check(client.$method(request).await.unwrap_err(), &[$($expected),*]);
        };
    }
    check!(create_product(CreateProductRequest::default()), "product REQUIRED");
    check!(batch_create_products(BatchCreateProductsRequest::default()), "products REQUIRED");
    check!(get_product(GetProductRequest::default()), "product_id REQUIRED");
    check!(update_product(UpdateProductRequest::default()), "product_id REQUIRED", "product REQUIRED");
    check!(create_variant(CreateVariantRequest::default()), "product_id REQUIRED", "variant REQUIRED");
    check!(get_variant(GetVariantRequest::default()), "variant_id REQUIRED");
    check!(update_variant(UpdateVariantRequest::default()), "variant_id REQUIRED", "variant REQUIRED");
    check!(
        set_unit_conversion(SetUnitConversionRequest::default()),
        "variant_id REQUIRED",
        "conversion REQUIRED"
    );
    check!(create_price_list(CreatePriceListRequest::default()), "price_list REQUIRED");
    check!(get_price_list(GetPriceListRequest::default()), "price_list_id REQUIRED");
    check!(set_price(SetPriceRequest::default()), "price_list_id REQUIRED", "price REQUIRED");
    check!(get_price(GetPriceRequest::default()), "price_list_id REQUIRED", "variant_id REQUIRED");
    check!(
        list_price_changes(ListPriceChangesRequest::default()),
        "price_list_id REQUIRED",
        "variant_id REQUIRED"
    );

    check!(
        get_product(GetProductRequest {
            product_id: "var_01h455vb4pex5vsknk084sn02q".to_owned(),
            origins: false
        }),
        "product_id WRONG_ID_PREFIX"
    );
    check!(get_variant(GetVariantRequest { variant_id: "shirt".to_owned() }), "variant_id MALFORMED_ID");
    check!(
        list_products(ListProductsRequest { page_size: 501, ..Default::default() }),
        "page_size TOO_LARGE"
    );
    check!(
        list_variants(ListVariantsRequest {
            sku: "s".repeat(65),
            barcode: "b".repeat(65),
            ..Default::default()
        }),
        "sku TOO_LONG",
        "barcode TOO_LONG"
    );
}

/// CAT-1, CAT-3: a SKU or a barcode leads to its variant, a GTIN in any length.
#[tokio::test]
async fn a_code_leads_to_its_variant() {
    let world = World::new();
    let owner = owner(1);
    let made = world.create(&owner, shirt()).await.unwrap();
    let large = vec![made.variants[1].id.clone()];
    assert_eq!(world.with_code(&owner, "SHIRT-L", "").await, large);
    assert_eq!(world.with_code(&owner, "SHIRT-L", "4006381333931").await, large);
    assert_eq!(world.with_code(&owner, "", "4006381333931").await, large);
    assert_eq!(world.with_code(&owner, "", "04006381333931").await, large);
    assert_eq!(world.with_code(&owner, "", "BOX 12/L").await, large);
    for (sku, barcode) in
        [("shirt-l", ""), ("SHIRT", ""), ("", "4006381333932"), ("SHIRT-S", "4006381333931")]
    {
        assert_eq!(world.with_code(&owner, sku, barcode).await, Vec::<String>::new(), "{sku} {barcode}");
    }

    // An own code may read like a short GTIN: the scan is ambiguous, and says so.
    let own = Variant { barcodes: vec![barcode("4006381333931", Symbology::Internal, "")], ..variant("OWN") };
    let own = world.create(&owner, Product { variants: vec![own], ..simple("OWN") }).await.unwrap();
    let found = world.with_code(&owner, "", "4006381333931").await;
    assert_eq!(BTreeSet::from_iter(found), BTreeSet::from([large[0].clone(), own.variants[0].id.clone()]));
    world.verify().await;
}

/// CAT-3: a wrong check digit is told with the right one.
#[tokio::test]
async fn a_wrong_check_digit_is_told() {
    let world = World::new();
    let wrong = Variant { barcodes: vec![barcode("4006381333937", Symbology::Gtin, "")], ..variant("A") };
    let product = Product { variants: vec![wrong], ..simple("A") };
    let refused = world.create(&owner(1), product.clone()).await.unwrap_err();
    assert_eq!(fields(&refused), ["product.variants[0].barcodes[0].value WRONG_CHECK_DIGIT"]);
    assert_eq!(detail(&refused), "must end in the check digit '1'");
    // Who does not say that it is a GTIN has an own code.
    let mut unsaid = product;
    unsaid.variants[0].barcodes[0].symbology = Symbology::Unspecified.into();
    let made = world.create(&owner(1), unsaid).await.unwrap();
    assert_eq!(made.variants[0].barcodes[0].symbology(), Symbology::Internal);
}

/// CAT-1, CAT-3: a SKU and a barcode belong to one variant of the tenant.
#[tokio::test]
async fn a_code_belongs_to_one_variant() {
    let world = World::new();
    let owner = owner(1);
    let made = world.create(&owner, shirt()).await.unwrap();
    let other = world.create(&owner, simple("CAP")).await.unwrap();
    let before = world.aggregates().await;

    let check = |status: tonic::Status, expected: &str, name: &str, value: &str| {
        assert_eq!((status.code(), reason(&status).as_str()), (Code::AlreadyExists, expected));
        assert_eq!(metadata(&status, name), value);
    };
    let scanned = |sku: &str| Variant {
        barcodes: vec![barcode("04006381333931", Symbology::Gtin, "")],
        ..sized(sku, "M")
    };
    check(world.create(&owner, simple("SHIRT-S")).await.unwrap_err(), "SKU_TAKEN", "sku", "SHIRT-S");
    let same_code =
        Product { variants: vec![scanned("B")], option_axes: vec!["size".to_owned()], ..simple("B") };
    check(world.create(&owner, same_code).await.unwrap_err(), "BARCODE_TAKEN", "barcode", "04006381333931");
    check(world.add(&owner, &made.id, sized("CAP", "M")).await.unwrap_err(), "SKU_TAKEN", "sku", "CAP");
    check(
        world.add(&owner, &made.id, sized("SHIRT-S", "M")).await.unwrap_err(),
        "SKU_TAKEN",
        "sku",
        "SHIRT-S",
    );
    check(
        world.add(&owner, &made.id, scanned("C")).await.unwrap_err(),
        "BARCODE_TAKEN",
        "barcode",
        "04006381333931",
    );
    let cap = &other.variants[0].id;
    check(
        world.change(&owner, cap, variant("SHIRT-S"), &[]).await.unwrap_err(),
        "SKU_TAKEN",
        "sku",
        "SHIRT-S",
    );
    assert_eq!(world.aggregates().await, before);
    assert_eq!(world.product(&owner, &other.id).await.unwrap(), other);

    // A code that is given up is free.
    world.change(&owner, &made.variants[0].id, variant("SHIRT-SMALL"), &["sku"]).await.unwrap();
    world.change(&owner, &made.variants[1].id, Variant::default(), &["barcodes"]).await.unwrap();
    world.change(&owner, cap, variant("SHIRT-S"), &[]).await.unwrap();
    world.add(&owner, &made.id, scanned("SHIRT-M")).await.unwrap();
    assert_eq!(world.with_code(&owner, "SHIRT-S", "").await, std::slice::from_ref(cap));
    world.verify().await;
}

#[tokio::test]
async fn lists_are_oldest_first_in_pages() {
    let world = World::new();
    let owner = owner(1);
    let mut made = Vec::new();
    for n in 0..7 {
        world.pass_seconds(1);
        let mut product = simple(&format!("S-{n}"));
        product.option_axes = vec!["size".to_owned()];
        product.variants = vec![sized(&format!("S-{n}"), "S"), sized(&format!("L-{n}"), "L")];
        made.push(world.create(&owner, product).await.unwrap());
    }
    let (mut products, mut variants, mut token, mut pages) = (vec![], vec![], String::new(), 0);
    loop {
        let message = ListProductsRequest { page_size: 3, page_token: token };
        let page =
            world.client.clone().list_products(world.request(&owner, message)).await.unwrap().into_inner();
        (pages, token) = (pages + 1, page.next_page_token);
        products.extend(page.products);
        if token.is_empty() {
            break;
        }
    }
    assert_eq!((pages, &products), (3, &made));
    loop {
        let message = ListVariantsRequest { page_size: 7, page_token: token, ..Default::default() };
        let page =
            world.client.clone().list_variants(world.request(&owner, message)).await.unwrap().into_inner();
        (pages, token) = (pages + 1, page.next_page_token);
        variants.extend(page.variants);
        if token.is_empty() {
            break;
        }
    }
    let all: Vec<Variant> = made.iter().flat_map(|product| product.variants.clone()).collect();
    assert_eq!((pages, variants), (5, all));

    let message = ListProductsRequest { page_size: 2, ..Default::default() };
    let page = world.client.clone().list_products(world.request(&owner, message)).await.unwrap().into_inner();
    for (caller, token) in
        [(&owner, "made up".to_owned()), (&crate::world::owner(2), page.next_page_token.clone())]
    {
        let message = ListProductsRequest { page_token: token, ..Default::default() };
        let refused = world.client.clone().list_products(world.request(caller, message)).await.unwrap_err();
        assert_eq!(
            (refused.code(), reason(&refused).as_str()),
            (Code::InvalidArgument, "PAGE_TOKEN_INVALID")
        );
    }
    let message = ListVariantsRequest { page_token: page.next_page_token, ..Default::default() };
    let refused = world.client.clone().list_variants(world.request(&owner, message)).await.unwrap_err();
    assert_eq!(reason(&refused), "PAGE_TOKEN_INVALID", "a token of another list");
}

/// CAT-1: a product takes up to 200 variants, and a page of such products ends early.
#[tokio::test]
async fn a_product_may_have_many_variants() {
    let mut world = World::new();
    let owner = owner(1);
    let many = |prefix: &str, count: usize| Product {
        option_axes: vec!["size".to_owned()],
        variants: (0..count).map(|n| sized(&format!("{prefix}{n}"), &format!("size {n}"))).collect(),
        ..simple("X")
    };
    let made = world.create(&owner, many("A", 199)).await.unwrap();
    assert_eq!(made.variants.iter().map(|variant| &variant.id).collect::<BTreeSet<_>>().len(), 199);
    assert_eq!(world.product(&owner, &made.id).await.unwrap(), made);
    world.restart();
    assert_eq!(world.product(&owner, &made.id).await.unwrap(), made);
    assert_eq!(world.variant(&owner, &made.variants[198].id).await.unwrap(), made.variants[198]);

    world.add(&owner, &made.id, sized("LAST", "last")).await.unwrap();
    let refused = world.add(&owner, &made.id, sized("MORE", "more")).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::FailedPrecondition, "LIMIT_REACHED"));

    for n in 0..11 {
        world.create(&owner, many(&format!("B{n}-"), 200)).await.unwrap();
    }
    let message = ListProductsRequest { page_size: 500, ..Default::default() };
    let page = world.client.clone().list_products(world.request(&owner, message)).await.unwrap().into_inner();
    assert_eq!(page.products.len(), 10);
    let message = ListProductsRequest { page_token: page.next_page_token, ..Default::default() };
    let page = world.client.clone().list_products(world.request(&owner, message)).await.unwrap().into_inner();
    assert_eq!((page.products.len(), page.next_page_token.as_str()), (2, ""));
    world.verify().await;
}

/// CAT-1: `verify` notices a SKU that its variant does not own any more.
#[tokio::test]
async fn a_lost_claim_is_found() {
    const SKU: u16 = 1;
    let world = World::new();
    let owner = owner(1);
    world.create(&owner, shirt()).await.unwrap();
    world.verify().await;
    world.lose_claim(&owner, SKU, "SHIRT-L").await;
    assert_eq!(world.faults().await, ["the claim on 'SHIRT-L' does not follow from the entries"]);
}
