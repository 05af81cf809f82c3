//! The assignors against what Java's give, and against the rules they must keep on any input.

use proptest::prelude::*;

use super::*;

const GOLDEN: &str = include_str!("../../tests/golden/assignors.txt");

#[derive(Default)]
struct Case {
    name: String,
    partitions: BTreeMap<Arc<str>, i32>,
    members: Vec<GroupMember>,
    expected: BTreeMap<&'static str, BTreeMap<String, Vec<TopicPartition>>>,
}

fn parse_partitions(list: &str) -> Vec<TopicPartition> {
    list.split(',')
        .filter(|item| !item.is_empty())
        .map(|item| {
            let (topic, partition) = item.rsplit_once('-').unwrap();
            TopicPartition::new(topic, partition.parse().unwrap())
        })
        .collect()
}

fn parse_member(words: &[&str]) -> GroupMember {
    GroupMember {
        member_id: words[1].into(),
        group_instance_id: (words[2] != "-").then(|| words[2].into()),
        generation: words[3].parse().unwrap(),
        topics: words[4]
            .strip_prefix("topics=")
            .unwrap()
            .split(',')
            .map(Arc::from)
            .collect(),
        owned: parse_partitions(words[5].strip_prefix("owned=").unwrap()),
        rack: None,
        user_data: None,
    }
}

fn golden() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut case = Case::default();
    for line in GOLDEN.lines() {
        let words: Vec<&'static str> = line.split(' ').collect();
        match words[0] {
            "case" => case.name = words[1].to_owned(),
            "topic" => {
                case.partitions
                    .insert(words[1].into(), words[2].parse().unwrap());
            }
            "member" => case.members.push(parse_member(&words)),
            "end" => cases.push(std::mem::take(&mut case)),
            assignor => {
                let shares = case.expected.entry(assignor).or_default();
                shares.insert(words[1].to_owned(), parse_partitions(words[2]));
            }
        }
    }
    cases
}

fn check_golden(assignor: &Assignor, label: &str) {
    let cases = golden();
    assert!(cases.len() > 100);
    let mut wrong = Vec::new();
    for case in &cases {
        let ours: BTreeMap<String, Vec<TopicPartition>> = assignor
            .assign(&case.partitions, &case.members)
            .into_iter()
            .map(|(id, mut share)| {
                share.sort();
                (id.to_string(), share)
            })
            .collect();
        if ours != case.expected[label] {
            wrong.push(case.name.clone());
        }
    }
    assert!(
        wrong.is_empty(),
        "{label}: {} of {} differ: {wrong:?}",
        wrong.len(),
        cases.len()
    );
}

#[test]
fn range_gives_what_java_gives() {
    check_golden(&Assignor::Range, "range");
}

#[test]
fn round_robin_gives_what_java_gives() {
    check_golden(&Assignor::RoundRobin, "round-robin");
}

#[test]
fn cooperative_sticky_gives_what_java_gives() {
    check_golden(&Assignor::CooperativeSticky, "sticky");
}

#[test]
fn one_eager_assignor_makes_the_member_eager() {
    use RebalanceProtocol::{Cooperative, Eager};
    assert_eq!(common_protocol(&[Assignor::CooperativeSticky]), Cooperative);
    assert_eq!(
        common_protocol(&[Assignor::CooperativeSticky, Assignor::Range]),
        Eager
    );
    assert_eq!(common_protocol(&[]), Eager);
}

#[test]
fn java_class_names_are_understood() {
    let name = "org.apache.kafka.clients.consumer.CooperativeStickyAssignor";
    assert_eq!(name.parse(), Ok(Assignor::CooperativeSticky));
    assert!("stick".parse::<Assignor>().is_err());
}

fn counts() -> impl Strategy<Value = BTreeMap<Arc<str>, i32>> {
    proptest::collection::vec(0i32..8, 1..4).prop_map(|counts| {
        (0..)
            .map(|t| Arc::from(format!("t{t}")))
            .zip(counts)
            .collect()
    })
}

fn member(id: usize, topics: Vec<Arc<str>>) -> GroupMember {
    GroupMember {
        member_id: format!("m{id}").into(),
        topics,
        generation: -1,
        ..GroupMember::default()
    }
}

/// Topics by bit mask, never none.
fn subscription(partitions: &BTreeMap<Arc<str>, i32>, mask: u8) -> Vec<Arc<str>> {
    let mut topics: Vec<Arc<str>> = partitions.keys().cloned().collect();
    let mut bit = 0;
    topics.retain(|_| {
        bit += 1;
        mask >> (bit - 1) & 1 == 1
    });
    if topics.is_empty() {
        partitions.keys().take(1).cloned().collect()
    } else {
        topics
    }
}

fn check_each_readable_partition_has_one_owner(
    partitions: &BTreeMap<Arc<str>, i32>,
    members: &[GroupMember],
    assignment: &Assignment,
) {
    let mut seen = BTreeSet::new();
    for (id, share) in assignment {
        let member = members.iter().find(|m| m.member_id == *id).unwrap();
        for tp in share {
            assert!(seen.insert(tp.clone()), "{tp} given twice");
            assert!(
                member.topics.contains(&tp.topic),
                "{tp} given to who does not read it"
            );
            assert!(tp.partition < partitions[&tp.topic]);
        }
    }
    let wanted: i32 = subscribed_topics(members)
        .iter()
        .map(|t| partitions[t])
        .sum();
    assert_eq!(seen.len() as i32, wanted, "partitions without an owner");
}

/// Runs rebalances as a cooperative group does, until nothing moves; returns the rounds needed.
fn settle(partitions: &BTreeMap<Arc<str>, i32>, members: &mut [GroupMember]) -> usize {
    for round in 1..=4 {
        let assignment = Assignor::CooperativeSticky.assign(partitions, members);
        let mut revoked = false;
        for member in &*members {
            for tp in &assignment[&member.member_id] {
                let others = members.iter().filter(|m| m.member_id != member.member_id);
                let owner = others.clone().find(|m| m.owned.contains(tp));
                assert!(owner.is_none(), "{tp} given before its owner revoked it");
            }
            revoked |= member
                .owned
                .iter()
                .any(|tp| !assignment[&member.member_id].contains(tp));
        }
        let generation = members.iter().map(|m| m.generation).max().unwrap_or(-1) + 1;
        for member in members.iter_mut() {
            member.owned = assignment[&member.member_id].clone();
            member.generation = generation;
        }
        if !revoked {
            check_each_readable_partition_has_one_owner(partitions, members, &assignment);
            return round;
        }
    }
    panic!("the group does not settle");
}

proptest! {
    #[test]
    fn every_assignor_gives_each_partition_one_owner(
        partitions in counts(),
        masks in proptest::collection::vec(any::<u8>(), 1..6),
    ) {
        let members: Vec<GroupMember> = masks.iter().enumerate()
            .map(|(i, mask)| member(i, subscription(&partitions, *mask))).collect();
        for assignor in [Assignor::Range, Assignor::RoundRobin, Assignor::CooperativeSticky] {
            let assignment = assignor.assign(&partitions, &members);
            check_each_readable_partition_has_one_owner(&partitions, &members, &assignment);
        }
    }

    #[test]
    fn sticky_is_balanced_and_moves_only_what_it_must(
        partitions in counts(),
        start in 1usize..6,
        grow in any::<bool>(),
    ) {
        let topics: Vec<Arc<str>> = partitions.keys().cloned().collect();
        let mut members: Vec<GroupMember> = (0..start).map(|i| member(i, topics.clone())).collect();
        settle(&partitions, &mut members);
        let before: BTreeMap<Arc<str>, Vec<TopicPartition>> =
            members.iter().map(|m| (m.member_id.clone(), m.owned.clone())).collect();
        if grow {
            members.push(member(start, topics.clone()));
        } else if start > 1 {
            members.remove(0);
        }
        prop_assert!(settle(&partitions, &mut members) <= 2);
        let loads: Vec<usize> = members.iter().map(|m| m.owned.len()).collect();
        let (least, most) = (loads.iter().min().unwrap(), loads.iter().max().unwrap());
        prop_assert!(most - least <= 1, "{loads:?}");
        let total: usize = loads.iter().sum();
        for m in &members {
            let Some(old) = before.get(&m.member_id) else { continue };
            let kept = old.iter().filter(|tp| m.owned.contains(tp)).count();
            prop_assert!(kept >= old.len().min(total / members.len()), "{} kept {kept} of {}", m.member_id, old.len());
        }
        // Nobody joined or left: nothing moves.
        let settled = members.clone();
        prop_assert_eq!(settle(&partitions, &mut members), 1);
        for (a, b) in settled.iter().zip(&members) {
            let (mut a, mut b) = (a.owned.clone(), b.owned.clone());
            a.sort();
            b.sort();
            prop_assert_eq!(a, b);
        }
    }

    #[test]
    fn members_of_different_subscriptions_settle_too(
        partitions in counts(),
        masks in proptest::collection::vec(any::<u8>(), 2..6),
        leaver in any::<prop::sample::Index>(),
    ) {
        let mut members: Vec<GroupMember> = masks.iter().enumerate()
            .map(|(i, mask)| member(i, subscription(&partitions, *mask))).collect();
        settle(&partitions, &mut members);
        members.remove(leaver.index(members.len()));
        settle(&partitions, &mut members);
    }
}
