//! What follows the journals beside the requests: the audit log, and what tells businesses of changes above them. Both
//! processes do it, against each other, through the same weather as everybody, and die amidst it.

use std::sync::Arc;

use audit::tasks::Consumers;
use catalog::Follower;
use journal::SharedStore;

use crate::dice::Dice;
use crate::life::Life;
use crate::model::{Verdict, hold};
use crate::net::AUDIT;
use crate::process::Process;
use crate::world::World;

/// Follows now and then for as long as the process lives. A failure is forgotten: the next turn begins where the
/// cursors are.
pub(crate) async fn follow(consumers: Consumers, follower: Follower, life: Arc<Life>, dice: Arc<Dice>) {
    loop {
        let longest = *dice.pick(&[2_000, 60_000, 1_500_000]);
        tokio::time::sleep(dice.millis(500, longest)).await;
        life.step().await;
        let _ = consumers.catch_up().await;
        life.step().await;
        let _ = follower.catch_up().await;
    }
}

/// INV-7: once it is calm, every entry of every journal is followed, once.
pub(crate) async fn all_is_followed(world: &World, process: &Process) -> Verdict {
    let platform = &process.platform;
    // What the follower writes into the catalogue becomes leaves too.
    platform.follower.catch_up().await.map_err(|error| format!("the follower: {error}"))?;
    platform.audit.consumers().catch_up().await.map_err(|error| format!("the audit log: {error}"))?;
    let followed = platform.follower.check().await.map_err(|error| format!("the follower: {error}"))?;
    hold!(followed.is_complete(), "changes are not followed: {followed:?}");

    for tenant in &world.tenants {
        let app = platform.audit.app();
        let compared = app.completeness(tenant.id, None, usize::MAX).await;
        let compared = compared.map_err(|error| format!("the audit log: {error}"))?;
        hold!(compared.gaps.is_empty() && compared.next.is_none(), "not leaves: {:?}", compared.gaps);

        // Counted without the log: a leaf for each entry, but for those of the log itself.
        let mut entries = 0;
        for (which, store) in world.net.stores.iter().enumerate() {
            let store: SharedStore = store.clone();
            let found = store.aggregates(None, usize::MAX).await.map_err(|error| error.to_string())?;
            let own = found.into_iter().filter(|(owner, aggregate, _)| {
                *owner == tenant.id && (which != AUDIT || *aggregate != audit::records::log_id())
            });
            entries += own.map(|(_, _, head)| head.seq).sum::<u64>();
        }
        let signed = app.checkpoint(tenant.id).await.map_err(|error| format!("the audit log: {error}"))?;
        let leaves = signed.checkpoint.size;
        hold!(leaves == entries, "{entries} entries became {leaves} leaves");
    }
    Ok(())
}
