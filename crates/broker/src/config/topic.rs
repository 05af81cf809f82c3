//! Topic settings by Kafka's names, with Kafka's defaults and limits.

use super::table::config_table;
use super::value::{CleanupPolicy, CompressionType, TimestampType, any, at_least, between};

config_table! {
    /// A topic's settings. Times are milliseconds and sizes bytes.
    pub struct TopicConfig {
        /// Whether old segments are deleted, compacted, or both.
        cleanup_policy: CleanupPolicy = "cleanup.policy", CleanupPolicy::DELETE, any;
        /// Codec of stored batches; `producer` keeps them as sent.
        compression_type: CompressionType = "compression.type", CompressionType::Producer, any;
        /// How long a tombstone stays readable after compaction.
        delete_retention_ms: i64 = "delete.retention.ms", 86_400_000, at_least(0);
        /// How long a deleted segment's files stay.
        file_delete_delay_ms: i64 = "file.delete.delay.ms", 60_000, at_least(0);
        /// Records after which the partition is forced to disk.
        flush_messages: i64 = "flush.messages", i64::MAX, at_least(1);
        /// Time after which the partition is forced to disk.
        flush_ms: i64 = "flush.ms", i64::MAX, at_least(0);
        /// Bytes between two entries of the offset index.
        index_interval_bytes: i32 = "index.interval.bytes", 4096, at_least(0);
        /// How long a record may stay uncompacted.
        max_compaction_lag_ms: i64 = "max.compaction.lag.ms", i64::MAX, at_least(1);
        /// Largest record batch.
        max_message_bytes: i32 = "max.message.bytes", 1_048_588, at_least(0);
        /// How far a record's timestamp may lie after the broker's clock.
        message_timestamp_after_max_ms: i64 = "message.timestamp.after.max.ms", 3_600_000, at_least(0);
        /// How far a record's timestamp may lie before the broker's clock.
        message_timestamp_before_max_ms: i64 = "message.timestamp.before.max.ms", i64::MAX, at_least(0);
        /// Where record timestamps come from.
        message_timestamp_type: TimestampType = "message.timestamp.type", TimestampType::CreateTime, any;
        /// Share of uncompacted bytes from which the log is compacted.
        min_cleanable_dirty_ratio: f64 = "min.cleanable.dirty.ratio", 0.5, between(0.0, 1.0);
        /// How long a record is safe from compaction.
        min_compaction_lag_ms: i64 = "min.compaction.lag.ms", 0, at_least(0);
        /// Smallest number of in-sync replicas for a write with `acks=all`.
        min_insync_replicas: i32 = "min.insync.replicas", 1, at_least(1);
        /// Whether a new segment's file is allocated ahead; accepted, has no effect here.
        preallocate: bool = "preallocate", false, any;
        /// How many bytes a partition keeps; -1 for any number.
        retention_bytes: i64 = "retention.bytes", -1, any;
        /// How long records are kept; -1 for ever.
        retention_ms: i64 = "retention.ms", 604_800_000, at_least(-1);
        /// Size at which a segment is closed.
        segment_bytes: i32 = "segment.bytes", 1_073_741_824, at_least(14);
        /// Size at which an offset index closes its segment.
        segment_index_bytes: i32 = "segment.index.bytes", 10_485_760, at_least(4);
        /// Spread of `segment.ms`, so that partitions do not roll together.
        segment_jitter_ms: i64 = "segment.jitter.ms", 0, at_least(0);
        /// Age at which a segment is closed.
        segment_ms: i64 = "segment.ms", 604_800_000, at_least(1);
        /// Whether a replica that is behind may lead; accepted, has no effect with one copy of the log.
        unclean_leader_election_enable: bool = "unclean.leader.election.enable", false, any;
    }
}

/// The broker settings behind a topic setting, nearest first, as DescribeConfigs lists synonyms.
pub fn broker_synonyms(key: &str) -> &'static [&'static str] {
    match key {
        "cleanup.policy" => &["log.cleanup.policy"],
        "compression.type" => &["compression.type"],
        "delete.retention.ms" => &["log.cleaner.delete.retention.ms"],
        "file.delete.delay.ms" => &["log.segment.delete.delay.ms"],
        "flush.messages" => &["log.flush.interval.messages"],
        "index.interval.bytes" => &["log.index.interval.bytes"],
        "max.compaction.lag.ms" => &["log.cleaner.max.compaction.lag.ms"],
        "max.message.bytes" => &["message.max.bytes"],
        "message.timestamp.after.max.ms" => &["log.message.timestamp.after.max.ms"],
        "message.timestamp.before.max.ms" => &["log.message.timestamp.before.max.ms"],
        "message.timestamp.type" => &["log.message.timestamp.type"],
        "min.cleanable.dirty.ratio" => &["log.cleaner.min.cleanable.ratio"],
        "min.compaction.lag.ms" => &["log.cleaner.min.compaction.lag.ms"],
        "min.insync.replicas" => &["min.insync.replicas"],
        "retention.bytes" => &["log.retention.bytes"],
        "retention.ms" => &[
            "log.retention.ms",
            "log.retention.minutes",
            "log.retention.hours",
        ],
        "segment.bytes" => &["log.segment.bytes"],
        "segment.index.bytes" => &["log.index.size.max.bytes"],
        "segment.ms" => &["log.roll.ms", "log.roll.hours"],
        _ => &[],
    }
}
