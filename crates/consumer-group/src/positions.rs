//! Where to start: committed offsets from the coordinator, ends of the log from the leaders.
//!
//! OffsetFetch v1–v9 (v8 asks by group; v10, topic ids, is not used); ListOffsets v1 and up.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use ferrokafka_client::{CoordinatorKind, Error, Lane, NodeId, TopicPartition};
use ferrokafka_wire::ErrorCode;
use ferrokafka_wire::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use ferrokafka_wire::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use ferrokafka_wire::messages::{
    BrokerId, GroupId, ListOffsetsRequest, ListOffsetsResponse, OffsetFetchRequest,
    OffsetFetchResponse, TopicName,
};
use futures_util::future::join_all;
use tokio::time::{Instant, sleep_until};

use crate::assignor::protocol::str_bytes;
use crate::config::IsolationLevel;
use crate::offsets::OffsetAndMetadata;
use crate::partitions::Bound;
use crate::shared::Shared;

/// The newest OffsetFetch that names topics.
const OFFSET_FETCH_VERSION_MAX: i16 = 9;

pub(crate) type Committed = BTreeMap<TopicPartition, Option<OffsetAndMetadata>>;

/// Finds the first position of every partition that has none.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut revision = shared.revision.subscribe();
    let mut cluster = shared.client.watch_cluster();
    loop {
        revision.borrow_and_update();
        cluster.borrow_and_update();
        find_committed(&shared).await;
        find_bounds(&shared).await;
        let retry_at = shared.partitions.lock().retry_at();
        tokio::select! {
            Ok(()) = revision.changed() => {}
            Ok(()) = cluster.changed() => {}
            () = sleep_until(retry_at.unwrap_or_else(Instant::now)), if retry_at.is_some() => {}
        }
    }
}

async fn find_committed(shared: &Shared) {
    let now = Instant::now();
    let awaiting = shared.partitions.lock().awaiting_committed(now);
    if awaiting.is_empty() {
        return;
    }
    let wanted: Vec<TopicPartition> = awaiting.iter().map(|(tp, _)| tp.clone()).collect();
    // Short, so that partitions assigned meanwhile do not wait for these.
    let deadline = now + shared.client.config().get_request_timeout();
    let answer = fetch_committed(shared, &wanted, deadline).await;
    let mut partitions = shared.partitions.lock();
    match answer {
        Ok(mut found) => {
            for (tp, epoch) in awaiting {
                partitions.committed_found(&tp, epoch, found.remove(&tp).flatten());
            }
        }
        Err(error) => {
            tracing::debug!(%error, "committed offsets could not be fetched");
            for (tp, epoch) in awaiting {
                partitions.position_failed(&tp, epoch, Instant::now(), error.clone());
            }
        }
    }
    drop(partitions);
    shared.changed();
    shared.app_wake.notify_one();
}

/// Asks the coordinator, until the deadline.
pub(crate) async fn fetch_committed(
    shared: &Shared,
    wanted: &[TopicPartition],
    deadline: Instant,
) -> Result<Committed, Error> {
    let began = Instant::now();
    let backoff = shared.client.config().get_retry_backoff();
    for attempt in 0.. {
        let error = match ask_committed(shared, wanted, deadline).await {
            Ok(found) => return Ok(found),
            Err(error) => error,
        };
        let again = Instant::now() + backoff.delay(attempt);
        if !error.is_retriable() || again >= deadline {
            return Err(error
                .with_attempts(attempt + 1)
                .with_elapsed(began.elapsed()));
        }
        // A broken connection, or an answer that says so: it may be elsewhere by now.
        if error.code() != Some(ErrorCode::CoordinatorLoadInProgress) {
            shared
                .client
                .forget_coordinator(CoordinatorKind::Group, shared.group_id());
        }
        sleep_until(again).await;
    }
    unreachable!("the attempts end by the deadline")
}

async fn ask_committed(
    shared: &Shared,
    wanted: &[TopicPartition],
    deadline: Instant,
) -> Result<Committed, Error> {
    let client = &shared.client;
    let node = client
        .coordinator(CoordinatorKind::Group, shared.group_id(), deadline)
        .await?;
    let build = |version| committed_request(shared, wanted, version);
    let (_, response) = client
        .request_max_version(
            node,
            Lane::Control,
            deadline,
            OFFSET_FETCH_VERSION_MAX,
            build,
        )
        .await?;
    read_committed(&response, wanted)
}

fn committed_request(
    shared: &Shared,
    wanted: &[TopicPartition],
    version: i16,
) -> OffsetFetchRequest {
    let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for tp in wanted {
        topics.entry(&tp.topic).or_default().push(tp.partition);
    }
    let group_id = GroupId(str_bytes(shared.group_id()));
    let mut message = OffsetFetchRequest::default();
    if version >= 7 {
        // The offset of a transaction that is still open would be the wrong one.
        message.require_stable = shared.config.isolation_level == IsolationLevel::ReadCommitted;
    }
    if version >= 8 {
        let topics = topics
            .into_iter()
            .map(|(topic, partitions)| {
                OffsetFetchRequestTopics::default()
                    .with_name(TopicName(str_bytes(topic)))
                    .with_partition_indexes(partitions)
            })
            .collect();
        let mut group = OffsetFetchRequestGroup::default()
            .with_group_id(group_id)
            .with_topics(Some(topics));
        group.member_id = None;
        group.member_epoch = -1;
        message.topics = Some(Vec::new());
        return message.with_groups(vec![group]);
    }
    let topics = topics
        .into_iter()
        .map(|(topic, partitions)| {
            OffsetFetchRequestTopic::default()
                .with_name(TopicName(str_bytes(topic)))
                .with_partition_indexes(partitions)
        })
        .collect();
    message.with_group_id(group_id).with_topics(Some(topics))
}

fn read_committed(
    response: &OffsetFetchResponse,
    wanted: &[TopicPartition],
) -> Result<Committed, Error> {
    let mut found: Committed = wanted.iter().map(|tp| (tp.clone(), None)).collect();
    let check = |code: i16, tp: Option<TopicPartition>| match ErrorCode::from_code(code) {
        ErrorCode::None => Ok(()),
        code => {
            let error = Error::from_code(code, "fetch committed offsets");
            Err(match tp {
                Some(tp) => error.with_topic_partition(tp),
                None => error,
            })
        }
    };
    let mut keep = |topic: &str,
                    partition: i32,
                    code: i16,
                    offset: i64,
                    epoch: i32,
                    metadata: Option<&str>| {
        let tp = TopicPartition::new(topic, partition);
        check(code, Some(tp.clone()))?;
        if let Some(entry) = found.get_mut(&tp)
            && offset >= 0
        {
            *entry = Some(OffsetAndMetadata {
                offset,
                leader_epoch: Some(epoch).filter(|epoch| *epoch >= 0),
                metadata: metadata.unwrap_or_default().to_owned(),
            });
        }
        Ok::<(), Error>(())
    };
    check(response.error_code, None)?;
    for topic in &response.topics {
        for p in &topic.partitions {
            keep(
                &topic.name.0,
                p.partition_index,
                p.error_code,
                p.committed_offset,
                p.committed_leader_epoch,
                p.metadata.as_deref(),
            )?;
        }
    }
    for group in &response.groups {
        check(group.error_code, None)?;
        for topic in &group.topics {
            for p in &topic.partitions {
                keep(
                    &topic.name.0,
                    p.partition_index,
                    p.error_code,
                    p.committed_offset,
                    p.committed_leader_epoch,
                    p.metadata.as_deref(),
                )?;
            }
        }
    }
    Ok(found)
}

type Awaiting = Vec<(TopicPartition, u64, Bound)>;

async fn find_bounds(shared: &Shared) {
    let awaiting = shared.partitions.lock().awaiting_reset(Instant::now());
    if awaiting.is_empty() {
        return;
    }
    let cluster = shared.client.cluster();
    let mut by_leader: HashMap<NodeId, Awaiting> = HashMap::new();
    for item in awaiting {
        // Without a leader it waits: the cluster's next snapshot wakes this task.
        if let Some((leader, _)) = cluster.leader(&item.0) {
            by_leader.entry(leader).or_default().push(item);
        }
    }
    if by_leader.is_empty() {
        return;
    }
    join_all(
        by_leader
            .into_iter()
            .map(|(node, items)| ask_bounds(shared, node, items)),
    )
    .await;
    shared.changed();
    shared.app_wake.notify_one();
}

async fn ask_bounds(shared: &Shared, node: NodeId, items: Awaiting) {
    let deadline = Instant::now() + shared.client.config().get_request_timeout();
    let build = |version| bounds_request(shared, &items, version);
    let answer = shared
        .client
        .request(node, Lane::Control, deadline, build)
        .await;
    let now = Instant::now();
    let mut partitions = shared.partitions.lock();
    match answer {
        Ok((_, response)) => {
            for (tp, epoch, offset) in read_bounds(&response, &items) {
                match offset {
                    Ok(offset) => partitions.bound_found(&tp, epoch, offset),
                    Err(error) => {
                        partitions.position_failed(&tp, epoch, now, error);
                        shared.client.refresh();
                    }
                }
            }
        }
        Err(error) => {
            tracing::debug!(%error, node, "offsets could not be listed");
            shared.client.refresh();
            for (tp, epoch, _) in items {
                partitions.position_failed(&tp, epoch, now, error.clone());
            }
        }
    }
}

fn bounds_request(shared: &Shared, items: &Awaiting, version: i16) -> ListOffsetsRequest {
    let cluster = shared.client.cluster();
    let mut topics: BTreeMap<&str, Vec<ListOffsetsPartition>> = BTreeMap::new();
    for (tp, _, bound) in items {
        let mut partition = ListOffsetsPartition::default()
            .with_partition_index(tp.partition)
            .with_timestamp(bound.timestamp());
        if version >= 4 {
            partition.current_leader_epoch = cluster.leader(tp).map_or(-1, |(_, epoch)| epoch);
        }
        topics.entry(&tp.topic).or_default().push(partition);
    }
    let mut message = ListOffsetsRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_topics(
            topics
                .into_iter()
                .map(|(topic, partitions)| {
                    ListOffsetsTopic::default()
                        .with_name(TopicName(str_bytes(topic)))
                        .with_partitions(partitions)
                })
                .collect(),
        );
    if version >= 2 && shared.config.isolation_level == IsolationLevel::ReadCommitted {
        message.isolation_level = 1;
    }
    if version >= 10 {
        let wait = shared.client.config().get_request_timeout().as_millis();
        message.timeout_ms = i32::try_from(wait).unwrap_or(i32::MAX);
    }
    message
}

type Found = Vec<(TopicPartition, u64, Result<i64, Error>)>;

fn read_bounds(response: &ListOffsetsResponse, items: &Awaiting) -> Found {
    let mut offsets = HashMap::new();
    for topic in &response.topics {
        for p in &topic.partitions {
            let code = ErrorCode::from_code(p.error_code);
            offsets.insert((&*topic.name.0, p.partition_index), (code, p.offset));
        }
    }
    let find = |tp: &TopicPartition| match offsets.get(&(&*tp.topic, tp.partition)) {
        Some((ErrorCode::None, offset)) => Ok(*offset),
        Some((code, _)) => Err(Error::from_code(*code, "list offsets")),
        None => Err(Error::from_code(
            ErrorCode::UnknownTopicOrPartition,
            "list offsets",
        )),
    };
    items
        .iter()
        .map(|(tp, epoch, _)| (tp.clone(), *epoch, find(tp)))
        .collect()
}
