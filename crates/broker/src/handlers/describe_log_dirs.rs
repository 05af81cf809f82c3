//! DescribeLogDirs 1–4; v2 is flexible, v3 adds an error for the whole, v4 the size of the volume
//! (unknown here: −1).

use std::ops::RangeInclusive;

use ferrokafka_wire::ErrorCode;
use ferrokafka_wire::messages::describe_log_dirs_response::{
    DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic,
};
use ferrokafka_wire::messages::{DescribeLogDirsRequest, DescribeLogDirsResponse, TopicName};

use super::text;
use crate::dispatch::{Context, Handler};
use crate::topic::Topic;

pub(crate) struct DescribeLogDirs;

impl Handler for DescribeLogDirs {
    type Request = DescribeLogDirsRequest;

    const VERSIONS: RangeInclusive<i16> = 1..=4;

    async fn handle(cx: Context, request: DescribeLogDirsRequest) -> DescribeLogDirsResponse {
        let asked_for = |topic: &Topic, index: i32| match &request.topics {
            None => true,
            Some(asked) => asked
                .iter()
                .any(|asked| *asked.topic == *topic.name && asked.partitions.contains(&index)),
        };
        let mut topics = Vec::new();
        for topic in cx.broker.topics() {
            let mut partitions = Vec::new();
            for partition in topic
                .partitions
                .read()
                .iter()
                .filter(|partition| asked_for(&topic, partition.index))
            {
                // A node has what it is a replica of, though all replicas share one log.
                if partition.leadership().replicas.contains(&cx.node) {
                    let size = i64::try_from(partition.log.lock().size()).unwrap_or(i64::MAX);
                    let described =
                        DescribeLogDirsPartition::default().with_partition_index(partition.index);
                    partitions.push(described.with_partition_size(size));
                }
            }
            if !partitions.is_empty() {
                let name = TopicName(text(&*topic.name));
                topics.push(
                    DescribeLogDirsTopic::default()
                        .with_name(name)
                        .with_partitions(partitions),
                );
            }
        }
        let directory = text(cx.broker.storage.location());
        let result = DescribeLogDirsResult::default()
            .with_log_dir(directory)
            .with_topics(topics);
        DescribeLogDirsResponse::default().with_results(vec![result])
    }

    fn reject(
        cx: &Context,
        _: &DescribeLogDirsRequest,
        error: ErrorCode,
    ) -> DescribeLogDirsResponse {
        let response = DescribeLogDirsResponse::default();
        if cx.version >= 3 {
            response.with_error_code(error.code())
        } else {
            response
        }
    }

    fn throttle(response: &mut DescribeLogDirsResponse, ms: i32) {
        response.throttle_time_ms = ms;
    }
}
