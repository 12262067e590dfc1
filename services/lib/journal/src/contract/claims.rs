//! Unique values.

use futures::future::join_all;

use super::*;

fn taken(at: usize, value: &str, owner: u8) -> Refusal {
    Refusal::Claimed { at, claim: claimed(value), owner: aggregate(owner) }
}

/// The first aggregate to take a value owns it; kinds of values are apart.
pub async fn a_claim_has_one_owner(store: SharedStore) {
    applies(&store, vec![commit(1, 0, 1).take("sku")]).await;
    is_refused(&store, vec![commit(2, 0, 1).take("sku")], taken(0, "sku", 1)).await;
    assert_eq!(owner_of(&store, "sku").await, Some(aggregate(1)));
    assert_eq!(owner_of(&store, "sk").await, None);
    let other_kind = Claim { kind: 8, value: bytes("sku") };
    assert_eq!(store.claim(tenant(1), other_kind.clone()).await, Ok(None));
    let mut other = commit(2, 0, 1).take("sku2");
    other.claims.push(ClaimChange::Take(other_kind.clone()));
    applies(&store, vec![other]).await;
    assert_eq!(store.claim(tenant(1), other_kind).await, Ok(Some(aggregate(2))));
}

/// Taking what one has changes nothing.
pub async fn a_claim_is_retaken_by_its_owner(store: SharedStore) {
    applies(&store, vec![commit(1, 0, 1).take("sku")]).await;
    applies(&store, vec![commit(1, 1, 1).take("sku").take("sku")]).await;
    assert_eq!(owner_of(&store, "sku").await, Some(aggregate(1)));
}

/// A release by another, or of a free value, has no effect; afterwards anybody may take it.
pub async fn a_claim_is_released_by_its_owner_only(store: SharedStore) {
    applies(&store, vec![commit(1, 0, 1).take("sku")]).await;
    applies(&store, vec![commit(2, 0, 1).release("sku").release("free")]).await;
    assert_eq!(owner_of(&store, "sku").await, Some(aggregate(1)));
    applies(&store, vec![commit(1, 1, 1).release("sku")]).await;
    assert_eq!(owner_of(&store, "sku").await, None);
    applies(&store, vec![commit(2, 1, 1).take("sku")]).await;
    assert_eq!(owner_of(&store, "sku").await, Some(aggregate(2)));
}

/// In one commit releases come first, in whichever order they are listed: an aggregate that swaps its
/// values, or releases and takes the same one, keeps what it takes.
pub async fn a_claim_is_released_before_it_is_taken(store: SharedStore) {
    applies(&store, vec![commit(1, 0, 1).take("a")]).await;
    applies(&store, vec![commit(1, 1, 1).take("a").release("a").release("a")]).await;
    assert_eq!(owner_of(&store, "a").await, Some(aggregate(1)));
    applies(&store, vec![commit(1, 2, 1).take("b").release("a")]).await;
    assert_eq!((owner_of(&store, "a").await, owner_of(&store, "b").await), (None, Some(aggregate(1))));
}

/// A later member of a group sees what the earlier ones did to the claims.
pub async fn claims_of_a_group_follow_its_order(store: SharedStore) {
    applies(&store, vec![commit(1, 0, 1).take("sku")]).await;
    let too_early = vec![commit(2, 0, 1).take("sku"), commit(1, 1, 1).release("sku")];
    is_refused(&store, too_early, taken(0, "sku", 1)).await;
    applies(&store, vec![commit(1, 1, 1).release("sku"), commit(2, 0, 1).take("sku")]).await;
    assert_eq!(owner_of(&store, "sku").await, Some(aggregate(2)));
    let both = vec![commit(3, 0, 1).take("new"), commit(4, 0, 1).take("new")];
    is_refused(&store, both, taken(1, "new", 3)).await;
    assert_eq!(owner_of(&store, "new").await, None);
}

/// A commit that is refused for one value takes none of its others, and releases none.
pub async fn claims_of_a_refused_commit_are_not_taken(store: SharedStore) {
    applies(&store, vec![commit(1, 0, 1).take("a")]).await;
    applies(&store, vec![commit(2, 0, 1).take("b")]).await;
    is_refused(&store, vec![commit(2, 1, 1).release("b").take("c").take("a")], taken(0, "a", 1)).await;
    assert_eq!((owner_of(&store, "b").await, owner_of(&store, "c").await), (Some(aggregate(2)), None));
    applies(&store, vec![commit(1, 1, 1).take("c")]).await;
}

/// Of many that take one value at once, one wins and the others are told who.
pub async fn racing_claims_have_one_winner(store: SharedStore) {
    let take = |number: u8| {
        let store = store.clone();
        tokio::spawn(async move { store.commit(vec![commit(number, 0, 1).take("sku")]).await })
    };
    let outcomes = join_all((1..=20).map(take)).await;
    let owner = owner_of(&store, "sku").await.expect("an owner");
    let mut winners = 0;
    for (outcome, number) in outcomes.into_iter().zip(1..) {
        match outcome.expect("task") {
            Outcome::Applied => {
                assert_eq!(owner, aggregate(number));
                winners += 1;
            }
            refused => {
                let claim = claimed("sku");
                assert_eq!(refused, Outcome::Refused(Refusal::Claimed { at: 0, claim, owner }));
                assert_eq!(seq_of(&store, number).await, 0);
            }
        }
    }
    assert_eq!(winners, 1);
}
