//! The batches of one partition and their sequence numbers: order, retries, and what may be repeated.
//!
//! A plain state machine: it is told what happened and what time it is, and decides. Rules, with
//! idempotence:
//! 1. Sequence numbers are given at the first send, in queue order, and stay with the batch.
//! 2. After a failure, a leader change or a new epoch one batch is in flight at a time until the first
//!    acknowledgement. So a failed batch and those behind it all come back before any goes out again,
//!    and they go out in order. It also keeps a leader that knows nothing of this producer from
//!    accepting the second batch where it refused the first.
//! 3. A batch that leaves the queue without an acknowledgement breaks the sequence: nothing new is
//!    sent. Batches behind it whose own outcome is unknown are sent again one by one with the numbers
//!    they had, until the broker has answered for each. Only then the epoch is bumped and what is left
//!    starts at sequence 0.
//!
//! The bump is made here, without asking a broker: `InitProducerId` without a transactional id would
//! give a new producer id, under which a late copy of an expired batch would still be accepted; under a
//! higher epoch of the same id the broker refuses it (KIP-360 does the same).
//!
//! One hole stays open, as in Java's client: rule 3 trusts a broker's "out of order" for a batch that was
//! sent before over a connection now lost. Should that broker still hold unread bytes of the old
//! connection, and in them this batch behind the missing one, it could write both after that answer and
//! the batch a second time under the new epoch. It takes a batch that expired unanswered
//! (`delivery.timeout.ms`, two minutes) while bytes sent before lie unread in a broker that answers others.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use ferrokafka_client::{Delivery, Disposition, Error, NodeId, TopicPartition};
use ferrokafka_wire::EncodeError;
use ferrokafka_wire::compression::Compression;
use ferrokafka_wire::record::{BatchBuilder, EncodedBatch, ProducerStamp};
use tokio::time::Instant;

use crate::ProducerRecord;
use crate::acknowledgement::{BatchResult, Outcome};
use crate::batch::{Batch, BatchEvent, BatchId, BatchState, Body};

mod verdict;

use verdict::{expired, give_up, sequence_refused};

/// What the queues need of the configuration.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) batch_bytes: usize,
    pub(crate) linger: Duration,
    pub(crate) delivery_timeout: Duration,
    pub(crate) max_in_flight: usize,
    pub(crate) idempotent: bool,
    pub(crate) compression: Compression,
}

impl Limits {
    fn compresses(&self) -> bool {
        self.compression != Compression::None
    }
}

/// Producer id and epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProducerIdentity {
    pub(crate) id: i64,
    pub(crate) epoch: i16,
}

/// What others must be told after a step; collected under the lock, carried out outside it.
#[derive(Default)]
pub(crate) struct Effects {
    /// Batches decided just now.
    pub(crate) finished: Vec<Finished>,
    /// Bytes of `buffer.memory` that are free again.
    pub(crate) released: usize,
    /// Metadata is stale.
    pub(crate) refresh: bool,
}

pub(crate) struct Finished {
    pub(crate) result: Arc<BatchResult>,
    pub(crate) records: u32,
    pub(crate) outcome: Outcome,
}

/// Where a record went.
pub(crate) struct Appended {
    pub(crate) result: Arc<BatchResult>,
    pub(crate) index: u32,
    /// The sink has something new to look at: a batch was opened, or one is full.
    pub(crate) wake: bool,
    /// There is no leader to send it to: metadata must be asked for.
    pub(crate) leader_missing: bool,
}

/// What a queue waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// For something to happen to it.
    Idle,
    /// For this moment.
    At(Instant),
    /// For nothing.
    Now,
}

/// A batch on its way to the broker.
pub(crate) struct Outgoing {
    pub(crate) id: BatchId,
    pub(crate) topic_partition: TopicPartition,
    pub(crate) body: Body,
    pub(crate) stamp: Option<ProducerStamp>,
    pub(crate) bytes: usize,
    /// 1 for the first send.
    pub(crate) attempt: u32,
}

/// What [`PartitionQueue::take`] found.
pub(crate) enum Taken {
    Nothing,
    Send(Outgoing),
    /// The sequence is broken and nothing is in doubt any more: call
    /// [`restart`](PartitionQueue::restart), then take again.
    NeedsNewEpoch,
}

pub(crate) struct PartitionQueue {
    topic_partition: TopicPartition,
    leader: Option<NodeId>,
    leader_epoch: i32,
    /// Oldest first; only the last one may be open.
    batches: VecDeque<Batch>,
    in_flight: usize,
    identity: Option<ProducerIdentity>,
    next_sequence: i32,
    /// The present leader has acknowledged a batch since the last failure (rule 2).
    confirmed: bool,
    /// What is in flight belongs to a time before the last failure or leader change: wait for it.
    settling: bool,
    /// A sequence number was given to a batch that was not acknowledged (rule 3).
    broken: bool,
    retry_at: Option<Instant>,
    failures: u32,
}

impl PartitionQueue {
    pub(crate) fn new(topic_partition: TopicPartition) -> Self {
        Self {
            topic_partition,
            leader: None,
            leader_epoch: -1,
            batches: VecDeque::new(),
            in_flight: 0,
            identity: None,
            next_sequence: 0,
            confirmed: false,
            settling: false,
            broken: false,
            retry_at: None,
            failures: 0,
        }
    }

    pub(crate) fn topic_partition(&self) -> &TopicPartition {
        &self.topic_partition
    }

    pub(crate) fn leader(&self) -> Option<NodeId> {
        self.leader
    }

    pub(crate) fn identity(&self) -> Option<ProducerIdentity> {
        self.identity
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// Failures in a row, for the backoff.
    pub(crate) fn failures(&self) -> u32 {
        self.failures
    }

    /// Records and batches nobody was told about yet.
    pub(crate) fn undecided(&self) -> (usize, usize) {
        self.batches
            .iter()
            .filter(|b| !b.reported)
            .fold((0, 0), |(records, batches), b| {
                (records + b.records as usize, batches + 1)
            })
    }

    pub(crate) fn undecided_results(&self) -> impl Iterator<Item = Arc<BatchResult>> {
        self.batches
            .iter()
            .filter(|b| !b.reported)
            .map(|b| Arc::clone(&b.result))
    }

    pub(crate) fn leader_epoch(&self) -> i32 {
        self.leader_epoch
    }

    /// Learns the leader. Returns whether it is another one.
    pub(crate) fn set_leader(&mut self, leader: Option<NodeId>, epoch: i32) -> bool {
        self.leader_epoch = epoch;
        if leader == self.leader {
            return false;
        }
        self.leader = leader;
        self.retry_at = None;
        self.settle();
        true
    }

    /// Starts anew with one batch at a time, once everything in flight has come back (rule 2).
    fn settle(&mut self) {
        self.confirmed = false;
        self.settling = self.in_flight > 0;
    }

    fn came_back(&mut self) {
        self.in_flight -= 1;
        if self.in_flight == 0 {
            self.settling = false;
        }
    }

    /// Adds a record that takes `reserved` bytes of `buffer.memory`.
    pub(crate) fn append(
        &mut self,
        record: &ProducerRecord,
        timestamp: i64,
        reserved: usize,
        now: Instant,
        limits: &Limits,
        next_id: &mut u64,
    ) -> Result<Appended, EncodeError> {
        let mut wake = false;
        let fits = match self.batches.back() {
            Some(Batch {
                state: BatchState::Open,
                body: Body::Building(builder),
                ..
            }) => {
                let more = builder.next_record_len(
                    timestamp,
                    record.key.as_deref(),
                    record.value.as_deref(),
                    &record.headers,
                );
                builder.encoded_len() + more <= limits.batch_bytes
            }
            _ => false,
        };
        if !fits {
            self.seal();
            self.open(reserved, now, limits, next_id);
            wake = true;
        }
        let Some(batch) = self.batches.back_mut() else {
            unreachable!("a batch was opened above");
        };
        let Body::Building(builder) = &mut batch.body else {
            unreachable!("an open batch holds its builder");
        };
        let appended = builder.append(
            timestamp,
            record.key.as_deref(),
            record.value.as_deref(),
            &record.headers,
        );
        let index = match appended {
            Ok(index) => index,
            Err(error) => {
                if batch.records == 0 {
                    self.batches.pop_back();
                }
                return Err(error);
            }
        };
        batch.records += 1;
        batch.reserved += reserved;
        let full = builder.encoded_len() >= limits.batch_bytes;
        let result = Arc::clone(&batch.result);
        if full {
            self.seal();
            wake = true;
        }
        Ok(Appended {
            result,
            index,
            wake,
            leader_missing: self.leader.is_none(),
        })
    }

    fn open(&mut self, first: usize, now: Instant, limits: &Limits, next_id: &mut u64) {
        // Most batches of a busy partition fill up, those of a quiet one hold a record or two: start
        // small and let the buffer double.
        let capacity = first
            .saturating_mul(2)
            .clamp(512, limits.batch_bytes.max(512));
        *next_id += 1;
        self.batches.push_back(Batch {
            id: BatchId(*next_id),
            state: BatchState::Open,
            body: Body::Building(BatchBuilder::new(capacity)),
            result: Arc::new(BatchResult::new(self.topic_partition.clone())),
            records: 0,
            reserved: 0,
            opened_at: now,
            sequence: None,
            in_doubt: false,
            possibly_written: false,
            reported: false,
            attempts: 0,
            last_error: None,
        });
    }

    /// Closes the open batch, if there is one, so that it goes without waiting for more.
    pub(crate) fn seal(&mut self) {
        if let Some(batch) = self.batches.back_mut()
            && batch.state == BatchState::Open
        {
            batch.on(BatchEvent::Seal);
        }
    }

    /// What the queue waits for, at its leader. `no_linger`: open batches go as they are.
    pub(crate) fn turn(&self, now: Instant, limits: &Limits, no_linger: bool) -> Turn {
        if limits.compresses() && self.next_to_compress(limits).is_some() {
            return Turn::Now;
        }
        let Some(batch) = self.next_to_send(limits).and_then(|i| self.batches.get(i)) else {
            return Turn::Idle;
        };
        if let Some(retry_at) = self.retry_at
            && retry_at > now
        {
            return Turn::At(retry_at);
        }
        match batch.state {
            BatchState::Compressing => Turn::Idle,
            BatchState::Open if !no_linger && batch.opened_at + limits.linger > now => {
                Turn::At(batch.opened_at + limits.linger)
            }
            _ => Turn::Now,
        }
    }

    /// The batch that goes next, if the window is open.
    fn next_to_send(&self, limits: &Limits) -> Option<usize> {
        if self.settling {
            return None;
        }
        if !limits.idempotent {
            return (self.in_flight < limits.max_in_flight)
                .then(|| self.first_not_in_flight())
                .flatten();
        }
        let window = if self.confirmed && !self.broken {
            limits.max_in_flight
        } else {
            1
        };
        if self.in_flight >= window {
            return None;
        }
        if self.broken
            && let Some(in_doubt) = self.first_in_doubt()
        {
            return Some(in_doubt);
        }
        self.first_not_in_flight()
    }

    fn first_not_in_flight(&self) -> Option<usize> {
        self.batches
            .iter()
            .position(|b| b.state != BatchState::InFlight)
    }

    fn first_in_doubt(&self) -> Option<usize> {
        self.batches
            .iter()
            .position(|b| b.sequence.is_some() && b.in_doubt)
    }

    fn next_to_compress(&self, limits: &Limits) -> Option<usize> {
        // One window ahead keeps the codec busy and leaves the rest uncompressed in case it expires.
        self.batches
            .iter()
            .take(2 * limits.max_in_flight)
            .position(|b| b.state == BatchState::Sealed)
    }

    /// Hands a sealed batch to the codec. With `no_linger`, or when its time has come, the open one is
    /// sealed for it.
    pub(crate) fn take_for_compression(
        &mut self,
        now: Instant,
        limits: &Limits,
        no_linger: bool,
    ) -> Option<(BatchId, BatchBuilder)> {
        if !limits.compresses() {
            return None;
        }
        if let Some(batch) = self.batches.back()
            && batch.state == BatchState::Open
            && (no_linger || batch.opened_at + limits.linger <= now)
            && self.next_to_send(limits) == Some(self.batches.len() - 1)
        {
            self.seal();
        }
        let at = self.next_to_compress(limits)?;
        let batch = &mut self.batches[at];
        batch.on(BatchEvent::Compress);
        match std::mem::replace(&mut batch.body, Body::Away) {
            Body::Building(builder) => Some((batch.id, builder)),
            other => {
                batch.body = other;
                None
            }
        }
    }

    /// The codec is done. A batch that expired meanwhile is no longer here.
    pub(crate) fn compressed(
        &mut self,
        id: BatchId,
        encoded: Result<EncodedBatch, Error>,
        effects: &mut Effects,
    ) {
        let Some(at) = self.position(id) else { return };
        match encoded {
            Ok(encoded) => {
                let batch = &mut self.batches[at];
                if batch.on(BatchEvent::Compressed) {
                    batch.body = Body::Encoded(encoded);
                }
            }
            Err(error) => self.finish(at, Outcome::Failed(error), effects),
        }
    }

    /// Takes the next batch to send, if it is its turn.
    pub(crate) fn take(
        &mut self,
        now: Instant,
        limits: &Limits,
        identity: Option<ProducerIdentity>,
        no_linger: bool,
    ) -> Taken {
        if self.turn(now, limits, no_linger) != Turn::Now {
            return Taken::Nothing;
        }
        let Some(at) = self.next_to_send(limits) else {
            return Taken::Nothing;
        };
        if limits.idempotent {
            if self.identity.is_none() {
                let Some(identity) = identity else {
                    return Taken::Nothing;
                };
                self.start(identity);
            }
            let in_doubt = self.batches[at].sequence.is_some() && self.batches[at].in_doubt;
            if self.broken && !in_doubt {
                return Taken::NeedsNewEpoch;
            }
        }
        if self.batches[at].state == BatchState::Open {
            self.seal();
        }
        if limits.compresses() && matches!(self.batches[at].body, Body::Building(_) | Body::Away) {
            return Taken::Nothing;
        }
        self.send(at, limits)
    }

    fn send(&mut self, at: usize, limits: &Limits) -> Taken {
        let stamp = limits.idempotent.then(|| self.stamp(at)).flatten();
        let batch = &mut self.batches[at];
        if !batch.on(BatchEvent::Send) {
            return Taken::Nothing;
        }
        batch.attempts += 1;
        self.in_flight += 1;
        let body = std::mem::replace(&mut batch.body, Body::Away);
        let bytes = match &body {
            Body::Building(builder) => builder.encoded_len(),
            Body::Encoded(encoded) => encoded.len(),
            Body::Away => 0,
        };
        Taken::Send(Outgoing {
            id: batch.id,
            topic_partition: self.topic_partition.clone(),
            body,
            stamp,
            bytes,
            attempt: batch.attempts,
        })
    }

    /// The stamp of a batch; gives it its sequence number if it has none.
    fn stamp(&mut self, at: usize) -> Option<ProducerStamp> {
        let identity = self.identity?;
        let batch = &mut self.batches[at];
        let base_sequence = match batch.sequence {
            Some(sequence) => sequence,
            None => {
                let sequence = self.next_sequence;
                batch.sequence = Some(sequence);
                self.next_sequence = sequence_after(sequence, batch.records);
                sequence
            }
        };
        Some(ProducerStamp {
            producer_id: identity.id,
            producer_epoch: identity.epoch,
            base_sequence,
            transactional: false,
        })
    }

    fn start(&mut self, identity: ProducerIdentity) {
        self.identity = Some(identity);
        self.next_sequence = 0;
        self.confirmed = false;
        self.broken = false;
    }

    /// Goes on under a new epoch or id. Only after [`Taken::NeedsNewEpoch`].
    pub(crate) fn restart(&mut self, identity: ProducerIdentity) {
        debug_assert!(self.in_flight == 0 && self.first_in_doubt().is_none());
        for batch in &mut self.batches {
            batch.sequence = None;
        }
        self.start(identity);
    }

    /// The broker has the batch.
    pub(crate) fn acknowledged(
        &mut self,
        id: BatchId,
        base_offset: i64,
        log_append_time: Option<i64>,
        effects: &mut Effects,
    ) {
        let Some(at) = self.position(id) else { return };
        if !self.settling {
            self.confirmed = true;
            self.failures = 0;
            self.retry_at = None;
        }
        self.came_back();
        let batch = &self.batches[at];
        if let Some(sequence) = batch.sequence
            && sequence_after(sequence, batch.records) == self.next_sequence
        {
            // The last number given was accepted, so the broker has what came before it.
            self.broken = false;
        }
        let outcome = Outcome::Acked {
            base_offset,
            log_append_time,
        };
        self.finish(at, outcome, effects);
    }

    /// A request came back without an acknowledgement for the batch. `backoff` is the wait before the
    /// next attempt.
    pub(crate) fn failed(
        &mut self,
        (id, body): (BatchId, Body),
        error: Error,
        now: Instant,
        backoff: Duration,
        limits: &Limits,
        effects: &mut Effects,
    ) {
        let Some(at) = self.position(id) else { return };
        self.came_back();
        self.settle();
        let first_in_line = !self.batches.iter().take(at).any(|b| b.sequence.is_some());
        let batch = &mut self.batches[at];
        batch.body = body;
        let retry = if limits.idempotent && sequence_refused(error.code()) {
            // If an earlier batch is still undecided, that is the reason, and the order will be right
            // next time. If none is, the answer leaves no doubt: the log does not have this batch.
            if first_in_line {
                batch.in_doubt = false;
                self.broken = true;
            }
            true
        } else {
            let doubt = error.delivery() != Delivery::NotSent;
            batch.in_doubt |= doubt;
            batch.possibly_written |= doubt;
            error.is_retriable()
        };
        effects.refresh |= error.disposition() == Disposition::RefreshThenRetry;
        if retry && !batch.reported {
            batch.last_error = Some(error);
            batch.on(BatchEvent::Requeue);
            self.failures = self.failures.saturating_add(1);
            self.retry_at = Some(now + backoff);
            return;
        }
        let error = give_up(batch, error, now);
        self.break_sequence(at);
        self.finish(at, Outcome::Failed(error), effects);
    }

    /// Fails what is older than `delivery.timeout.ms`.
    pub(crate) fn expire(&mut self, now: Instant, limits: &Limits, effects: &mut Effects) {
        let mut at = 0;
        while let Some(batch) = self.batches.get_mut(at) {
            if batch.opened_at + limits.delivery_timeout > now {
                break;
            }
            if batch.state == BatchState::InFlight {
                // The application gets its answer; the batch stays until the broker's answer has told
                // whether the sequence goes on.
                if !batch.reported {
                    batch.possibly_written = true;
                    batch.reported = true;
                    let error = expired(batch, now, limits);
                    effects.finished.push(Finished {
                        result: Arc::clone(&batch.result),
                        records: batch.records,
                        outcome: Outcome::Failed(error),
                    });
                }
                at += 1;
                continue;
            }
            let error = expired(batch, now, limits);
            self.break_sequence(at);
            self.finish(at, Outcome::Failed(error), effects);
        }
    }

    /// When the oldest batch expires.
    pub(crate) fn expires_at(&self, limits: &Limits) -> Option<Instant> {
        self.batches
            .iter()
            .find(|b| !b.reported)
            .map(|b| b.opened_at + limits.delivery_timeout)
    }

    /// Fails everything; what a request still carries is no longer known here.
    pub(crate) fn fail_all(&mut self, error: &Error, effects: &mut Effects) {
        while let Some(batch) = self.batches.front() {
            let delivery = if batch.possibly_written || batch.state == BatchState::InFlight {
                Delivery::Unknown
            } else {
                Delivery::NotSent
            };
            let error = error
                .clone()
                .with_topic_partition(self.topic_partition.clone())
                .with_delivery(delivery);
            self.finish(0, Outcome::Failed(error), effects);
        }
        self.in_flight = 0;
        self.settling = false;
    }

    fn break_sequence(&mut self, at: usize) {
        if self.batches[at].sequence.is_some() {
            self.broken = true;
        }
    }

    fn finish(&mut self, at: usize, outcome: Outcome, effects: &mut Effects) {
        let Some(mut batch) = self.batches.remove(at) else {
            return;
        };
        batch.on(BatchEvent::Finish);
        effects.released += batch.reserved;
        if !batch.reported {
            effects.finished.push(Finished {
                result: batch.result,
                records: batch.records,
                outcome,
            });
        }
    }

    fn position(&self, id: BatchId) -> Option<usize> {
        self.batches.iter().position(|b| b.id == id)
    }
}

/// Sequence numbers run through the non-negative 32-bit numbers and start again at 0.
fn sequence_after(sequence: i32, records: u32) -> i32 {
    let after = (i64::from(sequence) + i64::from(records)) % (i64::from(i32::MAX) + 1);
    i32::try_from(after).unwrap_or(0)
}

#[cfg(test)]
mod tests;
