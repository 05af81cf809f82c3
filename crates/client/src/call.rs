//! A request with its retries: find the broker, send, look at the answer, and do what the error asks.

use std::borrow::Cow;
use std::sync::Arc;

use ferrokafka_wire::ErrorCode;
use ferrokafka_wire::messages::ApiKey;
use ferrokafka_wire::protocol::Request;
use tokio::time::{Instant, timeout_at};

use crate::client::Client;
use crate::connection::api_name;
use crate::connections::Attempt;
use crate::error::{Delivery, Disposition, Error, ErrorKind};
use crate::route::{CoordinatorKind, Lane, NodeId, Route};

/// How a call came to its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct CallTrace {
    /// How many attempts it took.
    pub attempts: u32,
    /// An attempt before the last one may have reached its broker, so that the answer may speak of
    /// what this very call did: a topic that "already exists", a group that is "not found".
    pub maybe_done_before: bool,
}

/// One operation in progress.
pub(crate) struct Call<'a> {
    client: &'a Client,
    route: Route<'a>,
    lane: Lane,
    deadline: Instant,
    started: Instant,
    attempts: u32,
    /// An earlier attempt may have reached its broker: the operation may have happened.
    maybe_done: bool,
    /// Brokers that failed at a request any broker could serve; others are asked before them.
    failed: Vec<NodeId>,
}

impl<'a> Call<'a> {
    pub(crate) fn new(client: &'a Client, route: Route<'a>, lane: Lane, deadline: Instant) -> Self {
        Self {
            client,
            route,
            lane,
            deadline,
            started: Instant::now(),
            attempts: 0,
            maybe_done: false,
            failed: Vec::new(),
        }
    }

    pub(crate) async fn run<R>(
        mut self,
        build: impl Fn(i16) -> R + Send + Sync,
        check: impl Fn(&R::Response) -> ErrorCode + Send + Sync,
    ) -> Result<(R::Response, CallTrace), Error>
    where
        R: Request + Send + Sync,
        R::Response: Send + 'static,
    {
        let backoff = self.client.config().get_retry_backoff();
        loop {
            let (node, error) = match self.node().await {
                Ok(node) => match self.attempt(node, &build, &check).await {
                    Ok(response) => {
                        let trace = CallTrace {
                            attempts: self.attempts,
                            maybe_done_before: self.maybe_done,
                        };
                        return Ok((response, trace));
                    }
                    Err(error) => (Some(node), error),
                },
                Err(error) => (None, error),
            };
            let delay = backoff.delay(self.attempts.saturating_sub(1));
            let disposition = error.disposition();
            let retry = matches!(
                disposition,
                Disposition::Retry | Disposition::RefreshThenRetry
            );
            if !retry || Instant::now() + delay >= self.deadline {
                return Err(self.finish(error));
            }
            tracing::debug!(%error, attempts = self.attempts, api = %api_name(R::KEY), "will retry");
            self.react(node, disposition);
            self.pause(delay).await?;
            if disposition == Disposition::RefreshThenRetry && self.needs_metadata() {
                // Should nobody answer, the next attempt fails and says why.
                let _ = self.client.refresh_now(self.deadline).await;
            }
        }
    }

    async fn attempt<R>(
        &mut self,
        node: NodeId,
        build: &(impl Fn(i16) -> R + Send + Sync),
        check: &(impl Fn(&R::Response) -> ErrorCode + Send + Sync),
    ) -> Result<R::Response, Error>
    where
        R: Request + Send + Sync,
        R::Response: Send + 'static,
    {
        self.attempts += 1;
        let attempt = Attempt {
            node,
            lane: self.lane,
            deadline: self.deadline,
            max_version: i16::MAX,
        };
        let result = self.client.connections().request(attempt, build).await;
        let (version, response) = result.inspect_err(|error| {
            self.maybe_done |= error.delivery() == Delivery::Unknown;
        })?;
        let code = check(&response);
        if code.is_none() {
            return Ok(response);
        }
        self.maybe_done |= code.possibly_written();
        let error = Error::from_code(code, api_name(R::KEY)).with_node(node);
        Err(match ApiKey::try_from(R::KEY) {
            Ok(api) => error.with_api(api, version),
            Err(()) => error,
        })
    }

    /// The broker to send to now.
    async fn node(&mut self) -> Result<NodeId, Error> {
        let client = self.client;
        match self.route {
            Route::Node(node) => Ok(node),
            Route::Any => self.anyone(),
            Route::Controller => match client.cluster().controller {
                Some(node) => Ok(node),
                None => Err(Error::from_code(
                    ErrorCode::BrokerNotAvailable,
                    "the cluster has no controller now",
                )),
            },
            // A search for the coordinator is a call of its own, with retries of its own.
            Route::Group(key) => {
                Box::pin(client.coordinator(CoordinatorKind::Group, key, self.deadline)).await
            }
            Route::Transaction(key) => {
                Box::pin(client.coordinator(CoordinatorKind::Transaction, key, self.deadline)).await
            }
            Route::Leader(topic_partition) => {
                let topics = [Arc::clone(&topic_partition.topic)];
                let cluster = client.metadata(&topics, self.deadline).await?;
                if let Some((node, _)) = cluster.leader(topic_partition) {
                    return Ok(node);
                }
                let topic = cluster.topics.get(&topic_partition.topic);
                let code = match topic.map(|topic| topic.error) {
                    Some(error) if !error.is_none() => error,
                    _ if cluster.partition(topic_partition).is_none() => {
                        ErrorCode::UnknownTopicOrPartition
                    }
                    _ => ErrorCode::LeaderNotAvailable,
                };
                Err(Error::from_code(code, "no leader is known")
                    .with_topic_partition(topic_partition.clone()))
            }
        }
    }

    /// Some broker, rather one that has not failed in this call.
    fn anyone(&mut self) -> Result<NodeId, Error> {
        let candidates = self.client.connections().candidates();
        let fresh = candidates.iter().find(|node| !self.failed.contains(node));
        let node = match fresh {
            Some(node) => Some(*node),
            None => {
                self.failed.clear();
                candidates.first().copied()
            }
        };
        node.ok_or_else(|| Error::new(ErrorKind::Connect, "there is no broker to ask"))
    }

    /// Does what the error asks before the next attempt.
    fn react(&mut self, node: Option<NodeId>, disposition: Disposition) {
        match (self.route, node) {
            (Route::Any, Some(node)) => self.failed.push(node),
            // A coordinator that is loading stays where it is; any other error may mean it moved.
            (Route::Group(key), Some(_)) if disposition == Disposition::RefreshThenRetry => {
                self.client.forget_coordinator(CoordinatorKind::Group, key);
            }
            (Route::Transaction(key), Some(_)) if disposition == Disposition::RefreshThenRetry => {
                self.client
                    .forget_coordinator(CoordinatorKind::Transaction, key);
            }
            _ => {}
        }
        if disposition == Disposition::RefreshThenRetry && !self.needs_metadata() {
            self.client.refresh();
        }
    }

    /// Whether the broker to ask is found in metadata, so that it must be fresh before the next attempt.
    fn needs_metadata(&self) -> bool {
        matches!(self.route, Route::Leader(_) | Route::Controller)
    }

    /// Waits before the next attempt; ends early, with an error, if the client is closed.
    async fn pause(&self, delay: std::time::Duration) -> Result<(), Error> {
        let mut closing = self.client.connections().closing();
        match timeout_at(Instant::now() + delay, closing.wait_for(|closing| *closing)).await {
            Ok(_) => Err(self.context(Error::new(ErrorKind::Closed, "the client was closed"))),
            Err(_) => Ok(()),
        }
    }

    /// The error of the whole operation, from that of its last attempt.
    fn finish(&self, error: Error) -> Error {
        let error = self.context(error);
        if self.maybe_done {
            error.with_delivery(Delivery::Unknown)
        } else {
            error
        }
    }

    fn context(&self, error: Error) -> Error {
        let error = match (self.route, error.topic_partition()) {
            (Route::Leader(topic_partition), None) => {
                error.with_topic_partition(topic_partition.clone())
            }
            _ => error,
        };
        let broker = error.node().filter(|_| error.broker().is_none());
        let named = broker.and_then(|node| {
            let cluster = self.client.cluster();
            let broker = cluster.brokers.get(&node)?;
            Some(Cow::from(format!(
                "{node} at {}:{}",
                broker.host, broker.port
            )))
        });
        let error = match named {
            Some(named) => error.with_broker(named),
            None => error,
        };
        error
            .with_attempts(self.attempts)
            .with_elapsed(self.started.elapsed())
    }
}
