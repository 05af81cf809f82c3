//! A broker for tests: in this process, on free ports, with faults on request.

pub(crate) mod faults;
mod script;

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ferrokafka_wire::messages::ApiKey;
use ferrokafka_wire::record::Record;
use parking_lot::Mutex;
use tokio::io::DuplexStream;
use tokio::net::TcpListener;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{Instant, timeout_at};

use crate::broker::{Broker, CoordinatorKind, NewTopic, Node, NodeId};
use crate::clock::Clock;
use crate::config::BrokerConfig;
use crate::dispatch::Dispatch;
use crate::error::{Error, ErrorKind};
use crate::handlers;
use crate::maintenance;
use crate::partition::Partition;
use crate::server::NodeServer;
use crate::testkit::faults::Faults;
use crate::topic::Topic;
pub use faults::Observed;
pub use script::{Hold, On};

/// Describes a broker to start; made by [`TestBroker::builder`].
#[derive(Debug, Clone)]
pub struct TestBrokerBuilder {
    nodes: i32,
    topics: Vec<(String, i32)>,
    properties: Vec<(String, String)>,
    listen: SocketAddr,
    data_dir: Option<PathBuf>,
    max_versions: Vec<(ApiKey, i16)>,
    scripted: bool,
    clock: Clock,
    seed: Option<u64>,
}

/// A running broker. Dropping it cuts every connection at once; [`stop`](Self::stop) also waits.
pub struct TestBroker {
    broker: Arc<Broker>,
    servers: Mutex<BTreeMap<NodeId, NodeServer>>,
    /// Retention and compaction.
    tasks: JoinSet<()>,
}

impl TestBrokerBuilder {
    /// How many nodes; 1 unless said otherwise.
    pub fn nodes(mut self, nodes: i32) -> Self {
        self.nodes = nodes;
        self
    }

    /// A topic that exists from the start.
    pub fn topic(mut self, name: impl Into<String>, partitions: i32) -> Self {
        self.topics.push((name.into(), partitions));
        self
    }

    /// A broker setting by Kafka's name, checked by [`start`](Self::start).
    pub fn config(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.properties.push((key.into(), value.into()));
        self
    }

    /// Where node 1 listens; further nodes take the following ports, or free ones if the port is 0.
    pub fn listen(mut self, address: SocketAddr) -> Self {
        self.listen = address;
        self
    }

    /// Serves an API only up to this version, or not at all if that is below its lowest.
    pub fn max_version(mut self, api: ApiKey, version: i16) -> Self {
        self.max_versions.push((api, version));
        self
    }

    /// Neither remembers requests nor applies scripted faults: for a broker that serves rather than tests.
    pub fn without_script(mut self) -> Self {
        self.scripted = false;
        self
    }

    /// Keeps logs and state in this directory instead of in memory, and finds them there again.
    pub fn data_dir(mut self, directory: impl Into<PathBuf>) -> Self {
        self.data_dir = Some(directory.into());
        self
    }

    /// Makes topic ids and member ids the same in every run with this seed.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Where timestamps come from.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Starts listening.
    ///
    /// # Errors
    /// A setting that is not acceptable, a port that cannot be had, a topic that cannot be created.
    pub async fn start(self) -> Result<TestBroker, Error> {
        let properties = self
            .properties
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()));
        let config = BrokerConfig::from_properties(properties)?;
        if self.nodes < 1 {
            return Err(Error::new(
                ErrorKind::Config,
                format!("a broker needs at least one node, not {}", self.nodes),
            ));
        }
        let location = self.data_dir.as_deref().unwrap_or(Path::new("memory"));
        let seed = self.seed.unwrap_or_else(|| fastrand::u64(..));
        let mut dispatch = Dispatch::new(handlers::apis());
        for (api, version) in &self.max_versions {
            dispatch.limit(*api, *version);
        }
        let broker = Broker::open(
            config,
            self.clock,
            seed,
            if self.scripted {
                Faults::recording()
            } else {
                Faults::default()
            },
            self.data_dir.as_deref(),
            dispatch,
        )
        .map_err(|e| storage_error(location).with_source(e))?;
        let broker = Arc::new(broker);
        let mut listeners = Vec::new();
        for id in 1..=self.nodes {
            let listener = bind(self.listen, id - 1).await?;
            let address = listener
                .local_addr()
                .map_err(|e| listen_error(self.listen).with_source(e))?;
            let host = address.ip().to_string().into();
            broker.register_node(Node {
                id,
                host,
                port: address.port(),
                alive: true,
            });
            listeners.push((id, listener));
        }
        broker
            .load()
            .map_err(|e| storage_error(location).with_source(e))?;
        for (name, partitions) in &self.topics {
            if broker.topic(name).is_some() {
                continue;
            }
            let new = NewTopic {
                name: name.clone(),
                partitions: Some(*partitions),
                ..NewTopic::default()
            };
            broker.create_topic(&new, false).map_err(|refusal| {
                Error::new(
                    ErrorKind::Topic,
                    format!("topic {name}: {}", refusal.message),
                )
            })?;
        }
        let mut servers = BTreeMap::new();
        for (id, listener) in listeners {
            let server = NodeServer::start(broker.clone(), id, listener)
                .map_err(|e| listen_error(self.listen).with_source(e))?;
            servers.insert(id, server);
        }
        let mut tasks = JoinSet::new();
        tasks.spawn(maintenance::run(broker.clone()));
        Ok(TestBroker {
            broker,
            servers: Mutex::new(servers),
            tasks,
        })
    }
}

async fn bind(base: SocketAddr, offset: i32) -> Result<TcpListener, Error> {
    let mut address = base;
    if base.port() != 0 {
        let port = u16::try_from(i32::from(base.port()) + offset).map_err(|_| {
            Error::new(
                ErrorKind::Listen,
                format!("no port left after {base} for all nodes"),
            )
        })?;
        address.set_port(port);
    }
    TcpListener::bind(address)
        .await
        .map_err(|e| listen_error(address).with_source(e))
}

fn not_running(node: NodeId) -> Error {
    Error::new(ErrorKind::Unknown, format!("node {node} is not running"))
}

fn storage_error(location: &Path) -> Error {
    Error::new(
        ErrorKind::Storage,
        format!("cannot use the data directory {}", location.display()),
    )
}

fn listen_error(address: SocketAddr) -> Error {
    Error::new(ErrorKind::Listen, format!("cannot listen on {address}"))
}

impl TestBroker {
    /// One node on a free port of the loopback interface, Kafka's defaults otherwise.
    pub fn builder() -> TestBrokerBuilder {
        TestBrokerBuilder {
            nodes: 1,
            topics: Vec::new(),
            properties: Vec::new(),
            listen: (Ipv4Addr::LOCALHOST, 0).into(),
            data_dir: None,
            max_versions: Vec::new(),
            scripted: true,
            clock: Clock::System,
            seed: None,
        }
    }

    /// Addresses of the live nodes, as `bootstrap.servers` takes them.
    pub fn bootstrap(&self) -> String {
        let addresses: Vec<String> = self
            .broker
            .live_nodes()
            .iter()
            .map(|node| format!("{}:{}", node.host, node.port))
            .collect();
        addresses.join(",")
    }

    /// Scripts a fault for requests of one API.
    pub fn on(&self, api: ApiKey) -> On<'_> {
        On::new(self, api)
    }

    /// Takes back every fault that has not been used up.
    pub fn clear_faults(&self) {
        self.broker.faults.clear();
    }

    /// The requests read so far, oldest first; the oldest of very many are forgotten.
    pub fn requests(&self) -> Vec<Observed> {
        self.broker.faults.observed()
    }

    /// Waits until `count` requests of one API have been read, and returns them.
    ///
    /// # Errors
    /// `deadline` passes first; the message says how many there were.
    pub async fn wait_for_requests(
        &self,
        api: ApiKey,
        count: usize,
        deadline: Instant,
    ) -> Result<Vec<Observed>, Error> {
        let mut changes = self.broker.faults.watch();
        loop {
            changes.mark_unchanged();
            let mut seen = self.requests();
            seen.retain(|request| request.api == api);
            if seen.len() >= count {
                return Ok(seen);
            }
            let changed = timeout_at(deadline, changes.changed()).await;
            if !matches!(changed, Ok(Ok(()))) {
                let message = format!(
                    "{} {api:?} requests instead of {count} before the deadline",
                    seen.len()
                );
                return Err(Error::new(ErrorKind::Timeout, message));
            }
        }
    }

    /// Makes `node` the coordinator of a group.
    pub fn move_coordinator(&self, group_id: &str, node: NodeId) {
        self.broker
            .move_coordinator(CoordinatorKind::Group, group_id, node);
    }

    /// Ends a group member's session at once, as if its heartbeats had stopped for long enough; false
    /// if there is no such member.
    pub async fn expire_session(&self, group_id: &str, member_id: &str) -> bool {
        self.broker.groups.expire_session(group_id, member_id).await
    }

    /// Ends a node as a kill would: its connections are cut, what it led is led by others or by nobody,
    /// and the groups it coordinated go on elsewhere from what was committed.
    ///
    /// # Errors
    /// The node is not running.
    pub async fn crash(&self, node: NodeId) -> Result<(), Error> {
        let server = self.servers.lock().remove(&node);
        let server = server.ok_or_else(|| not_running(node))?;
        server.stop().await;
        self.broker.node_down(node);
        Ok(())
    }

    /// Brings a crashed node back at its old address.
    ///
    /// # Errors
    /// The node is running or never was; its port was taken meanwhile.
    pub async fn restart(&self, node: NodeId) -> Result<(), Error> {
        let known = self.broker.node(node).filter(|known| !known.alive);
        let known = known
            .ok_or_else(|| Error::new(ErrorKind::Unknown, format!("node {node} is not down")))?;
        let host: IpAddr = known
            .host
            .parse()
            .map_err(|_| Error::new(ErrorKind::Listen, "no address"))?;
        let address = SocketAddr::new(host, known.port);
        let listen = |e| listen_error(address).with_source(e);
        let listener = TcpListener::bind(address).await.map_err(listen)?;
        let server = NodeServer::start(self.broker.clone(), node, listener).map_err(listen)?;
        self.servers.lock().insert(node, server);
        self.broker.node_up(node);
        Ok(())
    }

    /// A connection to the node that listens on this port, without a socket: for runtimes with a
    /// paused clock, which misfires on sockets.
    ///
    /// # Errors
    /// No running node listens there.
    pub fn dial(&self, port: u16) -> io::Result<DuplexStream> {
        let mut servers = self.servers.lock();
        let found = servers
            .iter_mut()
            .find(|(_, server)| server.address().port() == port);
        let (node, server) = found.ok_or(io::ErrorKind::ConnectionRefused)?;
        Ok(server.connect(self.broker.clone(), *node))
    }

    /// Every record of a partition, as a reader from the start would see them.
    ///
    /// # Errors
    /// There is no such topic or partition, or its log cannot be read.
    pub fn records(&self, topic: &str, partition: i32) -> Result<Vec<Record>, Error> {
        let (_, found) = self.partition(topic, partition)?;
        found.log.lock().records().map_err(|e| {
            Error::new(
                ErrorKind::Storage,
                format!("{topic}-{partition} cannot be read"),
            )
            .with_source(e)
        })
    }

    /// Removes what retention no longer keeps, now instead of at the next check.
    pub async fn retain(&self) {
        let broker = self.broker.clone();
        // A panic in there has been printed, and what the test looks at next will be wrong.
        let _ = spawn_blocking(move || maintenance::retain(&broker)).await;
    }

    /// Compacts the closed segments of every compacted topic, however little there is to gain.
    pub async fn compact(&self) {
        let broker = self.broker.clone();
        let _ = spawn_blocking(move || maintenance::compact(&broker, true)).await;
    }

    /// Makes `node` lead a partition, under a new leader epoch.
    ///
    /// # Errors
    /// There is no such topic, partition, or live node.
    pub fn move_leader(&self, topic: &str, partition: i32, node: NodeId) -> Result<(), Error> {
        let live = self.broker.node(node).is_some_and(|node| node.alive);
        if !live {
            return Err(not_running(node));
        }
        let (topic, partition) = self.partition(topic, partition)?;
        self.broker.lead(&topic, &partition, |leadership| {
            // A test may put the leader anywhere: the new leader then counts as a replica.
            for replicas in [&mut leadership.replicas, &mut leadership.isr] {
                if !replicas.contains(&node) {
                    replicas.push(node);
                }
            }
            leadership.leader = Some(node);
        });
        Ok(())
    }

    /// Re-elects a partition's leader: same node, next leader epoch.
    ///
    /// # Errors
    /// There is no such topic or partition.
    pub fn bump_leader_epoch(&self, topic: &str, partition: i32) -> Result<(), Error> {
        let (topic, partition) = self.partition(topic, partition)?;
        self.broker.lead(&topic, &partition, |leadership| {
            leadership.leader_epoch += 1
        });
        Ok(())
    }

    fn partition(
        &self,
        topic: &str,
        partition: i32,
    ) -> Result<(Arc<Topic>, Arc<Partition>), Error> {
        let found = self
            .broker
            .topic(topic)
            .and_then(|topic| topic.partition(partition).map(|found| (topic, found)));
        found.ok_or_else(|| {
            Error::new(
                ErrorKind::Unknown,
                format!("there is no partition {topic}-{partition}"),
            )
        })
    }

    pub(crate) fn shared(&self) -> &Arc<Broker> {
        &self.broker
    }

    /// Stops listening, cuts every connection and waits until all tasks are gone.
    pub async fn stop(mut self) {
        self.tasks.shutdown().await;
        let servers = std::mem::take(&mut *self.servers.lock());
        for server in servers.into_values() {
            tracing::debug!(address = %server.address(), "listener stops");
            server.stop().await;
        }
        if let Err(error) = self.broker.close() {
            tracing::warn!(%error, "the stop was not orderly: the next start will scan the logs");
        }
    }
}
