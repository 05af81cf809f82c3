//! JoinGroup: who may enter, and the barrier that closes a round of joining.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use ferrokafka_wire::ErrorCode;

use super::classic::{Actions, Claim, Group, Reply, State};
use super::member::{Member, Protocol};
use super::{Name, Now, Ticket};

/// Most ids handed out with MEMBER_ID_REQUIRED and not yet used, per group.
const PENDING_MAX: usize = 10_000;

/// What JoinGroup carries.
#[derive(Debug, Clone)]
pub(crate) struct JoinRequest {
    /// Empty at the first attempt of a dynamic member.
    pub(crate) member_id: Name,
    pub(crate) instance: Option<Name>,
    pub(crate) client_id: Name,
    pub(crate) client_host: Name,
    pub(crate) session_timeout: Duration,
    pub(crate) rebalance_timeout: Duration,
    pub(crate) protocol_type: Name,
    pub(crate) protocols: Vec<Protocol>,
    /// JoinGroup 4 and later: a member without an id is given one and asked to come back (KIP-394).
    pub(crate) requires_known_id: bool,
    /// JoinGroup 9: the leader can be told that the assignment stands.
    pub(crate) may_skip_assignment: bool,
    /// JoinGroup 8: why, in the client's words; for the log.
    pub(crate) reason: Option<Name>,
}

/// The answer to JoinGroup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct JoinReply {
    pub(crate) error: ErrorCode,
    pub(crate) generation: i32,
    pub(crate) protocol_type: Option<Name>,
    pub(crate) protocol: Option<Name>,
    pub(crate) leader: Name,
    pub(crate) skip_assignment: bool,
    pub(crate) member_id: Name,
    /// For the leader only.
    pub(crate) members: Vec<JoinMember>,
}

/// One member, as the leader sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct JoinMember {
    pub(crate) id: Name,
    pub(crate) instance: Option<Name>,
    pub(crate) metadata: Bytes,
}

/// What the join timer waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum JoinTimer {
    /// Further members of a group that was empty; `remaining` is how long it may still be extended.
    Initial {
        delay: Duration,
        remaining: Duration,
    },
    /// Members that have not rejoined.
    Rebalance,
}

impl JoinReply {
    /// An answer that says only what went wrong.
    pub(crate) fn error(member_id: Name, error: ErrorCode) -> Self {
        Self {
            error,
            generation: -1,
            protocol_type: None,
            protocol: None,
            leader: "".into(),
            skip_assignment: false,
            member_id,
            members: Vec::new(),
        }
    }
}

impl Group {
    pub(super) fn join(
        &mut self,
        now: Now,
        ticket: Ticket,
        request: JoinRequest,
        out: &mut Actions,
    ) {
        match self.admit(now, &request) {
            Ok(Entrance::Known) => self.join_existing(now, ticket, request, out),
            Ok(Entrance::Pending) => {
                self.pending.remove(&request.member_id);
                let id = request.member_id.clone();
                self.add_member(now, ticket, id, request, out);
            }
            Ok(Entrance::New(id)) => {
                match request
                    .instance
                    .as_ref()
                    .and_then(|instance| self.statics.get(instance))
                {
                    Some(old) => {
                        let old = old.clone();
                        self.replace_static(now, ticket, &old, id, request, out);
                    }
                    None => self.add_member(now, ticket, id, request, out),
                }
            }
            Err(reply) => out.reply(ticket, Reply::Join(reply)),
        }
    }

    /// Everything that can be refused before the group changes.
    fn admit(&mut self, now: Now, request: &JoinRequest) -> Result<Entrance, JoinReply> {
        let unknown = request.member_id.is_empty();
        let refuse = |error| JoinReply::error(request.member_id.clone(), error);
        if !self.has_room(&request.member_id) {
            // Kafka forgets the member and answers without its id.
            self.pending.remove(&request.member_id);
            return Err(JoinReply::error("".into(), ErrorCode::GroupMaxSizeReached));
        }
        if self.state == State::Dead {
            return Err(refuse(ErrorCode::CoordinatorNotAvailable));
        }
        if !self.supports(&request.protocol_type, &request.protocols) {
            return Err(refuse(ErrorCode::InconsistentGroupProtocol));
        }
        if unknown {
            let prefix = request
                .instance
                .as_ref()
                .unwrap_or(&request.client_id)
                .clone();
            let id = self.fresh_id(&prefix);
            if request.instance.is_some() || !request.requires_known_id {
                return Ok(Entrance::New(id));
            }
            if self.pending.len() >= PENDING_MAX {
                return Err(refuse(ErrorCode::GroupMaxSizeReached));
            }
            let deadline = now.instant + request.session_timeout;
            self.pending.insert(id.clone(), deadline);
            self.wake_by(deadline);
            return Err(JoinReply::error(id, ErrorCode::MemberIdRequired));
        }
        if self.pending.contains_key(&request.member_id) && request.instance.is_none() {
            return Ok(Entrance::Pending);
        }
        let claim = Claim {
            member: request.member_id.clone(),
            instance: request.instance.clone(),
            generation: -1,
        };
        self.validate_member(&claim).map_err(refuse)?;
        Ok(Entrance::Known)
    }

    fn fresh_id(&mut self, prefix: &str) -> Name {
        loop {
            let id = self.ids.issue(&self.id, prefix);
            if !self.members.contains_key(&id) && !self.pending.contains_key(&id) {
                return id;
            }
        }
    }

    /// `group.max.size`. While a rebalance collects its members those that wait count, so that the
    /// last to rejoin are turned away when the limit was lowered; otherwise all members count.
    fn has_room(&self, member: &str) -> bool {
        match self.state {
            State::Empty | State::Dead => true,
            State::PreparingRebalance => {
                self.members
                    .get(member)
                    .is_some_and(|member| member.join.is_some())
                    || self.joined_count() < self.config.members_max
            }
            State::CompletingRebalance | State::Stable => {
                self.members.contains_key(member) || self.members.len() < self.config.members_max
            }
        }
    }

    fn joined_count(&self) -> usize {
        self.members
            .values()
            .filter(|member| member.join.is_some())
            .count()
    }

    /// Whether a member with these protocols can be in the group with the present ones.
    fn supports(&self, protocol_type: &str, protocols: &[Protocol]) -> bool {
        if self.state == State::Empty {
            return !protocol_type.is_empty() && !protocols.is_empty();
        }
        self.protocol_type.as_deref() == Some(protocol_type)
            && protocols.iter().any(|offered| {
                self.members
                    .values()
                    .all(|member| member.offers(&offered.name))
            })
    }

    /// Every member votes for the first protocol of its list that all offer. Kafka leaves a tie to
    /// the order of a hash map; here it goes to the leader's preference, so that runs repeat.
    pub(super) fn select_protocol(&self) -> Option<Name> {
        let common = |name: &str| self.members.values().all(|member| member.offers(name));
        let mut votes: BTreeMap<&Name, usize> = BTreeMap::new();
        for member in self.members.values() {
            if let Some(choice) = member
                .protocols
                .iter()
                .find(|offered| common(&offered.name))
            {
                *votes.entry(&choice.name).or_insert(0) += 1;
            }
        }
        let most = votes.values().copied().max()?;
        let leader = self
            .leader
            .as_ref()
            .and_then(|leader| self.members.get(leader));
        let preferred = leader
            .into_iter()
            .flat_map(|leader| &leader.protocols)
            .map(|offered| &offered.name);
        let mut candidates = preferred.chain(votes.keys().copied());
        candidates
            .find(|name| votes.get(name) == Some(&most))
            .cloned()
    }

    fn add_member(
        &mut self,
        now: Now,
        ticket: Ticket,
        id: Name,
        request: JoinRequest,
        out: &mut Actions,
    ) {
        tracing::debug!(group = %self.id, member = %id, reason = request.reason.as_deref(), "member joins");
        if self.state == State::PreparingRebalance && self.previous == State::Empty {
            self.new_member_added = true;
        }
        if self.members.is_empty() {
            self.protocol_type = Some(request.protocol_type.clone());
        }
        let leader = self.leader.get_or_insert_with(|| id.clone());
        debug_assert!(*leader == id || self.members.contains_key(leader));
        if let Some(instance) = &request.instance {
            self.statics.insert(instance.clone(), id.clone());
        }
        // The session timeout is not for a member that does not know its id: it cannot heartbeat. Nor
        // can a broken connection be seen while the request is parked. So that retries do not pile
        // up defunct members, the parked JoinGroup itself ends, and a live client asks again.
        let deadline = now.instant + self.config.new_member_join_timeout;
        let member = Member {
            id: id.clone(),
            instance: request.instance,
            client_id: request.client_id,
            client_host: request.client_host,
            rebalance_timeout: request.rebalance_timeout,
            session_timeout: request.session_timeout,
            protocols: request.protocols,
            assignment: Bytes::new(),
            is_new: true,
            join: Some(ticket),
            sync: None,
            deadline: Some(deadline),
        };
        self.members.insert(id, member);
        self.wake_by(deadline);
        self.rebalance_or_complete_join(now, out);
    }

    fn join_existing(&mut self, now: Now, ticket: Ticket, request: JoinRequest, out: &mut Actions) {
        let id = request.member_id.clone();
        let unchanged = self
            .members
            .get(&id)
            .is_some_and(|member| member.protocols == request.protocols);
        let leads = self.leader.as_ref() == Some(&id);
        match self.state {
            // Most likely the JoinGroup response was lost: the present generation again.
            State::CompletingRebalance if unchanged => {
                let members = if leads {
                    self.members_for_leader()
                } else {
                    Vec::new()
                };
                out.reply(ticket, Reply::Join(self.joined(id, members)));
            }
            // A follower with nothing new goes on to SyncGroup. A leader that joins wants a rebalance,
            // for example because a topic has grown.
            State::Stable if unchanged && !leads => {
                out.reply(ticket, Reply::Join(self.joined(id, Vec::new())));
            }
            State::PreparingRebalance | State::CompletingRebalance | State::Stable => {
                tracing::debug!(group = %self.id, member = %id, reason = request.reason.as_deref(), "member rejoins");
                self.update_member(now, ticket, &id, request, out);
                self.rebalance_or_complete_join(now, out);
            }
            State::Empty | State::Dead => {
                out.reply(
                    ticket,
                    Reply::Join(JoinReply::error(id, ErrorCode::UnknownMemberId)),
                );
            }
        }
    }

    fn update_member(
        &mut self,
        now: Now,
        ticket: Ticket,
        id: &str,
        request: JoinRequest,
        out: &mut Actions,
    ) {
        let Some(member) = self.members.get_mut(id) else {
            return;
        };
        member.protocols = request.protocols;
        member.rebalance_timeout = request.rebalance_timeout;
        member.session_timeout = request.session_timeout;
        member.client_id = request.client_id;
        member.client_host = request.client_host;
        // An earlier JoinGroup of the same member: its connection is gone or about to be.
        if let Some(older) = member.join.replace(ticket) {
            let reply = JoinReply::error(member.id.clone(), ErrorCode::RebalanceInProgress);
            out.reply(older, Reply::Join(reply));
        }
        let deadline = now.instant + member.session_timeout;
        if !member.is_new {
            member.deadline = Some(deadline);
            self.wake_by(deadline);
        }
    }

    /// A static member came back without its id, from a restart: it takes its own place (KIP-345).
    fn replace_static(
        &mut self,
        now: Now,
        ticket: Ticket,
        old: &str,
        id: Name,
        request: JoinRequest,
        out: &mut Actions,
    ) {
        let old_leader = self.leader.clone();
        let may_skip = request.may_skip_assignment;
        let was_leader = old_leader.as_deref() == Some(old);
        let Some(mut member) = self.remove_member(old) else {
            return;
        };
        // Whoever still waits under the old id is a duplicate of this instance.
        fence(&mut member, out);
        member.id = id.clone();
        if let Some(instance) = &member.instance {
            self.statics.insert(instance.clone(), id.clone());
        }
        if was_leader {
            self.leader = Some(id.clone());
        }
        self.members.insert(id.clone(), member);
        self.update_member(now, ticket, &id, request, out);
        self.renew_session(now, &id);
        if self.state == State::Stable && self.select_protocol() == self.protocol {
            // Nothing that the assignment rests on has changed: no rebalance.
            self.save(out);
            let leads = self.leader.as_ref() == Some(&id);
            let members = if may_skip && leads {
                self.members_for_leader()
            } else {
                Vec::new()
            };
            let mut reply = self.joined(id.clone(), members);
            if may_skip {
                reply.skip_assignment = leads;
            } else if let Some(old_leader) = old_leader {
                // A leader that cannot be told to skip is not told that it leads.
                reply.leader = old_leader;
            }
            if let Some(member) = self.members.get_mut(&id) {
                member.join = None;
            }
            out.reply(ticket, Reply::Join(reply));
            return;
        }
        // In CompletingRebalance the leader may already assign to the old id, so all start over.
        self.rebalance_or_complete_join(now, out);
    }

    fn members_for_leader(&self) -> Vec<JoinMember> {
        let protocol = self.protocol.as_deref().unwrap_or_default();
        self.members
            .values()
            .map(|member| JoinMember {
                id: member.id.clone(),
                instance: member.instance.clone(),
                metadata: member.metadata(protocol),
            })
            .collect()
    }

    /// The present generation, for one member.
    fn joined(&self, member_id: Name, members: Vec<JoinMember>) -> JoinReply {
        JoinReply {
            error: ErrorCode::None,
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader: self.leader.clone().unwrap_or_else(|| "".into()),
            skip_assignment: false,
            member_id,
            members,
        }
    }

    /// After any change of the members: begin a round, or see whether the present one is complete.
    pub(super) fn rebalance_or_complete_join(&mut self, now: Now, out: &mut Actions) {
        match self.state {
            State::Empty | State::Stable | State::CompletingRebalance => {
                self.prepare_rebalance(now, out)
            }
            State::PreparingRebalance => self.complete_join_if_all_here(now, out),
            State::Dead => {}
        }
    }

    pub(super) fn prepare_rebalance(&mut self, now: Now, out: &mut Actions) {
        if self.state == State::CompletingRebalance {
            self.fail_syncs(now, ErrorCode::RebalanceInProgress, out);
        }
        self.sync_timer = None;
        self.unsynced.clear();
        let initial = self.state == State::Empty;
        let rebalance_timeout = self.rebalance_timeout();
        self.transition(now, State::PreparingRebalance);
        if initial {
            let delay = self.config.initial_rebalance_delay;
            if delay.is_zero() {
                return self.complete_join(now, out);
            }
            let remaining = rebalance_timeout.saturating_sub(delay);
            self.start_join_timer(now, delay, JoinTimer::Initial { delay, remaining });
        } else if self.all_joined() {
            self.complete_join(now, out);
        } else {
            self.start_join_timer(now, rebalance_timeout, JoinTimer::Rebalance);
        }
    }

    fn start_join_timer(&mut self, now: Now, after: Duration, timer: JoinTimer) {
        let deadline = now.instant + after;
        self.join_timer = Some((deadline, timer));
        self.wake_by(deadline);
    }

    pub(super) fn rebalance_timeout(&self) -> Duration {
        self.members
            .values()
            .map(|member| member.rebalance_timeout)
            .max()
            .unwrap_or_default()
    }

    fn all_joined(&self) -> bool {
        self.pending.is_empty() && self.members.values().all(|member| member.join.is_some())
    }

    /// Ends the round when nobody is missing. The initial delay runs to its end regardless.
    pub(super) fn complete_join_if_all_here(&mut self, now: Now, out: &mut Actions) {
        if self.state == State::PreparingRebalance
            && self.previous != State::Empty
            && self.all_joined()
        {
            self.complete_join(now, out);
        }
    }

    pub(super) fn join_timer_ran_out(&mut self, now: Now, timer: JoinTimer, out: &mut Actions) {
        self.join_timer = None;
        match timer {
            JoinTimer::Initial { delay, remaining }
                if self.new_member_added && !remaining.is_zero() =>
            {
                self.new_member_added = false;
                let next = self.config.initial_rebalance_delay.min(remaining);
                let remaining = remaining.saturating_sub(delay);
                self.start_join_timer(
                    now,
                    next,
                    JoinTimer::Initial {
                        delay: next,
                        remaining,
                    },
                );
            }
            JoinTimer::Initial { .. } | JoinTimer::Rebalance => self.complete_join(now, out),
        }
    }

    /// Opens the join barrier: the next generation begins with those who are here.
    fn complete_join(&mut self, now: Now, out: &mut Actions) {
        self.join_timer = None;
        self.new_member_added = false;
        // Static members keep their place until their session ends.
        let missing: Vec<Name> = self
            .members
            .values()
            .filter(|member| member.join.is_none() && member.instance.is_none())
            .map(|member| member.id.clone())
            .collect();
        for id in missing {
            tracing::debug!(group = %self.id, member = %id, "member did not rejoin in time");
            self.remove_member(&id);
        }
        if !self.members.is_empty() && !self.elect_joined_leader() {
            // Only absent static members: wait until they come back or their sessions end.
            let timeout = self.rebalance_timeout();
            return self.start_join_timer(now, timeout, JoinTimer::Rebalance);
        }
        self.generation = self.generation.wrapping_add(1).max(1);
        if self.members.is_empty() {
            self.protocol = None;
            self.leader = None;
            self.subscribed = self.read_subscriptions();
            self.transition(now, State::Empty);
            self.save(out);
            return;
        }
        self.protocol = self.select_protocol();
        self.subscribed = self.read_subscriptions();
        self.transition(now, State::CompletingRebalance);
        self.answer_joins(now, out);
    }

    fn answer_joins(&mut self, now: Now, out: &mut Actions) {
        let mut for_leader = self.members_for_leader();
        let waiting: Vec<Name> = self.members.keys().cloned().collect();
        for id in waiting {
            let leads = self.leader.as_ref() == Some(&id);
            let members = if leads {
                std::mem::take(&mut for_leader)
            } else {
                Vec::new()
            };
            let reply = self.joined(id.clone(), members);
            self.unsynced.insert(id.clone());
            if let Some(member) = self.members.get_mut(&id) {
                member.is_new = false;
                if let Some(ticket) = member.join.take() {
                    out.reply(ticket, Reply::Join(reply));
                }
            }
            self.renew_session(now, &id);
        }
        let deadline = now.instant + self.rebalance_timeout();
        self.sync_timer = Some(deadline);
        self.wake_by(deadline);
    }

    /// Keeps the leader if it has joined, else takes the first member that has.
    fn elect_joined_leader(&mut self) -> bool {
        let joined = |member: &Member| member.join.is_some();
        if self
            .leader
            .as_ref()
            .and_then(|leader| self.members.get(leader))
            .is_some_and(joined)
        {
            return true;
        }
        match self.members.values().find(|member| joined(member)) {
            Some(member) => {
                self.leader = Some(member.id.clone());
                true
            }
            None => false,
        }
    }
}

/// Why a JoinGroup may go on.
enum Entrance {
    /// A member of the group.
    Known,
    /// Returns with the id it was given.
    Pending,
    /// No id; this one is new.
    New(Name),
}

fn fence(member: &mut Member, out: &mut Actions) {
    if let Some(ticket) = member.join.take() {
        out.reply(
            ticket,
            Reply::Join(JoinReply::error(
                member.id.clone(),
                ErrorCode::FencedInstanceId,
            )),
        );
    }
    if let Some(ticket) = member.sync.take() {
        out.reply(
            ticket,
            Reply::Sync(super::sync::SyncReply::error(ErrorCode::FencedInstanceId)),
        );
    }
}
