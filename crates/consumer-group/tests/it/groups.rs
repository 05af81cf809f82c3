//! Members share, join, leave, die.

use std::time::Duration;

use ferrokafka_consumer_group::{Assignor, GroupEventKind};
use ferrokafka_wire::messages::ApiKey;
use tokio::time::Instant;

use crate::support::*;

#[tokio::test]
async fn two_members_share_and_a_third_takes_only_its_part() {
    let broker = broker("t", 6).await;
    let client = connect(&broker).await;
    produce_all(&client, "t", 6, 10).await;
    let mut a = Reader::join(&broker, config("g"), "t").await;
    drive_to(&mut [&mut a], &[6]).await;
    let mut b = Reader::join(&broker, config("g"), "t").await;
    drive_to(&mut [&mut a, &mut b], &[3, 3]).await;
    drive("all records", &mut [&mut a, &mut b], |r| {
        r[0].count() + r[1].count() >= 60
    })
    .await;
    let (kept_a, kept_b) = (a.consumer.assignment(), b.consumer.assignment());
    a.events();
    b.events();
    let revoked_before = a.notes.all_revoked().len();
    assert_eq!(revoked_before, 3, "only what moves is revoked");

    let mut c = Reader::join(&broker, config("g"), "t").await;
    drive_to(&mut [&mut a, &mut b, &mut c], &[2, 2, 2]).await;
    let moved: usize = [&mut a, &mut b]
        .into_iter()
        .flat_map(Reader::events)
        .map(|event| match event {
            GroupEventKind::Revoked { partitions, .. } => partitions.len(),
            GroupEventKind::Lost { .. } => panic!("nothing is lost"),
            _ => 0,
        })
        .sum();
    assert_eq!(moved, 2, "as many partitions move as the newcomer gets");
    let mut taken = c.consumer.assignment();
    taken.retain(|tp| kept_a.contains(tp) || kept_b.contains(tp));
    assert_eq!(taken.len(), 2);
    for reader in [a, b, c] {
        reader.consumer.close(Duration::from_secs(5)).await.unwrap();
    }
}

#[tokio::test]
async fn records_of_kept_partitions_are_served_while_the_group_rebalances() {
    let broker = broker("t", 2).await;
    let client = connect(&broker).await;
    let mut a = Reader::join(&broker, config("g"), "t").await;
    drive_to(&mut [&mut a], &[2]).await;
    let held = broker.on(ApiKey::SyncGroup).always().hold();
    let mut b = Reader::join(&broker, config("g"), "t").await;
    let joining = |e: &GroupEventKind| matches!(e, GroupEventKind::Joining { .. });
    a.events();
    let deadline = Instant::now() + PATIENCE;
    while !a.events().iter().any(joining) {
        assert!(Instant::now() < deadline, "a never joined again");
        a.poll().await;
        b.poll().await;
    }
    produce_all(&client, "t", 2, 3).await;
    a.until("records during the rebalance", |a| a.count() == 6)
        .await;
    held.release();
    drive_to(&mut [&mut a, &mut b], &[1, 1]).await;
}

#[tokio::test]
async fn eager_members_give_everything_back() {
    for assignor in [Assignor::Range, Assignor::RoundRobin] {
        let broker = broker("t", 4).await;
        let eager = || config("g").assignors(vec![assignor.clone()]);
        let mut a = Reader::join(&broker, eager(), "t").await;
        drive_to(&mut [&mut a], &[4]).await;
        let mut b = Reader::join(&broker, eager(), "t").await;
        drive_to(&mut [&mut a, &mut b], &[2, 2]).await;
        assert_eq!(a.notes.all_revoked().len(), 4, "{assignor:?}");
    }
}

#[tokio::test]
async fn killed_member_is_taken_over_when_its_session_ends() {
    let broker = broker("t", 4).await;
    let client = connect(&broker).await;
    produce_all(&client, "t", 4, 5).await;
    let mut a = Reader::join(&broker, config("g"), "t").await;
    let mut b = Reader::join(&broker, config("g"), "t").await;
    drive_to(&mut [&mut a, &mut b], &[2, 2]).await;
    let killed = Instant::now();
    b.consumer.kill();
    a.until("the takeover", |a| a.consumer.assignment().len() == 4)
        .await;
    let took = killed.elapsed();
    assert!(
        took > Duration::from_millis(1000),
        "not before the session ended: {took:?}"
    );
    a.until("every record", |a| a.seen.len() == 4).await;
    assert!(a.notes.all_revoked().is_empty() || a.notes.all_lost().is_empty());
}

#[tokio::test]
async fn closed_member_is_taken_over_at_once() {
    let broker = broker("t", 4).await;
    let slow = || config("g").session_timeout(Duration::from_secs(30));
    let mut a = Reader::join(&broker, slow(), "t").await;
    let mut b = Reader::join(&broker, slow(), "t").await;
    drive_to(&mut [&mut a, &mut b], &[2, 2]).await;
    b.consumer.close(Duration::from_secs(5)).await.unwrap();
    assert_eq!(
        b.notes.told().last(),
        Some(&Told::Revoked(b.notes.all_revoked().into_iter().collect()))
    );
    let left = Instant::now();
    a.until("the takeover", |a| a.consumer.assignment().len() == 4)
        .await;
    assert!(left.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn static_member_comes_back_without_a_rebalance() {
    let broker = broker("t", 4).await;
    let named = |name: &str| {
        config("g")
            .session_timeout(Duration::from_secs(10))
            .group_instance_id(name.to_owned())
    };
    let mut a = Reader::join(&broker, named("one"), "t").await;
    let mut b = Reader::join(&broker, named("two"), "t").await;
    drive_to(&mut [&mut a, &mut b], &[2, 2]).await;
    let generation = a.consumer.group_metadata().unwrap().generation;
    let owned = b.consumer.assignment();
    b.consumer.close(Duration::from_secs(5)).await.unwrap();
    let mut b = Reader::join(&broker, named("two"), "t").await;
    drive_to(&mut [&mut a, &mut b], &[2, 2]).await;
    assert_eq!(b.consumer.assignment(), owned);
    assert_eq!(a.consumer.group_metadata().unwrap().generation, generation);
}

#[tokio::test]
async fn member_that_stops_polling_leaves_and_learns_of_it() {
    let broker = broker("t", 2).await;
    let lazy = config("g").max_poll_interval(Duration::from_millis(700));
    let mut a = Reader::join(&broker, lazy, "t").await;
    let mut b = Reader::join(&broker, config("g"), "t").await;
    drive_to(&mut [&mut a, &mut b], &[1, 1]).await;
    b.until("what a left behind", |b| b.consumer.assignment().len() == 2)
        .await;
    drive_to(&mut [&mut a, &mut b], &[1, 1]).await;
    assert_eq!(a.notes.all_lost().len(), 1, "{:?}", a.notes.told());
}

#[tokio::test]
async fn new_partitions_are_found_by_the_leader() {
    // Counts come with metadata; the refresh here stands for the one every metadata.max.age.ms.
    let broker = broker("t", 2).await;
    let mut a = Reader::join(&broker, config("g"), "missing").await;
    a.until("a generation without partitions", |a| {
        a.notes.told() == [Told::Assigned(vec![])]
    })
    .await;
    let client = connect(&broker).await;
    create_topic(&client, "missing", 3).await;
    a.until("the partitions of the new topic", |a| {
        a.consumer.assignment().len() == 3
    })
    .await;
}

async fn create_topic(client: &ferrokafka_client::Client, name: &str, partitions: i32) {
    use ferrokafka_client::{Lane, Route};
    use ferrokafka_wire::ErrorCode;
    use ferrokafka_wire::messages::create_topics_request::CreatableTopic;
    use ferrokafka_wire::messages::{CreateTopicsRequest, TopicName};
    use ferrokafka_wire::protocol::StrBytes;
    let build = |_| {
        let topic = CreatableTopic::default()
            .with_name(TopicName(StrBytes::from_string(name.to_owned())))
            .with_num_partitions(partitions)
            .with_replication_factor(1);
        CreateTopicsRequest::default()
            .with_topics(vec![topic])
            .with_timeout_ms(5000)
    };
    let deadline = Instant::now() + PATIENCE;
    client
        .call(
            Route::Controller,
            Lane::Control,
            deadline,
            build,
            |response| ErrorCode::from_code(response.topics[0].error_code),
        )
        .await
        .unwrap();
}
