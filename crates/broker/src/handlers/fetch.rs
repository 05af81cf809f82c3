//! Fetch 4–17.
//!
//! v4 adds the isolation level, v5 the log start offset, v7 sessions, v9 the leader epoch the client
//! believes in, v11 the rack, v12 is flexible and reports divergence, v13 names topics by id, v15 moves
//! the replica's state, v16 names the new leader, v17 is for replicas. Missing: sessions (every answer
//! says "none", and clients then send full requests), reading from followers, transactions (so the last
//! stable offset is the high watermark).

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ferrokafka_wire::ErrorCode;
use ferrokafka_wire::messages::fetch_request::{FetchPartition, FetchTopic};
use ferrokafka_wire::messages::fetch_response::{
    EpochEndOffset, FetchableTopicResponse, LeaderIdAndEpoch, NodeEndpoint, PartitionData,
};
use ferrokafka_wire::messages::{BrokerId, FetchRequest, FetchResponse};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use super::text;
use crate::broker::NodeId;
use crate::dispatch::{Context, Handler};
use crate::partition::Partition;
use crate::storage::log::Slice;
use crate::topic::Topic;

/// Longest wait of one request, whatever the client asks for.
const WAIT_MAX: Duration = Duration::from_secs(600);

pub(crate) struct Fetch;

impl Handler for Fetch {
    type Request = FetchRequest;

    const VERSIONS: RangeInclusive<i16> = 4..=17;

    async fn handle(cx: Context, request: FetchRequest) -> FetchResponse {
        if request.session_id != 0 {
            // None was ever given out.
            return FetchResponse::default()
                .with_error_code(ErrorCode::FetchSessionIdNotFound.code());
        }
        let wait =
            Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0)).min(WAIT_MAX);
        let deadline = Instant::now() + wait;
        let found = find(&cx, &request.topics);
        let min_bytes = u64::try_from(request.min_bytes).unwrap_or(0);
        loop {
            // Registered before reading: an append between the reading and the waiting wakes us too.
            let waiter = Arc::new(Notify::new());
            for partition in found.iter().flatten().flatten() {
                partition.register(&waiter);
            }
            let mut read = Read::new(&cx, &request);
            let responses = read.all(&found);
            if read.bytes >= min_bytes
                || read.errors
                || Instant::now() >= deadline
                || request.topics.is_empty()
            {
                return read.finish(responses);
            }
            // Whether woken or out of time, the next round answers.
            let _ = timeout_at(deadline, waiter.notified()).await;
        }
    }

    fn reject(cx: &Context, request: &FetchRequest, error: ErrorCode) -> FetchResponse {
        let topics = request.topics.iter().map(|topic| {
            let partitions = topic
                .partitions
                .iter()
                .map(|asked| failed(asked.partition, error))
                .collect();
            named(cx, topic).with_partitions(partitions)
        });
        FetchResponse::default().with_responses(topics.collect())
    }

    fn throttle(response: &mut FetchResponse, ms: i32) {
        response.throttle_time_ms = ms;
    }
}

/// The partitions asked for, where they exist.
fn find(cx: &Context, topics: &[FetchTopic]) -> Vec<Vec<Option<Arc<Partition>>>> {
    topics
        .iter()
        .map(|asked| {
            let topic = topic_of(cx, asked);
            let one = |partition: &FetchPartition| {
                topic
                    .as_ref()
                    .and_then(|topic| topic.partition(partition.partition))
            };
            asked.partitions.iter().map(one).collect()
        })
        .collect()
}

fn topic_of(cx: &Context, asked: &FetchTopic) -> Option<Arc<Topic>> {
    if cx.version >= 13 {
        cx.broker.topic_by_id(&asked.topic_id)
    } else {
        cx.broker.topic(&asked.topic)
    }
}

fn named(cx: &Context, asked: &FetchTopic) -> FetchableTopicResponse {
    if cx.version >= 13 {
        FetchableTopicResponse::default().with_topic_id(asked.topic_id)
    } else {
        FetchableTopicResponse::default().with_topic(asked.topic.clone())
    }
}

fn failed(index: i32, error: ErrorCode) -> PartitionData {
    PartitionData::default()
        .with_partition_index(index)
        .with_error_code(error.code())
        .with_high_watermark(-1)
        .with_records(Some(Bytes::new()))
}

/// One pass over everything asked for.
struct Read<'a> {
    cx: &'a Context,
    request: &'a FetchRequest,
    /// What may still be returned.
    left: u64,
    bytes: u64,
    errors: bool,
    leaders: BTreeSet<NodeId>,
}

impl<'a> Read<'a> {
    fn new(cx: &'a Context, request: &'a FetchRequest) -> Self {
        let limit = request.max_bytes.min(cx.broker.config.fetch_max_bytes);
        let left = u64::try_from(limit).unwrap_or(0);
        Self {
            cx,
            request,
            left,
            bytes: 0,
            errors: false,
            leaders: BTreeSet::new(),
        }
    }

    fn all(&mut self, found: &[Vec<Option<Arc<Partition>>>]) -> Vec<FetchableTopicResponse> {
        let mut topics = Vec::with_capacity(found.len());
        for (asked, partitions) in self.request.topics.iter().zip(found) {
            let mut answers = Vec::with_capacity(partitions.len());
            for (asked_partition, partition) in asked.partitions.iter().zip(partitions) {
                let answer = match partition {
                    Some(partition) => self.partition(asked_partition, partition),
                    None if self.cx.version >= 13 && topic_of(self.cx, asked).is_none() => {
                        failed(asked_partition.partition, ErrorCode::UnknownTopicId)
                    }
                    None => failed(
                        asked_partition.partition,
                        ErrorCode::UnknownTopicOrPartition,
                    ),
                };
                self.errors |=
                    answer.error_code != 0 || answer.diverging_epoch != EpochEndOffset::default();
                answers.push(answer);
            }
            topics.push(named(self.cx, asked).with_partitions(answers));
        }
        topics
    }

    fn partition(&mut self, asked: &FetchPartition, partition: &Partition) -> PartitionData {
        let index = asked.partition;
        let current_epoch = if self.cx.version >= 9 {
            asked.current_leader_epoch
        } else {
            -1
        };
        if let Err(code) = partition.check_leader(self.cx.node, current_epoch) {
            return self.wrong_leader(index, partition, code);
        }
        let (mut answer, slice) = match self.look(asked, partition) {
            Ok(looked) => looked,
            Err(code) => return failed(index, code),
        };
        let Some(slice) = slice else { return answer };
        let partition_max = u64::try_from(asked.partition_max_bytes).unwrap_or(0);
        let mut length = partition_max.min(self.left);
        if slice.first > length {
            // The first batch of an answer comes whole whatever the limits, or a reader could not get past it.
            length = if self.bytes == 0 { slice.first } else { 0 };
        }
        match slice.read(length) {
            Ok(records) => {
                let returned = records.len() as u64;
                self.bytes += returned;
                self.left = self.left.saturating_sub(returned);
                answer.records = Some(records);
                answer
            }
            Err(error) => {
                tracing::error!(partition = partition.name, %error, "log cannot be read");
                failed(index, ErrorCode::KafkaStorageError)
            }
        }
    }

    /// What is at the offset asked for; under the log's lock.
    fn look(
        &self,
        asked: &FetchPartition,
        partition: &Partition,
    ) -> Result<(PartitionData, Option<Slice>), ErrorCode> {
        let log = partition.log.lock();
        let (start, end) = (log.start_offset(), log.end_offset());
        let mut answer = PartitionData::default()
            .with_partition_index(asked.partition)
            .with_high_watermark(end)
            .with_last_stable_offset(end)
            .with_records(Some(Bytes::new()));
        if self.cx.version >= 5 {
            answer.log_start_offset = start;
        }
        // Without transactions there is never an aborted one; null says the level was not asked for.
        answer.aborted_transactions = (self.request.isolation_level == 1).then(Vec::new);
        if self.cx.version >= 12 && asked.last_fetched_epoch >= 0 {
            let diverged =
                log.epochs()
                    .end_of(asked.last_fetched_epoch, end)
                    .filter(|(epoch, end)| {
                        *epoch < asked.last_fetched_epoch || *end < asked.fetch_offset
                    });
            if let Some((epoch, end)) = diverged {
                answer.diverging_epoch = EpochEndOffset::default()
                    .with_epoch(epoch)
                    .with_end_offset(end);
                return Ok((answer, None));
            }
        }
        if asked.fetch_offset < start || asked.fetch_offset > end {
            return Err(ErrorCode::OffsetOutOfRange);
        }
        if asked.fetch_offset == end {
            return Ok((answer, None));
        }
        let slice = log.slice(asked.fetch_offset).map_err(|error| {
            tracing::error!(partition = partition.name, %error, "log cannot be searched");
            ErrorCode::KafkaStorageError
        })?;
        Ok((answer, slice))
    }

    fn wrong_leader(
        &mut self,
        index: i32,
        partition: &Partition,
        code: ErrorCode,
    ) -> PartitionData {
        let mut answer = failed(index, code);
        let leadership = partition.leadership();
        if let Some(leader) = leadership.leader.filter(|_| self.cx.version >= 12) {
            answer.current_leader = LeaderIdAndEpoch::default()
                .with_leader_id(BrokerId(leader))
                .with_leader_epoch(leadership.leader_epoch);
            self.leaders.insert(leader);
        }
        answer
    }

    fn finish(self, responses: Vec<FetchableTopicResponse>) -> FetchResponse {
        let mut response = FetchResponse::default().with_responses(responses);
        if self.cx.version >= 16 {
            response.node_endpoints = self
                .leaders
                .iter()
                .filter_map(|id| endpoint(self.cx, *id))
                .collect();
        }
        response
    }
}

fn endpoint(cx: &Context, id: NodeId) -> Option<NodeEndpoint> {
    let node = cx.broker.node(id)?;
    let endpoint = NodeEndpoint::default()
        .with_node_id(BrokerId(id))
        .with_host(text(&*node.host));
    Some(
        endpoint
            .with_port(i32::from(node.port))
            .with_rack(cx.broker.config.broker_rack.as_deref().map(text)),
    )
}

#[cfg(test)]
mod tests {
    use ferrokafka_wire::messages::TopicName;
    use tokio::task::JoinSet;

    use super::*;
    use crate::testkit::TestBroker;

    /// The interleaving that would lose a wake-up: read, append, register. The log's lock, held here,
    /// stops the request in its reading; by then it must have registered.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_reader_has_registered_before_it_reads() {
        let broker = TestBroker::builder().topic("t", 1).start().await.unwrap();
        let partition = broker.shared().topic("t").unwrap().partition(0).unwrap();
        let cx = Context {
            broker: broker.shared().clone(),
            node: 1,
            version: 11,
            client_id: None,
            client_host: "/127.0.0.1".into(),
        };
        let topic = FetchTopic::default()
            .with_topic(TopicName(text("t")))
            .with_partitions(vec![FetchPartition::default()]);
        let request = FetchRequest::default()
            .with_max_wait_ms(300_000)
            .with_min_bytes(1)
            .with_topics(vec![topic]);
        let mut reading = JoinSet::new();
        {
            let _log = partition.log.lock();
            reading.spawn(Fetch::handle(cx, request));
            let deadline = Instant::now() + Duration::from_secs(10);
            while partition.waiting() == 0 {
                assert!(Instant::now() < deadline, "it reads before it registers");
                std::thread::yield_now();
            }
        }
    }
}
