//! A batch as it came: the head read in place, the records untouched.

use bytes::Bytes;

use super::records::{BatchFacts, Records};
use super::{
    BATCH_HEAD_LEN, BATCH_LENGTH_MIN, BATCH_PREFIX_LEN, MAGIC, at, attribute, get, get_i16,
    get_i32, get_i64, put,
};
use crate::compression::Compression;
use crate::error::{DecodeError, DecodeErrorKind};

/// Whose clock a batch's timestamps come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TimestampType {
    /// The producer's.
    CreateTime,
    /// The broker's: every record of the batch has the time of the append.
    LogAppendTime,
}

/// One batch: its length, format and offsets are checked, its checksum and records are not yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawBatch {
    bytes: Bytes,
}

impl RawBatch {
    /// Takes the first batch off `bytes`. `Ok(None)`: they end before the batch does.
    ///
    /// # Errors
    /// The head makes no sense, or is of a format older than Kafka 0.11.
    pub fn split_first(bytes: &mut Bytes) -> Result<Option<Self>, DecodeError> {
        if bytes.len() < BATCH_PREFIX_LEN {
            return Ok(None);
        }
        let length = get_i32(bytes, at::BATCH_LENGTH);
        // Format 0 and 1 messages may be shorter than our head; the magic byte lies at the same place in all formats.
        if bytes.len() > at::MAGIC && bytes[at::MAGIC] as i8 != MAGIC {
            return Err(DecodeError::new(
                DecodeErrorKind::Unsupported,
                format!(
                    "record batch of format {}, only {MAGIC} is supported",
                    bytes[at::MAGIC] as i8
                ),
                at::MAGIC,
            ));
        }
        if length < BATCH_LENGTH_MIN {
            return Err(DecodeError::invalid(
                format!("batch length {length}"),
                at::BATCH_LENGTH,
            ));
        }
        let total = BATCH_PREFIX_LEN + length as usize;
        if bytes.len() < total {
            return Ok(None);
        }
        let batch = Self {
            bytes: bytes.slice(..total),
        };
        batch.check_head()?;
        *bytes = bytes.slice(total..);
        Ok(Some(batch))
    }

    /// The one batch that `bytes` hold, whole and without anything after it.
    ///
    /// # Errors
    /// As [`split_first`](Self::split_first); also when the batch is cut off or something follows it.
    pub fn parse(mut bytes: Bytes) -> Result<Self, DecodeError> {
        let len = bytes.len();
        let batch = Self::split_first(&mut bytes)?
            .ok_or_else(|| DecodeError::truncated("record batch is cut off", len))?;
        if bytes.is_empty() {
            Ok(batch)
        } else {
            Err(DecodeError::invalid(
                "bytes left after the record batch",
                batch.len(),
            ))
        }
    }

    fn check_head(&self) -> Result<(), DecodeError> {
        let delta = self.last_offset_delta();
        if delta < 0 || self.base_offset().checked_add(i64::from(delta)).is_none() {
            return Err(DecodeError::invalid(
                format!(
                    "last offset delta {delta} after base offset {}",
                    self.base_offset()
                ),
                at::LAST_OFFSET_DELTA,
            ));
        }
        // Compaction leaves gaps, so there may be fewer records than offsets, but never more.
        let count = self.raw_record_count();
        if count < 0 || i64::from(count) > i64::from(delta) + 1 {
            return Err(DecodeError::invalid(
                format!("{count} records on {} offsets", i64::from(delta) + 1),
                at::RECORD_COUNT,
            ));
        }
        let codec = self.attributes() & attribute::COMPRESSION;
        if Compression::from_id(codec).is_none() {
            return Err(DecodeError::new(
                DecodeErrorKind::Unsupported,
                format!("compression codec {codec}"),
                at::ATTRIBUTES,
            ));
        }
        Ok(())
    }

    /// Offset of the first record; it stays when compaction removes that record.
    pub fn base_offset(&self) -> i64 {
        get_i64(&self.bytes, at::BASE_OFFSET)
    }

    /// Offset of the last record as it was written; the next batch starts behind it, whatever compaction has removed.
    pub fn last_offset(&self) -> i64 {
        self.base_offset() + i64::from(self.last_offset_delta())
    }

    /// [`last_offset`](Self::last_offset) counted from the base offset.
    pub fn last_offset_delta(&self) -> i32 {
        get_i32(&self.bytes, at::LAST_OFFSET_DELTA)
    }

    /// Epoch of the leader that appended it; -1 before that.
    pub fn leader_epoch(&self) -> i32 {
        get_i32(&self.bytes, at::LEADER_EPOCH)
    }

    /// The attribute bits, as they are.
    pub fn attributes(&self) -> i16 {
        get_i16(&self.bytes, at::ATTRIBUTES)
    }

    /// How the records are compressed.
    pub fn compression(&self) -> Compression {
        // `check_head` has refused the ids that are nobody's.
        Compression::from_id(self.attributes() & attribute::COMPRESSION).unwrap_or_default()
    }

    /// Whose clock the timestamps come from.
    pub fn timestamp_type(&self) -> TimestampType {
        match self.attributes() & attribute::LOG_APPEND_TIME {
            0 => TimestampType::CreateTime,
            _ => TimestampType::LogAppendTime,
        }
    }

    /// Whether it belongs to a transaction.
    pub fn is_transactional(&self) -> bool {
        self.attributes() & attribute::TRANSACTIONAL != 0
    }

    /// Whether it holds control records, which are not for applications.
    pub fn is_control(&self) -> bool {
        self.attributes() & attribute::CONTROL != 0
    }

    /// Timestamp that the records' deltas count from.
    pub fn base_timestamp(&self) -> i64 {
        get_i64(&self.bytes, at::BASE_TIMESTAMP)
    }

    /// Largest timestamp in it; the time of the append under `LogAppendTime`.
    pub fn max_timestamp(&self) -> i64 {
        get_i64(&self.bytes, at::MAX_TIMESTAMP)
    }

    /// When compaction may drop the tombstones or markers in it; the cleaner keeps that in the base timestamp.
    pub fn delete_horizon(&self) -> Option<i64> {
        (self.attributes() & attribute::DELETE_HORIZON != 0).then(|| self.base_timestamp())
    }

    /// Id of the idempotent producer; -1 without one.
    pub fn producer_id(&self) -> i64 {
        get_i64(&self.bytes, at::PRODUCER_ID)
    }

    /// Epoch of the idempotent producer; -1 without one.
    pub fn producer_epoch(&self) -> i16 {
        get_i16(&self.bytes, at::PRODUCER_EPOCH)
    }

    /// Sequence number of the first record; -1 without an idempotent producer.
    pub fn base_sequence(&self) -> i32 {
        get_i32(&self.bytes, at::BASE_SEQUENCE)
    }

    /// Number of records. Not negative, and no more than there are offsets; the records themselves may still disagree.
    pub fn record_count(&self) -> usize {
        self.raw_record_count().max(0) as usize
    }

    fn raw_record_count(&self) -> i32 {
        get_i32(&self.bytes, at::RECORD_COUNT)
    }

    /// The whole batch.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Length of the whole batch.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Never: a batch has a head. Here because [`len`](Self::len) is.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Compares the checksum with the bytes.
    ///
    /// # Errors
    /// They differ.
    pub fn verify_crc(&self) -> Result<(), DecodeError> {
        let stored = u32::from_be_bytes(get(&self.bytes, at::CRC));
        let computed = crc32c::crc32c(&self.bytes[at::ATTRIBUTES..]);
        if stored == computed {
            return Ok(());
        }
        Err(DecodeError::new(
            DecodeErrorKind::Checksum,
            format!(
                "checksum of the batch at offset {} is {computed:#010x}, not {stored:#010x}",
                self.base_offset()
            ),
            at::CRC,
        ))
    }

    /// The records, decompressed at once into one buffer of at most `limit` bytes. Positions in errors count from the
    /// first record.
    ///
    /// # Errors
    /// The compressed bytes are damaged or hold more than `limit`, or the record count cannot be true.
    pub fn records(&self, limit: usize) -> Result<Records, DecodeError> {
        let payload = self.bytes.slice(BATCH_HEAD_LEN..);
        let buffer = match self.compression() {
            Compression::None => payload,
            // A compacted batch that kept nothing may have no compressed stream either.
            _ if payload.is_empty() && self.record_count() == 0 => payload,
            codec => Bytes::from(codec.decompress(&payload, limit)?),
        };
        let log_append_time = match self.timestamp_type() {
            TimestampType::CreateTime => None,
            TimestampType::LogAppendTime => Some(self.max_timestamp()),
        };
        let facts = BatchFacts {
            base_offset: self.base_offset(),
            last_offset_delta: self.last_offset_delta(),
            base_timestamp: self.base_timestamp(),
            log_append_time,
            record_count: self.record_count(),
        };
        Records::new(buffer, facts)
    }
}

/// Sets where in the log a batch begins and which leader appended it. The checksum does not cover these.
///
/// # Panics
/// `batch` is shorter than a batch's head.
pub fn patch_base(batch: &mut [u8], base_offset: i64, leader_epoch: i32) {
    put(batch, at::BASE_OFFSET, &base_offset.to_be_bytes());
    put(batch, at::LEADER_EPOCH, &leader_epoch.to_be_bytes());
}

/// Gives every record of a batch the time of its append, and computes the checksum anew.
///
/// # Panics
/// `batch` is shorter than a batch's head.
pub fn set_log_append_time(batch: &mut [u8], timestamp_ms: i64) {
    let attributes = get_i16(batch, at::ATTRIBUTES) | attribute::LOG_APPEND_TIME;
    put(batch, at::ATTRIBUTES, &attributes.to_be_bytes());
    put(batch, at::MAX_TIMESTAMP, &timestamp_ms.to_be_bytes());
    let crc = crc32c::crc32c(&batch[at::ATTRIBUTES..]);
    put(batch, at::CRC, &crc.to_be_bytes());
}

/// The batches of a fetch response or of a stretch of log. After an error there are no more.
#[derive(Clone, Debug)]
pub struct RawBatches {
    rest: Bytes,
    consumed: usize,
    strict: bool,
}

impl RawBatches {
    /// Batches of a fetch response: a broker cuts at a byte limit, so a last batch that is not whole ends them.
    pub fn new(bytes: impl Into<Bytes>) -> Self {
        Self {
            rest: bytes.into(),
            consumed: 0,
            strict: false,
        }
    }

    /// Batches of a produce request: one that is not whole is an error.
    pub fn strict(bytes: impl Into<Bytes>) -> Self {
        Self {
            strict: true,
            ..Self::new(bytes)
        }
    }

    /// Bytes of the batches handed out so far.
    pub fn consumed(&self) -> usize {
        self.consumed
    }

    /// What follows them: after the last batch, the bytes of one that was cut off.
    pub fn rest(&self) -> &Bytes {
        &self.rest
    }
}

impl Iterator for RawBatches {
    type Item = Result<RawBatch, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        match RawBatch::split_first(&mut self.rest) {
            Ok(Some(batch)) => {
                self.consumed += batch.len();
                Some(Ok(batch))
            }
            Ok(None) if !self.strict => None,
            Ok(None) => {
                self.rest = Bytes::new();
                Some(Err(DecodeError::truncated(
                    "record batch is cut off",
                    self.consumed,
                )))
            }
            Err(error) => {
                self.rest = Bytes::new();
                Some(Err(error.shifted(self.consumed)))
            }
        }
    }
}

impl std::iter::FusedIterator for RawBatches {}
