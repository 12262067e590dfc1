//! Reads bundles of leaves, the hashes of tiles, and what leaves speak of.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use ids::TenantId;
use journal::{Damage, Order};

use crate::Error;
use crate::app::{App, log_scope};
use crate::domain::leaf::{Leaf, Salt};
use crate::domain::log::{Event, Log, Run};
use crate::domain::merkle::{Hash, Node, join, leaf_hash};
use crate::domain::summary::Summary;
use crate::domain::tile::{Tile, WIDTH, hash_in, place};
use crate::records;
use crate::source::stored;

/// Entries of a log that are read at once.
const ENTRIES: usize = 64;
/// Entries of a journal that are read at once.
const PAYLOADS: usize = 256;

pub(crate) fn damaged(what: impl Into<String>) -> Error {
    Error::Journal(journal::Error::Damaged(Damage(what.into())))
}

impl App {
    /// The state of a tenant's log; an unborn one has no leaves.
    pub(crate) async fn log_of(&self, tenant: TenantId) -> Result<Log, Error> {
        let view = self.log.read(log_scope(tenant), |_| vec![]).await?;
        Ok(view.map_or_else(Log::default, |view| view.state))
    }

    /// Reads what is in a bundle.
    pub(crate) async fn summary(&self, tenant: TenantId, bundle: u64) -> Result<Summary, Error> {
        let key = records::summary_key(bundle);
        let row = self.store().index_row(tenant, records::SUMMARIES, key, records::log_id()).await?;
        let row = row.ok_or_else(|| damaged(format!("bundle {bundle} has no summary")))?;
        Ok(records::read_summary(&row).map_err(journal::Error::from)?)
    }

    /// Reads the leaves of a bundle in a tree of `size` leaves.
    pub(crate) async fn bundle(&self, tenant: TenantId, bundle: u64, size: u64) -> Result<Vec<Leaf>, Error> {
        let summary = self.summary(tenant, bundle).await?;
        self.leaves(tenant, bundle, size, &summary).await
    }

    /// As [`App::bundle`], of a bundle whose summary is known.
    pub(crate) async fn leaves(
        &self,
        tenant: TenantId,
        bundle: u64,
        size: u64,
        summary: &Summary,
    ) -> Result<Vec<Leaf>, Error> {
        let width = Tile { level: 0, index: bundle }.width(size);
        let width = usize::try_from(width).unwrap_or(0);
        let (mut leaves, mut next) = (Vec::with_capacity(width), summary.first_entry);
        let scope = log_scope(tenant);
        while leaves.len() < width {
            let page = self.log.entries(scope, next, u64::MAX, Order::Ascending, ENTRIES).await?;
            let Some(last) = page.last() else {
                return Err(damaged(format!("bundle {bundle} is not complete")));
            };
            next = last.seq + 1;
            for posted in page {
                if let Event::Appended(appended) = posted.event
                    && appended.first / WIDTH == bundle
                {
                    leaves.extend(appended.runs.iter().flat_map(Run::leaves));
                }
            }
        }
        leaves.truncate(width);
        Ok(leaves)
    }

    /// Reads the hashes of a tile in a tree of `size` leaves.
    pub(crate) fn tile(
        &self,
        tenant: TenantId,
        tile: Tile,
        size: u64,
    ) -> BoxFuture<'_, Result<Vec<Hash>, Error>> {
        async move {
            if tile.level == 0 {
                let leaves = self.bundle(tenant, tile.index, size).await?;
                return Ok(leaves.iter().map(|leaf| leaf_hash(&leaf.encode())).collect());
            }
            let width = usize::try_from(tile.width(size)).unwrap_or(0);
            let prefix = records::tile_prefix(tile);
            let rows = self.store().scan_rows(tenant, records::log_id(), prefix, width).await?;
            let hashes: Option<Vec<Hash>> =
                rows.into_iter().map(|(_, hash)| hash.as_ref().try_into().ok()).collect();
            hashes.filter(|hashes| hashes.len() == width).ok_or_else(|| {
                damaged(format!("tile {} of level {} is not complete", tile.index, tile.level))
            })
        }
        .boxed()
    }

    /// Computes hashes of a proof: each joins perfect subtrees of a tree of `size` leaves.
    pub(crate) async fn hashes(
        &self,
        tenant: TenantId,
        size: u64,
        proof: &[Vec<Node>],
    ) -> Result<Vec<Hash>, Error> {
        let mut tiles: BTreeMap<Tile, Vec<Hash>> = BTreeMap::new();
        for node in proof.iter().flatten() {
            let (tile, _) = place(*node);
            if let Entry::Vacant(place) = tiles.entry(tile) {
                place.insert(self.tile(tenant, tile, size).await?);
            }
        }
        let hash = |node: &Node| hash_in(*node, tiles.get(&place(*node).0)?);
        let parts = proof
            .iter()
            .map(|nodes| nodes.iter().map(hash).collect::<Option<Vec<Hash>>>().map(|hashes| join(&hashes)));
        parts.collect::<Option<Vec<Hash>>>().ok_or_else(|| damaged("a tile is too short"))
    }

    /// Reads the salts of a bundle's leaves; `None` where one was erased.
    pub(crate) async fn salts(
        &self,
        tenant: TenantId,
        bundle: u64,
        width: usize,
    ) -> Result<Vec<Option<Salt>>, Error> {
        let prefix = records::salts_prefix(bundle);
        let limit = usize::try_from(WIDTH).unwrap_or(usize::MAX);
        let rows = self.store().index(tenant, records::SALTS, prefix, None, limit).await?;
        let mut salts = vec![None; width];
        for row in rows {
            let (first, found) =
                records::read_salts(&row.key, &row.value).ok_or_else(|| damaged("salts of a log"))?;
            let at = usize::try_from(first % WIDTH).unwrap_or(0);
            for (place, salt) in salts.iter_mut().skip(at).zip(found) {
                *place = Some(salt);
            }
        }
        Ok(salts)
    }

    /// Reads the entries that leaves speak of, from the journals that keep them; `None` for one that is not
    /// there any more.
    pub(crate) async fn payloads(
        &self,
        tenant: TenantId,
        leaves: &[Leaf],
    ) -> Result<Vec<Option<Bytes>>, Error> {
        let mut found = Vec::with_capacity(leaves.len());
        let follows = |one: &Leaf, next: &Leaf| {
            (&one.service, one.aggregate, one.seq + 1) == (&next.service, next.aggregate, next.seq)
        };
        for run in leaves.chunk_by(follows) {
            let Some(source) = self.source(&run[0].service) else {
                found.extend(run.iter().map(|_| None));
                continue;
            };
            for part in run.chunks(PAYLOADS) {
                let (aggregate, first, last) = (part[0].aggregate, part[0].seq, part[part.len() - 1].seq);
                let entries = source.entries(tenant, aggregate, first, last).await?.into_iter();
                let entries: BTreeMap<u64, Bytes> =
                    entries.map(|entry| (entry.seq, stored(entry.chain, &entry.bytes).into())).collect();
                found.extend(part.iter().map(|leaf| entries.get(&leaf.seq).cloned()));
            }
        }
        Ok(found)
    }
}
