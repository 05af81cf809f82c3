//! Cooperative-sticky: as balanced as can be, then as few moves as can be; a partition that moves
//! is left out of this assignment and given in the next one, when its owner has revoked it.
//!
//! Members that all read the same topics get the fast way of this file; [`super::sticky_general`]
//! serves the others.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use ferrokafka_client::TopicPartition;

use super::{Assignment, GroupMember, java_hash, sticky_general};

pub(super) fn assign(partitions: &BTreeMap<Arc<str>, i32>, members: &[GroupMember]) -> Assignment {
    if members.is_empty() {
        return Assignment::new();
    }
    let owned = Owned::collect(partitions, members);
    let mut assignment = if same_topics(members) {
        let mut assignment = constrained(partitions, members, &owned);
        for share in assignment.values_mut() {
            share.retain(|tp| !owned.contested.contains(tp));
        }
        assignment
    } else {
        sticky_general::assign(partitions, members, &owned)
    };
    hold_back_moving(members, &mut assignment);
    assignment
}

/// What members own, conflicts settled by generation.
pub(super) struct Owned {
    /// Member ids in the order in which Java walks them.
    pub(super) order: Vec<Arc<str>>,
    pub(super) by_member: HashMap<Arc<str>, Vec<TopicPartition>>,
    /// Claimed by two members of one generation: neither keeps them.
    contested: HashSet<TopicPartition>,
    pub(super) generation_max: i32,
}

impl Owned {
    fn collect(partitions: &BTreeMap<Arc<str>, i32>, members: &[GroupMember]) -> Self {
        let mut order: Vec<Arc<str>> = members.iter().map(|m| m.member_id.clone()).collect();
        java_hash::iteration_order(&mut order);
        let by_id: HashMap<&str, &GroupMember> =
            members.iter().map(|m| (&*m.member_id, m)).collect();
        let mut owned = Self {
            by_member: order.iter().map(|id| (id.clone(), Vec::new())).collect(),
            order,
            contested: HashSet::new(),
            generation_max: members
                .iter()
                .map(|m| m.generation)
                .max()
                .unwrap_or(-1)
                .max(-1),
        };
        let mut owner: HashMap<TopicPartition, (Arc<str>, i32)> = HashMap::new();
        for id in owned.order.clone() {
            let member = by_id[&*id];
            for tp in &member.owned {
                let exists = partitions.get(&tp.topic).is_some_and(|&n| tp.partition < n);
                if exists {
                    owned.claim(&mut owner, &id, member.generation, tp);
                }
            }
        }
        owned
    }

    fn claim(
        &mut self,
        owner: &mut HashMap<TopicPartition, (Arc<str>, i32)>,
        id: &Arc<str>,
        generation: i32,
        tp: &TopicPartition,
    ) {
        if let Some((other, other_generation)) = owner.get(tp) {
            if generation < *other_generation {
                return;
            }
            if let Some(theirs) = self.by_member.get_mut(other) {
                theirs.retain(|t| t != tp);
            }
            if generation == *other_generation {
                self.contested.insert(tp.clone());
                return;
            }
        }
        owner.insert(tp.clone(), (id.clone(), generation));
        self.by_member
            .entry(id.clone())
            .or_default()
            .push(tp.clone());
    }
}

fn same_topics(members: &[GroupMember]) -> bool {
    let set = |m: &GroupMember| m.topics.iter().cloned().collect::<BTreeSet<_>>();
    let first = set(&members[0]);
    members.iter().all(|m| set(m) == first)
}

/// All members read the same topics: each gets `total / members`, and `total % members` of them one more.
fn constrained(
    partitions: &BTreeMap<Arc<str>, i32>,
    members: &[GroupMember],
    owned: &Owned,
) -> Assignment {
    let topics: BTreeSet<&Arc<str>> = members[0].topics.iter().collect();
    let all: Vec<TopicPartition> = topics
        .into_iter()
        .flat_map(|topic| {
            let count = partitions.get(topic).copied().unwrap_or(0);
            (0..count).map(|p| TopicPartition::new(topic.clone(), p))
        })
        .collect();
    let mut fill = Fill::new(all.len(), members.len());
    for id in &owned.order {
        fill.keep(id, owned);
    }
    fill.deal(all);
    fill.assignment
}

/// Members being filled up to their quota.
struct Fill {
    quota_min: usize,
    quota_max: usize,
    /// How many members may hold more than the smaller quota, and how many do.
    over_min_expected: usize,
    over_min: usize,
    below: VecDeque<Arc<str>>,
    exactly: VecDeque<Arc<str>>,
    kept: HashSet<TopicPartition>,
    assignment: Assignment,
}

impl Fill {
    fn new(total: usize, members: usize) -> Self {
        Self {
            quota_min: total / members,
            quota_max: total.div_ceil(members),
            over_min_expected: total % members,
            over_min: 0,
            below: VecDeque::new(),
            exactly: VecDeque::new(),
            kept: HashSet::new(),
            assignment: Assignment::new(),
        }
    }

    /// Lets a member keep what it owns, up to its quota.
    fn keep(&mut self, id: &Arc<str>, owned: &Owned) {
        let mut mine: Vec<TopicPartition> = owned.by_member[id].clone();
        mine.sort_by(|a, b| (a.partition, &a.topic).cmp(&(b.partition, &b.topic)));
        if mine.len() < self.quota_min {
            self.below.push_back(id.clone());
        } else if mine.len() >= self.quota_max && self.over_min < self.over_min_expected {
            self.count_over_min();
            mine.truncate(self.quota_max);
        } else {
            mine.truncate(self.quota_min);
            if self.over_min < self.over_min_expected {
                self.exactly.push_back(id.clone());
            }
        }
        self.kept.extend(mine.iter().cloned());
        self.assignment.insert(id.clone(), mine);
    }

    fn count_over_min(&mut self) {
        self.over_min += 1;
        if self.over_min == self.over_min_expected {
            self.exactly.clear();
        }
    }

    /// Deals what nobody kept: round robin among those below the smaller quota, then one each to
    /// those who have exactly that, as far as the count allows.
    fn deal(&mut self, all: Vec<TopicPartition>) {
        self.below.make_contiguous().sort();
        self.exactly.make_contiguous().sort();
        let mut turn = 0;
        for tp in all {
            if self.kept.contains(&tp) {
                continue;
            }
            if self.below.is_empty() {
                // The quotas add up to the number of partitions, so somebody has room.
                let Some(id) = self.exactly.pop_front() else {
                    return;
                };
                self.assignment.entry(id).or_default().push(tp);
                self.count_over_min();
                continue;
            }
            turn %= self.below.len();
            let id = self.below[turn].clone();
            let share = self.assignment.entry(id.clone()).or_default();
            share.push(tp);
            if share.len() == self.quota_min {
                self.below.remove(turn);
                self.exactly.push_back(id);
            } else {
                turn += 1;
            }
        }
    }
}

/// The cooperative rule: what one member owns and another would get is given to nobody yet. The
/// owner sees that it lost it, revokes it, and joins again; then it is free.
fn hold_back_moving(members: &[GroupMember], assignment: &mut Assignment) {
    let mut owners: HashMap<&TopicPartition, HashSet<&str>> = HashMap::new();
    for member in members {
        for tp in &member.owned {
            owners.entry(tp).or_default().insert(&member.member_id);
        }
    }
    for (id, share) in assignment.iter_mut() {
        share.retain(|tp| owners.get(tp).is_none_or(|owners| owners.contains(&**id)));
    }
}
