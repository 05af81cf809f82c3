//! What happened to the membership, for those who watch: demos, metrics, tests.

use std::sync::Arc;
use std::time::SystemTime;

use ferrokafka_client::TopicPartition;
use tokio::sync::broadcast;
use tokio::time::Instant;

/// Events kept for a watcher that is slow; older ones are dropped for it.
pub(crate) const EVENTS_KEPT: usize = 1024;

/// Something happened to the membership.
#[derive(Clone, Debug)]
pub struct GroupEvent {
    /// When, by the clock on the wall.
    pub at: SystemTime,
    /// When, for measuring.
    pub instant: Instant,
    /// What.
    pub kind: GroupEventKind,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GroupEventKind {
    /// A JoinGroup went out: a rebalance begins for this member.
    Joining {
        /// Why, as the coordinator is told.
        reason: &'static str,
    },
    /// The member belongs to a new generation.
    Joined {
        /// The generation.
        generation: i32,
        /// The member's id.
        member_id: Arc<str>,
    },
    /// The member got these partitions in addition to what it kept. Sent before `assigned` runs.
    Assigned {
        /// The generation.
        generation: i32,
        /// The new ones, which may be none.
        partitions: Vec<TopicPartition>,
    },
    /// The member gave these partitions back, in time to commit. Sent when `revoked` has run.
    Revoked {
        /// The generation in which it had them.
        generation: i32,
        /// Those given back.
        partitions: Vec<TopicPartition>,
    },
    /// These partitions belong to somebody else already. Sent when `lost` has run.
    Lost {
        /// The generation in which the member had them.
        generation: i32,
        /// Those lost.
        partitions: Vec<TopicPartition>,
    },
    /// Offsets were committed.
    Committed {
        /// How many partitions.
        partitions: usize,
    },
    /// The member left the group.
    Left,
}

impl GroupEvent {
    pub(crate) fn now(kind: GroupEventKind) -> Self {
        Self {
            at: SystemTime::now(),
            instant: Instant::now(),
            kind,
        }
    }
}

/// A watcher's end of the events.
#[derive(Debug)]
pub struct GroupEvents {
    pub(crate) receiver: broadcast::Receiver<GroupEvent>,
}

impl GroupEvents {
    /// The next event; none once the consumer is gone. A watcher that is more than a thousand events
    /// behind misses the oldest.
    ///
    /// # Cancellation
    /// Nothing is lost.
    pub async fn next(&mut self) -> Option<GroupEvent> {
        loop {
            match self.receiver.recv().await {
                Ok(event) => return Some(event),
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }

    /// The next event, if there is one by now.
    pub fn try_next(&mut self) -> Option<GroupEvent> {
        loop {
            match self.receiver.try_recv() {
                Ok(event) => return Some(event),
                Err(broadcast::error::TryRecvError::Lagged(_)) => {}
                Err(_) => return None,
            }
        }
    }
}
