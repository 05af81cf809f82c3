//! A group member that speaks frames: what the tests need of a consumer, and no more.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use bytes::Bytes;
use ferrokafka_broker::{ErrorCode, TestBroker};
use ferrokafka_wire::frame;
use ferrokafka_wire::messages::consumer_protocol_subscription::TopicPartition;
use ferrokafka_wire::messages::join_group_request::JoinGroupRequestProtocol;
use ferrokafka_wire::messages::leave_group_request::MemberIdentity;
use ferrokafka_wire::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use ferrokafka_wire::messages::sync_group_request::SyncGroupRequestAssignment;
use ferrokafka_wire::messages::{
    ConsumerProtocolSubscription, FindCoordinatorRequest, GroupId, HeartbeatRequest,
    JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, OffsetCommitRequest, SyncGroupRequest,
    SyncGroupResponse, TopicName,
};
use ferrokafka_wire::protocol::{Encodable, StrBytes};

use tokio::time::timeout;

use crate::driver::{Driver, PATIENCE};

pub(crate) fn text(value: &str) -> StrBytes {
    StrBytes::from_string(value.to_owned())
}

pub(crate) fn group_id(value: &str) -> GroupId {
    GroupId(text(value))
}

pub(crate) fn topic_name(value: &str) -> TopicName {
    TopicName(text(value))
}

/// Metadata of a consumer of `topic` that owns `owned` of it.
pub(crate) fn subscription(topic: &str, owned: &[i32]) -> Bytes {
    let owned = TopicPartition::default()
        .with_topic(topic_name(topic))
        .with_partitions(owned.to_vec());
    let subscription = ConsumerProtocolSubscription::default()
        .with_topics(vec![text(topic)])
        .with_owned_partitions(vec![owned]);
    let mut bytes = bytes::BytesMut::new();
    bytes.extend_from_slice(&1i16.to_be_bytes());
    subscription.encode(&mut bytes, 1).unwrap();
    bytes.freeze()
}

/// The node that coordinates a group, as `FindCoordinator` says.
pub(crate) async fn coordinator(broker: &TestBroker, group: &str) -> i32 {
    let request = FindCoordinatorRequest::default().with_key(text(group));
    let found = Driver::connect(broker).await.call(3, &request).await;
    assert_eq!(found.error_code, 0);
    found.node_id.0
}

pub(crate) struct Member {
    pub(crate) driver: Driver,
    pub(crate) group: String,
    pub(crate) id: String,
    pub(crate) instance: Option<String>,
    pub(crate) generation: i32,
    pub(crate) session_timeout_ms: i32,
    pub(crate) rebalance_timeout_ms: i32,
    pub(crate) metadata: Bytes,
}

impl Member {
    /// A member that has not joined, connected to the group's coordinator.
    pub(crate) async fn new(broker: &TestBroker, group: &str) -> Self {
        let node = usize::try_from(coordinator(broker, group).await).unwrap();
        Self::with(Driver::connect_to(broker, node).await, group)
    }

    /// A member that has not joined, on a connection of the caller's.
    pub(crate) fn with(driver: Driver, group: &str) -> Self {
        Self {
            driver,
            group: group.to_owned(),
            id: String::new(),
            instance: None,
            generation: -1,
            session_timeout_ms: 30_000,
            rebalance_timeout_ms: 60_000,
            metadata: subscription("t", &[]),
        }
    }

    pub(crate) fn join_request(&self) -> JoinGroupRequest {
        let protocol = JoinGroupRequestProtocol::default()
            .with_name(text("range"))
            .with_metadata(self.metadata.clone());
        JoinGroupRequest::default()
            .with_group_id(group_id(&self.group))
            .with_session_timeout_ms(self.session_timeout_ms)
            .with_rebalance_timeout_ms(self.rebalance_timeout_ms)
            .with_member_id(text(&self.id))
            .with_group_instance_id(self.instance.as_deref().map(text))
            .with_protocol_type(text("consumer"))
            .with_protocols(vec![protocol])
    }

    /// Sends JoinGroup 9 without waiting for the barrier; a first id is fetched on the way.
    pub(crate) async fn start_join(&mut self) {
        if self.id.is_empty() && self.instance.is_none() {
            let first = self.driver.call(9, &self.join_request()).await;
            assert_eq!(first.error_code, ErrorCode::MemberIdRequired.code());
            self.id = first.member_id.to_string();
        }
        self.driver.send(9, &self.join_request()).await;
    }

    pub(crate) async fn finish_join(&mut self) -> JoinGroupResponse {
        let mut answer = self.driver.read().await.expect("the barrier opens");
        frame::decode_response_header::<JoinGroupRequest>(&mut answer, 9).unwrap();
        let response = frame::decode_response::<JoinGroupRequest>(answer, 9).unwrap();
        if response.error_code == 0 {
            self.id = response.member_id.to_string();
            self.generation = response.generation_id;
        }
        response
    }

    pub(crate) async fn join(&mut self) -> JoinGroupResponse {
        self.start_join().await;
        self.finish_join().await
    }

    pub(crate) async fn start_sync(&mut self, assignments: &[(&str, &[u8])]) {
        let assignments = assignments.iter().map(|(member, bytes)| {
            SyncGroupRequestAssignment::default()
                .with_member_id(text(member))
                .with_assignment(Bytes::copy_from_slice(bytes))
        });
        let request = SyncGroupRequest::default()
            .with_group_id(group_id(&self.group))
            .with_generation_id(self.generation)
            .with_member_id(text(&self.id))
            .with_group_instance_id(self.instance.as_deref().map(text))
            .with_protocol_type(Some(text("consumer")))
            .with_protocol_name(Some(text("range")))
            .with_assignments(assignments.collect());
        self.driver.send(5, &request).await;
    }

    pub(crate) async fn finish_sync(&mut self) -> SyncGroupResponse {
        let mut answer = self.driver.read().await.expect("the assignment comes");
        frame::decode_response_header::<SyncGroupRequest>(&mut answer, 5).unwrap();
        frame::decode_response::<SyncGroupRequest>(answer, 5).unwrap()
    }

    pub(crate) async fn sync(&mut self, assignments: &[(&str, &[u8])]) -> SyncGroupResponse {
        self.start_sync(assignments).await;
        self.finish_sync().await
    }

    pub(crate) async fn heartbeat(&mut self) -> ErrorCode {
        let request = HeartbeatRequest::default()
            .with_group_id(group_id(&self.group))
            .with_generation_id(self.generation)
            .with_member_id(text(&self.id))
            .with_group_instance_id(self.instance.as_deref().map(text));
        ErrorCode::from_code(self.driver.call(4, &request).await.error_code)
    }

    /// Heartbeats until the member is told that a round has begun.
    pub(crate) async fn await_rebalance(&mut self) {
        let told = async { while self.heartbeat().await != ErrorCode::RebalanceInProgress {} };
        timeout(PATIENCE, told).await.expect("a rebalance begins");
    }

    pub(crate) async fn leave(&mut self) -> ErrorCode {
        let member = MemberIdentity::default()
            .with_member_id(text(&self.id))
            .with_group_instance_id(self.instance.as_deref().map(text));
        let request = LeaveGroupRequest::default()
            .with_group_id(group_id(&self.group))
            .with_members(vec![member]);
        let response = self.driver.call(4, &request).await;
        assert_eq!(response.error_code, 0);
        ErrorCode::from_code(response.members[0].error_code)
    }

    pub(crate) fn commit_request(
        &self,
        topic: &str,
        partition: i32,
        offset: i64,
    ) -> OffsetCommitRequest {
        let partition = OffsetCommitRequestPartition::default()
            .with_partition_index(partition)
            .with_committed_offset(offset)
            .with_committed_metadata(Some(text("note")));
        let topic = OffsetCommitRequestTopic::default()
            .with_name(topic_name(topic))
            .with_partitions(vec![partition]);
        OffsetCommitRequest::default()
            .with_group_id(group_id(&self.group))
            .with_generation_id_or_member_epoch(self.generation)
            .with_member_id(text(&self.id))
            .with_group_instance_id(self.instance.as_deref().map(text))
            .with_topics(vec![topic])
    }

    pub(crate) async fn commit(&mut self, topic: &str, partition: i32, offset: i64) -> ErrorCode {
        let request = self.commit_request(topic, partition, offset);
        let response = self.driver.call(8, &request).await;
        ErrorCode::from_code(response.topics[0].partitions[0].error_code)
    }
}

/// Lets all members join one round; the first of them began it.
pub(crate) async fn join_all(members: &mut [&mut Member]) -> Vec<JoinGroupResponse> {
    for member in members.iter_mut() {
        member.start_join().await;
    }
    let mut joined = Vec::new();
    for member in members.iter_mut() {
        joined.push(member.finish_join().await);
    }
    joined
}

/// The leader's assignment is `plan`; returns what each member got.
pub(crate) async fn sync_all(
    members: &mut [&mut Member],
    leader: &str,
    plan: &[(&str, &[u8])],
) -> Vec<Bytes> {
    for member in members.iter_mut() {
        let given = if member.id == leader { plan } else { &[] };
        member.start_sync(given).await;
    }
    let mut got = Vec::new();
    for member in members.iter_mut() {
        let response = member.finish_sync().await;
        assert_eq!(response.error_code, 0);
        got.push(response.assignment);
    }
    got
}
