//! Requests lost, refused and repeated: nothing is written twice or out of order, and what is said about
//! a failed record is true.

use std::time::Duration;

use ferrokafka_client::{Delivery, ErrorKind};
use ferrokafka_producer::{Acks, ProducerConfig, ProducerRecord};
use ferrokafka_wire::ErrorCode;
use tokio::time::Instant;

use crate::fake::{Do, FakeCluster};

fn record(value: impl Into<bytes::Bytes>) -> ProducerRecord {
    ProducerRecord::new("t").partition(0).value(value)
}

fn at_once() -> ProducerConfig {
    ProducerConfig::new().linger(Duration::ZERO)
}

/// A batch for each record, of which several are in flight.
fn small_batches() -> ProducerConfig {
    at_once().batch_size(100)
}

fn value(n: usize) -> String {
    format!("{n:0>90}")
}

fn values(n: usize) -> Vec<String> {
    (0..n).map(value).collect()
}

#[tokio::test(start_paused = true)]
async fn written_but_unanswered_is_not_written_twice() {
    let cluster = FakeCluster::new(1).topic("t", 1);
    cluster.script([Do::ApplyThenDisconnect]);
    let producer = cluster.producer(at_once()).await;
    let metadata = producer.send(record("a")).await.unwrap().await.unwrap();
    assert_eq!(metadata.offset, 0);
    assert_eq!(cluster.values("t", 0), ["a"]);
    assert_eq!(producer.metrics().batches_retried, 1);
}

#[tokio::test(start_paused = true)]
async fn order_holds_with_five_in_flight_whichever_request_is_lost() {
    for fault in [
        Do::ApplyThenDisconnect,
        Do::Disconnect,
        Do::Refuse(ErrorCode::NotEnoughReplicas),
        Do::Refuse(ErrorCode::NotEnoughReplicasAfterAppend),
        Do::Silence,
    ] {
        for at in 0..6 {
            let cluster = FakeCluster::new(1).topic("t", 1);
            let script = (0..at).map(|_| Do::Apply).chain([fault]);
            cluster.script(script);
            let producer = cluster.producer(small_batches()).await;
            let mut deliveries = Vec::new();
            for n in 0..12 {
                deliveries.push(producer.send(record(value(n))).await.unwrap());
            }
            for (offset, delivery) in (0..).zip(deliveries) {
                let metadata = delivery.await.unwrap();
                assert_eq!(metadata.offset, offset, "{fault:?} at {at}");
            }
            assert_eq!(cluster.values("t", 0), values(12), "{fault:?} at {at}");
            assert_eq!(producer.metrics().epoch_bumps, 0, "{fault:?} at {at}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_random_run_of_faults_neither_loses_nor_repeats_nor_reorders() {
    for seed in 0..20 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let cluster = FakeCluster::new(3).topic("t", 1);
        let faults = [
            Do::Apply,
            Do::Apply,
            Do::ApplyThenDisconnect,
            Do::Disconnect,
            Do::Refuse(ErrorCode::NotLeaderOrFollower),
            Do::Refuse(ErrorCode::RequestTimedOut),
        ];
        cluster.script((0..60).map(|_| faults[rng.usize(..faults.len())]));
        let producer = cluster.producer(small_batches()).await;
        for n in 0..100 {
            drop(producer.send(record(value(n))).await.unwrap());
            if rng.u8(..8) == 0 {
                cluster.move_leader("t", 0, rng.i32(1..=3));
                tokio::time::sleep(Duration::from_millis(rng.u64(..400))).await;
            }
        }
        producer.flush().await.unwrap();
        assert_eq!(cluster.values("t", 0), values(100), "seed {seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_partition_follows_its_leader_and_keeps_its_order() {
    let cluster = FakeCluster::new(3).topic("t", 1);
    let producer = cluster.producer(small_batches()).await;
    for n in 0..60 {
        if n % 20 == 10 {
            cluster.move_leader("t", 0, 2 + n / 20 % 2);
        }
        drop(producer.send(record(value(n as usize))).await.unwrap());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    producer.flush().await.unwrap();
    assert_eq!(cluster.values("t", 0), values(60));
    assert_eq!(producer.metrics().epoch_bumps, 0);
}

#[tokio::test(start_paused = true)]
async fn expired_without_an_answer_is_unknown_and_later_records_start_a_new_epoch() {
    let cluster = FakeCluster::new(1).topic("t", 1);
    let producer = cluster
        .producer(at_once().delivery_timeout(Duration::from_secs(40)))
        .await;
    producer.send(record("a")).await.unwrap().await.unwrap();
    cluster.otherwise(Do::Silence);
    let started = Instant::now();
    let error = producer.send(record("b")).await.unwrap().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert_eq!(error.delivery(), Delivery::Unknown);
    assert!(error.to_string().contains("delivery.timeout.ms"), "{error}");
    assert!(error.to_string().contains("t-0"), "{error}");
    assert_eq!(started.elapsed().as_secs(), 40);
    cluster.otherwise(Do::Apply);
    producer.send(record("c")).await.unwrap().await.unwrap();
    let log = cluster.log("t", 0);
    let seen: Vec<_> = log.iter().map(|s| (s.epoch, &s.value[..])).collect();
    assert_eq!(seen, [(0, &b"a"[..]), (1, b"c")]);
    assert_eq!(producer.metrics().epoch_bumps, 1);
}

#[tokio::test(start_paused = true)]
async fn refused_until_it_expires_is_not_sent() {
    let cluster = FakeCluster::new(1).topic("t", 1);
    cluster.otherwise(Do::Refuse(ErrorCode::NotEnoughReplicas));
    let producer = cluster.producer(at_once()).await;
    let error = producer.send(record("a")).await.unwrap().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert_eq!(error.delivery(), Delivery::NotSent);
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains("NOT_ENOUGH_REPLICAS"), "{cause}");
    assert!(cluster.log("t", 0).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_batch_the_broker_finds_too_large_fails_alone_and_says_what_to_do() {
    let cluster = FakeCluster::new(1).topic("t", 1);
    cluster.refuse_batches_above(1_000);
    let producer = cluster.producer(small_batches()).await;
    let before = producer.send(record("before")).await.unwrap();
    let large = producer.send(record(vec![0; 2_000])).await.unwrap();
    let after = producer.send(record("after")).await.unwrap();
    before.await.unwrap();
    let error = large.await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::MessageTooLarge));
    assert_eq!(error.delivery(), Delivery::NotSent);
    assert!(error.hint().unwrap().contains("max.message.bytes"));
    after.await.unwrap();
    assert_eq!(cluster.values("t", 0), ["before", "after"]);
}

#[tokio::test(start_paused = true)]
async fn an_unknown_topic_is_waited_for_and_then_explained() {
    let cluster = FakeCluster::new(1);
    let producer = cluster
        .producer(ProducerConfig::new().max_block(Duration::from_secs(5)))
        .await;
    let started = Instant::now();
    let error = producer.send(record("a")).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::UnknownTopicOrPartition));
    assert_eq!(error.delivery(), Delivery::NotSent);
    assert!(error.to_string().contains("topic t"), "{error}");
    assert!(error.hint().unwrap().contains("max.block.ms"));
    let waited = started.elapsed();
    assert!(
        waited > Duration::from_secs(3) && waited < Duration::from_secs(6),
        "{waited:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_topic_created_while_send_waits_is_found() {
    let cluster = FakeCluster::new(1);
    let producer = cluster.producer(ProducerConfig::new()).await;
    let create = async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        cluster.create("t", 1);
    };
    let (sent, ()) = tokio::join!(producer.send(record("a")), create);
    sent.unwrap().await.unwrap();
    assert_eq!(cluster.values("t", 0), ["a"]);
}

#[tokio::test(start_paused = true)]
async fn a_partition_without_a_leader_is_asked_about_until_it_has_one() {
    let cluster = FakeCluster::new(3).topic("t", 1);
    cluster.move_leader("t", 0, -1);
    let producer = cluster.producer(at_once()).await;
    producer.partitions_for("t").await.unwrap();
    // Long enough for everything to have come to rest before the record comes.
    tokio::time::sleep(Duration::from_secs(30)).await;
    let delivery = producer.send(record("a")).await.unwrap();
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert!(delivery.try_result().is_none());
    cluster.move_leader("t", 0, 2);
    let started = Instant::now();
    delivery.await.unwrap();
    assert!(
        started.elapsed() < Duration::from_secs(1),
        "{:?}",
        started.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn a_partition_the_topic_does_not_have_is_an_error() {
    let cluster = FakeCluster::new(1).topic("t", 2);
    let producer = cluster.producer(ProducerConfig::new()).await;
    let error = producer.send(record("a").partition(2)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("2 partitions"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_repeated_batch_counts_as_acknowledged() {
    let cluster = FakeCluster::new(1).topic("t", 1);
    cluster.script([Do::ApplyAsRepeated]);
    let producer = cluster.producer(at_once()).await;
    let metadata = producer.send(record("a")).await.unwrap().await.unwrap();
    assert_eq!(metadata.offset, -1, "the broker has forgotten it");
    let metadata = producer.send(record("b")).await.unwrap().await.unwrap();
    assert_eq!(metadata.offset, 1);
    assert_eq!(cluster.values("t", 0), ["a", "b"]);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_that_names_the_new_leader_costs_no_wait() {
    let cluster = FakeCluster::new(3).topic("t", 1);
    cluster.script([Do::MoveTo(3)]);
    let producer = cluster.producer(at_once()).await;
    producer.partitions_for("t").await.unwrap();
    let started = Instant::now();
    producer.send(record("a")).await.unwrap().await.unwrap();
    assert_eq!(started.elapsed(), Duration::ZERO);
    assert_eq!(cluster.values("t", 0), ["a"]);
}

#[tokio::test(start_paused = true)]
async fn a_topic_without_idempotence_works_too() {
    let cluster = FakeCluster::new(1).topic("t", 1);
    let config = small_batches().idempotence(false).acks(Acks::Leader);
    let producer = cluster.producer(config).await;
    for n in 0..10 {
        drop(producer.send(record(value(n))).await.unwrap());
    }
    producer.flush().await.unwrap();
    assert_eq!(cluster.values("t", 0), values(10));
    assert!(cluster.log("t", 0).iter().all(|s| s.epoch == -1));
}
