//! The sender: the one task that owns the sinks, learns leaders and the producer id, and minds time.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use ferrokafka_client::{Cluster, Error, ErrorKind, Lane, NodeId, Route};
use ferrokafka_wire::ErrorCode;
use ferrokafka_wire::messages::{InitProducerIdRequest, ProducerId};
use futures_util::future::BoxFuture;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::partition_queue::{Effects, ProducerIdentity};
use crate::shared::Shared;
use crate::sink::Sink;

/// How often stale metadata is asked for again while records wait for a leader.
const LEADER_RETRY: Duration = Duration::from_millis(100);

pub(crate) struct Sender {
    shared: Arc<Shared>,
    sinks: JoinSet<()>,
    nodes: BTreeSet<NodeId>,
    cluster: watch::Receiver<Arc<Cluster>>,
    identity: Option<BoxFuture<'static, Result<ProducerIdentity, Error>>>,
    /// Not before then the producer id is asked for again.
    identity_retry_at: Option<Instant>,
    expire_at: Instant,
    leader_retry_at: Instant,
}

/// Fails what is left if the sender ends in a way nobody planned, so that nobody waits for ever.
struct FailOnDrop(Option<Arc<Shared>>);

impl Drop for FailOnDrop {
    fn drop(&mut self) {
        if let Some(shared) = self.0.take() {
            let error = Error::new(ErrorKind::Closed, "the producer's sender has ended");
            shared.fail(&error);
        }
    }
}

impl Sender {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        let cluster = shared.client.watch_cluster();
        let now = Instant::now();
        Self {
            shared,
            sinks: JoinSet::new(),
            nodes: BTreeSet::new(),
            cluster,
            identity: None,
            identity_retry_at: None,
            expire_at: now,
            leader_retry_at: now,
        }
    }

    /// Runs until `stop` changes or its other end is gone.
    pub(crate) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let mut fail_on_drop = FailOnDrop(Some(Arc::clone(&self.shared)));
        let mut cluster_open = true;
        loop {
            self.start_sinks();
            self.ask_for_identity();
            self.mind_time();
            let leader_missing = self.shared.accumulator.lock().leader_missing();
            tokio::select! {
                _ = stop.changed() => break,
                changed = self.cluster.changed(), if cluster_open => match changed {
                    Ok(()) => self.take_over_cluster(),
                    Err(_client_gone) => cluster_open = false,
                },
                () = self.shared.sender_wake.notified() => {}
                answer = async { match &mut self.identity {
                    Some(identity) => identity.await,
                    None => std::future::pending().await,
                } } => self.identity_answered(answer),
                Some(ended) = self.sinks.join_next(), if !self.sinks.is_empty() => {
                    // Sinks do not end by themselves.
                    let error = Error::new(ErrorKind::Internal, "a sink of the producer has ended");
                    tracing::error!(?ended, "{error}");
                    self.shared.fail(&error);
                }
                () = sleep_until(self.expire_at) => {}
                () = sleep_until(self.leader_retry_at), if leader_missing => {
                    self.shared.client.refresh();
                    self.leader_retry_at = Instant::now() + LEADER_RETRY;
                }
                () = sleep_until(self.identity_retry_at.unwrap_or(self.expire_at)),
                    if self.identity_retry_at.is_some() => self.identity_retry_at = None,
            }
        }
        self.sinks.shutdown().await;
        // Whoever stopped it sees to what is left.
        fail_on_drop.0 = None;
    }

    fn start_sinks(&mut self) {
        let new: Vec<_> = self
            .shared
            .accumulator
            .lock()
            .nodes()
            .filter(|(node, _)| !self.nodes.contains(node))
            .map(|(node, wake)| (node, Arc::clone(wake)))
            .collect();
        for (node, wake) in new {
            self.nodes.insert(node);
            self.sinks
                .spawn(Sink::new(Arc::clone(&self.shared), node, wake).run());
        }
    }

    fn take_over_cluster(&mut self) {
        let cluster = Arc::clone(&self.cluster.borrow_and_update());
        self.shared.accumulator.lock().set_cluster(&cluster);
    }

    fn mind_time(&mut self) {
        let now = Instant::now();
        if now < self.expire_at {
            return;
        }
        let mut effects = Effects::default();
        self.expire_at = self.shared.accumulator.lock().expire(now, &mut effects);
        self.shared.carry_out(effects);
    }

    fn ask_for_identity(&mut self) {
        if self.identity.is_none()
            && self.identity_retry_at.is_none()
            && self.shared.accumulator.lock().needs_identity()
        {
            self.identity = Some(Box::pin(init_producer_id(Arc::clone(&self.shared))));
        }
    }

    fn identity_answered(&mut self, answer: Result<ProducerIdentity, Error>) {
        self.identity = None;
        match answer {
            Ok(identity) => {
                tracing::debug!(?identity, "producer id");
                self.shared.accumulator.lock().set_identity(identity);
            }
            Err(error) if error.is_retriable() => {
                tracing::warn!(%error, "no producer id yet");
                self.identity_retry_at = Some(Instant::now() + LEADER_RETRY);
            }
            Err(error) => {
                tracing::error!(%error, "no producer id");
                self.shared.fail(&error);
            }
        }
    }
}

/// Asks for a producer id (InitProducerId 0 to 5; without a transactional id any broker answers).
async fn init_producer_id(shared: Arc<Shared>) -> Result<ProducerIdentity, Error> {
    let deadline = Instant::now() + shared.client.config().get_api_timeout();
    let response = shared
        .client
        .call::<InitProducerIdRequest>(
            Route::Any,
            Lane::Control,
            deadline,
            |_version| {
                InitProducerIdRequest::default()
                    .with_transactional_id(None)
                    .with_transaction_timeout_ms(i32::MAX)
                    .with_producer_id(ProducerId(-1))
                    .with_producer_epoch(-1)
            },
            |response| ErrorCode::from_code(response.error_code),
        )
        .await?;
    Ok(ProducerIdentity {
        id: response.producer_id.0,
        epoch: response.producer_epoch,
    })
}
