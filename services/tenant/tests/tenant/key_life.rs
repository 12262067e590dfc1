//! API keys after they were made: new secrets, uses, and what becomes of those above them.

use proto::tenant::v1::*;
use tonic::Code;

use crate::world::*;

/// API-4: both secrets work until the overlap is over; a rotation without one ends the old secret at once.
#[tokio::test]
async fn two_secrets_are_valid_for_the_chosen_time() {
    let world = World::new();
    let owner = world.tenant("acme").await;
    let made = world.create(&owner, new_key("clerk")).await.unwrap();
    let id = made.api_key.unwrap().id;
    let rotated = world.rotate(&owner, &id, 3600).await.unwrap();
    let key = rotated.api_key.unwrap();
    assert_eq!(key.previous_last4, made.secret[made.secret.len() - 4..]);
    assert!(rotated.secret.ends_with(&key.last4) && rotated.secret != made.secret);
    assert_eq!(key.previous_expires_at, Some(world.in_seconds(3600)));

    let old = world.authenticate(&made.secret, "192.0.2.7").await.unwrap();
    assert_eq!(old.expires_at, key.previous_expires_at, "nobody may believe it longer");
    assert_eq!(world.authenticate(&rotated.secret, "192.0.2.7").await.unwrap().expires_at, None);
    world.pass_seconds(3600);
    assert_eq!(world.login(&made.secret).await.unwrap_err().code(), Code::Unauthenticated);
    world.login(&rotated.secret).await.unwrap();

    let again = world.rotate(&owner, &id, 0).await.unwrap();
    assert_eq!(world.login(&rotated.secret).await.unwrap_err().code(), Code::Unauthenticated);
    world.login(&again.secret).await.unwrap();

    let long = world.rotate(&owner, &id, 2_592_001).await.unwrap_err();
    assert_eq!(fields(&long), [("overlap_seconds".to_owned(), "OUT_OF_RANGE".to_owned())]);
    world.revoke(&owner, &id).await.unwrap();
    assert_eq!(reason(&world.rotate(&owner, &id, 0).await.unwrap_err()), "KEY_ENDED");
    assert_eq!(world.login(&again.secret).await.unwrap_err().code(), Code::Unauthenticated);
}

/// API-5: nobody gets the secret of a key that can do more; a key may rotate itself.
#[tokio::test]
async fn a_rotation_gives_no_more_than_a_new_key_would() {
    let world = World::new();
    let owner = world.tenant("acme").await;
    let narrow = ApiKey {
        permissions: ["key.create", "key.read", "key.rotate"].map(str::to_owned).to_vec(),
        ..new_key("owner")
    };
    let narrow = world.create(&owner, narrow).await.unwrap();
    let caller = world.login(&narrow.secret).await.unwrap();
    let refused = world.rotate(&caller, &owner.actor.id, 0).await.unwrap_err();
    assert_eq!(
        (refused.code(), reason(&refused).as_str()),
        (Code::PermissionDenied, "PERMISSION_ESCALATION")
    );

    let own = narrow.api_key.unwrap().id;
    let rotated = world.rotate(&caller, &own, 0).await.unwrap();
    world.login(&rotated.secret).await.unwrap();

    let stranger = world.tenant("rival").await;
    let foreign = world.rotate(&stranger, &own, 0).await.unwrap_err();
    let random =
        world.rotate(&stranger, &ids::ApiKeyId::from_bytes([7; 16]).to_string(), 0).await.unwrap_err();
    assert_eq!(bytes(&foreign), bytes(&random));
}

/// API-3: a key can do no more than the keys above it can today.
#[tokio::test]
async fn what_a_key_made_ends_with_it() {
    let world = World::new();
    let owner = world.tenant("acme").await;
    let above = world.create(&owner, new_key("owner")).await.unwrap();
    let caller = world.login(&above.secret).await.unwrap();
    let below = world.create(&caller, new_key("clerk")).await.unwrap();
    let other = world.create(&owner, new_key("clerk")).await.unwrap();
    world.login(&below.secret).await.unwrap();

    world.revoke(&owner, &above.api_key.unwrap().id).await.unwrap();
    assert_eq!(world.login(&below.secret).await.unwrap_err().code(), Code::Unauthenticated);
    world.login(&other.secret).await.unwrap();
}

#[tokio::test]
async fn a_row_of_keys_that_make_keys_is_bounded() {
    let world = World::new();
    let mut caller = world.tenant("acme").await;
    for _ in 0..7 {
        let made = world.create(&caller, new_key("owner")).await.unwrap();
        caller = world.login(&made.secret).await.unwrap();
    }
    let refused = world.create(&caller, new_key("owner")).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::FailedPrecondition, "KEY_CHAIN_TOO_LONG"));
}

/// API-3: when and from where a key was used last; one entry for many uses.
#[tokio::test]
async fn a_use_is_noted_now_and_then() {
    let world = World::new();
    let owner = world.tenant("acme").await;
    let made = world.create(&owner, new_key("clerk")).await.unwrap();
    let id = made.api_key.unwrap().id;
    let noted = async |from: &str, expected: &str| {
        world.authenticate(&made.secret, from).await.unwrap();
        // It is written beside the request.
        loop {
            let key = world.key(&owner, &id).await.unwrap();
            if key.last_used_ip == expected {
                return key;
            }
            tokio::task::yield_now().await;
        }
    };
    let first = noted("192.0.2.7", "192.0.2.7").await;
    assert_eq!(first.last_used_at, Some(world.in_seconds(0)));
    world.pass_seconds(599);
    assert_eq!(noted("192.0.2.8", "192.0.2.7").await, first);
    world.pass_seconds(1);
    let second = noted("2001:db8::7", "2001:db8::7").await;
    assert_eq!(second.last_used_at, Some(world.in_seconds(0)));
}
