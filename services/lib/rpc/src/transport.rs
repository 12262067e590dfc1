//! One client type over a service in this process or over the network.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::{BoxFuture, Either, MapErr};
use futures::{FutureExt as _, TryFutureExt as _};
use http::{Request, Response};
use telemetry::rpc::{Ask, Asking};
use tonic::Status;
use tonic::body::Body;
use tonic::server::NamedService;
use tonic::transport::Channel;
use tower::{Service, ServiceExt as _};

/// The call did not reach a service.
pub type TransportError = Box<dyn std::error::Error + Send + Sync>;

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

    fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(known, _)| *known == name)
    }

    /// Calls the service that the path `/package.Service/Method` names.
    fn answer(&self, request: Request<Body>) -> BoxFuture<'static, Answered> {
        let name = service_of(request.uri().path());
        match self.0.iter().find(|(known, _)| *known == name) {
            Some((_, service)) => service.answer(request),
            None => std::future::ready(Ok(Status::unimplemented("unknown service").into_http())).boxed(),
        }
    }
}

/// The gRPC service that a path such as `/package.Service/Method` names.
fn service_of(path: &str) -> &str {
    path.get(1..).and_then(|path| path.split('/').next()).unwrap_or_default()
}

/// Services of other processes: finds one for each call.
pub trait Remote: Send + Sync + 'static {
    /// Calls the service that the path of the request names.
    fn call(&self, request: Request<Body>) -> BoxFuture<'static, Result<Response<Body>, TransportError>>;
}

impl Remote for Channel {
    fn call(&self, request: Request<Body>) -> BoxFuture<'static, Result<Response<Body>, TransportError>> {
        self.clone().oneshot(request).map_err(Into::into).boxed()
    }
}

/// Where the services are; what every generated client is made over.
#[derive(Clone)]
pub struct Transport {
    here: Arc<Services>,
    elsewhere: Option<Arc<dyn Remote>>,
}

/// Reaches services of this process: a call is a function call, without a socket.
pub fn local(services: Services) -> Transport {
    Transport { here: Arc::new(services), elsewhere: None }
}

/// Reaches services over the network.
pub fn remote(services: Arc<dyn Remote>) -> Transport {
    local_or_remote(Services::default(), services)
}

/// Reaches services of this process, and over the network those that are not here.
pub fn local_or_remote(here: Services, elsewhere: Arc<dyn Remote>) -> Transport {
    Transport { here: Arc::new(here), elsewhere: Some(elsewhere) }
}

type LocalFuture = MapErr<BoxFuture<'static, Answered>, fn(Infallible) -> TransportError>;
type RemoteFuture = BoxFuture<'static, Result<Response<Body>, TransportError>>;

impl Service<Request<Body>> for Transport {
    type Response = Response<Body>;
    type Error = TransportError;
    type Future = Asking<Either<LocalFuture, RemoteFuture>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let ask = Ask::begin(request.uri().path());
        ask.until(match &self.elsewhere {
            Some(elsewhere) if !self.here.has(service_of(request.uri().path())) => {
                Either::Right(elsewhere.call(request))
            }
            _ => Either::Left(self.here.answer(request).map_err(|never| match never {})),
        })
    }
}

/// The same services for whoever calls over the network.
impl Service<Request<Body>> for Services {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Answered>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        self.answer(request)
    }
}
