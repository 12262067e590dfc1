//! A process of the platform, and how clients reach it: through the gateway, as gRPC.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::task::{Context, Poll};

use audit::witness::ShortMemory;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use gateway::Gateway;
use http::{Request, Response};
use server::platform::{AuditKeys, Parts, Platform};
use tonic::body::Body;
use tonic::codegen::Service;

use crate::dice::Dice;
use crate::follower::follow;
use crate::life::{Clock, Life, SimEnv};
use crate::net::{AUDIT, CATALOG, Net, Port, STOCK, TENANT};

pub(crate) struct Process {
    pub(crate) life: Arc<Life>,
    pub(crate) env: Arc<SimEnv>,
    pub(crate) platform: Platform,
}

impl Process {
    /// Starts the platform over the stores of the world.
    pub(crate) fn start(net: &Arc<Net>, clock: &Arc<Clock>, dice: &Arc<Dice>) -> Process {
        let life = Arc::new(Life::new());
        let env = Arc::new(SimEnv::new(Arc::clone(clock), Arc::clone(dice)));
        let port = |which| Arc::new(Port { net: Arc::clone(net), life: Arc::clone(&life), which });
        let parts = Parts {
            tenant: port(TENANT),
            catalog: port(CATALOG),
            stock: port(STOCK),
            audit: port(AUDIT),
            audit_keys: AuditKeys {
                log: [8; 32],
                witness: [9; 32],
                memory: Arc::new(ShortMemory::default()),
            },
            feeds: None,
            pepper: [7; 32],
            outbound: outbound::Settings::default(),
            gateway: gateway::Config::default(),
        };
        let platform = Platform::start_in(parts, env.clone()).expect("a platform");
        platform.gateway.set_ready(true);
        if net.followed {
            let (consumers, follower) = (platform.audit.consumers().clone(), platform.follower.clone());
            tokio::spawn(follow(consumers, follower, Arc::clone(&life), Arc::clone(dice)));
        }
        Process { life, env, platform }
    }

    pub(crate) fn door(&self) -> Door {
        Door(self.platform.gateway.clone())
    }
}

/// The public door of a process, without a socket.
#[derive(Clone)]
pub(crate) struct Door(Gateway);

impl Service<Request<Body>> for Door {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let gateway = self.0.clone();
        async move { Ok(gateway.handle(IpAddr::V4(Ipv4Addr::LOCALHOST), request).await) }.boxed()
    }
}
