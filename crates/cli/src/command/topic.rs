//! `eventmart topic`: list, describe, create.

use eventmart_core::TOPICS;
use eventmart_core::error::{Error, ErrorKind, Result};
use eventmart_core::scenario::Column;
use eventmart_core::topic::TopicSpec;
use ferrokafka::admin::{ConfigEntry, ConfigResource, CreateOptions, NewTopic, TopicDescription};
use ferrokafka::broker::TopicConfig;
use ferrokafka::{Admin, ErrorCode};
use serde_json::json;

use crate::args::{Output, OutputArgs, TopicCommand};
use crate::command::cluster;
use crate::failure::Exit;
use crate::output::{self, Row};

pub(crate) async fn run(command: TopicCommand) -> Result<Exit> {
    match command {
        TopicCommand::List {
            cluster,
            output,
            internal,
        } => list(&cluster.broker, output, internal).await,
        TopicCommand::Describe {
            names,
            cluster,
            output,
        } => describe(&cluster.broker, &names, output).await,
        TopicCommand::Create {
            name,
            partitions,
            replication_factor,
            configs,
            cluster,
        } => {
            let admin = cluster::admin(&cluster.broker).await?;
            if name == "eventmart" {
                return create_platform(&admin).await;
            }
            let mut topic = NewTopic::new(name, partitions, replication_factor);
            for (key, value) in configs {
                topic = topic.config(key, value);
            }
            create(&admin, &[topic]).await
        }
    }
}

async fn list(bootstrap: &str, output: OutputArgs, internal: bool) -> Result<Exit> {
    let admin = cluster::admin(bootstrap).await?;
    let topics = admin.list_topics().await?;
    let rows = topics.into_iter().filter(|topic| internal || !topic.internal).map(|topic| Row {
        cells: vec![topic.name.clone(), topic.partitions.to_string()],
        json: json!({ "name": topic.name, "partitions": topic.partitions, "internal": topic.internal }),
    });
    output::print(
        &[Column::text("topic"), Column::number("partitions")],
        rows.collect(),
        output.form(),
    );
    Ok(Exit::Ok)
}

/// A topic with what makes it special.
struct Described {
    topic: TopicDescription,
    configs: Vec<ConfigEntry>,
}

async fn describe(bootstrap: &str, names: &[String], output: OutputArgs) -> Result<Exit> {
    let admin = cluster::admin(bootstrap).await?;
    let mut described = Vec::new();
    for (name, result) in admin.describe_topics(names).await? {
        let topic = match result {
            Ok(topic) => topic,
            Err(error) if error.code() == Some(ErrorCode::UnknownTopicOrPartition) => {
                let known: Vec<String> = admin
                    .list_topics()
                    .await?
                    .into_iter()
                    .map(|topic| topic.name)
                    .collect();
                return Err(cluster::not_found("topic", &name, &known));
            }
            Err(error) => return Err(error.into()),
        };
        let mut configs = Vec::new();
        for (_, entries) in admin
            .describe_configs(&[ConfigResource::topic(&name)])
            .await?
        {
            configs.extend(entries?.into_iter().filter(|entry| !entry.is_default()));
        }
        described.push(Described { topic, configs });
    }
    match output.form() {
        Output::Table => described
            .iter()
            .for_each(|topic| anstream::print!("{}", sheet(topic))),
        form => output::print(
            &[Column::text("topic")],
            described.iter().map(row).collect(),
            form,
        ),
    }
    Ok(Exit::Ok)
}

fn replication(topic: &TopicDescription) -> usize {
    topic
        .partitions
        .first()
        .map_or(0, |partition| partition.replicas.len())
}

/// As the course documents show it.
fn sheet(described: &Described) -> String {
    let topic = &described.topic;
    let mut text = format!(
        "Topic: {}\n  Partitions: {}\n  Replication Factor: {}\n",
        topic.name,
        topic.partitions.len(),
        replication(topic)
    );
    for config in &described.configs {
        text.push_str(&format!(
            "  {}: {}\n",
            config.name,
            config.value.as_deref().unwrap_or("")
        ));
    }
    text
}

fn row(described: &Described) -> Row {
    let topic = &described.topic;
    let configs: serde_json::Map<String, serde_json::Value> = described
        .configs
        .iter()
        .map(|config| (config.name.clone(), json!(config.value)))
        .collect();
    let partitions: Vec<_> = topic
        .partitions
        .iter()
        .map(|partition| {
            json!({ "partition": partition.id, "leader": partition.leader, "replicas": partition.replicas, "isr": partition.isr })
        })
        .collect();
    Row {
        cells: vec![topic.name.clone()],
        json: json!({
            "name": topic.name,
            "partitions": topic.partitions.len(),
            "replication_factor": replication(topic),
            "configs": configs,
            "layout": partitions,
        }),
    }
}

/// The seven topics of the platform.
async fn create_platform(admin: &Admin) -> Result<Exit> {
    let brokers = admin.describe_cluster().await?.brokers.len();
    let topics = TOPICS.map(|spec| {
        let topic = NewTopic::new(
            spec.name,
            spec.partitions,
            TopicSpec::replication_factor(brokers),
        );
        spec.configs.iter().fold(topic, |topic, config| {
            topic.config(config.name, config.value)
        })
    });
    create(admin, &topics).await
}

async fn create(admin: &Admin, topics: &[NewTopic]) -> Result<Exit> {
    for (name, result) in admin
        .create_topics(topics, CreateOptions::default())
        .await?
    {
        match result {
            Ok(created) => {
                anstream::println!("{name}: created with {} partitions", created.partitions)
            }
            Err(error)
                if error.code() == Some(ErrorCode::TopicAlreadyExists) && topics.len() > 1 =>
            {
                anstream::println!("{name}: there already, unchanged");
            }
            Err(error) if error.code() == Some(ErrorCode::TopicAlreadyExists) => {
                return Err(
                    Error::new(ErrorKind::Broker, format!("topic {name} exists already"))
                        .fix(format!("look at it: eventmart topic describe {name}")),
                );
            }
            Err(error) => {
                let fix = nearest_config(topics, &name);
                let error = Error::from(error);
                return Err(match fix {
                    Some(fix) => error.fix(fix),
                    None => error,
                });
            }
        }
    }
    Ok(Exit::Ok)
}

/// For a config that no topic has: the one that was probably meant.
fn nearest_config(topics: &[NewTopic], name: &str) -> Option<String> {
    let topic = topics.iter().find(|topic| topic.name == name)?;
    let known = |key: &str| TopicConfig::keys().any(|known| known == key);
    let wrong = topic.configs.keys().find(|key| !known(key))?;
    let near = TopicConfig::keys()
        .map(|key| (strsim::jaro_winkler(key, wrong), key))
        .filter(|(likeness, _)| *likeness > 0.85)
        .max_by(|a, b| a.0.total_cmp(&b.0))?;
    Some(format!(
        "config {wrong} is not known; did you mean {}?",
        near.1
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_config_is_offered() {
        let topics = |key: &str| [NewTopic::new("orders", 1, 1).config(key, "1")];
        let meant = nearest_config(&topics("retention.mss"), "orders");
        assert_eq!(
            meant.as_deref(),
            Some("config retention.mss is not known; did you mean retention.ms?")
        );
        assert_eq!(nearest_config(&topics("retention.ms"), "orders"), None);
        assert_eq!(nearest_config(&topics("zzz"), "orders"), None);
    }
}
