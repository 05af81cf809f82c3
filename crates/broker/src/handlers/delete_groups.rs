//! DeleteGroups 0–2.
//!
//! v1 adds the throttle time, v2 is flexible. Nothing is missing.

use std::ops::RangeInclusive;

use ferrokafka_wire::ErrorCode;
use ferrokafka_wire::messages::delete_groups_response::DeletableGroupResult;
use ferrokafka_wire::messages::{DeleteGroupsRequest, DeleteGroupsResponse, GroupId};

use super::coordinator_check::coordinates;
use crate::dispatch::{Context, Handler};

pub(crate) struct DeleteGroups;

impl Handler for DeleteGroups {
    type Request = DeleteGroupsRequest;

    const VERSIONS: RangeInclusive<i16> = 0..=2;

    async fn handle(cx: Context, request: DeleteGroupsRequest) -> DeleteGroupsResponse {
        let mut results = Vec::with_capacity(request.groups_names.len());
        for id in &request.groups_names {
            let code = match coordinates(&cx, id) {
                Err(code) => code,
                Ok(()) => cx.broker.groups.delete(id).await,
            };
            results.push(result(id, code));
        }
        DeleteGroupsResponse::default().with_results(results)
    }

    fn reject(
        _: &Context,
        request: &DeleteGroupsRequest,
        error: ErrorCode,
    ) -> DeleteGroupsResponse {
        let results = request.groups_names.iter().map(|id| result(id, error));
        DeleteGroupsResponse::default().with_results(results.collect())
    }

    fn throttle(response: &mut DeleteGroupsResponse, ms: i32) {
        response.throttle_time_ms = ms;
    }
}

fn result(id: &GroupId, code: ErrorCode) -> DeletableGroupResult {
    DeletableGroupResult::default()
        .with_group_id(id.clone())
        .with_error_code(code.code())
}
