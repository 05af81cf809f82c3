//! The partitions a consumer reads: where each stands and what is fetched but not yet polled.
//!
//! Each partition has two positions. The fetch position runs ahead in the background; the consumed
//! one moves only when `poll` returns records, and it alone is ever committed. `epoch` changes with
//! every assignment and seek, so that an answer to a question asked before is recognised and dropped.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use ferrokafka_client::{Backoff, Cluster, Error, ErrorKind, NodeId, TopicPartition};
use ferrokafka_wire::ErrorCode;
use tokio::time::Instant;

use crate::chunk::{Aborted, Chunk, Position, damaged};
use crate::config::OffsetReset;
use crate::offsets::{OffsetAndMetadata, SeekTo};
use crate::record::ConsumerRecord;

/// Chunks of one partition that may wait: one is being polled while the next is there already.
const CHUNKS_MAX: usize = 2;

/// Where a partition's first position comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Ask the group's coordinator for the committed offset.
    Committed,
    /// Ask the leader for its first or next offset.
    Reset(Bound),
    /// Fetch.
    Ready,
    /// Do nothing until a seek: no position can be had.
    Stuck,
}

/// An end of a partition's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bound {
    Earliest,
    Latest,
}

impl Bound {
    /// The timestamp which asks for it in ListOffsets.
    pub(crate) fn timestamp(self) -> i64 {
        match self {
            Self::Earliest => -2,
            Self::Latest => -1,
        }
    }
}

struct Slot {
    epoch: u64,
    phase: Phase,
    fetch: Position,
    /// None until the first position is known.
    consumed: Option<Position>,
    committed: Option<OffsetAndMetadata>,
    chunks: VecDeque<Chunk>,
    paused: bool,
    in_flight: bool,
    retry_at: Option<Instant>,
    attempts: u32,
    error: Option<Error>,
    high_watermark: Option<i64>,
    last_stable: Option<i64>,
}

/// One partition of a fetch request.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct FetchItem {
    pub(crate) tp: TopicPartition,
    pub(crate) epoch: u64,
    pub(crate) position: Position,
    pub(crate) current_leader_epoch: i32,
}

/// What to fetch from one broker now.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) items: Vec<FetchItem>,
    /// Partitions were left out because enough of them waits already: do not let the broker wait.
    pub(crate) held_back: bool,
    pub(crate) bytes_max: i32,
    /// When a partition that must wait after an error may be asked again.
    pub(crate) retry_at: Option<Instant>,
}

/// What a fetch brought for one partition.
pub(crate) struct Fetched {
    pub(crate) code: ErrorCode,
    pub(crate) high_watermark: i64,
    pub(crate) last_stable: i64,
    pub(crate) records: Bytes,
    pub(crate) aborted: Vec<Aborted>,
}

/// What the fetcher does besides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    Nothing,
    /// Records came, or an error for the application.
    Wake,
    /// What is known of the leader is stale.
    Refresh,
    /// The position must be found anew.
    FindPosition,
}

/// The settings that matter here.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) reset: OffsetReset,
    pub(crate) in_group: bool,
    pub(crate) read_committed: bool,
    pub(crate) fetch_bytes_max: i32,
    pub(crate) check_crcs: bool,
    pub(crate) backoff: Backoff,
}

pub(crate) struct Partitions {
    settings: Settings,
    slots: BTreeMap<TopicPartition, Slot>,
    /// Whose turn it is to be drained first.
    turn: VecDeque<TopicPartition>,
    epochs: u64,
    /// The consumer closes: nothing is fetched any more.
    stopped: bool,
    /// A chunk was emptied since somebody asked: there is room to fetch.
    freed: bool,
}

impl Partitions {
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            settings,
            slots: BTreeMap::new(),
            turn: VecDeque::new(),
            epochs: 0,
            stopped: false,
            freed: false,
        }
    }

    fn next_epoch(&mut self) -> u64 {
        self.epochs += 1;
        self.epochs
    }

    /// Starts on these; those that are read already keep their place.
    pub(crate) fn add(&mut self, partitions: &[TopicPartition]) {
        for tp in partitions {
            if self.slots.contains_key(tp) {
                continue;
            }
            let slot = Slot {
                epoch: self.next_epoch(),
                phase: Phase::Committed,
                fetch: Position::at(-1),
                consumed: None,
                committed: None,
                chunks: VecDeque::new(),
                paused: false,
                in_flight: false,
                retry_at: None,
                attempts: 0,
                error: None,
                high_watermark: None,
                last_stable: None,
            };
            self.slots.insert(tp.clone(), slot);
            self.turn.push_back(tp.clone());
            if !self.settings.in_group {
                let epoch = self.epochs;
                self.committed_found(tp, epoch, None);
            }
        }
    }

    /// Nothing is fetched from now on.
    pub(crate) fn stop(&mut self) {
        self.stopped = true;
    }

    pub(crate) fn remove(&mut self, partitions: &[TopicPartition]) {
        for tp in partitions {
            self.slots.remove(tp);
        }
        self.turn.retain(|tp| self.slots.contains_key(tp));
    }

    pub(crate) fn list(&self) -> Vec<TopicPartition> {
        self.slots.keys().cloned().collect()
    }

    pub(crate) fn topics(&self) -> BTreeSet<std::sync::Arc<str>> {
        self.slots.keys().map(|tp| tp.topic.clone()).collect()
    }

    pub(crate) fn contains(&self, tp: &TopicPartition) -> bool {
        self.slots.contains_key(tp)
    }

    pub(crate) fn position(&self, tp: &TopicPartition) -> Option<Position> {
        self.slots.get(tp)?.consumed
    }

    pub(crate) fn set_paused(&mut self, partitions: &[TopicPartition], paused: bool) {
        for tp in partitions {
            if let Some(slot) = self.slots.get_mut(tp) {
                slot.paused = paused;
            }
        }
    }

    pub(crate) fn paused(&self) -> Vec<TopicPartition> {
        self.slots
            .iter()
            .filter(|(_, s)| s.paused)
            .map(|(tp, _)| tp.clone())
            .collect()
    }

    /// Reads elsewhere; false if the partition is not ours.
    pub(crate) fn seek(&mut self, tp: &TopicPartition, to: SeekTo) -> bool {
        let epoch = self.next_epoch();
        let Some(slot) = self.slots.get_mut(tp) else {
            return false;
        };
        slot.epoch = epoch;
        slot.chunks.clear();
        slot.error = None;
        slot.retry_at = None;
        slot.in_flight = false;
        match to {
            SeekTo::Offset(offset) => slot.start_at(Position::at(offset)),
            SeekTo::Beginning => slot.look_for(Bound::Earliest),
            SeekTo::End => slot.look_for(Bound::Latest),
        }
        true
    }

    /// High watermark (last stable offset under `read_committed`) minus committed offset.
    pub(crate) fn lag(&self, tp: &TopicPartition) -> Option<i64> {
        let slot = self.slots.get(tp)?;
        let committed = slot.committed.as_ref()?.offset;
        let end = if self.settings.read_committed {
            slot.last_stable
        } else {
            slot.high_watermark
        };
        Some((end? - committed).max(0))
    }

    /// Partitions whose committed offset must be asked for, with their epoch.
    pub(crate) fn awaiting_committed(&self, now: Instant) -> Vec<(TopicPartition, u64)> {
        self.slots
            .iter()
            .filter(|(_, s)| s.phase == Phase::Committed && s.may_ask(now))
            .map(|(tp, s)| (tp.clone(), s.epoch))
            .collect()
    }

    /// The coordinator's answer for one of them.
    pub(crate) fn committed_found(
        &mut self,
        tp: &TopicPartition,
        epoch: u64,
        committed: Option<OffsetAndMetadata>,
    ) {
        let reset = self.settings.reset;
        let Some(slot) = self.current_slot(tp, epoch) else {
            return;
        };
        slot.succeeded();
        match (&committed, reset) {
            (Some(found), _) => {
                let position = Position {
                    offset: found.offset,
                    leader_epoch: found.leader_epoch,
                };
                slot.start_at(position);
            }
            (None, OffsetReset::Earliest) => slot.look_for(Bound::Earliest),
            (None, OffsetReset::Latest) => slot.look_for(Bound::Latest),
            (None, OffsetReset::None) => {
                slot.phase = Phase::Stuck;
                slot.error = Some(no_offset(tp));
            }
        }
        slot.committed = committed;
    }

    /// Partitions whose first or next offset must be asked from the leader, with their epoch.
    pub(crate) fn awaiting_reset(&self, now: Instant) -> Vec<(TopicPartition, u64, Bound)> {
        self.slots
            .iter()
            .filter(|(_, s)| s.may_ask(now))
            .filter_map(|(tp, s)| match s.phase {
                Phase::Reset(bound) => Some((tp.clone(), s.epoch, bound)),
                _ => None,
            })
            .collect()
    }

    /// The leader's answer for one of them.
    pub(crate) fn bound_found(&mut self, tp: &TopicPartition, epoch: u64, offset: i64) {
        let Some(slot) = self.current_slot(tp, epoch) else {
            return;
        };
        slot.succeeded();
        slot.start_at(Position::at(offset));
    }

    /// The first position of a partition could not be found this time.
    pub(crate) fn position_failed(
        &mut self,
        tp: &TopicPartition,
        epoch: u64,
        now: Instant,
        error: Error,
    ) {
        let backoff = self.settings.backoff;
        let Some(slot) = self.current_slot(tp, epoch) else {
            return;
        };
        slot.wait(now, &backoff);
        if !error.is_retriable() {
            slot.error = Some(error.with_topic_partition(tp.clone()));
        }
    }

    /// The earliest moment at which a partition that waits after an error may be asked again.
    pub(crate) fn retry_at(&self) -> Option<Instant> {
        let waiting = |s: &&Slot| s.phase != Phase::Ready && s.phase != Phase::Stuck;
        self.slots
            .values()
            .filter(waiting)
            .filter_map(|s| s.retry_at)
            .min()
    }

    /// What to fetch from `node` now.
    pub(crate) fn plan(&self, node: NodeId, cluster: &Cluster, now: Instant) -> Plan {
        let waiting = self.slots.values().filter(|s| !s.paused);
        let buffered: usize = waiting.flat_map(|s| &s.chunks).map(Chunk::bytes).sum();
        let room = self.settings.fetch_bytes_max as i64 - buffered as i64;
        let mut plan = Plan {
            bytes_max: room.clamp(0, i64::from(i32::MAX)) as i32,
            ..Plan::default()
        };
        for (tp, slot) in self.slots.iter().filter(|_| !self.stopped) {
            if slot.paused || slot.phase != Phase::Ready || slot.in_flight {
                continue;
            }
            let Some((leader, leader_epoch)) = cluster.leader(tp) else {
                continue;
            };
            if leader != node {
                continue;
            }
            if !slot.may_ask(now) {
                plan.retry_at = [plan.retry_at, slot.retry_at].into_iter().flatten().min();
                continue;
            }
            if slot.chunks.len() >= CHUNKS_MAX || room <= 0 {
                plan.held_back = true;
                continue;
            }
            plan.items.push(FetchItem {
                tp: tp.clone(),
                epoch: slot.epoch,
                position: slot.fetch,
                current_leader_epoch: leader_epoch,
            });
        }
        plan
    }

    /// Whether a partition that is read has no known leader.
    pub(crate) fn leaderless(&self, cluster: &Cluster) -> bool {
        self.slots.keys().any(|tp| cluster.leader(tp).is_none())
    }

    /// Marks the partitions of a request as asked, so that no other broker is asked meanwhile.
    pub(crate) fn sent(&mut self, items: &[FetchItem]) {
        for item in items {
            if let Some(slot) = self.current_slot(&item.tp, item.epoch) {
                slot.in_flight = true;
            }
        }
    }

    /// The request is over, answered or not.
    pub(crate) fn returned(&mut self, items: &[FetchItem]) {
        for item in items {
            if let Some(slot) = self.current_slot(&item.tp, item.epoch) {
                slot.in_flight = false;
            }
        }
    }

    /// Takes in what a fetch brought for `item`. An answer to a question that a seek or a rebalance
    /// made obsolete changes nothing.
    pub(crate) fn fetched(&mut self, item: &FetchItem, now: Instant, answer: Fetched) -> Effect {
        let backoff = self.settings.backoff;
        let (read_committed, check_crcs) = (self.settings.read_committed, self.settings.check_crcs);
        let reset = self.settings.reset;
        let Some(slot) = self.current_slot(&item.tp, item.epoch) else {
            return Effect::Nothing;
        };
        if slot.phase != Phase::Ready || slot.fetch != item.position {
            return Effect::Nothing;
        }
        match answer.code {
            ErrorCode::None => {
                slot.succeeded();
                slot.high_watermark = Some(answer.high_watermark);
                slot.last_stable = Some(answer.last_stable).filter(|offset| *offset >= 0);
                let aborted = if read_committed {
                    answer.aborted
                } else {
                    Vec::new()
                };
                slot.buffer(&item.tp, answer.records, aborted, check_crcs)
            }
            ErrorCode::OffsetOutOfRange => slot.out_of_range(&item.tp, reset),
            code => {
                let error = Error::from_code(code, "fetch").with_topic_partition(item.tp.clone());
                slot.wait(now, &backoff);
                if error.is_retriable() {
                    return Effect::Refresh;
                }
                slot.error = Some(error);
                Effect::Wake
            }
        }
    }

    /// Hands out at most `max` records of partitions that are not paused, beginning with the one
    /// that waited longest. This is where the consumed positions move.
    ///
    /// # Errors
    /// A partition cannot go on. Records of others come first; the error comes when there are none.
    pub(crate) fn drain(&mut self, max: usize) -> Result<Vec<ConsumerRecord>, Error> {
        let mut out = Vec::new();
        for _ in 0..self.turn.len() {
            let Some(tp) = self.turn.pop_front() else {
                break;
            };
            let drained = match self.slots.get_mut(&tp) {
                Some(slot) if !slot.paused => slot.drain(&tp, max, &mut out),
                _ => Ok(false),
            };
            self.turn.push_back(tp);
            self.freed |= drained?;
            if out.len() >= max {
                break;
            }
        }
        Ok(out)
    }

    /// Whether there is room for more since the last call.
    pub(crate) fn take_freed(&mut self) -> bool {
        std::mem::take(&mut self.freed)
    }

    /// Positions to commit: those that `poll` reached and that are not committed yet.
    pub(crate) fn consumed(&self) -> BTreeMap<TopicPartition, OffsetAndMetadata> {
        self.slots
            .iter()
            .filter_map(|(tp, slot)| {
                let consumed = slot.consumed?;
                let known = slot
                    .committed
                    .as_ref()
                    .is_some_and(|c| c.offset == consumed.offset);
                let offset = OffsetAndMetadata {
                    leader_epoch: consumed.leader_epoch,
                    ..OffsetAndMetadata::new(consumed.offset)
                };
                (!known).then(|| (tp.clone(), offset))
            })
            .collect()
    }

    /// Refuses offsets past what `poll` returned.
    pub(crate) fn check_commit(
        &self,
        offsets: &BTreeMap<TopicPartition, OffsetAndMetadata>,
    ) -> Result<(), Error> {
        for (tp, wanted) in offsets {
            let fail = |text: String| {
                Err(Error::new(ErrorKind::Config, text).with_topic_partition(tp.clone()))
            };
            if wanted.offset < 0 {
                return fail(format!(
                    "cannot commit the negative offset {}",
                    wanted.offset
                ));
            }
            let Some(slot) = self.slots.get(tp) else {
                continue;
            };
            let reached = slot.consumed.map_or(-1, |position| position.offset);
            if wanted.offset > reached {
                return fail(format!(
                    "cannot commit offset {}: poll returned records only up to {reached}",
                    wanted.offset
                ));
            }
        }
        Ok(())
    }

    /// The coordinator has these.
    pub(crate) fn committed(&mut self, offsets: &BTreeMap<TopicPartition, OffsetAndMetadata>) {
        for (tp, offset) in offsets {
            if let Some(slot) = self.slots.get_mut(tp) {
                slot.committed = Some(offset.clone());
            }
        }
    }

    fn current_slot(&mut self, tp: &TopicPartition, epoch: u64) -> Option<&mut Slot> {
        self.slots.get_mut(tp).filter(|slot| slot.epoch == epoch)
    }
}

impl Slot {
    fn may_ask(&self, now: Instant) -> bool {
        self.retry_at.is_none_or(|at| at <= now)
    }

    fn succeeded(&mut self) {
        self.attempts = 0;
        self.retry_at = None;
    }

    fn wait(&mut self, now: Instant, backoff: &Backoff) {
        self.retry_at = Some(now + backoff.delay(self.attempts).max(Duration::from_millis(1)));
        self.attempts = self.attempts.saturating_add(1);
    }

    fn start_at(&mut self, position: Position) {
        self.phase = Phase::Ready;
        self.fetch = position;
        if self.chunks.is_empty() {
            self.consumed = Some(position);
        }
    }

    fn look_for(&mut self, bound: Bound) {
        self.phase = Phase::Reset(bound);
        if self.chunks.is_empty() {
            self.consumed = None;
        }
    }

    fn buffer(
        &mut self,
        tp: &TopicPartition,
        records: Bytes,
        aborted: Vec<Aborted>,
        check_crcs: bool,
    ) -> Effect {
        let some = !records.is_empty();
        match Chunk::new(self.fetch, records, aborted, check_crcs) {
            Ok(Some(chunk)) => {
                self.fetch = chunk.next();
                self.chunks.push_back(chunk);
                Effect::Wake
            }
            Ok(None) if some => {
                // Since KIP-74 the first batch comes whole whatever the limits.
                let text = format!("no whole batch came for offset {}", self.fetch.offset);
                self.stop(Error::new(ErrorKind::TooLarge, text).with_topic_partition(tp.clone()));
                Effect::Wake
            }
            Ok(None) => Effect::Nothing,
            Err(error) => {
                self.stop(damaged(tp, self.fetch.offset, error));
                Effect::Wake
            }
        }
    }

    /// No way on from here without a seek.
    fn stop(&mut self, error: Error) {
        self.phase = Phase::Stuck;
        self.error = Some(error);
    }

    fn out_of_range(&mut self, tp: &TopicPartition, reset: OffsetReset) -> Effect {
        tracing::info!(partition = %tp, offset = self.fetch.offset, ?reset, "offset out of range");
        match reset {
            OffsetReset::Earliest => self.phase = Phase::Reset(Bound::Earliest),
            OffsetReset::Latest => self.phase = Phase::Reset(Bound::Latest),
            OffsetReset::None => {
                let what = format!("read at offset {}", self.fetch.offset);
                let error = Error::from_code(ErrorCode::OffsetOutOfRange, what)
                    .with_topic_partition(tp.clone())
                    .with_hint("auto.offset.reset=none leaves this to you: seek");
                self.stop(error);
                return Effect::Wake;
            }
        }
        Effect::FindPosition
    }

    /// True if a chunk was emptied.
    fn drain(
        &mut self,
        tp: &TopicPartition,
        max: usize,
        out: &mut Vec<ConsumerRecord>,
    ) -> Result<bool, Error> {
        let mut freed = false;
        while let Some(chunk) = self.chunks.front_mut() {
            let mut consumed = self.consumed.unwrap_or(Position::at(-1));
            let drained = chunk.drain(tp, max, out, &mut consumed);
            self.consumed = Some(consumed);
            match drained {
                Ok(true) => {
                    self.chunks.pop_front();
                    freed = true;
                    if self.chunks.is_empty() && self.phase == Phase::Ready {
                        // After a reset the position may have jumped over what is gone.
                        self.consumed = Some(self.fetch);
                    }
                }
                Ok(false) => return Ok(freed),
                Err(error) => {
                    // What was fetched is of no use; a seek past the offset goes on.
                    self.chunks.clear();
                    self.fetch = consumed;
                    self.stop(error);
                    break;
                }
            }
        }
        // What stands before the error is handed out first; it comes up again when nothing is left.
        match &self.error {
            _ if !out.is_empty() => Ok(freed),
            Some(error) if self.phase == Phase::Stuck => Err(error.clone()),
            Some(_) => Err(self.error.take().unwrap_or_else(|| no_offset(tp))),
            None => Ok(freed),
        }
    }
}

fn no_offset(tp: &TopicPartition) -> Error {
    Error::new(
        ErrorKind::Config,
        "no committed offset, and none may be chosen",
    )
    .with_topic_partition(tp.clone())
    .with_hint("set auto.offset.reset to earliest or latest, commit an offset, or seek")
}

#[cfg(test)]
#[path = "partitions/tests.rs"]
mod tests;
