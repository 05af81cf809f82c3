//! OffsetCommit and OffsetDelete: who may change a group's offsets.

use ferrokafka_wire::ErrorCode;

use super::classic::{Actions, Claim, Group, Reply, State};
use super::offsets::CommittedOffset;
use super::record;
use super::{Name, Now, Ticket};

/// What OffsetCommit carries, for partitions that exist.
#[derive(Debug, Clone)]
pub(crate) struct CommitRequest {
    pub(crate) claim: Claim,
    /// OffsetCommit 2–4: how long to keep these offsets, instead of the broker's retention.
    pub(crate) retention_ms: Option<i64>,
    pub(crate) offsets: Vec<CommitOffset>,
}

/// One offset to commit.
#[derive(Debug, Clone)]
pub(crate) struct CommitOffset {
    pub(crate) topic: Name,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) leader_epoch: i32,
    pub(crate) metadata: Name,
}

/// A result per partition in the order asked, or one for the whole request.
pub(crate) type PartitionResults = Result<Vec<ErrorCode>, ErrorCode>;

impl Group {
    pub(super) fn commit(
        &mut self,
        now: Now,
        ticket: Ticket,
        request: CommitRequest,
        out: &mut Actions,
    ) {
        if let Err(code) = self.may_commit(&request.claim) {
            return out.reply(ticket, Reply::Partitions(Err(code)));
        }
        // A commit keeps the session alive as a heartbeat does.
        if !request.claim.member.is_empty() {
            self.renew_session(now, &request.claim.member);
        }
        let expires_ms = request
            .retention_ms
            .map(|retention| now.ms.saturating_add(retention));
        let codes = request.offsets.into_iter().map(|commit| {
            if commit.metadata.len() > self.config.offset_metadata_bytes_max {
                return ErrorCode::OffsetMetadataTooLarge;
            }
            let committed = CommittedOffset {
                offset: commit.offset,
                leader_epoch: commit.leader_epoch,
                metadata: commit.metadata,
                committed_ms: now.ms,
                expires_ms,
            };
            out.entries.push(record::offset_entry(
                &self.id,
                &commit.topic,
                commit.partition,
                &committed,
            ));
            self.offsets.set(commit.topic, commit.partition, committed);
            ErrorCode::None
        });
        let codes = codes.collect();
        out.reply(ticket, Reply::Partitions(Ok(codes)));
    }

    /// Kafka's rules. A client outside the group may commit only while the group is empty; a member
    /// only with its own generation, and not between its JoinGroup and SyncGroup.
    fn may_commit(&self, claim: &Claim) -> Result<(), ErrorCode> {
        if self.state == State::Dead {
            return Err(ErrorCode::CoordinatorNotAvailable);
        }
        if claim.generation < 0 && self.state == State::Empty {
            return Ok(());
        }
        if claim.generation >= 0 || !claim.member.is_empty() || claim.instance.is_some() {
            self.validate_member(claim)?;
            if claim.generation != self.generation {
                return Err(ErrorCode::IllegalGeneration);
            }
        } else {
            return Err(ErrorCode::UnknownMemberId);
        }
        if self.state == State::CompletingRebalance {
            return Err(ErrorCode::RebalanceInProgress);
        }
        Ok(())
    }

    pub(super) fn delete_offsets(
        &mut self,
        ticket: Ticket,
        partitions: Vec<(Name, i32)>,
        out: &mut Actions,
    ) {
        let refused = match self.state {
            State::Dead => Some(ErrorCode::GroupIdNotFound),
            State::Empty => None,
            _ if self.uses_consumer_protocol() => None,
            _ => Some(ErrorCode::NonEmptyGroup),
        };
        if let Some(code) = refused {
            return out.reply(ticket, Reply::Partitions(Err(code)));
        }
        let mut codes = Vec::with_capacity(partitions.len());
        for (topic, partition) in partitions {
            if self.is_subscribed(&topic) {
                codes.push(ErrorCode::GroupSubscribedToTopic);
                continue;
            }
            if self.offsets.remove(&topic, partition) {
                out.entries
                    .push(record::offset_tombstone(&self.id, &topic, partition));
            }
            codes.push(ErrorCode::None);
        }
        out.reply(ticket, Reply::Partitions(Ok(codes)));
    }

    /// A consumer group whose subscriptions cannot be read counts as subscribed to everything.
    fn is_subscribed(&self, topic: &str) -> bool {
        match &self.subscribed {
            Some(topics) => topics.contains(topic),
            None => self.uses_consumer_protocol(),
        }
    }
}
