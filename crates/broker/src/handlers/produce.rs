//! Produce 3–12, and 0–2 refused (see [`super::produce_legacy`]).
//!
//! v3 brings record batches, v5 the log start offset, v7 allows zstd, v8 adds errors per record, v9 is
//! flexible, v10 names the new leader when the client asked the wrong node, v11 and v12 belong to
//! transactions. Missing: transactions (a transactional batch is refused), topic ids (v13).

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use ferrokafka_wire::ErrorCode;
use ferrokafka_wire::messages::produce_request::PartitionProduceData;
use ferrokafka_wire::messages::produce_response::{
    BatchIndexAndErrorMessage, LeaderIdAndEpoch, NodeEndpoint, PartitionProduceResponse,
    TopicProduceResponse,
};
use ferrokafka_wire::messages::{BrokerId, ProduceRequest, ProduceResponse};

use super::text;
use crate::broker::NodeId;
use crate::dispatch::{Context, Handler};
use crate::partition::Partition;
use crate::storage::{self, Rejection, Rules};
use crate::topic::Topic;

pub(crate) struct Produce;

impl Handler for Produce {
    type Request = ProduceRequest;

    const VERSIONS: RangeInclusive<i16> = 3..=12;
    const ADVERTISED_MIN: i16 = 0;

    async fn handle(cx: Context, request: ProduceRequest) -> ProduceResponse {
        if !matches!(request.acks, -1..=1) {
            return Self::reject(&cx, &request, ErrorCode::InvalidRequiredAcks);
        }
        let mut answer = ProduceResponse::default();
        let mut leaders = BTreeSet::new();
        let acks = request.acks;
        for asked in request.topic_data {
            let topic = cx.broker.topic(&asked.name);
            let mut partitions = Vec::with_capacity(asked.partition_data.len());
            for data in asked.partition_data {
                let partition = topic
                    .as_ref()
                    .and_then(|topic| Some((topic, topic.partition(data.index)?)));
                partitions.push(match partition {
                    Some((topic, partition)) => {
                        append(&cx, topic, &partition, data, acks, &mut leaders).await
                    }
                    None => failed(&cx, data.index, ErrorCode::UnknownTopicOrPartition, None),
                });
            }
            let topic = TopicProduceResponse::default()
                .with_name(asked.name)
                .with_partition_responses(partitions);
            answer.responses.push(topic);
        }
        answer.node_endpoints = leaders
            .into_iter()
            .filter_map(|id| endpoint(&cx, id))
            .collect();
        answer
    }

    fn reject(cx: &Context, request: &ProduceRequest, error: ErrorCode) -> ProduceResponse {
        let topics = request.topic_data.iter().map(|topic| {
            let partitions = topic
                .partition_data
                .iter()
                .map(|data| failed(cx, data.index, error, None))
                .collect();
            TopicProduceResponse::default()
                .with_name(topic.name.clone())
                .with_partition_responses(partitions)
        });
        ProduceResponse::default().with_responses(topics.collect())
    }

    fn throttle(response: &mut ProduceResponse, ms: i32) {
        response.throttle_time_ms = ms;
    }

    fn expects_answer(request: &ProduceRequest) -> bool {
        request.acks != 0
    }

    /// A client that waits for no answer learns of an error by its connection ending, as with Kafka.
    fn ends_silent_connection(response: &ProduceResponse) -> bool {
        response
            .responses
            .iter()
            .flat_map(|topic| &topic.partition_responses)
            .any(|partition| partition.error_code != 0)
    }
}

async fn append(
    cx: &Context,
    topic: &Topic,
    partition: &Partition,
    data: PartitionProduceData,
    acks: i16,
    leaders: &mut BTreeSet<NodeId>,
) -> PartitionProduceResponse {
    let index = data.index;
    if let Err(code) = partition.check_leader(cx.node, -1) {
        return wrong_node(cx, partition, code, leaders);
    }
    let settings = topic.settings();
    let in_sync = partition.leadership().isr.len();
    if acks == -1 && in_sync < usize::try_from(settings.effective.min_insync_replicas).unwrap_or(0)
    {
        return failed(cx, index, ErrorCode::NotEnoughReplicas, None);
    }
    let now_ms = cx.broker.clock.now_ms();
    let rules = Rules {
        config: &settings.effective,
        partition: &partition.name,
        now_ms,
        produce_version: cx.version,
    };
    let accepted = match storage::accept(data.records, &rules) {
        Ok(accepted) => accepted,
        Err(rejection) => return rejected(cx, index, rejection),
    };
    let (appended, start_offset) = match partition.append(cx.node, &accepted, now_ms) {
        Ok(appended) => appended,
        Err(refused) => {
            tracing::debug!(partition = partition.name, ?refused, "batch refused");
            let code = refused.code();
            if code == ErrorCode::NotLeaderOrFollower {
                return wrong_node(cx, partition, code, leaders);
            }
            return failed(cx, index, code, refused.message());
        }
    };
    if let Some(file) = appended.sync {
        // The device may take its time; other connections go on meanwhile.
        let synced = tokio::task::spawn_blocking(move || file.sync()).await;
        if !matches!(synced, Ok(Ok(()))) {
            return failed(cx, index, ErrorCode::KafkaStorageError, None);
        }
    }
    let mut response = PartitionProduceResponse::default()
        .with_index(index)
        .with_base_offset(appended.base_offset)
        .with_log_append_time_ms(appended.append_time.unwrap_or(-1));
    if cx.version >= 5 {
        response.log_start_offset = start_offset;
    }
    response
}

fn failed(
    cx: &Context,
    index: i32,
    code: ErrorCode,
    message: Option<String>,
) -> PartitionProduceResponse {
    let mut response = PartitionProduceResponse::default()
        .with_index(index)
        .with_error_code(code.code())
        .with_base_offset(-1)
        .with_log_append_time_ms(-1);
    if cx.version >= 8 {
        response.error_message = message.map(text);
    }
    response
}

fn rejected(cx: &Context, index: i32, rejection: Rejection) -> PartitionProduceResponse {
    let mut response = failed(cx, index, rejection.code, Some(rejection.message));
    if cx.version >= 8 {
        let one = |(index, message): (i32, String)| {
            BatchIndexAndErrorMessage::default()
                .with_batch_index(index)
                .with_batch_index_error_message(Some(text(message)))
        };
        response.record_errors = rejection.records.into_iter().map(one).collect();
    }
    response
}

/// KIP-951: says who leads, so that the client need not ask for metadata.
fn wrong_node(
    cx: &Context,
    partition: &Partition,
    code: ErrorCode,
    leaders: &mut BTreeSet<NodeId>,
) -> PartitionProduceResponse {
    let mut response = failed(cx, partition.index, code, None);
    if cx.version >= 10 {
        let leadership = partition.leadership();
        if let Some(leader) = leadership.leader {
            leaders.insert(leader);
            response.current_leader = LeaderIdAndEpoch::default()
                .with_leader_id(BrokerId(leader))
                .with_leader_epoch(leadership.leader_epoch);
        }
    }
    response
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
