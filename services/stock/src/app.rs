//! Use cases, one per file.

mod balances;
mod directory;
mod history;
pub(crate) mod limits;
mod locations;
mod on_hand;
mod places;
pub(crate) mod post;

use std::sync::Arc;

use ids::AggregateId;
use journal::{Env, Journal, Keep, Meta, Rejection, Scope, SharedStore};
use rpc::Ctx;

use crate::domain::item::Item;
use crate::domain::location::Place;
use crate::error::Error;
use crate::records;

pub(crate) use directory::Directory;
pub(crate) use history::Filter;

/// The stock service behind its edge.
pub struct Stock {
    pub(crate) items: Journal<Item>,
    pub(crate) places: Journal<Place>,
    pub(crate) directory: Directory,
    known_places: places::Places,
}

impl Stock {
    /// Makes the service over its store; `directory` asks catalog and tenant.
    pub(crate) fn new(store: SharedStore, env: Arc<dyn Env>, directory: Directory) -> Self {
        Stock {
            items: Journal::new(Arc::clone(&store), Arc::clone(&env)),
            places: Journal::new(store, env),
            known_places: places::Places::new(directory.clock()),
            directory,
        }
    }

    /// Who asks, under which key. Without a key the ids of what is made are random.
    pub(crate) fn meta(
        &self,
        ctx: &Ctx,
        path: &str,
        key: Option<&str>,
        message: &impl prost::Message,
        keep: Keep,
    ) -> Meta {
        rpc::meta(ctx, self.items.env(), path, key, message, keep)
    }
}

pub(crate) fn scope(ctx: &Ctx, aggregate: impl Into<AggregateId>) -> Scope {
    Scope { tenant: ctx.tenant, aggregate: aggregate.into() }
}

/// The stock of a variant in the caller's business.
pub(crate) fn item_scope(ctx: &Ctx, variant: ids::VariantId) -> Scope {
    scope(ctx, records::item_id(ctx.business, variant))
}

/// What a refused command means to the caller.
pub(crate) fn refused(rejection: Rejection<Error>, code: Option<&str>) -> Error {
    match rejection {
        Rejection::Domain(error) => error,
        Rejection::Claimed { .. } => Error::CodeTaken { code: code.unwrap_or_default().to_owned() },
        Rejection::Journal(error) => Error::Journal(error),
    }
}
