//! OffsetDelete 0. Nothing is missing.

use std::ops::RangeInclusive;

use ferrokafka_wire::ErrorCode;
use ferrokafka_wire::messages::offset_delete_response::{
    OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use ferrokafka_wire::messages::{OffsetDeleteRequest, OffsetDeleteResponse};

use super::coordinator_check::coordinates_members;
use crate::dispatch::{Context, Handler};
use crate::group::Name;

pub(crate) struct OffsetDelete;

impl Handler for OffsetDelete {
    type Request = OffsetDeleteRequest;

    const VERSIONS: RangeInclusive<i16> = 0..=0;

    async fn handle(cx: Context, request: OffsetDeleteRequest) -> OffsetDeleteResponse {
        if let Err(code) = coordinates_members(&cx, &request.group_id) {
            return Self::reject(&cx, &request, code);
        }
        let exists = |topic: &str| cx.broker.topic(topic).is_some();
        let partitions = request
            .topics
            .iter()
            .filter(|topic| exists(&topic.name))
            .flat_map(|topic| {
                let name = Name::from(&**topic.name);
                topic
                    .partitions
                    .iter()
                    .map(move |partition| (name.clone(), partition.partition_index))
            });
        let partitions: Vec<(Name, i32)> = partitions.collect();
        let codes = match cx
            .broker
            .groups
            .delete_offsets(&request.group_id, partitions.clone())
            .await
        {
            Err(code) => return Self::reject(&cx, &request, code),
            Ok(codes) => codes,
        };
        // A partition may be asked for twice: look results up by name, not by place.
        let result = |topic: &str, partition: i32| {
            let place = partitions
                .iter()
                .position(|(name, index)| &**name == topic && *index == partition);
            place
                .and_then(|place| codes.get(place))
                .copied()
                .unwrap_or(ErrorCode::UnknownTopicOrPartition)
        };
        let topics = request.topics.iter().map(|topic| {
            let results = topic.partitions.iter().map(|partition| {
                OffsetDeleteResponsePartition::default()
                    .with_partition_index(partition.partition_index)
                    .with_error_code(result(&topic.name, partition.partition_index).code())
            });
            OffsetDeleteResponseTopic::default()
                .with_name(topic.name.clone())
                .with_partitions(results.collect())
        });
        OffsetDeleteResponse::default().with_topics(topics.collect())
    }

    fn reject(_: &Context, _: &OffsetDeleteRequest, error: ErrorCode) -> OffsetDeleteResponse {
        OffsetDeleteResponse::default().with_error_code(error.code())
    }

    fn throttle(response: &mut OffsetDeleteResponse, ms: i32) {
        response.throttle_time_ms = ms;
    }
}
