//! What each idempotent producer appended last: duplicates are recognised, gaps refused.

use std::collections::{HashMap, VecDeque};
use std::io;

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// How many batches per producer are remembered; a client has at most that many in flight.
const BATCHES: usize = 5;
/// Version of Kafka's producer snapshot files.
const SNAPSHOT_VERSION: i16 = 1;

/// The part of a batch's head that concerns its producer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) producer_id: i64,
    pub(crate) epoch: i16,
    pub(crate) base_sequence: i32,
    /// Number of records less one.
    pub(crate) last_delta: i32,
    pub(crate) timestamp: i64,
}

/// A batch of a producer, as appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Remembered {
    pub(crate) last_sequence: i32,
    pub(crate) last_offset: i64,
    pub(crate) last_delta: i32,
    pub(crate) timestamp: i64,
}

impl Remembered {
    pub(crate) fn base_offset(&self) -> i64 {
        self.last_offset - i64::from(self.last_delta)
    }
}

#[derive(Debug, Clone, Default)]
struct Producer {
    epoch: i16,
    batches: VecDeque<Remembered>,
}

/// What becomes of a batch.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The next of its producer.
    Append,
    /// Appended before; there it is.
    Duplicate(Remembered),
    /// Not the next one.
    OutOfOrder(String),
    /// Of a producer that has a newer epoch.
    Fenced(String),
}

#[derive(Debug, Default)]
pub(crate) struct Producers {
    by_id: HashMap<i64, Producer>,
}

impl Stamp {
    fn last_sequence(&self) -> i32 {
        sequence_after(self.base_sequence, self.last_delta)
    }
}

/// Sequence numbers wrap from the largest to 0.
fn sequence_after(sequence: i32, steps: i32) -> i32 {
    let sum = i64::from(sequence) + i64::from(steps);
    (sum % (i64::from(i32::MAX) + 1)) as i32
}

impl Producers {
    /// Judges a batch without remembering it.
    pub(crate) fn judge(&self, stamp: &Stamp) -> Verdict {
        let Some(producer) = self.by_id.get(&stamp.producer_id) else {
            // Nothing is known of it, perhaps because its records are gone: any sequence will do.
            return Verdict::Append;
        };
        if stamp.epoch < producer.epoch {
            return Verdict::Fenced(format!(
                "Epoch of producer {} is {}, which is smaller than the last seen epoch {}",
                stamp.producer_id, stamp.epoch, producer.epoch
            ));
        }
        if stamp.epoch > producer.epoch {
            return if stamp.base_sequence == 0 {
                Verdict::Append
            } else {
                Verdict::OutOfOrder(format!(
                    "Invalid sequence number for new epoch of producer {}: {} (request epoch), {} (seq. number), {} (current producer epoch)",
                    stamp.producer_id, stamp.epoch, stamp.base_sequence, producer.epoch
                ))
            };
        }
        let same = |batch: &&Remembered| {
            batch.last_sequence == stamp.last_sequence() && batch.last_delta == stamp.last_delta
        };
        if let Some(duplicate) = producer.batches.iter().find(same) {
            return Verdict::Duplicate(*duplicate);
        }
        match producer.batches.back() {
            Some(last) if stamp.base_sequence != sequence_after(last.last_sequence, 1) => {
                Verdict::OutOfOrder(format!(
                    "Out of order sequence number for producer {}: {} (incoming seq. number), {} (current end sequence number)",
                    stamp.producer_id, stamp.base_sequence, last.last_sequence
                ))
            }
            _ => Verdict::Append,
        }
    }

    /// Remembers a batch that was appended.
    pub(crate) fn remember(&mut self, stamp: &Stamp, last_offset: i64) {
        let producer = self.by_id.entry(stamp.producer_id).or_default();
        if producer.epoch != stamp.epoch {
            producer.epoch = stamp.epoch;
            producer.batches.clear();
        }
        if producer.batches.len() == BATCHES {
            producer.batches.pop_front();
        }
        producer.batches.push_back(Remembered {
            last_sequence: stamp.last_sequence(),
            last_offset,
            last_delta: stamp.last_delta,
            timestamp: stamp.timestamp,
        });
    }

    /// Whether the batch ending at `offset` is the last that its producer appended.
    pub(crate) fn is_last_of(&self, producer_id: i64, offset: i64) -> bool {
        let last = self
            .by_id
            .get(&producer_id)
            .and_then(|producer| producer.batches.back());
        last.is_some_and(|batch| batch.last_offset == offset)
    }

    /// Forgets producers that have been idle since before `oldest_ms`.
    pub(crate) fn expire(&mut self, oldest_ms: i64) {
        self.by_id.retain(|_, producer| {
            producer
                .batches
                .back()
                .is_some_and(|batch| batch.timestamp >= oldest_ms)
        });
    }

    /// Kafka's snapshot format. Kafka writes a producer's last batch; here each of the remembered ones
    /// has an entry, oldest first, so that a retry of any of them is recognised after a restart. A
    /// reader that knows one entry per producer keeps the last, which is the right one.
    pub(crate) fn snapshot(&self) -> Bytes {
        let mut entries = BytesMut::new();
        let mut ids: Vec<i64> = self.by_id.keys().copied().collect();
        ids.sort_unstable();
        let count: usize = self
            .by_id
            .values()
            .map(|producer| producer.batches.len())
            .sum();
        entries.put_i32(i32::try_from(count).unwrap_or(i32::MAX));
        for id in ids {
            let producer = &self.by_id[&id];
            for batch in &producer.batches {
                entries.put_i64(id);
                entries.put_i16(producer.epoch);
                entries.put_i32(batch.last_sequence);
                entries.put_i64(batch.last_offset);
                entries.put_i32(batch.last_delta);
                entries.put_i64(batch.timestamp);
                entries.put_i32(-1); // no transaction coordinator
                entries.put_i64(-1); // no open transaction
            }
        }
        let mut file = BytesMut::with_capacity(6 + entries.len());
        file.put_i16(SNAPSHOT_VERSION);
        file.put_u32(crc32c::crc32c(&entries));
        file.put_slice(&entries);
        file.freeze()
    }

    /// Reads a snapshot.
    pub(crate) fn from_snapshot(mut file: Bytes) -> io::Result<Self> {
        let damaged = || io::Error::new(io::ErrorKind::InvalidData, "damaged producer snapshot");
        if file.len() < 10
            || file.get_i16() != SNAPSHOT_VERSION
            || file.get_u32() != crc32c::crc32c(&file)
        {
            return Err(damaged());
        }
        let count = usize::try_from(file.get_i32()).map_err(|_| damaged())?;
        if file.len() < count.saturating_mul(46) {
            return Err(damaged());
        }
        let mut producers = Self::default();
        for _ in 0..count {
            let producer = producers.by_id.entry(file.get_i64()).or_default();
            let epoch = file.get_i16();
            if producer.epoch != epoch {
                producer.epoch = epoch;
                producer.batches.clear();
            }
            let (last_sequence, last_offset) = (file.get_i32(), file.get_i64());
            let (last_delta, timestamp) = (file.get_i32(), file.get_i64());
            file.advance(12);
            if producer.batches.len() == BATCHES {
                producer.batches.pop_front();
            }
            producer.batches.push_back(Remembered {
                last_sequence,
                last_offset,
                last_delta,
                timestamp,
            });
        }
        Ok(producers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(epoch: i16, base_sequence: i32, records: i32) -> Stamp {
        Stamp {
            producer_id: 7,
            epoch,
            base_sequence,
            last_delta: records - 1,
            timestamp: 1000,
        }
    }

    fn after(batches: &[(i16, i32, i32)]) -> Producers {
        let mut producers = Producers::default();
        let mut offset = 0;
        for &(epoch, base, records) in batches {
            let stamp = stamp(epoch, base, records);
            assert_eq!(producers.judge(&stamp), Verdict::Append);
            offset += i64::from(records);
            producers.remember(&stamp, offset - 1);
        }
        producers
    }

    #[test]
    fn last_five_batches_are_recognised_and_the_sixth_is_not() {
        let producers = after(&[
            (0, 0, 2),
            (0, 2, 2),
            (0, 4, 2),
            (0, 6, 2),
            (0, 8, 2),
            (0, 10, 2),
        ]);
        for base in [2, 4, 6, 8, 10] {
            let Verdict::Duplicate(found) = producers.judge(&stamp(0, base, 2)) else {
                panic!("batch {base}")
            };
            assert_eq!(found.base_offset(), i64::from(base));
        }
        assert!(matches!(
            producers.judge(&stamp(0, 0, 2)),
            Verdict::OutOfOrder(_)
        ));
        assert!(matches!(
            producers.judge(&stamp(0, 8, 1)),
            Verdict::OutOfOrder(_)
        ));
    }

    #[test]
    fn gaps_old_epochs_and_wrong_starts_of_new_epochs_are_refused() {
        let producers = after(&[(3, 0, 2)]);
        assert!(matches!(
            producers.judge(&stamp(3, 3, 1)),
            Verdict::OutOfOrder(_)
        ));
        assert!(matches!(
            producers.judge(&stamp(2, 2, 1)),
            Verdict::Fenced(_)
        ));
        assert!(matches!(
            producers.judge(&stamp(4, 2, 1)),
            Verdict::OutOfOrder(_)
        ));
        assert_eq!(producers.judge(&stamp(4, 0, 1)), Verdict::Append);
        assert_eq!(producers.judge(&stamp(3, 2, 1)), Verdict::Append);
    }

    #[test]
    fn sequence_wraps_to_zero() {
        let mut producers = Producers::default();
        let last = Stamp {
            base_sequence: i32::MAX - 1,
            ..stamp(0, 0, 2)
        };
        producers.remember(&last, 1);
        assert_eq!(producers.judge(&stamp(0, 0, 1)), Verdict::Append);
        let across = Stamp {
            base_sequence: i32::MAX,
            ..stamp(0, 0, 2)
        };
        assert_eq!(across.last_sequence(), 0);
    }

    #[test]
    fn snapshot_keeps_all_five_batches() {
        let producers = after(&[(0, 0, 2), (0, 2, 3), (0, 5, 1)]);
        let read = Producers::from_snapshot(producers.snapshot()).unwrap();
        assert!(
            matches!(read.judge(&stamp(0, 0, 2)), Verdict::Duplicate(batch) if batch.base_offset() == 0)
        );
        assert!(
            matches!(read.judge(&stamp(0, 2, 3)), Verdict::Duplicate(batch) if batch.base_offset() == 2)
        );
        assert_eq!(read.judge(&stamp(0, 6, 1)), Verdict::Append);
        let mut torn = BytesMut::from(&producers.snapshot()[..]);
        torn[12] ^= 1;
        assert!(Producers::from_snapshot(torn.freeze()).is_err());
    }
}
