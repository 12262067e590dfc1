//! Bootstrap, and the walls between tenants.

use std::collections::BTreeSet;

use proto::tenant::v1::tenant_service_client::TenantServiceClient;
use proto::tenant::v1::*;
use rpc::Transport;
use tenant::BootstrapTenant;
use tonic::Code;

use crate::world::*;

#[tokio::test]
async fn a_new_tenant_has_its_business_and_its_owner() {
    let world = World::new();
    let owner = world.tenant("acme").await;
    let mut client = world.client.clone();

    let tenant = client.get_tenant(world.request(&owner, GetTenantRequest {})).await.unwrap().into_inner();
    assert_eq!(tenant.id, owner.tenant.to_string());
    assert_eq!(tenant.name, "Acme");

    let business = world.business(&owner, &tenant.master_business_id).await.unwrap();
    assert_eq!((business.legal_name.as_str(), business.country.as_str()), ("Acme GmbH", "DE"));
    assert_eq!((business.base_currency.as_str(), business.cost_scale), ("EUR", 2));
    assert_eq!(
        (business.costing_method(), business.backdate_window_days),
        (CostingMethod::MovingAverage, 30)
    );
    assert_eq!((business.parent_id.as_str(), business.etag.as_str()), ("", "\"1\""));

    let caller = client.get_caller(world.request(&owner, GetCallerRequest {})).await.unwrap().into_inner();
    assert_eq!((caller.role.as_str(), caller.permissions), ("owner", vec!["*".to_owned()]));
    assert_eq!(caller.business_id, business.id);
    assert!(caller.principal.unwrap().id.starts_with("key_"));
}

#[tokio::test]
async fn the_same_slug_is_the_same_tenant() {
    let world = World::new();
    let app = world.service.app();
    let (first, second) = tokio::join!(app.bootstrap(new_tenant("acme")), app.bootstrap(new_tenant("acme")));
    let (first, second) = (first.unwrap(), second.unwrap());
    assert_eq!((first.tenant, first.business), (second.tenant, second.business));
    let shown: Vec<_> = [first, second].into_iter().filter_map(|done| done.credential).collect();
    assert_eq!(shown.len(), 1, "one call made it");
    world.login(&shown[0].reveal()).await.unwrap();

    let again = app.bootstrap(new_tenant("acme")).await.unwrap();
    assert!(again.credential.is_none());
}

/// What an interrupted bootstrap has begun is completed by the next.
#[tokio::test]
async fn an_interrupted_bootstrap_is_completed() {
    let world = World::new();
    let begun = ids::TenantId::from_bytes([3; 16]);
    let journal = world.service.app().journal();
    let scope = journal::Scope { tenant: rpc::SYSTEM_TENANT, aggregate: begun.into() };
    let meta = journal::Meta {
        actor: journal::Actor { kind: "system".to_owned(), id: "bootstrap".to_owned() },
        key: journal::KeyHash([1; 9]),
        fingerprint: [0; 16],
        keep: journal::Keep::No,
        request_id: String::new(),
        trace: None,
    };
    let command = tenant::domain::Command::Register { slug: "acme".to_owned() };
    journal.submit(scope, journal::Request { command, meta }).await.unwrap();

    let owner = world.tenant("acme").await;
    assert_eq!(owner.tenant, begun);
}

/// The operator of a server lets the owner in again.
#[tokio::test]
async fn a_lost_owner_key_is_replaced() {
    let world = World::new();
    let owner = world.tenant("acme").await;
    let app = world.service.app();
    let another = app.issue_owner_key(owner.tenant).await.unwrap();
    let again = world.login(&another.reveal()).await.unwrap();
    assert_eq!(
        (again.tenant, again.business, again.permissions),
        (owner.tenant, owner.business, owner.permissions)
    );

    let nobody = app.issue_owner_key(ids::TenantId::from_bytes([7; 16])).await;
    assert_eq!(nobody, Err(tenant::Error::NotFound { what: "tenant" }));
}

/// The same client type, over a socket.
#[tokio::test]
async fn the_service_is_the_same_over_the_network() {
    let world = World::new();
    let owner = world.tenant("acme").await;
    let incoming = tonic::transport::server::TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let url = format!("http://{}", incoming.local_addr().unwrap());
    let server = tonic::transport::Server::builder().add_service(world.service.server(&world.guard));
    let serving = tokio::spawn(server.serve_with_incoming(incoming));

    let channel = tonic::transport::Endpoint::new(url).unwrap().connect_lazy();
    let mut client: TenantServiceClient<Transport> =
        TenantServiceClient::new(rpc::remote(std::sync::Arc::new(channel)));
    let id = owner.business.to_string();
    let request = || GetBusinessRequest { business_id: id.clone() };
    let business = client.get_business(world.request(&owner, request())).await.unwrap().into_inner();
    assert_eq!(business, world.business(&owner, &id).await.unwrap());
    let unsigned = client.get_business(request()).await.unwrap_err();
    assert_eq!((unsigned.code(), reason(&unsigned).as_str()), (Code::Unauthenticated, "UNAUTHENTICATED"));
    serving.abort();
}

#[tokio::test]
async fn a_tenant_with_bad_fields_is_not_made() {
    let world = World::new();
    let bad = BootstrapTenant {
        slug: "Acme!".to_owned(),
        name: String::new(),
        country: "de".to_owned(),
        cost_scale: 1,
        ..new_tenant("acme")
    };
    let status = rpc::status(world.service.app().bootstrap(bad).await.unwrap_err());
    let found: Vec<_> = fields(&status).into_iter().map(|(field, _)| field).collect();
    assert_eq!(found, ["slug", "name", "country", "cost_scale"]);
}

/// TEN-7: the same names in two tenants, with no interaction.
#[tokio::test]
async fn two_tenants_with_the_same_names_do_not_meet() {
    let world = World::new();
    let (one, two) = (world.tenant("one").await, world.tenant("two").await);
    assert_ne!(one.tenant, two.tenant);
    assert_ne!(one.secret, two.secret);

    let a = world.create(&one, new_key("clerk")).await.unwrap().api_key.unwrap();
    let b = world.create(&two, new_key("clerk")).await.unwrap().api_key.unwrap();
    assert_eq!(a.name, b.name);
    assert_ne!(a.id, b.id);

    let update = Business { legal_name: "Renamed SE".to_owned(), ..Business::default() };
    world.update(&one, "\"1\"", update, &["legal_name"]).await.unwrap();
    world.revoke(&one, &a.id).await.unwrap();
    let untouched = world.business(&two, &two.business.to_string()).await.unwrap();
    assert_eq!((untouched.legal_name.as_str(), untouched.etag.as_str()), ("Acme GmbH", "\"1\""));
    assert_eq!(world.key(&two, &b.id).await.unwrap().revoked_at, None);

    for caller in [&one, &two] {
        let request = world.request(caller, ListApiKeysRequest::default());
        let keys = world.client.clone().list_api_keys(request).await.unwrap().into_inner().api_keys;
        assert_eq!(keys.len(), 2, "its own owner's key and its own till");
        let request = world.request(caller, ListBusinessesRequest::default());
        let found = world.client.clone().list_businesses(request).await.unwrap().into_inner().businesses;
        assert_eq!(found.iter().map(|b| &b.id).collect::<Vec<_>>(), [&caller.business.to_string()]);
    }
}

/// What belongs to another tenant looks like what never was.
#[tokio::test]
async fn a_foreign_id_is_answered_like_a_random_one() {
    let world = World::new();
    let (one, two) = (world.tenant("one").await, world.tenant("two").await);
    let business = two.business.to_string();
    let key = world.create(&two, new_key("clerk")).await.unwrap().api_key.unwrap().id;
    let no_business = ids::BusinessId::from_bytes([7; 16]).to_string();
    let no_key = ids::ApiKeyId::from_bytes([7; 16]).to_string();

    let foreign = world.business(&one, &business).await.unwrap_err();
    assert_eq!((foreign.code(), reason(&foreign).as_str()), (Code::NotFound, "NOT_FOUND"));
    assert_eq!(bytes(&foreign), bytes(&world.business(&one, &no_business).await.unwrap_err()));

    let foreign = world.key(&one, &key).await.unwrap_err();
    assert_eq!(foreign.code(), Code::NotFound);
    assert_eq!(bytes(&foreign), bytes(&world.key(&one, &no_key).await.unwrap_err()));
    // The tenant's own aggregate of another kind is no key either.
    let not_a_key = one.business.to_string().replace("biz_", "key_");
    assert_eq!(bytes(&foreign), bytes(&world.key(&one, &not_a_key).await.unwrap_err()));

    let foreign = world.revoke(&one, &key).await.unwrap_err();
    assert_eq!(bytes(&foreign), bytes(&world.revoke(&one, &no_key).await.unwrap_err()));
    assert_eq!(world.key(&two, &key).await.unwrap().revoked_at, None);

    let with = |business_id: String| ApiKey { business_id, ..new_key("clerk") };
    let foreign = world.create(&one, with(business)).await.unwrap_err();
    assert_eq!(foreign.code(), Code::NotFound);
    assert_eq!(bytes(&foreign), bytes(&world.create(&one, with(no_business)).await.unwrap_err()));
}

#[tokio::test]
async fn everything_recomputes_from_its_entries() {
    let world = World::new();
    let owner = world.tenant("acme").await;
    let key = world.create(&owner, new_key("clerk")).await.unwrap().api_key.unwrap();
    world.revoke(&owner, &key.id).await.unwrap();
    let update = Business { legal_name: "Acme SE".to_owned(), ..Business::default() };
    world.update(&owner, "\"1\"", update, &[]).await.unwrap();

    let journal = world.service.app().journal();
    let aggregates = journal.store().aggregates(None, 100).await.unwrap();
    let tenants: BTreeSet<_> = aggregates.iter().map(|(tenant, _, _)| *tenant).collect();
    assert_eq!((aggregates.len(), tenants.len()), (5, 2), "directory; tenant, business and two keys");
    for (tenant, aggregate, head) in aggregates {
        let scope = journal::Scope { tenant, aggregate };
        let finding = journal.verify(scope, &head, |_, _, _| Ok(())).await.unwrap();
        assert_eq!(finding.faults, Vec::<String>::new());
    }
}
