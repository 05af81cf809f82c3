//! Several nodes: who coordinates what, and what members see when that changes.

use ferrokafka_broker::{ErrorCode, TestBroker};
use ferrokafka_wire::messages::ListGroupsRequest;

use crate::driver::Driver;
use crate::group_member::{Member, coordinator};

#[tokio::test]
async fn only_the_coordinator_answers_for_a_group() {
    let broker = TestBroker::builder()
        .nodes(3)
        .topic("t", 1)
        .start()
        .await
        .unwrap();
    let home = coordinator(&broker, "g").await;
    for node in 1..=3 {
        let mut member = Member::new(&broker, "g").await;
        member.driver = Driver::connect_to(&broker, usize::try_from(node).unwrap()).await;
        let code = member.commit("t", 0, 1).await;
        let listed = member
            .driver
            .call(4, &ListGroupsRequest::default())
            .await
            .groups
            .len();
        if node == home {
            assert_eq!((code, listed), (ErrorCode::None, 1));
            continue;
        }
        assert_eq!((code, listed), (ErrorCode::NotCoordinator, 0));
        let joined = member.driver.call(9, &member.join_request()).await;
        assert_eq!(joined.error_code, ErrorCode::NotCoordinator.code());
        assert_eq!(member.heartbeat().await, ErrorCode::NotCoordinator);
    }
}

#[tokio::test]
async fn groups_spread_over_the_nodes() {
    let broker = TestBroker::builder().nodes(3).start().await.unwrap();
    let mut homes = Vec::new();
    for i in 0..20 {
        homes.push(coordinator(&broker, &format!("group-{i}")).await);
    }
    assert!((1..=3).all(|node| homes.contains(&node)), "{homes:?}");
}

#[tokio::test]
async fn a_moved_group_goes_on_at_its_new_coordinator() {
    let broker = TestBroker::builder()
        .nodes(3)
        .topic("t", 1)
        .start()
        .await
        .unwrap();
    let mut member = Member::new(&broker, "g").await;
    member.join().await;
    member.sync(&[(&member.id.clone(), b"A")]).await;
    member.commit("t", 0, 7).await;
    let mut newcomer = Member::new(&broker, "g").await;
    newcomer.start_join().await;
    member.await_rebalance().await;

    let old = coordinator(&broker, "g").await;
    let new = old % 3 + 1;
    broker.move_coordinator("g", new);
    let parked = newcomer.finish_join().await;
    assert_eq!(
        parked.error_code,
        ErrorCode::NotCoordinator.code(),
        "the barrier does not hang"
    );
    assert_eq!(member.heartbeat().await, ErrorCode::NotCoordinator);

    assert_eq!(coordinator(&broker, "g").await, new);
    member.driver = Driver::connect_to(&broker, usize::try_from(new).unwrap()).await;
    assert_eq!(
        member.heartbeat().await,
        ErrorCode::None,
        "same member, same generation"
    );
    assert_eq!(&member.sync(&[]).await.assignment[..], b"A");
    assert_eq!(member.commit("t", 0, 8).await, ErrorCode::None);
}
