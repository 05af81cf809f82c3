//! State shared by all nodes of one process, and what changes it.
//!
//! Lock order: `topics`, then a topic's partition list, then a partition's log, then its leadership;
//! `nodes` last. None is held across an `.await`.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::Path;
use std::sync::Arc;

use ferrokafka_wire::ErrorCode;
use parking_lot::{Mutex, RwLock};
use uuid::Uuid;

use crate::clock::Clock;
use crate::config::{self, BrokerConfig};
use crate::dispatch::Dispatch;
use crate::group::{GroupConfig, GroupCoordinator};
use crate::journal::{Durability, Journal};
use crate::partition::{Leadership, Partition};
use crate::placement::{self, java_hash};
use crate::state::{PartitionState, State, TopicState};
use crate::storage::{DiskStorage, Log, LogSettings, MemoryStorage, Storage};
use crate::testkit::faults::Faults;
use crate::topic::{Settings, Topic, Topics, name_error, names_collide};

/// A node's number, from 1.
pub type NodeId = i32;

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

/// A topic as it was created, or would be.
#[derive(Debug, Clone)]
pub(crate) struct Created {
    pub(crate) id: Uuid,
    pub(crate) partitions: i32,
    pub(crate) replication_factor: i16,
    pub(crate) settings: Settings,
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

/// Ids handed out, and up to where they are remembered as handed out.
#[derive(Debug)]
struct ProducerIds {
    next: i64,
    reserved: i64,
}

/// File whose presence says that the last stop was orderly, by Kafka's name for it.
const CLEAN_STOP: &str = ".kafka_cleanshutdown";

/// How many producer ids are reserved at once.
const PRODUCER_ID_BLOCK: i64 = 1000;

/// What every handler reaches.
pub(crate) struct Broker {
    pub(crate) config: BrokerConfig,
    pub(crate) clock: Clock,
    pub(crate) cluster_id: String,
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) groups: GroupCoordinator,
    pub(crate) faults: Faults,
    /// Where ids that look random come from: one seed, the same ids.
    random: Mutex<fastrand::Rng>,
    dispatch: Dispatch,
    state: State,
    producer_ids: Mutex<ProducerIds>,
    nodes: RwLock<BTreeMap<NodeId, Node>>,
    topics: RwLock<Topics>,
    /// Keys whose coordinator a test moved.
    moved_coordinators: Mutex<HashMap<(CoordinatorKind, String), NodeId>>,
}

impl Broker {
    /// Reads what is remembered in `data_dir`, or begins anew in memory. Topics come with
    /// [`load`](Self::load), once the nodes are known.
    pub(crate) fn open(
        config: BrokerConfig,
        clock: Clock,
        seed: u64,
        faults: Faults,
        data_dir: Option<&Path>,
        dispatch: Dispatch,
    ) -> io::Result<Self> {
        let storage: Arc<dyn Storage> = match data_dir {
            None => Arc::new(MemoryStorage::default()),
            Some(directory) => Arc::new(DiskStorage::open(directory)?),
        };
        let state = State::open(data_dir)?;
        let mut random = fastrand::Rng::with_seed(seed);
        let cluster_id = match state.cluster_id()? {
            Some(id) => id,
            None => {
                let id: String = std::iter::repeat_with(|| random.alphanumeric())
                    .take(22)
                    .collect();
                state.set_cluster_id(&id)?;
                id
            }
        };
        let next = state.next_producer_id()?;
        let groups = GroupCoordinator::new(
            GroupConfig::from(&config),
            clock,
            seed,
            group_journal(&config, data_dir)?,
        );
        Ok(Self {
            config,
            clock,
            cluster_id,
            storage,
            groups,
            faults,
            random: Mutex::new(random),
            dispatch,
            state,
            producer_ids: Mutex::new(ProducerIds {
                next,
                reserved: next,
            }),
            nodes: RwLock::default(),
            topics: RwLock::default(),
            moved_coordinators: Mutex::default(),
        })
    }

    /// Opens the logs of the topics that are remembered. The logs are scanned
    /// unless the last stop was orderly.
    pub(crate) fn load(&self) -> io::Result<()> {
        let clean = self.storage.list("")?.iter().any(|name| name == CLEAN_STOP);
        self.storage.remove(CLEAN_STOP)?;
        let remembered = self.state.topics()?;
        let mut topics = self.topics.write();
        for (id, topic, partition_states) in remembered {
            let effective = config::topic_config(&self.config, &topic.configs)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            let settings = Settings {
                overrides: topic.configs,
                effective,
            };
            let leaderships: Vec<Leadership> = partition_states
                .iter()
                .map(|state| self.leadership_after(state))
                .collect();
            self.state.set_partitions(id, (0..).zip(&leaderships))?;
            let mut partitions = Vec::with_capacity(leaderships.len());
            for (index, leadership) in (0..).zip(leaderships) {
                partitions.push(self.open_partition(
                    &topic.name,
                    index,
                    leadership,
                    &settings,
                    clean,
                )?);
            }
            topics.insert(Arc::new(Topic::new(&topic.name, id, settings, partitions)));
        }
        Ok(())
    }

    /// Who leads after a start: the remembered leader if there is still such a node, under a new epoch.
    fn leadership_after(&self, state: &PartitionState) -> Leadership {
        let live = self.live_nodes();
        let is_live = |id: &NodeId| live.iter().any(|node| node.id == *id);
        let isr: Vec<NodeId> = state.replicas.iter().copied().filter(is_live).collect();
        let leader = state.leader.filter(is_live).or(isr.first().copied());
        Leadership {
            leader,
            leader_epoch: state.epoch + 1,
            replicas: state.replicas.clone(),
            isr,
        }
    }

    fn open_partition(
        &self,
        topic: &str,
        index: i32,
        leadership: Leadership,
        settings: &Settings,
        clean: bool,
    ) -> io::Result<Arc<Partition>> {
        let directory = format!("{topic}-{index}");
        let log_settings = LogSettings::from(&settings.effective);
        let log = Log::open(
            self.storage.clone(),
            &directory,
            log_settings,
            clean,
            self.clock.now_ms(),
        )?;
        Ok(Arc::new(Partition::new(topic, index, leadership, log)))
    }

    /// An id no producer has had before.
    pub(crate) fn new_producer_id(&self) -> io::Result<i64> {
        let mut ids = self.producer_ids.lock();
        if ids.next == ids.reserved {
            // In blocks, so that not every producer costs a write; a restart skips the rest of one.
            let reserved = ids.next + PRODUCER_ID_BLOCK;
            self.state.set_next_producer_id(reserved)?;
            ids.reserved = reserved;
        }
        let id = ids.next;
        ids.next += 1;
        Ok(id)
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

    /// A node is gone: what it led is led by another replica in sync, or by nobody.
    pub(crate) fn node_down(&self, id: NodeId) {
        self.set_alive(id, false);
        self.each_leadership(|leadership| {
            // The last replica in sync stays one: it alone has everything, and may lead again.
            if leadership.isr.len() > 1 {
                leadership.isr.retain(|replica| *replica != id);
            }
            if leadership.leader == Some(id) {
                leadership.leader = leadership
                    .isr
                    .iter()
                    .copied()
                    .find(|replica| *replica != id);
            }
        });
    }

    /// A node is back: it is in sync at once, and leads what nobody else does.
    pub(crate) fn node_up(&self, id: NodeId) {
        self.set_alive(id, true);
        self.each_leadership(|leadership| {
            if !leadership.replicas.contains(&id) {
                return;
            }
            if !leadership.isr.contains(&id) {
                leadership.isr.push(id);
            }
            leadership.leader.get_or_insert(id);
        });
    }

    fn set_alive(&self, id: NodeId, alive: bool) {
        self.moving_groups(|| {
            if let Some(node) = self.nodes.write().get_mut(&id) {
                node.alive = alive;
            }
        });
    }

    fn each_leadership(&self, change: impl Fn(&mut Leadership)) {
        for topic in self.topics() {
            let partitions = topic.partitions.read().clone();
            for partition in partitions {
                self.lead(&topic, &partition, &change);
            }
        }
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

    /// Creates a topic, or only says whether it could be and what it would be.
    pub(crate) fn create_topic(
        &self,
        new: &NewTopic,
        validate_only: bool,
    ) -> Result<Created, Refusal> {
        if let Some(reason) = name_error(&new.name) {
            return Err(Refusal::new(ErrorCode::InvalidTopicException, reason));
        }
        let node_ids: Vec<NodeId> = self.nodes.read().keys().copied().collect();
        let assignments = placement::assign(new, &node_ids, &self.config)?;
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
        let mut created = Created {
            id: Uuid::nil(),
            partitions: i32::try_from(assignments.len()).unwrap_or(i32::MAX),
            replication_factor: assignments.first().map_or(0, |replicas| {
                i16::try_from(replicas.len()).unwrap_or(i16::MAX)
            }),
            settings: settings.clone(),
        };
        if validate_only {
            return Ok(created);
        }
        let id = self.new_uuid();
        let leaderships: Vec<Leadership> = assignments
            .into_iter()
            .map(|replicas| self.new_leadership(replicas))
            .collect();
        let partitions = self
            .open_partitions(&new.name, 0, &leaderships, &settings)
            .map_err(|error| storage_refusal(&error))?;
        let state = TopicState {
            name: new.name.clone(),
            configs: settings.overrides.clone(),
        };
        self.state
            .create_topic(id, &state, &leaderships)
            .map_err(|error| storage_refusal(&error))?;
        topics.insert(Arc::new(Topic::new(&new.name, id, settings, partitions)));
        created.id = id;
        Ok(created)
    }

    /// Opens new partitions, throwing away what a deleted topic of the same name may have left.
    fn open_partitions(
        &self,
        topic: &str,
        first: i32,
        leaderships: &[Leadership],
        settings: &Settings,
    ) -> io::Result<Vec<Arc<Partition>>> {
        let mut partitions = Vec::with_capacity(leaderships.len());
        for (index, leadership) in (first..).zip(leaderships) {
            self.storage.remove_directory(&format!("{topic}-{index}"))?;
            partitions.push(self.open_partition(
                topic,
                index,
                leadership.clone(),
                settings,
                true,
            )?);
        }
        Ok(partitions)
    }

    fn new_leadership(&self, replicas: Vec<NodeId>) -> Leadership {
        let live = self.live_nodes();
        let isr: Vec<NodeId> = replicas
            .iter()
            .copied()
            .filter(|id| live.iter().any(|node| node.id == *id))
            .collect();
        Leadership {
            leader: isr.first().copied(),
            leader_epoch: 0,
            replicas,
            isr,
        }
    }

    /// Adds partitions to a topic, up to `count` in all.
    pub(crate) fn add_partitions(
        &self,
        name: &str,
        count: i32,
        assignments: Option<Vec<Vec<NodeId>>>,
        validate_only: bool,
    ) -> Result<(), Refusal> {
        // Serialises with other changes of this topic.
        let topics = self.topics.write();
        let topic = topics.get(name).ok_or_else(unknown_topic)?;
        let present = topic.partition_count();
        let node_ids: Vec<NodeId> = self.nodes.read().keys().copied().collect();
        let factor = topic
            .partition(0)
            .map_or(1, |partition| partition.leadership().replicas.len());
        let replicas = placement::extend(name, present, count, factor, assignments, &node_ids)?;
        if validate_only {
            return Ok(());
        }
        let leaderships: Vec<Leadership> = replicas
            .into_iter()
            .map(|replicas| self.new_leadership(replicas))
            .collect();
        let added = self
            .open_partitions(name, present, &leaderships, &topic.settings())
            .map_err(|error| storage_refusal(&error))?;
        self.state
            .set_partitions(topic.id, (present..).zip(&leaderships))
            .map_err(|error| storage_refusal(&error))?;
        topic.partitions.write().extend(added);
        Ok(())
    }

    /// Replaces a topic's own settings, or only says whether that could be done.
    pub(crate) fn configure_topic(
        &self,
        name: &str,
        overrides: BTreeMap<String, String>,
        validate_only: bool,
    ) -> Result<(), Refusal> {
        let effective = config::topic_config(&self.config, &overrides)
            .map_err(|error| invalid_topic_config(&error))?;
        let topics = self.topics.write();
        let topic = topics.get(name).ok_or_else(unknown_topic)?;
        if !validate_only {
            self.state
                .set_topic(
                    topic.id,
                    &TopicState {
                        name: name.to_owned(),
                        configs: overrides.clone(),
                    },
                )
                .map_err(|error| storage_refusal(&error))?;
            topic.configure(Settings {
                overrides,
                effective,
            });
        }
        Ok(())
    }

    /// Changes who leads a partition.
    pub(crate) fn lead(
        &self,
        topic: &Topic,
        partition: &Partition,
        change: impl FnOnce(&mut Leadership),
    ) {
        if !partition.lead(change) {
            return;
        }
        if let Err(error) = self
            .state
            .set_partitions(topic.id, [(partition.index, &partition.leadership())])
        {
            tracing::error!(partition = partition.name, %error, "a change of leader could not be remembered");
        }
    }

    /// Removes a topic and everything kept for it.
    pub(crate) fn delete_topic(&self, name: &str) -> Result<Arc<Topic>, Refusal> {
        let topic = {
            let mut topics = self.topics.write();
            let id = topics.get(name).ok_or_else(unknown_topic)?.id;
            self.state
                .delete_topic(id)
                .map_err(|error| storage_refusal(&error))?;
            topics.remove(name).ok_or_else(unknown_topic)?
        };
        for partition in topic.partitions.read().iter() {
            // Not led by anyone: requests that still hold the partition are refused from here on.
            partition.lead(|leadership| leadership.leader = None);
            let directory = partition.log.lock().directory().to_owned();
            if let Err(error) = self.storage.remove_directory(&directory) {
                tracing::warn!(directory, %error, "files of a deleted topic stay behind");
            }
        }
        self.groups.topic_deleted(name);
        Ok(topic)
    }

    /// Forces every log to the device and writes what lets the next start skip the scan.
    pub(crate) fn close(&self) -> io::Result<()> {
        for topic in self.topics() {
            for partition in topic.partitions.read().iter() {
                partition.log.lock().close()?;
            }
        }
        self.storage.open(CLEAN_STOP).map(|_| ())
    }
}

/// Groups change often: how far a change has got when it is acknowledged follows the logs' setting.
fn group_journal(config: &BrokerConfig, data_dir: Option<&Path>) -> io::Result<Journal> {
    let durability = if config.log_flush_interval_messages == 1 {
        Durability::Fsync
    } else {
        Durability::PageCache
    };
    match data_dir {
        None => Ok(Journal::memory()),
        Some(directory) => Journal::open(&directory.join("groups.journal"), durability),
    }
}

fn unknown_topic() -> Refusal {
    let code = ErrorCode::UnknownTopicOrPartition;
    Refusal::new(code, code.message())
}

fn storage_refusal(error: &io::Error) -> Refusal {
    Refusal::new(
        ErrorCode::KafkaStorageError,
        format!("the broker's storage failed: {error}"),
    )
}

fn invalid_topic_config(error: &config::ConfigError) -> Refusal {
    let message = match error {
        config::ConfigError::Unknown { key, .. } => format!("Unknown topic config name: {key}"),
        invalid @ config::ConfigError::Invalid { .. } => invalid.to_string(),
    };
    Refusal::new(ErrorCode::InvalidConfig, message)
}
