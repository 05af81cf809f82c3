//! One way through everything the admin client can do, which any broker must allow: the embedded one
//! here, Apache Kafka in the tests that need it.

use std::time::Duration;

use ferrokafka_admin::{
    Admin, AlterConfigs, ConfigResource, ConfigSource, CreateOptions, NewPartitions, NewTopic,
    OffsetSpec,
};
use ferrokafka_client::{Lane, Route, TopicPartition};
use ferrokafka_wire::ErrorCode;
use ferrokafka_wire::compression::Compression;
use ferrokafka_wire::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use ferrokafka_wire::messages::produce_request::{PartitionProduceData, TopicProduceData};
use ferrokafka_wire::messages::{GroupId, OffsetCommitRequest, ProduceRequest, TopicName};
use ferrokafka_wire::protocol::StrBytes;
use ferrokafka_wire::record::{BatchBuilder, ProducerStamp};

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

pub(crate) async fn journey(admin: &Admin) {
    topics(admin).await;
    configs(admin).await;
    offsets(admin).await;
    groups(admin).await;
    let cluster = admin.describe_cluster().await.unwrap();
    assert!(cluster.brokers.contains_key(&cluster.controller.unwrap()));
    let deleted = admin.delete_topics(&["orders"]).await.unwrap();
    assert!(deleted[0].1.is_ok(), "{deleted:?}");
}

async fn topics(admin: &Admin) {
    let options = CreateOptions::default();
    let topic = [NewTopic::new("orders", 2, 1).config("cleanup.policy", "compact")];
    let created = admin.create_topics(&topic, options).await.unwrap();
    let orders = created[0].1.as_ref().unwrap();
    assert_eq!((orders.partitions, orders.replication_factor), (2, 1));
    assert!(!orders.id.is_nil());
    let again = admin.create_topics(&topic, options).await.unwrap();
    let error = again[0].1.as_ref().unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::TopicAlreadyExists));
    admin
        .wait_for_topics(&["orders"], Duration::from_secs(10))
        .await
        .unwrap();
    let more = [NewPartitions::new("orders", 4)];
    let grown = admin.create_partitions(&more, options).await.unwrap();
    assert!(grown[0].1.is_ok(), "{grown:?}");
    let listed = admin.list_topics().await.unwrap();
    assert!(
        listed
            .iter()
            .any(|topic| topic.name == "orders" && topic.id == orders.id)
    );
    let described = admin.describe_topics(&["nothing"]).await.unwrap();
    let error = described[0].1.as_ref().unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::UnknownTopicOrPartition));
}

async fn configs(admin: &Admin) {
    let resource = ConfigResource::topic("orders");
    let change = AlterConfigs::new(resource.clone()).set("retention.ms", "123000");
    let changed = admin
        .incremental_alter_configs(&[change], false)
        .await
        .unwrap();
    assert!(changed[0].1.is_ok(), "{changed:?}");
    let read_back = async {
        loop {
            let described = admin
                .describe_configs(&[resource.clone(), ConfigResource::broker(1)])
                .await
                .unwrap();
            assert!(described[1].1.is_ok(), "{described:?}");
            let entries = described[0].1.as_ref().unwrap();
            let retention = entries.iter().find(|entry| entry.name == "retention.ms");
            let retention = retention.unwrap().clone();
            if retention.source == ConfigSource::Topic {
                return retention.value;
            }
            tokio::task::yield_now().await;
        }
    };
    let value = tokio::time::timeout(Duration::from_secs(10), read_back).await;
    assert_eq!(value.unwrap().as_deref(), Some("123000"));
}

async fn offsets(admin: &Admin) {
    let client = admin.client();
    let partition = TopicPartition::new("orders", 1);
    let mut batch = BatchBuilder::new(1024);
    for timestamp in [1_000, 3_000, 2_000] {
        batch
            .append(timestamp, Some(b"key"), Some(b"value"), &[])
            .unwrap();
    }
    let mut batch = batch.finish(Compression::None).unwrap();
    batch.stamp(ProducerStamp {
        producer_id: -1,
        producer_epoch: -1,
        base_sequence: -1,
        transactional: false,
    });
    let topic = [partition.topic.clone()];
    let cluster = client
        .metadata(&topic, client.api_deadline())
        .await
        .unwrap();
    let (node, _) = cluster.leader(&partition).unwrap();
    let build = |_| {
        let data = PartitionProduceData::default()
            .with_index(1)
            .with_records(Some(batch.bytes()));
        let topic = TopicProduceData::default()
            .with_name(TopicName(text("orders")))
            .with_partition_data(vec![data]);
        ProduceRequest::default()
            .with_transactional_id(None)
            .with_acks(-1)
            .with_timeout_ms(10_000)
            .with_topic_data(vec![topic])
    };
    let deadline = client.api_deadline();
    let sent = client
        .request_max_version(node, Lane::Produce, deadline, 12, build)
        .await;
    let code = sent.unwrap().1.responses[0].partition_responses[0].error_code;
    assert_eq!(code, 0);

    let wanted = [
        (partition.clone(), OffsetSpec::Earliest),
        (partition.clone(), OffsetSpec::Latest),
        (partition.clone(), OffsetSpec::MaxTimestamp),
        (partition.clone(), OffsetSpec::Timestamp(1_500)),
        (partition.clone(), OffsetSpec::Timestamp(9_000)),
    ];
    let listed = admin.list_offsets(&wanted).await.unwrap();
    let found: Vec<_> = listed
        .iter()
        .map(|(_, l)| l.as_ref().unwrap().offset)
        .collect();
    assert_eq!(found, [Some(0), Some(3), Some(1), Some(1), None]);
}

async fn groups(admin: &Admin) {
    let client = admin.client();
    let build = |_| {
        let partition = OffsetCommitRequestPartition::default()
            .with_partition_index(1)
            .with_committed_offset(2)
            .with_committed_metadata(Some(text("by hand")));
        let topic = OffsetCommitRequestTopic::default()
            .with_name(TopicName(text("orders")))
            .with_partitions(vec![partition]);
        OffsetCommitRequest::default()
            .with_group_id(GroupId(text("audit")))
            .with_group_instance_id(None)
            .with_topics(vec![topic])
    };
    // From v10 on topics go by id: `call` would take the highest version.
    let kind = ferrokafka_client::CoordinatorKind::Group;
    let committed = async {
        loop {
            let deadline = client.api_deadline();
            let node = client.coordinator(kind, "audit", deadline).await.unwrap();
            let sent = client
                .request_max_version(node, Lane::Control, deadline, 9, build)
                .await;
            let code = sent.unwrap().1.topics[0].partitions[0].error_code;
            match ErrorCode::from_code(code) {
                ErrorCode::None => return,
                // A group's first coordinator is still making its offsets topic.
                ErrorCode::NotCoordinator | ErrorCode::CoordinatorLoadInProgress => {
                    client.forget_coordinator(kind, "audit");
                }
                other => panic!("{other}"),
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), committed)
        .await
        .unwrap();

    let listed = admin.list_groups().await.unwrap();
    let audit = listed
        .iter()
        .find(|group| group.group_id == "audit")
        .unwrap();
    assert_eq!(audit.state, "Empty");
    let described = admin.describe_groups(&["audit", "nothing"]).await.unwrap();
    let audit = described[0].1.as_ref().unwrap();
    assert!(audit.members.is_empty());
    assert!(
        described[1]
            .1
            .as_ref()
            .map_or(true, |group| group.state == "Dead")
    );
    let offsets = admin.list_group_offsets("audit").await.unwrap();
    assert_eq!(offsets.len(), 1);
    assert_eq!(offsets[0].0, TopicPartition::new("orders", 1));
    let offset = offsets[0].1.as_ref().unwrap();
    assert_eq!((offset.offset, offset.metadata.as_str()), (2, "by hand"));
    let deleted = admin.delete_groups(&["audit", "nothing"]).await.unwrap();
    assert!(deleted[0].1.is_ok(), "{deleted:?}");
    let error = deleted[1].1.as_ref().unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::GroupIdNotFound));
    let check = |response: &ferrokafka_wire::messages::ListGroupsResponse| {
        ErrorCode::from_code(response.error_code)
    };
    let build = |_| ferrokafka_wire::messages::ListGroupsRequest::default();
    let left = client.call(
        Route::Any,
        Lane::Control,
        client.api_deadline(),
        build,
        check,
    );
    assert!(left.await.unwrap().groups.is_empty());
}
