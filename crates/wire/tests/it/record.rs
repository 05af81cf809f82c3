//! Record batches: round trips, and bytes that lie.

use bytes::Bytes;
use ferrokafka_wire::DecodeErrorKind;
use ferrokafka_wire::compression::Compression;
use ferrokafka_wire::record::{
    BATCH_HEAD_LEN, BatchBuilder, ControlRecord, EncodedBatch, Header, ProducerStamp, RawBatch,
    RawBatches, Record, TimestampType, control_batch, patch_base, set_log_append_time,
};
use proptest::prelude::*;

const LIMIT: usize = 1 << 24;

/// A record as a test writes it down.
#[derive(Clone, Debug)]
pub(crate) struct Written {
    pub(crate) timestamp: i64,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: Vec<Header>,
}

fn any_header() -> impl Strategy<Value = Header> {
    (
        "[a-cé]{0,3}",
        proptest::option::of(proptest::collection::vec(any::<u8>(), 0..40)),
    )
        .prop_map(|(key, value)| Header {
            key: Bytes::from(key),
            value: value.map(Bytes::from),
        })
}

pub(crate) fn any_records() -> impl Strategy<Value = Vec<Written>> {
    let blob = || proptest::option::of(proptest::collection::vec(any::<u8>(), 0..200));
    let record = (
        1_600_000_000_000i64..1_800_000_000_000,
        blob(),
        blob(),
        proptest::collection::vec(any_header(), 0..4),
    )
        .prop_map(|(timestamp, key, value, headers)| Written {
            timestamp,
            key,
            value,
            headers,
        });
    proptest::collection::vec(record, 1..60)
}

pub(crate) fn build(records: &[Written], compression: Compression) -> EncodedBatch {
    let mut builder = BatchBuilder::new(256);
    for (i, record) in records.iter().enumerate() {
        let (key, value) = (record.key.as_deref(), record.value.as_deref());
        let expected = builder.next_record_len(record.timestamp, key, value, &record.headers);
        let before = builder.encoded_len();
        let index = builder
            .append(record.timestamp, key, value, &record.headers)
            .unwrap();
        assert_eq!(index as usize, i);
        assert_eq!(
            builder.encoded_len(),
            before + expected,
            "the length asked for before is exact"
        );
    }
    builder.finish(compression).unwrap()
}

fn read(batch: &RawBatch) -> Vec<Record> {
    batch
        .records(LIMIT)
        .unwrap()
        .map(|record| record.unwrap())
        .collect()
}

fn assert_same(read: &[Record], written: &[Written], base_offset: i64) {
    assert_eq!(read.len(), written.len());
    for (i, (read, written)) in read.iter().zip(written).enumerate() {
        assert_eq!(read.offset, base_offset + i as i64);
        assert_eq!(read.timestamp, written.timestamp);
        assert_eq!(read.key.as_deref(), written.key.as_deref());
        assert_eq!(read.value.as_deref(), written.value.as_deref());
        assert_eq!(read.headers.iter().collect::<Vec<_>>(), written.headers);
        assert_eq!(&read.detach(), read);
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(records in any_records(), codec in 0usize..5, base in 0i64..1 << 40) {
        let codec = Compression::ALL[codec];
        let mut batch = build(&records, codec);
        let stamp = ProducerStamp { producer_id: 7, producer_epoch: 3, base_sequence: 11, transactional: true };
        batch.stamp(stamp);
        let mut bytes = batch.bytes().to_vec();
        patch_base(&mut bytes, base, 5);
        let raw = RawBatch::parse(Bytes::from(bytes)).unwrap();
        raw.verify_crc().unwrap();
        prop_assert_eq!(raw.compression(), codec);
        prop_assert_eq!(raw.leader_epoch(), 5);
        prop_assert_eq!(raw.record_count(), records.len());
        prop_assert_eq!(raw.last_offset(), base + records.len() as i64 - 1);
        prop_assert_eq!((raw.producer_id(), raw.producer_epoch(), raw.base_sequence()), (7, 3, 11));
        prop_assert!(raw.is_transactional() && !raw.is_control());
        prop_assert_eq!(raw.base_timestamp(), records[0].timestamp);
        prop_assert_eq!(raw.max_timestamp(), records.iter().map(|record| record.timestamp).max().unwrap());
        assert_same(&read(&raw), &records, base);
    }

    #[test]
    fn a_batch_with_fewer_records_keeps_all_that_it_claims(
        records in any_records(), codec in 0usize..5, keep in any::<u64>(), horizon in proptest::option::of(any::<i64>()),
    ) {
        let codec = Compression::ALL[codec];
        let mut batch = build(&records, codec);
        batch.stamp(ProducerStamp { producer_id: 7, producer_epoch: 3, base_sequence: 11, transactional: true });
        let mut bytes = batch.bytes().to_vec();
        patch_base(&mut bytes, 1_000, 5);
        let whole = RawBatch::parse(Bytes::from(bytes)).unwrap();
        let kept: Vec<_> = read(&whole).into_iter().filter(|record| keep >> (record.offset % 64) & 1 == 1).collect();
        let part = RawBatch::parse(whole.with_records(&kept, horizon).unwrap()).unwrap();
        part.verify_crc().unwrap();
        prop_assert_eq!(&read(&part), &kept);
        prop_assert_eq!((part.base_offset(), part.last_offset()), (whole.base_offset(), whole.last_offset()));
        prop_assert_eq!((part.producer_id(), part.producer_epoch(), part.base_sequence()), (7, 3, 11));
        prop_assert!(part.is_transactional() && part.leader_epoch() == 5);
        prop_assert_eq!(part.delete_horizon(), horizon.filter(|_| !kept.is_empty()));
    }

    #[test]
    fn one_flipped_bit_never_panics_and_never_passes_the_checksum(
        records in any_records(), codec in 0usize..5, bit in any::<prop::sample::Index>(),
    ) {
        let mut bytes = build(&records, Compression::ALL[codec]).bytes().to_vec();
        let bit = bit.index(bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        if let Ok(raw) = RawBatch::parse(Bytes::from(bytes)) {
            if bit / 8 >= 17 {
                prop_assert_eq!(raw.verify_crc().unwrap_err().kind(), DecodeErrorKind::Checksum);
            }
            if let Ok(records) = raw.records(LIMIT) {
                for record in records {
                    let _ = record.map(|record| record.headers.iter().count());
                }
            }
        }
    }
}

fn two_records() -> EncodedBatch {
    let mut builder = BatchBuilder::new(0);
    builder.append(1000, Some(b"k1"), Some(b"v1"), &[]).unwrap();
    builder
        .append(
            1005,
            None,
            None,
            &[Header::new("h", "1"), Header::null("h")],
        )
        .unwrap();
    builder.finish(Compression::None).unwrap()
}

#[test]
fn a_batch_cut_off_at_the_end_of_a_fetch_ends_it_silently() {
    let one = two_records().bytes();
    for cut in 0..one.len() {
        let mut bytes = one.to_vec();
        bytes.extend_from_slice(&one[..cut]);
        let mut batches = RawBatches::new(bytes.clone());
        assert!(batches.next().unwrap().is_ok(), "cut at {cut}");
        assert!(batches.next().is_none(), "cut at {cut}");
        assert_eq!((batches.consumed(), batches.rest().len()), (one.len(), cut));
        let strict: Vec<_> = RawBatches::strict(bytes).collect();
        match cut {
            0 => assert_eq!(strict.len(), 1),
            _ => assert_eq!(
                strict[1].as_ref().unwrap_err().kind(),
                DecodeErrorKind::Truncated,
                "cut at {cut}"
            ),
        }
    }
}

#[test]
fn a_second_stamp_leaves_bytes_already_handed_out_alone() {
    let mut batch = two_records();
    let stamp = |epoch, sequence| ProducerStamp {
        producer_id: 9,
        producer_epoch: epoch,
        base_sequence: sequence,
        transactional: false,
    };
    batch.stamp(stamp(0, 40));
    let first = batch.bytes();
    batch.stamp(stamp(1, 0));
    for (bytes, epoch, sequence) in [(first, 0, 40), (batch.bytes(), 1, 0)] {
        let raw = RawBatch::parse(bytes).unwrap();
        raw.verify_crc().unwrap();
        assert_eq!(
            (raw.producer_epoch(), raw.base_sequence()),
            (epoch, sequence)
        );
    }
    assert_eq!(batch.stamp_now(), stamp(1, 0));
}

#[test]
fn stamping_bytes_nobody_else_holds_copies_nothing() {
    let mut batch = two_records();
    let before = batch.bytes().as_ptr();
    batch.stamp(ProducerStamp {
        producer_id: 1,
        producer_epoch: 0,
        base_sequence: 0,
        transactional: false,
    });
    assert_eq!(batch.bytes().as_ptr(), before);
}

#[test]
fn a_compacted_batch_keeps_its_last_offset() {
    let mut bytes = two_records().bytes().to_vec();
    patch_base(&mut bytes, 100, 0);
    // As the cleaner leaves it when records at the tail are superseded: offsets stay claimed.
    bytes[23..27].copy_from_slice(&9i32.to_be_bytes());
    let raw = RawBatch::parse(Bytes::from(bytes)).unwrap();
    assert_eq!((raw.last_offset(), raw.record_count()), (109, 2));
    assert_eq!(
        read(&raw)
            .iter()
            .map(|record| record.offset)
            .collect::<Vec<_>>(),
        [100, 101]
    );
}

#[test]
fn a_batch_compacted_to_nothing_has_no_records_and_no_error() {
    for codec in Compression::ALL {
        let mut bytes = two_records().bytes()[..BATCH_HEAD_LEN].to_vec();
        bytes[8..12].copy_from_slice(&49i32.to_be_bytes());
        bytes[21..23].copy_from_slice(&codec.id().to_be_bytes());
        bytes[57..61].copy_from_slice(&0i32.to_be_bytes());
        let raw = RawBatch::parse(Bytes::from(bytes)).unwrap();
        assert_eq!(raw.last_offset(), 1);
        assert_eq!(read(&raw), []);
    }
}

#[test]
fn log_append_time_replaces_every_timestamp() {
    let mut bytes = two_records().bytes().to_vec();
    set_log_append_time(&mut bytes, 5_000);
    let raw = RawBatch::parse(Bytes::from(bytes)).unwrap();
    raw.verify_crc().unwrap();
    assert_eq!(raw.timestamp_type(), TimestampType::LogAppendTime);
    assert_eq!(
        read(&raw)
            .iter()
            .map(|record| record.timestamp)
            .collect::<Vec<_>>(),
        [5_000, 5_000]
    );
}

#[test]
fn heads_that_lie_are_refused() {
    let batch = two_records().bytes();
    let damage = |at: usize, bytes: &[u8]| {
        let mut copy = batch.to_vec();
        copy[at..at + bytes.len()].copy_from_slice(bytes);
        RawBatch::parse(Bytes::from(copy))
            .map(|raw| raw.records(LIMIT).map(|records| records.count()))
    };
    assert!(
        damage(8, &48i32.to_be_bytes()).is_err(),
        "length shorter than a head"
    );
    assert!(
        damage(8, &(-1i32).to_be_bytes()).is_err(),
        "negative length"
    );
    assert_eq!(
        damage(16, &[1]).unwrap_err().kind(),
        DecodeErrorKind::Unsupported,
        "format 1"
    );
    assert_eq!(
        damage(22, &[5]).unwrap_err().kind(),
        DecodeErrorKind::Unsupported,
        "codec 5"
    );
    assert!(
        damage(23, &(-1i32).to_be_bytes()).is_err(),
        "negative last offset delta"
    );
    assert!(
        damage(0, &i64::MAX.to_be_bytes()).is_err(),
        "offsets past i64"
    );
    assert!(
        damage(57, &(-1i32).to_be_bytes()).is_err(),
        "negative count"
    );
    assert!(
        damage(57, &3i32.to_be_bytes()).is_err(),
        "more records than offsets"
    );
    let mut both = batch.to_vec();
    both[23..27].copy_from_slice(&(i32::MAX - 1).to_be_bytes());
    both[57..61].copy_from_slice(&i32::MAX.to_be_bytes());
    let raw = RawBatch::parse(Bytes::from(both)).unwrap();
    assert!(
        raw.records(LIMIT).is_err(),
        "two billion records in 40 bytes"
    );
}

#[test]
fn records_that_disagree_with_their_batch_are_refused() {
    let batch = two_records().bytes();
    let with = |at: usize, bytes: &[u8]| {
        let mut copy = batch.to_vec();
        copy[at..at + bytes.len()].copy_from_slice(bytes);
        let raw = RawBatch::parse(Bytes::from(copy)).unwrap();
        raw.records(LIMIT).unwrap().collect::<Result<Vec<_>, _>>()
    };
    assert!(
        with(57, &1i32.to_be_bytes()).is_err(),
        "bytes left after the last record"
    );
    assert!(
        with(BATCH_HEAD_LEN, &[0x7f]).is_err(),
        "record of negative length"
    );
    assert!(
        with(BATCH_HEAD_LEN, &[0x7e]).is_err(),
        "record longer than the batch"
    );
    assert!(
        with(BATCH_HEAD_LEN + 3, &[0x08]).is_err(),
        "offset delta past the last"
    );
    assert!(
        with(BATCH_HEAD_LEN + 3, &[0x01]).is_err(),
        "negative offset delta"
    );
    assert!(
        with(BATCH_HEAD_LEN + 4, &[0x03]).is_err(),
        "key of length -2"
    );
    assert!(
        with(BATCH_HEAD_LEN + 4, &[0x7e]).is_err(),
        "key longer than its record"
    );
}

#[test]
fn markers_round_trip() {
    for marker in [
        ControlRecord::Commit {
            coordinator_epoch: 4,
        },
        ControlRecord::Abort {
            coordinator_epoch: 0,
        },
    ] {
        let raw = RawBatch::parse(control_batch(marker, 1234, 77, 2).unwrap()).unwrap();
        raw.verify_crc().unwrap();
        assert!(raw.is_control() && raw.is_transactional());
        assert_eq!(
            (raw.producer_id(), raw.producer_epoch(), raw.base_sequence()),
            (77, 2, -1)
        );
        let records = read(&raw);
        assert_eq!(records.len(), 1);
        assert_eq!(ControlRecord::decode(&records[0]).unwrap(), marker);
    }
    assert!(control_batch(ControlRecord::Other { control_type: 2 }, 0, 1, 0).is_err());
}

#[test]
fn what_cannot_be_written_is_refused_and_leaves_the_batch_as_it_was() {
    let mut builder = BatchBuilder::new(0);
    builder.append(i64::MIN, None, Some(b"v"), &[]).unwrap();
    let before = builder.encoded_len();
    assert!(
        builder.append(1, None, None, &[]).is_err(),
        "timestamp delta past i64"
    );
    let bad = Header {
        key: Bytes::from_static(&[0xff]),
        value: None,
    };
    assert!(
        builder.append(i64::MIN, None, None, &[bad]).is_err(),
        "header key that is no UTF-8"
    );
    assert_eq!((builder.record_count(), builder.encoded_len()), (1, before));
    assert!(
        BatchBuilder::new(0).finish(Compression::None).is_err(),
        "no records"
    );
}
