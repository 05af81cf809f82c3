//! All connections to the cluster: where brokers are, one link per broker and lane, single requests.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use bytes::Bytes;
use ferrokafka_wire::messages::ApiKey;
use ferrokafka_wire::protocol::Request;
use parking_lot::Mutex;
use tokio::sync::{Semaphore, SemaphorePermit, watch};
use tokio::time::{Instant, timeout, timeout_at};

use crate::adapter::CorrelationId;
use crate::cluster::{Broker, Cluster};
use crate::config::{ClientConfig, split_host_port};
use crate::connection::{Connection, api_name};
use crate::connector::Connector;
use crate::error::{Delivery, Error, ErrorKind};
use crate::link::{Address, Dialler, Link, Turn};
use crate::route::{Lane, NodeId};
use crate::throttle::throttle_time;
use crate::versions::Versions;

/// Bootstrap servers have node ids of their own, far from any broker's.
const FIRST_BOOTSTRAP_NODE: NodeId = NodeId::MIN;

/// More requests than are ever on their way at a time. Closing takes all of these permits.
const REQUESTS_MAX: u32 = 1 << 20;

/// See the module's documentation.
pub(crate) struct Connections {
    dialler: Dialler,
    cluster: watch::Sender<Arc<Cluster>>,
    links: Mutex<HashMap<(NodeId, Lane), Arc<Link>>>,
    versions: Mutex<HashMap<NodeId, Arc<Versions>>>,
    /// Through which address metadata came last.
    found_through: Mutex<Option<Arc<str>>>,
    /// A permit per request on its way.
    requests: Semaphore,
    closing: watch::Sender<bool>,
}

/// One request that is to be made once.
pub(crate) struct Attempt {
    pub(crate) node: NodeId,
    pub(crate) lane: Lane,
    pub(crate) deadline: Instant,
    pub(crate) max_version: i16,
}

/// A request that was sent, and its answer, if it gets one.
struct Sent {
    connection: Arc<Connection>,
    version: i16,
    answer: Bytes,
}

impl Connections {
    pub(crate) fn new(config: Arc<ClientConfig>, connector: Arc<dyn Connector>) -> Self {
        Self {
            dialler: Dialler { config, connector },
            cluster: watch::Sender::new(Arc::default()),
            links: Mutex::default(),
            versions: Mutex::default(),
            found_through: Mutex::default(),
            requests: Semaphore::new(REQUESTS_MAX as usize),
            closing: watch::Sender::new(false),
        }
    }

    pub(crate) fn config(&self) -> &Arc<ClientConfig> {
        &self.dialler.config
    }

    pub(crate) fn cluster(&self) -> &watch::Sender<Arc<Cluster>> {
        &self.cluster
    }

    /// Becomes true when the client is closed.
    pub(crate) fn closing(&self) -> watch::Receiver<bool> {
        self.closing.subscribe()
    }

    pub(crate) fn versions(&self, node: NodeId) -> Option<Arc<Versions>> {
        self.versions.lock().get(&node).cloned()
    }

    /// Makes one attempt.
    pub(crate) async fn request<R>(
        &self,
        attempt: Attempt,
        build: impl Fn(i16) -> R + Send + Sync,
    ) -> Result<(i16, R::Response), Error>
    where
        R: Request + Send + Sync,
        R::Response: Send + 'static,
    {
        let started = Instant::now();
        let link = self.link(attempt.node, attempt.lane);
        let sent = self.transmit(&link, &attempt, build, true).await?;
        let labels = [("lane", attempt.lane.name())];
        let latency = started.elapsed().as_secs_f64();
        self.config()
            .metrics
            .observe("request_latency_seconds", &labels, latency);
        let response = sent.connection.decode::<R>(sent.answer, sent.version)?;
        let wait = throttle_time(R::KEY, &response);
        if !wait.is_zero() {
            self.throttled(&link, attempt.lane, wait);
        }
        Ok((sent.version, response))
    }

    /// Writes a request that the broker does not answer.
    pub(crate) async fn request_unanswered<R>(
        &self,
        attempt: Attempt,
        build: impl Fn(i16) -> R + Send + Sync,
    ) -> Result<i16, Error>
    where
        R: Request + Send + Sync,
    {
        let link = self.link(attempt.node, attempt.lane);
        let sent = self.transmit(&link, &attempt, build, false).await?;
        Ok(sent.version)
    }

    async fn transmit<R>(
        &self,
        link: &Link,
        attempt: &Attempt,
        build: impl Fn(i16) -> R + Send + Sync,
        is_answered: bool,
    ) -> Result<Sent, Error>
    where
        R: Request + Send + Sync,
    {
        let sending = Sending::<R>::new(self, link, attempt);
        let limit = sending.limit(self.config());
        let _permit = self.admit()?;
        let sent = async {
            let (connection, version, turn) = sending.prepare().await?;
            let room = connection.room().await?;
            if Instant::now() >= limit {
                // Room came too late: what nobody waits for is not sent.
                return Err(sending.timed_out());
            }
            let body = build(version);
            sending.stage.set(Stage::Exchanging);
            let id = &sending.correlation_id;
            let answer = connection
                .transmit(body, version, id, is_answered, || drop(turn))
                .await?;
            drop(room);
            Ok(Sent {
                connection,
                version,
                answer,
            })
        };
        match timeout_at(limit, sent).await {
            Ok(result) => result,
            Err(_) => Err(sending.timed_out()),
        }
    }

    /// Brokers that may answer a request any broker can: those connected first, then the others in
    /// random order, then the bootstrap servers.
    pub(crate) fn candidates(&self) -> Vec<NodeId> {
        let mut nodes: Vec<NodeId> = self.cluster.borrow().brokers.keys().copied().collect();
        fastrand::shuffle(&mut nodes);
        nodes.sort_by_key(|node| !self.is_connected(*node));
        let mut bootstrap: Vec<NodeId> = self.bootstrap_nodes().collect();
        fastrand::shuffle(&mut bootstrap);
        nodes.extend(bootstrap);
        nodes
    }

    /// The bootstrap servers.
    pub(crate) fn bootstrap_nodes(&self) -> impl Iterator<Item = NodeId> + use<> {
        let count = NodeId::try_from(self.config().bootstrap_servers.len()).unwrap_or(NodeId::MAX);
        (0..count).map(|index| FIRST_BOOTSTRAP_NODE + index)
    }

    fn is_connected(&self, node: NodeId) -> bool {
        let link = self.links.lock().get(&(node, Lane::Control)).cloned();
        link.is_some_and(|link| link.connection().is_some())
    }

    /// Takes over what an answer of `node` says about the cluster, and lets go of connections to
    /// brokers that are no longer part of it.
    pub(crate) fn learn(&self, node: NodeId, update: impl FnOnce(&Cluster) -> Cluster) {
        if let Ok(address) = self.address(node) {
            let (host, port) = &address.advertised;
            *self.found_through.lock() = Some(Arc::from(format!("{host}:{port}")));
        }
        self.cluster.send_if_modified(|cluster| {
            let updated = update(cluster);
            let differs = updated != **cluster;
            if differs {
                *cluster = Arc::new(updated);
            }
            differs
        });
        let cluster = self.cluster.borrow().clone();
        let mut gone = Vec::new();
        self.links.lock().retain(|(node, _), link| {
            let keep = cluster.brokers.contains_key(node);
            if !keep {
                gone.push(Arc::clone(link));
            }
            keep
        });
        // Requests still on their way over these links hold them until they are answered.
        drop(gone);
        let is_known = |node: &NodeId| cluster.brokers.contains_key(node);
        self.versions.lock().retain(|node, _| is_known(node));
    }

    /// Adds a broker that an answer named, until the next metadata says more.
    pub(crate) fn note_broker(&self, node: NodeId, host: &str, port: u16, rack: Option<&str>) {
        let broker = Broker {
            host: Arc::from(host),
            port,
            rack: rack.map(Arc::from),
        };
        self.cluster.send_if_modified(|cluster| {
            if cluster.brokers.get(&node) == Some(&broker) {
                return false;
            }
            let mut updated = Cluster::clone(cluster);
            updated.brokers.insert(node, broker);
            *cluster = Arc::new(updated);
            true
        });
    }

    /// Refuses new requests, waits for those on their way, closes everything.
    pub(crate) async fn close(&self, limit: Duration) {
        self.closing.send_replace(true);
        // Dropping the permits again changes nothing: `closing` already turns requests away.
        let _ = timeout(limit, self.requests.acquire_many(REQUESTS_MAX)).await;
        let links: Vec<Arc<Link>> = self.links.lock().drain().map(|(_, link)| link).collect();
        for link in links {
            link.close(ErrorKind::Closed, "the client was closed");
        }
    }

    fn admit(&self) -> Result<SemaphorePermit<'_>, Error> {
        let closed = || Error::new(ErrorKind::Closed, "the client was closed");
        if *self.closing.borrow() {
            return Err(closed());
        }
        self.requests.try_acquire().map_err(|_| closed())
    }

    fn link(&self, node: NodeId, lane: Lane) -> Arc<Link> {
        let mut links = self.links.lock();
        let link = links
            .entry((node, lane))
            .or_insert_with(|| Arc::new(Link::new(lane)));
        Arc::clone(link)
    }

    /// Where a node is to be dialled now.
    fn address(&self, node: NodeId) -> Result<Address, Error> {
        let servers = &self.config().bootstrap_servers;
        let index = node.wrapping_sub(FIRST_BOOTSTRAP_NODE);
        if let Some(server) = usize::try_from(index)
            .ok()
            .and_then(|index| servers.get(index))
        {
            let (host, port) = split_host_port(server).ok_or_else(|| {
                let message = format!("bootstrap.servers: {server:?} is not host:port");
                Error::new(ErrorKind::Config, message)
            })?;
            let address: (Arc<str>, u16) = (Arc::from(host), port);
            return Ok(Address {
                node,
                dialled: address.clone(),
                advertised: address,
                bootstrap: true,
                found_through: None,
            });
        }
        let cluster = self.cluster.borrow().clone();
        let broker = cluster.brokers.get(&node).ok_or_else(|| {
            Error::new(
                ErrorKind::Connect,
                "the broker is not part of the cluster now",
            )
            .with_node(node)
        })?;
        let advertised = (Arc::clone(&broker.host), broker.port);
        let dialled = match &self.config().address_map {
            Some(map) => {
                let (host, port) = map(&broker.host, broker.port);
                (Arc::from(host), port)
            }
            None => advertised.clone(),
        };
        Ok(Address {
            node,
            advertised,
            dialled,
            bootstrap: false,
            found_through: self.found_through.lock().clone(),
        })
    }

    fn throttled(&self, link: &Link, lane: Lane, wait: Duration) {
        // A broker that asks for more than a request may take would only make requests time out.
        let wait = wait.min(self.config().request_timeout);
        tracing::debug!(lane = lane.name(), ?wait, "throttled by the broker");
        let seconds = wait.as_secs_f64();
        let labels = [("lane", lane.name())];
        self.config()
            .metrics
            .observe("throttle_seconds", &labels, seconds);
        link.throttle(Instant::now() + wait);
    }

    fn note_versions(&self, node: NodeId, versions: &Arc<Versions>) {
        let mut known = self.versions.lock();
        match known.get(&node) {
            Some(same) if Arc::ptr_eq(same, versions) => {}
            _ => {
                known.insert(node, Arc::clone(versions));
            }
        }
    }
}

/// A request in the making: what is needed to say how far it got if time runs out.
struct Sending<'a, R> {
    connections: &'a Connections,
    link: &'a Link,
    attempt: &'a Attempt,
    started: Instant,
    stage: StageCell,
    correlation_id: CorrelationId,
    used: Mutex<Option<(Arc<Connection>, i16)>>,
    request: std::marker::PhantomData<fn() -> R>,
}

impl<'a, R: Request> Sending<'a, R> {
    fn new(connections: &'a Connections, link: &'a Link, attempt: &'a Attempt) -> Self {
        Self {
            connections,
            link,
            attempt,
            started: Instant::now(),
            stage: StageCell::new(),
            correlation_id: CorrelationId::new(),
            used: Mutex::new(None),
            request: std::marker::PhantomData,
        }
    }

    /// When the attempt has taken too long.
    fn limit(&self, config: &ClientConfig) -> Instant {
        match self.attempt.lane {
            Lane::Join => self.attempt.deadline,
            Lane::Produce | Lane::Fetch | Lane::Control => self
                .attempt
                .deadline
                .min(self.started + config.request_timeout),
        }
    }

    /// Waits for this request's turn and for a connection.
    async fn prepare(&self) -> Result<(Arc<Connection>, i16, Turn<'a>), Error> {
        let mut turn = self.link.turn().await;
        self.stage.set(Stage::Connecting);
        let address = self.connections.address(self.attempt.node)?;
        let dialler = &self.connections.dialler;
        let connection = turn.connection(&address, dialler).await?;
        self.connections
            .note_versions(self.attempt.node, connection.versions());
        let version = connection.pick_version::<R>(self.attempt.max_version)?;
        self.stage.set(Stage::Crowded);
        *self.used.lock() = Some((Arc::clone(&connection), version));
        Ok((connection, version, turn))
    }

    fn timed_out(&self) -> Error {
        let waited = self.started.elapsed();
        let Attempt { node, lane, .. } = *self.attempt;
        let used = self.used.lock().take();
        let labels = [("lane", lane.name())];
        let metrics = &self.connections.config().metrics;
        metrics.add("requests_timed_out", &labels, 1);
        let (stage, used) = (self.stage.get(), used);
        if let (Stage::Exchanging, Some((connection, version))) = (stage, &used) {
            return connection.timed_out::<R>(lane, *version, &self.correlation_id, waited);
        }
        let what = match stage {
            Stage::Queued => "other requests to the broker were in front",
            Stage::Connecting => "no connection was made in time, or the broker throttles",
            Stage::Crowded | Stage::Exchanging => "too many requests wait for their answer",
        };
        let error = Error::new(
            ErrorKind::Timeout,
            format!("{} not sent: {what}", api_name(R::KEY)),
        )
        .with_delivery(Delivery::NotSent)
        .with_elapsed(waited);
        let error = match (&used, self.connections.address(node)) {
            (Some((connection, _)), _) => error.with_broker(&**connection.broker()),
            (None, Ok(address)) => error.with_broker(address.label()),
            (None, Err(_)) => error.with_node(node),
        };
        match (ApiKey::try_from(R::KEY), used) {
            (Ok(api), Some((_, version))) => error.with_api(api, version),
            _ => error,
        }
    }
}

/// What a request waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Stage {
    Queued,
    Connecting,
    Crowded,
    Exchanging,
}

struct StageCell(AtomicU8);

impl StageCell {
    fn new() -> Self {
        Self(AtomicU8::new(Stage::Queued as u8))
    }

    fn set(&self, stage: Stage) {
        self.0.store(stage as u8, Ordering::Relaxed);
    }

    fn get(&self) -> Stage {
        match self.0.load(Ordering::Relaxed) {
            0 => Stage::Queued,
            1 => Stage::Connecting,
            2 => Stage::Crowded,
            _ => Stage::Exchanging,
        }
    }
}
