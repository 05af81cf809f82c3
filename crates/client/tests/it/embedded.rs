//! Against the embedded broker, over TCP.

use std::sync::Arc;
use std::time::Duration;

use ferrokafka_broker::TestBroker;
use ferrokafka_client::{Client, ClientConfig, CoordinatorKind, Lane, Route};
use ferrokafka_wire::ErrorCode;
use ferrokafka_wire::messages::{ApiKey, MetadataRequest};

async fn broker() -> TestBroker {
    TestBroker::builder()
        .nodes(3)
        .topic("orders", 6)
        .start()
        .await
        .unwrap()
}

fn config(broker: &TestBroker) -> ClientConfig {
    ClientConfig::new(broker.bootstrap())
        .client_id("client-it")
        .request_timeout(Duration::from_secs(5))
        .api_timeout(Duration::from_secs(20))
}

#[tokio::test]
async fn metadata_knows_brokers_topics_and_leaders() {
    let broker = broker().await;
    let client = Client::connect(config(&broker)).await.unwrap();
    assert_eq!(client.cluster().brokers.len(), 3);
    let topics = [Arc::from("orders"), Arc::from("nothing")];
    let cluster = client
        .metadata(&topics, client.api_deadline())
        .await
        .unwrap();
    assert_eq!(cluster.partition_count("orders"), Some(6));
    let missing = cluster.topic("nothing").unwrap();
    assert_eq!(missing.error, ErrorCode::UnknownTopicOrPartition);
    for partition in 0..6 {
        let partition = ferrokafka_client::TopicPartition::new("orders", partition);
        let (node, _) = cluster.leader(&partition).unwrap();
        assert!(cluster.brokers.contains_key(&node));
    }
    client.close(Duration::from_secs(1)).await;
    broker.stop().await;
}

#[tokio::test]
async fn coordinator_is_found() {
    let broker = broker().await;
    let client = Client::connect(config(&broker)).await.unwrap();
    let node = client
        .coordinator(CoordinatorKind::Group, "audit", client.api_deadline())
        .await
        .unwrap();
    assert!(client.cluster().brokers.contains_key(&node));
    broker.stop().await;
}

#[tokio::test]
async fn call_survives_a_disconnect() {
    let broker = broker().await;
    let client = Client::connect(config(&broker)).await.unwrap();
    broker.on(ApiKey::Metadata).times(2).disconnect();
    let response = client
        .call(
            Route::Any,
            Lane::Control,
            client.api_deadline(),
            |_| MetadataRequest::default().with_topics(None),
            |_| ErrorCode::None,
        )
        .await
        .unwrap();
    assert_eq!(response.brokers.len(), 3);
    broker.stop().await;
}
