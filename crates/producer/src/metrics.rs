//! Counters of a producer, read at one moment.

/// Counters of a producer since it was made, and what it holds just now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProducerMetrics {
    /// Records acknowledged.
    pub records_acked: u64,
    /// Records failed, of whichever outcome.
    pub records_failed: u64,
    /// Batches acknowledged.
    pub batches_acked: u64,
    /// Batches failed.
    pub batches_failed: u64,
    /// Produce requests answered or failed.
    pub requests: u64,
    /// Batches put into requests, retries counted again.
    pub batches_sent: u64,
    /// Batches put into a request for the second time or later.
    pub batches_retried: u64,
    /// Bytes of batches put into requests, compressed, retries counted again.
    pub bytes_sent: u64,
    /// How often a broken sequence was restarted under a new producer epoch.
    pub epoch_bumps: u64,
    /// Records waiting for a decision.
    pub records_pending: u64,
    /// Batches waiting for a decision.
    pub batches_pending: u64,
    /// Bytes of `buffer.memory` in use.
    pub buffer_bytes_used: u64,
}
