//! Background fetching: one source per broker, each with one long poll on its own connection.
//!
//! Sources never wait for each other: a slow broker delays its own partitions only. A source asks
//! while the last answer is being polled, so there are always up to two chunks of a partition.
//! Fetch v4–v17 without sessions (KIP-227): v9 carries the leader epoch, v11 the rack, v13 topic ids.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use ferrokafka_client::{Cluster, Error, Lane, NodeId, TopicPartition};
use ferrokafka_wire::ErrorCode;
use ferrokafka_wire::messages::fetch_request::{FetchPartition, FetchTopic};
use ferrokafka_wire::messages::fetch_response::PartitionData;
use ferrokafka_wire::messages::{BrokerId, FetchRequest, FetchResponse, TopicName};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::assignor::protocol::str_bytes;
use crate::chunk::Aborted;
use crate::config::IsolationLevel;
use crate::partitions::{Effect, FetchItem, Fetched, Plan};
use crate::shared::Shared;

/// The newest version that names topics instead of giving their ids.
const VERSION_MAX_BY_NAME: i16 = 12;

/// Keeps a source running for every broker that leads something we read.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut revision = shared.revision.subscribe();
    let mut watch = shared.client.watch_cluster();
    let mut sources: JoinSet<NodeId> = JoinSet::new();
    let mut running: HashSet<NodeId> = HashSet::new();
    let mut attempt = 0;
    loop {
        revision.borrow_and_update();
        watch.borrow_and_update();
        let cluster = shared.client.cluster();
        let (partitions, leaderless) = {
            let partitions = shared.partitions.lock();
            (partitions.list(), partitions.leaderless(&cluster))
        };
        for tp in &partitions {
            if let Some((node, _)) = cluster.leader(tp)
                && running.insert(node)
            {
                sources.spawn(source(shared.clone(), node));
            }
        }
        let retry_at = if leaderless {
            find_leaders(&shared, &cluster).await;
            attempt += 1;
            Some(Instant::now() + shared.client.config().get_retry_backoff().delay(attempt))
        } else {
            attempt = 0;
            None
        };
        tokio::select! {
            Ok(()) = revision.changed() => {}
            Ok(()) = watch.changed() => {}
            Some(ended) = sources.join_next(), if !sources.is_empty() => {
                // A source ends only by a panic, which must not be the end of the partitions.
                tracing::error!(?ended, "a fetch source ended; all are started anew");
                sources.shutdown().await;
                running.clear();
            }
            () = sleep_until(retry_at.unwrap_or_else(Instant::now)), if retry_at.is_some() => {}
        }
    }
}

/// Makes the topics we read known, or asks again for those whose partitions have no leader.
async fn find_leaders(shared: &Shared, cluster: &Cluster) {
    let topics: Vec<Arc<str>> = shared
        .partitions
        .lock()
        .topics()
        .into_iter()
        .filter(|topic| cluster.topic(topic).is_none())
        .collect();
    if topics.is_empty() {
        shared.client.refresh();
        return;
    }
    let deadline = Instant::now() + shared.client.config().get_request_timeout();
    if let Err(error) = shared.client.metadata(&topics, deadline).await {
        tracing::debug!(%error, "metadata could not be fetched");
    }
}

/// Frees the partitions of a request that is over, in whichever way.
struct InFlight<'a> {
    shared: &'a Shared,
    items: &'a [FetchItem],
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.shared.partitions.lock().returned(self.items);
    }
}

async fn source(shared: Arc<Shared>, node: NodeId) -> NodeId {
    let mut revision = shared.revision.subscribe();
    let mut watch = shared.client.watch_cluster();
    let backoff = shared.client.config().get_retry_backoff();
    let mut failures = 0;
    // After an empty answer that the broker was not to wait for.
    let mut pause_until: Option<Instant> = None;
    loop {
        revision.borrow_and_update();
        watch.borrow_and_update();
        let cluster = shared.client.cluster();
        let plan = {
            let mut partitions = shared.partitions.lock();
            let plan = partitions.plan(node, &cluster, Instant::now());
            if pause_until.is_none() || !plan.held_back {
                partitions.sent(&plan.items);
            }
            plan
        };
        let pausing = pause_until.take().filter(|_| plan.held_back);
        if plan.items.is_empty() || pausing.is_some() {
            let wake = pausing.or(plan.retry_at);
            tokio::select! {
                Ok(()) = revision.changed() => {}
                Ok(()) = watch.changed() => {}
                () = sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => {}
            }
            continue;
        }
        match fetch(&shared, node, &cluster, &plan).await {
            Ok(brought) => {
                failures = 0;
                if !brought && plan.held_back {
                    pause_until = Some(Instant::now() + shared.config.fetch_max_wait);
                }
            }
            Err(error) => {
                tracing::debug!(%error, node, "fetch failed");
                if !error.is_retriable() {
                    report(&shared, &plan, &error);
                }
                shared.client.refresh();
                let again = Instant::now() + backoff.delay(failures);
                failures = failures.saturating_add(1);
                sleep_until(again).await;
            }
        }
    }
}

/// Tells the application what no retry can help.
fn report(shared: &Shared, plan: &Plan, error: &Error) {
    let mut partitions = shared.partitions.lock();
    for item in &plan.items {
        partitions.position_failed(&item.tp, item.epoch, Instant::now(), error.clone());
    }
    drop(partitions);
    shared.app_wake.notify_one();
}

/// One request and its answer. True if it brought anything.
async fn fetch(
    shared: &Shared,
    node: NodeId,
    cluster: &Cluster,
    plan: &Plan,
) -> Result<bool, Error> {
    let in_flight = InFlight {
        shared,
        items: &plan.items,
    };
    let deadline = Instant::now()
        + shared.config.fetch_max_wait
        + shared.client.config().get_request_timeout();
    let has_id = |item: &FetchItem| {
        cluster
            .topic(&item.tp.topic)
            .is_some_and(|t| !t.id.is_nil())
    };
    let version_max = if plan.items.iter().all(has_id) {
        i16::MAX
    } else {
        VERSION_MAX_BY_NAME
    };
    let build = |version| build(shared, cluster, plan, version);
    let (version, response) = shared
        .client
        .request_max_version(node, Lane::Fetch, deadline, version_max, build)
        .await?;
    drop(in_flight);
    take_in(shared, cluster, plan, version, response)
}

fn build(shared: &Shared, cluster: &Cluster, plan: &Plan, version: i16) -> FetchRequest {
    let config = &shared.config;
    let mut topics: BTreeMap<&Arc<str>, Vec<FetchPartition>> = BTreeMap::new();
    for item in &plan.items {
        let mut partition = FetchPartition::default()
            .with_partition(item.tp.partition)
            .with_fetch_offset(item.position.offset)
            .with_partition_max_bytes(config.max_partition_fetch_bytes);
        if version >= 9 {
            partition.current_leader_epoch = item.current_leader_epoch;
        }
        topics.entry(&item.tp.topic).or_default().push(partition);
    }
    let topics = topics
        .into_iter()
        .map(|(name, partitions)| {
            let topic = FetchTopic::default().with_partitions(partitions);
            if version > VERSION_MAX_BY_NAME {
                topic.with_topic_id(cluster.topic(name).map(|t| t.id).unwrap_or_default())
            } else {
                topic.with_topic(TopicName(str_bytes(name)))
            }
        })
        .collect();
    // A broker that must not wait: partitions left out may be ready for more before it answers.
    let wait = if plan.held_back {
        0
    } else {
        config.fetch_max_wait.as_millis()
    };
    let mut message = FetchRequest::default()
        .with_max_wait_ms(i32::try_from(wait).unwrap_or(i32::MAX))
        .with_min_bytes(config.fetch_min_bytes)
        .with_max_bytes(plan.bytes_max)
        .with_topics(topics);
    if version <= 14 {
        message.replica_id = BrokerId(-1);
    }
    if version >= 7 {
        message.session_epoch = -1;
    }
    if config.isolation_level == IsolationLevel::ReadCommitted {
        message.isolation_level = 1;
    }
    if version >= 11
        && let Some(rack) = &config.client_rack
    {
        message.rack_id = str_bytes(rack);
    }
    message
}

fn take_in(
    shared: &Shared,
    cluster: &Cluster,
    plan: &Plan,
    version: i16,
    response: FetchResponse,
) -> Result<bool, Error> {
    let code = ErrorCode::from_code(response.error_code);
    if !code.is_none() {
        return Err(Error::from_code(code, "fetch"));
    }
    for node in &response.node_endpoints {
        if let Ok(port) = u16::try_from(node.port) {
            shared
                .client
                .note_broker(node.node_id.0, &node.host, port, node.rack.as_deref());
        }
    }
    let items: HashMap<(&str, i32), &FetchItem> = plan
        .items
        .iter()
        .map(|i| ((&*i.tp.topic, i.tp.partition), i))
        .collect();
    let mut effects = Vec::new();
    for topic in response.responses {
        let name: Arc<str> = if version > VERSION_MAX_BY_NAME {
            match cluster.topic_name(topic.topic_id) {
                Some(name) => name.clone(),
                None => continue,
            }
        } else {
            Arc::from(&*topic.topic.0)
        };
        for partition in topic.partitions {
            if let Some(item) = items.get(&(&*name, partition.partition_index)) {
                effects.push(take_in_partition(shared, item, partition));
            }
        }
    }
    if effects.contains(&Effect::Refresh) {
        shared.client.refresh();
    }
    if effects.contains(&Effect::FindPosition) {
        shared.changed();
    }
    let woken = effects.contains(&Effect::Wake);
    if woken {
        shared.app_wake.notify_one();
    }
    Ok(woken)
}

fn take_in_partition(shared: &Shared, item: &FetchItem, data: PartitionData) -> Effect {
    let code = ErrorCode::from_code(data.error_code);
    if !code.is_none() {
        tracing::debug!(partition = %item.tp, %code, "fetch refused");
        if data.current_leader.leader_id.0 >= 0 {
            let tp: &TopicPartition = &item.tp;
            let leader = &data.current_leader;
            shared
                .client
                .note_leader(tp, leader.leader_id.0, leader.leader_epoch);
        }
    }
    let aborted = data.aborted_transactions.unwrap_or_default();
    let answer = Fetched {
        code,
        high_watermark: data.high_watermark,
        last_stable: data.last_stable_offset,
        records: data.records.unwrap_or_default(),
        aborted: aborted
            .iter()
            .map(|a| Aborted {
                producer_id: a.producer_id.0,
                first_offset: a.first_offset,
            })
            .collect(),
    };
    shared
        .partitions
        .lock()
        .fetched(item, Instant::now(), answer)
}
