//! Writing a batch again with fewer records, as compaction does.

use bytes::Bytes;

use super::header::{length_prefix_len, write_nullable};
use super::records::Record;
use super::{BATCH_HEAD_LEN, BATCH_PREFIX_LEN, RawBatch, TimestampType, at, attribute, put};
use crate::compression::Compression;
use crate::error::EncodeError;
use crate::varint::{varint_len, varlong_len, write_varint, write_varlong};

/// Base timestamp of a batch without records.
const NO_TIMESTAMP: i64 = -1;

impl RawBatch {
    /// This batch with only these of its records. Offsets, producer, sequence and codec stay, and so do the offsets
    /// that it claims: base and last offset. Without records it is the empty batch that keeps a producer's sequence.
    ///
    /// `delete_horizon` is when tombstones in it may go (KIP-534); it takes the place of the base timestamp.
    ///
    /// # Errors
    /// A record's offset is not one of this batch's, or the result would pass 2 GiB.
    pub fn with_records(
        &self,
        records: &[Record],
        delete_horizon: Option<i64>,
    ) -> Result<Bytes, EncodeError> {
        // An empty batch has no tombstones left to wait for.
        let delete_horizon = delete_horizon.filter(|_| !records.is_empty());
        let base_timestamp = match (delete_horizon, records.first()) {
            (Some(horizon), _) => horizon,
            (None, Some(first)) => first.timestamp,
            (None, None) => NO_TIMESTAMP,
        };
        let mut plain = Vec::new();
        for record in records {
            let offset_delta = record
                .offset
                .checked_sub(self.base_offset())
                .filter(|delta| (0..=i64::from(self.last_offset_delta())).contains(delta))
                .ok_or_else(|| {
                    EncodeError::new(format!("offset {} is not of this batch", record.offset))
                })?;
            // Any two timestamps can meet here, and readers add what was subtracted, wrapping as well.
            let timestamp_delta = record.timestamp.wrapping_sub(base_timestamp);
            write_record(&mut plain, record, offset_delta as i32, timestamp_delta)?;
        }
        let codec = if records.is_empty() {
            Compression::None
        } else {
            self.compression()
        };
        let mut batch = self.bytes()[..BATCH_HEAD_LEN].to_vec();
        codec.compress(&plain, &mut batch)?;
        let length = i32::try_from(batch.len() - BATCH_PREFIX_LEN).map_err(|_| {
            EncodeError::new(format!("a batch of {} bytes is too large", batch.len()))
        })?;
        let mut attributes =
            self.attributes() & !(attribute::COMPRESSION | attribute::DELETE_HORIZON);
        attributes |= codec.id();
        if delete_horizon.is_some() {
            attributes |= attribute::DELETE_HORIZON;
        }
        let newest = records.iter().map(|record| record.timestamp).max();
        let max_timestamp = match (self.timestamp_type(), newest) {
            (TimestampType::CreateTime, Some(newest)) => newest,
            _ => self.max_timestamp(),
        };
        // No more records than offsets, which are an `i32`: `check_head` and the loop above have seen to it, unless
        // the caller repeats one.
        let count = i32::try_from(records.len())
            .map_err(|_| EncodeError::new("more records than offsets"))?;
        put(&mut batch, at::BATCH_LENGTH, &length.to_be_bytes());
        put(&mut batch, at::ATTRIBUTES, &attributes.to_be_bytes());
        put(
            &mut batch,
            at::BASE_TIMESTAMP,
            &base_timestamp.to_be_bytes(),
        );
        put(&mut batch, at::MAX_TIMESTAMP, &max_timestamp.to_be_bytes());
        put(&mut batch, at::RECORD_COUNT, &count.to_be_bytes());
        let crc = crc32c::crc32c(&batch[at::ATTRIBUTES..]);
        put(&mut batch, at::CRC, &crc.to_be_bytes());
        Ok(Bytes::from(batch))
    }
}

fn write_record(
    out: &mut Vec<u8>,
    record: &Record,
    offset_delta: i32,
    timestamp_delta: i64,
) -> Result<(), EncodeError> {
    let nullable_len = |value: Option<&[u8]>| {
        length_prefix_len(value.map(<[u8]>::len)) + value.map_or(0, <[u8]>::len)
    };
    let (key, value) = (record.key.as_deref(), record.value.as_deref());
    let headers = &record.headers;
    let body = 1
        + varlong_len(timestamp_delta)
        + varint_len(offset_delta)
        + nullable_len(key)
        + nullable_len(value)
        + varint_len(headers.len() as i32)
        + headers.encoded().len();
    if body > i32::MAX as usize - out.len() {
        return Err(EncodeError::new(format!(
            "a batch of more than {body} bytes is too large"
        )));
    }
    write_varint(out, body as i32);
    out.push(0);
    write_varlong(out, timestamp_delta);
    write_varint(out, offset_delta);
    write_nullable(out, key);
    write_nullable(out, value);
    write_varint(out, headers.len() as i32);
    out.extend_from_slice(headers.encoded());
    Ok(())
}
