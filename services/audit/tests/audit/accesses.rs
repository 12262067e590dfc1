//! Reads and refusals are entries, and so leaves.

use audit::domain::summary::Filter;
use rpc::{Access, AccessLog as _, SYSTEM_TENANT};

use crate::world::{World, ctx, tenant};

const LIST: &str = "/cargopilot.audit.v1.AuditService/ListAuditEvents";

#[tokio::test]
async fn reads_and_refusals_become_leaves() {
    let world = World::new(true);
    let app = world.audit.app();
    assert!(app.record(&ctx(tenant(1), "key_a"), LIST, "audit.inspect", Access::Denied).await);
    assert!(app.record(&ctx(tenant(1), "key_b"), LIST, "audit.inspect", Access::Read).await);
    assert!(app.record(&ctx(tenant(2), "key_c"), LIST, "audit.inspect", Access::Read).await);
    // What the platform asks itself belongs to nobody's log.
    assert!(app.record(&ctx(SYSTEM_TENANT, "gateway"), LIST, "internal.gateway", Access::Read).await);
    assert_eq!(world.catch_up().await, 3);
    let page = app.list(&ctx(tenant(1), "auditor"), &Filter::default(), 10, "").await.unwrap();
    let found: Vec<_> = page
        .events
        .iter()
        .map(|event| (event.actor.as_str(), event.action.as_str(), event.resource.as_str()))
        .collect();
    assert_eq!(found, [("key_b", "audit.access.read", LIST), ("key_a", "audit.access.denied", LIST)]);
    let denied = Filter { action: Some("audit.access.denied".to_owned()), ..Filter::default() };
    let page = app.list(&ctx(tenant(1), "auditor"), &denied, 10, "").await.unwrap();
    assert_eq!(page.events.len(), 1);
    world.complete(tenant(1), 2).await;
    world.check().await;
}
