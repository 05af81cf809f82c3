//! Topics: CreateTopics v2 to v7, DeleteTopics v1 to v6, CreatePartitions v0 to v3, Metadata.
//!
//! CreateTopics v5 tells what was created, v7 its id. DeleteTopics v6 can delete by id, and takes names
//! in another place. Topics are created by the controller; in KRaft mode any broker forwards to it.

use std::collections::BTreeMap;
use std::time::Duration;

use ferrokafka_client::{CallTrace, Error, Lane, NodeId, Partition, Route};
use ferrokafka_wire::ErrorCode;
use ferrokafka_wire::messages::create_partitions_request::{
    CreatePartitionsAssignment, CreatePartitionsTopic,
};
use ferrokafka_wire::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig,
};
use ferrokafka_wire::messages::create_topics_response::CreatableTopicResult;
use ferrokafka_wire::messages::delete_topics_request::DeleteTopicState;
use ferrokafka_wire::messages::metadata_request::MetadataRequestTopic;
use ferrokafka_wire::messages::metadata_response::MetadataResponseTopic;
use ferrokafka_wire::messages::{
    BrokerId, CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest, MetadataRequest,
    MetadataResponse, TopicName,
};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use crate::admin::{Admin, PerItem, controller_moved, in_order, item, millis_until, text};
use crate::configs::ConfigEntry;

/// A topic to be created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTopic {
    /// Its name.
    pub name: String,
    /// How many partitions; -1 takes the broker's `num.partitions`. Not used with assignments.
    pub partitions: i32,
    /// How many copies of each; -1 takes the broker's `default.replication.factor`. Not used with
    /// assignments.
    pub replication_factor: i16,
    /// Its configs, by Kafka's names.
    pub configs: BTreeMap<String, String>,
    /// Which brokers hold which partition, the preferred leader first. Empty leaves it to the broker.
    pub assignments: BTreeMap<i32, Vec<NodeId>>,
}

impl NewTopic {
    /// A topic with so many partitions and copies.
    pub fn new(name: impl Into<String>, partitions: i32, replication_factor: i16) -> Self {
        Self {
            name: name.into(),
            partitions,
            replication_factor,
            configs: BTreeMap::new(),
            assignments: BTreeMap::new(),
        }
    }

    /// Adds a config.
    #[must_use]
    pub fn config(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.configs.insert(name.into(), value.into());
        self
    }

    fn to_message(&self) -> CreatableTopic {
        let assignments: Vec<_> = self
            .assignments
            .iter()
            .map(|(partition, nodes)| {
                CreatableReplicaAssignment::default()
                    .with_partition_index(*partition)
                    .with_broker_ids(nodes.iter().copied().map(BrokerId).collect())
            })
            .collect();
        // With an assignment the counts follow from it, and brokers insist on -1.
        let is_assigned = !assignments.is_empty();
        let configs = self.configs.iter().map(|(name, value)| {
            CreatableTopicConfig::default()
                .with_name(text(name))
                .with_value(Some(text(value)))
        });
        CreatableTopic::default()
            .with_name(TopicName(text(&self.name)))
            .with_num_partitions(if is_assigned { -1 } else { self.partitions })
            .with_replication_factor(if is_assigned {
                -1
            } else {
                self.replication_factor
            })
            .with_assignments(assignments)
            .with_configs(configs.collect())
    }
}

/// More partitions for a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewPartitions {
    /// The topic.
    pub topic: String,
    /// How many it is to have in all. They can only become more.
    pub total: i32,
    /// Which brokers hold each new partition. Empty leaves it to the broker.
    pub assignments: Vec<Vec<NodeId>>,
}

impl NewPartitions {
    /// Raises a topic to so many partitions.
    pub fn new(topic: impl Into<String>, total: i32) -> Self {
        Self {
            topic: topic.into(),
            total,
            assignments: Vec::new(),
        }
    }
}

/// How to create.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CreateOptions {
    /// Only check whether it could be done.
    pub validate_only: bool,
    /// Longest wait; none takes `default.api.timeout.ms`.
    pub timeout: Option<Duration>,
}

/// What was created. Brokers before Kafka 2.4 do not tell: counts are then -1, and there are no configs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreatedTopic {
    /// The topic's id; nil from brokers before Kafka 2.8.
    pub id: Uuid,
    /// How many partitions it has.
    pub partitions: i32,
    /// How many copies of each.
    pub replication_factor: i16,
    /// Its configs, the defaults too, as far as the caller may see them.
    pub configs: Vec<ConfigEntry>,
}

/// A topic's name and nature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicListing {
    /// Its name.
    pub name: String,
    /// Its id.
    pub id: Uuid,
    /// Whether the cluster keeps it for itself.
    pub internal: bool,
    /// How many partitions it has.
    pub partitions: usize,
}

/// A topic and where its partitions are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicDescription {
    /// Its name.
    pub name: String,
    /// Its id.
    pub id: Uuid,
    /// Whether the cluster keeps it for itself.
    pub internal: bool,
    /// Its partitions, ordered by number.
    pub partitions: Vec<Partition>,
}

/// Waits between looks at topics that are not there yet.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

impl Admin {
    /// Creates topics. Brokers learn of a new topic a moment later: see [`Admin::wait_for_topics`].
    ///
    /// # Errors
    /// No controller could be made to answer.
    pub async fn create_topics(
        &self,
        topics: &[NewTopic],
        options: CreateOptions,
    ) -> Result<PerItem<String, CreatedTopic>, Error> {
        let deadline = self.deadline_of(options);
        let answer = self.client().call_traced(
            Route::Controller,
            Lane::Control,
            deadline,
            |_| create_request(topics, options, deadline),
            |response| controller_moved(response.topics.iter().map(|topic| topic.error_code)),
        );
        let (response, trace) = answer.await?;
        let results = response.topics.iter().map(|topic| {
            let name = topic.name.to_string();
            let what = || format!("create topic {name}");
            let created = item(topic.error_code, topic.error_message.as_ref(), what, || {
                created(topic)
            });
            let created = own_doing(created, trace, ErrorCode::TopicAlreadyExists);
            (name, created)
        });
        let names = topics.iter().map(|topic| topic.name.clone());
        Ok(in_order(names, results.collect()))
    }

    /// Deletes topics.
    ///
    /// # Errors
    /// No controller could be made to answer.
    pub async fn delete_topics(
        &self,
        topics: &[impl AsRef<str> + Sync],
    ) -> Result<PerItem<String, ()>, Error> {
        let deadline = self.deadline();
        let names: Vec<&str> = topics.iter().map(AsRef::as_ref).collect();
        let answer = self.client().call_traced(
            Route::Controller,
            Lane::Control,
            deadline,
            |version| delete_request(version, &names, deadline),
            |response| controller_moved(response.responses.iter().map(|topic| topic.error_code)),
        );
        let (response, trace) = answer.await?;
        let results = response.responses.iter().map(|topic| {
            let name = topic.name.as_ref().map(|name| name.to_string());
            let name = name.unwrap_or_default();
            let what = || format!("delete topic {name}");
            let deleted = item(topic.error_code, topic.error_message.as_ref(), what, || ());
            let deleted = own_doing(deleted, trace, ErrorCode::UnknownTopicOrPartition);
            (name, deleted)
        });
        let names = names.iter().map(|name| (*name).to_owned());
        Ok(in_order(names, results.collect()))
    }

    /// Adds partitions to topics. Keys move: a key's partition depends on how many there are.
    ///
    /// # Errors
    /// No controller could be made to answer.
    pub async fn create_partitions(
        &self,
        partitions: &[NewPartitions],
        options: CreateOptions,
    ) -> Result<PerItem<String, ()>, Error> {
        let deadline = self.deadline_of(options);
        let response = self.client().call(
            Route::Controller,
            Lane::Control,
            deadline,
            |_| partitions_request(partitions, options, deadline),
            |response| controller_moved(response.results.iter().map(|topic| topic.error_code)),
        );
        let response = response.await?;
        let results = response.results.iter().map(|topic| {
            let name = topic.name.to_string();
            let what = || format!("add partitions to topic {name}");
            let added = item(topic.error_code, topic.error_message.as_ref(), what, || ());
            (name, added)
        });
        let names = partitions.iter().map(|topic| topic.topic.clone());
        Ok(in_order(names, results.collect()))
    }

    /// Lists all topics, ordered by name.
    ///
    /// # Errors
    /// No broker could be made to answer.
    pub async fn list_topics(&self) -> Result<Vec<TopicListing>, Error> {
        let response = self.topic_metadata(None, self.deadline()).await?;
        let mut topics: Vec<TopicListing> = response
            .topics
            .iter()
            .filter_map(|topic| {
                Some(TopicListing {
                    name: topic.name.as_ref()?.to_string(),
                    id: topic.topic_id,
                    internal: topic.is_internal,
                    partitions: topic.partitions.len(),
                })
            })
            .collect();
        topics.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(topics)
    }

    /// Describes topics as they are now.
    ///
    /// # Errors
    /// No broker could be made to answer.
    pub async fn describe_topics(
        &self,
        topics: &[impl AsRef<str> + Sync],
    ) -> Result<PerItem<String, TopicDescription>, Error> {
        let names: Vec<String> = topics
            .iter()
            .map(|topic| topic.as_ref().to_owned())
            .collect();
        self.describe_until(names, self.deadline()).await
    }

    /// Waits until these topics are known to brokers, with a leader for every partition: after their
    /// creation that takes a moment.
    ///
    /// # Errors
    /// The first topic's error that is still there after `timeout`.
    pub async fn wait_for_topics(
        &self,
        topics: &[impl AsRef<str> + Sync],
        timeout: Duration,
    ) -> Result<(), Error> {
        let names: Vec<String> = topics
            .iter()
            .map(|topic| topic.as_ref().to_owned())
            .collect();
        let deadline = Instant::now() + timeout;
        loop {
            let described = self.describe_until(names.clone(), deadline).await?;
            let missing = described.into_iter().find_map(|(_, topic)| match topic {
                Ok(topic) => {
                    let headless = topic.partitions.iter().find(|p| p.leader.is_none())?;
                    let what = format!("topic {}, partition {}", topic.name, headless.id);
                    Some(Error::from_code(ErrorCode::LeaderNotAvailable, what))
                }
                Err(error) => Some(error),
            });
            match missing {
                None => return Ok(()),
                Some(error) if !error.is_retriable() => return Err(error),
                Some(error) if Instant::now() + LOOK_AGAIN >= deadline => {
                    return Err(error.with_elapsed(timeout));
                }
                Some(_) => sleep(LOOK_AGAIN).await,
            }
        }
    }

    async fn describe_until(
        &self,
        names: Vec<String>,
        deadline: Instant,
    ) -> Result<PerItem<String, TopicDescription>, Error> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let response = self.topic_metadata(Some(&names), deadline).await?;
        let results = response.topics.iter().map(|topic| {
            let name = topic.name.as_ref().map(|name| name.to_string());
            let name = name.unwrap_or_default();
            let what = || format!("describe topic {name}");
            let described = item(topic.error_code, None, what, || described(&name, topic));
            (name, described)
        });
        Ok(in_order(names, results.collect()))
    }

    /// Asks any broker about these topics, or all of them.
    async fn topic_metadata(
        &self,
        names: Option<&[String]>,
        deadline: Instant,
    ) -> Result<MetadataResponse, Error> {
        let build = |version| metadata_request(version, names);
        let check = |response: &MetadataResponse| ErrorCode::from_code(response.error_code);
        let call = self
            .client()
            .call(Route::Any, Lane::Control, deadline, build, check);
        call.await
    }

    fn deadline_of(&self, options: CreateOptions) -> Instant {
        match options.timeout {
            Some(timeout) => Instant::now() + timeout,
            None => self.deadline(),
        }
    }
}

/// The request, alike in all its versions.
fn create_request(
    topics: &[NewTopic],
    options: CreateOptions,
    deadline: Instant,
) -> CreateTopicsRequest {
    CreateTopicsRequest::default()
        .with_topics(topics.iter().map(NewTopic::to_message).collect())
        .with_timeout_ms(millis_until(deadline))
        .with_validate_only(options.validate_only)
}

/// The request, in any of its versions.
fn delete_request(version: i16, names: &[&str], deadline: Instant) -> DeleteTopicsRequest {
    let names = names.iter().map(|name| TopicName(text(*name)));
    let request = DeleteTopicsRequest::default().with_timeout_ms(millis_until(deadline));
    if version >= 6 {
        let states = names.map(|name| DeleteTopicState::default().with_name(Some(name)));
        request.with_topics(states.collect())
    } else {
        request.with_topic_names(names.collect())
    }
}

/// The request, alike in all its versions.
fn partitions_request(
    partitions: &[NewPartitions],
    options: CreateOptions,
    deadline: Instant,
) -> CreatePartitionsRequest {
    CreatePartitionsRequest::default()
        .with_topics(partitions.iter().map(new_partitions).collect())
        .with_timeout_ms(millis_until(deadline))
        .with_validate_only(options.validate_only)
}

/// The request, in any of its versions; no names means all topics.
fn metadata_request(version: i16, names: Option<&[String]>) -> MetadataRequest {
    let topics = names.map(|names| {
        let topics = names
            .iter()
            .map(|name| MetadataRequestTopic::default().with_name(Some(TopicName(text(name)))));
        topics.collect()
    });
    // In v0 an empty list means all topics.
    let topics = if version == 0 {
        Some(topics.unwrap_or_default())
    } else {
        topics
    };
    let request = MetadataRequest::default().with_topics(topics);
    if version >= 4 {
        request.with_allow_auto_topic_creation(false)
    } else {
        request
    }
}

fn created(topic: &CreatableTopicResult) -> CreatedTopic {
    let configs = topic.configs.iter().flatten().map(ConfigEntry::of_created);
    CreatedTopic {
        id: topic.topic_id,
        partitions: topic.num_partitions,
        replication_factor: topic.replication_factor,
        configs: configs.collect(),
    }
}

fn new_partitions(partitions: &NewPartitions) -> CreatePartitionsTopic {
    let assignments = partitions.assignments.iter().map(|nodes| {
        CreatePartitionsAssignment::default()
            .with_broker_ids(nodes.iter().copied().map(BrokerId).collect())
    });
    let assignments: Vec<_> = assignments.collect();
    CreatePartitionsTopic::default()
        .with_name(TopicName(text(&partitions.topic)))
        .with_count(partitions.total)
        .with_assignments((!assignments.is_empty()).then_some(assignments))
}

fn described(name: &str, topic: &MetadataResponseTopic) -> TopicDescription {
    let mut partitions: Vec<Partition> = topic.partitions.iter().map(Partition::from).collect();
    partitions.sort_by_key(|partition| partition.id);
    TopicDescription {
        name: name.to_owned(),
        id: topic.topic_id,
        internal: topic.is_internal,
        partitions,
    }
}

/// Where an earlier attempt of the same call may have done what the answer complains about, says so.
fn own_doing<T>(result: Result<T, Error>, trace: CallTrace, code: ErrorCode) -> Result<T, Error> {
    result.map_err(|error| {
        if trace.maybe_done_before && error.code() == Some(code) {
            error
                .with_attempts(trace.attempts)
                .with_delivery(ferrokafka_client::Delivery::Unknown)
                .with_hint("an earlier attempt of this call may have done it: its answer was lost")
        } else {
            error
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::encodes_in_every_version;

    #[tokio::test]
    async fn every_version_encodes() {
        let deadline = Instant::now() + Duration::from_secs(1);
        let options = CreateOptions::default();
        let mut placed = NewTopic::new("placed", 1, 1);
        placed.assignments.insert(0, vec![1, 2]);
        let topics = [
            NewTopic::new("orders", 6, -1).config("retention.ms", "1"),
            placed,
        ];
        encodes_in_every_version(|_| create_request(&topics, options, deadline));
        encodes_in_every_version(|version| delete_request(version, &["orders"], deadline));
        let mut more = NewPartitions::new("orders", 3);
        encodes_in_every_version(|_| partitions_request(&[more.clone()], options, deadline));
        more.assignments.push(vec![1]);
        encodes_in_every_version(|_| partitions_request(&[more.clone()], options, deadline));
        encodes_in_every_version(|version| metadata_request(version, None));
        let names = ["orders".to_owned()];
        encodes_in_every_version(|version| metadata_request(version, Some(&names)));
    }
}
