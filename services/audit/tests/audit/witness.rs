//! A log that was set back or rewritten gets no co-signature.

use std::sync::Arc;

use audit::Error;
use audit::witness::Memory;
use journal::memory::MemoryStore;

use crate::world::{World, tenant};

#[tokio::test]
async fn a_log_that_was_set_back_or_rewritten_is_refused() {
    let world = World::new(false);
    World::count(&world.apples, tenant(1), 1, "key_a", 0..300).await;
    world.catch_up().await;
    let signed = world.audit.app().checkpoint(tenant(1)).await.unwrap();
    assert_eq!(signed.checkpoint.size, 300);

    // The store is gone; all entries become leaves anew, with other salts. Keys and journals are the same.
    let (apples, pears) = (Arc::clone(&world.apples), Arc::clone(&world.pears));
    let own = Arc::new(MemoryStore::default());
    let anew = World::over(false, apples, pears, own, Arc::clone(&world.memory));
    for leaves in [0, 300, 301] {
        if leaves == 301 {
            World::count(&world.apples, tenant(1), 1, "key_a", [1]).await;
        }
        if 0 < leaves {
            anew.catch_up().await;
        }
        let refused = anew.audit.app().checkpoint(tenant(1)).await.unwrap_err();
        assert!(
            matches!(&refused, Error::CheckpointRefused(why) if why.contains("300")),
            "{leaves}: {refused}"
        );
        assert!(anew.audit.app().export(&crate::world::ctx(tenant(1), "key"), "").await.is_err());
    }
    // Other logs are not touched by it, and the right one goes on.
    anew.audit.app().checkpoint(tenant(2)).await.unwrap();
    world.catch_up().await;
    assert_eq!(world.audit.app().checkpoint(tenant(1)).await.unwrap().checkpoint.size, 301);
}

/// A memory that cannot be read or written.
struct Broken(bool);

impl Memory for Broken {
    fn read(&self, _: &str) -> Result<Option<String>, String> {
        if self.0 { Ok(Some("no checkpoint".to_owned())) } else { Ok(None) }
    }
    fn note(&self, _: &str, _: &str) -> Result<(), String> {
        Err("the disk is full".to_owned())
    }
}

#[tokio::test]
async fn a_witness_that_cannot_remember_does_not_sign() {
    for (damaged, sentence) in [(true, "damaged"), (false, "the disk is full")] {
        let memory = Arc::new(Broken(damaged));
        let world = World::over(false, Arc::default(), Arc::default(), Arc::default(), memory);
        let refused = world.audit.app().checkpoint(tenant(1)).await.unwrap_err();
        assert!(refused.to_string().contains(sentence), "{refused}");
    }
}
