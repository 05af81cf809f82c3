//! What a seed makes of a round.

use std::fmt;
use std::time::Duration;

use ferrokafka_wire::compression::Compression;

/// Partitions of the topic.
pub(crate) const PARTITIONS: i32 = 3;

/// When the broker is killed: some time after the producer has seen this many acknowledgements.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kill {
    pub(crate) after_acks: u64,
    /// A write is under way at most moments; a small shift moves the kill through it.
    pub(crate) shift: Duration,
    /// Answers are held back during the shift, so that what is appended is not acknowledged.
    pub(crate) hold_answers: bool,
}

/// One round, from its seed alone.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) records: u64,
    pub(crate) value_len_max: usize,
    pub(crate) batch_bytes: usize,
    pub(crate) linger: Duration,
    pub(crate) compression: Compression,
    pub(crate) kills: Vec<Kill>,
}

impl Plan {
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let records = rng.u64(6_000..14_000);
        let codecs = [
            Compression::None,
            Compression::Gzip,
            Compression::Snappy,
            Compression::Lz4,
            Compression::Zstd,
        ];
        let mut moments: Vec<_> = (0..rng.usize(4..=9))
            .map(|_| rng.u64(0..records * 19 / 20))
            .collect();
        moments.sort_unstable();
        Self {
            seed,
            records,
            value_len_max: rng.usize(16..2_000),
            batch_bytes: rng.usize(1_000..16_000),
            linger: Duration::from_millis(rng.u64(0..2)),
            compression: codecs[rng.usize(0..codecs.len())],
            kills: moments
                .into_iter()
                .map(|after_acks| Kill {
                    after_acks,
                    shift: Duration::from_micros(rng.u64(0..3_000)),
                    hold_answers: rng.bool(),
                })
                .collect(),
        }
    }

    /// The value of a record: its number, then bytes that the seed and the number fix.
    pub(crate) fn value(&self, number: u64) -> Vec<u8> {
        let mut rng = fastrand::Rng::with_seed(self.seed.rotate_left(32) ^ number);
        let mut value = number.to_be_bytes().to_vec();
        // Half of it repeats, so that a codec has something to do.
        let len = rng.usize(0..=self.value_len_max);
        value.extend((0..len).map(|at| if at % 2 == 0 { b'x' } else { rng.u8(..) }));
        value
    }

    /// The number that a value starts with, if it is one of this round's and whole.
    pub(crate) fn number(&self, value: &[u8]) -> Option<u64> {
        let number = u64::from_be_bytes(value.get(..8)?.try_into().ok()?);
        (number < self.records && self.value(number) == value).then_some(number)
    }

    /// Which partition a record goes to.
    pub(crate) fn partition(number: u64) -> i32 {
        i32::try_from(number % PARTITIONS.unsigned_abs() as u64)
            .expect("less than the number of partitions")
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let moments: Vec<_> = self
            .kills
            .iter()
            .map(|kill| kill.after_acks.to_string())
            .collect();
        let (records, codec) = (self.records, self.compression.name());
        write!(
            f,
            "{records} records, {codec}, killed after {} acknowledgements and at the end",
            moments.join(", ")
        )
    }
}
