//! Nothing that a caller sends is without bounds; what is within them is taken.

use http::Method;
use serde_json::{Value, json};

use crate::contract::{Home, Rpc, public, sample, set};
use crate::rest::Answer;
use crate::world::World;

/// What the contract says about every request, whichever RPC it is for.
const BODY_BYTES: usize = 1024 * 1024;
const DEPTH: usize = 32;
const BATCH_ITEMS: u32 = 1_000;
const PAGE_SIZE: u64 = 500;
const KEY_BYTES: usize = 255;
const TOKEN_CHARS: usize = 1_024;
const HEADER_BYTES: usize = 32 * 1024;

/// One bound: what is sent at the bound and one step beyond it, and how the latter is refused.
struct Bound {
    what: String,
    within: Answer,
    beyond: Answer,
    refused: (u16, &'static str),
}

impl Bound {
    /// What is within may be refused for another reason, never for its size.
    fn check(self) -> Bound {
        let (status, reason) = self.refused;
        let size = ["PAYLOAD_TOO_LARGE", "JSON_TOO_DEEP", "IDEMPOTENCY_KEY_MALFORMED"];
        assert!(!size.contains(&self.within.reason()), "{}: {}", self.what, self.within.text);
        for field in self.within.fields() {
            assert!(!field.ends_with("TOO_MANY") && !field.ends_with("TOO_LONG"), "{}: {field}", self.what);
        }
        assert!(self.within.status < 500, "{}: {}", self.what, self.within.text);
        assert_eq!(
            (self.beyond.status, self.beyond.reason()),
            (status, reason),
            "{}: {}",
            self.what,
            self.beyond.text
        );
        self
    }
}

async fn sized(rpc: &Rpc, home: &Home, size: u64) -> Answer {
    let mut request = sample(rpc, home, "").await;
    set(&mut request, "/pageSize", size.into());
    rpc.rest(&home.door, &request).send().await
}

/// OWASP 4: bodies, nesting, batches, pages, tokens, keys and headers have the bounds of one table, for every RPC
/// that has such a thing.
#[tokio::test]
async fn every_request_has_bounds() {
    let world = World::new().await;
    let home = Home::new(&world, "home").await;
    let mut bounds = vec![];
    for rpc in public() {
        let request = sample(&rpc, &home, "").await;
        let what = |bound: &str| format!("{} {bound}", rpc.name);
        if !rpc.body().is_empty() {
            let (method, uri, _) = rpc.route(&request);
            let send = async |body: String| {
                let call = home.door.rest.call(method.clone(), uri.clone()).text(body);
                call.key("bounds").if_match("*").send().await
            };
            // Spaces are as many bytes as letters, and change nothing.
            let padded = |bytes: usize| format!("{{\"unknown\":1}}{}", " ".repeat(bytes - 13));
            let nested = |depth: usize| format!("{}{}", "{\"a\":".repeat(depth - 1) + "{", "}".repeat(depth));
            bounds.push(Bound {
                what: what("body"),
                within: send(padded(BODY_BYTES)).await,
                beyond: send(padded(BODY_BYTES + 1)).await,
                refused: (413, "PAYLOAD_TOO_LARGE"),
            });
            bounds.push(Bound {
                what: what("depth"),
                within: send(nested(DEPTH)).await,
                beyond: send(nested(DEPTH + 1)).await,
                refused: (400, "JSON_TOO_DEEP"),
            });
        }
        if rpc.input.get_field_by_name("page_size").is_some() {
            let (within, beyond) =
                (sized(&rpc, &home, PAGE_SIZE).await, sized(&rpc, &home, PAGE_SIZE + 1).await);
            assert_eq!(within.status, 200, "{}: {}", rpc.name, within.text);
            let refused = (400, "INVALID_REQUEST");
            bounds.push(Bound { what: what("page size"), within, beyond, refused });
            let refused = (400, "INVALID_REQUEST");
            let (within, beyond) = (sized(&rpc, &home, 1).await, sized(&rpc, &home, u32::MAX.into()).await);
            bounds.push(Bound { what: what("huge page size"), within, beyond, refused });
        }
        if rpc.input.get_field_by_name("page_token").is_some() {
            let send = async |chars: usize| {
                let mut request = request.clone();
                set(&mut request, "/pageToken", "A".repeat(chars).into());
                rpc.rest(&home.door, &request).send().await
            };
            let within = send(TOKEN_CHARS).await.problem(400, "PAGE_TOKEN_INVALID");
            let refused = (400, "INVALID_REQUEST");
            bounds.push(Bound {
                what: what("page token"),
                within,
                beyond: send(TOKEN_CHARS + 1).await,
                refused,
            });
        }
        if rpc.rule.idempotency != proto::Idempotency::None {
            let send = async |bytes: usize| {
                let request = sample(&rpc, &home, "").await;
                rpc.rest(&home.door, &request).key(&"k".repeat(bytes)).send().await
            };
            let refused = (400, "IDEMPOTENCY_KEY_MALFORMED");
            let (within, beyond) = (send(KEY_BYTES).await, send(KEY_BYTES + 1).await);
            bounds.push(Bound { what: what("idempotency key"), within, beyond, refused });
        }
        for field in rpc.fields().into_iter().filter(|field| field.descriptor.is_list() && rpc.accepts(field))
        {
            let max = if field.options.max == 0 { BATCH_ITEMS } else { field.options.max };
            assert!(max <= BATCH_ITEMS, "{} {}: {max} items are many", rpc.name, field.pointer);
            if !rpc.rule.multi_status || field.pointer.matches('/').count() != 1 {
                continue;
            }
            let send = async |count: u32| {
                let mut request = request.clone();
                set(&mut request, &field.pointer, Value::Array(vec![json!({}); count as usize]));
                rpc.rest(&home.door, &request).send().await
            };
            let refused = (400, "INVALID_REQUEST");
            bounds.push(Bound {
                what: what("items"),
                within: send(max).await,
                beyond: send(max + 1).await,
                refused,
            });
        }
    }
    assert!(60 < bounds.len(), "{} bounds are few", bounds.len());
    bounds.into_iter().for_each(|bound| drop(bound.check()));
    for bytes in [HEADER_BYTES * 4, HEADER_BYTES * 40] {
        for rest in [home.door.rest.clone(), home.door.rest.http2()] {
            let call = rest.call(Method::GET, "/v1/caller").header("x-much", &"x".repeat(bytes));
            let answer = call.try_send().await;
            assert!(
                answer.is_none_or(|answer| (400..500).contains(&answer.status)),
                "{bytes} bytes of headers"
            );
        }
    }
    home.door.rest.call(Method::GET, "/v1/caller").send().await.ok(200);
    world.close().await;
}
