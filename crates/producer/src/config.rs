//! Settings of a [`Producer`](crate::Producer): Kafka's names, types, defaults.
//!
//! What concerns connections and single requests (`request.timeout.ms`, `retry.backoff.ms`, …) is set
//! on [`ClientConfig`](ferrokafka_client::ClientConfig).

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ferrokafka_client::config::{ConfigRow, ConfigTable, parse_bool, parse_duration_ms, parse_int};
use ferrokafka_client::{Error, ErrorKind};
use ferrokafka_wire::compression::Compression;

use crate::BatchAck;
use crate::partitioner::Partitioner;

/// Whose acknowledgement a write waits for. `acks=0`, where nobody answers, is not offered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Acks {
    /// Every in-sync replica (`acks=all`, also written `-1`): what is acknowledged survives the loss of
    /// the leader.
    #[default]
    All,
    /// The leader alone (`acks=1`): what is acknowledged may be lost with the leader.
    Leader,
}

impl Acks {
    pub(crate) fn code(self) -> i16 {
        match self {
            Self::All => -1,
            Self::Leader => 1,
        }
    }
}

/// Called with every decided batch.
pub(crate) type AckCallback = Arc<dyn Fn(&BatchAck) + Send + Sync>;

/// Settings of a [`Producer`](crate::Producer). Every one has a default; the defaults lose nothing and
/// write nothing twice.
///
/// ```
/// use std::time::Duration;
/// use ferrokafka_producer::ProducerConfig;
///
/// let config = ProducerConfig::new().linger(Duration::ZERO).buffer_memory(8 * 1024 * 1024);
///
/// let error = ProducerConfig::from_properties([("linger", "5")]).unwrap_err();
/// assert_eq!(error.hint(), Some("did you mean \"linger.ms\"?"));
/// # drop(config);
/// ```
#[derive(Clone)]
pub struct ProducerConfig {
    pub(crate) acks: Acks,
    pub(crate) idempotence: bool,
    pub(crate) linger: Duration,
    pub(crate) batch_size: usize,
    pub(crate) max_request_size: usize,
    pub(crate) buffer_memory: usize,
    pub(crate) compression: Compression,
    pub(crate) max_in_flight: usize,
    pub(crate) delivery_timeout: Duration,
    pub(crate) max_block: Duration,
    pub(crate) partitioner: Partitioner,
    pub(crate) seed: Option<u64>,
    pub(crate) on_ack: Option<AckCallback>,
}

impl Default for ProducerConfig {
    fn default() -> Self {
        Self {
            acks: Acks::All,
            idempotence: true,
            linger: Duration::from_millis(5),
            batch_size: 1024 * 1024,
            max_request_size: 1024 * 1024,
            buffer_memory: 32 * 1024 * 1024,
            compression: Compression::None,
            max_in_flight: 5,
            delivery_timeout: Duration::from_secs(120),
            max_block: Duration::from_secs(60),
            partitioner: Partitioner::default(),
            seed: None,
            on_ack: None,
        }
    }
}

impl ProducerConfig {
    /// The defaults: idempotent, `acks=all`.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads settings by Kafka's property names, see [`PRODUCER_KEYS`].
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for an unknown key (with the nearest one), a malformed value, and pairs
    /// that contradict each other.
    pub fn from_properties<K: AsRef<str>, V: AsRef<str>>(
        properties: impl IntoIterator<Item = (K, V)>,
    ) -> Result<Self, Error> {
        let mut config = Self::new();
        PRODUCER_KEYS.set_all(&mut config, properties)?;
        config.validate()?;
        Ok(config)
    }

    /// Whose acknowledgement a write waits for. `acks`; default `all`.
    #[must_use]
    pub fn acks(mut self, acks: Acks) -> Self {
        self.acks = acks;
        self
    }

    /// Whether brokers recognise repeated and missing batches, so that retries neither duplicate nor
    /// reorder. `enable.idempotence`; default true; needs `acks=all`.
    #[must_use]
    pub fn idempotence(mut self, enable: bool) -> Self {
        self.idempotence = enable;
        self
    }

    /// Longest wait for a fuller batch. `linger.ms`; default 5 ms; 0 sends at once.
    /// Ignored once `batch.size` is reached or `buffer.memory` is used up.
    #[must_use]
    pub fn linger(mut self, linger: Duration) -> Self {
        self.linger = linger;
        self
    }

    /// Size at which a batch is full, in bytes before compression. `batch.size`; default 1 MiB, and
    /// never above `max.request.size`. A larger record makes a batch of its own. Differs from Java
    /// (16 KiB).
    #[must_use]
    pub fn batch_size(mut self, bytes: usize) -> Self {
        self.batch_size = bytes;
        self
    }

    /// Largest record, in bytes as a batch of its own before compression; a larger one fails at `send`.
    /// `max.request.size`; default 1 MiB, what a broker accepts by its `message.max.bytes`.
    ///
    /// Differs from Java: it does not bound the request, which carries a batch of each partition.
    #[must_use]
    pub fn max_request_size(mut self, bytes: usize) -> Self {
        self.max_request_size = bytes;
        self
    }

    /// Most bytes of records waiting for acknowledgement; `send` waits while they are used up.
    /// `buffer.memory`; default 32 MiB.
    ///
    /// Records count with their encoded size until their batch is decided.
    #[must_use]
    pub fn buffer_memory(mut self, bytes: usize) -> Self {
        self.buffer_memory = bytes;
        self
    }

    /// Codec of the batches. `compression.type`; default none.
    #[must_use]
    pub fn compression(mut self, compression: Compression) -> Self {
        self.compression = compression;
        self
    }

    /// Most produce requests unanswered at a time at one broker.
    /// `max.in.flight.requests.per.connection`; default 5, the most that idempotence allows.
    ///
    /// Without idempotence, more than 1 lets a retry reorder records.
    #[must_use]
    pub fn max_in_flight(mut self, requests: usize) -> Self {
        self.max_in_flight = requests;
        self
    }

    /// Longest time from `send` to the acknowledgement, all retries included.
    /// `delivery.timeout.ms`; default 2 min; at least `linger.ms` and the client's
    /// `request.timeout.ms` together.
    #[must_use]
    pub fn delivery_timeout(mut self, timeout: Duration) -> Self {
        self.delivery_timeout = timeout;
        self
    }

    /// Longest wait of `send` for metadata and for free `buffer.memory`. `max.block.ms`; default 60 s.
    #[must_use]
    pub fn max_block(mut self, timeout: Duration) -> Self {
        self.max_block = timeout;
        self
    }

    /// How partitions are chosen. `partitioner.class`; default [`Partitioner::Murmur2Sticky`].
    #[must_use]
    pub fn partitioner(mut self, partitioner: Partitioner) -> Self {
        self.partitioner = partitioner;
        self
    }

    /// Seed of the sticky partitioner's choices, for runs that are to repeat. Default: random.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Calls `callback` once for each decided batch, acknowledged or failed: the cheapest way to learn
    /// of every record. It runs on the producer's own tasks and must not block.
    #[must_use]
    pub fn on_ack(mut self, callback: impl Fn(&BatchAck) + Send + Sync + 'static) -> Self {
        self.on_ack = Some(Arc::new(callback));
        self
    }

    /// Checks values and pairs; names both keys of a pair.
    pub(crate) fn validate(&self) -> Result<(), Error> {
        let fail = |message: &str| Err(Error::new(ErrorKind::Config, message));
        if self.idempotence && self.acks != Acks::All {
            return fail("enable.idempotence=true needs acks=all");
        }
        if self.idempotence && self.max_in_flight > 5 {
            return fail(
                "enable.idempotence=true allows at most 5 for max.in.flight.requests.per.connection",
            );
        }
        if self.max_in_flight == 0 {
            return fail("max.in.flight.requests.per.connection must be at least 1");
        }
        if self.max_request_size > self.buffer_memory {
            return fail("max.request.size is larger than buffer.memory");
        }
        if self.max_request_size > MAX_REQUEST_SIZE_MAX {
            return fail("max.request.size is larger than 1 GiB");
        }
        if self.linger > self.delivery_timeout {
            return fail("linger.ms is larger than delivery.timeout.ms");
        }
        Ok(())
    }

    /// The pair that crosses the crates' tables.
    pub(crate) fn validate_with(&self, request_timeout: Duration) -> Result<(), Error> {
        self.validate()?;
        if self.delivery_timeout < self.linger + request_timeout {
            return Err(Error::new(
                ErrorKind::Config,
                format!(
                    "delivery.timeout.ms ({}) is smaller than linger.ms ({}) and request.timeout.ms ({}) together",
                    self.delivery_timeout.as_millis(),
                    self.linger.as_millis(),
                    request_timeout.as_millis(),
                ),
            ));
        }
        Ok(())
    }

    /// The size at which a batch is full.
    pub(crate) fn batch_bytes(&self) -> usize {
        self.batch_size.min(self.max_request_size)
    }
}

/// Lengths on the wire are signed 32-bit numbers; this stays well below.
const MAX_REQUEST_SIZE_MAX: usize = 1024 * 1024 * 1024;

impl fmt::Debug for ProducerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProducerConfig")
            .field("acks", &self.acks)
            .field("idempotence", &self.idempotence)
            .field("linger", &self.linger)
            .field("batch_size", &self.batch_size)
            .field("buffer_memory", &self.buffer_memory)
            .field("compression", &self.compression)
            .field("max_in_flight", &self.max_in_flight)
            .field("delivery_timeout", &self.delivery_timeout)
            .field("partitioner", &self.partitioner)
            .finish_non_exhaustive()
    }
}

macro_rules! row {
    ($name:literal, $kind:literal, $default:literal, $range:literal, $set:expr, $doc:literal) => {
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

/// The keys of [`ProducerConfig`].
pub const PRODUCER_KEYS: ConfigTable<ProducerConfig> = ConfigTable {
    title: "producer",
    rows: &[
        row!(
            "acks",
            "string",
            "all",
            "all, -1, 1",
            |c, v| {
                c.acks = match v {
                    "all" | "-1" => Acks::All,
                    "1" => Acks::Leader,
                    _ => return Err("expected all, -1 or 1".to_owned()),
                };
                Ok(())
            },
            "Whose acknowledgement a write waits for: every in-sync replica, or the leader alone."
        ),
        row!(
            "enable.idempotence",
            "boolean",
            "true",
            "true, false; true needs acks=all",
            |c, v| {
                c.idempotence = parse_bool(v)?;
                Ok(())
            },
            "Whether brokers recognise repeated and missing batches, so that retries neither duplicate nor reorder."
        ),
        row!(
            "linger.ms",
            "duration in ms",
            "5",
            "0 or more",
            |c, v| {
                c.linger = parse_duration_ms(v, 0)?;
                Ok(())
            },
            "Longest wait for a fuller batch; 0 sends at once."
        ),
        row!(
            "batch.size",
            "bytes",
            "1048576",
            "1 or more",
            |c, v| {
                c.batch_size = parse_int(v, 1..=MAX_REQUEST_SIZE_MAX)?;
                Ok(())
            },
            "Size at which a batch is full, before compression; never above `max.request.size`. Java's default is 16384."
        ),
        row!(
            "max.request.size",
            "bytes",
            "1048576",
            "1024 or more",
            |c, v| {
                c.max_request_size = parse_int(v, 1024..=MAX_REQUEST_SIZE_MAX)?;
                Ok(())
            },
            "Largest record, as a batch of its own before compression. Unlike in Java it does not bound the request."
        ),
        row!(
            "buffer.memory",
            "bytes",
            "33554432",
            "max.request.size or more",
            |c, v| {
                c.buffer_memory = parse_int(v, 1024..=usize::MAX >> 4)?;
                Ok(())
            },
            "Most bytes of records waiting for acknowledgement; `send` waits while they are used up."
        ),
        row!(
            "compression.type",
            "string",
            "none",
            "none, gzip, snappy, lz4, zstd",
            |c, v| {
                c.compression = v.parse().map_err(|_| "expected a codec".to_owned())?;
                Ok(())
            },
            "Codec of the batches."
        ),
        row!(
            "max.in.flight.requests.per.connection",
            "number",
            "5",
            "1 or more; at most 5 with idempotence",
            |c, v| {
                c.max_in_flight = parse_int(v, 1..=1_000)?;
                Ok(())
            },
            "Most produce requests unanswered at a time at one broker."
        ),
        row!(
            "delivery.timeout.ms",
            "duration in ms",
            "120000",
            "linger.ms + request.timeout.ms or more",
            |c, v| {
                c.delivery_timeout = parse_duration_ms(v, 1)?;
                Ok(())
            },
            "Longest time from `send` to the acknowledgement, all retries included."
        ),
        row!(
            "max.block.ms",
            "duration in ms",
            "60000",
            "0 or more",
            |c, v| {
                c.max_block = parse_duration_ms(v, 0)?;
                Ok(())
            },
            "Longest wait of `send` for metadata and for free `buffer.memory`."
        ),
        row!(
            "partitioner.class",
            "string",
            "murmur2_sticky",
            "murmur2_sticky, round_robin",
            |c, v| {
                c.partitioner = match v {
                    "murmur2_sticky" => Partitioner::Murmur2Sticky,
                    "round_robin" | "org.apache.kafka.clients.producer.RoundRobinPartitioner" => {
                        Partitioner::RoundRobin
                    }
                    _ => return Err("expected murmur2_sticky or round_robin".to_owned()),
                };
                Ok(())
            },
            "How partitions are chosen for records that do not name one; Java's class name of the round robin is understood too."
        ),
    ],
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_written_in_the_table_are_the_defaults() {
        let from_table = ProducerConfig::from_properties(
            PRODUCER_KEYS.rows.iter().map(|row| (row.name, row.default)),
        )
        .unwrap();
        assert_eq!(
            format!("{from_table:?}"),
            format!("{:?}", ProducerConfig::new())
        );
        assert_eq!(from_table.max_block, ProducerConfig::new().max_block);
        assert_eq!(
            from_table.max_request_size,
            ProducerConfig::new().max_request_size
        );
    }

    #[test]
    fn contradicting_pairs_name_both_keys() {
        type Properties = &'static [(&'static str, &'static str)];
        let cases: [(Properties, [&str; 2]); 5] = [
            (&[("acks", "1")], ["enable.idempotence", "acks"]),
            (
                &[("max.in.flight.requests.per.connection", "6")],
                [
                    "enable.idempotence",
                    "max.in.flight.requests.per.connection",
                ],
            ),
            (
                &[("buffer.memory", "4096")],
                ["max.request.size", "buffer.memory"],
            ),
            (
                &[("linger.ms", "2000"), ("delivery.timeout.ms", "1000")],
                ["linger.ms", "delivery.timeout.ms"],
            ),
            (&[("acks", "0")], ["acks", "all"]),
        ];
        for (properties, keys) in cases {
            let error = ProducerConfig::from_properties(properties.iter().copied()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config);
            for key in keys {
                assert!(error.to_string().contains(key), "{error}");
            }
        }
    }

    #[test]
    fn delivery_timeout_must_hold_linger_and_a_request() {
        let config = ProducerConfig::new().delivery_timeout(Duration::from_secs(10));
        let error = config.validate_with(Duration::from_secs(30)).unwrap_err();
        for key in ["delivery.timeout.ms", "linger.ms", "request.timeout.ms"] {
            assert!(error.to_string().contains(key), "{error}");
        }
        assert!(config.validate_with(Duration::from_secs(9)).is_ok());
    }

    #[test]
    fn acks_alone_may_be_weakened_when_idempotence_is_off() {
        let config =
            ProducerConfig::from_properties([("acks", "1"), ("enable.idempotence", "false")])
                .unwrap();
        assert_eq!(config.acks.code(), 1);
    }
}
