//! What must be there after the last kill.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use ferrokafka_admin::{Admin, OffsetSpec};
use ferrokafka_client::{ClientConfig, TopicPartition};
use ferrokafka_consumer_group::{CommitOffsets, Consumer, ConsumerConfig, OffsetReset};
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

/// Reads every partition to its end as a member of nothing but with a group's name, and commits that.
pub(crate) async fn read_and_commit(address: &str, plan: &Plan, acked: &[Acked]) -> Result<()> {
    ensure!(
        acked.len() as u64 == plan.records,
        "{} of {} records acknowledged",
        acked.len(),
        plan.records
    );
    let config = ConsumerConfig::new(GROUP)
        .enable_auto_commit(false)
        .auto_offset_reset(OffsetReset::Earliest);
    let mut consumer = Consumer::connect(ClientConfig::new(address), config).await?;
    read_to_end(address, &mut consumer, plan).await?;
    consumer.commit(CommitOffsets::Consumed).await?;
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
    let read = read_to_end(address, &mut consumer, plan).await?;
    consumer.close(Duration::from_secs(10)).await?;
    Ok(read)
}

async fn read_to_end(
    address: &str,
    consumer: &mut Consumer,
    plan: &Plan,
) -> Result<BTreeMap<i32, Vec<Acked>>> {
    consumer.assign(partitions())?;
    let ends = ends(address).await?;
    let mut read: BTreeMap<i32, Vec<Acked>> = BTreeMap::new();
    let deadline = Instant::now() + READ_TIMEOUT;
    while ends
        .iter()
        .any(|(partition, end)| consumer.position(partition) != Some(*end))
    {
        let at: Vec<_> = ends
            .iter()
            .map(|(partition, end)| (consumer.position(partition), end))
            .collect();
        ensure!(
            Instant::now() < deadline,
            "no end of reading within {READ_TIMEOUT:?}: position and end {at:?}"
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
    Ok(read)
}

async fn ends(address: &str) -> Result<Vec<(TopicPartition, i64)>> {
    let admin = Admin::connect(ClientConfig::new(address)).await?;
    let wanted: Vec<_> = partitions()
        .into_iter()
        .map(|partition| (partition, OffsetSpec::Latest))
        .collect();
    let mut ends = Vec::new();
    for (partition, listed) in admin.list_offsets(&wanted).await? {
        ends.push((partition, listed?.offset.context("a partition has an end")?));
    }
    Ok(ends)
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
