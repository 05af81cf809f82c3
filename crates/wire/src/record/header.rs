//! Headers of a record: a list, in which a key may stand more than once and a value may be null.

use std::borrow::Cow;

use bytes::Bytes;

use crate::error::DecodeError;
use crate::varint::{read_varint, varint_len, write_varint};

/// One header.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Header {
    /// The key: UTF-8, which [`BatchBuilder::append`](super::BatchBuilder::append) checks.
    pub key: Bytes,
    /// The value; null is not the same as empty.
    pub value: Option<Bytes>,
}

impl Header {
    /// A header with a value.
    pub fn new(key: impl Into<String>, value: impl Into<Bytes>) -> Self {
        Self {
            key: Bytes::from(key.into().into_bytes()),
            value: Some(value.into()),
        }
    }

    /// A header whose value is null.
    pub fn null(key: impl Into<String>) -> Self {
        Self {
            key: Bytes::from(key.into().into_bytes()),
            value: None,
        }
    }

    /// The key as text. Another client may have written bytes that are no UTF-8: those are replaced, as Java does.
    pub fn key_str(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.key)
    }

    pub(super) fn encoded_len(&self) -> usize {
        let value_len = self.value.as_ref().map_or(0, Bytes::len);
        length_prefix_len(Some(self.key.len()))
            + self.key.len()
            + length_prefix_len(self.value.as_ref().map(Bytes::len))
            + value_len
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        write_nullable(out, Some(&self.key));
        write_nullable(out, self.value.as_deref());
    }
}

/// The headers of one record, in the order in which they were written. Checked when the record was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers {
    bytes: Bytes,
    count: usize,
}

impl Headers {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The headers, in order, duplicates kept.
    pub fn iter(&self) -> HeadersIter<'_> {
        HeadersIter {
            bytes: &self.bytes,
            at: 0,
            left: self.count,
        }
    }

    /// The last header of this key, which is the one that counts where only one is expected.
    pub fn last(&self, key: &str) -> Option<Header> {
        self.iter()
            .filter(|header| header.key == key.as_bytes())
            .last()
    }

    /// A copy that shares no memory with the batch.
    pub fn detach(&self) -> Self {
        Self {
            bytes: Bytes::copy_from_slice(&self.bytes),
            count: self.count,
        }
    }

    /// The headers as they stand in the record, after their count.
    pub(super) fn encoded(&self) -> &[u8] {
        &self.bytes
    }

    /// Checks the headers at `start..end` of a buffer and keeps them as a slice of it.
    pub(super) fn read(
        buffer: &Bytes,
        start: usize,
        end: usize,
        count: usize,
    ) -> Result<Self, DecodeError> {
        if count == 0 && start == end {
            return Ok(Self::default());
        }
        let record = &buffer[..end];
        let mut at = start;
        for _ in 0..count {
            read_nullable(record, &mut at, "header key")?
                .ok_or_else(|| DecodeError::invalid("header key is null", at))?;
            read_nullable(record, &mut at, "header value")?;
        }
        if at != end {
            return Err(DecodeError::invalid(
                "bytes left after the headers of a record",
                at,
            ));
        }
        Ok(Self {
            bytes: buffer.slice(start..end),
            count,
        })
    }
}

impl<'a> IntoIterator for &'a Headers {
    type Item = Header;
    type IntoIter = HeadersIter<'a>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// Iterator over [`Headers`].
#[derive(Clone, Debug)]
pub struct HeadersIter<'a> {
    bytes: &'a Bytes,
    at: usize,
    left: usize,
}

impl Iterator for HeadersIter<'_> {
    type Item = Header;

    fn next(&mut self) -> Option<Header> {
        self.left = self.left.checked_sub(1)?;
        // `Headers::read` has walked these bytes: what fails here cannot be reached.
        let (start, end) = read_nullable(self.bytes, &mut self.at, "header key").ok()??;
        let value = read_nullable(self.bytes, &mut self.at, "header value").ok()?;
        Some(Header {
            key: self.bytes.slice(start..end),
            value: value.map(|(start, end)| self.bytes.slice(start..end)),
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for HeadersIter<'_> {}

/// Bytes of the length before a nullable value. Lengths above `i32::MAX` are refused before it matters.
pub(super) fn length_prefix_len(len: Option<usize>) -> usize {
    varint_len(len.map_or(-1, |len| len as i32))
}

pub(super) fn write_nullable(out: &mut Vec<u8>, value: Option<&[u8]>) {
    match value {
        None => write_varint(out, -1),
        Some(value) => {
            write_varint(out, value.len() as i32);
            out.extend_from_slice(value);
        }
    }
}

/// Where the next nullable value lies, `None` for null; `*at` moves past it.
#[inline]
pub(super) fn read_nullable(
    bytes: &[u8],
    at: &mut usize,
    what: &'static str,
) -> Result<Option<(usize, usize)>, DecodeError> {
    let start_of_length = *at;
    let len = read_varint(bytes, at)?;
    let Ok(len) = usize::try_from(len) else {
        return match len {
            -1 => Ok(None),
            _ => Err(DecodeError::invalid(
                format!("{what} of negative length {len}"),
                start_of_length,
            )),
        };
    };
    if len > bytes.len() - *at {
        return Err(DecodeError::truncated(
            format!("{what} of {len} bytes, {} are left", bytes.len() - *at),
            start_of_length,
        ));
    }
    let start = *at;
    *at += len;
    Ok(Some((start, *at)))
}
