//! Apache Kafka for a test, and its tools.

use std::process::Stdio;
use std::time::Duration;

use ferrokafka_admin::{Admin, CreateOptions, NewTopic};
use ferrokafka_broker::apache::ApacheKafka;
use ferrokafka_client::ClientConfig;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// A tool takes a second or two; one that takes this long hangs.
const TOOL_TIMEOUT: Duration = Duration::from_secs(90);
/// A test with a three node cluster takes half a minute on two busy cores.
const TEST_TIMEOUT: Duration = Duration::from_secs(300);

/// Every codec by Kafka's name.
pub(crate) const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];

/// No test may hang.
pub(crate) async fn in_time(test: impl Future<Output = ()>) {
    tokio::time::timeout(TEST_TIMEOUT, test)
        .await
        .expect("the test ends in time");
}

/// A cluster of so many nodes.
pub(crate) async fn start(nodes: usize) -> ApacheKafka {
    match ApacheKafka::builder().nodes(nodes).start().await {
        Ok(kafka) => kafka,
        Err(error) => panic!("Apache Kafka cannot be had: {error}"),
    }
}

/// Creates a topic and waits until it can be written to.
pub(crate) async fn create(bootstrap: &str, topic: NewTopic) {
    let admin = Admin::connect(ClientConfig::new(bootstrap))
        .await
        .expect("admin connects");
    let name = topic.name.clone();
    for (topic, outcome) in admin
        .create_topics(&[topic], CreateOptions::default())
        .await
        .expect("a controller answers")
    {
        outcome.unwrap_or_else(|error| panic!("{topic}: {error}"));
    }
    admin
        .wait_for_topics(&[name], Duration::from_secs(30))
        .await
        .expect("the topic gets leaders");
}

/// Runs a tool with these lines on its standard input, and returns what it printed.
pub(crate) async fn run(mut tool: Command, input: &str) -> String {
    let running = async {
        let mut child = tool
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let mut stdin = child.stdin.take().expect("stdin is piped");
        let feeding = async move { stdin.write_all(input.as_bytes()).await };
        let (fed, output) = tokio::join!(feeding, child.wait_with_output());
        fed?;
        output
    };
    let output = tokio::time::timeout(TOOL_TIMEOUT, running)
        .await
        .expect("the tool ends in time")
        .expect("the tool runs");
    let (stdout, stderr) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(
        output.status.success(),
        "{tool:?}: {}\n{stdout}\n{stderr}",
        output.status
    );
    stdout.into_owned()
}

/// `kafka-dump-log` on one file.
pub(crate) async fn dump(mut tool: Command, file: &std::path::Path, flags: &[&str]) -> String {
    tool.arg("--files").arg(file).args(flags);
    run(tool, "").await
}

/// The class of the dump tool.
pub(crate) const DUMP: &str = "org.apache.kafka.tools.DumpLogSegments";
