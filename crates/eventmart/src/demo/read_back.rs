//! Reading topics back from their beginning to their end: what a demo claims about records, it has read.

use std::collections::BTreeMap;
use std::time::Duration;

use ferrokafka::{Consumer, ConsumerConfig, ConsumerRecord, OffsetReset, TopicPartition};
use tokio::time::Instant;

use crate::demo::ground::Ground;
use crate::demo::watch::PATIENCE;
use crate::error::{Error, Result};
use crate::event::Event;
use crate::topic::Topic;

/// Everything on one of the seven topics, by partition and offset.
pub(super) async fn topic(ground: &Ground<'_>, topic: Topic) -> Result<Vec<ConsumerRecord>> {
    records(
        ground,
        &ground.names().topic(topic),
        topic.spec().partitions,
    )
    .await
}

/// Everything that lies on a topic now, by partition and offset.
pub(super) async fn records(
    ground: &Ground<'_>,
    topic: &str,
    partitions: i32,
) -> Result<Vec<ConsumerRecord>> {
    let ends = ground.ends(topic, partitions).await?;
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
    let mut consumer = Consumer::with_client(ground.client("eventmart-reader").await?, config)?;
    consumer.assign(left.keys().cloned())?;
    let deadline = Instant::now() + PATIENCE;
    while !left.is_empty() {
        if Instant::now() > deadline {
            return Err(Error::timeout(format!(
                "{topic} cannot be read to its end: {} partitions left",
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
    found.sort_by_key(|record| (record.partition, record.offset));
    Ok(found)
}

/// The events among records; what is not an event is left out.
pub(super) fn events(ground: &Ground<'_>, records: &[ConsumerRecord]) -> Vec<Event> {
    let decode = |record: &ConsumerRecord| {
        ground
            .encoding
            .decode(&record.topic, record.value.as_deref()?)
            .ok()
    };
    records.iter().filter_map(decode).collect()
}
