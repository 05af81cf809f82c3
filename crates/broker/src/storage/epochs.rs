//! Which leader epoch began where: Kafka's `leader-epoch-checkpoint`.

use std::fmt::Write as _;
use std::io;

use super::{Storage, read_all, replace};

const FILE: &str = "leader-epoch-checkpoint";

#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct LeaderEpochs {
    /// Epoch and first offset, both growing.
    entries: Vec<(i32, i64)>,
}

impl LeaderEpochs {
    pub(super) fn read(storage: &dyn Storage, directory: &str) -> io::Result<Self> {
        let content = read_all(storage, directory, FILE)?;
        let text = std::str::from_utf8(&content).unwrap_or_default();
        // Version, number of entries, then one entry a line.
        let entries = text.lines().skip(2).map_while(|line| {
            let (epoch, offset) = line.split_once(' ')?;
            Some((epoch.parse().ok()?, offset.parse().ok()?))
        });
        Ok(Self {
            entries: entries.collect(),
        })
    }

    pub(super) fn write(&self, storage: &dyn Storage, directory: &str) -> io::Result<()> {
        let mut text = format!("0\n{}\n", self.entries.len());
        for (epoch, offset) in &self.entries {
            // Writing to a string does not fail.
            let _ = writeln!(text, "{epoch} {offset}");
        }
        replace(storage, &format!("{directory}/{FILE}"), text.into(), false)
    }

    /// Notes that `epoch` appends at `offset`; true if that is new.
    pub(super) fn assign(&mut self, epoch: i32, offset: i64) -> bool {
        if epoch < 0 || self.entries.last().is_some_and(|last| epoch <= last.0) {
            return false;
        }
        // An epoch that wrote nothing is replaced by the one that did.
        self.entries.retain(|entry| entry.1 < offset);
        self.entries.push((epoch, offset));
        true
    }

    /// Forgets what lies before the log's start; the epoch that the start lies in begins there.
    pub(super) fn truncate_from_start(&mut self, log_start: i64) {
        let keep = self
            .entries
            .partition_point(|entry| entry.1 <= log_start)
            .saturating_sub(1);
        self.entries.drain(..keep);
        if let Some(first) = self.entries.first_mut() {
            first.1 = first.1.max(log_start);
        }
    }

    /// Forgets what lies at or behind the log's end.
    pub(super) fn truncate_from_end(&mut self, log_end: i64) {
        self.entries.retain(|entry| entry.1 < log_end);
    }

    /// Epoch of the record at `offset`.
    pub(crate) fn at(&self, offset: i64) -> Option<i32> {
        let after = self.entries.partition_point(|entry| entry.1 <= offset);
        after.checked_sub(1).map(|at| self.entries[at].0)
    }

    pub(crate) fn last(&self) -> Option<i32> {
        self.entries.last().map(|entry| entry.0)
    }

    /// The largest epoch that is at most `epoch`, and where it ended; KIP-320.
    pub(crate) fn end_of(&self, epoch: i32, log_end: i64) -> Option<(i32, i64)> {
        let last = self.last()?;
        if epoch > last || epoch < 0 {
            return None;
        }
        if epoch == last {
            return Some((epoch, log_end));
        }
        let after = self.entries.partition_point(|entry| entry.0 <= epoch);
        let end = self.entries[after].1;
        match after.checked_sub(1) {
            Some(at) => Some((self.entries[at].0, end)),
            // Older than anything kept.
            None => Some((epoch, end)),
        }
    }
}
