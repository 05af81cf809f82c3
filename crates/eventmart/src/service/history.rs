//! Reading topics from their beginning to the end they have now.

use std::collections::BTreeMap;
use std::time::Duration;

use ferrokafka::admin::OffsetSpec;
use ferrokafka::{
    Admin, Client, Consumer, ConsumerConfig, ConsumerRecord, OffsetReset, TopicPartition,
};
use tokio::time::Instant;

use crate::error::{Error, Result};

/// Where each partition of a topic ends.
pub(crate) async fn ends(
    admin: &Admin,
    topic: &str,
    partitions: i32,
) -> Result<BTreeMap<TopicPartition, i64>> {
    let wanted: Vec<_> = (0..partitions)
        .map(|partition| (TopicPartition::new(topic, partition), OffsetSpec::Latest))
        .collect();
    let mut ends = BTreeMap::new();
    for (partition, result) in admin.list_offsets(&wanted).await? {
        ends.insert(partition, result?.offset.unwrap_or(0));
    }
    Ok(ends)
}

/// Every record before these ends, by topic, partition and offset.
pub(crate) async fn records(
    client: Client,
    ends: BTreeMap<TopicPartition, i64>,
    patience: Duration,
) -> Result<Vec<ConsumerRecord>> {
    let mut left: BTreeMap<TopicPartition, i64> =
        ends.into_iter().filter(|(_, end)| *end > 0).collect();
    let mut found = Vec::new();
    if left.is_empty() {
        return Ok(found);
    }
    let config = ConsumerConfig::without_group()
        .auto_offset_reset(OffsetReset::Earliest)
        .enable_auto_commit(false)
        .fetch_max_wait(Duration::from_millis(50));
    let mut consumer = Consumer::with_client(client, config)?;
    consumer.assign(left.keys().cloned())?;
    let deadline = Instant::now() + patience;
    while let Some(first) = left.keys().next() {
        if Instant::now() > deadline {
            return Err(Error::timeout(format!(
                "{first} cannot be read to its end: {} partitions left",
                left.len()
            )));
        }
        for record in consumer.poll(Duration::from_millis(200)).await? {
            let partition = record.topic_partition();
            let Some(end) = left.get(&partition) else {
                continue;
            };
            let last = record.offset + 1 >= *end;
            found.push(record);
            if last {
                left.remove(&partition);
            }
        }
        // What compaction or a transaction marker left out at the very end is passed over by the position alone.
        left.retain(|partition, end| {
            consumer
                .position(partition)
                .is_none_or(|position| position < *end)
        });
    }
    consumer.close(Duration::from_secs(5)).await?;
    found.sort_by(|a, b| (&a.topic, a.partition, a.offset).cmp(&(&b.topic, b.partition, b.offset)));
    Ok(found)
}
