//! Flush, close, drop: nothing is left in the dark, nobody waits for ever.

use std::time::Duration;

use ferrokafka_client::{Delivery, ErrorKind};
use ferrokafka_producer::{ProducerConfig, ProducerRecord};
use tokio::time::{Instant, timeout};

use crate::fake::{FakeCluster, PATIENCE};

const HOUR: Duration = Duration::from_secs(3_600);

fn patient() -> ProducerConfig {
    ProducerConfig::new()
        .linger(HOUR)
        .delivery_timeout(2 * HOUR)
}

fn record(n: usize) -> ProducerRecord {
    ProducerRecord::new("t").partition(0).value(n.to_string())
}

#[tokio::test(start_paused = true)]
async fn flush_sends_what_lingers_and_waits_for_the_answers() {
    let cluster = FakeCluster::new(1).topic("t", 1);
    let producer = cluster.producer(patient()).await;
    let mut deliveries = Vec::new();
    for n in 0..5 {
        deliveries.push(producer.send(record(n)).await.unwrap());
    }
    assert!(deliveries.iter().all(|d| d.try_result().is_none()));
    let started = Instant::now();
    producer.flush().await.unwrap();
    assert!(started.elapsed() < Duration::from_secs(1));
    assert!(deliveries.iter().all(|d| d.try_result().is_some()));
    assert_eq!(cluster.log("t", 0).len(), 5);
}

#[tokio::test(start_paused = true)]
async fn close_sends_everything_and_refuses_the_rest() {
    let cluster = FakeCluster::new(1).topic("t", 1);
    let producer = cluster.producer(patient()).await;
    for n in 0..5 {
        drop(producer.send(record(n)).await.unwrap());
    }
    producer.close(Duration::from_secs(10)).await.unwrap();
    assert_eq!(cluster.log("t", 0).len(), 5);
    let error = producer.send(record(5)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
    let error = producer.try_send(record(5)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
    producer.close(Duration::from_secs(10)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn close_takes_no_record_while_it_drains() {
    let cluster = FakeCluster::new(1).topic("t", 1);
    cluster.close_gate();
    let producer = cluster.producer(patient()).await;
    drop(producer.send(record(0)).await.unwrap());
    let (closed, refused) = tokio::join!(producer.close(Duration::from_secs(10)), async {
        cluster.wait_for_requests(1).await;
        let refused = producer.send(record(1)).await.map(drop);
        cluster.open_gate();
        refused
    });
    closed.unwrap();
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(cluster.log("t", 0).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn close_is_over_in_time_and_fails_what_is_left() {
    let cluster = FakeCluster::new(1).topic("t", 1);
    let producer = cluster.producer(patient().batch_size(1)).await;
    cluster.close_gate();
    let sent = producer.send(record(0)).await.unwrap();
    let unsent = producer.send(record(1)).await.unwrap();
    cluster.wait_for_requests(1).await;
    let started = Instant::now();
    let error = producer.close(Duration::from_secs(3)).await.unwrap_err();
    assert_eq!(started.elapsed().as_secs(), 3);
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(error.to_string().contains("2 records"), "{error}");
    let error = timeout(PATIENCE, sent).await.unwrap().unwrap_err();
    assert_eq!(
        (error.kind(), error.delivery()),
        (ErrorKind::Closed, Delivery::Unknown)
    );
    let error = timeout(PATIENCE, unsent).await.unwrap().unwrap_err();
    assert_eq!(
        (error.kind(), error.delivery()),
        (ErrorKind::Closed, Delivery::NotSent)
    );
}

#[tokio::test(start_paused = true)]
async fn close_wakes_those_who_wait_for_memory() {
    let cluster = FakeCluster::new(1).topic("t", 1);
    cluster.close_gate();
    let config = ProducerConfig::new()
        .buffer_memory(2_000)
        .max_request_size(2_000);
    let producer = cluster.producer(config).await;
    let record = || ProducerRecord::new("t").value(vec![0; 1_500]);
    drop(producer.send(record()).await.unwrap());
    let (waiting, closed) = tokio::join!(producer.send(record()), async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        producer.close(Duration::from_secs(1)).await
    });
    assert_eq!(waiting.unwrap_err().kind(), ErrorKind::Closed);
    assert!(closed.is_err());
}

#[tokio::test(start_paused = true)]
async fn dropped_deliveries_end_with_an_error() {
    let cluster = FakeCluster::new(1).topic("t", 1);
    let producer = cluster.producer(patient()).await;
    let delivery = producer.send(record(0)).await.unwrap();
    let clone = producer.clone();
    drop(producer);
    assert!(delivery.try_result().is_none(), "a clone is still there");
    drop(clone);
    let error = timeout(PATIENCE, delivery).await.unwrap().unwrap_err();
    assert_eq!(
        (error.kind(), error.delivery()),
        (ErrorKind::Closed, Delivery::NotSent)
    );
    assert!(cluster.produced().is_empty());
}
