//! Reading the records of one batch: one buffer, and slices of it.

use bytes::Bytes;

use super::header::{Headers, read_nullable};
use crate::error::DecodeError;
use crate::varint::{read_varint, read_varlong};

/// One record. Key, value and headers are slices of the batch's buffer and keep all of it alive:
/// [`detach`](Record::detach) what is to be kept for long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its offset in the partition.
    pub offset: i64,
    /// Milliseconds since 1970; -1 where the producer gave none. The batch's time under `LogAppendTime`.
    pub timestamp: i64,
    /// The key, if there is one.
    pub key: Option<Bytes>,
    /// The value; `None` is a tombstone.
    pub value: Option<Bytes>,
    /// The headers, not yet taken apart.
    pub headers: Headers,
}

impl Record {
    /// A copy that shares no memory with the batch.
    pub fn detach(&self) -> Self {
        let copy = |bytes: &Bytes| Bytes::copy_from_slice(bytes);
        Self {
            offset: self.offset,
            timestamp: self.timestamp,
            key: self.key.as_ref().map(copy),
            value: self.value.as_ref().map(copy),
            headers: self.headers.detach(),
        }
    }
}

/// What the records need to know of their batch.
#[derive(Clone, Copy, Debug)]
pub(super) struct BatchFacts {
    pub(super) base_offset: i64,
    pub(super) last_offset_delta: i32,
    pub(super) base_timestamp: i64,
    /// Set under `LogAppendTime`.
    pub(super) log_append_time: Option<i64>,
    pub(super) record_count: usize,
}

/// The records of a batch, uncompressed, read one at a time. After an error there are no more.
#[derive(Clone, Debug)]
pub struct Records {
    buffer: Bytes,
    at: usize,
    left: usize,
    facts: BatchFacts,
}

impl Records {
    pub(super) fn new(buffer: Bytes, facts: BatchFacts) -> Result<Self, DecodeError> {
        // A record takes at least seven bytes: a count that cannot be true is refused before anybody reserves for it.
        const RECORD_LEN_MIN: usize = 7;
        if facts.record_count > buffer.len() / RECORD_LEN_MIN {
            return Err(DecodeError::invalid(
                format!("{} records in {} bytes", facts.record_count, buffer.len()),
                super::at::RECORD_COUNT,
            ));
        }
        Ok(Self {
            buffer,
            at: 0,
            left: facts.record_count,
            facts,
        })
    }

    /// How many records are still to come, if nothing is damaged.
    pub fn remaining(&self) -> usize {
        self.left
    }

    fn read(&mut self) -> Result<Record, DecodeError> {
        let start = self.at;
        let len = read_varint(&self.buffer, &mut self.at)?;
        let body = self.at;
        let end = usize::try_from(len)
            .ok()
            .and_then(|len| body.checked_add(len))
            .filter(|end| *end <= self.buffer.len())
            .ok_or_else(|| DecodeError::truncated(format!("record of {len} bytes"), start))?;
        // Everything below reads from a slice that ends with the record, so nothing can run into the next one.
        let bytes = &self.buffer[..end];
        let mut at = body + 1;
        if at > end {
            return Err(DecodeError::invalid("record without attributes", start));
        }
        let timestamp_delta = read_varlong(bytes, &mut at)?;
        let offset_delta = read_varint(bytes, &mut at)?;
        if !(0..=self.facts.last_offset_delta).contains(&offset_delta) {
            return Err(DecodeError::invalid(
                format!(
                    "offset delta {offset_delta} outside the batch's 0..={}",
                    self.facts.last_offset_delta
                ),
                start,
            ));
        }
        let key = read_nullable(bytes, &mut at, "key")?;
        let value = read_nullable(bytes, &mut at, "value")?;
        let headers_at = at;
        let count = read_varint(bytes, &mut at)?;
        let count = usize::try_from(count)
            .ok()
            // A header takes at least two bytes.
            .filter(|count| *count <= (end - at) / 2)
            .ok_or_else(|| {
                DecodeError::invalid(format!("{count} headers in {} bytes", end - at), headers_at)
            })?;
        let headers = Headers::read(&self.buffer, at, end, count)?;
        self.at = end;
        let slice =
            |range: Option<(usize, usize)>| range.map(|(from, to)| self.buffer.slice(from..to));
        Ok(Record {
            offset: self.facts.base_offset + i64::from(offset_delta),
            timestamp: match self.facts.log_append_time {
                Some(time) => time,
                None => self.facts.base_timestamp.wrapping_add(timestamp_delta),
            },
            key: slice(key),
            value: slice(value),
            headers,
        })
    }
}

impl Iterator for Records {
    type Item = Result<Record, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            if self.at == self.buffer.len() {
                return None;
            }
            let at = std::mem::replace(&mut self.at, self.buffer.len());
            return Some(Err(DecodeError::invalid(
                "bytes left after the last record",
                at,
            )));
        }
        self.left -= 1;
        let record = self.read();
        if record.is_err() {
            self.left = 0;
            self.at = self.buffer.len();
        }
        Some(record)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        // The error about bytes left over comes as one more item.
        (0, Some(self.left + 1))
    }
}

impl std::iter::FusedIterator for Records {}
