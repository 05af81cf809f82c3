//! Reading topics back from their beginning to their end: what a demo claims about records, it has read.

use ferrokafka::ConsumerRecord;

use crate::demo::ground::Ground;
use crate::demo::watch::PATIENCE;
use crate::error::Result;
use crate::event::Event;
use crate::service::history;
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
    history::records(ground.client("eventmart-reader").await?, ends, PATIENCE).await
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
