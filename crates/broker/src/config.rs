//! Broker and topic configuration by Kafka's names.
//!
//! One row per key: field, Kafka's name, default, permitted range, doc. From the rows come parsing,
//! validation with Kafka's wording, DescribeConfigs and the nearest-match hint for unknown keys.

mod table;
pub mod topic;
mod value;

use std::collections::BTreeMap;

use table::config_table;
pub use table::{ConfigError, Row};
pub use topic::TopicConfig;
pub use value::{CleanupPolicy, CompressionType, ConfigKind, TimestampType};
use value::{any, at_least, between};

config_table! {
    /// Broker-wide settings. Times are milliseconds and sizes bytes unless the name says otherwise.
    pub struct BrokerConfig {
        /// Partitions of a topic that is created without a number.
        num_partitions: i32 = "num.partitions", 1, at_least(1);
        /// Replicas of a topic created without a number; unset means the smaller of 3 and the number of nodes.
        default_replication_factor: Option<i32> = "default.replication.factor", None, any;
        /// Whether asking for the metadata of an unknown topic creates it.
        auto_create_topics: bool = "auto.create.topics.enable", true, any;
        /// Whether topics can be deleted.
        delete_topic: bool = "delete.topic.enable", true, any;
        /// Smallest number of in-sync replicas for a write with `acks=all`.
        min_insync_replicas: i32 = "min.insync.replicas", 1, at_least(1);
        /// Largest request frame that is read; a larger one closes the connection.
        socket_request_max_bytes: i32 = "socket.request.max.bytes", 104_857_600, at_least(1);
        /// Connections idle for longer are closed.
        connections_max_idle_ms: i64 = "connections.max.idle.ms", 600_000, any;
        /// Most connections served at once by one node; further ones are closed at once.
        max_connections: i32 = "max.connections", i32::MAX, at_least(0);
        /// Largest answer to one Fetch.
        fetch_max_bytes: i32 = "fetch.max.bytes", 57_671_680, at_least(1024);
        /// Largest record batch.
        message_max_bytes: i32 = "message.max.bytes", 1_048_588, at_least(0);
        /// Codec of stored batches; `producer` keeps them as sent.
        compression_type: CompressionType = "compression.type", CompressionType::Producer, any;
        /// Where record timestamps come from.
        log_message_timestamp_type: TimestampType = "log.message.timestamp.type", TimestampType::CreateTime, any;
        /// How far a record's timestamp may lie before the broker's clock.
        log_message_timestamp_before_max_ms: i64 = "log.message.timestamp.before.max.ms", i64::MAX, at_least(0);
        /// How far a record's timestamp may lie after the broker's clock.
        log_message_timestamp_after_max_ms: i64 = "log.message.timestamp.after.max.ms", 3_600_000, at_least(0);
        /// Size at which a segment is closed.
        log_segment_bytes: i32 = "log.segment.bytes", 1_073_741_824, at_least(14);
        /// Age at which a segment is closed; unset means `log.roll.hours`.
        log_roll_ms: Option<i64> = "log.roll.ms", None, any;
        /// Age in hours at which a segment is closed.
        log_roll_hours: i32 = "log.roll.hours", 168, at_least(1);
        /// What happens to old segments.
        log_cleanup_policy: CleanupPolicy = "log.cleanup.policy", CleanupPolicy::DELETE, any;
        /// How long records are kept; unset means `log.retention.minutes`; -1 for ever.
        log_retention_ms: Option<i64> = "log.retention.ms", None, any;
        /// How many minutes records are kept; unset means `log.retention.hours`.
        log_retention_minutes: Option<i32> = "log.retention.minutes", None, any;
        /// How many hours records are kept.
        log_retention_hours: i32 = "log.retention.hours", 168, any;
        /// How many bytes a partition keeps; -1 for any number.
        log_retention_bytes: i64 = "log.retention.bytes", -1, any;
        /// How often retention is checked.
        log_retention_check_interval_ms: i64 = "log.retention.check.interval.ms", 300_000, at_least(1);
        /// Wait before the first retention check after the start.
        log_initial_task_delay_ms: i64 = "log.initial.task.delay.ms", 30_000, at_least(0);
        /// How long the files of a deleted segment stay.
        log_segment_delete_delay_ms: i64 = "log.segment.delete.delay.ms", 60_000, at_least(0);
        /// Bytes between two entries of an offset index.
        log_index_interval_bytes: i32 = "log.index.interval.bytes", 4096, at_least(0);
        /// Size at which an offset index closes its segment.
        log_index_size_max_bytes: i32 = "log.index.size.max.bytes", 10_485_760, at_least(4);
        /// Records after which a partition is forced to disk; the default leaves it to the page cache.
        log_flush_interval_messages: i64 = "log.flush.interval.messages", i64::MAX, at_least(1);
        /// Whether compaction runs.
        log_cleaner_enable: bool = "log.cleaner.enable", true, any;
        /// Wait between two looks for something to compact.
        log_cleaner_backoff_ms: i64 = "log.cleaner.backoff.ms", 15_000, at_least(0);
        /// Share of uncompacted bytes from which a log is compacted.
        log_cleaner_min_cleanable_ratio: f64 = "log.cleaner.min.cleanable.ratio", 0.5, between(0.0, 1.0);
        /// How long a tombstone stays readable after compaction.
        log_cleaner_delete_retention_ms: i64 = "log.cleaner.delete.retention.ms", 86_400_000, at_least(0);
        /// How long a record is safe from compaction.
        log_cleaner_min_compaction_lag_ms: i64 = "log.cleaner.min.compaction.lag.ms", 0, at_least(0);
        /// How long a record may stay uncompacted.
        log_cleaner_max_compaction_lag_ms: i64 = "log.cleaner.max.compaction.lag.ms", i64::MAX, at_least(1);
        /// How long an idle producer's sequence numbers are remembered.
        producer_id_expiration_ms: i32 = "producer.id.expiration.ms", 86_400_000, at_least(1);
        /// Wait for more members before the first rebalance of an empty group. Kafka's default is 3000.
        group_initial_rebalance_delay_ms: i32 = "group.initial.rebalance.delay.ms", 0, at_least(0);
        /// Smallest session timeout a group member may ask for.
        group_min_session_timeout_ms: i32 = "group.min.session.timeout.ms", 6_000, at_least(1);
        /// Largest session timeout a group member may ask for.
        group_max_session_timeout_ms: i32 = "group.max.session.timeout.ms", 1_800_000, at_least(1);
        /// Most members of one group.
        group_max_size: i32 = "group.max.size", i32::MAX, at_least(1);
        /// How long the offsets of an empty group are kept.
        offsets_retention_minutes: i32 = "offsets.retention.minutes", 10_080, at_least(1);
        /// How often expired offsets are looked for.
        offsets_retention_check_interval_ms: i64 = "offsets.retention.check.interval.ms", 600_000, at_least(1);
        /// Longest metadata string of a committed offset.
        offset_metadata_max_bytes: i32 = "offset.metadata.max.bytes", 4096, at_least(0);
        /// Rack of every node, as shown to clients.
        broker_rack: Option<String> = "broker.rack", None, any;
    }
}

impl BrokerConfig {
    /// Reads Kafka property names; later pairs win.
    ///
    /// # Errors
    /// An unknown key (with the nearest known one), an unreadable value, or one out of range.
    pub fn from_properties<'a>(
        properties: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, ConfigError> {
        let mut config = Self::default();
        for (key, value) in properties {
            config.set(key, value)?;
        }
        Ok(config)
    }

    /// What a topic without overrides gets from this broker.
    pub fn topic_defaults(&self) -> TopicConfig {
        TopicConfig {
            cleanup_policy: self.log_cleanup_policy,
            compression_type: self.compression_type,
            delete_retention_ms: self.log_cleaner_delete_retention_ms,
            flush_messages: self.log_flush_interval_messages,
            index_interval_bytes: self.log_index_interval_bytes,
            max_compaction_lag_ms: self.log_cleaner_max_compaction_lag_ms,
            max_message_bytes: self.message_max_bytes,
            message_timestamp_after_max_ms: self.log_message_timestamp_after_max_ms,
            message_timestamp_before_max_ms: self.log_message_timestamp_before_max_ms,
            message_timestamp_type: self.log_message_timestamp_type,
            min_cleanable_dirty_ratio: self.log_cleaner_min_cleanable_ratio,
            min_compaction_lag_ms: self.log_cleaner_min_compaction_lag_ms,
            min_insync_replicas: self.min_insync_replicas,
            retention_bytes: self.log_retention_bytes,
            retention_ms: self.retention_ms(),
            segment_bytes: self.log_segment_bytes,
            segment_index_bytes: self.log_index_size_max_bytes,
            segment_ms: self
                .log_roll_ms
                .unwrap_or(i64::from(self.log_roll_hours) * 3_600_000),
            ..TopicConfig::default()
        }
    }

    fn retention_ms(&self) -> i64 {
        let unlimited = |value: i64, unit: i64| if value < 0 { -1 } else { value * unit };
        match (self.log_retention_ms, self.log_retention_minutes) {
            (Some(ms), _) => unlimited(ms, 1),
            (None, Some(minutes)) => unlimited(i64::from(minutes), 60_000),
            (None, None) => unlimited(i64::from(self.log_retention_hours), 3_600_000),
        }
    }
}

/// A topic's own settings over the broker's, checked as a whole.
///
/// # Errors
/// The first key that is unknown or has an unacceptable value.
pub fn topic_config(
    broker: &BrokerConfig,
    overrides: &BTreeMap<String, String>,
) -> Result<TopicConfig, ConfigError> {
    let mut config = broker.topic_defaults();
    for (key, value) in overrides {
        config.set(key, value)?;
    }
    Ok(config)
}
