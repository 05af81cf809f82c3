//! Creating, describing and deleting topics.

use ferrokafka_broker::TestBroker;
use ferrokafka_wire::ErrorCode;
use ferrokafka_wire::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use ferrokafka_wire::messages::delete_topics_request::DeleteTopicState;
use ferrokafka_wire::messages::describe_configs_request::DescribeConfigsResource;
use ferrokafka_wire::messages::metadata_request::MetadataRequestTopic;
use ferrokafka_wire::messages::{
    CreateTopicsRequest, DeleteTopicsRequest, DescribeConfigsRequest, MetadataRequest, TopicName,
};
use ferrokafka_wire::protocol::StrBytes;

use crate::driver::Driver;

pub(crate) fn name(name: &str) -> TopicName {
    TopicName(StrBytes::from_string(name.to_owned()))
}

pub(crate) fn create(
    topic: &str,
    partitions: i32,
    factor: i16,
    configs: &[(&str, &str)],
) -> CreateTopicsRequest {
    let configs = configs.iter().map(|(key, value)| {
        CreatableTopicConfig::default()
            .with_name(StrBytes::from_string((*key).to_owned()))
            .with_value(Some(StrBytes::from_string((*value).to_owned())))
    });
    CreateTopicsRequest::default()
        .with_timeout_ms(1000)
        .with_topics(vec![
            CreatableTopic::default()
                .with_name(name(topic))
                .with_num_partitions(partitions)
                .with_replication_factor(factor)
                .with_configs(configs.collect()),
        ])
}

/// Everything there is.
pub(crate) fn all() -> MetadataRequest {
    MetadataRequest::default().with_topics(None)
}

pub(crate) fn describe_config(topic: &str, key: &str) -> DescribeConfigsRequest {
    let text = |text: &str| StrBytes::from_string(text.to_owned());
    DescribeConfigsRequest::default().with_resources(vec![
        DescribeConfigsResource::default()
            .with_resource_type(2)
            .with_resource_name(text(topic))
            .with_configuration_keys(Some(vec![text(key)])),
    ])
}

fn ask(topic: &str) -> MetadataRequest {
    MetadataRequest::default()
        .with_topics(Some(vec![
            MetadataRequestTopic::default().with_name(Some(name(topic))),
        ]))
        .with_allow_auto_topic_creation(false)
}

#[tokio::test]
async fn created_topic_is_described_by_name_and_id_until_deleted() {
    let broker = TestBroker::builder().nodes(3).start().await.unwrap();
    let mut driver = Driver::connect(&broker).await;
    for version in 2..=7 {
        let topic = format!("orders-{version}");
        let created = driver
            .call(version, &create(&topic, 6, 3, &[("retention.ms", "1000")]))
            .await;
        assert_eq!(
            created.topics[0].error_code, 0,
            "{:?}",
            created.topics[0].error_message
        );
    }
    let described = driver.call(12, &ask("orders-7")).await;
    assert_eq!(described.brokers.len(), 3);
    let topic = &described.topics[0];
    assert_eq!(topic.partitions.len(), 6);
    assert!(
        topic
            .partitions
            .iter()
            .all(|partition| partition.replica_nodes.len() == 3)
    );
    let by_id = MetadataRequestTopic::default()
        .with_topic_id(topic.topic_id)
        .with_name(None);
    let by_id = driver
        .call(
            12,
            &MetadataRequest::default().with_topics(Some(vec![by_id])),
        )
        .await;
    assert_eq!(by_id.topics[0].name, Some(name("orders-7")));

    let state = DeleteTopicState::default()
        .with_topic_id(topic.topic_id)
        .with_name(None);
    let deleted = driver
        .call(6, &DeleteTopicsRequest::default().with_topics(vec![state]))
        .await;
    assert_eq!(deleted.responses[0].error_code, 0);
    let gone = driver.call(12, &ask("orders-7")).await;
    assert_eq!(
        gone.topics[0].error_code,
        ErrorCode::UnknownTopicOrPartition.code()
    );
    for version in 1..=5 {
        let request = DeleteTopicsRequest::default()
            .with_topic_names(vec![name(&format!("orders-{}", version + 1))]);
        assert_eq!(
            driver.call(version, &request).await.responses[0].error_code,
            0
        );
    }
}

#[tokio::test]
async fn topics_that_cannot_be_created_say_why() {
    let broker = TestBroker::builder().topic("a.b", 1).start().await.unwrap();
    let mut driver = Driver::connect(&broker).await;
    let cases = [
        (
            create("a.b", 1, 1, &[]),
            ErrorCode::TopicAlreadyExists,
            "Topic 'a.b' already exists.",
        ),
        (
            create("a_b", 1, 1, &[]),
            ErrorCode::InvalidTopicException,
            "Topic 'a_b' collides with existing topic: a.b",
        ),
        (
            create("a b", 1, 1, &[]),
            ErrorCode::InvalidTopicException,
            "Topic name is invalid: 'a b' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'",
        ),
        (
            create("x", 0, 1, &[]),
            ErrorCode::InvalidPartitions,
            "Number of partitions was set to an invalid non-positive value.",
        ),
        (
            create("x", 1, 2, &[]),
            ErrorCode::InvalidReplicationFactor,
            "Unable to replicate the partition 2 time(s): The target replication factor of 2 cannot be reached because only 1 broker(s) are registered.",
        ),
        (
            create("x", 1, 1, &[("retention.m", "1")]),
            ErrorCode::InvalidConfig,
            "Unknown topic config name: retention.m",
        ),
        (
            create("x", 1, 1, &[("retention.ms", "-5")]),
            ErrorCode::InvalidConfig,
            "Invalid value -5 for configuration retention.ms: Value must be at least -1",
        ),
        (
            create("x", 1, 1, &[("retention.ms", "soon")]),
            ErrorCode::InvalidConfig,
            "Invalid value soon for configuration retention.ms: Not a number of type LONG",
        ),
    ];
    for (request, code, message) in cases {
        let response = driver.call(7, &request).await;
        let result = &response.topics[0];
        assert_eq!(ErrorCode::from_code(result.error_code), code);
        assert_eq!(result.error_message.as_deref(), Some(message));
    }
    assert_eq!(
        driver.call(12, &ask("x")).await.topics[0].error_code,
        ErrorCode::UnknownTopicOrPartition.code()
    );
}

#[tokio::test]
async fn metadata_of_every_version_encodes_and_names_the_leader() {
    let broker = TestBroker::builder()
        .topic("orders", 2)
        .start()
        .await
        .unwrap();
    let mut driver = Driver::connect(&broker).await;
    for version in 0..=12 {
        let mut request = ask("orders");
        if version < 4 {
            request.allow_auto_topic_creation = true;
        }
        if version >= 8 {
            request.include_topic_authorized_operations = true;
            request.include_cluster_authorized_operations = version <= 10;
        }
        let response = driver.call(version, &request).await;
        assert_eq!(
            response.topics[0].partitions[1].leader_id.0, 1,
            "v{version}"
        );
    }
}
