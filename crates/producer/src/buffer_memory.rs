//! `buffer.memory`: a bound on the bytes of undecided records, handed out first come, first served.

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout_at};

/// The bytes that are left.
pub(crate) struct BufferMemory {
    /// One permit a byte. Its queue is fair: a large record is not overtaken for ever by small ones.
    bytes: Semaphore,
    total: usize,
}

/// Bytes taken but not yet used; given back when dropped.
pub(crate) struct Reservation<'a>(SemaphorePermit<'a>);

/// Why no bytes were handed out.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NoMemory {
    /// None were free until the deadline.
    Full,
    /// The producer ends.
    Closed,
}

impl BufferMemory {
    pub(crate) fn new(total: usize) -> Self {
        let total = total.min(Semaphore::MAX_PERMITS);
        Self {
            bytes: Semaphore::new(total),
            total,
        }
    }

    /// Takes bytes if they are free and nobody waits for them.
    pub(crate) fn try_reserve(&self, bytes: usize) -> Option<Reservation<'_>> {
        let permit = self.bytes.try_acquire_many(permits(bytes)).ok()?;
        Some(Reservation(permit))
    }

    /// Takes bytes, waiting in line for them until the deadline.
    pub(crate) async fn reserve(
        &self,
        bytes: usize,
        deadline: Instant,
    ) -> Result<Reservation<'_>, NoMemory> {
        match timeout_at(deadline, self.bytes.acquire_many(permits(bytes))).await {
            Ok(Ok(permit)) => Ok(Reservation(permit)),
            Ok(Err(_closed)) => Err(NoMemory::Closed),
            Err(_elapsed) => Err(NoMemory::Full),
        }
    }

    pub(crate) fn release(&self, bytes: usize) {
        self.bytes.add_permits(bytes);
    }

    pub(crate) fn used(&self) -> usize {
        self.total.saturating_sub(self.bytes.available_permits())
    }

    /// Wakes who waits, in vain.
    pub(crate) fn close(&self) {
        self.bytes.close();
    }
}

impl Reservation<'_> {
    /// The record is in a batch now, which gives the bytes back.
    pub(crate) fn keep(self) {
        self.0.forget();
    }
}

/// A record is far smaller than 4 GiB: `max.request.size` is.
fn permits(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn waiters_are_served_in_order_and_latecomers_do_not_overtake() {
        let memory = BufferMemory::new(100);
        let first = memory.try_reserve(90).unwrap();
        let deadline = Instant::now() + Duration::from_secs(1);
        let large = memory.reserve(80, deadline);
        tokio::pin!(large);
        assert!(futures_util::FutureExt::now_or_never(large.as_mut()).is_none());
        // Ten bytes would be free, but someone waits.
        assert!(memory.try_reserve(10).is_none());
        drop(first);
        let large = large.await.unwrap();
        assert!(memory.try_reserve(10).is_some());
        drop(large);
        assert_eq!(memory.used(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_ends_at_the_deadline_and_at_close() {
        let memory = BufferMemory::new(10);
        memory.try_reserve(10).unwrap().keep();
        let deadline = Instant::now() + Duration::from_secs(1);
        assert_eq!(
            memory.reserve(1, deadline).await.err(),
            Some(NoMemory::Full)
        );
        let waiting = memory.reserve(1, deadline + Duration::from_secs(9));
        memory.close();
        assert_eq!(waiting.await.err(), Some(NoMemory::Closed));
        memory.release(10);
        assert_eq!(memory.used(), 0);
    }
}
