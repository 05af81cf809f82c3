//! Committed offsets of one group.

use std::collections::BTreeMap;

use super::Name;

/// What one commit leaves behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CommittedOffset {
    pub(crate) offset: i64,
    /// -1 when the client does not know it.
    pub(crate) leader_epoch: i32,
    /// Free text of the client.
    pub(crate) metadata: Name,
    pub(crate) committed_ms: i64,
    /// From the retention time that OffsetCommit 2–4 may ask for.
    pub(crate) expires_ms: Option<i64>,
}

/// Committed offsets by topic and partition.
#[derive(Debug, Clone, Default)]
pub(crate) struct Offsets {
    topics: BTreeMap<Name, BTreeMap<i32, CommittedOffset>>,
}

impl Offsets {
    pub(crate) fn get(&self, topic: &str, partition: i32) -> Option<&CommittedOffset> {
        self.topics.get(topic)?.get(&partition)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Name, i32, &CommittedOffset)> {
        self.topics.iter().flat_map(|(topic, partitions)| {
            partitions
                .iter()
                .map(move |(partition, committed)| (topic, *partition, committed))
        })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.topics.is_empty()
    }

    pub(super) fn set(&mut self, topic: Name, partition: i32, committed: CommittedOffset) {
        self.topics
            .entry(topic)
            .or_default()
            .insert(partition, committed);
    }

    pub(super) fn remove(&mut self, topic: &str, partition: i32) -> bool {
        let Some(partitions) = self.topics.get_mut(topic) else {
            return false;
        };
        let removed = partitions.remove(&partition).is_some();
        if partitions.is_empty() {
            self.topics.remove(topic);
        }
        removed
    }

    /// Removes and names what `expired` says yes to.
    pub(super) fn take_expired(
        &mut self,
        expired: impl Fn(&Name, &CommittedOffset) -> bool,
    ) -> Vec<(Name, i32)> {
        let gone: Vec<(Name, i32)> = self
            .iter()
            .filter(|(topic, _, committed)| expired(topic, committed))
            .map(|(topic, partition, _)| (topic.clone(), partition))
            .collect();
        for (topic, partition) in &gone {
            self.remove(topic, *partition);
        }
        gone
    }

    pub(super) fn take_all(&mut self) -> Vec<(Name, i32)> {
        self.take_expired(|_, _| true)
    }
}
