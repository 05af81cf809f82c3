//! CreatePartitions 0–3; v2 is flexible, v3 allows `THROTTLING_QUOTA_EXCEEDED`.

use std::ops::RangeInclusive;

use ferrokafka_wire::ErrorCode;
use ferrokafka_wire::messages::create_partitions_request::CreatePartitionsTopic;
use ferrokafka_wire::messages::create_partitions_response::CreatePartitionsTopicResult;
use ferrokafka_wire::messages::{CreatePartitionsRequest, CreatePartitionsResponse};

use super::text;
use crate::broker::Refusal;
use crate::dispatch::{Context, Handler};

pub(crate) struct CreatePartitions;

impl Handler for CreatePartitions {
    type Request = CreatePartitionsRequest;

    const VERSIONS: RangeInclusive<i16> = 0..=3;

    async fn handle(cx: Context, request: CreatePartitionsRequest) -> CreatePartitionsResponse {
        let one = |asked: &CreatePartitionsTopic| {
            let twice = request
                .topics
                .iter()
                .filter(|other| other.name == asked.name)
                .count()
                > 1;
            let assignments = asked.assignments.as_ref().map(|assignments| {
                assignments
                    .iter()
                    .map(|one| one.broker_ids.iter().map(|id| id.0).collect())
                    .collect()
            });
            let added = if twice {
                Err(Refusal::new(
                    ErrorCode::InvalidRequest,
                    "Duplicate topic name.",
                ))
            } else {
                cx.broker.add_partitions(
                    &asked.name,
                    asked.count,
                    assignments,
                    request.validate_only,
                )
            };
            result(asked, added.err())
        };
        CreatePartitionsResponse::default().with_results(request.topics.iter().map(one).collect())
    }

    fn reject(
        _: &Context,
        request: &CreatePartitionsRequest,
        error: ErrorCode,
    ) -> CreatePartitionsResponse {
        let refusal = Refusal::new(error, error.message());
        let results = request
            .topics
            .iter()
            .map(|asked| result(asked, Some(refusal.clone())));
        CreatePartitionsResponse::default().with_results(results.collect())
    }

    fn throttle(response: &mut CreatePartitionsResponse, ms: i32) {
        response.throttle_time_ms = ms;
    }
}

fn result(asked: &CreatePartitionsTopic, refusal: Option<Refusal>) -> CreatePartitionsTopicResult {
    let result = CreatePartitionsTopicResult::default().with_name(asked.name.clone());
    match refusal {
        None => result,
        Some(refusal) => result
            .with_error_code(refusal.code.code())
            .with_error_message(Some(text(refusal.message))),
    }
}
