//! What really stands in a partition, read by bare Fetch requests (v4 to v11), batch by batch.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ferrokafka_client::{Client, Lane, TopicPartition};
use ferrokafka_wire::ErrorCode;
use ferrokafka_wire::messages::TopicName;
use ferrokafka_wire::messages::fetch_request::{FetchPartition, FetchRequest, FetchTopic};
use ferrokafka_wire::protocol::StrBytes;
use ferrokafka_wire::record::RawBatches;
use tokio::time::Instant;

/// Longest wait of a test for something to happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A record, and the producer epoch of its batch.
pub(crate) struct Logged {
    pub(crate) key: Option<Bytes>,
    pub(crate) value: Bytes,
    pub(crate) offset: i64,
    pub(crate) epoch: i16,
}

/// Every record of a partition.
pub(crate) async fn read(client: &Client, topic: &str, partition: i32) -> Vec<Logged> {
    let tp = TopicPartition::new(topic, partition);
    let deadline = Instant::now() + PATIENCE;
    let mut records = Vec::new();
    let mut offset = 0;
    loop {
        let before = offset;
        for batch in RawBatches::new(fetch(client, &tp, offset, deadline).await) {
            let batch = batch.unwrap();
            batch.verify_crc().unwrap();
            for record in batch.records(1 << 26).unwrap() {
                let record = record.unwrap();
                if record.offset >= offset {
                    offset = record.offset + 1;
                    records.push(Logged {
                        key: record.key,
                        value: record.value.unwrap(),
                        offset: record.offset,
                        epoch: batch.producer_epoch(),
                    });
                }
            }
        }
        if offset == before {
            return records;
        }
    }
}

async fn fetch(client: &Client, tp: &TopicPartition, offset: i64, deadline: Instant) -> Bytes {
    let cluster = client.metadata(&[Arc::clone(&tp.topic)], deadline).await;
    let (leader, _) = cluster.unwrap().leader(tp).unwrap();
    let build = |_| {
        let partition = FetchPartition::default()
            .with_partition(tp.partition)
            .with_fetch_offset(offset)
            .with_partition_max_bytes(1 << 20);
        let topic = FetchTopic::default()
            .with_topic(TopicName(StrBytes::from_string(tp.topic.to_string())))
            .with_partitions(vec![partition]);
        FetchRequest::default()
            .with_max_wait_ms(0)
            .with_max_bytes(1 << 20)
            .with_topics(vec![topic])
    };
    let (_, response) = client
        .request_max_version::<FetchRequest>(leader, Lane::Fetch, deadline, 11, build)
        .await
        .unwrap();
    let row = &response.responses[0].partitions[0];
    assert_eq!(
        row.error_code,
        0,
        "{}",
        ErrorCode::from_code(row.error_code)
    );
    row.records.clone().unwrap_or_default()
}
