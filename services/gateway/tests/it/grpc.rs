//! gRPC through the same door.

use http::{Request, Response};
use proto::stock::v1 as stock;
use proto::stock::v1::stock_service_client::StockServiceClient;
use proto::tenant::v1 as tenant;
use proto::tenant::v1::tenant_service_client::TenantServiceClient;
use tonic::body::Body;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::world::{HOME, KEY, VIEWER, World, business};

/// A client that calls the gateway as a function.
macro_rules! client {
    ($client:ident, $world:expr) => {{
        let gateway = $world.gateway.clone();
        $client::new(tower::service_fn(move |request: Request<Body>| {
            let gateway = gateway.clone();
            async move { Ok::<Response<Body>, std::convert::Infallible>(gateway.handle(HOME, request).await) }
        }))
    }};
}

fn posting(note: &str, headers: &[(&'static str, &str)]) -> tonic::Request<stock::PostMovementRequest> {
    let movement = stock::MovementDraft { note: note.to_owned(), ..Default::default() };
    let mut request = tonic::Request::new(stock::PostMovementRequest { movement: Some(movement) });
    for (name, value) in headers {
        request.metadata_mut().insert(*name, value.parse().unwrap());
    }
    request
}

pub(crate) async fn post(
    world: &World,
    note: &str,
    headers: &[(&'static str, &str)],
) -> Result<stock::Posting, Status> {
    let mut client = client!(StockServiceClient, world);
    client.post_movement(posting(note, headers)).await.map(tonic::Response::into_inner)
}

pub(crate) fn reason(status: &Status) -> (Code, String) {
    (status.code(), status.get_details_error_info().map(|info| info.reason).unwrap_or_default())
}

#[tokio::test]
async fn a_call_goes_through_with_the_context_of_its_key() {
    let world = World::new();
    let key = format!("Bearer {KEY}");
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let headers = [("authorization", key.as_str()), ("idempotency-key", "k"), ("traceparent", trace)];
    let answer = post(&world, "", &headers).await.unwrap();
    assert_eq!(answer.movements[0].business_id, business().to_string());
    let heard: Vec<&str> = answer.movements[0].note.split(' ').collect();
    assert!(heard[0] == "k" && heard[1].starts_with("req_") && heard[2] == trace, "{heard:?}");

    let mut client = client!(StockServiceClient, world);
    let answer = client.post_movement(posting("", &headers)).await.unwrap();
    assert!(answer.metadata().get("request-id").is_some());
}

#[tokio::test]
async fn refusals_are_statuses_with_a_reason() {
    let world = World::new();
    let (key, viewer) = (format!("Bearer {KEY}"), format!("Bearer {VIEWER}"));
    let good = [("authorization", key.as_str()), ("idempotency-key", "k")];
    let check = async |note: &str, headers: &[(&'static str, &str)], code: Code, expected: &str| {
        let status = post(&world, note, headers).await.unwrap_err();
        assert_eq!(reason(&status), (code, expected.to_owned()), "{status:?}");
        assert!(!format!("{status:?}").contains("secret"));
        status
    };
    check("", &[], Code::Unauthenticated, "UNAUTHENTICATED").await;
    check("", &[("authorization", "Bearer cp_live_bad")], Code::Unauthenticated, "UNAUTHENTICATED").await;
    check("", &[("authorization", &viewer), good[1]], Code::PermissionDenied, "PERMISSION_DENIED").await;
    check("", &good[..1], Code::InvalidArgument, "IDEMPOTENCY_KEY_REQUIRED").await;
    check("panic", &good, Code::Internal, "INTERNAL").await;
    let wrong = [good[0], good[1], ("cp-business", "biz_01jd7qz3fve0e8v6fbz2x9n3kq")];
    check("", &wrong, Code::NotFound, "NOT_FOUND").await;
    assert_eq!(world.posted(), 1, "only the one that panicked came through");

    let status = check("insufficient", &good, Code::FailedPrecondition, "INSUFFICIENT_STOCK").await;
    let fields = status.get_details_bad_request().unwrap().field_violations;
    assert_eq!(fields[0].field, "movement.quantity");
}

/// What is internal is not there for those outside, and looks like what does not exist.
#[tokio::test]
async fn internal_rpcs_are_not_there() {
    let world = World::new();
    let mut client = client!(TenantServiceClient, world);
    let mut request = tonic::Request::new(tenant::AuthenticateRequest::default());
    request.metadata_mut().insert("authorization", format!("Bearer {KEY}").parse().unwrap());
    let internal = client.authenticate(request).await.unwrap_err();
    assert_eq!(reason(&internal), (Code::Unimplemented, "UNKNOWN_METHOD".to_owned()));

    let request = Request::post("/cargopilot.tenant.v1.TenantService/Nothing")
        .header("content-type", "application/grpc")
        .header("authorization", format!("Bearer {KEY}"));
    let unknown = world.gateway.handle(HOME, request.body(Body::empty()).unwrap()).await;
    let unknown = Status::from_header_map(unknown.headers()).unwrap();
    assert_eq!((unknown.code(), unknown.message()), (internal.code(), internal.message()));
    assert_eq!(unknown.details(), internal.details());
}
