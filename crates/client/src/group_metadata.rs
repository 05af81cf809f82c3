//! What a consumer tells a transactional producer about its membership (KIP-447).

use std::sync::Arc;

/// Who commits: a group, and the member and generation that make an outdated committer recognisable.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct GroupMetadata {
    /// The group's id.
    pub group_id: Arc<str>,
    /// The generation the member belongs to; -1 outside a group.
    pub generation: i32,
    /// The member's id, given by the coordinator; empty outside a group.
    pub member_id: Arc<str>,
    /// The static identity, `group.instance.id`, if one is configured.
    pub group_instance_id: Option<Arc<str>>,
}

impl GroupMetadata {
    /// A committer that is no member: generation -1 and no member id, which brokers take for offsets
    /// kept by hand.
    pub fn without_member(group_id: impl Into<Arc<str>>) -> Self {
        Self {
            group_id: group_id.into(),
            generation: -1,
            member_id: Arc::from(""),
            group_instance_id: None,
        }
    }
}
