//! Which partition a record goes to.
//!
//! A record that names its partition bypasses all of this. The default is Java's: the key's murmur2
//! hash, and for records without a key the sticky choice of KIP-794, which stays with one partition
//! for a number of bytes (not records), so that the partitions fill evenly and batches are full.

use std::fmt;
use std::sync::Arc;

use ferrokafka_wire::partition::partition_for_key;

use crate::ProducerRecord;

/// Bytes of keyless records that go to one partition before the next is chosen.
///
/// Java takes `batch.size`, which is 16 KiB there. Our batches are larger, and a megabyte would
/// leave the topics of a slow service on one partition for minutes.
pub(crate) const STICKY_BYTES: usize = 64 * 1024;

/// How partitions are chosen for records that do not name one.
#[derive(Clone, Default)]
#[non_exhaustive]
pub enum Partitioner {
    /// Key: murmur2 as in Java's client, so both put a key on the same partition. No key: sticky,
    /// uniform by bytes (KIP-794).
    #[default]
    Murmur2Sticky,
    /// One partition after the other, keys ignored. Small batches; mostly for comparisons.
    RoundRobin,
    /// The application's own rule.
    Custom(Arc<dyn Partition>),
}

impl Partitioner {
    /// A partitioner of the application.
    pub fn custom(partition: impl Partition + 'static) -> Self {
        Self::Custom(Arc::new(partition))
    }
}

impl fmt::Debug for Partitioner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Murmur2Sticky => "Murmur2Sticky",
            Self::RoundRobin => "RoundRobin",
            Self::Custom(_) => "Custom",
        })
    }
}

/// A rule of the application. A closure `Fn(&ProducerRecord, &Partitions<'_>) -> i32` is one.
pub trait Partition: Send + Sync {
    /// The partition for `record`. It runs inside `send`, under a lock: it must not block. A number
    /// outside `0..partitions.count()` fails the send.
    fn partition(&self, record: &ProducerRecord, partitions: &Partitions<'_>) -> i32;
}

impl<F> Partition for F
where
    F: Fn(&ProducerRecord, &Partitions<'_>) -> i32 + Send + Sync,
{
    fn partition(&self, record: &ProducerRecord, partitions: &Partitions<'_>) -> i32 {
        self(record, partitions)
    }
}

/// A topic's partitions as the partitioner sees them.
#[derive(Clone, Copy, Debug)]
pub struct Partitions<'a> {
    available: &'a [bool],
}

impl<'a> Partitions<'a> {
    /// `available[p]` says whether partition `p` has a leader.
    pub(crate) fn new(available: &'a [bool]) -> Self {
        Self { available }
    }

    /// How many partitions the topic has.
    pub fn count(&self) -> i32 {
        i32::try_from(self.available.len()).unwrap_or(i32::MAX)
    }

    /// Whether the partition has a leader just now.
    pub fn is_available(&self, partition: i32) -> bool {
        usize::try_from(partition)
            .ok()
            .and_then(|p| self.available.get(p))
            .copied()
            .unwrap_or(false)
    }

    /// The `nth` partition (counted round) among those with a leader, or among all when none has.
    fn nth_usable(&self, nth: usize) -> i32 {
        let usable = self.available.iter().filter(|a| **a).count();
        let index = if usable == 0 {
            nth % self.available.len().max(1)
        } else {
            self.available
                .iter()
                .enumerate()
                .filter(|(_, a)| **a)
                .nth(nth % usable)
                .map_or(0, |(index, _)| index)
        };
        i32::try_from(index).unwrap_or(0)
    }
}

/// What the built-in partitioners remember of one topic.
#[derive(Debug, Default)]
pub(crate) struct PartitionerState {
    sticky: Option<Sticky>,
    round_robin_next: usize,
}

#[derive(Debug)]
struct Sticky {
    partition: i32,
    bytes: usize,
}

impl PartitionerState {
    /// Chooses a partition for `record`, which takes `bytes` of a batch.
    pub(crate) fn choose(
        &mut self,
        partitioner: &Partitioner,
        record: &ProducerRecord,
        bytes: usize,
        partitions: Partitions<'_>,
        rng: &mut fastrand::Rng,
    ) -> i32 {
        match partitioner {
            Partitioner::Murmur2Sticky => match &record.key {
                Some(key) => partition_for_key(key, partitions.count()),
                None => self.sticky(bytes, partitions, rng),
            },
            Partitioner::RoundRobin => {
                let partition = partitions.nth_usable(self.round_robin_next);
                self.round_robin_next = self.round_robin_next.wrapping_add(1);
                partition
            }
            Partitioner::Custom(custom) => custom.partition(record, &partitions),
        }
    }

    fn sticky(&mut self, bytes: usize, partitions: Partitions<'_>, rng: &mut fastrand::Rng) -> i32 {
        if let Some(sticky) = &mut self.sticky
            && sticky.bytes < STICKY_BYTES
            && partitions.is_available(sticky.partition)
        {
            sticky.bytes += bytes;
            return sticky.partition;
        }
        let last = self.sticky.as_ref().map(|s| s.partition);
        let mut partition = partitions.nth_usable(rng.usize(..));
        if Some(partition) == last {
            // Another draw, once: a topic with one usable partition has no other.
            partition = partitions.nth_usable(rng.usize(..));
        }
        self.sticky = Some(Sticky { partition, bytes });
        partition
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spread(partitioner: &Partitioner, records: usize, record_bytes: usize) -> Vec<usize> {
        let available = [true; 4];
        let mut state = PartitionerState::default();
        let mut rng = fastrand::Rng::with_seed(7);
        let mut bytes = vec![0; 4];
        for _ in 0..records {
            let record = ProducerRecord::new("t").value("x");
            let p = state.choose(
                partitioner,
                &record,
                record_bytes,
                Partitions::new(&available),
                &mut rng,
            );
            bytes[usize::try_from(p).unwrap()] += record_bytes;
        }
        bytes
    }

    #[test]
    fn keyed_records_go_where_java_puts_them() {
        let available = [true; 6];
        let mut state = PartitionerState::default();
        let mut rng = fastrand::Rng::with_seed(1);
        for key in ["customer-1", "customer-2", ""] {
            let record = ProducerRecord::new("t").key(key);
            let p = state.choose(
                &Partitioner::Murmur2Sticky,
                &record,
                10,
                Partitions::new(&available),
                &mut rng,
            );
            assert_eq!(p, partition_for_key(key.as_bytes(), 6));
        }
    }

    #[test]
    fn keyless_records_stay_for_sticky_bytes_and_then_move() {
        let available = [true; 4];
        let mut state = PartitionerState::default();
        let mut rng = fastrand::Rng::with_seed(3);
        let mut runs: Vec<(i32, usize)> = Vec::new();
        for _ in 0..1_000 {
            let p = state.choose(
                &Partitioner::Murmur2Sticky,
                &ProducerRecord::new("t"),
                1024,
                Partitions::new(&available),
                &mut rng,
            );
            match runs.last_mut() {
                Some((last, n)) if *last == p => *n += 1,
                _ => runs.push((p, 1)),
            }
        }
        assert!(runs.len() > 5, "{runs:?}");
        // A run is one sticky spell, or several when the draw hits the same partition twice.
        assert!(
            runs[..runs.len() - 1].iter().all(|(_, n)| n % 64 == 0),
            "{runs:?}"
        );
    }

    #[test]
    fn keyless_records_spread_evenly_by_bytes() {
        let bytes = spread(&Partitioner::Murmur2Sticky, 200_000, 1_024);
        let mean = bytes.iter().sum::<usize>() / 4;
        for b in &bytes {
            assert!(b.abs_diff(mean) * 100 < mean * 15, "{bytes:?}");
        }
    }

    #[test]
    fn round_robin_is_exactly_even() {
        assert_eq!(spread(&Partitioner::RoundRobin, 400, 1), vec![100; 4]);
    }

    #[test]
    fn keyless_records_avoid_partitions_without_a_leader() {
        let available = [false, true, false, false];
        let mut state = PartitionerState::default();
        let mut rng = fastrand::Rng::with_seed(5);
        for partitioner in [Partitioner::Murmur2Sticky, Partitioner::RoundRobin] {
            for _ in 0..50 {
                let p = state.choose(
                    &partitioner,
                    &ProducerRecord::new("t"),
                    100_000,
                    Partitions::new(&available),
                    &mut rng,
                );
                assert_eq!(p, 1);
            }
        }
    }

    #[test]
    fn custom_rule_sees_the_record() {
        let rule = Partitioner::custom(|r: &ProducerRecord, p: &Partitions<'_>| {
            i32::try_from(r.value.as_ref().map_or(0, bytes::Bytes::len)).unwrap() % p.count()
        });
        let available = [true; 4];
        let p = PartitionerState::default().choose(
            &rule,
            &ProducerRecord::new("t").value("abcdef"),
            1,
            Partitions::new(&available),
            &mut fastrand::Rng::with_seed(0),
        );
        assert_eq!(p, 2);
    }
}
