//! How long records live: retention and compaction, at work on side topics with short segments.

use std::collections::BTreeMap;
use std::time::Duration;

use ferrokafka::admin::{NewTopic, OffsetSpec};
use ferrokafka::{ConsumerRecord, Producer, ProducerConfig, ProducerRecord, TopicPartition};
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use super::{Play, topic_configs};
use crate::demo::read_back;
use crate::demo::watch::PATIENCE;
use crate::error::{Error, Result};
use crate::scenario::{Column, Stage, Step};

const RETENTION: &str = "eventmart-day1-retention";
const COMPACTION: &str = "eventmart-day1-compaction";
/// Records older than the retention, and fresh ones.
const OLD: usize = 20;
const FRESH: usize = 5;
const PRICES: usize = 8;
/// The products whose prices change; the last one is taken off the shelf.
const PRODUCTS: [&str; 4] = ["laptop-pro-15", "desk-lamp", "rain-jacket", "out-of-stock"];

const RETENTION_CONFIGS: [(&str, &str); 3] = [
    ("cleanup.policy", "delete"),
    ("retention.ms", "60000"),
    ("segment.ms", "1000"),
];
const COMPACTION_CONFIGS: [(&str, &str); 3] = [
    ("cleanup.policy", "compact"),
    ("min.cleanable.dirty.ratio", "0.01"),
    ("segment.ms", "1000"),
];

impl Play<'_> {
    pub(super) async fn lifetimes(&self, stage: &mut Stage) -> Result<()> {
        let mut step = stage.step("Retention and compaction at work").await;
        step.why(
            "retention drops whole old segments; compaction keeps the newest record of each key",
        );
        let names = [RETENTION, COMPACTION].map(|name| self.ground.names().name(name));
        let topics = names.each_ref().map(|name| NewTopic::new(name, 1, 1));
        let [retention, compaction] = topics;
        let with = |topic: NewTopic, configs: &[(&str, &str)]| {
            configs
                .iter()
                .fold(topic, |topic, (name, value)| topic.config(*name, *value))
        };
        self.ground
            .create(&[
                with(retention, &RETENTION_CONFIGS),
                with(compaction, &COMPACTION_CONFIGS),
            ])
            .await?;
        let sides = [
            (RETENTION, RETENTION_CONFIGS),
            (COMPACTION, COMPACTION_CONFIGS),
        ];
        for (name, (plain, configs)) in names.iter().zip(sides) {
            let described = topic_configs(&self.ground, name).await?;
            for (config, value) in configs {
                let measured = described
                    .get(config)
                    .and_then(|entry| entry.value.as_deref());
                step.fact(
                    &format!("{config} of {plain}"),
                    value,
                    measured.unwrap_or("missing"),
                );
            }
        }
        if self.ground.is_own() {
            self.retention(&mut step, &names[0]).await?;
            self.compaction(&mut step, &names[1]).await?;
        } else {
            step.note("this cluster cleans up by timers of its own, minutes apart: only the configs were checked here");
        }
        step.done()
    }

    /// An old segment goes as a whole; what is fresh stays.
    async fn retention(&self, step: &mut Step<'_>, topic: &str) -> Result<()> {
        let now = Timestamp::now();
        let writer = Writer::open(self, topic).await?;
        for at in 0..OLD {
            let time = now - SignedDuration::from_mins(60) + SignedDuration::from_millis(at as i64);
            writer
                .write("reading", Some(&format!("old {at}")), time)
                .await?;
        }
        writer.flush().await?;
        for at in 0..FRESH {
            writer
                .write("reading", Some(&format!("fresh {at}")), now)
                .await?;
        }
        writer.close().await?;
        let start = self.wait_for_start(topic, OLD as i64).await?;
        let left = read_back::records(&self.ground, topic, 1).await?;
        step.fact("first offset after retention", OLD as i64, start);
        step.fact("records left of the retention topic", FRESH, left.len());
        Ok(())
    }

    /// The newest record of each key stays where it is; superseded ones go.
    async fn compaction(&self, step: &mut Step<'_>, topic: &str) -> Result<()> {
        let now = Timestamp::now();
        let writer = Writer::open(self, topic).await?;
        for round in 0..PRICES {
            // Two seconds of record time a round: each round begins a new segment.
            let time = now - SignedDuration::from_secs(2 * (PRICES - round) as i64);
            for product in PRODUCTS {
                writer
                    .write(product, Some(&format!("price {}", 100 + round)), time)
                    .await?;
            }
            writer.flush().await?;
        }
        let [.., gone] = PRODUCTS;
        writer.write(gone, None, now).await?;
        writer.flush().await?;
        // Its segment is the active one, which is never compacted; it closes all before it.
        writer
            .write(
                "end",
                Some("of the story"),
                now + SignedDuration::from_secs(2),
            )
            .await?;
        writer.close().await?;

        let written = PRODUCTS.len() * PRICES + 2;
        let expected = PRODUCTS.len() + 1;
        let left = self.wait_for_records(topic, expected).await?;
        let newest: BTreeMap<String, &ConsumerRecord> =
            left.iter().map(|record| (key_of(record), record)).collect();
        step.fact(
            "records written to the compacted topic",
            written,
            self.end_of(topic).await? as usize,
        );
        step.fact("records left after compaction", expected, left.len());
        step.fact("keys that appear twice", 0, left.len() - newest.len());
        let last_price = format!("price {}", 99 + PRICES);
        let first = newest
            .get(PRODUCTS[0])
            .and_then(|record| record.value.as_deref())
            .unwrap_or_default();
        step.fact(
            "the price that is left",
            last_price.as_str(),
            &String::from_utf8_lossy(first),
        );
        let tombstone = newest
            .get(gone)
            .is_some_and(|record| record.value.is_none());
        step.fact(
            "the product taken off the shelf is a tombstone",
            true,
            tombstone,
        );

        let rows = left.iter().map(|record| {
            let value = record.value.as_deref().map(String::from_utf8_lossy);
            vec![
                record.offset.to_string(),
                key_of(record),
                value.map_or("– (tombstone)".into(), Into::into),
            ]
        });
        let columns = [
            Column::number("offset"),
            Column::text("key"),
            Column::text("value"),
        ];
        step.table(
            "what compaction left, at its old offsets",
            &columns,
            rows.collect(),
        );
        step.note("a tombstone stays for delete.retention.ms, so that every reader learns of the deletion");
        Ok(())
    }

    async fn wait_for_start(&self, topic: &str, expected: i64) -> Result<i64> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let start = self.offset(topic, OffsetSpec::Earliest).await?;
            if start >= expected || Instant::now() > deadline {
                return Ok(start);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    async fn wait_for_records(&self, topic: &str, expected: usize) -> Result<Vec<ConsumerRecord>> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let records = read_back::records(&self.ground, topic, 1).await?;
            if records.len() <= expected || Instant::now() > deadline {
                return Ok(records);
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    async fn end_of(&self, topic: &str) -> Result<i64> {
        self.offset(topic, OffsetSpec::Latest).await
    }

    async fn offset(&self, topic: &str, spec: OffsetSpec) -> Result<i64> {
        let wanted = [(TopicPartition::new(topic, 0), spec)];
        let mut answers = self.ground.admin.list_offsets(&wanted).await?;
        let (_, answer) = answers
            .pop()
            .ok_or_else(|| Error::fact("no offset was listed"))?;
        Ok(answer?.offset.unwrap_or(0))
    }
}

fn key_of(record: &ConsumerRecord) -> String {
    String::from_utf8_lossy(record.key.as_deref().unwrap_or_default()).into_owned()
}

/// Writes records with times of their own to one partition.
struct Writer {
    producer: Producer,
    topic: String,
}

impl Writer {
    async fn open(play: &Play<'_>, topic: &str) -> Result<Self> {
        let client = play.ground.client("day1-writer").await?;
        let producer = Producer::with_client(client, ProducerConfig::new())?;
        Ok(Self {
            producer,
            topic: topic.to_owned(),
        })
    }

    async fn write(&self, key: &str, value: Option<&str>, time: Timestamp) -> Result<()> {
        let mut record = ProducerRecord::new(self.topic.as_str())
            .key(key.to_owned())
            .partition(0)
            .timestamp(time.as_millisecond());
        if let Some(value) = value {
            record = record.value(value.to_owned());
        }
        drop(self.producer.send(record).await?);
        Ok(())
    }

    async fn flush(&self) -> Result<()> {
        Ok(self.producer.flush().await?)
    }

    async fn close(self) -> Result<()> {
        self.producer.flush().await?;
        Ok(self.producer.close(PATIENCE).await?)
    }
}
