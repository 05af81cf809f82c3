//! Control records: the markers that end a transaction, and those of KRaft, which are only recognised.

use bytes::Bytes;

use super::records::Record;
use super::{BatchBuilder, EncodedBatch, ProducerStamp, attribute};
use crate::compression::Compression;
use crate::error::{DecodeError, EncodeError};

/// The version written into key and value of a marker.
const MARKER_VERSION: i16 = 0;

/// What a control record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ControlRecord {
    /// The transaction was aborted: drop what the producer wrote since it began.
    Abort {
        /// Epoch of the transaction coordinator.
        coordinator_epoch: i32,
    },
    /// The transaction was committed.
    Commit {
        /// Epoch of the transaction coordinator.
        coordinator_epoch: i32,
    },
    /// One of KRaft's, or one that Kafka has added since: to be skipped.
    Other {
        /// Its type.
        control_type: i16,
    },
}

impl ControlRecord {
    /// Reads a record of a control batch.
    ///
    /// # Errors
    /// The key or a marker's value is missing or too short.
    pub fn decode(record: &Record) -> Result<Self, DecodeError> {
        let key = record.key.as_deref().unwrap_or_default();
        if read_i16(key, 0, "control record's key")? < 0 {
            return Err(DecodeError::invalid(
                "control record of negative version",
                0,
            ));
        }
        let control_type = read_i16(key, 2, "control record's key")?;
        let coordinator_epoch = || {
            let value = record.value.as_deref().unwrap_or_default();
            read_i16(value, 0, "transaction marker")?;
            match value.get(2..6) {
                Some(&[a, b, c, d]) => Ok(i32::from_be_bytes([a, b, c, d])),
                _ => Err(DecodeError::truncated("transaction marker", value.len())),
            }
        };
        Ok(match control_type {
            0 => Self::Abort {
                coordinator_epoch: coordinator_epoch()?,
            },
            1 => Self::Commit {
                coordinator_epoch: coordinator_epoch()?,
            },
            control_type => Self::Other { control_type },
        })
    }

    /// Key and value of a transaction marker; `None` for what only KRaft writes.
    fn encode(self) -> Option<([u8; 4], [u8; 6])> {
        let (control_type, epoch) = match self {
            Self::Abort { coordinator_epoch } => (0i16, coordinator_epoch),
            Self::Commit { coordinator_epoch } => (1i16, coordinator_epoch),
            Self::Other { .. } => return None,
        };
        let [v0, v1] = MARKER_VERSION.to_be_bytes();
        let [t0, t1] = control_type.to_be_bytes();
        let [e0, e1, e2, e3] = epoch.to_be_bytes();
        Some(([v0, v1, t0, t1], [v0, v1, e0, e1, e2, e3]))
    }
}

fn read_i16(bytes: &[u8], at: usize, what: &'static str) -> Result<i16, DecodeError> {
    match bytes.get(at..at + 2) {
        Some(&[high, low]) => Ok(i16::from_be_bytes([high, low])),
        _ => Err(DecodeError::truncated(what, bytes.len())),
    }
}

/// The batch that ends a producer's transaction in one partition.
///
/// # Errors
/// The record is not a transaction marker.
pub fn control_batch(
    marker: ControlRecord,
    timestamp_ms: i64,
    producer_id: i64,
    producer_epoch: i16,
) -> Result<Bytes, EncodeError> {
    let (key, value) = marker
        .encode()
        .ok_or_else(|| EncodeError::new("only transaction markers are written"))?;
    let mut builder = BatchBuilder::new(128);
    builder.append(timestamp_ms, Some(&key), Some(&value), &[])?;
    let mut batch: EncodedBatch = builder.finish_with(Compression::None, attribute::CONTROL)?;
    batch.stamp(ProducerStamp {
        producer_id,
        producer_epoch,
        base_sequence: -1,
        transactional: true,
    });
    Ok(batch.bytes())
}
