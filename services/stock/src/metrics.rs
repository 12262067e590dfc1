//! What is counted of the business.

use std::sync::LazyLock;

use telemetry::{Counter, counter, table};

use crate::domain::kind::Kind;

/// A counter for each kind of movement, made when the first one is posted.
static MOVEMENTS: LazyLock<Vec<(Kind, Counter)>> = LazyLock::new(|| {
    let kinds = Kind::POSTABLE.into_iter().chain([Kind::ValueSettlement]);
    kinds.map(|kind| (kind, counter(&table::MOVEMENTS, &[kind.code()]))).collect()
});

/// Counts a movement that was posted.
pub(crate) fn posted(kind: Kind) {
    if let Some((_, count)) = MOVEMENTS.iter().find(|(known, _)| *known == kind) {
        count.inc();
    }
}

/// Makes the counters, so that they are there before anything is posted.
pub(crate) fn prepare() {
    LazyLock::force(&MOVEMENTS);
}
