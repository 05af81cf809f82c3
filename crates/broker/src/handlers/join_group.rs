//! JoinGroup 0–9.
//!
//! v1 adds the rebalance timeout, v2 the throttle time, v3 nothing, v4 the MEMBER_ID_REQUIRED round
//! (KIP-394), v5 static members (KIP-345), v6 is flexible, v7 adds the protocol type to the answer
//! (KIP-559), v8 a reason (KIP-800), v9 `skip_assignment` (KIP-814). Nothing is missing.

use std::ops::RangeInclusive;
use std::time::Duration;

use ferrokafka_wire::ErrorCode;
use ferrokafka_wire::messages::join_group_response::JoinGroupResponseMember;
use ferrokafka_wire::messages::{JoinGroupRequest, JoinGroupResponse};

use super::coordinator_check::coordinates_members;
use super::text;
use crate::dispatch::{Context, Handler};
use crate::group::Name;
use crate::group::join::{JoinReply, JoinRequest};
use crate::group::member::Protocol;

pub(crate) struct JoinGroup;

impl Handler for JoinGroup {
    type Request = JoinGroupRequest;

    const VERSIONS: RangeInclusive<i16> = 0..=9;

    async fn handle(cx: Context, request: JoinGroupRequest) -> JoinGroupResponse {
        if let Err(code) = coordinates_members(&cx, &request.group_id) {
            // Only the group itself repeats the member's id.
            let member = match code {
                ErrorCode::InvalidGroupId => (&*request.member_id).into(),
                _ => "".into(),
            };
            return write(cx.version, JoinReply::error(member, code));
        }
        let group = request.group_id.clone();
        let version = cx.version;
        let reply = cx.broker.groups.join(&group, read(&cx, request)).await;
        write(version, reply)
    }

    fn reject(cx: &Context, _: &JoinGroupRequest, error: ErrorCode) -> JoinGroupResponse {
        write(cx.version, JoinReply::error("".into(), error))
    }

    fn throttle(response: &mut JoinGroupResponse, ms: i32) {
        response.throttle_time_ms = ms;
    }
}

fn read(cx: &Context, request: JoinGroupRequest) -> JoinRequest {
    let session_timeout = millis(request.session_timeout_ms);
    let protocols = request.protocols.into_iter().map(|offered| Protocol {
        name: (&*offered.name).into(),
        metadata: offered.metadata,
    });
    JoinRequest {
        member_id: (&*request.member_id).into(),
        instance: request.group_instance_id.map(|id| Name::from(&*id)),
        client_id: cx.client_id.as_deref().unwrap_or_default().into(),
        client_host: cx.client_host.clone(),
        session_timeout,
        rebalance_timeout: match cx.version {
            0 => session_timeout,
            _ => millis(request.rebalance_timeout_ms),
        },
        protocol_type: (&*request.protocol_type).into(),
        protocols: protocols.collect(),
        requires_known_id: cx.version >= 4,
        may_skip_assignment: cx.version >= 9,
        reason: request.reason.map(|reason| Name::from(&*reason)),
    }
}

fn millis(ms: i32) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}

fn write(version: i16, reply: JoinReply) -> JoinGroupResponse {
    let members = reply.members.into_iter().map(|member| {
        let instance = member.instance.filter(|_| version >= 5);
        JoinGroupResponseMember::default()
            .with_member_id(text(&*member.id))
            .with_group_instance_id(instance.map(|id| text(&*id)))
            .with_metadata(member.metadata)
    });
    // Null in an error is allowed from v7 on; before, it is the empty name.
    let protocol = match reply.protocol {
        None if version < 7 => Some(text("")),
        protocol => protocol.map(|name| text(&*name)),
    };
    JoinGroupResponse::default()
        .with_error_code(reply.error.code())
        .with_generation_id(reply.generation)
        .with_protocol_type(
            reply
                .protocol_type
                .filter(|_| version >= 7)
                .map(|name| text(&*name)),
        )
        .with_protocol_name(protocol)
        .with_leader(text(&*reply.leader))
        .with_skip_assignment(reply.skip_assignment && version >= 9)
        .with_member_id(text(&*reply.member_id))
        .with_members(members.collect())
}
