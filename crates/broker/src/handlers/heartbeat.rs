//! Heartbeat 0–4.
//!
//! v1 adds the throttle time, v2 nothing, v3 static members (KIP-345), v4 is flexible. Nothing is
//! missing.

use std::ops::RangeInclusive;

use ferrokafka_wire::ErrorCode;
use ferrokafka_wire::messages::{HeartbeatRequest, HeartbeatResponse};

use super::coordinator_check::coordinates_members;
use crate::dispatch::{Context, Handler};
use crate::group::Name;
use crate::group::classic::Claim;

pub(crate) struct Heartbeat;

impl Handler for Heartbeat {
    type Request = HeartbeatRequest;

    const VERSIONS: RangeInclusive<i16> = 0..=4;

    async fn handle(cx: Context, request: HeartbeatRequest) -> HeartbeatResponse {
        let code = match coordinates_members(&cx, &request.group_id) {
            Err(code) => code,
            Ok(()) => {
                let claim = Claim {
                    member: (&*request.member_id).into(),
                    instance: request.group_instance_id.map(|id| Name::from(&*id)),
                    generation: request.generation_id,
                };
                cx.broker.groups.heartbeat(&request.group_id, claim).await
            }
        };
        HeartbeatResponse::default().with_error_code(code.code())
    }

    fn reject(_: &Context, _: &HeartbeatRequest, error: ErrorCode) -> HeartbeatResponse {
        HeartbeatResponse::default().with_error_code(error.code())
    }

    fn throttle(response: &mut HeartbeatResponse, ms: i32) {
        response.throttle_time_ms = ms;
    }
}
