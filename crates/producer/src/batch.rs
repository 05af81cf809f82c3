//! One batch of one partition, from the first record to the outcome.
//!
//! ```text
//! Open ──seal──► Sealed ──compress──► Compressing ──compressed──► Ready ──send──► InFlight ──finish──► Done
//!                   └──────────────── send (no codec) ──────────────────────────────▲ │
//!                                                                             send  │ requeue
//!                                                                              Retry◄┘
//! ```
//! Every state but `Done` also ends by `finish`: expiry, or the producer's end.

use std::sync::Arc;

use ferrokafka_client::Error;
use ferrokafka_wire::record::{BatchBuilder, EncodedBatch};
use tokio::time::Instant;

use crate::acknowledgement::BatchResult;

/// Names a batch within its producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BatchId(pub(crate) u64);

/// Where a batch is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BatchState {
    /// Takes records.
    Open,
    /// Takes no more; waits for the codec or, without one, for its turn.
    Sealed,
    /// Its bytes are with the codec.
    Compressing,
    /// Compressed; waits for its turn.
    Ready,
    /// Its bytes are with a request.
    InFlight,
    /// A request came back without a decision; waits for the next.
    Retry,
    /// Decided.
    Done,
}

/// What happens to a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BatchEvent {
    Seal,
    Compress,
    Compressed,
    Send,
    Requeue,
    Finish,
}

impl BatchState {
    /// The state after `event`; `None` where it makes no sense.
    pub(crate) fn transition(self, event: BatchEvent) -> Option<Self> {
        use BatchEvent as E;
        match (self, event) {
            (Self::Open, E::Seal) => Some(Self::Sealed),
            (Self::Sealed, E::Compress) => Some(Self::Compressing),
            (Self::Compressing, E::Compressed) => Some(Self::Ready),
            (Self::Sealed | Self::Ready | Self::Retry, E::Send) => Some(Self::InFlight),
            (Self::InFlight, E::Requeue) => Some(Self::Retry),
            (
                Self::Open
                | Self::Sealed
                | Self::Compressing
                | Self::Ready
                | Self::InFlight
                | Self::Retry,
                E::Finish,
            ) => Some(Self::Done),
            _ => None,
        }
    }
}

/// The records, wherever they are.
pub(crate) enum Body {
    /// Being filled, or full and not yet compressed.
    Building(BatchBuilder),
    /// Compressed, ready to be stamped.
    Encoded(EncodedBatch),
    /// With the codec or a request.
    Away,
}

/// One batch. The queue it stands in is [`PartitionQueue`](crate::partition_queue::PartitionQueue).
pub(crate) struct Batch {
    pub(crate) id: BatchId,
    pub(crate) state: BatchState,
    pub(crate) body: Body,
    pub(crate) result: Arc<BatchResult>,
    pub(crate) records: u32,
    /// Bytes of `buffer.memory` to give back.
    pub(crate) reserved: usize,
    pub(crate) opened_at: Instant,
    /// First sequence number, from the first send on. It stays the same through every retry, until the
    /// broker has said that the batch is not in its log and the epoch was bumped.
    pub(crate) sequence: Option<i32>,
    /// The latest news leaves open whether the log has it: no answer, or one that does not say. As long
    /// as that is so it keeps its sequence number.
    pub(crate) in_doubt: bool,
    /// It was in doubt at some time: what the application is told when it fails.
    pub(crate) possibly_written: bool,
    /// The application was told of the failure already; only the broker's answer is awaited.
    pub(crate) reported: bool,
    pub(crate) attempts: u32,
    pub(crate) last_error: Option<Error>,
}

impl Batch {
    /// Moves on. An event that makes no sense here is a bug: it stops a debug build, and is refused
    /// otherwise.
    pub(crate) fn on(&mut self, event: BatchEvent) -> bool {
        let next = self.state.transition(event);
        debug_assert!(next.is_some(), "{:?} in state {:?}", event, self.state);
        if let Some(next) = next {
            self.state = next;
        }
        next.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_drawn_moves_exist() {
        use BatchEvent as E;
        use BatchState as S;
        let states = [
            S::Open,
            S::Sealed,
            S::Compressing,
            S::Ready,
            S::InFlight,
            S::Retry,
            S::Done,
        ];
        let events = [
            E::Seal,
            E::Compress,
            E::Compressed,
            E::Send,
            E::Requeue,
            E::Finish,
        ];
        let allowed = [
            (S::Open, E::Seal, S::Sealed),
            (S::Sealed, E::Compress, S::Compressing),
            (S::Compressing, E::Compressed, S::Ready),
            (S::Sealed, E::Send, S::InFlight),
            (S::Ready, E::Send, S::InFlight),
            (S::Retry, E::Send, S::InFlight),
            (S::InFlight, E::Requeue, S::Retry),
        ];
        for state in states {
            for event in events {
                let expected = if event == E::Finish && state != S::Done {
                    Some(S::Done)
                } else {
                    allowed
                        .iter()
                        .find(|(s, e, _)| (*s, *e) == (state, event))
                        .map(|(_, _, next)| *next)
                };
                assert_eq!(state.transition(event), expected, "{state:?} {event:?}");
            }
        }
    }
}
