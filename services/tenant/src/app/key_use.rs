//! Notes when a key or session was used last, beside the request.

use std::net::IpAddr;
use std::sync::Arc;

use calendar::Instant;
use ids::TenantId;
use journal::Scope;
use recent::Recent;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::app::App;
use crate::domain::{ApiKey, Command};

const JOB: &str = "key_use";
/// Uses that are being written at the same time; one more waits for the next request of its key.
const WRITES_MAX: usize = 8;
/// Keys whose last try is remembered.
const TRIED_MAX: usize = 10_000;
/// How long after a try another one is made, in milliseconds.
const TRY_EVERY_MS: u64 = 60_000;

/// Bounds what is written.
pub(super) struct Uses {
    places: Arc<Semaphore>,
    /// When a write was tried last, in Unix milliseconds.
    tried: Recent<[u8; 16], u64>,
}

impl Default for Uses {
    fn default() -> Self {
        Uses { places: Arc::new(Semaphore::new(WRITES_MAX)), tried: Recent::new(TRIED_MAX) }
    }
}

impl Uses {
    /// Takes a place for writing a use of the key or session `id`; none when it was tried a short while ago.
    pub(super) fn begin(&self, id: [u8; 16], now: Instant) -> Option<OwnedSemaphorePermit> {
        let now_ms = now.unix_ms();
        if self.tried.get(&id).is_some_and(|tried| now_ms < tried + TRY_EVERY_MS) {
            return None;
        }
        let place = Arc::clone(&self.places).try_acquire_owned().ok()?;
        self.tried.insert(id, now_ms);
        Some(place)
    }
}

impl App {
    /// Notes a use of `key`, in the background and at most once in
    /// [`ApiKey::USE_NOTED_EVERY_SECONDS`]. A use that cannot be written is forgotten: nothing depends on it.
    pub(super) fn note_use(&self, tenant: TenantId, key: &ApiKey, ip: Option<IpAddr>, now: Instant) {
        let id = key.issued.id;
        if !key.notes_use(now) {
            return;
        }
        let Some(place) = self.uses.begin(*id.as_bytes(), now) else { return };
        let (app, scope) = (self.clone(), Scope { tenant, aggregate: id.into() });
        tokio::spawn(async move {
            let request = app.internal(JOB, Command::NoteUse { ip });
            let _ = app.journal.submit(scope, request).await;
            drop(place);
        });
    }
}
