//! Writing a batch: each record is encoded when it is appended, the head when the batch is stamped.

use bytes::{Bytes, BytesMut};

use super::header::{Header, length_prefix_len, write_nullable};
use super::{
    BATCH_HEAD_LEN, BATCH_PREFIX_LEN, MAGIC, at, attribute, get, get_i16, get_i32, get_i64, put,
};
use crate::compression::Compression;
use crate::error::EncodeError;
use crate::varint::{varint_len, varlong_len, write_varint, write_varlong};

/// What a field of the head holds when there is no epoch, producer or sequence.
const NO_EPOCH: i32 = -1;
const NO_PRODUCER_ID: i64 = -1;

/// Longest batch: its length travels as an `i32`.
const BATCH_LEN_MAX: usize = i32::MAX as usize;

/// A batch that is being filled.
#[derive(Debug)]
pub struct BatchBuilder {
    /// The head's place, then the records.
    buffer: Vec<u8>,
    record_count: u32,
    base_timestamp: i64,
    max_timestamp: i64,
}

impl BatchBuilder {
    /// An empty batch with room for `capacity` bytes, head included; it grows beyond that if it must.
    pub fn new(capacity: usize) -> Self {
        Self::with_buffer(Vec::with_capacity(capacity.max(BATCH_HEAD_LEN)))
    }

    /// An empty batch in a buffer that was used before; its content goes, its capacity stays.
    pub fn with_buffer(mut buffer: Vec<u8>) -> Self {
        buffer.clear();
        buffer.resize(BATCH_HEAD_LEN, 0);
        Self {
            buffer,
            record_count: 0,
            base_timestamp: -1,
            max_timestamp: -1,
        }
    }

    /// Exact bytes that a record takes as number `offset_delta` of a batch, `timestamp_delta` ms after its first.
    pub fn record_len(
        offset_delta: u32,
        timestamp_delta: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[Header],
    ) -> usize {
        let body = body_len(offset_delta, timestamp_delta, key, value, headers);
        varint_len(i32::try_from(body).unwrap_or(i32::MAX)) + body
    }

    /// Exact bytes by which [`append`](Self::append) of this record would lengthen the batch.
    pub fn next_record_len(
        &self,
        timestamp_ms: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[Header],
    ) -> usize {
        let delta = match self.record_count {
            0 => 0,
            _ => timestamp_ms.wrapping_sub(self.base_timestamp),
        };
        Self::record_len(self.record_count, delta, key, value, headers)
    }

    /// Encodes one more record and returns its index in the batch.
    ///
    /// # Errors
    /// A header's key is not UTF-8; the record or the batch would pass 2 GiB; the timestamp is further from the
    /// first one than an `i64` can say. The batch is as it was before.
    pub fn append(
        &mut self,
        timestamp_ms: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[Header],
    ) -> Result<u32, EncodeError> {
        let index = self.record_count;
        let base_timestamp = if index == 0 {
            timestamp_ms
        } else {
            self.base_timestamp
        };
        let timestamp_delta = timestamp_ms.checked_sub(base_timestamp).ok_or_else(|| {
            EncodeError::new(format!(
                "timestamp {timestamp_ms} is too far from {base_timestamp}"
            ))
        })?;
        if let Some(header) = headers
            .iter()
            .find(|header| std::str::from_utf8(&header.key).is_err())
        {
            return Err(EncodeError::new(format!(
                "header key {:?} is not UTF-8",
                header.key
            )));
        }
        let body = body_len(index, timestamp_delta, key, value, headers);
        let total = self
            .buffer
            .len()
            .saturating_add(body)
            .saturating_add(varint_len(i32::MAX));
        if total > BATCH_LEN_MAX || index == i32::MAX as u32 {
            return Err(EncodeError::new(format!(
                "a batch of {total} bytes is too large"
            )));
        }
        let out = &mut self.buffer;
        write_varint(out, body as i32);
        out.push(0);
        write_varlong(out, timestamp_delta);
        write_varint(out, index as i32);
        write_nullable(out, key);
        write_nullable(out, value);
        write_varint(out, headers.len() as i32);
        for header in headers {
            header.write(out);
        }
        self.base_timestamp = base_timestamp;
        self.max_timestamp = if index == 0 {
            timestamp_ms
        } else {
            self.max_timestamp.max(timestamp_ms)
        };
        self.record_count += 1;
        Ok(index)
    }

    /// Number of records so far.
    pub fn record_count(&self) -> u32 {
        self.record_count
    }

    /// Whether nothing was appended yet.
    pub fn is_empty(&self) -> bool {
        self.record_count == 0
    }

    /// Exact length of the batch before compression, head included.
    pub fn encoded_len(&self) -> usize {
        self.buffer.len()
    }

    /// Timestamp of the first record; -1 while there is none.
    pub fn base_timestamp(&self) -> i64 {
        self.base_timestamp
    }

    /// Largest timestamp; -1 while there is no record.
    pub fn max_timestamp(&self) -> i64 {
        self.max_timestamp
    }

    /// Compresses the records and writes the head, for no producer id in particular.
    ///
    /// # Errors
    /// The batch is empty, or the codec refuses its length.
    pub fn finish(self, compression: Compression) -> Result<EncodedBatch, EncodeError> {
        self.finish_with(compression, 0)
    }

    pub(super) fn finish_with(
        self,
        compression: Compression,
        attributes: i16,
    ) -> Result<EncodedBatch, EncodeError> {
        if self.record_count == 0 {
            return Err(EncodeError::new("a batch without records"));
        }
        let mut batch = match compression {
            Compression::None => self.buffer,
            codec => {
                let records = &self.buffer[BATCH_HEAD_LEN..];
                let mut compressed = Vec::with_capacity(BATCH_HEAD_LEN + records.len() / 2);
                compressed.resize(BATCH_HEAD_LEN, 0);
                codec.compress(records, &mut compressed)?;
                compressed
            }
        };
        // Random data grows a little under compression, at the very edge of what a length can say.
        let length = i32::try_from(batch.len() - BATCH_PREFIX_LEN).map_err(|_| {
            EncodeError::new(format!("a batch of {} bytes is too large", batch.len()))
        })?;
        let attributes = attributes | compression.id();
        let last_offset_delta = self.record_count as i32 - 1;
        put(&mut batch, at::BATCH_LENGTH, &length.to_be_bytes());
        put(&mut batch, at::LEADER_EPOCH, &NO_EPOCH.to_be_bytes());
        put(&mut batch, at::MAGIC, &MAGIC.to_be_bytes());
        put(&mut batch, at::ATTRIBUTES, &attributes.to_be_bytes());
        put(
            &mut batch,
            at::LAST_OFFSET_DELTA,
            &last_offset_delta.to_be_bytes(),
        );
        put(
            &mut batch,
            at::BASE_TIMESTAMP,
            &self.base_timestamp.to_be_bytes(),
        );
        put(
            &mut batch,
            at::MAX_TIMESTAMP,
            &self.max_timestamp.to_be_bytes(),
        );
        put(
            &mut batch,
            at::RECORD_COUNT,
            &self.record_count.to_be_bytes(),
        );
        let records_crc = crc32c::crc32c(&batch[BATCH_HEAD_LEN..]);
        let mut batch = EncodedBatch {
            bytes: Bytes::from(batch),
            records_crc,
        };
        batch.stamp(ProducerStamp::NONE);
        Ok(batch)
    }
}

fn body_len(
    offset_delta: u32,
    timestamp_delta: i64,
    key: Option<&[u8]>,
    value: Option<&[u8]>,
    headers: &[Header],
) -> usize {
    1 + varlong_len(timestamp_delta)
        + varint_len(offset_delta as i32)
        + length_prefix_len(key.map(<[u8]>::len))
        + key.map_or(0, <[u8]>::len)
        + length_prefix_len(value.map(<[u8]>::len))
        + value.map_or(0, <[u8]>::len)
        + varint_len(headers.len() as i32)
        + headers.iter().map(Header::encoded_len).sum::<usize>()
}

/// Who sends a batch, and as which of its batches. Decided when the batch leaves, not when it fills.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerStamp {
    /// From InitProducerId; -1 for a producer that is not idempotent.
    pub producer_id: i64,
    /// Likewise.
    pub producer_epoch: i16,
    /// Sequence number of the batch's first record in its partition; -1 for a producer that is not idempotent.
    pub base_sequence: i32,
    /// Whether the batch belongs to a transaction.
    pub transactional: bool,
}

impl ProducerStamp {
    /// For a producer that is not idempotent.
    pub const NONE: Self = Self {
        producer_id: NO_PRODUCER_ID,
        producer_epoch: NO_EPOCH as i16,
        base_sequence: -1,
        transactional: false,
    };
}

/// A batch ready to be sent. Valid at once; [`stamp`](Self::stamp) names its producer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodedBatch {
    bytes: Bytes,
    /// Checksum of what follows the head, so that stamping need not read it again.
    records_crc: u32,
}

impl EncodedBatch {
    /// Writes producer id, epoch, sequence and the checksum; may be called again after an epoch bump.
    ///
    /// Copies the batch if [`bytes`](Self::bytes) handed out before are still in use: a request under way keeps what
    /// it was given.
    pub fn stamp(&mut self, stamp: ProducerStamp) {
        let mut batch = std::mem::take(&mut self.bytes)
            .try_into_mut()
            .unwrap_or_else(|shared| BytesMut::from(&shared[..]));
        let mut attributes = get_i16(&batch, at::ATTRIBUTES) & !attribute::TRANSACTIONAL;
        if stamp.transactional {
            attributes |= attribute::TRANSACTIONAL;
        }
        put(&mut batch, at::ATTRIBUTES, &attributes.to_be_bytes());
        put(
            &mut batch,
            at::PRODUCER_ID,
            &stamp.producer_id.to_be_bytes(),
        );
        put(
            &mut batch,
            at::PRODUCER_EPOCH,
            &stamp.producer_epoch.to_be_bytes(),
        );
        put(
            &mut batch,
            at::BASE_SEQUENCE,
            &stamp.base_sequence.to_be_bytes(),
        );
        let head_crc = crc32c::crc32c(&batch[at::ATTRIBUTES..BATCH_HEAD_LEN]);
        let crc = crc32c::crc32c_combine(head_crc, self.records_crc, batch.len() - BATCH_HEAD_LEN);
        put(&mut batch, at::CRC, &crc.to_be_bytes());
        self.bytes = batch.freeze();
    }

    /// The stamp it carries now.
    pub fn stamp_now(&self) -> ProducerStamp {
        ProducerStamp {
            producer_id: get_i64(&self.bytes, at::PRODUCER_ID),
            producer_epoch: get_i16(&self.bytes, at::PRODUCER_EPOCH),
            base_sequence: get_i32(&self.bytes, at::BASE_SEQUENCE),
            transactional: get_i16(&self.bytes, at::ATTRIBUTES) & attribute::TRANSACTIONAL != 0,
        }
    }

    /// The batch as it goes into a produce request; shares memory.
    pub fn bytes(&self) -> Bytes {
        self.bytes.clone()
    }

    /// Number of records.
    pub fn record_count(&self) -> u32 {
        u32::from_be_bytes(get(&self.bytes, at::RECORD_COUNT))
    }

    /// Largest timestamp among the records.
    pub fn max_timestamp(&self) -> i64 {
        get_i64(&self.bytes, at::MAX_TIMESTAMP)
    }

    /// Length of the whole batch.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Never: a batch has a head. Here because [`len`](Self::len) is.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}
