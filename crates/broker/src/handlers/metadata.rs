//! Metadata 0–12.
//!
//! v1 adds controller and rack, v2 the cluster id, v4 lets the client forbid auto-creation, v5
//! offline replicas, v7 leader epochs, v8 authorised operations, v9 is flexible, v10 adds topic ids,
//! v12 lets topics be asked by id. Missing: authorised operations are always "all" (no authorizer).

use std::ops::RangeInclusive;
use std::sync::Arc;

use ferrokafka_wire::ErrorCode;
use ferrokafka_wire::messages::metadata_request::MetadataRequestTopic;
use ferrokafka_wire::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use ferrokafka_wire::messages::{BrokerId, MetadataRequest, MetadataResponse, TopicName};
use uuid::Uuid;

use super::text;
use crate::broker::{Broker, NewTopic, NodeId};
use crate::dispatch::{Context, Handler};
use crate::partition::Partition;
use crate::topic::{Topic, name_error};

/// READ, WRITE, CREATE, DELETE, ALTER, DESCRIBE, DESCRIBE_CONFIGS, ALTER_CONFIGS as bits.
const TOPIC_OPERATIONS: i32 =
    1 << 3 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 7 | 1 << 8 | 1 << 10 | 1 << 11;
/// CREATE, ALTER, DESCRIBE, CLUSTER_ACTION, DESCRIBE_CONFIGS, ALTER_CONFIGS, IDEMPOTENT_WRITE as bits.
pub(crate) const CLUSTER_OPERATIONS: i32 =
    1 << 5 | 1 << 7 | 1 << 8 | 1 << 9 | 1 << 10 | 1 << 11 | 1 << 12;

pub(crate) struct Metadata;

impl Handler for Metadata {
    type Request = MetadataRequest;

    const VERSIONS: RangeInclusive<i16> = 0..=12;

    async fn handle(cx: Context, request: MetadataRequest) -> MetadataResponse {
        let topics = match &request.topics {
            None => cx
                .broker
                .topics()
                .iter()
                .map(|topic| describe(&cx, topic))
                .collect(),
            // Version 0 has no null: there an empty list means all.
            Some(asked) if asked.is_empty() && cx.version == 0 => cx
                .broker
                .topics()
                .iter()
                .map(|topic| describe(&cx, topic))
                .collect(),
            Some(asked) => asked
                .iter()
                .map(|asked| one(&cx, &request, asked))
                .collect(),
        };
        finish(&cx, &request, topics)
    }

    fn reject(cx: &Context, request: &MetadataRequest, error: ErrorCode) -> MetadataResponse {
        let topics = request
            .topics
            .iter()
            .flatten()
            .map(|asked| failed(cx, asked, error))
            .collect();
        finish(cx, request, topics)
    }

    fn throttle(response: &mut MetadataResponse, ms: i32) {
        response.throttle_time_ms = ms;
    }
}

fn finish(
    cx: &Context,
    request: &MetadataRequest,
    mut topics: Vec<MetadataResponseTopic>,
) -> MetadataResponse {
    if cx.version >= 8 && request.include_topic_authorized_operations {
        for topic in topics.iter_mut().filter(|topic| topic.error_code == 0) {
            topic.topic_authorized_operations = TOPIC_OPERATIONS;
        }
    }
    let mut response = MetadataResponse::default()
        .with_brokers(brokers(&cx.broker))
        .with_controller_id(BrokerId(cx.broker.controller().unwrap_or(-1)))
        .with_topics(topics);
    if cx.version >= 2 {
        response.cluster_id = Some(text(&cx.broker.cluster_id));
    }
    if (8..=10).contains(&cx.version) && request.include_cluster_authorized_operations {
        response.cluster_authorized_operations = CLUSTER_OPERATIONS;
    }
    response
}

fn brokers(broker: &Broker) -> Vec<MetadataResponseBroker> {
    let rack = broker.config.broker_rack.as_deref().map(text);
    let one = |node: crate::broker::Node| {
        MetadataResponseBroker::default()
            .with_node_id(BrokerId(node.id))
            .with_host(text(&*node.host))
            .with_port(i32::from(node.port))
            .with_rack(rack.clone())
    };
    broker.live_nodes().into_iter().map(one).collect()
}

fn one(
    cx: &Context,
    request: &MetadataRequest,
    asked: &MetadataRequestTopic,
) -> MetadataResponseTopic {
    let Some(name) = &asked.name else {
        return match cx.broker.topic_by_id(&asked.topic_id) {
            Some(topic) => describe(cx, &topic),
            None => failed(cx, asked, ErrorCode::UnknownTopicId),
        };
    };
    if name_error(name).is_some() {
        return failed(cx, asked, ErrorCode::InvalidTopicException);
    }
    if let Some(topic) = cx.broker.topic(name) {
        return describe(cx, &topic);
    }
    let may_create = cx.version < 4 || request.allow_auto_topic_creation;
    if !(may_create && cx.broker.config.auto_create_topics) {
        return failed(cx, asked, ErrorCode::UnknownTopicOrPartition);
    }
    let new = NewTopic {
        name: name.to_string(),
        ..NewTopic::default()
    };
    match cx.broker.create_topic(&new, false) {
        // Or another connection was faster.
        Err(refusal) if refusal.code != ErrorCode::TopicAlreadyExists => {
            failed(cx, asked, refusal.code)
        }
        _ => match cx.broker.topic(name) {
            Some(topic) => describe(cx, &topic),
            None => failed(cx, asked, ErrorCode::UnknownTopicOrPartition),
        },
    }
}

fn failed(cx: &Context, asked: &MetadataRequestTopic, error: ErrorCode) -> MetadataResponseTopic {
    // Below v12 a name cannot be null.
    let name = asked
        .name
        .clone()
        .or_else(|| (cx.version < 12).then(TopicName::default));
    let mut topic = MetadataResponseTopic::default()
        .with_name(name)
        .with_error_code(error.code());
    if cx.version >= 10 {
        topic.topic_id = asked.topic_id;
    }
    topic
}

fn describe(cx: &Context, topic: &Arc<Topic>) -> MetadataResponseTopic {
    let partitions = topic
        .partitions
        .read()
        .iter()
        .map(|partition| describe_partition(cx, partition))
        .collect();
    MetadataResponseTopic::default()
        .with_name(Some(TopicName(text(&*topic.name))))
        .with_topic_id(if cx.version >= 10 {
            topic.id
        } else {
            Uuid::nil()
        })
        .with_partitions(partitions)
}

fn describe_partition(cx: &Context, partition: &Partition) -> MetadataResponsePartition {
    let leadership = partition.leadership();
    let ids = |ids: &[NodeId]| ids.iter().copied().map(BrokerId).collect::<Vec<_>>();
    let error = if leadership.leader.is_some() {
        ErrorCode::None
    } else {
        ErrorCode::LeaderNotAvailable
    };
    let mut described = MetadataResponsePartition::default()
        .with_error_code(error.code())
        .with_partition_index(partition.index)
        .with_leader_id(BrokerId(leadership.leader.unwrap_or(-1)))
        .with_replica_nodes(ids(&leadership.replicas))
        .with_isr_nodes(ids(&leadership.isr));
    if cx.version >= 5 {
        let live = cx.broker.live_nodes();
        let dead = leadership
            .replicas
            .iter()
            .filter(|id| live.iter().all(|node| node.id != **id));
        described.offline_replicas = dead.copied().map(BrokerId).collect();
    }
    if cx.version >= 7 {
        described.leader_epoch = leadership.leader_epoch;
    }
    described
}
