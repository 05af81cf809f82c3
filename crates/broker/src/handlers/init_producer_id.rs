//! InitProducerId 0–4.
//!
//! v2 is flexible, v3 lets a producer name the id and epoch it has, v4 allows `PRODUCER_FENCED`.
//! Missing: transactional ids, which are refused.

use std::ops::RangeInclusive;

use ferrokafka_wire::ErrorCode;
use ferrokafka_wire::messages::{InitProducerIdRequest, InitProducerIdResponse, ProducerId};

use crate::dispatch::{Context, Handler};

pub(crate) struct InitProducerId;

impl Handler for InitProducerId {
    type Request = InitProducerIdRequest;

    const VERSIONS: RangeInclusive<i16> = 0..=4;

    async fn handle(cx: Context, request: InitProducerIdRequest) -> InitProducerIdResponse {
        if request.transactional_id.is_some() {
            return Self::reject(&cx, &request, ErrorCode::InvalidRequest);
        }
        // Without a transactional id an old id means nothing: every answer is a new producer.
        match cx.broker.new_producer_id() {
            Ok(id) => InitProducerIdResponse::default().with_producer_id(ProducerId(id)),
            Err(error) => {
                tracing::error!(%error, "producer ids cannot be remembered");
                Self::reject(&cx, &request, ErrorCode::CoordinatorNotAvailable)
            }
        }
    }

    fn reject(_: &Context, _: &InitProducerIdRequest, error: ErrorCode) -> InitProducerIdResponse {
        InitProducerIdResponse::default()
            .with_error_code(error.code())
            .with_producer_id(ProducerId(-1))
            .with_producer_epoch(-1)
    }

    fn throttle(response: &mut InitProducerIdResponse, ms: i32) {
        response.throttle_time_ms = ms;
    }
}
