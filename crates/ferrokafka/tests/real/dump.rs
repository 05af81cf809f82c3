//! The embedded broker's files, read by Kafka's own dump tool: the formats are Kafka's, not merely our own twice.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ferrokafka_broker::TestBroker;
use ferrokafka_broker::apache;

use crate::kafka::{CODECS, DUMP, dump, in_time};
use crate::records::{numbered, producer, write};

const RECORDS: usize = 2_000;

#[tokio::test(flavor = "multi_thread")]
async fn kafkas_dump_tool_reads_our_logs_and_indexes() {
    in_time(async {
        let libs = apache::jars()
            .await
            .unwrap_or_else(|error| panic!("Kafka's jars cannot be had: {error}"));
        let folder = tempfile::tempdir().expect("a folder");
        let mut builder = TestBroker::builder().data_dir(folder.path());
        for codec in CODECS {
            builder = builder.topic(codec, 1);
        }
        let broker = builder.start().await.expect("the broker starts");
        for codec in CODECS {
            // Waves make batches, and with them entries of the sparse indexes.
            let producer = producer(&broker.bootstrap(), codec).await;
            for wave in 0..20 {
                let numbers = wave * RECORDS / 20..(wave + 1) * RECORDS / 20;
                write(
                    &producer,
                    numbers.map(|number| numbered(codec, codec, number)),
                )
                .await;
            }
            producer
                .close(Duration::from_secs(10))
                .await
                .expect("the producer closes");
        }
        broker.stop().await;
        for codec in CODECS {
            log_is_kafkas(&libs, folder.path(), codec).await;
            indexes_are_kafkas(&libs, folder.path(), codec).await;
        }
    })
    .await;
}

async fn log_is_kafkas(libs: &Path, folder: &Path, codec: &str) {
    let log = file(folder, codec, "log");
    let text = dump(
        apache::tool(libs, DUMP),
        &log,
        &["--deep-iteration", "--print-data-log"],
    )
    .await;
    let batches: Vec<_> = text
        .lines()
        .filter(|line| line.starts_with("baseOffset:"))
        .collect();
    assert!(
        batches.len() >= 20,
        "{codec}: {} batches\n{text}",
        batches.len()
    );
    for batch in &batches {
        assert!(batch.contains("isvalid: true"), "{batch}");
        assert!(
            batch.contains(&format!("compresscodec: {codec}")),
            "{batch}"
        );
        assert!(batch.contains("magic: 2"), "{batch}");
    }
    let records: Vec<_> = text
        .lines()
        .filter(|line| line.contains("payload:"))
        .collect();
    assert_eq!(records.len(), RECORDS, "{codec}");
    for (number, record) in records.iter().enumerate() {
        assert!(record.contains(&format!("offset: {number} ")), "{record}");
        assert!(
            record.ends_with(&format!(
                "key: key-{number} payload: {codec}-value-{number}"
            )),
            "{record}"
        );
    }
}

/// The tool compares each index with the log beside it and prints what differs.
async fn indexes_are_kafkas(libs: &Path, folder: &Path, codec: &str) {
    for kind in ["index", "timeindex"] {
        let index = file(folder, codec, kind);
        let text = dump(apache::tool(libs, DUMP), &index, &[]).await;
        for complaint in [
            "Mismatches",
            "Non-secutive",
            "Index timestamp mismatch",
            "Found timestamp mismatch",
            "out of order",
        ] {
            assert!(!text.contains(complaint), "{codec}.{kind}:\n{text}");
        }
        if kind == "index" {
            let checked = dump(apache::tool(libs, DUMP), &index, &["--index-sanity-check"]).await;
            assert!(
                checked.contains("passed sanity check"),
                "{codec}:\n{checked}"
            );
        }
    }
}

/// The first segment's file of this kind.
fn file(folder: &Path, topic: &str, kind: &str) -> PathBuf {
    let name = format!("00000000000000000000.{kind}");
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(&next)
            .expect("a folder of the broker")
            .flatten()
        {
            let path = entry.path();
            if path.is_dir()
                && path
                    .file_name()
                    .is_some_and(|name| name.to_string_lossy() == format!("{topic}-0"))
            {
                return path.join(&name);
            }
            if path.is_dir() {
                folders.push(path);
            }
        }
    }
    panic!("{} holds no partition of {topic}", folder.display());
}
