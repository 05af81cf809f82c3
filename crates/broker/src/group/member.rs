//! One member of a classic group.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::{Name, Ticket};

/// One protocol (assignor) a member offers, with its opaque metadata.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Protocol {
    pub(crate) name: Name,
    pub(crate) metadata: Bytes,
}

/// What a member says of itself when it joins, and what the group keeps of it.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub(crate) id: Name,
    /// `group.instance.id`: present for a static member.
    pub(crate) instance: Option<Name>,
    pub(crate) client_id: Name,
    pub(crate) client_host: Name,
    pub(crate) rebalance_timeout: Duration,
    pub(crate) session_timeout: Duration,
    /// In the member's order of preference.
    pub(crate) protocols: Vec<Protocol>,
    pub(crate) assignment: Bytes,
    /// True until the first generation it takes part in: such a member cannot heartbeat yet, so the
    /// new-member timeout applies even while its JoinGroup is parked.
    pub(super) is_new: bool,
    pub(super) join: Option<Ticket>,
    pub(super) sync: Option<Ticket>,
    /// When the session ends unless something is heard. `None` while a parked request keeps it.
    pub(super) deadline: Option<Instant>,
}

impl Member {
    /// The opaque metadata for `protocol`; empty if the member does not offer it.
    pub(crate) fn metadata(&self, protocol: &str) -> Bytes {
        self.protocols
            .iter()
            .find(|offered| &*offered.name == protocol)
            .map(|offered| offered.metadata.clone())
            .unwrap_or_default()
    }

    pub(super) fn offers(&self, protocol: &str) -> bool {
        self.protocols
            .iter()
            .any(|offered| &*offered.name == protocol)
    }

    /// Whether the end of the session timer evicts it. A parked JoinGroup or SyncGroup counts as a
    /// heartbeat, save for a member that has not been told its id.
    pub(super) fn satisfied_heartbeat(&self) -> bool {
        !self.is_new && (self.join.is_some() || self.sync.is_some())
    }
}
