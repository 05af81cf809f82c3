//! Members of this crate and of Apache Kafka's Java client in one group, on Apache Kafka.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ferrokafka_broker::apache::ApacheKafka;
use ferrokafka_client::{Client, ClientConfig, Lane, Route, TopicPartition};
use ferrokafka_consumer_group::{
    Assignor, CommitOffsets, Consumer, ConsumerConfig, NoListener, OffsetReset,
};
use ferrokafka_wire::ErrorCode;
use ferrokafka_wire::compression::Compression;
use ferrokafka_wire::messages::create_topics_request::CreatableTopic;
use ferrokafka_wire::messages::produce_request::{PartitionProduceData, TopicProduceData};
use ferrokafka_wire::messages::{CreateTopicsRequest, ProduceRequest, TopicName};
use ferrokafka_wire::protocol::StrBytes;
use ferrokafka_wire::record::BatchBuilder;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout};
use tokio::time::{Instant, timeout, timeout_at};

/// A JVM on a busy machine takes its time.
const PATIENCE: Duration = Duration::from_secs(60);
const PARTITIONS: i32 = 6;

async fn kafka() -> (ApacheKafka, Client) {
    let kafka = ApacheKafka::builder()
        .property("group.initial.rebalance.delay.ms", "0")
        .property("group.min.session.timeout.ms", "100")
        .start()
        .await
        .unwrap();
    let client = Client::connect(ClientConfig::new(kafka.bootstrap()))
        .await
        .unwrap();
    let deadline = Instant::now() + PATIENCE;
    let build = |_| {
        let topic = CreatableTopic::default()
            .with_name(name())
            .with_num_partitions(PARTITIONS)
            .with_replication_factor(1);
        CreateTopicsRequest::default()
            .with_topics(vec![topic])
            .with_timeout_ms(30_000)
    };
    client
        .call(
            Route::Controller,
            Lane::Control,
            deadline,
            build,
            |response| ErrorCode::from_code(response.topics[0].error_code),
        )
        .await
        .unwrap();
    (kafka, client)
}

fn name() -> TopicName {
    TopicName(StrBytes::from_static_str("t"))
}

/// Writes the values `ROUND-PARTITION-N` for n below `count` to every partition.
async fn produce(client: &Client, round: &str, count: usize) {
    let deadline = Instant::now() + PATIENCE;
    // Older records would be removed by the retention of seven days, which this broker applies at once.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let now = i64::try_from(now.as_millis()).unwrap();
    for partition in 0..PARTITIONS {
        let mut batch = BatchBuilder::new(1024);
        for n in 0..count {
            let value = format!("{round}-{partition}-{n}");
            batch
                .append(now, None, Some(value.as_bytes()), &[])
                .unwrap();
        }
        let records = batch.finish(Compression::None).unwrap().bytes();
        let tp = TopicPartition::new("t", partition);
        client
            .metadata(std::slice::from_ref(&tp.topic), deadline)
            .await
            .unwrap();
        let topic_id = client.cluster().topic("t").unwrap().id;
        let build = |version: i16| {
            let partition = PartitionProduceData::default()
                .with_index(partition)
                .with_records(Some(records.clone()));
            let mut topic = TopicProduceData::default().with_partition_data(vec![partition]);
            if version >= 13 {
                topic.topic_id = topic_id;
            } else {
                topic.name = name();
            }
            let mut message = ProduceRequest::default()
                .with_acks(-1)
                .with_timeout_ms(5000)
                .with_topic_data(vec![topic]);
            message.transactional_id = None;
            message
        };
        client
            .call(
                Route::Leader(&tp),
                Lane::Produce,
                deadline,
                build,
                |response| {
                    ErrorCode::from_code(response.responses[0].partition_responses[0].error_code)
                },
            )
            .await
            .unwrap();
    }
}

/// A Java member that prints the values it reads.
struct JavaMember {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl JavaMember {
    fn start(kafka: &ApacheKafka, assignor: &str) -> Self {
        let strategy =
            format!("partition.assignment.strategy=org.apache.kafka.clients.consumer.{assignor}");
        let mut child = kafka
            .tool("org.apache.kafka.tools.consumer.ConsoleConsumer")
            .args([
                "--bootstrap-server",
                &kafka.bootstrap(),
                "--topic",
                "t",
                "--group",
                "g",
            ])
            .args(["--from-beginning", "--command-property", &strategy])
            .args(["--command-property", "auto.commit.interval.ms=100"])
            .args(["--command-property", "heartbeat.interval.ms=200"])
            .args(["--command-property", "session.timeout.ms=6000"])
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// What it has printed by now.
    async fn printed(&mut self) -> Vec<String> {
        let mut values = Vec::new();
        while let Ok(Ok(Some(line))) =
            timeout(Duration::from_millis(20), self.lines.next_line()).await
        {
            values.push(line);
        }
        values
    }
}

fn consumer(client: &Client, assignor: Assignor) -> Consumer {
    let config = ConsumerConfig::new("g")
        .auto_offset_reset(OffsetReset::Earliest)
        .enable_auto_commit(false)
        .session_timeout(Duration::from_secs(6))
        .heartbeat_interval(Duration::from_millis(200))
        .assignors(vec![assignor]);
    let mut consumer = Consumer::with_client(client.clone(), config).unwrap();
    consumer.subscribe(["t"], NoListener).unwrap();
    consumer
}

/// How often each value was read, by whom ever.
type Seen = BTreeMap<String, usize>;

async fn step(consumer: &mut Consumer, java: Option<&mut JavaMember>, seen: &mut Seen) {
    let records = consumer.poll(Duration::from_millis(50)).await.unwrap();
    for record in &records {
        let value = String::from_utf8(record.value.clone().unwrap().to_vec()).unwrap();
        *seen.entry(value).or_default() += 1;
    }
    consumer.commit(CommitOffsets::Consumed).await.unwrap();
    if let Some(java) = java {
        for value in java.printed().await {
            *seen.entry(value).or_default() += 1;
        }
    }
}

async fn share_a_group(assignor: Assignor, java_assignor: &str, java_first: bool) {
    let (kafka, client) = kafka().await;
    let mut seen = Seen::new();
    let mut java = None;
    if java_first {
        let mut member = JavaMember::start(&kafka, java_assignor);
        produce(&client, "first", 1).await;
        let deadline = Instant::now() + PATIENCE;
        // It is the only member, and so the leader, once it reads.
        while seen.len() < PARTITIONS as usize {
            let line = timeout_at(deadline, member.lines.next_line())
                .await
                .unwrap();
            *seen.entry(line.unwrap().unwrap()).or_default() += 1;
        }
        java = Some(member);
    }
    let mut ours = consumer(&client, assignor);
    let deadline = Instant::now() + PATIENCE;
    let half = PARTITIONS as usize / 2;
    if !java_first {
        while ours.assignment().len() < PARTITIONS as usize {
            assert!(Instant::now() < deadline, "never got all partitions");
            step(&mut ours, None, &mut seen).await;
        }
        java = Some(JavaMember::start(&kafka, java_assignor));
    }
    while ours.assignment().len() != half {
        assert!(
            Instant::now() < deadline,
            "never shared: {:?}",
            ours.assignment()
        );
        step(&mut ours, java.as_mut(), &mut seen).await;
    }
    seen.clear();
    produce(&client, "second", 10).await;
    let second = |seen: &Seen| seen.keys().filter(|v| v.starts_with("second")).count();
    while second(&seen) < 10 * PARTITIONS as usize {
        assert!(
            Instant::now() < deadline,
            "records missing: {}",
            second(&seen)
        );
        step(&mut ours, java.as_mut(), &mut seen).await;
    }
    let twice: Vec<_> = seen.iter().filter(|(_, times)| **times > 1).collect();
    assert!(twice.is_empty(), "{twice:?}");
    // The Java member is told to stop, and leaves.
    let mut java = java.unwrap();
    java.child.kill().await.unwrap();
    let deadline = Instant::now() + PATIENCE;
    while ours.assignment().len() != PARTITIONS as usize {
        assert!(
            Instant::now() < deadline,
            "never took over: {:?}",
            ours.assignment()
        );
        step(&mut ours, None, &mut seen).await;
    }
    ours.close(Duration::from_secs(5)).await.unwrap();
    kafka.stop().await;
}

#[tokio::test]
async fn java_joins_a_cooperative_group_that_we_lead() {
    share_a_group(
        Assignor::CooperativeSticky,
        "CooperativeStickyAssignor",
        false,
    )
    .await;
}

#[tokio::test]
async fn we_join_a_cooperative_group_that_java_leads() {
    share_a_group(
        Assignor::CooperativeSticky,
        "CooperativeStickyAssignor",
        true,
    )
    .await;
}

#[tokio::test]
async fn java_joins_an_eager_group_that_we_lead() {
    share_a_group(Assignor::Range, "RangeAssignor", false).await;
}

#[tokio::test]
async fn we_join_an_eager_group_that_java_leads() {
    share_a_group(Assignor::RoundRobin, "RoundRobinAssignor", true).await;
}
