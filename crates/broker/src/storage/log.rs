//! A partition's log: segments in order, the newest one growing.
//!
//! All of this runs under the partition's lock. Reads hand out a file and a range, so that the bytes
//! themselves are read after the lock is released; a segment that is deleted meanwhile stays readable
//! through its open file.

use std::io;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use ferrokafka_wire::record::{RawBatch, Record, patch_base};

use super::batches::{Accepted, DECOMPRESSED_MAX};
use super::epochs::LeaderEpochs;
use super::producers::{Producers, Stamp, Verdict};
use super::segment::{self, HEAD, Placed, Segment};
use super::{Storage, StoredFile, replace};
use crate::config::TopicConfig;

/// Most bytes of one segment's `.log`: positions in its index are 31 bits.
const SEGMENT_BYTES_MAX: u64 = i32::MAX as u64;

/// The settings a log acts on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct LogSettings {
    pub(crate) segment_bytes: u64,
    pub(crate) segment_ms: i64,
    pub(crate) segment_index_bytes: usize,
    pub(crate) index_interval: u64,
    pub(crate) retention_ms: i64,
    pub(crate) retention_bytes: i64,
    pub(crate) flush_messages: i64,
    pub(crate) delete: bool,
    pub(crate) compact: bool,
    pub(crate) min_dirty_ratio: f64,
    pub(crate) min_compaction_lag_ms: i64,
    pub(crate) max_compaction_lag_ms: i64,
    pub(crate) delete_retention_ms: i64,
}

impl From<&TopicConfig> for LogSettings {
    fn from(config: &TopicConfig) -> Self {
        let compact = config.cleanup_policy.compact;
        Self {
            segment_bytes: u64::try_from(config.segment_bytes)
                .unwrap_or(0)
                .min(SEGMENT_BYTES_MAX),
            // A compacted segment must become inactive in time for `max.compaction.lag.ms`.
            segment_ms: if compact {
                config.segment_ms.min(config.max_compaction_lag_ms)
            } else {
                config.segment_ms
            },
            segment_index_bytes: usize::try_from(config.segment_index_bytes).unwrap_or(0),
            index_interval: u64::try_from(config.index_interval_bytes).unwrap_or(0),
            retention_ms: config.retention_ms,
            retention_bytes: config.retention_bytes,
            flush_messages: config.flush_messages,
            delete: config.cleanup_policy.delete,
            compact,
            min_dirty_ratio: config.min_cleanable_dirty_ratio,
            min_compaction_lag_ms: config.min_compaction_lag_ms,
            max_compaction_lag_ms: config.max_compaction_lag_ms,
            delete_retention_ms: config.delete_retention_ms,
        }
    }
}

/// What an append did.
#[derive(Debug, Clone)]
pub(crate) struct Appended {
    pub(crate) base_offset: i64,
    /// Set under `LogAppendTime`.
    pub(crate) append_time: Option<i64>,
    /// It had been appended before; nothing was written.
    pub(crate) duplicate: bool,
    /// Files to force to the device before this is acknowledged.
    pub(crate) sync: Option<Arc<dyn StoredFile>>,
}

/// Why nothing was appended.
#[derive(Debug)]
pub(crate) enum AppendError {
    OutOfOrder(String),
    Fenced(String),
    Io(io::Error),
}

impl From<io::Error> for AppendError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// A stretch of log to read once the lock is gone.
#[derive(Debug, Clone)]
pub(crate) struct Slice {
    file: Arc<dyn StoredFile>,
    position: u64,
    /// Bytes there are from the position to the end of the segment.
    pub(crate) available: u64,
    /// Bytes of the first batch.
    pub(crate) first: u64,
}

impl Slice {
    pub(crate) fn read(&self, length: u64) -> io::Result<Bytes> {
        self.file.read(
            self.position,
            usize::try_from(length.min(self.available)).unwrap_or(usize::MAX),
        )
    }
}

/// A record found by its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) offset: i64,
    pub(crate) timestamp: i64,
    pub(crate) leader_epoch: i32,
}

#[derive(Debug)]
pub(crate) struct Log {
    pub(super) storage: Arc<dyn Storage>,
    pub(super) directory: String,
    /// Never empty, in order of base offset; the last one is active.
    pub(super) segments: Vec<Segment>,
    pub(super) start_offset: i64,
    pub(super) end_offset: i64,
    pub(super) epochs: LeaderEpochs,
    pub(super) producers: Producers,
    pub(super) settings: LogSettings,
    /// Everything before this has been compacted.
    pub(super) cleaned_to: i64,
    pub(super) unflushed: i64,
    /// A write failed in a way that leaves the end of the file unknown.
    pub(super) broken: bool,
}

impl Log {
    pub(crate) fn start_offset(&self) -> i64 {
        self.start_offset
    }

    /// Also the high watermark: there is one copy of the log.
    pub(crate) fn end_offset(&self) -> i64 {
        self.end_offset
    }

    pub(crate) fn epochs(&self) -> &LeaderEpochs {
        &self.epochs
    }

    pub(crate) fn configure(&mut self, settings: LogSettings) {
        self.settings = settings;
    }

    /// Bytes of all segments.
    pub(crate) fn size(&self) -> u64 {
        self.segments.iter().map(|segment| segment.size).sum()
    }

    pub(crate) fn directory(&self) -> &str {
        &self.directory
    }

    /// Appends a batch after those that are there.
    pub(crate) fn append(
        &mut self,
        accepted: &Accepted,
        leader_epoch: i32,
        now_ms: i64,
    ) -> Result<Appended, AppendError> {
        if self.broken {
            return Err(io::Error::other("an earlier write failed").into());
        }
        let batch = &accepted.batch;
        let stamp = (batch.producer_id() >= 0).then(|| Stamp {
            producer_id: batch.producer_id(),
            epoch: batch.producer_epoch(),
            base_sequence: batch.base_sequence(),
            last_delta: batch.last_offset_delta(),
            timestamp: accepted.max_timestamp,
        });
        match stamp.as_ref().map(|stamp| self.producers.judge(stamp)) {
            None | Some(Verdict::Append) => {}
            Some(Verdict::OutOfOrder(message)) => return Err(AppendError::OutOfOrder(message)),
            Some(Verdict::Fenced(message)) => return Err(AppendError::Fenced(message)),
            Some(Verdict::Duplicate(batch)) => {
                return Ok(Appended {
                    base_offset: batch.base_offset(),
                    append_time: accepted.append_time.map(|_| batch.timestamp),
                    duplicate: true,
                    // What the first attempt wrote may not have reached the device yet.
                    sync: (self.settings.flush_messages < i64::MAX)
                        .then(|| self.active().file.clone()),
                });
            }
        }
        let base_offset = self.end_offset;
        let last_offset = base_offset + i64::from(batch.last_offset_delta());
        if self.must_roll(
            batch.len() as u64,
            last_offset,
            accepted.max_timestamp,
            now_ms,
        ) {
            self.roll(now_ms)?;
        }
        self.write(accepted, base_offset, leader_epoch)?;
        if let Some(stamp) = stamp {
            self.producers.remember(&stamp, last_offset);
        }
        self.end_offset = last_offset + 1;
        self.unflushed += i64::from(batch.last_offset_delta()) + 1;
        let sync = (self.unflushed >= self.settings.flush_messages).then(|| {
            self.unflushed = 0;
            self.active().file.clone()
        });
        Ok(Appended {
            base_offset,
            append_time: accepted.append_time,
            duplicate: false,
            sync,
        })
    }

    fn write(
        &mut self,
        accepted: &Accepted,
        base_offset: i64,
        leader_epoch: i32,
    ) -> io::Result<()> {
        let bytes = accepted.batch.bytes();
        // Base offset and leader epoch lie outside the CRC: the records stay where they are.
        let mut head = BytesMut::from(&bytes[..HEAD]);
        patch_base(&mut head, base_offset, leader_epoch);
        let placed = Placed {
            last_offset: base_offset + i64::from(accepted.batch.last_offset_delta()),
            max_timestamp: accepted.max_timestamp,
            max_timestamp_offset: base_offset + accepted.max_timestamp_delta,
        };
        if self.epochs.assign(leader_epoch, base_offset) {
            self.epochs.write(&*self.storage, &self.directory)?;
        }
        let interval = self.settings.index_interval;
        let parts = [head.freeze(), bytes.slice(HEAD..)];
        let segment = self
            .segments
            .last_mut()
            .expect("a log has an active segment");
        let before = segment.size;
        let result = segment.append(&parts, placed, interval);
        if result.is_err() && segment.file.len() != before {
            self.broken = true;
        }
        result
    }

    pub(super) fn active(&self) -> &Segment {
        self.segments.last().expect("a log has an active segment")
    }

    fn must_roll(&self, length: u64, last_offset: i64, timestamp: i64, now_ms: i64) -> bool {
        let active = self.active();
        let settings = &self.settings;
        active.size > 0
            && (active.size + length > settings.segment_bytes
                || active.age(timestamp, now_ms) > settings.segment_ms
                || active.index_bytes() + 8 > settings.segment_index_bytes
                || !active.fits(last_offset))
    }

    /// Closes the active segment and begins another.
    pub(super) fn roll(&mut self, now_ms: i64) -> io::Result<()> {
        let base_offset = self.end_offset;
        let active = self
            .segments
            .last_mut()
            .expect("a log has an active segment");
        active.seal()?;
        if self.settings.flush_messages < i64::MAX {
            active.sync()?;
        }
        self.write_snapshot()?;
        let next = Segment::open(&*self.storage, &self.directory, base_offset, now_ms)?;
        self.segments.push(next);
        Ok(())
    }

    /// Saves the producers' state as of the end of the log; snapshots before the last segment go.
    pub(super) fn write_snapshot(&self) -> io::Result<()> {
        let path = segment::path(&self.directory, self.end_offset, "snapshot");
        replace(&*self.storage, &path, self.producers.snapshot(), false)?;
        let oldest = self.active().base_offset;
        for name in self.storage.list(&self.directory)? {
            let offset = name
                .strip_suffix(".snapshot")
                .and_then(|offset| offset.parse::<i64>().ok());
            if offset.is_some_and(|offset| offset < oldest) {
                self.storage.remove(&format!("{}/{name}", self.directory))?;
            }
        }
        Ok(())
    }

    /// Where the batch that holds `offset` lies. `None` at the end of the log; the caller has checked
    /// that the offset is within the log.
    pub(crate) fn slice(&self, offset: i64) -> io::Result<Option<Slice>> {
        let from = self
            .segments
            .partition_point(|segment| segment.base_offset <= offset)
            .saturating_sub(1);
        // Compaction may have emptied the segment that the offset belongs to.
        for segment in &self.segments[from..] {
            if let Some((position, head)) = segment.find(offset)? {
                return Ok(Some(Slice {
                    file: segment.file.clone(),
                    position,
                    available: segment.size - position,
                    first: head.length,
                }));
            }
        }
        Ok(None)
    }

    /// Every record from the start of the log on, for tests.
    pub(crate) fn records(&self) -> io::Result<Vec<Record>> {
        let mut all = Vec::new();
        for segment in &self.segments {
            let mut walk = segment.walk();
            while let Some((position, head)) = walk.next()? {
                let batch = read_batch(&segment.file, position, head.length)?;
                for record in batch.records(DECOMPRESSED_MAX).map_err(damaged)? {
                    all.push(record.map_err(damaged)?);
                }
            }
        }
        all.retain(|record| record.offset >= self.start_offset);
        Ok(all)
    }

    /// The first record that is not older than `timestamp`.
    pub(crate) fn find_timestamp(&self, timestamp: i64) -> io::Result<Option<Found>> {
        for segment in self
            .segments
            .iter()
            .filter(|segment| segment.newest.0 >= timestamp)
        {
            let mut walk = segment.since(timestamp)?;
            while let Some((position, head)) = walk.next()? {
                if head.max_timestamp < timestamp || head.last_offset() < self.start_offset {
                    continue;
                }
                let batch = read_batch(&segment.file, position, head.length)?;
                let found = first_in(&batch, |offset, time| {
                    time >= timestamp && offset >= self.start_offset
                })?;
                if found.is_some() {
                    return Ok(found);
                }
            }
        }
        Ok(None)
    }

    /// The record with the newest time; the first of several.
    pub(crate) fn find_newest(&self) -> io::Result<Option<Found>> {
        let newest = self
            .segments
            .iter()
            .map(|segment| segment.newest.0)
            .max()
            .unwrap_or(-1);
        if newest < 0 {
            Ok(None)
        } else {
            self.find_timestamp(newest)
        }
    }

    /// Moves the start of the log; segments that lie before it go.
    pub(crate) fn delete_before(&mut self, offset: i64) -> io::Result<()> {
        if offset <= self.start_offset {
            return Ok(());
        }
        self.start_offset = offset;
        super::recovery::write_start_offset(&*self.storage, &self.directory, offset)?;
        self.drop_leading(|segments, at| segments[at + 1].base_offset <= offset)
    }

    /// Removes segments that `retention.ms` and `retention.bytes` no longer keep; returns how many.
    pub(crate) fn delete_old(&mut self, now_ms: i64) -> io::Result<usize> {
        if !self.settings.delete {
            return Ok(0);
        }
        let (retention_ms, retention_bytes) =
            (self.settings.retention_ms, self.settings.retention_bytes);
        let mut excess = match u64::try_from(retention_bytes) {
            Ok(bytes) => self.size().saturating_sub(bytes),
            Err(_) => 0,
        };
        let mut expired = 0;
        for segment in self.segments.iter().filter(|segment| segment.size > 0) {
            // A segment whose records carry no time is as old as its file.
            let newest = if segment.newest.0 >= 0 {
                segment.newest.0
            } else {
                segment.created_ms
            };
            let too_old = retention_ms >= 0 && now_ms.saturating_sub(newest) > retention_ms;
            let too_much = retention_bytes >= 0 && excess >= segment.size;
            if !too_old && !too_much {
                break;
            }
            excess = excess.saturating_sub(segment.size);
            expired += 1;
        }
        if expired == 0 {
            return Ok(0);
        }
        if expired == self.segments.len() {
            self.roll(now_ms)?;
        }
        self.start_offset = self.start_offset.max(self.segments[expired].base_offset);
        super::recovery::write_start_offset(&*self.storage, &self.directory, self.start_offset)?;
        self.drop_leading(|_, at| at < expired)?;
        Ok(expired)
    }

    /// Removes segments from the front while `gone` says so; never the active one.
    fn drop_leading(&mut self, gone: impl Fn(&[Segment], usize) -> bool) -> io::Result<()> {
        let last = self.segments.len() - 1;
        let count = (0..last).take_while(|at| gone(&self.segments, *at)).count();
        for segment in self.segments.drain(..count) {
            remove_segment(&*self.storage, &self.directory, segment.base_offset)?;
        }
        self.epochs.truncate_from_start(self.start_offset);
        self.epochs.write(&*self.storage, &self.directory)
    }

    /// Forgets idle producers.
    pub(crate) fn expire_producers(&mut self, oldest_ms: i64) {
        self.producers.expire(oldest_ms);
    }

    /// Writes what lets the next start skip the scan.
    pub(crate) fn close(&mut self) -> io::Result<()> {
        let active = self
            .segments
            .last_mut()
            .expect("a log has an active segment");
        active.seal()?;
        active.sync()?;
        self.epochs.write(&*self.storage, &self.directory)?;
        self.write_snapshot()
    }
}

pub(super) fn read_batch(
    file: &Arc<dyn StoredFile>,
    position: u64,
    length: u64,
) -> io::Result<RawBatch> {
    let bytes = file.read(position, usize::try_from(length).unwrap_or(usize::MAX))?;
    RawBatch::parse(bytes).map_err(damaged)
}

pub(super) fn damaged(error: ferrokafka_wire::DecodeError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// The first record of a batch that `wanted(offset, timestamp)` accepts.
fn first_in(batch: &RawBatch, wanted: impl Fn(i64, i64) -> bool) -> io::Result<Option<Found>> {
    for record in batch.records(DECOMPRESSED_MAX).map_err(damaged)? {
        let record = record.map_err(damaged)?;
        if wanted(record.offset, record.timestamp) {
            let leader_epoch = batch.leader_epoch();
            return Ok(Some(Found {
                offset: record.offset,
                timestamp: record.timestamp,
                leader_epoch,
            }));
        }
    }
    Ok(None)
}

/// Removes a segment's files. The indexes go first: a log without them is whole, not the reverse.
pub(super) fn remove_segment(
    storage: &dyn Storage,
    directory: &str,
    base_offset: i64,
) -> io::Result<()> {
    for extension in ["index", "timeindex", "log"] {
        storage.remove(&segment::path(directory, base_offset, extension))?;
    }
    Ok(())
}
