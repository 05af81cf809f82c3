//! Create, produce, consume by group, describe: the whole path on one node and on three.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ferrokafka_admin::{
    Admin, ConfigResource, ConfigResourceKind, CreateOptions, NewPartitions, NewTopic, OffsetSpec,
};
use ferrokafka_client::{ClientConfig, ErrorKind, TopicPartition};
use ferrokafka_consumer_group::{CommitOffsets, Consumer, ConsumerConfig, NoListener, OffsetReset};
use ferrokafka_wire::ErrorCode;

use crate::kafka::{CODECS, create, in_time, start};
use crate::records::{numbered, poll_until, producer, write};

const PARTITIONS: i32 = 6;
const RECORDS: usize = 300;

#[tokio::test(flavor = "multi_thread")]
async fn the_whole_path_on_one_node() {
    in_time(whole_path(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_whole_path_on_three_nodes() {
    in_time(whole_path(3)).await;
}

async fn whole_path(nodes: usize) {
    let kafka = start(nodes).await;
    let bootstrap = kafka.bootstrap();
    let admin = Admin::connect(ClientConfig::new(&bootstrap))
        .await
        .expect("admin connects");
    let replicas = if nodes == 1 { 1 } else { 3 };
    let topic = NewTopic::new("orders", PARTITIONS, replicas)
        .config("retention.ms", "-1")
        .config("max.message.bytes", "2000000");
    create(&bootstrap, topic.clone()).await;

    let again = admin
        .create_topics(&[topic], CreateOptions::default())
        .await
        .expect("a controller answers");
    let refused = again[0].1.as_ref().expect_err("a topic is created once");
    assert_eq!(
        refused.kind(),
        ErrorKind::Broker(ErrorCode::TopicAlreadyExists),
        "{refused}"
    );
    let described = admin
        .describe_topics(&["orders"])
        .await
        .expect("a broker answers");
    let partitions = &described[0]
        .1
        .as_ref()
        .expect("the topic is there")
        .partitions;
    assert!(
        partitions
            .iter()
            .all(|partition| partition.replicas.len() == usize::from(replicas.unsigned_abs()))
    );
    let leaders: BTreeSet<_> = partitions
        .iter()
        .map(|partition| partition.leader)
        .collect();
    assert_eq!(leaders.len(), nodes, "leaders are spread: {leaders:?}");

    for codec in CODECS {
        let producer = producer(&bootstrap, codec).await;
        let written = write(
            &producer,
            (0..RECORDS).map(|number| numbered("orders", codec, number)),
        )
        .await;
        assert_eq!(written.len(), RECORDS);
        producer
            .close(Duration::from_secs(10))
            .await
            .expect("the producer closes");
    }
    group_reads_all(&bootstrap, &admin, CODECS.len() * RECORDS).await;
    offsets_and_configs(&admin).await;

    let deleted = admin
        .delete_topics(&["orders"])
        .await
        .expect("a controller answers");
    assert!(deleted[0].1.is_ok(), "{deleted:?}");
    kafka.stop().await;
}

/// Two members share the group, read everything in order, commit, and are seen by admin.
async fn group_reads_all(bootstrap: &str, admin: &Admin, total: usize) {
    let config = ConsumerConfig::new("billing")
        .auto_offset_reset(OffsetReset::Earliest)
        .enable_auto_commit(false);
    let mut members = Vec::new();
    for _ in 0..2 {
        let mut member = Consumer::connect(ClientConfig::new(bootstrap), config.clone())
            .await
            .expect("a member connects");
        member
            .subscribe(["orders"], NoListener)
            .expect("a member subscribes");
        members.push(member);
    }
    let mut second = members.pop().expect("two members");
    let mut first = members.pop().expect("two members");
    let mut seen: BTreeMap<(i32, i64), String> = BTreeMap::new();
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    // Before the second member came, the first may have read what the second must read again: nothing was committed.
    while !(shared_out(&first, &second) && at_the_end(&[&first, &second], total)) {
        assert!(
            tokio::time::Instant::now() < deadline,
            "{} of {total}",
            seen.len()
        );
        let wait = Duration::from_millis(200);
        let (some, others) = tokio::join!(first.poll(wait), second.poll(wait));
        for record in some
            .expect("first")
            .into_iter()
            .chain(others.expect("second"))
        {
            let value =
                String::from_utf8_lossy(record.value.as_deref().expect("a value")).into_owned();
            assert_eq!(
                record.headers().iter().count(),
                2,
                "both headers of one name are there"
            );
            seen.insert((record.partition, record.offset), value);
        }
    }
    assert_eq!(
        seen.values().collect::<BTreeSet<_>>().len(),
        total,
        "every record once"
    );
    first
        .commit(CommitOffsets::Consumed)
        .await
        .expect("first commits");
    second
        .commit(CommitOffsets::Consumed)
        .await
        .expect("second commits");

    let groups = admin.list_groups().await.expect("every broker answers");
    assert!(
        groups.iter().any(|group| group.group_id == "billing"),
        "{groups:?}"
    );
    let described = admin
        .describe_groups(&["billing"])
        .await
        .expect("a coordinator answers");
    let group = described[0].1.as_ref().expect("the group is there");
    assert_eq!(
        (group.state.as_str(), group.members.len()),
        ("Stable", 2),
        "{group:?}"
    );
    let assigned: usize = group
        .members
        .iter()
        .map(|member| member.assignment.as_ref().map_or(0, Vec::len))
        .sum();
    assert_eq!(assigned, PARTITIONS as usize, "{group:?}");
    for member in [first, second] {
        member
            .close(Duration::from_secs(10))
            .await
            .expect("a member leaves");
    }
    let committed = admin
        .list_group_offsets("billing")
        .await
        .expect("a coordinator answers");
    let sum: i64 = committed
        .iter()
        .map(|(_, commit)| commit.as_ref().expect("a commit").offset)
        .sum();
    assert_eq!(sum, total as i64);

    // The next member goes on where the group stopped.
    let producer = producer(bootstrap, "none").await;
    write(&producer, [numbered("orders", "late", 0)]).await;
    let mut next = Consumer::connect(ClientConfig::new(bootstrap), config)
        .await
        .expect("a member connects");
    next.subscribe(["orders"], NoListener)
        .expect("a member subscribes");
    let late = poll_until(&mut next, 1).await;
    assert_eq!(
        (late.len(), late[0].value.as_deref()),
        (1, Some(b"late-value-0".as_slice()))
    );
    next.close(Duration::from_secs(10))
        .await
        .expect("a member leaves");
}

fn shared_out(first: &Consumer, second: &Consumer) -> bool {
    let (some, others) = (first.assignment().len(), second.assignment().len());
    some > 0 && others > 0 && some + others == PARTITIONS as usize
}

/// Whether the members' positions add up to everything there is.
fn at_the_end(members: &[&Consumer], total: usize) -> bool {
    let positions = members.iter().flat_map(|member| {
        member
            .assignment()
            .into_iter()
            .map(|partition| member.position(&partition).unwrap_or_default())
    });
    positions.sum::<i64>() == total as i64
}

async fn offsets_and_configs(admin: &Admin) {
    let at = |spec| (TopicPartition::new("orders", 0), spec);
    let found = admin
        .list_offsets(&[
            at(OffsetSpec::Earliest),
            at(OffsetSpec::Latest),
            at(OffsetSpec::Timestamp(1_700_000_000_000)),
        ])
        .await
        .expect("leaders answer");
    let offsets: Vec<_> = found
        .iter()
        .map(|(_, found)| found.as_ref().expect("an offset").offset)
        .collect();
    assert_eq!((offsets[0], offsets[2]), (Some(0), Some(0)));
    assert!(offsets[1] > Some(0), "{offsets:?}");

    let resource = ConfigResource {
        kind: ConfigResourceKind::Topic,
        name: "orders".to_owned(),
    };
    let configs = admin
        .describe_configs(&[resource])
        .await
        .expect("a broker answers");
    let entries = configs[0].1.as_ref().expect("the topic's configs");
    let largest = entries
        .iter()
        .find(|entry| entry.name == "max.message.bytes")
        .expect("max.message.bytes");
    assert_eq!(largest.value.as_deref(), Some("2000000"));

    let more = admin
        .create_partitions(
            &[NewPartitions::new("orders", PARTITIONS + 2)],
            CreateOptions::default(),
        )
        .await;
    assert!(more.expect("a controller answers")[0].1.is_ok());
    let cluster = admin.describe_cluster().await.expect("a broker answers");
    assert!(cluster.controller.is_some(), "{cluster:?}");
}
