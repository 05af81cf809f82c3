//! What goes in and what comes back: [`ProducerRecord`] and [`RecordMetadata`].

use std::sync::Arc;

use bytes::Bytes;
use ferrokafka_client::TopicPartition;
use ferrokafka_wire::record::Header;

/// One record to send. Key, value and header values are [`Bytes`], so a clone copies no payload.
///
/// ```
/// use ferrokafka_producer::ProducerRecord;
///
/// let record = ProducerRecord::new("orders")
///     .key("customer-7")
///     .value(r#"{"total": 12}"#)
///     .header("source", "web");
/// assert_eq!(record.partition, None);
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ProducerRecord {
    /// Topic to write to. An `Arc<str>` that is kept and cloned saves one allocation a record.
    pub topic: Arc<str>,
    /// Partition to write to; `None` lets the partitioner choose.
    pub partition: Option<i32>,
    /// Key; `None` is Kafka's null key, which differs from an empty one.
    pub key: Option<Bytes>,
    /// Value; `None` is a tombstone on a compacted topic.
    pub value: Option<Bytes>,
    /// Headers, in order; a key may occur several times.
    pub headers: Vec<Header>,
    /// Create time in milliseconds since the epoch; `None` takes the clock at `send`.
    pub timestamp: Option<i64>,
}

impl ProducerRecord {
    /// A record without key and value.
    pub fn new(topic: impl Into<Arc<str>>) -> Self {
        Self {
            topic: topic.into(),
            partition: None,
            key: None,
            value: None,
            headers: Vec::new(),
            timestamp: None,
        }
    }

    /// Sets the key: records of one key go to one partition and keep their order there.
    #[must_use]
    pub fn key(mut self, key: impl Into<Bytes>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Sets the value.
    #[must_use]
    pub fn value(mut self, value: impl Into<Bytes>) -> Self {
        self.value = Some(value.into());
        self
    }

    /// Adds a header behind those already there.
    #[must_use]
    pub fn header(mut self, key: impl Into<String>, value: impl Into<Bytes>) -> Self {
        self.headers.push(Header {
            key: Bytes::from(key.into()),
            value: Some(value.into()),
        });
        self
    }

    /// Writes to this partition, whatever the partitioner would say.
    #[must_use]
    pub fn partition(mut self, partition: i32) -> Self {
        self.partition = Some(partition);
        self
    }

    /// Sets the create time, in milliseconds since the epoch.
    #[must_use]
    pub fn timestamp(mut self, timestamp_ms: i64) -> Self {
        self.timestamp = Some(timestamp_ms);
        self
    }
}

/// Where an acknowledged record stands in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecordMetadata {
    /// Topic and partition it was written to.
    pub topic_partition: TopicPartition,
    /// Its offset; -1 when the broker recognised a repeated batch but no longer knew its offset.
    pub offset: i64,
    /// Milliseconds since the epoch: the broker's append time where the topic asks for it
    /// (`message.timestamp.type=LogAppendTime`), else the create time.
    pub timestamp: i64,
}
