//! What a process is: its version, its health.

use std::sync::{Arc, Weak};

use crate::health::{Health, State};
use crate::metrics::{Sheet, Source, metrics};
use crate::sources::{Consumers, Journals};
use crate::{export, http, table};

struct Process {
    health: Weak<Health>,
    version: &'static str,
}

/// Has the metrics tell of this process, whose software has this version, and of its journals and consumers. Called once.
pub fn watch(health: &Arc<Health>, version: &'static str) {
    metrics().add(Process { health: Arc::downgrade(health), version });
    metrics().add(Journals);
    metrics().add(Consumers);
    http::prepare();
    export::prepare();
}

impl Source for Process {
    fn read(&self, sheet: &mut Sheet) {
        let Some(health) = self.health.upgrade() else { return };
        sheet.number(&table::BUILD_INFO, &[self.version], 1.0);
        sheet.number(&table::READY, &[], f64::from(u8::from(health.state() == State::Ready)));
        sheet.number(&table::LOOP_LAG, &[], health.loop_lag().as_secs_f64());
    }
}
