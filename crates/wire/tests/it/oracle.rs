//! rskafka's own record codec reads what we write and writes what we read, where it has the codec without C.

use std::io::Cursor;

use bytes::Bytes;
use ferrokafka_wire::compression::Compression;
use ferrokafka_wire::record::{Header, ProducerStamp, RawBatch};
use proptest::prelude::*;
use rskafka::protocol::record as rs;
use rskafka::protocol::traits::{ReadType, WriteType};

use crate::record::{Written, any_records, build};

const CODECS: [(Compression, rs::RecordBatchCompression); 3] = [
    (Compression::None, rs::RecordBatchCompression::NoCompression),
    (Compression::Gzip, rs::RecordBatchCompression::Gzip),
    (Compression::Snappy, rs::RecordBatchCompression::Snappy),
];

/// What rskafka can say: it has no null header values.
fn sayable(mut records: Vec<Written>) -> Vec<Written> {
    for header in records.iter_mut().flat_map(|record| &mut record.headers) {
        header.value.get_or_insert_default();
    }
    records
}

fn to_rskafka(records: &[Written]) -> Vec<rs::Record> {
    let first = records[0].timestamp;
    let headers = |record: &Written| {
        let header = |header: &Header| rs::RecordHeader {
            key: header.key_str().into_owned(),
            value: header.value.clone().unwrap_or_default().to_vec(),
        };
        record.headers.iter().map(header).collect()
    };
    records
        .iter()
        .zip(0..)
        .map(|(record, offset_delta)| rs::Record {
            timestamp_delta: record.timestamp - first,
            offset_delta,
            key: record.key.clone(),
            value: record.value.clone(),
            headers: headers(record),
        })
        .collect()
}

fn batch_of(records: &[Written], compression: rs::RecordBatchCompression) -> rs::RecordBatch {
    rs::RecordBatch {
        base_offset: 0,
        partition_leader_epoch: -1,
        last_offset_delta: records.len() as i32 - 1,
        first_timestamp: records[0].timestamp,
        max_timestamp: records.iter().map(|record| record.timestamp).max().unwrap(),
        producer_id: 12,
        producer_epoch: 1,
        base_sequence: 34,
        records: rs::ControlBatchOrRecords::Records(to_rskafka(records)),
        compression,
        is_transactional: true,
        timestamp_type: rs::RecordBatchTimestampType::CreateTime,
    }
}

const STAMP: ProducerStamp = ProducerStamp {
    producer_id: 12,
    producer_epoch: 1,
    base_sequence: 34,
    transactional: true,
};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn rskafka_reads_what_we_write(records in any_records().prop_map(sayable), codec in 0usize..3) {
        let (ours, theirs) = CODECS[codec];
        let mut batch = build(&records, ours);
        batch.stamp(STAMP);
        let read = rs::RecordBatch::read(&mut Cursor::new(batch.bytes().to_vec())).unwrap();
        prop_assert_eq!(read, batch_of(&records, theirs));
    }

    #[test]
    fn we_read_what_rskafka_writes(records in any_records().prop_map(sayable), codec in 0usize..3) {
        let (_, theirs) = CODECS[codec];
        let mut bytes = Vec::new();
        batch_of(&records, theirs).write(&mut bytes).unwrap();
        let raw = RawBatch::parse(Bytes::from(bytes.clone())).unwrap();
        raw.verify_crc().unwrap();
        let read: Vec<_> = raw.records(1 << 24).unwrap().map(|record| record.unwrap()).collect();
        prop_assert_eq!(read.len(), records.len());
        for (read, written) in read.iter().zip(&records) {
            prop_assert_eq!(read.timestamp, written.timestamp);
            prop_assert_eq!(read.key.as_deref(), written.key.as_deref());
            prop_assert_eq!(read.value.as_deref(), written.value.as_deref());
            prop_assert_eq!(&read.headers.iter().collect::<Vec<_>>(), &written.headers);
        }
        if theirs == rs::RecordBatchCompression::NoCompression {
            let mut ours = build(&records, Compression::None);
            ours.stamp(STAMP);
            prop_assert_eq!(&ours.bytes()[..], &bytes[..], "uncompressed, the two write the same bytes");
        }
    }
}
