//! IncrementalAlterConfigs 0–1: sets, deletes, appends to and subtracts from single settings of a
//! topic; v1 is flexible. Broker settings are fixed at the start.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use ferrokafka_wire::ErrorCode;
use ferrokafka_wire::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig,
};
use ferrokafka_wire::messages::incremental_alter_configs_response::AlterConfigsResourceResponse;
use ferrokafka_wire::messages::{IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse};

use super::alter_configs::{check_resource, null_value};
use super::text;
use crate::broker::Refusal;
use crate::config::{ConfigKind, TopicConfig};
use crate::dispatch::{Context, Handler};

pub(crate) struct IncrementalAlterConfigs;

impl Handler for IncrementalAlterConfigs {
    type Request = IncrementalAlterConfigsRequest;

    const VERSIONS: RangeInclusive<i16> = 0..=1;

    async fn handle(
        cx: Context,
        request: IncrementalAlterConfigsRequest,
    ) -> IncrementalAlterConfigsResponse {
        let one = |resource: &AlterConfigsResource| {
            let altered = alter(&cx, resource, request.validate_only);
            result(resource, altered.err())
        };
        IncrementalAlterConfigsResponse::default()
            .with_responses(request.resources.iter().map(one).collect())
    }

    fn reject(
        _: &Context,
        request: &IncrementalAlterConfigsRequest,
        error: ErrorCode,
    ) -> IncrementalAlterConfigsResponse {
        let refusal = Refusal::new(error, error.message());
        let results = request
            .resources
            .iter()
            .map(|resource| result(resource, Some(refusal.clone())));
        IncrementalAlterConfigsResponse::default().with_responses(results.collect())
    }

    fn throttle(response: &mut IncrementalAlterConfigsResponse, ms: i32) {
        response.throttle_time_ms = ms;
    }
}

fn alter(
    cx: &Context,
    resource: &AlterConfigsResource,
    validate_only: bool,
) -> Result<(), Refusal> {
    check_resource(resource.resource_type)?;
    let code = ErrorCode::UnknownTopicOrPartition;
    let topic = cx
        .broker
        .topic(&resource.resource_name)
        .ok_or_else(|| Refusal::new(code, code.message()))?;
    let settings = topic.settings();
    let mut overrides = settings.overrides.clone();
    let effective = settings.effective.rows();
    for config in &resource.configs {
        if resource
            .configs
            .iter()
            .filter(|other| other.name == config.name)
            .count()
            > 1
        {
            let message = format!("Error due to duplicate config keys: {}", config.name);
            return Err(Refusal::new(ErrorCode::InvalidRequest, message));
        }
        let row = effective.iter().find(|row| *row.key == *config.name);
        let current = row.and_then(|row| row.value.as_deref()).unwrap_or_default();
        apply(&mut overrides, config, row.map(|row| row.kind), current)?;
    }
    cx.broker
        .configure_topic(&resource.resource_name, overrides, validate_only)
}

fn apply(
    overrides: &mut BTreeMap<String, String>,
    config: &AlterableConfig,
    kind: Option<ConfigKind>,
    current: &str,
) -> Result<(), Refusal> {
    let key = config.name.to_string();
    let value = || {
        config
            .value
            .as_ref()
            .map(ToString::to_string)
            .ok_or_else(|| null_value(&config.name))
    };
    match config.config_operation {
        0 => {
            overrides.insert(key, value()?);
        }
        1 => {
            // Deleting what nobody knows is as wrong as setting it.
            if !TopicConfig::keys().any(|known| *known == *key) {
                return Err(Refusal::new(
                    ErrorCode::InvalidConfig,
                    format!("Unknown topic config name: {key}"),
                ));
            }
            overrides.remove(&key);
        }
        operation @ (2 | 3) => {
            if kind != Some(ConfigKind::List) {
                let word = if operation == 2 { "append" } else { "subtract" };
                let message = format!("Can't {word} to key {key} because its type is not LIST.");
                return Err(Refusal::new(ErrorCode::InvalidConfig, message));
            }
            overrides.insert(key, change_list(current, &value()?, operation == 2));
        }
        other => {
            let message = format!("Unknown operation type {other}");
            return Err(Refusal::new(ErrorCode::InvalidRequest, message));
        }
    }
    Ok(())
}

/// Adds to or takes from a comma-separated list.
fn change_list(current: &str, change: &str, add: bool) -> String {
    let split = |text: &str| {
        text.split(',')
            .filter(|part| !part.is_empty())
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let (mut parts, change) = (split(current), split(change));
    if add {
        parts.extend(
            change
                .into_iter()
                .filter(|part| !split(current).contains(part)),
        );
    } else {
        parts.retain(|part| !change.contains(part));
    }
    parts.join(",")
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
