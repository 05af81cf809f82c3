//! One segment: a `.log` file of batches and its two indexes.

use std::io;
use std::sync::Arc;

use bytes::{Buf, Bytes};

use super::index::{OffsetIndex, TimeIndex};
use super::producers::Stamp;
use super::{Storage, StoredFile};

/// Bytes of a batch's head.
pub(super) const HEAD: usize = 61;
/// Bytes read at once while walking over heads.
const WINDOW: usize = 16 * 1024;

/// The head of a stored batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) base_offset: i64,
    /// The whole batch, head included.
    pub(super) length: u64,
    pub(super) leader_epoch: i32,
    pub(super) attributes: i16,
    pub(super) last_offset_delta: i32,
    pub(super) max_timestamp: i64,
    pub(super) producer_id: i64,
    pub(super) producer_epoch: i16,
    pub(super) base_sequence: i32,
}

impl Head {
    fn parse(mut bytes: &[u8]) -> Option<Self> {
        if bytes.len() < HEAD {
            return None;
        }
        let base_offset = bytes.get_i64();
        let length = bytes.get_i32();
        let leader_epoch = bytes.get_i32();
        let magic = bytes.get_i8();
        let _crc = bytes.get_u32();
        let attributes = bytes.get_i16();
        let last_offset_delta = bytes.get_i32();
        let _base_timestamp = bytes.get_i64();
        let max_timestamp = bytes.get_i64();
        let head = Self {
            base_offset,
            length: u64::try_from(length).ok()? + 12,
            leader_epoch,
            attributes,
            last_offset_delta,
            max_timestamp,
            producer_id: bytes.get_i64(),
            producer_epoch: bytes.get_i16(),
            base_sequence: bytes.get_i32(),
        };
        let plausible =
            magic == 2 && head.length >= HEAD as u64 && base_offset >= 0 && last_offset_delta >= 0;
        plausible.then_some(head)
    }

    pub(super) fn last_offset(&self) -> i64 {
        self.base_offset + i64::from(self.last_offset_delta)
    }

    pub(super) fn stamp(&self) -> Option<Stamp> {
        let control = self.attributes & 0x20 != 0;
        (self.producer_id >= 0 && self.base_sequence >= 0 && !control).then_some(Stamp {
            producer_id: self.producer_id,
            epoch: self.producer_epoch,
            base_sequence: self.base_sequence,
            last_delta: self.last_offset_delta,
            timestamp: self.max_timestamp,
        })
    }
}

/// Walks over the heads of a stretch of log.
pub(super) struct Walk {
    file: Arc<dyn StoredFile>,
    position: u64,
    end: u64,
    window: Bytes,
    window_start: u64,
}

impl Walk {
    pub(super) fn new(file: Arc<dyn StoredFile>, position: u64, end: u64) -> Self {
        Self {
            file,
            position,
            end,
            window: Bytes::new(),
            window_start: position,
        }
    }

    /// The next head and its position. `None` at the end, and where no whole batch follows.
    pub(super) fn next(&mut self) -> io::Result<Option<(u64, Head)>> {
        let position = self.position;
        if position + HEAD as u64 > self.end {
            return Ok(None);
        }
        let inside = position
            .checked_sub(self.window_start)
            .and_then(|at| usize::try_from(at).ok());
        let head = match inside.and_then(|at| self.window.get(at..at + HEAD)) {
            Some(bytes) => Head::parse(bytes),
            None => {
                self.window = self.file.read(position, WINDOW)?;
                self.window_start = position;
                Head::parse(&self.window)
            }
        };
        let Some(head) = head.filter(|head| position + head.length <= self.end) else {
            return Ok(None);
        };
        self.position += head.length;
        Ok(Some((position, head)))
    }
}

/// What the log needs to know of a batch to index it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Placed {
    pub(super) last_offset: i64,
    pub(super) max_timestamp: i64,
    pub(super) max_timestamp_offset: i64,
}

#[derive(Debug)]
pub(super) struct Segment {
    pub(super) base_offset: i64,
    pub(super) file: Arc<dyn StoredFile>,
    index: OffsetIndex,
    times: TimeIndex,
    /// Bytes of batches that are whole; the file may be longer only during an append.
    pub(super) size: u64,
    /// Last offset of the last batch, if there is one.
    pub(super) last_offset: Option<i64>,
    /// Newest record time, and the offset of that record (or of its batch's last one, after a restart).
    pub(super) newest: (i64, i64),
    /// Newest time of the first batch: what `segment.ms` counts from.
    first_timestamp: Option<i64>,
    pub(super) created_ms: i64,
    unindexed: u64,
}

/// Path of one of a segment's files.
pub(super) fn path(directory: &str, base_offset: i64, extension: &str) -> String {
    format!("{directory}/{base_offset:020}.{extension}")
}

impl Segment {
    /// Opens a segment's files, or makes them. What is in the `.log` is not looked at: see
    /// [`load`](Self::load).
    pub(super) fn open(
        storage: &dyn Storage,
        directory: &str,
        base_offset: i64,
        now_ms: i64,
    ) -> io::Result<Self> {
        let open = |extension| storage.open(&path(directory, base_offset, extension));
        Ok(Self {
            base_offset,
            file: open("log")?,
            index: OffsetIndex::open(open("index")?)?,
            times: TimeIndex::open(open("timeindex")?)?,
            size: 0,
            last_offset: None,
            newest: (-1, base_offset),
            first_timestamp: None,
            created_ms: now_ms,
            unindexed: 0,
        })
    }

    fn relative(&self, offset: i64) -> u32 {
        u32::try_from(offset - self.base_offset).unwrap_or(u32::MAX)
    }

    /// Whether a batch ending at `last_offset` can be indexed here.
    pub(super) fn fits(&self, last_offset: i64) -> bool {
        i32::try_from(last_offset - self.base_offset).is_ok()
    }

    pub(super) fn index_bytes(&self) -> usize {
        self.index.bytes()
    }

    /// How long the first batch has been waiting for company, by `segment.ms`'s reckoning.
    pub(super) fn age(&self, timestamp: i64, now_ms: i64) -> i64 {
        match self.first_timestamp.filter(|first| *first >= 0) {
            Some(first) if timestamp >= 0 => timestamp - first,
            _ => now_ms - self.created_ms,
        }
    }

    /// Appends one batch.
    pub(super) fn append(
        &mut self,
        parts: &[Bytes],
        placed: Placed,
        index_interval: u64,
    ) -> io::Result<()> {
        let length: u64 = parts.iter().map(|part| part.len() as u64).sum();
        if let Err(error) = self.file.append(parts) {
            // Part of the batch may have been written: nothing may follow it.
            self.file.truncate(self.size)?;
            return Err(error);
        }
        self.note(placed, length, index_interval)
    }

    /// Counts a batch that lies at the end of the log, and indexes it if it is time.
    pub(super) fn note(
        &mut self,
        placed: Placed,
        length: u64,
        index_interval: u64,
    ) -> io::Result<()> {
        if placed.max_timestamp > self.newest.0 {
            self.newest = (placed.max_timestamp, placed.max_timestamp_offset);
        }
        self.first_timestamp.get_or_insert(placed.max_timestamp);
        if self.unindexed > index_interval {
            let position = u32::try_from(self.size).unwrap_or(u32::MAX);
            self.index
                .push(self.relative(placed.last_offset), position)?;
            self.times
                .push(self.newest.0, self.relative(self.newest.1))?;
            self.unindexed = 0;
        }
        self.unindexed += length;
        self.size += length;
        self.last_offset = Some(placed.last_offset);
        Ok(())
    }

    /// Closes the segment for appends: the time index gets its last entry.
    pub(super) fn seal(&mut self) -> io::Result<()> {
        self.times.push(self.newest.0, self.relative(self.newest.1))
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync()?;
        self.index.sync()?;
        self.times.sync()
    }

    /// Finds the batch that holds `offset`, or the first one behind it.
    pub(super) fn find(&self, offset: i64) -> io::Result<Option<(u64, Head)>> {
        let from = self
            .index
            .floor(self.relative(offset.max(self.base_offset)));
        let mut walk = Walk::new(self.file.clone(), u64::from(from), self.size);
        while let Some((position, head)) = walk.next()? {
            if head.last_offset() >= offset {
                return Ok(Some((position, head)));
            }
        }
        Ok(None)
    }

    /// The batches that may hold a record of `timestamp` or later, oldest first.
    pub(super) fn since(&self, timestamp: i64) -> io::Result<Walk> {
        let offset = self.base_offset + i64::from(self.times.floor(timestamp));
        let position = self
            .find(offset)?
            .map_or(self.size, |(position, _)| position);
        Ok(Walk::new(self.file.clone(), position, self.size))
    }

    pub(super) fn walk(&self) -> Walk {
        Walk::new(self.file.clone(), 0, self.size)
    }

    /// Takes stock of a segment that was written before, trusting its indexes if they fit the log.
    /// With `verify`, reads every batch instead, checks its CRC and cuts off the first bad one and all
    /// that follows. Returns how many bytes were cut off.
    pub(super) fn load(&mut self, index_interval: u64, verify: bool) -> io::Result<u64> {
        let length = self.file.len();
        let trusted = if verify { None } else { self.trusted_tail()? };
        match trusted {
            Some((position, newest)) => {
                self.size = position;
                self.newest = newest;
                let mut first = Walk::new(self.file.clone(), 0, length);
                self.first_timestamp = first.next()?.map(|(_, head)| head.max_timestamp);
            }
            None => {
                self.index.clear()?;
                self.times.clear()?;
                self.size = 0;
            }
        }
        let mut walk = Walk::new(self.file.clone(), self.size, length);
        let mut previous = self.base_offset - 1;
        while let Some((position, head)) = walk.next()? {
            if head.base_offset <= previous && self.last_offset.is_some()
                || head.base_offset < self.base_offset
            {
                break;
            }
            if verify && !self.is_intact(position, &head)? {
                break;
            }
            previous = head.last_offset();
            let placed = Placed {
                last_offset: head.last_offset(),
                max_timestamp: head.max_timestamp,
                // Which record has it is not worth decompressing for: this one is not older.
                max_timestamp_offset: head.last_offset(),
            };
            self.note(placed, head.length, index_interval)?;
        }
        let cut = length - self.size;
        self.file.truncate(self.size)?;
        Ok(cut)
    }

    /// Where the last index entry points, if the log has that batch there.
    fn trusted_tail(&self) -> io::Result<Option<(u64, (i64, i64))>> {
        let Some((relative, position)) = self.index.last() else {
            return Ok(None);
        };
        let position = u64::from(position);
        let mut walk = Walk::new(self.file.clone(), position, self.file.len());
        let fits = walk
            .next()?
            .is_some_and(|(_, head)| self.relative(head.last_offset()) == relative);
        let newest = self
            .times
            .last()
            .map_or((-1, self.base_offset), |(timestamp, relative)| {
                (timestamp, self.base_offset + i64::from(relative))
            });
        Ok(fits.then_some((position, newest)))
    }

    fn is_intact(&self, position: u64, head: &Head) -> io::Result<bool> {
        let length = usize::try_from(head.length).unwrap_or(usize::MAX);
        let bytes = self.file.read(position, length)?;
        let batch = ferrokafka_wire::record::RawBatch::parse(bytes);
        Ok(batch.is_ok_and(|batch| batch.verify_crc().is_ok()))
    }
}
