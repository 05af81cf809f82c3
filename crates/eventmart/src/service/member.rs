//! One member of a service's group: the loop around a [`Handler`].
//!
//! A record is processed when its handler succeeded (or it was put aside) **and** the broker has everything it led
//! to. Only then does its offset count as processed, and only processed offsets are committed. So a member that dies
//! leaves records that are handled again, and none that are not handled: at least once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ferrokafka::{
    Assignor, BoxFuture, Client, Consumer, ConsumerConfig, ConsumerRecord, Delivery, ErrorCode,
    OffsetAndMetadata, OffsetReset, RebalanceContext, RebalanceListener, TopicPartition,
};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::encoding::Encoding;
use crate::error::{Error, ErrorKind, Result};
use crate::event::Event;
use crate::service::observe::{Change, Handled, Observer, Outcome, Rebalance};
use crate::service::publish::{Publisher, settle};
use crate::service::{HandleError, Handler};

/// Attempts at one record, the first included.
pub const ATTEMPTS_MAX: u32 = 4;

/// How a member behaves.
#[derive(Clone, Debug)]
pub struct MemberConfig {
    /// What the program calls it.
    pub name: String,
    /// Its group.
    pub group: String,
    /// Topics it reads, by their names on the broker.
    pub topics: Vec<String>,
    /// How partitions are shared out.
    pub assignor: Assignor,
    /// After this long without a heartbeat the coordinator gives its partitions away.
    pub session_timeout: Duration,
    /// The first wait before another attempt; it doubles with each.
    pub retry_wait: Duration,
    /// Commits after so many records.
    pub commit_every: usize,
    /// Whether it also commits when there is nothing to read.
    pub commit_when_idle: bool,
    /// The scripted point: after so many records it dies as if killed, whatever is not committed.
    pub die_after: Option<usize>,
}

/// How a member ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Commits and leaves the group: its partitions are given away at once.
    Leave,
    /// Vanishes without a word: its partitions are given away when its session times out.
    Kill,
}

/// What a member did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemberReport {
    /// Records it was done with.
    pub handled: usize,
    /// Of these, how many it had not committed when it ended.
    pub uncommitted: usize,
}

/// A member at work, in a task of its own that ends with this value.
pub struct Member {
    name: String,
    stop: watch::Sender<Option<Stop>>,
    task: JoinSet<Result<MemberReport>>,
}

impl Member {
    /// Starts a member. It joins its group in the background.
    ///
    /// # Errors
    /// When the configuration is refused.
    pub fn start(
        client: Client,
        config: MemberConfig,
        handler: Arc<dyn Handler>,
        encoding: Arc<dyn Encoding>,
        publisher: Publisher,
        observer: Arc<dyn Observer>,
    ) -> Result<Self> {
        let settings = ConsumerConfig::new(config.group.as_str())
            .auto_offset_reset(OffsetReset::Earliest)
            .enable_auto_commit(false)
            .session_timeout(config.session_timeout)
            .heartbeat_interval(config.session_timeout / 4)
            .fetch_max_wait(Duration::from_millis(100))
            .assignors(vec![config.assignor.clone()]);
        let consumer = Consumer::with_client(client, settings)?;
        let (stop, stopping) = watch::channel(None);
        let name = config.name.clone();
        let worker = Worker {
            config,
            handler,
            encoding,
            publisher,
            observer,
            processed: Arc::default(),
            report: MemberReport::default(),
        };
        let mut task = JoinSet::new();
        let (watcher, member) = (Arc::clone(&worker.observer), name.clone());
        task.spawn(async move {
            let result = worker.run(consumer, stopping).await;
            if let Err(error) = &result {
                watcher.failed(&member, error);
            }
            result
        });
        Ok(Self { name, stop, task })
    }

    /// What the program calls it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether its task has ended by itself, or by the script.
    pub fn has_ended(&mut self) -> bool {
        self.task.is_empty()
    }

    /// Ends it and says what it did.
    ///
    /// # Errors
    /// The failure that ended it before.
    pub async fn stop(mut self, how: Stop) -> Result<MemberReport> {
        self.stop.send_replace(Some(how));
        self.ended().await
    }

    /// Waits for its end: by the script, or by a failure.
    ///
    /// # Errors
    /// The failure that ended it.
    pub async fn ended(&mut self) -> Result<MemberReport> {
        match self.task.join_next().await {
            Some(Ok(report)) => report,
            Some(Err(error)) => Err(Error::new(
                ErrorKind::Broker,
                format!("{} ended badly", self.name),
            )
            .because(error)),
            None => Ok(MemberReport::default()),
        }
    }
}

/// Offsets behind the last processed record, by partition, not yet committed.
type Processed = Arc<Mutex<BTreeMap<TopicPartition, OffsetAndMetadata>>>;

struct Worker {
    config: MemberConfig,
    handler: Arc<dyn Handler>,
    encoding: Arc<dyn Encoding>,
    publisher: Publisher,
    observer: Arc<dyn Observer>,
    processed: Processed,
    report: MemberReport,
}

const POLL: Duration = Duration::from_millis(100);
const CLOSE: Duration = Duration::from_secs(10);

impl Worker {
    async fn run(
        mut self,
        mut consumer: Consumer,
        mut stopping: watch::Receiver<Option<Stop>>,
    ) -> Result<MemberReport> {
        let listener = Listener {
            member: self.config.name.clone(),
            observer: Arc::clone(&self.observer),
            processed: Arc::clone(&self.processed),
        };
        consumer.subscribe(self.config.topics.clone(), listener)?;
        loop {
            let stop = *stopping.borrow_and_update();
            match stop {
                Some(Stop::Leave) => {
                    self.commit(&mut consumer).await?;
                    consumer.close(CLOSE).await?;
                    return Ok(self.report);
                }
                Some(Stop::Kill) => {
                    consumer.kill();
                    return Ok(self.report);
                }
                None => {}
            }
            let records = tokio::select! {
                biased;
                _ = stopping.changed() => continue,
                records = consumer.poll(POLL) => records?,
            };
            if records.is_empty() && self.config.commit_when_idle {
                self.commit(&mut consumer).await?;
            }
            for record in records {
                self.process(&record).await?;
                if self
                    .config
                    .die_after
                    .is_some_and(|after| self.report.handled >= after)
                {
                    consumer.kill();
                    return Ok(self.report);
                }
                if self.report.uncommitted >= self.config.commit_every {
                    self.commit(&mut consumer).await?;
                }
            }
        }
    }

    /// Handles a record to its end: processed, or put aside.
    async fn process(&mut self, record: &ConsumerRecord) -> Result<()> {
        let value = record.value.as_deref().unwrap_or_default();
        let decoded = self.encoding.decode(&record.topic, value);
        let (event, attempts, outcome) = match decoded {
            // Bytes do not change by reading them again: no second attempt.
            Err(error) => (
                None,
                1,
                self.put_aside(record, 1, &error.to_string()).await?,
            ),
            Ok(event) => {
                let (attempts, outcome) = self.attempt(record, &event).await?;
                (Some(event), attempts, outcome)
            }
        };
        let behind = OffsetAndMetadata::after(record);
        self.processed
            .lock()
            .insert(record.topic_partition(), behind);
        self.report.handled += 1;
        self.report.uncommitted += 1;
        let (member, topic_partition) = (self.config.name.clone(), record.topic_partition());
        self.observer.handled(Handled {
            member,
            topic_partition,
            offset: record.offset,
            event,
            attempts,
            outcome,
        });
        Ok(())
    }

    /// Up to [`ATTEMPTS_MAX`] attempts, waiting in place: the records behind it wait too, so the order per key holds.
    async fn attempt(&mut self, record: &ConsumerRecord, event: &Event) -> Result<(u32, Outcome)> {
        let mut wait = self.config.retry_wait;
        for attempt in 1..=ATTEMPTS_MAX {
            match self.handler.handle(event) {
                Ok(events) => {
                    self.publisher.send_all(&events).await?;
                    return Ok((
                        attempt,
                        Outcome::Processed {
                            led_to: events.len(),
                        },
                    ));
                }
                Err(HandleError::Transient(_)) if attempt < ATTEMPTS_MAX => {
                    tokio::time::sleep(wait).await;
                    wait *= 2;
                }
                Err(error) => {
                    return Ok((
                        attempt,
                        self.put_aside(record, attempt, &error.to_string()).await?,
                    ));
                }
            }
        }
        Ok((
            ATTEMPTS_MAX,
            self.put_aside(record, ATTEMPTS_MAX, "no attempt succeeded")
                .await?,
        ))
    }

    async fn put_aside(
        &self,
        record: &ConsumerRecord,
        attempts: u32,
        error: &str,
    ) -> Result<Outcome> {
        let letter: Delivery = self
            .publisher
            .dead_letter(record, self.handler.service(), attempts, error)
            .await?;
        settle(vec![letter]).await?;
        Ok(Outcome::DeadLettered {
            error: error.to_owned(),
        })
    }

    /// Commits what was processed. During a rebalance the coordinator refuses: the offsets are kept, and committed
    /// when the partitions are given back or after the rebalance.
    async fn commit(&mut self, consumer: &mut Consumer) -> Result<()> {
        let offsets = std::mem::take(&mut *self.processed.lock());
        if offsets.is_empty() {
            self.report.uncommitted = 0;
            return Ok(());
        }
        match consumer.commit(offsets.clone()).await {
            Ok(()) => self.report.uncommitted = 0,
            Err(error) if refused_by_rebalance(&error) => {
                let mut processed = self.processed.lock();
                for (partition, offset) in offsets {
                    processed.entry(partition).or_insert(offset);
                }
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}

fn refused_by_rebalance(error: &ferrokafka::Error) -> bool {
    use ErrorCode::{IllegalGeneration, RebalanceInProgress, UnknownMemberId};
    matches!(
        error.code(),
        Some(IllegalGeneration | RebalanceInProgress | UnknownMemberId)
    )
}

/// Commits what was processed of partitions that leave, and tells the observer.
struct Listener {
    member: String,
    observer: Arc<dyn Observer>,
    processed: Processed,
}

impl Listener {
    fn tell(&self, change: Change, generation: i32, partitions: &[TopicPartition]) {
        if partitions.is_empty() {
            return;
        }
        let (member, partitions) = (self.member.clone(), partitions.to_vec());
        self.observer.rebalanced(Rebalance {
            member,
            change,
            partitions,
            generation,
            at: Instant::now(),
        });
    }

    fn take(&self, partitions: &[TopicPartition]) -> BTreeMap<TopicPartition, OffsetAndMetadata> {
        let mut processed = self.processed.lock();
        partitions
            .iter()
            .filter_map(|partition| processed.remove_entry(partition))
            .collect()
    }
}

impl RebalanceListener for Listener {
    fn assigned<'a>(
        &'a mut self,
        ctx: &'a mut RebalanceContext<'_>,
        partitions: &'a [TopicPartition],
    ) -> BoxFuture<'a, ()> {
        self.tell(Change::Assigned, ctx.generation(), partitions);
        Box::pin(async {})
    }

    fn revoked<'a>(
        &'a mut self,
        ctx: &'a mut RebalanceContext<'_>,
        partitions: &'a [TopicPartition],
    ) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let offsets = self.take(partitions);
            if !offsets.is_empty()
                && let Err(error) = ctx.commit(offsets).await
            {
                // The new owner handles these records again: at least once.
                tracing::warn!(member = self.member, %error, "not committed before the partitions left");
            }
            self.tell(Change::Revoked, ctx.generation(), partitions);
        })
    }

    fn lost<'a>(
        &'a mut self,
        ctx: &'a mut RebalanceContext<'_>,
        partitions: &'a [TopicPartition],
    ) -> BoxFuture<'a, ()> {
        drop(self.take(partitions));
        self.tell(Change::Lost, ctx.generation(), partitions);
        Box::pin(async {})
    }
}
