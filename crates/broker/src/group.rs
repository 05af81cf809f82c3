//! The group coordinator: classic consumer groups and their committed offsets.
//!
//! Two layers. [`classic::Group`] is one group as a plain state machine: commands and the time go in,
//! answers and journal entries come out; it knows neither tasks nor sockets. [`coordinator`] holds
//! all groups, answers parked JoinGroup and SyncGroup requests through oneshots, drives the timers
//! with one task and writes the journal. Which logical node coordinates a group is
//! the broker's business: it is asked before a command comes here, and reports moves.
//!
//! What is here is Kafka's classic protocol (JoinGroup 0–9 and its companions), static membership
//! (KIP-345), known member ids (KIP-394) and offset storage. The newer group protocol (KIP-848) and
//! transactional offset commits are not.

pub(crate) mod classic;
pub(crate) mod commits;
pub(crate) mod coordinator;
mod expiry;
pub(crate) mod join;
pub(crate) mod leave;
pub(crate) mod member;
mod member_id;
pub(crate) mod offsets;
mod record;
mod restore;
mod subscription;
pub(crate) mod sync;
mod timers;

use std::sync::Arc;
use std::time::Duration;

pub(crate) use coordinator::GroupCoordinator;
use tokio::time::Instant;

use crate::config::BrokerConfig;

/// Settings of the coordinator, by Kafka's names.
#[derive(Debug, Clone)]
pub(crate) struct GroupConfig {
    /// `group.initial.rebalance.delay.ms`. Kafka waits 3 s for further members before the first
    /// rebalance of an empty group; here the default is 0, because demos and tests want the first
    /// assignment at once, and the price (one more rebalance per further member) is theirs to see.
    pub(crate) initial_rebalance_delay: Duration,
    /// `group.min.session.timeout.ms`.
    pub(crate) session_timeout_min: Duration,
    /// `group.max.session.timeout.ms`.
    pub(crate) session_timeout_max: Duration,
    /// `group.max.size`.
    pub(crate) members_max: usize,
    /// How long a member that never saw its id may wait in its first JoinGroup; Kafka's constant.
    pub(crate) new_member_join_timeout: Duration,
    /// `offsets.retention.minutes`.
    pub(crate) offsets_retention: Duration,
    /// `offsets.retention.check.interval.ms`.
    pub(crate) offsets_retention_check: Duration,
    /// `offset.metadata.max.bytes`.
    pub(crate) offset_metadata_bytes_max: usize,
}

impl Default for GroupConfig {
    fn default() -> Self {
        Self {
            initial_rebalance_delay: Duration::ZERO,
            session_timeout_min: Duration::from_secs(6),
            session_timeout_max: Duration::from_secs(30 * 60),
            members_max: i32::MAX as usize,
            new_member_join_timeout: Duration::from_secs(5 * 60),
            offsets_retention: Duration::from_secs(7 * 24 * 3600),
            offsets_retention_check: Duration::from_secs(600),
            offset_metadata_bytes_max: 4096,
        }
    }
}

impl From<&BrokerConfig> for GroupConfig {
    fn from(config: &BrokerConfig) -> Self {
        let millis = |ms: i64| Duration::from_millis(u64::try_from(ms).unwrap_or(0));
        Self {
            initial_rebalance_delay: millis(config.group_initial_rebalance_delay_ms.into()),
            session_timeout_min: millis(config.group_min_session_timeout_ms.into()),
            session_timeout_max: millis(config.group_max_session_timeout_ms.into()),
            members_max: usize::try_from(config.group_max_size).unwrap_or(usize::MAX),
            offsets_retention: millis(i64::from(config.offsets_retention_minutes) * 60_000),
            offsets_retention_check: millis(config.offsets_retention_check_interval_ms),
            offset_metadata_bytes_max: usize::try_from(config.offset_metadata_max_bytes)
                .unwrap_or(0),
            ..Self::default()
        }
    }
}

/// The time, as timers and as timestamps see it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Now {
    /// For timers.
    pub(crate) instant: Instant,
    /// Milliseconds since 1970, for what outlives the process.
    pub(crate) ms: i64,
}

/// Names one parked or running request; the answer carries it back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Ticket(pub(crate) u64);

/// A shared name: group id, member id, topic.
pub(crate) type Name = Arc<str>;

#[cfg(test)]
mod tests;
