//! The client: requests to a cluster, routed, retried, with a deadline.

use std::sync::Arc;
use std::time::Duration;

use ferrokafka_wire::ErrorCode;
use ferrokafka_wire::protocol::Request;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::cluster::Cluster;
use crate::config::ClientConfig;
use crate::connector::Connector;
use crate::error::{Error, ErrorKind};
use crate::route::{CoordinatorKind, Lane, NodeId, Route};
use crate::topic_partition::TopicPartition;

/// A connection to a cluster. Cheap to clone; all clones share connections and metadata.
#[derive(Clone)]
pub struct Client {
    config: Arc<ClientConfig>,
}

fn unfinished() -> Error {
    Error::new(ErrorKind::Internal, "not there yet")
}

impl Client {
    /// Reaches one of the bootstrap servers and fetches metadata.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for bad settings; [`ErrorKind::Connect`] if no server can be reached
    /// within `default.api.timeout.ms`.
    pub async fn connect(config: ClientConfig) -> Result<Self, Error> {
        let _ = config;
        Err(unfinished())
    }

    /// The same over streams that `connector` makes: for tests in memory.
    ///
    /// # Errors
    /// As [`Client::connect`].
    pub async fn connect_with(
        config: ClientConfig,
        connector: Arc<dyn Connector>,
    ) -> Result<Self, Error> {
        let _ = (config, connector);
        Err(unfinished())
    }

    /// Makes exactly one attempt on the connection to this node for this lane, opening it if needed.
    ///
    /// `build` makes the request once the version is known; it may be called more than once. Requests
    /// on one lane are written in the order in which their futures were first polled. Gives the version
    /// used along with the response.
    ///
    /// # Errors
    /// [`Error::delivery`] says whether the broker may have seen the request.
    pub async fn request<R>(
        &self,
        node: NodeId,
        lane: Lane,
        deadline: Instant,
        build: impl Fn(i16) -> R + Send + Sync,
    ) -> Result<(i16, R::Response), Error>
    where
        R: Request + Send + Sync,
        R::Response: Send + 'static,
    {
        self.request_max_version(node, lane, deadline, i16::MAX, build)
            .await
    }

    /// As [`Client::request`], with no version above `max_version`.
    ///
    /// # Errors
    /// As [`Client::request`].
    pub async fn request_max_version<R>(
        &self,
        node: NodeId,
        lane: Lane,
        deadline: Instant,
        max_version: i16,
        build: impl Fn(i16) -> R + Send + Sync,
    ) -> Result<(i16, R::Response), Error>
    where
        R: Request + Send + Sync,
        R::Response: Send + 'static,
    {
        let _ = (node, lane, deadline, max_version, build);
        Err(unfinished())
    }

    /// Sends a request where `route` says, and retries until the deadline whatever can be retried:
    /// connections lost, coordinators and leaders moved, brokers busy.
    ///
    /// `check` finds the error code in the response: `None` hands the response back, a code that can be
    /// retried is retried, any other becomes the error.
    ///
    /// # Errors
    /// The last attempt's error, with the number of attempts and the time they took.
    pub async fn call<R>(
        &self,
        route: Route<'_>,
        lane: Lane,
        deadline: Instant,
        build: impl Fn(i16) -> R + Send + Sync,
        check: impl Fn(&R::Response) -> ErrorCode + Send + Sync,
    ) -> Result<R::Response, Error>
    where
        R: Request + Send + Sync,
        R::Response: Send + 'static,
    {
        let _ = (route, lane, deadline, build, check);
        Err(unfinished())
    }

    /// The versions of an API that a node serves; none if the node was not reached yet or lacks it.
    #[must_use]
    pub fn supports(&self, node: NodeId, api_key: i16) -> Option<(i16, i16)> {
        let _ = (node, api_key);
        None
    }

    /// What is known of the cluster now.
    #[must_use]
    pub fn cluster(&self) -> Arc<Cluster> {
        Arc::default()
    }

    /// Follows what is known of the cluster.
    #[must_use]
    pub fn watch_cluster(&self) -> watch::Receiver<Arc<Cluster>> {
        watch::channel(Arc::default()).1
    }

    /// Makes sure these topics are known, asking a broker if they are not. A topic that does not exist
    /// is in the snapshot with its error.
    ///
    /// # Errors
    /// [`ErrorKind::Timeout`] if no broker answered before the deadline.
    pub async fn metadata(
        &self,
        topics: &[Arc<str>],
        deadline: Instant,
    ) -> Result<Arc<Cluster>, Error> {
        let _ = (topics, deadline);
        Err(unfinished())
    }

    /// Asks for all topics, always anew.
    ///
    /// # Errors
    /// As [`Client::metadata`].
    pub async fn all_topics(&self, deadline: Instant) -> Result<Arc<Cluster>, Error> {
        let _ = deadline;
        Err(unfinished())
    }

    /// Notes that metadata is stale: it is fetched in the background after the retry backoff, once for
    /// any number of notes.
    pub fn refresh(&self) {}

    /// Notes a newer leader that a broker named in its answer (KIP-951).
    pub fn note_leader(&self, topic_partition: &TopicPartition, leader: NodeId, leader_epoch: i32) {
        let _ = (topic_partition, leader, leader_epoch);
    }

    /// Notes where a broker can be reached, from an answer's node endpoints (KIP-951).
    pub fn note_broker(&self, node: NodeId, host: &str, port: u16, rack: Option<&str>) {
        let _ = (node, host, port, rack);
    }

    /// The coordinator of a group or transactional id, from the cache or by asking.
    ///
    /// # Errors
    /// The broker's refusal, or [`ErrorKind::Timeout`].
    pub async fn coordinator(
        &self,
        kind: CoordinatorKind,
        key: &str,
        deadline: Instant,
    ) -> Result<NodeId, Error> {
        let _ = (kind, key, deadline);
        Err(unfinished())
    }

    /// Drops a coordinator from the cache, since it said it is none or cannot be reached.
    pub fn forget_coordinator(&self, kind: CoordinatorKind, key: &str) {
        let _ = (kind, key);
    }

    /// The settings.
    #[must_use]
    pub fn config(&self) -> &ClientConfig {
        &self.config
    }

    /// Refuses new requests, waits until those on their way are answered, at most `timeout`, and closes
    /// the connections. All clones are closed.
    pub async fn close(&self, timeout: Duration) {
        let _ = timeout;
    }
}
