//! A cluster in memory that serves what a producer needs (ApiVersions, Metadata, InitProducerId,
//! Produce), checks sequences as Kafka does, and does to each produce request what the test says.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use ferrokafka_client::{Client, ClientConfig, Connector, NodeId, Stream};
use ferrokafka_producer::{Producer, ProducerConfig};
use ferrokafka_wire::ErrorCode;
use ferrokafka_wire::frame;
use ferrokafka_wire::messages::api_versions_response::ApiVersion;
use ferrokafka_wire::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use ferrokafka_wire::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use ferrokafka_wire::messages::{
    ApiVersionsResponse, BrokerId, InitProducerIdResponse, MetadataRequest, MetadataResponse,
    ProduceRequest, ProduceResponse, ProducerId, RequestHeader,
};
use ferrokafka_wire::protocol::StrBytes;
use ferrokafka_wire::record::{RawBatch, RawBatches};
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Longest wait of a test for something to happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(300);

const PORT_BASE: u16 = 1_000;

/// What is done to a produce request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Do {
    Apply,
    /// Written, but the connection goes before the answer.
    ApplyThenDisconnect,
    Disconnect,
    /// Every partition is refused.
    Refuse(ErrorCode),
    /// Written, but every partition is answered as a repetition whose offset is forgotten.
    ApplyAsRepeated,
    /// The leader of every partition moves to this node first, and the refusal names it (KIP-951).
    MoveTo(NodeId),
    /// Neither written nor answered, ever.
    Silence,
}

/// A record as it stands in a log: epoch of its batch, key, value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) epoch: i16,
    pub(crate) key: Option<Bytes>,
    pub(crate) value: Bytes,
}

/// First sequence, records, offset of a batch.
type Known = (i32, i32, i64);

#[derive(Default)]
struct Partition {
    leader: NodeId,
    leader_epoch: i32,
    log: Vec<Stored>,
    /// By producer id: its epoch and its last five batches.
    producers: HashMap<i64, (i16, VecDeque<Known>)>,
}

#[derive(Default)]
struct State {
    nodes: BTreeMap<NodeId, ()>,
    topics: BTreeMap<String, Vec<Partition>>,
    script: VecDeque<Do>,
    otherwise: Option<Do>,
    /// For each produce request, the partitions it carried and the records of each.
    produced: Vec<Vec<(i32, usize)>>,
    gate_closed: bool,
    next_producer_id: i64,
    message_bytes_max: Option<usize>,
}

struct Inner {
    state: Mutex<State>,
    /// Number of produce requests read so far.
    requests: watch::Sender<usize>,
    /// Bumped when the gate opens.
    gate: watch::Sender<u64>,
    connections: Mutex<JoinSet<()>>,
}

#[derive(Clone)]
pub(crate) struct FakeCluster(Arc<Inner>);

impl FakeCluster {
    pub(crate) fn new(nodes: i32) -> Self {
        let state = State {
            nodes: (1..=nodes).map(|n| (n, ())).collect(),
            ..State::default()
        };
        Self(Arc::new(Inner {
            state: Mutex::new(state),
            requests: watch::Sender::new(0),
            gate: watch::Sender::new(0),
            connections: Mutex::new(JoinSet::new()),
        }))
    }

    /// A topic whose partitions are spread over the nodes in turn.
    pub(crate) fn topic(self, name: &str, partitions: i32) -> Self {
        self.create(name, partitions);
        self
    }

    pub(crate) fn create(&self, name: &str, partitions: i32) {
        let mut state = self.0.state.lock();
        let nodes: Vec<NodeId> = state.nodes.keys().copied().collect();
        let partitions = (0..partitions)
            .map(|p| Partition {
                leader: nodes[p as usize % nodes.len()],
                ..Partition::default()
            })
            .collect();
        state.topics.insert(name.to_owned(), partitions);
    }

    pub(crate) async fn producer(&self, config: ProducerConfig) -> Producer {
        Producer::with_client(self.client().await, config).unwrap()
    }

    pub(crate) async fn client(&self) -> Client {
        let config = ClientConfig::new(format!("fake:{}", PORT_BASE + 1));
        Client::connect_with(config, Arc::new(self.clone()))
            .await
            .unwrap()
    }

    /// What happens to the next produce requests, one after the other.
    pub(crate) fn script(&self, script: impl IntoIterator<Item = Do>) {
        self.0.state.lock().script.extend(script);
    }

    /// What happens to every produce request that the script does not speak of.
    pub(crate) fn otherwise(&self, otherwise: Do) {
        self.0.state.lock().otherwise = Some(otherwise);
    }

    pub(crate) fn refuse_batches_above(&self, bytes: usize) {
        self.0.state.lock().message_bytes_max = Some(bytes);
    }

    pub(crate) fn move_leader(&self, topic: &str, partition: usize, leader: NodeId) {
        let mut state = self.0.state.lock();
        let partition = &mut state.topics.get_mut(topic).unwrap()[partition];
        partition.leader = leader;
        partition.leader_epoch += 1;
    }

    /// Produce requests are read, counted, and then stand still until [`open_gate`](Self::open_gate).
    pub(crate) fn close_gate(&self) {
        self.0.state.lock().gate_closed = true;
    }

    pub(crate) fn open_gate(&self) {
        self.0.state.lock().gate_closed = false;
        self.0.gate.send_modify(|n| *n += 1);
    }

    pub(crate) async fn wait_for_requests(&self, n: usize) {
        let mut requests = self.0.requests.subscribe();
        tokio::time::timeout(PATIENCE, requests.wait_for(|seen| *seen >= n))
            .await
            .expect("produce requests come")
            .unwrap();
    }

    /// The partitions of each produce request and how many records each had.
    pub(crate) fn produced(&self) -> Vec<Vec<(i32, usize)>> {
        self.0.state.lock().produced.clone()
    }

    pub(crate) fn log(&self, topic: &str, partition: usize) -> Vec<Stored> {
        self.0.state.lock().topics[topic][partition].log.clone()
    }

    /// The values in a partition's log, as text.
    pub(crate) fn values(&self, topic: &str, partition: usize) -> Vec<String> {
        self.log(topic, partition)
            .iter()
            .map(|s| String::from_utf8_lossy(&s.value).into_owned())
            .collect()
    }

    async fn serve(self, node: NodeId, mut stream: DuplexStream) {
        while let Ok(length) = stream.read_i32().await {
            let mut frame = BytesMut::zeroed(usize::try_from(length).unwrap());
            if stream.read_exact(&mut frame).await.is_err() {
                return;
            }
            let mut body = frame.freeze();
            let header = frame::decode_request_header(&mut body).unwrap();
            let Some(answer) = self.answer(node, &header, body).await else {
                return;
            };
            if stream.write_all(&answer).await.is_err() {
                return;
            }
        }
    }

    /// The answer as a frame; `None` ends the connection.
    async fn answer(&self, node: NodeId, header: &RequestHeader, body: Bytes) -> Option<BytesMut> {
        let version = header.request_api_version;
        let key = header.request_api_key;
        macro_rules! respond {
            ($response:expr) => {
                Some(
                    frame::encode_response(key, version, header.correlation_id, &$response)
                        .unwrap(),
                )
            };
        }
        match key {
            18 => respond!(api_versions()),
            3 => {
                let request = frame::decode_request::<MetadataRequest>(body, version).unwrap();
                respond!(self.metadata(&request))
            }
            22 => {
                let mut state = self.0.state.lock();
                state.next_producer_id += 1;
                respond!(
                    InitProducerIdResponse::default()
                        .with_producer_id(ProducerId(state.next_producer_id))
                        .with_producer_epoch(0)
                )
            }
            0 => {
                let request = frame::decode_request::<ProduceRequest>(body, version).unwrap();
                respond!(self.produce(node, request).await?)
            }
            other => panic!("the fake does not serve API {other}"),
        }
    }

    fn metadata(&self, request: &MetadataRequest) -> MetadataResponse {
        let state = self.0.state.lock();
        let brokers = state
            .nodes
            .keys()
            .map(|n| {
                MetadataResponseBroker::default()
                    .with_node_id(BrokerId(*n))
                    .with_host(StrBytes::from_static_str("fake"))
                    .with_port(i32::from(PORT_BASE) + n)
                    .with_rack(None)
            })
            .collect();
        let topics = request
            .topics
            .iter()
            .flatten()
            .filter_map(|t| t.name.clone())
            .map(|name| match state.topics.get(name.as_str()) {
                Some(partitions) => MetadataResponseTopic::default()
                    .with_name(Some(name))
                    .with_partitions(partition_rows(partitions)),
                None => MetadataResponseTopic::default()
                    .with_name(Some(name))
                    .with_error_code(ErrorCode::UnknownTopicOrPartition.code()),
            })
            .collect();
        MetadataResponse::default()
            .with_cluster_id(Some(StrBytes::from_static_str("fake")))
            .with_controller_id(BrokerId(1))
            .with_brokers(brokers)
            .with_topics(topics)
    }

    async fn produce(&self, node: NodeId, request: ProduceRequest) -> Option<ProduceResponse> {
        let mut gate = self.0.gate.subscribe();
        let action = {
            let mut state = self.0.state.lock();
            let seen = request
                .topic_data
                .iter()
                .flat_map(|t| &t.partition_data)
                .map(|p| (p.index, batch_of(p.records.clone()).record_count()))
                .collect();
            state.produced.push(seen);
            let otherwise = state.otherwise.unwrap_or(Do::Apply);
            state.script.pop_front().unwrap_or(otherwise)
        };
        self.0.requests.send_modify(|n| *n += 1);
        while self.0.state.lock().gate_closed {
            gate.changed().await.unwrap();
        }
        match action {
            Do::Apply => Some(self.apply(node, &request, None)),
            Do::Refuse(code) => Some(self.apply(node, &request, Some(code))),
            Do::ApplyThenDisconnect => {
                self.apply(node, &request, None);
                None
            }
            Do::ApplyAsRepeated => {
                self.apply(node, &request, None);
                let code = ErrorCode::DuplicateSequenceNumber;
                Some(self.apply(node, &request, Some(code)))
            }
            Do::MoveTo(leader) => Some(self.move_and_tell(leader, &request)),
            Do::Disconnect => None,
            Do::Silence => std::future::pending().await,
        }
    }

    fn move_and_tell(&self, leader: NodeId, request: &ProduceRequest) -> ProduceResponse {
        for topic in &request.topic_data {
            for data in &topic.partition_data {
                self.move_leader(&topic.name, data.index as usize, leader);
            }
        }
        let mut response = self.apply(leader, request, Some(ErrorCode::NotLeaderOrFollower));
        for topic in &mut response.responses {
            for row in &mut topic.partition_responses {
                let epoch = self.0.state.lock().topics[topic.name.as_str()][row.index as usize]
                    .leader_epoch;
                row.current_leader.leader_id = BrokerId(leader);
                row.current_leader.leader_epoch = epoch;
            }
        }
        response
    }

    fn apply(
        &self,
        node: NodeId,
        request: &ProduceRequest,
        refuse: Option<ErrorCode>,
    ) -> ProduceResponse {
        let mut state = self.0.state.lock();
        let bytes_max = state.message_bytes_max.unwrap_or(usize::MAX);
        let mut response = ProduceResponse::default();
        for topic in &request.topic_data {
            let mut rows = TopicProduceResponse::default().with_name(topic.name.clone());
            for data in &topic.partition_data {
                let batch = batch_of(data.records.clone());
                let written = match refuse {
                    Some(code) => Err(code),
                    None if batch.len() > bytes_max => Err(ErrorCode::MessageTooLarge),
                    None => state
                        .topics
                        .get_mut(topic.name.as_str())
                        .and_then(|t| t.get_mut(usize::try_from(data.index).unwrap()))
                        .ok_or(ErrorCode::UnknownTopicOrPartition)
                        .and_then(|p| p.write(node, &batch)),
                };
                let row = PartitionProduceResponse::default()
                    .with_index(data.index)
                    .with_log_append_time_ms(-1);
                rows.partition_responses.push(match written {
                    Ok(offset) => row.with_base_offset(offset),
                    Err(code) => row.with_base_offset(-1).with_error_code(code.code()),
                });
            }
            response.responses.push(rows);
        }
        response
    }
}

impl Partition {
    /// Kafka's check (`ProducerAppendInfo`): the epoch, then a repeated batch, then the sequence.
    fn write(&mut self, node: NodeId, batch: &RawBatch) -> Result<i64, ErrorCode> {
        if node != self.leader {
            return Err(ErrorCode::NotLeaderOrFollower);
        }
        let offset = self.log.len() as i64;
        let count = i32::try_from(batch.record_count()).unwrap();
        if batch.producer_id() >= 0 {
            let (sequence, epoch) = (batch.base_sequence(), batch.producer_epoch());
            let state = self.producers.entry(batch.producer_id()).or_default();
            if epoch < state.0 {
                return Err(ErrorCode::InvalidProducerEpoch);
            }
            if epoch > state.0 {
                if sequence != 0 {
                    return Err(ErrorCode::OutOfOrderSequenceNumber);
                }
                *state = (epoch, VecDeque::new());
            }
            let recent = &mut state.1;
            if let Some(known) = recent.iter().find(|b| (b.0, b.1) == (sequence, count)) {
                return Ok(known.2);
            }
            let expected = recent.back().map_or(sequence, |b| b.0 + b.1);
            if sequence != expected {
                return Err(ErrorCode::OutOfOrderSequenceNumber);
            }
            recent.push_back((sequence, count, offset));
            if recent.len() > 5 {
                recent.pop_front();
            }
        }
        batch.verify_crc().unwrap();
        for record in batch.records(1 << 26).unwrap() {
            let record = record.unwrap();
            self.log.push(Stored {
                epoch: batch.producer_epoch(),
                key: record.key.clone(),
                value: record.value.clone().unwrap_or_default(),
            });
        }
        Ok(offset)
    }
}

impl Connector for FakeCluster {
    fn dial<'a>(
        &'a self,
        _host: &'a str,
        port: u16,
        _limit: Duration,
    ) -> BoxFuture<'a, io::Result<Box<dyn Stream>>> {
        Box::pin(async move {
            let node = NodeId::from(port - PORT_BASE);
            let (ours, theirs) = tokio::io::duplex(1 << 20);
            self.0
                .connections
                .lock()
                .spawn(self.clone().serve(node, ours));
            Ok(Box::new(theirs) as Box<dyn Stream>)
        })
    }
}

fn batch_of(records: Option<Bytes>) -> RawBatch {
    let mut batches = RawBatches::strict(records.unwrap());
    let batch = batches.next().unwrap().unwrap();
    assert!(batches.next().is_none(), "one batch for each partition");
    batch
}

fn partition_rows(partitions: &[Partition]) -> Vec<MetadataResponsePartition> {
    (0..)
        .zip(partitions)
        .map(|(index, partition)| {
            MetadataResponsePartition::default()
                .with_partition_index(index)
                .with_leader_id(BrokerId(partition.leader))
                .with_leader_epoch(partition.leader_epoch)
                .with_replica_nodes(vec![BrokerId(partition.leader)])
                .with_isr_nodes(vec![BrokerId(partition.leader)])
        })
        .collect()
}

fn api_versions() -> ApiVersionsResponse {
    let served = [(0, 3, 12), (3, 0, 12), (18, 0, 4), (22, 0, 4)];
    ApiVersionsResponse::default().with_api_keys(
        served
            .into_iter()
            .map(|(key, min, max)| {
                ApiVersion::default()
                    .with_api_key(key)
                    .with_min_version(min)
                    .with_max_version(max)
            })
            .collect(),
    )
}
