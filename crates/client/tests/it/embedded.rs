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

#[tokio::test]
async fn restarted_broker_is_found_again() {
    let broker = broker().await;
    let servers = broker.bootstrap();
    let client = Client::connect(config(&broker)).await.unwrap();
    let name = [Arc::from("orders")];
    client.metadata(&name, client.api_deadline()).await.unwrap();
    broker.stop().await;
    let first: std::net::SocketAddr = servers.split(',').next().unwrap().parse().unwrap();
    let error = client
        .request(1, Lane::Control, client.api_deadline(), |_| {
            MetadataRequest::default().with_topics(None)
        })
        .await
        .unwrap_err();
    assert!(error.is_retriable(), "{error}");

    // One node at one of the three addresses: the cluster is another one now.
    let broker = TestBroker::builder()
        .nodes(1)
        .listen(first)
        .topic("orders", 2)
        .start()
        .await
        .unwrap();
    let cluster = client.all_topics(client.api_deadline()).await.unwrap();
    assert_eq!(cluster.brokers.len(), 1);
    assert_eq!(cluster.partition_count("orders"), Some(2));
    client
        .coordinator(CoordinatorKind::Group, "audit", client.api_deadline())
        .await
        .unwrap();
    broker.stop().await;
}

#[tokio::test]
async fn simple_mode_reaches_the_same_cluster() {
    let broker = broker().await;
    let simple = ferrokafka_client::rskafka_client(&config(&broker))
        .await
        .unwrap();
    let topics = simple.list_topics().await.unwrap();
    assert_eq!(topics.len(), 1);
    assert_eq!(topics[0].name, "orders");
    assert_eq!(topics[0].partitions.len(), 6);
    broker.stop().await;
}

#[tokio::test]
async fn nobody_listening_is_explained() {
    // A port that was free a moment ago.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let config =
        ClientConfig::new(address.to_string()).connection_setup_timeout(Duration::from_millis(300));
    let error = Client::connect(config).await.unwrap_err();
    assert_eq!(error.kind(), ferrokafka_client::ErrorKind::Connect);
    assert!(error.to_string().contains(&address.to_string()), "{error}");
    assert!(
        error.hint().unwrap().contains("bootstrap.servers"),
        "{error:?}"
    );
}
