//! What goes into a batch and a request, and when they go.

use std::time::Duration;

use ferrokafka_producer::{Compression, ProducerConfig, ProducerRecord};
use tokio::time::Instant;

use crate::fake::FakeCluster;

const HOUR: Duration = Duration::from_secs(3_600);

fn patient() -> ProducerConfig {
    ProducerConfig::new()
        .linger(HOUR)
        .delivery_timeout(2 * HOUR)
}

fn record(partition: i32, value: impl Into<bytes::Bytes>) -> ProducerRecord {
    ProducerRecord::new("t").partition(partition).value(value)
}

#[tokio::test(start_paused = true)]
async fn records_within_linger_share_a_batch() {
    let cluster = FakeCluster::new(1).topic("t", 1);
    let linger = Duration::from_millis(50);
    let producer = cluster.producer(ProducerConfig::new().linger(linger)).await;
    producer.partitions_for("t").await.unwrap();
    let started = Instant::now();
    let mut deliveries = Vec::new();
    for n in 0..10 {
        deliveries.push(producer.send(record(0, n.to_string())).await.unwrap());
    }
    for (n, delivery) in (0..).zip(deliveries) {
        assert_eq!(delivery.await.unwrap().offset, n);
    }
    assert_eq!(cluster.produced(), [vec![(0, 10)]]);
    let waited = started.elapsed();
    assert!(waited >= linger && waited < 2 * linger, "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn linger_zero_sends_at_once() {
    let cluster = FakeCluster::new(1).topic("t", 1);
    let producer = cluster
        .producer(ProducerConfig::new().linger(Duration::ZERO))
        .await;
    producer.send(record(0, "a")).await.unwrap().await.unwrap();
    let started = Instant::now();
    producer.send(record(0, "b")).await.unwrap().await.unwrap();
    assert_eq!(started.elapsed(), Duration::ZERO);
    assert_eq!(cluster.produced().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_full_batch_goes_without_linger() {
    let cluster = FakeCluster::new(1).topic("t", 1);
    let producer = cluster.producer(patient().batch_size(1_000)).await;
    let delivery = producer.send(record(0, vec![0; 600])).await.unwrap();
    let _lingers = producer.send(record(0, vec![0; 600])).await.unwrap();
    delivery.await.unwrap();
    assert_eq!(cluster.produced()[0], [(0, 1)]);
}

#[tokio::test(start_paused = true)]
async fn one_request_carries_every_partition_of_a_broker() {
    let cluster = FakeCluster::new(2).topic("t", 8);
    let producer = cluster.producer(patient()).await;
    for partition in 0..8 {
        drop(producer.send(record(partition, "v")).await.unwrap());
    }
    producer.flush().await.unwrap();
    let mut requests = cluster.produced();
    for request in &mut requests {
        request.sort_unstable();
    }
    requests.sort_unstable();
    assert_eq!(
        requests,
        [
            [(0, 1), (2, 1), (4, 1), (6, 1)],
            [(1, 1), (3, 1), (5, 1), (7, 1)]
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn five_batches_of_a_partition_are_in_flight_and_stay_in_order() {
    let cluster = FakeCluster::new(1).topic("t", 1);
    let producer = cluster
        .producer(ProducerConfig::new().linger(Duration::ZERO).batch_size(100))
        .await;
    producer.send(record(0, "0")).await.unwrap().await.unwrap();
    cluster.close_gate();
    let mut deliveries = Vec::new();
    for n in 1..=20 {
        // A batch each.
        let value = format!("{n:0>90}");
        deliveries.push(producer.send(record(0, value)).await.unwrap());
    }
    // The fake reads one request of a connection at a time, as a broker does: what the client has put
    // into the pipe shows in its own counters.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(producer.metrics().batches_sent, 1 + 5);
    cluster.open_gate();
    producer.flush().await.unwrap();
    let values: Vec<u32> = cluster
        .values("t", 0)
        .iter()
        .map(|v| v.parse().unwrap())
        .collect();
    assert_eq!(values, (0..=20).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn every_codec_keeps_content_and_order() {
    for compression in [
        Compression::Gzip,
        Compression::Snappy,
        Compression::Lz4,
        Compression::Zstd,
    ] {
        let cluster = FakeCluster::new(1).topic("t", 1);
        let config = ProducerConfig::new()
            .compression(compression)
            .batch_size(20_000);
        let producer = cluster.producer(config).await;
        let values: Vec<String> = (0..500).map(|n| format!("{n:0>200}")).collect();
        for value in &values {
            drop(producer.send(record(0, value.clone())).await.unwrap());
        }
        producer.flush().await.unwrap();
        assert_eq!(cluster.values("t", 0), values, "{compression:?}");
        let metrics = producer.metrics();
        assert!(metrics.bytes_sent < 60_000, "{compression:?} {metrics:?}");
        assert!(metrics.batches_acked >= 5, "{metrics:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn send_batch_answers_once_for_each_batch() {
    let cluster = FakeCluster::new(1).topic("t", 2);
    let producer = cluster.producer(ProducerConfig::new()).await;
    let records = (0..100).map(|n| record(n % 2, n.to_string()));
    let delivery = producer.send_batch(records).await.unwrap();
    assert_eq!(delivery.records(), 100);
    let acks = delivery.await;
    let mut seen: Vec<_> = acks
        .iter()
        .map(|ack| {
            let offset = *ack.result.as_ref().unwrap();
            (ack.topic_partition.partition, ack.records, offset)
        })
        .collect();
    seen.sort_unstable();
    assert_eq!(seen, [(0, 50, 0), (1, 50, 0)]);
}

#[tokio::test(start_paused = true)]
async fn the_callback_hears_of_every_batch_once() {
    let cluster = FakeCluster::new(1).topic("t", 1);
    let (heard, mut hearing) = tokio::sync::mpsc::unbounded_channel();
    let config = ProducerConfig::new().on_ack(move |ack| {
        let _ = heard.send((ack.records, ack.result.is_ok()));
    });
    let producer = cluster.producer(config).await;
    for n in 0..7 {
        drop(producer.send(record(0, n.to_string())).await.unwrap());
    }
    producer.flush().await.unwrap();
    assert_eq!(hearing.recv().await, Some((7, true)));
    assert!(hearing.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn keys_go_to_their_partition_and_keep_their_order() {
    let cluster = FakeCluster::new(3).topic("t", 6);
    let producer = cluster
        .producer(ProducerConfig::new().linger(Duration::ZERO))
        .await;
    for n in 0..300 {
        let record = ProducerRecord::new("t")
            .key(format!("key-{}", n % 17))
            .value(n.to_string());
        drop(producer.send(record).await.unwrap());
        if n % 7 == 0 {
            tokio::task::yield_now().await;
        }
    }
    producer.flush().await.unwrap();
    let mut records = 0;
    for partition in 0..6 {
        let mut last = std::collections::HashMap::new();
        for stored in cluster.log("t", partition) {
            let key = stored.key.unwrap();
            assert_eq!(
                ferrokafka_wire::partition::partition_for_key(&key, 6),
                partition as i32
            );
            let n: i32 = String::from_utf8_lossy(&stored.value).parse().unwrap();
            let before = last.insert(key, n);
            assert!(before.is_none_or(|b| b < n), "{before:?} before {n}");
            records += 1;
        }
    }
    assert_eq!(records, 300);
}
