//! The producer against Apache Kafka: that its broker agrees with ours about repeated batches, epochs and
//! codecs. `cargo xtask real` runs these; where Kafka cannot be had they fail.
// Helpers of tests count as tests.
#![cfg(test)]

#[path = "../it/log.rs"]
mod log;
mod proxy;

use std::time::Duration;

use ferrokafka_broker::apache::ApacheKafka;
use ferrokafka_client::{Client, ClientConfig, Delivery};
use ferrokafka_producer::{Compression, Producer, ProducerConfig, ProducerRecord};
use ferrokafka_wire::ErrorCode;
use tokio::time::timeout;

use crate::log::{PATIENCE, read};
use crate::proxy::Proxy;

async fn start(properties: &[(&str, &str)]) -> ApacheKafka {
    let mut builder = ApacheKafka::builder().property("auto.create.topics.enable", "true");
    for (key, value) in properties {
        builder = builder.property(*key, *value);
    }
    builder.start().await.unwrap()
}

fn config(bootstrap: &str) -> ClientConfig {
    ClientConfig::new(bootstrap).allow_auto_create_topics(true)
}

fn small_batches() -> ProducerConfig {
    ProducerConfig::new().linger(Duration::ZERO).batch_size(500)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_refused_for_good_costs_an_epoch_and_nothing_else() {
    let kafka = start(&[("message.max.bytes", "2000")]).await;
    let client = Client::connect(config(&kafka.bootstrap())).await.unwrap();
    let producer = Producer::with_client(client.clone(), small_batches()).unwrap();
    let mut deliveries = Vec::new();
    for n in 0..300 {
        let value = if n == 150 {
            "x".repeat(4_000)
        } else {
            n.to_string()
        };
        let record = ProducerRecord::new("t").value(value);
        deliveries.push(producer.send(record).await.unwrap());
    }
    for (n, delivery) in deliveries.into_iter().enumerate() {
        let result = timeout(PATIENCE, delivery).await.unwrap();
        if n == 150 {
            let error = result.unwrap_err();
            assert_eq!(error.code(), Some(ErrorCode::MessageTooLarge));
            assert_eq!(error.delivery(), Delivery::NotSent);
        } else {
            result.unwrap();
        }
    }
    let log = read(&client, "t", 0).await;
    let values: Vec<usize> = log
        .iter()
        .map(|r| String::from_utf8_lossy(&r.value).parse().unwrap())
        .collect();
    let expected: Vec<usize> = (0..300).filter(|n| *n != 150).collect();
    assert_eq!(values, expected);
    assert!(log.iter().all(|r| r.key.is_none()));
    assert_eq!(log.first().map(|r| r.epoch), Some(0));
    assert_eq!(log.last().map(|r| r.epoch), Some(1));
    kafka.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_cut_after_forwarding_neither_lose_nor_repeat_nor_reorder() {
    let kafka = start(&[]).await;
    let proxy = Proxy::start(&kafka.bootstrap()).await;
    let port = proxy.port();
    let behind = config(&format!("127.0.0.1:{port}"))
        .address_map(move |_, _| ("127.0.0.1".to_owned(), port));
    let producer = Producer::connect(behind, small_batches()).await.unwrap();
    let mut deliveries = Vec::new();
    for n in 0..4_000 {
        let record = ProducerRecord::new("t").value(n.to_string());
        deliveries.push(producer.send(record).await.unwrap());
        if n % 200 == 100 {
            // With requests on their way in both directions.
            proxy.cut();
        }
        if n % 200 == 199 {
            let last = deliveries.pop().unwrap();
            timeout(PATIENCE, last).await.unwrap().unwrap();
        }
    }
    for delivery in deliveries {
        timeout(PATIENCE, delivery).await.unwrap().unwrap();
    }
    let metrics = producer.metrics();
    assert!(metrics.batches_retried > 0, "{metrics:?}");
    assert_eq!(metrics.epoch_bumps, 0, "{metrics:?}");
    let client = Client::connect(config(&kafka.bootstrap())).await.unwrap();
    let log = read(&client, "t", 0).await;
    for (n, record) in log.iter().enumerate() {
        assert_eq!(record.value, n.to_string(), "offset {}", record.offset);
    }
    assert_eq!(log.len(), 4_000);
    kafka.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kafka_accepts_every_codec() {
    let kafka = start(&[]).await;
    let client = Client::connect(config(&kafka.bootstrap())).await.unwrap();
    let codecs = [
        Compression::None,
        Compression::Gzip,
        Compression::Snappy,
        Compression::Lz4,
        Compression::Zstd,
    ];
    for (at, compression) in codecs.into_iter().enumerate() {
        let config = ProducerConfig::new().compression(compression);
        let producer = Producer::with_client(client.clone(), config).unwrap();
        for n in 0..2_000 {
            let record = ProducerRecord::new("t").value((at * 2_000 + n).to_string());
            drop(producer.send(record).await.unwrap());
        }
        producer.close(PATIENCE).await.unwrap();
    }
    let log = read(&client, "t", 0).await;
    for (n, record) in log.iter().enumerate() {
        assert_eq!(record.value, n.to_string());
    }
    assert_eq!(log.len(), 10_000);
    kafka.stop().await;
}
