//! The Java client on the other side, in every codec: its console tools write what we read, and read what we wrote.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ferrokafka_admin::NewTopic;
use ferrokafka_broker::apache::ApacheKafka;

use crate::kafka::{CODECS, DUMP, create, dump, in_time, run, start};
use crate::records::{numbered, producer, read, text, write};

const PARTITIONS: i32 = 3;
const RECORDS: usize = 200;

#[tokio::test(flavor = "multi_thread")]
async fn what_java_writes_we_read_in_every_codec() {
    in_time(async {
        let kafka = start(1).await;
        for codec in CODECS {
            java_writes_we_read(&kafka, codec).await;
        }
        kafka.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_we_write_java_reads_in_every_codec() {
    in_time(async {
        let kafka = start(1).await;
        for codec in CODECS {
            we_write_java_reads(&kafka, codec).await;
        }
        kafka.stop().await;
    })
    .await;
}

async fn java_writes_we_read(kafka: &ApacheKafka, codec: &str) {
    let (bootstrap, topic) = (kafka.bootstrap(), format!("java-{codec}"));
    create(
        &bootstrap,
        NewTopic::new(&topic, PARTITIONS, 1).config("retention.ms", "-1"),
    )
    .await;
    let mut tool = kafka.tool("org.apache.kafka.tools.ConsoleProducer");
    tool.args([
        "--bootstrap-server",
        &bootstrap,
        "--topic",
        &topic,
        "--compression-codec",
        codec,
    ]);
    for property in [
        "parse.key=true",
        "key.separator=:",
        "parse.headers=true",
        "headers.delimiter=;",
        "null.marker=NULL",
    ] {
        tool.args(["--reader-property", property]);
    }
    let mut lines: String = (0..RECORDS)
        .map(|number| format!("trace:first,trace:second;key-{number}:{codec}-value-{number}\n"))
        .collect();
    lines += "trace:first,trace:second;NULL:without a key\ntrace:first,trace:second;gone:NULL\n";
    run(tool, &lines).await;
    assert_eq!(
        codecs_in_log(kafka, &topic).await,
        [codec],
        "Java wrote with the codec"
    );

    let records = read(&bootstrap, &topic, PARTITIONS, RECORDS + 2).await;
    let mut seen: Vec<_> = records
        .iter()
        .map(|record| {
            let headers: Vec<_> = record
                .headers()
                .iter()
                .map(|header| {
                    format!(
                        "{}={}",
                        text(Some(&header.key)),
                        text(header.value.as_deref())
                    )
                })
                .collect();
            assert_eq!(headers, ["trace=first", "trace=second"]);
            format!(
                "{}:{}",
                text(record.key.as_deref()),
                text(record.value.as_deref())
            )
        })
        .collect();
    let mut expected: Vec<_> = (0..RECORDS)
        .map(|number| format!("key-{number}:{codec}-value-{number}"))
        .collect();
    expected.extend(["null:without a key".to_owned(), "gone:null".to_owned()]);
    seen.sort();
    expected.sort();
    assert_eq!(seen, expected);

    // A key of Java's went where our partitioner sends it.
    for record in records.iter().filter(|record| record.key.is_some()) {
        let key = record.key.as_deref().expect("filtered");
        let ours = ferrokafka_wire::partition::partition_for_key(key, PARTITIONS);
        assert_eq!(record.partition, ours, "{}", text(Some(key)));
    }
}

async fn we_write_java_reads(kafka: &ApacheKafka, codec: &str) {
    let (bootstrap, topic) = (kafka.bootstrap(), format!("ours-{codec}"));
    create(
        &bootstrap,
        NewTopic::new(&topic, PARTITIONS, 1).config("retention.ms", "-1"),
    )
    .await;
    let producer = producer(&bootstrap, codec).await;
    let written = write(
        &producer,
        (0..RECORDS).map(|number| numbered(&topic, codec, number)),
    )
    .await;
    producer
        .close(Duration::from_secs(10))
        .await
        .expect("the producer closes");
    assert_eq!(
        codecs_in_log(kafka, &topic).await,
        [codec],
        "we wrote with the codec"
    );

    let mut tool = kafka.tool("org.apache.kafka.tools.consumer.ConsoleConsumer");
    tool.args([
        "--bootstrap-server",
        &bootstrap,
        "--topic",
        &topic,
        "--from-beginning",
        "--timeout-ms",
        "30000",
    ]);
    tool.args(["--max-messages", &RECORDS.to_string()]);
    for property in ["key", "headers", "partition", "offset", "timestamp"] {
        tool.args(["--formatter-property", &format!("print.{property}=true")]);
    }
    tool.args(["--formatter-property", "key.separator=|"]);
    let printed = run(tool, "").await;
    let mut seen: Vec<_> = printed.lines().collect();
    let expected: Vec<_> = written
        .iter()
        .enumerate()
        .map(|(number, at)| {
            format!(
                "CreateTime:{}|Partition:{}|Offset:{}|trace:first,trace:second|key-{number}|{codec}-value-{number}",
                1_700_000_000_000 + number as i64,
                at.topic_partition.partition,
                at.offset
            )
        })
        .collect();
    let mut expected: Vec<_> = expected.iter().map(String::as_str).collect();
    seen.sort_unstable();
    expected.sort_unstable();
    assert_eq!(seen, expected);
}

/// The codecs of all batches of a topic, as Kafka's dump tool reads them from Kafka's own files.
async fn codecs_in_log(kafka: &ApacheKafka, topic: &str) -> Vec<String> {
    let mut codecs = std::collections::BTreeSet::new();
    for partition in 0..PARTITIONS {
        let log = log_file(
            &kafka.folder().join("node-1").join("data"),
            topic,
            partition,
        );
        let text = dump(kafka.tool(DUMP), &log, &[]).await;
        let words: Vec<_> = text.split_whitespace().collect();
        let found = words
            .windows(2)
            .filter(|pair| pair[0] == "compresscodec:")
            .map(|pair| pair[1].to_lowercase());
        codecs.extend(found);
    }
    codecs.into_iter().collect()
}

fn log_file(data: &Path, topic: &str, partition: i32) -> PathBuf {
    data.join(format!("{topic}-{partition}"))
        .join("00000000000000000000.log")
}
