//! Opening a log that was written before, after a clean stop or a kill.
//!
//! A killed process leaves at most a torn batch at the end of the newest segment, because writes reach
//! the page cache in order. So after an unclean stop that segment is read whole, every CRC checked, and
//! cut off at the first bad batch; older segments are taken on their indexes' word where the last
//! entry fits the log, and are read whole where it does not.

use std::io;
use std::sync::Arc;

use bytes::Bytes;

use super::epochs::LeaderEpochs;
use super::log::{Log, LogSettings};
use super::producers::Producers;
use super::segment::{Segment, path};
use super::{Storage, read_all, replace};

/// Kafka keeps one such file for all partitions; here each has its own.
const START_OFFSET: &str = "log-start-offset-checkpoint";

pub(super) fn write_start_offset(
    storage: &dyn Storage,
    directory: &str,
    offset: i64,
) -> io::Result<()> {
    replace(
        storage,
        &format!("{directory}/{START_OFFSET}"),
        Bytes::from(format!("0\n{offset}\n")),
        false,
    )
}

fn read_start_offset(storage: &dyn Storage, directory: &str) -> io::Result<i64> {
    let content = read_all(storage, directory, START_OFFSET)?;
    let text = std::str::from_utf8(&content).unwrap_or_default();
    Ok(text
        .lines()
        .nth(1)
        .and_then(|offset| offset.parse().ok())
        .unwrap_or(0))
}

impl Log {
    /// Opens the log in `directory`, or begins one. `clean` says that the last stop was orderly.
    pub(crate) fn open(
        storage: Arc<dyn Storage>,
        directory: &str,
        settings: LogSettings,
        clean: bool,
        now_ms: i64,
    ) -> io::Result<Self> {
        let bases = segment_bases(&*storage, directory)?;
        let start_offset = read_start_offset(&*storage, directory)?;
        let mut segments: Vec<Segment> = Vec::with_capacity(bases.len().max(1));
        for (at, base_offset) in bases.iter().copied().enumerate() {
            let mut segment = Segment::open(&*storage, directory, base_offset, now_ms)?;
            let last = at + 1 == bases.len();
            let cut = segment.load(settings.index_interval, last && !clean)?;
            if cut > 0 {
                tracing::warn!(
                    directory,
                    base_offset,
                    cut,
                    "log cut off after its last whole batch"
                );
            }
            segments.push(segment);
        }
        if segments.is_empty() {
            segments.push(Segment::open(&*storage, directory, start_offset, now_ms)?);
        }
        let end_offset = segments
            .iter()
            .rev()
            .find_map(|segment| segment.last_offset.map(|last| last + 1));
        let last_base = segments.last().map_or(0, |segment| segment.base_offset);
        let end_offset = end_offset.unwrap_or(0).max(last_base).max(start_offset);
        let mut epochs = LeaderEpochs::read(&*storage, directory)?;
        epochs.truncate_from_end(end_offset);
        let mut log = Self {
            start_offset: start_offset.max(segments[0].base_offset),
            end_offset,
            producers: Producers::default(),
            cleaned_to: 0,
            unflushed: 0,
            broken: false,
            storage,
            directory: directory.to_owned(),
            segments,
            epochs,
            settings,
        };
        log.replay()?;
        Ok(log)
    }

    /// Rebuilds the producers' state from the newest good snapshot and the batches behind it, and
    /// notes leader epochs that the checkpoint missed.
    fn replay(&mut self) -> io::Result<()> {
        let mut snapshots: Vec<i64> = self
            .storage
            .list(&self.directory)?
            .iter()
            .filter_map(|name| name.strip_suffix(".snapshot")?.parse().ok())
            .collect();
        snapshots.sort_unstable_by(|a, b| b.cmp(a));
        let mut from = 0;
        for offset in snapshots {
            let name = format!("{offset:020}.snapshot");
            if offset > self.end_offset {
                // Of records that the crash took.
                self.storage.remove(&format!("{}/{name}", self.directory))?;
            } else if let Ok(producers) =
                Producers::from_snapshot(read_all(&*self.storage, &self.directory, &name)?)
            {
                self.producers = producers;
                from = offset;
                break;
            }
        }
        for segment in &self.segments {
            if segment.last_offset.is_none_or(|last| last < from) {
                continue;
            }
            let mut walk = segment.walk();
            while let Some((_, head)) = walk.next()? {
                self.epochs.assign(head.leader_epoch, head.base_offset);
                if head.base_offset >= from
                    && let Some(stamp) = head.stamp()
                {
                    self.producers.remember(&stamp, head.last_offset());
                }
            }
        }
        Ok(())
    }
}

/// Base offsets of the segments in a directory, in order; leftovers of interrupted work are removed.
fn segment_bases(storage: &dyn Storage, directory: &str) -> io::Result<Vec<i64>> {
    let mut bases = Vec::new();
    for name in storage.list(directory)? {
        if name.ends_with(".cleaned") || name.ends_with(".tmp") {
            storage.remove(&format!("{directory}/{name}"))?;
        } else if let Some(base) = name
            .strip_suffix(".log")
            .and_then(|base| base.parse::<i64>().ok())
            && path(directory, base, "log").ends_with(&name)
        {
            bases.push(base);
        }
    }
    bases.sort_unstable();
    Ok(bases)
}
