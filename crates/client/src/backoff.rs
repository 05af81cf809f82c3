//! Exponential backoff with jitter.

use std::time::Duration;

/// How long to wait before each further attempt: doubling from `initial` up to `max`, each wait spread
/// by a fifth to either side so that many clients do not come back at the same moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    initial: Duration,
    max: Duration,
}

/// The spread of a wait, as a share of it (Kafka's own value).
const JITTER: f64 = 0.2;

impl Backoff {
    /// `initial` is the wait after the first failure; a `max` below it is raised to it.
    #[must_use]
    pub fn new(initial: Duration, max: Duration) -> Self {
        Self {
            initial,
            max: max.max(initial),
        }
    }

    /// The wait after failure number `attempt` (counted from 0), never above `max` plus the spread.
    #[must_use]
    pub fn delay(&self, attempt: u32) -> Duration {
        self.delay_with(attempt, fastrand::f64())
    }

    /// The same with the random number, from 0 to 1, given from outside.
    #[must_use]
    pub fn delay_with(&self, attempt: u32, random: f64) -> Duration {
        let doubled = self
            .initial
            .saturating_mul(1_u32.checked_shl(attempt.min(31)).unwrap_or(u32::MAX));
        let spread = 1.0 + JITTER * (2.0 * random.clamp(0.0, 1.0) - 1.0);
        doubled.min(self.max).mul_f64(spread)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_maximum() {
        let backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
        let middle = |attempt| backoff.delay_with(attempt, 0.5).as_millis();
        assert_eq!(
            [
                middle(0),
                middle(1),
                middle(2),
                middle(3),
                middle(4),
                middle(4_000_000)
            ],
            [100, 200, 400, 800, 1000, 1000]
        );
    }

    #[test]
    fn jitter_spreads_by_a_fifth() {
        let backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
        assert_eq!(backoff.delay_with(0, 0.0).as_millis(), 80);
        assert_eq!(backoff.delay_with(0, 1.0).as_millis(), 120);
    }
}
