//! Where a request goes: to which broker, and over which of its connections.

use crate::topic_partition::TopicPartition;

/// A broker's id, `node.id` or `broker.id` in its own configuration.
pub type NodeId = i32;

/// Which of a broker's connections carries a request.
///
/// A broker answers each connection strictly in order, so a request waits behind everything sent
/// before it. What may block for long therefore has a connection of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Lane {
    /// Produce requests.
    Produce,
    /// Fetch requests: long polls.
    Fetch,
    /// Coordinator, metadata, admin: everything short.
    Control,
    /// Group barriers, JoinGroup and SyncGroup, which wait for the other members. On this lane
    /// `request.timeout.ms` does not apply: the caller's deadline alone bounds the wait.
    Join,
}

impl Lane {
    /// The lane's name, for logs and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Produce => "produce",
            Self::Fetch => "fetch",
            Self::Control => "control",
            Self::Join => "join",
        }
    }
}

/// Which broker a request wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Route<'a> {
    /// Any broker that answers.
    Any,
    /// The active controller (any broker forwards to it in KRaft mode).
    Controller,
    /// This broker and no other.
    Node(NodeId),
    /// The coordinator of this group.
    Group(&'a str),
    /// The coordinator of this transactional id.
    Transaction(&'a str),
    /// The leader of this partition.
    Leader(&'a TopicPartition),
}

/// What a coordinator coordinates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CoordinatorKind {
    /// A consumer group, by its id.
    Group,
    /// A transactional producer, by its transactional id.
    Transaction,
}

impl CoordinatorKind {
    /// The value of FindCoordinator's `key_type`.
    pub(crate) fn key_type(self) -> i8 {
        match self {
            Self::Group => 0,
            Self::Transaction => 1,
        }
    }
}
