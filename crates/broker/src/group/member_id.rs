//! Member ids from a seed: the same calls with the same seed give the same ids.
//!
//! An id is `<client id>-<uuid>` (`<group.instance.id>-<uuid>` for a static member), as Kafka's are. The uuid is
//! derived from the seed, the group, the prefix and a count, never from a shared stream, so that two
//! groups (or two client ids of one group) that join in another order still get the same ids.

use std::collections::HashMap;

use super::Name;

/// Prefixes counted at once; when a group has seen more, the counts start anew in another life.
const PREFIXES_MAX: usize = 10_000;

/// Where the ids of one group come from.
#[derive(Debug, Clone)]
pub(crate) struct MemberIds {
    seed: u64,
    /// Tells apart the lives of a group: it is mixed in so that an id is not handed out again after
    /// the group was deleted or the coordinator restarted while an old holder may still be about.
    life: u64,
    issued: HashMap<Name, u64>,
}

impl MemberIds {
    pub(crate) fn new(seed: u64, life: u64) -> Self {
        Self {
            seed,
            life,
            issued: HashMap::new(),
        }
    }

    pub(super) fn issue(&mut self, group: &str, prefix: &str) -> Name {
        if self.issued.len() >= PREFIXES_MAX && !self.issued.contains_key(prefix) {
            self.issued.clear();
            self.life = self.life.wrapping_add(1 << 48);
        }
        let count = self.issued.entry(prefix.into()).or_insert(0);
        *count += 1;
        let mut hash = Fnv::new(self.seed);
        hash.write(&self.life.to_be_bytes());
        hash.write(group.as_bytes());
        hash.write(&[0]);
        hash.write(prefix.as_bytes());
        hash.write(&count.to_be_bytes());
        let random = fastrand::Rng::with_seed(hash.0).u128(..);
        let uuid = uuid::Builder::from_random_bytes(random.to_be_bytes()).into_uuid();
        format!("{prefix}-{uuid}").into()
    }
}

/// FNV-1a with a seeded start: stable across Rust versions, unlike the standard library's hasher.
pub(super) struct Fnv(pub(super) u64);

impl Fnv {
    pub(super) fn new(seed: u64) -> Self {
        let mut hash = Self(0xcbf2_9ce4_8422_2325);
        hash.write(&seed.to_be_bytes());
        hash
    }

    pub(super) fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_gives_the_same_ids_whatever_the_order() {
        let mut first = MemberIds::new(7, 0);
        let mut second = MemberIds::new(7, 0);
        let a = [
            first.issue("g", "a"),
            first.issue("g", "b"),
            first.issue("g", "a"),
        ];
        let b = [
            second.issue("g", "b"),
            second.issue("g", "a"),
            second.issue("g", "a"),
        ];
        assert_eq!([&a[0], &a[1], &a[2]], [&b[1], &b[0], &b[2]]);
        assert!(a[0].starts_with("a-") && a[0].len() == 38, "{}", a[0]);
        assert_ne!(a[0], a[2]);
    }

    #[test]
    fn seed_group_and_life_each_change_the_ids() {
        let id = |seed, life, group: &str| MemberIds::new(seed, life).issue(group, "c");
        let all = [id(1, 0, "g"), id(2, 0, "g"), id(1, 1, "g"), id(1, 0, "h")];
        for (i, a) in all.iter().enumerate() {
            assert!(all[i + 1..].iter().all(|b| a != b));
        }
    }
}
