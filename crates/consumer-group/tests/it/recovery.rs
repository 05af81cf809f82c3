//! Brokers, leaders and coordinators that go away, and members that go on.

use std::time::Duration;

use ferrokafka_consumer_group::CommitOffsets;
use ferrokafka_wire::ErrorCode;
use ferrokafka_wire::messages::ApiKey;
use tokio::time::Instant;

use crate::support::*;

#[tokio::test]
async fn reading_goes_on_when_the_leader_moves() {
    let broker = brokers(2, "t", 1).await;
    let client = connect(&broker).await;
    produce(&client, &tp("t", 0), 5).await;
    let mut a = Reader::join(&broker, config("g"), "t").await;
    a.until("the first records", |a| a.count() == 5).await;
    for (node, total) in [(2, 10), (1, 15), (2, 20)] {
        broker.move_leader("t", 0, node).unwrap();
        client.refresh();
        produce(&client, &tp("t", 0), 5).await;
        a.until("records from the new leader", |a| a.count() == total)
            .await;
    }
    assert_eq!(a.seen[&tp("t", 0)], (0..20).collect::<Vec<i64>>());
}

#[tokio::test]
async fn membership_survives_a_coordinator_that_moves() {
    let broker = brokers(2, "t", 2).await;
    let client = connect(&broker).await;
    let mut a = Reader::join(&broker, config("g"), "t").await;
    drive_to(&mut [&mut a], &[2]).await;
    for node in [2, 1] {
        broker.move_coordinator("g", node);
        produce_all(&client, "t", 2, 3).await;
        let before = a.count();
        a.until("records", |a| a.count() == before + 6).await;
        a.consumer.commit(CommitOffsets::Consumed).await.unwrap();
    }
    let mut b = Reader::join(&broker, config("g"), "t").await;
    drive_to(&mut [&mut a, &mut b], &[1, 1]).await;
}

#[tokio::test]
async fn refusals_that_pass_are_survived() {
    let broker = broker("t", 2).await;
    let client = connect(&broker).await;
    produce_all(&client, "t", 2, 5).await;
    for (api, code) in [
        (ApiKey::JoinGroup, ErrorCode::CoordinatorLoadInProgress),
        (ApiKey::SyncGroup, ErrorCode::NotCoordinator),
        (ApiKey::OffsetFetch, ErrorCode::CoordinatorLoadInProgress),
        (ApiKey::ListOffsets, ErrorCode::NotLeaderOrFollower),
        (ApiKey::OffsetCommit, ErrorCode::CoordinatorNotAvailable),
    ] {
        broker.on(api).times(2).error(code);
    }
    let mut a = Reader::join(&broker, config("g"), "t").await;
    a.until("all records", |a| a.count() == 10).await;
    a.consumer.commit(CommitOffsets::Consumed).await.unwrap();
}

#[tokio::test]
async fn connections_that_break_are_replaced() {
    let broker = broker("t", 2).await;
    let client = connect(&broker).await;
    produce_all(&client, "t", 2, 5).await;
    for api in [
        ApiKey::JoinGroup,
        ApiKey::SyncGroup,
        ApiKey::OffsetFetch,
        ApiKey::ListOffsets,
        ApiKey::Fetch,
        ApiKey::OffsetCommit,
        ApiKey::Heartbeat,
    ] {
        broker.on(api).times(1).disconnect();
    }
    let mut a = Reader::join(&broker, config("g"), "t").await;
    a.until("all records", |a| a.count() >= 10).await;
    a.consumer.commit(CommitOffsets::Consumed).await.unwrap();
    assert!(
        a.notes.all_lost().is_empty(),
        "a broken connection is no loss"
    );
    a.consumer.close(Duration::from_secs(5)).await.unwrap();
}

#[tokio::test]
async fn outage_of_the_broker_is_survived() {
    let broker = broker("t", 2).await;
    let client = connect(&broker).await;
    produce_all(&client, "t", 2, 5).await;
    let mut a = Reader::join(
        &broker,
        config("g").session_timeout(Duration::from_secs(10)),
        "t",
    )
    .await;
    a.until("the first records", |a| a.count() == 10).await;
    for api in [
        ApiKey::Fetch,
        ApiKey::Heartbeat,
        ApiKey::Metadata,
        ApiKey::FindCoordinator,
        ApiKey::ApiVersions,
        ApiKey::OffsetCommit,
    ] {
        broker.on(api).always().disconnect();
    }
    let commit = a.consumer.commit_async(CommitOffsets::Consumed);
    let until = Instant::now() + Duration::from_secs(1);
    while Instant::now() < until {
        assert!(a.poll().await.is_empty());
    }
    broker.clear_faults();
    commit.await.unwrap();
    produce_all(&client, "t", 2, 5).await;
    a.until("the later records", |a| a.count() == 20).await;
    assert!(a.notes.all_lost().is_empty());
    assert!(
        a.seen
            .values()
            .all(|offsets| *offsets == (0..10).collect::<Vec<i64>>())
    );
}

#[tokio::test]
async fn heartbeats_are_not_behind_the_barrier() {
    let broker = broker("t", 1).await;
    let held = broker.on(ApiKey::SyncGroup).hold();
    let mut a = Reader::join(&broker, config("g"), "t").await;
    let deadline = Instant::now() + PATIENCE;
    broker
        .wait_for_requests(ApiKey::SyncGroup, 1, deadline)
        .await
        .unwrap();
    // Several heartbeat intervals pass while the answer to SyncGroup is outstanding.
    broker
        .wait_for_requests(ApiKey::Heartbeat, 5, deadline)
        .await
        .unwrap();
    held.release();
    drive_to(&mut [&mut a], &[1]).await;
    assert!(a.notes.all_lost().is_empty());
}

#[tokio::test]
async fn fetches_of_one_broker_do_not_wait_for_another() {
    let broker = brokers(2, "t", 2).await;
    let client = connect(&broker).await;
    broker.move_leader("t", 0, 1).unwrap();
    broker.move_leader("t", 1, 2).unwrap();
    client.refresh();
    produce_all(&client, "t", 2, 1).await;
    let mut a = Reader::join(&broker, config("g"), "t").await;
    a.until("a record of each", |a| a.count() == 2).await;
    let held = broker.on(ApiKey::Fetch).always().node(1).hold();
    produce(&client, &tp("t", 1), 5).await;
    a.until("records of the other broker", |a| a.count() == 7)
        .await;
    produce(&client, &tp("t", 1), 5).await;
    a.until("more of them", |a| a.count() == 12).await;
    held.release();
}

#[tokio::test]
async fn restart_of_the_only_broker_is_survived() {
    let broker = broker("t", 2).await;
    let client = connect(&broker).await;
    produce_all(&client, "t", 2, 5).await;
    let mut a = Reader::join(&broker, config("g"), "t").await;
    a.until("the first records", |a| a.count() == 10).await;
    a.consumer.commit(CommitOffsets::Consumed).await.unwrap();
    broker.crash(1).await.unwrap();
    let until = Instant::now() + Duration::from_millis(500);
    while Instant::now() < until {
        assert!(a.poll().await.is_empty());
    }
    broker.restart(1).await.unwrap();
    let client = connect(&broker).await;
    produce_all(&client, "t", 2, 5).await;
    a.until("the later records", |a| a.count() == 20).await;
    assert!(
        a.seen
            .values()
            .all(|offsets| *offsets == (0..10).collect::<Vec<i64>>())
    );
    a.consumer.commit(CommitOffsets::Consumed).await.unwrap();
}
