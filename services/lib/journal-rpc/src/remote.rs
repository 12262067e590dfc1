//! Asks where the journals are.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use events::{Bus, Envelope, Heard, ReadJournal};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use ids::{AggregateId, TenantId};
use journal::store::{Found, Head};
use journal::{Seq, StoreError};
use proto::journal::v1 as wire;
use proto::journal::v1::journal_service_client::JournalServiceClient;
use rpc::{Ctx, Permissions, Principal, System, Transport};
use tonic::{Code, Request, Status};

use crate::shapes::{self, ANSWER_BYTES_MAX, LIMIT_MAX, WAIT_MS_MAX};

/// What whoever asks for journals needs.
pub const NEEDS: [&str; 1] = ["internal.journal"];

/// Whom the contexts of these calls are meant for.
const AUDIENCE: &str = "journal";
/// How long the other process may take beyond what it is asked to wait.
const ANSWER_WITHIN: Duration = Duration::from_secs(8);
/// Pause after a wait that failed: the other process may just be starting.
const AGAIN_AFTER: Duration = Duration::from_millis(500);

type Reading<'a, T> = BoxFuture<'a, Result<T, StoreError>>;

/// The journals of one service that is elsewhere, as one consumer hears and reads them.
pub struct RemoteJournal {
    service: Arc<str>,
    client: JournalServiceClient<Transport>,
    system: System,
    ctx: Ctx,
    /// Up to where this consumer has handled everything; told with the next question.
    handled: AtomicU64,
}

impl RemoteJournal {
    /// Asks for the journals of `service` over a transport that leads to its processes, as `job`, which needs
    /// [`NEEDS`].
    #[must_use]
    pub fn new(service: &str, transport: Transport, job: &str, system: System) -> Arc<RemoteJournal> {
        let client = JournalServiceClient::new(transport);
        Arc::new(RemoteJournal {
            service: service.into(),
            client: client.max_decoding_message_size(ANSWER_BYTES_MAX),
            system,
            ctx: Ctx::internal(Principal::platform(job, Permissions::default())),
            handled: AtomicU64::new(0),
        })
    }

    fn request<T>(&self, message: T) -> Request<T> {
        self.system.request(&self.ctx, AUDIENCE, message)
    }

    fn failed(&self, status: &Status) -> StoreError {
        let service = &self.service;
        match status.code() {
            Code::FailedPrecondition => StoreError::KeyDestroyed,
            Code::DataLoss => StoreError::Damaged(format!("{service} says: {}", status.message())),
            _ => StoreError::Unavailable(format!("the journals of {service}: {}", status.message())),
        }
    }

    async fn ask(&self, after: u64, limit: usize, wait_ms: u32) -> Result<Heard, StoreError> {
        let handled = self.handled.load(Ordering::Relaxed);
        let ask = wire::HearRequest {
            service: self.service.to_string(),
            handled,
            after,
            limit: cut(limit),
            wait_ms,
        };
        let mut request = self.request(ask);
        request.set_timeout(Duration::from_millis(wait_ms.into()) + ANSWER_WITHIN);
        let heard = self.client.clone().hear(request).await;
        shapes::read_heard(heard.map_err(|status| self.failed(&status))?.into_inner())
    }
}

/// As much as one call may ask for.
fn cut(limit: usize) -> u32 {
    u32::try_from(limit).unwrap_or(LIMIT_MAX).clamp(1, LIMIT_MAX)
}

impl ReadJournal for RemoteJournal {
    fn name(&self) -> &str {
        &self.service
    }

    fn read(
        &self,
        tenant: TenantId,
        aggregate: AggregateId,
        from: Seq,
        to: Seq,
        limit: usize,
    ) -> Reading<'_, Vec<Envelope>> {
        async move {
            let ask = wire::ReadJournalRequest {
                service: self.service.to_string(),
                tenant: tenant.as_bytes().to_vec(),
                aggregate: aggregate.as_bytes().to_vec(),
                from_seq: from,
                to_seq: to,
                limit: cut(limit),
            };
            let answer = self.client.clone().read_journal(self.request(ask)).await;
            let entries = answer.map_err(|status| self.failed(&status))?.into_inner().entries;
            let read = |entry| shapes::read_entry(&self.service, (tenant, aggregate), entry);
            entries.into_iter().map(read).collect()
        }
        .boxed()
    }

    fn head(&self, tenant: TenantId, aggregate: AggregateId) -> Reading<'_, Option<Head>> {
        async move {
            let ask = wire::GetHeadRequest {
                service: self.service.to_string(),
                tenant: tenant.as_bytes().to_vec(),
                aggregate: aggregate.as_bytes().to_vec(),
            };
            let answer = self.client.clone().get_head(self.request(ask)).await;
            let head = answer.map_err(|status| self.failed(&status))?.into_inner().head;
            head.map(|head| shapes::read_head(head).map(|(_, _, head)| head)).transpose()
        }
        .boxed()
    }

    fn heads(&self, after: Option<(TenantId, AggregateId)>, limit: usize) -> Reading<'_, Vec<Found>> {
        async move {
            let (after_tenant, after_aggregate) = after
                .map(|(tenant, aggregate)| (tenant.as_bytes().to_vec(), aggregate.as_bytes().to_vec()))
                .unwrap_or_default();
            let ask = wire::ListHeadsRequest {
                service: self.service.to_string(),
                after_tenant,
                after_aggregate,
                limit: cut(limit),
            };
            let answer = self.client.clone().list_heads(self.request(ask)).await;
            let heads = answer.map_err(|status| self.failed(&status))?.into_inner().heads;
            heads.into_iter().map(shapes::read_head).collect()
        }
        .boxed()
    }
}

impl Bus for RemoteJournal {
    fn hear(&self, after: u64, limit: usize) -> Reading<'_, Heard> {
        self.ask(after, limit, 0).boxed()
    }

    fn moved(&self, after: u64) -> BoxFuture<'_, ()> {
        async move {
            if self.ask(after, 1, WAIT_MS_MAX).await.is_err() {
                tokio::time::sleep(AGAIN_AFTER).await;
            }
        }
        .boxed()
    }

    fn handled(&self, upto: u64) -> Reading<'_, ()> {
        self.handled.fetch_max(upto, Ordering::Relaxed);
        async { Ok(()) }.boxed()
    }
}
