//! What an error means for a batch, and what the application is told.

use ferrokafka_client::{Delivery, Error, ErrorKind};
use ferrokafka_wire::ErrorCode;
use tokio::time::Instant;

use super::Limits;
use crate::batch::Batch;

/// The broker refused a batch for its number, or for the producer's state behind it.
pub(super) fn sequence_refused(code: Option<ErrorCode>) -> bool {
    matches!(
        code,
        Some(
            ErrorCode::OutOfOrderSequenceNumber
                | ErrorCode::UnknownProducerId
                | ErrorCode::InvalidProducerEpoch
        )
    )
}

fn delivery_of(batch: &Batch) -> Delivery {
    if batch.possibly_written {
        Delivery::Unknown
    } else {
        Delivery::NotSent
    }
}

pub(super) fn give_up(batch: &Batch, error: Error, now: Instant) -> Error {
    let error = error
        .with_topic_partition(batch.result.topic_partition().clone())
        .with_attempts(batch.attempts)
        .with_elapsed(now - batch.opened_at)
        .with_delivery(delivery_of(batch));
    match error.code() {
        Some(ErrorCode::MessageTooLarge | ErrorCode::RecordListTooLarge) => error.with_hint(
            "lower batch.size and max.request.size, or raise the topic's max.message.bytes",
        ),
        _ => error,
    }
}

pub(super) fn expired(batch: &Batch, now: Instant, limits: &Limits) -> Error {
    let waited = limits.delivery_timeout.as_millis();
    let error = Error::new(
        ErrorKind::Timeout,
        format!("not acknowledged within delivery.timeout.ms ({waited} ms)"),
    )
    .with_topic_partition(batch.result.topic_partition().clone())
    .with_attempts(batch.attempts)
    .with_elapsed(now - batch.opened_at)
    .with_delivery(delivery_of(batch));
    match &batch.last_error {
        Some(last) => error.with_source(last.clone()),
        None => error,
    }
}
