//! Whether this node may answer for a group, asked by every group API.

use ferrokafka_wire::ErrorCode;

use crate::dispatch::Context;

/// NOT_COORDINATOR unless the node coordinates the group. The empty group id is a group like others
/// to the offset APIs, because old simple consumers commit under it.
pub(super) fn coordinates(cx: &Context, group: &str) -> Result<(), ErrorCode> {
    cx.broker.check_group_coordinator(cx.node, group)
}

/// The same for APIs of members, to whom an empty group id is an error.
pub(super) fn coordinates_members(cx: &Context, group: &str) -> Result<(), ErrorCode> {
    if group.is_empty() {
        return Err(ErrorCode::InvalidGroupId);
    }
    coordinates(cx, group)
}
