//! DescribeConfigs 1–4; v1 adds sources and synonyms, v3 types and documentation, v4 is flexible.
//!
//! Missing: resources other than topics and brokers; broker settings that were changed at run time
//! (they cannot be).

use std::ops::RangeInclusive;

use ferrokafka_wire::ErrorCode;
use ferrokafka_wire::messages::describe_configs_request::DescribeConfigsResource;
use ferrokafka_wire::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
};
use ferrokafka_wire::messages::{DescribeConfigsRequest, DescribeConfigsResponse};

use super::text;
use crate::broker::Refusal;
use crate::config::{Row, topic::broker_synonyms};
use crate::dispatch::{Context, Handler};

/// `ConfigResource.Type`.
pub(crate) const TOPIC: i8 = 2;
pub(crate) const BROKER: i8 = 4;
/// `ConfigSource`.
const DYNAMIC_TOPIC: i8 = 1;
const STATIC_BROKER: i8 = 4;
const DEFAULT: i8 = 5;

pub(crate) struct DescribeConfigs;

impl Handler for DescribeConfigs {
    type Request = DescribeConfigsRequest;

    const VERSIONS: RangeInclusive<i16> = 1..=4;

    async fn handle(cx: Context, request: DescribeConfigsRequest) -> DescribeConfigsResponse {
        let one = |resource: &DescribeConfigsResource| match describe(&cx, &request, resource) {
            Ok(configs) => named(resource).with_configs(configs),
            Err(refusal) => failed(resource, &refusal),
        };
        DescribeConfigsResponse::default().with_results(request.resources.iter().map(one).collect())
    }

    fn reject(
        _: &Context,
        request: &DescribeConfigsRequest,
        error: ErrorCode,
    ) -> DescribeConfigsResponse {
        let refusal = Refusal::new(error, error.message());
        let results = request
            .resources
            .iter()
            .map(|resource| failed(resource, &refusal))
            .collect();
        DescribeConfigsResponse::default().with_results(results)
    }

    fn throttle(response: &mut DescribeConfigsResponse, ms: i32) {
        response.throttle_time_ms = ms;
    }
}

fn named(resource: &DescribeConfigsResource) -> DescribeConfigsResult {
    DescribeConfigsResult::default()
        .with_resource_type(resource.resource_type)
        .with_resource_name(resource.resource_name.clone())
}

fn failed(resource: &DescribeConfigsResource, refusal: &Refusal) -> DescribeConfigsResult {
    named(resource)
        .with_error_code(refusal.code.code())
        .with_error_message(Some(text(&refusal.message)))
}

fn describe(
    cx: &Context,
    request: &DescribeConfigsRequest,
    resource: &DescribeConfigsResource,
) -> Result<Vec<DescribeConfigsResourceResult>, Refusal> {
    let wanted = |key: &str| match &resource.configuration_keys {
        None => true,
        Some(keys) => keys.iter().any(|asked| **asked == *key),
    };
    let rows: Vec<Described> = match resource.resource_type {
        TOPIC => topic_rows(cx, &resource.resource_name)?,
        BROKER => broker_rows(cx, &resource.resource_name)?,
        other => {
            let message = format!("Unsupported resource type: {other}");
            return Err(Refusal::new(ErrorCode::InvalidRequest, message));
        }
    };
    Ok(rows
        .into_iter()
        .filter(|described| wanted(described.row.key))
        .map(|row| row.result(cx, request))
        .collect())
}

/// A key with where its value comes from.
struct Described {
    row: Row,
    source: i8,
    read_only: bool,
    synonyms: Vec<(String, Option<String>, i8)>,
}

fn topic_rows(cx: &Context, name: &str) -> Result<Vec<Described>, Refusal> {
    let code = ErrorCode::UnknownTopicOrPartition;
    let topic = cx
        .broker
        .topic(name)
        .ok_or_else(|| Refusal::new(code, code.message()))?;
    let settings = topic.settings();
    let broker = cx.broker.config.rows();
    let one = |row: Row| {
        let overridden = settings.overrides.contains_key(row.key);
        let mut synonyms = Vec::new();
        if overridden {
            synonyms.push((row.key.to_owned(), row.value.clone(), DYNAMIC_TOPIC));
        }
        for key in broker_synonyms(row.key) {
            let Some(behind) = broker.iter().find(|behind| behind.key == *key) else {
                continue;
            };
            if behind.value.is_some() && behind.value != behind.default {
                synonyms.push((behind.key.to_owned(), behind.value.clone(), STATIC_BROKER));
            }
            if behind.default.is_some() {
                synonyms.push((behind.key.to_owned(), behind.default.clone(), DEFAULT));
            }
        }
        let source = synonyms.first().map_or(DEFAULT, |synonym| synonym.2);
        Described {
            row,
            source,
            read_only: false,
            synonyms,
        }
    };
    Ok(settings.effective.rows().into_iter().map(one).collect())
}

fn broker_rows(cx: &Context, name: &str) -> Result<Vec<Described>, Refusal> {
    // The empty name stands for the defaults of the whole cluster, of which there are none.
    if name.is_empty() {
        return Ok(Vec::new());
    }
    if name.parse() != Ok(cx.node) {
        let message = format!(
            "Unexpected broker id, expected {} or empty string, but received {name}",
            cx.node
        );
        return Err(Refusal::new(ErrorCode::InvalidRequest, message));
    }
    let one = |row: Row| {
        let source = if row.value == row.default {
            DEFAULT
        } else {
            STATIC_BROKER
        };
        let mut synonyms = Vec::new();
        if source == STATIC_BROKER {
            synonyms.push((row.key.to_owned(), row.value.clone(), STATIC_BROKER));
        }
        if row.default.is_some() {
            synonyms.push((row.key.to_owned(), row.default.clone(), DEFAULT));
        }
        Described {
            row,
            source,
            read_only: true,
            synonyms,
        }
    };
    Ok(cx.broker.config.rows().into_iter().map(one).collect())
}

impl Described {
    fn result(
        self,
        cx: &Context,
        request: &DescribeConfigsRequest,
    ) -> DescribeConfigsResourceResult {
        let mut result = DescribeConfigsResourceResult::default()
            .with_name(text(self.row.key))
            .with_value(self.row.value.map(text))
            .with_read_only(self.read_only)
            .with_config_source(self.source);
        if request.include_synonyms {
            let one = |(name, value, source): (String, Option<String>, i8)| {
                DescribeConfigsSynonym::default()
                    .with_name(text(name))
                    .with_value(value.map(text))
                    .with_source(source)
            };
            result.synonyms = self.synonyms.into_iter().map(one).collect();
        }
        if cx.version >= 3 {
            result.config_type = self.row.kind as i8;
            result.documentation = request.include_documentation.then(|| text(self.row.doc));
        }
        result
    }
}
