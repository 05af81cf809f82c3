//! Offsets by time, asked of leaders that may move.

use ferrokafka_admin::{Admin, CreateOptions, NewTopic, OffsetSpec};
use ferrokafka_client::{Lane, Route, TopicPartition};
use ferrokafka_wire::ErrorCode;
use ferrokafka_wire::compression::Compression;
use ferrokafka_wire::messages::produce_request::{PartitionProduceData, TopicProduceData};
use ferrokafka_wire::messages::{ApiKey, ProduceRequest, TopicName};
use ferrokafka_wire::protocol::StrBytes;
use ferrokafka_wire::record::{BatchBuilder, ProducerStamp};

use crate::topics::start;

/// Writes records with these timestamps.
async fn write(admin: &Admin, partition: &TopicPartition, timestamps: &[i64]) {
    let mut batch = BatchBuilder::new(1024);
    for timestamp in timestamps {
        batch.append(*timestamp, None, Some(b"value"), &[]).unwrap();
    }
    let mut batch = batch.finish(Compression::None).unwrap();
    batch.stamp(ProducerStamp {
        producer_id: -1,
        producer_epoch: -1,
        base_sequence: -1,
        transactional: false,
    });
    let client = admin.client();
    let build = |version: i16| {
        let data = PartitionProduceData::default()
            .with_index(partition.partition)
            .with_records(Some(batch.bytes()));
        assert!(version < 13, "topics go by name");
        let topic = TopicProduceData::default()
            .with_name(TopicName(StrBytes::from_string(
                partition.topic.to_string(),
            )))
            .with_partition_data(vec![data]);
        ProduceRequest::default()
            .with_transactional_id(None)
            .with_acks(-1)
            .with_timeout_ms(5_000)
            .with_topic_data(vec![topic])
    };
    let node = client
        .metadata(
            std::slice::from_ref(&partition.topic),
            client.api_deadline(),
        )
        .await;
    let (node, _) = node.unwrap().leader(partition).unwrap();
    let deadline = client.api_deadline();
    let sent = client
        .request_max_version(node, Lane::Produce, deadline, 12, build)
        .await;
    let (_, response) = sent.unwrap();
    assert_eq!(response.responses[0].partition_responses[0].error_code, 0);
}

#[tokio::test]
async fn offsets_are_found_by_time() {
    let (broker, admin) = start(3).await;
    let topic = [NewTopic::new("orders", 3, 3)];
    admin
        .create_topics(&topic, CreateOptions::default())
        .await
        .unwrap();
    let partition = TopicPartition::new("orders", 1);
    write(&admin, &partition, &[1_000, 2_000, 5_000, 3_000]).await;
    let empty = TopicPartition::new("orders", 2);
    // The same partition several times: each question has its own answer.
    let wanted = [
        (partition.clone(), OffsetSpec::Earliest),
        (partition.clone(), OffsetSpec::Latest),
        (partition.clone(), OffsetSpec::Timestamp(1_500)),
        (partition.clone(), OffsetSpec::Timestamp(9_000)),
        (partition.clone(), OffsetSpec::MaxTimestamp),
        (empty.clone(), OffsetSpec::Latest),
        (TopicPartition::new("orders", 9), OffsetSpec::Latest),
        (TopicPartition::new("nothing", 0), OffsetSpec::Latest),
    ];
    let listed = admin.list_offsets(&wanted).await.unwrap();
    let offsets: Vec<_> = listed[..6]
        .iter()
        .map(|(_, listed)| listed.as_ref().unwrap().offset)
        .collect();
    assert_eq!(offsets, [Some(0), Some(4), Some(1), None, Some(2), Some(0)]);
    assert_eq!(listed[2].1.as_ref().unwrap().timestamp, Some(2_000));
    for (partition, missing) in &listed[6..] {
        let error = missing.as_ref().unwrap_err();
        assert_eq!(error.code(), Some(ErrorCode::UnknownTopicOrPartition));
        assert_eq!(error.topic_partition(), Some(partition));
    }
    broker.stop().await;
}

#[tokio::test]
async fn moved_leader_is_followed() {
    let (broker, admin) = start(3).await;
    let topic = [NewTopic::new("orders", 1, 3)];
    admin
        .create_topics(&topic, CreateOptions::default())
        .await
        .unwrap();
    let partition = TopicPartition::new("orders", 0);
    write(&admin, &partition, &[1, 2, 3]).await;
    let (leader, _) = admin.client().cluster().leader(&partition).unwrap();
    broker.move_leader("orders", 0, leader % 3 + 1).unwrap();
    let listed = admin
        .list_offsets(&[(partition.clone(), OffsetSpec::Latest)])
        .await
        .unwrap();
    assert_eq!(listed[0].1.as_ref().unwrap().offset, Some(3));
    let asked: Vec<_> = broker
        .requests()
        .iter()
        .filter(|request| request.api == ApiKey::ListOffsets)
        .map(|request| request.node)
        .collect();
    assert_eq!(asked, [leader, leader % 3 + 1]);
    // A call to the leader finds it as well.
    let client = admin.client();
    let deadline = client.api_deadline();
    let build = |_| {
        use ferrokafka_wire::messages::list_offsets_request as request;
        let partition = request::ListOffsetsPartition::default().with_timestamp(-1);
        let topic = request::ListOffsetsTopic::default()
            .with_name(TopicName(StrBytes::from_static_str("orders")))
            .with_partitions(vec![partition]);
        ferrokafka_wire::messages::ListOffsetsRequest::default()
            .with_replica_id(ferrokafka_wire::messages::BrokerId(-1))
            .with_topics(vec![topic])
    };
    broker.move_leader("orders", 0, leader).unwrap();
    let call = client.call(
        Route::Leader(&partition),
        Lane::Control,
        deadline,
        build,
        |response| ErrorCode::from_code(response.topics[0].partitions[0].error_code),
    );
    call.await.unwrap();
    broker.stop().await;
}
