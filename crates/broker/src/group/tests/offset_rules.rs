//! Who may commit, what is kept, when it goes.

use super::*;

#[test]
fn only_the_present_generation_of_a_member_commits() {
    let mut sim = Sim::new();
    let outsider = claim("", -1);
    assert_eq!(
        sim.commit(outsider.clone(), 0, 1),
        Ok(vec![ErrorCode::None]),
        "an empty group takes anyone's"
    );
    let ids = sim.stable(&["a", "b"]);
    for (claim, expected) in [
        (claim(&ids[0], 2), Ok(vec![ErrorCode::None])),
        (claim(&ids[0], 1), Err(ErrorCode::IllegalGeneration)),
        (claim(&ids[0], 3), Err(ErrorCode::IllegalGeneration)),
        (claim(&ids[0], -1), Err(ErrorCode::IllegalGeneration)),
        (claim("nobody", 2), Err(ErrorCode::UnknownMemberId)),
        (outsider, Err(ErrorCode::UnknownMemberId)),
    ] {
        assert_eq!(sim.commit(claim.clone(), 0, 7), expected, "{claim:?}");
    }
    // A rebalance has begun: the last chance to commit, with the old generation.
    let rejoin = sim.join(member_with_id(&ids[0]));
    assert_eq!(
        sim.commit(claim(&ids[1], 2), 1, 8),
        Ok(vec![ErrorCode::None])
    );
    let b = sim.join(member_with_id(&ids[1]));
    assert_eq!(sim.joined(rejoin).generation, 3);
    sim.joined(b);
    assert_eq!(
        sim.commit(claim(&ids[1], 2), 1, 9),
        Err(ErrorCode::IllegalGeneration)
    );
    assert_eq!(
        sim.commit(claim(&ids[1], 3), 1, 9),
        Err(ErrorCode::RebalanceInProgress)
    );
    assert_eq!(
        sim.group
            .offsets
            .get("t", 1)
            .map(|committed| committed.offset),
        Some(8)
    );
}

#[test]
fn long_metadata_fails_alone() {
    let mut sim = Sim::new();
    let long = CommitOffset {
        metadata: "x".repeat(4097).into(),
        ..offset_of("t", 0, 1)
    };
    let short = CommitOffset {
        metadata: "x".repeat(4096).into(),
        ..offset_of("t", 1, 1)
    };
    let request = CommitRequest {
        claim: claim("", -1),
        retention_ms: None,
        offsets: vec![long, short],
    };
    let codes = vec![ErrorCode::OffsetMetadataTooLarge, ErrorCode::None];
    assert_eq!(sim.partitions(Command::Commit(request)), Ok(codes));
    assert_eq!(sim.group.offsets.iter().count(), 1);
}

#[test]
fn offsets_survive_a_restart_as_they_were() {
    let mut sim = Sim::new();
    let full = CommitOffset {
        leader_epoch: 3,
        metadata: "note".into(),
        ..offset_of("t", 0, 1)
    };
    let request = CommitRequest {
        claim: claim("", -1),
        retention_ms: Some(50),
        offsets: vec![full],
    };
    sim.partitions(Command::Commit(request)).unwrap();
    let before = sim.group.offsets.get("t", 0).cloned().unwrap();
    assert_eq!(before.expires_ms, Some(1_000_050));
    sim.restart();
    assert_eq!(sim.group.offsets.get("t", 0), Some(&before));
    assert_eq!(sim.group.state(), State::Empty);
}

#[test]
fn offsets_of_a_subscribed_topic_cannot_be_deleted() {
    let mut sim = Sim::new();
    let ids = sim.stable(&["a"]);
    let offsets = vec![offset_of("t", 0, 1), offset_of("u", 0, 1)];
    let request = CommitRequest {
        claim: claim(&ids[0], 1),
        retention_ms: None,
        offsets,
    };
    sim.partitions(Command::Commit(request)).unwrap();
    let both = || Command::DeleteOffsets(vec![("t".into(), 0), ("u".into(), 0), ("u".into(), 9)]);
    let codes = vec![
        ErrorCode::GroupSubscribedToTopic,
        ErrorCode::None,
        ErrorCode::None,
    ];
    assert_eq!(sim.partitions(both()), Ok(codes));
    assert!(sim.group.offsets.get("t", 0).is_some() && sim.group.offsets.get("u", 0).is_none());
    sim.leave(&ids[0]);
    assert_eq!(sim.partitions(both()), Ok(vec![ErrorCode::None; 3]));
    assert!(sim.group.offsets.is_empty());
    assert_eq!(
        sim.journal.len(),
        1,
        "only the group is left in the journal"
    );
}

#[test]
fn a_live_group_that_is_not_of_consumers_keeps_its_offsets() {
    let mut sim = Sim::new();
    let ticket = sim.join(JoinRequest {
        protocol_type: "connect".into(),
        ..member("w")
    });
    let id = sim.joined(ticket).member_id;
    sim.settle(std::slice::from_ref(&id));
    let delete = Command::DeleteOffsets(vec![("t".into(), 0)]);
    assert_eq!(sim.partitions(delete), Err(ErrorCode::NonEmptyGroup));
}

#[test]
fn offsets_expire_by_the_kind_of_group() {
    let retention = Duration::from_secs(100);
    let config = GroupConfig {
        offsets_retention: retention,
        ..GroupConfig::default()
    };
    // A simple consumer's offset expires after its own commit, and the group with its last offset.
    let mut sim = Sim::with(config.clone());
    sim.commit(claim("", -1), 0, 1).unwrap();
    sim.pass(retention / 2);
    sim.commit(claim("", -1), 1, 1).unwrap();
    sim.pass(retention / 2);
    sim.send(Command::ExpireOffsets);
    let left: Vec<i32> = sim
        .group
        .offsets
        .iter()
        .map(|(_, partition, _)| partition)
        .collect();
    assert_eq!(left, [1]);
    sim.pass(retention);
    sim.send(Command::ExpireOffsets);
    assert!(sim.group.is_dead() && sim.journal.is_empty());
    // A group that has members keeps what it subscribes to; it expires once the group has been empty.
    let mut sim = Sim::with(config);
    let long = Duration::from_secs(1000);
    let ticket = sim.join(JoinRequest {
        session_timeout: long,
        ..member("a")
    });
    let id = sim.joined(ticket).member_id;
    sim.settle(std::slice::from_ref(&id));
    let offsets = vec![offset_of("t", 0, 1), offset_of("u", 0, 1)];
    let request = CommitRequest {
        claim: claim(&id, 1),
        retention_ms: None,
        offsets,
    };
    sim.partitions(Command::Commit(request)).unwrap();
    sim.pass(retention * 2);
    sim.send(Command::ExpireOffsets);
    assert!(sim.group.offsets.get("t", 0).is_some(), "subscribed");
    assert!(sim.group.offsets.get("u", 0).is_none(), "not subscribed");
    sim.leave(&id);
    sim.pass(retention - Duration::from_millis(1));
    sim.send(Command::ExpireOffsets);
    assert!(
        sim.group.offsets.get("t", 0).is_some(),
        "empty for less than the retention"
    );
    sim.pass(Duration::from_millis(1));
    sim.send(Command::ExpireOffsets);
    assert!(sim.group.is_dead() && sim.journal.is_empty());
}

#[test]
fn offsets_of_a_deleted_topic_go_with_it() {
    let mut sim = Sim::new();
    let offsets = vec![offset_of("t", 0, 1), offset_of("u", 0, 1)];
    let request = CommitRequest {
        claim: claim("", -1),
        retention_ms: None,
        offsets,
    };
    sim.partitions(Command::Commit(request)).unwrap();
    sim.send(Command::ForgetTopics(vec!["t".into()]));
    assert!(sim.group.offsets.get("t", 0).is_none());
    assert_eq!(sim.journal.len(), 1);
}
