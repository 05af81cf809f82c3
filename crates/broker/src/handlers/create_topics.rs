//! CreateTopics 2–7.
//!
//! v4 lets partitions and replication factor be -1 for the broker's defaults, v5 is flexible and
//! returns the settings, v7 returns the topic id. Every node answers, as Kafka 4's brokers forward
//! to their controller. Missing: no creation policy, no throttling.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use ferrokafka_wire::ErrorCode;
use ferrokafka_wire::messages::create_topics_request::CreatableTopic;
use ferrokafka_wire::messages::create_topics_response::{
    CreatableTopicConfigs, CreatableTopicResult,
};
use ferrokafka_wire::messages::{CreateTopicsRequest, CreateTopicsResponse};

use super::text;
use crate::broker::{Created, NewTopic, Refusal};
use crate::dispatch::{Context, Handler};

pub(crate) struct CreateTopics;

impl Handler for CreateTopics {
    type Request = CreateTopicsRequest;

    const VERSIONS: RangeInclusive<i16> = 2..=7;

    async fn handle(cx: Context, request: CreateTopicsRequest) -> CreateTopicsResponse {
        let results = request.topics.iter().map(|topic| {
            let twice = request
                .topics
                .iter()
                .filter(|other| other.name == topic.name)
                .count()
                > 1;
            let created = if twice {
                Err(Refusal::new(
                    ErrorCode::InvalidRequest,
                    "Duplicate topic name.",
                ))
            } else {
                parse(&cx, topic)
                    .and_then(|new| cx.broker.create_topic(&new, request.validate_only))
            };
            match created {
                Ok(created) => success(&cx, topic, &created),
                Err(refusal) => failure(&cx, topic, &refusal),
            }
        });
        CreateTopicsResponse::default().with_topics(results.collect())
    }

    fn reject(
        cx: &Context,
        request: &CreateTopicsRequest,
        error: ErrorCode,
    ) -> CreateTopicsResponse {
        let refusal = Refusal::new(error, error.message());
        let results = request
            .topics
            .iter()
            .map(|topic| failure(cx, topic, &refusal))
            .collect();
        CreateTopicsResponse::default().with_topics(results)
    }

    fn throttle(response: &mut CreateTopicsResponse, ms: i32) {
        response.throttle_time_ms = ms;
    }
}

fn parse(cx: &Context, topic: &CreatableTopic) -> Result<NewTopic, Refusal> {
    let mut configs = BTreeMap::new();
    for config in &topic.configs {
        let value = config.value.as_ref().ok_or_else(|| {
            Refusal::new(
                ErrorCode::InvalidConfig,
                format!(
                    "Null value not supported for topic configs: {}",
                    config.name
                ),
            )
        })?;
        configs.insert(config.name.to_string(), value.to_string());
    }
    // Below v4 -1 stands only beside a manual assignment.
    let may_default = cx.version >= 4 || !topic.assignments.is_empty();
    Ok(NewTopic {
        name: topic.name.to_string(),
        partitions: Some(topic.num_partitions).filter(|n| *n != -1 || !may_default),
        replication_factor: Some(topic.replication_factor).filter(|n| *n != -1 || !may_default),
        assignments: topic
            .assignments
            .iter()
            .map(|a| {
                (
                    a.partition_index,
                    a.broker_ids.iter().map(|id| id.0).collect(),
                )
            })
            .collect(),
        configs,
    })
}

fn success(cx: &Context, asked: &CreatableTopic, created: &Created) -> CreatableTopicResult {
    let mut result = CreatableTopicResult::default().with_name(asked.name.clone());
    if cx.version >= 7 {
        result.topic_id = created.id;
    }
    if cx.version >= 5 {
        result.num_partitions = created.partitions;
        result.replication_factor = created.replication_factor;
        result.configs = Some(configs(created));
    }
    result
}

fn configs(created: &Created) -> Vec<CreatableTopicConfigs> {
    let one = |row: crate::config::Row| {
        let overridden = created.settings.overrides.contains_key(row.key);
        CreatableTopicConfigs::default()
            .with_name(text(row.key))
            .with_value(row.value.map(text))
            .with_config_source(if overridden { 1 } else { 5 })
    };
    created
        .settings
        .effective
        .rows()
        .into_iter()
        .map(one)
        .collect()
}

fn failure(cx: &Context, topic: &CreatableTopic, refusal: &Refusal) -> CreatableTopicResult {
    let mut result = CreatableTopicResult::default()
        .with_name(topic.name.clone())
        .with_error_code(refusal.code.code())
        .with_error_message(Some(text(&refusal.message)));
    if cx.version >= 5 {
        result.configs = None;
        result.num_partitions = -1;
        result.replication_factor = -1;
    }
    result
}
