//! All groups of the process: looks them up, feeds them, answers what is parked, keeps the journal.
//!
//! Lock order: `groups`, then one group's slot, then `journal` or `timers`. None is held across an
//! `.await`; a request that has to wait holds nothing but the receiving end of a oneshot.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use ferrokafka_wire::ErrorCode;
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use super::classic::{Actions, Claim, Command, Group, Reply};
use super::commits::{CommitRequest, PartitionResults};
use super::join::{JoinReply, JoinRequest};
use super::leave::Leaving;
use super::member_id::MemberIds;
use super::sync::{SyncReply, SyncRequest};
use super::timers::{self, TimerTask};
use super::{GroupConfig, Name, Now, Ticket, record};
use crate::clock::Clock;
use crate::journal::Journal;

/// The journal's own entry: how often it was opened, so that member ids do not repeat.
const LIVES_KEY: &[u8] = b"\0lives";

/// Every group of the process. Dropping it stops its timers.
#[derive(Debug)]
pub(crate) struct GroupCoordinator {
    shared: Arc<Shared>,
    timers: OnceLock<TimerTask>,
}

/// What the timer task shares with the handlers.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) config: Arc<GroupConfig>,
    clock: Clock,
    seed: u64,
    /// Counts openings of the journal and deaths of groups; see [`MemberIds`].
    lives: AtomicU64,
    groups: Mutex<HashMap<Name, Arc<Slot>>>,
    journal: Mutex<Journal>,
    /// A write to the journal failed: what is in memory may be ahead of it, so nothing is answered.
    failed: AtomicBool,
    due: Mutex<BTreeSet<(Instant, Name)>>,
    pub(super) rescheduled: Notify,
}

/// One group and the requests parked in it.
#[derive(Debug)]
struct Slot {
    state: Mutex<SlotState>,
}

#[derive(Debug)]
struct SlotState {
    group: Group,
    parked: HashMap<Ticket, oneshot::Sender<Reply>>,
    next_ticket: u64,
    /// The entry in `due`.
    scheduled: Option<Instant>,
}

impl GroupCoordinator {
    /// Restores every group from the journal, unless `journal` is new.
    pub(crate) fn new(config: GroupConfig, clock: Clock, seed: u64, mut journal: Journal) -> Self {
        let lives = journal
            .get(LIVES_KEY)
            .and_then(|lives| Some(u64::from_be_bytes(lives.as_ref().try_into().ok()?)))
            .map_or(0, |lives| lives.wrapping_add(1));
        let saved = vec![(LIVES_KEY.into(), Some(lives.to_be_bytes().to_vec().into()))];
        let failed = journal.append(saved).is_err();
        let shared = Arc::new(Shared {
            config: Arc::new(config),
            clock,
            seed,
            // Deaths count upwards from here; 2^32 of them in one life are out of reach.
            lives: AtomicU64::new(lives << 32),
            groups: Mutex::default(),
            journal: Mutex::new(journal),
            failed: AtomicBool::new(failed),
            due: Mutex::default(),
            rescheduled: Notify::new(),
        });
        for group in shared.journaled_groups() {
            shared.load(&group);
        }
        Self {
            shared,
            timers: OnceLock::new(),
        }
    }

    /// JoinGroup; returns when the barrier opens, at the latest after the rebalance timeout.
    ///
    /// # Cancellation
    /// The member stays in the group, as it does in Kafka when a connection breaks.
    pub(crate) async fn join(&self, group: &str, request: JoinRequest) -> JoinReply {
        let member = request.member_id.clone();
        if group.is_empty() {
            return JoinReply::error(member, ErrorCode::InvalidGroupId);
        }
        let bounds =
            self.shared.config.session_timeout_min..=self.shared.config.session_timeout_max;
        if !bounds.contains(&request.session_timeout) {
            return JoinReply::error(member, ErrorCode::InvalidSessionTimeout);
        }
        let missing = if member.is_empty() {
            Missing::Create
        } else {
            Missing::Refuse
        };
        match self.run(group, missing, Command::Join(request)).await {
            Ok(Reply::Join(reply)) => reply,
            Ok(_) => JoinReply::error(member, ErrorCode::UnknownServerError),
            Err(RunError::NoGroup) => JoinReply::error(member, ErrorCode::UnknownMemberId),
            Err(RunError::Unavailable) => {
                JoinReply::error(member, ErrorCode::CoordinatorNotAvailable)
            }
        }
    }

    /// SyncGroup; returns when the leader's assignment is there or the round has failed.
    ///
    /// # Cancellation
    /// The member stays in the group.
    pub(crate) async fn sync(&self, group: &str, request: SyncRequest) -> SyncReply {
        if group.is_empty() {
            return SyncReply::error(ErrorCode::InvalidGroupId);
        }
        match self
            .run(group, Missing::Refuse, Command::Sync(request))
            .await
        {
            Ok(Reply::Sync(reply)) => reply,
            Ok(_) => SyncReply::error(ErrorCode::UnknownServerError),
            Err(RunError::NoGroup) => SyncReply::error(ErrorCode::UnknownMemberId),
            Err(RunError::Unavailable) => SyncReply::error(ErrorCode::CoordinatorNotAvailable),
        }
    }

    /// Heartbeat.
    pub(crate) async fn heartbeat(&self, group: &str, claim: Claim) -> ErrorCode {
        if group.is_empty() {
            return ErrorCode::InvalidGroupId;
        }
        self.code(group, Command::Heartbeat(claim), ErrorCode::UnknownMemberId)
            .await
    }

    /// LeaveGroup: a result per member, in the order asked.
    pub(crate) async fn leave(&self, group: &str, leaving: Vec<Leaving>) -> PartitionResults {
        if group.is_empty() {
            return Err(ErrorCode::InvalidGroupId);
        }
        let count = leaving.len();
        match self
            .run(group, Missing::Refuse, Command::Leave(leaving))
            .await
        {
            Ok(Reply::Items(results)) => results,
            Ok(_) => Err(ErrorCode::UnknownServerError),
            Err(RunError::NoGroup) => Ok(vec![ErrorCode::UnknownMemberId; count]),
            Err(RunError::Unavailable) => Err(ErrorCode::CoordinatorNotAvailable),
        }
    }

    /// OffsetCommit. A group that does not exist is created for a client outside any generation.
    pub(crate) async fn commit(&self, group: &str, request: CommitRequest) -> PartitionResults {
        let missing = if request.claim.generation < 0 {
            Missing::Create
        } else {
            Missing::Refuse
        };
        match self.run(group, missing, Command::Commit(request)).await {
            Ok(Reply::Partitions(results)) => results,
            Ok(_) => Err(ErrorCode::UnknownServerError),
            Err(RunError::NoGroup) => Err(ErrorCode::IllegalGeneration),
            Err(RunError::Unavailable) => Err(ErrorCode::CoordinatorNotAvailable),
        }
    }

    /// OffsetDelete.
    pub(crate) async fn delete_offsets(
        &self,
        group: &str,
        partitions: Vec<(Name, i32)>,
    ) -> PartitionResults {
        match self
            .run(group, Missing::Refuse, Command::DeleteOffsets(partitions))
            .await
        {
            Ok(Reply::Partitions(results)) => results,
            Ok(_) => Err(ErrorCode::UnknownServerError),
            Err(RunError::NoGroup) => Err(ErrorCode::GroupIdNotFound),
            Err(RunError::Unavailable) => Err(ErrorCode::CoordinatorNotAvailable),
        }
    }

    /// DeleteGroups, for one group.
    pub(crate) async fn delete(&self, group: &str) -> ErrorCode {
        self.code(group, Command::Delete, ErrorCode::GroupIdNotFound)
            .await
    }

    /// Ends a member's session at once, as if its heartbeats had stopped; false if there is none.
    pub(crate) async fn expire_session(&self, group: &str, member: &str) -> bool {
        let command = Command::ExpireSession(member.into());
        self.code(group, command, ErrorCode::UnknownMemberId)
            .await
            .is_none()
    }

    /// Drops the offsets of a deleted topic from every group.
    pub(crate) fn topic_deleted(&self, topic: &str) {
        self.shared
            .everywhere(|| Command::ForgetTopics(vec![topic.into()]));
    }

    /// Reads a group, if it exists.
    pub(crate) fn read<T>(&self, group: &str, read: impl FnOnce(&Group) -> T) -> Option<T> {
        let slot = self.shared.groups.lock().get(group)?.clone();
        let state = slot.state.lock();
        (!state.group.is_dead()).then(|| read(&state.group))
    }

    /// The ids of all groups, in order.
    pub(crate) fn ids(&self) -> Vec<Name> {
        let mut ids: Vec<Name> = self.shared.groups.lock().keys().cloned().collect();
        ids.sort();
        ids
    }

    /// Every group there is, held or only journaled because nobody coordinates it.
    pub(crate) fn known(&self) -> BTreeSet<Name> {
        let mut known = self.shared.journaled_groups();
        known.extend(self.ids());
        known
    }

    /// A group has another coordinator, or with `anyone` false none at all.
    ///
    /// What the old coordinator had parked is answered with NOT_COORDINATOR, and the new one
    /// continues from the journal, as Kafka's reads its partition of `__consumer_offsets`.
    pub(crate) fn moved(&self, group: &Name, anyone: bool) {
        self.shared.unload(group);
        if anyone {
            self.shared.load(group);
        }
        self.start_timers();
    }

    /// From now on the journal cannot be written.
    #[cfg(test)]
    pub(crate) fn break_journal(&self) {
        self.shared.journal.lock().break_log();
    }

    async fn code(&self, group: &str, command: Command, if_missing: ErrorCode) -> ErrorCode {
        match self.run(group, Missing::Refuse, command).await {
            Ok(Reply::Code(code)) => code,
            Ok(_) => ErrorCode::UnknownServerError,
            Err(RunError::NoGroup) => if_missing,
            Err(RunError::Unavailable) => ErrorCode::CoordinatorNotAvailable,
        }
    }

    /// Hands a command to a group and waits for the answer, holding no lock.
    async fn run(
        &self,
        group: &str,
        missing: Missing,
        command: Command,
    ) -> Result<Reply, RunError> {
        self.start_timers();
        let slot = self.shared.slot(group, missing).ok_or(RunError::NoGroup)?;
        let (sender, answer) = oneshot::channel();
        self.shared.handle(&slot, Some(sender), command);
        // A parked request is dropped unanswered only when the whole coordinator goes.
        answer.await.map_err(|_| RunError::Unavailable)
    }

    /// The task starts with the first request, because only then is there surely a runtime.
    fn start_timers(&self) {
        if self.timers.get().is_none() && tokio::runtime::Handle::try_current().is_ok() {
            self.timers.get_or_init(|| timers::start(&self.shared));
        }
    }
}

/// What to do about a group that does not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Missing {
    Create,
    Refuse,
}

enum RunError {
    NoGroup,
    Unavailable,
}

impl Shared {
    fn now(&self) -> Now {
        Now {
            instant: Instant::now(),
            ms: self.clock.now_ms(),
        }
    }

    fn ids(&self) -> MemberIds {
        MemberIds::new(self.seed, self.lives.load(Ordering::Relaxed))
    }

    fn slot(&self, group: &str, missing: Missing) -> Option<Arc<Slot>> {
        let mut groups = self.groups.lock();
        if let Some(slot) = groups.get(group) {
            return Some(slot.clone());
        }
        if missing == Missing::Refuse {
            return None;
        }
        let id: Name = group.into();
        let new = Group::new(id.clone(), self.config.clone(), self.ids(), self.now());
        let slot = Slot::new(new);
        groups.insert(id, slot.clone());
        Some(slot)
    }

    /// One step of one group: state, journal, timers; answers go out at the end.
    fn handle(&self, slot: &Arc<Slot>, sender: Option<oneshot::Sender<Reply>>, command: Command) {
        let mut state = slot.state.lock();
        let ticket = Ticket(state.next_ticket);
        state.next_ticket += 1;
        if let Some(sender) = sender {
            state.parked.insert(ticket, sender);
        }
        let Actions { entries, replies } = state.group.handle(self.now(), ticket, command);
        let written = self.write(entries);
        let answers: Vec<_> = replies
            .into_iter()
            .filter_map(|(ticket, reply)| Some((state.parked.remove(&ticket)?, reply)))
            .collect();
        self.reschedule(&mut state);
        let dead = state.group.is_dead().then(|| state.group.id.clone());
        if dead.is_some() {
            // Whatever is still parked cannot be answered any more; dropping it says so.
            state.parked.clear();
        }
        drop(state);
        if let Some(id) = dead {
            self.forget(&id, slot);
        }
        for (sender, reply) in answers {
            let reply = if written {
                reply
            } else {
                reply.failed(ErrorCode::CoordinatorNotAvailable)
            };
            // The connection may be gone: then nobody waits.
            let _ = sender.send(reply);
        }
    }

    /// False when the journal cannot be trusted any more, now or since an earlier failure.
    fn write(&self, entries: Vec<record::Entry>) -> bool {
        if self.failed.load(Ordering::Acquire) {
            return false;
        }
        match self.journal.lock().append(entries) {
            Ok(()) => true,
            Err(error) => {
                tracing::error!(%error, "group journal cannot be written; the coordinator stops answering");
                self.failed.store(true, Ordering::Release);
                false
            }
        }
    }

    fn forget(&self, id: &Name, slot: &Arc<Slot>) {
        let mut groups = self.groups.lock();
        if groups
            .get(id)
            .is_some_and(|current| Arc::ptr_eq(current, slot))
        {
            groups.remove(id);
            self.lives.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn reschedule(&self, state: &mut SlotState) {
        let next = state.group.next_deadline();
        if next == state.scheduled {
            return;
        }
        let mut due = self.due.lock();
        if let Some(old) = state.scheduled.take() {
            due.remove(&(old, state.group.id.clone()));
        }
        if let Some(next) = next {
            due.insert((next, state.group.id.clone()));
            state.scheduled = Some(next);
            let first = due.first().is_some_and(|(first, _)| *first == next);
            if first {
                self.rescheduled.notify_one();
            }
        }
    }

    /// When [`tick`](Self::tick) has something to do.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.due.lock().first().map(|(due, _)| *due)
    }

    /// Lets every group that is due look at its timers.
    pub(super) fn tick(&self) {
        let now = Instant::now();
        let mut ready = Vec::new();
        {
            let mut due = self.due.lock();
            while due.first().is_some_and(|(at, _)| *at <= now) {
                ready.extend(due.pop_first().map(|(_, id)| id));
            }
        }
        for id in ready {
            let slot = self.groups.lock().get(&id).cloned();
            if let Some(slot) = slot {
                slot.state.lock().scheduled = None;
                self.handle(&slot, None, Command::Tick);
            }
        }
    }

    pub(super) fn expire_offsets(&self) {
        self.everywhere(|| Command::ExpireOffsets);
    }

    fn everywhere(&self, command: impl Fn() -> Command) {
        let slots: Vec<_> = self.groups.lock().values().cloned().collect();
        for slot in slots {
            self.handle(&slot, None, command());
        }
    }

    fn journaled_groups(&self) -> BTreeSet<Name> {
        let journal = self.journal.lock();
        journal
            .scan(b"")
            .filter_map(|(key, _)| record::group_of(key.clone()))
            .collect()
    }

    fn load(&self, id: &Name) {
        let mut records = Vec::new();
        {
            let journal = self.journal.lock();
            for prefix in record::prefixes(id) {
                for (key, value) in journal.scan(&prefix) {
                    match record::decode(key.clone(), value.clone()) {
                        Some(record) => records.push(record),
                        None => {
                            tracing::warn!(group = %id, "journal entry of an unknown kind is skipped")
                        }
                    }
                }
            }
        }
        let restored = Group::restore(
            id.clone(),
            self.config.clone(),
            self.ids(),
            self.now(),
            records,
        );
        if let Some(group) = restored {
            let slot = Slot::new(group);
            self.groups.lock().insert(id.clone(), slot.clone());
            self.reschedule(&mut slot.state.lock());
        }
    }

    fn unload(&self, id: &Name) {
        let slot = self.groups.lock().get(id).cloned();
        if let Some(slot) = slot {
            self.handle(&slot, None, Command::Unload(ErrorCode::NotCoordinator));
        }
    }
}

impl Slot {
    fn new(group: Group) -> Arc<Self> {
        let state = SlotState {
            group,
            parked: HashMap::new(),
            next_ticket: 0,
            scheduled: None,
        };
        Arc::new(Self {
            state: Mutex::new(state),
        })
    }
}
