//! From a request to what the journal notes about it.

use journal::{Actor, Env, Keep, KeyHash, Meta};
use prost::Message;

use crate::{Ctx, fingerprint, key_hash};

/// Says who asks for a change and under which idempotency key, for the entries that it leads to.
///
/// With a key, `keep` says how long it is remembered. Without one the hash is random and nothing is
/// remembered, unless `keep` is [`Keep::Forever`]: then entries are found by it.
/// `method_path` is the gRPC path, `/cargopilot.stock.v1.StockService/PostMovement`; `message` is the
/// request, or one item of a batch with its own `idempotency_key`.
pub fn meta(
    ctx: &Ctx,
    env: &dyn Env,
    method_path: &str,
    idempotency_key: Option<&str>,
    message: &impl Message,
    keep: Keep,
) -> Meta {
    let actor = Actor { kind: ctx.actor.kind.name().to_owned(), id: ctx.actor.id.to_string() };
    let request_id = ctx.request_id.as_deref().unwrap_or_default().to_owned();
    let trace = ctx.traceparent.as_deref().and_then(|parent| telemetry::trace::sampled(parent.as_bytes()));
    match idempotency_key {
        Some(key) => {
            let key = KeyHash(key_hash(ctx, method_path, key));
            Meta { actor, key, fingerprint: fingerprint(message), keep, request_id, trace }
        }
        None => {
            let mut random = ids::RandomPart([0; 9]);
            env.random(&mut random.0);
            let keep = if keep == Keep::Forever { keep } else { Keep::No };
            Meta { actor, key: KeyHash(random.masked().0), fingerprint: [0; 16], keep, request_id, trace }
        }
    }
}

#[cfg(test)]
mod tests {
    use ids::{BusinessId, TenantId};
    use journal::SystemEnv;

    use super::*;
    use crate::{ActorKind, Permissions, Principal};

    #[test]
    fn a_key_is_remembered_and_its_absence_is_not() {
        let ctx = Ctx::internal(Principal {
            tenant: TenantId::from_bytes([1; 16]),
            business: BusinessId::from_bytes([2; 16]),
            path: std::sync::Arc::from([BusinessId::from_bytes([2; 16])]),
            actor: crate::Actor::new(ActorKind::ApiKey, "key_a"),
            permissions: Permissions::default(),
            secret: [7; 32],
        });
        let message = proto::tenant::v1::GetBusinessRequest { business_id: "biz_1".to_owned() };
        let meta = |key: Option<&str>, keep| meta(&ctx, &SystemEnv, "/s/Post", key, &message, keep);

        let (first, again) = (meta(Some("sale-1"), Keep::USUAL), meta(Some("sale-1"), Keep::USUAL));
        assert_eq!((first.key, first.fingerprint, first.keep), (again.key, again.fingerprint, Keep::USUAL));
        assert_eq!(first.actor.id, "key_a");
        assert_eq!(meta(None, Keep::USUAL).keep, Keep::No);
        assert_eq!(meta(None, Keep::Forever).keep, Keep::Forever);
        assert_ne!(meta(None, Keep::No).key, meta(None, Keep::No).key);
    }
}
