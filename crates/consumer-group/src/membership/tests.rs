//! The state machine driven through tables: answers of the coordinator, and what follows.

use super::*;

fn tp(topic: &str, partition: i32) -> TopicPartition {
    TopicPartition::new(topic, partition)
}

fn machine(protocol: RebalanceProtocol) -> Membership {
    let mut machine = Membership::new(Settings {
        heartbeat_interval: Duration::from_secs(3),
        max_poll_interval: Duration::from_secs(300),
        protocol,
        static_member: false,
        backoff: Backoff::new(Duration::from_millis(100), Duration::from_secs(1)),
    });
    machine.subscribe([Arc::from("t")]);
    machine
}

fn code(code: ErrorCode) -> Refusal {
    Refusal::Code(code, None)
}

fn joined(generation: i32) -> Joined {
    Joined {
        member_id: "m".into(),
        generation,
        protocol: "cooperative-sticky".into(),
        members: None,
        leader: false,
    }
}

/// Polls until a JoinGroup comes out, past any backoff, and returns it with its round.
fn next_join(machine: &mut Membership, now: &mut Instant) -> Action {
    for _ in 0..3 {
        let actions = machine.poll(*now, None);
        if let Some(join) = actions
            .list
            .into_iter()
            .find(|a| matches!(a, Action::Join { .. }))
        {
            return join;
        }
        *now += Duration::from_secs(2);
    }
    panic!("no JoinGroup in {:?}", machine.state());
}

/// Takes the machine through a whole round to `Stable` with this assignment.
fn settle(
    machine: &mut Membership,
    now: &mut Instant,
    generation: i32,
    assigned: &[TopicPartition],
) {
    let round = match next_join(machine, now) {
        Action::Join { round, .. } => round,
        other => panic!("{other:?}"),
    };
    machine.on_join(*now, round, Ok(joined(generation)));
    assert!(matches!(
        machine.poll(*now, None).list[..],
        [Action::Sync { .. }]
    ));
    machine.on_sync(*now, round, Ok(assigned.to_vec()));
    assert!(matches!(
        machine.take_handoff(),
        Some(Handoff::Apply { .. })
    ));
    machine.handoff_done();
    assert!(matches!(machine.out[..], [Action::WakeApplication]));
    machine.out.clear();
}

fn stable(protocol: RebalanceProtocol) -> (Membership, Instant) {
    let mut machine = machine(protocol);
    let mut now = Instant::now();
    settle(&mut machine, &mut now, 1, &[tp("t", 0), tp("t", 1)]);
    assert_eq!(machine.state(), State::Stable);
    (machine, now)
}

#[tokio::test]
async fn member_id_required_joins_again_at_once_with_the_id() {
    let mut machine = machine(RebalanceProtocol::Cooperative);
    let mut now = Instant::now();
    let Action::Join {
        round, member_id, ..
    } = next_join(&mut machine, &mut now)
    else {
        panic!()
    };
    assert_eq!(&*member_id, "");
    machine.on_join(
        now,
        round,
        Err(Refusal::Code(
            ErrorCode::MemberIdRequired,
            Some("m7".into()),
        )),
    );
    let actions = machine.poll(now, None).list;
    assert!(matches!(&actions[..], [Action::Join { member_id, .. }] if &**member_id == "m7"));
}

#[derive(Debug, PartialEq)]
enum After {
    /// Joins again and keeps its identity and partitions.
    Again,
    /// The same after the coordinator was looked up anew.
    Elsewhere,
    /// The partitions are lost first; `true` if the member id is gone, too.
    Lost(bool),
    Fatal,
}

/// What a refused JoinGroup or SyncGroup leads to, for a cooperative member that owns partitions.
fn after_refusal(sync: bool, refusal: Refusal) -> After {
    let (mut machine, mut now) = stable(RebalanceProtocol::Cooperative);
    machine.on_fencing_code(now, "m", 1, ErrorCode::RebalanceInProgress);
    let Action::Join { round, .. } = next_join(&mut machine, &mut now) else {
        panic!()
    };
    if sync {
        machine.on_join(now, round, Ok(joined(2)));
        machine.poll(now, None);
        machine.on_sync(now, round, Err(refusal));
    } else {
        machine.on_join(now, round, Err(refusal));
    }
    let first = machine.poll(now + Duration::from_secs(2), None).list;
    if machine.state() == State::Failed {
        assert!(machine.error().is_some());
        assert!(matches!(machine.take_handoff(), Some(Handoff::Lost { .. })));
        return After::Fatal;
    }
    if let Some(handoff) = machine.take_handoff() {
        let Handoff::Lost { partitions, .. } = handoff else {
            panic!("{handoff:?}")
        };
        assert_eq!(partitions, [tp("t", 0), tp("t", 1)]);
        machine.handoff_done();
        let Action::Join {
            member_id,
            owned,
            generation,
            ..
        } = next_join(&mut machine, &mut now)
        else {
            panic!()
        };
        assert!(owned.is_empty() && generation == -1);
        return After::Lost(member_id.is_empty());
    }
    let Some(Action::Join {
        member_id,
        owned,
        generation,
        ..
    }) = first.last()
    else {
        panic!("{first:?}")
    };
    assert_eq!((&**member_id, owned.len(), *generation), ("m", 2, 1));
    if first.contains(&Action::ForgetCoordinator) {
        After::Elsewhere
    } else {
        After::Again
    }
}

#[tokio::test]
async fn answers_of_the_coordinator_lead_where_kafka_wants() {
    use ErrorCode as E;
    let table = [
        (E::RebalanceInProgress, After::Again),
        (E::CoordinatorLoadInProgress, After::Again),
        (E::NotCoordinator, After::Elsewhere),
        (E::CoordinatorNotAvailable, After::Elsewhere),
        (E::UnknownMemberId, After::Lost(true)),
        (E::IllegalGeneration, After::Lost(false)),
        (E::FencedInstanceId, After::Fatal),
        (E::GroupAuthorizationFailed, After::Fatal),
        (E::InconsistentGroupProtocol, After::Fatal),
        (E::InvalidSessionTimeout, After::Fatal),
        (E::GroupMaxSizeReached, After::Fatal),
    ];
    for (answer, expected) in table {
        for sync in [false, true] {
            assert_eq!(
                after_refusal(sync, code(answer)),
                expected,
                "{answer} sync={sync}"
            );
        }
    }
    for sync in [false, true] {
        let error = Error::new(ErrorKind::Disconnected, "the connection broke");
        assert_eq!(
            after_refusal(sync, Refusal::NoAnswer(error)),
            After::Elsewhere
        );
    }
}

#[tokio::test]
async fn answers_to_heartbeats_in_a_stable_group() {
    use ErrorCode as E;
    for (answer, handoff_is_loss, state) in [
        (E::RebalanceInProgress, false, State::Joining),
        (E::UnknownMemberId, true, State::Preparing),
        (E::IllegalGeneration, true, State::Preparing),
        (E::NotCoordinator, false, State::Stable),
        (E::CoordinatorLoadInProgress, false, State::Stable),
        (E::FencedInstanceId, true, State::Failed),
    ] {
        let (mut machine, now) = stable(RebalanceProtocol::Cooperative);
        machine.on_heartbeat(now, "m", 1, Err(code(answer)));
        machine.poll(now, None);
        assert_eq!(machine.state(), state, "{answer}");
        let lost = matches!(machine.take_handoff(), Some(Handoff::Lost { .. }));
        assert_eq!(lost, handoff_is_loss, "{answer}");
    }
}

#[tokio::test]
async fn answer_to_a_former_generation_is_ignored() {
    let (mut machine, mut now) = stable(RebalanceProtocol::Cooperative);
    machine.on_fencing_code(now, "m", 1, ErrorCode::RebalanceInProgress);
    settle(&mut machine, &mut now, 2, &[tp("t", 0), tp("t", 1)]);
    machine.on_heartbeat(now, "m", 1, Err(code(ErrorCode::IllegalGeneration)));
    assert_eq!((machine.state(), machine.generation()), (State::Stable, 2));
    // While JoinGroup is out the coordinator may be ahead of us.
    machine.on_fencing_code(now, "m", 2, ErrorCode::RebalanceInProgress);
    next_join(&mut machine, &mut now);
    machine.on_fencing_code(now, "m", 2, ErrorCode::IllegalGeneration);
    assert_eq!((machine.state(), machine.generation()), (State::Joining, 2));
}

#[tokio::test]
async fn answer_to_a_former_round_is_ignored() {
    let mut machine = machine(RebalanceProtocol::Cooperative);
    let mut now = Instant::now();
    let Action::Join { round, .. } = next_join(&mut machine, &mut now) else {
        panic!()
    };
    machine.on_join(now, round, Err(code(ErrorCode::CoordinatorLoadInProgress)));
    next_join(&mut machine, &mut now);
    machine.on_join(now, round, Ok(joined(7)));
    assert_eq!(
        (machine.state(), machine.generation()),
        (State::Joining, -1)
    );
}

#[tokio::test]
async fn eager_member_gives_everything_back_before_it_joins() {
    let (mut machine, mut now) = stable(RebalanceProtocol::Eager);
    machine.on_fencing_code(now, "m", 1, ErrorCode::RebalanceInProgress);
    let actions = machine.poll(now, None).list;
    assert_eq!(actions, [Action::WakeApplication]);
    let Some(Handoff::Revoke { partitions, .. }) = machine.take_handoff() else {
        panic!()
    };
    assert_eq!(partitions.len(), 2);
    assert!(
        machine.poll(now, None).list.is_empty(),
        "joins only when the application is done"
    );
    machine.handoff_done();
    let Action::Join { owned, .. } = next_join(&mut machine, &mut now) else {
        panic!()
    };
    assert!(owned.is_empty());
}

#[tokio::test]
async fn cooperative_member_keeps_partitions_and_joins_again_after_revoking() {
    let (mut machine, mut now) = stable(RebalanceProtocol::Cooperative);
    machine.on_fencing_code(now, "m", 1, ErrorCode::RebalanceInProgress);
    let Action::Join { round, owned, .. } = next_join(&mut machine, &mut now) else {
        panic!()
    };
    assert_eq!(owned.len(), 2, "nothing is given back beforehand");
    machine.on_join(now, round, Ok(joined(2)));
    machine.poll(now, None);
    machine.on_sync(now, round, Ok(vec![tp("t", 0)]));
    let Some(Handoff::Apply { revoked, added, .. }) = machine.take_handoff() else {
        panic!()
    };
    assert_eq!((revoked, added), (vec![tp("t", 1)], vec![]));
    machine.handoff_done();
    let Action::Join {
        owned, generation, ..
    } = next_join(&mut machine, &mut now)
    else {
        panic!()
    };
    assert_eq!((owned, generation), (vec![tp("t", 0)], 2));
}

#[tokio::test]
async fn heartbeats_go_on_everywhere_but_in_the_join_barrier() {
    let is_beat = |a: &Action| matches!(a, Action::Heartbeat { .. });
    let (mut machine, mut now) = stable(RebalanceProtocol::Eager);
    let step = Duration::from_secs(3);
    let beat = |machine: &mut Membership, now: Instant, generation| {
        let sent = machine.poll(now, None).list.iter().any(is_beat);
        if sent {
            machine.on_heartbeat(now, "m", generation, Ok(()));
        }
        sent
    };
    now += step;
    assert!(beat(&mut machine, now, 1), "stable");
    machine.on_fencing_code(now, "m", 1, ErrorCode::RebalanceInProgress);
    machine.poll(now, None);
    now += step;
    assert!(
        beat(&mut machine, now, 1),
        "while the application gives partitions back"
    );
    machine.take_handoff();
    machine.handoff_done();
    let Action::Join { round, .. } = next_join(&mut machine, &mut now) else {
        panic!()
    };
    now += step;
    assert!(!beat(&mut machine, now, 1), "while JoinGroup is out");
    machine.on_join(now, round, Ok(joined(2)));
    machine.poll(now, None);
    now += step;
    assert!(beat(&mut machine, now, 2), "while SyncGroup is out");
    machine.on_sync(now, round, Ok(vec![]));
    now += step;
    assert!(
        beat(&mut machine, now, 2),
        "while the application takes over"
    );
}

#[tokio::test]
async fn only_one_heartbeat_is_out_at_a_time() {
    let (mut machine, mut now) = stable(RebalanceProtocol::Cooperative);
    now += Duration::from_secs(3);
    assert_eq!(machine.poll(now, None).list.len(), 1);
    now += Duration::from_secs(30);
    assert!(machine.poll(now, None).list.is_empty());
}

#[tokio::test]
async fn member_that_does_not_poll_leaves_and_loses_its_partitions() {
    let (mut machine, now) = stable(RebalanceProtocol::Cooperative);
    let since = now;
    let wake = machine.poll(now, Some(since)).wake_at.unwrap();
    assert!(wake <= now + Duration::from_secs(3));
    let mut now = now + Duration::from_secs(300);
    let actions = machine.poll(now, Some(since)).list;
    assert!(
        actions.iter().any(|a| matches!(a, Action::Leave { .. })),
        "{actions:?}"
    );
    assert_eq!(machine.state(), State::Expired);
    assert!(
        !machine
            .poll(now + Duration::from_secs(9), Some(since))
            .list
            .iter()
            .any(|a| matches!(a, Action::Heartbeat { .. }))
    );
    now += Duration::from_secs(10);
    machine.poll(now, None);
    assert!(matches!(machine.take_handoff(), Some(Handoff::Lost { .. })));
    machine.handoff_done();
    let Action::Join { member_id, .. } = next_join(&mut machine, &mut now) else {
        panic!()
    };
    assert_eq!(&*member_id, "");
}

#[tokio::test]
async fn loss_during_a_handoff_is_told_after_it() {
    let (mut machine, mut now) = stable(RebalanceProtocol::Cooperative);
    machine.on_fencing_code(now, "m", 1, ErrorCode::RebalanceInProgress);
    let Action::Join { round, .. } = next_join(&mut machine, &mut now) else {
        panic!()
    };
    machine.on_join(now, round, Ok(joined(2)));
    machine.poll(now, None);
    machine.on_sync(now, round, Ok(vec![tp("t", 0), tp("t", 2)]));
    assert!(matches!(
        machine.take_handoff(),
        Some(Handoff::Apply { .. })
    ));
    machine.on_heartbeat(now, "m", 2, Err(code(ErrorCode::UnknownMemberId)));
    assert_eq!(machine.take_handoff(), None, "one at a time");
    machine.handoff_done();
    machine.poll(now + Duration::from_secs(2), None);
    let Some(Handoff::Lost { partitions, .. }) = machine.take_handoff() else {
        panic!()
    };
    assert_eq!(partitions, [tp("t", 0), tp("t", 2)]);
}

#[tokio::test]
async fn failure_during_a_handoff_tells_the_loss_after_it() {
    let (mut machine, mut now) = stable(RebalanceProtocol::Cooperative);
    machine.on_fencing_code(now, "m", 1, ErrorCode::RebalanceInProgress);
    let Action::Join { round, .. } = next_join(&mut machine, &mut now) else {
        panic!()
    };
    machine.on_join(now, round, Ok(joined(2)));
    machine.poll(now, None);
    machine.on_sync(now, round, Ok(vec![tp("t", 0)]));
    assert!(machine.take_handoff().is_some());
    machine.on_heartbeat(now, "m", 2, Err(code(ErrorCode::FencedInstanceId)));
    machine.handoff_done();
    assert!(matches!(machine.take_handoff(), Some(Handoff::Lost { .. })));
    assert_eq!(machine.state(), State::Failed);
}

#[tokio::test]
async fn closing_leaves_unless_the_member_is_static() {
    let (mut machine, _) = stable(RebalanceProtocol::Cooperative);
    assert!(matches!(machine.leave(), Some(Action::Leave { .. })));
    assert_eq!(machine.leave(), None);
    let (mut machine, _) = stable(RebalanceProtocol::Cooperative);
    machine.settings.static_member = true;
    assert_eq!(machine.leave(), None);
}

#[tokio::test]
async fn changed_subscription_gives_dropped_topics_back_first() {
    let (mut machine, now) = stable(RebalanceProtocol::Cooperative);
    machine.subscribe([Arc::from("u")]);
    machine.poll(now, None);
    let Some(Handoff::Revoke { partitions, .. }) = machine.take_handoff() else {
        panic!()
    };
    assert_eq!(partitions.len(), 2);
}
