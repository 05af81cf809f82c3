//! Keeping metadata fresh: one task asks, in rounds; everyone else says what is wanted and waits.
//!
//! A round asks for all topics that were ever wanted. Whoever registers before a round begins is served
//! by it, so any number of callers share one request.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use ferrokafka_wire::ErrorCode;
use ferrokafka_wire::messages::metadata_request::MetadataRequestTopic;
use ferrokafka_wire::messages::{MetadataRequest, MetadataResponse, TopicName};
use ferrokafka_wire::protocol::StrBytes;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::cluster::Cluster;
use crate::connections::{Attempt, Connections};
use crate::error::{Error, ErrorKind};
use crate::route::{Lane, NodeId};

/// See the module's documentation.
pub(crate) struct Metadata {
    connections: Arc<Connections>,
    wants: Mutex<Wants>,
    wake: Notify,
    rounds: watch::Sender<Rounds>,
}

/// What the next round is for.
#[derive(Default)]
struct Wants {
    topics: BTreeSet<Arc<str>>,
    /// The next round asks for every topic.
    all: bool,
    /// The next round comes at once.
    now: bool,
    /// The next round comes after the backoff.
    stale: bool,
}

#[derive(Default)]
struct Rounds {
    begun: u64,
    finished: u64,
    /// Why the last one failed, if it did.
    error: Option<Error>,
}

impl Metadata {
    pub(crate) fn new(connections: Arc<Connections>) -> Self {
        Self {
            connections,
            wants: Mutex::default(),
            wake: Notify::new(),
            rounds: watch::Sender::new(Rounds::default()),
        }
    }

    pub(crate) fn refresh(&self) {
        self.wants.lock().stale = true;
        self.wake.notify_one();
    }

    /// Waits until these topics are known.
    pub(crate) async fn topics(
        &self,
        topics: &[Arc<str>],
        deadline: Instant,
    ) -> Result<Arc<Cluster>, Error> {
        let cluster = self.connections.cluster().borrow().clone();
        let is_known = |topic: &Arc<str>| {
            let topic = cluster.topics.get(topic);
            topic.is_some_and(|topic| topic.error.is_none())
        };
        if topics.iter().all(is_known) {
            let mut wants = self.wants.lock();
            for topic in topics {
                if !wants.topics.contains(topic) {
                    wants.topics.insert(Arc::clone(topic));
                }
            }
            return Ok(cluster);
        }
        self.round(deadline, |wants| {
            wants.topics.extend(topics.iter().cloned())
        })
        .await
    }

    /// Asks for all topics, anew.
    pub(crate) async fn all_topics(&self, deadline: Instant) -> Result<Arc<Cluster>, Error> {
        self.round(deadline, |wants| wants.all = true).await
    }

    /// Asks anew for whatever is wanted.
    pub(crate) async fn renew(&self, deadline: Instant) -> Result<Arc<Cluster>, Error> {
        self.round(deadline, |_| {}).await
    }

    /// Has a round made, and waits for one that succeeds.
    async fn round(
        &self,
        deadline: Instant,
        want: impl FnOnce(&mut Wants),
    ) -> Result<Arc<Cluster>, Error> {
        let started = Instant::now();
        let mut rounds = self.rounds.subscribe();
        let mut first = {
            let mut wants = self.wants.lock();
            want(&mut wants);
            wants.now = true;
            // The task takes its wants under this lock before it counts a round as begun.
            rounds.borrow().begun + 1
        };
        self.wake.notify_one();
        let mut closing = self.connections.closing();
        let mut last_error = None;
        loop {
            let finished = async {
                tokio::select! {
                    _ = closing.wait_for(|closing| *closing) => {
                        Err(Error::new(ErrorKind::Closed, "the client was closed"))
                    }
                    round = rounds.wait_for(|rounds| rounds.finished >= first) => match round {
                        Ok(round) => Ok((round.finished, round.error.clone())),
                        Err(_) => Err(Error::new(ErrorKind::Closed, "the client was closed")),
                    },
                }
            };
            match timeout_at(deadline, finished).await {
                Ok(Ok((_, None))) => return Ok(self.connections.cluster().borrow().clone()),
                Ok(Ok((_, Some(error)))) if !error.is_retriable() => return Err(error),
                Ok(Ok((finished, Some(error)))) => {
                    last_error = Some(error);
                    first = finished + 1;
                    self.refresh();
                }
                Ok(Err(error)) => return Err(error),
                Err(_) => {
                    let error =
                        Error::new(ErrorKind::Timeout, "no broker told its metadata in time")
                            .with_elapsed(started.elapsed());
                    return Err(match last_error {
                        Some(cause) => match cause.hint().map(str::to_owned) {
                            Some(hint) => error.with_hint(hint).with_source(cause),
                            None => error.with_source(cause),
                        },
                        None => error,
                    });
                }
            }
        }
    }

    /// Makes rounds as they are wanted, until the client is closed or its owner drops this.
    pub(crate) async fn run(self: Arc<Self>) {
        let mut closing = self.connections.closing();
        tokio::select! {
            _ = closing.wait_for(|closing| *closing) => {}
            () = self.make_rounds() => {}
        }
    }

    async fn make_rounds(&self) {
        let config = Arc::clone(self.connections.config());
        let backoff = config.get_retry_backoff();
        let mut failures = 0_u32;
        let mut last_end: Option<Instant> = None;
        loop {
            let old = last_end.map(|end| end + config.metadata_max_age);
            let (now, stale) = {
                let wants = self.wants.lock();
                (wants.now && failures == 0, wants.now || wants.stale)
            };
            let due = match (now, stale, last_end) {
                (true, _, _) | (_, true, None) => None,
                (false, true, Some(end)) => Some(end + backoff.delay(failures.saturating_sub(1))),
                (false, false, _) => {
                    Some(old.unwrap_or_else(|| Instant::now() + config.metadata_max_age))
                }
            };
            if let Some(due) = due.filter(|due| *due > Instant::now()) {
                tokio::select! {
                    () = sleep_until(due) => {}
                    // What is wanted may have changed: look again.
                    () = self.wake.notified() => continue,
                }
            }
            match self.make_round().await {
                Ok(()) => failures = 0,
                Err(error) => {
                    failures = failures.saturating_add(1);
                    // The first failure is news, its repetition is not.
                    if failures == 1 {
                        tracing::warn!(%error, hint = error.hint(), "metadata not refreshed");
                    } else {
                        tracing::debug!(%error, failures, "metadata still not refreshed");
                    }
                    self.wants.lock().stale = true;
                }
            }
            last_end = Some(Instant::now());
        }
    }

    /// Asks one broker after another until one answers.
    async fn make_round(&self) -> Result<(), Error> {
        let (topics, round) = {
            let mut wants = self.wants.lock();
            wants.now = false;
            wants.stale = false;
            let all = std::mem::take(&mut wants.all);
            let mut round = 0;
            self.rounds.send_modify(|rounds| {
                rounds.begun += 1;
                round = rounds.begun;
            });
            let topics: Option<Vec<Arc<str>>> =
                (!all).then(|| wants.topics.iter().cloned().collect());
            (topics, round)
        };
        let asked_all = topics.is_none();
        let result = self.ask_anyone(topics.as_deref()).await;
        if result.is_err() && asked_all {
            self.wants.lock().all = true;
        }
        self.rounds.send_modify(|rounds| {
            rounds.finished = round;
            rounds.error = result.as_ref().err().cloned();
        });
        result
    }

    async fn ask_anyone(&self, topics: Option<&[Arc<str>]>) -> Result<(), Error> {
        let mut candidates = VecDeque::from(self.connections.candidates());
        let mut last = Error::new(ErrorKind::Connect, "there is no broker to ask");
        while let Some(node) = candidates.pop_front() {
            match self.ask(node, topics).await {
                Ok(()) => return Ok(()),
                Err(error) => {
                    if error.code() == Some(ErrorCode::RebootstrapRequired) {
                        // Known brokers are to be passed over (KIP-1102).
                        let bootstrap: Vec<NodeId> = self.connections.bootstrap_nodes().collect();
                        candidates.retain(|node| bootstrap.contains(node));
                    }
                    // The hint about an advertised address says more than a bootstrap server's.
                    let keep = last
                        .hint()
                        .is_some_and(|hint| hint.contains("advertised.listeners"));
                    if !keep {
                        last = error;
                    }
                }
            }
        }
        Err(last)
    }

    async fn ask(&self, node: NodeId, topics: Option<&[Arc<str>]>) -> Result<(), Error> {
        let auto_create = self.connections.config().allow_auto_create_topics;
        let attempt = Attempt {
            node,
            lane: Lane::Control,
            deadline: Instant::now() + self.connections.config().request_timeout,
            max_version: i16::MAX,
        };
        let build = |version| request(version, topics, auto_create);
        let (_, response) = self.connections.request(attempt, build).await?;
        check(&response)?;
        self.connections
            .learn(node, |cluster| cluster.merged(&response, topics.is_none()));
        Ok(())
    }
}

fn check(response: &MetadataResponse) -> Result<(), Error> {
    let code = ErrorCode::from_code(response.error_code);
    if !code.is_none() {
        return Err(Error::from_code(code, "metadata"));
    }
    if response.brokers.is_empty() {
        return Err(Error::from_code(
            ErrorCode::BrokerNotAvailable,
            "metadata: the answer lists no broker",
        ));
    }
    Ok(())
}

/// The request, in any of its versions; no topics means all.
fn request(version: i16, topics: Option<&[Arc<str>]>, auto_create: bool) -> MetadataRequest {
    let topics = topics.map(|topics| {
        topics
            .iter()
            .map(|topic| {
                let name = TopicName(StrBytes::from_string(topic.to_string()));
                MetadataRequestTopic::default().with_name(Some(name))
            })
            .collect()
    });
    // In v0 an empty list means all topics.
    let topics = if version == 0 {
        Some(topics.unwrap_or_default())
    } else {
        topics
    };
    let request = MetadataRequest::default().with_topics(topics);
    if version >= 4 {
        request.with_allow_auto_topic_creation(auto_create)
    } else {
        request
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_version_encodes() {
        let topics = [Arc::from("orders")];
        for auto_create in [false, true] {
            crate::adapter::encodes_in_every_version(|version| request(version, None, auto_create));
            crate::adapter::encodes_in_every_version(|v| request(v, Some(&topics), auto_create));
        }
    }

    #[test]
    fn no_topics_and_all_topics_are_told_apart() {
        assert_eq!(request(1, None, true).topics, None);
        assert_eq!(request(1, Some(&[]), true).topics, Some(Vec::new()));
    }
}
