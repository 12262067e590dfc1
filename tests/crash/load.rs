//! Callers: what they ask, one request after another.

use std::io;

use serde_json::{Value, json};

use crate::http::Http;
use crate::ledger::{Intent, Ledger};
use crate::process::CURRENCY;

/// Numbers that look random, the same ones for the same seed (xorshift*).
#[derive(Clone)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 8) % end
    }

    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[usize::try_from(self.below(from.len() as u64)).expect("small")]
    }
}

/// The few goods and places that all callers move.
#[derive(Clone)]
pub(crate) struct Shop {
    pub(crate) variants: Vec<String>,
    /// The last one gives more than it has.
    pub(crate) places: Vec<String>,
}

impl Shop {
    /// Makes them, through the ledger like everything else. `name` tells them from those of another shop.
    pub(crate) fn open(http: &mut Http, ledger: &mut Ledger, name: &str) -> Shop {
        Shop::try_open(http, ledger, name).expect("an answer")
    }

    /// As [`Shop::open`], on a server that may end.
    pub(crate) fn try_open(http: &mut Http, ledger: &mut Ledger, name: &str) -> io::Result<Shop> {
        let mut make = |path: &str, body: Value| {
            let key = format!("shop-{}{}", body["name"].as_str().expect("a name"), path.replace('/', "-"));
            let (status, answer) = ledger.send(http, &Intent { key, path: path.to_owned(), body })?;
            if status >= 500 {
                return Err(io::Error::other(answer.to_string()));
            }
            assert_eq!(status, 201, "{answer}");
            Ok(answer)
        };
        let text = |value: &Value| value.as_str().expect("an id").to_owned();
        let (mut variants, mut places) = (Vec::new(), Vec::new());
        for sku in ["A", "B", "C"] {
            let sku = format!("{name}{sku}");
            let made = make("/v1/products", json!({"name": sku, "variants": [{"sku": sku}]}))?;
            variants.push(text(&made["variants"][0]["id"]));
        }
        for (code, policy) in [("NORTH", "FORBID"), ("SOUTH", "FORBID"), ("TILL", "ALLOW")] {
            let code = format!("{name}{code}");
            let place = json!({"code": code, "name": code, "negativePolicy": policy});
            places.push(text(&make("/v1/locations", place)?["id"]));
        }
        Ok(Shop { variants, places })
    }
}

/// One caller.
pub(crate) struct Caller {
    name: String,
    http: Http,
    ledger: Ledger,
    shop: Shop,
    random: Random,
    number: u64,
    /// Postings of its own that it may take back.
    own: Vec<String>,
}

impl Caller {
    /// A caller whose `name` was never used.
    pub(crate) fn new(name: String, http: Http, ledger: Ledger, shop: &Shop, random: Random) -> Caller {
        Caller { name, http, ledger, shop: shop.clone(), random, number: 0, own: Vec::new() }
    }

    /// Makes the next request.
    pub(crate) fn call(&mut self) -> io::Result<(u16, Value)> {
        let intent = self.next();
        let (status, answer) = self.ledger.send(&mut self.http, &intent)?;
        if status == 201 && intent.path == "/v1/movements" {
            self.own.push(answer["movements"][0]["id"].as_str().expect("an id").to_owned());
        }
        if status == 201 && intent.path == "/v1/products" {
            self.shop.variants.push(answer["variants"][0]["id"].as_str().expect("an id").to_owned());
        }
        Ok((status, answer))
    }

    /// Receives goods, many lines at once, of a thousand bytes each.
    pub(crate) fn receive(&mut self, lines: u64) -> io::Result<(u16, Value)> {
        self.number += 1;
        let key = format!("{}-{}", self.name, self.number);
        let movements: Vec<Value> = (1..=lines)
            .map(|line| {
                let (variant, place) =
                    (self.random.pick(&self.shop.variants), self.random.pick(&self.shop.places));
                json!({
                    "kind": "purchase.receipt", "variantId": variant, "locationId": place,
                    "quantity": (1 + self.random.below(9)).to_string(),
                    "unitCost": {"currency": CURRENCY, "amount": "1.37"}, "note": "as counted ".repeat(80),
                    "source": {"type": "goods_receipt", "id": key, "lineId": line.to_string()},
                })
            })
            .collect();
        let path = "/v1/movements:batchCreate".to_owned();
        self.ledger.send(&mut self.http, &Intent { key, path, body: json!({"movements": movements}) })
    }

    fn next(&mut self) -> Intent {
        self.number += 1;
        let key = format!("{}-{}", self.name, self.number);
        let intent = |path: &str, body| Intent { key: key.clone(), path: path.to_owned(), body };
        match self.random.below(20) {
            0..10 => intent("/v1/movements", self.movement(&key, 1)),
            10..14 => {
                let lines = 2 + self.random.below(5);
                let movements: Vec<Value> = (1..=lines).map(|line| self.movement(&key, line)).collect();
                let atomic = self.random.below(2) == 0;
                intent("/v1/movements:batchCreate", json!({"movements": movements, "atomic": atomic}))
            }
            14..17 if !self.own.is_empty() => {
                let at = self.random.below(self.own.len() as u64);
                let movement = self.own.swap_remove(usize::try_from(at).expect("small"));
                intent(&format!("/v1/movements/{movement}:reverse"), json!({"reasonCode": "mistake"}))
            }
            17 => {
                let product = |of: u64| json!({"name": format!("{key}/{of}"), "variants": [{"sku": format!("{key}-{of}")}]});
                let atomic = self.random.below(2) == 0;
                intent(
                    "/v1/products:batchCreate",
                    json!({"products": [product(1), product(2)], "atomic": atomic}),
                )
            }
            18 => intent("/v1/locations", json!({"code": key, "name": "somewhere"})),
            _ => intent("/v1/products", json!({"name": key, "variants": [{"sku": key}]})),
        }
    }

    /// A receipt, sale, transfer or write-off.
    fn movement(&mut self, key: &str, line: u64) -> Value {
        let variant = self.random.pick(&self.shop.variants).clone();
        let place = self.random.pick(&self.shop.places).clone();
        let quantity = (1 + self.random.below(9)).to_string();
        let mut draft = json!({"variantId": variant, "locationId": place, "quantity": quantity});
        let (kind, source) = match self.random.below(8) {
            0..4 => ("purchase.receipt", "goods_receipt"),
            4..6 => ("sale.shipment", "pos_receipt"),
            6 => ("transfer.direct", "transfer"),
            _ => ("write_off.damage", "write_off"),
        };
        match kind {
            "purchase.receipt" => {
                let cost = format!("{}.{:02}", 1 + self.random.below(9), self.random.below(100));
                draft["unitCost"] = json!({"currency": CURRENCY, "amount": cost});
            }
            "transfer.direct" => {
                let others: Vec<&String> = self.shop.places.iter().filter(|other| **other != place).collect();
                draft["toLocationId"] = (*self.random.pick(&others)).clone().into();
            }
            "write_off.damage" => draft["reasonCode"] = "broken".into(),
            _ => {}
        }
        draft["kind"] = kind.into();
        draft["source"] = json!({"type": source, "id": key, "lineId": line.to_string()});
        draft
    }
}
