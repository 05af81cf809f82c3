//! rskafka's own client, which shares no codec with the broker.

use std::collections::BTreeMap;

use ferrokafka_broker::TestBroker;
use rskafka::chrono::{DateTime, Utc};
use rskafka::client::ClientBuilder;
use rskafka::client::partition::{Compression, OffsetAt, UnknownTopicHandling};
use rskafka::record::Record;

#[tokio::test]
async fn rskafka_creates_produces_and_reads() {
    let broker = TestBroker::builder().nodes(2).start().await.unwrap();
    let bootstrap = broker.bootstrap().split(',').map(str::to_owned).collect();
    let client = ClientBuilder::new(bootstrap).build().await.unwrap();
    client
        .controller_client()
        .unwrap()
        .create_topic("t", 2, 1, 5_000)
        .await
        .unwrap();
    for partition in 0..2 {
        let partition = client
            .partition_client("t", partition, UnknownTopicHandling::Error)
            .await
            .unwrap();
        let record = |n: usize| Record {
            key: Some(b"key".to_vec()),
            value: n
                .is_multiple_of(2)
                .then(|| format!("value {n}").into_bytes()),
            headers: BTreeMap::from([("h".to_owned(), b"x".to_vec())]),
            timestamp: DateTime::<Utc>::from_timestamp_millis(crate::records::now_ms()).unwrap(),
        };
        let sent: Vec<Record> = (0..100).map(record).collect();
        let offsets = partition
            .produce(sent.clone(), Compression::NoCompression)
            .await
            .unwrap();
        assert_eq!(offsets, (0..100).collect::<Vec<i64>>());
        assert_eq!(partition.get_offset(OffsetAt::Latest).await.unwrap(), 100);
        let (read, high_watermark) = partition
            .fetch_records(40, 1..1_000_000, 1_000)
            .await
            .unwrap();
        assert_eq!(high_watermark, 100);
        let read: Vec<(i64, Record)> = read
            .into_iter()
            .map(|found| (found.offset, found.record))
            .collect();
        assert_eq!(
            read,
            (40..100)
                .map(|offset| (offset, sent[offset as usize].clone()))
                .collect::<Vec<_>>()
        );
        partition.delete_records(10, 1_000).await.unwrap();
        assert_eq!(partition.get_offset(OffsetAt::Earliest).await.unwrap(), 10);
    }
}
