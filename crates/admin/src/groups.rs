//! Groups: ListGroups v0 to v5, DescribeGroups v0 to v6, ConsumerGroupDescribe v0 to v1, DeleteGroups
//! v0 to v2, OffsetFetch v1 to v9.
//!
//! Each broker lists the groups it coordinates, so all are asked. ListGroups v4 tells states, v5 types.
//! DescribeGroups knows classic groups only, ConsumerGroupDescribe (KIP-848) the others. OffsetFetch v8
//! asks for several groups at once.

use ferrokafka_client::{CoordinatorKind, Error, ErrorKind, Lane, NodeId, Route, TopicPartition};
use ferrokafka_wire::ErrorCode;
use ferrokafka_wire::messages::consumer_group_describe_response as consumer_group;
use ferrokafka_wire::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use ferrokafka_wire::messages::list_groups_response::ListedGroup;
use ferrokafka_wire::messages::offset_fetch_request::OffsetFetchRequestGroup;
use ferrokafka_wire::messages::{
    ApiKey, ConsumerGroupDescribeRequest, DeleteGroupsRequest, DescribeGroupsRequest, GroupId,
    ListGroupsRequest, OffsetFetchRequest, OffsetFetchResponse,
};
use futures_util::future::try_join_all;
use futures_util::stream::{self, StreamExt as _};

use crate::admin::{Admin, PerItem, item, text};
use crate::assignment;

/// How many groups are asked about at a time.
const AT_A_TIME: usize = 16;

/// A group's name and state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupListing {
    /// The group's id.
    pub group_id: String,
    /// `consumer` for consumers; empty for a group that only keeps offsets.
    pub protocol_type: String,
    /// `Stable`, `Empty`, …; empty from brokers before Kafka 2.6.
    pub state: String,
    /// `Classic` or `Consumer`; empty from brokers before Kafka 3.8.
    pub group_type: String,
    /// The broker that coordinates it.
    pub coordinator: NodeId,
}

/// A group and its members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupDescription {
    /// The group's id.
    pub group_id: String,
    /// `Stable`, `PreparingRebalance`, `CompletingRebalance`, `Empty`, `Dead`, …
    pub state: String,
    /// `consumer` for consumers.
    pub protocol_type: String,
    /// The assignor all members agreed on: `range`, `cooperative-sticky`, …; empty without members.
    pub assignor: String,
    /// The broker that coordinates it.
    pub coordinator: NodeId,
    /// The members, ordered by id.
    pub members: Vec<GroupMember>,
}

/// A member of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupMember {
    /// The id the coordinator gave it.
    pub member_id: String,
    /// Its static identity, `group.instance.id`.
    pub group_instance_id: Option<String>,
    /// Its `client.id`.
    pub client_id: String,
    /// The address it connects from.
    pub host: String,
    /// The partitions it has; none if the group's protocol is not that of consumers.
    pub assignment: Option<Vec<TopicPartition>>,
}

/// A committed offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommittedOffset {
    /// The next offset to be read.
    pub offset: i64,
    /// The leader epoch of the record before it, if the committer told.
    pub leader_epoch: Option<i32>,
    /// What the committer wrote beside it.
    pub metadata: String,
}

impl Admin {
    /// Lists all groups, ordered by id.
    ///
    /// # Errors
    /// A broker could not be made to answer: the list would not be whole.
    pub async fn list_groups(&self) -> Result<Vec<GroupListing>, Error> {
        let deadline = self.deadline();
        let cluster = self.client().all_topics(deadline).await?;
        let lists = cluster.brokers.keys().map(|node| async move {
            let response = self.client().call(
                Route::Node(*node),
                Lane::Control,
                deadline,
                |_| ListGroupsRequest::default(),
                |response| ErrorCode::from_code(response.error_code),
            );
            let groups = response.await?.groups;
            let list: Vec<_> = groups.iter().map(|group| listing(group, *node)).collect();
            Ok::<_, Error>(list)
        });
        let mut groups: Vec<GroupListing> = try_join_all(lists).await?.concat();
        // During a move of a coordinator two brokers may name the same group.
        groups.sort_by(|a, b| a.group_id.cmp(&b.group_id));
        groups.dedup_by(|a, b| a.group_id == b.group_id);
        Ok(groups)
    }

    /// Describes groups, classic ones and those of KIP-848. A group that does not exist is an error
    /// (`GROUP_ID_NOT_FOUND`), from brokers before Kafka 4.0 a group in state `Dead`.
    ///
    /// # Errors
    /// None as a whole: what concerns a group is in its result.
    pub async fn describe_groups(
        &self,
        groups: &[impl AsRef<str> + Sync],
    ) -> Result<PerItem<String, GroupDescription>, Error> {
        let groups: Vec<String> = groups
            .iter()
            .map(|group| group.as_ref().to_owned())
            .collect();
        Ok(for_each_group(groups, |group| self.describe_group(group)).await)
    }

    async fn describe_group(&self, group: String) -> Result<GroupDescription, Error> {
        let classic = self.describe_classic_group(&group).await;
        let maybe_newer = match &classic {
            Ok(description) => description.state == "Dead",
            Err(error) => error.code() == Some(ErrorCode::GroupIdNotFound),
        };
        if !maybe_newer {
            return classic;
        }
        let coordinator = self.coordinator(&group).await?;
        let key = ApiKey::ConsumerGroupDescribe as i16;
        if self.client().supports(coordinator, key).is_none() {
            return classic;
        }
        match self.describe_consumer_group(&group, coordinator).await {
            // Neither kind: what the classic API said is the answer.
            Err(error) if error.code() == Some(ErrorCode::GroupIdNotFound) => classic,
            result => result,
        }
    }

    async fn describe_classic_group(&self, group: &str) -> Result<GroupDescription, Error> {
        let response = self
            .client()
            .call(
                Route::Group(group),
                Lane::Control,
                self.deadline(),
                |_| DescribeGroupsRequest::default().with_groups(vec![GroupId(text(group))]),
                |response| {
                    let code = response.groups.first().map_or(0, |group| group.error_code);
                    // Not a failure of the call: the caller looks further.
                    match ErrorCode::from_code(code) {
                        ErrorCode::GroupIdNotFound => ErrorCode::None,
                        code => code,
                    }
                },
            )
            .await?;
        let coordinator = self.coordinator(group).await?;
        let described = response.groups.first().ok_or_else(|| left_out(group))?;
        let what = || format!("describe group {group}");
        item(
            described.error_code,
            described.error_message.as_ref(),
            what,
            || description(described, coordinator),
        )
    }

    async fn describe_consumer_group(
        &self,
        group: &str,
        coordinator: NodeId,
    ) -> Result<GroupDescription, Error> {
        let response = self
            .client()
            .call(
                Route::Group(group),
                Lane::Control,
                self.deadline(),
                |_| {
                    ConsumerGroupDescribeRequest::default()
                        .with_group_ids(vec![GroupId(text(group))])
                },
                |response| {
                    ErrorCode::from_code(
                        response.groups.first().map_or(0, |group| group.error_code),
                    )
                },
            )
            .await?;
        let described = response.groups.first().ok_or_else(|| left_out(group))?;
        Ok(consumer_description(described, coordinator))
    }

    /// Deletes groups and their offsets. Only a group without members can be deleted.
    ///
    /// # Errors
    /// None as a whole: what concerns a group is in its result.
    pub async fn delete_groups(
        &self,
        groups: &[impl AsRef<str> + Sync],
    ) -> Result<PerItem<String, ()>, Error> {
        let groups: Vec<String> = groups
            .iter()
            .map(|group| group.as_ref().to_owned())
            .collect();
        Ok(for_each_group(groups, |group| self.delete_group(group)).await)
    }

    async fn delete_group(&self, group: String) -> Result<(), Error> {
        let call = self.client().call_traced(
            Route::Group(&group),
            Lane::Control,
            self.deadline(),
            |_| DeleteGroupsRequest::default().with_groups_names(vec![GroupId(text(&group))]),
            |response| {
                ErrorCode::from_code(response.results.first().map_or(0, |group| group.error_code))
            },
        );
        let (response, _) = call.await?;
        response.results.first().ok_or_else(|| left_out(&group))?;
        Ok(())
    }

    /// Lists the offsets a group has committed, ordered by topic-partition.
    ///
    /// # Errors
    /// The coordinator could not be made to answer, or refuses.
    pub async fn list_group_offsets(
        &self,
        group: &str,
    ) -> Result<PerItem<TopicPartition, CommittedOffset>, Error> {
        let response = self
            .client()
            .call(
                Route::Group(group),
                Lane::Control,
                self.deadline(),
                |version| offset_fetch(version, group),
                |response| match response.groups.first() {
                    Some(group) => ErrorCode::from_code(group.error_code),
                    None => ErrorCode::from_code(response.error_code),
                },
            )
            .await?;
        Ok(committed_offsets(&response))
    }

    async fn coordinator(&self, group: &str) -> Result<NodeId, Error> {
        let deadline = self.deadline();
        let coordinator = self
            .client()
            .coordinator(CoordinatorKind::Group, group, deadline);
        coordinator.await
    }
}

/// One operation per group, several at a time, results in order.
async fn for_each_group<T, F>(
    groups: Vec<String>,
    operation: impl Fn(String) -> F,
) -> PerItem<String, T>
where
    F: Future<Output = Result<T, Error>>,
{
    let operations = groups.into_iter().map(|group| {
        let result = operation(group.clone());
        async move { (group, result.await) }
    });
    stream::iter(operations).buffered(AT_A_TIME).collect().await
}

fn left_out(group: &str) -> Error {
    let message = format!("the coordinator's answer leaves out group {group}");
    Error::new(ErrorKind::Protocol, message)
}

fn listing(group: &ListedGroup, coordinator: NodeId) -> GroupListing {
    GroupListing {
        group_id: group.group_id.to_string(),
        protocol_type: group.protocol_type.to_string(),
        state: group.group_state.to_string(),
        group_type: group.group_type.to_string(),
        coordinator,
    }
}

fn description(group: &DescribedGroup, coordinator: NodeId) -> GroupDescription {
    let is_consumers = group.protocol_type.as_str() == "consumer";
    let mut members: Vec<GroupMember> = group
        .members
        .iter()
        .map(|member| classic_member(member, is_consumers))
        .collect();
    members.sort_by(|a, b| a.member_id.cmp(&b.member_id));
    GroupDescription {
        group_id: group.group_id.to_string(),
        state: group.group_state.to_string(),
        protocol_type: group.protocol_type.to_string(),
        assignor: group.protocol_data.to_string(),
        coordinator,
        members,
    }
}

fn classic_member(member: &DescribedGroupMember, is_consumer: bool) -> GroupMember {
    let instance = member.group_instance_id.as_ref();
    let assignment = is_consumer.then(|| assignment::partitions(&member.member_assignment));
    GroupMember {
        member_id: member.member_id.to_string(),
        group_instance_id: instance.map(ToString::to_string),
        client_id: member.client_id.to_string(),
        host: member.client_host.to_string(),
        assignment: assignment.flatten(),
    }
}

fn consumer_description(
    group: &consumer_group::DescribedGroup,
    coordinator: NodeId,
) -> GroupDescription {
    let mut members: Vec<GroupMember> = group
        .members
        .iter()
        .map(|member| {
            let topics = member.assignment.topic_partitions.iter();
            let mut assignment: Vec<TopicPartition> = topics
                .flat_map(|topic| {
                    let name: std::sync::Arc<str> = topic.topic_name.as_str().into();
                    let partitions = topic.partitions.iter();
                    partitions.map(move |partition| TopicPartition::new(name.clone(), *partition))
                })
                .collect();
            assignment.sort();
            GroupMember {
                member_id: member.member_id.to_string(),
                group_instance_id: member.instance_id.as_ref().map(ToString::to_string),
                client_id: member.client_id.to_string(),
                host: member.client_host.to_string(),
                assignment: Some(assignment),
            }
        })
        .collect();
    members.sort_by(|a, b| a.member_id.cmp(&b.member_id));
    GroupDescription {
        group_id: group.group_id.to_string(),
        state: group.group_state.to_string(),
        protocol_type: "consumer".to_owned(),
        assignor: group.assignor_name.to_string(),
        coordinator,
        members,
    }
}

/// Asks for all offsets of a group.
fn offset_fetch(version: i16, group: &str) -> OffsetFetchRequest {
    let request = OffsetFetchRequest::default();
    if version >= 8 {
        let group = OffsetFetchRequestGroup::default()
            .with_group_id(GroupId(text(group)))
            .with_member_id(None)
            .with_topics(None);
        request.with_groups(vec![group])
    } else {
        request
            .with_group_id(GroupId(text(group)))
            .with_topics(None)
    }
}

fn committed_offsets(response: &OffsetFetchResponse) -> PerItem<TopicPartition, CommittedOffset> {
    let mut offsets = PerItem::new();
    let mut add =
        |topic: &str, partition: i32, offset: i64, epoch: i32, metadata: Option<&str>, code| {
            let topic_partition = TopicPartition::new(topic, partition);
            let what = || format!("committed offset of {topic_partition}");
            let result = item(code, None, what, || CommittedOffset {
                offset,
                leader_epoch: (epoch >= 0).then_some(epoch),
                metadata: metadata.unwrap_or_default().to_owned(),
            });
            // Nothing was committed: not an offset.
            if offset >= 0 || result.is_err() {
                offsets.push((topic_partition, result));
            }
        };
    for topic in &response.topics {
        for p in &topic.partitions {
            let (offset, epoch) = (p.committed_offset, p.committed_leader_epoch);
            let metadata = p.metadata.as_deref();
            add(
                &topic.name,
                p.partition_index,
                offset,
                epoch,
                metadata,
                p.error_code,
            );
        }
    }
    for topic in response.groups.iter().flat_map(|group| &group.topics) {
        for p in &topic.partitions {
            let (offset, epoch) = (p.committed_offset, p.committed_leader_epoch);
            let metadata = p.metadata.as_deref();
            add(
                &topic.name,
                p.partition_index,
                offset,
                epoch,
                metadata,
                p.error_code,
            );
        }
    }
    offsets.sort_by(|a, b| a.0.cmp(&b.0));
    offsets
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::encodes_in_every_version;

    #[test]
    fn every_version_encodes() {
        let ids = || vec![GroupId(text("audit"))];
        encodes_in_every_version(|_| ListGroupsRequest::default());
        encodes_in_every_version(|_| DescribeGroupsRequest::default().with_groups(ids()));
        encodes_in_every_version(|_| ConsumerGroupDescribeRequest::default().with_group_ids(ids()));
        encodes_in_every_version(|_| DeleteGroupsRequest::default().with_groups_names(ids()));
    }

    #[test]
    fn all_offsets_can_be_asked_for_since_version_2() {
        // v1 has no way to say "all": brokers that old (before Kafka 0.10.2) get an error.
        for version in 2..=9 {
            let request = offset_fetch(version, "audit");
            ferrokafka_wire::frame::encode_request(version, 1, None, &request).unwrap();
        }
    }
}
