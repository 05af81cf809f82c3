//! FindCoordinator 0–5.
//!
//! v1 adds the key type and the throttle time, v3 is flexible, v4 asks for several keys at once, v5
//! allows `TRANSACTION_ABORTABLE`. Every live node coordinates: a key's place follows from its hash
//! unless a test moved it. Missing: share groups (key type 2); transactions are located, not served.

use std::ops::RangeInclusive;

use ferrokafka_wire::ErrorCode;
use ferrokafka_wire::messages::find_coordinator_response::Coordinator;
use ferrokafka_wire::messages::{BrokerId, FindCoordinatorRequest, FindCoordinatorResponse};

use super::text;
use crate::broker::CoordinatorKind;
use crate::dispatch::{Context, Handler};

pub(crate) struct FindCoordinator;

impl Handler for FindCoordinator {
    type Request = FindCoordinatorRequest;

    const VERSIONS: RangeInclusive<i16> = 0..=5;

    async fn handle(cx: Context, request: FindCoordinatorRequest) -> FindCoordinatorResponse {
        answer(&cx, &request, None)
    }

    fn reject(
        cx: &Context,
        request: &FindCoordinatorRequest,
        error: ErrorCode,
    ) -> FindCoordinatorResponse {
        answer(cx, request, Some(error))
    }

    fn throttle(response: &mut FindCoordinatorResponse, ms: i32) {
        response.throttle_time_ms = ms;
    }
}

fn answer(
    cx: &Context,
    request: &FindCoordinatorRequest,
    error: Option<ErrorCode>,
) -> FindCoordinatorResponse {
    let one = |key: &str| match error {
        Some(error) => failed(error),
        None => locate(cx, request.key_type, key),
    };
    if cx.version >= 4 {
        let found = request
            .coordinator_keys
            .iter()
            .map(|key| one(key).with_key(key.clone()))
            .collect();
        return FindCoordinatorResponse::default().with_coordinators(found);
    }
    let found = one(&request.key);
    let response = FindCoordinatorResponse::default()
        .with_error_code(found.error_code)
        .with_node_id(found.node_id)
        .with_host(found.host)
        .with_port(found.port);
    if cx.version >= 1 {
        response.with_error_message(found.error_message)
    } else {
        response
    }
}

fn locate(cx: &Context, key_type: i8, key: &str) -> Coordinator {
    let kind = match key_type {
        0 => CoordinatorKind::Group,
        1 => CoordinatorKind::Transaction,
        _ => return failed(ErrorCode::InvalidRequest),
    };
    let node = cx
        .broker
        .coordinator(kind, key)
        .and_then(|id| cx.broker.node(id));
    match node {
        Some(node) => Coordinator::default()
            .with_node_id(BrokerId(node.id))
            .with_host(text(&*node.host))
            .with_port(i32::from(node.port)),
        None => failed(ErrorCode::CoordinatorNotAvailable),
    }
}

fn failed(error: ErrorCode) -> Coordinator {
    Coordinator::default()
        .with_node_id(BrokerId(-1))
        .with_port(-1)
        .with_error_code(error.code())
        .with_error_message(Some(text(error.message())))
}
