//! Chance from a seed: one ChaCha8 key for a run, one stream of it for each purpose.

use jiff::{SignedDuration, Timestamp};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use uuid::{Builder, Uuid};

/// The seed of a run and the moment at which its story ends: everything invented comes from these two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seed {
    seed: u64,
    start: Timestamp,
}

impl Seed {
    /// `start` is when the run began; every event time lies before it.
    pub fn new(seed: u64, start: Timestamp) -> Self {
        let whole = start.as_millisecond();
        Self {
            seed,
            start: Timestamp::from_millisecond(whole).unwrap_or(start),
        }
    }

    /// The number given by `--seed`.
    pub fn number(&self) -> u64 {
        self.seed
    }

    /// When the run began.
    pub fn start(&self) -> Timestamp {
        self.start
    }

    /// The stream for `purpose`. The same seed and purpose give the same numbers, whatever was drawn elsewhere: what
    /// a service invents about an order does not depend on the order in which it meets the orders.
    pub fn stream(&self, purpose: &str) -> Stream {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(fnv1a(purpose));
        Stream { rng }
    }

    /// `seconds` before the run began.
    pub fn before_start(&self, millis: i64) -> Timestamp {
        self.start - SignedDuration::from_millis(millis.max(0))
    }
}

/// A stream of chance.
#[derive(Clone, Debug)]
pub struct Stream {
    rng: ChaCha8Rng,
}

impl Stream {
    /// A number from `low` to `high`, both included.
    pub fn between(&mut self, low: i64, high: i64) -> i64 {
        self.rng.random_range(low..=high)
    }

    /// True `percent` times in a hundred.
    pub fn percent(&mut self, percent: i64) -> bool {
        self.between(0, 99) < percent
    }

    /// One of `choices`, which must not be empty.
    pub fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.rng.random_range(0..choices.len())]
    }

    /// A UUID v7 of that moment.
    pub fn uuid(&mut self, at: Timestamp) -> Uuid {
        let random: [u8; 10] = self.rng.random();
        Builder::from_unix_timestamp_millis(
            u64::try_from(at.as_millisecond()).unwrap_or(0),
            &random,
        )
        .into_uuid()
    }

    /// `length` characters that are easy to read aloud.
    pub fn code(&mut self, length: usize) -> String {
        (0..length)
            .map(|_| char::from(*self.pick(b"ABCDEFGHJKLMNPQRSTUVWXYZ23456789")))
            .collect()
    }
}

fn fnv1a(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_purpose_gives_the_same_stream_whatever_was_drawn_before() {
        let seed = Seed::new(42, Timestamp::UNIX_EPOCH);
        let mut first = seed.stream("orders");
        seed.stream("users").between(0, 9);
        let mut second = seed.stream("orders");
        assert_eq!(first.between(0, i64::MAX), second.between(0, i64::MAX));
        assert_ne!(
            seed.stream("orders").between(0, i64::MAX),
            seed.stream("users").between(0, i64::MAX)
        );
        let other = Seed::new(43, Timestamp::UNIX_EPOCH);
        assert_ne!(
            seed.stream("orders").between(0, i64::MAX),
            other.stream("orders").between(0, i64::MAX)
        );
    }

    #[test]
    fn uuids_are_version_7_and_differ_between_runs_only_in_their_time() {
        let (early, late) = (
            Timestamp::from_millisecond(1_000).unwrap(),
            Timestamp::from_millisecond(2_000).unwrap(),
        );
        let one = Seed::new(42, early).stream("x").uuid(early);
        let two = Seed::new(42, late).stream("x").uuid(late);
        assert_eq!(one.get_version_num(), 7);
        assert_eq!(one.as_bytes()[6..], two.as_bytes()[6..]);
        assert_ne!(one.as_bytes()[..6], two.as_bytes()[..6]);
    }
}
