//! Commits, fetches, and the administration of groups.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use ferrokafka_broker::{ErrorCode, TestBroker};
use ferrokafka_wire::messages::offset_delete_request::{
    OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use ferrokafka_wire::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use ferrokafka_wire::messages::{
    DeleteGroupsRequest, DeleteTopicsRequest, DescribeGroupsRequest, ListGroupsRequest,
    OffsetDeleteRequest, OffsetFetchRequest, offset_commit_request,
};

use crate::driver::Driver;
use crate::group_member::{Member, group_id, subscription, text, topic_name};

/// What `OffsetFetch` 8 says of `t`'s partitions 0 and 1.
async fn fetch(driver: &mut Driver, group: &str) -> Vec<(i64, String)> {
    let topic = OffsetFetchRequestTopics::default()
        .with_name(topic_name("t"))
        .with_partition_indexes(vec![0, 1]);
    let group = OffsetFetchRequestGroup::default()
        .with_group_id(group_id(group))
        .with_topics(Some(vec![topic]));
    let request = OffsetFetchRequest::default().with_groups(vec![group]);
    let response = driver.call(8, &request).await;
    assert_eq!(response.groups[0].error_code, 0);
    let partitions = response.groups[0].topics[0].partitions.iter();
    partitions
        .map(|found| {
            (
                found.committed_offset,
                found.metadata.as_deref().unwrap().to_owned(),
            )
        })
        .collect()
}

async fn delete(driver: &mut Driver, group: &str) -> ErrorCode {
    let request = DeleteGroupsRequest::default().with_groups_names(vec![group_id(group)]);
    ErrorCode::from_code(driver.call(2, &request).await.results[0].error_code)
}

#[tokio::test]
async fn offsets_come_back_as_committed_and_the_rest_as_nothing() {
    let broker = TestBroker::builder().topic("t", 2).start().await.unwrap();
    let mut simple = Member::new(&broker, "g").await;
    assert_eq!(
        fetch(&mut simple.driver, "g").await,
        [(-1, String::new()), (-1, String::new())]
    );
    assert_eq!(simple.commit("t", 1, 7).await, ErrorCode::None);
    assert_eq!(
        simple.commit("none", 0, 7).await,
        ErrorCode::UnknownTopicOrPartition
    );
    assert_eq!(
        fetch(&mut simple.driver, "g").await,
        [(-1, String::new()), (7, "note".to_owned())]
    );
    // "All topics", in the old form for one group.
    let request = OffsetFetchRequest::default()
        .with_group_id(group_id("g"))
        .with_topics(None);
    let all = simple.driver.call(7, &request).await;
    assert_eq!((all.topics.len(), all.topics[0].partitions.len()), (1, 1));
    assert_eq!(all.topics[0].partitions[0].committed_offset, 7);
}

#[tokio::test]
async fn a_commit_may_mix_topics_that_exist_with_others() {
    let broker = TestBroker::builder()
        .topic("t", 2)
        .topic("u", 1)
        .start()
        .await
        .unwrap();
    let mut simple = Member::new(&broker, "g").await;
    let mut request = simple.commit_request("t", 0, 1);
    for topic in ["none", "u"] {
        request
            .topics
            .extend(simple.commit_request(topic, 0, 2).topics);
    }
    let partition = offset_commit_request::OffsetCommitRequestPartition::default()
        .with_partition_index(1)
        .with_committed_metadata(Some(text(&"x".repeat(5000))));
    let absent = partition.clone().with_partition_index(9);
    request.topics[0].partitions.extend([absent, partition]);
    let response = simple.driver.call(8, &request).await;
    let codes: Vec<Vec<ErrorCode>> = response
        .topics
        .iter()
        .map(|topic| {
            topic
                .partitions
                .iter()
                .map(|p| ErrorCode::from_code(p.error_code))
                .collect()
        })
        .collect();
    assert_eq!(
        codes,
        [
            vec![
                ErrorCode::None,
                ErrorCode::UnknownTopicOrPartition,
                ErrorCode::OffsetMetadataTooLarge
            ],
            vec![ErrorCode::UnknownTopicOrPartition],
            vec![ErrorCode::None]
        ]
    );
}

#[tokio::test]
async fn stale_and_foreign_commits_are_refused() {
    let broker = TestBroker::builder().topic("t", 2).start().await.unwrap();
    let mut member = Member::new(&broker, "g").await;
    member.join().await;
    assert_eq!(
        member.commit("t", 0, 1).await,
        ErrorCode::RebalanceInProgress
    );
    member.sync(&[]).await;
    assert_eq!(member.commit("t", 0, 1).await, ErrorCode::None);
    let mut simple = Member::new(&broker, "g").await;
    assert_eq!(simple.commit("t", 0, 99).await, ErrorCode::UnknownMemberId);
    member.generation = 0;
    assert_eq!(
        member.commit("t", 0, 99).await,
        ErrorCode::IllegalGeneration
    );
    member.generation = 1;
    let mut other = Member::new(&broker, "unheard-of").await;
    other.generation = 3;
    assert_eq!(other.commit("t", 0, 99).await, ErrorCode::IllegalGeneration);
    assert_eq!(fetch(&mut member.driver, "g").await[0].0, 1);
}

#[tokio::test]
async fn groups_are_listed_described_and_deleted_by_state() {
    let broker = TestBroker::builder().topic("t", 1).start().await.unwrap();
    let mut member = Member::new(&broker, "live").await;
    member.join().await;
    let describe = DescribeGroupsRequest::default()
        .with_groups(vec![group_id("live"), group_id("none"), group_id("")])
        .with_include_authorized_operations(true);
    let joining = member.driver.call(5, &describe).await;
    assert_eq!(
        joining.groups[0].group_state.as_str(),
        "CompletingRebalance"
    );
    assert!(
        joining.groups[0].members[0].member_metadata.is_empty(),
        "not while it is in flux"
    );
    member.sync(&[(&member.id.clone(), b"A")]).await;
    Member::new(&broker, "simple").await.commit("t", 0, 1).await;

    let described = member.driver.call(5, &describe).await;
    let group = &described.groups[0];
    assert_eq!(
        (
            group.group_state.as_str(),
            group.protocol_type.as_str(),
            group.protocol_data.as_str()
        ),
        ("Stable", "consumer", "range")
    );
    let one = &group.members[0];
    assert_eq!(
        (one.member_id.as_str(), one.client_id.as_str()),
        (member.id.as_str(), "driver")
    );
    assert_eq!(one.client_host.as_str(), "/127.0.0.1");
    assert_eq!(
        (&one.member_metadata, &one.member_assignment[..]),
        (&subscription("t", &[]), &b"A"[..])
    );
    assert_eq!(described.groups[1].group_state.as_str(), "Dead");
    assert_eq!(described.groups[1].error_code, 0);
    assert_eq!(described.groups[2].group_state.as_str(), "Dead");

    for (states, types, expected) in [
        (&[][..], &[][..], &["live", "simple"][..]),
        (&["stable"], &[], &["live"]),
        (&["Empty", "Stable"], &["Classic"], &["live", "simple"]),
        (&["Dead"], &[], &[]),
        (&[], &["consumer"], &[]),
    ] {
        let texts = |values: &[&str]| values.iter().map(|value| text(value)).collect::<Vec<_>>();
        let request = ListGroupsRequest::default()
            .with_states_filter(texts(states))
            .with_types_filter(texts(types));
        let listed = member.driver.call(5, &request).await.groups;
        let ids: Vec<&str> = listed.iter().map(|group| group.group_id.as_str()).collect();
        assert_eq!(ids, expected, "{states:?} {types:?}");
        assert!(
            listed
                .iter()
                .all(|group| group.group_type.as_str() == "classic")
        );
    }

    assert_eq!(
        delete(&mut member.driver, "live").await,
        ErrorCode::NonEmptyGroup
    );
    assert_eq!(
        delete(&mut member.driver, "none").await,
        ErrorCode::GroupIdNotFound
    );
    assert_eq!(member.leave().await, ErrorCode::None);
    assert_eq!(delete(&mut member.driver, "live").await, ErrorCode::None);
    assert_eq!(
        delete(&mut member.driver, "live").await,
        ErrorCode::GroupIdNotFound
    );
    assert_eq!(member.heartbeat().await, ErrorCode::UnknownMemberId);
}

#[tokio::test]
async fn offsets_are_deleted_unless_a_member_reads_the_topic() {
    let broker = TestBroker::builder()
        .topic("t", 1)
        .topic("u", 1)
        .start()
        .await
        .unwrap();
    let mut member = Member::new(&broker, "g").await;
    member.join().await;
    member.sync(&[]).await;
    member.commit("t", 0, 1).await;
    member.commit("u", 0, 1).await;
    let topic = |name| {
        OffsetDeleteRequestTopic::default()
            .with_name(topic_name(name))
            .with_partitions(vec![OffsetDeleteRequestPartition::default()])
    };
    let request = OffsetDeleteRequest::default()
        .with_group_id(group_id("g"))
        .with_topics(vec![topic("t"), topic("none"), topic("u")]);
    let response = member.driver.call(0, &request).await;
    let codes: Vec<ErrorCode> = response
        .topics
        .iter()
        .map(|topic| ErrorCode::from_code(topic.partitions[0].error_code))
        .collect();
    assert_eq!(
        codes,
        [
            ErrorCode::GroupSubscribedToTopic,
            ErrorCode::UnknownTopicOrPartition,
            ErrorCode::None
        ]
    );
    let unknown = request.with_group_id(group_id("none"));
    let code = member.driver.call(0, &unknown).await.error_code;
    assert_eq!(code, ErrorCode::GroupIdNotFound.code());
}

#[tokio::test]
async fn a_deleted_topic_takes_its_offsets_along() {
    let broker = TestBroker::builder().topic("t", 1).start().await.unwrap();
    let mut simple = Member::new(&broker, "g").await;
    simple.commit("t", 0, 7).await;
    let request = DeleteTopicsRequest::default().with_topic_names(vec![topic_name("t")]);
    let response = simple.driver.call(4, &request.with_timeout_ms(1000)).await;
    assert_eq!(response.responses[0].error_code, 0);
    assert_eq!(fetch(&mut simple.driver, "g").await[0].0, -1);
}

#[tokio::test]
async fn an_old_fetch_puts_the_error_where_its_version_has_room() {
    let broker = TestBroker::builder()
        .nodes(2)
        .topic("t", 1)
        .start()
        .await
        .unwrap();
    let home = crate::group_member::coordinator(&broker, "g").await;
    let mut wrong = Driver::connect_to(&broker, usize::try_from(3 - home).unwrap()).await;
    let topic = OffsetFetchRequestTopic::default()
        .with_name(topic_name("t"))
        .with_partition_indexes(vec![0]);
    let request = OffsetFetchRequest::default()
        .with_group_id(group_id("g"))
        .with_topics(Some(vec![topic]));
    let code = ErrorCode::NotCoordinator.code();
    let first = wrong.call(1, &request).await;
    assert_eq!(first.topics[0].partitions[0].error_code, code);
    let second = wrong.call(2, &request).await;
    assert_eq!((second.error_code, second.topics.len()), (code, 0));
}
