//! Whatever is advertised is answered: every API, every version.

use ferrokafka_broker::{ApiKey, TestBroker};
use ferrokafka_wire::messages::alter_configs_request::AlterConfigsResource;
use ferrokafka_wire::messages::describe_configs_request::DescribeConfigsResource;
use ferrokafka_wire::messages::*;
use ferrokafka_wire::protocol::{Request, StrBytes};

use crate::driver::Driver;

/// Sends the request in each advertised version (from `from` on) and decodes the answers.
async fn every_version<R: Request>(
    driver: &mut Driver,
    rows: &mut Vec<(i16, i16, i16)>,
    make: impl Fn(i16) -> R,
) {
    let at = rows
        .iter()
        .position(|row| row.0 == R::KEY)
        .expect("the API is advertised");
    let (_, min, max) = rows.remove(at);
    // Produce 0 to 2 have a test of their own; no type encodes them.
    assert!(R::KEY == ApiKey::Produce as i16 || min >= R::VERSIONS.min);
    assert!(max <= R::VERSIONS.max);
    for version in min.max(R::VERSIONS.min)..=max {
        driver.call(version, &make(version)).await;
    }
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

#[tokio::test]
async fn every_advertised_version_of_every_api_is_answered() {
    let broker = TestBroker::builder()
        .nodes(2)
        .topic("t", 2)
        .start()
        .await
        .unwrap();
    let mut driver = Driver::connect(&broker).await;
    let answer = driver.call(0, &ApiVersionsRequest::default()).await;
    let mut rows: Vec<_> = answer
        .api_keys
        .iter()
        .map(|row| (row.api_key, row.min_version, row.max_version))
        .collect();

    let d = &mut driver;
    let r = &mut rows;
    every_version(d, r, |_| {
        crate::records::produce_request("t", 9, -1, crate::records::batch("v", 1))
    })
    .await;
    every_version(d, r, |version| {
        let mut request = crate::records::fetch_request("t", 9, 0, 0);
        if version >= 13 {
            request.topics[0].topic = TopicName::default();
        }
        request
    })
    .await;
    every_version(d, r, |_| ListOffsetsRequest::default()).await;
    every_version(d, r, |_| {
        MetadataRequest::default().with_topics(Some(Vec::new()))
    })
    .await;
    every_version(d, r, |_| {
        OffsetCommitRequest::default().with_group_id(GroupId(text("g")))
    })
    .await;
    every_version(d, r, |version| match version {
        0..8 => OffsetFetchRequest::default()
            .with_group_id(GroupId(text("g")))
            .with_topics(Some(Vec::new())),
        _ => OffsetFetchRequest::default(),
    })
    .await;
    every_version(d, r, |version| match version {
        0..4 => FindCoordinatorRequest::default().with_key(text("g")),
        _ => FindCoordinatorRequest::default().with_coordinator_keys(vec![text("g"), text("h")]),
    })
    .await;
    every_version(d, r, |_| {
        JoinGroupRequest::default()
            .with_group_id(GroupId(text("g")))
            .with_protocol_type(text("consumer"))
    })
    .await;
    every_version(d, r, |_| {
        HeartbeatRequest::default().with_group_id(GroupId(text("g")))
    })
    .await;
    every_version(d, r, |_| {
        LeaveGroupRequest::default().with_group_id(GroupId(text("g")))
    })
    .await;
    every_version(d, r, |_| {
        SyncGroupRequest::default().with_group_id(GroupId(text("g")))
    })
    .await;
    every_version(d, r, |_| {
        DescribeGroupsRequest::default().with_groups(vec![GroupId(text("g"))])
    })
    .await;
    every_version(d, r, |_| ListGroupsRequest::default()).await;
    every_version(d, r, |version| match version {
        0..3 => ApiVersionsRequest::default(),
        _ => ApiVersionsRequest::default()
            .with_client_software_name(text("driver"))
            .with_client_software_version(text("1")),
    })
    .await;
    every_version(d, r, |_| crate::topics::create("a b", 1, 1, &[])).await;
    every_version(d, r, |version| match version {
        0..6 => {
            DeleteTopicsRequest::default().with_topic_names(vec![crate::topics::name("absent")])
        }
        _ => DeleteTopicsRequest::default().with_topics(vec![
            delete_topics_request::DeleteTopicState::default()
                .with_name(Some(crate::topics::name("absent"))),
        ]),
    })
    .await;
    every_version(d, r, |_| DeleteRecordsRequest::default()).await;
    every_version(d, r, |_| {
        InitProducerIdRequest::default().with_transactional_id(None)
    })
    .await;
    every_version(d, r, |_| OffsetForLeaderEpochRequest::default()).await;
    every_version(d, r, |version| {
        DescribeConfigsRequest::default()
            .with_include_synonyms(true)
            .with_include_documentation(version >= 3)
            .with_resources(
                [(2, "t"), (4, "1"), (4, ""), (4, "7"), (8, "t")]
                    .map(|(kind, name)| {
                        DescribeConfigsResource::default()
                            .with_resource_type(kind)
                            .with_resource_name(text(name))
                            .with_configuration_keys(None)
                    })
                    .to_vec(),
            )
    })
    .await;
    every_version(d, r, |_| {
        AlterConfigsRequest::default().with_resources(vec![
            AlterConfigsResource::default()
                .with_resource_type(2)
                .with_resource_name(text("t")),
            AlterConfigsResource::default()
                .with_resource_type(4)
                .with_resource_name(text("1")),
        ])
    })
    .await;
    every_version(d, r, |_| {
        DescribeLogDirsRequest::default().with_topics(None)
    })
    .await;
    every_version(d, r, |_| CreatePartitionsRequest::default()).await;
    every_version(d, r, |_| {
        DeleteGroupsRequest::default().with_groups_names(vec![GroupId(text("g"))])
    })
    .await;
    every_version(d, r, |_| IncrementalAlterConfigsRequest::default()).await;
    every_version(d, r, |_| {
        OffsetDeleteRequest::default().with_group_id(GroupId(text("g")))
    })
    .await;
    every_version(d, r, |version| {
        let request =
            DescribeClusterRequest::default().with_include_cluster_authorized_operations(true);
        if version >= 1 {
            request.with_endpoint_type(1)
        } else {
            request
        }
    })
    .await;
    let left: Vec<_> = rows.iter().map(|row| ApiKey::try_from(row.0)).collect();
    assert!(left.is_empty(), "advertised but not asked here: {left:?}");
}
