//! Static members (KIP-345): a restart takes its own place, a duplicate is fenced.

use super::*;

fn claim_static(member: &str, instance: &str, generation: i32) -> Claim {
    Claim {
        instance: Some(instance.into()),
        ..claim(member, generation)
    }
}

fn stable_with_static(sim: &mut Sim) -> (Name, Name) {
    let first = sim.join(member("a"));
    let a = sim.joined(first).member_id;
    let s = sim.join(static_member("s"));
    let rejoin = sim.join(member_with_id(&a));
    let s = sim.joined(s);
    assert_eq!(
        s.error,
        ErrorCode::None,
        "a static member needs no second round"
    );
    assert!(s.member_id.starts_with("s-"));
    sim.joined(rejoin);
    sim.settle(&[a.clone(), s.member_id.clone()]);
    (a, s.member_id)
}

#[test]
fn a_restarted_static_member_takes_its_place_without_a_rebalance() {
    let mut sim = Sim::new();
    let (a, old) = stable_with_static(&mut sim);
    let ticket = sim.join(static_member("s"));
    let reply = sim.joined(ticket);
    assert_eq!((reply.error, reply.generation), (ErrorCode::None, 2));
    assert_ne!(reply.member_id, old);
    assert_eq!(
        (reply.leader, reply.members.len(), reply.skip_assignment),
        (a.clone(), 0, false)
    );
    assert_eq!(sim.group.state(), State::Stable);
    assert_eq!(sim.heartbeat(&a, 2), ErrorCode::None);
    let sync = sim.sync(&reply.member_id, 2, &[]);
    assert_eq!(
        sim.synced(sync).assignment.as_ref(),
        old.as_bytes(),
        "the old assignment"
    );
    let fenced = sim.code(Command::Heartbeat(claim_static(&old, "s", 2)));
    assert_eq!(fenced, ErrorCode::FencedInstanceId);
    assert_eq!(
        sim.commit(claim_static(&old, "s", 2), 0, 1),
        Err(ErrorCode::FencedInstanceId)
    );
    assert_eq!(
        sim.code(Command::Heartbeat(claim_static(&reply.member_id, "s", 2))),
        ErrorCode::None
    );
    sim.restart();
    assert_eq!(
        sim.code(Command::Heartbeat(claim_static(&reply.member_id, "s", 2))),
        ErrorCode::None
    );
}

#[test]
fn a_restarted_static_leader_skips_the_assignment_or_does_not_learn_that_it_leads() {
    for may_skip_assignment in [true, false] {
        let mut sim = Sim::new();
        let ticket = sim.join(static_member("s"));
        let old = sim.joined(ticket).member_id;
        sim.settle(std::slice::from_ref(&old));
        let ticket = sim.join(JoinRequest {
            may_skip_assignment,
            ..static_member("s")
        });
        let reply = sim.joined(ticket);
        assert_eq!(reply.error, ErrorCode::None);
        assert_eq!(reply.skip_assignment, may_skip_assignment);
        assert_eq!(reply.leader == reply.member_id, may_skip_assignment);
        assert_eq!(reply.leader == old, !may_skip_assignment);
        assert_eq!(reply.members.len(), usize::from(may_skip_assignment));
    }
}

#[test]
fn a_restart_that_changes_the_protocol_rebalances() {
    let mut sim = Sim::new();
    let ticket = sim.join(JoinRequest {
        protocols: protocols(&["range", "sticky"]),
        ..static_member("s")
    });
    let old = sim.joined(ticket).member_id;
    sim.settle(std::slice::from_ref(&old));
    let ticket = sim.join(JoinRequest {
        protocols: protocols(&["sticky", "range"]),
        ..static_member("s")
    });
    let reply = sim.joined(ticket);
    assert_eq!(
        (reply.generation, reply.protocol.as_deref()),
        (2, Some("sticky"))
    );
    assert_eq!(sim.group.state(), State::CompletingRebalance);
}

#[test]
fn a_duplicate_that_is_still_waiting_is_fenced() {
    let mut sim = Sim::new();
    let (a, old) = stable_with_static(&mut sim);
    let leader = sim.join(member_with_id(&a));
    let waiting = sim.join(JoinRequest {
        protocols: protocols(&["range", "more"]),
        member_id: old.clone(),
        ..static_member("s")
    });
    sim.joined(leader);
    sim.joined(waiting);
    let parked = sim.send(Command::Sync(SyncRequest {
        claim: claim_static(&old, "s", 3),
        protocol_type: None,
        protocol: None,
        assignments: Vec::new(),
    }));
    let restarted = sim.join(static_member("s"));
    assert_eq!(sim.synced(parked).error, ErrorCode::FencedInstanceId);
    assert_eq!(
        sim.take(restarted),
        None,
        "the leader may be assigning to the old id: a new round"
    );
    let second = sim.join(static_member("s"));
    assert_eq!(sim.joined(restarted).error, ErrorCode::FencedInstanceId);
    let rejoin = sim.join(member_with_id(&a));
    assert_eq!(sim.joined(rejoin).generation, 4);
    assert_eq!(sim.joined(second).generation, 4);
}

#[test]
fn an_absent_static_member_keeps_its_place_for_a_round() {
    let mut sim = Sim::new();
    let long = Duration::from_secs(600);
    let first = sim.join(member("a"));
    let a = sim.joined(first).member_id;
    let s = sim.join(JoinRequest {
        session_timeout: long,
        ..static_member("s")
    });
    let rejoin = sim.join(member_with_id(&a));
    let s = sim.joined(s).member_id;
    sim.joined(rejoin);
    sim.settle(&[a.clone(), s.clone()]);
    let rejoin = sim.join(member_with_id(&a));
    sim.pass(REBALANCE);
    let reply = sim.joined(rejoin);
    assert_eq!(
        reply.members.len(),
        2,
        "the static member is still assigned to"
    );
    assert!(sim.group.members.contains_key(&s));
}

#[test]
fn an_administrator_removes_a_static_member_by_its_instance() {
    let mut sim = Sim::new();
    let (_, s) = stable_with_static(&mut sim);
    let leave = |member: &str, instance: &str| Leaving {
        member: member.into(),
        instance: Some(instance.into()),
        reason: None,
    };
    let leaving = vec![leave("", "none"), leave("wrong", "s"), leave("", "s")];
    let ticket = sim.send(Command::Leave(leaving));
    let codes = vec![
        ErrorCode::UnknownMemberId,
        ErrorCode::FencedInstanceId,
        ErrorCode::None,
    ];
    assert_eq!(sim.take(ticket), Some(Reply::Items(Ok(codes))));
    assert!(!sim.group.members.contains_key(&s));
    assert_eq!(sim.group.state(), State::PreparingRebalance);
}
