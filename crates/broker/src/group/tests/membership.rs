//! Who may enter, who is known, who is evicted when.

use super::*;

#[test]
fn a_first_member_leads_alone_at_once() {
    let mut sim = Sim::new();
    let ticket = sim.join(member("a"));
    let reply = sim.joined(ticket);
    assert_eq!((reply.error, reply.generation), (ErrorCode::None, 1));
    assert_eq!(reply.leader, reply.member_id);
    assert_eq!(reply.members.len(), 1);
    assert_eq!(reply.protocol.as_deref(), Some("range"));
    assert_eq!(sim.group.state(), State::CompletingRebalance);
}

#[test]
fn one_seed_gives_the_same_member_ids() {
    let ids = |_| Sim::new().stable(&["a", "b"]);
    assert_eq!(ids(0), ids(1));
    assert!(ids(0)[0].starts_with("a-"));
}

#[test]
fn a_member_without_id_is_given_one_and_must_return_with_it() {
    let mut sim = Sim::new();
    let ticket = sim.join(JoinRequest {
        requires_known_id: true,
        ..member("a")
    });
    let first = sim.joined(ticket);
    assert_eq!(first.error, ErrorCode::MemberIdRequired);
    assert!(!first.member_id.is_empty());
    assert_eq!(sim.group.state(), State::Empty);
    let ticket = sim.join(JoinRequest {
        requires_known_id: true,
        ..member_with_id(&first.member_id)
    });
    let second = sim.joined(ticket);
    assert_eq!(
        (second.error, second.member_id),
        (ErrorCode::None, first.member_id)
    );
}

#[test]
fn an_id_that_is_not_used_in_time_is_forgotten() {
    let mut sim = Sim::new();
    let ticket = sim.join(JoinRequest {
        requires_known_id: true,
        ..member("a")
    });
    let id = sim.joined(ticket).member_id;
    sim.pass(SESSION);
    let ticket = sim.join(member_with_id(&id));
    assert_eq!(sim.joined(ticket).error, ErrorCode::UnknownMemberId);
    assert!(sim.group.pending.is_empty());
}

#[test]
fn a_round_waits_for_an_id_that_was_handed_out() {
    let mut sim = Sim::new();
    let ids = sim.stable(&["a"]);
    let ticket = sim.join(JoinRequest {
        requires_known_id: true,
        ..member("b")
    });
    let b = sim.joined(ticket).member_id;
    let rejoin = sim.join(member_with_id(&ids[0]));
    assert_eq!(sim.take(rejoin), None, "b is expected");
    let ticket = sim.join(member_with_id(&b));
    assert_eq!(sim.joined(ticket).generation, 2);
    assert_eq!(sim.joined(rejoin).members.len(), 2);
}

#[test]
fn who_is_not_known_is_told_so() {
    let mut sim = Sim::new();
    let ids = sim.stable(&["a"]);
    for (member, generation, expected) in [
        ("nobody", 1, ErrorCode::UnknownMemberId),
        ("", 1, ErrorCode::UnknownMemberId),
        (&ids[0], 0, ErrorCode::IllegalGeneration),
        (&ids[0], 2, ErrorCode::IllegalGeneration),
        (&ids[0], 1, ErrorCode::None),
    ] {
        assert_eq!(
            sim.heartbeat(member, generation),
            expected,
            "{member} {generation}"
        );
        let ticket = sim.sync(member, generation, &[]);
        assert_eq!(
            sim.synced(ticket).error,
            expected,
            "sync of {member} {generation}"
        );
    }
    let ticket = sim.join(member_with_id("nobody"));
    assert_eq!(sim.joined(ticket).error, ErrorCode::UnknownMemberId);
    assert_eq!(sim.leave("nobody"), ErrorCode::UnknownMemberId);
}

#[test]
fn protocols_that_do_not_fit_are_refused() {
    let mut sim = Sim::new();
    let none = sim.join(JoinRequest {
        protocols: Vec::new(),
        ..member("a")
    });
    assert_eq!(sim.joined(none).error, ErrorCode::InconsistentGroupProtocol);
    let untyped = sim.join(JoinRequest {
        protocol_type: "".into(),
        ..member("a")
    });
    assert_eq!(
        sim.joined(untyped).error,
        ErrorCode::InconsistentGroupProtocol
    );
    sim.stable(&["a"]);
    for request in [
        JoinRequest {
            protocol_type: "connect".into(),
            ..member("b")
        },
        JoinRequest {
            protocols: protocols(&["roundrobin"]),
            ..member("b")
        },
    ] {
        let ticket = sim.join(request);
        assert_eq!(
            sim.joined(ticket).error,
            ErrorCode::InconsistentGroupProtocol
        );
    }
}

#[test]
fn a_full_group_turns_newcomers_away_and_keeps_its_members() {
    let mut sim = Sim::with(GroupConfig {
        members_max: 2,
        ..GroupConfig::default()
    });
    let ids = sim.stable(&["a", "b"]);
    let ticket = sim.join(member("c"));
    assert_eq!(sim.joined(ticket).error, ErrorCode::GroupMaxSizeReached);
    assert_eq!(
        sim.heartbeat(&ids[0], sim.group.generation),
        ErrorCode::None
    );
    let leader = sim.join(member_with_id(&ids[0]));
    let ticket = sim.join(member_with_id(&ids[1]));
    assert_eq!(sim.joined(leader).error, ErrorCode::None);
    assert_eq!(sim.joined(ticket).error, ErrorCode::None);
}

#[test]
fn a_silent_member_is_evicted_at_its_session_timeout_and_not_before() {
    let mut sim = Sim::new();
    let ids = sim.stable(&["a", "b"]);
    let generation = sim.group.generation;
    sim.pass(SESSION - Duration::from_millis(1));
    assert_eq!(sim.heartbeat(&ids[0], generation), ErrorCode::None);
    assert_eq!(sim.group.members.len(), 2);
    sim.pass(Duration::from_millis(1));
    assert_eq!(sim.group.members.len(), 1);
    assert_eq!(sim.group.state(), State::PreparingRebalance);
    assert_eq!(
        sim.heartbeat(&ids[0], generation),
        ErrorCode::RebalanceInProgress
    );
    assert_eq!(
        sim.heartbeat(&ids[1], generation),
        ErrorCode::UnknownMemberId
    );
    let ticket = sim.join(member_with_id(&ids[0]));
    assert_eq!(sim.joined(ticket).members.len(), 1);
}

#[test]
fn heartbeats_and_commits_keep_a_session_alive() {
    let mut sim = Sim::new();
    let ids = sim.stable(&["a"]);
    for _ in 0..5 {
        sim.pass(SESSION / 2);
        assert_eq!(sim.heartbeat(&ids[0], 1), ErrorCode::None);
        sim.pass(SESSION / 2);
        assert_eq!(
            sim.commit(claim(&ids[0], 1), 0, 1),
            Ok(vec![ErrorCode::None])
        );
    }
}

#[test]
fn a_parked_join_keeps_a_known_member_but_a_new_one_only_five_minutes() {
    let mut sim = Sim::new();
    let long = Duration::from_secs(1200);
    let ticket = sim.join(JoinRequest {
        rebalance_timeout: long,
        session_timeout: long,
        ..member("a")
    });
    let a = sim.joined(ticket).member_id;
    sim.settle(std::slice::from_ref(&a));
    let b = sim.join(JoinRequest {
        rebalance_timeout: long,
        ..member("b")
    });
    sim.pass(Duration::from_secs(299));
    assert_eq!(sim.take(b), None);
    sim.pass(Duration::from_secs(1));
    let reply = sim.joined(b);
    assert_eq!(
        (reply.error, &*reply.member_id),
        (ErrorCode::UnknownMemberId, "")
    );
    // a's session is long, and its parked rejoin outlasts even that.
    let ticket = sim.join(JoinRequest {
        session_timeout: SESSION,
        rebalance_timeout: long,
        ..member_with_id(&a)
    });
    assert_eq!(sim.joined(ticket).error, ErrorCode::None);
    sim.settle(std::slice::from_ref(&a));
    let b = sim.join(JoinRequest {
        session_timeout: long,
        rebalance_timeout: long,
        ..member("b")
    });
    let rejoin = sim.join(JoinRequest {
        rebalance_timeout: long,
        ..member_with_id(&a)
    });
    let b = sim.joined(b).member_id;
    sim.joined(rejoin);
    sim.settle(&[a.clone(), b]);
    let _parked = sim.join(JoinRequest {
        rebalance_timeout: long,
        ..member_with_id(&a)
    });
    sim.pass(SESSION * 10);
    assert!(sim.group.members.contains_key(&a));
}

#[test]
fn leaving_starts_a_rebalance_and_the_last_one_empties_the_group() {
    let mut sim = Sim::new();
    let ids = sim.stable(&["a", "b"]);
    assert_eq!(sim.leave(&ids[1]), ErrorCode::None);
    assert_eq!(sim.group.state(), State::PreparingRebalance);
    let ticket = sim.join(member_with_id(&ids[0]));
    assert_eq!(sim.joined(ticket).generation, 3);
    assert_eq!(sim.leave(&ids[0]), ErrorCode::None);
    assert_eq!(sim.group.state(), State::Empty);
    assert_eq!(sim.group.generation, 4);
}

#[test]
fn a_leader_that_dies_is_replaced() {
    let mut sim = Sim::new();
    let ids = sim.stable(&["a", "b", "c"]);
    assert_eq!(sim.leave(&ids[0]), ErrorCode::None);
    let b = sim.join(member_with_id(&ids[1]));
    let c = sim.join(member_with_id(&ids[2]));
    let (b, c) = (sim.joined(b), sim.joined(c));
    assert_eq!(b.leader, c.leader);
    assert!(ids[1..].contains(&b.leader));
    let sizes = [b.members.len(), c.members.len()];
    assert!(
        sizes == [2, 0] || sizes == [0, 2],
        "only the leader sees the members: {sizes:?}"
    );
}

#[test]
fn a_test_can_end_a_session() {
    let mut sim = Sim::new();
    let ids = sim.stable(&["a", "b"]);
    assert_eq!(
        sim.code(Command::ExpireSession(ids[1].clone())),
        ErrorCode::None
    );
    assert_eq!(sim.group.state(), State::PreparingRebalance);
    assert_eq!(
        sim.code(Command::ExpireSession(ids[1].clone())),
        ErrorCode::UnknownMemberId
    );
}

#[test]
fn a_group_with_members_cannot_be_deleted() {
    let mut sim = Sim::new();
    let ids = sim.stable(&["a"]);
    assert_eq!(
        sim.commit(claim(&ids[0], 1), 0, 5),
        Ok(vec![ErrorCode::None])
    );
    assert_eq!(sim.code(Command::Delete), ErrorCode::NonEmptyGroup);
    assert_eq!(sim.leave(&ids[0]), ErrorCode::None);
    assert!(!sim.journal.is_empty());
    assert_eq!(sim.code(Command::Delete), ErrorCode::None);
    assert!(
        sim.journal.is_empty(),
        "tombstones for the group and its offsets"
    );
    assert_eq!(sim.code(Command::Delete), ErrorCode::GroupIdNotFound);
    assert_eq!(
        sim.heartbeat(&ids[0], 1),
        ErrorCode::CoordinatorNotAvailable
    );
}
