//! Rounds: joining, syncing, and what ends them.

use super::*;

#[test]
fn all_members_of_a_round_get_the_same_generation_and_their_own_assignment() {
    let mut sim = Sim::new();
    let first = sim.join(member("a"));
    let a = sim.joined(first).member_id;
    let b = sim.join(member("b"));
    assert_eq!(sim.take(b), None, "a has not rejoined");
    assert_eq!(sim.heartbeat(&a, 1), ErrorCode::RebalanceInProgress);
    let rejoin = sim.join(member_with_id(&a));
    let (a, b) = (sim.joined(rejoin), sim.joined(b));
    assert_eq!((a.generation, b.generation), (2, 2));
    assert_eq!((a.members.len(), b.members.len()), (2, 0));
    let follower = sim.sync(&b.member_id, 2, &[]);
    assert_eq!(sim.take(follower), None, "the leader has not spoken");
    let leader = sim.sync(
        &a.member_id,
        2,
        &[(&a.member_id, "A"), (&b.member_id, "B"), ("ghost", "G")],
    );
    assert_eq!(sim.synced(leader).assignment.as_ref(), b"A");
    assert_eq!(sim.synced(follower).assignment.as_ref(), b"B");
    assert_eq!(sim.group.state(), State::Stable);
    let late = sim.sync(&b.member_id, 2, &[]);
    assert_eq!(
        sim.synced(late).assignment.as_ref(),
        b"B",
        "a stable group repeats the assignment"
    );
}

#[test]
fn a_member_the_leader_forgot_gets_an_empty_assignment() {
    let mut sim = Sim::new();
    let ids = sim.stable(&["a", "b"]);
    let a = sim.join(member_with_id(&ids[0]));
    let b = sim.join(member_with_id(&ids[1]));
    let generation = sim.joined(a).generation;
    sim.joined(b);
    let b = sim.sync(&ids[1], generation, &[]);
    sim.sync(&ids[0], generation, &[(&ids[0], "A")]);
    let reply = sim.synced(b);
    assert_eq!((reply.error, reply.assignment.len()), (ErrorCode::None, 0));
}

#[test]
fn who_does_not_rejoin_within_the_rebalance_timeout_is_left_out() {
    let mut sim = Sim::new();
    let ids = sim.stable(&["a", "b"]);
    let generation = sim.group.generation;
    let rejoin = sim.join(member_with_id(&ids[0]));
    let mut waited = Duration::ZERO;
    while waited < REBALANCE - SESSION / 2 {
        // b still heartbeats, so only the rebalance timeout can end its stay.
        assert_eq!(
            sim.heartbeat(&ids[1], generation),
            ErrorCode::RebalanceInProgress
        );
        sim.pass(SESSION / 2);
        waited += SESSION / 2;
    }
    assert_eq!(
        sim.heartbeat(&ids[1], generation),
        ErrorCode::RebalanceInProgress
    );
    sim.pass(REBALANCE - waited - Duration::from_millis(1));
    assert_eq!(sim.take(rejoin), None);
    sim.pass(Duration::from_millis(1));
    assert_eq!(sim.joined(rejoin).members.len(), 1);
    assert_eq!(
        sim.heartbeat(&ids[1], generation),
        ErrorCode::UnknownMemberId
    );
}

#[test]
fn who_does_not_sync_within_the_rebalance_timeout_is_removed() {
    let mut sim = Sim::new();
    let ids = sim.stable(&["a", "b"]);
    let a = sim.join(member_with_id(&ids[0]));
    let b = sim.join(member_with_id(&ids[1]));
    let generation = sim.joined(a).generation;
    sim.joined(b);
    let a = sim.sync(&ids[0], generation, &[(&ids[0], "A")]);
    assert_eq!(sim.synced(a).error, ErrorCode::None);
    let mut waited = Duration::ZERO;
    while waited < REBALANCE {
        assert_eq!(sim.heartbeat(&ids[0], generation), ErrorCode::None);
        assert_eq!(sim.heartbeat(&ids[1], generation), ErrorCode::None);
        sim.pass(SESSION / 2);
        waited += SESSION / 2;
    }
    assert_eq!(
        sim.heartbeat(&ids[0], generation),
        ErrorCode::RebalanceInProgress
    );
    assert_eq!(
        sim.heartbeat(&ids[1], generation),
        ErrorCode::UnknownMemberId
    );
}

#[test]
fn a_join_during_the_sync_phase_sends_everyone_back() {
    let mut sim = Sim::new();
    let ids = sim.stable(&["a", "b"]);
    let a = sim.join(member_with_id(&ids[0]));
    let b = sim.join(member_with_id(&ids[1]));
    let generation = sim.joined(a).generation;
    sim.joined(b);
    let waiting = sim.sync(&ids[1], generation, &[]);
    let _c = sim.join(member("c"));
    assert_eq!(sim.synced(waiting).error, ErrorCode::RebalanceInProgress);
    let late = sim.sync(&ids[0], generation, &[(&ids[0], "A")]);
    assert_eq!(sim.synced(late).error, ErrorCode::RebalanceInProgress);
}

#[test]
fn rejoining_without_news_repeats_the_generation_except_for_the_leader() {
    let mut sim = Sim::new();
    let ids = sim.stable(&["a", "b"]);
    let follower = sim.join(member_with_id(&ids[1]));
    let reply = sim.joined(follower);
    assert_eq!(
        (reply.error, reply.generation, reply.members.len()),
        (ErrorCode::None, 2, 0)
    );
    assert_eq!(sim.group.state(), State::Stable);
    let other = sim.join(JoinRequest {
        protocols: protocols(&["range", "more"]),
        ..member_with_id(&ids[1])
    });
    assert_eq!(sim.take(other), None);
    assert_eq!(
        sim.group.state(),
        State::PreparingRebalance,
        "a follower with news"
    );
    let leader = sim.join(member_with_id(&ids[0]));
    sim.joined(leader);
    sim.joined(other);
    sim.settle(&ids);
    let leader = sim.join(member_with_id(&ids[0]));
    assert_eq!(sim.take(leader), None);
    assert_eq!(
        sim.group.state(),
        State::PreparingRebalance,
        "a leader without news"
    );
}

#[test]
fn a_lost_join_response_is_repeated_during_the_sync_phase() {
    let mut sim = Sim::new();
    let ticket = sim.join(member("a"));
    let first = sim.joined(ticket);
    let ticket = sim.join(member_with_id(&first.member_id));
    assert_eq!(sim.joined(ticket), first);
}

#[test]
fn an_older_request_of_the_same_member_is_answered_when_a_newer_one_comes() {
    let mut sim = Sim::new();
    let ids = sim.stable(&["a", "b"]);
    let old = sim.join(member_with_id(&ids[0]));
    let new = sim.join(member_with_id(&ids[0]));
    assert_eq!(sim.joined(old).error, ErrorCode::RebalanceInProgress);
    let b = sim.join(member_with_id(&ids[1]));
    assert_eq!(sim.joined(new).error, ErrorCode::None);
    let generation = sim.joined(b).generation;
    let old = sim.sync(&ids[1], generation, &[]);
    let _new = sim.sync(&ids[1], generation, &[]);
    assert_eq!(sim.synced(old).error, ErrorCode::RebalanceInProgress);
}

#[test]
fn the_protocol_is_the_common_one_with_most_votes() {
    for (offers, expected) in [
        (
            &[
                &["range", "sticky"][..],
                &["sticky", "range"],
                &["sticky", "range"],
            ][..],
            "sticky",
        ),
        (&[&["range", "sticky"], &["sticky", "range"]], "range"),
        (&[&["range", "sticky"], &["sticky", "other"]], "sticky"),
        (&[&["a", "b", "c"], &["b", "a", "c"], &["c", "b"]], "b"),
    ] {
        let mut sim = Sim::with(GroupConfig {
            initial_rebalance_delay: Duration::from_secs(3),
            ..GroupConfig::default()
        });
        let tickets: Vec<Ticket> = offers
            .iter()
            .enumerate()
            .map(|(i, names)| {
                sim.join(JoinRequest {
                    protocols: protocols(names),
                    ..member(&i.to_string())
                })
            })
            .collect();
        sim.pass(Duration::from_secs(60));
        for ticket in tickets {
            assert_eq!(
                sim.joined(ticket).protocol.as_deref(),
                Some(expected),
                "{offers:?}"
            );
        }
    }
}

#[test]
fn the_initial_delay_is_extended_by_newcomers_up_to_the_rebalance_timeout() {
    let delay = Duration::from_secs(3);
    let mut sim = Sim::with(GroupConfig {
        initial_rebalance_delay: delay,
        ..GroupConfig::default()
    });
    let rebalance_timeout = Duration::from_secs(8);
    let join = |sim: &mut Sim, name| {
        sim.join(JoinRequest {
            rebalance_timeout,
            ..member(name)
        })
    };
    let a = join(&mut sim, "a");
    sim.pass(Duration::from_secs(2));
    let b = join(&mut sim, "b");
    sim.pass(Duration::from_secs(2));
    assert_eq!(sim.take(a), None, "b extended the delay");
    let c = join(&mut sim, "c");
    sim.pass(Duration::from_secs(3));
    assert_eq!(
        sim.take(a),
        None,
        "c extended the delay, but only to the eighth second"
    );
    sim.pass(Duration::from_secs(1));
    for ticket in [a, b, c] {
        assert_eq!(sim.joined(ticket).generation, 1);
    }
    let mut alone = Sim::with(GroupConfig {
        initial_rebalance_delay: delay,
        ..GroupConfig::default()
    });
    let a = alone.join(member("a"));
    alone.pass(delay - Duration::from_millis(1));
    assert_eq!(alone.take(a), None);
    alone.pass(Duration::from_millis(1));
    assert_eq!(alone.joined(a).generation, 1);
}

#[test]
fn sync_checks_the_protocol_when_the_member_names_it() {
    let mut sim = Sim::new();
    let ids = sim.stable(&["a"]);
    for (protocol_type, protocol, expected) in [
        (Some("consumer"), Some("range"), ErrorCode::None),
        (None, None, ErrorCode::None),
        (
            Some("connect"),
            Some("range"),
            ErrorCode::InconsistentGroupProtocol,
        ),
        (
            Some("consumer"),
            Some("sticky"),
            ErrorCode::InconsistentGroupProtocol,
        ),
    ] {
        let ticket = sim.send(Command::Sync(SyncRequest {
            claim: claim(&ids[0], 1),
            protocol_type: protocol_type.map(Into::into),
            protocol: protocol.map(Into::into),
            assignments: Vec::new(),
        }));
        assert_eq!(sim.synced(ticket).error, expected);
    }
}

#[test]
fn members_go_on_after_a_restart_and_the_dead_are_evicted() {
    let mut sim = Sim::new();
    let ids = sim.stable(&["a", "b"]);
    sim.restart();
    assert_eq!(sim.group.state(), State::Stable);
    assert_eq!(sim.heartbeat(&ids[0], 2), ErrorCode::None);
    let ticket = sim.sync(&ids[0], 2, &[]);
    assert_eq!(sim.synced(ticket).assignment.as_ref(), ids[0].as_bytes());
    sim.pass(SESSION / 2);
    assert_eq!(sim.heartbeat(&ids[0], 2), ErrorCode::None);
    sim.pass(SESSION / 2);
    assert_eq!(sim.heartbeat(&ids[1], 2), ErrorCode::UnknownMemberId);
    let ticket = sim.join(member("c"));
    let rejoin = sim.join(member_with_id(&ids[0]));
    assert!(!ids.contains(&sim.joined(ticket).member_id));
    assert_eq!(sim.joined(rejoin).generation, 3);
}

#[test]
fn a_restart_in_the_middle_of_a_round_falls_back_to_the_last_assignment() {
    let mut sim = Sim::new();
    let ids = sim.stable(&["a", "b"]);
    let a = sim.join(member_with_id(&ids[0]));
    let b = sim.join(member_with_id(&ids[1]));
    assert_eq!(sim.joined(a).generation, 3);
    sim.joined(b);
    sim.restart();
    let ticket = sim.sync(&ids[1], 3, &[]);
    assert_eq!(sim.synced(ticket).error, ErrorCode::IllegalGeneration);
    let rejoin = sim.join(member_with_id(&ids[1]));
    assert_eq!(sim.joined(rejoin).generation, 2);
}

#[test]
fn unloading_answers_everything_that_is_parked() {
    let mut sim = Sim::new();
    let ids = sim.stable(&["a", "b"]);
    let parked = sim.join(member_with_id(&ids[0]));
    let new = sim.join(member("c"));
    sim.send(Command::Unload(ErrorCode::NotCoordinator));
    assert_eq!(sim.joined(parked).error, ErrorCode::NotCoordinator);
    assert_eq!(sim.joined(new).error, ErrorCode::NotCoordinator);
    assert_eq!(sim.group.next_deadline(), None);
}
