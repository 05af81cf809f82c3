//! Partitions assigned by hand: seek, pause, and no group at all.

use std::time::Duration;

use ferrokafka_consumer_group::{
    CommitOffsets, Consumer, ConsumerConfig, ErrorKind, NoListener, OffsetReset, SeekTo,
};
use tokio::time::Instant;

use crate::support::*;

async fn read(consumer: &mut Consumer, count: usize) -> Vec<i64> {
    let deadline = Instant::now() + PATIENCE;
    let mut offsets = Vec::new();
    while offsets.len() < count {
        assert!(Instant::now() < deadline, "only {offsets:?}");
        let records = consumer.poll(Duration::from_millis(50)).await.unwrap();
        offsets.extend(records.iter().map(|r| r.offset));
    }
    offsets
}

fn alone() -> ConsumerConfig {
    ConsumerConfig::without_group()
        .auto_offset_reset(OffsetReset::Earliest)
        .fetch_max_wait(Duration::from_millis(100))
}

#[tokio::test]
async fn consumer_without_a_group_reads_and_seeks() {
    let broker = broker("t", 1).await;
    let client = connect(&broker).await;
    produce(&client, &tp("t", 0), 10).await;
    let mut consumer = Consumer::with_client(client.clone(), alone()).unwrap();
    consumer.assign([tp("t", 0)]).unwrap();
    assert_eq!(read(&mut consumer, 10).await, (0..10).collect::<Vec<i64>>());
    consumer.seek(&tp("t", 0), 4).unwrap();
    assert_eq!(consumer.position(&tp("t", 0)), Some(4));
    assert_eq!(read(&mut consumer, 6).await, (4..10).collect::<Vec<i64>>());
    consumer.seek(&tp("t", 0), SeekTo::Beginning).unwrap();
    assert_eq!(read(&mut consumer, 10).await[0], 0);
    consumer.seek(&tp("t", 0), SeekTo::End).unwrap();
    produce(&client, &tp("t", 0), 1).await;
    // The new record may have come before the end was looked up.
    consumer.seek(&tp("t", 0), 10).unwrap();
    assert_eq!(read(&mut consumer, 1).await, [10]);
    assert_eq!(
        consumer
            .commit(CommitOffsets::Consumed)
            .await
            .unwrap_err()
            .kind(),
        ErrorKind::Config
    );
    assert!(consumer.subscribe(["t"], NoListener).is_err());
    let long = "t".repeat(250);
    let mut member = Consumer::with_client(client.clone(), config("g")).unwrap();
    for names in [vec![], vec![""], vec![&*long]] {
        assert!(member.subscribe(names, NoListener).is_err());
    }
    member.kill();
    assert!(consumer.seek(&tp("t", 0), -5).is_err());
    assert!(consumer.seek(&tp("other", 0), 5).is_err());
    consumer.close(Duration::from_secs(5)).await.unwrap();
}

#[tokio::test]
async fn paused_partition_is_not_handed_out_until_resumed() {
    let broker = broker("t", 2).await;
    let client = connect(&broker).await;
    produce_all(&client, "t", 2, 5).await;
    let mut consumer = Consumer::with_client(client.clone(), alone()).unwrap();
    consumer.assign([tp("t", 0), tp("t", 1)]).unwrap();
    consumer.pause(&[tp("t", 0)]);
    assert_eq!(consumer.paused(), [tp("t", 0)]);
    let deadline = Instant::now() + Duration::from_millis(500);
    let mut seen = Vec::new();
    while Instant::now() < deadline {
        let records = consumer.poll(Duration::from_millis(50)).await.unwrap();
        seen.extend(records.iter().map(|r| r.partition));
    }
    assert_eq!(seen, [1; 5]);
    consumer.resume(&[tp("t", 0)]);
    assert_eq!(read(&mut consumer, 5).await, [0, 1, 2, 3, 4]);
    consumer.kill();
}

#[tokio::test]
async fn assigned_consumer_with_a_group_commits_without_joining() {
    let broker = broker("t", 1).await;
    let client = connect(&broker).await;
    produce(&client, &tp("t", 0), 10).await;
    let mut consumer = Consumer::with_client(client.clone(), config("g")).unwrap();
    consumer.assign([tp("t", 0)]).unwrap();
    read(&mut consumer, 10).await;
    consumer
        .commit([(
            tp("t", 0),
            ferrokafka_consumer_group::OffsetAndMetadata::new(6),
        )])
        .await
        .unwrap();
    consumer.close(Duration::from_secs(5)).await.unwrap();
    let mut consumer = Consumer::with_client(client.clone(), config("g")).unwrap();
    consumer.assign([tp("t", 0)]).unwrap();
    assert_eq!(read(&mut consumer, 4).await, [6, 7, 8, 9]);
    consumer.kill();
}

#[tokio::test]
async fn offset_out_of_range_is_reset() {
    let broker = broker("t", 1).await;
    let client = connect(&broker).await;
    produce(&client, &tp("t", 0), 3).await;
    let mut consumer = Consumer::with_client(client.clone(), alone()).unwrap();
    consumer.assign([tp("t", 0)]).unwrap();
    consumer.seek(&tp("t", 0), 500).unwrap();
    assert_eq!(read(&mut consumer, 3).await, [0, 1, 2]);
    consumer.kill();
    let strict = alone().auto_offset_reset(OffsetReset::None);
    let mut consumer = Consumer::with_client(client.clone(), strict).unwrap();
    consumer.assign([tp("t", 0)]).unwrap();
    consumer.seek(&tp("t", 0), 500).unwrap();
    let deadline = Instant::now() + PATIENCE;
    let error = loop {
        assert!(Instant::now() < deadline);
        if let Err(error) = consumer.poll(Duration::from_millis(50)).await {
            break error;
        }
    };
    assert_eq!(error.topic_partition(), Some(&tp("t", 0)));
    consumer.kill();
}
