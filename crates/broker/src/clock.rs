//! Wall-clock milliseconds, from the machine or from tokio's (possibly paused) clock.
//!
//! Timers use [`tokio::time::Instant`] throughout. Timestamps of records need a calendar time; a test
//! with a paused runtime wants it to move with the timers, a long-running process wants it to follow
//! the machine, suspended hours included.

use std::time::{SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

/// Where the broker reads the time of day.
#[derive(Debug, Clone, Copy)]
pub enum Clock {
    /// The machine's clock.
    System,
    /// `epoch_ms` plus what tokio's clock has advanced since `started`; moves with a paused runtime.
    Tokio {
        /// Milliseconds since 1970 at `started`.
        epoch_ms: i64,
        /// When the clock was made.
        started: Instant,
    },
}

impl Clock {
    /// A clock that starts at `epoch_ms` now and follows tokio's time from here.
    pub fn tokio_from(epoch_ms: i64) -> Self {
        Self::Tokio {
            epoch_ms,
            started: Instant::now(),
        }
    }

    /// Milliseconds since 1970.
    pub fn now_ms(&self) -> i64 {
        match self {
            Self::System => SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| {
                    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
                }),
            Self::Tokio { epoch_ms, started } => epoch_ms
                .saturating_add(i64::try_from(started.elapsed().as_millis()).unwrap_or(i64::MAX)),
        }
    }
}
