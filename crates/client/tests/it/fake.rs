//! A broker in memory whose every answer the test decides.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use ferrokafka_client::{Client, ClientConfig, Connector, Error, Stream};
use ferrokafka_wire::frame;
use ferrokafka_wire::messages::api_versions_response::ApiVersion;
use ferrokafka_wire::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use ferrokafka_wire::messages::{
    ApiKey, ApiVersionsRequest, ApiVersionsResponse, BrokerId, FindCoordinatorRequest,
    FindCoordinatorResponse, MetadataRequest, MetadataResponse, TopicName,
};
use ferrokafka_wire::protocol::{Encodable, HeaderVersion, Message, Request, StrBytes};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::task::JoinSet;
use tokio::time::Instant;

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    /// Which connection, counted from 0 over all of them.
    pub(crate) connection: usize,
    /// The host that was dialled.
    pub(crate) host: String,
    pub(crate) at: Instant,
    pub(crate) api_key: i16,
    pub(crate) version: i16,
    pub(crate) correlation_id: i32,
    pub(crate) body: Bytes,
}

impl Seen {
    pub(crate) fn is<R: Request>(&self) -> bool {
        self.api_key == R::KEY
    }

    pub(crate) fn decode<R: Request>(&self) -> R {
        frame::decode_request::<R>(self.body.clone(), self.version).unwrap()
    }

    /// The frame that answers this request.
    pub(crate) fn answer<M: Message + Encodable + HeaderVersion>(&self, response: &M) -> Act {
        let frame =
            frame::encode_response(self.api_key, self.version, self.correlation_id, response);
        Act::Send(frame.unwrap().freeze())
    }
}

/// What the broker does about a request.
#[derive(Debug, Clone)]
pub(crate) enum Act {
    /// Sends these bytes.
    Send(Bytes),
    /// Sends these bytes after a while; later requests wait behind.
    SendAfter(Duration, Bytes),
    /// Sends these bytes and closes.
    SendThenClose(Bytes),
    /// Nothing, and reads on.
    Ignore,
    /// Closes.
    Close,
    /// What the fake does unless told otherwise.
    Usual,
}

impl Act {
    pub(crate) fn bytes(self) -> Bytes {
        match self {
            Self::Send(bytes) | Self::SendAfter(_, bytes) | Self::SendThenClose(bytes) => bytes,
            Self::Ignore | Self::Close | Self::Usual => Bytes::new(),
        }
    }

    pub(crate) fn after(self, wait: Duration) -> Self {
        Self::SendAfter(wait, self.bytes())
    }
}

type Script = Arc<dyn Fn(&Seen) -> Act + Send + Sync>;

/// The network: which hosts can be dialled, what the brokers behind them do.
#[derive(Clone)]
pub(crate) struct Fake(Arc<State>);

struct State {
    script: Mutex<Script>,
    /// The brokers metadata names.
    brokers: Mutex<Vec<(i32, String)>>,
    topics: Mutex<HashMap<String, i32>>,
    /// Hosts that refuse connections, or never answer a dial.
    refusing: Mutex<Vec<String>>,
    hanging: Mutex<Vec<String>>,
    /// How long a dial takes.
    dial_time: Mutex<Duration>,
    dials: Mutex<Vec<String>>,
    seen: Mutex<Vec<Seen>>,
    closed: Mutex<usize>,
    servers: Mutex<JoinSet<()>>,
}

pub(crate) const PORT: u16 = 9092;

impl Fake {
    /// Nodes 1 to `nodes` at hosts `b1`, `b2`, …, found through `boot`.
    pub(crate) fn new(nodes: i32) -> Self {
        Self(Arc::new(State {
            script: Mutex::new(Arc::new(|_| Act::Usual)),
            brokers: Mutex::new((1..=nodes).map(|node| (node, format!("b{node}"))).collect()),
            topics: Mutex::default(),
            refusing: Mutex::default(),
            hanging: Mutex::default(),
            dial_time: Mutex::default(),
            dials: Mutex::default(),
            seen: Mutex::default(),
            closed: Mutex::default(),
            servers: Mutex::default(),
        }))
    }

    pub(crate) fn script(&self, script: impl Fn(&Seen) -> Act + Send + Sync + 'static) {
        *self.0.script.lock() = Arc::new(script);
    }

    pub(crate) fn topic(&self, name: &str, partitions: i32) {
        self.0.topics.lock().insert(name.to_owned(), partitions);
    }

    pub(crate) fn brokers(&self, brokers: &[(i32, &str)]) {
        let brokers = brokers
            .iter()
            .map(|(node, host)| (*node, (*host).to_owned()));
        *self.0.brokers.lock() = brokers.collect();
    }

    pub(crate) fn refuse(&self, hosts: &[&str]) {
        *self.0.refusing.lock() = hosts.iter().map(|host| (*host).to_owned()).collect();
    }

    pub(crate) fn hang(&self, hosts: &[&str]) {
        *self.0.hanging.lock() = hosts.iter().map(|host| (*host).to_owned()).collect();
    }

    pub(crate) fn dial_time(&self, time: Duration) {
        *self.0.dial_time.lock() = time;
    }

    /// The hosts dialled so far.
    pub(crate) fn dials(&self) -> Vec<String> {
        self.0.dials.lock().clone()
    }

    /// How many connections the client has closed.
    pub(crate) fn closed(&self) -> usize {
        *self.0.closed.lock()
    }

    /// The requests of an API so far.
    pub(crate) fn seen<R: Request>(&self) -> Vec<Seen> {
        let seen = self.0.seen.lock();
        seen.iter().filter(|seen| seen.is::<R>()).cloned().collect()
    }

    pub(crate) fn config(&self) -> ClientConfig {
        ClientConfig::new(format!("boot:{PORT}")).client_id("fake-it")
    }

    pub(crate) async fn connect(&self) -> Client {
        self.connect_with(self.config()).await.unwrap()
    }

    pub(crate) async fn connect_with(&self, config: ClientConfig) -> Result<Client, Error> {
        Client::connect_with(config, Arc::new(self.clone())).await
    }

    /// What a broker that is well does.
    pub(crate) fn usual(&self, seen: &Seen) -> Act {
        match ApiKey::try_from(seen.api_key).unwrap() {
            ApiKey::ApiVersions => seen.answer(&self.versions()),
            ApiKey::Metadata => seen.answer(&self.metadata(&seen.decode())),
            ApiKey::FindCoordinator => {
                let request = seen.decode::<FindCoordinatorRequest>();
                let keys = request.coordinator_keys.into_iter();
                seen.answer(&self.coordinators(keys.collect(), 1))
            }
            other => panic!("nothing is scripted for {other:?}"),
        }
    }

    pub(crate) fn versions(&self) -> ApiVersionsResponse {
        let api = |key: ApiKey, max| {
            ApiVersion::default()
                .with_api_key(key as i16)
                .with_max_version(max)
        };
        ApiVersionsResponse::default().with_api_keys(vec![
            api(ApiKey::ApiVersions, 4),
            api(ApiKey::Metadata, MetadataRequest::VERSIONS.max),
            api(
                ApiKey::FindCoordinator,
                FindCoordinatorRequest::VERSIONS.max,
            ),
            api(ApiKey::Heartbeat, 4),
            api(ApiKey::Produce, 12),
            api(ApiKey::JoinGroup, 9),
        ])
    }

    pub(crate) fn metadata(&self, request: &MetadataRequest) -> MetadataResponse {
        let brokers: Vec<_> = self
            .0
            .brokers
            .lock()
            .iter()
            .map(|(node, host)| {
                MetadataResponseBroker::default()
                    .with_node_id(BrokerId(*node))
                    .with_host(StrBytes::from_string(host.clone()))
                    .with_port(i32::from(PORT))
                    .with_rack(None)
            })
            .collect();
        let topics = self.0.topics.lock();
        let names: Vec<String> = match &request.topics {
            Some(wanted) => wanted
                .iter()
                .map(|topic| topic.name.as_ref().unwrap().to_string())
                .collect(),
            None => topics.keys().cloned().collect(),
        };
        let leaders: Vec<BrokerId> = brokers.iter().map(|broker| broker.node_id).collect();
        let topics = names.into_iter().map(|name| {
            let partitions = topics.get(&name).copied();
            let code = if partitions.is_some() { 0 } else { 3 };
            let partitions = (0..partitions.unwrap_or(0)).map(|partition| {
                let leader = leaders[usize::try_from(partition).unwrap() % leaders.len()];
                MetadataResponsePartition::default()
                    .with_partition_index(partition)
                    .with_leader_id(leader)
                    .with_leader_epoch(0)
            });
            MetadataResponseTopic::default()
                .with_error_code(code)
                .with_name(Some(TopicName(StrBytes::from_string(name))))
                .with_partitions(partitions.collect())
        });
        MetadataResponse::default()
            .with_cluster_id(Some(StrBytes::from_static_str("fake")))
            .with_controller_id(leaders.first().copied().unwrap_or(BrokerId(-1)))
            .with_topics(topics.collect())
            .with_brokers(brokers)
    }

    pub(crate) fn coordinators(&self, keys: Vec<StrBytes>, node: i32) -> FindCoordinatorResponse {
        use ferrokafka_wire::messages::find_coordinator_response::Coordinator;
        let brokers = self.0.brokers.lock();
        let (_, host) = brokers.iter().find(|(id, _)| *id == node).unwrap();
        let coordinators = keys.into_iter().map(|key| {
            Coordinator::default()
                .with_key(key)
                .with_node_id(BrokerId(node))
                .with_host(StrBytes::from_string(host.clone()))
                .with_port(i32::from(PORT))
        });
        FindCoordinatorResponse::default().with_coordinators(coordinators.collect())
    }

    async fn serve(self, connection: usize, host: String, mut stream: DuplexStream) {
        while let Some(seen) = self.read(connection, &host, &mut stream).await {
            let script = Arc::clone(&self.0.script.lock());
            let act = match script(&seen) {
                Act::Usual => self.usual(&seen),
                act => act,
            };
            let sent = match act {
                Act::Send(bytes) => stream.write_all(&bytes).await,
                Act::SendAfter(wait, bytes) => {
                    tokio::time::sleep(wait).await;
                    stream.write_all(&bytes).await
                }
                Act::SendThenClose(bytes) => {
                    let _ = stream.write_all(&bytes).await;
                    return;
                }
                Act::Ignore | Act::Usual => Ok(()),
                Act::Close => return,
            };
            if sent.is_err() {
                break;
            }
        }
        *self.0.closed.lock() += 1;
    }

    async fn read(&self, connection: usize, host: &str, stream: &mut DuplexStream) -> Option<Seen> {
        let len = stream.read_u32().await.ok()?;
        let mut frame = BytesMut::zeroed(usize::try_from(len).unwrap());
        stream.read_exact(&mut frame).await.ok()?;
        let mut frame = frame.freeze();
        let header = frame::decode_request_header(&mut frame).unwrap();
        assert_eq!(header.client_id.as_deref(), Some("fake-it"));
        let seen = Seen {
            connection,
            host: host.to_owned(),
            at: Instant::now(),
            api_key: header.request_api_key,
            version: header.request_api_version,
            correlation_id: header.correlation_id,
            body: frame.copy_to_bytes(frame.remaining()),
        };
        self.0.seen.lock().push(seen.clone());
        Some(seen)
    }
}

impl Connector for Fake {
    fn dial<'a>(
        &'a self,
        host: &'a str,
        port: u16,
        _timeout: Duration,
    ) -> BoxFuture<'a, io::Result<Box<dyn Stream>>> {
        async move {
            assert_eq!(port, PORT);
            let connection = {
                let mut dials = self.0.dials.lock();
                dials.push(host.to_owned());
                dials.len() - 1
            };
            if self.0.hanging.lock().iter().any(|hanging| hanging == host) {
                std::future::pending::<()>().await;
            }
            let time = *self.0.dial_time.lock();
            tokio::time::sleep(time).await;
            if self
                .0
                .refusing
                .lock()
                .iter()
                .any(|refusing| refusing == host)
            {
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            let (near, far) = tokio::io::duplex(64 * 1024);
            let server = self.clone().serve(connection, host.to_owned(), far);
            self.0.servers.lock().spawn(server);
            Ok(Box::new(near) as Box<dyn Stream>)
        }
        .boxed()
    }
}

/// The answer to ApiVersions of a broker that does not know the version asked for.
pub(crate) fn unsupported(seen: &Seen, known: Option<i16>) -> Act {
    let apis = known.map(|max| {
        ApiVersion::default()
            .with_api_key(ApiVersionsRequest::KEY)
            .with_max_version(max)
    });
    let response = ApiVersionsResponse::default()
        .with_error_code(35)
        .with_api_keys(apis.into_iter().collect());
    let frame = frame::encode_response(seen.api_key, 0, seen.correlation_id, &response);
    Act::Send(frame.unwrap().freeze())
}
