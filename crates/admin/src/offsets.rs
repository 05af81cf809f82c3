//! Offsets by time: ListOffsets v1 to v10, asked of each partition's leader.
//!
//! v2 adds the isolation level, v4 the leader's epoch, v7 the record with the largest timestamp, v10 a
//! timeout.

use std::collections::BTreeMap;

use ferrokafka_client::{Backoff, Cluster, Error, ErrorKind, Lane, NodeId, TopicPartition};
use ferrokafka_wire::ErrorCode;
use ferrokafka_wire::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use ferrokafka_wire::messages::list_offsets_response::ListOffsetsPartitionResponse;
use ferrokafka_wire::messages::{BrokerId, ListOffsetsRequest, TopicName};
use futures_util::future::join_all;
use tokio::time::{Instant, sleep};

use crate::admin::{Admin, PerItem, millis_until, text};

/// Which offset is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OffsetSpec {
    /// The first that can be read: the log start offset.
    Earliest,
    /// The one after the last that can be read: the high watermark, or under
    /// [`IsolationLevel::ReadCommitted`] the last stable offset.
    Latest,
    /// That of the record with the largest timestamp. Brokers from Kafka 3.0.
    MaxTimestamp,
    /// That of the first record whose timestamp, in milliseconds, is this or later.
    Timestamp(i64),
}

/// What counts as readable.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum IsolationLevel {
    /// Everything replicated.
    #[default]
    ReadUncommitted,
    /// Only what no open transaction is in the way of.
    ReadCommitted,
}

/// An offset that was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListedOffset {
    /// The offset; none if no record is so late.
    pub offset: Option<i64>,
    /// The record's timestamp, where one was asked for.
    pub timestamp: Option<i64>,
    /// The leader epoch of the record.
    pub leader_epoch: Option<i32>,
}

/// The first version that finds the largest timestamp.
const MAX_TIMESTAMP_SINCE: i16 = 7;

impl OffsetSpec {
    fn timestamp(self) -> i64 {
        match self {
            Self::Latest => -1,
            Self::Earliest => -2,
            Self::MaxTimestamp => -3,
            // Negative times would be taken for one of the above.
            Self::Timestamp(millis) => millis.max(0),
        }
    }
}

type Wanted = (TopicPartition, OffsetSpec);

impl Admin {
    /// Finds offsets by time. Moved leaders are followed until the deadline.
    ///
    /// # Errors
    /// None as a whole: what concerns a partition is in its result.
    pub async fn list_offsets(
        &self,
        wanted: &[(TopicPartition, OffsetSpec)],
    ) -> Result<PerItem<TopicPartition, ListedOffset>, Error> {
        self.list_offsets_as(wanted, IsolationLevel::default())
            .await
    }

    /// The same, saying what counts as readable.
    ///
    /// # Errors
    /// As [`Admin::list_offsets`].
    pub async fn list_offsets_as(
        &self,
        wanted: &[(TopicPartition, OffsetSpec)],
        isolation: IsolationLevel,
    ) -> Result<PerItem<TopicPartition, ListedOffset>, Error> {
        let deadline = self.deadline();
        let backoff: Backoff = self.client().config().get_retry_backoff();
        let mut results: Vec<Option<Result<ListedOffset, Error>>> = vec![None; wanted.len()];
        let mut open: Vec<usize> = (0..wanted.len()).collect();
        let mut attempts = 0;
        loop {
            let answers = self.ask_leaders(wanted, &open, isolation, deadline).await?;
            for (place, answer) in answers {
                results[place] = Some(answer);
            }
            attempts += 1;
            open.retain(|place| match &results[*place] {
                Some(Ok(_)) => false,
                Some(Err(error)) => error.is_retriable() && !is_missing(error),
                None => true,
            });
            let delay = backoff.delay(attempts - 1);
            if open.is_empty() || Instant::now() + delay >= deadline {
                break;
            }
            sleep(delay).await;
            // Should nobody answer, the next attempt fails and says why.
            let _ = self.client().refresh_now(deadline).await;
        }
        let missing = || {
            Err(Error::new(
                ErrorKind::Protocol,
                "the leader's answer leaves it out",
            ))
        };
        let named = wanted
            .iter()
            .zip(results)
            .map(|((topic_partition, _), result)| {
                let result = result.unwrap_or_else(missing);
                let result = result.map_err(|error| {
                    error
                        .with_topic_partition(topic_partition.clone())
                        .with_attempts(attempts)
                });
                (topic_partition.clone(), result)
            });
        Ok(named.collect())
    }

    /// Asks every leader once about its partitions.
    async fn ask_leaders(
        &self,
        wanted: &[Wanted],
        open: &[usize],
        isolation: IsolationLevel,
        deadline: Instant,
    ) -> Result<Vec<(usize, Result<ListedOffset, Error>)>, Error> {
        let mut topics: Vec<_> = open
            .iter()
            .map(|place| wanted[*place].0.topic.clone())
            .collect();
        topics.sort();
        topics.dedup();
        let cluster = self.client().metadata(&topics, deadline).await?;
        let mut answers = Vec::new();
        // Brokers refuse a partition that stands twice in a request, so the second question about it
        // (its first offset and its last, say) goes into a second request.
        let mut times_asked: BTreeMap<&TopicPartition, usize> = BTreeMap::new();
        let mut requests: BTreeMap<(usize, NodeId), Vec<usize>> = BTreeMap::new();
        for place in open {
            let topic_partition = &wanted[*place].0;
            match leader(&cluster, topic_partition) {
                Ok(node) => {
                    let times = times_asked.entry(topic_partition).or_default();
                    requests.entry((*times, node)).or_default().push(*place);
                    *times += 1;
                }
                Err(error) => answers.push((*place, Err(error))),
            }
        }
        let asked = requests.into_iter().map(|((_, node), places)| async move {
            self.ask_leader(node, wanted, places, isolation, deadline)
                .await
        });
        answers.extend(join_all(asked).await.into_iter().flatten());
        Ok(answers)
    }

    async fn ask_leader(
        &self,
        node: NodeId,
        wanted: &[Wanted],
        places: Vec<usize>,
        isolation: IsolationLevel,
        deadline: Instant,
    ) -> Vec<(usize, Result<ListedOffset, Error>)> {
        let build = |version| request(version, wanted, &places, isolation, deadline);
        let answer = self
            .client()
            .request(node, Lane::Control, deadline, build)
            .await;
        let (version, response) = match answer {
            Ok(answer) => answer,
            Err(error) => {
                return places
                    .into_iter()
                    .map(|place| (place, Err(error.clone())))
                    .collect();
            }
        };
        let mut answers: BTreeMap<(&str, i32), &ListOffsetsPartitionResponse> = BTreeMap::new();
        for topic in &response.topics {
            for partition in &topic.partitions {
                answers.insert((&topic.name, partition.partition_index), partition);
            }
        }
        let mut listed = Vec::new();
        for place in places {
            let (topic_partition, spec) = &wanted[place];
            let key = (&*topic_partition.topic, topic_partition.partition);
            if let Some(answer) = answers.get(&key) {
                listed.push((place, listed_offset(answer, *spec, version, node)));
            }
        }
        listed
    }
}

fn leader(cluster: &Cluster, topic_partition: &TopicPartition) -> Result<NodeId, Error> {
    if let Some((node, _)) = cluster.leader(topic_partition) {
        return Ok(node);
    }
    let topic = cluster.topic(&topic_partition.topic);
    let code = match topic.map(|topic| topic.error) {
        Some(code) if !code.is_none() => code,
        Some(_) if cluster.partition(topic_partition).is_some() => ErrorCode::LeaderNotAvailable,
        _ => ErrorCode::UnknownTopicOrPartition,
    };
    Err(Error::from_code(code, "list offsets").with_topic_partition(topic_partition.clone()))
}

/// Whether metadata itself says that the partition does not exist: asking again will not change that.
/// A leader that does not know the partition only lags behind.
fn is_missing(error: &Error) -> bool {
    error.code() == Some(ErrorCode::UnknownTopicOrPartition) && error.node().is_none()
}

/// The request for these partitions, in any of its versions.
fn request(
    version: i16,
    wanted: &[Wanted],
    places: &[usize],
    isolation: IsolationLevel,
    deadline: Instant,
) -> ListOffsetsRequest {
    let mut topics: BTreeMap<&str, Vec<ListOffsetsPartition>> = BTreeMap::new();
    for place in places {
        let (topic_partition, spec) = &wanted[*place];
        let partition = ListOffsetsPartition::default()
            .with_partition_index(topic_partition.partition)
            .with_timestamp(spec.timestamp());
        let partitions = topics.entry(&topic_partition.topic).or_default();
        partitions.push(partition);
    }
    let topics = topics.into_iter().map(|(name, partitions)| {
        ListOffsetsTopic::default()
            .with_name(TopicName(text(name)))
            .with_partitions(partitions)
    });
    let request = ListOffsetsRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_topics(topics.collect());
    let request = match isolation {
        IsolationLevel::ReadCommitted if version >= 2 => request.with_isolation_level(1),
        _ => request,
    };
    if version >= 10 {
        request.with_timeout_ms(millis_until(deadline))
    } else {
        request
    }
}

fn listed_offset(
    answer: &ListOffsetsPartitionResponse,
    spec: OffsetSpec,
    version: i16,
    node: NodeId,
) -> Result<ListedOffset, Error> {
    let code = ErrorCode::from_code(answer.error_code);
    if !code.is_none() {
        return Err(Error::from_code(code, "list offsets").with_node(node));
    }
    if spec == OffsetSpec::MaxTimestamp && version < MAX_TIMESTAMP_SINCE {
        let message = "the broker cannot find the largest timestamp: ListOffsets v7 is needed";
        return Err(Error::new(ErrorKind::UnsupportedVersion, message));
    }
    Ok(ListedOffset {
        offset: (answer.offset >= 0).then_some(answer.offset),
        timestamp: (answer.timestamp >= 0).then_some(answer.timestamp),
        leader_epoch: (answer.leader_epoch >= 0).then_some(answer.leader_epoch),
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::admin::encodes_in_every_version;

    #[tokio::test]
    async fn every_version_encodes() {
        let deadline = Instant::now() + Duration::from_secs(1);
        let wanted = [
            (TopicPartition::new("orders", 0), OffsetSpec::Earliest),
            (TopicPartition::new("orders", 1), OffsetSpec::MaxTimestamp),
            (TopicPartition::new("payments", 0), OffsetSpec::Timestamp(5)),
        ];
        for isolation in [
            IsolationLevel::ReadUncommitted,
            IsolationLevel::ReadCommitted,
        ] {
            encodes_in_every_version(|v| request(v, &wanted, &[0, 1, 2], isolation, deadline));
        }
    }

    #[test]
    fn negative_times_are_no_special_offsets() {
        assert_eq!(OffsetSpec::Timestamp(-1).timestamp(), 0);
        assert_eq!(OffsetSpec::Latest.timestamp(), -1);
        assert_eq!(OffsetSpec::Earliest.timestamp(), -2);
        assert_eq!(OffsetSpec::MaxTimestamp.timestamp(), -3);
    }
}
