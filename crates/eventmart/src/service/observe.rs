//! What a member tells whoever watches it: demos, logs.

use ferrokafka::TopicPartition;
use tokio::time::Instant;

use crate::error::Error;
use crate::event::Event;

/// A record a member is done with.
#[derive(Clone, Debug)]
pub struct Handled {
    /// Which member, by the name the program gave it.
    pub member: String,
    /// Where the record lies.
    pub topic_partition: TopicPartition,
    /// Its offset.
    pub offset: i64,
    /// The event, if the record is one.
    pub event: Option<Event>,
    /// How often it was attempted.
    pub attempts: u32,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Processed; it led to that many events.
    Processed {
        /// How many.
        led_to: usize,
    },
    /// Given up and put aside in the dead-letter topic.
    DeadLettered {
        /// Why.
        error: String,
    },
}

/// A change of a member's assignment.
#[derive(Clone, Debug)]
pub struct Rebalance {
    /// Which member.
    pub member: String,
    /// What happened to the partitions.
    pub change: Change,
    /// Which.
    pub partitions: Vec<TopicPartition>,
    /// In which generation of the group.
    pub generation: i32,
    /// When.
    pub at: Instant,
}

/// What happened to partitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// They came.
    Assigned,
    /// They were given back, after what was processed had been committed.
    Revoked,
    /// They were taken away before anything could be committed.
    Lost,
}

/// Watches members. Called from their tasks: must not block.
pub trait Observer: Send + Sync + 'static {
    /// A record is done with. Not yet committed.
    fn handled(&self, handled: Handled) {
        let _ = handled;
    }

    /// The assignment changed.
    fn rebalanced(&self, rebalance: Rebalance) {
        let _ = rebalance;
    }

    /// A member ended with a failure: nobody does its work until another takes over.
    fn failed(&self, member: &str, error: &Error) {
        let _ = (member, error);
    }
}
