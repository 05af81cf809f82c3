//! The consumer's settings: one table row per key, and a typed builder.

use std::sync::Arc;
use std::time::Duration;

use ferrokafka_client::config::{ConfigRow, ConfigTable, parse_bool, parse_duration_ms, parse_int};
use ferrokafka_client::{Error, ErrorKind};

use crate::assignor::{Assignor, RebalanceProtocol, common_protocol};

/// Where to start in a partition that has no committed offset, or one that is out of range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OffsetReset {
    /// At the first record that is still there.
    Earliest,
    /// After the last record; what was written before is skipped.
    Latest,
    /// Nowhere: `poll` fails and names the partition.
    None,
}

/// Which records of transactions are handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IsolationLevel {
    /// All, also those of open and aborted transactions.
    ReadUncommitted,
    /// Only those outside transactions and of committed ones.
    ReadCommitted,
}

/// The settings of a consumer.
///
/// ```
/// use ferrokafka_consumer_group::{Assignor, ConsumerConfig, OffsetReset};
///
/// let config = ConsumerConfig::new("billing")
///     .auto_offset_reset(OffsetReset::Earliest)
///     .enable_auto_commit(false)
///     .assignors(vec![Assignor::CooperativeSticky]);
/// # let _ = config;
/// ```
#[derive(Clone, Debug)]
pub struct ConsumerConfig {
    pub(crate) group_id: Option<Arc<str>>,
    pub(crate) group_instance_id: Option<Arc<str>>,
    pub(crate) auto_offset_reset: OffsetReset,
    pub(crate) enable_auto_commit: bool,
    pub(crate) auto_commit_interval: Duration,
    pub(crate) session_timeout: Duration,
    pub(crate) heartbeat_interval: Duration,
    pub(crate) max_poll_interval: Duration,
    pub(crate) max_poll_records: usize,
    pub(crate) fetch_max_wait: Duration,
    pub(crate) fetch_min_bytes: i32,
    pub(crate) fetch_max_bytes: i32,
    pub(crate) max_partition_fetch_bytes: i32,
    pub(crate) isolation_level: IsolationLevel,
    pub(crate) assignors: Vec<Assignor>,
    pub(crate) client_rack: Option<Arc<str>>,
    pub(crate) check_crcs: bool,
}

impl ConsumerConfig {
    /// A member of the group `group_id`, everything else at its default.
    pub fn new(group_id: impl Into<Arc<str>>) -> Self {
        Self {
            group_id: Some(group_id.into()),
            enable_auto_commit: true,
            ..Self::without_group()
        }
    }

    /// A consumer of assigned partitions which belongs to no group and commits nothing.
    #[must_use]
    pub fn without_group() -> Self {
        Self {
            group_id: None,
            group_instance_id: None,
            auto_offset_reset: OffsetReset::Latest,
            enable_auto_commit: false,
            auto_commit_interval: Duration::from_secs(5),
            session_timeout: Duration::from_secs(45),
            heartbeat_interval: Duration::from_secs(3),
            max_poll_interval: Duration::from_secs(300),
            max_poll_records: 500,
            fetch_max_wait: Duration::from_millis(500),
            fetch_min_bytes: 1,
            fetch_max_bytes: 50 << 20,
            max_partition_fetch_bytes: 1 << 20,
            isolation_level: IsolationLevel::ReadUncommitted,
            assignors: vec![Assignor::CooperativeSticky],
            client_rack: None,
            check_crcs: true,
        }
    }

    /// Settings by Kafka's names; without `group.id` the consumer belongs to no group.
    ///
    /// # Errors
    /// `Config` for an unknown key, naming the nearest, for a malformed value, and for pairs that
    /// contradict each other.
    pub fn from_properties<K: AsRef<str>, V: AsRef<str>>(
        properties: impl IntoIterator<Item = (K, V)>,
    ) -> Result<Self, Error> {
        let mut config = Self::without_group();
        let mut auto_commit_is_set = false;
        for (key, value) in properties {
            auto_commit_is_set |= key.as_ref() == "enable.auto.commit";
            CONSUMER_KEYS.set(&mut config, key.as_ref(), value.as_ref())?;
        }
        if !auto_commit_is_set {
            config.enable_auto_commit = config.group_id.is_some();
        }
        config.validate()?;
        Ok(config)
    }

    /// Makes this member a static one. `group.instance.id`; default none. A static member that
    /// restarts within the session timeout gets its partitions back without a rebalance; it does
    /// not leave the group when it closes.
    #[must_use]
    pub fn group_instance_id(mut self, id: impl Into<Arc<str>>) -> Self {
        self.group_instance_id = Some(id.into());
        self
    }

    /// Where to start without a committed offset. `auto.offset.reset`; default latest.
    #[must_use]
    pub fn auto_offset_reset(mut self, reset: OffsetReset) -> Self {
        self.auto_offset_reset = reset;
        self
    }

    /// Whether `poll` commits by itself what the polls before it returned. `enable.auto.commit`;
    /// default true within a group.
    #[must_use]
    pub fn enable_auto_commit(mut self, enable: bool) -> Self {
        self.enable_auto_commit = enable;
        self
    }

    /// Time between automatic commits. `auto.commit.interval.ms`; default 5 s.
    #[must_use]
    pub fn auto_commit_interval(mut self, interval: Duration) -> Self {
        self.auto_commit_interval = interval;
        self
    }

    /// Silence after which the coordinator takes the member for dead. `session.timeout.ms`;
    /// default 45 s. The broker bounds it (`group.min.session.timeout.ms`, 6 s).
    #[must_use]
    pub fn session_timeout(mut self, timeout: Duration) -> Self {
        self.session_timeout = timeout;
        self
    }

    /// Time between heartbeats. `heartbeat.interval.ms`; default 3 s; at most a third of the
    /// session timeout is sensible, less than it is required.
    #[must_use]
    pub fn heartbeat_interval(mut self, interval: Duration) -> Self {
        self.heartbeat_interval = interval;
        self
    }

    /// Longest time between two polls; a member that takes longer leaves the group, and it is also
    /// how long a rebalance waits for it. `max.poll.interval.ms`; default 5 min.
    #[must_use]
    pub fn max_poll_interval(mut self, interval: Duration) -> Self {
        self.max_poll_interval = interval;
        self
    }

    /// The same setting as [`ConsumerConfig::max_poll_interval`], by the name of its other effect.
    #[must_use]
    pub fn rebalance_timeout(self, timeout: Duration) -> Self {
        self.max_poll_interval(timeout)
    }

    /// Most records one `poll` returns. `max.poll.records`; default 500; at least 1.
    #[must_use]
    pub fn max_poll_records(mut self, records: usize) -> Self {
        self.max_poll_records = records.max(1);
        self
    }

    /// Longest wait of a broker that has less than `fetch.min.bytes`. `fetch.max.wait.ms`; default
    /// 500 ms.
    #[must_use]
    pub fn fetch_max_wait(mut self, wait: Duration) -> Self {
        self.fetch_max_wait = wait;
        self
    }

    /// Bytes for which a broker answers before the wait is over. `fetch.min.bytes`; default 1.
    #[must_use]
    pub fn fetch_min_bytes(mut self, bytes: i32) -> Self {
        self.fetch_min_bytes = bytes.max(0);
        self
    }

    /// Most bytes fetched and not yet polled, over all brokers; the first batch of a partition
    /// always comes whole. `fetch.max.bytes`; default 50 MiB. Differs from Java, where it bounds
    /// one request.
    #[must_use]
    pub fn fetch_max_bytes(mut self, bytes: i32) -> Self {
        self.fetch_max_bytes = bytes.max(1);
        self
    }

    /// Most bytes of one partition in one answer. `max.partition.fetch.bytes`; default 1 MiB.
    #[must_use]
    pub fn max_partition_fetch_bytes(mut self, bytes: i32) -> Self {
        self.max_partition_fetch_bytes = bytes.max(1);
        self
    }

    /// Which records of transactions are handed out. `isolation.level`; default read_uncommitted.
    #[must_use]
    pub fn isolation_level(mut self, level: IsolationLevel) -> Self {
        self.isolation_level = level;
        self
    }

    /// The assignors this member offers, the preferred one first. `partition.assignment.strategy`;
    /// default cooperative-sticky. Differs from Java (range, cooperative-sticky). One eager
    /// assignor in the list makes the member eager.
    #[must_use]
    pub fn assignors(mut self, assignors: Vec<Assignor>) -> Self {
        self.assignors = assignors;
        self
    }

    /// Where this consumer stands, for brokers and assignors that care. `client.rack`; default none.
    #[must_use]
    pub fn client_rack(mut self, rack: impl Into<Arc<str>>) -> Self {
        self.client_rack = Some(rack.into());
        self
    }

    /// Whether the checksum of every batch is compared. `check.crcs`; default true.
    #[must_use]
    pub fn check_crcs(mut self, check: bool) -> Self {
        self.check_crcs = check;
        self
    }

    pub(crate) fn protocol(&self) -> RebalanceProtocol {
        common_protocol(&self.assignors)
    }

    /// Checks what no single setting can.
    pub(crate) fn validate(&self) -> Result<(), Error> {
        let fail = |message: &str| Err(Error::new(ErrorKind::Config, message));
        if self.group_id.as_deref() == Some("") {
            return fail("group.id is empty");
        }
        if self.group_id.is_none() && self.enable_auto_commit {
            return fail("enable.auto.commit is set, but group.id is not");
        }
        if self.group_id.is_none() && self.group_instance_id.is_some() {
            return fail("group.instance.id is set, but group.id is not");
        }
        if self.heartbeat_interval >= self.session_timeout {
            return fail("heartbeat.interval.ms is not below session.timeout.ms");
        }
        if self.heartbeat_interval.is_zero() {
            return fail("heartbeat.interval.ms is 0");
        }
        if self.assignors.is_empty() {
            return fail("partition.assignment.strategy is empty");
        }
        Ok(())
    }
}

macro_rules! duration_key {
    ($name:literal, $field:ident, $default:literal, $min:literal, $doc:literal) => {
        ConfigRow {
            name: $name,
            kind: "duration in ms",
            default: $default,
            range: concat!($min, " or more"),
            doc: $doc,
            set: |config: &mut ConsumerConfig, value| {
                config.$field = parse_duration_ms(value, $min)?;
                Ok(())
            },
        }
    };
}

macro_rules! row {
    ($name:literal, $kind:literal, $default:literal, $range:literal, $doc:literal, $set:expr) => {
        ConfigRow {
            name: $name,
            kind: $kind,
            default: $default,
            range: $range,
            doc: $doc,
            set: $set,
        }
    };
}

/// The keys of [`ConsumerConfig`].
pub const CONSUMER_KEYS: ConfigTable<ConsumerConfig> = ConfigTable {
    title: "consumer",
    rows: &[
        row!(
            "group.id",
            "string",
            "",
            "not empty",
            "The group to which the consumer belongs; without it partitions are assigned by hand.",
            |c, v| {
                c.group_id = Some(Arc::from(v));
                Ok(())
            }
        ),
        row!(
            "group.instance.id",
            "string",
            "",
            "unique in the group",
            "Makes the member a static one (KIP-345).",
            |c, v| {
                c.group_instance_id = (!v.is_empty()).then(|| Arc::from(v));
                Ok(())
            }
        ),
        row!(
            "auto.offset.reset",
            "choice",
            "latest",
            "earliest, latest, none",
            "Where to start in a partition without a committed offset, or with one that is out of range.",
            |c, v| {
                c.auto_offset_reset = match v {
                    "earliest" => OffsetReset::Earliest,
                    "latest" => OffsetReset::Latest,
                    "none" => OffsetReset::None,
                    _ => return Err("expected earliest, latest or none".to_owned()),
                };
                Ok(())
            }
        ),
        row!(
            "enable.auto.commit",
            "boolean",
            "true",
            "true, false",
            "Whether a poll commits what the polls before it returned; needs group.id.",
            |c, v| {
                c.enable_auto_commit = parse_bool(v)?;
                Ok(())
            }
        ),
        duration_key!(
            "auto.commit.interval.ms",
            auto_commit_interval,
            "5000",
            0,
            "Time between automatic commits."
        ),
        duration_key!(
            "session.timeout.ms",
            session_timeout,
            "45000",
            1,
            "Silence after which the coordinator takes a member for dead."
        ),
        duration_key!(
            "heartbeat.interval.ms",
            heartbeat_interval,
            "3000",
            1,
            "Time between heartbeats; below session.timeout.ms."
        ),
        duration_key!(
            "max.poll.interval.ms",
            max_poll_interval,
            "300000",
            1,
            "Longest time between two polls before the member leaves; also how long a rebalance waits for it."
        ),
        row!(
            "max.poll.records",
            "number",
            "500",
            "1 or more",
            "Most records one poll returns.",
            |c, v| {
                c.max_poll_records = parse_int(v, 1..=i32::MAX as usize)?;
                Ok(())
            }
        ),
        duration_key!(
            "fetch.max.wait.ms",
            fetch_max_wait,
            "500",
            0,
            "Longest wait of a broker that has less than fetch.min.bytes."
        ),
        row!(
            "fetch.min.bytes",
            "bytes",
            "1",
            "0 or more",
            "Bytes for which a broker answers before the wait is over.",
            |c, v| {
                c.fetch_min_bytes = parse_int(v, 0..=i32::MAX)?;
                Ok(())
            }
        ),
        row!(
            "fetch.max.bytes",
            "bytes",
            "52428800",
            "1 or more",
            "Most bytes fetched and not yet polled, over all brokers.",
            |c, v| {
                c.fetch_max_bytes = parse_int(v, 1..=i32::MAX)?;
                Ok(())
            }
        ),
        row!(
            "max.partition.fetch.bytes",
            "bytes",
            "1048576",
            "1 or more",
            "Most bytes of one partition in one answer.",
            |c, v| {
                c.max_partition_fetch_bytes = parse_int(v, 1..=i32::MAX)?;
                Ok(())
            }
        ),
        row!(
            "isolation.level",
            "choice",
            "read_uncommitted",
            "read_uncommitted, read_committed",
            "Which records of transactions are handed out.",
            |c, v| {
                c.isolation_level = match v {
                    "read_uncommitted" => IsolationLevel::ReadUncommitted,
                    "read_committed" => IsolationLevel::ReadCommitted,
                    _ => return Err("expected read_uncommitted or read_committed".to_owned()),
                };
                Ok(())
            }
        ),
        row!(
            "partition.assignment.strategy",
            "list",
            "cooperative-sticky",
            "range, roundrobin, cooperative-sticky",
            "Assignors this member offers, the preferred one first; Java's class names are understood.",
            |c, v| {
                c.assignors = v.split(',').map(str::parse).collect::<Result<_, _>>()?;
                Ok(())
            }
        ),
        row!(
            "client.rack",
            "string",
            "",
            "any",
            "Where this consumer stands.",
            |c, v| {
                c.client_rack = (!v.is_empty()).then(|| Arc::from(v));
                Ok(())
            }
        ),
        row!(
            "check.crcs",
            "boolean",
            "true",
            "true, false",
            "Whether the checksum of every batch is compared.",
            |c, v| {
                c.check_crcs = parse_bool(v)?;
                Ok(())
            }
        ),
    ],
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documented_defaults_are_the_defaults() {
        let plain = ConsumerConfig::new("g");
        let mut set = plain.clone();
        for row in CONSUMER_KEYS
            .rows
            .iter()
            .filter(|row| !row.default.is_empty())
        {
            (row.set)(&mut set, row.default).unwrap();
        }
        assert_eq!(format!("{plain:?}"), format!("{set:?}"));
    }

    #[test]
    fn contradicting_pairs_name_both_keys() {
        let error = ConsumerConfig::from_properties([
            ("group.id", "g"),
            ("session.timeout.ms", "3000"),
            ("heartbeat.interval.ms", "3000"),
        ])
        .unwrap_err()
        .to_string();
        assert!(
            error.contains("session.timeout.ms") && error.contains("heartbeat"),
            "{error}"
        );
        let error = ConsumerConfig::from_properties([("enable.auto.commit", "true")]).unwrap_err();
        assert!(error.to_string().contains("group.id"), "{error}");
    }

    #[test]
    fn unknown_key_names_the_nearest() {
        let error = ConsumerConfig::from_properties([("auto.ofset.reset", "x")]).unwrap_err();
        assert!(
            error.hint().unwrap().contains("auto.offset.reset"),
            "{error:?}"
        );
    }
}
