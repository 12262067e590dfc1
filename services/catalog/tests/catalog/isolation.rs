//! Two tenants never meet.

use proto::catalog::v1::*;
use tonic::{Code, Status};

use crate::world::*;

/// TEN-7: the same SKU, GTIN, price list code and idempotency key in two tenants, with no interaction.
#[tokio::test]
async fn two_tenants_with_the_same_codes_do_not_meet() {
    let world = World::new();
    let (one, two) = (owner(1), owner(2));
    let product = |name: &str| {
        let scanned =
            Variant { barcodes: vec![barcode("4006381333931", Symbology::Gtin, "")], ..variant("SKU-1") };
        Product { name: name.to_owned(), variants: vec![scanned], ..Product::default() }
    };
    let mut made = Vec::new();
    for (caller, name) in [(&one, "One"), (&two, "Two")] {
        let message = CreateProductRequest { product: Some(product(name)) };
        let product =
            world.client.clone().create_product(world.keyed(caller, "same", message)).await.unwrap();
        assert!(!replayed(&product));
        let list = world.price_list(caller, "RETAIL").await.unwrap();
        made.push((product.into_inner(), list));
    }
    assert_ne!(made[0].0.id, made[1].0.id);
    assert_ne!(made[0].0.variants[0].id, made[1].0.variants[0].id);
    assert_ne!(made[0].1.id, made[1].1.id);

    // What one does, the other does not notice.
    world.change(&one, &made[0].0.variants[0].id, variant("SKU-2"), &["sku", "barcodes"]).await.unwrap();
    assert_eq!(world.with_code(&one, "SKU-1", "").await, Vec::<String>::new());
    assert_eq!(world.with_code(&two, "SKU-1", "4006381333931").await, [made[1].0.variants[0].id.clone()]);
    assert_eq!(world.product(&two, &made[1].0.id).await.unwrap(), made[1].0);
    assert_eq!(reason(&world.create(&two, product("Again")).await.unwrap_err()), "SKU_TAKEN");

    for (at, caller) in [&one, &two].into_iter().enumerate() {
        let message = world.request(caller, ListProductsRequest::default());
        let products = world.client.clone().list_products(message).await.unwrap().into_inner().products;
        assert_eq!(products.iter().map(|found| &found.id).collect::<Vec<_>>(), [&made[at].0.id]);
        let message = world.request(caller, ListVariantsRequest::default());
        let variants = world.client.clone().list_variants(message).await.unwrap().into_inner().variants;
        assert_eq!(variants.iter().map(|found| &found.id).collect::<Vec<_>>(), [&made[at].0.variants[0].id]);
        let message = world.request(caller, ListPriceListsRequest::default());
        let lists = world.client.clone().list_price_lists(message).await.unwrap().into_inner().price_lists;
        assert_eq!(lists, [made[at].1.clone()]);
    }
    world.verify().await;
}

/// TEN-2: what belongs to another tenant looks like what never was, to every call that takes an id.
#[tokio::test]
async fn a_foreign_id_is_answered_like_a_random_one() {
    let world = World::new();
    let (one, two) = (owner(1), owner(2));
    let own = world.create(&one, simple("A")).await.unwrap();
    let own_list = world.price_list(&one, "RETAIL").await.unwrap();
    let theirs = world.create(&two, simple("A")).await.unwrap();
    let their_list = world.price_list(&two, "RETAIL").await.unwrap();
    let random = |prefix: &str| format!("{prefix}_01h455vb4pex5vsknk084sn02q");
    // The same random part at another time: the partition is the same, the product is not.
    let shifted = |id: &str| format!("{}0{}", &id[..5], &id[6..]);

    let (product, variant_id) = (theirs.id.as_str(), theirs.variants[0].id.as_str());
    let same = |what: &str, foreign: Status, random: Status| {
        assert_eq!((foreign.code(), reason(&foreign).as_str()), (Code::NotFound, "NOT_FOUND"), "{what}");
        assert_eq!(bytes(&foreign), bytes(&random), "{what}");
    };
    for known in [product, &shifted(&own.id)] {
        let unknown = random("prd");
        let rename = || Product { name: "x".to_owned(), ..Product::default() };
        same(
            "get",
            world.product(&one, known).await.unwrap_err(),
            world.product(&one, &unknown).await.unwrap_err(),
        );
        same(
            "update",
            world.update(&one, known, rename(), &[]).await.unwrap_err(),
            world.update(&one, &unknown, rename(), &[]).await.unwrap_err(),
        );
        same(
            "add",
            world.add(&one, known, variant("B")).await.unwrap_err(),
            world.add(&one, &unknown, variant("B")).await.unwrap_err(),
        );
    }
    let unknown = random("var");
    same(
        "get",
        world.variant(&one, variant_id).await.unwrap_err(),
        world.variant(&one, &unknown).await.unwrap_err(),
    );
    same(
        "change",
        world.change(&one, variant_id, variant("B"), &[]).await.unwrap_err(),
        world.change(&one, &unknown, variant("B"), &[]).await.unwrap_err(),
    );
    same(
        "convert",
        world.convert(&one, variant_id, "BX", 6, 1).await.unwrap_err(),
        world.convert(&one, &unknown, "BX", 6, 1).await.unwrap_err(),
    );

    let get_list = async |id: &str| {
        let message = GetPriceListRequest { price_list_id: id.to_owned() };
        world.client.clone().get_price_list(world.request(&one, message)).await.unwrap_err()
    };
    let unknown_list = random("prl");
    same("list", get_list(&their_list.id).await, get_list(&unknown_list).await);
    same("list", get_list(&shifted(&own_list.id)).await, get_list(&unknown_list).await);

    let own_variant = own.variants[0].id.as_str();
    for (what, foreign, random) in [
        ("list", (their_list.id.as_str(), own_variant), (unknown_list.as_str(), own_variant)),
        ("variant", (own_list.id.as_str(), variant_id), (own_list.id.as_str(), unknown.as_str())),
    ] {
        let set = async |(list, variant): (&str, &str), key: &str| {
            let price = NewPrice {
                variant_id: variant.to_owned(),
                amount: "1".to_owned(),
                reason: "r".to_owned(),
                ..NewPrice::default()
            };
            let message = SetPriceRequest { price_list_id: list.to_owned(), price: Some(price) };
            world.client.clone().set_price(world.keyed(&one, key, message)).await.unwrap_err()
        };
        same(what, set(foreign, "a").await, set(random, "b").await);
        let get = async |(list, variant): (&str, &str)| {
            let message = GetPriceRequest {
                price_list_id: list.to_owned(),
                variant_id: variant.to_owned(),
                ..GetPriceRequest::default()
            };
            world.client.clone().get_price(world.request(&one, message)).await.unwrap_err()
        };
        same(what, get(foreign).await, get(random).await);
        let changes = async |(list, variant): (&str, &str)| {
            let message = ListPriceChangesRequest {
                price_list_id: list.to_owned(),
                variant_id: variant.to_owned(),
                ..ListPriceChangesRequest::default()
            };
            world.client.clone().list_price_changes(world.request(&one, message)).await.unwrap_err()
        };
        same(what, changes(foreign).await, changes(random).await);
    }
    assert_eq!(world.product(&two, product).await.unwrap(), theirs);
    assert_eq!(world.aggregates().await, 4, "nothing was written");
}
