//! Every advertised version of every group API encodes its answers, good and bad.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use ferrokafka_broker::{ApiKey, ErrorCode, TestBroker};
use ferrokafka_wire::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use ferrokafka_wire::messages::{
    ApiVersionsRequest, DeleteGroupsRequest, DescribeGroupsRequest, ListGroupsRequest,
    OffsetDeleteRequest, OffsetFetchRequest,
};
use ferrokafka_wire::protocol::Request;

use crate::driver::Driver;
use crate::group_member::{Member, group_id, text, topic_name};

const APIS: [(ApiKey, i16, i16); 10] = [
    (ApiKey::OffsetCommit, 2, 9),
    (ApiKey::OffsetFetch, 1, 9),
    (ApiKey::JoinGroup, 0, 9),
    (ApiKey::Heartbeat, 0, 4),
    (ApiKey::LeaveGroup, 0, 5),
    (ApiKey::SyncGroup, 0, 5),
    (ApiKey::DescribeGroups, 0, 5),
    (ApiKey::ListGroups, 0, 5),
    (ApiKey::DeleteGroups, 0, 2),
    (ApiKey::OffsetDelete, 0, 0),
];

fn range(api: ApiKey) -> std::ops::RangeInclusive<i16> {
    let (_, min, max) = APIS.into_iter().find(|(key, ..)| *key == api).unwrap();
    min..=max
}

#[tokio::test]
async fn the_ranges_are_those_that_are_tested_here() {
    let broker = TestBroker::builder().start().await.unwrap();
    let advertised = Driver::connect(&broker)
        .await
        .call(0, &ApiVersionsRequest::default())
        .await
        .api_keys;
    for (api, min, max) in APIS {
        let row = advertised
            .iter()
            .find(|row| row.api_key == api as i16)
            .unwrap();
        assert_eq!((row.min_version, row.max_version), (min, max), "{api:?}");
    }
    assert!(
        !advertised.iter().any(|row| [68, 69].contains(&row.api_key)),
        "KIP-848 is not served"
    );
}

/// Sends each version three times: as it is, with a scripted error, and with a scripted pause.
async fn every_version<R: Request>(broker: &TestBroker, build: impl Fn(i16) -> R) {
    let api = ApiKey::try_from(R::KEY).unwrap();
    for version in range(api) {
        let mut driver = Driver::connect(broker).await;
        driver.exchange(version, &build(version)).await;
        broker
            .on(api)
            .times(1)
            .error(ErrorCode::CoordinatorLoadInProgress);
        let body = driver.exchange(version, &build(version)).await;
        let rejected = ferrokafka_wire::frame::decode_response::<R>(body.clone(), version);
        assert!(rejected.is_ok(), "{api:?} v{version}");
        let code = ErrorCode::CoordinatorLoadInProgress.code().to_be_bytes();
        let listed = body.windows(2).any(|pair| pair == code);
        assert!(listed, "{api:?} v{version} carries the error");
        broker
            .on(api)
            .times(1)
            .throttle(std::time::Duration::from_millis(1));
        driver.exchange(version, &build(version)).await;
    }
}

#[tokio::test]
async fn member_apis_answer_in_every_version() {
    let broker = TestBroker::builder().topic("t", 1).start().await.unwrap();
    for version in range(ApiKey::JoinGroup) {
        let mut member = Member::new(&broker, &format!("g{version}")).await;
        if version >= 5 {
            member.instance = Some("pod".to_owned());
        }
        let mut request = member.join_request();
        if version == 0 {
            request.rebalance_timeout_ms = -1;
        }
        let mut joined = member.driver.call(version, &request).await;
        if version == 4 {
            assert_eq!(joined.error_code, ErrorCode::MemberIdRequired.code());
            request.member_id = joined.member_id;
            joined = member.driver.call(version, &request).await;
        }
        assert_eq!(
            (joined.error_code, joined.generation_id),
            (0, 1),
            "v{version}"
        );
        assert_eq!(
            (joined.members.len(), joined.protocol_name.as_deref()),
            (1, Some("range"))
        );
        assert_eq!(
            joined.protocol_type.as_deref() == Some("consumer"),
            version >= 7
        );
        request.member_id = text("stranger");
        request.group_instance_id = None;
        let refused = member.driver.call(version, &request).await;
        assert_eq!(
            refused.error_code,
            ErrorCode::UnknownMemberId.code(),
            "v{version}"
        );
        // Null is an empty name where the version knows no null.
        let unnamed = (version < 7).then_some("");
        assert_eq!(refused.protocol_name.as_deref(), unnamed, "v{version}");
        if version >= 9 {
            // A static leader that comes back is told to skip the assignment.
            member.id = joined.member_id.to_string();
            member.generation = 1;
            assert_eq!(member.sync(&[]).await.error_code, 0);
            member.id.clear();
            assert!(member.join().await.skip_assignment);
        }
    }
    let member = Member::new(&broker, "fixed").await;
    every_version(&broker, |version| {
        let mut request = member.join_request().with_member_id(text("stranger"));
        if version == 0 {
            request.rebalance_timeout_ms = -1;
        }
        request
    })
    .await;
}

#[tokio::test]
async fn sync_heartbeat_and_leave_answer_in_every_version() {
    use ferrokafka_wire::messages::leave_group_request::MemberIdentity;
    use ferrokafka_wire::messages::{HeartbeatRequest, LeaveGroupRequest, SyncGroupRequest};
    let broker = TestBroker::builder().topic("t", 1).start().await.unwrap();
    let mut member = Member::new(&broker, "g").await;
    member.join().await;
    let id = text(&member.id);
    let sync = |version| {
        let request = SyncGroupRequest::default()
            .with_group_id(group_id("g"))
            .with_generation_id(1)
            .with_member_id(id.clone());
        match version {
            5.. => request
                .with_protocol_type(Some(text("consumer")))
                .with_protocol_name(Some(text("range"))),
            _ => request.with_protocol_type(None).with_protocol_name(None),
        }
    };
    for version in range(ApiKey::SyncGroup) {
        let synced = member.driver.call(version, &sync(version)).await;
        assert_eq!(synced.error_code, 0, "v{version}");
        assert_eq!(
            synced.protocol_name.as_deref() == Some("range"),
            version >= 5
        );
    }
    every_version(&broker, sync).await;
    let heartbeat = |_| {
        HeartbeatRequest::default()
            .with_group_id(group_id("g"))
            .with_generation_id(1)
            .with_member_id(id.clone())
    };
    for version in range(ApiKey::Heartbeat) {
        assert_eq!(
            member
                .driver
                .call(version, &heartbeat(version))
                .await
                .error_code,
            0
        );
    }
    every_version(&broker, heartbeat).await;
    let leave = |member: &str, version| {
        let request = LeaveGroupRequest::default().with_group_id(group_id("g"));
        match version {
            0..=2 => request.with_member_id(text(member)),
            _ => request.with_members(vec![MemberIdentity::default().with_member_id(text(member))]),
        }
    };
    every_version(&broker, |version| leave("stranger", version)).await;
    for version in range(ApiKey::LeaveGroup) {
        let left = member
            .driver
            .call(version, &leave("stranger", version))
            .await;
        let code = if version < 3 {
            left.error_code
        } else {
            left.members[0].error_code
        };
        assert_eq!(code, ErrorCode::UnknownMemberId.code(), "v{version}");
    }
    let left = member.driver.call(1, &leave(&member.id, 1)).await;
    assert_eq!(left.error_code, 0);
}

#[tokio::test]
async fn offset_apis_answer_in_every_version() {
    let broker = TestBroker::builder().topic("t", 1).start().await.unwrap();
    let mut simple = Member::new(&broker, "g").await;
    let commit = |member: &Member, version: i16, offset| {
        let mut request = member.commit_request("t", 0, offset);
        if version >= 6 {
            request.topics[0].partitions[0].committed_leader_epoch = 3;
        }
        request
    };
    let topics = |version: i16| -> OffsetFetchRequest {
        if version >= 8 {
            let topic = OffsetFetchRequestTopics::default()
                .with_name(topic_name("t"))
                .with_partition_indexes(vec![0, 9]);
            let group = OffsetFetchRequestGroup::default()
                .with_group_id(group_id("g"))
                .with_topics(Some(vec![topic]));
            return OffsetFetchRequest::default().with_groups(vec![group]);
        }
        let topic = OffsetFetchRequestTopic::default()
            .with_name(topic_name("t"))
            .with_partition_indexes(vec![0, 9]);
        OffsetFetchRequest::default()
            .with_group_id(group_id("g"))
            .with_topics(Some(vec![topic]))
    };
    for version in range(ApiKey::OffsetCommit) {
        let request = commit(&simple, version, i64::from(version));
        let committed = simple.driver.call(version, &request).await;
        assert_eq!(
            committed.topics[0].partitions[0].error_code, 0,
            "v{version}"
        );
    }
    for version in range(ApiKey::OffsetFetch) {
        let fetched = simple.driver.call(version, &topics(version)).await;
        let found: Vec<(i64, i32)> = if version >= 8 {
            assert_eq!(fetched.groups[0].error_code, 0);
            let partitions = fetched.groups[0].topics[0].partitions.iter();
            partitions
                .map(|p| (p.committed_offset, p.committed_leader_epoch))
                .collect()
        } else {
            let partitions = fetched.topics[0].partitions.iter();
            partitions
                .map(|p| (p.committed_offset, p.committed_leader_epoch))
                .collect()
        };
        let epoch = if version >= 5 { 3 } else { -1 };
        assert_eq!(found, [(9, epoch), (-1, -1)], "v{version}");
    }
    every_version(&broker, |version| commit(&simple, version, 1)).await;
    every_version(&broker, topics).await;
    every_version(&broker, |_| {
        OffsetDeleteRequest::default().with_group_id(group_id("g"))
    })
    .await;
}

#[tokio::test]
async fn administration_apis_answer_in_every_version() {
    let broker = TestBroker::builder().topic("t", 1).start().await.unwrap();
    let mut member = Member::new(&broker, "g").await;
    member.instance = Some("pod".to_owned());
    member.join().await;
    member.sync(&[]).await;
    let describe = |version: i16| {
        DescribeGroupsRequest::default()
            .with_groups(vec![group_id("g"), group_id("none")])
            .with_include_authorized_operations(version >= 3)
    };
    for version in range(ApiKey::DescribeGroups) {
        let described = member.driver.call(version, &describe(version)).await;
        let one = &described.groups[0].members[0];
        assert_eq!(
            one.group_instance_id.as_deref() == Some("pod"),
            version >= 4
        );
        assert_eq!(described.groups[0].authorized_operations > 0, version >= 3);
    }
    every_version(&broker, describe).await;
    for version in range(ApiKey::ListGroups) {
        let listed = member
            .driver
            .call(version, &ListGroupsRequest::default())
            .await;
        assert_eq!(listed.groups[0].group_id.as_str(), "g");
        assert_eq!(
            listed.groups[0].group_state.as_str() == "Stable",
            version >= 4
        );
        assert_eq!(
            listed.groups[0].group_type.as_str() == "classic",
            version >= 5
        );
    }
    every_version(&broker, |_| ListGroupsRequest::default()).await;
    every_version(&broker, |_| {
        DeleteGroupsRequest::default().with_groups_names(vec![group_id("g")])
    })
    .await;
}
