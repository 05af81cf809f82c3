//! Acknowledgements: one shared result per batch, and the futures that read it.
//!
//! A broker answers for a batch, never for a record. So a batch has one [`BatchResult`]; a
//! [`Delivery`] is a reference to it and the record's index, and costs no channel and no box.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};

use ferrokafka_client::{Error, TopicPartition};
use parking_lot::Mutex;

use crate::RecordMetadata;

/// What became of a batch.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    Acked {
        /// Offset of the first record, -1 when unknown.
        base_offset: i64,
        /// Set where the broker stamps the records.
        log_append_time: Option<i64>,
    },
    Failed(Error),
}

/// The result that all records of a batch share; set once.
#[derive(Debug)]
pub(crate) struct BatchResult {
    topic_partition: TopicPartition,
    outcome: OnceLock<Outcome>,
    wakers: Mutex<Vec<Waker>>,
}

impl BatchResult {
    pub(crate) fn new(topic_partition: TopicPartition) -> Self {
        Self {
            topic_partition,
            outcome: OnceLock::new(),
            wakers: Mutex::new(Vec::new()),
        }
    }

    pub(crate) fn topic_partition(&self) -> &TopicPartition {
        &self.topic_partition
    }

    pub(crate) fn outcome(&self) -> Option<&Outcome> {
        self.outcome.get()
    }

    /// Sets the outcome and wakes who waits. The first call wins; `false` from the later ones.
    pub(crate) fn complete(&self, outcome: Outcome) -> bool {
        if self.outcome.set(outcome).is_err() {
            return false;
        }
        // Set before the lock is taken: a poll that registers later than this finds the outcome.
        let wakers = std::mem::take(&mut *self.wakers.lock());
        for waker in wakers {
            waker.wake();
        }
        true
    }

    /// The outcome, or registers `waker` in `slot` and gives `None`.
    fn poll(&self, slot: &mut Option<usize>, waker: &Waker) -> Option<&Outcome> {
        if let Some(outcome) = self.outcome.get() {
            return Some(outcome);
        }
        let mut wakers = self.wakers.lock();
        if let Some(outcome) = self.outcome.get() {
            return Some(outcome);
        }
        match slot.and_then(|at| wakers.get_mut(at)) {
            Some(registered) => registered.clone_from(waker),
            None => {
                *slot = Some(wakers.len());
                wakers.push(waker.clone());
            }
        }
        None
    }

    fn metadata(
        &self,
        outcome: &Outcome,
        index: u32,
        timestamp: i64,
    ) -> Result<RecordMetadata, Error> {
        match outcome {
            Outcome::Acked {
                base_offset,
                log_append_time,
            } => Ok(RecordMetadata {
                topic_partition: self.topic_partition.clone(),
                offset: offset_at(*base_offset, index),
                timestamp: log_append_time.unwrap_or(timestamp),
            }),
            Outcome::Failed(error) => Err(error.clone()),
        }
    }
}

fn offset_at(base_offset: i64, index: u32) -> i64 {
    if base_offset < 0 {
        -1
    } else {
        base_offset + i64::from(index)
    }
}

/// The acknowledgement of one record: a future that resolves when its batch is decided.
///
/// # Cancellation
/// Dropping it leaves the record where it is: it is sent all the same, only nobody is told.
#[must_use = "the record may fail: await the delivery, or drop it knowingly"]
pub struct Delivery {
    result: Arc<BatchResult>,
    index: u32,
    timestamp: i64,
    slot: Option<usize>,
}

impl Delivery {
    pub(crate) fn new(result: Arc<BatchResult>, index: u32, timestamp: i64) -> Self {
        Self {
            result,
            index,
            timestamp,
            slot: None,
        }
    }

    pub(crate) fn result(&self) -> &Arc<BatchResult> {
        &self.result
    }

    pub(crate) fn index(&self) -> u32 {
        self.index
    }

    /// Partition the record was put on.
    pub fn topic_partition(&self) -> &TopicPartition {
        self.result.topic_partition()
    }

    /// The result if there is one yet, without waiting.
    pub fn try_result(&self) -> Option<Result<RecordMetadata, Error>> {
        let outcome = self.result.outcome()?;
        Some(self.result.metadata(outcome, self.index, self.timestamp))
    }
}

impl Future for Delivery {
    type Output = Result<RecordMetadata, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        match this.result.poll(&mut this.slot, cx.waker()) {
            Some(outcome) => Poll::Ready(this.result.metadata(outcome, this.index, this.timestamp)),
            None => Poll::Pending,
        }
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery")
            .field("topic_partition", self.result.topic_partition())
            .field("index", &self.index)
            .field("done", &self.result.outcome().is_some())
            .finish()
    }
}

/// The acknowledgement of neighbouring records of one batch.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BatchAck {
    /// Partition they were put on.
    pub topic_partition: TopicPartition,
    /// How many records this speaks for.
    pub records: u32,
    /// Offset of the first of them (the others follow it without a gap; -1 as in
    /// [`RecordMetadata::offset`]), or why they failed.
    pub result: Result<i64, Error>,
}

/// The acknowledgement of the records of one [`Producer::send_batch`](crate::Producer::send_batch)
/// call: a future that gives one [`BatchAck`] for each batch they went into.
///
/// # Cancellation
/// Dropping it leaves the records where they are: they are sent all the same.
#[must_use = "the records may fail: await the delivery, or drop it knowingly"]
#[derive(Debug, Default)]
pub struct BatchDelivery {
    parts: Vec<Part>,
    /// Parts before this one are done.
    done: usize,
    slot: Option<usize>,
}

#[derive(Debug)]
struct Part {
    result: Arc<BatchResult>,
    first_index: u32,
    records: u32,
}

impl BatchDelivery {
    /// Adds a record. Records of one batch that follow each other share a part.
    pub(crate) fn push(&mut self, result: &Arc<BatchResult>, index: u32) {
        // Records of several partitions alternate, so look behind the last part too, but not far:
        // a missed neighbour only costs another part.
        let near = self.parts.iter_mut().rev().take(16);
        for part in near {
            if Arc::ptr_eq(&part.result, result) && part.first_index + part.records == index {
                part.records += 1;
                return;
            }
        }
        self.parts.push(Part {
            result: Arc::clone(result),
            first_index: index,
            records: 1,
        });
    }

    /// How many records this stands for.
    pub fn records(&self) -> usize {
        self.parts.iter().map(|p| p.records as usize).sum()
    }
}

impl Future for BatchDelivery {
    type Output = Vec<BatchAck>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Vec<BatchAck>> {
        let this = self.get_mut();
        while let Some(part) = this.parts.get(this.done) {
            if part.result.poll(&mut this.slot, cx.waker()).is_none() {
                return Poll::Pending;
            }
            this.done += 1;
            this.slot = None;
        }
        Poll::Ready(this.parts.iter().filter_map(Part::ack).collect())
    }
}

impl Part {
    fn ack(&self) -> Option<BatchAck> {
        let result = match self.result.outcome()? {
            Outcome::Acked { base_offset, .. } => Ok(offset_at(*base_offset, self.first_index)),
            Outcome::Failed(error) => Err(error.clone()),
        };
        Some(BatchAck {
            topic_partition: self.result.topic_partition().clone(),
            records: self.records,
            result,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn result() -> Arc<BatchResult> {
        Arc::new(BatchResult::new(TopicPartition::new("t", 3)))
    }

    fn acked(base_offset: i64) -> Outcome {
        Outcome::Acked {
            base_offset,
            log_append_time: None,
        }
    }

    #[test]
    fn every_waiting_record_is_woken_once_and_gets_its_own_offset() {
        let result = result();
        let mut deliveries: Vec<_> = (0..3)
            .map(|i| Delivery::new(Arc::clone(&result), i, 1_000 + i64::from(i)))
            .collect();
        let count = Arc::new(Count::default());
        let waker = Waker::from(Arc::clone(&count));
        let mut cx = Context::from_waker(&waker);
        for delivery in &mut deliveries {
            // Polled twice: a second poll must not register a second time.
            assert!(Pin::new(&mut *delivery).poll(&mut cx).is_pending());
            assert!(Pin::new(delivery).poll(&mut cx).is_pending());
        }
        assert!(result.complete(acked(40)));
        assert!(!result.complete(acked(90)));
        assert_eq!(count.0.load(Ordering::SeqCst), 3);
        for (i, delivery) in deliveries.iter_mut().enumerate() {
            let Poll::Ready(Ok(metadata)) = Pin::new(delivery).poll(&mut cx) else {
                panic!("delivery {i} is not ready");
            };
            assert_eq!(metadata.offset, 40 + i as i64);
            assert_eq!(metadata.timestamp, 1_000 + i as i64);
        }
    }

    #[test]
    fn unknown_base_offset_stays_unknown_for_every_record() {
        let result = result();
        result.complete(acked(-1));
        let delivery = Delivery::new(result, 5, 0);
        assert_eq!(delivery.try_result().unwrap().unwrap().offset, -1);
    }

    #[test]
    fn batch_delivery_gives_one_ack_for_each_run_of_records() {
        let (a, b) = (result(), result());
        let mut delivery = BatchDelivery::default();
        for (result, index) in [(&a, 2), (&b, 0), (&a, 3), (&b, 1), (&a, 4)] {
            delivery.push(result, index);
        }
        assert_eq!(delivery.records(), 5);
        let mut cx = Context::from_waker(Waker::noop());
        b.complete(acked(70));
        assert!(Pin::new(&mut delivery).poll(&mut cx).is_pending());
        a.complete(acked(10));
        let Poll::Ready(acks) = Pin::new(&mut delivery).poll(&mut cx) else {
            panic!("not ready");
        };
        let seen: Vec<_> = acks
            .iter()
            .map(|ack| (ack.records, *ack.result.as_ref().unwrap()))
            .collect();
        assert_eq!(seen, [(3, 12), (2, 70)]);
    }
}
