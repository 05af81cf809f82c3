//! A broker, records in it, and consumers that are driven by hand.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ferrokafka_broker::TestBroker;
use ferrokafka_client::{Client, ClientConfig, Lane, TopicPartition};
use ferrokafka_consumer_group::{
    BoxFuture, Consumer, ConsumerConfig, ConsumerRecord, GroupEventKind, GroupEvents, OffsetReset,
    RebalanceContext, RebalanceListener,
};
use ferrokafka_wire::compression::Compression;
use ferrokafka_wire::messages::produce_request::{PartitionProduceData, TopicProduceData};
use ferrokafka_wire::messages::{ProduceRequest, TopicName};
use ferrokafka_wire::protocol::StrBytes;
use ferrokafka_wire::record::BatchBuilder;
use parking_lot::Mutex;
use tokio::time::{Instant, timeout_at};

/// Longest any test waits for what must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) async fn broker(topic: &str, partitions: i32) -> TestBroker {
    brokers(1, topic, partitions).await
}

pub(crate) async fn brokers(nodes: i32, topic: &str, partitions: i32) -> TestBroker {
    TestBroker::builder()
        .nodes(nodes)
        .topic(topic, partitions)
        .config("group.initial.rebalance.delay.ms", "0")
        .config("group.min.session.timeout.ms", "100")
        .seed(42)
        .start()
        .await
        .unwrap()
}

pub(crate) async fn connect(broker: &TestBroker) -> Client {
    let config = ClientConfig::new(broker.bootstrap())
        .retry_backoff(Duration::from_millis(20), Duration::from_millis(200));
    Client::connect(config).await.unwrap()
}

/// Settings with short waits; everything else as users have it.
pub(crate) fn config(group: &str) -> ConsumerConfig {
    ConsumerConfig::new(group)
        .auto_offset_reset(OffsetReset::Earliest)
        .enable_auto_commit(false)
        .session_timeout(Duration::from_millis(1500))
        .heartbeat_interval(Duration::from_millis(100))
        .max_poll_interval(Duration::from_secs(10))
        .fetch_max_wait(Duration::from_millis(100))
}

pub(crate) fn tp(topic: &str, partition: i32) -> TopicPartition {
    TopicPartition::new(topic, partition)
}

/// Writes `count` records with the values `0`, `1`, … to a partition.
pub(crate) async fn produce(client: &Client, tp: &TopicPartition, count: usize) {
    let deadline = Instant::now() + PATIENCE;
    client
        .metadata(std::slice::from_ref(&tp.topic), deadline)
        .await
        .unwrap();
    let mut batch = BatchBuilder::new(1024);
    for n in 0..count {
        batch
            .append(1_700_000_000_000, None, Some(n.to_string().as_bytes()), &[])
            .unwrap();
    }
    let records = batch.finish(Compression::None).unwrap().bytes();
    let topic_id = client.cluster().topic(&tp.topic).unwrap().id;
    let mut cluster = client.watch_cluster();
    loop {
        cluster.mark_unchanged();
        let (node, _) = client.cluster().leader(tp).unwrap();
        let build = |version: i16| {
            let partition = PartitionProduceData::default()
                .with_index(tp.partition)
                .with_records(Some(records.clone()));
            let mut topic = TopicProduceData::default().with_partition_data(vec![partition]);
            if version >= 13 {
                topic.topic_id = topic_id;
            } else {
                topic.name = TopicName(StrBytes::from_string(tp.topic.to_string()));
            }
            let mut message = ProduceRequest::default()
                .with_acks(-1)
                .with_timeout_ms(5000)
                .with_topic_data(vec![topic]);
            message.transactional_id = None;
            message
        };
        let (_, response) = client
            .request(node, Lane::Produce, deadline, build)
            .await
            .unwrap();
        match response.responses[0].partition_responses[0].error_code {
            0 => return,
            // The leader moved.
            6 => {
                client.refresh();
                timeout_at(deadline, cluster.changed())
                    .await
                    .unwrap()
                    .unwrap();
            }
            code => panic!("produce: {code}"),
        }
    }
}

pub(crate) async fn produce_all(client: &Client, topic: &str, partitions: i32, count: usize) {
    for partition in 0..partitions {
        produce(client, &tp(topic, partition), count).await;
    }
}

/// What a listener was told, in order.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Told {
    Assigned(Vec<TopicPartition>),
    Revoked(Vec<TopicPartition>),
    Lost(Vec<TopicPartition>),
}

/// A listener that notes what it is told and, if asked to, commits in `revoked`.
#[derive(Clone, Default)]
pub(crate) struct Notes {
    told: Arc<Mutex<Vec<Told>>>,
    pub(crate) commit_in_revoked: bool,
}

impl Notes {
    pub(crate) fn committing() -> Self {
        Self {
            commit_in_revoked: true,
            ..Self::default()
        }
    }

    pub(crate) fn told(&self) -> Vec<Told> {
        self.told.lock().clone()
    }

    pub(crate) fn all_revoked(&self) -> BTreeSet<TopicPartition> {
        self.told()
            .into_iter()
            .flat_map(|told| {
                if let Told::Revoked(list) = told {
                    list
                } else {
                    vec![]
                }
            })
            .collect()
    }

    pub(crate) fn all_lost(&self) -> BTreeSet<TopicPartition> {
        self.told()
            .into_iter()
            .flat_map(|told| {
                if let Told::Lost(list) = told {
                    list
                } else {
                    vec![]
                }
            })
            .collect()
    }
}

impl RebalanceListener for Notes {
    fn assigned<'a>(
        &'a mut self,
        _ctx: &'a mut RebalanceContext<'_>,
        partitions: &'a [TopicPartition],
    ) -> BoxFuture<'a, ()> {
        self.told.lock().push(Told::Assigned(partitions.to_vec()));
        Box::pin(async {})
    }

    fn revoked<'a>(
        &'a mut self,
        ctx: &'a mut RebalanceContext<'_>,
        partitions: &'a [TopicPartition],
    ) -> BoxFuture<'a, ()> {
        self.told.lock().push(Told::Revoked(partitions.to_vec()));
        Box::pin(async {
            if self.commit_in_revoked {
                ctx.commit(ferrokafka_consumer_group::CommitOffsets::Consumed)
                    .await
                    .unwrap();
            }
        })
    }

    fn lost<'a>(
        &'a mut self,
        _ctx: &'a mut RebalanceContext<'_>,
        partitions: &'a [TopicPartition],
    ) -> BoxFuture<'a, ()> {
        self.told.lock().push(Told::Lost(partitions.to_vec()));
        Box::pin(async {})
    }
}

/// A consumer, what it read, and what happened to it.
pub(crate) struct Reader {
    pub(crate) consumer: Consumer,
    pub(crate) notes: Notes,
    pub(crate) events: GroupEvents,
    pub(crate) seen: BTreeMap<TopicPartition, Vec<i64>>,
}

impl Reader {
    pub(crate) async fn join(broker: &TestBroker, config: ConsumerConfig, topic: &str) -> Self {
        Self::join_with(broker, config, topic, Notes::default()).await
    }

    pub(crate) async fn join_with(
        broker: &TestBroker,
        config: ConsumerConfig,
        topic: &str,
        notes: Notes,
    ) -> Self {
        let mut consumer = Consumer::with_client(connect(broker).await, config).unwrap();
        let events = consumer.events();
        consumer.subscribe([topic], notes.clone()).unwrap();
        Self {
            consumer,
            notes,
            events,
            seen: BTreeMap::new(),
        }
    }

    pub(crate) async fn poll(&mut self) -> Vec<ConsumerRecord> {
        let records = self.consumer.poll(Duration::from_millis(50)).await.unwrap();
        for record in &records {
            self.seen
                .entry(record.topic_partition())
                .or_default()
                .push(record.offset);
        }
        records.into_iter().collect()
    }

    /// Polls until `done`.
    pub(crate) async fn until(&mut self, what: &str, mut done: impl FnMut(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !done(self) {
            assert!(Instant::now() < deadline, "waited in vain for {what}");
            self.poll().await;
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.seen.values().map(Vec::len).sum()
    }

    pub(crate) fn events(&mut self) -> Vec<GroupEventKind> {
        std::iter::from_fn(|| self.events.try_next())
            .map(|event| event.kind)
            .collect()
    }
}

/// Polls all readers in turn until `done`.
pub(crate) async fn drive(
    what: &str,
    readers: &mut [&mut Reader],
    mut done: impl FnMut(&[&mut Reader]) -> bool,
) {
    let deadline = Instant::now() + PATIENCE;
    while !done(readers) {
        let owned: Vec<_> = readers
            .iter()
            .map(|r| r.consumer.assignment().len())
            .collect();
        assert!(
            Instant::now() < deadline,
            "waited in vain for {what}; partitions: {owned:?}"
        );
        for reader in readers.iter_mut() {
            reader.poll().await;
        }
    }
}

/// Drives until each reader owns that many partitions.
pub(crate) async fn drive_to(readers: &mut [&mut Reader], counts: &[usize]) {
    let what = format!("an assignment of {counts:?}");
    drive(&what, readers, |readers| {
        readers
            .iter()
            .zip(counts)
            .all(|(r, count)| r.consumer.assignment().len() == *count)
    })
    .await;
}
