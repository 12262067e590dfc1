//! Answers where the journals are.

use std::sync::Arc;
use std::time::Duration;

use events::Source;
use journal::StoreError;
use proto::journal::v1::journal_service_server::{JournalService, JournalServiceServer};
use proto::journal::v1::{
    GetHeadRequest, GetHeadResponse, HearRequest, HearResponse, ListHeadsRequest, ListHeadsResponse,
    ReadJournalRequest, ReadJournalResponse,
};
use tonic::{Request, Response, Status};

use crate::shapes::{self, ENTRIES_BYTES_MAX, LIMIT_MAX, WAIT_MS_MAX};

type Answer<T> = Result<Response<T>, Status>;

/// The journals of the services of this process, for one consumer elsewhere.
#[derive(Clone)]
pub struct Journals(Arc<[Arc<dyn Source>]>);

impl Journals {
    /// The gRPC service over sources that nobody else listens to, to be put behind a guard.
    #[must_use]
    pub fn server(sources: Vec<Arc<dyn Source>>) -> JournalServiceServer<Journals> {
        JournalServiceServer::new(Journals(sources.into()))
    }

    fn of(&self, service: &str) -> Result<&dyn Source, Status> {
        let found = self.0.iter().find(|source| source.name() == service);
        let found =
            found.ok_or_else(|| Status::unavailable(format!("no journals of '{service}' are here")))?;
        Ok(&**found)
    }
}

/// What a store that does not answer means to the caller.
fn failed(error: StoreError) -> Status {
    match error {
        StoreError::Unavailable(why) => Status::unavailable(why),
        // The key of a tenant: the consumer goes on with others, as it does in one process.
        StoreError::KeyDestroyed => Status::failed_precondition(error.to_string()),
        // It may be put back: what waits for it is tried again.
        StoreError::KeyMissing(_) => Status::unavailable(error.to_string()),
        StoreError::Damaged(_) => Status::data_loss(error.to_string()),
    }
}

fn bad(field: &str) -> Status {
    Status::invalid_argument(format!("{field}: not what the contract says"))
}

fn limit(asked: u32) -> Result<usize, Status> {
    match asked {
        1..=LIMIT_MAX => usize::try_from(asked).map_err(|_| bad("limit")),
        _ => Err(bad("limit")),
    }
}

#[tonic::async_trait]
impl JournalService for Journals {
    async fn get_head(&self, request: Request<GetHeadRequest>) -> Answer<GetHeadResponse> {
        let (_, request) = rpc::open(request)?;
        let tenant = shapes::tenant(&request.tenant).ok_or_else(|| bad("tenant"))?;
        let aggregate = shapes::aggregate(&request.aggregate).ok_or_else(|| bad("aggregate"))?;
        let head = self.of(&request.service)?.head(tenant, aggregate).await.map_err(failed)?;
        let head = head.map(|head| shapes::write_head((tenant, aggregate, head)));
        Ok(Response::new(GetHeadResponse { head }))
    }

    async fn list_heads(&self, request: Request<ListHeadsRequest>) -> Answer<ListHeadsResponse> {
        let (_, request) = rpc::open(request)?;
        let after = match (request.after_tenant.is_empty(), request.after_aggregate.is_empty()) {
            (true, true) => None,
            _ => Some((
                shapes::tenant(&request.after_tenant).ok_or_else(|| bad("after_tenant"))?,
                shapes::aggregate(&request.after_aggregate).ok_or_else(|| bad("after_aggregate"))?,
            )),
        };
        let heads = self.of(&request.service)?.heads(after, limit(request.limit)?).await.map_err(failed)?;
        Ok(Response::new(ListHeadsResponse { heads: heads.into_iter().map(shapes::write_head).collect() }))
    }

    async fn read_journal(&self, request: Request<ReadJournalRequest>) -> Answer<ReadJournalResponse> {
        let (_, request) = rpc::open(request)?;
        let tenant = shapes::tenant(&request.tenant).ok_or_else(|| bad("tenant"))?;
        let aggregate = shapes::aggregate(&request.aggregate).ok_or_else(|| bad("aggregate"))?;
        let (from, to, limit) = (request.from_seq, request.to_seq, limit(request.limit)?);
        let found =
            self.of(&request.service)?.read(tenant, aggregate, from, to, limit).await.map_err(failed)?;
        let (mut entries, mut bytes) = (Vec::with_capacity(found.len()), 0);
        for envelope in found {
            bytes += envelope.bytes.len();
            if bytes > ENTRIES_BYTES_MAX && !entries.is_empty() {
                break;
            }
            entries.push(shapes::write_entry(envelope));
        }
        Ok(Response::new(ReadJournalResponse { entries }))
    }

    async fn hear(&self, request: Request<HearRequest>) -> Answer<HearResponse> {
        let (_, request) = rpc::open(request)?;
        let (source, limit) = (self.of(&request.service)?, limit(request.limit)?);
        if request.wait_ms > WAIT_MS_MAX {
            return Err(bad("wait_ms"));
        }
        if request.handled > 0 {
            source.handled(request.handled).await.map_err(failed)?;
        }
        let mut heard = source.hear(request.after, limit).await.map_err(failed)?;
        if heard.last <= request.after && request.wait_ms > 0 {
            let wait = Duration::from_millis(request.wait_ms.into());
            // Nothing new is an answer, too.
            let _ = tokio::time::timeout(wait, source.moved(request.after)).await;
            heard = source.hear(request.after, limit).await.map_err(failed)?;
        }
        Ok(Response::new(shapes::write_heard(heard)))
    }
}
