//! Range: per topic, each member gets neighbouring partitions; the first ones get one more where
//! the count does not divide.

use std::collections::BTreeMap;
use std::sync::Arc;

use ferrokafka_client::TopicPartition;

use super::{Assignment, GroupMember, subscribed_topics};

pub(super) fn assign(partitions: &BTreeMap<Arc<str>, i32>, members: &[GroupMember]) -> Assignment {
    let mut ranked: Vec<&GroupMember> = members.iter().collect();
    ranked.sort_by(|a, b| a.rank().cmp(&b.rank()));
    let mut assignment = Assignment::new();
    for topic in subscribed_topics(members) {
        let Some(&count) = partitions.get(&topic) else {
            continue;
        };
        let readers: Vec<&&GroupMember> = ranked
            .iter()
            .filter(|m| m.topics.contains(&topic))
            .collect();
        let each = count / readers.len() as i32;
        let extra = count % readers.len() as i32;
        let mut next = 0;
        for (index, member) in readers.iter().enumerate() {
            let take = each + i32::from((index as i32) < extra);
            let share = assignment.entry(member.member_id.clone()).or_default();
            share.extend((next..next + take).map(|p| TopicPartition::new(topic.clone(), p)));
            next += take;
        }
    }
    assignment
}
