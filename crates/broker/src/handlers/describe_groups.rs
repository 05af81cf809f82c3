//! DescribeGroups 0–5.
//!
//! v1 adds the throttle time, v2 nothing, v3 authorized operations (KIP-430), v4 the instance ids of
//! static members (KIP-345), v5 is flexible. An unknown group is `Dead` and no error. Missing: v6
//! (KIP-1043), where it is GROUP_ID_NOT_FOUND.

use std::ops::RangeInclusive;

use bytes::Bytes;
use ferrokafka_wire::ErrorCode;
use ferrokafka_wire::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use ferrokafka_wire::messages::{DescribeGroupsRequest, DescribeGroupsResponse, GroupId};

use super::coordinator_check::coordinates;
use super::text;
use crate::dispatch::{Context, Handler};
use crate::group::classic::{Group, State};
use crate::group::member::Member;

pub(crate) struct DescribeGroups;

/// READ, DELETE, DESCRIBE, DESCRIBE_CONFIGS and ALTER_CONFIGS, which is what a group knows; without
/// an authorizer everyone may do all of it.
const OPERATIONS: i32 = 1 << 3 | 1 << 6 | 1 << 8 | 1 << 10 | 1 << 11;

impl Handler for DescribeGroups {
    type Request = DescribeGroupsRequest;

    const VERSIONS: RangeInclusive<i16> = 0..=5;

    async fn handle(cx: Context, request: DescribeGroupsRequest) -> DescribeGroupsResponse {
        let groups = request.groups.iter().map(|id| {
            if let Err(code) = coordinates(&cx, id) {
                return failed(id, code);
            }
            let described = cx
                .broker
                .groups
                .read(id, |group| describe(cx.version, group));
            let described = described
                .unwrap_or_else(|| DescribedGroup::default().with_group_state(text("Dead")))
                .with_group_id(id.clone());
            match request.include_authorized_operations {
                true => described.with_authorized_operations(OPERATIONS),
                false => described,
            }
        });
        DescribeGroupsResponse::default().with_groups(groups.collect())
    }

    fn reject(
        _: &Context,
        request: &DescribeGroupsRequest,
        error: ErrorCode,
    ) -> DescribeGroupsResponse {
        let groups = request.groups.iter().map(|id| failed(id, error));
        DescribeGroupsResponse::default().with_groups(groups.collect())
    }

    fn throttle(response: &mut DescribeGroupsResponse, ms: i32) {
        response.throttle_time_ms = ms;
    }
}

fn failed(id: &GroupId, error: ErrorCode) -> DescribedGroup {
    DescribedGroup::default()
        .with_group_id(id.clone())
        .with_error_code(error.code())
}

/// Protocol, subscriptions and assignments are only told of a stable group: before, they are in flux.
fn describe(version: i16, group: &Group) -> DescribedGroup {
    let protocol = group.protocol().filter(|_| group.state() == State::Stable);
    let members = group
        .members()
        .map(|member| describe_member(version, member, protocol));
    DescribedGroup::default()
        .with_group_state(text(group.state().to_string()))
        .with_protocol_type(text(group.protocol_type().unwrap_or_default()))
        .with_protocol_data(text(protocol.unwrap_or_default()))
        .with_members(members.collect())
}

fn describe_member(version: i16, member: &Member, protocol: Option<&str>) -> DescribedGroupMember {
    let instance = member.instance.as_deref().filter(|_| version >= 4);
    let (metadata, assignment) = match protocol {
        Some(protocol) => (member.metadata(protocol), member.assignment.clone()),
        None => (Bytes::new(), Bytes::new()),
    };
    DescribedGroupMember::default()
        .with_member_id(text(&*member.id))
        .with_group_instance_id(instance.map(text))
        .with_client_id(text(&*member.client_id))
        .with_client_host(text(&*member.client_host))
        .with_member_metadata(metadata)
        .with_member_assignment(assignment)
}
