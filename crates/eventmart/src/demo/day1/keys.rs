//! Where keys land, and what more partitions would move.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ferrokafka::admin::{CreateOptions, NewPartitions, NewTopic};
use ferrokafka::wire::partition::partition_for_key;
use ferrokafka::{Producer, ProducerConfig, ProducerRecord};

use tokio::time::Instant;

use super::Play;
use crate::demo::read_back;
use crate::demo::watch::PATIENCE;
use crate::error::{Error, Result};
use crate::platform::Service;
use crate::scenario::{Column, Stage};
use crate::topic::Topic;

/// Partitions of the side topic before and after.
const BEFORE: i32 = 3;
const AFTER: i32 = 6;
const SIDE_TOPIC: &str = "eventmart-day1-keys";

impl Play<'_> {
    pub(super) async fn keys(&self, stage: &mut Stage) -> Result<()> {
        let mut step = stage.step("Keys decide the partition").await;
        step.why(
            "murmur2 of the key, modulo the number of partitions: the same in every Kafka client",
        );
        let topic = Topic::Orders;
        let orders: Vec<_> = self.orders();
        let publisher = self.ground.publisher(Service::Order).await?;
        publisher.send_all(&orders).await?;
        publisher.close().await?;

        let records = read_back::topic(&self.ground, topic).await?;
        step.fact("orders on the topic", orders.len(), records.len());
        let mut keys: BTreeMap<i32, BTreeSet<String>> = BTreeMap::new();
        let mut elsewhere = 0;
        for record in &records {
            let key = record.key.as_deref().unwrap_or_default();
            elsewhere +=
                usize::from(partition_for_key(key, topic.spec().partitions) != record.partition);
            keys.entry(record.partition)
                .or_default()
                .insert(String::from_utf8_lossy(key).into_owned());
        }
        step.fact(
            "orders in another partition than murmur2 says",
            0,
            elsewhere,
        );
        let distinct: BTreeSet<&String> = keys.values().flatten().collect();
        let places: usize = keys.values().map(BTreeSet::len).sum();
        step.fact(
            "keys found in more than one partition",
            0,
            places - distinct.len(),
        );

        let rows = (0..topic.spec().partitions).map(|partition| {
            let here = keys.get(&partition);
            let some: Vec<&str> = here
                .into_iter()
                .flatten()
                .take(4)
                .map(String::as_str)
                .collect();
            vec![
                partition.to_string(),
                here.map_or(0, BTreeSet::len).to_string(),
                some.join(" "),
            ]
        });
        let columns = [
            Column::number("partition"),
            Column::number("keys"),
            Column::text("for example"),
        ];
        step.table(
            "where the keys of eventmart-orders landed",
            &columns,
            rows.collect(),
        );
        step.done()
    }

    /// One event per order of the seeded story.
    fn orders(&self) -> Vec<crate::event::Event> {
        let (users, products) = (self.generator.users(), self.generator.products());
        let sessions = self.generator.sessions(&users, &products);
        sessions
            .into_iter()
            .filter_map(|session| session.order)
            .collect()
    }

    pub(super) async fn more_partitions(&self, stage: &mut Stage) -> Result<()> {
        let mut step = stage.step("What more partitions would move").await;
        step.why("the modulus changes: most keys change their partition, and their order across the change is lost");
        let name = self.ground.names().name(SIDE_TOPIC);
        self.ground
            .create(&[NewTopic::new(&name, BEFORE, 1)])
            .await?;
        let keys: Vec<String> = self
            .generator
            .users()
            .iter()
            .map(|user| user.key().to_owned())
            .collect();
        self.send_keys(&name, &keys).await?;

        let more = [NewPartitions::new(&name, AFTER)];
        for (_, answer) in self
            .ground
            .admin
            .create_partitions(&more, CreateOptions::default())
            .await?
        {
            answer?;
        }
        self.wait_for_partitions(&name, AFTER).await?;
        self.send_keys(&name, &keys).await?;

        let records = read_back::records(&self.ground, &name, AFTER).await?;
        step.fact("records on the side topic", 2 * keys.len(), records.len());
        let mut places: BTreeMap<Vec<u8>, BTreeSet<i32>> = BTreeMap::new();
        for record in &records {
            let key = record.key.as_deref().unwrap_or_default().to_vec();
            places.entry(key).or_default().insert(record.partition);
        }
        let moved = places
            .values()
            .filter(|partitions| partitions.len() > 1)
            .count();
        let predicted = keys
            .iter()
            .filter(|key| {
                partition_for_key(key.as_bytes(), BEFORE)
                    != partition_for_key(key.as_bytes(), AFTER)
            })
            .count();
        step.fact(
            &format!("keys that moved from {BEFORE} to {AFTER} partitions"),
            predicted,
            moved,
        );

        let rows = [(10, 11), (10, 12), (10, 20)].map(|(from, to)| {
            let orders = self.orders();
            let moves = |order: &&crate::event::Event| {
                let key = order.key().as_bytes();
                partition_for_key(key, from) != partition_for_key(key, to)
            };
            let moved = orders.iter().filter(moves).count();
            vec![
                format!("{from} → {to}"),
                format!("{moved} of {}", orders.len()),
            ]
        });
        let columns = [
            Column::text("partitions of eventmart-orders"),
            Column::text("keys that would move"),
        ];
        step.table(
            "computed from the orders of this run",
            &columns,
            rows.to_vec(),
        );
        step.note("so choose the number for the load to come: eventmart-orders starts with ten");
        step.done()
    }

    /// Brokers learn of new partitions, and who leads them, a moment after they were added.
    async fn wait_for_partitions(&self, topic: &str, count: i32) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let described = self.ground.admin.describe_topics(&[topic]).await?;
            let led = described
                .into_iter()
                .filter_map(|(_, topic)| topic.ok())
                .any(|topic| {
                    let led = topic
                        .partitions
                        .iter()
                        .filter(|partition| partition.leader.is_some());
                    led.count() as i32 == count
                });
            if led {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(Error::timeout(format!(
                    "{topic} has not got {count} partitions with leaders"
                )));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn send_keys(&self, topic: &str, keys: &[String]) -> Result<()> {
        // A client of its own: it sees the partitions that are there now.
        let client = self.ground.client("day1-keys").await?;
        let producer = Producer::with_client(client, ProducerConfig::new())?;
        for key in keys {
            let record = ProducerRecord::new(topic)
                .key(key.clone())
                .value("where does it land?");
            drop(producer.send(record).await?);
        }
        producer.flush().await?;
        producer.close(PATIENCE).await?;
        Ok(())
    }
}
