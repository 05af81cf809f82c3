//! The life of a classic group member as a plain state machine: no runtime, no sockets, no clock.
//!
//! ```text
//!            subscribe            nothing to give back
//!   Idle ──────────────▶ Unjoined ────────────────────▶ Joining ──▶ Syncing ──▶ Applying ──▶ Stable
//!                          │  ▲ ▲                          ▲                        │            │
//!        something to give │  │ └── generation lost ───────┼────────────────────────┴──────┬─────┘
//!        back, or lost     ▼  │     (from anywhere)        │      rebalance: the same way ◀┘
//!                        Preparing ────────────────────────┘
//!   not polled for max.poll.interval: Expired, until the next poll     fatal answer: Failed
//! ```
//!
//! The application takes part at two places, both inside its `poll`: in `Preparing` it gives
//! partitions back (or learns that they are lost), in `Applying` it takes the new assignment over.
//! What it has to do is the [`Handoff`]. Heartbeats go on in every state that has a generation
//! except `Joining`, where the coordinator holds the member by its JoinGroup.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use ferrokafka_client::{Backoff, Error, ErrorKind, TopicPartition};
use ferrokafka_wire::ErrorCode;
use tokio::time::Instant;

use crate::assignor::RebalanceProtocol;

/// Where a member stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Wants nothing from the group.
    Idle,
    /// Wants to join as soon as the wait after the last attempt is over.
    Unjoined,
    /// The application must do the [`Handoff`] before it may join.
    Preparing,
    /// JoinGroup is out.
    Joining,
    /// SyncGroup is out.
    Syncing,
    /// The application must take over the new assignment.
    Applying,
    /// A member with its partitions.
    Stable,
    /// The application did not poll in time; the member left, and joins again with the next poll.
    Expired,
    /// Out of the group for good: closing, or an answer that no retry can help.
    Failed,
}

/// What the state machine needs to know of the configuration.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) heartbeat_interval: Duration,
    pub(crate) max_poll_interval: Duration,
    pub(crate) protocol: RebalanceProtocol,
    pub(crate) static_member: bool,
    pub(crate) backoff: Backoff,
}

/// A request the driver sends. Its answer comes back with the same `round`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Action {
    Join {
        round: u64,
        member_id: Arc<str>,
        topics: Vec<Arc<str>>,
        owned: Vec<TopicPartition>,
        generation: i32,
        reason: &'static str,
    },
    Sync {
        round: u64,
        member_id: Arc<str>,
        generation: i32,
        protocol: Arc<str>,
        members: Option<Vec<MemberBytes>>,
    },
    Heartbeat {
        member_id: Arc<str>,
        generation: i32,
    },
    Leave {
        member_id: Arc<str>,
        reason: &'static str,
    },
    ForgetCoordinator,
    /// The application should poll: there is a handoff or an error.
    WakeApplication,
}

/// A member as JoinGroup's answer to the leader describes it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct MemberBytes {
    pub(crate) member_id: Arc<str>,
    pub(crate) group_instance_id: Option<Arc<str>>,
    pub(crate) subscription: Bytes,
}

/// A successful JoinGroup.
#[derive(Clone, Debug)]
pub(crate) struct Joined {
    pub(crate) member_id: Arc<str>,
    pub(crate) generation: i32,
    pub(crate) protocol: Arc<str>,
    /// For the leader: everybody's subscription. `None` for the others, and for a static leader
    /// that came back and must not assign anew (KIP-814).
    pub(crate) members: Option<Vec<MemberBytes>>,
    pub(crate) leader: bool,
}

/// Why a request to the coordinator did not succeed.
#[derive(Clone, Debug)]
pub(crate) enum Refusal {
    /// An error code; JoinGroup's comes with the member id the coordinator gave.
    Code(ErrorCode, Option<Arc<str>>),
    /// No answer: the connection broke, the deadline passed, or there is no coordinator.
    NoAnswer(Error),
}

/// What the application does inside `poll` before the membership can go on.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Handoff {
    /// Give these back: commit, run `revoked`, stop fetching them.
    Revoke {
        generation: i32,
        member_id: Arc<str>,
        partitions: Vec<TopicPartition>,
    },
    /// These belong to somebody else already: run `lost`; committing is pointless.
    Lost {
        generation: i32,
        member_id: Arc<str>,
        partitions: Vec<TopicPartition>,
    },
    /// Take over a new assignment: first give `revoked` back, then start on `added`.
    Apply {
        generation: i32,
        /// The generation in which `revoked` were owned.
        previous: i32,
        member_id: Arc<str>,
        revoked: Vec<TopicPartition>,
        added: Vec<TopicPartition>,
    },
}

/// What to do now, and when to ask again at the latest.
#[derive(Debug, Default)]
pub(crate) struct Actions {
    pub(crate) list: Vec<Action>,
    pub(crate) wake_at: Option<Instant>,
}

/// The state machine.
#[derive(Debug)]
pub(crate) struct Membership {
    settings: Settings,
    state: State,
    topics: BTreeSet<Arc<str>>,
    member_id: Arc<str>,
    generation: i32,
    /// The generation in which the owned partitions were given, for events and the next JoinGroup.
    owned_generation: i32,
    owned: Vec<TopicPartition>,
    /// The assignment being applied.
    assigned: Vec<TopicPartition>,
    handoff: Option<Handoff>,
    handoff_taken: bool,
    lost: bool,
    leader: bool,
    rejoin: Option<&'static str>,
    round: u64,
    attempts: u32,
    retry_at: Option<Instant>,
    heartbeat_at: Option<Instant>,
    heartbeat_in_flight: bool,
    /// Counts losses; a commit begun before one must not be repeated after it.
    losses: u64,
    error: Option<Error>,
    out: Vec<Action>,
}

impl Membership {
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            settings,
            state: State::Idle,
            topics: BTreeSet::new(),
            member_id: "".into(),
            generation: -1,
            owned_generation: -1,
            owned: Vec::new(),
            assigned: Vec::new(),
            handoff: None,
            handoff_taken: false,
            lost: false,
            leader: false,
            rejoin: None,
            round: 0,
            attempts: 0,
            retry_at: None,
            heartbeat_at: None,
            heartbeat_in_flight: false,
            losses: 0,
            error: None,
            out: Vec::new(),
        }
    }

    pub(crate) fn state(&self) -> State {
        self.state
    }

    pub(crate) fn member_id(&self) -> &Arc<str> {
        &self.member_id
    }

    /// The generation, -1 without one.
    pub(crate) fn generation(&self) -> i32 {
        self.generation
    }

    pub(crate) fn is_leader(&self) -> bool {
        self.leader && matches!(self.state, State::Applying | State::Stable)
    }

    pub(crate) fn losses(&self) -> u64 {
        self.losses
    }

    pub(crate) fn error(&self) -> Option<&Error> {
        self.error.as_ref()
    }

    /// The topics wanted; joins, or joins again if they changed.
    pub(crate) fn subscribe(&mut self, topics: impl IntoIterator<Item = Arc<str>>) {
        let topics: BTreeSet<Arc<str>> = topics.into_iter().collect();
        if self.state == State::Idle {
            self.transition(State::Unjoined);
            self.rejoin = Some("the consumer subscribes");
        } else if topics != self.topics {
            self.rejoin = Some("the subscription changed");
        }
        self.topics = topics;
    }

    pub(crate) fn topics(&self) -> &BTreeSet<Arc<str>> {
        &self.topics
    }

    /// The leader saw partitions come or go.
    pub(crate) fn partitions_changed(&mut self) {
        if self.is_leader() {
            self.rejoin = Some("the number of partitions changed");
        }
    }

    /// What the application must do now, if it has not been told yet.
    pub(crate) fn take_handoff(&mut self) -> Option<Handoff> {
        if self.handoff_taken {
            return None;
        }
        self.handoff_taken = self.handoff.is_some();
        self.handoff.clone()
    }

    /// The application has done the handoff.
    pub(crate) fn handoff_done(&mut self) {
        let handoff = self.handoff.take();
        self.handoff_taken = false;
        match handoff {
            Some(Handoff::Revoke { partitions, .. }) => {
                self.owned.retain(|tp| !partitions.contains(tp));
            }
            Some(Handoff::Lost { .. }) => {
                self.owned.clear();
                self.lost = false;
            }
            Some(Handoff::Apply { revoked, .. }) => self.applied(&revoked),
            None => {}
        }
        if self.state == State::Failed && self.lost {
            self.hand_off_loss();
        }
    }

    fn applied(&mut self, revoked: &[TopicPartition]) {
        self.owned = std::mem::take(&mut self.assigned);
        if self.state == State::Failed {
            return;
        }
        if self.lost {
            self.transition(State::Unjoined);
            return;
        }
        self.transition(State::Stable);
        if !revoked.is_empty() {
            // They are free now: the next round gives them to whom they were meant for.
            self.rejoin = Some("partitions were revoked");
        }
    }

    /// What to do at `now`. `idle_since` is when the application last polled, if it is not in `poll`.
    pub(crate) fn poll(&mut self, now: Instant, idle_since: Option<Instant>) -> Actions {
        let deadline = idle_since.map(|since| since + self.settings.max_poll_interval);
        self.check_poll_interval(now, deadline);
        match self.state {
            State::Unjoined if self.retry_at.is_none_or(|at| at <= now) => self.prepare(),
            State::Preparing if self.handoff.is_none() => self.prepare(),
            State::Stable if self.rejoin.is_some() => self.prepare(),
            _ => {}
        }
        self.heartbeat(now);
        Actions {
            list: std::mem::take(&mut self.out),
            wake_at: self.wake_at(deadline),
        }
    }

    fn wake_at(&self, poll_deadline: Option<Instant>) -> Option<Instant> {
        let retry = self.retry_at.filter(|_| self.state == State::Unjoined);
        let beats = self.heartbeats_allowed() && !self.heartbeat_in_flight;
        let heartbeat = self.heartbeat_at.filter(|_| beats);
        let poll = poll_deadline.filter(|_| self.takes_part());
        [retry, heartbeat, poll].into_iter().flatten().min()
    }

    fn takes_part(&self) -> bool {
        !matches!(self.state, State::Idle | State::Expired | State::Failed)
    }

    fn check_poll_interval(&mut self, now: Instant, deadline: Option<Instant>) {
        let late = deadline.is_some_and(|at| at <= now);
        if self.state == State::Expired && !late {
            self.transition(State::Unjoined);
            self.rejoin = Some("the consumer polls again");
        } else if late && self.takes_part() {
            if !self.settings.static_member && !self.member_id.is_empty() {
                let member_id = self.member_id.clone();
                self.out.push(Action::Leave {
                    member_id,
                    reason: "max.poll.interval.ms passed without a poll",
                });
            }
            tracing::warn!(
                "the application did not poll for max.poll.interval.ms; the member leaves the group"
            );
            self.lose(true);
            self.transition(State::Expired);
        }
    }

    /// Lets the application give back what it may not keep during the rebalance, then joins.
    fn prepare(&mut self) {
        self.retry_at = None;
        let partitions: Vec<TopicPartition> = if self.lost {
            self.owned.clone()
        } else {
            match self.settings.protocol {
                RebalanceProtocol::Eager => self.owned.clone(),
                RebalanceProtocol::Cooperative => {
                    let dropped = |tp: &&TopicPartition| !self.topics.contains(&tp.topic);
                    self.owned.iter().filter(dropped).cloned().collect()
                }
            }
        };
        if partitions.is_empty() {
            self.lost = false;
            self.join();
            return;
        }
        let (generation, member_id) = (self.owned_generation, self.member_id.clone());
        self.hand_off(if self.lost {
            Handoff::Lost {
                generation,
                member_id,
                partitions,
            }
        } else {
            Handoff::Revoke {
                generation,
                member_id,
                partitions,
            }
        });
        self.transition(State::Preparing);
    }

    fn hand_off(&mut self, handoff: Handoff) {
        self.handoff = Some(handoff);
        self.handoff_taken = false;
        self.out.push(Action::WakeApplication);
    }

    fn join(&mut self) {
        self.transition(State::Joining);
        self.round += 1;
        self.out.push(Action::Join {
            round: self.round,
            member_id: self.member_id.clone(),
            topics: self.topics.iter().cloned().collect(),
            owned: self.owned.clone(),
            generation: if self.owned.is_empty() {
                -1
            } else {
                self.owned_generation
            },
            reason: self.rejoin.take().unwrap_or("the last attempt failed"),
        });
    }

    /// The answer to a JoinGroup.
    pub(crate) fn on_join(&mut self, now: Instant, round: u64, answer: Result<Joined, Refusal>) {
        if round != self.round || self.state != State::Joining {
            return;
        }
        match answer {
            Ok(joined) => {
                self.member_id = joined.member_id;
                self.generation = joined.generation;
                self.leader = joined.leader;
                self.heartbeat_at = Some(now + self.settings.heartbeat_interval);
                self.transition(State::Syncing);
                self.out.push(Action::Sync {
                    round: self.round,
                    member_id: self.member_id.clone(),
                    generation: self.generation,
                    protocol: joined.protocol,
                    members: joined.members,
                });
            }
            Err(Refusal::Code(ErrorCode::MemberIdRequired, Some(member_id))) => {
                // KIP-394: come back with the id, at once.
                self.member_id = member_id;
                self.join();
            }
            Err(refusal) => self.refused(now, "join the group", refusal),
        }
    }

    /// The answer to a SyncGroup: our share.
    pub(crate) fn on_sync(
        &mut self,
        now: Instant,
        round: u64,
        answer: Result<Vec<TopicPartition>, Refusal>,
    ) {
        if round != self.round || self.state != State::Syncing {
            return;
        }
        match answer {
            Ok(assigned) => {
                self.attempts = 0;
                let previous = std::mem::replace(&mut self.owned_generation, self.generation);
                self.transition(State::Applying);
                self.hand_off(Handoff::Apply {
                    generation: self.generation,
                    previous,
                    member_id: self.member_id.clone(),
                    revoked: self
                        .owned
                        .iter()
                        .filter(|tp| !assigned.contains(tp))
                        .cloned()
                        .collect(),
                    added: assigned
                        .iter()
                        .filter(|tp| !self.owned.contains(tp))
                        .cloned()
                        .collect(),
                });
                self.assigned = assigned;
            }
            Err(refusal) => self.refused(now, "learn the assignment", refusal),
        }
    }

    /// JoinGroup or SyncGroup was refused: what the coordinator's answers mean.
    fn refused(&mut self, now: Instant, what: &str, refusal: Refusal) {
        use ErrorCode as E;
        match refusal {
            Refusal::NoAnswer(error) if !error.is_retriable() => self.fail(error),
            Refusal::NoAnswer(_) => {
                self.out.push(Action::ForgetCoordinator);
                self.retry(now);
            }
            Refusal::Code(E::CoordinatorLoadInProgress | E::RebalanceInProgress, _) => {
                self.retry(now)
            }
            Refusal::Code(E::NotCoordinator | E::CoordinatorNotAvailable, _) => {
                self.out.push(Action::ForgetCoordinator);
                self.retry(now);
            }
            Refusal::Code(E::UnknownMemberId, _) => {
                self.lose(true);
                self.retry(now);
            }
            Refusal::Code(E::IllegalGeneration, _) => {
                self.lose(false);
                self.retry(now);
            }
            Refusal::Code(code, _) => {
                let error = Error::from_code(code, what);
                if error.is_retriable() {
                    self.retry(now)
                } else {
                    self.fail(error)
                }
            }
        }
    }

    fn retry(&mut self, now: Instant) {
        self.attempts += 1;
        self.retry_at = Some(now + self.settings.backoff.delay(self.attempts - 1));
        self.transition(State::Unjoined);
    }

    /// What the coordinator said to a heartbeat or a commit sent as (`member_id`, `generation`).
    pub(crate) fn on_fencing_code(
        &mut self,
        now: Instant,
        member_id: &str,
        generation: i32,
        code: ErrorCode,
    ) {
        // While the JoinGroup waits the coordinator may already be a generation ahead; its answer tells.
        let stale = generation != self.generation || *member_id != *self.member_id;
        if stale || generation < 0 || !self.takes_part() || self.state == State::Joining {
            return;
        }
        match code {
            ErrorCode::RebalanceInProgress
                if matches!(self.state, State::Stable | State::Applying) =>
            {
                self.rejoin = Some("the group rebalances");
            }
            ErrorCode::UnknownMemberId | ErrorCode::IllegalGeneration => {
                self.lose(code == ErrorCode::UnknownMemberId);
                self.retry_at = Some(now);
                if self.handoff_taken {
                    // The application is busy with it; the loss is told right after.
                    return;
                }
                self.transition(State::Unjoined);
            }
            ErrorCode::FencedInstanceId | ErrorCode::GroupAuthorizationFailed => {
                self.fail(Error::from_code(code, "stay in the group"));
            }
            ErrorCode::NotCoordinator | ErrorCode::CoordinatorNotAvailable => {
                self.out.push(Action::ForgetCoordinator);
            }
            _ => {}
        }
    }

    /// The answer to a heartbeat.
    pub(crate) fn on_heartbeat(
        &mut self,
        now: Instant,
        member_id: &str,
        generation: i32,
        answer: Result<(), Refusal>,
    ) {
        self.heartbeat_in_flight = false;
        let soon = now
            + self
                .settings
                .backoff
                .delay(0)
                .min(self.settings.heartbeat_interval);
        match answer {
            Ok(()) => {}
            Err(Refusal::Code(code, _)) => {
                if code.class() != ferrokafka_wire::ErrorClass::Fatal {
                    self.heartbeat_at = Some(soon);
                }
                if code == ErrorCode::RebalanceInProgress {
                    self.heartbeat_at = Some(now + self.settings.heartbeat_interval);
                }
                self.on_fencing_code(now, member_id, generation, code);
            }
            Err(Refusal::NoAnswer(error)) if error.is_retriable() => {
                self.out.push(Action::ForgetCoordinator);
                self.heartbeat_at = Some(soon);
            }
            Err(Refusal::NoAnswer(error)) => self.fail(error),
        }
    }

    fn heartbeats_allowed(&self) -> bool {
        let states = matches!(
            self.state,
            State::Unjoined | State::Preparing | State::Syncing | State::Applying | State::Stable
        );
        states && self.generation >= 0
    }

    fn heartbeat(&mut self, now: Instant) {
        let due = self.heartbeat_at.is_some_and(|at| at <= now);
        if due && self.heartbeats_allowed() && !self.heartbeat_in_flight {
            self.heartbeat_in_flight = true;
            self.heartbeat_at = Some(now + self.settings.heartbeat_interval);
            self.out.push(Action::Heartbeat {
                member_id: self.member_id.clone(),
                generation: self.generation,
            });
        }
    }

    /// The generation is gone: what is owned belongs to somebody else by now.
    fn lose(&mut self, member_id_too: bool) {
        self.generation = -1;
        self.losses += 1;
        self.leader = false;
        self.rejoin = Some("the coordinator no longer knows this member");
        if member_id_too {
            self.member_id = "".into();
        }
        if self.handoff_taken {
            self.lost = true;
            return;
        }
        self.handoff = None;
        self.assigned.clear();
        self.lost = !self.owned.is_empty();
    }

    fn fail(&mut self, error: Error) {
        tracing::error!(%error, "the member is out of the group for good");
        self.lose(false);
        self.error = Some(error);
        self.transition(State::Failed);
        if self.lost && !self.handoff_taken {
            self.hand_off_loss();
        }
        self.out.push(Action::WakeApplication);
    }

    fn hand_off_loss(&mut self) {
        let partitions = self.owned.clone();
        let (generation, member_id) = (self.owned_generation, self.member_id.clone());
        self.hand_off(Handoff::Lost {
            generation,
            member_id,
            partitions,
        });
    }

    /// Closing: the request that leaves the group, if there is anything to leave. Every later
    /// answer is ignored.
    pub(crate) fn leave(&mut self) -> Option<Action> {
        let member_id = std::mem::replace(&mut self.member_id, "".into());
        let leaves = !member_id.is_empty() && !self.settings.static_member && self.takes_part();
        self.round += 1;
        self.generation = -1;
        self.owned.clear();
        self.handoff = None;
        self.handoff_taken = false;
        self.error = Some(Error::new(ErrorKind::Closed, "the consumer is closed"));
        if self.state != State::Failed {
            self.transition(State::Failed);
        }
        leaves.then_some(Action::Leave {
            member_id,
            reason: "the consumer is closed",
        })
    }

    /// Every change of state passes here.
    fn transition(&mut self, to: State) {
        use State::{
            Applying, Expired, Failed, Idle, Joining, Preparing, Stable, Syncing, Unjoined,
        };
        let legal = match (self.state, to) {
            (_, Failed) => self.state != Failed,
            (Idle, Unjoined) => true,
            (Idle | Failed, _) | (_, Idle) => false,
            (Expired, to) => to == Unjoined,
            (_, Expired) => true,
            (_, Unjoined) => true,
            (Unjoined | Stable, Preparing | Joining) => true,
            (Preparing, Preparing | Joining) => true,
            (Joining, Joining | Syncing) => true,
            (Syncing, Applying) => true,
            (Applying, Stable) => true,
            (Unjoined | Stable | Preparing | Joining | Syncing | Applying, _) => false,
        };
        debug_assert!(legal, "illegal move {:?} to {to:?}", self.state);
        if !legal {
            let text = format!("group member moved from {:?} to {to:?}", self.state);
            self.error = Some(Error::new(ErrorKind::Internal, text));
            self.state = Failed;
            return;
        }
        tracing::debug!(from = ?self.state, ?to, generation = self.generation, "group member");
        self.state = to;
    }
}

#[cfg(test)]
#[path = "membership/tests.rs"]
mod tests;
