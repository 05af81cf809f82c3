//! State shared by all nodes of one process, and what changes it.
//!
//! Lock order: `nodes`, then `topics`, then a topic's partition list, then a partition. None is held
//! across an `.await`.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use ferrokafka_wire::ErrorCode;
use parking_lot::{Mutex, RwLock};
use uuid::Uuid;

use crate::clock::Clock;
use crate::config::{self, BrokerConfig};
use crate::dispatch::Dispatch;
use crate::group::{GroupConfig, GroupCoordinator};
use crate::handlers;
use crate::journal::Journal;
use crate::testkit::faults::Faults;
use crate::topic::{Leadership, Partition, Settings, Topic, Topics, name_error, names_collide};

/// A node's number, from 1.
pub type NodeId = i32;

/// Most partitions of one topic; a hostile count must not be able to fill memory.
const PARTITIONS_MAX: i32 = 10_000;

/// A node as clients see it.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) id: NodeId,
    pub(crate) host: Arc<str>,
    pub(crate) port: u16,
    pub(crate) alive: bool,
}

/// What a coordinator coordinates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum CoordinatorKind {
    Group,
    Transaction,
}

/// A topic to create, as CreateTopics asks for it.
#[derive(Debug, Clone, Default)]
pub(crate) struct NewTopic {
    pub(crate) name: String,
    /// `None` for the broker's default.
    pub(crate) partitions: Option<i32>,
    /// `None` for the broker's default.
    pub(crate) replication_factor: Option<i16>,
    /// Replicas per partition, instead of the two numbers.
    pub(crate) assignments: BTreeMap<i32, Vec<NodeId>>,
    pub(crate) configs: BTreeMap<String, String>,
}

/// An error code with the message a client shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: ErrorCode,
    pub(crate) message: String,
}

impl Refusal {
    pub(crate) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }
}

/// What every handler reaches.
pub(crate) struct Broker {
    pub(crate) config: BrokerConfig,
    pub(crate) cluster_id: String,
    pub(crate) groups: GroupCoordinator,
    pub(crate) faults: Faults,
    /// Where ids that look random come from: one seed, the same ids.
    random: Mutex<fastrand::Rng>,
    dispatch: Dispatch,
    nodes: RwLock<BTreeMap<NodeId, Node>>,
    topics: RwLock<Topics>,
    /// Keys whose coordinator a test moved.
    moved_coordinators: Mutex<HashMap<(CoordinatorKind, String), NodeId>>,
}

impl Broker {
    pub(crate) fn new(
        config: BrokerConfig,
        clock: Clock,
        cluster_id: String,
        seed: u64,
        faults: Faults,
    ) -> Self {
        let groups =
            GroupCoordinator::new(GroupConfig::from(&config), clock, seed, Journal::memory());
        Self {
            config,
            cluster_id,
            groups,
            faults,
            random: Mutex::new(fastrand::Rng::with_seed(seed)),
            dispatch: Dispatch::new(handlers::apis()),
            nodes: RwLock::default(),
            topics: RwLock::default(),
            moved_coordinators: Mutex::default(),
        }
    }

    fn new_uuid(&self) -> Uuid {
        let bytes: [u8; 16] = self.random.lock().u128(..).to_be_bytes();
        uuid::Builder::from_random_bytes(bytes).into_uuid()
    }

    pub(crate) fn dispatch(&self) -> &Dispatch {
        &self.dispatch
    }

    /// Makes a node known, or known again at another address.
    pub(crate) fn register_node(&self, node: Node) {
        self.moving_groups(|| {
            self.nodes.write().insert(node.id, node);
        });
    }

    /// A node by number, alive or not.
    pub(crate) fn node(&self, id: NodeId) -> Option<Node> {
        self.nodes.read().get(&id).cloned()
    }

    /// The live nodes, in order.
    pub(crate) fn live_nodes(&self) -> Vec<Node> {
        self.nodes
            .read()
            .values()
            .filter(|node| node.alive)
            .cloned()
            .collect()
    }

    /// The live node that would administer the cluster.
    pub(crate) fn controller(&self) -> Option<NodeId> {
        self.nodes
            .read()
            .values()
            .find(|node| node.alive)
            .map(|node| node.id)
    }

    /// The node that coordinates `key`: where a test put it, else by hash over all nodes, live ones
    /// standing in for dead ones.
    pub(crate) fn coordinator(&self, kind: CoordinatorKind, key: &str) -> Option<NodeId> {
        let live = self.live_nodes();
        let moved = self
            .moved_coordinators
            .lock()
            .get(&(kind, key.to_owned()))
            .copied();
        if let Some(moved) = moved.filter(|id| live.iter().any(|node| node.id == *id)) {
            return Some(moved);
        }
        let hash = java_hash(key) & 0x7fff_ffff;
        let all = i32::try_from(self.nodes.read().len()).unwrap_or(i32::MAX);
        let home = (all > 0).then(|| hash % all + 1)?;
        live.iter()
            .find(|node| node.id >= home)
            .or(live.first())
            .map(|node| node.id)
    }

    /// Whether `node` may answer for group `group_id`.
    pub(crate) fn check_group_coordinator(
        &self,
        node: NodeId,
        group_id: &str,
    ) -> Result<(), ErrorCode> {
        if self.coordinator(CoordinatorKind::Group, group_id) == Some(node) {
            Ok(())
        } else {
            Err(ErrorCode::NotCoordinator)
        }
    }

    pub(crate) fn move_coordinator(&self, kind: CoordinatorKind, key: &str, node: NodeId) {
        self.moving_groups(|| {
            self.moved_coordinators
                .lock()
                .insert((kind, key.to_owned()), node);
        });
    }

    /// Makes a change after which groups may have another coordinator, and lets them move.
    fn moving_groups(&self, change: impl FnOnce()) {
        let coordinator = |group: &str| self.coordinator(CoordinatorKind::Group, group);
        let before: Vec<_> = self
            .groups
            .known()
            .into_iter()
            .map(|group| (coordinator(&group), group))
            .collect();
        change();
        for (old, group) in before {
            let new = coordinator(&group);
            if new != old {
                self.groups.moved(&group, new.is_some());
            }
        }
    }

    /// A topic by name.
    pub(crate) fn topic(&self, name: &str) -> Option<Arc<Topic>> {
        self.topics.read().get(name).cloned()
    }

    /// A topic by id.
    pub(crate) fn topic_by_id(&self, id: &Uuid) -> Option<Arc<Topic>> {
        self.topics.read().by_id(id).cloned()
    }

    /// Every topic, by name.
    pub(crate) fn topics(&self) -> Vec<Arc<Topic>> {
        self.topics.read().iter().cloned().collect()
    }

    /// Creates a topic, or only says whether it could be.
    pub(crate) fn create_topic(
        &self,
        new: &NewTopic,
        validate_only: bool,
    ) -> Result<Arc<Topic>, Refusal> {
        if let Some(reason) = name_error(&new.name) {
            return Err(Refusal::new(ErrorCode::InvalidTopicException, reason));
        }
        let assignments = self.assign(new)?;
        let effective = config::topic_config(&self.config, &new.configs)
            .map_err(|error| invalid_topic_config(&error))?;
        let settings = Settings {
            overrides: new.configs.clone(),
            effective,
        };
        let mut topics = self.topics.write();
        if topics.get(&new.name).is_some() {
            return Err(Refusal::new(
                ErrorCode::TopicAlreadyExists,
                format!("Topic '{}' already exists.", new.name),
            ));
        }
        if let Some(other) = topics
            .iter()
            .find(|topic| names_collide(&topic.name, &new.name))
        {
            return Err(Refusal::new(
                ErrorCode::InvalidTopicException,
                format!(
                    "Topic '{}' collides with existing topic: {}",
                    new.name, other.name
                ),
            ));
        }
        let partitions = (0..)
            .zip(assignments)
            .map(|(index, replicas)| Arc::new(self.new_partition(index, replicas)));
        let topic = Arc::new(Topic::new(
            &new.name,
            self.new_uuid(),
            settings,
            partitions.collect(),
        ));
        if !validate_only {
            topics.insert(topic.clone());
        }
        Ok(topic)
    }

    fn new_partition(&self, index: i32, replicas: Vec<NodeId>) -> Partition {
        let live = self.live_nodes();
        let isr: Vec<NodeId> = replicas
            .iter()
            .copied()
            .filter(|id| live.iter().any(|node| node.id == *id))
            .collect();
        Partition::new(
            index,
            Leadership {
                leader: isr.first().copied(),
                leader_epoch: 0,
                replicas,
                isr,
            },
        )
    }

    /// Removes a topic and everything kept for it.
    pub(crate) fn delete_topic(&self, name: &str) -> Result<Arc<Topic>, Refusal> {
        let removed = self.topics.write().remove(name);
        let topic = removed.ok_or_else(|| {
            Refusal::new(
                ErrorCode::UnknownTopicOrPartition,
                ErrorCode::UnknownTopicOrPartition.message(),
            )
        })?;
        self.groups.topic_deleted(name);
        Ok(topic)
    }

    /// Replicas of every partition of a new topic.
    fn assign(&self, new: &NewTopic) -> Result<Vec<Vec<NodeId>>, Refusal> {
        let nodes: Vec<NodeId> = self.nodes.read().keys().copied().collect();
        if !new.assignments.is_empty() {
            return manual_assignment(new, &nodes);
        }
        let partitions = new.partitions.unwrap_or(self.config.num_partitions);
        if partitions <= 0 {
            return Err(Refusal::new(
                ErrorCode::InvalidPartitions,
                "Number of partitions was set to an invalid non-positive value.",
            ));
        }
        if partitions > PARTITIONS_MAX {
            return Err(Refusal::new(
                ErrorCode::InvalidPartitions,
                format!("This broker serves at most {PARTITIONS_MAX} partitions of a topic."),
            ));
        }
        let available = i32::try_from(nodes.len()).unwrap_or(i32::MAX);
        let wanted = match new.replication_factor {
            Some(factor) => i32::from(factor),
            None => self
                .config
                .default_replication_factor
                .unwrap_or(available.min(3)),
        };
        if wanted <= 0 {
            return Err(Refusal::new(
                ErrorCode::InvalidReplicationFactor,
                "Replication factor must be larger than 0, or -1 to use the default value.",
            ));
        }
        if wanted > available {
            return Err(Refusal::new(
                ErrorCode::InvalidReplicationFactor,
                format!(
                    "Unable to replicate the partition {wanted} time(s): The target replication factor of {wanted} \
                     cannot be reached because only {available} broker(s) are registered."
                ),
            ));
        }
        // Leaders go round, starting at a place that depends on the name, so that the first
        // partitions of many small topics do not all land on node 1, and two runs agree.
        let start = usize::try_from(java_hash(&new.name) & 0x7fff_ffff).unwrap_or(0);
        Ok((0..usize::try_from(partitions).unwrap_or(0))
            .map(|partition| {
                (0..usize::try_from(wanted).unwrap_or(0))
                    .map(|replica| nodes[(start + partition + replica) % nodes.len()])
                    .collect()
            })
            .collect())
    }
}

fn manual_assignment(new: &NewTopic, nodes: &[NodeId]) -> Result<Vec<Vec<NodeId>>, Refusal> {
    let invalid = |message: String| Err(Refusal::new(ErrorCode::InvalidReplicaAssignment, message));
    if new.partitions.is_some() || new.replication_factor.is_some() {
        return Err(Refusal::new(
            ErrorCode::InvalidRequest,
            "A manual partition assignment was specified, but numPartitions or replicationFactor was not set to -1.",
        ));
    }
    let mut factor = None;
    for (expected, (partition, replicas)) in (0..).zip(&new.assignments) {
        if *partition != expected {
            return invalid(
                "partitions should be a consecutive 0-based integer sequence".to_owned(),
            );
        }
        if replicas.is_empty() {
            return invalid(
                "The manual partition assignment includes an empty replica list.".to_owned(),
            );
        }
        if let Some(unknown) = replicas.iter().find(|id| !nodes.contains(id)) {
            return invalid(format!(
                "The manual partition assignment includes broker {unknown}, but no such broker is registered."
            ));
        }
        if replicas
            .iter()
            .enumerate()
            .any(|(i, id)| replicas[..i].contains(id))
        {
            return invalid(
                "The manual partition assignment includes duplicate replicas.".to_owned(),
            );
        }
        if *factor.get_or_insert(replicas.len()) != replicas.len() {
            return invalid("The manual partition assignment includes partitions with different replica counts.".to_owned());
        }
    }
    Ok(new.assignments.values().cloned().collect())
}

fn invalid_topic_config(error: &config::ConfigError) -> Refusal {
    let message = match error {
        config::ConfigError::Unknown { key, .. } => format!("Unknown topic config name: {key}"),
        invalid @ config::ConfigError::Invalid { .. } => invalid.to_string(),
    };
    Refusal::new(ErrorCode::InvalidConfig, message)
}

/// Java's `String.hashCode`, by which Kafka places groups.
fn java_hash(text: &str) -> i32 {
    text.encode_utf16().fold(0i32, |hash, unit| {
        hash.wrapping_mul(31).wrapping_add(i32::from(unit))
    })
}
