//! What must hold after a run, read through the API: a rate of wrong postings is worth nothing.

use std::collections::HashSet;

use proto::stock::v1::{GetBalanceRequest, ListBalancesRequest, ListMovementsRequest, MovementOrder};

use crate::Error;
use crate::client::{Grpc, amount, millionths};
use crate::random::Random;
use crate::world::{HOT, ITEMS, World};

/// Largest page that the API gives.
const PAGE: u32 = 500;
/// Items whose whole history is read, beside the hot one.
const SAMPLE: usize = 50;

/// How much was checked.
#[derive(Clone, Copy)]
pub(crate) struct Checked {
    /// Movements of all items by their sequences: exactly the acknowledged ones.
    pub(crate) movements: u64,
    /// Items whose history was read from the first movement to the last.
    pub(crate) items_read: usize,
    /// Movements in those histories.
    pub(crate) movements_read: u64,
}

/// Checks that all acknowledged movements are there and no others, and the histories of a sample.
pub(crate) async fn ledger(
    grpc: &Grpc,
    world: &World,
    acknowledged: u64,
    random: &mut Random,
) -> Result<Checked, Error> {
    let movements = total(grpc, world).await?;
    if movements != acknowledged {
        return Err(
            format!("{acknowledged} movements were acknowledged, {movements} are in the ledger").into()
        );
    }
    let mut sample = HashSet::from([HOT]);
    sample.extend((0..SAMPLE).map(|_| random.below(ITEMS)));
    let mut movements_read = 0;
    for &item in &sample {
        let variant = &world.variants[item];
        movements_read += history(grpc, variant).await.map_err(|e| format!("{variant}: {e}"))?;
    }
    Ok(Checked { movements, items_read: sample.len(), movements_read })
}

/// Movements of all our items, by the sequences of their balances.
async fn total(grpc: &Grpc, world: &World) -> Result<u64, Error> {
    let ours: HashSet<&str> = world.variants.iter().map(String::as_str).collect();
    let mut stock = grpc.stock();
    let mut request = ListBalancesRequest { page_size: PAGE, ..Default::default() };
    let (mut items, mut movements) = (0, 0);
    loop {
        let page = stock.list_balances(grpc.read(request.clone())).await?.into_inner();
        for balance in page.balances.iter().filter(|balance| ours.contains(balance.variant_id.as_str())) {
            items += 1;
            movements += balance.sequence;
        }
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    if items == ITEMS { Ok(movements) } else { Err(format!("{items} balances of {ITEMS} are listed").into()) }
}

/// Reads every movement of an item and follows it: no gap in the sequence, each balance the one before plus
/// the quantity, and the item's balance and value the sums of all. Returns the number of movements.
async fn history(grpc: &Grpc, variant: &str) -> Result<u64, Error> {
    let mut stock = grpc.stock();
    let mut request = ListMovementsRequest {
        variant_id: variant.to_owned(),
        order_by: MovementOrder::Oldest.into(),
        page_size: PAGE,
        ..Default::default()
    };
    let (mut sequence, mut on_hand, mut value) = (0, 0_i128, 0_i128);
    loop {
        let page = stock.list_movements(grpc.read(request.clone())).await?.into_inner();
        for movement in &page.movements {
            sequence += 1;
            let before = on_hand;
            on_hand += millionths(&movement.quantity)?;
            value += amount(movement.value.as_ref())?;
            let follows = movement.sequence == sequence
                && millionths(&movement.balance_before)? == before
                && millionths(&movement.balance_after)? == on_hand
                && millionths(&movement.item_balance_after)? == on_hand
                && millionths(&movement.pool_quantity_after)? == on_hand
                && amount(movement.pool_value_after.as_ref())? == value;
            if !follows {
                return Err(format!("movement {sequence} does not follow: {movement:?}").into());
            }
        }
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    let request = grpc.read(GetBalanceRequest { variant_id: variant.to_owned() });
    let balance = stock.get_balance(request).await?.into_inner();
    let equal = balance.sequence == sequence
        && millionths(&balance.on_hand)? == on_hand
        && amount(balance.value.as_ref())? == value
        && balance.locations.iter().map(|l| l.movements).sum::<u64>() == sequence;
    if equal {
        Ok(sequence)
    } else {
        Err(format!("not the sum of its {sequence} movements: {balance:?}").into())
    }
}
