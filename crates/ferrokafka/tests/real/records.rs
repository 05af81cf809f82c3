//! The records that are written on one side and looked for on the other.

use std::time::Duration;

use ferrokafka_client::{ClientConfig, TopicPartition};
use ferrokafka_consumer_group::{Consumer, ConsumerConfig, ConsumerRecord, OffsetReset};
use ferrokafka_producer::{Producer, ProducerConfig, ProducerRecord, RecordMetadata};
use tokio::time::Instant;

const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// A producer with this codec.
pub(crate) async fn producer(bootstrap: &str, codec: &str) -> Producer {
    let codec = codec.parse().expect("a codec's name");
    let config = ProducerConfig::new()
        .compression(codec)
        .linger(Duration::from_millis(20));
    Producer::connect(ClientConfig::new(bootstrap), config)
        .await
        .expect("the producer connects")
}

/// `key-N` with `CODEC-value-N`, two headers of one name, and a time that is known and long past: a topic of these
/// needs `retention.ms=-1`, or Kafka deletes them within a second.
pub(crate) fn numbered(topic: &str, codec: &str, number: usize) -> ProducerRecord {
    ProducerRecord::new(topic)
        .key(format!("key-{number}"))
        .value(format!("{codec}-value-{number}"))
        .header("trace", "first")
        .header("trace", "second")
        .timestamp(1_700_000_000_000 + number as i64)
}

/// Writes records and returns where each went, in the order of writing.
pub(crate) async fn write(
    producer: &Producer,
    records: impl IntoIterator<Item = ProducerRecord>,
) -> Vec<RecordMetadata> {
    let mut deliveries = Vec::new();
    for record in records {
        deliveries.push(producer.send(record).await.expect("the record is taken"));
    }
    let mut written = Vec::new();
    for delivery in deliveries {
        written.push(delivery.await.expect("the record is acknowledged"));
    }
    written
}

/// Reads so many records of these partitions from their start, outside any group.
pub(crate) async fn read(
    bootstrap: &str,
    topic: &str,
    partitions: i32,
    count: usize,
) -> Vec<ConsumerRecord> {
    let config = ConsumerConfig::without_group().auto_offset_reset(OffsetReset::Earliest);
    let mut consumer = Consumer::connect(ClientConfig::new(bootstrap), config)
        .await
        .expect("the consumer connects");
    let partitions = (0..partitions).map(|partition| TopicPartition::new(topic, partition));
    consumer
        .assign(partitions)
        .expect("partitions can be assigned");
    let records = poll_until(&mut consumer, count).await;
    consumer
        .close(Duration::from_secs(10))
        .await
        .expect("the consumer closes");
    records
}

/// Polls until so many records came.
pub(crate) async fn poll_until(consumer: &mut Consumer, count: usize) -> Vec<ConsumerRecord> {
    let mut records = Vec::new();
    let deadline = Instant::now() + READ_TIMEOUT;
    while records.len() < count {
        assert!(
            Instant::now() < deadline,
            "{} of {count} records within {READ_TIMEOUT:?}",
            records.len()
        );
        records.extend(
            consumer
                .poll(Duration::from_millis(500))
                .await
                .expect("poll"),
        );
    }
    records
}

/// A field as text; `null` where there is none.
pub(crate) fn text(field: Option<&[u8]>) -> String {
    field.map_or_else(
        || "null".to_owned(),
        |bytes| String::from_utf8_lossy(bytes).into_owned(),
    )
}
