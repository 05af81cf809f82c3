//! Against the embedded broker, over TCP: what is acknowledged is in the log, once and in order,
//! whatever is done to requests, connections and leaders.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use ferrokafka_broker::TestBroker;
use ferrokafka_client::{Client, ClientConfig};
use ferrokafka_producer::{Compression, Producer, ProducerConfig, ProducerRecord};
use ferrokafka_wire::ErrorCode;
use ferrokafka_wire::messages::ApiKey;
use tokio::time::timeout;

use crate::log::{PATIENCE, read};

async fn start(nodes: i32, partitions: i32) -> (TestBroker, Client) {
    let broker = TestBroker::builder()
        .nodes(nodes)
        .topic("orders", partitions)
        .seed(1)
        .start()
        .await
        .unwrap();
    let client = Client::connect(ClientConfig::new(broker.bootstrap()))
        .await
        .unwrap();
    (broker, client)
}

/// Every key's values count up from 0 without a gap or a repetition, and `total` records are there.
async fn check_per_key(client: &Client, partitions: i32, total: usize) {
    let mut next: HashMap<Bytes, usize> = HashMap::new();
    let mut seen = 0;
    for partition in 0..partitions {
        for (expected, record) in (0..).zip(read(client, "orders", partition).await) {
            assert_eq!(record.offset, expected);
            let next = next.entry(record.key.unwrap()).or_default();
            assert_eq!(
                record.value,
                next.to_string(),
                "orders-{partition}@{expected}"
            );
            *next += 1;
            seen += 1;
        }
    }
    assert_eq!(seen, total);
}

fn keyed(n: usize) -> ProducerRecord {
    ProducerRecord::new("orders")
        .key(format!("customer-{}", n % 20))
        .value((n / 20).to_string())
}

fn small_batches() -> ProducerConfig {
    ProducerConfig::new().linger(Duration::ZERO).batch_size(200)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_codec_is_read_back() {
    let (broker, client) = start(1, 4).await;
    let mut total = 0;
    for compression in [
        Compression::None,
        Compression::Gzip,
        Compression::Snappy,
        Compression::Lz4,
        Compression::Zstd,
    ] {
        let config = ProducerConfig::new().compression(compression);
        let producer = Producer::with_client(client.clone(), config).unwrap();
        for _ in 0..1_000 {
            drop(producer.send(keyed(total)).await.unwrap());
            total += 1;
        }
        timeout(PATIENCE, producer.close(PATIENCE))
            .await
            .unwrap()
            .unwrap();
    }
    check_per_key(&client, 4, total).await;
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn faults_neither_lose_nor_repeat_nor_reorder() {
    let (broker, client) = start(3, 6).await;
    let producer = Producer::with_client(client.clone(), small_batches()).unwrap();
    let mut deliveries = Vec::new();
    for round in 0..40 {
        match round % 5 {
            0 => broker.on(ApiKey::Produce).times(1).apply_then_disconnect(),
            1 => broker.on(ApiKey::Produce).times(1).disconnect(),
            2 => broker
                .on(ApiKey::Produce)
                .times(1)
                .error(ErrorCode::NotEnoughReplicas),
            3 => broker
                .on(ApiKey::Produce)
                .times(1)
                .error(ErrorCode::NotLeaderOrFollower),
            _ => {
                let node = 1 + round / 5 % 3;
                broker.move_leader("orders", round % 6, node).unwrap();
            }
        }
        for n in 0..100 {
            let n = round as usize * 100 + n;
            deliveries.push(producer.send(keyed(n)).await.unwrap());
        }
        // Lets this round's fault meet traffic before the next is set up.
        let last = deliveries.pop().unwrap();
        timeout(PATIENCE, last).await.unwrap().unwrap();
    }
    for delivery in deliveries {
        timeout(PATIENCE, delivery).await.unwrap().unwrap();
    }
    check_per_key(&client, 6, 4_000).await;
    assert!(producer.metrics().batches_retried > 0);
    producer.close(PATIENCE).await.unwrap();
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn offsets_told_are_the_offsets_in_the_log() {
    let (broker, client) = start(1, 1).await;
    let producer = Producer::with_client(client.clone(), small_batches()).unwrap();
    broker
        .on(ApiKey::Produce)
        .after(2)
        .times(1)
        .apply_then_disconnect();
    let mut deliveries = Vec::new();
    for n in 0..500 {
        let record = ProducerRecord::new("orders").value(n.to_string());
        deliveries.push(producer.send(record).await.unwrap());
    }
    let mut told = Vec::new();
    for delivery in deliveries {
        told.push(timeout(PATIENCE, delivery).await.unwrap().unwrap().offset);
    }
    let log = read(&client, "orders", 0).await;
    assert_eq!(log.len(), 500);
    assert!(log.iter().all(|record| record.epoch == 0));
    for (n, offset) in told.into_iter().enumerate() {
        assert_eq!(log[offset as usize].value, n.to_string());
    }
    broker.stop().await;
}
