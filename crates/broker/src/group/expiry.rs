//! What runs out: sessions, ids handed out, rebalances, offsets.

use ferrokafka_wire::ErrorCode;

use super::classic::{Actions, Group, Reply, State};
use super::join::JoinReply;
use super::record;
use super::sync::SyncReply;
use super::{Name, Now, Ticket};

impl Group {
    /// Does whatever is due, then works out when to look again.
    pub(super) fn tick(&mut self, now: Now, out: &mut Actions) {
        if self.state == State::Dead {
            return;
        }
        self.expire_pending(now, out);
        self.expire_sessions(now, out);
        if self
            .sync_timer
            .is_some_and(|deadline| deadline <= now.instant)
        {
            self.sync_timer_ran_out(now, out);
        }
        if let Some((deadline, timer)) = self.join_timer
            && deadline <= now.instant
        {
            self.join_timer_ran_out(now, timer, out);
        }
        let timers = [
            self.join_timer.map(|(deadline, _)| deadline),
            self.sync_timer,
        ];
        self.earliest = timers
            .into_iter()
            .flatten()
            .chain(self.pending.values().copied())
            .chain(self.members.values().filter_map(|member| member.deadline))
            .min();
    }

    fn expire_pending(&mut self, now: Now, out: &mut Actions) {
        let before = self.pending.len();
        self.pending.retain(|_, deadline| *deadline > now.instant);
        if self.pending.len() != before {
            // The round may have waited for it only. Nobody who is in the group has gone, so there is
            // no new round.
            self.complete_join_if_all_here(now, out);
        }
    }

    fn expire_sessions(&mut self, now: Now, out: &mut Actions) {
        let due: Vec<Name> = self
            .members
            .values()
            .filter(|member| {
                member
                    .deadline
                    .is_some_and(|deadline| deadline <= now.instant)
            })
            .map(|member| member.id.clone())
            .collect();
        let mut evicted = false;
        for id in due {
            let Some(member) = self.members.get_mut(&id) else {
                continue;
            };
            // The timer starts anew when the parked request is answered.
            member.deadline = None;
            if !member.satisfied_heartbeat() {
                tracing::debug!(group = %self.id, member = %id, "session expired");
                self.dismiss(&id, out);
                evicted = true;
            }
        }
        if evicted {
            self.after_removal(now, out);
        }
    }

    /// Members that joined but did not ask for their assignment are removed.
    fn sync_timer_ran_out(&mut self, now: Now, out: &mut Actions) {
        self.sync_timer = None;
        let late = std::mem::take(&mut self.unsynced);
        if late.is_empty() {
            return;
        }
        for id in late {
            tracing::debug!(group = %self.id, member = %id, "no SyncGroup in time");
            self.dismiss(&id, out);
        }
        if matches!(self.state, State::CompletingRebalance | State::Stable) {
            self.prepare_rebalance(now, out);
        }
    }

    pub(super) fn expire_session(
        &mut self,
        now: Now,
        ticket: Ticket,
        member: &str,
        out: &mut Actions,
    ) {
        let was_there = self.members.contains_key(member);
        self.dismiss(member, out);
        let code = if was_there {
            ErrorCode::None
        } else {
            ErrorCode::UnknownMemberId
        };
        out.reply(ticket, Reply::Code(code));
        if was_there {
            self.after_removal(now, out);
        }
    }

    /// Offsets of an empty group expire when it has been empty for the retention time, those of a
    /// group without members of its own (a simple consumer) after their commit, those of a live
    /// consumer group when nobody subscribes to the topic any more. A group with nothing left ends.
    pub(super) fn expire_offsets(&mut self, now: Now, out: &mut Actions) {
        let retention_ms =
            i64::try_from(self.config.offsets_retention.as_millis()).unwrap_or(i64::MAX);
        let empty_since = match (&self.protocol_type, self.state) {
            (_, State::Dead) => return,
            (None, _) => None,
            (Some(_), State::Empty) => Some(self.since_ms),
            (Some(_), State::Stable)
                if self.uses_consumer_protocol() && self.subscribed.is_some() =>
            {
                None
            }
            (Some(_), _) => return,
        };
        let in_use = self
            .subscribed
            .as_ref()
            .filter(|_| self.state == State::Stable);
        let expired = self.offsets.take_expired(|topic, committed| {
            if in_use.is_some_and(|topics| topics.contains(topic)) {
                return false;
            }
            let from = empty_since.unwrap_or(committed.committed_ms);
            let end = committed
                .expires_ms
                .unwrap_or(from.saturating_add(retention_ms));
            now.ms >= end
        });
        for (topic, partition) in expired {
            out.entries
                .push(record::offset_tombstone(&self.id, &topic, partition));
        }
        self.bury_if_unused(now, out);
    }

    pub(super) fn forget_topics(&mut self, now: Now, topics: &[Name], out: &mut Actions) {
        for (topic, partition) in self.offsets.take_expired(|topic, _| topics.contains(topic)) {
            out.entries
                .push(record::offset_tombstone(&self.id, &topic, partition));
        }
        self.bury_if_unused(now, out);
    }

    fn bury_if_unused(&mut self, now: Now, out: &mut Actions) {
        if self.state == State::Empty && self.offsets.is_empty() && self.pending.is_empty() {
            self.bury(now, out);
        }
    }

    /// Answers everything that is parked; the shell then drops this group.
    pub(super) fn unload(&mut self, now: Now, code: ErrorCode, out: &mut Actions) {
        for member in self.members.values_mut() {
            if let Some(ticket) = member.join.take() {
                out.reply(
                    ticket,
                    Reply::Join(JoinReply::error(member.id.clone(), code)),
                );
            }
            if let Some(ticket) = member.sync.take() {
                out.reply(ticket, Reply::Sync(SyncReply::error(code)));
            }
        }
        self.earliest = None;
        if self.state != State::Dead {
            self.transition(now, State::Dead);
        }
    }
}
