//! All partitions of a producer: which topics are known, who leads what, and what a broker gets next.
//!
//! A plain struct under one lock, driven by `now`. The lock is held for a record's encoding and for
//! picking batches, never across a wait; stamping, compressing and waking happen outside it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use ferrokafka_client::{Backoff, Cluster, Error, ErrorKind, NodeId, TopicPartition};
use ferrokafka_wire::record::{BatchBuilder, EncodedBatch};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::ProducerRecord;
use crate::acknowledgement::BatchResult;
use crate::batch::{BatchId, Body};
use crate::partition_queue::{
    Appended, Effects, Limits, Outgoing, PartitionQueue, ProducerIdentity, Taken, Turn,
};
use crate::partitioner::{Partitioner, PartitionerState, Partitions};

/// Bytes of batches that one produce request carries at most, below any broker's
/// `socket.request.max.bytes` (100 MiB). A single larger batch goes alone.
const REQUEST_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A batch of a request, and the queue it came from.
pub(crate) struct InRequest {
    pub(crate) queue: usize,
    pub(crate) outgoing: Outgoing,
}

/// Work for the codec.
pub(crate) struct CompressJob {
    pub(crate) queue: usize,
    pub(crate) id: BatchId,
    pub(crate) builder: BatchBuilder,
}

/// What a sink is to do now.
#[derive(Default)]
pub(crate) struct Drained {
    pub(crate) request: Vec<InRequest>,
    pub(crate) compress: Vec<CompressJob>,
    /// When to look again if nothing happens before.
    pub(crate) wake_at: Option<Instant>,
}

/// Why a record was not taken.
#[derive(Debug)]
pub(crate) enum Refused {
    /// The topic's partitions are not known yet.
    TopicUnknown,
    Error(Error),
}

struct Topic {
    /// Queue of each partition, by partition number.
    queues: Vec<usize>,
    available: Vec<bool>,
    partitioner: PartitionerState,
}

#[derive(Default)]
struct Node {
    queues: Vec<usize>,
    requests_in_flight: usize,
    /// Where the next round starts, so that a full request does not starve the last partitions.
    next_start: usize,
    wake: Arc<Notify>,
}

/// Whether records are taken.
enum Gate {
    Open,
    /// Refused with this error: closed, or failed for good.
    Shut(Error),
}

pub(crate) struct Accumulator {
    limits: Limits,
    partitioner: Partitioner,
    backoff: Backoff,
    rng: fastrand::Rng,
    topics: HashMap<Arc<str>, Topic>,
    queues: Vec<PartitionQueue>,
    nodes: BTreeMap<NodeId, Node>,
    identity: Option<ProducerIdentity>,
    gate: Gate,
    next_batch_id: u64,
    /// Senders waiting for memory: as long as there are any, no batch lingers.
    memory_waiters: usize,
    epoch_bumps: u64,
}

impl Accumulator {
    pub(crate) fn new(
        limits: Limits,
        partitioner: Partitioner,
        backoff: Backoff,
        rng: fastrand::Rng,
    ) -> Self {
        Self {
            limits,
            partitioner,
            backoff,
            rng,
            topics: HashMap::new(),
            queues: Vec::new(),
            nodes: BTreeMap::new(),
            identity: None,
            gate: Gate::Open,
            next_batch_id: 0,
            memory_waiters: 0,
            epoch_bumps: 0,
        }
    }

    // Records in.

    /// Puts a record on its partition. `reserved` bytes of `buffer.memory` are already taken for it.
    pub(crate) fn append(
        &mut self,
        record: &ProducerRecord,
        timestamp: i64,
        reserved: usize,
        now: Instant,
    ) -> Result<Appended, Refused> {
        if let Gate::Shut(error) = &self.gate {
            return Err(Refused::Error(error.clone()));
        }
        let Some(topic) = self.topics.get_mut(&record.topic) else {
            return Err(Refused::TopicUnknown);
        };
        let partition = match record.partition {
            Some(partition) => partition,
            None => topic.partitioner.choose(
                &self.partitioner,
                record,
                reserved,
                Partitions::new(&topic.available),
                &mut self.rng,
            ),
        };
        let Some(queue) = usize::try_from(partition)
            .ok()
            .and_then(|p| topic.queues.get(p))
        else {
            return Err(Refused::Error(no_such_partition(
                record,
                partition,
                topic.queues.len(),
            )));
        };
        let queue = &mut self.queues[*queue];
        let appended = queue
            .append(
                record,
                timestamp,
                reserved,
                now,
                &self.limits,
                &mut self.next_batch_id,
            )
            .map_err(|error| {
                Refused::Error(
                    Error::new(ErrorKind::TooLarge, "the record cannot be encoded")
                        .with_topic_partition(queue.topic_partition().clone())
                        .with_source(error),
                )
            })?;
        if appended.wake
            && let Some(node) = queue.leader().and_then(|leader| self.nodes.get(&leader))
        {
            node.wake.notify_one();
        }
        Ok(appended)
    }

    /// Why records are refused, if they are.
    pub(crate) fn refusal(&self) -> Option<&Error> {
        match &self.gate {
            Gate::Open => None,
            Gate::Shut(error) => Some(error),
        }
    }

    /// Takes no more records; what is here is still sent. The first reason stays.
    pub(crate) fn shut(&mut self, error: Error) {
        if matches!(self.gate, Gate::Open) {
            self.gate = Gate::Shut(error);
        }
    }

    /// Counts a sender that waits for memory in (or out), and lets nothing linger meanwhile.
    pub(crate) fn memory_waiter(&mut self, waiting: bool) {
        if waiting {
            self.memory_waiters += 1;
            self.wake_all();
        } else {
            self.memory_waiters -= 1;
        }
    }

    // What is known of the cluster.

    pub(crate) fn knows(&self, topic: &str) -> bool {
        self.topics.contains_key(topic)
    }

    pub(crate) fn partition_count(&self, topic: &str) -> Option<usize> {
        self.topics.get(topic).map(|t| t.queues.len())
    }

    /// Takes over a topic and the leaders of its partitions, number by number.
    pub(crate) fn set_topic(&mut self, name: &Arc<str>, leaders: &[(Option<NodeId>, i32)]) {
        let topic = self
            .topics
            .entry(Arc::clone(name))
            .or_insert_with(|| Topic {
                queues: Vec::new(),
                available: Vec::new(),
                partitioner: PartitionerState::default(),
            });
        for partition in topic.queues.len()..leaders.len() {
            let number = i32::try_from(partition).unwrap_or(i32::MAX);
            topic.queues.push(self.queues.len());
            topic.available.push(false);
            self.queues.push(PartitionQueue::new(TopicPartition::new(
                Arc::clone(name),
                number,
            )));
        }
        let queues = topic.queues.clone();
        for (partition, queue) in queues.into_iter().enumerate() {
            // Partitions beyond the list are gone with the topic they belonged to.
            let (leader, epoch) = leaders.get(partition).copied().unwrap_or((None, -1));
            self.set_leader(queue, leader, epoch);
            let available = self.queues[queue].leader().is_some();
            if let Some(topic) = self.topics.get_mut(name) {
                topic.available[partition] = available;
            }
        }
    }

    fn set_leader(&mut self, queue: usize, leader: Option<NodeId>, epoch: i32) {
        let before = self.queues[queue].leader();
        if !self.queues[queue].set_leader(leader, epoch) {
            return;
        }
        if let Some(node) = before.and_then(|node| self.nodes.get_mut(&node)) {
            node.queues.retain(|q| *q != queue);
        }
        if let Some(leader) = leader {
            let node = self.nodes.entry(leader).or_default();
            node.queues.push(queue);
            node.wake.notify_one();
        }
    }

    /// Takes over the topics that are in use; the others are none of ours.
    pub(crate) fn set_cluster(&mut self, cluster: &Cluster) {
        let names: Vec<Arc<str>> = self.topics.keys().cloned().collect();
        for name in names {
            if let Some(topic) = cluster.topic(&name) {
                self.set_topic(&name, &leaders_of(topic));
            }
        }
    }

    /// Every broker that leads a partition, with what wakes its sink.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = (NodeId, &Arc<Notify>)> {
        self.nodes.iter().map(|(id, node)| (*id, &node.wake))
    }

    pub(crate) fn wake_all(&self) {
        for node in self.nodes.values() {
            node.wake.notify_one();
        }
    }

    /// Whether records wait for a partition that has no leader.
    pub(crate) fn leader_missing(&self) -> bool {
        self.queues
            .iter()
            .any(|q| q.leader().is_none() && !q.is_empty())
    }

    // Producer id and epoch.

    /// Whether batches cannot go out for want of a producer id.
    pub(crate) fn needs_identity(&self) -> bool {
        self.limits.idempotent && self.identity.is_none()
    }

    pub(crate) fn set_identity(&mut self, identity: ProducerIdentity) {
        self.identity = Some(identity);
        self.wake_all();
    }

    /// The identity under which a queue with a broken sequence goes on; `None` when the epochs of the
    /// id are used up and a new id must be had first.
    fn bump(&mut self, queue: usize) -> Option<ProducerIdentity> {
        let current = self.identity?;
        let queue_identity = self.queues[queue].identity();
        // Another queue may have bumped since: its epoch is new to this one, too.
        if queue_identity == Some(current) {
            self.identity = current.epoch.checked_add(1).map(|epoch| ProducerIdentity {
                id: current.id,
                epoch,
            });
        }
        self.epoch_bumps += u64::from(self.identity.is_some());
        self.identity
    }

    // Batches out.

    /// What the sink of `node` is to do now.
    pub(crate) fn drain(&mut self, node: NodeId, now: Instant) -> Drained {
        let mut drained = Drained::default();
        let Some(Node {
            queues,
            requests_in_flight,
            next_start,
            ..
        }) = self.nodes.get(&node)
        else {
            return drained;
        };
        let (mut order, may_send) = (
            queues.clone(),
            *requests_in_flight < self.limits.max_in_flight,
        );
        let start = *next_start % order.len().max(1);
        order.rotate_left(start);
        let pressed = self.memory_waiters > 0;
        // One partition's turn is everyone's: a request that goes anyway takes along what lingers.
        let any = order
            .iter()
            .any(|q| self.queues[*q].turn(now, &self.limits, pressed) == Turn::Now);
        let no_linger = pressed || (any && may_send);
        let mut bytes = 0;
        for queue in order {
            while let Some((id, builder)) =
                self.queues[queue].take_for_compression(now, &self.limits, no_linger)
            {
                drained.compress.push(CompressJob { queue, id, builder });
            }
            if may_send
                && bytes < REQUEST_BYTES_MAX
                && let Some(outgoing) = self.take(queue, now, no_linger)
            {
                bytes += outgoing.bytes;
                drained.request.push(InRequest { queue, outgoing });
            }
            if let Turn::At(at) = self.queues[queue].turn(now, &self.limits, pressed) {
                drained.wake_at = Some(drained.wake_at.map_or(at, |w: Instant| w.min(at)));
            }
        }
        if !drained.request.is_empty()
            && let Some(node) = self.nodes.get_mut(&node)
        {
            node.requests_in_flight += 1;
            node.next_start = node.next_start.wrapping_add(1);
        }
        drained
    }

    fn take(&mut self, queue: usize, now: Instant, no_linger: bool) -> Option<Outgoing> {
        let limits = self.limits;
        match self.queues[queue].take(now, &limits, self.identity, no_linger) {
            Taken::Send(outgoing) => Some(outgoing),
            Taken::Nothing => None,
            Taken::NeedsNewEpoch => {
                let identity = self.bump(queue)?;
                self.queues[queue].restart(identity);
                match self.queues[queue].take(now, &limits, self.identity, no_linger) {
                    Taken::Send(outgoing) => Some(outgoing),
                    Taken::Nothing | Taken::NeedsNewEpoch => None,
                }
            }
        }
    }

    pub(crate) fn compressed(
        &mut self,
        queue: usize,
        id: BatchId,
        encoded: Result<EncodedBatch, Error>,
        effects: &mut Effects,
    ) {
        self.queues[queue].compressed(id, encoded, effects);
        self.wake_leader_of(queue);
    }

    /// A request of this node is over; its batches are reported one by one.
    pub(crate) fn request_done(&mut self, node: NodeId) {
        if let Some(node) = self.nodes.get_mut(&node) {
            node.requests_in_flight = node.requests_in_flight.saturating_sub(1);
        }
    }

    pub(crate) fn acknowledged(
        &mut self,
        queue: usize,
        id: BatchId,
        base_offset: i64,
        log_append_time: Option<i64>,
        effects: &mut Effects,
    ) {
        self.queues[queue].acknowledged(id, base_offset, log_append_time, effects);
        self.wake_leader_of(queue);
    }

    pub(crate) fn failed(
        &mut self,
        queue: usize,
        batch: (BatchId, Body),
        error: Error,
        now: Instant,
        effects: &mut Effects,
    ) {
        let backoff = self
            .backoff
            .delay_with(self.queues[queue].failures(), self.rng.f64());
        self.queues[queue].failed(batch, error, now, backoff, &self.limits, effects);
        self.wake_leader_of(queue);
    }

    /// A broker named the new leader in its refusal (KIP-951).
    pub(crate) fn leader_moved(&mut self, queue: usize, leader: NodeId, epoch: i32) {
        if epoch > self.queues[queue].leader_epoch() {
            self.set_leader(queue, Some(leader), epoch);
        }
    }

    fn wake_leader_of(&self, queue: usize) {
        if let Some(node) = self.queues[queue]
            .leader()
            .and_then(|leader| self.nodes.get(&leader))
        {
            node.wake.notify_one();
        }
    }

    // Time and end.

    /// Fails what is too old, and says when to look again.
    pub(crate) fn expire(&mut self, now: Instant, effects: &mut Effects) -> Instant {
        let mut next = now + self.limits.delivery_timeout;
        for queue in &mut self.queues {
            queue.expire(now, &self.limits, effects);
            if let Some(at) = queue.expires_at(&self.limits) {
                next = next.min(at);
            }
        }
        next
    }

    /// Seals every open batch and gives the results of all that are undecided.
    pub(crate) fn flush(&mut self) -> Vec<Arc<BatchResult>> {
        let mut results = Vec::new();
        for queue in &mut self.queues {
            queue.seal();
            results.extend(queue.undecided_results());
        }
        self.wake_all();
        results
    }

    /// Fails everything.
    pub(crate) fn fail_all(&mut self, error: &Error, effects: &mut Effects) {
        for queue in &mut self.queues {
            queue.fail_all(error, effects);
        }
    }

    /// Records and batches nobody was told about yet.
    pub(crate) fn undecided(&self) -> (usize, usize) {
        self.queues.iter().fold((0, 0), |(records, batches), q| {
            let (r, b) = q.undecided();
            (records + r, batches + b)
        })
    }

    pub(crate) fn epoch_bumps(&self) -> u64 {
        self.epoch_bumps
    }
}

/// Leader and leader epoch of each partition, by number. A topic with an error has none.
pub(crate) fn leaders_of(topic: &ferrokafka_client::Topic) -> Vec<(Option<NodeId>, i32)> {
    // Numbers run from 0 without a gap; one beyond the count is nonsense, and must not set the size.
    let count = topic.partitions.len();
    let mut leaders = vec![(None, -1); count];
    for partition in &topic.partitions {
        if let Some(slot) = usize::try_from(partition.id)
            .ok()
            .and_then(|p| leaders.get_mut(p))
        {
            *slot = (partition.leader, partition.leader_epoch);
        }
    }
    leaders
}

fn no_such_partition(record: &ProducerRecord, partition: i32, count: usize) -> Error {
    Error::new(
        ErrorKind::Config,
        format!(
            "topic {} has {count} partitions, so there is no partition {partition}",
            record.topic
        ),
    )
    .with_topic_partition(TopicPartition::new(Arc::clone(&record.topic), partition))
}

#[cfg(test)]
mod tests;
