//! The batches one fetch brought for one partition, handed out record by record.
//!
//! Decoding happens when `poll` wants the records: a batch is decompressed once, and its records
//! are slices of it.

use std::collections::{HashSet, VecDeque};

use bytes::Bytes;
use ferrokafka_client::{Error, ErrorKind, TopicPartition};
use ferrokafka_wire::record::{ControlRecord, RawBatch, RawBatches, Records, TimestampType};
use ferrokafka_wire::{DecodeError, ErrorCode};

use crate::record::ConsumerRecord;

/// Longest a batch may become when it is decompressed.
const DECOMPRESSED_BYTES_MAX: usize = 256 << 20;

/// Where reading goes on: an offset, and the epoch of the leader that wrote what stands before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) offset: i64,
    pub(crate) leader_epoch: Option<i32>,
}

impl Position {
    pub(crate) fn at(offset: i64) -> Self {
        Self {
            offset,
            leader_epoch: None,
        }
    }
}

/// A producer's transaction that was aborted: its records from `first_offset` on up to the abort
/// marker are nobody's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Aborted {
    pub(crate) producer_id: i64,
    pub(crate) first_offset: i64,
}

pub(crate) struct Chunk {
    batches: VecDeque<RawBatch>,
    current: Option<Current>,
    /// Offsets below were asked for by nobody: a fetch begins with the batch around its offset.
    from: i64,
    next: Position,
    bytes: usize,
    /// Not yet begun, by first offset. Empty under `read_uncommitted`.
    aborted: VecDeque<Aborted>,
    aborting: HashSet<i64>,
    check_crcs: bool,
}

struct Current {
    records: Records,
    leader_epoch: Option<i32>,
    timestamp_type: TimestampType,
}

impl Chunk {
    /// Takes in what a fetch from `position` brought. `None` if there is no whole batch in it.
    ///
    /// # Errors
    /// The head of a batch makes no sense.
    pub(crate) fn new(
        position: Position,
        bytes: Bytes,
        mut aborted: Vec<Aborted>,
        check_crcs: bool,
    ) -> Result<Option<Self>, DecodeError> {
        let mut batches = VecDeque::new();
        let mut size = 0;
        let mut next = position;
        for batch in RawBatches::new(bytes) {
            let batch = batch?;
            if batch.last_offset() < position.offset {
                continue;
            }
            size += batch.len();
            // Not the last record's offset: compaction may have removed the end of the batch, and
            // asking for what is gone would bring the same batch again, for ever.
            next = Position {
                offset: batch.last_offset().saturating_add(1),
                leader_epoch: epoch(&batch),
            };
            batches.push_back(batch);
        }
        if batches.is_empty() {
            return Ok(None);
        }
        aborted.sort_by_key(|a| a.first_offset);
        Ok(Some(Self {
            batches,
            current: None,
            from: position.offset,
            next,
            bytes: size,
            aborted: aborted.into(),
            aborting: HashSet::new(),
            check_crcs,
        }))
    }

    /// Where the next fetch goes on.
    pub(crate) fn next(&self) -> Position {
        self.next
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Moves records to `out` until that holds `max`, and `consumed` along with them. True when the
    /// chunk is empty; `consumed` is then past its end.
    ///
    /// # Errors
    /// A batch is damaged. `consumed` stands before it.
    pub(crate) fn drain(
        &mut self,
        tp: &TopicPartition,
        max: usize,
        out: &mut Vec<ConsumerRecord>,
        consumed: &mut Position,
    ) -> Result<bool, Error> {
        loop {
            let Some(current) = &mut self.current else {
                let Some(batch) = self.batches.pop_front() else {
                    *consumed = self.next;
                    return Ok(true);
                };
                self.open(&batch)
                    .map_err(|e| damaged(tp, consumed.offset, e))?;
                continue;
            };
            if current.records.remaining() == 0 {
                self.current = None;
                continue;
            }
            if out.len() >= max {
                return Ok(false);
            }
            let Some(record) = current.records.next() else {
                continue;
            };
            let record = record.map_err(|e| damaged(tp, consumed.offset, e))?;
            if record.offset < self.from {
                continue;
            }
            *consumed = Position {
                offset: record.offset.saturating_add(1),
                leader_epoch: current.leader_epoch,
            };
            out.push(ConsumerRecord {
                topic: tp.topic.clone(),
                partition: tp.partition,
                offset: record.offset,
                leader_epoch: current.leader_epoch,
                timestamp: record.timestamp,
                timestamp_type: current.timestamp_type,
                key: record.key,
                value: record.value,
                headers: record.headers,
            });
        }
    }

    fn open(&mut self, batch: &RawBatch) -> Result<(), DecodeError> {
        if self.check_crcs {
            batch.verify_crc()?;
        }
        while self
            .aborted
            .front()
            .is_some_and(|a| a.first_offset <= batch.last_offset())
        {
            if let Some(begun) = self.aborted.pop_front() {
                self.aborting.insert(begun.producer_id);
            }
        }
        if batch.is_control() {
            if self.aborting.contains(&batch.producer_id()) {
                self.close_transaction(batch)?;
            }
            return Ok(());
        }
        if batch.is_transactional() && self.aborting.contains(&batch.producer_id()) {
            return Ok(());
        }
        self.current = Some(Current {
            records: batch.records(DECOMPRESSED_BYTES_MAX)?,
            leader_epoch: epoch(batch),
            timestamp_type: batch.timestamp_type(),
        });
        Ok(())
    }

    fn close_transaction(&mut self, marker: &RawBatch) -> Result<(), DecodeError> {
        for record in marker.records(DECOMPRESSED_BYTES_MAX)? {
            if let ControlRecord::Abort { .. } = ControlRecord::decode(&record?)? {
                self.aborting.remove(&marker.producer_id());
            }
        }
        Ok(())
    }
}

fn epoch(batch: &RawBatch) -> Option<i32> {
    Some(batch.leader_epoch()).filter(|epoch| *epoch >= 0)
}

pub(crate) fn damaged(tp: &TopicPartition, offset: i64, source: DecodeError) -> Error {
    Error::new(
        ErrorKind::Protocol,
        format!("cannot read the batch at offset {offset}"),
    )
    .with_code(ErrorCode::CorruptMessage)
    .with_topic_partition(tp.clone())
    .with_source(source)
    .with_hint("to go on behind it, seek past this offset")
}
