//! DeleteRecords 0–2; v2 is flexible. Offset −1 means the high watermark.

use std::ops::RangeInclusive;

use ferrokafka_wire::ErrorCode;
use ferrokafka_wire::messages::delete_records_request::DeleteRecordsPartition;
use ferrokafka_wire::messages::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsTopicResult,
};
use ferrokafka_wire::messages::{DeleteRecordsRequest, DeleteRecordsResponse};

use crate::dispatch::{Context, Handler};
use crate::topic::Topic;

pub(crate) struct DeleteRecords;

impl Handler for DeleteRecords {
    type Request = DeleteRecordsRequest;

    const VERSIONS: RangeInclusive<i16> = 0..=2;

    async fn handle(cx: Context, request: DeleteRecordsRequest) -> DeleteRecordsResponse {
        let topics = request.topics.iter().map(|asked| {
            let topic = cx.broker.topic(&asked.name);
            let partitions = asked
                .partitions
                .iter()
                .map(|asked| result(asked, delete(&cx, topic.as_deref(), asked)));
            DeleteRecordsTopicResult::default()
                .with_name(asked.name.clone())
                .with_partitions(partitions.collect())
        });
        DeleteRecordsResponse::default().with_topics(topics.collect())
    }

    fn reject(
        _: &Context,
        request: &DeleteRecordsRequest,
        error: ErrorCode,
    ) -> DeleteRecordsResponse {
        let topics = request.topics.iter().map(|asked| {
            let partitions = asked
                .partitions
                .iter()
                .map(|asked| result(asked, Err(error)));
            DeleteRecordsTopicResult::default()
                .with_name(asked.name.clone())
                .with_partitions(partitions.collect())
        });
        DeleteRecordsResponse::default().with_topics(topics.collect())
    }

    fn throttle(response: &mut DeleteRecordsResponse, ms: i32) {
        response.throttle_time_ms = ms;
    }
}

fn result(
    asked: &DeleteRecordsPartition,
    deleted: Result<i64, ErrorCode>,
) -> DeleteRecordsPartitionResult {
    let error = deleted.err().unwrap_or(ErrorCode::None);
    DeleteRecordsPartitionResult::default()
        .with_partition_index(asked.partition_index)
        .with_low_watermark(deleted.unwrap_or(-1))
        .with_error_code(error.code())
}

/// Returns where the log starts now.
fn delete(
    cx: &Context,
    topic: Option<&Topic>,
    asked: &DeleteRecordsPartition,
) -> Result<i64, ErrorCode> {
    let topic = topic.ok_or(ErrorCode::UnknownTopicOrPartition)?;
    let partition = topic
        .partition(asked.partition_index)
        .ok_or(ErrorCode::UnknownTopicOrPartition)?;
    partition.check_leader(cx.node, -1)?;
    let policy = topic.settings().effective.cleanup_policy;
    if policy.compact && !policy.delete {
        return Err(ErrorCode::PolicyViolation);
    }
    let mut log = partition.log.lock();
    let offset = if asked.offset == -1 {
        log.end_offset()
    } else {
        asked.offset
    };
    if offset < 0 || offset > log.end_offset() {
        return Err(ErrorCode::OffsetOutOfRange);
    }
    log.delete_before(offset).map_err(|error| {
        tracing::error!(partition = partition.name, %error, "records cannot be deleted");
        ErrorCode::KafkaStorageError
    })?;
    Ok(log.start_offset())
}
