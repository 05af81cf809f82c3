//! The task of the membership: sends what the state machine wants, feeds the answers back.
//!
//! JoinGroup v2–v9 (v4 gives the member id first, v5 static members, v8 the reason), SyncGroup
//! v1–v5, Heartbeat v1–v4, LeaveGroup v1–v5. JoinGroup and SyncGroup wait for other members and
//! have a connection of their own, so that heartbeats are never behind them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ferrokafka_client::{Client, CoordinatorKind, Error, ErrorKind, Lane, TopicPartition};
use ferrokafka_wire::ErrorCode;
use ferrokafka_wire::messages::join_group_request::JoinGroupRequestProtocol;
use ferrokafka_wire::messages::leave_group_request::MemberIdentity;
use ferrokafka_wire::messages::sync_group_request::SyncGroupRequestAssignment;
use ferrokafka_wire::messages::{
    GroupId, HeartbeatRequest, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest,
    SyncGroupRequest,
};
use ferrokafka_wire::protocol::Request;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::time::{Instant, sleep_until};

use crate::assignor::protocol::{
    decode_assignment, decode_subscription, encode_assignment, encode_subscription, str_bytes,
};
use crate::assignor::{Assignor, GroupMember, subscribed_topics};
use crate::events::GroupEventKind;
use crate::membership::{Action, Joined, MemberBytes, Refusal};
use crate::shared::Shared;

/// The name under which all consumers' groups go.
const PROTOCOL_TYPE: &str = "consumer";

/// How often a subscribed topic that does not exist is looked for.
const MISSING_TOPIC_INTERVAL: Duration = Duration::from_secs(1);

/// What came of a request.
enum Answer {
    Join(u64, Result<Joined, Refusal>),
    Sync(u64, Result<Vec<TopicPartition>, Refusal>, Option<Counts>),
    Heartbeat {
        member_id: Arc<str>,
        generation: i32,
        answer: Result<(), Refusal>,
    },
    Left,
}

/// The number of partitions by topic.
type Counts = BTreeMap<Arc<str>, i32>;

pub(crate) async fn run(shared: Arc<Shared>) {
    let mut pending: FuturesUnordered<BoxFuture<'static, Answer>> = FuturesUnordered::new();
    let mut cluster = shared.client.watch_cluster();
    // What the last assignment of this leader was made from.
    let mut assigned_from: Option<Counts> = None;
    let mut look_at = Instant::now() + MISSING_TOPIC_INTERVAL;
    loop {
        let idle_since = shared.idle_since();
        let actions = shared.membership.lock().poll(Instant::now(), idle_since);
        for action in actions.list {
            match action {
                Action::WakeApplication => shared.app_wake.notify_one(),
                Action::ForgetCoordinator => {
                    shared
                        .client
                        .forget_coordinator(CoordinatorKind::Group, shared.group_id());
                }
                request => pending.push(Box::pin(send(shared.clone(), request))),
            }
        }
        let wake_at = actions.wake_at;
        let missing = topics_missing(&shared);
        tokio::select! {
            Some(answer) = pending.next(), if !pending.is_empty() => {
                take_in(&shared, answer, &mut assigned_from);
            }
            () = shared.member_wake.notified() => {}
            Ok(()) = cluster.changed() => check_counts(&shared, &assigned_from),
            () = sleep_until(wake_at.unwrap_or_else(Instant::now)), if wake_at.is_some() => {}
            () = sleep_until(look_at), if missing => {
                look_at = Instant::now() + MISSING_TOPIC_INTERVAL;
                shared.client.refresh();
            }
        }
    }
}

/// Whether a subscribed topic is not known to exist.
fn topics_missing(shared: &Shared) -> bool {
    let cluster = shared.client.cluster();
    let membership = shared.membership.lock();
    membership.is_leader()
        && membership
            .topics()
            .iter()
            .any(|topic| cluster.partition_count(topic).is_none())
}

fn take_in(shared: &Shared, answer: Answer, assigned_from: &mut Option<Counts>) {
    let now = Instant::now();
    let mut membership = shared.membership.lock();
    match answer {
        Answer::Join(round, answer) => membership.on_join(now, round, answer),
        Answer::Sync(round, answer, counts) => {
            *assigned_from = counts;
            membership.on_sync(now, round, answer);
        }
        Answer::Heartbeat {
            member_id,
            generation,
            answer,
        } => {
            membership.on_heartbeat(now, &member_id, generation, answer);
        }
        Answer::Left => {}
    }
}

/// The leader joins again when partitions come or go.
fn check_counts(shared: &Shared, assigned_from: &Option<Counts>) {
    let Some(before) = assigned_from else { return };
    let cluster = shared.client.cluster();
    let mut membership = shared.membership.lock();
    let known = |topic: &Arc<str>| Some((topic.clone(), cluster.partition_count(topic)?));
    let now: Counts = before.keys().filter_map(known).collect();
    let new = membership
        .topics()
        .iter()
        .any(|t| !before.contains_key(t) && known(t).is_some());
    // A topic that vanished from the answer may be back in the next one: only counts that differ count.
    if new || now.iter().any(|(topic, count)| before[topic] != *count) {
        membership.partitions_changed();
    }
}

async fn send(shared: Arc<Shared>, action: Action) -> Answer {
    match action {
        Action::Join {
            round,
            member_id,
            topics,
            owned,
            generation,
            reason,
        } => {
            shared.emit(GroupEventKind::Joining { reason });
            let member = GroupMember {
                member_id,
                group_instance_id: shared.config.group_instance_id.clone(),
                topics,
                owned,
                generation,
                rack: shared.config.client_rack.clone(),
                user_data: None,
            };
            Answer::Join(round, join(&shared, member, reason).await)
        }
        Action::Sync {
            round,
            member_id,
            generation,
            protocol,
            members,
        } => {
            let share = Share {
                member_id,
                generation,
                protocol,
            };
            let (answer, counts) = sync(&shared, share, members).await;
            Answer::Sync(round, answer, counts)
        }
        Action::Heartbeat {
            member_id,
            generation,
        } => {
            let answer = heartbeat(&shared, &member_id, generation).await;
            Answer::Heartbeat {
                member_id,
                generation,
                answer,
            }
        }
        Action::Leave { member_id, reason } => {
            let deadline = Instant::now() + shared.client.config().get_request_timeout();
            leave(&shared, &member_id, reason, deadline).await;
            Answer::Left
        }
        Action::ForgetCoordinator | Action::WakeApplication => Answer::Left,
    }
}

/// One request to the group's coordinator.
async fn request<R>(
    shared: &Shared,
    lane: Lane,
    deadline: Instant,
    build: impl Fn(i16) -> R + Send + Sync,
) -> Result<R::Response, Refusal>
where
    R: Request + Send + Sync,
    R::Response: Send + 'static,
{
    let client: &Client = &shared.client;
    // Looking for the coordinator must leave time to retry elsewhere.
    let find_by = deadline.min(Instant::now() + client.config().get_request_timeout());
    let node = client
        .coordinator(CoordinatorKind::Group, shared.group_id(), find_by)
        .await
        .map_err(Refusal::NoAnswer)?;
    let answer = client.request(node, lane, deadline, build).await;
    answer
        .map(|(_, response)| response)
        .map_err(Refusal::NoAnswer)
}

fn check(code: i16) -> Result<(), Refusal> {
    match ErrorCode::from_code(code) {
        ErrorCode::None => Ok(()),
        code => Err(Refusal::Code(code, None)),
    }
}

fn millis(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}

/// How long a barrier may take: the coordinator gives the others this long to join.
fn barrier_deadline(shared: &Shared) -> Instant {
    Instant::now() + shared.config.max_poll_interval + Duration::from_secs(5)
}

async fn join(
    shared: &Shared,
    member: GroupMember,
    reason: &'static str,
) -> Result<Joined, Refusal> {
    let topics = member.topics.clone();
    // The leader needs their partitions, and everybody their leaders; unknown ones are no obstacle.
    let soon = Instant::now() + shared.client.config().get_request_timeout();
    shared
        .client
        .metadata(&topics, soon)
        .await
        .map_err(Refusal::NoAnswer)?;
    let protocols: Vec<JoinGroupRequestProtocol> = shared
        .config
        .assignors
        .iter()
        .map(|assignor| {
            JoinGroupRequestProtocol::default()
                .with_name(str_bytes(assignor.name()))
                .with_metadata(encode_subscription(&member, assignor))
        })
        .collect();
    let build = |version: i16| {
        let mut message = JoinGroupRequest::default()
            .with_group_id(GroupId(str_bytes(shared.group_id())))
            .with_session_timeout_ms(millis(shared.config.session_timeout))
            .with_rebalance_timeout_ms(millis(shared.config.max_poll_interval))
            .with_member_id(str_bytes(&member.member_id))
            .with_protocol_type(str_bytes(PROTOCOL_TYPE))
            .with_protocols(protocols.clone());
        message.group_instance_id = None;
        message.reason = None;
        if version >= 5 {
            message.group_instance_id = member.group_instance_id.as_deref().map(str_bytes);
        }
        if version >= 8 {
            message.reason = Some(str_bytes(reason));
        }
        message
    };
    let response = request(shared, Lane::Join, barrier_deadline(shared), build).await?;
    read_join(response)
}

fn read_join(response: JoinGroupResponse) -> Result<Joined, Refusal> {
    let member_id: Arc<str> = Arc::from(&*response.member_id);
    if response.error_code != 0 {
        return Err(Refusal::Code(
            ErrorCode::from_code(response.error_code),
            Some(member_id),
        ));
    }
    let leader = response.leader == response.member_id;
    let members = response
        .members
        .into_iter()
        .map(|m| MemberBytes {
            member_id: Arc::from(&*m.member_id),
            group_instance_id: m.group_instance_id.as_deref().map(Arc::from),
            subscription: m.metadata,
        })
        .collect();
    Ok(Joined {
        member_id,
        generation: response.generation_id,
        protocol: Arc::from(response.protocol_name.as_deref().unwrap_or_default()),
        members: (leader && !response.skip_assignment).then_some(members),
        leader,
    })
}

/// Who asks for its share.
struct Share {
    member_id: Arc<str>,
    generation: i32,
    protocol: Arc<str>,
}

async fn sync(
    shared: &Shared,
    share: Share,
    members: Option<Vec<MemberBytes>>,
) -> (Result<Vec<TopicPartition>, Refusal>, Option<Counts>) {
    let mut assignments = Vec::new();
    let mut counts = None;
    if let Some(members) = members {
        match assign(shared, &share.protocol, members).await {
            Ok((list, from)) => (assignments, counts) = (list, Some(from)),
            Err(refusal) => return (Err(refusal), None),
        }
    }
    let build = |version: i16| {
        let mut message = SyncGroupRequest::default()
            .with_group_id(GroupId(str_bytes(shared.group_id())))
            .with_generation_id(share.generation)
            .with_member_id(str_bytes(&share.member_id))
            .with_assignments(assignments.clone());
        message.group_instance_id = None;
        message.protocol_type = None;
        message.protocol_name = None;
        if version >= 3 {
            message.group_instance_id = shared.config.group_instance_id.as_deref().map(str_bytes);
        }
        if version >= 5 {
            message.protocol_type = Some(str_bytes(PROTOCOL_TYPE));
            message.protocol_name = Some(str_bytes(&share.protocol));
        }
        message
    };
    let answer = request(shared, Lane::Join, barrier_deadline(shared), build).await;
    let share = answer.and_then(|response| {
        check(response.error_code)?;
        decode_assignment(response.assignment).map_err(|error| {
            let text = "cannot read the assignment of the group's leader";
            Refusal::NoAnswer(Error::new(ErrorKind::Protocol, text).with_source(error))
        })
    });
    (share, counts)
}

/// The leader's work: who gets what.
async fn assign(
    shared: &Shared,
    protocol: &str,
    members: Vec<MemberBytes>,
) -> Result<(Vec<SyncGroupRequestAssignment>, Counts), Refusal> {
    let members: Vec<GroupMember> = members
        .into_iter()
        .map(|m| {
            let instance = m.group_instance_id.as_deref();
            decode_subscription(&m.member_id, instance, m.subscription).unwrap_or_else(|error| {
                // It gets nothing; the others need not suffer for it.
                tracing::warn!(member = %m.member_id, %error, "unreadable subscription");
                GroupMember {
                    member_id: m.member_id.clone(),
                    generation: -1,
                    ..GroupMember::default()
                }
            })
        })
        .collect();
    let topics: Vec<Arc<str>> = subscribed_topics(&members).into_iter().collect();
    let deadline = Instant::now() + shared.client.config().get_request_timeout();
    let cluster = shared
        .client
        .metadata(&topics, deadline)
        .await
        .map_err(Refusal::NoAnswer)?;
    let counts: Counts = topics
        .into_iter()
        .filter_map(|topic| {
            let count = cluster.partition_count(&topic)?;
            Some((topic, count))
        })
        .collect();
    let assignor = shared
        .config
        .assignors
        .iter()
        .find(|a| a.name() == protocol);
    let assignor: &Assignor = assignor.ok_or_else(|| {
        let text =
            format!("the coordinator chose the assignor {protocol:?}, which was not offered");
        Refusal::NoAnswer(Error::new(ErrorKind::Protocol, text))
    })?;
    let assignment = assignor.assign(&counts, &members);
    tracing::debug!(?assignment, assignor = protocol, "assigned");
    let list = assignment
        .into_iter()
        .map(|(member_id, share)| {
            SyncGroupRequestAssignment::default()
                .with_member_id(str_bytes(&member_id))
                .with_assignment(encode_assignment(&share))
        })
        .collect();
    Ok((list, counts))
}

async fn heartbeat(shared: &Shared, member_id: &str, generation: i32) -> Result<(), Refusal> {
    let timeout = shared
        .client
        .config()
        .get_request_timeout()
        .min(shared.config.session_timeout);
    let build = |version: i16| {
        let mut message = HeartbeatRequest::default()
            .with_group_id(GroupId(str_bytes(shared.group_id())))
            .with_generation_id(generation)
            .with_member_id(str_bytes(member_id));
        message.group_instance_id = None;
        if version >= 3 {
            message.group_instance_id = shared.config.group_instance_id.as_deref().map(str_bytes);
        }
        message
    };
    let response = request(shared, Lane::Control, Instant::now() + timeout, build).await?;
    check(response.error_code)
}

/// Leaves the group; that this fails is no harm, since the session ends by itself.
pub(crate) async fn leave(
    shared: &Shared,
    member_id: &str,
    reason: &'static str,
    deadline: Instant,
) {
    let build = |version: i16| {
        let message =
            LeaveGroupRequest::default().with_group_id(GroupId(str_bytes(shared.group_id())));
        if version < 3 {
            return message.with_member_id(str_bytes(member_id));
        }
        let mut member = MemberIdentity::default().with_member_id(str_bytes(member_id));
        member.group_instance_id = None;
        member.reason = (version >= 5).then(|| str_bytes(reason));
        message.with_members(vec![member])
    };
    match request(shared, Lane::Control, deadline, build).await {
        Ok(response) if response.error_code == 0 => shared.emit(GroupEventKind::Left),
        Ok(response) => {
            tracing::info!(code = %ErrorCode::from_code(response.error_code), "could not leave the group");
        }
        Err(refusal) => tracing::info!(?refusal, "could not leave the group"),
    }
}
