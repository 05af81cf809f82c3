//! Rebalances as members see them.

use ferrokafka_broker::{ErrorCode, TestBroker};
use ferrokafka_wire::messages::JoinGroupResponse;
use tokio::time::{Duration, Instant};

use crate::group_member::{Member, join_all, subscription, sync_all};

fn ok(response: &JoinGroupResponse) {
    assert_eq!(ErrorCode::from_code(response.error_code), ErrorCode::None);
}

#[tokio::test]
async fn two_members_share_one_generation_and_get_their_own_parts() {
    let broker = TestBroker::builder().topic("t", 2).start().await.unwrap();
    let mut a = Member::new(&broker, "g").await;
    let mut b = Member::new(&broker, "g").await;
    let alone = a.join().await;
    ok(&alone);
    assert_eq!(
        (alone.leader.as_str(), alone.members.len()),
        (a.id.as_str(), 1)
    );
    assert_eq!(
        &a.sync(&[(&a.id.clone(), b"0,1")]).await.assignment[..],
        b"0,1"
    );

    b.start_join().await;
    a.await_rebalance().await;
    let joined_a = a.join().await;
    let joined_b = b.finish_join().await;
    ok(&joined_a);
    ok(&joined_b);
    assert_eq!((a.generation, b.generation), (2, 2));
    assert_eq!(joined_a.leader, joined_b.leader);
    assert_eq!((joined_a.members.len(), joined_b.members.len()), (2, 0));
    assert_eq!(joined_a.protocol_name.as_deref(), Some("range"));
    let (id_a, id_b) = (a.id.clone(), b.id.clone());
    let got = sync_all(
        &mut [&mut b, &mut a],
        &id_a,
        &[(&id_a, b"0"), (&id_b, b"1")],
    )
    .await;
    assert_eq!((&got[0][..], &got[1][..]), (&b"1"[..], &b"0"[..]));
    assert_eq!(a.heartbeat().await, ErrorCode::None);
    assert_eq!(b.heartbeat().await, ErrorCode::None);
}

/// The cooperative way: the newcomer gets nothing in the first round, the owner gives up a partition and
/// joins again at once, the second round hands it over; nobody stops for what it keeps.
#[tokio::test]
async fn a_cooperative_rebalance_takes_two_rounds() {
    let broker = TestBroker::builder().topic("t", 2).start().await.unwrap();
    let mut a = Member::new(&broker, "g").await;
    let mut b = Member::new(&broker, "g").await;
    ok(&a.join().await);
    a.sync(&[(&a.id.clone(), b"0,1")]).await;
    a.metadata = subscription("t", &[0, 1]);
    b.start_join().await;
    let round = a.join().await;
    ok(&b.finish_join().await);
    let owned = &round
        .members
        .iter()
        .find(|member| *member.member_id == *a.id)
        .unwrap()
        .metadata;
    assert_eq!(
        *owned,
        subscription("t", &[0, 1]),
        "the leader sees what is owned"
    );
    let (id_a, id_b) = (a.id.clone(), b.id.clone());
    sync_all(&mut [&mut a, &mut b], &id_a, &[(&id_a, b"0"), (&id_b, b"")]).await;

    a.metadata = subscription("t", &[0]);
    a.start_join().await;
    b.await_rebalance().await;
    // A member may commit what it has processed until it joins the new round.
    assert_eq!(b.commit("t", 1, 5).await, ErrorCode::None);
    ok(&b.join().await);
    ok(&a.finish_join().await);
    let got = sync_all(
        &mut [&mut a, &mut b],
        &id_a,
        &[(&id_a, b"0"), (&id_b, b"1")],
    )
    .await;
    assert_eq!((&got[0][..], &got[1][..]), (&b"0"[..], &b"1"[..]));
    assert_eq!((a.generation, b.generation), (3, 3));
}

#[tokio::test]
async fn a_killed_member_is_evicted_after_its_session_timeout() {
    let broker = TestBroker::builder()
        .topic("t", 1)
        .config("group.min.session.timeout.ms", "100")
        .start()
        .await
        .unwrap();
    let mut victim = Member::new(&broker, "g").await;
    victim.session_timeout_ms = 700;
    ok(&victim.join().await);
    let before = Instant::now();
    victim.sync(&[]).await;
    let after = Instant::now();
    let dead = victim.id.clone();
    drop(victim);
    let mut heir = Member::new(&broker, "g").await;
    let joined = heir.join().await;
    ok(&joined);
    assert_eq!(joined.members.len(), 1);
    assert_ne!(joined.leader.as_str(), dead);
    assert!(
        before.elapsed() >= Duration::from_millis(700),
        "not before its time"
    );
    assert!(
        after.elapsed() < Duration::from_millis(3_000),
        "and not long after: {:?}",
        after.elapsed()
    );
}

#[tokio::test]
async fn a_test_can_expire_a_session_at_once() {
    let broker = TestBroker::builder().topic("t", 1).start().await.unwrap();
    let mut a = Member::new(&broker, "g").await;
    ok(&a.join().await);
    a.sync(&[]).await;
    assert!(broker.expire_session("g", &a.id).await);
    assert!(!broker.expire_session("g", &a.id).await);
    assert_eq!(a.heartbeat().await, ErrorCode::UnknownMemberId);
}

#[tokio::test]
async fn leaving_hands_over_without_waiting_for_the_session() {
    let broker = TestBroker::builder().topic("t", 1).start().await.unwrap();
    let mut a = Member::new(&broker, "g").await;
    let mut b = Member::new(&broker, "g").await;
    ok(&a.join().await);
    b.start_join().await;
    ok(&a.join().await);
    ok(&b.finish_join().await);
    let (id_a, id_b) = (a.id.clone(), b.id.clone());
    sync_all(
        &mut [&mut a, &mut b],
        &id_a,
        &[(&id_a, b"a"), (&id_b, b"b")],
    )
    .await;
    assert_eq!(a.leave().await, ErrorCode::None);
    assert_eq!(a.leave().await, ErrorCode::UnknownMemberId);
    assert_eq!(b.heartbeat().await, ErrorCode::RebalanceInProgress);
    let joined = b.join().await;
    assert_eq!(
        (joined.leader.as_str(), joined.members.len()),
        (b.id.as_str(), 1)
    );
}

#[tokio::test]
async fn a_restarted_static_member_keeps_its_assignment_without_a_rebalance() {
    let broker = TestBroker::builder().topic("t", 2).start().await.unwrap();
    let mut leader = Member::new(&broker, "g").await;
    let mut fixed = Member::new(&broker, "g").await;
    fixed.instance = Some("pod-1".to_owned());
    ok(&leader.join().await);
    fixed.start_join().await;
    leader.await_rebalance().await;
    ok(&leader.join().await);
    ok(&fixed.finish_join().await);
    let (id_l, id_f) = (leader.id.clone(), fixed.id.clone());
    sync_all(
        &mut [&mut leader, &mut fixed],
        &id_l,
        &[(&id_l, b"0"), (&id_f, b"1")],
    )
    .await;

    let mut restarted = Member::new(&broker, "g").await;
    restarted.instance = Some("pod-1".to_owned());
    let joined = restarted.join().await;
    ok(&joined);
    assert_eq!(joined.generation_id, 2);
    assert_ne!(restarted.id, id_f);
    assert_eq!(&restarted.sync(&[]).await.assignment[..], b"1");
    assert_eq!(leader.heartbeat().await, ErrorCode::None);
    assert_eq!(fixed.heartbeat().await, ErrorCode::FencedInstanceId);
    assert_eq!(fixed.commit("t", 0, 1).await, ErrorCode::FencedInstanceId);
}

#[tokio::test]
async fn one_seed_gives_the_same_member_ids() {
    let mut ids = Vec::new();
    for _ in 0..2 {
        let broker = TestBroker::builder()
            .topic("t", 1)
            .seed(42)
            .start()
            .await
            .unwrap();
        let mut a = Member::new(&broker, "g").await;
        let mut b = Member::new(&broker, "g").await;
        a.start_join().await;
        ok(&a.finish_join().await);
        b.start_join().await;
        ok(&join_all(&mut [&mut a]).await[0]);
        ok(&b.finish_join().await);
        ids.push((a.id, b.id));
    }
    assert_eq!(ids[0], ids[1]);
    assert!(ids[0].0.starts_with("driver-"));
}
