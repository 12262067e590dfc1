//! The two services that stock asks: just the calls that it makes, behind a guard as the real ones.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use proto::{catalog::v1 as catalog, tenant::v1 as tenant};
use rpc::{Ctx, Guard, Transport};
use tonic::body::Body;
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;
use tower::Layer as _;

/// What the services know, by tenant and id, so that an id of another tenant is not found.
#[derive(Default)]
pub(crate) struct Known {
    pub(crate) variants: Mutex<HashMap<(String, String), catalog::Variant>>,
    pub(crate) businesses: Mutex<HashMap<(String, String), tenant::Business>>,
    /// Nobody answers.
    pub(crate) away: AtomicBool,
}

/// A client's way to both.
pub(crate) fn transports(known: &Arc<Known>, guard: &Guard) -> (Transport, Transport) {
    let catalog = rpc::Services::new(guard.layer(Catalog(Arc::clone(known))));
    let tenant = rpc::Services::new(guard.layer(Tenant(Arc::clone(known))));
    (rpc::local(catalog), rpc::local(tenant))
}

#[derive(Clone)]
struct Catalog(Arc<Known>);

#[derive(Clone)]
struct Tenant(Arc<Known>);

impl NamedService for Catalog {
    const NAME: &'static str = "cargopilot.catalog.v1.CatalogService";
}

impl NamedService for Tenant {
    const NAME: &'static str = "cargopilot.tenant.v1.TenantService";
}

type Answer = BoxFuture<'static, Result<http::Response<Body>, Infallible>>;

impl tower::Service<http::Request<Body>> for Catalog {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Answer;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Answer {
        let known = Arc::clone(&self.0);
        match request.uri().path() {
            "/cargopilot.catalog.v1.CatalogService/GetVariant" => {
                answer(request, known, |known, ctx, asked: catalog::GetVariantRequest| {
                    known.variants.lock().get(&(ctx.tenant.to_string(), asked.variant_id)).cloned()
                })
            }
            "/cargopilot.catalog.v1.CatalogService/ListUnits" => {
                answer(request, known, |_, _, _: catalog::ListUnitsRequest| {
                    let unit = |code: &str, integral| catalog::Unit {
                        code: code.to_owned(),
                        integral,
                        ..catalog::Unit::default()
                    };
                    let units = vec![unit("C62", true), unit("DZN", true), unit("KGM", false)];
                    Some(catalog::ListUnitsResponse { units })
                })
            }
            other => panic!("stock asks the catalog for {other}"),
        }
    }
}

impl tower::Service<http::Request<Body>> for Tenant {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Answer;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Answer {
        assert_eq!(request.uri().path(), "/cargopilot.tenant.v1.TenantService/GetBusiness");
        answer(request, Arc::clone(&self.0), |known, ctx, asked: tenant::GetBusinessRequest| {
            known.businesses.lock().get(&(ctx.tenant.to_string(), asked.business_id)).cloned()
        })
    }
}

/// Answers one call; `None` is not found.
fn answer<Q, A>(
    request: http::Request<Body>,
    known: Arc<Known>,
    find: fn(&Known, &Ctx, Q) -> Option<A>,
) -> Answer
where
    Q: prost::Message + Default + 'static,
    A: prost::Message + Default + 'static,
{
    async move {
        let mut grpc = Grpc::new(ProstCodec::<A, Q>::default());
        Ok(grpc.unary(Finder { known, find }, request).await)
    }
    .boxed()
}

struct Finder<Q, A> {
    known: Arc<Known>,
    find: fn(&Known, &Ctx, Q) -> Option<A>,
}

impl<Q, A> UnaryService<Q> for Finder<Q, A> {
    type Response = A;
    type Future = Ready<Result<Response<A>, Status>>;

    fn call(&mut self, request: Request<Q>) -> Self::Future {
        if self.known.away.load(Ordering::Relaxed) {
            return ready(Err(Status::unavailable("away")));
        }
        ready(rpc::open(request).and_then(|(ctx, asked)| {
            let found = (self.find)(&self.known, &ctx, asked);
            found.map(Response::new).ok_or_else(|| Status::not_found("not found"))
        }))
    }
}
