//! Many products in one call.

use proto::catalog::v1::product_result::Result as One;
use proto::catalog::v1::*;
use tonic::{Code, Status};

use crate::world::*;

type Batch = tonic::Response<BatchCreateProductsResponse>;

async fn send(
    world: &World,
    caller: &Caller,
    key: Option<&str>,
    products: Vec<Product>,
    atomic: bool,
) -> Result<Batch, Status> {
    let message = BatchCreateProductsRequest { products, atomic };
    let request = match key {
        Some(key) => world.keyed(caller, key, message),
        None => world.request(caller, message),
    };
    world.client.clone().batch_create_products(request).await
}

/// One word per result: the SKU of what was made, or the reason.
fn words(batch: &Batch) -> Vec<String> {
    let word = |result: &ProductResult| match result.result.as_ref().unwrap() {
        One::Product(product) => product.variants[0].sku.clone(),
        One::Problem(problem) => problem.reason.clone(),
    };
    batch.get_ref().results.iter().map(word).collect()
}

fn skus(skus: &[&str]) -> Vec<Product> {
    skus.iter().map(|sku| simple(sku)).collect()
}

#[tokio::test]
async fn each_product_stands_by_itself() {
    let world = World::new();
    let owner = owner(1);
    world.create(&owner, simple("TAKEN")).await.unwrap();
    // "B" comes twice: the earlier one gets it. The first "C" is bad, so that the later one does.
    let mut products = skus(&["A", "TAKEN", "B", "", "B", "C", "C"]);
    products[5].base_unit = "nonsense".to_owned();
    let batch = send(&world, &owner, None, products, false).await.unwrap();
    assert_eq!(
        words(&batch),
        ["A", "SKU_TAKEN", "B", "INVALID_REQUEST", "SKU_TAKEN", "INVALID_REQUEST", "C"]
    );

    let problem = |at: usize| match batch.get_ref().results[at].result.as_ref().unwrap() {
        One::Problem(problem) => problem.clone(),
        One::Product(product) => panic!("{product:?}"),
    };
    let taken = problem(1);
    assert_eq!(
        (taken.status, taken.code.as_str(), taken.metadata["sku"].as_str()),
        (409, "ALREADY_EXISTS", "TAKEN")
    );
    let bad = problem(3);
    let pointers: Vec<_> =
        bad.errors.iter().map(|error| (error.pointer.as_str(), error.reason.as_str())).collect();
    assert_eq!((bad.status, pointers), (400, vec![("/products/3/variants/0/sku", "REQUIRED")]));
    assert_eq!(problem(5).errors[0].pointer, "/products/5/baseUnit");

    for (at, sku) in [(0, "A"), (2, "B"), (6, "C")] {
        let Some(One::Product(product)) = &batch.get_ref().results[at].result else { panic!("{sku}") };
        assert_eq!(world.product(&owner, &product.id).await.unwrap(), *product);
        assert_eq!(world.with_code(&owner, sku, "").await, [product.variants[0].id.clone()]);
    }
    assert_eq!(world.aggregates().await, 4);
    world.verify().await;
}

#[tokio::test]
async fn an_atomic_batch_is_done_or_not() {
    let world = World::new();
    let owner = owner(1);
    world.create(&owner, simple("TAKEN")).await.unwrap();
    let check = async |products: Vec<Product>, code: Code, expected: &str, at: &str, bad: &[&str]| {
        let refused = send(&world, &owner, None, products, true).await.unwrap_err();
        assert_eq!((refused.code(), reason(&refused).as_str()), (code, expected));
        assert_eq!(metadata(&refused, "item"), at);
        assert_eq!(fields(&refused), bad);
        assert_eq!(world.aggregates().await, 1, "nothing is written");
    };
    check(skus(&["A", "B", "TAKEN", "C"]), Code::AlreadyExists, "SKU_TAKEN", "2", &[]).await;
    let bad = ["products[1].variants[0].sku MALFORMED", "products[2].name REQUIRED"];
    let mut products = skus(&["A", "B B", "C"]);
    products[2].name.clear();
    check(products, Code::InvalidArgument, "INVALID_REQUEST", "", &bad).await;
    let bad = ["products[2].variants[0].sku DUPLICATE"];
    check(skus(&["A", "B", "A"]), Code::InvalidArgument, "INVALID_REQUEST", "", &bad).await;

    let batch = send(&world, &owner, None, skus(&["A", "B", "C"]), true).await.unwrap();
    assert_eq!(words(&batch), ["A", "B", "C"]);
    assert_eq!(world.aggregates().await, 4);
    world.verify().await;
}

/// API-11: a batch that is sent again makes nothing new, item by item or as a whole.
#[tokio::test]
async fn a_batch_happens_once() {
    for atomic in [false, true] {
        let mut world = World::new();
        let owner = owner(1);
        let first = send(&world, &owner, Some("import-1"), skus(&["A", "B"]), atomic).await.unwrap();
        assert!(!replayed(&first));
        world.pass_seconds(100);
        world.restart();
        let again = send(&world, &owner, Some("import-1"), skus(&["A", "B"]), atomic).await.unwrap();
        assert!(replayed(&again));
        assert_eq!(again.get_ref(), first.get_ref());

        match send(&world, &owner, Some("import-1"), skus(&["A", "B", "C"]), atomic).await {
            Ok(other) => assert_eq!(words(&other), ["IDEMPOTENCY_CONFLICT", "IDEMPOTENCY_CONFLICT", "C"]),
            Err(other) => assert_eq!(reason(&other), "IDEMPOTENCY_CONFLICT"),
        }
        // A key and its first item are not the key of the item.
        let other = send(&world, &owner, Some("import-1#0"), skus(&["D"]), atomic).await.unwrap();
        assert_eq!(words(&other), ["D"]);
        world.verify().await;
    }
}

#[tokio::test]
async fn a_batch_has_a_size() {
    let world = World::new();
    let owner = owner(1);
    for atomic in [false, true] {
        let many: Vec<_> = (0..1001).map(|n| simple(&format!("S{n}"))).collect();
        let refused = send(&world, &owner, None, many, atomic).await.unwrap_err();
        assert_eq!(fields(&refused), ["products TOO_MANY"]);
        let refused = send(&world, &owner, None, vec![], atomic).await.unwrap_err();
        assert_eq!(fields(&refused), ["products REQUIRED"]);
        assert_eq!(world.aggregates().await, if atomic { 1000 } else { 0 });
        let most: Vec<_> = (0..1000).map(|n| simple(&format!("{atomic}-{n}"))).collect();
        let made = send(&world, &owner, None, most, atomic).await.unwrap();
        assert!(made.get_ref().results.iter().all(|result| matches!(result.result, Some(One::Product(_)))));
    }
    assert_eq!(world.aggregates().await, 2000);
}
