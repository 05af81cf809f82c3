//! LeaveGroup, and every other way in which a member ends.

use ferrokafka_wire::ErrorCode;

use super::classic::{Actions, Claim, Group, Reply, State};
use super::join::JoinReply;
use super::sync::SyncReply;
use super::{Name, Now, Ticket};

/// One member that is to leave.
#[derive(Debug, Clone)]
pub(crate) struct Leaving {
    /// Empty when an administrator removes a static member by its instance id.
    pub(crate) member: Name,
    pub(crate) instance: Option<Name>,
    /// LeaveGroup 5: why, in the client's words; for the log.
    pub(crate) reason: Option<Name>,
}

impl Group {
    pub(super) fn leave(
        &mut self,
        now: Now,
        ticket: Ticket,
        leaving: Vec<Leaving>,
        out: &mut Actions,
    ) {
        if self.state == State::Dead {
            return out.reply(
                ticket,
                Reply::Items(Err(ErrorCode::CoordinatorNotAvailable)),
            );
        }
        let members_before = self.members.len();
        let codes: Vec<ErrorCode> = leaving
            .into_iter()
            .map(|member| self.leave_one(member, out))
            .collect();
        out.reply(ticket, Reply::Items(Ok(codes)));
        if self.members.len() < members_before {
            self.after_removal(now, out);
        } else {
            // An id that was only handed out may have been the last that a round waited for.
            self.complete_join_if_all_here(now, out);
        }
    }

    fn leave_one(&mut self, leaving: Leaving, out: &mut Actions) -> ErrorCode {
        let id = if leaving.member.is_empty() {
            let instance = leaving.instance.as_ref();
            match instance.and_then(|instance| self.statics.get(instance)) {
                Some(id) => id.clone(),
                None => return ErrorCode::UnknownMemberId,
            }
        } else if self.pending.remove(&leaving.member).is_some() {
            return ErrorCode::None;
        } else {
            let claim = Claim {
                member: leaving.member,
                instance: leaving.instance,
                generation: -1,
            };
            if let Err(code) = self.validate_member(&claim) {
                return code;
            }
            claim.member
        };
        tracing::debug!(group = %self.id, member = %id, reason = leaving.reason.as_deref(), "member leaves");
        self.dismiss(&id, out);
        ErrorCode::None
    }

    /// Takes a member out and answers what it has parked, so that a client that is still there joins
    /// anew without an id.
    pub(super) fn dismiss(&mut self, id: &str, out: &mut Actions) {
        let Some(member) = self.remove_member(id) else {
            return;
        };
        if let Some(ticket) = member.join {
            let reply = JoinReply::error("".into(), ErrorCode::UnknownMemberId);
            out.reply(ticket, Reply::Join(reply));
        }
        if let Some(ticket) = member.sync {
            out.reply(
                ticket,
                Reply::Sync(SyncReply::error(ErrorCode::UnknownMemberId)),
            );
        }
    }

    /// What follows when members, or ids handed out, have gone.
    pub(super) fn after_removal(&mut self, now: Now, out: &mut Actions) {
        match self.state {
            // Only a pending id can have gone from an empty group.
            State::Empty | State::Dead => {}
            State::Stable | State::CompletingRebalance | State::PreparingRebalance => {
                self.rebalance_or_complete_join(now, out);
            }
        }
    }
}
