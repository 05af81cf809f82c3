//! Reading: limits, starting points, waiting, who may be asked.

use std::time::Duration;

use ferrokafka_broker::{ErrorCode, TestBroker};
use ferrokafka_wire::messages::fetch_request::{FetchPartition, FetchTopic};
use ferrokafka_wire::messages::metadata_request::MetadataRequestTopic;
use ferrokafka_wire::messages::{ApiKey, FetchRequest, MetadataRequest};
use tokio::time::{Instant, timeout};

use crate::driver::{Driver, PATIENCE};
use crate::records::{append, batch, fetch_request, only_partition, records};
use crate::topics::name;

#[tokio::test]
async fn every_version_reads_by_name_or_id() {
    let broker = TestBroker::builder().topic("t", 1).start().await.unwrap();
    let mut driver = Driver::connect(&broker).await;
    append(&mut driver, "t", 0, batch("v", 3)).await;
    let asked = MetadataRequestTopic::default().with_name(Some(name("t")));
    let described = driver
        .call(
            12,
            &MetadataRequest::default().with_topics(Some(vec![asked])),
        )
        .await;
    let id = described.topics[0].topic_id;
    for version in 4..=17 {
        let mut request = fetch_request("t", 0, 0, 0);
        request.isolation_level = i8::from(version % 2 == 0);
        if version >= 13 {
            request.topics[0].topic = name("");
            request.topics[0].topic_id = id;
        }
        let data = only_partition(&driver.call(version, &request).await);
        assert_eq!(records(&data, 0).len(), 3, "v{version}");
        assert_eq!((data.high_watermark, data.last_stable_offset), (3, 3));
    }
    let mut request = fetch_request("t", 0, 0, 0);
    request.topics[0].topic = name("");
    request.topics[0].topic_id = uuid::Uuid::from_u128(99);
    let data = only_partition(&driver.call(13, &request).await);
    assert_eq!(
        ErrorCode::from_code(data.error_code),
        ErrorCode::UnknownTopicId
    );
}

#[tokio::test]
async fn reading_may_start_in_the_middle_of_a_batch() {
    let broker = TestBroker::builder().topic("t", 1).start().await.unwrap();
    let mut driver = Driver::connect(&broker).await;
    for _ in 0..3 {
        append(&mut driver, "t", 0, batch("v", 10)).await;
    }
    for from in 0..30 {
        let data = only_partition(&driver.call(11, &fetch_request("t", 0, from, 0)).await);
        let offsets: Vec<i64> = records(&data, from)
            .iter()
            .map(|record| record.offset)
            .collect();
        assert_eq!(offsets, (from..30).collect::<Vec<_>>());
    }
    let beyond = only_partition(&driver.call(11, &fetch_request("t", 0, 31, 0)).await);
    assert_eq!(
        ErrorCode::from_code(beyond.error_code),
        ErrorCode::OffsetOutOfRange
    );
}

#[tokio::test]
async fn limits_hold_except_for_the_first_batch_of_an_answer() {
    let broker = TestBroker::builder().topic("t", 2).start().await.unwrap();
    let mut driver = Driver::connect(&broker).await;
    let one = batch(&"x".repeat(500), 2);
    let length = one.len();
    for partition in 0..2 {
        for _ in 0..4 {
            append(&mut driver, "t", partition, one.clone()).await;
        }
    }
    let ask = |max_bytes: usize, partition_max: usize| {
        let partition = |index| {
            FetchPartition::default()
                .with_partition(index)
                .with_partition_max_bytes(i32::try_from(partition_max).unwrap())
        };
        FetchRequest::default()
            .with_max_bytes(i32::try_from(max_bytes).unwrap())
            .with_topics(vec![
                FetchTopic::default()
                    .with_topic(name("t"))
                    .with_partitions(vec![partition(0), partition(1)]),
            ])
    };
    let cases = [
        // max_bytes, partition_max_bytes: bytes of each partition
        (1 << 20, 1 << 20, [4 * length, 4 * length]),
        (1, 1 << 20, [length, 0]),
        (1 << 20, 1, [length, 0]),
        (1 << 20, 2 * length, [2 * length, 2 * length]),
        (3 * length, 2 * length, [2 * length, length]),
    ];
    for (max_bytes, partition_max, expected) in cases {
        let response = driver.call(11, &ask(max_bytes, partition_max)).await;
        let lengths: Vec<usize> = response.responses[0]
            .partitions
            .iter()
            .map(|data| data.records.as_ref().map_or(0, |r| r.len()))
            .collect();
        assert_eq!(
            lengths, expected,
            "max {max_bytes}, partition max {partition_max}"
        );
    }
}

#[tokio::test]
async fn waiting_reader_is_woken_by_an_append() {
    let broker = TestBroker::builder().topic("t", 1).start().await.unwrap();
    let (mut reader, mut writer) = (
        Driver::connect(&broker).await,
        Driver::connect(&broker).await,
    );
    // Far longer than the test's patience: only the append can end the wait.
    reader.send(11, &fetch_request("t", 0, 0, 300_000)).await;
    broker
        .wait_for_requests(ApiKey::Fetch, 1, Instant::now() + PATIENCE)
        .await
        .unwrap();
    append(&mut writer, "t", 0, batch("v", 1)).await;
    assert!(reader.read().await.is_some());
}

#[tokio::test]
async fn waiting_reader_waits_for_enough_bytes_and_no_longer_than_it_said() {
    let broker = TestBroker::builder().topic("t", 1).start().await.unwrap();
    let (mut reader, mut writer) = (
        Driver::connect(&broker).await,
        Driver::connect(&broker).await,
    );
    let one = batch("v", 1);
    let mut request = fetch_request("t", 0, 0, 300_000);
    request.min_bytes = i32::try_from(one.len() + 1).unwrap();
    reader.send(11, &request).await;
    broker
        .wait_for_requests(ApiKey::Fetch, 1, Instant::now() + PATIENCE)
        .await
        .unwrap();
    append(&mut writer, "t", 0, one.clone()).await;
    let early = timeout(Duration::from_millis(100), reader.read()).await;
    assert!(early.is_err(), "one batch is not enough");
    append(&mut writer, "t", 0, one).await;
    assert!(reader.read().await.is_some());

    let began = Instant::now();
    let data = only_partition(&writer.call(11, &fetch_request("t", 0, 2, 200)).await);
    assert!(began.elapsed() >= Duration::from_millis(200) && records(&data, 0).is_empty());
}

const RACES: i64 = 1000;

/// On several threads, because a single one never appends between a reader's look and its wait.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn appends_and_reads_racing_never_leave_a_reader_waiting() {
    let broker = TestBroker::builder().topic("t", 1).start().await.unwrap();
    let (mut reader, mut writer) = (
        Driver::connect(&broker).await,
        Driver::connect(&broker).await,
    );
    let write = async {
        for _ in 0..RACES {
            append(&mut writer, "t", 0, batch("v", 1)).await;
        }
    };
    let read = async {
        let mut next = 0;
        while next < RACES {
            let response = reader.call(11, &fetch_request("t", 0, next, 300_000)).await;
            next += i64::try_from(records(&only_partition(&response), next).len()).unwrap();
        }
    };
    timeout(PATIENCE * 3, async { tokio::join!(write, read) })
        .await
        .expect("no wake-up is lost");
}

#[tokio::test]
async fn leader_epochs_expose_a_stale_reader() {
    let broker = TestBroker::builder()
        .nodes(2)
        .topic("t", 1)
        .start()
        .await
        .unwrap();
    broker.move_leader("t", 0, 1).unwrap();
    broker.bump_leader_epoch("t", 0).unwrap();
    let mut driver = Driver::connect_to(&broker, 1).await;
    let described = driver
        .call(7, &MetadataRequest::default().with_topics(None))
        .await;
    let epoch = described.topics[0].partitions[0].leader_epoch;
    for (claimed, expected) in [
        (-1, ErrorCode::None),
        (epoch, ErrorCode::None),
        (epoch - 1, ErrorCode::FencedLeaderEpoch),
        (epoch + 1, ErrorCode::UnknownLeaderEpoch),
    ] {
        let mut request = fetch_request("t", 0, 0, 0);
        request.topics[0].partitions[0].current_leader_epoch = claimed;
        let data = only_partition(&driver.call(12, &request).await);
        assert_eq!(ErrorCode::from_code(data.error_code), expected);
    }
    // A reader that waits is told when the leader moves away.
    driver.send(12, &fetch_request("t", 0, 0, 300_000)).await;
    broker
        .wait_for_requests(ApiKey::Fetch, 5, Instant::now() + PATIENCE)
        .await
        .unwrap();
    broker.move_leader("t", 0, 2).unwrap();
    assert!(driver.read().await.is_some());
    let data = only_partition(&driver.call(16, &by_id(&broker).await).await);
    assert_eq!(
        ErrorCode::from_code(data.error_code),
        ErrorCode::NotLeaderOrFollower
    );
    assert_eq!(data.current_leader.leader_id.0, 2);
}

async fn by_id(broker: &TestBroker) -> FetchRequest {
    let mut driver = Driver::connect(broker).await;
    let described = driver
        .call(12, &MetadataRequest::default().with_topics(None))
        .await;
    let mut request = fetch_request("", 0, 0, 0);
    request.topics[0].topic_id = described.topics[0].topic_id;
    request
}
