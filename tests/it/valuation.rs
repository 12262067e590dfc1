//! What goods cost, by the method of the business.

use serde_json::{Value, json};

use crate::rest::text;
use crate::shop::{Shop, amount};
use crate::speaker::Way;
use crate::world::{Costing, World};

/// `KIND QUANTITY VALUE` of movements.
fn lines(movements: &[Value]) -> Vec<String> {
    let line = |m: &Value| format!("{} {} {}", text(&m["kind"]), text(&m["quantity"]), amount(&m["value"]));
    movements.iter().map(line).collect()
}

async fn pool(shop: &mut Shop) -> String {
    let balance = shop.balance().await;
    format!("{} {}", text(&balance["onHand"]), amount(&balance["value"]))
}

async fn sell(shop: &mut Shop, quantity: &str) -> Vec<Value> {
    let west = shop.west.clone();
    let draft = shop.draft("sale.shipment", quantity, &west);
    shop.post(&draft).await
}

/// Ten at 10 and ten at 20: the oldest leave first, each at its own cost, and say which receipts they are of.
#[tokio::test]
async fn first_in_first_out() {
    let world = World::new().await;
    let mut shop = Shop::open(&world, "fifo", Costing::Fifo, Way::Rest).await;
    let west = shop.west.clone();
    shop.receive("10", "100.00", &west).await;
    let second = shop.receive("10", "200.00", &west).await;

    let sale = sell(&mut shop, "15").await;
    assert_eq!(lines(&sale), ["sale.shipment -15 -200.00"]);
    assert_eq!(text(&sale[0]["costingMethod"]), "FIFO");
    let consumed = sale[0]["consumed"].as_array().expect("receipts").iter().map(|slice| {
        format!(
            "{} {} {}",
            text(&slice["receiptSequence"]),
            text(&slice["quantity"]),
            amount(&slice["value"])
        )
    });
    assert_eq!(consumed.collect::<Vec<_>>(), ["1 10 100.00", "2 5 100.00"]);
    assert_eq!(pool(&mut shop).await, "5 100.00");

    // Two go back to the supplier, out of their own receipt.
    let mut back = shop.draft("return.supplier", "2", &west);
    back["returnOf"] = second[0]["id"].clone();
    assert_eq!(lines(&shop.post(&back).await), ["return.supplier -2 -40.00"]);
    // One comes back from the customer, at a fifteenth of what the fifteen cost.
    let mut back = shop.draft("return.customer", "1", &west);
    back["returnOf"] = sale[0]["id"].clone();
    assert_eq!(lines(&shop.post(&back).await), ["return.customer 1 13.33"]);
    assert_eq!(pool(&mut shop).await, "4 73.33");
    // What is left takes all that is left.
    assert_eq!(lines(&sell(&mut shop, "4").await), ["sale.shipment -4 -73.33"]);
    assert_eq!(pool(&mut shop).await, "0 0.00");
    world.close().await;
}

/// The same goods at the average: the last unit takes the remainder, and an empty pool is worth nothing.
#[tokio::test]
async fn moving_average() {
    let world = World::new().await;
    let mut shop = Shop::open(&world, "average", Costing::MovingAverage, Way::Rest).await;
    let west = shop.west.clone();
    shop.receive("10", "100.00", &west).await;
    shop.receive("10", "200.00", &west).await;
    assert_eq!(lines(&sell(&mut shop, "15").await), ["sale.shipment -15 -225.00"]);
    assert_eq!(pool(&mut shop).await, "5 75.00");
    sell(&mut shop, "5").await;
    shop.receive("3", "100.00", &west).await;
    let mut values = vec![];
    for _ in 0..3 {
        values.extend(lines(&sell(&mut shop, "1").await));
    }
    assert_eq!(values, ["sale.shipment -1 -33.33", "sale.shipment -1 -33.34", "sale.shipment -1 -33.33"]);
    assert_eq!(pool(&mut shop).await, "0 0.00");
    world.close().await;
}

/// Where a location allows it, goods leave before they are there, at the last cost; what they did cost is
/// settled when they arrive, by a movement of value alone.
#[tokio::test]
async fn goods_that_leave_before_they_arrive_are_settled() {
    for costing in [Costing::Fifo, Costing::MovingAverage] {
        let world = World::new().await;
        let mut shop = Shop::open(&world, "early", costing, Way::Rest).await;
        let west = shop.west.clone();
        shop.receive("10", "100.00", &west).await;
        let too_many = json!({"movement": shop.draft("sale.shipment", "15", &west)});
        shop.speaker.refused("PostMovement", &too_many, "INSUFFICIENT_STOCK").await;

        let allow = json!({"locationId": west, "location": {"negativePolicy": "NEGATIVE_POLICY_ALLOW"}});
        shop.speaker.ok("UpdateLocation", &allow).await;
        let sale = sell(&mut shop, "15").await;
        assert_eq!(lines(&sale), ["sale.shipment -15 -150.00"]);
        assert_eq!(
            sale[0]["provisional"],
            json!({"quantity": "5", "value": {"currency": "EUR", "amount": "50.00"}})
        );
        assert_eq!(pool(&mut shop).await, "-5 -50.00");

        let arrived = shop.receive("10", "160.00", &west).await;
        assert_eq!(lines(&arrived), ["purchase.receipt 10 160.00", "value.settlement 0 -30.00"]);
        assert_eq!((&arrived[1]["settles"], text(&arrived[1]["class"])), (&sale[0]["id"], "valuation"));
        assert_eq!(pool(&mut shop).await, "5 80.00");

        // A transfer never takes what is not there.
        let mut transfer = shop.draft("transfer.direct", "6", &west);
        transfer["toLocationId"] = shop.shop.as_str().into();
        shop.speaker.refused("PostMovement", &json!({"movement": transfer}), "INSUFFICIENT_STOCK").await;
        world.close().await;
    }
}
