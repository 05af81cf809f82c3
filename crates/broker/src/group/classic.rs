//! One classic group as a state machine: commands and the time go in, answers and journal entries
//! come out.
//!
//! ```text
//!            first member joins            all joined, or the rebalance timeout
//!   Empty ─────────────────────▶ PreparingRebalance ─────────────────▶ CompletingRebalance
//!     ▲                            │    ▲      ▲                          │           │
//!     └──── nobody (re)joined ─────┘    │      └──── member joins, ───────┘           │ the leader's
//!                                       │            leaves or dies                   │ assignment
//!                                       └─────────────────────────── Stable ◀─────────┘
//! ```
//!
//! Any state becomes Dead when the group is deleted or its last offset expires.
//! The behaviour is that of Kafka's coordinator, error codes included; where a client could tell the
//! difference, a comment says so.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use ferrokafka_wire::ErrorCode;
use tokio::time::Instant;

use super::commits::{CommitRequest, PartitionResults};
use super::join::{JoinReply, JoinRequest, JoinTimer};
use super::leave::Leaving;
use super::member::Member;
use super::member_id::MemberIds;
use super::offsets::Offsets;
use super::record::{self, Entry};
use super::subscription;
use super::sync::{SyncReply, SyncRequest};
use super::{GroupConfig, Name, Now, Ticket};

/// The protocol type of consumers, whose metadata the coordinator can read.
const CONSUMER_PROTOCOL_TYPE: &str = "consumer";

/// Where a group stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum State {
    /// No members; offsets may exist.
    Empty,
    /// A rebalance has begun: members are asked to join again.
    PreparingRebalance,
    /// All members have joined; the leader's assignment is awaited.
    CompletingRebalance,
    /// Every member may have its assignment.
    Stable,
    /// Deleted. Nothing leads out of it.
    Dead,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "Empty",
            Self::PreparingRebalance => "PreparingRebalance",
            Self::CompletingRebalance => "CompletingRebalance",
            Self::Stable => "Stable",
            Self::Dead => "Dead",
        })
    }
}

/// Who a request says it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Claim {
    /// Empty when the member has no id yet.
    pub(crate) member: Name,
    pub(crate) instance: Option<Name>,
    /// Negative outside a group.
    pub(crate) generation: i32,
}

/// What can happen to a group.
#[derive(Debug, Clone)]
pub(crate) enum Command {
    /// JoinGroup; answered when the barrier opens.
    Join(JoinRequest),
    /// SyncGroup; answered when the leader's assignment is there.
    Sync(SyncRequest),
    /// Heartbeat.
    Heartbeat(Claim),
    /// LeaveGroup, one entry per member.
    Leave(Vec<Leaving>),
    /// OffsetCommit.
    Commit(CommitRequest),
    /// OffsetDelete.
    DeleteOffsets(Vec<(Name, i32)>),
    /// DeleteGroups.
    Delete,
    /// A timer may have run out.
    Tick,
    /// The test-kit ends a member's session.
    ExpireSession(Name),
    /// Drops offsets past their retention.
    ExpireOffsets,
    /// Drops the offsets of deleted topics.
    ForgetTopics(Vec<Name>),
    /// Another node takes over: what is parked is answered, what is not in the journal is lost.
    Unload(ErrorCode),
}

/// An answer to a [`Command`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reply {
    /// To [`Command::Join`].
    Join(JoinReply),
    /// To [`Command::Sync`].
    Sync(SyncReply),
    /// To commands that only succeed or fail.
    Code(ErrorCode),
    /// To commands with a result per item, in the order asked.
    Items(Result<Vec<ErrorCode>, ErrorCode>),
    /// To [`Command::Commit`] and [`Command::DeleteOffsets`].
    Partitions(PartitionResults),
}

impl Reply {
    /// The same kind of answer, saying that `code` happened instead.
    pub(crate) fn failed(self, code: ErrorCode) -> Self {
        match self {
            Self::Join(reply) => Self::Join(JoinReply::error(reply.member_id, code)),
            Self::Sync(_) => Self::Sync(SyncReply::error(code)),
            Self::Code(_) => Self::Code(code),
            Self::Items(_) => Self::Items(Err(code)),
            Self::Partitions(_) => Self::Partitions(Err(code)),
        }
    }
}

/// What a command asks the shell to do: write the entries, then send the replies.
#[derive(Debug, Default)]
pub(crate) struct Actions {
    /// To be in the journal before any reply leaves.
    pub(crate) entries: Vec<Entry>,
    /// Answers, each to the request that its ticket names.
    pub(crate) replies: Vec<(Ticket, Reply)>,
}

impl Actions {
    pub(super) fn reply(&mut self, ticket: Ticket, reply: Reply) {
        self.replies.push((ticket, reply));
    }
}

/// One group.
#[derive(Debug)]
pub(crate) struct Group {
    pub(super) id: Name,
    pub(super) config: Arc<GroupConfig>,
    pub(super) state: State,
    /// The state before the present one; a rebalance that began from Empty waits longer.
    pub(super) previous: State,
    /// When the state last changed; retention of an empty group's offsets counts from here.
    pub(super) since_ms: i64,
    pub(super) generation: i32,
    pub(super) protocol_type: Option<Name>,
    pub(super) protocol: Option<Name>,
    pub(super) leader: Option<Name>,
    pub(super) members: BTreeMap<Name, Member>,
    /// `group.instance.id` to member id.
    pub(super) statics: BTreeMap<Name, Name>,
    /// Ids handed out with MEMBER_ID_REQUIRED and not yet used, with their end.
    pub(super) pending: BTreeMap<Name, Instant>,
    /// Members of this generation whose SyncGroup has not come yet.
    pub(super) unsynced: BTreeSet<Name>,
    pub(super) join_timer: Option<(Instant, JoinTimer)>,
    pub(super) sync_timer: Option<Instant>,
    /// A member joined during the initial delay, which is therefore extended.
    pub(super) new_member_added: bool,
    /// Topics that the present generation reads; `None` when that is not known.
    pub(super) subscribed: Option<BTreeSet<Name>>,
    pub(crate) offsets: Offsets,
    pub(super) ids: MemberIds,
    /// No timer runs out before this; may be too early, never too late.
    pub(super) earliest: Option<Instant>,
}

impl Group {
    /// A group without members.
    pub(crate) fn new(id: Name, config: Arc<GroupConfig>, ids: MemberIds, now: Now) -> Self {
        Self {
            id,
            config,
            state: State::Empty,
            previous: State::Dead,
            since_ms: now.ms,
            generation: 0,
            protocol_type: None,
            protocol: None,
            leader: None,
            members: BTreeMap::new(),
            statics: BTreeMap::new(),
            pending: BTreeMap::new(),
            unsynced: BTreeSet::new(),
            join_timer: None,
            sync_timer: None,
            new_member_added: false,
            subscribed: None,
            offsets: Offsets::default(),
            ids,
            earliest: None,
        }
    }

    /// The one way in.
    pub(crate) fn handle(&mut self, now: Now, ticket: Ticket, command: Command) -> Actions {
        let mut out = Actions::default();
        match command {
            Command::Join(request) => self.join(now, ticket, request, &mut out),
            Command::Sync(request) => self.sync(now, ticket, request, &mut out),
            Command::Heartbeat(claim) => {
                let code = self.heartbeat(now, &claim);
                out.reply(ticket, Reply::Code(code));
            }
            Command::Leave(leaving) => self.leave(now, ticket, leaving, &mut out),
            Command::Commit(request) => self.commit(now, ticket, request, &mut out),
            Command::DeleteOffsets(partitions) => self.delete_offsets(ticket, partitions, &mut out),
            Command::Delete => self.delete(now, ticket, &mut out),
            Command::Tick => self.tick(now, &mut out),
            Command::ExpireSession(member) => self.expire_session(now, ticket, &member, &mut out),
            Command::ExpireOffsets => self.expire_offsets(now, &mut out),
            Command::ForgetTopics(topics) => self.forget_topics(now, &topics, &mut out),
            Command::Unload(code) => self.unload(now, code, &mut out),
        }
        out
    }

    /// When [`Command::Tick`] is due at the latest.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.earliest
    }

    /// Whether the group is gone and a new one may take its name.
    pub(crate) fn is_dead(&self) -> bool {
        self.state == State::Dead
    }

    /// Where the group stands.
    pub(crate) fn state(&self) -> State {
        self.state
    }

    /// The assignor chosen for this generation.
    pub(crate) fn protocol(&self) -> Option<&str> {
        self.protocol.as_deref()
    }

    /// `consumer`, `connect`, …; `None` while only offsets were ever committed.
    pub(crate) fn protocol_type(&self) -> Option<&str> {
        self.protocol_type.as_deref()
    }

    /// The members, by id.
    pub(crate) fn members(&self) -> impl Iterator<Item = &Member> {
        self.members.values()
    }

    /// The only place where the state changes.
    pub(super) fn transition(&mut self, now: Now, to: State) {
        use State::{CompletingRebalance, Dead, Empty, PreparingRebalance, Stable};
        let legal = matches!(
            (self.state, to),
            (Empty | Stable | CompletingRebalance, PreparingRebalance)
                | (PreparingRebalance, CompletingRebalance | Empty)
                | (CompletingRebalance, Stable)
                | (
                    Empty | PreparingRebalance | CompletingRebalance | Stable,
                    Dead
                )
        );
        debug_assert!(legal, "group {} from {} to {to}", self.id, self.state);
        if !legal {
            tracing::error!(group = %self.id, from = %self.state, %to, "illegal group transition refused");
            return;
        }
        tracing::debug!(group = %self.id, from = %self.state, %to, generation = self.generation, "group state");
        self.previous = self.state;
        self.state = to;
        self.since_ms = now.ms;
    }

    /// Checks who is asking, as every request of a known member must be.
    ///
    /// A static member whose instance id is now held by another member id has been replaced, and is
    /// fenced; any other mismatch means the member is not known.
    pub(super) fn validate_member(&self, claim: &Claim) -> Result<(), ErrorCode> {
        if let Some(instance) = &claim.instance {
            match self.statics.get(instance) {
                None => return Err(ErrorCode::UnknownMemberId),
                Some(holder) if *holder != claim.member => return Err(ErrorCode::FencedInstanceId),
                Some(_) => {}
            }
        }
        if self.members.contains_key(&claim.member) {
            Ok(())
        } else {
            Err(ErrorCode::UnknownMemberId)
        }
    }

    fn heartbeat(&mut self, now: Now, claim: &Claim) -> ErrorCode {
        if self.state == State::Dead {
            return ErrorCode::CoordinatorNotAvailable;
        }
        if let Err(code) = self.validate_member(claim) {
            return code;
        }
        if claim.generation != self.generation {
            return ErrorCode::IllegalGeneration;
        }
        match self.state {
            State::Empty | State::Dead => ErrorCode::UnknownMemberId,
            State::PreparingRebalance => {
                self.renew_session(now, &claim.member);
                ErrorCode::RebalanceInProgress
            }
            // In CompletingRebalance, too: a member may heartbeat between its JoinGroup and SyncGroup.
            State::CompletingRebalance | State::Stable => {
                self.renew_session(now, &claim.member);
                ErrorCode::None
            }
        }
    }

    /// Starts the member's session timer anew.
    pub(super) fn renew_session(&mut self, now: Now, member: &str) {
        if let Some(member) = self.members.get_mut(member) {
            let deadline = now.instant + member.session_timeout;
            member.deadline = Some(deadline);
            self.wake_by(deadline);
        }
    }

    pub(super) fn wake_by(&mut self, deadline: Instant) {
        self.earliest = Some(
            self.earliest
                .map_or(deadline, |earliest| earliest.min(deadline)),
        );
    }

    /// Takes a member out, and whatever names it. Parked requests must have been answered.
    pub(super) fn remove_member(&mut self, id: &str) -> Option<Member> {
        self.unsynced.remove(id);
        let member = self.members.remove(id)?;
        if let Some(instance) = &member.instance
            && self.statics.get(instance) == Some(&member.id)
        {
            self.statics.remove(instance);
        }
        if self.leader.as_ref() == Some(&member.id) {
            self.leader = self.members.keys().next().cloned();
        }
        Some(member)
    }

    pub(super) fn uses_consumer_protocol(&self) -> bool {
        self.protocol_type.as_deref() == Some(CONSUMER_PROTOCOL_TYPE)
    }

    /// What the members of this generation subscribe to, if their metadata can be read.
    pub(super) fn read_subscriptions(&self) -> Option<BTreeSet<Name>> {
        if self.members.is_empty() && self.protocol_type.is_some() {
            return Some(BTreeSet::new());
        }
        let protocol = self
            .protocol
            .as_deref()
            .filter(|_| self.uses_consumer_protocol())?;
        let mut all = BTreeSet::new();
        for member in self.members.values() {
            all.append(&mut subscription::topics(member.metadata(protocol))?);
        }
        Some(all)
    }

    /// The journal entry of the group's metadata as it stands.
    pub(super) fn save(&self, out: &mut Actions) {
        out.entries.push(record::group_entry(self));
    }

    fn delete(&mut self, now: Now, ticket: Ticket, out: &mut Actions) {
        let code = match self.state {
            State::Dead => ErrorCode::GroupIdNotFound,
            State::Empty => {
                self.bury(now, out);
                ErrorCode::None
            }
            _ => ErrorCode::NonEmptyGroup,
        };
        out.reply(ticket, Reply::Code(code));
    }

    /// Removes the group and all its offsets.
    pub(super) fn bury(&mut self, now: Now, out: &mut Actions) {
        for (topic, partition) in self.offsets.take_all() {
            out.entries
                .push(record::offset_tombstone(&self.id, &topic, partition));
        }
        out.entries.push(record::group_tombstone(&self.id));
        self.pending.clear();
        self.earliest = None;
        self.transition(now, State::Dead);
    }
}
