//! Commits, and where reading resumes.

use std::time::Duration;

use ferrokafka_consumer_group::{
    CommitOffsets, Consumer, ErrorKind, OffsetAndMetadata, OffsetReset,
};
use tokio::time::Instant;

use crate::support::*;

#[tokio::test]
async fn redelivery_begins_exactly_at_the_committed_offset() {
    let broker = broker("t", 1).await;
    let client = connect(&broker).await;
    produce(&client, &tp("t", 0), 20).await;
    let mut a = Reader::join(&broker, config("g"), "t").await;
    a.until("all", |a| a.count() == 20).await;
    let offset = OffsetAndMetadata::new(7).with_metadata("half way");
    a.consumer
        .commit([(tp("t", 0), offset.clone())])
        .await
        .unwrap();
    a.consumer.close(Duration::from_secs(5)).await.unwrap();

    let mut b = Reader::join(&broker, config("g"), "t").await;
    b.until("the rest", |b| b.count() == 13).await;
    assert_eq!(b.seen[&tp("t", 0)], (7..20).collect::<Vec<i64>>());
    let committed = b.consumer.committed(&[tp("t", 0)]).await.unwrap();
    assert_eq!(committed[&tp("t", 0)], Some(offset));
}

#[tokio::test]
async fn consumed_positions_are_committed_for_all_partitions() {
    let broker = broker("t", 3).await;
    let client = connect(&broker).await;
    produce_all(&client, "t", 3, 4).await;
    let mut a = Reader::join(&broker, config("g"), "t").await;
    a.until("all", |a| a.count() == 12).await;
    a.consumer.commit(CommitOffsets::Consumed).await.unwrap();
    let all: Vec<_> = (0..3).map(|p| tp("t", p)).collect();
    let committed = a.consumer.committed(&all).await.unwrap();
    assert!(
        committed.values().all(|c| c.as_ref().unwrap().offset == 4),
        "{committed:?}"
    );
    assert!(all.iter().all(|tp| a.consumer.lag(tp) == Some(0)));
}

#[tokio::test]
async fn commits_in_the_background_keep_their_order() {
    let broker = broker("t", 1).await;
    let client = connect(&broker).await;
    produce(&client, &tp("t", 0), 10).await;
    let mut a = Reader::join(&broker, config("g"), "t").await;
    a.until("all", |a| a.count() == 10).await;
    let commits: Vec<_> = (1..=10)
        .map(|n| {
            a.consumer
                .commit_async([(tp("t", 0), OffsetAndMetadata::new(n))])
        })
        .collect();
    for commit in commits {
        commit.await.unwrap();
    }
    let committed = a.consumer.committed(&[tp("t", 0)]).await.unwrap();
    assert_eq!(committed[&tp("t", 0)].as_ref().unwrap().offset, 10);
}

#[tokio::test]
async fn no_commit_passes_a_record_that_was_not_polled() {
    let broker = broker("t", 1).await;
    let client = connect(&broker).await;
    produce(&client, &tp("t", 0), 20).await;
    let mut a = Reader::join(&broker, config("g").max_poll_records(5), "t").await;
    a.until("the first records", |a| a.count() == 5).await;
    let error = a
        .consumer
        .commit([(tp("t", 0), OffsetAndMetadata::new(6))])
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert_eq!(error.topic_partition(), Some(&tp("t", 0)));
    a.consumer.commit(CommitOffsets::Consumed).await.unwrap();
    let committed = a.consumer.committed(&[tp("t", 0)]).await.unwrap();
    assert_eq!(committed[&tp("t", 0)].as_ref().unwrap().offset, 5);
}

#[tokio::test]
async fn automatic_commit_covers_what_earlier_polls_returned() {
    let broker = broker("t", 1).await;
    let client = connect(&broker).await;
    produce(&client, &tp("t", 0), 20).await;
    let auto = config("g")
        .enable_auto_commit(true)
        .auto_commit_interval(Duration::ZERO)
        .max_poll_records(5);
    let mut a = Reader::join(&broker, auto, "t").await;
    a.until("the first records", |a| a.count() == 5).await;
    let at = |c: &std::collections::BTreeMap<_, Option<OffsetAndMetadata>>| {
        c[&tp("t", 0)].as_ref().map_or(0, |c| c.offset)
    };
    // The five are in the application's hands: a crash now must bring them again.
    let committed = a.consumer.committed(&[tp("t", 0)]).await.unwrap();
    assert_eq!(at(&committed), 0);
    assert_eq!(a.poll().await.len(), 5);
    let deadline = Instant::now() + PATIENCE;
    while at(&a.consumer.committed(&[tp("t", 0)]).await.unwrap()) < 5 {
        assert!(Instant::now() < deadline, "the automatic commit never came");
    }
    assert_eq!(at(&a.consumer.committed(&[tp("t", 0)]).await.unwrap()), 5);
    // Closing commits what was polled.
    a.consumer.close(Duration::from_secs(5)).await.unwrap();
    let mut b = Reader::join(&broker, config("g"), "t").await;
    b.until("the rest", |b| b.count() == 10).await;
    assert_eq!(b.seen[&tp("t", 0)][0], 10);
}

#[tokio::test]
async fn killed_consumer_commits_nothing() {
    let broker = broker("t", 1).await;
    let client = connect(&broker).await;
    produce(&client, &tp("t", 0), 5).await;
    let auto = config("g").enable_auto_commit(true);
    let mut a = Reader::join(&broker, auto, "t").await;
    a.until("all", |a| a.count() == 5).await;
    a.consumer.kill();
    let mut b = Reader::join(&broker, config("g"), "t").await;
    b.until("everything again", |b| b.count() == 5).await;
}

#[tokio::test]
async fn dropped_poll_loses_no_record() {
    let broker = broker("t", 2).await;
    let client = connect(&broker).await;
    produce_all(&client, "t", 2, 50).await;
    let mut a = Reader::join(&broker, config("g").max_poll_records(7), "t").await;
    let deadline = Instant::now() + PATIENCE;
    while a.count() < 100 {
        assert!(Instant::now() < deadline, "records missing: {}", a.count());
        // Polled once and dropped, whatever it was waiting for.
        let records = futures_util::FutureExt::now_or_never(a.consumer.poll(PATIENCE));
        match records {
            Some(records) => {
                for record in &records.unwrap() {
                    a.seen
                        .entry(record.topic_partition())
                        .or_default()
                        .push(record.offset);
                }
            }
            None => tokio::task::yield_now().await,
        }
    }
    for offsets in a.seen.values() {
        assert_eq!(*offsets, (0..50).collect::<Vec<i64>>());
    }
}

#[tokio::test]
async fn lag_is_none_without_a_commit() {
    let broker = broker("t", 1).await;
    let client = connect(&broker).await;
    produce(&client, &tp("t", 0), 10).await;
    let mut a = Reader::join(&broker, config("g"), "t").await;
    a.until("all", |a| a.count() == 10).await;
    assert_eq!(a.consumer.lag(&tp("t", 0)), None);
    a.consumer
        .commit([(tp("t", 0), OffsetAndMetadata::new(4))])
        .await
        .unwrap();
    assert_eq!(a.consumer.lag(&tp("t", 0)), Some(6));
}

#[tokio::test]
async fn reset_policy_applies_without_a_commit() {
    let broker = broker("t", 1).await;
    let client = connect(&broker).await;
    produce(&client, &tp("t", 0), 3).await;

    let mut earliest = Reader::join(&broker, config("earliest"), "t").await;
    earliest.until("the first record", |r| r.count() == 3).await;

    let latest = config("latest").auto_offset_reset(OffsetReset::Latest);
    let mut latest = Reader::join(&broker, latest, "t").await;
    latest
        .until("a position", |r| {
            r.consumer.position(&tp("t", 0)) == Some(3)
        })
        .await;
    produce(&client, &tp("t", 0), 2).await;
    latest.until("the new records", |r| r.count() == 2).await;
    assert_eq!(latest.seen[&tp("t", 0)], [3, 4]);

    let none = config("none").auto_offset_reset(OffsetReset::None);
    let mut none = Consumer::with_client(connect(&broker).await, none).unwrap();
    none.subscribe(["t"], ferrokafka_consumer_group::NoListener)
        .unwrap();
    let deadline = Instant::now() + PATIENCE;
    let error = loop {
        assert!(Instant::now() < deadline);
        if let Err(error) = none.poll(Duration::from_millis(50)).await {
            break error;
        }
    };
    assert_eq!(error.topic_partition(), Some(&tp("t", 0)));
    assert!(error.hint().unwrap().contains("auto.offset.reset"));
    none.kill();
}
