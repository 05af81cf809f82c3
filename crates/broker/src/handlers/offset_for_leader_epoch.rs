//! OffsetForLeaderEpoch 2–4; v3 adds the replica id, v4 is flexible.

use std::ops::RangeInclusive;

use ferrokafka_wire::ErrorCode;
use ferrokafka_wire::messages::offset_for_leader_epoch_request::OffsetForLeaderPartition;
use ferrokafka_wire::messages::offset_for_leader_epoch_response::{
    EpochEndOffset, OffsetForLeaderTopicResult,
};
use ferrokafka_wire::messages::{OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse};

use crate::dispatch::{Context, Handler};

pub(crate) struct OffsetForLeaderEpoch;

impl Handler for OffsetForLeaderEpoch {
    type Request = OffsetForLeaderEpochRequest;

    const VERSIONS: RangeInclusive<i16> = 2..=4;

    async fn handle(
        cx: Context,
        request: OffsetForLeaderEpochRequest,
    ) -> OffsetForLeaderEpochResponse {
        let topics = request.topics.iter().map(|asked| {
            let topic = cx.broker.topic(&asked.topic);
            let one = |asked: &OffsetForLeaderPartition| {
                let partition = topic
                    .as_ref()
                    .and_then(|topic| topic.partition(asked.partition));
                let Some(partition) = partition else {
                    return failed(asked.partition, ErrorCode::UnknownTopicOrPartition);
                };
                if let Err(code) = partition.check_leader(cx.node, asked.current_leader_epoch) {
                    return failed(asked.partition, code);
                }
                let log = partition.log.lock();
                let (epoch, end) = log
                    .epochs()
                    .end_of(asked.leader_epoch, log.end_offset())
                    .unwrap_or((-1, -1));
                failed(asked.partition, ErrorCode::None)
                    .with_leader_epoch(epoch)
                    .with_end_offset(end)
            };
            let partitions = asked.partitions.iter().map(one).collect();
            OffsetForLeaderTopicResult::default()
                .with_topic(asked.topic.clone())
                .with_partitions(partitions)
        });
        OffsetForLeaderEpochResponse::default().with_topics(topics.collect())
    }

    fn reject(
        _: &Context,
        request: &OffsetForLeaderEpochRequest,
        error: ErrorCode,
    ) -> OffsetForLeaderEpochResponse {
        let topics = request.topics.iter().map(|asked| {
            let partitions = asked
                .partitions
                .iter()
                .map(|asked| failed(asked.partition, error))
                .collect();
            OffsetForLeaderTopicResult::default()
                .with_topic(asked.topic.clone())
                .with_partitions(partitions)
        });
        OffsetForLeaderEpochResponse::default().with_topics(topics.collect())
    }

    fn throttle(response: &mut OffsetForLeaderEpochResponse, ms: i32) {
        response.throttle_time_ms = ms;
    }
}

fn failed(partition: i32, error: ErrorCode) -> EpochEndOffset {
    EpochEndOffset::default()
        .with_partition(partition)
        .with_error_code(error.code())
        .with_leader_epoch(-1)
        .with_end_offset(-1)
}
