//! What `poll` hands out.

use std::sync::Arc;

use bytes::Bytes;
use ferrokafka_client::TopicPartition;
use ferrokafka_wire::record::{Header, Headers, TimestampType};

/// A record as it was read. Key, value and headers are slices of the network buffer or of the
/// decompressed batch: [`ConsumerRecord::detach`] one that is kept for long.
#[derive(Clone, Debug)]
pub struct ConsumerRecord {
    /// The topic's name.
    pub topic: Arc<str>,
    /// The partition's number.
    pub partition: i32,
    /// The record's place in its partition.
    pub offset: i64,
    /// The epoch of the leader that wrote it, if the broker tells.
    pub leader_epoch: Option<i32>,
    /// Milliseconds since 1970; what they mean is [`ConsumerRecord::timestamp_type`].
    pub timestamp: i64,
    /// Whether the producer or the broker set the timestamp.
    pub timestamp_type: TimestampType,
    /// The key.
    pub key: Option<Bytes>,
    /// The value; none is a tombstone in a compacted topic.
    pub value: Option<Bytes>,
    pub(crate) headers: Headers,
}

impl ConsumerRecord {
    /// The headers in the order in which they were written, repeated keys included.
    #[must_use]
    pub fn headers(&self) -> &Headers {
        &self.headers
    }

    /// The last header with this key.
    #[must_use]
    pub fn header(&self, key: &str) -> Option<Header> {
        self.headers.last(key)
    }

    /// The partition it was read from.
    #[must_use]
    pub fn topic_partition(&self) -> TopicPartition {
        TopicPartition::new(self.topic.clone(), self.partition)
    }

    /// A copy that does not keep the fetched batch in memory.
    #[must_use]
    pub fn detach(&self) -> Self {
        let copy = |bytes: &Option<Bytes>| bytes.as_deref().map(Bytes::copy_from_slice);
        Self {
            key: copy(&self.key),
            value: copy(&self.value),
            headers: self.headers.detach(),
            ..self.clone()
        }
    }
}

/// The records of one `poll`: those of a partition stand together, in order.
#[derive(Clone, Debug, Default)]
pub struct Records {
    list: Vec<ConsumerRecord>,
}

impl Records {
    pub(crate) fn new(list: Vec<ConsumerRecord>) -> Self {
        Self { list }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// All records.
    pub fn iter(&self) -> std::slice::Iter<'_, ConsumerRecord> {
        self.list.iter()
    }

    /// The records partition by partition; a slice is never empty.
    pub fn by_partition(&self) -> impl Iterator<Item = (TopicPartition, &[ConsumerRecord])> {
        self.list
            .chunk_by(|a, b| a.partition == b.partition && a.topic == b.topic)
            .filter_map(|run| Some((run.first()?.topic_partition(), run)))
    }
}

impl IntoIterator for Records {
    type Item = ConsumerRecord;
    type IntoIter = std::vec::IntoIter<ConsumerRecord>;

    fn into_iter(self) -> Self::IntoIter {
        self.list.into_iter()
    }
}

impl<'a> IntoIterator for &'a Records {
    type Item = &'a ConsumerRecord;
    type IntoIter = std::slice::Iter<'a, ConsumerRecord>;

    fn into_iter(self) -> Self::IntoIter {
        self.list.iter()
    }
}
