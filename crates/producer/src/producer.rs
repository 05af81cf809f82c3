//! The handle: [`Producer`].

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ferrokafka_client::{Client, ClientConfig, Error, ErrorKind};
use ferrokafka_wire::ErrorCode;
use ferrokafka_wire::record::{BATCH_HEAD_LEN, BatchBuilder};
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use crate::accumulator::{Accumulator, Refused, leaders_of};
use crate::buffer_memory::{BufferMemory, NoMemory};
use crate::partition_queue::{Appended, Effects, Limits};
use crate::sender::Sender;
use crate::shared::{Counters, Shared, closed};
use crate::{BatchDelivery, Delivery, ProducerConfig, ProducerMetrics, ProducerRecord};

/// Sends records. Cheap to clone; all clones share buffers, tasks and connections.
///
/// # Examples
/// ```
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let broker = ferrokafka_broker::TestBroker::builder().topic("orders", 3).start().await?;
/// # let bootstrap = broker.bootstrap();
/// use std::time::Duration;
/// use ferrokafka_client::ClientConfig;
/// use ferrokafka_producer::{Producer, ProducerConfig, ProducerRecord};
///
/// let producer =
///     Producer::connect(ClientConfig::new(bootstrap), ProducerConfig::new()).await?;
/// let delivery = producer
///     .send(ProducerRecord::new("orders").key("customer-7").value("…"))
///     .await?;
/// let metadata = delivery.await?;
/// println!("{} at offset {}", metadata.topic_partition, metadata.offset);
/// # assert_eq!(metadata.offset, 0);
/// producer.close(Duration::from_secs(10)).await?;
/// # broker.stop().await;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Producer {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
    /// The sender task, which owns the sinks. Emptied by `close`.
    tasks: Mutex<JoinSet<()>>,
    /// Whether `close` closes the client.
    owns_client: bool,
}

/// Some records of a [`Producer::send_batch`] call were not taken.
#[derive(Debug)]
#[non_exhaustive]
pub struct SendBatchError {
    /// Why the first of them was not taken. It and those behind it were not sent.
    pub error: Error,
    /// The acknowledgement of those before it, which are on their way.
    pub sent: BatchDelivery,
}

impl fmt::Display for SendBatchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "only {} records of the batch were taken",
            self.sent.records()
        )
    }
}

impl std::error::Error for SendBatchError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

impl Producer {
    /// Connects to a cluster. The connection belongs to this producer and is closed with it.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for bad settings; [`ErrorKind::Connect`] if no broker can be reached.
    pub async fn connect(client: ClientConfig, config: ProducerConfig) -> Result<Self, Error> {
        config.validate_with(client.get_request_timeout())?;
        let client = Client::connect(client).await?;
        Self::start(client, config, true)
    }

    /// A producer over a client that others use, too.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for bad settings.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn with_client(client: Client, config: ProducerConfig) -> Result<Self, Error> {
        Self::start(client, config, false)
    }

    fn start(client: Client, config: ProducerConfig, owns_client: bool) -> Result<Self, Error> {
        config.validate_with(client.config().get_request_timeout())?;
        let limits = Limits {
            batch_bytes: config.batch_bytes(),
            linger: config.linger,
            delivery_timeout: config.delivery_timeout,
            max_in_flight: config.max_in_flight,
            idempotent: config.idempotence,
            compression: config.compression,
        };
        let rng = match config.seed {
            Some(seed) => fastrand::Rng::with_seed(seed),
            None => fastrand::Rng::new(),
        };
        let backoff = client.config().get_retry_backoff();
        let accumulator = Accumulator::new(limits, config.partitioner.clone(), backoff, rng);
        let shared = Arc::new(Shared {
            memory: BufferMemory::new(config.buffer_memory),
            accumulator: Mutex::new(accumulator),
            counters: Counters::default(),
            sender_wake: Notify::new(),
            client,
            config,
        });
        let (stop, stopped) = watch::channel(false);
        let mut tasks = JoinSet::new();
        tasks.spawn(Sender::new(Arc::clone(&shared)).run(stopped));
        Ok(Self {
            inner: Arc::new(Inner {
                shared,
                stop,
                tasks: Mutex::new(tasks),
                owns_client,
            }),
        })
    }

    /// Hands a record over and returns at once with its [`Delivery`], which resolves when the broker
    /// has answered for its batch. Records that one task sends to one partition keep their order.
    ///
    /// It waits, at most `max.block.ms`, for two things: for the topic's metadata the first time, and
    /// for free `buffer.memory`, in turn with other senders.
    ///
    /// # Errors
    /// The record was not taken, [`Error::delivery`] is `NotSent`: [`ErrorKind::TooLarge`]; `Timeout`
    /// when `max.block.ms` passed; `Broker(UnknownTopicOrPartition)` when the topic did not appear by
    /// then; `Authorization`; `Config` for a partition the topic does not have; `Closed`.
    ///
    /// # Cancellation
    /// Dropped before it is ready, the record was not taken.
    pub async fn send(&self, record: ProducerRecord) -> Result<Delivery, Error> {
        let shared = &self.inner.shared;
        let bytes = self.size(&record)?;
        let timestamp = record.timestamp.unwrap_or_else(wall_clock_ms);
        let mut deadline = None;
        loop {
            let reservation = match shared.memory.try_reserve(bytes) {
                Some(reservation) => reservation,
                None => {
                    let deadline = *deadline.get_or_insert_with(|| self.block_until());
                    self.wait_for_memory(bytes, deadline).await?
                }
            };
            match self.append(&record, timestamp, bytes) {
                Ok(delivery) => {
                    reservation.keep();
                    return Ok(delivery);
                }
                Err(Refused::Error(error)) => return Err(error),
                Err(Refused::TopicUnknown) => {
                    drop(reservation);
                    let deadline = *deadline.get_or_insert_with(|| self.block_until());
                    self.wait_for_topic(&record.topic, deadline).await?;
                }
            }
        }
    }

    /// As [`send`](Self::send), without waiting.
    ///
    /// # Errors
    /// As [`send`](Self::send); [`ErrorKind::Timeout`] (which can be retried) where `send` would have
    /// waited. The metadata of a topic is fetched by `send` or
    /// [`partitions_for`](Self::partitions_for), not by this.
    pub fn try_send(&self, record: ProducerRecord) -> Result<Delivery, Error> {
        let shared = &self.inner.shared;
        let bytes = self.size(&record)?;
        let timestamp = record.timestamp.unwrap_or_else(wall_clock_ms);
        let Some(reservation) = shared.memory.try_reserve(bytes) else {
            if let Some(error) = shared.accumulator.lock().refusal() {
                return Err(error.clone());
            }
            return Err(memory_exhausted(shared.config.buffer_memory));
        };
        match self.append(&record, timestamp, bytes) {
            Ok(delivery) => {
                reservation.keep();
                Ok(delivery)
            }
            Err(Refused::Error(error)) => Err(error),
            Err(Refused::TopicUnknown) => Err(Error::new(
                ErrorKind::Timeout,
                format!("the metadata of topic {} is not there yet", record.topic),
            )
            .with_delivery(ferrokafka_client::Delivery::NotSent)
            .with_hint("await partitions_for(topic) first, or use send")),
        }
    }

    /// Hands over many records and gives one future for all: one acknowledgement for each batch they
    /// went into instead of one for each record.
    ///
    /// # Errors
    /// As [`send`](Self::send), for the first record that is not taken. Those before it are on their
    /// way, and [`SendBatchError::sent`] speaks for them.
    ///
    /// # Cancellation
    /// Dropped before it is ready, an unknown number of the first records was taken.
    pub async fn send_batch(
        &self,
        records: impl IntoIterator<Item = ProducerRecord>,
    ) -> Result<BatchDelivery, SendBatchError> {
        let mut sent = BatchDelivery::default();
        for record in records {
            match self.send(record).await {
                Ok(delivery) => sent.push(delivery.result(), delivery.index()),
                Err(error) => return Err(SendBatchError { error, sent }),
            }
        }
        Ok(sent)
    }

    /// Sends what was handed over before this call without lingering, and waits until the brokers have
    /// answered for all of it. `delivery.timeout.ms` bounds the wait.
    ///
    /// # Errors
    /// The failure of one of the batches waited for; the others were waited for as well.
    ///
    /// # Cancellation
    /// The batches go on.
    pub async fn flush(&self) -> Result<(), Error> {
        let results = self.inner.shared.accumulator.lock().flush();
        let mut first_error = None;
        for result in results {
            if let Err(error) = Delivery::new(result, 0, 0).await {
                first_error.get_or_insert(error);
            }
        }
        first_error.map_or(Ok(()), Err)
    }

    /// How many partitions a topic has; waits for its metadata as [`send`](Self::send) does.
    ///
    /// # Errors
    /// As [`send`](Self::send), where it waits for metadata.
    pub async fn partitions_for(&self, topic: impl Into<Arc<str>>) -> Result<i32, Error> {
        let topic = topic.into();
        let known = self.inner.shared.accumulator.lock().knows(&topic);
        if !known {
            self.wait_for_topic(&topic, self.block_until()).await?;
        }
        let count = self.inner.shared.accumulator.lock().partition_count(&topic);
        Ok(count.and_then(|n| i32::try_from(n).ok()).unwrap_or(0))
    }

    /// Counters since the producer was made.
    pub fn metrics(&self) -> ProducerMetrics {
        self.inner.shared.metrics()
    }

    /// The client it sends through.
    pub fn client(&self) -> &Client {
        &self.inner.shared.client
    }

    /// Sends what is here and ends the producer, for all its clones. A second call waits for nothing.
    ///
    /// # Errors
    /// The failure of a batch; or [`ErrorKind::Timeout`] when `wait` was too short: what was left then
    /// has failed with [`ErrorKind::Closed`].
    ///
    /// # Cancellation
    /// The producer takes no more records and goes on sending; call `close` again.
    pub async fn close(&self, wait: Duration) -> Result<(), Error> {
        let shared = &self.inner.shared;
        let deadline = Instant::now() + wait;
        // 1. Refuse new records; those that wait for memory or metadata are refused when they get it.
        shared.accumulator.lock().shut(closed());
        // 2. Drain: everything goes without lingering, and is answered or the time is up.
        let flushed = timeout_at(deadline, self.flush()).await;
        // 3. Stop the sender and with it the sinks. It answers to `stop` at once, so a moment is
        //    enough even when no time is left.
        self.inner.stop.send_replace(true);
        let mut tasks = std::mem::take(&mut *self.inner.tasks.lock());
        let join = async { while tasks.join_next().await.is_some() {} };
        if timeout(Duration::from_secs(1), join).await.is_err() {
            tracing::warn!("the producer's sender did not end in time and is aborted");
        }
        // 4. Fail what is left, and whoever waits for memory.
        let (records, batches) = shared.accumulator.lock().undecided();
        shared.fail(&closed());
        // 5. Close the connections, if they are ours.
        if self.inner.owns_client {
            let left = deadline.saturating_duration_since(Instant::now());
            shared.client.close(left).await;
        }
        match flushed {
            Ok(result) => result,
            Err(_elapsed) => Err(Error::new(
                ErrorKind::Timeout,
                format!(
                    "closed after {} ms with {records} records in {batches} batches unanswered",
                    wait.as_millis()
                ),
            )),
        }
    }

    fn append(
        &self,
        record: &ProducerRecord,
        timestamp: i64,
        bytes: usize,
    ) -> Result<Delivery, Refused> {
        let shared = &self.inner.shared;
        let appended = shared
            .accumulator
            .lock()
            .append(record, timestamp, bytes, Instant::now());
        let Appended {
            result,
            index,
            wake,
            leader_missing,
        } = appended?;
        if wake && leader_missing {
            shared.sender_wake.notify_one();
        }
        Ok(Delivery::new(result, index, timestamp))
    }

    /// What the record takes of `buffer.memory`: its encoded size, give or take the few bytes that
    /// depend on its place in the batch.
    fn size(&self, record: &ProducerRecord) -> Result<usize, Error> {
        let bytes = BatchBuilder::record_len(
            0,
            0,
            record.key.as_deref(),
            record.value.as_deref(),
            &record.headers,
        );
        let max = self.inner.shared.config.max_request_size;
        if bytes.saturating_add(BATCH_HEAD_LEN) > max {
            return Err(Error::new(
                ErrorKind::TooLarge,
                format!(
                    "a record of {bytes} bytes for topic {} is larger than max.request.size ({max})",
                    record.topic
                ),
            )
            .with_hint("raise max.request.size, and the topic's max.message.bytes with it"));
        }
        Ok(bytes)
    }

    fn block_until(&self) -> Instant {
        Instant::now() + self.inner.shared.config.max_block
    }

    async fn wait_for_memory(
        &self,
        bytes: usize,
        deadline: Instant,
    ) -> Result<crate::buffer_memory::Reservation<'_>, Error> {
        let shared = &self.inner.shared;
        let _waiting = MemoryWaiter::new(shared);
        match shared.memory.reserve(bytes, deadline).await {
            Ok(reservation) => Ok(reservation),
            Err(NoMemory::Closed) => {
                let refusal = shared.accumulator.lock().refusal().cloned();
                Err(refusal.unwrap_or_else(closed))
            }
            Err(NoMemory::Full) => {
                Err(memory_exhausted(shared.config.buffer_memory)
                    .with_elapsed(shared.config.max_block))
            }
        }
    }

    /// Waits until the topic's partitions are known.
    async fn wait_for_topic(&self, topic: &Arc<str>, deadline: Instant) -> Result<(), Error> {
        let shared = &self.inner.shared;
        let backoff = shared.client.config().get_retry_backoff();
        let mut attempt = 0;
        loop {
            if let Some(error) = shared.accumulator.lock().refusal() {
                return Err(error.clone());
            }
            let cluster = shared
                .client
                .metadata(std::slice::from_ref(topic), deadline)
                .await?;
            let code = match cluster.topic(topic) {
                Some(found) if found.error.is_none() && !found.partitions.is_empty() => {
                    let leaders = leaders_of(found);
                    shared.accumulator.lock().set_topic(topic, &leaders);
                    shared.sender_wake.notify_one();
                    return Ok(());
                }
                Some(found) if !found.error.is_none() => found.error,
                _ => ErrorCode::UnknownTopicOrPartition,
            };
            let error = Error::from_code(code, format_args!("metadata of topic {topic}"));
            let next = Instant::now() + backoff.delay(attempt);
            if !error.is_retriable() || next > deadline {
                let error = error.with_delivery(ferrokafka_client::Delivery::NotSent);
                return Err(match code {
                    ErrorCode::UnknownTopicOrPartition => error.with_hint(format!(
                        "create the topic, or check the name; max.block.ms ({}) is how long it is waited for",
                        shared.config.max_block.as_millis()
                    )),
                    _ => error,
                });
            }
            attempt += 1;
            sleep_until(next).await;
        }
    }
}

impl fmt::Debug for Producer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer")
            .field("config", &self.inner.shared.config)
            .finish_non_exhaustive()
    }
}

impl Drop for Inner {
    /// Never waits: what is not decided fails here, and its deliveries say so.
    fn drop(&mut self) {
        let (records, batches) = self.shared.accumulator.lock().undecided();
        if records > 0 {
            tracing::warn!(
                records,
                batches,
                "producer dropped with records unanswered; close() waits for them"
            );
        }
        let mut effects = Effects::default();
        {
            let mut accumulator = self.shared.accumulator.lock();
            accumulator.shut(closed());
            accumulator.fail_all(&closed(), &mut effects);
        }
        self.shared.carry_out(effects);
        self.shared.memory.close();
        // The task set aborts the sender, whose own set aborts the sinks.
    }
}

/// Counts a waiting sender, so that batches stop lingering for its sake.
struct MemoryWaiter<'a>(&'a Shared);

impl<'a> MemoryWaiter<'a> {
    fn new(shared: &'a Shared) -> Self {
        shared.accumulator.lock().memory_waiter(true);
        Self(shared)
    }
}

impl Drop for MemoryWaiter<'_> {
    fn drop(&mut self) {
        self.0.accumulator.lock().memory_waiter(false);
    }
}

fn memory_exhausted(total: usize) -> Error {
    Error::new(
        ErrorKind::Timeout,
        format!("buffer.memory ({total} bytes) is used up"),
    )
    .with_delivery(ferrokafka_client::Delivery::NotSent)
    .with_hint("the brokers take less than is sent: wait, or raise buffer.memory")
}

fn wall_clock_ms() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|since| i64::try_from(since.as_millis()).ok())
        .unwrap_or(0)
}
