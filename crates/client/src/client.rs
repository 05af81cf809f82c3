//! The client: requests to a cluster, routed, retried, with a deadline.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ferrokafka_wire::ErrorCode;
use ferrokafka_wire::protocol::Request;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::call::{Call, CallTrace};
use crate::cluster::Cluster;
use crate::config::ClientConfig;
use crate::connections::{Attempt, Connections};
use crate::connector::{Connector, TcpConnector};
use crate::coordinators::{self, Coordinators};
use crate::error::{Error, ErrorKind};
use crate::metadata::Metadata;
use crate::route::{CoordinatorKind, Lane, NodeId, Route};
use crate::task::OwnedTask;
use crate::topic_partition::TopicPartition;

/// A connection to a cluster. Cheap to clone; all clones share connections and metadata.
///
/// Dropping the last clone closes the connections at once and never blocks; [`Client::close`] lets
/// requests on their way be answered first.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    connections: Arc<Connections>,
    metadata: Arc<Metadata>,
    coordinators: Coordinators,
    _refresher: OwnedTask<()>,
}

impl Client {
    /// Reaches one of the bootstrap servers and fetches metadata.
    ///
    /// Servers that cannot be reached are tried again until `socket.connection.setup.timeout.ms` is
    /// over, so that a client may start along with its brokers.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for bad settings; otherwise why the last server did not answer.
    pub async fn connect(config: ClientConfig) -> Result<Self, Error> {
        Self::connect_with(config, Arc::new(TcpConnector)).await
    }

    /// The same over streams that `connector` makes: for tests in memory.
    ///
    /// # Errors
    /// As [`Client::connect`].
    pub async fn connect_with(
        config: ClientConfig,
        connector: Arc<dyn Connector>,
    ) -> Result<Self, Error> {
        config.validate()?;
        let deadline = Instant::now() + config.connection_setup_timeout;
        let connections = Arc::new(Connections::new(Arc::new(config), connector));
        let metadata = Arc::new(Metadata::new(Arc::clone(&connections)));
        let refresher = OwnedTask::spawn(Arc::clone(&metadata).run());
        let client = Self(Arc::new(Inner {
            connections,
            metadata,
            coordinators: Coordinators::default(),
            _refresher: refresher,
        }));
        match client.0.metadata.renew(deadline).await {
            Ok(_) => Ok(client),
            Err(error) => Err(reason_of(error)),
        }
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
        let attempt = Attempt {
            node,
            lane,
            deadline,
            max_version,
        };
        self.0.connections.request(attempt, build).await
    }

    /// Writes a request that the broker does not answer (Produce with `acks=0`), in line with those
    /// that it does; done when it was handed to the network. Gives the version used.
    ///
    /// # Errors
    /// As [`Client::request`].
    pub async fn request_unanswered<R>(
        &self,
        node: NodeId,
        lane: Lane,
        deadline: Instant,
        build: impl Fn(i16) -> R + Send + Sync,
    ) -> Result<i16, Error>
    where
        R: Request + Send + Sync,
    {
        let attempt = Attempt {
            node,
            lane,
            deadline,
            max_version: i16::MAX,
        };
        self.0.connections.request_unanswered(attempt, build).await
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
        let answer = self.call_traced(route, lane, deadline, build, check).await;
        answer.map(|(response, _)| response)
    }

    /// As [`Client::call`], and says how the answer came about.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn call_traced<R>(
        &self,
        route: Route<'_>,
        lane: Lane,
        deadline: Instant,
        build: impl Fn(i16) -> R + Send + Sync,
        check: impl Fn(&R::Response) -> ErrorCode + Send + Sync,
    ) -> Result<(R::Response, CallTrace), Error>
    where
        R: Request + Send + Sync,
        R::Response: Send + 'static,
    {
        Call::new(self, route, lane, deadline)
            .run(build, check)
            .await
    }

    /// The versions of an API that a node serves; none if the node was not reached yet or lacks it.
    #[must_use]
    pub fn supports(&self, node: NodeId, api_key: i16) -> Option<(i16, i16)> {
        self.0.connections.versions(node)?.of(api_key)
    }

    /// What is known of the cluster now.
    #[must_use]
    pub fn cluster(&self) -> Arc<Cluster> {
        self.0.connections.cluster().borrow().clone()
    }

    /// Follows what is known of the cluster.
    #[must_use]
    pub fn watch_cluster(&self) -> watch::Receiver<Arc<Cluster>> {
        self.0.connections.cluster().subscribe()
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
        self.0.metadata.topics(topics, deadline).await
    }

    /// Asks for all topics, always anew.
    ///
    /// # Errors
    /// As [`Client::metadata`].
    pub async fn all_topics(&self, deadline: Instant) -> Result<Arc<Cluster>, Error> {
        self.0.metadata.all_topics(deadline).await
    }

    /// Notes that metadata is stale: it is fetched in the background after the retry backoff, once for
    /// any number of notes.
    pub fn refresh(&self) {
        self.0.metadata.refresh();
    }

    /// Asks anew, at once, for all topics wanted so far, and waits for the answer.
    ///
    /// # Errors
    /// As [`Client::metadata`].
    pub async fn refresh_now(&self, deadline: Instant) -> Result<Arc<Cluster>, Error> {
        self.0.metadata.renew(deadline).await
    }

    /// Notes a newer leader that a broker named in its answer (KIP-951).
    pub fn note_leader(&self, topic_partition: &TopicPartition, leader: NodeId, leader_epoch: i32) {
        self.0.connections.cluster().send_if_modified(|cluster| {
            match cluster.with_leader(topic_partition, leader, leader_epoch) {
                Some(updated) => {
                    *cluster = Arc::new(updated);
                    true
                }
                None => false,
            }
        });
    }

    /// Notes where a broker can be reached, from an answer's node endpoints (KIP-951).
    pub fn note_broker(&self, node: NodeId, host: &str, port: u16, rack: Option<&str>) {
        self.0.connections.note_broker(node, host, port, rack);
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
        if let Some(node) = self.0.coordinators.get(kind, key) {
            return Ok(node);
        }
        let (response, _) = Call::new(self, Route::Any, Lane::Control, deadline)
            .run(
                |version| coordinators::request(version, kind, key),
                |response| match coordinators::code(response) {
                    // An answer without an address is as good as "ask again".
                    ErrorCode::None if coordinators::found(response).is_none() => {
                        ErrorCode::CoordinatorNotAvailable
                    }
                    code => code,
                },
            )
            .await?;
        let found = coordinators::found(&response)
            .ok_or_else(|| Error::new(ErrorKind::Internal, "a coordinator without an address"))?;
        if !self.cluster().brokers.contains_key(&found.node) {
            self.note_broker(found.node, &found.host, found.port, None);
        }
        self.0.coordinators.remember(kind, key, found.node);
        Ok(found.node)
    }

    /// Drops a coordinator from the cache, since it said it is none or cannot be reached.
    pub fn forget_coordinator(&self, kind: CoordinatorKind, key: &str) {
        self.0.coordinators.forget(kind, key);
    }

    /// The settings.
    #[must_use]
    pub fn config(&self) -> &ClientConfig {
        self.0.connections.config()
    }

    /// Refuses new requests, waits until those on their way are answered, at most `timeout`, and closes
    /// the connections. All clones are closed.
    pub async fn close(&self, timeout: Duration) {
        self.0.connections.close(timeout).await;
    }

    /// A deadline `default.api.timeout.ms` from now.
    #[must_use]
    pub fn api_deadline(&self) -> Instant {
        Instant::now() + self.config().api_timeout
    }

    /// The level of a feature that the cluster agreed on, as this node told it
    /// (`transaction.version`, `group.version`, …).
    #[must_use]
    pub fn finalized_feature(&self, node: NodeId, name: &str) -> Option<i16> {
        self.0.connections.versions(node)?.finalized_feature(name)
    }

    pub(crate) fn connections(&self) -> &Connections {
        &self.0.connections
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("config", self.config())
            .finish_non_exhaustive()
    }
}

/// The reason for which no server answered, instead of the bare timeout around it.
fn reason_of(error: Error) -> Error {
    let cause = std::error::Error::source(&error).and_then(|cause| cause.downcast_ref::<Error>());
    match cause {
        Some(cause) if error.kind() == ErrorKind::Timeout => cause.clone(),
        _ => error,
    }
}
