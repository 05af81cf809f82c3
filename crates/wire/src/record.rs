//! Record batches, format 2: written as they fill, read as slices of the bytes they came in.
//!
//! A batch is 61 bytes of head and then its records, which alone are compressed. The checksum covers everything from
//! the attributes on, so a broker may set base offset and leader epoch without touching it.

mod batch;
mod builder;
mod compact;
mod control;
mod header;
mod records;

pub use batch::{RawBatch, RawBatches, TimestampType, patch_base, set_log_append_time};
pub use builder::{BatchBuilder, EncodedBatch, ProducerStamp};
pub use control::{ControlRecord, control_batch};
pub use header::{Header, Headers, HeadersIter};
pub use records::{Record, Records};

/// Length of a batch's head, before its records.
pub const BATCH_HEAD_LEN: usize = 61;
/// The two fields before `batchLength` starts to count: base offset and the length itself.
pub const BATCH_PREFIX_LEN: usize = 12;
/// Shortest `batchLength`: the rest of the head, no records.
const BATCH_LENGTH_MIN: i32 = (BATCH_HEAD_LEN - BATCH_PREFIX_LEN) as i32;
/// The only message format that Kafka has written since 0.11 and accepts since 4.0.
const MAGIC: i8 = 2;

/// Where the fields of the head lie.
mod at {
    pub(super) const BASE_OFFSET: usize = 0;
    pub(super) const BATCH_LENGTH: usize = 8;
    pub(super) const LEADER_EPOCH: usize = 12;
    pub(super) const MAGIC: usize = 16;
    pub(super) const CRC: usize = 17;
    pub(super) const ATTRIBUTES: usize = 21;
    pub(super) const LAST_OFFSET_DELTA: usize = 23;
    pub(super) const BASE_TIMESTAMP: usize = 27;
    pub(super) const MAX_TIMESTAMP: usize = 35;
    pub(super) const PRODUCER_ID: usize = 43;
    pub(super) const PRODUCER_EPOCH: usize = 51;
    pub(super) const BASE_SEQUENCE: usize = 53;
    pub(super) const RECORD_COUNT: usize = 57;
}

/// Bits of the attributes.
mod attribute {
    pub(super) const COMPRESSION: i16 = 0x07;
    pub(super) const LOG_APPEND_TIME: i16 = 0x08;
    pub(super) const TRANSACTIONAL: i16 = 0x10;
    pub(super) const CONTROL: i16 = 0x20;
    pub(super) const DELETE_HORIZON: i16 = 0x40;
}

fn get<const N: usize>(head: &[u8], at: usize) -> [u8; N] {
    let mut field = [0; N];
    field.copy_from_slice(&head[at..at + N]);
    field
}

fn get_i16(head: &[u8], at: usize) -> i16 {
    i16::from_be_bytes(get(head, at))
}

fn get_i32(head: &[u8], at: usize) -> i32 {
    i32::from_be_bytes(get(head, at))
}

fn get_i64(head: &[u8], at: usize) -> i64 {
    i64::from_be_bytes(get(head, at))
}

fn put(head: &mut [u8], at: usize, field: &[u8]) {
    head[at..at + field.len()].copy_from_slice(field);
}
