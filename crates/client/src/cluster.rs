//! What is known of the cluster: brokers, topics, leaders. An immutable snapshot.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use ferrokafka_wire::ErrorCode;
use ferrokafka_wire::messages::metadata_response::{
    MetadataResponsePartition, MetadataResponseTopic,
};
use ferrokafka_wire::messages::{BrokerId, MetadataResponse};
use uuid::Uuid;

use crate::route::NodeId;
use crate::topic_partition::TopicPartition;

/// What is known of the cluster, at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cluster {
    /// The cluster's id.
    pub cluster_id: Option<Arc<str>>,
    /// The broker that stands for the controller.
    pub controller: Option<NodeId>,
    /// The brokers alive, by id.
    pub brokers: BTreeMap<NodeId, Broker>,
    /// The topics asked for so far, also those that do not exist (see [`Topic::error`]).
    pub topics: HashMap<Arc<str>, Topic>,
}

/// A broker and where it says it can be reached.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Broker {
    /// The advertised host.
    pub host: Arc<str>,
    /// The advertised port.
    pub port: u16,
    /// The rack, if brokers are told theirs.
    pub rack: Option<Arc<str>>,
}

/// A topic and its partitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// The topic's id; nil where the broker is too old to tell, or the topic does not exist.
    pub id: Uuid,
    /// Whether the cluster keeps it for itself (`__consumer_offsets`).
    pub internal: bool,
    /// The partitions, ordered by number; empty if there is an error.
    pub partitions: Vec<Partition>,
    /// Why there is nothing to know: `UnknownTopicOrPartition` if the topic does not exist.
    pub error: ErrorCode,
}

/// A partition and who has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// The partition's number.
    pub id: i32,
    /// The leader; none during an election.
    pub leader: Option<NodeId>,
    /// The leader's epoch; -1 where the broker is too old to tell.
    pub leader_epoch: i32,
    /// All replicas, the preferred leader first.
    pub replicas: Vec<NodeId>,
    /// The replicas in sync.
    pub isr: Vec<NodeId>,
    /// The replicas whose broker or disk is away.
    pub offline: Vec<NodeId>,
}

impl Cluster {
    /// The leader of a partition and its epoch, if there is one now.
    #[must_use]
    pub fn leader(&self, topic_partition: &TopicPartition) -> Option<(NodeId, i32)> {
        let partition = self.partition(topic_partition)?;
        Some((partition.leader?, partition.leader_epoch))
    }

    /// A partition, if the topic is known and has it.
    #[must_use]
    pub fn partition(&self, topic_partition: &TopicPartition) -> Option<&Partition> {
        let topic = self.topics.get(&*topic_partition.topic)?;
        let index = topic
            .partitions
            .binary_search_by_key(&topic_partition.partition, |partition| partition.id)
            .ok()?;
        topic.partitions.get(index)
    }

    /// How many partitions a topic has, if it is known to exist.
    #[must_use]
    pub fn partition_count(&self, topic: &str) -> Option<i32> {
        let topic = self.topics.get(topic)?;
        if !topic.error.is_none() {
            return None;
        }
        i32::try_from(topic.partitions.len()).ok()
    }

    /// A topic, if it was asked for.
    #[must_use]
    pub fn topic(&self, name: &str) -> Option<&Topic> {
        self.topics.get(name)
    }

    /// The name of the topic with this id.
    #[must_use]
    pub fn topic_name(&self, id: Uuid) -> Option<&Arc<str>> {
        self.topics
            .iter()
            .find(|(_, topic)| topic.id == id && !id.is_nil())
            .map(|(name, _)| name)
    }

    /// This snapshot brought up to date by an answer. `asked_all` says that the answer lists every
    /// topic, so that those it leaves out are gone.
    pub(crate) fn merged(&self, response: &MetadataResponse, asked_all: bool) -> Self {
        let cluster_id: Option<Arc<str>> = response.cluster_id.as_deref().map(Arc::from);
        // Another cluster answers now (KIP-899 rebootstrap, or a cluster set up anew): what was known
        // of topics is about the old one, and its epochs must not hold back the new ones.
        let other_cluster = self.cluster_id.is_some() && cluster_id != self.cluster_id;
        let known = if other_cluster {
            &HashMap::new()
        } else {
            &self.topics
        };
        let mut topics = if asked_all {
            HashMap::new()
        } else {
            known.clone()
        };
        for topic in &response.topics {
            let Some(name) = topic.name.as_ref() else {
                continue;
            };
            let name: Arc<str> = match known.get_key_value(name.as_str()) {
                Some((name, _)) => Arc::clone(name),
                None => Arc::from(name.as_str()),
            };
            let merged = Topic::merged(known.get(&name), topic);
            topics.insert(name, merged);
        }
        Self {
            cluster_id,
            controller: Some(response.controller_id.0).filter(|id| *id >= 0),
            brokers: response
                .brokers
                .iter()
                .filter_map(|broker| {
                    let port = u16::try_from(broker.port).ok()?;
                    let broker_seen = Broker {
                        host: Arc::from(broker.host.as_str()),
                        port,
                        rack: broker.rack.as_deref().map(Arc::from),
                    };
                    Some((broker.node_id.0, broker_seen))
                })
                .collect(),
            topics,
        }
    }

    /// This snapshot with a newer leader, or none if what is known is as new.
    pub(crate) fn with_leader(
        &self,
        topic_partition: &TopicPartition,
        leader: NodeId,
        leader_epoch: i32,
    ) -> Option<Self> {
        if self.partition(topic_partition)?.leader_epoch >= leader_epoch {
            return None;
        }
        let mut cluster = self.clone();
        let topic = cluster.topics.get_mut(&*topic_partition.topic)?;
        let partition = topic
            .partitions
            .iter_mut()
            .find(|partition| partition.id == topic_partition.partition)?;
        partition.leader = Some(leader);
        partition.leader_epoch = leader_epoch;
        Some(cluster)
    }
}

impl From<&MetadataResponsePartition> for Partition {
    fn from(partition: &MetadataResponsePartition) -> Self {
        let ids = |nodes: &[BrokerId]| nodes.iter().map(|node| node.0).collect();
        Self {
            id: partition.partition_index,
            leader: Some(partition.leader_id.0).filter(|id| *id >= 0),
            leader_epoch: partition.leader_epoch,
            replicas: ids(&partition.replica_nodes),
            isr: ids(&partition.isr_nodes),
            offline: ids(&partition.offline_replicas),
        }
    }
}

impl Topic {
    /// What an answer says, but for partitions of which a newer leader epoch is known: a broker that
    /// lags behind answers from old metadata.
    fn merged(known: Option<&Self>, answer: &MetadataResponseTopic) -> Self {
        let error = ErrorCode::from_code(answer.error_code);
        let known = known.filter(|known| known.id == answer.topic_id);
        let mut partitions: Vec<Partition> = answer
            .partitions
            .iter()
            .map(|partition| {
                let seen = Partition::from(partition);
                match known.and_then(|known| known.partition(seen.id)) {
                    Some(newer)
                        if newer.leader_epoch > seen.leader_epoch && seen.leader_epoch >= 0 =>
                    {
                        newer.clone()
                    }
                    _ => seen,
                }
            })
            .collect();
        partitions.sort_by_key(|partition| partition.id);
        partitions.dedup_by_key(|partition| partition.id);
        Self {
            id: answer.topic_id,
            internal: answer.is_internal,
            partitions,
            error,
        }
    }

    fn partition(&self, id: i32) -> Option<&Partition> {
        self.partitions.iter().find(|partition| partition.id == id)
    }
}
