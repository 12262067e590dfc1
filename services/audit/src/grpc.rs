//! The service as the contract names it. Who may call what was decided by the guard.

use proto::audit::v1::access_log_service_server::AccessLogService;
use proto::audit::v1::audit_service_server::AuditService;
use proto::audit::v1::{
    AccessOutcome, CheckCompletenessRequest, CheckCompletenessResponse, Checkpoint, ConsistencyProof,
    ExportAuditLogRequest, ExportAuditLogResponse, GetCheckpointRequest, GetConsistencyProofRequest,
    GetInclusionProofRequest, InclusionProof, ListAuditEventsRequest, ListAuditEventsResponse,
    RecordAccessRequest, RecordAccessResponse,
};
use rpc::{Actor, ActorKind, Ctx, PageToken, Refused};
use tonic::{Request, Response, Status};

use crate::app::App;
use crate::domain::access::{Access, Outcome};
use crate::{Error, convert};

/// Aggregates that one call compares.
const COMPARED: usize = 10_000;
/// List of a comparison, for its page tokens.
const COMPLETENESS: &str = "audit-completeness";

type Answer<T> = Result<Response<T>, Status>;

/// The gRPC face of [`App`].
#[derive(Clone)]
pub struct Grpc {
    app: App,
}

impl Grpc {
    pub(crate) fn new(app: App) -> Self {
        Grpc { app }
    }
}

#[tonic::async_trait]
impl AuditService for Grpc {
    async fn list_audit_events(
        &self,
        request: Request<ListAuditEventsRequest>,
    ) -> Answer<ListAuditEventsResponse> {
        let (ctx, request) = rpc::open(request)?;
        let (filter, size) = convert::list(&request).map_err(rpc::status)?;
        let page = self.app.list(&ctx, &filter, size, &request.page_token).await.map_err(rpc::status)?;
        Ok(Response::new(convert::page(page)))
    }

    async fn get_checkpoint(&self, request: Request<GetCheckpointRequest>) -> Answer<Checkpoint> {
        let (ctx, GetCheckpointRequest {}) = rpc::open(request)?;
        let signed = self.app.checkpoint(ctx.tenant).await.map_err(rpc::status)?;
        Ok(Response::new(convert::checkpoint(signed)))
    }

    async fn get_inclusion_proof(
        &self,
        request: Request<GetInclusionProofRequest>,
    ) -> Answer<InclusionProof> {
        let (ctx, request) = rpc::open(request)?;
        let (index, size) = (request.leaf_index, convert::given(request.tree_size));
        let proof = self.app.inclusion(ctx.tenant, index, size).await.map_err(rpc::status)?;
        Ok(Response::new(convert::inclusion(index, proof)))
    }

    async fn get_consistency_proof(
        &self,
        request: Request<GetConsistencyProofRequest>,
    ) -> Answer<ConsistencyProof> {
        let (ctx, request) = rpc::open(request)?;
        let (old, new) = (request.old_size, convert::given(request.new_size));
        let proof = self.app.consistency(ctx.tenant, old, new).await.map_err(rpc::status)?;
        Ok(Response::new(convert::consistency(old, proof)))
    }

    async fn check_completeness(
        &self,
        request: Request<CheckCompletenessRequest>,
    ) -> Answer<CheckCompletenessResponse> {
        let (ctx, request) = rpc::open(request)?;
        let from = match PageToken::open(&ctx, COMPLETENESS, &request.page_token).map_err(rpc::status)? {
            None => None,
            Some(bytes) => {
                let position = convert::read_position(&bytes).ok_or(Refused::PageTokenInvalid);
                Some(position.map_err(rpc::status)?)
            }
        };
        let found = self.app.completeness(ctx.tenant, from, COMPARED).await.map_err(rpc::status::<Error>)?;
        let next = found.next.map(|next| PageToken::seal(&ctx, COMPLETENESS, &convert::position(next)));
        Ok(Response::new(convert::completeness(found, next.unwrap_or_default())))
    }

    async fn export_audit_log(
        &self,
        request: Request<ExportAuditLogRequest>,
    ) -> Answer<ExportAuditLogResponse> {
        let (ctx, request) = rpc::open(request)?;
        let part = self.app.export(&ctx, &request.page_token).await.map_err(rpc::status)?;
        Ok(Response::new(convert::part(part)))
    }
}

#[tonic::async_trait]
impl AccessLogService for Grpc {
    async fn record_access(&self, request: Request<RecordAccessRequest>) -> Answer<RecordAccessResponse> {
        let (ctx, request) = rpc::open(request)?;
        let outcome = match request.outcome() {
            AccessOutcome::Read => Outcome::Read,
            AccessOutcome::Denied => Outcome::Denied,
            AccessOutcome::UnknownId => Outcome::UnknownId,
            AccessOutcome::Unspecified => return Err(Status::invalid_argument("outcome: must be given")),
        };
        let actor = request.actor.filter(|actor| !actor.id.is_empty());
        let named = actor.and_then(|actor| Some(Actor::new(ActorKind::parse(&actor.kind)?, actor.id)));
        let actor = named.ok_or_else(|| Status::invalid_argument("actor: must be one"))?;
        // Only what the contract knows: another process may be newer, and is refused until this one is, too.
        let rule = proto::rules().get(&request.method);
        let rule = rule.ok_or_else(|| Status::invalid_argument("method: is no RPC of the contract"))?;
        let access = Access { method: request.method, permission: rule.permission.clone(), outcome };
        self.app.write_down(&Ctx { actor, ..ctx }, access).await.map_err(rpc::status)?;
        Ok(Response::new(RecordAccessResponse {}))
    }
}
