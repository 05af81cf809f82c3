//! Round robin: the partitions of all topics are dealt in turn; who does not read a topic is passed over.

use std::collections::BTreeMap;
use std::sync::Arc;

use ferrokafka_client::TopicPartition;

use super::{Assignment, GroupMember, subscribed_topics};

pub(super) fn assign(partitions: &BTreeMap<Arc<str>, i32>, members: &[GroupMember]) -> Assignment {
    let mut ranked: Vec<&GroupMember> = members.iter().collect();
    ranked.sort_by(|a, b| a.rank().cmp(&b.rank()));
    let mut assignment = Assignment::new();
    let mut turn = 0;
    for topic in subscribed_topics(members) {
        for partition in 0..partitions.get(&topic).copied().unwrap_or(0) {
            // Ends: the topic came from one of the members.
            while !ranked[turn % ranked.len()].topics.contains(&topic) {
                turn += 1;
            }
            let member = ranked[turn % ranked.len()];
            turn += 1;
            assignment
                .entry(member.member_id.clone())
                .or_default()
                .push(TopicPartition::new(topic.clone(), partition));
        }
    }
    assignment
}
