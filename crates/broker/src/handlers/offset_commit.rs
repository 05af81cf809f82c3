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
        // Whether each partition exists, in the order of the request.
        let mut known = Vec::new();
        for asked in &request.topics {
            let topic = cx.broker.topic(&asked.name);
            known.extend(asked.partitions.iter().map(|asked| {
                let topic = topic.as_ref();
                topic.is_some_and(|topic| topic.partition(asked.partition_index).is_some())
            }));
        }
        let commit = read(&cx, &request, &known);
        let results = match commit.offsets.len() {
            0 => Ok(Vec::new()),
            _ => cx.broker.groups.commit(&request.group_id, commit).await,
        };
        let mut codes = results
            .as_ref()
            .map(|codes| codes.iter())
            .map_err(|code| *code);
        let mut known = known.into_iter();
        let mut next = || match (known.next(), &mut codes) {
            (None | Some(false), _) => ErrorCode::UnknownTopicOrPartition,
            (Some(true), Err(code)) => *code,
            (Some(true), Ok(codes)) => codes
                .next()
                .copied()
                .unwrap_or(ErrorCode::UnknownServerError),
        };
        let topics = request.topics.into_iter();
        let topics = topics.map(|topic| answer(topic, &mut next));
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

/// The part of the request that concerns partitions which exist.
fn read(cx: &Context, request: &OffsetCommitRequest, known: &[bool]) -> CommitRequest {
    let asked = request.topics.iter().flat_map(|topic| {
        let name = Name::from(&**topic.name);
        let partitions = topic.partitions.iter();
        partitions.map(move |partition| (name.clone(), partition))
    });
    let known = asked.zip(known).filter(|(_, known)| **known);
    let offsets = known.map(|((topic, partition), _)| CommitOffset {
        topic,
        partition: partition.partition_index,
        offset: partition.committed_offset,
        leader_epoch: match cx.version {
            6.. => partition.committed_leader_epoch,
            _ => -1,
        },
        metadata: partition
            .committed_metadata
            .as_deref()
            .unwrap_or_default()
            .into(),
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
