//! The tamper-evident record of everything.
//!
//! In reading order: [`config`], [`domain`] (pure), [`source`] (where entries come from), [`sink`] (makes leaves
//! of them), [`App`] (the use cases), [`witness`] (who co-signs), [`records`] (what is stored), `convert`
//! (every field check), `grpc`, [`tasks`] (what runs beside requests), [`Error`].

mod app;
pub mod config;
mod convert;
pub mod domain;
mod error;
mod grpc;
pub mod records;
pub mod sink;
pub mod source;
pub mod tasks;
mod verify;
pub mod witness;

use std::sync::Arc;

use journal::{Env, SharedStore};
use proto::audit::v1::access_log_service_server::AccessLogServiceServer;
use proto::audit::v1::audit_service_server::AuditServiceServer;

pub use app::{App, AuditEvent, Completeness, Gap, Inclusion, Page, Part, Signed, describe};
pub use config::Config;
pub use error::Error;
pub use grpc::Grpc;
pub use source::{Describe, Source};
pub use verify::verify_aggregate;

use tasks::Consumers;
use witness::Witness;

/// Largest request, in bytes.
const REQUEST_BYTES_MAX: usize = 1024 * 1024;

/// The service.
#[derive(Clone)]
pub struct Service {
    app: App,
    consumers: Consumers,
}

impl Service {
    /// Makes the service over its own store and journals (a source named [`records::SERVICE`] with [`describe`])
    /// and those of the other services.
    #[must_use]
    pub fn new(
        store: SharedStore,
        own: Source,
        sources: Vec<Source>,
        env: Arc<dyn Env>,
        witness: Arc<dyn Witness>,
        config: Config,
    ) -> Self {
        let app = App::new(store, own, env, sources, witness, config);
        Service { consumers: Consumers::new(&app), app }
    }

    /// The use cases, for the server itself.
    #[must_use]
    pub fn app(&self) -> &App {
        &self.app
    }

    /// What makes leaves of entries.
    #[must_use]
    pub fn consumers(&self) -> &Consumers {
        &self.consumers
    }

    /// The gRPC service, to be put behind a guard.
    #[must_use]
    pub fn server(&self) -> AuditServiceServer<Grpc> {
        AuditServiceServer::new(Grpc::new(self.app.clone())).max_decoding_message_size(REQUEST_BYTES_MAX)
    }

    /// The gRPC service that takes down calls for the guards of other processes, to be put behind a guard.
    #[must_use]
    pub fn access_log_server(&self) -> AccessLogServiceServer<Grpc> {
        AccessLogServiceServer::new(Grpc::new(self.app.clone()))
    }
}
