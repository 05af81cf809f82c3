//! Logs on the memory storage: rolling, finding, recovering, retaining, compacting.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use ferrokafka_wire::compression::Compression;
use ferrokafka_wire::record::{BatchBuilder, ProducerStamp, RawBatches};
use parking_lot::Mutex;

use super::cleaner::compact;
use super::log::{AppendError, Log, LogSettings};
use super::{Accepted, MemoryStorage, Rules, Storage, accept};
use crate::config::TopicConfig;

const NOW: i64 = 1_800_000_000_000;

fn config(properties: &[(&str, &str)]) -> TopicConfig {
    let mut config = TopicConfig::default();
    for (key, value) in properties {
        config.set(key, value).unwrap();
    }
    config
}

fn open(storage: &Arc<dyn Storage>, config: &TopicConfig, clean: bool) -> Log {
    Log::open(
        storage.clone(),
        "t-0",
        LogSettings::from(config),
        clean,
        NOW,
    )
    .unwrap()
}

fn memory() -> Arc<dyn Storage> {
    Arc::new(MemoryStorage::default())
}

fn batch(
    records: &[(i64, &str, Option<&str>)],
    codec: Compression,
    stamp: Option<ProducerStamp>,
) -> Accepted {
    let mut builder = BatchBuilder::new(1024);
    for (timestamp, key, value) in records {
        builder
            .append(
                *timestamp,
                Some(key.as_bytes()),
                value.map(str::as_bytes),
                &[],
            )
            .unwrap();
    }
    let mut encoded = builder.finish(codec).unwrap();
    if let Some(stamp) = stamp {
        encoded.stamp(stamp);
    }
    let rules = Rules {
        config: &TopicConfig::default(),
        partition: "t-0",
        now_ms: NOW,
        produce_version: 9,
    };
    accept(Some(encoded.bytes()), &rules).unwrap()
}

fn put(log: &mut Log, timestamp: i64, key: &str, value: Option<&str>) -> i64 {
    log.append(
        &batch(&[(timestamp, key, value)], Compression::None, None),
        0,
        NOW,
    )
    .unwrap()
    .base_offset
}

fn stamp(base_sequence: i32) -> Option<ProducerStamp> {
    Some(ProducerStamp {
        producer_id: 7,
        producer_epoch: 0,
        base_sequence,
        transactional: false,
    })
}

/// Every record from the start of the log: offset, key, value.
fn contents(log: &Log) -> Vec<(i64, String, Option<String>)> {
    let mut all = Vec::new();
    let mut next = log.start_offset();
    while next < log.end_offset() {
        let Some(slice) = log.slice(next).unwrap() else {
            break;
        };
        for batch in RawBatches::strict(slice.read(slice.available).unwrap()) {
            let batch = batch.unwrap();
            batch.verify_crc().unwrap();
            let text = |bytes: Bytes| String::from_utf8(bytes.to_vec()).unwrap();
            for record in batch
                .records(1 << 20)
                .unwrap()
                .map(Result::unwrap)
                .filter(|record| record.offset >= next)
            {
                all.push((
                    record.offset,
                    text(record.key.unwrap()),
                    record.value.map(text),
                ));
            }
            next = next.max(batch.last_offset() + 1);
        }
    }
    all
}

fn values(log: &Log) -> Vec<(i64, Option<String>)> {
    contents(log)
        .into_iter()
        .map(|(offset, _, value)| (offset, value))
        .collect()
}

#[test]
fn a_log_cut_at_any_byte_keeps_exactly_its_whole_batches() {
    let config = config(&[]);
    let whole = memory();
    let mut log = open(&whole, &config, true);
    let mut ends = vec![0];
    for n in 0..4 {
        let records = vec![(NOW, "key", Some("value")); n + 1];
        log.append(
            &batch(
                &records,
                Compression::None,
                stamp((0..n as i32).map(|n| n + 1).sum()),
            ),
            0,
            NOW,
        )
        .unwrap();
        ends.push(log.size());
    }
    let path = "t-0/00000000000000000000.log";
    let bytes = whole.open(path).unwrap().read(0, usize::MAX >> 1).unwrap();
    for cut in 0..=bytes.len() {
        let storage = memory();
        storage
            .open(path)
            .unwrap()
            .append(&[bytes.slice(..cut)])
            .unwrap();
        let mut log = open(&storage, &config, false);
        let batches = ends.iter().filter(|end| **end <= cut as u64).count() - 1;
        assert_eq!(log.size(), ends[batches], "cut at {cut}");
        assert_eq!(log.end_offset(), (1..=batches as i64).sum::<i64>());
        // What was lost was never acknowledged under fsync; its producer sends it again.
        let next = log.end_offset() as i32;
        let again = log
            .append(
                &batch(&[(NOW, "k", Some("v"))], Compression::None, stamp(next)),
                0,
                NOW,
            )
            .unwrap();
        assert!(!again.duplicate);
        let expected: Vec<i64> = (0..=again.base_offset).collect();
        let offsets = |log: &Log| {
            values(log)
                .iter()
                .map(|(offset, _)| *offset)
                .collect::<Vec<_>>()
        };
        assert_eq!(offsets(&log), expected, "what follows the cut can be read");
        assert_eq!(offsets(&open(&storage, &config, false)), expected);
    }
}

#[test]
fn an_append_asks_for_the_device_as_often_as_it_is_told_to() {
    let count = |flush: &str| {
        let config = config(&[("flush.messages", flush)]);
        let mut log = open(&memory(), &config, true);
        let mut append = |sequence| {
            let batch = batch(&[(NOW, "k", Some("v"))], Compression::None, stamp(sequence));
            log.append(&batch, 0, NOW).unwrap().sync.is_some()
        };
        let appends = (0..6).filter(|sequence| append(*sequence)).count();
        (appends, append(5))
    };
    // The repetition of a batch must not be acknowledged before the batch itself is safe.
    assert_eq!(count("1"), (6, true));
    assert_eq!(count("3"), (2, true));
    assert_eq!(count("9223372036854775807"), (0, false));
}

#[test]
fn a_damaged_batch_ends_the_log_at_recovery() {
    let config = config(&[]);
    let whole = memory();
    let mut log = open(&whole, &config, true);
    (0..3).for_each(|n| assert_eq!(put(&mut log, NOW, "key", Some("value")), n));
    let path = "t-0/00000000000000000000.log";
    let bytes = whole.open(path).unwrap().read(0, usize::MAX >> 1).unwrap();
    let mut damaged = BytesMut::from(&bytes[..]);
    let last_of_second = bytes.len() * 2 / 3 - 1;
    damaged[last_of_second] ^= 1;
    let storage = memory();
    storage
        .open(path)
        .unwrap()
        .append(&[damaged.freeze()])
        .unwrap();
    assert_eq!(open(&storage, &config, false).end_offset(), 1);
}

#[test]
fn producers_survive_rolls_and_a_kill() {
    let config = config(&[("segment.bytes", "200")]);
    let storage = memory();
    let mut log = open(&storage, &config, true);
    for sequence in 0..10 {
        log.append(
            &batch(&[(NOW, "k", Some("v"))], Compression::None, stamp(sequence)),
            0,
            NOW,
        )
        .unwrap();
    }
    assert!(log.segments.len() > 3);
    drop(log);
    let mut log = open(&storage, &config, false);
    for sequence in 5..10 {
        let again = log
            .append(
                &batch(&[(NOW, "k", Some("v"))], Compression::None, stamp(sequence)),
                0,
                NOW,
            )
            .unwrap();
        assert_eq!(
            (again.duplicate, again.base_offset),
            (true, i64::from(sequence))
        );
    }
    let gap = log.append(
        &batch(&[(NOW, "k", Some("v"))], Compression::None, stamp(11)),
        0,
        NOW,
    );
    assert!(matches!(gap, Err(AppendError::OutOfOrder(_))));
    assert_eq!(values(&log).len(), 10);
}

#[test]
fn offsets_and_times_are_found_across_segments_and_after_a_restart() {
    let config = config(&[("segment.bytes", "1000"), ("index.interval.bytes", "150")]);
    let storage = memory();
    let mut log = open(&storage, &config, true);
    for n in 0..200 {
        assert_eq!(put(&mut log, NOW + n * 10, "key", Some("value")), n);
    }
    for clean in [true, true, false] {
        for n in 0..200 {
            assert_eq!(log.find_timestamp(NOW + n * 10).unwrap().unwrap().offset, n);
            assert_eq!(
                log.find_timestamp(NOW + n * 10 - 5)
                    .unwrap()
                    .unwrap()
                    .offset,
                n
            );
            let first = log.slice(n).unwrap().unwrap();
            let bytes = first.read(first.first).unwrap();
            assert_eq!(
                RawBatches::strict(bytes)
                    .next()
                    .unwrap()
                    .unwrap()
                    .base_offset(),
                n
            );
        }
        assert_eq!(log.find_timestamp(NOW + 1991).unwrap(), None);
        assert_eq!(log.find_newest().unwrap().unwrap().offset, 199);
        log.close().unwrap();
        log = open(&storage, &config, clean);
    }
}

#[test]
fn wrong_or_missing_indexes_are_rebuilt() {
    let config = config(&[("segment.bytes", "1000"), ("index.interval.bytes", "150")]);
    let storage = memory();
    let mut log = open(&storage, &config, true);
    (0..60).for_each(|n| assert_eq!(put(&mut log, NOW + n, "key", Some("value")), n));
    let bases: Vec<i64> = log
        .segments
        .iter()
        .map(|segment| segment.base_offset)
        .collect();
    drop(log);
    storage
        .remove(&format!("t-0/{:020}.index", bases[0]))
        .unwrap();
    let wrong = format!("t-0/{:020}.index", bases[1]);
    storage.remove(&wrong).unwrap();
    storage
        .open(&wrong)
        .unwrap()
        .append(&[Bytes::from_static(b"\x00\x00\x00\x02\x00\x00\x00\x07")])
        .unwrap();
    let log = open(&storage, &config, false);
    assert_eq!(values(&log).len(), 60);
    assert_eq!(log.find_timestamp(NOW + 25).unwrap().unwrap().offset, 25);
}

#[test]
fn retention_by_time_and_size_moves_the_start_and_spares_what_it_should() {
    let config = config(&[
        ("segment.bytes", "200"),
        ("retention.ms", "1000"),
        ("retention.bytes", "-1"),
    ]);
    let storage = memory();
    let mut log = open(&storage, &config, true);
    for n in 0..10 {
        put(&mut log, NOW + n * 200, "key", Some("value"));
    }
    assert_eq!(log.delete_old(NOW + 1000).unwrap(), 0);
    assert!(log.delete_old(NOW + 2000).unwrap() > 0);
    assert!(
        (1..=5).contains(&log.start_offset()),
        "{}",
        log.start_offset()
    );
    let start = log.start_offset();
    assert_eq!(values(&log).first().unwrap().0, start);
    assert_eq!(open(&storage, &config, false).start_offset(), start);

    // The active segment goes as well when all of it is old, and the offsets go on.
    assert!(log.delete_old(NOW + 100_000).unwrap() > 0);
    assert_eq!((log.start_offset(), log.end_offset()), (10, 10));
    assert_eq!(put(&mut log, NOW, "key", Some("value")), 10);
    assert_eq!(open(&storage, &config, false).end_offset(), 11);

    let sized = self::config(&[
        ("segment.bytes", "200"),
        ("retention.ms", "-1"),
        ("retention.bytes", "300"),
    ]);
    log.configure(LogSettings::from(&sized));
    for _ in 0..10 {
        put(&mut log, NOW, "key", Some("value"));
    }
    log.delete_old(NOW).unwrap();
    assert!(
        log.size() >= 300 && log.size() < 300 + 200,
        "{}",
        log.size()
    );
}

#[test]
fn deleted_records_stay_deleted() {
    let config = config(&[("segment.bytes", "200")]);
    let storage = memory();
    let mut log = open(&storage, &config, true);
    (0..10).for_each(|_| assert!(put(&mut log, NOW, "key", Some("value")) >= 0));
    log.delete_before(7).unwrap();
    assert_eq!(values(&log).len(), 3);
    let log = open(&storage, &config, false);
    assert_eq!((log.start_offset(), log.end_offset()), (7, 10));
    assert!(log.segments[0].base_offset > 0);
}

#[test]
fn compaction_keeps_the_newest_of_each_key_at_its_offset() {
    for codec in [Compression::None, Compression::Gzip, Compression::Zstd] {
        let config = config(&[("cleanup.policy", "compact"), ("segment.bytes", "400")]);
        let storage = memory();
        let mut log = open(&storage, &config, true);
        for round in 0..5 {
            let value = format!("round {round}");
            let records: Vec<(i64, &str, Option<&str>)> = ["a", "b", "c"]
                .iter()
                .map(|key| (NOW, *key, Some(&*value)))
                .collect();
            log.append(&batch(&records, codec, None), 0, NOW).unwrap();
        }
        // Whatever is in the active segment is safe; what is only there does not overtake anything.
        log.roll(NOW).unwrap();
        put(&mut log, NOW, "a", Some("active"));
        let log = Mutex::new(log);
        assert!(compact(&log, NOW, true).unwrap());
        let expected = vec![
            (12, "a".to_owned(), Some("round 4".to_owned())),
            (13, "b".to_owned(), Some("round 4".to_owned())),
            (14, "c".to_owned(), Some("round 4".to_owned())),
            (15, "a".to_owned(), Some("active".to_owned())),
        ];
        assert_eq!(contents(&log.lock()), expected, "{codec:?}");
        assert!(!compact(&log, NOW, true).unwrap(), "nothing is left to do");
        let reopened = open(&storage, &config, false);
        assert_eq!(contents(&reopened), expected);
        assert_eq!((reopened.start_offset(), reopened.end_offset()), (0, 16));
    }
}

#[test]
fn tombstones_hide_at_once_and_go_after_their_time() {
    let config = config(&[
        ("cleanup.policy", "compact"),
        ("delete.retention.ms", "1000"),
    ]);
    let storage = memory();
    let mut log = open(&storage, &config, true);
    put(&mut log, NOW, "a", Some("1"));
    put(&mut log, NOW, "b", Some("2"));
    put(&mut log, NOW, "a", None);
    log.roll(NOW).unwrap();
    let log = Mutex::new(log);
    assert!(compact(&log, NOW, true).unwrap());
    assert_eq!(values(&log.lock()), [(1, Some("2".to_owned())), (2, None)]);
    // Another dirty segment, before and after the tombstone's time.
    for (now, expected) in [(NOW + 999, 4), (NOW + 1000, 4)] {
        let mut locked = log.lock();
        put(&mut locked, NOW, &now.to_string(), Some("x"));
        locked.roll(NOW).unwrap();
        drop(locked);
        compact(&log, now, true).unwrap();
        let kept = values(&log.lock());
        assert_eq!(
            kept.iter().any(|(_, value)| value.is_none()),
            now < NOW + 1000
        );
        assert!(kept.len() <= expected);
    }
    assert_eq!(values(&log.lock())[0], (1, Some("2".to_owned())));
}

#[test]
fn compaction_waits_for_enough_dirt_and_for_the_lag() {
    let config = config(&[
        ("cleanup.policy", "compact"),
        ("segment.bytes", "200"),
        ("min.cleanable.dirty.ratio", "0.5"),
        ("min.compaction.lag.ms", "1000"),
    ]);
    let mut log = open(&memory(), &config, true);
    (0..8).for_each(|_| assert!(put(&mut log, NOW, "a", Some("value")) >= 0));
    log.roll(NOW).unwrap();
    let log = Mutex::new(log);
    assert!(!compact(&log, NOW + 500, false).unwrap(), "too young");
    assert!(compact(&log, NOW + 1000, false).unwrap());
    assert_eq!(values(&log.lock()), [(7, Some("value".to_owned()))]);
    {
        let mut log = log.lock();
        (0..40).for_each(|n| assert!(put(&mut log, NOW, &format!("key {n}"), Some("value")) >= 0));
        log.roll(NOW).unwrap();
    }
    compact(&log, NOW + 1000, false).unwrap();
    {
        let mut log = log.lock();
        put(&mut log, NOW, "key 1", Some("newer"));
        log.roll(NOW).unwrap();
    }
    assert!(
        !compact(&log, NOW + 1000, false).unwrap(),
        "too little is dirty"
    );
    assert!(compact(&log, NOW + 1000, true).unwrap());
}

#[test]
fn the_last_batch_of_a_producer_keeps_its_sequence_through_compaction() {
    let config = config(&[("cleanup.policy", "compact")]);
    let storage = memory();
    let mut log = open(&storage, &config, true);
    for sequence in 0..3 {
        log.append(
            &batch(&[(NOW, "a", Some("v"))], Compression::None, stamp(sequence)),
            0,
            NOW,
        )
        .unwrap();
    }
    put(&mut log, NOW, "a", Some("of another producer"));
    log.roll(NOW).unwrap();
    let log = Mutex::new(log);
    compact(&log, NOW, true).unwrap();
    assert_eq!(contents(&log.lock()).len(), 1);
    for name in storage
        .list("t-0")
        .unwrap()
        .iter()
        .filter(|name| name.ends_with(".snapshot"))
    {
        storage.remove(&format!("t-0/{name}")).unwrap();
    }
    let mut log = open(&storage, &config, false);
    let gap = log.append(
        &batch(&[(NOW, "a", Some("v"))], Compression::None, stamp(7)),
        0,
        NOW,
    );
    assert!(matches!(gap, Err(AppendError::OutOfOrder(_))));
    let again = log
        .append(
            &batch(&[(NOW, "a", Some("v"))], Compression::None, stamp(2)),
            0,
            NOW,
        )
        .unwrap();
    assert!(again.duplicate);
}

#[test]
fn leader_epochs_are_remembered_and_bound_their_records() {
    let config = config(&[]);
    let storage = memory();
    let mut log = open(&storage, &config, true);
    for (epoch, records) in [(0, 2), (3, 1), (4, 3)] {
        for _ in 0..records {
            log.append(
                &batch(&[(NOW, "k", Some("v"))], Compression::None, None),
                epoch,
                NOW,
            )
            .unwrap();
        }
    }
    drop(log);
    let log = open(&storage, &config, false);
    let end = |epoch| log.epochs().end_of(epoch, log.end_offset());
    assert_eq!(
        [end(0), end(1), end(3), end(4), end(5)],
        [Some((0, 2)), Some((0, 2)), Some((3, 3)), Some((4, 6)), None]
    );
}
