//! SyncGroup 0–5.
//!
//! v1 adds the throttle time, v2 nothing, v3 static members (KIP-345), v4 is flexible, v5 names the
//! protocol on both sides (KIP-559). Nothing is missing.

use std::ops::RangeInclusive;

use ferrokafka_wire::ErrorCode;
use ferrokafka_wire::messages::{SyncGroupRequest, SyncGroupResponse};

use super::coordinator_check::coordinates_members;
use super::text;
use crate::dispatch::{Context, Handler};
use crate::group::Name;
use crate::group::classic::Claim;
use crate::group::sync::{SyncReply, SyncRequest};

pub(crate) struct SyncGroup;

impl Handler for SyncGroup {
    type Request = SyncGroupRequest;

    const VERSIONS: RangeInclusive<i16> = 0..=5;

    async fn handle(cx: Context, request: SyncGroupRequest) -> SyncGroupResponse {
        if cx.version >= 5 && (request.protocol_type.is_none() || request.protocol_name.is_none()) {
            return Self::reject(&cx, &request, ErrorCode::InconsistentGroupProtocol);
        }
        if let Err(code) = coordinates_members(&cx, &request.group_id) {
            return Self::reject(&cx, &request, code);
        }
        let group = request.group_id.clone();
        write(
            cx.version,
            cx.broker.groups.sync(&group, read(request)).await,
        )
    }

    fn reject(cx: &Context, _: &SyncGroupRequest, error: ErrorCode) -> SyncGroupResponse {
        write(cx.version, SyncReply::error(error))
    }

    fn throttle(response: &mut SyncGroupResponse, ms: i32) {
        response.throttle_time_ms = ms;
    }
}

fn read(request: SyncGroupRequest) -> SyncRequest {
    let name = |text: &str| Name::from(text);
    SyncRequest {
        claim: Claim {
            member: name(&request.member_id),
            instance: request.group_instance_id.map(|id| name(&id)),
            generation: request.generation_id,
        },
        protocol_type: request.protocol_type.map(|text| name(&text)),
        protocol: request.protocol_name.map(|text| name(&text)),
        assignments: request
            .assignments
            .into_iter()
            .map(|assignment| (name(&assignment.member_id), assignment.assignment))
            .collect(),
    }
}

fn write(version: i16, reply: SyncReply) -> SyncGroupResponse {
    let named = |name: Option<Name>| name.filter(|_| version >= 5).map(|name| text(&*name));
    SyncGroupResponse::default()
        .with_error_code(reply.error.code())
        .with_protocol_type(named(reply.protocol_type))
        .with_protocol_name(named(reply.protocol))
        .with_assignment(reply.assignment)
}
