//! What the application's side and the background tasks of one consumer share.
//!
//! The state is two plain structs, each behind a small lock that is never held across an `.await`:
//! [`Partitions`] and [`Membership`]. The tasks do I/O and feed the answers in: `member` (the group),
//! `committer` (offsets, one request at a time and in order), `positions` (first offsets),
//! `fetcher` (one source per broker). Lock order: membership before partitions.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ferrokafka_client::{Client, Error, ErrorKind, GroupMetadata, TopicPartition};
use parking_lot::Mutex;
use tokio::sync::{Notify, broadcast, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use crate::committer::{self, COMMITS_WAITING_MAX, CommitRequest};
use crate::config::{ConsumerConfig, IsolationLevel};
use crate::consumer::give_back;
use crate::events::{EVENTS_KEPT, GroupEvent, GroupEventKind};
use crate::listener::RebalanceListener;
use crate::membership::{self, Action, Handoff, Membership, State};
use crate::offsets::{CommitOffsets, OffsetAndMetadata, SeekTo};
use crate::partitions::{self, Partitions};
use crate::record::Records;
use crate::{fetcher, member, positions};

/// Kafka's limit.
const TOPIC_NAME_LEN_MAX: usize = 249;

pub(crate) struct Shared {
    pub(crate) client: Client,
    pub(crate) config: ConsumerConfig,
    pub(crate) partitions: Mutex<Partitions>,
    pub(crate) membership: Mutex<Membership>,
    /// Wakes `poll`: records, a handoff, or an error.
    pub(crate) app_wake: Notify,
    /// Wakes the membership's task.
    pub(crate) member_wake: Notify,
    /// Counts changes of the partitions; what fetches or looks for positions follows it.
    pub(crate) revision: watch::Sender<u64>,
    pub(crate) events: broadcast::Sender<GroupEvent>,
    commits: mpsc::Sender<CommitRequest>,
    mode: Mutex<Mode>,
    clock: Mutex<PollClock>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    None,
    Subscribed,
    Assigned,
}

struct PollClock {
    polling: bool,
    last: Instant,
    commit_at: Instant,
}

/// While it lives the application is inside `poll`.
pub(crate) struct Polling<'a>(&'a Shared);

impl Drop for Polling<'_> {
    fn drop(&mut self) {
        let mut clock = self.0.clock.lock();
        clock.polling = false;
        clock.last = Instant::now();
    }
}

impl Shared {
    /// Starts the tasks in `tasks`.
    pub(crate) fn start(
        client: Client,
        config: ConsumerConfig,
        tasks: &mut JoinSet<()>,
    ) -> Arc<Self> {
        let (commits, commit_queue) = mpsc::channel(COMMITS_WAITING_MAX);
        let backoff = client.config().get_retry_backoff();
        let now = Instant::now();
        let shared = Arc::new(Self {
            partitions: Mutex::new(Partitions::new(partitions::Settings {
                reset: config.auto_offset_reset,
                in_group: config.group_id.is_some(),
                read_committed: config.isolation_level == IsolationLevel::ReadCommitted,
                fetch_bytes_max: config.fetch_max_bytes,
                check_crcs: config.check_crcs,
                backoff,
            })),
            membership: Mutex::new(Membership::new(membership::Settings {
                heartbeat_interval: config.heartbeat_interval,
                max_poll_interval: config.max_poll_interval,
                protocol: config.protocol(),
                static_member: config.group_instance_id.is_some(),
                backoff,
            })),
            app_wake: Notify::new(),
            member_wake: Notify::new(),
            revision: watch::channel(0).0,
            events: broadcast::channel(EVENTS_KEPT).0,
            commits,
            mode: Mutex::new(Mode::None),
            clock: Mutex::new(PollClock {
                polling: false,
                last: now,
                commit_at: now + config.auto_commit_interval,
            }),
            client,
            config,
        });
        tasks.spawn(fetcher::run(shared.clone()));
        tasks.spawn(positions::run(shared.clone()));
        if shared.config.group_id.is_some() {
            tasks.spawn(member::run(shared.clone()));
            tasks.spawn(committer::run(shared.clone(), commit_queue));
        }
        shared
    }

    /// The group's id; empty without one, where nothing asks for it.
    pub(crate) fn group_id(&self) -> &str {
        self.config.group_id.as_deref().unwrap_or_default()
    }

    pub(crate) fn changed(&self) {
        self.revision
            .send_modify(|revision| *revision = revision.wrapping_add(1));
    }

    pub(crate) fn emit(&self, kind: GroupEventKind) {
        // Nobody need be watching.
        let _ = self.events.send(GroupEvent::now(kind));
    }

    fn enter_mode(&self, wanted: Mode) -> Result<(), Error> {
        let mut mode = self.mode.lock();
        if *mode != Mode::None && *mode != wanted {
            let text = "subscribe and assign exclude each other";
            return Err(Error::new(ErrorKind::Config, text));
        }
        *mode = wanted;
        Ok(())
    }

    pub(crate) fn is_subscribed(&self) -> bool {
        *self.mode.lock() == Mode::Subscribed
    }

    pub(crate) fn subscribe(&self, topics: Vec<Arc<str>>) -> Result<(), Error> {
        if self.config.group_id.is_none() {
            let text = "subscribe needs group.id; without it, assign partitions";
            return Err(Error::new(ErrorKind::Config, text));
        }
        if topics.is_empty() {
            return Err(Error::new(ErrorKind::Config, "no topics to subscribe to"));
        }
        if let Some(topic) = topics
            .iter()
            .find(|t| t.is_empty() || t.len() > TOPIC_NAME_LEN_MAX)
        {
            let text = format!("{topic:?} cannot be the name of a topic: 1 to 249 characters");
            return Err(Error::new(ErrorKind::Config, text));
        }
        self.enter_mode(Mode::Subscribed)?;
        self.clock.lock().last = Instant::now();
        self.membership.lock().subscribe(topics);
        self.member_wake.notify_one();
        Ok(())
    }

    pub(crate) fn assign(&self, wanted: BTreeSet<TopicPartition>) -> Result<(), Error> {
        self.enter_mode(Mode::Assigned)?;
        let mut partitions = self.partitions.lock();
        let gone: Vec<TopicPartition> = partitions
            .list()
            .into_iter()
            .filter(|tp| !wanted.contains(tp))
            .collect();
        partitions.remove(&gone);
        partitions.add(&wanted.into_iter().collect::<Vec<_>>());
        drop(partitions);
        self.changed();
        Ok(())
    }

    pub(crate) fn add(&self, added: &[TopicPartition]) {
        self.partitions.lock().add(added);
        self.changed();
    }

    pub(crate) fn remove(&self, gone: &[TopicPartition]) {
        self.partitions.lock().remove(gone);
        self.changed();
    }

    pub(crate) fn enter_poll(&self) -> Polling<'_> {
        self.clock.lock().polling = true;
        if self.membership.lock().state() == State::Expired {
            self.member_wake.notify_one();
        }
        Polling(self)
    }

    /// Since when the application has not been in `poll`; none if it is there now.
    pub(crate) fn idle_since(&self) -> Option<Instant> {
        let clock = self.clock.lock();
        (!clock.polling).then_some(clock.last)
    }

    /// What stops the consumer for good, once the application has been told what it lost.
    pub(crate) fn take_error(&self) -> Option<Error> {
        self.membership.lock().error().cloned()
    }

    pub(crate) fn drain(&self) -> Result<Records, Error> {
        let (drained, freed) = {
            let mut partitions = self.partitions.lock();
            let drained = partitions.drain(self.config.max_poll_records);
            (drained, partitions.take_freed())
        };
        if freed {
            self.changed();
        }
        Ok(Records::new(drained?))
    }

    pub(crate) fn take_handoff(&self) -> Option<Handoff> {
        self.membership.lock().take_handoff()
    }

    pub(crate) fn handoff_done(&self) {
        self.membership.lock().handoff_done();
        self.member_wake.notify_one();
        self.app_wake.notify_one();
    }

    /// What `poll` returned before, as offsets to commit.
    fn offsets(
        &self,
        offsets: CommitOffsets,
    ) -> Result<BTreeMap<TopicPartition, OffsetAndMetadata>, Error> {
        if self.config.group_id.is_none() {
            return Err(Error::new(ErrorKind::Config, "committing needs group.id"));
        }
        let partitions = self.partitions.lock();
        match offsets {
            CommitOffsets::Consumed => Ok(partitions.consumed()),
            CommitOffsets::Exact(offsets) => {
                partitions.check_commit(&offsets)?;
                Ok(offsets)
            }
        }
    }

    fn commit_request(
        &self,
        offsets: CommitOffsets,
    ) -> Result<(CommitRequest, oneshot::Receiver<Result<(), Error>>), Error> {
        // Taken before the offsets: a loss in between makes the commit stale, never the reverse.
        let losses = self.membership.lock().losses();
        let offsets = self.offsets(offsets)?;
        let (reply, answer) = oneshot::channel();
        let deadline = Instant::now() + self.client.config().get_api_timeout();
        Ok((
            CommitRequest {
                offsets,
                losses,
                deadline,
                reply,
            },
            answer,
        ))
    }

    pub(crate) async fn commit(&self, offsets: CommitOffsets) -> Result<(), Error> {
        let (request, answer) = self.commit_request(offsets)?;
        if request.offsets.is_empty() {
            return Ok(());
        }
        let deadline = request.deadline;
        match timeout_at(deadline, self.commits.send(request)).await {
            Ok(sent) => sent.map_err(|_| closed())?,
            Err(_) => {
                let text = "earlier commits still wait for the coordinator";
                return Err(Error::new(ErrorKind::Timeout, text));
            }
        }
        // The committer answers by the request's deadline.
        answer.await.unwrap_or_else(|_| Err(closed()))
    }

    pub(crate) fn commit_async(
        &self,
        offsets: CommitOffsets,
    ) -> oneshot::Receiver<Result<(), Error>> {
        let refuse = |error: Error| {
            let (reply, answer) = oneshot::channel();
            let _ = reply.send(Err(error));
            answer
        };
        match self.commit_request(offsets) {
            Ok((request, answer)) if request.offsets.is_empty() => {
                let _ = request.reply.send(Ok(()));
                answer
            }
            Ok((request, answer)) => match self.commits.try_send(request) {
                Ok(()) => answer,
                Err(mpsc::error::TrySendError::Full(_)) => refuse(Error::new(
                    ErrorKind::Timeout,
                    format!("{COMMITS_WAITING_MAX} commits wait for the coordinator already"),
                )),
                Err(mpsc::error::TrySendError::Closed(_)) => refuse(closed()),
            },
            Err(error) => refuse(error),
        }
    }

    /// Commits what the polls before this one returned, if that is automatic and due.
    pub(crate) fn auto_commit(&self) {
        if !self.config.enable_auto_commit {
            return;
        }
        let now = Instant::now();
        {
            let mut clock = self.clock.lock();
            if clock.commit_at > now {
                return;
            }
            clock.commit_at = now + self.config.auto_commit_interval;
        }
        // The committer logs a failure; the next commit covers the same records.
        drop(self.commit_async(CommitOffsets::Consumed));
    }

    /// The automatic commit of what is about to be given back.
    pub(crate) async fn commit_before_revoking(&self) {
        if self.config.enable_auto_commit
            && let Err(error) = self.commit(CommitOffsets::Consumed).await
        {
            tracing::warn!(%error, "the automatic commit before a rebalance failed; records will be delivered again");
        }
    }

    pub(crate) async fn committed(
        &self,
        wanted: &[TopicPartition],
    ) -> Result<BTreeMap<TopicPartition, Option<OffsetAndMetadata>>, Error> {
        if self.config.group_id.is_none() {
            return Err(Error::new(
                ErrorKind::Config,
                "committed offsets need group.id",
            ));
        }
        let deadline = Instant::now() + self.client.config().get_api_timeout();
        positions::fetch_committed(self, wanted, deadline).await
    }

    pub(crate) fn position(&self, partition: &TopicPartition) -> Option<i64> {
        Some(self.partitions.lock().position(partition)?.offset)
    }

    pub(crate) fn seek(&self, partition: &TopicPartition, to: SeekTo) -> Result<(), Error> {
        let fail = |text: &str| {
            Err(Error::new(ErrorKind::Config, text).with_topic_partition(partition.clone()))
        };
        if matches!(to, SeekTo::Offset(offset) if offset < 0) {
            return fail("cannot seek to a negative offset");
        }
        if !self.partitions.lock().seek(partition, to) {
            return fail("cannot seek in a partition that is not assigned");
        }
        self.changed();
        Ok(())
    }

    pub(crate) fn set_paused(&self, partitions: &[TopicPartition], paused: bool) {
        self.partitions.lock().set_paused(partitions, paused);
        self.changed();
        self.app_wake.notify_one();
    }

    pub(crate) fn paused(&self) -> Vec<TopicPartition> {
        self.partitions.lock().paused()
    }

    pub(crate) fn assignment(&self) -> Vec<TopicPartition> {
        self.partitions.lock().list()
    }

    pub(crate) fn lag(&self, partition: &TopicPartition) -> Option<i64> {
        self.partitions.lock().lag(partition)
    }

    pub(crate) fn group_metadata(&self) -> Result<GroupMetadata, Error> {
        let Some(group_id) = self.config.group_id.clone() else {
            return Err(Error::new(
                ErrorKind::Config,
                "there is no group without group.id",
            ));
        };
        let membership = self.membership.lock();
        Ok(GroupMetadata {
            group_id,
            generation: membership.generation(),
            member_id: membership.member_id().clone(),
            group_instance_id: self.config.group_instance_id.clone(),
        })
    }

    pub(crate) fn stop_fetching(&self) {
        self.partitions.lock().stop();
        self.changed();
    }

    /// The last steps of a close: commit, give back, leave.
    pub(crate) async fn close(
        self: Arc<Self>,
        listener: Option<Box<dyn RebalanceListener>>,
        deadline: Instant,
    ) -> Result<(), Error> {
        let mut result = Ok(());
        if self.config.enable_auto_commit {
            result = self.commit(CommitOffsets::Consumed).await;
        }
        if !self.is_subscribed() {
            return result;
        }
        let owned = self.assignment();
        if let (Some(mut listener), false) = (listener, owned.is_empty()) {
            let (generation, member_id, lost) = {
                let membership = self.membership.lock();
                let lost = membership.generation() < 0;
                (
                    membership.generation(),
                    membership.member_id().clone(),
                    lost,
                )
            };
            give_back(&self, &mut listener, generation, member_id, owned, lost).await;
        }
        let leave = self.membership.lock().leave();
        if let Some(Action::Leave { member_id, reason }) = leave {
            member::leave(&self, &member_id, reason, deadline).await;
        }
        result
    }
}

pub(crate) fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the consumer is closed")
}
