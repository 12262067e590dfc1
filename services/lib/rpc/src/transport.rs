//! One client type over a service in this process or over the network.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::{BoxFuture, Either, MapErr};
use futures::{FutureExt as _, TryFutureExt as _};
use http::{Request, Response};
use tonic::Status;
use tonic::body::Body;
use tonic::server::NamedService;
use tonic::transport::Channel;
use tower::{Service, ServiceExt as _};

/// The call did not reach a service.
pub type TransportError = tonic::transport::Error;

/// Services of this process, each under its name. Cloning is cheap.
///
/// `tonic::service::Routes` does the same through a router for any paths; this one costs a comparison of names.
#[derive(Clone, Default)]
pub struct Services(Vec<(&'static str, Arc<dyn Mount>)>);

type Answered = Result<Response<Body>, Infallible>;

/// A service of any type.
trait Mount: Send + Sync {
    fn answer(&self, request: Request<Body>) -> BoxFuture<'static, Answered>;
}

impl<S> Mount for S
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + Sync + 'static,
    S::Future: Send + 'static,
{
    fn answer(&self, request: Request<Body>) -> BoxFuture<'static, Answered> {
        self.clone().oneshot(request).boxed()
    }
}

impl Services {
    /// One service.
    pub fn new<S>(service: S) -> Self
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>
            + NamedService
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send + 'static,
    {
        Services::default().and(service)
    }

    /// One more service.
    #[must_use]
    pub fn and<S>(mut self, service: S) -> Self
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>
            + NamedService
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send + 'static,
    {
        self.0.push((S::NAME, Arc::new(service)));
        self
    }

    /// Calls the service that the path `/package.Service/Method` names.
    fn answer(&self, request: Request<Body>) -> BoxFuture<'static, Answered> {
        let name = request.uri().path().get(1..).and_then(|path| path.split('/').next()).unwrap_or_default();
        match self.0.iter().find(|(known, _)| *known == name) {
            Some((_, service)) => service.answer(request),
            None => std::future::ready(Ok(Status::unimplemented("unknown service").into_http())).boxed(),
        }
    }
}

/// Where the services are; what every generated client is made over.
#[derive(Clone)]
pub struct Transport(Way);

#[derive(Clone)]
enum Way {
    Local(Arc<Services>),
    Remote(Channel),
}

/// Reaches services of this process: a call is a function call, without a socket.
pub fn local(services: Services) -> Transport {
    Transport(Way::Local(Arc::new(services)))
}

/// Reaches services over the network.
pub fn remote(channel: Channel) -> Transport {
    Transport(Way::Remote(channel))
}

type LocalFuture = MapErr<BoxFuture<'static, Answered>, fn(Infallible) -> TransportError>;

impl Service<Request<Body>> for Transport {
    type Response = Response<Body>;
    type Error = TransportError;
    type Future = Either<LocalFuture, <Channel as Service<Request<Body>>>::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        match &mut self.0 {
            Way::Local(_) => Poll::Ready(Ok(())),
            Way::Remote(channel) => channel.poll_ready(cx),
        }
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        match &mut self.0 {
            Way::Local(services) => Either::Left(services.answer(request).map_err(|never| match never {})),
            Way::Remote(channel) => Either::Right(channel.call(request)),
        }
    }
}
