//! A mutation by its name: the idempotency key, and the ids that follow from it.

use ids::{PriceListId, ProductId, PublicationId, RandomPart, VariantId};
use journal::{Env, Keep, KeyHash, Meta, Request};
use prost::Message;
use rpc::Ctx;

use super::Catalog;

/// How many ids the name of a mutation can tell apart.
const LEGS: usize = 64;

/// A mutation by the name that the caller gave it, or a random one.
pub(crate) struct Mutation {
    meta: Meta,
    unix_ms: u64,
}

impl Catalog {
    /// Names the mutation that `request` to `method` asks for.
    pub(crate) fn mutation(&self, ctx: &Ctx, method: &str, request: &impl Message) -> Mutation {
        let key = ctx.idempotency_key.as_deref();
        let meta = rpc::meta(ctx, &*self.env, &path(method), key, request, Keep::USUAL);
        Mutation { meta, unix_ms: self.env.now().unix_ms() }
    }

    /// Names each item of a batch after the batch and its position. Every item has the fingerprint of the
    /// whole batch: another batch under the same key is a conflict, however much of it is the same.
    pub(crate) fn item_mutations(
        &self,
        ctx: &Ctx,
        method: &str,
        request: &impl Message,
        items: usize,
    ) -> Vec<Mutation> {
        let unix_ms = self.env.now().unix_ms();
        let Some(key) = ctx.idempotency_key.as_deref() else {
            return (0..items).map(|_| self.mutation(ctx, method, &())).collect();
        };
        let path = path(method);
        let whole = rpc::meta(ctx, &*self.env, &path, Some(key), request, Keep::USUAL);
        let item = |position| {
            let key = KeyHash(rpc::key_hash(ctx, &path, &format!("{key}#{position}")));
            Mutation { meta: Meta { key, ..whole.clone() }, unix_ms }
        };
        (0..items).map(item).collect()
    }

    /// Ids for what the mutation makes.
    pub(crate) fn ids<'a>(&'a self, mutation: &Mutation) -> NewIds<'a> {
        NewIds { unix_ms: mutation.unix_ms, part: mutation.part(), env: &*self.env }
    }
}

fn path(method: &str) -> String {
    format!("/cargopilot.catalog.v1.CatalogService/{method}")
}

impl Mutation {
    /// What follows from the name: the partition of what a create makes.
    pub(super) fn part(&self) -> RandomPart {
        RandomPart(self.meta.key.0)
    }

    /// The command of a change: its key is remembered as long as usual.
    pub(super) fn change<C>(&self, command: C) -> Request<C> {
        Request { command, meta: self.meta.clone() }
    }

    /// The command of a create. Its key is remembered for ever, because its partition follows from it:
    /// whoever uses the key again, however late, gets what it made.
    pub(super) fn create<C>(&self, command: C) -> Request<C> {
        let keep = if self.meta.keep == Keep::No { Keep::No } else { Keep::Forever };
        Request { command, meta: Meta { keep, ..self.meta.clone() } }
    }
}

/// Makes ids that follow from the name of a mutation: a retry makes them again, but for the time in them.
pub(crate) struct NewIds<'a> {
    unix_ms: u64,
    part: RandomPart,
    env: &'a dyn Env,
}

impl NewIds<'_> {
    pub(crate) fn product(&self) -> ProductId {
        ProductId::derived(self.unix_ms, self.part, 0)
    }

    pub(crate) fn publication(&self) -> PublicationId {
        PublicationId::derived(self.unix_ms, self.part, 0)
    }

    pub(crate) fn price_list(&self) -> PriceListId {
        PriceListId::derived(self.unix_ms, self.part, 0)
    }

    /// The variant at `position` of a product, or 0 for one that is made by itself. Those beyond the legs
    /// are random: a retry gets what the entries name.
    pub(crate) fn variant(&self, position: usize) -> VariantId {
        match u8::try_from(position + 1) {
            Ok(leg) if usize::from(leg) < LEGS => VariantId::derived(self.unix_ms, self.part, leg),
            _ => {
                let mut random = [0; 10];
                self.env.random(&mut random);
                VariantId::new(self.unix_ms, random)
            }
        }
    }
}
