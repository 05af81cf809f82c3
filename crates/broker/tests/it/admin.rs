//! Offsets, settings and partitions as tools and clients ask for them.

use bytes::Bytes;
use ferrokafka_broker::{ErrorCode, TestBroker};
use ferrokafka_wire::compression::Compression;
use ferrokafka_wire::messages::create_partitions_request::CreatePartitionsTopic;
use ferrokafka_wire::messages::delete_records_request::{
    DeleteRecordsPartition, DeleteRecordsTopic,
};
use ferrokafka_wire::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig,
};
use ferrokafka_wire::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use ferrokafka_wire::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use ferrokafka_wire::messages::{
    CreatePartitionsRequest, DeleteRecordsRequest, IncrementalAlterConfigsRequest,
    ListOffsetsRequest, OffsetForLeaderEpochRequest,
};
use ferrokafka_wire::protocol::StrBytes;

use crate::driver::Driver;
use crate::records::{
    append, batch, batch_at, fetch_request, now_ms, only_partition, produce, read_all,
};
use crate::topics::{all, describe_config, name};

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn at(timestamp: i64) -> ListOffsetsRequest {
    let asked = ListOffsetsPartition::default().with_timestamp(timestamp);
    ListOffsetsRequest::default().with_topics(vec![
        ListOffsetsTopic::default()
            .with_name(name("t"))
            .with_partitions(vec![asked]),
    ])
}

async fn offset_at(driver: &mut Driver, version: i16, timestamp: i64) -> (ErrorCode, i64, i64) {
    let response = driver.call(version, &at(timestamp)).await;
    let partition = &response.topics[0].partitions[0];
    (
        ErrorCode::from_code(partition.error_code),
        partition.offset,
        partition.timestamp,
    )
}

fn delete_before(offset: i64) -> DeleteRecordsRequest {
    let asked = DeleteRecordsPartition::default().with_offset(offset);
    DeleteRecordsRequest::default().with_topics(vec![
        DeleteRecordsTopic::default()
            .with_name(name("t"))
            .with_partitions(vec![asked]),
    ])
}

#[tokio::test]
async fn offsets_are_listed_by_place_and_by_time() {
    let broker = TestBroker::builder().topic("t", 1).start().await.unwrap();
    let mut driver = Driver::connect(&broker).await;
    let base = now_ms() - 60_000;
    for n in [0, 1, 5, 3] {
        let records = batch_at(base + n * 1000, &[("k", Some("v")), ("k", Some("w"))]);
        append(
            &mut driver,
            "t",
            0,
            records.finish(Compression::None).unwrap().bytes(),
        )
        .await;
    }
    for version in 1..=9 {
        assert_eq!(
            offset_at(&mut driver, version, -1).await,
            (ErrorCode::None, 8, -1)
        );
        assert_eq!(
            offset_at(&mut driver, version, -2).await,
            (ErrorCode::None, 0, -1)
        );
        assert_eq!(
            offset_at(&mut driver, version, base).await,
            (ErrorCode::None, 0, base)
        );
        assert_eq!(
            offset_at(&mut driver, version, base + 1).await,
            (ErrorCode::None, 2, base + 1000)
        );
        assert_eq!(
            offset_at(&mut driver, version, base + 1001).await,
            (ErrorCode::None, 4, base + 5000)
        );
        assert_eq!(
            offset_at(&mut driver, version, base + 5001).await,
            (ErrorCode::None, -1, -1)
        );
        let newest = offset_at(&mut driver, version, -3).await;
        if version >= 7 {
            assert_eq!(newest, (ErrorCode::None, 4, base + 5000));
        } else {
            assert_eq!(newest.0, ErrorCode::UnsupportedVersion);
        }
    }
    for version in 0..=2 {
        let deleted = driver
            .call(version, &delete_before(i64::from(version) + 1))
            .await;
        let partition = &deleted.topics[0].partitions[0];
        assert_eq!(
            (partition.error_code, partition.low_watermark),
            (0, i64::from(version) + 1)
        );
    }
    assert_eq!(offset_at(&mut driver, 9, -2).await.1, 3);
    assert_eq!(read_all(&mut driver, "t", 0, 3).await.len(), 5);
    let gone = only_partition(&driver.call(11, &fetch_request("t", 0, 2, 0)).await);
    assert_eq!(
        ErrorCode::from_code(gone.error_code),
        ErrorCode::OffsetOutOfRange
    );
    let beyond = driver.call(2, &delete_before(9)).await;
    assert_eq!(
        ErrorCode::from_code(beyond.topics[0].partitions[0].error_code),
        ErrorCode::OffsetOutOfRange
    );
    let everything = driver.call(2, &delete_before(-1)).await;
    assert_eq!(everything.topics[0].partitions[0].low_watermark, 8);
}

fn alter(key: &str, operation: i8, value: Option<&str>) -> IncrementalAlterConfigsRequest {
    let config = AlterableConfig::default()
        .with_name(text(key))
        .with_config_operation(operation)
        .with_value(value.map(text));
    IncrementalAlterConfigsRequest::default().with_resources(vec![
        AlterConfigsResource::default()
            .with_resource_type(2)
            .with_resource_name(text("t"))
            .with_configs(vec![config]),
    ])
}

async fn value_of(driver: &mut Driver, key: &str) -> (Option<String>, i8) {
    let described = driver.call(4, &describe_config("t", key)).await;
    let config = &described.results[0].configs[0];
    (
        config.value.as_ref().map(ToString::to_string),
        config.config_source,
    )
}

#[tokio::test]
async fn settings_are_altered_one_by_one_and_take_effect() {
    let broker = TestBroker::builder()
        .topic("t", 1)
        .config("log.retention.hours", "1")
        .start()
        .await
        .unwrap();
    let mut driver = Driver::connect(&broker).await;
    assert_eq!(
        value_of(&mut driver, "retention.ms").await,
        (Some("3600000".to_owned()), 4)
    );
    for version in 0..=1 {
        let set = driver
            .call(version, &alter("retention.ms", 0, Some("5")))
            .await;
        assert_eq!(set.responses[0].error_code, 0);
        assert_eq!(
            value_of(&mut driver, "retention.ms").await,
            (Some("5".to_owned()), 1)
        );
        driver.call(version, &alter("retention.ms", 1, None)).await;
        assert_eq!(
            value_of(&mut driver, "retention.ms").await,
            (Some("3600000".to_owned()), 4)
        );
    }
    driver
        .call(1, &alter("cleanup.policy", 2, Some("compact")))
        .await;
    assert_eq!(
        value_of(&mut driver, "cleanup.policy").await,
        (Some("compact,delete".to_owned()), 1)
    );
    driver
        .call(1, &alter("cleanup.policy", 3, Some("delete")))
        .await;
    assert_eq!(
        value_of(&mut driver, "cleanup.policy").await,
        (Some("compact".to_owned()), 1)
    );
    let mut keyless = ferrokafka_wire::record::BatchBuilder::new(100);
    keyless.append(now_ms(), None, Some(b"v"), &[]).unwrap();
    let keyless: Bytes = keyless.finish(Compression::None).unwrap().bytes();
    let refused = produce(&mut driver, "t", 0, keyless).await;
    assert_eq!(
        ErrorCode::from_code(refused.error_code),
        ErrorCode::InvalidRecord
    );
    assert_eq!(refused.record_errors[0].batch_index, 0);

    for (request, code) in [
        (
            alter("retention.ms", 0, Some("-2")),
            ErrorCode::InvalidConfig,
        ),
        (alter("retention.m", 0, Some("1")), ErrorCode::InvalidConfig),
        (
            alter("retention.ms", 2, Some("1")),
            ErrorCode::InvalidConfig,
        ),
        (alter("retention.ms", 0, None), ErrorCode::InvalidConfig),
        (
            alter("retention.ms", 9, Some("1")),
            ErrorCode::InvalidRequest,
        ),
    ] {
        let answer = driver.call(1, &request).await;
        assert_eq!(ErrorCode::from_code(answer.responses[0].error_code), code);
    }
    let dry = alter("retention.ms", 0, Some("77")).with_validate_only(true);
    assert_eq!(driver.call(1, &dry).await.responses[0].error_code, 0);
    assert_eq!(
        value_of(&mut driver, "retention.ms").await.0.as_deref(),
        Some("3600000")
    );
}

#[tokio::test]
async fn partitions_are_added_and_never_taken() {
    let broker = TestBroker::builder()
        .nodes(3)
        .topic("t", 2)
        .start()
        .await
        .unwrap();
    let mut driver = Driver::connect(&broker).await;
    let grow = |count| {
        CreatePartitionsRequest::default().with_topics(vec![
            CreatePartitionsTopic::default()
                .with_name(name("t"))
                .with_count(count)
                .with_assignments(None),
        ])
    };
    for version in 0..=3 {
        let count = 3 + i32::from(version);
        assert_eq!(
            driver.call(version, &grow(count)).await.results[0].error_code,
            0
        );
        let described = driver.call(9, &all()).await;
        let partitions = &described.topics[0].partitions;
        assert_eq!(partitions.len(), count as usize);
        assert!(
            partitions
                .iter()
                .all(|partition| partition.replica_nodes.len() == 3 && partition.leader_id.0 > 0)
        );
    }
    for count in [6, 2, 0, i32::MAX] {
        let answer = driver.call(3, &grow(count)).await;
        assert_eq!(
            ErrorCode::from_code(answer.results[0].error_code),
            ErrorCode::InvalidPartitions
        );
    }
}

#[tokio::test]
async fn leader_epochs_end_where_the_next_began() {
    let broker = TestBroker::builder().topic("t", 1).start().await.unwrap();
    let mut driver = Driver::connect(&broker).await;
    append(&mut driver, "t", 0, batch("v", 2)).await;
    broker.bump_leader_epoch("t", 0).unwrap();
    broker.bump_leader_epoch("t", 0).unwrap();
    append(&mut driver, "t", 0, batch("v", 3)).await;
    for version in 2..=4 {
        for (asked, expected) in [(0, (0, 2)), (1, (0, 2)), (2, (2, 5)), (3, (-1, -1))] {
            let partition = OffsetForLeaderPartition::default()
                .with_current_leader_epoch(-1)
                .with_leader_epoch(asked);
            let topic = OffsetForLeaderTopic::default()
                .with_topic(name("t"))
                .with_partitions(vec![partition]);
            let response = driver
                .call(
                    version,
                    &OffsetForLeaderEpochRequest::default().with_topics(vec![topic]),
                )
                .await;
            let answer = &response.topics[0].partitions[0];
            assert_eq!(
                (answer.leader_epoch, answer.end_offset),
                expected,
                "epoch {asked}, v{version}"
            );
        }
    }
}

#[tokio::test]
async fn retention_and_compaction_run_by_themselves() {
    let broker = TestBroker::builder()
        .config("log.initial.task.delay.ms", "1")
        .config("log.retention.check.interval.ms", "20")
        .config("log.cleaner.backoff.ms", "20")
        .config("log.cleaner.min.cleanable.ratio", "0.01")
        .config("log.segment.bytes", "300")
        .topic("t", 1)
        .topic("kept", 1)
        .start()
        .await
        .unwrap();
    let mut driver = Driver::connect(&broker).await;
    driver
        .call(1, &alter("cleanup.policy", 0, Some("compact")))
        .await;
    for n in 0..20 {
        let value = n.to_string();
        let records = batch_at(now_ms() - 10_000, &[("same", Some(&*value))])
            .finish(Compression::None)
            .unwrap();
        append(&mut driver, "t", 0, records.bytes()).await;
        append(&mut driver, "kept", 0, batch("v", 1)).await;
    }
    // Each round trip gives the cleaner time; the patience of a test is the limit.
    let deadline = tokio::time::Instant::now() + crate::driver::PATIENCE;
    while read_all(&mut driver, "t", 0, 0).await.len() > 5 {
        assert!(
            tokio::time::Instant::now() < deadline,
            "compaction does not run"
        );
    }
    assert_eq!(
        read_all(&mut driver, "t", 0, 0)
            .await
            .last()
            .unwrap()
            .1
            .as_deref(),
        Some("19")
    );
    driver
        .call(1, &alter("cleanup.policy", 0, Some("delete")))
        .await;
    driver
        .call(1, &alter("retention.ms", 0, Some("5000")))
        .await;
    while offset_at(&mut driver, 9, -2).await.1 < 20 {
        assert!(
            tokio::time::Instant::now() < deadline,
            "retention does not run"
        );
    }
    assert_eq!(read_all(&mut driver, "kept", 0, 0).await.len(), 20);
}
