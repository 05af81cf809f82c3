//! OffsetCommit 2–9.
//!
//! v3 adds the throttle time, v4 nothing, v5 drops the retention time, v6 adds the leader epoch
//! (KIP-320), v7 static members (KIP-345), v8 is flexible, v9 is for members of the newer group
//! protocol (KIP-848) and the same to classic ones. Missing: v10 (topic ids).

use std::ops::RangeInclusive;

use ferrokafka_wire::ErrorCode;
use ferrokafka_wire::messages::offset_commit_request::OffsetCommitRequestTopic;
use ferrokafka_wire::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use ferrokafka_wire::messages::{OffsetCommitRequest, OffsetCommitResponse};

use super::coordinator_check::coordinates;
use crate::dispatch::{Context, Handler};
use crate::group::Name;
use crate::group::classic::Claim;
use crate::group::commits::{CommitOffset, CommitRequest};

pub(crate) struct OffsetCommit;

impl Handler for OffsetCommit {
    type Request = OffsetCommitRequest;

    const VERSIONS: RangeInclusive<i16> = 2..=9;

    async fn handle(cx: Context, request: OffsetCommitRequest) -> OffsetCommitResponse {
        if let Err(code) = coordinates(&cx, &request.group_id) {
            return Self::reject(&cx, &request, code);
        }
        // Kafka asks for the topic only, not for the partition.
        let known: Vec<bool> = request
            .topics
            .iter()
            .map(|topic| cx.broker.topic(&topic.name).is_some())
            .collect();
        let commit = read(&cx, &request, &known);
        let results = match commit.offsets.len() {
            0 => Ok(Vec::new()),
            _ => cx.broker.groups.commit(&request.group_id, commit).await,
        };
        let mut codes = results
            .as_ref()
            .map(|codes| codes.iter())
            .map_err(|code| *code);
        let topics = request.topics.into_iter().zip(known).map(|(topic, known)| {
            answer(topic, || match (known, &mut codes) {
                (false, _) => ErrorCode::UnknownTopicOrPartition,
                (true, Err(code)) => *code,
                (true, Ok(codes)) => codes
                    .next()
                    .copied()
                    .unwrap_or(ErrorCode::UnknownServerError),
            })
        });
        OffsetCommitResponse::default().with_topics(topics.collect())
    }

    fn reject(
        _: &Context,
        request: &OffsetCommitRequest,
        error: ErrorCode,
    ) -> OffsetCommitResponse {
        let topics = request
            .topics
            .iter()
            .map(|topic| answer(topic.clone(), || error));
        OffsetCommitResponse::default().with_topics(topics.collect())
    }

    fn throttle(response: &mut OffsetCommitResponse, ms: i32) {
        response.throttle_time_ms = ms;
    }
}

/// The part of the request that concerns topics which exist.
fn read(cx: &Context, request: &OffsetCommitRequest, known: &[bool]) -> CommitRequest {
    let known_topics = request
        .topics
        .iter()
        .zip(known)
        .filter(|(_, known)| **known);
    let offsets = known_topics.flat_map(|(topic, _)| {
        let name = Name::from(&**topic.name);
        topic.partitions.iter().map(move |partition| CommitOffset {
            topic: name.clone(),
            partition: partition.partition_index,
            offset: partition.committed_offset,
            leader_epoch: if cx.version >= 6 {
                partition.committed_leader_epoch
            } else {
                -1
            },
            metadata: partition
                .committed_metadata
                .as_deref()
                .unwrap_or_default()
                .into(),
        })
    });
    CommitRequest {
        claim: Claim {
            member: (&*request.member_id).into(),
            instance: request.group_instance_id.as_deref().map(Name::from),
            generation: request.generation_id_or_member_epoch,
        },
        retention_ms: Some(request.retention_time_ms).filter(|ms| cx.version <= 4 && *ms >= 0),
        offsets: offsets.collect(),
    }
}

fn answer(
    topic: OffsetCommitRequestTopic,
    mut code: impl FnMut() -> ErrorCode,
) -> OffsetCommitResponseTopic {
    let partitions = topic.partitions.iter().map(|partition| {
        OffsetCommitResponsePartition::default()
            .with_partition_index(partition.partition_index)
            .with_error_code(code().code())
    });
    OffsetCommitResponseTopic::default()
        .with_partitions(partitions.collect())
        .with_name(topic.name)
}
