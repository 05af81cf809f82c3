//! What must be there after the last kill.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use ferrokafka_client::{ClientConfig, TopicPartition};
use ferrokafka_consumer_group::{
    CommitOffsets, Consumer, ConsumerConfig, OffsetAndMetadata, OffsetReset,
};
use tokio::time::Instant;

use crate::broker::TOPIC;
use crate::plan::{PARTITIONS, Plan};
use crate::round::Acked;

const READ_TIMEOUT: Duration = Duration::from_secs(60);
const GROUP: &str = "crash-round";

/// What a round saw.
#[derive(Debug)]
pub(crate) struct Report {
    acked: usize,
    read: usize,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} acknowledged, {} read back", self.acked, self.read)
    }
}

fn partitions() -> Vec<TopicPartition> {
    (0..PARTITIONS)
        .map(|partition| TopicPartition::new(TOPIC, partition))
        .collect()
}

/// What is committed for a partition, made from the last acknowledged record in it.
fn commits(acked: &[Acked]) -> BTreeMap<i32, i64> {
    acked
        .iter()
        .map(|record| (Plan::partition(record.number), record.offset + 1))
        .collect()
}

/// Commits the end of every partition for a group.
pub(crate) async fn commit(address: &str, plan: &Plan, acked: &[Acked]) -> Result<()> {
    ensure!(
        acked.len() as u64 == plan.records,
        "{} of {} records acknowledged",
        acked.len(),
        plan.records
    );
    let config = ConsumerConfig::new(GROUP).enable_auto_commit(false);
    let mut consumer = Consumer::connect(ClientConfig::new(address), config).await?;
    consumer.assign(partitions())?;
    let offsets = commits(acked)
        .into_iter()
        .map(|(partition, offset)| {
            (
                TopicPartition::new(TOPIC, partition),
                OffsetAndMetadata::new(offset),
            )
        })
        .collect();
    consumer.commit(CommitOffsets::Exact(offsets)).await?;
    consumer.close(Duration::from_secs(10)).await?;
    Ok(())
}

/// Reads everything back and compares it with what was acknowledged.
pub(crate) async fn all(address: &str, plan: &Plan, acked: &[Acked]) -> Result<Report> {
    let read = read_all(address, plan).await?;
    for (partition, records) in &read {
        for pair in records.windows(2) {
            let (before, after) = (pair[0], pair[1]);
            if after.number == before.number {
                bail!(
                    "partition {partition}: record {} twice, at {} and {}",
                    after.number,
                    before.offset,
                    after.offset
                );
            }
            ensure!(
                after.number > before.number,
                "partition {partition}: record {} at {} stands after {} at {}",
                after.number,
                after.offset,
                before.number,
                before.offset
            );
        }
    }
    for record in acked {
        let partition = Plan::partition(record.number);
        let found = read.get(&partition).and_then(|records| {
            let at = records
                .binary_search_by_key(&record.number, |read| read.number)
                .ok()?;
            Some(records[at].offset)
        });
        match found {
            Some(offset) if offset == record.offset => {}
            Some(offset) => bail!(
                "record {} was acknowledged at {} and is at {offset}",
                record.number,
                record.offset
            ),
            None => bail!(
                "partition {partition}: acknowledged record {} at {} is gone",
                record.number,
                record.offset
            ),
        }
    }
    check_commits(address, acked).await?;
    Ok(Report {
        acked: acked.len(),
        read: read.values().map(Vec::len).sum(),
    })
}

async fn read_all(address: &str, plan: &Plan) -> Result<BTreeMap<i32, Vec<Acked>>> {
    let config = ConsumerConfig::without_group().auto_offset_reset(OffsetReset::Earliest);
    let mut consumer = Consumer::connect(ClientConfig::new(address), config).await?;
    consumer.assign(partitions())?;
    let mut read: BTreeMap<i32, Vec<Acked>> = BTreeMap::new();
    let deadline = Instant::now() + READ_TIMEOUT;
    while !partitions()
        .iter()
        .all(|partition| consumer.lag(partition) == Some(0))
    {
        ensure!(
            Instant::now() < deadline,
            "reading back did not reach the end within {READ_TIMEOUT:?}"
        );
        for record in consumer.poll(Duration::from_millis(500)).await?.iter() {
            let (partition, offset) = (record.partition, record.offset);
            let value = record.value.as_deref().unwrap_or_default();
            let number = plan.number(value).with_context(|| {
                format!(
                    "partition {partition}: the record at {offset} ({} bytes) was never written",
                    value.len()
                )
            })?;
            ensure!(
                Plan::partition(number) == partition,
                "record {number} is in partition {partition}"
            );
            read.entry(partition)
                .or_default()
                .push(Acked { number, offset });
        }
    }
    consumer.close(Duration::from_secs(10)).await?;
    Ok(read)
}

async fn check_commits(address: &str, acked: &[Acked]) -> Result<()> {
    let config = ConsumerConfig::new(GROUP).enable_auto_commit(false);
    let consumer = Consumer::connect(ClientConfig::new(address), config).await?;
    let committed = consumer
        .committed(&partitions())
        .await
        .context("reading the group's commits")?;
    for (partition, offset) in commits(acked) {
        let found = committed
            .get(&TopicPartition::new(TOPIC, partition))
            .and_then(Option::as_ref)
            .map(|commit| commit.offset);
        ensure!(
            found == Some(offset),
            "partition {partition}: {offset} was committed, {found:?} is there"
        );
    }
    Ok(())
}
