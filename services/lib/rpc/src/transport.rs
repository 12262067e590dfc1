//! One client type over a service in this process or over the network.

use std::convert::Infallible;
use std::task::{Context, Poll};

use futures::TryFutureExt as _;
use futures::future::{Either, MapErr};
use http::{Request, Response};
use tonic::body::Body;
use tonic::service::Routes;
use tonic::transport::Channel;
use tower::Service;

/// The call did not reach a service.
pub type TransportError = tonic::transport::Error;

/// Where the services are; what every generated client is made over.
#[derive(Clone)]
pub struct Transport(Way);

#[derive(Clone)]
enum Way {
    Local(Routes),
    Remote(Channel),
}

/// Reaches services of this process: a call is a function call, without a socket.
pub fn local(routes: Routes) -> Transport {
    Transport(Way::Local(routes.prepare()))
}

/// Reaches services over the network.
pub fn remote(channel: Channel) -> Transport {
    Transport(Way::Remote(channel))
}

type LocalFuture = MapErr<<Routes as Service<Request<Body>>>::Future, fn(Infallible) -> TransportError>;

impl Service<Request<Body>> for Transport {
    type Response = Response<Body>;
    type Error = TransportError;
    type Future = Either<LocalFuture, <Channel as Service<Request<Body>>>::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        match &mut self.0 {
            Way::Local(routes) => {
                Service::<Request<Body>>::poll_ready(routes, cx).map_err(|never| match never {})
            }
            Way::Remote(channel) => channel.poll_ready(cx),
        }
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        match &mut self.0 {
            Way::Local(routes) => Either::Left(routes.call(request).map_err(|never| match never {})),
            Way::Remote(channel) => Either::Right(channel.call(request)),
        }
    }
}
