//! The sticky assignment of members that read different topics.
//!
//! Unassigned partitions go to the least loaded member that reads them; then partitions move one
//! by one from a member with at least two more to one with fewer, until that helps nobody. If the
//! result is no better than what was kept, the moves are undone.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use ferrokafka_client::TopicPartition;

use super::sticky::Owned;
use super::{Assignment, GroupMember, java_hash, subscribed_topics};

pub(super) fn assign(
    partitions: &BTreeMap<Arc<str>, i32>,
    members: &[GroupMember],
    owned: &Owned,
) -> Assignment {
    let mut build = Build::new(partitions, members, owned);
    let unassigned = build.keep_owned(members, owned);
    build.balance(unassigned);
    build.current.into_iter().collect()
}

struct Build<'a> {
    partitions: &'a BTreeMap<Arc<str>, i32>,
    /// Readers by topic, in the order in which Java walks members.
    readers: BTreeMap<Arc<str>, Vec<Arc<str>>>,
    topics_of: HashMap<Arc<str>, Vec<Arc<str>>>,
    /// Who had a partition in an older generation.
    previous: HashMap<TopicPartition, (Arc<str>, i32)>,
    current: HashMap<Arc<str>, Vec<TopicPartition>>,
    owner: HashMap<TopicPartition, Arc<str>>,
    /// Members by load.
    by_load: BTreeSet<(usize, Arc<str>)>,
    sorted: Vec<TopicPartition>,
    revocation_required: bool,
    moves: Moves,
}

impl<'a> Build<'a> {
    fn new(
        partitions: &'a BTreeMap<Arc<str>, i32>,
        members: &[GroupMember],
        owned: &Owned,
    ) -> Self {
        let by_id: HashMap<&str, &GroupMember> =
            members.iter().map(|m| (&*m.member_id, m)).collect();
        let mut readers: BTreeMap<Arc<str>, Vec<Arc<str>>> = subscribed_topics(members)
            .into_iter()
            .filter(|topic| partitions.contains_key(topic))
            .map(|topic| (topic, Vec::new()))
            .collect();
        let mut topics_of = HashMap::new();
        for id in &owned.order {
            let mut mine: Vec<Arc<str>> = by_id[&**id].topics.clone();
            mine.retain(|topic| readers.contains_key(topic));
            for topic in &mine {
                readers.entry(topic.clone()).or_default().push(id.clone());
            }
            topics_of.insert(id.clone(), mine);
        }
        let mut topics: Vec<&Arc<str>> = readers.keys().collect();
        topics.sort_by_key(|topic| (readers[*topic].len(), *topic));
        let sorted = topics
            .into_iter()
            .flat_map(|t| (0..partitions[t]).map(|p| TopicPartition::new(t.clone(), p)))
            .collect();
        Self {
            partitions,
            topics_of,
            previous: previous_owners(members, owned),
            current: owned
                .order
                .iter()
                .map(|id| (id.clone(), Vec::new()))
                .collect(),
            owner: HashMap::new(),
            by_load: BTreeSet::new(),
            sorted,
            revocation_required: false,
            moves: Moves::default(),
            readers,
        }
    }

    /// Keeps what members own and still read; returns the rest in order.
    fn keep_owned(&mut self, members: &[GroupMember], owned: &Owned) -> Vec<TopicPartition> {
        for member in members {
            for tp in &owned.by_member[&member.member_id] {
                if !self.readers.contains_key(&tp.topic) {
                    continue;
                }
                if member.topics.contains(&tp.topic) {
                    self.give(tp, &member.member_id);
                } else {
                    self.revocation_required = true;
                }
            }
        }
        self.by_load = self
            .current
            .iter()
            .map(|(id, share)| (share.len(), id.clone()))
            .collect();
        self.sorted
            .iter()
            .filter(|tp| !self.owner.contains_key(*tp))
            .cloned()
            .collect()
    }

    fn give(&mut self, tp: &TopicPartition, id: &Arc<str>) {
        self.owner.insert(tp.clone(), id.clone());
        self.current.entry(id.clone()).or_default().push(tp.clone());
    }

    fn load(&self, id: &str) -> usize {
        self.current.get(id).map_or(0, Vec::len)
    }

    fn least_loaded_reader(&self, topic: &str) -> Option<Arc<str>> {
        let reads = |id: &str| self.topics_of[id].iter().any(|t| &**t == topic);
        self.by_load
            .iter()
            .find(|(_, id)| reads(id))
            .map(|(_, id)| id.clone())
    }

    fn balance(&mut self, mut unassigned: Vec<TopicPartition>) {
        let initializing = self.by_load.last().is_none_or(|(load, _)| *load == 0);
        for tp in &unassigned {
            if let Some(id) = self.least_loaded_reader(&tp.topic) {
                let load = self.load(&id);
                self.by_load.remove(&(load, id.clone()));
                self.give(tp, &id);
                self.by_load.insert((load + 1, id));
            }
        }
        let movable: HashSet<Arc<str>> = self
            .readers
            .iter()
            .filter(|(_, r)| r.len() > 1)
            .map(|(t, _)| t.clone())
            .collect();
        let mut sorted = std::mem::take(&mut self.sorted);
        sorted.retain(|tp| movable.contains(&tp.topic));
        unassigned.retain(|tp| movable.contains(&tp.topic));
        let fixed = self.set_fixed_members_aside(&movable);

        let before = (self.current.clone(), self.owner.clone());
        if !self.revocation_required {
            self.reassign(&unassigned);
        }
        let moved = self.reassign(&sorted);
        if !initializing && moved && score(&self.current) >= score(&before.0) {
            (self.current, self.owner) = before;
        }
        self.current.extend(fixed);
    }

    /// Members which have all they can get, all of it theirs alone, take no part in the moves.
    fn set_fixed_members_aside(
        &mut self,
        movable: &HashSet<Arc<str>>,
    ) -> Vec<(Arc<str>, Vec<TopicPartition>)> {
        let mut fixed = Vec::new();
        for (id, topics) in &self.topics_of {
            let most: i32 = topics.iter().map(|topic| self.partitions[topic]).sum();
            let share = &self.current[id];
            let takes_part = (share.len() as i64) < i64::from(most)
                || share.iter().any(|tp| movable.contains(&tp.topic));
            if !takes_part {
                self.by_load.remove(&(share.len(), id.clone()));
                fixed.push((id.clone(), share.clone()));
            }
        }
        for (id, _) in &fixed {
            self.current.remove(id);
        }
        fixed
    }

    /// Moves partitions until a whole round moves none. Ends: every move lowers the sum of squares
    /// of the loads.
    fn reassign(&mut self, candidates: &[TopicPartition]) -> bool {
        let mut moved_any = false;
        loop {
            let mut moved = false;
            for tp in candidates {
                if self.is_balanced() {
                    break;
                }
                let Some(target) = self.better_owner(tp) else {
                    continue;
                };
                let from = self.owner[tp].clone();
                let actual = self.moves.partition_to_move(tp, &from, &target);
                self.move_partition(&actual, &target);
                moved = true;
            }
            moved_any |= moved;
            if !moved {
                return moved_any;
            }
        }
    }

    fn better_owner(&self, tp: &TopicPartition) -> Option<Arc<str>> {
        let load = self.load(self.owner.get(tp)?);
        if let Some((previous, _)) = self.previous.get(tp)
            && self.current.contains_key(previous)
            && load > self.load(previous) + 1
        {
            return Some(previous.clone());
        }
        let lighter = |id: &Arc<str>| load > self.load(id) + 1;
        if self.readers[&tp.topic].iter().any(lighter) {
            return self.least_loaded_reader(&tp.topic);
        }
        None
    }

    fn move_partition(&mut self, tp: &TopicPartition, to: &Arc<str>) {
        let from = self.owner[tp].clone();
        let (from_load, to_load) = (self.load(&from), self.load(to));
        self.by_load.remove(&(from_load, from.clone()));
        self.by_load.remove(&(to_load, to.clone()));
        self.moves.record(tp, &from, to);
        if let Some(share) = self.current.get_mut(&from) {
            share.retain(|t| t != tp);
        }
        self.give(tp, to);
        self.by_load.insert((self.load(&from), from));
        self.by_load.insert((self.load(to), to.clone()));
    }

    /// Balanced when loads differ by at most one, or when nobody could take from a fuller member.
    fn is_balanced(&self) -> bool {
        let (Some((least, _)), Some((most, _))) = (self.by_load.first(), self.by_load.last())
        else {
            return true;
        };
        if least + 1 >= *most {
            return true;
        }
        self.by_load.iter().all(|(load, id)| {
            self.topics_of[id].iter().all(|topic| {
                (0..self.partitions[topic]).all(|p| {
                    match self.owner.get(&TopicPartition::new(topic.clone(), p)) {
                        Some(other) => other == id || *load >= self.load(other),
                        None => true,
                    }
                })
            })
        })
    }
}

/// The newest owner of each partition among members that missed the newest generation.
fn previous_owners(
    members: &[GroupMember],
    owned: &Owned,
) -> HashMap<TopicPartition, (Arc<str>, i32)> {
    let mut previous: HashMap<TopicPartition, (Arc<str>, i32)> = HashMap::new();
    for member in members
        .iter()
        .filter(|m| m.generation < owned.generation_max)
    {
        for tp in &member.owned {
            let newer = previous.get(tp).is_none_or(|(_, g)| member.generation > *g);
            if newer {
                previous.insert(tp.clone(), (member.member_id.clone(), member.generation));
            }
        }
    }
    previous
}

/// Sum of the differences of load over all pairs of members; 0 is perfect.
fn score(current: &HashMap<Arc<str>, Vec<TopicPartition>>) -> usize {
    let loads: Vec<usize> = current.values().map(Vec::len).collect();
    let pairs = loads.iter().enumerate();
    pairs
        .flat_map(|(i, a)| loads[i + 1..].iter().map(|b| a.abs_diff(*b)))
        .sum()
}

type Pair = (Arc<str>, Arc<str>);

/// The moves so far, so that a topic's partitions do not swap places between two members.
#[derive(Default)]
struct Moves {
    of_partition: HashMap<TopicPartition, Pair>,
    by_topic: HashMap<Arc<str>, HashMap<Pair, Vec<TopicPartition>>>,
}

impl Moves {
    fn record(&mut self, tp: &TopicPartition, from: &Arc<str>, to: &Arc<str>) {
        let origin = match self.of_partition.remove(tp) {
            Some(pair) => {
                if let Some(topic) = self.by_topic.get_mut(&tp.topic)
                    && let Some(list) = topic.get_mut(&pair)
                {
                    list.retain(|t| t != tp);
                    if list.is_empty() {
                        topic.remove(&pair);
                    }
                    if topic.is_empty() {
                        self.by_topic.remove(&tp.topic);
                    }
                }
                pair.0
            }
            None => from.clone(),
        };
        if origin == *to {
            return;
        }
        let pair = (origin, to.clone());
        self.of_partition.insert(tp.clone(), pair.clone());
        let topic = self.by_topic.entry(tp.topic.clone()).or_default();
        topic.entry(pair).or_default().push(tp.clone());
    }

    /// If another partition of the topic went the opposite way, that one goes back instead.
    fn partition_to_move(
        &self,
        tp: &TopicPartition,
        from: &Arc<str>,
        to: &Arc<str>,
    ) -> TopicPartition {
        let Some(topic) = self.by_topic.get(&tp.topic) else {
            return tp.clone();
        };
        let origin = self.of_partition.get(tp).map_or(from, |pair| &pair.0);
        let Some(opposite) = topic.get(&(to.clone(), origin.clone())) else {
            return tp.clone();
        };
        let entries = opposite.len();
        let first = opposite
            .iter()
            .min_by_key(|t| java_hash::bucket(java_hash::topic_partition_hash(t), entries));
        first.unwrap_or(tp).clone()
    }
}
