//! The broker as a process that is killed: what it answered is still there afterwards.

use ferrokafka_broker::ErrorCode;
use ferrokafka_wire::messages::offset_fetch_request::OffsetFetchRequestTopic;
use ferrokafka_wire::messages::{DeleteGroupsRequest, ListGroupsRequest, OffsetFetchRequest};
use tokio::time::{Duration, Instant};

use crate::driver::Driver;
use crate::group_member::{Member, group_id, topic_name};
use crate::process::Process;

const MORE: [&str; 4] = [
    "--topic",
    "t:2",
    "--config",
    "group.min.session.timeout.ms=100",
];

async fn committed(driver: &mut Driver, group: &str) -> i64 {
    let topic = OffsetFetchRequestTopic::default()
        .with_name(topic_name("t"))
        .with_partition_indexes(vec![0]);
    let request = OffsetFetchRequest::default()
        .with_group_id(group_id(group))
        .with_topics(Some(vec![topic]));
    driver.call(7, &request).await.topics[0].partitions[0].committed_offset
}

#[tokio::test]
async fn a_killed_broker_remembers_groups_members_and_offsets() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Process::start(dir.path(), &MORE).await;
    let mut member = Member::with(broker.driver().await, "g");
    member.join().await;
    member.sync(&[(&member.id.clone(), b"A")]).await;
    let mut simple = Member::with(broker.driver().await, "simple");
    let mut gone = Member::with(broker.driver().await, "gone");
    assert_eq!(gone.commit("t", 0, 1).await, ErrorCode::None);
    let delete = DeleteGroupsRequest::default().with_groups_names(vec![group_id("gone")]);
    assert_eq!(gone.driver.call(2, &delete).await.results[0].error_code, 0);
    for offset in 1..=500 {
        assert_eq!(member.commit("t", 0, offset).await, ErrorCode::None);
        assert_eq!(simple.commit("t", 0, offset * 2).await, ErrorCode::None);
    }
    broker.kill().await;

    let broker = Process::start(dir.path(), &MORE).await;
    member.driver = broker.driver().await;
    assert_eq!(committed(&mut member.driver, "g").await, 500);
    assert_eq!(committed(&mut member.driver, "simple").await, 1000);
    let groups = member
        .driver
        .call(4, &ListGroupsRequest::default())
        .await
        .groups;
    let listed: Vec<_> = groups
        .iter()
        .map(|g| (g.group_id.as_str(), g.group_state.as_str()))
        .collect();
    assert_eq!(listed, [("g", "Stable"), ("simple", "Empty")]);
    // The member goes on in its generation, with its assignment and the right to commit.
    assert_eq!(member.heartbeat().await, ErrorCode::None);
    assert_eq!(&member.sync(&[]).await.assignment[..], b"A");
    assert_eq!(member.commit("t", 0, 501).await, ErrorCode::None);
}

#[tokio::test]
async fn a_member_that_died_with_the_broker_is_evicted_after_the_restart() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Process::start(dir.path(), &MORE).await;
    let mut member = Member::with(broker.driver().await, "g");
    member.session_timeout_ms = 700;
    member.join().await;
    member.sync(&[]).await;
    broker.kill().await;
    drop(member);

    let broker = Process::start(dir.path(), &MORE).await;
    let began = Instant::now();
    let mut heir = Member::with(broker.driver().await, "g");
    let joined = heir.join().await;
    assert_eq!((joined.error_code, joined.members.len()), (0, 1));
    assert_eq!(joined.generation_id, 2);
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
}
