//! What the listener is told, and what it may do.

use std::sync::Arc;
use std::time::Duration;

use ferrokafka_client::TopicPartition;
use ferrokafka_consumer_group::{
    BoxFuture, CommitOffsets, Consumer, ErrorKind, RebalanceContext, RebalanceListener,
};
use ferrokafka_wire::ErrorCode;
use ferrokafka_wire::messages::ApiKey;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::support::*;

#[tokio::test]
async fn listener_commits_in_revoked_and_nothing_is_delivered_twice() {
    let broker = broker("t", 4).await;
    let client = connect(&broker).await;
    produce_all(&client, "t", 4, 10).await;
    let mut a = Reader::join_with(&broker, config("g"), "t", Notes::committing()).await;
    a.until("all records", |a| a.count() == 40).await;
    let mut b = Reader::join_with(&broker, config("g"), "t", Notes::committing()).await;
    drive_to(&mut [&mut a, &mut b], &[2, 2]).await;
    produce_all(&client, "t", 4, 5).await;
    drive("the new records", &mut [&mut a, &mut b], |r| {
        r[0].count() + r[1].count() >= 60
    })
    .await;
    for (tp, offsets) in &b.seen {
        assert_eq!(
            *offsets,
            (10..15).collect::<Vec<i64>>(),
            "{tp} went on where a committed"
        );
    }
}

#[tokio::test]
async fn lost_is_told_apart_from_revoked_and_cannot_be_committed() {
    let broker = broker("t", 2).await;
    let client = connect(&broker).await;
    produce_all(&client, "t", 2, 5).await;
    let mut a = Reader::join(&broker, config("g"), "t").await;
    a.until("all records", |a| a.count() == 10).await;
    let member = a.consumer.group_metadata().unwrap().member_id;
    assert!(broker.expire_session("g", &member).await);
    // The coordinator has forgotten the member; the member learns it by this commit or a heartbeat.
    let error = a
        .consumer
        .commit(CommitOffsets::Consumed)
        .await
        .unwrap_err();
    let codes = [
        Some(ErrorCode::UnknownMemberId),
        Some(ErrorCode::IllegalGeneration),
    ];
    assert!(codes.contains(&error.code()), "{error:?}");
    a.until("the loss", |a| !a.notes.all_lost().is_empty())
        .await;
    assert_eq!(a.notes.all_lost().len(), 2);
    assert!(a.notes.all_revoked().is_empty());
    a.until("everything again", |a| a.count() == 20).await;
    assert_ne!(a.consumer.group_metadata().unwrap().member_id, member);
    a.consumer.commit(CommitOffsets::Consumed).await.unwrap();
}

#[tokio::test]
async fn commit_begun_before_a_loss_is_not_repeated_after_it() {
    let broker = broker("t", 1).await;
    let client = connect(&broker).await;
    produce(&client, &tp("t", 0), 10).await;
    let mut a = Reader::join(&broker, config("g"), "t").await;
    a.until("all records", |a| a.count() == 10).await;
    // The commit is retried while the membership is lost and the partition comes back to us.
    broker
        .on(ApiKey::OffsetCommit)
        .always()
        .error(ErrorCode::CoordinatorLoadInProgress);
    let commit = a.consumer.commit_async(CommitOffsets::Consumed);
    let deadline = Instant::now() + PATIENCE;
    broker
        .wait_for_requests(ApiKey::OffsetCommit, 1, deadline)
        .await
        .unwrap();
    let member = a.consumer.group_metadata().unwrap().member_id;
    assert!(broker.expire_session("g", &member).await);
    a.until("everything again", |a| a.count() == 20).await;
    broker.clear_faults();
    let error = commit.await.unwrap_err();
    assert!(error.code().is_some(), "{error:?}");
    let committed = a.consumer.committed(&[tp("t", 0)]).await.unwrap();
    assert_eq!(committed[&tp("t", 0)], None);
}

#[tokio::test]
async fn automatic_commit_comes_before_partitions_are_given_back() {
    let broker = broker("t", 4).await;
    let client = connect(&broker).await;
    produce_all(&client, "t", 4, 10).await;
    let auto = || {
        config("g")
            .enable_auto_commit(true)
            .auto_commit_interval(Duration::from_secs(600))
    };
    let mut a = Reader::join(&broker, auto(), "t").await;
    a.until("all records", |a| a.count() == 40).await;
    let mut b = Reader::join(&broker, auto(), "t").await;
    drive_to(&mut [&mut a, &mut b], &[2, 2]).await;
    produce_all(&client, "t", 4, 5).await;
    drive("the new records", &mut [&mut a, &mut b], |r| {
        r[0].count() + r[1].count() >= 60
    })
    .await;
    for (tp, offsets) in &b.seen {
        assert_eq!(
            *offsets,
            (10..15).collect::<Vec<i64>>(),
            "{tp} went on where a stood"
        );
    }
}

/// Starts every partition at offset 3.
struct Seeking;

impl RebalanceListener for Seeking {
    fn assigned<'a>(
        &'a mut self,
        ctx: &'a mut RebalanceContext<'_>,
        partitions: &'a [TopicPartition],
    ) -> BoxFuture<'a, ()> {
        for tp in partitions {
            ctx.seek(tp, 3).unwrap();
        }
        Box::pin(async {})
    }
}

#[tokio::test]
async fn listener_decides_where_to_start() {
    let broker = broker("t", 1).await;
    let client = connect(&broker).await;
    produce(&client, &tp("t", 0), 5).await;
    let mut a = Consumer::with_client(client, config("g")).unwrap();
    a.subscribe(["t"], Seeking).unwrap();
    let deadline = Instant::now() + PATIENCE;
    let mut offsets = Vec::new();
    while offsets.len() < 2 {
        assert!(Instant::now() < deadline);
        let records = a.poll(Duration::from_millis(50)).await.unwrap();
        offsets.extend(records.iter().map(|r| r.offset));
    }
    assert_eq!(offsets, [3, 4]);
    a.kill();
}

#[tokio::test]
async fn second_holder_of_a_static_identity_fences_the_first() {
    let broker = broker("t", 2).await;
    let named = || config("g").group_instance_id("one");
    let mut a = Reader::join(&broker, named(), "t").await;
    drive_to(&mut [&mut a], &[2]).await;
    let mut b = Reader::join(&broker, named(), "t").await;
    drive_to(&mut [&mut b], &[2]).await;
    let deadline = Instant::now() + PATIENCE;
    let error = loop {
        assert!(Instant::now() < deadline, "a was never told");
        if let Err(error) = a.consumer.poll(Duration::from_millis(50)).await {
            break error;
        }
    };
    assert_eq!(error.kind(), ErrorKind::Fenced);
    assert_eq!(a.notes.all_lost().len(), 2);
    assert!(a.consumer.assignment().is_empty());
}

/// Waits in `revoked` until it is let go.
struct Waiting {
    notes: Notes,
    gate: Arc<Notify>,
}

impl RebalanceListener for Waiting {
    fn revoked<'a>(
        &'a mut self,
        ctx: &'a mut RebalanceContext<'_>,
        partitions: &'a [TopicPartition],
    ) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            self.gate.notified().await;
            self.notes.revoked(ctx, partitions).await;
        })
    }
}

#[tokio::test]
async fn partition_is_given_to_nobody_while_its_owner_still_revokes() {
    let broker = broker("t", 2).await;
    let (notes, gate) = (Notes::default(), Arc::new(Notify::new()));
    let mut a = Consumer::with_client(connect(&broker).await, config("g")).unwrap();
    a.subscribe(
        ["t"],
        Waiting {
            notes: notes.clone(),
            gate: gate.clone(),
        },
    )
    .unwrap();
    let deadline = Instant::now() + PATIENCE;
    while a.assignment().len() < 2 {
        assert!(Instant::now() < deadline);
        a.poll(Duration::from_millis(50)).await.unwrap();
    }
    let mut b = Reader::join(&broker, config("g"), "t").await;
    let until = Instant::now() + Duration::from_millis(1500);
    while Instant::now() < until {
        // The callback goes on over many polls that end, as it waits longer than each.
        a.poll(Duration::from_millis(20)).await.unwrap();
        b.poll().await;
        assert!(b.consumer.assignment().is_empty());
    }
    assert!(notes.all_revoked().is_empty(), "still waiting");
    gate.notify_one();
    let deadline = Instant::now() + PATIENCE;
    while b.consumer.assignment().is_empty() {
        assert!(Instant::now() < deadline);
        a.poll(Duration::from_millis(20)).await.unwrap();
        b.poll().await;
    }
    assert_eq!(
        notes.all_revoked().into_iter().collect::<Vec<_>>(),
        b.consumer.assignment()
    );
    a.kill();
}
