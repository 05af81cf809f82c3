//! Appending: offsets, sequence numbers, what is refused and how.

use bytes::{BufMut, Bytes, BytesMut};
use ferrokafka_broker::{ErrorCode, TestBroker};
use ferrokafka_wire::compression::Compression;
use ferrokafka_wire::messages::{ApiKey, InitProducerIdRequest, MetadataRequest};

use crate::driver::Driver;
use crate::records::{
    append, batch, batch_at, now_ms, produce, produce_request, read_all, stamped,
};

#[tokio::test]
async fn every_version_appends_and_every_codec_is_kept_as_sent() {
    let broker = TestBroker::builder().topic("t", 1).start().await.unwrap();
    let mut driver = Driver::connect(&broker).await;
    let mut expected = 0;
    for version in 3..=12 {
        let request = produce_request("t", 0, -1, batch("v", 3));
        let response = driver.call(version, &request).await;
        let partition = &response.responses[0].partition_responses[0];
        assert_eq!(
            (partition.error_code, partition.base_offset),
            (0, expected),
            "v{version}"
        );
        expected += 3;
    }
    for codec in [
        Compression::Gzip,
        Compression::Snappy,
        Compression::Lz4,
        Compression::Zstd,
    ] {
        let sent = batch_at(now_ms(), &[("k", Some("v")); 50])
            .finish(codec)
            .unwrap()
            .bytes();
        append(&mut driver, "t", 0, sent).await;
    }
    assert_eq!(read_all(&mut driver, "t", 0, 0).await.len(), 30 + 200);
}

#[tokio::test]
async fn versions_0_to_2_are_advertised_and_answered_with_unsupported_version() {
    let broker = TestBroker::builder().topic("t", 1).start().await.unwrap();
    for version in 0..3i16 {
        let mut driver = Driver::connect(&broker).await;
        let mut frame = BytesMut::new();
        frame.put_slice(b"\x00\x00");
        frame.put_i16(version);
        frame.put_slice(b"\x00\x00\x00\x09\x00\x01c"); // correlation id, client id
        frame.put_slice(b"\xff\xff\x00\x00\x03\xe8\x00\x00\x00\x01\x00\x01t\x00\x00\x00\x01"); // acks, timeout, one topic
        frame.put_slice(b"\x00\x00\x00\x00\x00\x00\x00\x03abc"); // partition 0, three bytes of records
        let mut whole = BytesMut::new();
        whole.put_i32(i32::try_from(frame.len()).unwrap());
        whole.extend_from_slice(&frame);
        driver.write(&whole).await;
        let answer = driver.read().await.expect("an answer");
        let mut expected = BytesMut::new();
        expected.put_slice(
            b"\x00\x00\x00\x09\x00\x00\x00\x01\x00\x01t\x00\x00\x00\x01\x00\x00\x00\x00\x00\x23",
        );
        expected.put_i64(-1);
        if version == 2 {
            expected.put_i64(-1);
        }
        if version >= 1 {
            expected.put_i32(0);
        }
        assert_eq!(answer, expected, "v{version}");
    }
}

#[tokio::test]
async fn duplicates_get_their_first_offset_and_are_stored_once() {
    let broker = TestBroker::builder().topic("t", 1).start().await.unwrap();
    let mut driver = Driver::connect(&broker).await;
    let given = driver
        .call(
            4,
            &InitProducerIdRequest::default().with_transactional_id(None),
        )
        .await;
    assert_eq!((given.error_code, given.producer_epoch), (0, 0));
    let id = given.producer_id.0;
    for (sequence, offset) in [(0, 0), (2, 2), (4, 4), (6, 6), (8, 8)] {
        assert_eq!(
            append(&mut driver, "t", 0, stamped(id, 0, sequence, 2)).await,
            offset
        );
    }
    for sequence in [0, 8, 4] {
        let answer = produce(&mut driver, "t", 0, stamped(id, 0, sequence, 2)).await;
        assert_eq!(
            (answer.error_code, answer.base_offset),
            (0, i64::from(sequence))
        );
    }
    assert_eq!(read_all(&mut driver, "t", 0, 0).await.len(), 10);

    let gap = produce(&mut driver, "t", 0, stamped(id, 0, 12, 2)).await;
    assert_eq!(
        ErrorCode::from_code(gap.error_code),
        ErrorCode::OutOfOrderSequenceNumber
    );
    append(&mut driver, "t", 0, stamped(id, 1, 0, 1)).await;
    let old = produce(&mut driver, "t", 0, stamped(id, 0, 10, 2)).await;
    assert_eq!(
        ErrorCode::from_code(old.error_code),
        ErrorCode::InvalidProducerEpoch
    );
    let other = driver
        .call(
            4,
            &InitProducerIdRequest::default().with_transactional_id(None),
        )
        .await;
    assert_ne!(other.producer_id.0, id);
}

fn with_byte(bytes: &Bytes, at: usize, change: impl Fn(u8) -> u8) -> Bytes {
    let mut changed = BytesMut::from(&bytes[..]);
    changed[at] = change(changed[at]);
    changed.freeze()
}

#[tokio::test]
async fn batches_that_are_not_sound_are_refused_and_leave_no_trace() {
    let broker = TestBroker::builder()
        .topic("t", 1)
        .config("message.max.bytes", "2000")
        .config("log.message.timestamp.after.max.ms", "60000")
        .start()
        .await
        .unwrap();
    let mut driver = Driver::connect(&broker).await;
    let good = batch("v", 3);
    let last = good.len() - 1;
    let two = Bytes::from([&good[..], &good[..]].concat());
    let future = batch_at(now_ms() + 600_000, &[("k", Some("v"))])
        .finish(Compression::None)
        .unwrap()
        .bytes();
    let cases = [
        (
            with_byte(&good, last, |byte| byte ^ 1),
            ErrorCode::CorruptMessage,
        ),
        (good.slice(..last), ErrorCode::CorruptMessage),
        (good.slice(..20), ErrorCode::CorruptMessage),
        (Bytes::new(), ErrorCode::InvalidRecord),
        (two, ErrorCode::InvalidRecord),
        // Base offset, which no CRC covers.
        (with_byte(&good, 7, |_| 5), ErrorCode::InvalidRecord),
        (batch(&"x".repeat(900), 3), ErrorCode::MessageTooLarge),
        (future, ErrorCode::InvalidTimestamp),
    ];
    for (number, (records, code)) in cases.into_iter().enumerate() {
        let answer = produce(&mut driver, "t", 0, records).await;
        assert_eq!(
            ErrorCode::from_code(answer.error_code),
            code,
            "case {number}: {:?}",
            answer.error_message
        );
        assert_eq!(answer.base_offset, -1);
    }
    let unknown = produce(&mut driver, "t", 1, good.clone()).await;
    assert_eq!(
        ErrorCode::from_code(unknown.error_code),
        ErrorCode::UnknownTopicOrPartition
    );
    let acks = driver
        .call(9, &produce_request("t", 0, 2, good.clone()))
        .await;
    let acks = acks.responses[0].partition_responses[0].error_code;
    assert_eq!(ErrorCode::from_code(acks), ErrorCode::InvalidRequiredAcks);
    assert_eq!(append(&mut driver, "t", 0, good).await, 0);
}

#[tokio::test]
async fn without_acks_nothing_is_answered_and_an_error_ends_the_connection() {
    let broker = TestBroker::builder().topic("t", 1).start().await.unwrap();
    let mut driver = Driver::connect(&broker).await;
    driver
        .send(9, &produce_request("t", 0, 0, batch("v", 2)))
        .await;
    // The next answer on the connection belongs to the next request.
    assert_eq!(
        driver
            .call(9, &MetadataRequest::default())
            .await
            .brokers
            .len(),
        1
    );
    assert_eq!(read_all(&mut driver, "t", 0, 0).await.len(), 2);
    driver
        .send(9, &produce_request("absent", 0, 0, batch("v", 2)))
        .await;
    assert_eq!(driver.read().await, None);
}

#[tokio::test]
async fn too_few_replicas_in_sync_refuse_a_write_that_asks_for_all() {
    let broker = TestBroker::builder()
        .config("min.insync.replicas", "2")
        .topic("t", 1)
        .start()
        .await
        .unwrap();
    let mut driver = Driver::connect(&broker).await;
    let answer = produce(&mut driver, "t", 0, batch("v", 1)).await;
    assert_eq!(
        ErrorCode::from_code(answer.error_code),
        ErrorCode::NotEnoughReplicas
    );
    let leader = driver
        .call(9, &produce_request("t", 0, 1, batch("v", 1)))
        .await;
    assert_eq!(leader.responses[0].partition_responses[0].error_code, 0);
}

#[tokio::test]
async fn wrong_node_is_told_who_leads() {
    let broker = TestBroker::builder()
        .nodes(2)
        .topic("t", 1)
        .start()
        .await
        .unwrap();
    broker.move_leader("t", 0, 2).unwrap();
    let mut driver = Driver::connect_to(&broker, 1).await;
    let response = driver
        .call(10, &produce_request("t", 0, -1, batch("v", 1)))
        .await;
    let partition = &response.responses[0].partition_responses[0];
    assert_eq!(
        ErrorCode::from_code(partition.error_code),
        ErrorCode::NotLeaderOrFollower
    );
    assert_eq!(partition.current_leader.leader_id.0, 2);
    assert_eq!(response.node_endpoints[0].node_id.0, 2);
    let mut driver = Driver::connect_to(&broker, 2).await;
    assert_eq!(append(&mut driver, "t", 0, batch("v", 1)).await, 0);
}

#[tokio::test]
async fn scripted_faults_happen_to_the_requests_they_are_for() {
    let broker = TestBroker::builder().topic("t", 1).start().await.unwrap();
    let mut driver = Driver::connect(&broker).await;
    broker
        .on(ApiKey::Produce)
        .after(1)
        .times(1)
        .error(ErrorCode::NotLeaderOrFollower);
    append(&mut driver, "t", 0, batch("a", 1)).await;
    let refused = produce(&mut driver, "t", 0, batch("b", 1)).await;
    assert_eq!(
        ErrorCode::from_code(refused.error_code),
        ErrorCode::NotLeaderOrFollower
    );
    broker
        .on(ApiKey::Produce)
        .throttle(std::time::Duration::from_millis(250));
    let throttled = driver
        .call(9, &produce_request("t", 0, -1, batch("c", 1)))
        .await;
    assert_eq!(throttled.throttle_time_ms, 250);
    broker.on(ApiKey::Produce).apply_then_disconnect();
    driver
        .send(9, &produce_request("t", 0, -1, batch("d", 1)))
        .await;
    assert_eq!(driver.read().await, None);
    broker.on(ApiKey::Produce).disconnect();
    let mut driver = Driver::connect(&broker).await;
    driver
        .send(9, &produce_request("t", 0, -1, batch("e", 1)))
        .await;
    assert_eq!(driver.read().await, None);
    let mut driver = Driver::connect(&broker).await;
    let values: Vec<_> = read_all(&mut driver, "t", 0, 0)
        .await
        .into_iter()
        .filter_map(|(_, value)| value)
        .collect();
    assert_eq!(values, ["a-0", "c-0", "d-0"]);
    let seen = broker
        .requests()
        .into_iter()
        .filter(|request| request.api == ApiKey::Produce)
        .count();
    assert_eq!(seen, 5);
}
