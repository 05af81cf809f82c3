//! Watches the members of one group and lets a demo wait for what it wants to see.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ferrokafka::TopicPartition;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use crate::error::{Error, ErrorKind, Result};
use crate::service::{Change, Handled, Observer, Outcome, Rebalance};

/// The longest that a demo waits for anything.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// What has been seen of a group so far.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Every record done with, in the order in which members finished them.
    pub(super) handled: Vec<Handled>,
    /// Every change of an assignment.
    pub(super) rebalances: Vec<Rebalance>,
    /// Members that ended with a failure, and which.
    pub(super) failures: Vec<String>,
    /// Who has what now.
    pub(super) owned: BTreeMap<String, BTreeSet<TopicPartition>>,
}

impl Seen {
    /// Whether exactly these members share the partitions, each with at least one.
    pub(super) fn is_shared_by(&self, members: &[&str], partitions: usize) -> bool {
        let owned: usize = self.owned.values().map(BTreeSet::len).sum();
        let distinct: BTreeSet<_> = self.owned.values().flatten().collect();
        owned == partitions
            && distinct.len() == partitions
            && self
                .owned
                .iter()
                .all(|(member, owned)| owned.is_empty() || members.contains(&member.as_str()))
            && members.iter().all(|member| {
                self.owned
                    .get(*member)
                    .is_some_and(|owned| !owned.is_empty())
            })
    }

    /// Records handled more than once are counted once.
    pub(super) fn distinct(&self) -> usize {
        self.handled
            .iter()
            .map(place)
            .collect::<BTreeSet<_>>()
            .len()
    }

    /// Records handled again after another member, or the same, had handled them.
    pub(super) fn redelivered(&self) -> usize {
        self.handled.len() - self.distinct()
    }

    /// Records put aside.
    pub(super) fn dead_lettered(&self) -> usize {
        self.handled
            .iter()
            .filter(|handled| matches!(handled.outcome, Outcome::DeadLettered { .. }))
            .count()
    }

    /// Events that were written because of what was read.
    pub(super) fn led_to(&self) -> usize {
        let led = self.handled.iter().map(|handled| match handled.outcome {
            Outcome::Processed { led_to } => led_to,
            Outcome::DeadLettered { .. } => 0,
        });
        led.sum()
    }

    /// How many records were handled for the first time after a later one of the same key.
    pub(super) fn out_of_order(&self) -> usize {
        let mut newest: BTreeMap<(&TopicPartition, &str), i64> = BTreeMap::new();
        let mut first_time: BTreeSet<(&TopicPartition, i64)> = BTreeSet::new();
        let mut violations = 0;
        for handled in &self.handled {
            if !first_time.insert(place(handled)) {
                continue;
            }
            let Some(event) = &handled.event else {
                continue;
            };
            let last = newest
                .entry((&handled.topic_partition, event.key()))
                .or_insert(-1);
            if handled.offset < *last {
                violations += 1;
            }
            *last = (*last).max(handled.offset);
        }
        violations
    }
}

fn place(handled: &Handled) -> (&TopicPartition, i64) {
    (&handled.topic_partition, handled.offset)
}

/// The watcher of a group.
#[derive(Debug)]
pub(super) struct Watch {
    seen: Mutex<Seen>,
    changes: watch::Sender<u64>,
}

impl Default for Watch {
    fn default() -> Self {
        Self {
            seen: Mutex::default(),
            changes: watch::channel(0).0,
        }
    }
}

impl Watch {
    pub(super) fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Looks at what has been seen.
    pub(super) fn look<T>(&self, question: impl FnOnce(&Seen) -> T) -> T {
        question(&self.seen.lock())
    }

    /// How many records were handled.
    pub(super) fn handled(&self) -> usize {
        self.look(|seen| seen.handled.len())
    }

    /// A member vanished: what it had is nobody's until it is assigned anew.
    pub(super) fn forget(&self, member: &str) {
        self.seen.lock().owned.remove(member);
        self.changed();
    }

    /// Waits until `question` is answered with something.
    pub(super) async fn wait<T>(
        &self,
        what: &str,
        question: impl Fn(&Seen) -> Option<T>,
    ) -> Result<T> {
        let deadline = Instant::now() + PATIENCE;
        let mut changes = self.changes.subscribe();
        loop {
            changes.borrow_and_update();
            if let Some(answer) = self.look(&question) {
                return Ok(answer);
            }
            if let Some(failure) = self.look(|seen| seen.failures.first().cloned()) {
                return Err(
                    Error::new(ErrorKind::Broker, format!("{what}: a member failed"))
                        .because(failure),
                );
            }
            let late = || {
                let seen = self.look(|seen| {
                    let owned: Vec<_> = seen
                        .owned
                        .iter()
                        .map(|(member, owned)| format!("{member}: {}", owned.len()))
                        .collect();
                    format!(
                        "{} records handled; partitions {}",
                        seen.handled.len(),
                        owned.join(", ")
                    )
                });
                Error::timeout(format!("{what}: not within {} s", PATIENCE.as_secs())).because(seen)
            };
            timeout_at(deadline, changes.changed())
                .await
                .map_err(|_| late())?
                .map_err(|_| late())?;
        }
    }

    fn changed(&self) {
        self.changes.send_modify(|count| *count += 1);
    }
}

impl Observer for Watch {
    fn handled(&self, handled: Handled) {
        self.seen.lock().handled.push(handled);
        self.changed();
    }

    fn rebalanced(&self, rebalance: Rebalance) {
        {
            let mut seen = self.seen.lock();
            let owned = seen.owned.entry(rebalance.member.clone()).or_default();
            match rebalance.change {
                Change::Assigned => owned.extend(rebalance.partitions.iter().cloned()),
                Change::Revoked | Change::Lost => {
                    owned.retain(|partition| !rebalance.partitions.contains(partition))
                }
            }
            seen.rebalances.push(rebalance);
        }
        self.changed();
    }

    fn failed(&self, member: &str, error: &Error) {
        let failure = format!("{member}: {error}: {}", error.why());
        self.seen.lock().failures.push(failure);
        self.changed();
    }
}
