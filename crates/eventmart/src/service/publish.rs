//! From events to records: encoding, topic name, key, headers.

use std::sync::Arc;
use std::time::Duration;

use ferrokafka::{ConsumerRecord, Delivery, Producer, ProducerRecord, RecordMetadata};

use crate::encoding::Encoding;
use crate::error::Result;
use crate::event::Event;
use crate::platform::Service;
use crate::topic::{DEAD_LETTERS, Names};

/// How long closing may take.
const CLOSE: Duration = Duration::from_secs(10);

/// Headers of a dead letter.
pub mod dead_letter_header {
    /// Why it was given up.
    pub const ERROR: &str = "dlt.error";
    /// How often it was attempted.
    pub const ATTEMPTS: &str = "dlt.attempts";
    /// Which service gave up.
    pub const SERVICE: &str = "dlt.service";
    /// The topic it was read from.
    pub const TOPIC: &str = "dlt.original.topic";
    /// The partition it was read from.
    pub const PARTITION: &str = "dlt.original.partition";
    /// Its offset there.
    pub const OFFSET: &str = "dlt.original.offset";
    /// Its timestamp there, in milliseconds since the epoch.
    pub const TIMESTAMP: &str = "dlt.original.timestamp";
}

/// Writes events to their topics.
#[derive(Clone)]
pub struct Publisher {
    producer: Producer,
    encoding: Arc<dyn Encoding>,
    names: Names,
}

impl Publisher {
    /// Writes through that producer.
    pub fn new(producer: Producer, encoding: Arc<dyn Encoding>, names: Names) -> Self {
        Self {
            producer,
            encoding,
            names,
        }
    }

    /// The producer below.
    pub fn producer(&self) -> &Producer {
        &self.producer
    }

    /// Waits for what is under way and closes the producer.
    ///
    /// # Errors
    /// When something was not acknowledged in time.
    pub async fn close(self) -> Result<()> {
        Ok(self.producer.close(CLOSE).await?)
    }

    /// The record of an event. Its key decides the partition; its time is that of the event.
    ///
    /// # Errors
    /// When the event cannot be encoded.
    pub fn record(&self, event: &Event) -> Result<ProducerRecord> {
        let topic = self.names.topic(event.topic());
        let value = self.encoding.encode(&topic, event)?;
        Ok(ProducerRecord::new(topic)
            .key(event.key().to_owned())
            .value(value)
            .header("event_type", event.event_type())
            .header("correlation_id", event.correlation_id.to_string())
            .timestamp(event.timestamp.as_millisecond()))
    }

    /// Hands an event to the producer; the delivery says when the broker has it.
    ///
    /// # Errors
    /// When the event cannot be encoded, or the producer has no room within `max.block.ms`.
    pub async fn send(&self, event: &Event) -> Result<Delivery> {
        Ok(self.producer.send(self.record(event)?).await?)
    }

    /// Writes events and waits until the broker has all of them.
    ///
    /// # Errors
    /// The first failure, after all have been waited for.
    pub async fn send_all<'a>(
        &self,
        events: impl IntoIterator<Item = &'a Event>,
    ) -> Result<Vec<RecordMetadata>> {
        let mut deliveries = Vec::new();
        for event in events {
            deliveries.push(self.send(event).await?);
        }
        settle(deliveries).await
    }

    /// Puts a record aside: value and key as they were, and headers that say what happened.
    ///
    /// # Errors
    /// When it cannot be handed to the producer.
    pub async fn dead_letter(
        &self,
        record: &ConsumerRecord,
        service: Service,
        attempts: u32,
        error: &str,
    ) -> Result<Delivery> {
        use dead_letter_header as header;
        let mut letter =
            ProducerRecord::new(self.names.name(DEAD_LETTERS)).timestamp(record.timestamp);
        letter.key = record.key.clone();
        letter.value = record.value.clone();
        letter.headers = record.headers().iter().collect();
        let letter = letter
            .header(header::ERROR, error.to_owned())
            .header(header::ATTEMPTS, attempts.to_string())
            .header(header::SERVICE, service.name())
            .header(header::TOPIC, record.topic.to_string())
            .header(header::PARTITION, record.partition.to_string())
            .header(header::OFFSET, record.offset.to_string())
            .header(header::TIMESTAMP, record.timestamp.to_string());
        Ok(self.producer.send(letter).await?)
    }
}

/// Waits for all deliveries; the first failure is the result.
pub(crate) async fn settle(deliveries: Vec<Delivery>) -> Result<Vec<RecordMetadata>> {
    let mut written = Vec::with_capacity(deliveries.len());
    let mut failed = None;
    for delivery in deliveries {
        match delivery.await {
            Ok(metadata) => written.push(metadata),
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    failed.map_or(Ok(written), |error| Err(error.into()))
}
