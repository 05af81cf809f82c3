//! Compaction: of every key the newest record stays.
//!
//! Only closed segments are rewritten. The dirty part is read to learn the newest offset of each key,
//! then every segment up to the end of the dirty part is rewritten without the records that have been
//! overtaken. Records keep their offsets and batches their sequence numbers; a batch that loses all of
//! its records stays as an empty one if it is its producer's last, because it holds the sequence.
//!
//! A tombstone hides older records at once but stays readable: the first pass that keeps it notes in
//! its batch when it may go (KIP-534), a pass after that time drops it.
//!
//! The rewriting happens outside the partition's lock. Only this code and retention take segments out
//! of a log, and what retention took meanwhile is noticed before the exchange.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use ferrokafka_wire::record::{RawBatch, Record};
use parking_lot::Mutex;

use super::batches::DECOMPRESSED_MAX;
use super::log::{Log, LogSettings, damaged, read_batch, remove_segment};
use super::segment::{Segment, Walk, path};
use super::{Storage, StoredFile};

/// A closed segment as seen at the start of a pass.
struct Closed {
    base_offset: i64,
    size: u64,
    file: Arc<dyn StoredFile>,
}

/// What a pass works on.
struct Plan {
    storage: Arc<dyn Storage>,
    directory: String,
    settings: LogSettings,
    start_offset: i64,
    segments: Vec<Closed>,
    /// Index of the first segment that has not been compacted.
    dirty: usize,
    /// First offset behind the segments.
    end: i64,
}

/// Compacts a log if it is time (or if `all`); true if anything changed.
pub(crate) fn compact(log: &Mutex<Log>, now_ms: i64, all: bool) -> io::Result<bool> {
    let Some(plan) = plan(&log.lock(), now_ms, all) else {
        return Ok(false);
    };
    let newest = newest_offsets(&plan)?;
    let mut rewritten = Vec::new();
    for closed in &plan.segments {
        let keep = Keep {
            newest: &newest,
            plan: &plan,
            now_ms,
            log,
        };
        if rewrite(closed, &keep)? {
            rewritten.push(closed.base_offset);
        }
    }
    let changed = !rewritten.is_empty();
    let mut log = log.lock();
    for base_offset in rewritten {
        log.exchange(base_offset, now_ms)?;
    }
    log.drop_empty()?;
    log.cleaned_to = log.cleaned_to.max(plan.end);
    Ok(changed)
}

impl Log {
    /// Puts the rewritten file of a closed segment in its place. The indexes go before the log is
    /// exchanged: without them a segment is read whole at the next start, with the old ones it would
    /// be read wrongly.
    fn exchange(&mut self, base_offset: i64, now_ms: i64) -> io::Result<()> {
        let file = |extension| path(&self.directory, base_offset, extension);
        let closed = &self.segments[..self.segments.len() - 1];
        let Some(at) = closed
            .iter()
            .position(|segment| segment.base_offset == base_offset)
        else {
            return self.storage.remove(&file("log.cleaned"));
        };
        self.storage.remove(&file("index"))?;
        self.storage.remove(&file("timeindex"))?;
        self.storage
            .rename(&file("log.cleaned"), &file("log"), true)?;
        let mut segment = Segment::open(&*self.storage, &self.directory, base_offset, now_ms)?;
        segment.load(self.settings.index_interval, false)?;
        segment.seal()?;
        self.segments[at] = segment;
        Ok(())
    }

    /// Removes closed segments that compaction has emptied. The first one stays: the log starts there.
    fn drop_empty(&mut self) -> io::Result<()> {
        let last = self.segments.len() - 1;
        let empty: Vec<i64> = self.segments[1.min(last)..last]
            .iter()
            .filter(|s| s.size == 0)
            .map(|s| s.base_offset)
            .collect();
        for base_offset in empty {
            remove_segment(&*self.storage, &self.directory, base_offset)?;
            self.segments
                .retain(|segment| segment.base_offset != base_offset);
        }
        Ok(())
    }
}

fn plan(log: &Log, now_ms: i64, all: bool) -> Option<Plan> {
    let settings = log.settings;
    if !settings.compact {
        return None;
    }
    let closed = &log.segments[..log.segments.len() - 1];
    // Records younger than the lag, and all behind them, are left alone.
    let young = |segment: &&Segment| {
        settings.min_compaction_lag_ms > 0
            && now_ms.saturating_sub(segment.newest.0.max(0)) < settings.min_compaction_lag_ms
    };
    let count = closed
        .iter()
        .position(|segment| young(&segment))
        .unwrap_or(closed.len());
    let closed = &closed[..count];
    let dirty = closed
        .iter()
        .position(|segment| segment.base_offset >= log.cleaned_to)
        .unwrap_or(count);
    if dirty == count {
        return None;
    }
    let bytes =
        |segments: &[Segment]| segments.iter().map(|segment| segment.size).sum::<u64>() as f64;
    let ratio = bytes(&closed[dirty..]) / bytes(closed).max(1.0);
    let overdue = closed[dirty..].iter().any(|segment| {
        now_ms.saturating_sub(segment.newest.0.max(0)) > settings.max_compaction_lag_ms
    });
    if !(all || overdue || ratio >= settings.min_dirty_ratio && ratio > 0.0) {
        return None;
    }
    Some(Plan {
        storage: log.storage.clone(),
        directory: log.directory.clone(),
        settings,
        start_offset: log.start_offset,
        end: log.segments[count].base_offset,
        dirty,
        segments: closed
            .iter()
            .map(|segment| Closed {
                base_offset: segment.base_offset,
                size: segment.size,
                file: segment.file.clone(),
            })
            .collect(),
    })
}

/// Newest offset of every key in the dirty part.
fn newest_offsets(plan: &Plan) -> io::Result<HashMap<Bytes, i64>> {
    let mut newest = HashMap::new();
    for closed in &plan.segments[plan.dirty..] {
        let mut walk = Walk::new(closed.file.clone(), 0, closed.size);
        while let Some((position, head)) = walk.next()? {
            let batch = read_batch(&closed.file, position, head.length)?;
            if batch.is_control() {
                continue;
            }
            for record in batch.records(DECOMPRESSED_MAX).map_err(damaged)? {
                let record = record.map_err(damaged)?;
                if let Some(key) = record.key {
                    // A copy: a slice would keep its whole batch in memory.
                    newest.insert(Bytes::copy_from_slice(&key), record.offset);
                }
            }
        }
    }
    Ok(newest)
}

/// Which records stay.
struct Keep<'a> {
    newest: &'a HashMap<Bytes, i64>,
    plan: &'a Plan,
    now_ms: i64,
    log: &'a Mutex<Log>,
}

impl Keep<'_> {
    fn record(&self, record: &Record, horizon: Option<i64>) -> bool {
        let Some(key) = &record.key else { return false };
        if record.offset < self.plan.start_offset
            || self
                .newest
                .get(key)
                .is_some_and(|newest| *newest > record.offset)
        {
            return false;
        }
        record.value.is_some() || horizon.is_none_or(|horizon| horizon > self.now_ms)
    }

    fn is_last_of_producer(&self, batch: &RawBatch) -> bool {
        batch.producer_id() >= 0
            && self
                .log
                .lock()
                .producers
                .is_last_of(batch.producer_id(), batch.last_offset())
    }
}

/// Writes what stays of a segment to a file of its own; false if all of it stays.
fn rewrite(closed: &Closed, keep: &Keep<'_>) -> io::Result<bool> {
    let storage = &*keep.plan.storage;
    let cleaned = path(&keep.plan.directory, closed.base_offset, "log.cleaned");
    storage.remove(&cleaned)?;
    let target = storage.open(&cleaned)?;
    let mut changed = false;
    let mut walk = Walk::new(closed.file.clone(), 0, closed.size);
    while let Some((position, head)) = walk.next()? {
        let batch = read_batch(&closed.file, position, head.length)?;
        match filter(&batch, keep)? {
            Filtered::Whole => target.append(&[batch.bytes().clone()])?,
            Filtered::Part(bytes) => {
                changed = true;
                target.append(&[bytes])?;
            }
            Filtered::Nothing => changed = true,
        }
    }
    if !changed {
        storage.remove(&cleaned)?;
        return Ok(false);
    }
    // What it replaces may have been on the device already.
    target.sync()?;
    Ok(true)
}

enum Filtered {
    Whole,
    Part(Bytes),
    Nothing,
}

fn filter(batch: &RawBatch, keep: &Keep<'_>) -> io::Result<Filtered> {
    if batch.is_control() {
        return Ok(Filtered::Whole);
    }
    let mut kept = Vec::with_capacity(batch.record_count());
    let mut tombstones = false;
    for record in batch.records(DECOMPRESSED_MAX).map_err(damaged)? {
        let record = record.map_err(damaged)?;
        if keep.record(&record, batch.delete_horizon()) {
            tombstones |= record.value.is_none();
            kept.push(record);
        }
    }
    if kept.is_empty() {
        let stays = keep.is_last_of_producer(batch);
        return Ok(match (stays, batch.record_count()) {
            (true, 0) => Filtered::Whole,
            (true, _) => Filtered::Part(fewer(batch, &[], None)?),
            (false, _) => Filtered::Nothing,
        });
    }
    // Only the first pass that keeps a tombstone says when it may go.
    let horizon = match batch.delete_horizon() {
        None if tombstones => Some(
            keep.now_ms
                .saturating_add(keep.plan.settings.delete_retention_ms),
        ),
        known => known,
    };
    if kept.len() == batch.record_count() && horizon == batch.delete_horizon() {
        return Ok(Filtered::Whole);
    }
    Ok(Filtered::Part(fewer(batch, &kept, horizon)?))
}

fn fewer(batch: &RawBatch, records: &[Record], horizon: Option<i64>) -> io::Result<Bytes> {
    batch
        .with_records(records, horizon)
        .map_err(io::Error::other)
}
