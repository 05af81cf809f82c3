//! Work that no request asks for: retention, compaction, forgetting idle producers.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep};

use crate::broker::Broker;
use crate::partition::Partition;

fn millis(ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}

/// Runs until it is dropped.
pub(crate) async fn run(broker: Arc<Broker>) {
    tokio::join!(retain_regularly(broker.clone()), compact_regularly(broker));
}

async fn retain_regularly(broker: Arc<Broker>) {
    let first = Instant::now() + millis(broker.config.log_initial_task_delay_ms);
    let mut due = interval_at(
        first,
        millis(broker.config.log_retention_check_interval_ms.max(1)),
    );
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        due.tick().await;
        let broker = broker.clone();
        // A panic in there has been printed; the next round tries again.
        let _ = spawn_blocking(move || retain(&broker)).await;
    }
}

async fn compact_regularly(broker: Arc<Broker>) {
    if !broker.config.log_cleaner_enable {
        return;
    }
    sleep(millis(broker.config.log_initial_task_delay_ms)).await;
    loop {
        let now = broker.clone();
        let _ = spawn_blocking(move || compact(&now, false)).await;
        // With a backoff of 0 there must still be a moment for others.
        sleep(millis(broker.config.log_cleaner_backoff_ms.max(1))).await;
    }
}

fn each_partition(
    broker: &Broker,
    what: &str,
    mut work: impl FnMut(&Partition) -> io::Result<bool>,
) {
    for topic in broker.topics() {
        let partitions = topic.partitions.read().clone();
        for partition in partitions {
            match work(&partition) {
                Ok(true) => partition.wake(),
                Ok(false) => {}
                Err(error) => tracing::error!(partition = partition.name, %error, "{what} failed"),
            }
        }
    }
}

/// One round of retention over every partition.
pub(crate) fn retain(broker: &Broker) {
    let now_ms = broker.clock.now_ms();
    let oldest_producer = now_ms.saturating_sub(i64::from(broker.config.producer_id_expiration_ms));
    each_partition(broker, "retention", |partition| {
        let mut log = partition.log.lock();
        log.expire_producers(oldest_producer);
        Ok(log.delete_old(now_ms)? > 0)
    });
}

/// One round of compaction; with `all`, whatever the share of uncompacted bytes.
pub(crate) fn compact(broker: &Broker, all: bool) {
    each_partition(broker, "compaction", |partition| {
        crate::storage::compact(&partition.log, broker.clock.now_ms(), all)
    });
}
