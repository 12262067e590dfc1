//! Every kind of credential that there is.

use rpc::ActorKind;
use serde_json::json;

use crate::contract::Home;
use crate::door::Door;
use crate::rest::text;
use crate::world::World;

/// Somebody of a tenant.
pub(crate) struct Caller {
    pub(crate) name: &'static str,
    pub(crate) door: Door,
}

/// A kind of principal that is new has credentials that are new: they belong into [`of`].
fn has_credentials(kind: ActorKind) -> bool {
    match kind {
        ActorKind::ApiKey | ActorKind::User => true,
        // The platform has none.
        ActorKind::System => false,
    }
}

/// Users, and their roles.
pub(crate) const SESSIONS: [(&str, &str); 2] =
    [("owner in a session", "owner"), ("clerk in a session", "clerk")];

/// Callers of every kind, all of the tenant of `home`.
pub(crate) async fn of(world: &World, home: &Home) -> Vec<Caller> {
    assert!(has_credentials(ActorKind::ApiKey) && has_credentials(ActorKind::User));
    let mut callers = vec![];
    for role in ["owner", "clerk", "viewer"] {
        let made = home.new_key(role).await;
        callers.push(Caller { name: role, door: Door::new(world, Some(text(&made["secret"]))).await });
    }
    for (name, role) in SESSIONS {
        let session = home.tenant.new_session(role).await;
        callers.push(Caller { name, door: Door::new(world, Some(text(&session["token"]))).await });
    }
    let narrow = json!({"name": "narrow", "role": "owner", "permissions": ["stock.post", "stock.read"],
        "expiresAt": "2150-01-01T00:00:00Z", "ipAllow": ["127.0.0.0/8"]});
    let made = home.tenant.rest.create("/v1/apiKeys", &narrow).await;
    callers.push(Caller { name: "narrowed key", door: Door::new(world, Some(text(&made["secret"]))).await });
    callers
}
