//! Retries, revisions, masks, status, permissions.

use proto::catalog::v1::*;
use tonic::Code;

use crate::world::*;

fn create(sku: &str) -> CreateProductRequest {
    CreateProductRequest { product: Some(simple(sku)) }
}

/// API-11: a create that is retried after a lost answer makes nothing new and answers the same, however
/// late, in whatever process; the same key for something else is a conflict.
#[tokio::test]
async fn a_create_happens_once() {
    let mut world = World::new();
    let owner = owner(1);
    let first = world.client.create_product(world.keyed(&owner, "k", create("A"))).await.unwrap();
    assert!(!replayed(&first));
    let first = first.into_inner();
    let change = Product { name: "Renamed".to_owned(), ..Product::default() };
    world.update(&owner, &first.id, change, &[]).await.unwrap();

    for seconds in [1, 72 * 3600, 365 * 86_400] {
        world.pass_seconds(seconds);
        world.restart();
        let again = world.client.create_product(world.keyed(&owner, "k", create("A"))).await.unwrap();
        assert!(replayed(&again));
        assert_eq!(again.into_inner(), first);
    }
    let other = world.client.create_product(world.keyed(&owner, "k", create("B"))).await.unwrap_err();
    assert_eq!(reason(&other), "IDEMPOTENCY_CONFLICT");
    let unnamed = world.create(&owner, simple("A")).await.unwrap_err();
    assert_eq!(reason(&unnamed), "SKU_TAKEN");
    assert_eq!(world.aggregates().await, 1);

    // Nothing is remembered of what was refused.
    let refused = world.client.create_product(world.keyed(&owner, "k2", create("A"))).await.unwrap_err();
    assert_eq!(reason(&refused), "SKU_TAKEN");
    world.client.create_product(world.keyed(&owner, "k2", create("B"))).await.unwrap();
    world.verify().await;
}

/// API-11: two creates under one key at the same time end in one product, in one process or in two.
#[tokio::test]
async fn two_creates_under_one_key_meet() {
    let mut world = World::new();
    let owner = owner(1);
    let mut here = world.client.clone();
    world.restart();
    let mut there = world.client.clone();
    for (n, mut other) in [(0, here.clone()), (1, there.clone())] {
        let key = format!("k{n}");
        let request = || world.keyed(&owner, &key, create(&format!("S-{n}")));
        let (a, b) = tokio::join!(here.create_product(request()), other.create_product(request()));
        let mut made = Vec::new();
        for answer in [a, b] {
            match answer {
                Ok(product) => made.push(product.into_inner()),
                Err(status) => assert_eq!(reason(&status), "IDEMPOTENCY_IN_PROGRESS"),
            }
        }
        assert!(!made.is_empty() && made.iter().all(|product| *product == made[0]));
        assert_eq!(there.create_product(request()).await.unwrap().into_inner(), made[0]);
        assert_eq!(world.aggregates().await, n + 1);
    }
    world.verify().await;
}

/// API-11: every mutation answers a retry with what it answered the first time.
#[tokio::test]
async fn every_mutation_is_replayed() {
    let world = World::new();
    let owner = owner(1);
    let made = world.create(
        &owner,
        Product { option_axes: vec!["size".to_owned()], variants: vec![sized("A", "S")], ..simple("A") },
    );
    let made = made.await.unwrap();
    let (product_id, variant_id) = (made.id, made.variants[0].id.clone());
    let list = world.price_list(&owner, "RETAIL").await.unwrap();

    macro_rules! check {
        ($method:ident($request:expr), $later:expr) => {
            let request = || {
                let mut request =
                    world.keyed(&owner, &format!("{}-{}", stringify!($method), line!()), $request);
                request.metadata_mut().insert(rpc::header::IF_MATCH, "*".parse().unwrap());
                request
            };
            world.pass_seconds(1);
            let first = world.client.clone().$method(request()).await.unwrap();
            assert!(!replayed(&first), stringify!($method));
            world.pass_seconds(1);
            $later;
            let again = world.client.clone().$method(request()).await.unwrap();
            assert!(replayed(&again), stringify!($method));
            assert_eq!(again.into_inner(), first.into_inner(), stringify!($method));
        };
    }
    let rename = |name: &str| Product { name: name.to_owned(), ..Product::default() };
    let product = rename("First");
    check!(
        update_product(UpdateProductRequest {
            product_id: product_id.clone(),
            product: Some(product.clone()),
            ..Default::default()
        }),
        world.update(&owner, &product_id, rename("Second"), &[]).await.unwrap()
    );
    check!(
        create_variant(CreateVariantRequest {
            product_id: product_id.clone(),
            variant: Some(sized("B", "M"))
        }),
        world.update(&owner, &product_id, rename("Third"), &[]).await.unwrap()
    );
    check!(
        update_variant(UpdateVariantRequest {
            variant_id: variant_id.clone(),
            variant: Some(variant("A2")),
            ..Default::default()
        }),
        world.change(&owner, &variant_id, variant("A3"), &[]).await.unwrap()
    );
    let conversion = UnitConversion { unit: "BX".to_owned(), numerator: 6, ..Default::default() };
    check!(
        set_unit_conversion(SetUnitConversionRequest {
            variant_id: variant_id.clone(),
            conversion: Some(conversion.clone()),
        }),
        world.convert(&owner, &variant_id, "BX", 12, 1).await.unwrap()
    );
    check!(
        create_price_list(CreatePriceListRequest { price_list: Some(new_list("OUTLET")) }),
        world.pass_seconds(1)
    );
    let price = NewPrice {
        variant_id: variant_id.clone(),
        amount: "1".to_owned(),
        reason: "list".to_owned(),
        ..Default::default()
    };
    check!(
        set_price(SetPriceRequest { price_list_id: list.id.clone(), price: Some(price.clone()) }),
        world.pass_seconds(1)
    );

    // A change that changes nothing is remembered too, and writes nothing.
    let before = world.product(&owner, &product_id).await.unwrap();
    check!(
        update_product(UpdateProductRequest {
            product_id: product_id.clone(),
            product: Some(rename(&before.name)),
            update_mask: vec!["name".to_owned()],
        }),
        assert_eq!(world.product(&owner, &product_id).await.unwrap(), before)
    );
    world.verify().await;
}

/// API-12: a change is based on the revision that the caller has seen, or refused with the current one.
#[tokio::test]
async fn a_stale_change_is_refused() {
    let mut world = World::new();
    let owner = owner(1);
    let made = world.create(&owner, simple("A")).await.unwrap();
    let message = |name: &str| UpdateProductRequest {
        product_id: made.id.clone(),
        product: Some(Product { name: name.to_owned(), ..Product::default() }),
        ..Default::default()
    };
    world.pass_seconds(5);
    let second =
        world.client.update_product(world.matching(&owner, "\"1\"", message("Second"))).await.unwrap();
    let second = second.into_inner();
    assert_eq!((second.name.as_str(), second.etag.as_str()), ("Second", "\"2\""));
    assert_eq!((second.created_at, second.updated_at), (made.created_at, Some(world.in_seconds(0))));

    let stale =
        world.client.update_product(world.matching(&owner, "\"1\"", message("Third"))).await.unwrap_err();
    assert_eq!((stale.code(), reason(&stale).as_str()), (Code::Aborted, "STALE_REVISION"));
    assert_eq!(metadata(&stale, "current"), "\"2\"");
    world.restart();
    let stale =
        world.client.update_product(world.matching(&owner, "\"3\"", message("Third"))).await.unwrap_err();
    assert_eq!(reason(&stale), "STALE_REVISION");
    let none = world.client.update_product(world.request(&owner, message("Third"))).await.unwrap_err();
    assert_eq!(reason(&none), "PRECONDITION_REQUIRED");
    let bad =
        world.client.update_product(world.matching(&owner, "W/\"2\"", message("Third"))).await.unwrap_err();
    assert_eq!(reason(&bad), "PRECONDITION_MALFORMED");
    assert_eq!(world.product(&owner, &made.id).await.unwrap(), second);

    // The revision of a variant is that of its product.
    let variant_id = made.variants[0].id.clone();
    let message = |sku: &str| UpdateVariantRequest {
        variant_id: variant_id.clone(),
        variant: Some(variant(sku)),
        ..Default::default()
    };
    let stale = world.client.update_variant(world.matching(&owner, "\"1\"", message("B"))).await.unwrap_err();
    assert_eq!(reason(&stale), "STALE_REVISION");
    let changed = world
        .client
        .update_variant(world.matching(&owner, "\"2\"", message("B")))
        .await
        .unwrap()
        .into_inner();
    assert_eq!((changed.sku.as_str(), changed.etag.as_str()), ("B", "\"3\""));
    let same = world
        .client
        .update_variant(world.matching(&owner, "\"3\"", message("B")))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(same, changed, "what changes nothing makes no revision");
    world.verify().await;
}

#[tokio::test]
async fn a_mask_says_what_changes() {
    let world = World::new();
    let owner = owner(1);
    let full = Product {
        description: "d".to_owned(),
        brand: "b".to_owned(),
        category: "c".to_owned(),
        ..simple("A")
    };
    let made = world.create(&owner, full).await.unwrap();
    let check = async |product: Product, mask: &[&str], expected: Result<(&str, &str, &str), &[&str]>| match (
        world.update(&owner, &made.id, product, mask).await,
        expected,
    ) {
        (Ok(found), Ok(expected)) => {
            assert_eq!((found.name.as_str(), found.brand.as_str(), found.category.as_str()), expected);
        }
        (Err(refused), Err(expected)) => assert_eq!(fields(&refused), expected),
        (found, expected) => panic!("{found:?} is not {expected:?}"),
    };
    let with = |name: &str, brand: &str| Product {
        name: name.to_owned(),
        brand: brand.to_owned(),
        ..Product::default()
    };
    check(with("N", ""), &[], Ok(("N", "b", "c"))).await;
    check(with("ignored", ""), &["brand"], Ok(("N", "", "c"))).await;
    check(with("M", "B"), &["name", "brand", "category"], Ok(("M", "B", ""))).await;
    check(
        Product { category: "C".to_owned(), ..with("L", "") },
        &["*", "name"],
        Err(&["product.status REQUIRED"]),
    )
    .await;
    check(Product { status: 2, ..with("L", "A") }, &["*"], Ok(("L", "A", ""))).await;
    check(Product::default(), &[], Ok(("L", "A", ""))).await;
    check(with("", ""), &["name"], Err(&["product.name REQUIRED"])).await;
    check(with("x", ""), &["title"], Err(&["update_mask[0] UNKNOWN_FIELD"])).await;
    check(Product::default(), &["optionAxes"], Ok(("L", "A", ""))).await;

    // What is the service's, what was set at creation, and what has a call of its own.
    let everything = Product {
        id: made.id.clone(),
        business_id: made.business_id.clone(),
        base_unit: "KGM".to_owned(),
        quantity_scale: Some(0),
        variants: vec![variant("B")],
        etag: "\"9\"".to_owned(),
        created_at: made.created_at,
        updated_at: made.updated_at,
        ..with("x", "")
    };
    let refused = [
        "product.id OUTPUT_ONLY",
        "product.business_id OUTPUT_ONLY",
        "product.base_unit IMMUTABLE",
        "product.quantity_scale IMMUTABLE",
        "product.variants NOT_ALLOWED",
        "product.etag OUTPUT_ONLY",
        "product.created_at OUTPUT_ONLY",
        "product.updated_at OUTPUT_ONLY",
    ];
    check(everything, &[], Err(&refused)).await;
    check(Product::default(), &["baseUnit"], Err(&["product.base_unit IMMUTABLE"])).await;

    let id = &made.variants[0].id;
    let everything = Variant {
        id: id.clone(),
        product_id: made.id.clone(),
        base_unit: "C62".to_owned(),
        quantity_scale: 1,
        conversions: vec![UnitConversion::default()],
        product_name: "x".to_owned(),
        etag: "x".to_owned(),
        ..Variant::default()
    };
    let refused = [
        "variant.id OUTPUT_ONLY",
        "variant.product_id OUTPUT_ONLY",
        "variant.base_unit OUTPUT_ONLY",
        "variant.quantity_scale OUTPUT_ONLY",
        "variant.conversions NOT_ALLOWED",
        "variant.product_name OUTPUT_ONLY",
        "variant.etag OUTPUT_ONLY",
    ];
    assert_eq!(fields(&world.change(&owner, id, everything, &[]).await.unwrap_err()), refused);
    let none = world.change(&owner, id, Variant::default(), &["sku", "status"]).await.unwrap_err();
    assert_eq!(fields(&none), ["variant.sku REQUIRED", "variant.status REQUIRED"]);
}

/// CAT-1: axes, option values and status change by their rules.
#[tokio::test]
async fn options_and_status_change_by_their_rules() {
    let world = World::new();
    let owner = owner(1);
    let product = Product {
        option_axes: vec!["size".to_owned()],
        variants: vec![sized("S", "S"), sized("L", "L")],
        status: ProductStatus::Draft.into(),
        ..simple("X")
    };
    let made = world.create(&owner, product).await.unwrap();
    let (small, large) = (&made.variants[0].id, &made.variants[1].id);

    let axes = |axes: &[&str]| Product {
        option_axes: axes.iter().map(ToString::to_string).collect(),
        ..Product::default()
    };
    let refused = world.update(&owner, &made.id, axes(&["colour"]), &[]).await.unwrap_err();
    assert_eq!(fields(&refused), ["product.option_axes NOT_ALLOWED"]);
    world.update(&owner, &made.id, axes(&["colour", "size"]), &[]).await.unwrap();
    // Who names no options keeps those it had.
    world.change(&owner, small, variant("S2"), &[]).await.unwrap();
    let refused = world.change(&owner, small, sized("S2", "S"), &[]).await.unwrap_err();
    assert_eq!(fields(&refused), ["variant.option_values REQUIRED"]);
    let red = |size: &str| Variant {
        option_values: [("colour".to_owned(), "red".to_owned()), ("size".to_owned(), size.to_owned())].into(),
        ..Variant::default()
    };
    world.change(&owner, small, red("S"), &[]).await.unwrap();
    let refused = world.change(&owner, large, red("S"), &[]).await.unwrap_err();
    assert_eq!(fields(&refused), ["variant.option_values DUPLICATE"]);
    let refused = world.add(&owner, &made.id, Variant { sku: "R".to_owned(), ..red("S") }).await.unwrap_err();
    assert_eq!(fields(&refused), ["variant.option_values DUPLICATE"]);

    let to = |status: ProductStatus| Product { status: status.into(), ..Product::default() };
    let refused = world.update(&owner, &made.id, to(ProductStatus::Discontinued), &[]).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::FailedPrecondition, "ILLEGAL_TRANSITION"));
    assert_eq!(
        (metadata(&refused, "from"), metadata(&refused, "to")),
        ("DRAFT".to_owned(), "DISCONTINUED".to_owned())
    );
    for status in [ProductStatus::Active, ProductStatus::Discontinued, ProductStatus::Active] {
        assert_eq!(world.update(&owner, &made.id, to(status), &[]).await.unwrap().status(), status);
    }
    for status in [ProductStatus::Discontinued, ProductStatus::Archived] {
        let change = Variant { status: status.into(), ..Variant::default() };
        assert_eq!(world.change(&owner, small, change, &[]).await.unwrap().status(), status);
    }
    let revived = Variant { status: ProductStatus::Active.into(), ..Variant::default() };
    assert_eq!(reason(&world.change(&owner, small, revived, &[]).await.unwrap_err()), "ILLEGAL_TRANSITION");
    // An archived variant keeps its SKU, not its options.
    assert_eq!(
        reason(&world.add(&owner, &made.id, Variant { sku: "S2".to_owned(), ..red("S") }).await.unwrap_err()),
        "SKU_TAKEN"
    );
    world.add(&owner, &made.id, Variant { sku: "S3".to_owned(), ..red("S") }).await.unwrap();
    world.verify().await;
}

#[tokio::test]
async fn a_caller_does_what_its_permissions_say() {
    let world = World::new();
    let made = world.create(&owner(1), simple("A")).await.unwrap();
    let viewer = caller(1, &["product.read", "price.read"]);
    assert_eq!(world.product(&viewer, &made.id).await.unwrap(), made);
    let denied = [
        world.create(&viewer, simple("B")).await.unwrap_err(),
        world.update(&viewer, &made.id, Product::default(), &[]).await.unwrap_err(),
        world.change(&viewer, &made.variants[0].id, variant("C"), &[]).await.unwrap_err(),
        world.convert(&viewer, &made.variants[0].id, "BX", 6, 1).await.unwrap_err(),
        world.price_list(&viewer, "RETAIL").await.unwrap_err(),
        world.product(&caller(1, &["price.read"]), &made.id).await.unwrap_err(),
    ];
    for denied in denied {
        assert_eq!((denied.code(), reason(&denied).as_str()), (Code::PermissionDenied, "PERMISSION_DENIED"));
    }
    assert_eq!(world.product(&viewer, &made.id).await.unwrap(), made);
}
