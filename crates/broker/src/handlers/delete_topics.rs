//! DeleteTopics 1–6.
//!
//! v4 is flexible, v5 adds messages, v6 lets topics be named by id.

use std::ops::RangeInclusive;

use ferrokafka_wire::ErrorCode;
use ferrokafka_wire::messages::delete_topics_response::DeletableTopicResult;
use ferrokafka_wire::messages::{DeleteTopicsRequest, DeleteTopicsResponse, TopicName};
use uuid::Uuid;

use super::text;
use crate::broker::Refusal;
use crate::dispatch::{Context, Handler};

pub(crate) struct DeleteTopics;

impl Handler for DeleteTopics {
    type Request = DeleteTopicsRequest;

    const VERSIONS: RangeInclusive<i16> = 1..=6;

    async fn handle(cx: Context, request: DeleteTopicsRequest) -> DeleteTopicsResponse {
        let results = asked(&cx, &request)
            .into_iter()
            .map(|(name, id)| delete(&cx, name, id))
            .collect();
        DeleteTopicsResponse::default().with_responses(results)
    }

    fn reject(
        cx: &Context,
        request: &DeleteTopicsRequest,
        error: ErrorCode,
    ) -> DeleteTopicsResponse {
        let refusal = Refusal::new(error, error.message());
        let results = asked(cx, request)
            .into_iter()
            .map(|(name, id)| result(cx, name, id, Some(&refusal)))
            .collect();
        DeleteTopicsResponse::default().with_responses(results)
    }

    fn throttle(response: &mut DeleteTopicsResponse, ms: i32) {
        response.throttle_time_ms = ms;
    }
}

/// Names and ids, wherever this version keeps them.
fn asked(cx: &Context, request: &DeleteTopicsRequest) -> Vec<(Option<TopicName>, Uuid)> {
    if cx.version >= 6 {
        request
            .topics
            .iter()
            .map(|topic| (topic.name.clone(), topic.topic_id))
            .collect()
    } else {
        request
            .topic_names
            .iter()
            .map(|name| (Some(name.clone()), Uuid::nil()))
            .collect()
    }
}

fn delete(cx: &Context, name: Option<TopicName>, id: Uuid) -> DeletableTopicResult {
    if !cx.broker.config.delete_topic {
        let refusal = Refusal::new(
            ErrorCode::TopicDeletionDisabled,
            ErrorCode::TopicDeletionDisabled.message(),
        );
        return result(cx, name, id, Some(&refusal));
    }
    let name = match (name, cx.broker.topic_by_id(&id)) {
        (Some(name), _) => name,
        (None, Some(topic)) => TopicName(text(&*topic.name)),
        (None, None) => {
            let refusal = Refusal::new(
                ErrorCode::UnknownTopicId,
                ErrorCode::UnknownTopicId.message(),
            );
            return result(cx, None, id, Some(&refusal));
        }
    };
    match cx.broker.delete_topic(&name) {
        Ok(topic) => result(cx, Some(name), topic.id, None),
        Err(refusal) => result(cx, Some(name), id, Some(&refusal)),
    }
}

fn result(
    cx: &Context,
    name: Option<TopicName>,
    id: Uuid,
    refusal: Option<&Refusal>,
) -> DeletableTopicResult {
    let mut result = DeletableTopicResult::default().with_name(name);
    if cx.version >= 6 {
        result.topic_id = id;
    }
    if let Some(refusal) = refusal {
        result.error_code = refusal.code.code();
        if cx.version >= 5 {
            result.error_message = Some(text(&refusal.message));
        }
    }
    result
}
