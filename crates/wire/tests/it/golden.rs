//! Bytes that Apache Kafka's own client wrote (`tests/golden/Capture.java` says how), read and written by this crate.
//!
//! A codec that is wrong in the same way when it writes and when it reads passes every round trip; it does not pass
//! these.

use std::path::Path;

use bytes::Bytes;
use ferrokafka_wire::compression::Compression;
use ferrokafka_wire::error_code::{ErrorClass, ErrorCode};
use ferrokafka_wire::partition::{murmur2, partition_for_key};
use ferrokafka_wire::record::{
    BatchBuilder, ControlRecord, Header, ProducerStamp, RawBatch, RawBatches, Record,
    TimestampType, control_batch,
};
use serde_json::Value;

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn golden(name: &str) -> Bytes {
    Bytes::from(std::fs::read(folder().join(format!("{name}.bin"))).unwrap())
}

fn expected(file: &str) -> Vec<Value> {
    serde_json::from_slice(&std::fs::read(folder().join(file)).unwrap()).unwrap()
}

fn hex(bytes: Option<&[u8]>) -> Value {
    bytes.map_or(Value::Null, |bytes| {
        Value::from(
            bytes
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect::<String>(),
        )
    })
}

fn unhex(value: &Value) -> Option<Vec<u8>> {
    let text = value.as_str()?;
    let byte = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    Some((0..text.len()).step_by(2).map(byte).collect())
}

/// The batch as `expected.json` describes it.
fn describe(batch: &RawBatch) -> Value {
    batch.verify_crc().unwrap();
    let record = |record: Record| {
        let header =
            |h: Header| Value::from(vec![Value::from(h.key_str()), hex(h.value.as_deref())]);
        serde_json::json!({
            "offset": record.offset,
            "timestamp": record.timestamp,
            "key": hex(record.key.as_deref()),
            "value": hex(record.value.as_deref()),
            "headers": record.headers.iter().map(header).collect::<Vec<_>>(),
        })
    };
    serde_json::json!({
        "base_offset": batch.base_offset(),
        "last_offset": batch.last_offset(),
        "leader_epoch": batch.leader_epoch(),
        "compression": batch.compression().name(),
        "timestamp_type": match batch.timestamp_type() {
            TimestampType::CreateTime => "CreateTime",
            TimestampType::LogAppendTime => "LogAppendTime",
        },
        "max_timestamp": batch.max_timestamp(),
        "producer_id": batch.producer_id(),
        "producer_epoch": batch.producer_epoch(),
        "base_sequence": batch.base_sequence(),
        "transactional": batch.is_transactional(),
        "control": batch.is_control(),
        "records": batch.records(1 << 20).unwrap().map(|r| record(r.unwrap())).collect::<Vec<_>>(),
    })
}

#[test]
fn reads_what_kafka_wrote() {
    let cases = expected("expected.json");
    assert_eq!(cases.len(), 17);
    for case in cases {
        let name = case["name"].as_str().unwrap();
        let batches: Vec<_> = RawBatches::strict(golden(name))
            .map(|batch| describe(&batch.unwrap()))
            .collect();
        assert_eq!(Value::from(batches), case["batches"], "{name}");
    }
}

/// Builds the batch that `expected.json` describes with our own builder.
fn rebuild(batch: &Value, compression: Compression) -> Bytes {
    let mut builder = BatchBuilder::new(256);
    for record in batch["records"].as_array().unwrap() {
        let headers: Vec<_> = record["headers"]
            .as_array()
            .unwrap()
            .iter()
            .map(|pair| match unhex(&pair[1]) {
                Some(value) => Header::new(pair[0].as_str().unwrap(), value),
                None => Header::null(pair[0].as_str().unwrap()),
            })
            .collect();
        let (key, value) = (unhex(&record["key"]), unhex(&record["value"]));
        let timestamp = record["timestamp"].as_i64().unwrap();
        builder
            .append(timestamp, key.as_deref(), value.as_deref(), &headers)
            .unwrap();
    }
    let mut encoded = builder.finish(compression).unwrap();
    encoded.stamp(ProducerStamp {
        producer_id: batch["producer_id"].as_i64().unwrap(),
        producer_epoch: i16::try_from(batch["producer_epoch"].as_i64().unwrap()).unwrap(),
        base_sequence: i32::try_from(batch["base_sequence"].as_i64().unwrap()).unwrap(),
        transactional: batch["transactional"].as_bool().unwrap(),
    });
    encoded.bytes()
}

#[test]
fn writes_the_same_bytes_as_kafka() {
    for case in expected("expected.json") {
        let name = case["name"].as_str().unwrap();
        if !["plain", "nulls", "headers", "idempotent", "transactional"].contains(&name) {
            continue;
        }
        let mut ours = rebuild(&case["batches"][0], Compression::None).to_vec();
        // The leader epoch is the broker's to fill in and outside the checksum.
        ours[12..16].copy_from_slice(&golden(name)[12..16]);
        assert_eq!(Bytes::from(ours), golden(name), "{name}");
    }
}

#[test]
fn what_we_compress_says_the_same_as_what_kafka_compressed() {
    for (name, compression) in [
        ("gzip", Compression::Gzip),
        ("snappy", Compression::Snappy),
        ("snappy_blocks", Compression::Snappy),
        ("lz4", Compression::Lz4),
        ("lz4_blocks", Compression::Lz4),
        ("zstd", Compression::Zstd),
    ] {
        let case = expected("expected.json")
            .into_iter()
            .find(|case| case["name"] == name)
            .unwrap();
        let batch = RawBatch::parse(rebuild(&case["batches"][0], compression)).unwrap();
        assert_eq!(describe(&batch), case["batches"][0], "{name}");
    }
}

#[test]
fn markers_are_kafkas() {
    for (name, marker) in [
        (
            "commit_marker",
            ControlRecord::Commit {
                coordinator_epoch: 9,
            },
        ),
        (
            "abort_marker",
            ControlRecord::Abort {
                coordinator_epoch: 9,
            },
        ),
    ] {
        let kafkas = golden(name);
        let batch = RawBatch::parse(kafkas.clone()).unwrap();
        let record = batch.records(1 << 20).unwrap().next().unwrap().unwrap();
        assert_eq!(ControlRecord::decode(&record).unwrap(), marker, "{name}");

        let mut ours = control_batch(marker, batch.base_timestamp(), 1001, 3)
            .unwrap()
            .to_vec();
        // Base offset and leader epoch are given by the log, outside the checksum.
        ours[..8].copy_from_slice(&kafkas[..8]);
        ours[12..16].copy_from_slice(&kafkas[12..16]);
        assert_eq!(Bytes::from(ours), kafkas, "{name}");
    }
}

#[test]
fn compaction_leaves_the_bytes_that_kafkas_cleaner_leaves() {
    // As in `Capture.java`: eight records, of which those at offsets 0, 3 and 5 stay.
    let mut builder = BatchBuilder::new(256);
    for i in 0..8 {
        let (key, value) = (format!("k{i}"), format!("v{i}"));
        let timestamp = 1_700_000_000_000 + i;
        builder
            .append(timestamp, Some(key.as_bytes()), Some(value.as_bytes()), &[])
            .unwrap();
    }
    let batch = RawBatch::parse(builder.finish(Compression::None).unwrap().bytes()).unwrap();
    let kept: Vec<_> = batch
        .records(1 << 20)
        .unwrap()
        .map(|record| record.unwrap())
        .filter(|record| [0, 3, 5].contains(&record.offset))
        .collect();
    assert_eq!(
        batch.with_records(&kept, None).unwrap(),
        golden("compacted")
    );

    let kafkas = golden("empty_compacted");
    let batch = RawBatch::parse(kafkas.clone()).unwrap();
    assert_eq!(batch.with_records(&[], None).unwrap(), kafkas);
}

#[test]
fn keys_land_where_java_puts_them() {
    let rows = expected("murmur2.json");
    assert!(rows.len() > 50);
    for row in rows {
        let key = unhex(&row["key"]).unwrap();
        assert_eq!(
            i64::from(murmur2(&key)),
            row["murmur2"].as_i64().unwrap(),
            "{row}"
        );
        assert_eq!(
            i64::from(partition_for_key(&key, 10)),
            row["of_10"].as_i64().unwrap(),
            "{row}"
        );
        assert_eq!(
            i64::from(partition_for_key(&key, 3)),
            row["of_3"].as_i64().unwrap(),
            "{row}"
        );
    }
}

#[test]
fn error_codes_are_kafkas_and_so_are_their_classes() {
    let text = std::fs::read_to_string(folder().join("errors.tsv")).unwrap();
    let mut departures = Vec::new();
    let mut seen = 0;
    for row in text.lines() {
        let fields: Vec<_> = row.split('\t').collect();
        let (code, name, class) = (fields[0].parse().unwrap(), fields[1], fields[2]);
        let error = ErrorCode::from_code(code);
        assert_eq!(error.name(), name, "code {code}");
        let ours = match error.class() {
            ErrorClass::RefreshThenRetry => "refresh",
            ErrorClass::Retry => "retry",
            ErrorClass::AbortTransaction => "abort",
            ErrorClass::Fatal => "-",
        };
        if ours != class && !error.is_none() {
            departures.push(format!("{name} {class} {ours}"));
        }
        seen += 1;
    }
    assert_eq!(seen, ErrorCode::ALL.len());
    // Each has its reason at the head of `error_code.rs`.
    assert_eq!(
        departures,
        [
            "COORDINATOR_NOT_AVAILABLE retry refresh",
            "NOT_COORDINATOR retry refresh",
            "NOT_CONTROLLER retry refresh",
            "OUT_OF_ORDER_SEQUENCE_NUMBER - abort",
            "INVALID_PRODUCER_EPOCH - abort",
            "UNKNOWN_PRODUCER_ID - abort",
            "ELECTION_NOT_NEEDED refresh -",
            "TRANSACTION_ABORTABLE - abort",
            "REBOOTSTRAP_REQUIRED - refresh",
        ]
    );
}
