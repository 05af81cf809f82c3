//! What a batch must be before it may be appended. All of this runs outside the partition's lock.

use bytes::{Bytes, BytesMut};
use ferrokafka_wire::ErrorCode;
use ferrokafka_wire::compression::Compression;
use ferrokafka_wire::record::{RawBatch, RawBatches, set_log_append_time};

use crate::config::{TimestampType, TopicConfig};

/// Most bytes the records of one batch may have once decompressed.
pub(super) const DECOMPRESSED_MAX: usize = 128 << 20;

/// A batch's head; its records follow. What the length counts begins at byte 12, what the checksum covers, the
/// attributes first, at byte 21.
const HEAD_LEN: usize = 61;
const LENGTH_FROM: usize = 12;
const CRC_FROM: usize = 21;
/// The bits of the attributes that name the codec.
const CODEC_MASK: i16 = 0b111;

/// What applies to a batch besides its own form.
pub(crate) struct Rules<'a> {
    pub(crate) config: &'a TopicConfig,
    /// For messages: `orders-3`.
    pub(crate) partition: &'a str,
    pub(crate) now_ms: i64,
    pub(crate) produce_version: i16,
}

/// A batch that may be appended.
#[derive(Debug, Clone)]
pub(crate) struct Accepted {
    pub(crate) batch: RawBatch,
    /// Largest timestamp of its records, and how far from the first that record is.
    pub(crate) max_timestamp: i64,
    pub(crate) max_timestamp_delta: i64,
    /// The time all its records have got, under `LogAppendTime`.
    pub(crate) append_time: Option<i64>,
}

/// Why a batch may not be appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rejection {
    pub(crate) code: ErrorCode,
    pub(crate) message: String,
    /// Positions of the offending records, with what is wrong with each.
    pub(crate) records: Vec<(i32, String)>,
}

impl Rejection {
    fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            records: Vec::new(),
        }
    }

    fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::InvalidRecord, message)
    }
}

/// Checks what a produce request holds for one partition.
pub(crate) fn accept(records: Option<Bytes>, rules: &Rules<'_>) -> Result<Accepted, Rejection> {
    let batch = only_batch(records, rules)?;
    check_head(&batch, rules)?;
    batch.verify_crc().map_err(|error| {
        Rejection::new(
            ErrorCode::CorruptMessage,
            format!(
                "Record batch for partition {} is corrupt: {error}",
                rules.partition
            ),
        )
    })?;
    let newest = check_records(&batch, rules)?;
    let batch = in_codec_of_topic(batch, rules)?;
    match rules.config.message_timestamp_type {
        TimestampType::CreateTime => Ok(Accepted {
            batch,
            max_timestamp: newest.0,
            max_timestamp_delta: newest.1,
            append_time: None,
        }),
        TimestampType::LogAppendTime => {
            let mut bytes = BytesMut::from(&batch.bytes()[..]);
            set_log_append_time(&mut bytes, rules.now_ms);
            let batch = RawBatch::parse(bytes.freeze())
                .map_err(|error| Rejection::invalid(error.to_string()))?;
            Ok(Accepted {
                batch,
                max_timestamp: rules.now_ms,
                max_timestamp_delta: 0,
                append_time: Some(rules.now_ms),
            })
        }
    }
}

/// The batch in the codec that the topic's `compression.type` asks for; as it came, if that is the producer's matter.
fn in_codec_of_topic(batch: RawBatch, rules: &Rules<'_>) -> Result<RawBatch, Rejection> {
    let codec = match rules.config.compression_type.codec() {
        Some(codec) if codec != batch.compression() => codec,
        _ => return Ok(batch),
    };
    let records = batch.bytes().slice(HEAD_LEN..);
    let records = match batch.compression() {
        Compression::None => records,
        from => Bytes::from(
            from.decompress(&records, DECOMPRESSED_MAX)
                .map_err(|error| Rejection::invalid(error.to_string()))?,
        ),
    };
    let mut bytes = batch.bytes()[..HEAD_LEN].to_vec();
    codec
        .compress(&records, &mut bytes)
        .map_err(|error| Rejection::new(ErrorCode::UnknownServerError, error.to_string()))?;
    let attributes = (batch.attributes() & !CODEC_MASK) | codec.id();
    let length = i32::try_from(bytes.len() - LENGTH_FROM)
        .map_err(|_| Rejection::new(ErrorCode::MessageTooLarge, "longer than a batch can be"))?;
    bytes[8..LENGTH_FROM].copy_from_slice(&length.to_be_bytes());
    bytes[CRC_FROM..CRC_FROM + 2].copy_from_slice(&attributes.to_be_bytes());
    let crc = crc32c::crc32c(&bytes[CRC_FROM..]);
    bytes[CRC_FROM - 4..CRC_FROM].copy_from_slice(&crc.to_be_bytes());
    RawBatch::parse(Bytes::from(bytes)).map_err(|error| Rejection::invalid(error.to_string()))
}

fn only_batch(records: Option<Bytes>, rules: &Rules<'_>) -> Result<RawBatch, Rejection> {
    let version = rules.produce_version;
    let mut batches = RawBatches::strict(records.unwrap_or_default());
    let batch = match batches.next() {
        Some(Ok(batch)) => batch,
        Some(Err(error)) => {
            return Err(Rejection::new(ErrorCode::CorruptMessage, error.to_string()));
        }
        None => {
            return Err(Rejection::invalid(format!(
                "Produce requests with version {version} must have at least one record batch per partition"
            )));
        }
    };
    if batches.next().is_some() {
        return Err(Rejection::invalid(format!(
            "Produce requests with version {version} are only allowed to contain exactly one record batch per partition"
        )));
    }
    if version < 7 && batch.compression() == Compression::Zstd {
        return Err(Rejection::new(
            ErrorCode::UnsupportedCompressionType,
            format!(
                "Produce requests with version {version} are not allowed to use ZStandard compression"
            ),
        ));
    }
    Ok(batch)
}

fn check_head(batch: &RawBatch, rules: &Rules<'_>) -> Result<(), Rejection> {
    let partition = rules.partition;
    let limit = rules.config.max_message_bytes;
    if batch.len() > usize::try_from(limit).unwrap_or(0) {
        return Err(Rejection::new(
            ErrorCode::MessageTooLarge,
            format!(
                "The record batch size in the append to {partition} is {} bytes which exceeds the maximum configured value of {limit}.",
                batch.len()
            ),
        ));
    }
    if batch.base_offset() != 0 {
        return Err(Rejection::invalid(format!(
            "The baseOffset of the record batch in the append to {partition} should be 0, but it is {}",
            batch.base_offset()
        )));
    }
    if batch.is_control() {
        return Err(Rejection::invalid(format!(
            "Clients are not allowed to write control records to {partition}"
        )));
    }
    if batch.record_count() == 0
        || batch.record_count() as i64 != i64::from(batch.last_offset_delta()) + 1
    {
        return Err(Rejection::invalid(format!(
            "Inconsistent batch offset range in the append to {partition}: {} records, last offset delta {}",
            batch.record_count(),
            batch.last_offset_delta()
        )));
    }
    if batch.producer_id() >= 0 && (batch.base_sequence() < 0 || batch.producer_epoch() < 0) {
        return Err(Rejection::invalid(format!(
            "Invalid sequence number {} in record batch with producerId {} in the append to {partition}",
            batch.base_sequence(),
            batch.producer_id()
        )));
    }
    if batch.is_transactional() {
        return Err(Rejection::new(
            ErrorCode::InvalidTxnState,
            "This broker does not serve transactions.",
        ));
    }
    Ok(())
}

/// Reads every record; returns the largest timestamp and the distance of its record from the first.
fn check_records(batch: &RawBatch, rules: &Rules<'_>) -> Result<(i64, i64), Rejection> {
    let corrupt = |error: ferrokafka_wire::DecodeError| {
        Rejection::invalid(format!(
            "Record batch for partition {} does not decode: {error}",
            rules.partition
        ))
    };
    let config = rules.config;
    let create_time = config.message_timestamp_type == TimestampType::CreateTime;
    let oldest = rules
        .now_ms
        .saturating_sub(config.message_timestamp_before_max_ms);
    let youngest = rules
        .now_ms
        .saturating_add(config.message_timestamp_after_max_ms);
    let mut newest = (-1, 0);
    let mut keyless = Vec::new();
    let mut untimely = Vec::new();
    let mut count = 0;
    for record in batch.records(DECOMPRESSED_MAX).map_err(corrupt)? {
        let record = record.map_err(corrupt)?;
        if record.offset != count {
            return Err(Rejection::invalid(format!(
                "Record {count} of the batch for partition {} has offset delta {}",
                rules.partition, record.offset
            )));
        }
        let index = i32::try_from(count).unwrap_or(i32::MAX);
        if config.cleanup_policy.compact && record.key.is_none() {
            keyless.push((
                index,
                format!(
                    "Compacted topic cannot accept message without key in topic partition {}.",
                    rules.partition
                ),
            ));
        }
        // A record without a time (-1) is not checked, as in Kafka.
        if create_time && record.timestamp >= 0 && !(oldest..=youngest).contains(&record.timestamp)
        {
            untimely.push((
                index,
                format!(
                    "Timestamp {} of message with offset {count} is out of range. The timestamp should be within [{oldest}, {youngest}]",
                    record.timestamp
                ),
            ));
        }
        if record.timestamp > newest.0 {
            newest = (record.timestamp, count);
        }
        count += 1;
    }
    if count != batch.record_count() as i64 {
        return Err(Rejection::invalid(format!(
            "Record batch for partition {} holds {count} records instead of {}",
            rules.partition,
            batch.record_count()
        )));
    }
    if !keyless.is_empty() {
        let message = "One or more records have been rejected";
        return Err(Rejection {
            code: ErrorCode::InvalidRecord,
            message: message.to_owned(),
            records: keyless,
        });
    }
    if !untimely.is_empty() {
        let message = "One or more records have been rejected due to invalid timestamp";
        return Err(Rejection {
            code: ErrorCode::InvalidTimestamp,
            message: message.to_owned(),
            records: untimely,
        });
    }
    Ok(newest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::CompressionType;
    use ferrokafka_wire::record::{BatchBuilder, ProducerStamp};

    fn batch(codec: Compression) -> Bytes {
        let mut builder = BatchBuilder::new(1024);
        for value in ["one", "two", "three"] {
            builder
                .append(1_000, Some(b"key"), Some(value.as_bytes()), &[])
                .unwrap();
        }
        let mut batch = builder.finish(codec).unwrap();
        batch.stamp(ProducerStamp {
            producer_id: 7,
            producer_epoch: 1,
            base_sequence: 40,
            transactional: false,
        });
        batch.bytes()
    }

    fn accepted(codec: Compression, config: CompressionType) -> RawBatch {
        let config = TopicConfig {
            compression_type: config,
            ..TopicConfig::default()
        };
        let rules = Rules {
            config: &config,
            partition: "orders-0",
            now_ms: 2_000,
            produce_version: 9,
        };
        accept(Some(batch(codec)), &rules).unwrap().batch
    }

    #[test]
    fn batches_are_kept_in_the_codec_of_the_topic() {
        use Compression::{Gzip, Lz4, None, Snappy, Zstd};
        for from in [None, Gzip, Snappy, Lz4, Zstd] {
            for to in [None, Gzip, Snappy, Lz4, Zstd] {
                let kept = accepted(from, CompressionType::Codec(to));
                assert_eq!(kept.compression(), to, "{from:?}");
                kept.verify_crc().unwrap();
                let records = kept.records(DECOMPRESSED_MAX).unwrap();
                let values: Vec<_> = records
                    .map(|record| record.unwrap().value.unwrap())
                    .collect();
                assert_eq!(values, ["one", "two", "three"], "{from:?} to {to:?}");
                let stamp = (
                    kept.producer_id(),
                    kept.producer_epoch(),
                    kept.base_sequence(),
                );
                assert_eq!(stamp, (7, 1, 40));
            }
            assert_eq!(
                accepted(from, CompressionType::Producer).bytes(),
                &batch(from)
            );
        }
    }
}
