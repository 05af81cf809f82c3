//! What the producer's handle and its tasks share.

use std::sync::atomic::{AtomicU64, Ordering};

use ferrokafka_client::{Client, Error, ErrorKind};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::accumulator::Accumulator;
use crate::acknowledgement::Outcome;
use crate::buffer_memory::BufferMemory;
use crate::config::ProducerConfig;
use crate::partition_queue::Effects;
use crate::{BatchAck, ProducerMetrics};

pub(crate) struct Shared {
    pub(crate) client: Client,
    pub(crate) config: ProducerConfig,
    pub(crate) accumulator: Mutex<Accumulator>,
    pub(crate) memory: BufferMemory,
    pub(crate) counters: Counters,
    /// Wakes the sender task: a broker has no sink yet, or a topic is new.
    pub(crate) sender_wake: Notify,
}

#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) records_acked: AtomicU64,
    pub(crate) records_failed: AtomicU64,
    pub(crate) batches_acked: AtomicU64,
    pub(crate) batches_failed: AtomicU64,
    pub(crate) requests: AtomicU64,
    pub(crate) batches_sent: AtomicU64,
    pub(crate) batches_retried: AtomicU64,
    pub(crate) bytes_sent: AtomicU64,
}

pub(crate) fn add(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Ordering::Relaxed);
}

impl Shared {
    /// Tells everyone concerned. Not under the accumulator's lock: wakers and the application's
    /// callback run here.
    pub(crate) fn carry_out(&self, effects: Effects) {
        if effects.released > 0 {
            self.memory.release(effects.released);
            self.client.config().get_metrics().set(
                "producer_buffer_used_bytes",
                &[],
                self.memory.used() as f64,
            );
        }
        for finished in effects.finished {
            let records = u64::from(finished.records);
            let (acked, result) = match &finished.outcome {
                Outcome::Acked { base_offset, .. } => (true, Ok(*base_offset)),
                Outcome::Failed(error) => (false, Err(error.clone())),
            };
            let metrics = self.client.config().get_metrics();
            let labels = [("topic", &*finished.result.topic_partition().topic)];
            if acked {
                metrics.add("producer_record_send_total", &labels, records);
                add(&self.counters.records_acked, records);
                add(&self.counters.batches_acked, 1);
            } else {
                metrics.add("producer_record_error_total", &labels, records);
                add(&self.counters.records_failed, records);
                add(&self.counters.batches_failed, 1);
            }
            finished.result.complete(finished.outcome);
            if let Some(on_ack) = &self.config.on_ack {
                on_ack(&BatchAck {
                    topic_partition: finished.result.topic_partition().clone(),
                    records: finished.records,
                    result,
                });
            }
        }
        if effects.refresh {
            self.client.refresh();
        }
    }

    /// Takes no more records and fails those that are here.
    pub(crate) fn fail(&self, error: &Error) {
        let mut effects = Effects::default();
        {
            let mut accumulator = self.accumulator.lock();
            accumulator.shut(error.clone());
            accumulator.fail_all(error, &mut effects);
        }
        self.carry_out(effects);
        self.memory.close();
    }

    pub(crate) fn metrics(&self) -> ProducerMetrics {
        let (records_pending, batches_pending, epoch_bumps) = {
            let accumulator = self.accumulator.lock();
            let (records, batches) = accumulator.undecided();
            (records, batches, accumulator.epoch_bumps())
        };
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counters = &self.counters;
        ProducerMetrics {
            records_acked: read(&counters.records_acked),
            records_failed: read(&counters.records_failed),
            batches_acked: read(&counters.batches_acked),
            batches_failed: read(&counters.batches_failed),
            requests: read(&counters.requests),
            batches_sent: read(&counters.batches_sent),
            batches_retried: read(&counters.batches_retried),
            bytes_sent: read(&counters.bytes_sent),
            epoch_bumps,
            records_pending: records_pending as u64,
            batches_pending: batches_pending as u64,
            buffer_bytes_used: self.memory.used() as u64,
        }
    }
}

pub(crate) fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the producer is closed")
}
