//! LeaveGroup 0–5.
//!
//! v1 adds the throttle time, v2 nothing, v3 several members at once, also by instance id (KIP-345),
//! v4 is flexible, v5 adds a reason (KIP-800). Nothing is missing.

use std::ops::RangeInclusive;

use ferrokafka_wire::ErrorCode;
use ferrokafka_wire::messages::leave_group_request::MemberIdentity;
use ferrokafka_wire::messages::leave_group_response::MemberResponse;
use ferrokafka_wire::messages::{LeaveGroupRequest, LeaveGroupResponse};

use super::coordinator_check::coordinates_members;
use crate::dispatch::{Context, Handler};
use crate::group::Name;
use crate::group::leave::Leaving;

pub(crate) struct LeaveGroup;

impl Handler for LeaveGroup {
    type Request = LeaveGroupRequest;

    const VERSIONS: RangeInclusive<i16> = 0..=5;

    async fn handle(cx: Context, request: LeaveGroupRequest) -> LeaveGroupResponse {
        if let Err(code) = coordinates_members(&cx, &request.group_id) {
            return Self::reject(&cx, &request, code);
        }
        let members = match cx.version {
            0..=2 => vec![MemberIdentity::default().with_member_id(request.member_id.clone())],
            _ => request.members.clone(),
        };
        let leaving = members.iter().map(|member| Leaving {
            member: (&*member.member_id).into(),
            instance: member.group_instance_id.as_deref().map(Name::from),
            reason: member.reason.as_deref().map(Name::from),
        });
        match cx
            .broker
            .groups
            .leave(&request.group_id, leaving.collect())
            .await
        {
            Err(code) => Self::reject(&cx, &request, code),
            Ok(codes) => write(cx.version, members, codes),
        }
    }

    fn reject(_: &Context, _: &LeaveGroupRequest, error: ErrorCode) -> LeaveGroupResponse {
        LeaveGroupResponse::default().with_error_code(error.code())
    }

    fn throttle(response: &mut LeaveGroupResponse, ms: i32) {
        response.throttle_time_ms = ms;
    }
}

fn write(version: i16, members: Vec<MemberIdentity>, codes: Vec<ErrorCode>) -> LeaveGroupResponse {
    if version < 3 {
        let code = codes.first().copied().unwrap_or(ErrorCode::None);
        return LeaveGroupResponse::default().with_error_code(code.code());
    }
    let results = members.into_iter().zip(codes).map(|(member, code)| {
        MemberResponse::default()
            .with_member_id(member.member_id)
            .with_group_instance_id(member.group_instance_id)
            .with_error_code(code.code())
    });
    LeaveGroupResponse::default().with_members(results.collect())
}
