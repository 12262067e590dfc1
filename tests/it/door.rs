//! Both ways in: REST and gRPC with one API key.

use std::sync::atomic::{AtomicU64, Ordering};

use rpc::Transport;

use crate::rest::Rest;
use crate::world::World;

/// How somebody speaks to the platform.
pub(crate) struct Door {
    pub(crate) rest: Rest,
    pub(crate) grpc: Transport,
    pub(crate) key: Option<String>,
}

impl Door {
    pub(crate) async fn new(world: &World, key: Option<&str>) -> Door {
        let channel = tonic::transport::Channel::from_shared(world.url.clone()).expect("an address");
        let channel = channel.connect().await.expect("a connection");
        Door {
            rest: Rest::new(&world.url, key),
            grpc: rpc::remote(std::sync::Arc::new(channel)),
            key: key.map(str::to_owned),
        }
    }
}

/// A number that no other call gets, so that nothing is there twice.
pub(crate) fn unique() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    LAST.fetch_add(1, Ordering::Relaxed)
}
