//! The seven EventMart topics: partitions, configs, key, and the reason for each choice.

use std::fmt;
use std::str::FromStr;

/// One of the seven topics of the platform. Dead-letter, retry and reply topics are extra: see [`DEAD_LETTERS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Topic {
    /// Who the customers are: the newest profile of each.
    Users,
    /// What can be bought, and how much of it is there.
    Products,
    /// The life of each order.
    Orders,
    /// Every payment attempt and its outcome.
    Payments,
    /// What was sent to customers.
    Notifications,
    /// What visitors looked at.
    Analytics,
    /// Who did what: read by people, kept for a year.
    Audit,
}

/// A config of a topic and why it has this value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopicConfig {
    /// Kafka's name of the config.
    pub name: &'static str,
    /// Its value.
    pub value: &'static str,
    /// Why it is not the broker's default.
    pub reason: &'static str,
}

/// What a topic looks like, with the reasons.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopicSpec {
    /// Which topic.
    pub topic: Topic,
    /// Its name on a broker of our own; on a shared cluster it gets a prefix.
    pub name: &'static str,
    /// Number of partitions.
    pub partitions: i32,
    /// Why that many.
    pub partitions_reason: &'static str,
    /// What the record key is.
    pub key: &'static str,
    /// Why that key.
    pub key_reason: &'static str,
    /// Configs that differ from the broker's defaults.
    pub configs: &'static [TopicConfig],
}

/// Topic for events that a service could not handle after all its attempts; not one of the seven.
pub const DEAD_LETTERS: &str = "eventmart-dead-letters";

const fn config(name: &'static str, value: &'static str, reason: &'static str) -> TopicConfig {
    TopicConfig {
        name,
        value,
        reason,
    }
}

/// The seven topics, in the order in which the course introduces them.
pub const TOPICS: [TopicSpec; 7] = [
    TopicSpec {
        topic: Topic::Users,
        name: "eventmart-users",
        partitions: 3,
        partitions_reason: "profiles change rarely; three let a group of three share them",
        key: "user_id",
        key_reason: "all changes of one customer stay in order, and compaction works by key",
        configs: &[
            config(
                "cleanup.policy",
                "compact",
                "the newest profile of each customer is kept for ever, older ones are dropped: a new reader rebuilds the table from the topic",
            ),
            config(
                "min.cleanable.dirty.ratio",
                "0.1",
                "clean when a tenth of the log is superseded, so that readers find few outdated profiles",
            ),
        ],
    },
    TopicSpec {
        topic: Topic::Products,
        name: "eventmart-products",
        partitions: 5,
        partitions_reason: "one for each of the five categories' worth of traffic; stock changes follow the orders",
        key: "product_id",
        key_reason: "the stock of one product must be counted in order",
        configs: &[
            config(
                "retention.ms",
                "604800000",
                "7 days: the catalogue is imported anew each week",
            ),
            config(
                "compression.type",
                "gzip",
                "descriptions are text and are read far more often than written",
            ),
        ],
    },
    TopicSpec {
        topic: Topic::Orders,
        name: "eventmart-orders",
        partitions: 10,
        partitions_reason: "the busiest topic, read by five services: up to ten members of a group can share it",
        key: "order_id",
        key_reason: "placed, confirmed, shipped, delivered of one order stay in order, while orders spread evenly",
        configs: &[
            config(
                "retention.ms",
                "2592000000",
                "30 days: the time in which an order can be returned",
            ),
            config(
                "segment.ms",
                "86400000",
                "a new segment each day, since retention deletes whole segments only",
            ),
        ],
    },
    TopicSpec {
        topic: Topic::Payments,
        name: "eventmart-payments",
        partitions: 3,
        partitions_reason: "one record or two for each order; order of one order's payments matters more than speed",
        key: "order_id",
        key_reason: "all payments of one order stay in order, also a second attempt after a failure",
        configs: &[
            config(
                "retention.ms",
                "7776000000",
                "90 days: the time in which a charge can be disputed",
            ),
            config(
                "min.insync.replicas",
                "1",
                "what one broker can give; with three replicas set 2, so that acks=all survives the loss of a broker",
            ),
        ],
    },
    TopicSpec {
        topic: Topic::Notifications,
        name: "eventmart-notifications",
        partitions: 2,
        partitions_reason: "delivery is limited by the mail provider, not by Kafka",
        key: "user_id",
        key_reason: "a customer receives messages in the order in which they were written",
        configs: &[
            config(
                "retention.ms",
                "86400000",
                "1 day: a notification that was not delivered today is of no use",
            ),
            config(
                "delete.retention.ms",
                "3600000",
                "tombstones need to stay for an hour only",
            ),
        ],
    },
    TopicSpec {
        topic: Topic::Analytics,
        name: "eventmart-analytics",
        partitions: 1,
        partitions_reason: "one partition is one order of events: windows need no merging",
        key: "metric name",
        key_reason: "all points of one metric together",
        configs: &[
            config(
                "retention.ms",
                "3600000",
                "1 hour: the numbers drawn from it are kept, the page views are not",
            ),
            config(
                "segment.ms",
                "600000",
                "10 minutes: whole segments are deleted, so at most that much is kept too long",
            ),
        ],
    },
    TopicSpec {
        topic: Topic::Audit,
        name: "eventmart-audit",
        partitions: 1,
        partitions_reason: "auditors want one sequence, and the volume is small",
        key: "entity id",
        key_reason: "the history of one entity can be followed by its key",
        configs: &[
            config("retention.ms", "31536000000", "1 year, as the auditors ask"),
            config(
                "compression.type",
                "lz4",
                "kept long and read rarely: cheap to write, small on disk",
            ),
        ],
    },
];

impl Topic {
    /// All seven, in the order of [`TOPICS`].
    pub fn all() -> impl Iterator<Item = Self> {
        TOPICS.iter().map(|spec| spec.topic)
    }

    /// Its row of [`TOPICS`].
    pub fn spec(self) -> &'static TopicSpec {
        &TOPICS[self as usize]
    }

    /// Its name on a broker of our own.
    pub fn name(self) -> &'static str {
        self.spec().name
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Topic {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let spec = TOPICS.iter().find(|spec| spec.name == name);
        spec.map(|spec| spec.topic)
            .ok_or_else(|| format!("{name} is not one of the seven topics"))
    }
}

impl TopicSpec {
    /// The value of a config, if the topic sets it.
    pub fn config(&self, name: &str) -> Option<&'static str> {
        self.configs
            .iter()
            .find(|config| config.name == name)
            .map(|config| config.value)
    }

    /// One on a single broker, up to three otherwise.
    pub fn replication_factor(brokers: usize) -> i16 {
        brokers.clamp(1, 3) as i16
    }
}

/// How topics and groups are called in this run: plain on a broker of our own, prefixed on a shared cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    prefix: String,
}

impl Names {
    /// Plain names.
    pub fn plain() -> Self {
        Self::default()
    }

    /// Names that begin with `em-<seed>-<run>-`, so that a run on a shared cluster touches nothing else.
    pub fn prefixed(seed: u64, run: &str) -> Self {
        Self {
            prefix: format!("em-{seed}-{run}-"),
        }
    }

    /// What every name begins with; empty for plain names.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The name of one of the seven topics.
    pub fn topic(&self, topic: Topic) -> String {
        self.name(topic.name())
    }

    /// The name of a side topic or group.
    pub fn name(&self, plain: &str) -> String {
        format!("{}{plain}", self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_topic_finds_its_own_row() {
        for spec in &TOPICS {
            assert_eq!(spec.topic.spec().name, spec.name);
            assert_eq!(spec.name.parse::<Topic>(), Ok(spec.topic));
        }
        assert_eq!(Topic::all().count(), 7);
    }

    #[test]
    fn partitions_and_configs_are_those_of_the_course() {
        let shape: Vec<_> = TOPICS
            .iter()
            .map(|spec| (spec.name, spec.partitions, spec.configs.len()))
            .collect();
        assert_eq!(
            shape,
            [
                ("eventmart-users", 3, 2),
                ("eventmart-products", 5, 2),
                ("eventmart-orders", 10, 2),
                ("eventmart-payments", 3, 2),
                ("eventmart-notifications", 2, 2),
                ("eventmart-analytics", 1, 2),
                ("eventmart-audit", 1, 2),
            ]
        );
        assert_eq!(
            Topic::Orders.spec().config("retention.ms"),
            Some("2592000000")
        );
        assert_eq!(
            Topic::Users.spec().config("cleanup.policy"),
            Some("compact")
        );
        assert_eq!(Topic::Audit.spec().config("compression.type"), Some("lz4"));
    }

    #[test]
    fn every_choice_has_a_reason() {
        for spec in &TOPICS {
            assert!(
                !spec.partitions_reason.is_empty() && !spec.key_reason.is_empty(),
                "{}",
                spec.name
            );
            assert!(
                spec.configs.iter().all(|config| !config.reason.is_empty()),
                "{}",
                spec.name
            );
        }
    }

    #[test]
    fn names_on_a_shared_cluster_carry_seed_and_run() {
        assert_eq!(
            Names::prefixed(42, "k3x").topic(Topic::Orders),
            "em-42-k3x-eventmart-orders"
        );
        assert_eq!(Names::plain().topic(Topic::Orders), "eventmart-orders");
    }
}
