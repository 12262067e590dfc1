//! The whole contract through the transcoder.

#![allow(clippy::unwrap_used)] // helpers are tests too

mod contract;
mod printing;
mod requests;

use std::sync::LazyLock;

use transcode::{Catalogue, Operation};

static CATALOGUE: LazyLock<Catalogue> = LazyLock::new(|| Catalogue::new(proto::pool()).unwrap());

fn operation(name: &str) -> &'static Operation {
    CATALOGUE.operations().iter().find(|operation| operation.name == name).unwrap()
}
