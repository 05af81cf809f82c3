//! The sparse indexes of a segment, in Kafka's formats and kept in memory as well.
//!
//! `.index`: relative offset (4 bytes), position (4 bytes), both big-endian; an entry names the last
//! offset of the batch that starts at the position. `.timeindex`: timestamp (8 bytes), relative offset
//! (4 bytes); every record up to and with that offset is at most that old.

use std::io;
use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::StoredFile;

#[derive(Debug)]
pub(super) struct OffsetIndex {
    file: Arc<dyn StoredFile>,
    entries: Vec<(u32, u32)>,
}

#[derive(Debug)]
pub(super) struct TimeIndex {
    file: Arc<dyn StoredFile>,
    entries: Vec<(i64, u32)>,
}

fn content(file: &dyn StoredFile) -> io::Result<Bytes> {
    file.read(0, usize::try_from(file.len()).unwrap_or(usize::MAX))
}

impl OffsetIndex {
    /// Reads an index; entries that go backwards (a torn or preallocated tail) and what follows them are cut off.
    pub(super) fn open(file: Arc<dyn StoredFile>) -> io::Result<Self> {
        let mut bytes = content(&*file)?;
        let mut entries: Vec<(u32, u32)> = Vec::with_capacity(bytes.len() / 8);
        while bytes.len() >= 8 {
            let entry = (bytes.get_u32(), bytes.get_u32());
            if entries
                .last()
                .is_some_and(|last| entry.0 <= last.0 || entry.1 <= last.1)
            {
                break;
            }
            entries.push(entry);
        }
        file.truncate(entries.len() as u64 * 8)?;
        Ok(Self { file, entries })
    }

    pub(super) fn clear(&mut self) -> io::Result<()> {
        self.entries.clear();
        self.file.truncate(0)
    }

    pub(super) fn push(&mut self, relative_offset: u32, position: u32) -> io::Result<()> {
        // Kafka's dump tool calls an index that does not grow corrupt.
        if self
            .entries
            .last()
            .is_some_and(|last| relative_offset <= last.0)
        {
            return Ok(());
        }
        self.entries.push((relative_offset, position));
        let mut entry = BytesMut::with_capacity(8);
        entry.put_u32(relative_offset);
        entry.put_u32(position);
        self.file.append(&[entry.freeze()])
    }

    /// Where to start reading for an offset: a position at or before it.
    pub(super) fn floor(&self, relative_offset: u32) -> u32 {
        let after = self
            .entries
            .partition_point(|entry| entry.0 <= relative_offset);
        after.checked_sub(1).map_or(0, |at| self.entries[at].1)
    }

    pub(super) fn bytes(&self) -> usize {
        self.entries.len() * 8
    }

    /// The last entry, to check against the log.
    pub(super) fn last(&self) -> Option<(u32, u32)> {
        self.entries.last().copied()
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }
}

impl TimeIndex {
    pub(super) fn open(file: Arc<dyn StoredFile>) -> io::Result<Self> {
        let mut bytes = content(&*file)?;
        let mut entries: Vec<(i64, u32)> = Vec::with_capacity(bytes.len() / 12);
        while bytes.len() >= 12 {
            let entry = (bytes.get_i64(), bytes.get_u32());
            if entries
                .last()
                .is_some_and(|last| entry.0 <= last.0 || entry.1 <= last.1)
            {
                break;
            }
            entries.push(entry);
        }
        file.truncate(entries.len() as u64 * 12)?;
        Ok(Self { file, entries })
    }

    pub(super) fn clear(&mut self) -> io::Result<()> {
        self.entries.clear();
        self.file.truncate(0)
    }

    /// Adds an entry unless its time is not after the last one's.
    pub(super) fn push(&mut self, timestamp: i64, relative_offset: u32) -> io::Result<()> {
        let grows = self
            .entries
            .last()
            .is_none_or(|last| timestamp > last.0 && relative_offset > last.1);
        if !grows || timestamp < 0 {
            return Ok(());
        }
        self.entries.push((timestamp, relative_offset));
        let mut entry = BytesMut::with_capacity(12);
        entry.put_i64(timestamp);
        entry.put_u32(relative_offset);
        self.file.append(&[entry.freeze()])
    }

    /// An offset before which every record is older than `timestamp`.
    pub(super) fn floor(&self, timestamp: i64) -> u32 {
        let after = self.entries.partition_point(|entry| entry.0 < timestamp);
        after.checked_sub(1).map_or(0, |at| self.entries[at].1)
    }

    /// The newest time and where it is.
    pub(super) fn last(&self) -> Option<(i64, u32)> {
        self.entries.last().copied()
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }
}
