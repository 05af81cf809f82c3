//! ListGroups 0–5.
//!
//! v1 adds the throttle time, v2 nothing, v3 is flexible, v4 adds states and a filter on them
//! (KIP-518), v5 types and a filter on them (KIP-848); every group here is `classic`. Nothing is
//! missing.

use std::ops::RangeInclusive;

use ferrokafka_wire::ErrorCode;
use ferrokafka_wire::messages::list_groups_response::ListedGroup;
use ferrokafka_wire::messages::{GroupId, ListGroupsRequest, ListGroupsResponse};
use ferrokafka_wire::protocol::StrBytes;

use super::coordinator_check::coordinates;
use super::text;
use crate::dispatch::{Context, Handler};
use crate::group::classic::Group;

pub(crate) struct ListGroups;

impl Handler for ListGroups {
    type Request = ListGroupsRequest;

    const VERSIONS: RangeInclusive<i16> = 0..=5;

    async fn handle(cx: Context, request: ListGroupsRequest) -> ListGroupsResponse {
        let wanted = |filter: &[StrBytes], value: &str| {
            filter.is_empty()
                || filter
                    .iter()
                    .any(|allowed| allowed.eq_ignore_ascii_case(value))
        };
        let mut listed = Vec::new();
        for id in cx.broker.groups.ids() {
            // Each node lists what it coordinates; the client asks them all.
            if coordinates(&cx, &id).is_err() {
                continue;
            }
            let read = |group: &Group| (list(cx.version, &id, group), group.state().to_string());
            let Some((group, state)) = cx.broker.groups.read(&id, read) else {
                continue;
            };
            if wanted(&request.states_filter, &state) && wanted(&request.types_filter, "classic") {
                listed.push(group);
            }
        }
        ListGroupsResponse::default().with_groups(listed)
    }

    fn reject(_: &Context, _: &ListGroupsRequest, error: ErrorCode) -> ListGroupsResponse {
        ListGroupsResponse::default().with_error_code(error.code())
    }

    fn throttle(response: &mut ListGroupsResponse, ms: i32) {
        response.throttle_time_ms = ms;
    }
}

fn list(version: i16, id: &str, group: &Group) -> ListedGroup {
    let mut listed = ListedGroup::default()
        .with_group_id(GroupId(text(id)))
        .with_protocol_type(text(group.protocol_type().unwrap_or_default()));
    if version >= 4 {
        listed = listed.with_group_state(text(group.state().to_string()));
    }
    if version >= 5 {
        listed = listed.with_group_type(text("classic"));
    }
    listed
}
