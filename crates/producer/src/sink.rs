//! The sink of one broker: a task that turns what its partitions hold into produce requests.
//!
//! Produce versions 3 to 12. Version 13 names topics by id and comes with topic ids in the
//! accumulator.
//!
//! A request carries one batch of each partition; several requests are on their way at a time, so a
//! partition has several batches in flight. Each request is polled here for the first time before the
//! next one is made, because that is what orders them on the connection.

use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use ferrokafka_client::{Delivery, Error, ErrorKind, Lane, NodeId};
use ferrokafka_wire::ErrorCode;
use ferrokafka_wire::messages::produce_request::{
    PartitionProduceData, ProduceRequest, TopicProduceData,
};
use ferrokafka_wire::messages::produce_response::{PartitionProduceResponse, ProduceResponse};
use ferrokafka_wire::messages::{ApiKey, TopicName};
use ferrokafka_wire::protocol::StrBytes;
use ferrokafka_wire::record::EncodedBatch;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::accumulator::{CompressJob, InRequest};
use crate::batch::{BatchId, Body};
use crate::partition_queue::{Effects, Outgoing};
use crate::shared::{Shared, add};

/// The last version that names topics by name.
const PRODUCE_VERSION_MAX: i16 = 12;
/// Batches below this are compressed where they stand: handing them to another thread takes longer.
const COMPRESS_INLINE_BYTES: usize = 4 * 1024;

pub(crate) struct Sink {
    shared: Arc<Shared>,
    node: NodeId,
    wake: Arc<Notify>,
    requests: FuturesUnordered<BoxFuture<'static, Answered>>,
    codec: JoinSet<Compressed>,
}

/// A batch with the bytes that were sent.
struct Sent {
    queue: usize,
    id: BatchId,
    outgoing: Outgoing,
}

struct Answered {
    batches: Vec<Sent>,
    latency: Duration,
    answer: Result<(i16, ProduceResponse), Error>,
}

struct Compressed {
    queue: usize,
    id: BatchId,
    encoded: Result<EncodedBatch, Error>,
}

impl Sink {
    pub(crate) fn new(shared: Arc<Shared>, node: NodeId, wake: Arc<Notify>) -> Self {
        Self {
            shared,
            node,
            wake,
            requests: FuturesUnordered::new(),
            codec: JoinSet::new(),
        }
    }

    /// Runs until it is aborted.
    pub(crate) async fn run(mut self) {
        loop {
            let now = Instant::now();
            let drained = self.shared.accumulator.lock().drain(self.node, now);
            for job in drained.compress {
                self.compress(job);
            }
            if !drained.request.is_empty() {
                self.send(drained.request).await;
                continue;
            }
            let wake_at = drained.wake_at;
            tokio::select! {
                Some(answered) = self.requests.next(), if !self.requests.is_empty() => {
                    self.answered(answered);
                }
                Some(compressed) = self.codec.join_next(), if !self.codec.is_empty() => {
                    match compressed {
                        Ok(compressed) => self.compressed(compressed),
                        // The codec panicked. Its batch is stuck until it expires; nothing else is.
                        Err(error) => tracing::error!(%error, "a batch could not be compressed"),
                    }
                }
                () = self.wake.notified() => {}
                () = sleep_until(wake_at.unwrap_or(now)), if wake_at.is_some() => {}
            }
        }
    }

    fn compress(&mut self, job: CompressJob) {
        let compression = self.shared.config.compression;
        let CompressJob { queue, id, builder } = job;
        let small = builder.encoded_len() < COMPRESS_INLINE_BYTES;
        let work = move || Compressed {
            queue,
            id,
            encoded: builder.finish(compression).map_err(unencodable),
        };
        if small {
            let compressed = work();
            self.compressed(compressed);
            // What it made ready is looked at on the way round.
            self.wake.notify_one();
        } else {
            self.codec.spawn_blocking(work);
        }
    }

    fn compressed(&self, compressed: Compressed) {
        let mut effects = Effects::default();
        let Compressed { queue, id, encoded } = compressed;
        self.shared
            .accumulator
            .lock()
            .compressed(queue, id, encoded, &mut effects);
        self.shared.carry_out(effects);
    }

    /// Makes a request and puts it on the connection.
    async fn send(&mut self, batches: Vec<InRequest>) {
        let (batches, refused) = stamp(batches);
        if !refused.is_empty() {
            self.refused(refused);
        }
        if batches.is_empty() {
            self.shared.accumulator.lock().request_done(self.node);
            return;
        }
        let counters = &self.shared.counters;
        let metrics = self.shared.client.config().get_metrics();
        for sent in &batches {
            let labels = [("topic", &*sent.outgoing.topic_partition.topic)];
            let bytes = sent.bytes().len();
            metrics.observe("producer_batch_size_bytes", &labels, bytes as f64);
            if sent.outgoing.attempt > 1 {
                metrics.add("producer_batch_retry_total", &labels, 1);
            }
            add(&counters.batches_sent, 1);
            add(
                &counters.batches_retried,
                u64::from(sent.outgoing.attempt > 1),
            );
            add(&counters.bytes_sent, bytes as u64);
        }
        let mut request: BoxFuture<'static, Answered> =
            Box::pin(request(Arc::clone(&self.shared), self.node, batches));
        // The first poll, here and now, gives the request its place on the connection.
        match poll_fn(|cx| Poll::Ready(request.as_mut().poll(cx))).await {
            Poll::Ready(answered) => self.answered(answered),
            Poll::Pending => self.requests.push(request),
        }
    }

    /// Batches that no version of the protocol can carry.
    fn refused(&self, refused: Vec<(usize, BatchId, Error)>) {
        let mut effects = Effects::default();
        let mut accumulator = self.shared.accumulator.lock();
        for (queue, id, error) in refused {
            accumulator.failed(queue, (id, Body::Away), error, Instant::now(), &mut effects);
        }
        drop(accumulator);
        self.shared.carry_out(effects);
    }

    fn answered(&self, answered: Answered) {
        let Answered {
            batches,
            latency,
            answer,
        } = answered;
        self.shared.client.config().get_metrics().observe(
            "producer_request_latency_seconds",
            &[("node", &self.node.to_string())],
            latency.as_secs_f64(),
        );
        add(&self.shared.counters.requests, 1);
        let mut effects = Effects::default();
        let now = Instant::now();
        match answer {
            Ok((version, response)) => {
                self.note_endpoints(&response);
                let rows = rows(&response);
                let mut accumulator = self.shared.accumulator.lock();
                accumulator.request_done(self.node);
                for sent in batches {
                    let tp = &sent.outgoing.topic_partition;
                    let row = rows.get(&(&*tp.topic, tp.partition)).copied();
                    self.settle(&mut accumulator, sent, version, row, now, &mut effects);
                }
            }
            Err(error) => {
                tracing::debug!(node = self.node, %error, "produce request failed");
                let mut accumulator = self.shared.accumulator.lock();
                accumulator.request_done(self.node);
                for Sent {
                    queue,
                    id,
                    outgoing,
                } in batches
                {
                    let error = error
                        .clone()
                        .with_topic_partition(outgoing.topic_partition.clone());
                    accumulator.failed(queue, (id, outgoing.body), error, now, &mut effects);
                }
            }
        }
        self.shared.carry_out(effects);
    }

    /// Reports what the response says about one batch.
    fn settle(
        &self,
        accumulator: &mut crate::accumulator::Accumulator,
        sent: Sent,
        version: i16,
        row: Option<&PartitionProduceResponse>,
        now: Instant,
        effects: &mut Effects,
    ) {
        let Sent {
            queue,
            id,
            outgoing,
        } = sent;
        let tp = outgoing.topic_partition;
        let Some(row) = row else {
            let error = Error::new(ErrorKind::Protocol, "the response leaves the partition out")
                .with_topic_partition(tp)
                .with_node(self.node)
                .with_api(ApiKey::Produce, version)
                .with_delivery(Delivery::Unknown);
            accumulator.failed(queue, (id, outgoing.body), error, now, effects);
            return;
        };
        let code = ErrorCode::from_code(row.error_code);
        match code {
            // A repeated batch: the broker has it since an earlier attempt.
            ErrorCode::None | ErrorCode::DuplicateSequenceNumber => {
                let log_append_time =
                    Some(row.log_append_time_ms).filter(|ms| code.is_none() && *ms >= 0);
                accumulator.acknowledged(
                    queue,
                    id,
                    row.base_offset.max(-1),
                    log_append_time,
                    effects,
                );
            }
            code => {
                let error = refusal(code, row)
                    .with_topic_partition(tp.clone())
                    .with_node(self.node)
                    .with_api(ApiKey::Produce, version);
                tracing::debug!(%error, "batch refused");
                accumulator.failed(queue, (id, outgoing.body), error, now, effects);
                let leader = row.current_leader.leader_id.0;
                if leader >= 0 {
                    let epoch = row.current_leader.leader_epoch;
                    self.shared.client.note_leader(&tp, leader, epoch);
                    accumulator.leader_moved(queue, leader, epoch);
                    // The new leader may be a broker without a sink.
                    self.shared.sender_wake.notify_one();
                }
            }
        }
    }

    fn note_endpoints(&self, response: &ProduceResponse) {
        for endpoint in &response.node_endpoints {
            if let Ok(port) = u16::try_from(endpoint.port) {
                self.shared.client.note_broker(
                    endpoint.node_id.0,
                    &endpoint.host,
                    port,
                    endpoint.rack.as_deref(),
                );
            }
        }
    }
}

impl Sent {
    fn bytes(&self) -> bytes::Bytes {
        match &self.outgoing.body {
            Body::Encoded(encoded) => encoded.bytes(),
            Body::Building(_) | Body::Away => bytes::Bytes::new(),
        }
    }
}

/// Finishes the batches that no codec has seen, and writes producer id, epoch and sequence into all.
fn stamp(batches: Vec<InRequest>) -> (Vec<Sent>, Vec<(usize, BatchId, Error)>) {
    let mut sent = Vec::with_capacity(batches.len());
    let mut refused = Vec::new();
    for InRequest {
        queue,
        mut outgoing,
    } in batches
    {
        let id = outgoing.id;
        let encoded = match outgoing.body {
            Body::Encoded(encoded) => Ok(encoded),
            Body::Building(builder) => builder
                .finish(ferrokafka_wire::compression::Compression::None)
                .map_err(unencodable),
            Body::Away => Err(Error::new(ErrorKind::Internal, "a batch lost its bytes")),
        };
        match encoded {
            Ok(mut encoded) => {
                if let Some(stamp) = outgoing.stamp {
                    encoded.stamp(stamp);
                }
                outgoing.body = Body::Encoded(encoded);
                sent.push(Sent {
                    queue,
                    id,
                    outgoing,
                });
            }
            Err(error) => refused.push((queue, id, error)),
        }
    }
    (sent, refused)
}

async fn request(shared: Arc<Shared>, node: NodeId, batches: Vec<Sent>) -> Answered {
    let timeout = shared.client.config().get_request_timeout();
    let acks = shared.config.acks.code();
    let timeout_ms = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
    let topics = topics(&batches);
    let begun = Instant::now();
    let answer = shared
        .client
        .request_max_version::<ProduceRequest>(
            node,
            Lane::Produce,
            begun + timeout,
            PRODUCE_VERSION_MAX,
            |_version| {
                ProduceRequest::default()
                    .with_transactional_id(None)
                    .with_acks(acks)
                    .with_timeout_ms(timeout_ms)
                    .with_topic_data(topics.clone())
            },
        )
        .await;
    Answered {
        batches,
        latency: begun.elapsed(),
        answer,
    }
}

fn topics(batches: &[Sent]) -> Vec<TopicProduceData> {
    let mut topics: Vec<TopicProduceData> = Vec::new();
    let mut at: HashMap<&Arc<str>, usize> = HashMap::new();
    for sent in batches {
        let tp = &sent.outgoing.topic_partition;
        let index = *at.entry(&tp.topic).or_insert_with(|| {
            topics.push(
                TopicProduceData::default()
                    .with_name(TopicName(StrBytes::from_string(tp.topic.to_string()))),
            );
            topics.len() - 1
        });
        topics[index].partition_data.push(
            PartitionProduceData::default()
                .with_index(tp.partition)
                .with_records(Some(sent.bytes())),
        );
    }
    topics
}

fn rows(response: &ProduceResponse) -> HashMap<(&str, i32), &PartitionProduceResponse> {
    response
        .responses
        .iter()
        .flat_map(|topic| {
            topic
                .partition_responses
                .iter()
                .map(|row| ((topic.name.as_str(), row.index), row))
        })
        .collect()
}

fn refusal(code: ErrorCode, row: &PartitionProduceResponse) -> Error {
    match row.error_message.as_deref() {
        Some(message) if !message.is_empty() => {
            Error::from_code(code, format_args!("write refused ({message})"))
        }
        _ => Error::from_code(code, "write refused"),
    }
}

fn unencodable(error: ferrokafka_wire::EncodeError) -> Error {
    Error::new(ErrorKind::Internal, "a batch cannot be encoded").with_source(error)
}
