//! Assignors: who of a group gets which partition.
//!
//! The leader of a classic group runs one of them over the subscriptions of all members. For the
//! same input they give what the assignors of Apache Kafka's Java client give
//! (`tests/golden/assignors.txt` was written by those), because a group's members may be of
//! several clients and any of them can be its leader.
//!
//! Not here: the rack-aware variants (KIP-881). Racks are carried, and ignored.

pub(crate) mod java_hash;
pub(crate) mod protocol;
mod range;
mod round_robin;
mod sticky;
mod sticky_general;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use bytes::Bytes;
use ferrokafka_client::TopicPartition;

/// A member of the group as its leader sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupMember {
    /// The id which the coordinator gave.
    pub member_id: Arc<str>,
    /// `group.instance.id` of a static member.
    pub group_instance_id: Option<Arc<str>>,
    /// The topics subscribed.
    pub topics: Vec<Arc<str>>,
    /// What the member says it owns; empty under the eager protocol.
    pub owned: Vec<TopicPartition>,
    /// The generation in which it came to own them; -1 if it does not say.
    pub generation: i32,
    /// `client.rack`.
    pub rack: Option<Arc<str>>,
    /// Bytes of the assignor's own.
    pub user_data: Option<Bytes>,
}

impl GroupMember {
    /// Static members come first, by instance id; then the others by member id. This is the
    /// order in which range and round robin count members.
    fn rank(&self) -> (bool, &str) {
        match &self.group_instance_id {
            Some(instance) => (false, instance),
            None => (true, &self.member_id),
        }
    }
}

/// Partitions by member id.
pub type Assignment = BTreeMap<Arc<str>, Vec<TopicPartition>>;

/// Whether members give everything back before a rebalance or keep what they will keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RebalanceProtocol {
    /// Every member revokes all partitions before it joins.
    Eager,
    /// A member keeps its partitions, and gives back only those which move (KIP-429).
    Cooperative,
}

/// A custom assignor.
pub trait PartitionAssignor: fmt::Debug + Send + Sync + 'static {
    /// The name by which members agree on it.
    fn name(&self) -> &str;

    /// The protocol it is made for. A cooperative assignor must not give a partition to a member
    /// while another one still owns it.
    fn rebalance_protocol(&self) -> RebalanceProtocol {
        RebalanceProtocol::Eager
    }

    /// Assigns `partitions` (their number by topic; a topic that does not exist is absent) to `members`.
    fn assign(&self, partitions: &BTreeMap<Arc<str>, i32>, members: &[GroupMember]) -> Assignment;
}

/// An assignor, as in `partition.assignment.strategy`.
#[derive(Clone, Debug)]
pub enum Assignor {
    /// `range`: per topic, neighbouring partitions; topics with equal counts are co-partitioned.
    Range,
    /// `roundrobin`: all partitions dealt in turn.
    RoundRobin,
    /// `cooperative-sticky`: balanced, and moves as little as it can without stopping the others.
    CooperativeSticky,
    /// One of your own.
    Custom(Arc<dyn PartitionAssignor>),
}

impl Assignor {
    /// The name by which members agree on it.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Range => "range",
            Self::RoundRobin => "roundrobin",
            Self::CooperativeSticky => "cooperative-sticky",
            Self::Custom(custom) => custom.name(),
        }
    }

    /// The protocol it is made for.
    #[must_use]
    pub fn rebalance_protocol(&self) -> RebalanceProtocol {
        match self {
            Self::Range | Self::RoundRobin => RebalanceProtocol::Eager,
            Self::CooperativeSticky => RebalanceProtocol::Cooperative,
            Self::Custom(custom) => custom.rebalance_protocol(),
        }
    }

    /// Assigns `partitions` (their number by topic) to `members`, which stand in the order of the
    /// coordinator's answer. Every member has an entry in the result, which may be empty.
    #[must_use]
    pub fn assign(
        &self,
        partitions: &BTreeMap<Arc<str>, i32>,
        members: &[GroupMember],
    ) -> Assignment {
        let mut assignment = match self {
            Self::Range => range::assign(partitions, members),
            Self::RoundRobin => round_robin::assign(partitions, members),
            Self::CooperativeSticky => sticky::assign(partitions, members),
            Self::Custom(custom) => custom.assign(partitions, members),
        };
        for member in members {
            assignment.entry(member.member_id.clone()).or_default();
        }
        assignment
    }
}

impl PartialEq for Assignor {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

impl FromStr for Assignor {
    type Err = String;

    /// Reads our names and the Java class names of `partition.assignment.strategy`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let name = text.trim();
        match name.rsplit('.').next().unwrap_or(name) {
            "range" | "RangeAssignor" => Ok(Self::Range),
            "roundrobin" | "RoundRobinAssignor" => Ok(Self::RoundRobin),
            "cooperative-sticky" | "CooperativeStickyAssignor" => Ok(Self::CooperativeSticky),
            _ => Err(format!(
                "unknown assignor {name:?}; known are range, roundrobin and cooperative-sticky"
            )),
        }
    }
}

/// The protocol which a list of assignors allows: cooperative only if all of them are.
pub(crate) fn common_protocol(assignors: &[Assignor]) -> RebalanceProtocol {
    let cooperative = |a: &Assignor| a.rebalance_protocol() == RebalanceProtocol::Cooperative;
    if !assignors.is_empty() && assignors.iter().all(cooperative) {
        RebalanceProtocol::Cooperative
    } else {
        RebalanceProtocol::Eager
    }
}

/// All topics that a member subscribed to, in order.
pub(crate) fn subscribed_topics(members: &[GroupMember]) -> BTreeSet<Arc<str>> {
    members
        .iter()
        .flat_map(|m| m.topics.iter().cloned())
        .collect()
}

#[cfg(test)]
#[path = "assignor/tests.rs"]
mod tests;
