//! The order in which a Java `HashMap` hands out its entries.
//!
//! Java's sticky assignor walks hash maps, so which of two equal members keeps the odd partition
//! depends on that order. To give the same answer we walk in the same order.

use std::sync::Arc;

use ferrokafka_client::TopicPartition;

/// `String.hashCode`, which counts UTF-16 units.
pub(super) fn string_hash(text: &str) -> i32 {
    text.encode_utf16().fold(0i32, |hash, unit| {
        hash.wrapping_mul(31).wrapping_add(i32::from(unit))
    })
}

/// `TopicPartition.hashCode`.
pub(super) fn topic_partition_hash(tp: &TopicPartition) -> i32 {
    31i32
        .wrapping_add(tp.partition)
        .wrapping_mul(31)
        .wrapping_add(string_hash(&tp.topic))
}

/// The bucket of a hash in a map that grew to hold `entries`.
pub(super) fn bucket(hash: i32, entries: usize) -> u32 {
    let mut capacity: u32 = 16;
    while entries as u64 * 4 > u64::from(capacity) * 3 && capacity < 1 << 30 {
        capacity *= 2;
    }
    let hash = hash as u32;
    (hash ^ (hash >> 16)) & (capacity - 1)
}

/// Puts keys, which stand in the order of insertion, into the order of iteration.
pub(crate) fn iteration_order(keys: &mut [Arc<str>]) {
    let entries = keys.len();
    // A bucket keeps the order of insertion, hence a stable sort.
    keys.sort_by_key(|key| bucket(string_hash(key), entries));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_java() {
        assert_eq!(string_hash(""), 0);
        assert_eq!(string_hash("consumer-1"), {
            let mut hash = 0i32;
            for byte in b"consumer-1" {
                hash = hash.wrapping_mul(31).wrapping_add(i32::from(*byte));
            }
            hash
        });
        assert_eq!(string_hash("polygenelubricants"), i32::MIN);
    }

    #[test]
    fn table_doubles_past_three_quarters() {
        // 12 entries fit a table of 16; 13 need 32.
        assert_eq!(bucket(16, 12), 0);
        assert_eq!(bucket(16, 13), 16);
    }
}
