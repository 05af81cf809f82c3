//! Producing and reading records for these tests.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use bytes::Bytes;
use ferrokafka_broker::ErrorCode;
use ferrokafka_wire::compression::Compression;
use ferrokafka_wire::messages::fetch_request::{FetchPartition, FetchTopic};
use ferrokafka_wire::messages::fetch_response::PartitionData;
use ferrokafka_wire::messages::produce_request::{PartitionProduceData, TopicProduceData};
use ferrokafka_wire::messages::produce_response::PartitionProduceResponse;
use ferrokafka_wire::messages::{FetchRequest, FetchResponse, ProduceRequest};
use ferrokafka_wire::record::{BatchBuilder, ProducerStamp, RawBatches, Record};

use crate::driver::Driver;
use crate::topics::name;

/// Milliseconds since 1970, near enough to now for the broker's limits.
pub(crate) fn now_ms() -> i64 {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    i64::try_from(since.as_millis()).unwrap()
}

/// A batch of (key, value) records at one time; `None` is a tombstone.
pub(crate) fn batch_at(timestamp: i64, records: &[(&str, Option<&str>)]) -> BatchBuilder {
    let mut builder = BatchBuilder::new(1 << 20);
    for (key, value) in records {
        builder
            .append(
                timestamp,
                Some(key.as_bytes()),
                value.map(str::as_bytes),
                &[],
            )
            .unwrap();
    }
    builder
}

/// A finished batch of `count` records `prefix-0`, `prefix-1`….
pub(crate) fn batch(prefix: &str, count: usize) -> Bytes {
    let values: Vec<String> = (0..count).map(|n| format!("{prefix}-{n}")).collect();
    let records: Vec<(&str, Option<&str>)> =
        values.iter().map(|value| ("key", Some(&**value))).collect();
    batch_at(now_ms(), &records)
        .finish(Compression::None)
        .unwrap()
        .bytes()
}

/// The same, of an idempotent producer.
pub(crate) fn stamped(
    producer_id: i64,
    producer_epoch: i16,
    base_sequence: i32,
    count: usize,
) -> Bytes {
    let prefix = format!("{producer_id}:{producer_epoch}:{base_sequence}");
    let values: Vec<String> = (0..count).map(|n| format!("{prefix}-{n}")).collect();
    let records: Vec<(&str, Option<&str>)> =
        values.iter().map(|value| ("key", Some(&**value))).collect();
    let mut encoded = batch_at(now_ms(), &records)
        .finish(Compression::None)
        .unwrap();
    encoded.stamp(ProducerStamp {
        producer_id,
        producer_epoch,
        base_sequence,
        transactional: false,
    });
    encoded.bytes()
}

pub(crate) fn produce_request(
    topic: &str,
    partition: i32,
    acks: i16,
    records: Bytes,
) -> ProduceRequest {
    let data = PartitionProduceData::default()
        .with_index(partition)
        .with_records(Some(records));
    ProduceRequest::default()
        .with_acks(acks)
        .with_timeout_ms(1000)
        .with_topic_data(vec![
            TopicProduceData::default()
                .with_name(name(topic))
                .with_partition_data(vec![data]),
        ])
}

/// Produces with `acks=all` and returns the partition's answer.
pub(crate) async fn produce(
    driver: &mut Driver,
    topic: &str,
    partition: i32,
    records: Bytes,
) -> PartitionProduceResponse {
    let response = driver
        .call(9, &produce_request(topic, partition, -1, records))
        .await;
    response.responses[0].partition_responses[0].clone()
}

/// Produces and insists on success; returns the base offset.
pub(crate) async fn append(
    driver: &mut Driver,
    topic: &str,
    partition: i32,
    records: Bytes,
) -> i64 {
    let answer = produce(driver, topic, partition, records).await;
    assert_eq!(
        ErrorCode::from_code(answer.error_code),
        ErrorCode::None,
        "{:?}",
        answer.error_message
    );
    answer.base_offset
}

pub(crate) fn fetch_request(
    topic: &str,
    partition: i32,
    offset: i64,
    wait_ms: i32,
) -> FetchRequest {
    let asked = FetchPartition::default()
        .with_partition(partition)
        .with_fetch_offset(offset)
        .with_partition_max_bytes(1 << 20);
    FetchRequest::default()
        .with_max_wait_ms(wait_ms)
        .with_min_bytes(1)
        .with_max_bytes(50 << 20)
        .with_topics(vec![
            FetchTopic::default()
                .with_topic(name(topic))
                .with_partitions(vec![asked]),
        ])
}

pub(crate) fn only_partition(response: &FetchResponse) -> PartitionData {
    assert_eq!(response.error_code, 0);
    response.responses[0].partitions[0].clone()
}

/// The records of one fetch, from the offset asked for on.
pub(crate) fn records(data: &PartitionData, from: i64) -> Vec<Record> {
    let mut records = Vec::new();
    for batch in RawBatches::new(data.records.clone().unwrap_or_default()) {
        let batch = batch.unwrap();
        batch.verify_crc().unwrap();
        records.extend(batch.records(1 << 20).unwrap().map(Result::unwrap));
    }
    records.retain(|record| record.offset >= from);
    records
}

/// Everything from `offset` to the end, as (offset, value).
pub(crate) async fn read_all(
    driver: &mut Driver,
    topic: &str,
    partition: i32,
    offset: i64,
) -> Vec<(i64, Option<String>)> {
    let mut all = Vec::new();
    let mut next = offset;
    loop {
        let response = driver
            .call(11, &fetch_request(topic, partition, next, 0))
            .await;
        let data = only_partition(&response);
        assert_eq!(ErrorCode::from_code(data.error_code), ErrorCode::None);
        let records = records(&data, next);
        let Some(last) = records.last() else {
            return all;
        };
        next = last.offset + 1;
        all.extend(records.iter().map(|record| {
            (
                record.offset,
                record
                    .value
                    .as_ref()
                    .map(|value| String::from_utf8(value.to_vec()).unwrap()),
            )
        }));
    }
}
