//! SyncGroup: the barrier behind which the leader's assignment is handed out.

use bytes::Bytes;
use ferrokafka_wire::ErrorCode;

use super::classic::{Actions, Claim, Group, Reply, State};
use super::{Name, Now, Ticket};

/// What SyncGroup carries.
#[derive(Debug, Clone)]
pub(crate) struct SyncRequest {
    pub(crate) claim: Claim,
    /// SyncGroup 5 and later; checked when present.
    pub(crate) protocol_type: Option<Name>,
    /// SyncGroup 5 and later; checked when present.
    pub(crate) protocol: Option<Name>,
    /// From the leader: the assignment of each member.
    pub(crate) assignments: Vec<(Name, Bytes)>,
}

/// The answer to SyncGroup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SyncReply {
    pub(crate) error: ErrorCode,
    pub(crate) protocol_type: Option<Name>,
    pub(crate) protocol: Option<Name>,
    pub(crate) assignment: Bytes,
}

impl SyncReply {
    /// An answer that says only what went wrong.
    pub(crate) fn error(error: ErrorCode) -> Self {
        Self {
            error,
            protocol_type: None,
            protocol: None,
            assignment: Bytes::new(),
        }
    }
}

impl Group {
    pub(super) fn sync(
        &mut self,
        now: Now,
        ticket: Ticket,
        request: SyncRequest,
        out: &mut Actions,
    ) {
        if let Err(code) = self.check_sync(&request) {
            return out.reply(ticket, Reply::Sync(SyncReply::error(code)));
        }
        let id = request.claim.member.clone();
        self.unsynced.remove(&id);
        if self.unsynced.is_empty() {
            self.sync_timer = None;
        }
        if self.state == State::Stable {
            out.reply(ticket, Reply::Sync(self.synced(&id)));
            return self.renew_session(now, &id);
        }
        if let Some(member) = self.members.get_mut(&id)
            && let Some(older) = member.sync.replace(ticket)
        {
            out.reply(
                older,
                Reply::Sync(SyncReply::error(ErrorCode::RebalanceInProgress)),
            );
        }
        if self.leader.as_ref() == Some(&id) {
            self.assign(now, request.assignments, out);
        }
    }

    fn check_sync(&self, request: &SyncRequest) -> Result<(), ErrorCode> {
        if self.state == State::Dead {
            return Err(ErrorCode::CoordinatorNotAvailable);
        }
        self.validate_member(&request.claim)?;
        if request.claim.generation != self.generation {
            return Err(ErrorCode::IllegalGeneration);
        }
        let differs = |asked: &Option<Name>, ours: &Option<Name>| asked.is_some() && asked != ours;
        if differs(&request.protocol_type, &self.protocol_type)
            || differs(&request.protocol, &self.protocol)
        {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        match self.state {
            State::Empty | State::Dead => Err(ErrorCode::UnknownMemberId),
            State::PreparingRebalance => Err(ErrorCode::RebalanceInProgress),
            State::CompletingRebalance | State::Stable => Ok(()),
        }
    }

    /// The leader has spoken: members it forgot get an empty assignment, names it made up are ignored.
    fn assign(&mut self, now: Now, assignments: Vec<(Name, Bytes)>, out: &mut Actions) {
        for member in self.members.values_mut() {
            member.assignment = Bytes::new();
        }
        for (id, assignment) in assignments {
            if let Some(member) = self.members.get_mut(&id) {
                member.assignment = assignment;
            }
        }
        self.transition(now, State::Stable);
        self.save(out);
        let ids: Vec<Name> = self.members.keys().cloned().collect();
        for id in ids {
            if let Some(ticket) = self
                .members
                .get_mut(&id)
                .and_then(|member| member.sync.take())
            {
                out.reply(ticket, Reply::Sync(self.synced(&id)));
                self.renew_session(now, &id);
            }
        }
    }

    fn synced(&self, id: &str) -> SyncReply {
        SyncReply {
            error: ErrorCode::None,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            assignment: self
                .members
                .get(id)
                .map(|member| member.assignment.clone())
                .unwrap_or_default(),
        }
    }

    /// Answers every parked SyncGroup with `code` and drops the assignments.
    pub(super) fn fail_syncs(&mut self, now: Now, code: ErrorCode, out: &mut Actions) {
        let ids: Vec<Name> = self.members.keys().cloned().collect();
        for id in ids {
            let Some(member) = self.members.get_mut(&id) else {
                continue;
            };
            member.assignment = Bytes::new();
            if let Some(ticket) = member.sync.take() {
                out.reply(ticket, Reply::Sync(SyncReply::error(code)));
                self.renew_session(now, &id);
            }
        }
    }
}
