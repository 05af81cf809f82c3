//! The consumer as the application holds it.

use std::collections::BTreeMap;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use ferrokafka_client::{Client, ClientConfig, Error, ErrorKind, GroupMetadata, TopicPartition};
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use crate::config::ConsumerConfig;
use crate::events::{GroupEventKind, GroupEvents};
use crate::listener::{NoListener, RebalanceContext, RebalanceListener};
use crate::membership::Handoff;
use crate::offsets::{CommitOffsets, OffsetAndMetadata, SeekTo};
use crate::record::Records;
use crate::shared::Shared;

type Listener = Box<dyn RebalanceListener>;

/// Reads records, alone or as a member of a group.
///
/// Fetching, heartbeats and rebalances go on in the background; what concerns the application
/// happens inside [`Consumer::poll`]: records are handed out, the listener is called, and what
/// earlier polls returned is committed, if that is automatic.
///
/// Dropping a consumer stops its tasks at once and leaves neither the group nor a commit: see
/// [`Consumer::close`].
pub struct Consumer {
    shared: Arc<Shared>,
    /// Away while `handoff` runs. This lock and the next are never taken, `get_mut` is enough: they make a
    /// consumer `Sync`, so that the future of a `commit` may be spawned.
    listener: Mutex<Option<Listener>>,
    /// The part in a rebalance that is being done. It lives here, and not in the future of `poll`,
    /// so that a `poll` that is dropped does not tear it.
    handoff: Mutex<Option<BoxFuture<'static, Listener>>>,
    tasks: JoinSet<()>,
    /// A task ended, which none does by itself.
    broken: Option<Error>,
    closed: bool,
}

impl Consumer {
    /// Connects to the cluster. Nothing is joined or read yet.
    ///
    /// # Errors
    /// `Config` for settings that contradict each other; whatever [`Client::connect`] gives.
    pub async fn connect(client: ClientConfig, config: ConsumerConfig) -> Result<Self, Error> {
        config.validate()?;
        Self::with_client(Client::connect(client).await?, config)
    }

    /// The same over a client that exists. It is not closed with the consumer. Must be called
    /// within a tokio runtime.
    ///
    /// # Errors
    /// `Config` for settings that contradict each other.
    pub fn with_client(client: Client, config: ConsumerConfig) -> Result<Self, Error> {
        config.validate()?;
        let mut tasks = JoinSet::new();
        let shared = Shared::start(client, config, &mut tasks);
        Ok(Self {
            shared,
            listener: Mutex::new(Some(Box::new(NoListener))),
            handoff: Mutex::new(None),
            tasks,
            broken: None,
            closed: false,
        })
    }

    /// Becomes a member of the group and reads its share of these topics. Topics that do not exist
    /// yet are read once they do. A second call changes the topics.
    ///
    /// # Errors
    /// `Config` without `group.id`, or after [`Consumer::assign`]; `Closed`.
    pub fn subscribe<T: Into<Arc<str>>>(
        &mut self,
        topics: impl IntoIterator<Item = T>,
        listener: impl RebalanceListener,
    ) -> Result<(), Error> {
        if self.handoff.get_mut().is_some() {
            let text = "a rebalance callback is running; poll until it is done";
            return Err(Error::new(ErrorKind::Config, text));
        }
        self.shared
            .subscribe(topics.into_iter().map(Into::into).collect())?;
        *self.listener.get_mut() = Some(Box::new(listener));
        Ok(())
    }

    /// Reads exactly these partitions, outside any membership. Starts at the committed offset, if
    /// there is a `group.id`, else where `auto.offset.reset` says. A second call changes the list;
    /// partitions that stay keep their position.
    ///
    /// # Errors
    /// `Config` after [`Consumer::subscribe`]; `Closed`.
    pub fn assign(
        &mut self,
        partitions: impl IntoIterator<Item = TopicPartition>,
    ) -> Result<(), Error> {
        self.shared.assign(partitions.into_iter().collect())
    }

    /// Waits at most `timeout` for records, runs the listener, commits if that is automatic and due.
    /// No records are no error. Call it at least once in `max.poll.interval.ms`.
    ///
    /// # Errors
    /// What no retry can help: fencing, missing rights, a partition without any offset under
    /// `auto.offset.reset=none`, a batch that does not follow the format. The error names the
    /// topic-partition; the others go on with the next call.
    ///
    /// # Cancellation
    /// Dropping the future loses no record: positions move only when records are returned. A
    /// listener's call that was under way goes on within the next `poll`.
    pub async fn poll(&mut self, timeout: Duration) -> Result<Records, Error> {
        let deadline = Instant::now() + timeout;
        let shared = self.shared.clone();
        let _polling = shared.enter_poll();
        self.check_tasks()?;
        shared.auto_commit();
        loop {
            if !self.rebalance(deadline).await {
                return Ok(Records::default());
            }
            if let Some(error) = shared.take_error() {
                return Err(error);
            }
            let records = shared.drain()?;
            if !records.is_empty() {
                return Ok(records);
            }
            // A wake-up between the look above and this wait is kept, so it is not missed.
            if timeout_at(deadline, shared.app_wake.notified())
                .await
                .is_err()
            {
                return Ok(Records::default());
            }
        }
    }

    /// A task that panicked must not look like a topic without records.
    fn check_tasks(&mut self) -> Result<(), Error> {
        if let Some(Err(panic)) = self.tasks.try_join_next() {
            let error = Error::new(
                ErrorKind::Internal,
                "a task of the consumer ended by a panic",
            );
            self.broken = Some(error.with_source(panic));
        }
        self.broken.clone().map_or(Ok(()), Err)
    }

    /// Does the application's part in a rebalance, if there is one; false if the deadline came first.
    async fn rebalance(&mut self, deadline: Instant) -> bool {
        loop {
            if self.handoff.get_mut().is_none() {
                let Some(handoff) = self.shared.take_handoff() else {
                    return true;
                };
                let Some(listener) = self.listener.get_mut().take() else {
                    return true;
                };
                *self.handoff.get_mut() = Some(Box::pin(run_handoff(
                    self.shared.clone(),
                    listener,
                    handoff,
                )));
            }
            let Some(running) = self.handoff.get_mut().as_mut() else {
                return true;
            };
            match timeout_at(deadline, running).await {
                Ok(listener) => {
                    *self.handoff.get_mut() = None;
                    *self.listener.get_mut() = Some(listener);
                }
                Err(_) => return false,
            }
        }
    }

    /// Commits and waits until the coordinator has it, retrying within `default.api.timeout.ms`.
    ///
    /// # Errors
    /// `Broker(IllegalGeneration)` or `Broker(UnknownMemberId)` if the partitions are somebody
    /// else's by now: what was processed will be delivered again there. `Config` for an offset past
    /// the position of an owned partition: records that no `poll` returned are not skipped this
    /// way; [`Consumer::seek`] first.
    ///
    /// # Cancellation
    /// A commit that was begun goes on; only its result is lost. One that still waited behind
    /// others may not be begun.
    pub async fn commit(&self, offsets: impl Into<CommitOffsets>) -> Result<(), Error> {
        self.shared.commit(offsets.into()).await
    }

    /// Commits in the background, after the commits begun before. The future gives the result;
    /// dropping it does not stop the commit.
    pub fn commit_async(&self, offsets: impl Into<CommitOffsets>) -> Commit {
        Commit {
            inner: self.shared.commit_async(offsets.into()),
        }
    }

    /// The committed offsets of these partitions, asked from the coordinator; none where there is
    /// no commit.
    ///
    /// # Errors
    /// `Config` without `group.id`; what the coordinator refuses; `Timeout`.
    pub async fn committed(
        &self,
        partitions: &[TopicPartition],
    ) -> Result<BTreeMap<TopicPartition, Option<OffsetAndMetadata>>, Error> {
        self.shared.committed(partitions).await
    }

    /// The offset of the next record a `poll` would return; none if it is not known yet, or the
    /// partition is not ours.
    #[must_use]
    pub fn position(&self, partition: &TopicPartition) -> Option<i64> {
        self.shared.position(partition)
    }

    /// Goes on reading elsewhere; what was fetched before is dropped.
    ///
    /// # Errors
    /// `Config` if the partition is not ours or the offset is negative.
    pub fn seek(&self, partition: &TopicPartition, to: impl Into<SeekTo>) -> Result<(), Error> {
        self.shared.seek(partition, to.into())
    }

    /// Stops handing out records of these partitions; the membership is not touched. What is
    /// fetched already stays for later.
    pub fn pause(&self, partitions: &[TopicPartition]) {
        self.shared.set_paused(partitions, true);
    }

    /// Hands out records of these partitions again.
    pub fn resume(&self, partitions: &[TopicPartition]) {
        self.shared.set_paused(partitions, false);
    }

    /// The partitions paused now.
    #[must_use]
    pub fn paused(&self) -> Vec<TopicPartition> {
        self.shared.paused()
    }

    /// The partitions owned now, in order.
    #[must_use]
    pub fn assignment(&self) -> Vec<TopicPartition> {
        self.shared.assignment()
    }

    /// High watermark (last stable offset under `read_committed`) minus committed offset, as far as
    /// this consumer saw them; none without a commit or before the first fetch.
    #[must_use]
    pub fn lag(&self, partition: &TopicPartition) -> Option<i64> {
        self.shared.lag(partition)
    }

    /// Who this member is, for a transactional producer's offsets.
    ///
    /// # Errors
    /// `Config` without `group.id`.
    pub fn group_metadata(&self) -> Result<GroupMetadata, Error> {
        self.shared.group_metadata()
    }

    /// What happens to the membership from now on.
    #[must_use]
    pub fn events(&self) -> GroupEvents {
        GroupEvents {
            receiver: self.shared.events.subscribe(),
        }
    }

    /// Closes within `timeout`: commits what polls returned if that is automatic, runs `revoked`
    /// for what is owned, leaves the group.
    ///
    /// # Errors
    /// The first step that failed or ran out of time; the later ones are done nevertheless.
    pub async fn close(mut self, timeout: Duration) -> Result<(), Error> {
        let deadline = Instant::now() + timeout;
        let mut result = Ok(());
        // 1. A handoff under way is finished; no new one begins.
        // 2. Fetching stops.
        // 3. Commits that wait are done, then the automatic one.
        // 4. The listener gives back what is owned.
        // 5. The group is left, so that others need not wait for the session to end.
        // 6. The tasks end.
        self.closed = true;
        if let Some(running) = self.handoff.get_mut().take() {
            match timeout_at(deadline, running).await {
                Ok(listener) => *self.listener.get_mut() = Some(listener),
                Err(_) => result = Err(late("the rebalance callback")),
            }
        }
        self.shared.stop_fetching();
        let closing = self
            .shared
            .clone()
            .close(self.listener.get_mut().take(), deadline);
        match timeout_at(deadline, closing).await {
            Ok(outcome) => result = result.and(outcome),
            Err(_) => result = result.and(Err(late("commit and leave"))),
        }
        self.tasks.shutdown().await;
        result
    }

    /// Ends at once, as a crash would: no commit, no leaving. The group notices when the session
    /// ends. For demos and tests.
    pub fn kill(mut self) {
        self.closed = true;
        self.tasks.abort_all();
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        if !self.closed {
            tracing::warn!(
                "a consumer is dropped without close(): nothing is committed, and its group waits for the session to end"
            );
        }
    }
}

fn late(what: &str) -> Error {
    Error::new(
        ErrorKind::Timeout,
        format!("closing the consumer: {what} took too long"),
    )
}

/// A commit under way; see [`Consumer::commit_async`].
#[derive(Debug)]
#[must_use = "the commit goes on without it, but nobody learns whether it succeeded"]
pub struct Commit {
    inner: oneshot::Receiver<Result<(), Error>>,
}

impl Future for Commit {
    type Output = Result<(), Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.inner).poll(cx).map(|answer| {
            answer.unwrap_or_else(|_| {
                Err(Error::new(
                    ErrorKind::Closed,
                    "the consumer closed before it could commit",
                ))
            })
        })
    }
}

/// The application's part in one step of a rebalance.
async fn run_handoff(shared: Arc<Shared>, mut listener: Listener, handoff: Handoff) -> Listener {
    match handoff {
        Handoff::Revoke {
            generation,
            member_id,
            partitions,
        } => {
            shared.commit_before_revoking().await;
            give_back(
                &shared,
                &mut listener,
                generation,
                member_id,
                partitions,
                false,
            )
            .await;
        }
        Handoff::Lost {
            generation,
            member_id,
            partitions,
        } => {
            give_back(
                &shared,
                &mut listener,
                generation,
                member_id,
                partitions,
                true,
            )
            .await;
        }
        Handoff::Apply {
            generation,
            previous,
            member_id,
            revoked,
            added,
        } => {
            shared.emit(GroupEventKind::Joined {
                generation,
                member_id: member_id.clone(),
            });
            if !revoked.is_empty() {
                shared.commit_before_revoking().await;
                give_back(
                    &shared,
                    &mut listener,
                    previous,
                    member_id.clone(),
                    revoked,
                    false,
                )
                .await;
            }
            shared.add(&added);
            shared.emit(GroupEventKind::Assigned {
                generation,
                partitions: added.clone(),
            });
            let mut ctx = context(&shared, generation, member_id);
            listener.assigned(&mut ctx, &added).await;
        }
    }
    shared.handoff_done();
    listener
}

/// Runs `revoked` or `lost` and stops reading the partitions.
pub(crate) async fn give_back(
    shared: &Arc<Shared>,
    listener: &mut Listener,
    generation: i32,
    member_id: Arc<str>,
    partitions: Vec<TopicPartition>,
    lost: bool,
) {
    let mut ctx = context(shared, generation, member_id);
    if lost {
        // Another member may be past them: nothing of them counts any more, even while the
        // listener runs.
        shared.remove(&partitions);
        listener.lost(&mut ctx, &partitions).await;
        shared.emit(GroupEventKind::Lost {
            generation,
            partitions,
        });
    } else {
        listener.revoked(&mut ctx, &partitions).await;
        shared.remove(&partitions);
        shared.emit(GroupEventKind::Revoked {
            generation,
            partitions,
        });
    }
}

fn context(
    shared: &Arc<Shared>,
    generation: i32,
    member_id: Arc<str>,
) -> RebalanceContext<'static> {
    RebalanceContext {
        shared: shared.clone(),
        generation,
        member_id,
        scope: PhantomData,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn may_be_spawned<T: Send>(_: &T) {}

    #[test]
    fn what_borrows_a_consumer_may_be_spawned() {
        let _ = |mut consumer: Consumer| {
            may_be_spawned(&async move {
                consumer.poll(Duration::ZERO).await?;
                consumer.commit(CommitOffsets::Consumed).await?;
                consumer.committed(&[]).await.map(|_| ())
            });
        };
    }
}
