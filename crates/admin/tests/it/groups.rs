//! Groups: listed over all brokers, described, their offsets, deleted.

use bytes::{BufMut as _, Bytes, BytesMut};
use ferrokafka_admin::{Admin, CreateOptions, NewTopic};
use ferrokafka_client::{Lane, Route, TopicPartition};
use ferrokafka_wire::ErrorCode;
use ferrokafka_wire::messages::join_group_request::JoinGroupRequestProtocol;
use ferrokafka_wire::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use ferrokafka_wire::messages::sync_group_request::SyncGroupRequestAssignment;
use ferrokafka_wire::messages::{
    ApiKey, GroupId, JoinGroupRequest, JoinGroupResponse, OffsetCommitRequest, SyncGroupRequest,
    TopicName,
};
use ferrokafka_wire::protocol::StrBytes;

use crate::topics::start;

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

/// Partition 0 and 2 of orders, as a group's leader writes it.
fn assignment() -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_i16(1);
    bytes.put_i32(1);
    bytes.put_i16(6);
    bytes.put_slice(b"orders");
    bytes.put_i32(2);
    bytes.put_i32(2);
    bytes.put_i32(0);
    bytes.put_i32(-1);
    bytes.freeze()
}

async fn join_once(admin: &Admin, group: &str, member: &str) -> JoinGroupResponse {
    let client = admin.client();
    let build = |version| {
        let protocol = JoinGroupRequestProtocol::default()
            .with_name(text("range"))
            .with_metadata(Bytes::from_static(&[0, 0, 0, 0, 0, 0]));
        let request = JoinGroupRequest::default()
            .with_group_id(GroupId(text(group)))
            .with_session_timeout_ms(30_000)
            .with_rebalance_timeout_ms(30_000)
            .with_member_id(text(member))
            .with_protocol_type(text("consumer"))
            .with_protocols(vec![protocol]);
        assert!(version >= 5);
        request.with_group_instance_id(None).with_reason(None)
    };
    let check = |_: &JoinGroupResponse| ErrorCode::None;
    let join = client.call(
        Route::Group(group),
        Lane::Join,
        client.api_deadline(),
        build,
        check,
    );
    join.await.unwrap()
}

/// A group with one member that has two partitions. Gives the member's id.
async fn join(admin: &Admin, group: &str) -> String {
    let first = join_once(admin, group, "").await;
    let joined = match ErrorCode::from_code(first.error_code) {
        ErrorCode::MemberIdRequired => join_once(admin, group, &first.member_id).await,
        _ => first,
    };
    assert_eq!(joined.error_code, 0);
    let client = admin.client();
    let build = |_| {
        let mine = SyncGroupRequestAssignment::default()
            .with_member_id(joined.member_id.clone())
            .with_assignment(assignment());
        SyncGroupRequest::default()
            .with_group_id(GroupId(text(group)))
            .with_generation_id(joined.generation_id)
            .with_member_id(joined.member_id.clone())
            .with_protocol_type(Some(text("consumer")))
            .with_protocol_name(Some(text("range")))
            .with_group_instance_id(None)
            .with_assignments(vec![mine])
    };
    let sync = client.call(
        Route::Group(group),
        Lane::Join,
        client.api_deadline(),
        build,
        |response| ErrorCode::from_code(response.error_code),
    );
    sync.await.unwrap();
    joined.member_id.to_string()
}

/// Commits an offset from outside the group.
async fn commit(admin: &Admin, group: &str, partition: i32, offset: i64) {
    let client = admin.client();
    let build = |version| {
        let partition = OffsetCommitRequestPartition::default()
            .with_partition_index(partition)
            .with_committed_offset(offset)
            .with_committed_metadata(Some(text("by hand")));
        let topic = OffsetCommitRequestTopic::default()
            .with_name(TopicName(text("orders")))
            .with_partitions(vec![partition]);
        assert!((7..=9).contains(&version), "names, not ids, are committed");
        OffsetCommitRequest::default()
            .with_group_id(GroupId(text(group)))
            .with_group_instance_id(None)
            .with_topics(vec![topic])
    };
    let commit = client.call(
        Route::Group(group),
        Lane::Control,
        client.api_deadline(),
        build,
        |response| ErrorCode::from_code(response.topics[0].partitions[0].error_code),
    );
    commit.await.unwrap();
}

#[tokio::test]
async fn groups_of_all_brokers_are_listed_and_described() {
    let (broker, admin) = start(3).await;
    let topic = [NewTopic::new("orders", 3, 1)];
    admin
        .create_topics(&topic, CreateOptions::default())
        .await
        .unwrap();
    for (group, node) in [("audit", 1), ("billing", 2), ("churn", 3)] {
        broker.move_coordinator(group, node);
        commit(&admin, group, 0, 5).await;
    }
    let member = join(&admin, "live").await;

    let listed = admin.list_groups().await.unwrap();
    let names: Vec<_> = listed.iter().map(|group| group.group_id.as_str()).collect();
    assert_eq!(names, ["audit", "billing", "churn", "live"]);
    let coordinators: Vec<_> = listed[..3].iter().map(|group| group.coordinator).collect();
    assert_eq!(coordinators, [1, 2, 3]);
    assert_eq!(listed[3].state, "Stable");
    assert_eq!(listed[3].protocol_type, "consumer");

    let described = admin.describe_groups(&["live", "audit"]).await.unwrap();
    let live = described[0].1.as_ref().unwrap();
    assert_eq!(
        (live.state.as_str(), live.assignor.as_str()),
        ("Stable", "range")
    );
    assert_eq!(live.members.len(), 1);
    assert_eq!(live.members[0].member_id, member);
    assert_eq!(live.members[0].client_id, "admin-it");
    let has = [
        TopicPartition::new("orders", 0),
        TopicPartition::new("orders", 2),
    ];
    assert_eq!(live.members[0].assignment.as_deref(), Some(&has[..]));
    assert_eq!(described[1].1.as_ref().unwrap().state, "Empty");
    broker.stop().await;
}

#[tokio::test]
async fn group_that_is_not_there_is_told() {
    let (broker, admin) = start(1).await;
    let described = admin.describe_groups(&["nothing"]).await.unwrap();
    match &described[0].1 {
        Ok(group) => assert_eq!(group.state, "Dead"),
        Err(error) => assert_eq!(error.code(), Some(ErrorCode::GroupIdNotFound)),
    }
    let deleted = admin.delete_groups(&["nothing"]).await.unwrap();
    let error = deleted[0].1.as_ref().unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::GroupIdNotFound));
    broker.stop().await;
}

#[tokio::test]
async fn committed_offsets_are_listed_without_those_never_committed() {
    let (broker, admin) = start(1).await;
    let topic = [NewTopic::new("orders", 3, 1)];
    admin
        .create_topics(&topic, CreateOptions::default())
        .await
        .unwrap();
    commit(&admin, "audit", 2, 42).await;
    commit(&admin, "audit", 0, 7).await;
    let offsets = admin.list_group_offsets("audit").await.unwrap();
    let plain: Vec<_> = offsets
        .iter()
        .map(|(partition, offset)| {
            let offset = offset.as_ref().unwrap();
            (
                partition.to_string(),
                offset.offset,
                offset.metadata.as_str(),
            )
        })
        .collect();
    let expected = [
        ("orders-0".to_owned(), 7, "by hand"),
        ("orders-2".to_owned(), 42, "by hand"),
    ];
    assert_eq!(plain, expected);
    assert!(
        admin
            .list_group_offsets("nothing")
            .await
            .unwrap()
            .is_empty()
    );
    broker.stop().await;
}

#[tokio::test]
async fn only_empty_groups_can_be_deleted() {
    let (broker, admin) = start(3).await;
    let topic = [NewTopic::new("orders", 3, 1)];
    admin
        .create_topics(&topic, CreateOptions::default())
        .await
        .unwrap();
    commit(&admin, "audit", 0, 7).await;
    join(&admin, "live").await;
    let deleted = admin.delete_groups(&["live", "audit"]).await.unwrap();
    let error = deleted[0].1.as_ref().unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::NonEmptyGroup));
    assert!(deleted[1].1.is_ok());
    let listed = admin.list_groups().await.unwrap();
    assert_eq!(listed.len(), 1);
    broker.stop().await;
}

#[tokio::test]
async fn moved_coordinator_is_followed() {
    let (broker, admin) = start(3).await;
    let topic = [NewTopic::new("orders", 3, 1)];
    admin
        .create_topics(&topic, CreateOptions::default())
        .await
        .unwrap();
    broker.move_coordinator("audit", 1);
    commit(&admin, "audit", 0, 7).await;
    broker.move_coordinator("audit", 2);
    commit(&admin, "audit", 1, 8).await;
    let described = admin.describe_groups(&["audit"]).await.unwrap();
    assert_eq!(described[0].1.as_ref().unwrap().coordinator, 2);
    let refused = broker
        .requests()
        .iter()
        .filter(|request| request.api == ApiKey::OffsetCommit)
        .count();
    assert_eq!(refused, 3, "one commit went to the old coordinator");
    broker.stop().await;
}
