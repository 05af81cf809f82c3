//! ListOffsets 1–9.
//!
//! v1 answers one offset, v2 adds the isolation level, v4 leader epochs, v6 is flexible, v7 finds the
//! record with the largest timestamp (−3), v8 the earliest local offset (−4), v9 the last tiered one
//! (−5, of which there is none here). −1 is the end, −2 the start of the log.

use std::ops::RangeInclusive;

use ferrokafka_wire::ErrorCode;
use ferrokafka_wire::messages::list_offsets_request::ListOffsetsPartition;
use ferrokafka_wire::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use ferrokafka_wire::messages::{ListOffsetsRequest, ListOffsetsResponse};

use crate::dispatch::{Context, Handler};
use crate::partition::Partition;
use crate::storage::Log;
use crate::storage::log::Found;

pub(crate) struct ListOffsets;

impl Handler for ListOffsets {
    type Request = ListOffsetsRequest;

    const VERSIONS: RangeInclusive<i16> = 1..=9;

    async fn handle(cx: Context, request: ListOffsetsRequest) -> ListOffsetsResponse {
        let topics = request.topics.iter().map(|asked| {
            let topic = cx.broker.topic(&asked.name);
            let one = |asked: &ListOffsetsPartition| match topic
                .as_ref()
                .and_then(|topic| topic.partition(asked.partition_index))
            {
                Some(partition) => answer(&cx, asked, &partition),
                None => failed(asked.partition_index, ErrorCode::UnknownTopicOrPartition),
            };
            let partitions = asked.partitions.iter().map(one).collect();
            ListOffsetsTopicResponse::default()
                .with_name(asked.name.clone())
                .with_partitions(partitions)
        });
        ListOffsetsResponse::default().with_topics(topics.collect())
    }

    fn reject(_: &Context, request: &ListOffsetsRequest, error: ErrorCode) -> ListOffsetsResponse {
        let topics = request.topics.iter().map(|topic| {
            let partitions = topic
                .partitions
                .iter()
                .map(|asked| failed(asked.partition_index, error))
                .collect();
            ListOffsetsTopicResponse::default()
                .with_name(topic.name.clone())
                .with_partitions(partitions)
        });
        ListOffsetsResponse::default().with_topics(topics.collect())
    }

    fn throttle(response: &mut ListOffsetsResponse, ms: i32) {
        response.throttle_time_ms = ms;
    }
}

fn failed(index: i32, error: ErrorCode) -> ListOffsetsPartitionResponse {
    ListOffsetsPartitionResponse::default()
        .with_partition_index(index)
        .with_error_code(error.code())
        .with_timestamp(-1)
        .with_offset(-1)
}

fn answer(
    cx: &Context,
    asked: &ListOffsetsPartition,
    partition: &Partition,
) -> ListOffsetsPartitionResponse {
    let index = asked.partition_index;
    let current_epoch = if cx.version >= 4 {
        asked.current_leader_epoch
    } else {
        -1
    };
    let epoch = match partition.check_leader(cx.node, current_epoch) {
        Ok(epoch) => epoch,
        Err(code) => return failed(index, code),
    };
    let log = partition.log.lock();
    let found = match look_up(cx.version, asked.timestamp, &log, epoch) {
        Ok(found) => found,
        Err(code) => return failed(index, code),
    };
    let mut answer = failed(index, ErrorCode::None);
    if let Some(found) = found {
        answer.offset = found.offset;
        answer.timestamp = found.timestamp;
        if cx.version >= 4 {
            answer.leader_epoch = found.leader_epoch;
        }
    }
    answer
}

fn look_up(
    version: i16,
    timestamp: i64,
    log: &Log,
    epoch: i32,
) -> Result<Option<Found>, ErrorCode> {
    let at = |offset: i64| {
        let leader_epoch = log.epochs().at(offset).unwrap_or(epoch);
        Ok(Some(Found {
            offset,
            timestamp: -1,
            leader_epoch,
        }))
    };
    let found = match timestamp {
        -1 => {
            return Ok(Some(Found {
                offset: log.end_offset(),
                timestamp: -1,
                leader_epoch: epoch,
            }));
        }
        -2 => return at(log.start_offset()),
        -3 if version >= 7 => log.find_newest(),
        -4 if version >= 8 => return at(log.start_offset()),
        -5 if version >= 9 => return Ok(None),
        timestamp if timestamp >= 0 => log.find_timestamp(timestamp),
        _ => return Err(ErrorCode::UnsupportedVersion),
    };
    found.map_err(|error| {
        tracing::error!(%error, "log cannot be searched");
        ErrorCode::KafkaStorageError
    })
}
