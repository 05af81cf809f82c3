//! Positions, answers and hand-out, without a broker.

use std::sync::Arc;

use bytes::BytesMut;
use ferrokafka_client::Topic;
use ferrokafka_wire::compression::Compression;
use ferrokafka_wire::record::{
    BatchBuilder, ControlRecord, ProducerStamp, control_batch, patch_base,
};

use super::*;

fn tp() -> TopicPartition {
    TopicPartition::new("t", 0)
}

fn settings(reset: OffsetReset) -> Settings {
    Settings {
        reset,
        in_group: true,
        read_committed: false,
        fetch_bytes_max: 1 << 20,
        check_crcs: true,
        backoff: Backoff::new(Duration::from_millis(100), Duration::from_secs(1)),
    }
}

/// Partition 0 of `t` with this committed offset.
fn reading_from(offset: i64) -> Partitions {
    let mut partitions = Partitions::new(settings(OffsetReset::Earliest));
    partitions.add(&[tp()]);
    let epoch = partitions.awaiting_committed(Instant::now())[0].1;
    partitions.committed_found(&tp(), epoch, Some(OffsetAndMetadata::new(offset)));
    partitions
}

fn cluster() -> Cluster {
    let partition = |id| ferrokafka_client::Partition {
        id,
        leader: Some(1),
        leader_epoch: 3,
        replicas: vec![1],
        isr: vec![1],
        offline: vec![],
    };
    let topic = Topic {
        id: Default::default(),
        internal: false,
        partitions: vec![partition(0), partition(1)],
        error: ErrorCode::None,
    };
    Cluster {
        topics: [(Arc::from("t"), topic)].into(),
        ..Cluster::default()
    }
}

/// A batch at `base` with one record for each value.
fn batch(base: i64, values: &[&str], stamp: ProducerStamp) -> Bytes {
    let mut builder = BatchBuilder::new(256);
    for value in values {
        builder
            .append(1, None, Some(value.as_bytes()), &[])
            .unwrap();
    }
    let mut encoded = builder.finish(Compression::None).unwrap();
    encoded.stamp(stamp);
    at(base, &encoded.bytes())
}

fn at(base: i64, bytes: &[u8]) -> Bytes {
    let mut bytes = BytesMut::from(bytes);
    patch_base(&mut bytes, base, 5);
    bytes.freeze()
}

fn answer(records: Bytes) -> Fetched {
    Fetched {
        code: ErrorCode::None,
        high_watermark: 100,
        last_stable: 90,
        records,
        aborted: vec![],
    }
}

fn refusal(code: ErrorCode) -> Fetched {
    Fetched {
        code,
        ..answer(Bytes::new())
    }
}

fn next_item(partitions: &Partitions) -> FetchItem {
    partitions
        .plan(1, &cluster(), Instant::now())
        .items
        .remove(0)
}

fn bring(partitions: &mut Partitions, records: Bytes) -> Effect {
    let item = next_item(partitions);
    partitions.fetched(&item, Instant::now(), answer(records))
}

fn offsets(records: &[ConsumerRecord]) -> Vec<i64> {
    records.iter().map(|r| r.offset).collect()
}

fn consumed(partitions: &Partitions) -> i64 {
    partitions.position(&tp()).unwrap().offset
}

#[test]
fn records_before_the_position_are_skipped() {
    let mut partitions = reading_from(12);
    bring(
        &mut partitions,
        batch(10, &["a", "b", "c", "d"], ProducerStamp::NONE),
    );
    assert_eq!(offsets(&partitions.drain(10).unwrap()), [12, 13]);
    assert_eq!(consumed(&partitions), 14);
    assert_eq!(
        next_item(&partitions).position,
        Position {
            offset: 14,
            leader_epoch: Some(5)
        }
    );
}

#[test]
fn position_moves_only_with_what_is_handed_out() {
    let mut partitions = reading_from(0);
    bring(
        &mut partitions,
        batch(0, &["a", "b", "c"], ProducerStamp::NONE),
    );
    assert_eq!(consumed(&partitions), 0, "fetched is not polled");
    assert!(partitions.consumed().is_empty(), "nothing new to commit");
    assert_eq!(partitions.drain(2).unwrap().len(), 2);
    assert_eq!(partitions.consumed()[&tp()].offset, 2);
    let past: BTreeMap<_, _> = [(tp(), OffsetAndMetadata::new(3))].into();
    assert!(partitions.check_commit(&past).is_err());
    partitions.drain(2).unwrap();
    assert!(partitions.check_commit(&past).is_ok());
}

#[test]
fn empty_compacted_tail_is_passed() {
    let mut builder = BatchBuilder::new(64);
    for value in ["a", "b", "c"] {
        builder
            .append(1, None, Some(value.as_bytes()), &[])
            .unwrap();
    }
    let whole = builder.finish(Compression::None).unwrap().bytes();
    // Compaction keeps the offsets of a batch that lost all its records.
    let mut hollow = whole[..61].to_vec();
    hollow[8..12].copy_from_slice(&49i32.to_be_bytes());
    hollow[57..61].copy_from_slice(&0i32.to_be_bytes());
    let crc = crc32c(&hollow[21..]);
    hollow[17..21].copy_from_slice(&crc.to_be_bytes());
    let mut partitions = reading_from(20);
    bring(&mut partitions, at(20, &hollow));
    assert_eq!(next_item(&partitions).position.offset, 23);
    assert!(partitions.drain(10).unwrap().is_empty());
    assert_eq!(consumed(&partitions), 23);
}

/// CRC-32C, bit by bit.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            if crc & 1 == 1 {
                crc >> 1 ^ 0x82f6_3b78
            } else {
                crc >> 1
            }
        })
    })
}

fn transactional(producer_id: i64) -> ProducerStamp {
    ProducerStamp {
        producer_id,
        producer_epoch: 0,
        base_sequence: 0,
        transactional: true,
    }
}

fn marker(base: i64, producer_id: i64, abort: bool) -> Bytes {
    let record = if abort {
        ControlRecord::Abort {
            coordinator_epoch: 0,
        }
    } else {
        ControlRecord::Commit {
            coordinator_epoch: 0,
        }
    };
    at(base, &control_batch(record, 1, producer_id, 0).unwrap())
}

#[test]
fn control_batches_and_aborted_records_are_not_handed_out() {
    let log = [
        batch(0, &["aborted"], transactional(7)),
        batch(1, &["kept"], transactional(8)),
        marker(2, 7, true),
        batch(3, &["committed"], transactional(7)),
        marker(4, 7, false),
        marker(5, 8, false),
    ]
    .concat();
    for (read_committed, expected) in [(true, vec![1, 3]), (false, vec![0, 1, 3])] {
        let mut partitions = reading_from(0);
        partitions.settings.read_committed = read_committed;
        let item = next_item(&partitions);
        let mut fetched = answer(log.clone().into());
        fetched.aborted = vec![Aborted {
            producer_id: 7,
            first_offset: 0,
        }];
        partitions.fetched(&item, Instant::now(), fetched);
        assert_eq!(offsets(&partitions.drain(10).unwrap()), expected);
        assert_eq!(consumed(&partitions), 6, "the markers are passed");
    }
}

#[test]
fn answers_to_questions_from_before_a_seek_or_a_rebalance_are_dropped() {
    let records = batch(0, &["a"], ProducerStamp::NONE);
    let mut partitions = reading_from(0);
    let old = next_item(&partitions);
    partitions.seek(&tp(), SeekTo::Offset(0));
    assert_eq!(
        partitions.fetched(&old, Instant::now(), answer(records.clone())),
        Effect::Nothing
    );
    assert!(partitions.drain(10).unwrap().is_empty());
    let old = next_item(&partitions);
    partitions.remove(&[tp()]);
    partitions.add(&[tp()]);
    let epoch = partitions.awaiting_committed(Instant::now())[0].1;
    partitions.committed_found(&tp(), epoch, Some(OffsetAndMetadata::new(0)));
    assert_eq!(
        partitions.fetched(&old, Instant::now(), answer(records)),
        Effect::Nothing
    );
    partitions.committed_found(&tp(), old.epoch, Some(OffsetAndMetadata::new(50)));
    assert_eq!(consumed(&partitions), 0);
}

#[test]
fn seek_drops_what_was_fetched() {
    let mut partitions = reading_from(0);
    bring(&mut partitions, batch(0, &["a", "b"], ProducerStamp::NONE));
    assert!(partitions.seek(&tp(), SeekTo::Offset(1)));
    assert!(partitions.drain(10).unwrap().is_empty());
    assert_eq!(
        (
            consumed(&partitions),
            next_item(&partitions).position.offset
        ),
        (1, 1)
    );
    assert!(!partitions.seek(&TopicPartition::new("t", 9), SeekTo::End));
}

#[test]
fn reset_policy_decides_where_to_start_without_a_commit() {
    for (reset, expected) in [
        (OffsetReset::Earliest, Some(-2)),
        (OffsetReset::Latest, Some(-1)),
        (OffsetReset::None, None),
    ] {
        let mut partitions = Partitions::new(settings(reset));
        partitions.add(&[tp()]);
        let now = Instant::now();
        let epoch = partitions.awaiting_committed(now)[0].1;
        partitions.committed_found(&tp(), epoch, None);
        let asked = partitions
            .awaiting_reset(now)
            .first()
            .map(|(_, _, b)| b.timestamp());
        assert_eq!(asked, expected, "{reset:?}");
        if expected.is_none() {
            let error = partitions.drain(1).unwrap_err();
            assert!(
                error.hint().unwrap().contains("auto.offset.reset"),
                "{error:?}"
            );
        } else {
            partitions.bound_found(&tp(), epoch, 42);
            assert_eq!(next_item(&partitions).position.offset, 42);
        }
    }
}

#[test]
fn offset_out_of_range_follows_the_reset_policy() {
    let mut partitions = reading_from(500);
    let item = next_item(&partitions);
    let effect = partitions.fetched(&item, Instant::now(), refusal(ErrorCode::OffsetOutOfRange));
    assert_eq!(effect, Effect::FindPosition);
    let (_, epoch, bound) = partitions.awaiting_reset(Instant::now())[0].clone();
    assert_eq!(bound, Bound::Earliest);
    partitions.bound_found(&tp(), epoch, 30);
    assert_eq!(
        (
            consumed(&partitions),
            next_item(&partitions).position.offset
        ),
        (30, 30)
    );

    let mut partitions = reading_from(500);
    partitions.settings.reset = OffsetReset::None;
    let item = next_item(&partitions);
    partitions.fetched(&item, Instant::now(), refusal(ErrorCode::OffsetOutOfRange));
    let error = partitions.drain(10).unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::OffsetOutOfRange));
    assert!(partitions.drain(10).is_err(), "stays until a seek");
    partitions.seek(&tp(), SeekTo::Offset(30));
    assert!(partitions.drain(10).is_ok());
}

#[test]
fn stale_leader_means_refresh_and_a_wait() {
    for code in [
        ErrorCode::NotLeaderOrFollower,
        ErrorCode::FencedLeaderEpoch,
        ErrorCode::UnknownLeaderEpoch,
        ErrorCode::UnknownTopicOrPartition,
        ErrorCode::OffsetNotAvailable,
    ] {
        let mut partitions = reading_from(0);
        let now = Instant::now();
        let item = next_item(&partitions);
        assert_eq!(
            partitions.fetched(&item, now, refusal(code)),
            Effect::Refresh,
            "{code}"
        );
        let plan = partitions.plan(1, &cluster(), now);
        assert!(plan.items.is_empty() && plan.retry_at.unwrap() > now);
        let later = partitions.plan(1, &cluster(), now + Duration::from_secs(1));
        assert_eq!(later.items[0].position, item.position);
    }
}

#[test]
fn missing_right_is_told_and_tried_again() {
    let mut partitions = reading_from(0);
    let item = next_item(&partitions);
    let denied = refusal(ErrorCode::TopicAuthorizationFailed);
    assert_eq!(
        partitions.fetched(&item, Instant::now(), denied),
        Effect::Wake
    );
    assert_eq!(
        partitions.drain(1).unwrap_err().kind(),
        ErrorKind::Authorization
    );
    assert!(partitions.drain(1).is_ok(), "told once");
}

#[test]
fn damaged_batch_stops_the_partition_after_what_stands_before_it() {
    let mut log = batch(0, &["a"], ProducerStamp::NONE).to_vec();
    let mut bad = batch(1, &["b"], ProducerStamp::NONE).to_vec();
    // The value's byte: only the checksum tells.
    let value = bad.len() - 2;
    bad[value] ^= 1;
    log.extend(bad);
    let mut partitions = reading_from(0);
    bring(&mut partitions, log.into());
    assert_eq!(offsets(&partitions.drain(10).unwrap()), [0]);
    let error = partitions.drain(10).unwrap_err();
    assert_eq!(error.topic_partition(), Some(&tp()));
    assert_eq!(consumed(&partitions), 1);
    partitions.seek(&tp(), SeekTo::Offset(2));
    assert!(partitions.drain(10).is_ok());
}

#[test]
fn two_chunks_wait_at_most() {
    let mut partitions = reading_from(0);
    bring(&mut partitions, batch(0, &["a"], ProducerStamp::NONE));
    bring(&mut partitions, batch(1, &["b"], ProducerStamp::NONE));
    let plan = partitions.plan(1, &cluster(), Instant::now());
    assert!(plan.items.is_empty() && plan.held_back);
    partitions.drain(1).unwrap();
    assert_eq!(next_item(&partitions).position.offset, 2);
}

#[test]
fn byte_budget_holds_over_all_partitions() {
    let mut partitions = reading_from(0);
    partitions.settings.fetch_bytes_max = 80;
    assert_eq!(partitions.plan(1, &cluster(), Instant::now()).bytes_max, 80);
    let second = TopicPartition::new("t", 1);
    partitions.add(std::slice::from_ref(&second));
    let epoch = partitions.awaiting_committed(Instant::now())[0].1;
    partitions.committed_found(&second, epoch, Some(OffsetAndMetadata::new(0)));
    bring(
        &mut partitions,
        batch(0, &["0123456789012345"], ProducerStamp::NONE),
    );
    let plan = partitions.plan(1, &cluster(), Instant::now());
    assert!(plan.items.is_empty() && plan.held_back, "{plan:?}");
    partitions.drain(1).unwrap();
    assert_eq!(
        partitions.plan(1, &cluster(), Instant::now()).items.len(),
        2
    );
}

#[test]
fn partition_in_flight_is_not_asked_twice() {
    let mut partitions = reading_from(0);
    let items = vec![next_item(&partitions)];
    partitions.sent(&items);
    assert!(
        partitions
            .plan(1, &cluster(), Instant::now())
            .items
            .is_empty()
    );
    partitions.returned(&items);
    assert_eq!(next_item(&partitions), items[0]);
}

#[test]
fn paused_partition_keeps_what_it_has_and_fetches_nothing() {
    let mut partitions = reading_from(0);
    bring(&mut partitions, batch(0, &["a"], ProducerStamp::NONE));
    partitions.set_paused(&[tp()], true);
    assert!(partitions.drain(10).unwrap().is_empty());
    assert!(
        partitions
            .plan(1, &cluster(), Instant::now())
            .items
            .is_empty()
    );
    partitions.set_paused(&[tp()], false);
    assert_eq!(partitions.drain(10).unwrap().len(), 1);
}

#[test]
fn lag_is_unknown_without_a_commit() {
    let mut partitions = Partitions::new(settings(OffsetReset::Earliest));
    partitions.add(&[tp()]);
    let epoch = partitions.awaiting_committed(Instant::now())[0].1;
    partitions.committed_found(&tp(), epoch, None);
    partitions.bound_found(&tp(), epoch, 0);
    bring(&mut partitions, batch(0, &["a"], ProducerStamp::NONE));
    assert_eq!(partitions.lag(&tp()), None);
    partitions.committed(&[(tp(), OffsetAndMetadata::new(1))].into());
    assert_eq!(partitions.lag(&tp()), Some(99));
    partitions.settings.read_committed = true;
    assert_eq!(partitions.lag(&tp()), Some(89));
}

#[test]
fn every_partition_gets_its_turn() {
    let mut partitions = reading_from(0);
    let second = TopicPartition::new("t", 1);
    partitions.add(std::slice::from_ref(&second));
    let epoch = partitions.awaiting_committed(Instant::now())[0].1;
    partitions.committed_found(&second, epoch, Some(OffsetAndMetadata::new(0)));
    let plan = partitions.plan(1, &cluster(), Instant::now());
    for item in &plan.items {
        let records = batch(0, &["a", "b", "c", "d"], ProducerStamp::NONE);
        partitions.fetched(item, Instant::now(), answer(records));
    }
    let owners: Vec<i32> = (0..4)
        .flat_map(|_| partitions.drain(2).unwrap())
        .map(|r| r.partition)
        .collect();
    assert_eq!(owners, [0, 0, 1, 1, 0, 0, 1, 1]);
}
