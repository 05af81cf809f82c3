//! OffsetFetch 1–9.
//!
//! v2 adds the error of the group and "all topics", v3 the throttle time, v4 nothing, v5 the leader
//! epoch (KIP-320), v6 is flexible, v7 adds `require_stable` (KIP-447), v8 asks for several groups
//! (KIP-709), v9 carries the epoch of members of the newer group protocol (KIP-848), which classic
//! groups ignore. Without transactions every offset is stable. Missing: v10 (topic ids).

use std::ops::RangeInclusive;

use ferrokafka_wire::ErrorCode;
use ferrokafka_wire::messages::offset_fetch_request::OffsetFetchRequestGroup;
use ferrokafka_wire::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use ferrokafka_wire::messages::{GroupId, OffsetFetchRequest, OffsetFetchResponse, TopicName};

use super::coordinator_check::coordinates;
use super::text;
use crate::dispatch::{Context, Handler};
use crate::group::offsets::{CommittedOffset, Offsets};

pub(crate) struct OffsetFetch;

/// Topics with the partitions asked for; `None` for everything there is.
type Asked = Option<Vec<(TopicName, Vec<i32>)>>;

/// Topics with partitions and what is committed for each, if anything.
type Found = Vec<(TopicName, Vec<(i32, Option<CommittedOffset>)>)>;

impl Handler for OffsetFetch {
    type Request = OffsetFetchRequest;

    const VERSIONS: RangeInclusive<i16> = 1..=9;

    async fn handle(cx: Context, request: OffsetFetchRequest) -> OffsetFetchResponse {
        if cx.version >= 8 {
            let groups = request.groups.into_iter().map(|group| {
                let OffsetFetchRequestGroup {
                    group_id, topics, ..
                } = group;
                let asked = topics.map(|topics| {
                    topics
                        .into_iter()
                        .map(|topic| (topic.name, topic.partition_indexes))
                        .collect()
                });
                answer_group(group_id.clone(), find(&cx, &group_id, asked))
            });
            return OffsetFetchResponse::default().with_groups(groups.collect());
        }
        match find(&cx, &request.group_id, asked(&request)) {
            Ok(found) => answer(cx.version, found, ErrorCode::None),
            Err(code) => Self::reject(&cx, &request, code),
        }
    }

    fn reject(cx: &Context, request: &OffsetFetchRequest, error: ErrorCode) -> OffsetFetchResponse {
        match cx.version {
            8.. => {
                let groups = request.groups.iter();
                let groups = groups.map(|group| answer_group(group.group_id.clone(), Err(error)));
                OffsetFetchResponse::default().with_groups(groups.collect())
            }
            2.. => OffsetFetchResponse::default().with_error_code(error.code()),
            // No place for the group's error: every partition carries it.
            _ => answer(
                cx.version,
                nothing(asked(request).unwrap_or_default()),
                error,
            ),
        }
    }

    fn throttle(response: &mut OffsetFetchResponse, ms: i32) {
        response.throttle_time_ms = ms;
    }
}

fn asked(request: &OffsetFetchRequest) -> Asked {
    let topics = request.topics.as_ref()?.iter();
    Some(
        topics
            .map(|topic| (topic.name.clone(), topic.partition_indexes.clone()))
            .collect(),
    )
}

fn find(cx: &Context, group: &GroupId, asked: Asked) -> Result<Found, ErrorCode> {
    coordinates(cx, group)?;
    // A group that does not exist has committed nothing; that is no error.
    Ok(match asked {
        Some(asked) => {
            let found = cx
                .broker
                .groups
                .read(group, |group| pick(&group.offsets, &asked));
            found.unwrap_or_else(|| nothing(asked))
        }
        None => cx
            .broker
            .groups
            .read(group, |group| everything(&group.offsets))
            .unwrap_or_default(),
    })
}

fn pick(offsets: &Offsets, asked: &[(TopicName, Vec<i32>)]) -> Found {
    let topics = asked.iter().map(|(topic, partitions)| {
        let committed = |index: &i32| (*index, offsets.get(topic, *index).cloned());
        (topic.clone(), partitions.iter().map(committed).collect())
    });
    topics.collect()
}

fn everything(offsets: &Offsets) -> Found {
    let mut found: Found = Vec::new();
    for (topic, partition, committed) in offsets.iter() {
        let entry = (partition, Some(committed.clone()));
        match found.last_mut() {
            Some((last, partitions)) if ***last == **topic => partitions.push(entry),
            _ => found.push((TopicName(text(&**topic)), vec![entry])),
        }
    }
    found
}

fn nothing(asked: Vec<(TopicName, Vec<i32>)>) -> Found {
    let none = |(topic, partitions): (TopicName, Vec<i32>)| {
        (
            topic,
            partitions
                .into_iter()
                .map(|partition| (partition, None))
                .collect(),
        )
    };
    asked.into_iter().map(none).collect()
}

fn answer(version: i16, found: Found, error: ErrorCode) -> OffsetFetchResponse {
    let topics = found.into_iter().map(|(name, partitions)| {
        let partitions = partitions.into_iter().map(|(index, committed)| {
            let epoch = committed
                .as_ref()
                .map_or(-1, |committed| committed.leader_epoch);
            OffsetFetchResponsePartition::default()
                .with_partition_index(index)
                .with_committed_offset(committed.as_ref().map_or(-1, |committed| committed.offset))
                .with_committed_leader_epoch(if version >= 5 { epoch } else { -1 })
                .with_metadata(Some(text(
                    committed.map_or_else(String::new, |c| c.metadata.to_string()),
                )))
                .with_error_code(error.code())
        });
        OffsetFetchResponseTopic::default()
            .with_name(name)
            .with_partitions(partitions.collect())
    });
    OffsetFetchResponse::default().with_topics(topics.collect())
}

fn answer_group(group: GroupId, found: Result<Found, ErrorCode>) -> OffsetFetchResponseGroup {
    let error = found.as_ref().err().copied().unwrap_or(ErrorCode::None);
    let topics = found
        .unwrap_or_default()
        .into_iter()
        .map(|(name, partitions)| {
            let partitions = partitions.into_iter().map(|(index, committed)| {
                OffsetFetchResponsePartitions::default()
                    .with_partition_index(index)
                    .with_committed_offset(
                        committed.as_ref().map_or(-1, |committed| committed.offset),
                    )
                    .with_committed_leader_epoch(committed.as_ref().map_or(-1, |c| c.leader_epoch))
                    .with_metadata(Some(text(
                        committed.map_or_else(String::new, |c| c.metadata.to_string()),
                    )))
            });
            OffsetFetchResponseTopics::default()
                .with_name(name)
                .with_partitions(partitions.collect())
        });
    OffsetFetchResponseGroup::default()
        .with_group_id(group)
        .with_topics(topics.collect())
        .with_error_code(error.code())
}
