//! DescribeCluster 0–1; v1 adds the kind of endpoint. Missing: controller endpoints (there are none).

use std::ops::RangeInclusive;

use ferrokafka_wire::ErrorCode;
use ferrokafka_wire::messages::describe_cluster_response::DescribeClusterBroker;
use ferrokafka_wire::messages::{BrokerId, DescribeClusterRequest, DescribeClusterResponse};

use super::metadata::CLUSTER_OPERATIONS;
use super::text;
use crate::dispatch::{Context, Handler};

/// `EndpointType`: brokers.
const BROKERS: i8 = 1;

pub(crate) struct DescribeCluster;

impl Handler for DescribeCluster {
    type Request = DescribeClusterRequest;

    const VERSIONS: RangeInclusive<i16> = 0..=1;

    async fn handle(cx: Context, request: DescribeClusterRequest) -> DescribeClusterResponse {
        if cx.version >= 1 && request.endpoint_type != BROKERS {
            return Self::reject(&cx, &request, ErrorCode::UnsupportedEndpointType);
        }
        let rack = cx.broker.config.broker_rack.as_deref().map(text);
        let brokers = cx.broker.live_nodes().into_iter().map(|node| {
            DescribeClusterBroker::default()
                .with_broker_id(BrokerId(node.id))
                .with_host(text(&*node.host))
                .with_port(i32::from(node.port))
                .with_rack(rack.clone())
        });
        let mut response = DescribeClusterResponse::default()
            .with_cluster_id(text(&cx.broker.cluster_id))
            .with_controller_id(BrokerId(cx.broker.controller().unwrap_or(-1)))
            .with_brokers(brokers.collect());
        if request.include_cluster_authorized_operations {
            response.cluster_authorized_operations = CLUSTER_OPERATIONS;
        }
        response
    }

    fn reject(
        _: &Context,
        _: &DescribeClusterRequest,
        error: ErrorCode,
    ) -> DescribeClusterResponse {
        DescribeClusterResponse::default()
            .with_error_code(error.code())
            .with_error_message(Some(text(error.message())))
    }

    fn throttle(response: &mut DescribeClusterResponse, ms: i32) {
        response.throttle_time_ms = ms;
    }
}
