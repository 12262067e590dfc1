//! Operator access between the contract and the domain.

use calendar::Instant;
use ids::OperatorAccessId;
use problem::{Invalid, Violations};
use proto::tenant::v1 as wire;

use super::{finish, required_id, timestamp};
use crate::app::Page;
use crate::domain::{OperatorAccess, OperatorStatus};

pub(crate) fn id(text: &str) -> Result<OperatorAccessId, Invalid> {
    let mut violations = Violations::new();
    let id = required_id(&mut violations, "operator_access_id", text, OperatorAccessId::parse);
    finish(violations, id)
}

pub(crate) fn access(access: OperatorAccess, now: Instant) -> wire::OperatorAccess {
    use wire::OperatorAccessStatus as Wire;
    let until = match access.status {
        OperatorStatus::Granted { until } => Some(timestamp(until)),
        OperatorStatus::Requested | OperatorStatus::Refused | OperatorStatus::Ended => None,
    };
    let status = match access.status.at(now) {
        OperatorStatus::Requested => Wire::Requested,
        OperatorStatus::Granted { .. } => Wire::Granted,
        OperatorStatus::Refused => Wire::Refused,
        OperatorStatus::Ended => Wire::Ended,
    };
    wire::OperatorAccess {
        id: access.id.to_string(),
        reason: access.reason,
        role: access.role.code().to_owned(),
        hours: access.hours,
        status: status.into(),
        until,
        api_key_id: access.key.map(|key| key.to_string()).unwrap_or_default(),
        requested_at: Some(timestamp(access.requested_at)),
        etag: rpc::etag(access.revision),
    }
}

pub(crate) fn accesses(page: Page<OperatorAccess>, now: Instant) -> wire::ListOperatorAccessesResponse {
    wire::ListOperatorAccessesResponse {
        operator_accesses: page.items.into_iter().map(|one| access(one, now)).collect(),
        next_page_token: page.next,
    }
}
