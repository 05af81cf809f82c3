//! `buffer.memory` holds, and those who wait for it are served, in time or not at all.

use std::time::Duration;

use ferrokafka_client::{Delivery, Disposition, ErrorKind};
use ferrokafka_producer::{Producer, ProducerConfig, ProducerRecord};
use tokio::time::Instant;

use crate::fake::{FakeCluster, PATIENCE};

const BUFFER: usize = 16 * 1024;
const HOUR: Duration = Duration::from_secs(3_600);

fn small() -> ProducerConfig {
    ProducerConfig::new()
        .buffer_memory(BUFFER)
        .max_request_size(4 * 1024)
        .linger(Duration::ZERO)
}

fn record() -> ProducerRecord {
    ProducerRecord::new("t").partition(0).value(vec![7; 1_000])
}

/// Sends until nothing more is taken at once; gives the number of records taken.
async fn fill(producer: &Producer) -> usize {
    producer.partitions_for("t").await.unwrap();
    let mut taken = 0;
    while producer.try_send(record()).is_ok() {
        taken += 1;
    }
    taken
}

#[tokio::test(start_paused = true)]
async fn buffer_memory_is_a_bound() {
    let cluster = FakeCluster::new(1).topic("t", 1);
    cluster.close_gate();
    let producer = cluster.producer(small()).await;
    let taken = fill(&producer).await;
    assert_eq!(taken, BUFFER / 1_009);
    let metrics = producer.metrics();
    assert!(metrics.buffer_bytes_used <= BUFFER as u64, "{metrics:?}");
    assert_eq!(metrics.records_pending, taken as u64);
    // A stream of senders gets through once the broker answers, and never more than fits is held.
    let stream = async {
        for _ in 0..200 {
            drop(producer.send(record()).await.unwrap());
            // Counted in records, which does not depend on what the bound's own books say.
            let pending = producer.metrics().records_pending as usize;
            assert!(pending <= taken, "{pending} records are held");
        }
    };
    let open = async {
        cluster.wait_for_requests(1).await;
        cluster.open_gate();
    };
    tokio::time::timeout(PATIENCE, async { tokio::join!(stream, open) })
        .await
        .unwrap();
    producer.flush().await.unwrap();
    assert_eq!(cluster.log("t", 0).len(), taken + 200);
    assert_eq!(producer.metrics().buffer_bytes_used, 0);
}

#[tokio::test(start_paused = true)]
async fn send_gives_up_after_max_block() {
    let cluster = FakeCluster::new(1).topic("t", 1);
    cluster.close_gate();
    let producer = cluster
        .producer(small().max_block(Duration::from_secs(7)))
        .await;
    fill(&producer).await;
    let started = Instant::now();
    let error = producer.send(record()).await.unwrap_err();
    assert_eq!(started.elapsed().as_secs(), 7);
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert_eq!(error.delivery(), Delivery::NotSent);
    assert!(error.to_string().contains("buffer.memory"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn try_send_never_waits() {
    let cluster = FakeCluster::new(1).topic("t", 1);
    cluster.close_gate();
    let producer = cluster.producer(small()).await;
    let error = producer.try_send(record()).unwrap_err();
    assert!(error.to_string().contains("metadata of topic t"), "{error}");
    fill(&producer).await;
    let error = producer.try_send(record()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert_ne!(error.disposition(), Disposition::Fatal);
    assert_eq!(error.delivery(), Delivery::NotSent);
}

#[tokio::test(start_paused = true)]
async fn lingering_batches_make_room_for_those_who_wait() {
    let cluster = FakeCluster::new(1).topic("t", 1);
    let config = small()
        .linger(HOUR)
        .delivery_timeout(2 * HOUR)
        .batch_size(1024 * 1024)
        .max_request_size(BUFFER);
    let producer = cluster.producer(config).await;
    fill(&producer).await;
    let started = Instant::now();
    drop(producer.send(record()).await.unwrap());
    assert!(
        started.elapsed() < Duration::from_secs(1),
        "{:?}",
        started.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_send_leaves_nothing_behind() {
    let cluster = FakeCluster::new(1).topic("t", 1);
    cluster.close_gate();
    let producer = cluster.producer(small()).await;
    let taken = fill(&producer).await;
    let used = producer.metrics().buffer_bytes_used;
    let waiting = tokio::time::timeout(Duration::from_secs(1), producer.send(record())).await;
    assert!(waiting.is_err());
    assert_eq!(producer.metrics().buffer_bytes_used, used);
    cluster.open_gate();
    producer.flush().await.unwrap();
    assert_eq!(cluster.log("t", 0).len(), taken);
}

#[tokio::test(start_paused = true)]
async fn a_record_larger_than_max_request_size_is_refused_at_once() {
    let cluster = FakeCluster::new(1).topic("t", 1);
    let producer = cluster.producer(small()).await;
    let record = ProducerRecord::new("t").value(vec![0; 4 * 1024]);
    let error = producer.send(record).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    assert_eq!(error.delivery(), Delivery::NotSent);
    assert!(error.to_string().contains("max.request.size"), "{error}");
    assert!(cluster.produced().is_empty());
}
