//! Day 1, topics: the seven topics created, described and explained; keys, retention and compaction seen at work.

mod configs;
mod keys;
mod lifetime;

use std::collections::BTreeMap;

use ferrokafka::admin::{ConfigEntry, ConfigResource, ConfigSource};

use crate::cluster::Cluster;
use crate::demo::Options;
use crate::demo::ground::{Creation, Ground};
use crate::error::{Error, Result};
use crate::generator::{Generator, Volume};
use crate::scenario::{Column, Stage, Step};
use crate::topic::{TOPICS, Topic};

pub(super) const STEPS: usize = 8;

/// The day under way.
struct Play<'a> {
    ground: Ground<'a>,
    generator: Generator,
}

pub(super) async fn play(stage: &mut Stage, cluster: &Cluster, options: Options) -> Result<()> {
    stage.line("=== EventMart Topic Architecture ===");
    let ground = Ground::prepare(cluster, options).await?;
    let generator = Generator::new(ground.seed, Volume::default());
    let play = Play { ground, generator };
    play.create(stage).await?;
    play.describe(stage).await?;
    play.explain(stage).await?;
    play.keys(stage).await?;
    play.more_partitions(stage).await?;
    play.lifetimes(stage).await?;
    play.alter(stage).await?;
    play.create_again(stage).await?;
    play.ground.leave().await
}

impl Play<'_> {
    async fn create(&self, stage: &mut Stage) -> Result<()> {
        let mut step = stage.step("Create the seven topics").await;
        step.why("one topic for each kind of fact, so that each has its own readers, retention and number of partitions");
        let (created, unchanged) = self.creations().await?;
        step.fact("EventMart topics created", TOPICS.len(), created);
        step.fact("topics that were there before", 0, unchanged);
        step.line(format!("Successfully created {created} EventMart topics"));
        step.done()
    }

    async fn create_again(&self, stage: &mut Stage) -> Result<()> {
        let mut step = stage.step("Create them once more").await;
        step.why("set-up code runs more than once: it must say what it changed, and leave alone what is right");
        let (created, unchanged) = self.creations().await?;
        step.fact("topics created the second time", 0, created);
        step.fact("topics unchanged", TOPICS.len(), unchanged);
        step.done()
    }

    /// How many of the seven were created now, and how many were there.
    async fn creations(&self) -> Result<(usize, usize)> {
        let outcome = self.ground.create_topics().await?;
        let of_the_seven = |creation: Creation| {
            let names = TOPICS
                .iter()
                .map(|spec| self.ground.names().topic(spec.topic));
            names
                .filter(|name| outcome.get(name) == Some(&creation))
                .count()
        };
        Ok((
            of_the_seven(Creation::Created),
            of_the_seven(Creation::Unchanged),
        ))
    }

    async fn describe(&self, stage: &mut Stage) -> Result<()> {
        let mut step = stage.step("List and describe them").await;
        let names: Vec<String> = TOPICS
            .iter()
            .map(|spec| self.ground.names().topic(spec.topic))
            .collect();
        let listed = self.ground.admin.list_topics().await?;
        let found = names
            .iter()
            .filter(|name| listed.iter().any(|topic| topic.name == **name))
            .count();
        step.fact("topics listed", TOPICS.len(), found);

        let brokers = self.ground.admin.describe_cluster().await?.brokers.len();
        let replication = crate::topic::TopicSpec::replication_factor(brokers) as usize;
        let described = self.ground.admin.describe_topics(&names).await?;
        let mut rows = Vec::new();
        for (spec, (name, topic)) in TOPICS.iter().zip(described) {
            let topic = topic?;
            step.fact(
                &format!("partitions of {}", spec.name),
                spec.partitions as usize,
                topic.partitions.len(),
            );
            let replicas = topic
                .partitions
                .iter()
                .map(|partition| partition.replicas.len())
                .min()
                .unwrap_or(0);
            step.fact(&format!("replicas of {}", spec.name), replication, replicas);
            let configs = topic_configs(&self.ground, &name).await?;
            let mut shown = Vec::new();
            for config in spec.configs {
                let entry = configs.get(config.name);
                let value = entry
                    .and_then(|entry| entry.value.clone())
                    .unwrap_or_default();
                step.fact(
                    &format!("{} of {}", config.name, spec.name),
                    config.value,
                    value.as_str(),
                );
                shown.push(format!("{}={value}", config.name));
            }
            if spec.topic == Topic::Orders {
                as_the_documents_print_it(&step, &name, topic.partitions.len(), replicas, &configs);
            }
            rows.push(vec![
                spec.name.to_owned(),
                topic.partitions.len().to_string(),
                replicas.to_string(),
                shown.join(" "),
            ]);
        }
        let columns = [
            Column::text("topic"),
            Column::number("partitions"),
            Column::number("replicas"),
            Column::text("configs"),
        ];
        step.table("topics as the cluster describes them", &columns, rows);
        step.hint("eventmart topic list");
        step.hint("eventmart topic describe eventmart-orders");
        step.done()
    }

    async fn explain(&self, stage: &mut Stage) -> Result<()> {
        let step = stage.step("Why they look like that").await;
        let mut partitions = Vec::new();
        let mut keys = Vec::new();
        let mut configs = Vec::new();
        for spec in &TOPICS {
            let name = spec.name.to_owned();
            partitions.push(vec![
                name.clone(),
                spec.partitions.to_string(),
                spec.partitions_reason.to_owned(),
            ]);
            keys.push(vec![
                name.clone(),
                spec.key.to_owned(),
                spec.key_reason.to_owned(),
            ]);
            for config in spec.configs {
                configs.push(vec![
                    name.clone(),
                    config.name.to_owned(),
                    config.reason.to_owned(),
                ]);
            }
        }
        let because = |what: Column| [Column::text("topic"), what, Column::text("because")];
        step.table(
            "partitions",
            &because(Column::number("partitions")),
            partitions,
        );
        step.table("keys", &because(Column::text("key")), keys);
        let columns = because(Column::text("config"));
        step.table("configs", &columns, configs);
        step.done()
    }
}

fn as_the_documents_print_it(
    step: &Step<'_>,
    name: &str,
    partitions: usize,
    replicas: usize,
    configs: &BTreeMap<String, ConfigEntry>,
) {
    let retention = configs
        .get("retention.ms")
        .and_then(|entry| entry.value.as_deref())
        .unwrap_or("?");
    step.line(format!("Topic: {name}"));
    step.line(format!("  Partitions: {partitions}"));
    step.line(format!("  Replication Factor: {replicas}"));
    step.line(format!("  retention.ms: {retention}"));
}

/// The configs of a topic by name.
async fn topic_configs(ground: &Ground<'_>, topic: &str) -> Result<BTreeMap<String, ConfigEntry>> {
    let described = ground
        .admin
        .describe_configs(&[ConfigResource::topic(topic)])
        .await?;
    let Some((_, entries)) = described.into_iter().next() else {
        return Err(Error::fact(format!(
            "the configs of {topic} were not described"
        )));
    };
    Ok(entries?
        .into_iter()
        .map(|entry| (entry.name.clone(), entry))
        .collect())
}

/// Where a value comes from, in a word.
fn source(entry: &ConfigEntry) -> &'static str {
    match entry.source {
        ConfigSource::Topic => "topic",
        _ => "default",
    }
}
