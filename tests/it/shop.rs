//! A small shop: a product with two variants, a warehouse and a shop; and drafts of movements.

use serde_json::{Value, json};

use crate::door::Door;
use crate::rest::text;
use crate::speaker::{Speaker, Way};
use crate::world::{Costing, World};

pub(crate) struct Shop {
    pub(crate) speaker: Speaker,
    pub(crate) variant: String,
    pub(crate) other_variant: String,
    pub(crate) west: String,
    pub(crate) shop: String,
    documents: usize,
}

impl Shop {
    pub(crate) async fn open(world: &World, slug: &str, costing: Costing, way: Way) -> Shop {
        let tenant = world.tenant_with(slug, costing).await;
        let mut speaker = Speaker::new(Door::new(world, Some(&tenant.key)).await, way);
        let product = json!({"product": {"name": "T-shirt", "optionAxes": ["size"], "variants": [
            {"sku": "TS-M", "optionValues": {"size": "M"}, "barcodes": [{"value": "4012345678901"}]},
            {"sku": "TS-L", "optionValues": {"size": "L"}}]}});
        let product = speaker.ok("CreateProduct", &product).await;
        let id = |at: usize| text(&product["variants"][at]["id"]).to_owned();
        let (variant, other_variant) = (id(0), id(1));
        let mut place = async |code: &str, name: &str| {
            let location = json!({"location": {"code": code, "name": name}});
            text(&speaker.ok("CreateLocation", &location).await["id"]).to_owned()
        };
        let (west, shop) = (place("WEST", "West warehouse").await, place("SHOP", "Shop").await);
        Shop { speaker, variant, other_variant, west, shop, documents: 0 }
    }

    /// A draft: its kind, how many, where, from the next document of the right type.
    pub(crate) fn draft(&mut self, kind: &str, quantity: &str, location: &str) -> Value {
        self.documents += 1;
        let number = format!("DOC-{}", self.documents);
        let mut draft = json!({"kind": kind, "variantId": self.variant, "locationId": location, "quantity": quantity,
            "source": {"type": source(kind), "id": number, "number": format!("No. {number}"), "lineId": "1"}});
        if matches!(class(kind), "write_off") || kind == "adjustment.manual" {
            draft["reasonCode"] = "recount".into();
        }
        draft
    }

    /// Posts a draft; gives its movements.
    pub(crate) async fn post(&mut self, draft: &Value) -> Vec<Value> {
        let posted = self.speaker.ok("PostMovement", &json!({"movement": draft})).await;
        posted["movements"].as_array().cloned().unwrap_or_default()
    }

    /// Posts a draft that becomes one movement.
    pub(crate) async fn post_one(&mut self, draft: &Value) -> Value {
        let mut movements = self.post(draft).await;
        assert_eq!(movements.len(), 1, "{movements:?}");
        movements.remove(0)
    }

    pub(crate) async fn receive(&mut self, quantity: &str, total: &str, location: &str) -> Vec<Value> {
        let mut draft = self.draft("purchase.receipt", quantity, location);
        draft["totalCost"] = json!({"currency": "EUR", "amount": total});
        self.post(&draft).await
    }

    /// The balance of the first variant.
    pub(crate) async fn balance(&mut self) -> Value {
        let ask = json!({"variantId": self.variant});
        self.speaker.ok("GetBalance", &ask).await
    }

    /// On hand of the first variant at a location.
    pub(crate) async fn on_hand(&mut self, location: &str) -> String {
        let balance = self.balance().await;
        let places = balance["locations"].as_array().cloned().unwrap_or_default();
        let place = places.iter().find(|place| place["locationId"] == location);
        place.map_or("0".to_owned(), |place| text(&place["onHand"]).to_owned())
    }

    /// All movements of the first variant, oldest first.
    pub(crate) async fn history(&mut self) -> Vec<Value> {
        let ask = json!({"variantId": self.variant, "orderBy": "MOVEMENT_ORDER_OLDEST", "pageSize": 500});
        let listed = self.speaker.ok("ListMovements", &ask).await;
        assert_eq!(text(&listed["nextPageToken"]), "");
        listed["movements"].as_array().cloned().unwrap_or_default()
    }
}

/// `write_off.damage` is a `write_off`.
pub(crate) fn class(kind: &str) -> &str {
    kind.split('.').next().unwrap_or_default()
}

/// A type of document that may cause a movement of this kind.
pub(crate) fn source(kind: &str) -> &'static str {
    match kind {
        "purchase.receipt" => "goods_receipt",
        "sale.shipment" => "pos_receipt",
        "transfer.direct" => "transfer",
        "adjustment.opening" => "opening",
        "adjustment.manual" => "adjustment",
        "return.customer" => "sales_return",
        "return.supplier" => "supplier_return",
        kind if class(kind) == "write_off" => "write_off",
        other => panic!("say in shop.rs which document causes '{other}'"),
    }
}

/// A decimal of the API in units of 10^-6.
pub(crate) fn micros(value: &Value) -> i64 {
    quantity::Quantity::parse(text(value)).expect("a decimal").micros()
}

/// `AMOUNT` of money.
pub(crate) fn amount(value: &Value) -> &str {
    assert_eq!(value["currency"], "EUR", "{value}");
    text(&value["amount"])
}
