//! Several nodes: leaders move when one crashes, and addresses stay when it comes back.

use ferrokafka_broker::{ApiKey, ErrorCode, TestBroker};
use ferrokafka_wire::messages::{ApiVersionsRequest, MetadataRequest};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::driver::Driver;
use crate::records::{append, batch, fetch_request, only_partition, produce, read_all};

async fn leader(driver: &mut Driver) -> (i32, i32, usize) {
    let described = driver
        .call(9, &MetadataRequest::default().with_topics(None))
        .await;
    let partition = &described.topics[0].partitions[0];
    (
        partition.leader_id.0,
        partition.leader_epoch,
        partition.isr_nodes.len(),
    )
}

#[tokio::test]
async fn another_replica_leads_when_the_leader_crashes() {
    let broker = TestBroker::builder()
        .nodes(3)
        .topic("t", 1)
        .start()
        .await
        .unwrap();
    broker.move_leader("t", 0, 1).unwrap();
    let mut first = Driver::connect_to(&broker, 1).await;
    let mut third = Driver::connect_to(&broker, 3).await;
    append(&mut first, "t", 0, batch("v", 2)).await;
    let (_, epoch, in_sync) = leader(&mut third).await;
    assert_eq!(in_sync, 3);

    broker.crash(1).await.unwrap();
    assert_eq!(first.read().await, None, "its connections are cut");
    let (new, new_epoch, in_sync) = leader(&mut third).await;
    assert_ne!(new, 1);
    assert_eq!((new_epoch, in_sync), (epoch + 1, 2));
    assert!(!broker.bootstrap().is_empty());
    broker.move_leader("t", 0, 3).unwrap();
    assert_eq!(append(&mut third, "t", 0, batch("v", 1)).await, 2);

    broker.restart(1).await.unwrap();
    let (still, _, in_sync) = leader(&mut third).await;
    assert_eq!(
        (still, in_sync),
        (3, 3),
        "coming back takes nothing from the new leader"
    );
    let mut first = Driver::connect_to(&broker, 1).await;
    let refused = produce(&mut first, "t", 0, batch("v", 1)).await;
    assert_eq!(
        ErrorCode::from_code(refused.error_code),
        ErrorCode::NotLeaderOrFollower
    );
    assert!(broker.restart(1).await.is_err() && broker.crash(9).await.is_err());
}

#[tokio::test]
async fn the_only_replica_leads_again_after_its_crash() {
    let broker = TestBroker::builder()
        .config("default.replication.factor", "1")
        .nodes(2)
        .topic("t", 1)
        .start()
        .await;
    let broker = broker.unwrap();
    let mut driver = Driver::connect_to(&broker, 2).await;
    let (home, ..) = leader(&mut driver).await;
    let other = 3 - home;
    let mut driver = Driver::connect_to(&broker, usize::try_from(home).unwrap()).await;
    append(&mut driver, "t", 0, batch("v", 2)).await;
    let mut witness = Driver::connect_to(&broker, usize::try_from(other).unwrap()).await;
    broker.crash(home).await.unwrap();
    let described = witness
        .call(9, &MetadataRequest::default().with_topics(None))
        .await;
    let partition = &described.topics[0].partitions[0];
    assert_eq!(
        ErrorCode::from_code(partition.error_code),
        ErrorCode::LeaderNotAvailable
    );
    assert_eq!(
        (partition.leader_id.0, partition.offline_replicas.len()),
        (-1, 1)
    );
    let refused = only_partition(&witness.call(11, &fetch_request("t", 0, 0, 0)).await);
    assert_eq!(
        ErrorCode::from_code(refused.error_code),
        ErrorCode::NotLeaderOrFollower
    );
    broker.restart(home).await.unwrap();
    let mut driver = Driver::connect_to(&broker, usize::try_from(home).unwrap()).await;
    assert_eq!(read_all(&mut driver, "t", 0, 0).await.len(), 2);
    assert_eq!(broker.records("t", 0).unwrap().len(), 2);
}

#[tokio::test]
async fn versions_can_be_held_back() {
    let broker = TestBroker::builder()
        .max_version(ApiKey::Metadata, 4)
        .max_version(ApiKey::DescribeCluster, -1)
        .start()
        .await
        .unwrap();
    let mut driver = Driver::connect(&broker).await;
    let answer = driver.call(2, &ApiVersionsRequest::default()).await;
    let of = |api: ApiKey| answer.api_keys.iter().find(|row| row.api_key == api as i16);
    assert_eq!(of(ApiKey::Metadata).map(|row| row.max_version), Some(4));
    assert!(of(ApiKey::DescribeCluster).is_none());
    driver.send(5, &MetadataRequest::default()).await;
    assert_eq!(driver.read().await, None);
}

#[tokio::test(start_paused = true)]
async fn a_connection_without_a_socket_serves_the_same() {
    let broker = TestBroker::builder().start().await.unwrap();
    let port = broker
        .bootstrap()
        .rsplit(':')
        .next()
        .unwrap()
        .parse()
        .unwrap();
    let mut stream = broker.dial(port).unwrap();
    let frame =
        ferrokafka_wire::frame::encode_request(1, 7, None, &MetadataRequest::default()).unwrap();
    stream.write_all(&frame).await.unwrap();
    let mut head = [0; 8];
    stream.read_exact(&mut head).await.unwrap();
    assert_eq!(head[4..], [0, 0, 0, 7]);
    broker.crash(1).await.unwrap();
    assert!(broker.dial(port).is_err());
}
