//! Notes when and from where a key was used last, beside the request.

use std::net::IpAddr;
use std::sync::Arc;

use calendar::Instant;
use ids::{ApiKeyId, TenantId};
use journal::Scope;
use recent::Recent;
use tokio::sync::Semaphore;

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
    tried: Recent<ApiKeyId, u64>,
}

impl Default for Uses {
    fn default() -> Self {
        Uses { places: Arc::new(Semaphore::new(WRITES_MAX)), tried: Recent::new(TRIED_MAX) }
    }
}

impl App {
    /// Notes a use of `key`, in the background and at most once in
    /// [`ApiKey::USE_NOTED_EVERY_SECONDS`]. A use that cannot be written is forgotten: nothing depends on it.
    pub(super) fn note_use(&self, tenant: TenantId, key: &ApiKey, ip: Option<IpAddr>, now: Instant) {
        let (id, now_ms) = (key.issued.id, now.unix_ms());
        let is_due = |tried: u64| tried + TRY_EVERY_MS <= now_ms;
        if !key.notes_use(now) || !self.uses.tried.get(&id).is_none_or(is_due) {
            return;
        }
        let Ok(place) = Arc::clone(&self.uses.places).try_acquire_owned() else { return };
        self.uses.tried.insert(id, now_ms);
        let (app, scope) = (self.clone(), Scope { tenant, aggregate: id.into() });
        tokio::spawn(async move {
            let request = app.internal(JOB, Command::NoteUse { ip });
            let _ = app.journal.submit(scope, request).await;
            drop(place);
        });
    }
}
