//! AlterConfigs 0–2: replaces all of a topic's own settings; v2 is flexible. Broker settings are fixed
//! at the start.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use ferrokafka_wire::ErrorCode;
use ferrokafka_wire::messages::alter_configs_request::AlterConfigsResource;
use ferrokafka_wire::messages::alter_configs_response::AlterConfigsResourceResponse;
use ferrokafka_wire::messages::{AlterConfigsRequest, AlterConfigsResponse};

use super::{describe_configs, text};
use crate::broker::Refusal;
use crate::dispatch::{Context, Handler};

pub(crate) struct AlterConfigs;

impl Handler for AlterConfigs {
    type Request = AlterConfigsRequest;

    const VERSIONS: RangeInclusive<i16> = 0..=2;

    async fn handle(cx: Context, request: AlterConfigsRequest) -> AlterConfigsResponse {
        let one = |resource: &AlterConfigsResource| {
            let altered = alter(&cx, resource, request.validate_only);
            result(resource, altered.err())
        };
        AlterConfigsResponse::default().with_responses(request.resources.iter().map(one).collect())
    }

    fn reject(
        _: &Context,
        request: &AlterConfigsRequest,
        error: ErrorCode,
    ) -> AlterConfigsResponse {
        let refusal = Refusal::new(error, error.message());
        let results = request
            .resources
            .iter()
            .map(|resource| result(resource, Some(refusal.clone())));
        AlterConfigsResponse::default().with_responses(results.collect())
    }

    fn throttle(response: &mut AlterConfigsResponse, ms: i32) {
        response.throttle_time_ms = ms;
    }
}

fn alter(
    cx: &Context,
    resource: &AlterConfigsResource,
    validate_only: bool,
) -> Result<(), Refusal> {
    check_resource(resource.resource_type)?;
    let mut overrides = BTreeMap::new();
    for config in &resource.configs {
        let value = config
            .value
            .as_ref()
            .ok_or_else(|| null_value(&config.name))?;
        overrides.insert(config.name.to_string(), value.to_string());
    }
    cx.broker
        .configure_topic(&resource.resource_name, overrides, validate_only)
}

fn result(
    resource: &AlterConfigsResource,
    refusal: Option<Refusal>,
) -> AlterConfigsResourceResponse {
    let result = AlterConfigsResourceResponse::default()
        .with_resource_type(resource.resource_type)
        .with_resource_name(resource.resource_name.clone());
    match refusal {
        None => result,
        Some(refusal) => result
            .with_error_code(refusal.code.code())
            .with_error_message(Some(text(refusal.message))),
    }
}

/// Only topics have settings that can be changed.
pub(crate) fn check_resource(resource_type: i8) -> Result<(), Refusal> {
    match resource_type {
        describe_configs::TOPIC => Ok(()),
        describe_configs::BROKER => Err(Refusal::new(
            ErrorCode::InvalidRequest,
            "Broker settings of this broker are fixed when it starts.",
        )),
        other => Err(Refusal::new(
            ErrorCode::InvalidRequest,
            format!("Unsupported resource type: {other}"),
        )),
    }
}

pub(crate) fn null_value(key: &str) -> Refusal {
    Refusal::new(
        ErrorCode::InvalidConfig,
        format!("Null value not supported for : {key}"),
    )
}
