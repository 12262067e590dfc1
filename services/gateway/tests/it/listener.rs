//! One port for HTTP/1.1, HTTP/2, REST and gRPC, and its end.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use gateway::Config;
use http::{Request, Version};
use http_body::Frame;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use proto::stock::v1 as stock;
use proto::stock::v1::stock_service_client::StockServiceClient;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::world::{KEY, LOCATION, World, draft};

/// Longer than any of it takes.
const SOON: Duration = Duration::from_secs(20);

async fn listening(world: &World) -> (SocketAddr, CancellationToken, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = CancellationToken::new();
    let served = tokio::spawn(gateway::serve(listener, world.gateway.clone(), shutdown.clone()));
    (address, shutdown, served)
}

fn get(address: SocketAddr, version: Version) -> Request<Full<Bytes>> {
    Request::get(format!("http://{address}/v1/locations/{LOCATION}"))
        .version(version)
        .header("authorization", format!("Bearer {KEY}"))
        .body(Full::default())
        .unwrap()
}

#[tokio::test]
async fn one_port_speaks_everything() {
    let world = World::new();
    let (address, shutdown, served) = listening(&world).await;

    for version in [Version::HTTP_11, Version::HTTP_2] {
        let http2_only = version == Version::HTTP_2;
        let client = Client::builder(TokioExecutor::new()).http2_only(http2_only).build_http();
        let response = client.request(get(address, version)).await.unwrap();
        assert_eq!((response.status().as_u16(), response.version()), (200, version));
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert!(body.starts_with(b"{\"id\":\"loc_"));
    }

    let mut client = StockServiceClient::connect(format!("http://{address}")).await.unwrap();
    let mut request = tonic::Request::new(stock::GetLocationRequest { location_id: LOCATION.to_owned() });
    request.metadata_mut().insert("authorization", format!("Bearer {KEY}").parse().unwrap());
    assert_eq!(client.get_location(request).await.unwrap().into_inner().id, LOCATION);

    drop(client);
    shutdown.cancel();
    served.await.unwrap();
}

/// A connection that asks for nothing, or begins to and does not go on, is closed and makes room for others.
#[tokio::test]
async fn silent_connections_keep_nobody_out() {
    let world = World::with(Config { headers_ms: 200, connections_max: 2, ..Config::default() });
    let (address, shutdown, served) = listening(&world).await;
    for begun in ["", "P", "PRI * HTTP/2.0\r\n", "GET /"] {
        let mut silent = Vec::new();
        for _ in 0..2 {
            let mut connection = TcpStream::connect(address).await.unwrap();
            connection.write_all(begun.as_bytes()).await.unwrap();
            silent.push(connection);
        }
        let client = Client::builder(TokioExecutor::new()).build_http();
        let answer = tokio::time::timeout(SOON, client.request(get(address, Version::HTTP_11)));
        let response = answer.await.unwrap_or_else(|_| panic!("kept out by {begun:?}")).unwrap();
        assert_eq!(response.status(), 200);
    }
    shutdown.cancel();
    served.await.unwrap();
}

/// A shutdown takes nothing new and finishes what it has begun.
#[tokio::test]
async fn a_shutdown_waits_for_what_is_being_answered() {
    let world = World::new();
    world.gateway.set_ready(true);
    let (address, shutdown, served) = listening(&world).await;
    let client = Client::builder(TokioExecutor::new()).build_http();
    let request = Request::post(format!("http://{address}/v1/movements"))
        .header("authorization", format!("Bearer {KEY}"))
        .header("content-type", "application/json")
        .header("idempotency-key", "k")
        .body(Full::new(Bytes::from(draft("hold"))));
    let answer = tokio::spawn(client.request(request.unwrap()));

    world.state.held.notified().await;
    shutdown.cancel();
    while tokio::net::TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    assert!(!served.is_finished());
    world.state.release.notify_one();
    assert_eq!(answer.await.unwrap().unwrap().status(), 201);
    served.await.unwrap();
    assert_eq!(world.gateway.in_flight(), 0);
}

/// A request that never comes in full holds no shutdown: nothing of it was done, and its caller is told to repeat it.
#[tokio::test]
async fn a_shutdown_waits_for_no_body_that_does_not_come() {
    let world = World::with(Config { drain_ms: 4_000, ..Config::default() });
    world.gateway.set_ready(true);
    let (address, shutdown, served) = listening(&world).await;
    let begun = |uri: String, content_type: &str, http2_only| {
        let (rest, body) = futures::channel::mpsc::unbounded::<Result<Frame<Bytes>, Infallible>>();
        rest.unbounded_send(Ok(Frame::data(Bytes::from_static(b"{")))).unwrap();
        let request = Request::post(uri)
            .header("authorization", format!("Bearer {KEY}"))
            .header("content-type", content_type)
            .header("idempotency-key", "k")
            .body(StreamBody::new(body));
        let client = Client::builder(TokioExecutor::new()).http2_only(http2_only).build_http();
        (rest, tokio::spawn(client.request(request.unwrap())))
    };
    let rest = begun(format!("http://{address}/v1/movements"), "application/json", false);
    let method = "cargopilot.stock.v1.StockService/PostMovement";
    let grpc = begun(format!("http://{address}/{method}"), "application/grpc", true);
    while world.gateway.in_flight() < 2 {
        tokio::task::yield_now().await;
    }

    shutdown.cancel();
    served.await.unwrap();
    assert_eq!(world.gateway.in_flight(), 0);
    assert_eq!(rest.1.await.unwrap().unwrap().status(), 503);
    assert_eq!(grpc.1.await.unwrap().unwrap().headers()["grpc-status"], "14");
}
