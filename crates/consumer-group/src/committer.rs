//! Offset commits: one at a time, in the order in which they were asked for.
//!
//! One at a time, because a retried older commit that overtakes a newer one would move the group
//! back. OffsetCommit v2–v9; v10 (topic ids) is not used. v6 added the leader epoch, v7 the static
//! member's id.

use std::collections::BTreeMap;
use std::sync::Arc;

use ferrokafka_client::{CoordinatorKind, Error, ErrorKind, Lane, TopicPartition};
use ferrokafka_wire::ErrorCode;
use ferrokafka_wire::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use ferrokafka_wire::messages::{GroupId, OffsetCommitRequest, OffsetCommitResponse, TopicName};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

use crate::assignor::protocol::str_bytes;
use crate::events::GroupEventKind;
use crate::membership::State;
use crate::offsets::OffsetAndMetadata;
use crate::shared::Shared;

/// Commits that may wait for the one under way.
pub(crate) const COMMITS_WAITING_MAX: usize = 256;

/// The newest version that names topics.
const VERSION_MAX: i16 = 9;

pub(crate) struct CommitRequest {
    pub(crate) offsets: BTreeMap<TopicPartition, OffsetAndMetadata>,
    /// How often the membership had been lost when this was asked for.
    pub(crate) losses: u64,
    pub(crate) deadline: Instant,
    pub(crate) reply: oneshot::Sender<Result<(), Error>>,
}

pub(crate) async fn run(shared: Arc<Shared>, mut queue: mpsc::Receiver<CommitRequest>) {
    while let Some(request) = queue.recv().await {
        let result = commit(&shared, &request).await;
        match &result {
            Ok(()) => {
                shared.partitions.lock().committed(&request.offsets);
                shared.emit(GroupEventKind::Committed {
                    partitions: request.offsets.len(),
                });
            }
            Err(error) => tracing::warn!(%error, "commit failed"),
        }
        // Whoever asked may have gone.
        let _ = request.reply.send(result);
    }
}

/// As whom a commit is sent.
struct Committer {
    member_id: Arc<str>,
    generation: i32,
}

/// What an answer asks for.
enum Next {
    Done,
    Retry(ErrorCode),
    Fail(Error),
}

async fn commit(shared: &Shared, request: &CommitRequest) -> Result<(), Error> {
    let began = Instant::now();
    let backoff = shared.client.config().get_retry_backoff();
    let mut attempts = 0;
    loop {
        let committer = identify(shared, request)?;
        attempts += 1;
        let last = match send(shared, request, &committer).await {
            Ok(response) => match judge(shared, &committer, &response) {
                Next::Done => return Ok(()),
                Next::Fail(error) => return Err(error.with_attempts(attempts)),
                Next::Retry(code) => Error::from_code(code, "commit offsets"),
            },
            Err(error) if error.is_retriable() => {
                shared
                    .client
                    .forget_coordinator(CoordinatorKind::Group, shared.group_id());
                error
            }
            Err(error) => return Err(error),
        };
        let again = Instant::now() + backoff.delay(attempts - 1);
        if again >= request.deadline {
            return Err(last.with_attempts(attempts).with_elapsed(began.elapsed()));
        }
        sleep_until(again).await;
    }
}

/// The identity to commit with, if what is to be committed is still ours.
fn identify(shared: &Shared, request: &CommitRequest) -> Result<Committer, Error> {
    if !shared.is_subscribed() {
        return Ok(Committer {
            member_id: "".into(),
            generation: -1,
        });
    }
    let membership = shared.membership.lock();
    if membership.losses() != request.losses || membership.generation() < 0 {
        let what = "commit offsets of partitions that were lost";
        return Err(Error::from_code(ErrorCode::IllegalGeneration, what));
    }
    let partitions = shared.partitions.lock();
    if let Some(tp) = request.offsets.keys().find(|tp| !partitions.contains(tp)) {
        // The new owner may have committed past it.
        let text = "the partition was given back before its offset was committed";
        return Err(Error::new(ErrorKind::Fenced, text)
            .with_code(ErrorCode::IllegalGeneration)
            .with_topic_partition(tp.clone()));
    }
    Ok(Committer {
        member_id: membership.member_id().clone(),
        generation: membership.generation(),
    })
}

async fn send(
    shared: &Shared,
    request: &CommitRequest,
    committer: &Committer,
) -> Result<OffsetCommitResponse, Error> {
    let client = &shared.client;
    let node = client
        .coordinator(CoordinatorKind::Group, shared.group_id(), request.deadline)
        .await?;
    let build = |version: i16| build(shared, &request.offsets, committer, version);
    let (_, response) = client
        .request_max_version(node, Lane::Control, request.deadline, VERSION_MAX, build)
        .await?;
    Ok(response)
}

fn build(
    shared: &Shared,
    offsets: &BTreeMap<TopicPartition, OffsetAndMetadata>,
    committer: &Committer,
    version: i16,
) -> OffsetCommitRequest {
    let mut topics: BTreeMap<&str, Vec<OffsetCommitRequestPartition>> = BTreeMap::new();
    for (tp, offset) in offsets {
        let mut partition = OffsetCommitRequestPartition::default()
            .with_partition_index(tp.partition)
            .with_committed_offset(offset.offset)
            .with_committed_metadata(Some(str_bytes(&offset.metadata)));
        if version >= 6 {
            partition.committed_leader_epoch = offset.leader_epoch.unwrap_or(-1);
        }
        topics.entry(&tp.topic).or_default().push(partition);
    }
    let mut message = OffsetCommitRequest::default()
        .with_group_id(GroupId(str_bytes(shared.group_id())))
        .with_generation_id_or_member_epoch(committer.generation)
        .with_member_id(str_bytes(&committer.member_id))
        .with_topics(
            topics
                .into_iter()
                .map(|(topic, partitions)| {
                    OffsetCommitRequestTopic::default()
                        .with_name(TopicName(str_bytes(topic)))
                        .with_partitions(partitions)
                })
                .collect(),
        );
    if version >= 7 {
        message.group_instance_id = shared.config.group_instance_id.as_deref().map(str_bytes);
    }
    message
}

fn judge(shared: &Shared, committer: &Committer, response: &OffsetCommitResponse) -> Next {
    let mut retry = None;
    for topic in &response.topics {
        for partition in &topic.partitions {
            let code = ErrorCode::from_code(partition.error_code);
            if code.is_none() {
                continue;
            }
            match judge_code(shared, committer, code) {
                Next::Fail(error) => {
                    let tp = TopicPartition::new(&*topic.name.0, partition.partition_index);
                    return Next::Fail(error.with_topic_partition(tp));
                }
                _ => retry = Some(code),
            }
        }
    }
    retry.map_or(Next::Done, Next::Retry)
}

fn judge_code(shared: &Shared, committer: &Committer, code: ErrorCode) -> Next {
    use ErrorCode as E;
    let fenced = matches!(
        code,
        E::IllegalGeneration | E::UnknownMemberId | E::RebalanceInProgress | E::FencedInstanceId
    );
    if fenced && committer.generation >= 0 {
        let mut membership = shared.membership.lock();
        let rebalancing = matches!(membership.state(), State::Joining | State::Syncing);
        let outdated = membership.generation() != committer.generation;
        if code == E::RebalanceInProgress
            || (code == E::IllegalGeneration && (rebalancing || outdated))
        {
            // A new generation is being formed, and what is to be committed stays ours until we
            // revoke it: the same commit is good under the new generation.
            membership.on_fencing_code(
                Instant::now(),
                &committer.member_id,
                committer.generation,
                code,
            );
            drop(membership);
            shared.member_wake.notify_one();
            return Next::Retry(code);
        }
        membership.on_fencing_code(
            Instant::now(),
            &committer.member_id,
            committer.generation,
            code,
        );
        drop(membership);
        shared.member_wake.notify_one();
        return Next::Fail(Error::from_code(code, "commit offsets"));
    }
    let error = Error::from_code(code, "commit offsets");
    if matches!(code, E::NotCoordinator | E::CoordinatorNotAvailable) {
        shared
            .client
            .forget_coordinator(CoordinatorKind::Group, shared.group_id());
    }
    if error.is_retriable() {
        Next::Retry(code)
    } else {
        Next::Fail(error)
    }
}
