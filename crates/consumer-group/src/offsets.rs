//! Offsets as the application names them.

use std::collections::BTreeMap;

use ferrokafka_client::TopicPartition;

use crate::record::ConsumerRecord;

/// An offset to commit, or a committed one: that of the next record to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OffsetAndMetadata {
    /// The next record to read.
    pub offset: i64,
    /// The epoch of the leader that wrote the record before it, if known.
    pub leader_epoch: Option<i32>,
    /// Text kept beside the offset.
    pub metadata: String,
}

impl OffsetAndMetadata {
    /// The offset of the next record to read.
    #[must_use]
    pub fn new(offset: i64) -> Self {
        Self {
            offset,
            leader_epoch: None,
            metadata: String::new(),
        }
    }

    /// The position after `record`.
    #[must_use]
    pub fn after(record: &ConsumerRecord) -> Self {
        Self {
            leader_epoch: record.leader_epoch,
            ..Self::new(record.offset + 1)
        }
    }

    /// Keeps text beside the offset.
    #[must_use]
    pub fn with_metadata(mut self, metadata: impl Into<String>) -> Self {
        self.metadata = metadata.into();
        self
    }
}

/// What to commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommitOffsets {
    /// For every partition owned, the position after the last record that a `poll` returned.
    Consumed,
    /// These.
    Exact(BTreeMap<TopicPartition, OffsetAndMetadata>),
}

impl CommitOffsets {
    /// The position after `record`.
    #[must_use]
    pub fn after(record: &ConsumerRecord) -> Self {
        Self::Exact(BTreeMap::from([(
            record.topic_partition(),
            OffsetAndMetadata::after(record),
        )]))
    }
}

impl<const N: usize> From<[(TopicPartition, OffsetAndMetadata); N]> for CommitOffsets {
    fn from(offsets: [(TopicPartition, OffsetAndMetadata); N]) -> Self {
        Self::Exact(offsets.into())
    }
}

impl From<BTreeMap<TopicPartition, OffsetAndMetadata>> for CommitOffsets {
    fn from(offsets: BTreeMap<TopicPartition, OffsetAndMetadata>) -> Self {
        Self::Exact(offsets)
    }
}

/// Where to go on reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeekTo {
    /// At this offset.
    Offset(i64),
    /// At the first record that is still there.
    Beginning,
    /// After the last record.
    End,
}

impl From<i64> for SeekTo {
    fn from(offset: i64) -> Self {
        Self::Offset(offset)
    }
}
