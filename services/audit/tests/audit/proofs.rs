//! Checkpoints and proofs.

use audit::Error;
use audit::domain::merkle::{is_consistent, is_included, leaf_hash};
use audit::domain::note::{Checkpoint, Role, Signer, take_apart};

use crate::world::{World, tenant};

async fn grown(world: &World, entries: u64) {
    World::count(&world.apples, tenant(1), 1, "key_a", 0..entries).await;
    world.catch_up().await;
}

#[tokio::test]
async fn every_leaf_of_every_tree_is_proven() {
    let world = World::new(true);
    let app = world.audit.app();
    let mut heads = vec![app.checkpoint(tenant(1)).await.unwrap()];
    for entries in [1, 6, 249, 1, 300] {
        grown(&world, entries).await;
        heads.push(app.checkpoint(tenant(1)).await.unwrap());
    }
    let sizes: Vec<u64> = heads.iter().map(|head| head.checkpoint.size).collect();
    assert_eq!(sizes, [0, 1, 7, 256, 257, 557]);
    for (at, new) in heads.iter().enumerate() {
        let (size, root) = (new.checkpoint.size, &new.checkpoint.root);
        for index in (0..size).step_by(61).chain(size.checked_sub(1)) {
            let proof = app.inclusion(tenant(1), index, Some(size)).await.unwrap();
            assert_eq!(proof.leaf.seq, index + 1);
            assert!(is_included(leaf_hash(&proof.leaf.encode()), index, size, root, &proof.hashes));
        }
        for old in &heads[..=at] {
            let (old_size, old_root) = (old.checkpoint.size, &old.checkpoint.root);
            if size != 0 {
                let (_, proof, _) = app.consistency(tenant(1), old_size, Some(size)).await.unwrap();
                assert!(is_consistent((old_size, old_root), (size, root), &proof), "{old_size} {size}");
            }
        }
    }
    // Without a size it is the newest tree, whose head comes along.
    let proof = app.inclusion(tenant(1), 3, None).await.unwrap();
    assert_eq!((proof.size, proof.signed.as_ref()), (557, heads.last()));
    let (size, _, signed) = app.consistency(tenant(1), 7, None).await.unwrap();
    assert_eq!((size, signed.as_ref()), (557, heads.last()));
    // What is not there has no proof.
    for (index, size) in [(557, None), (7, Some(7)), (0, Some(558))] {
        let refused = app.inclusion(tenant(1), index, size).await.unwrap_err();
        assert!(matches!(refused, Error::BeyondLog { .. }), "{refused}");
    }
    assert!(matches!(app.consistency(tenant(1), 9, Some(8)).await, Err(Error::BeyondLog { size: 8 })));
    assert!(matches!(app.inclusion(tenant(2), 0, None).await, Err(Error::BeyondLog { size: 0 })));
}

#[tokio::test]
async fn a_checkpoint_is_signed_by_two_keys_once() {
    let world = World::new(true);
    let app = world.audit.app();
    grown(&world, 5).await;
    let signed = app.checkpoint(tenant(1)).await.unwrap();
    assert_eq!(app.checkpoint(tenant(1)).await.unwrap(), signed);
    assert_eq!(world.restarted().audit.app().checkpoint(tenant(1)).await.unwrap(), signed);

    let (text, _) = take_apart(&signed.note).unwrap();
    assert_eq!(Checkpoint::parse(text).as_ref(), Some(&signed.checkpoint));
    assert_eq!(signed.checkpoint.origin, format!("cargo-pilot/audit/{}", tenant(1)));
    let log = Signer::new(Role::Log, &signed.checkpoint.origin, &[1; 32]).verifier();
    let witness = Signer::new(Role::Witness, "test/witness", &[2; 32]).verifier();
    assert_eq!(log.signed(&signed.note), Some(0));
    assert!(witness.signed(&signed.note).is_some_and(|unix_s| 1_700_000_000 < unix_s));
    assert_eq!(signed.keys, [log.vkey(), witness.vkey()]);
    // Another tenant's log has another name, and so another key.
    assert_ne!(app.checkpoint(tenant(2)).await.unwrap().keys[0], signed.keys[0]);
}
