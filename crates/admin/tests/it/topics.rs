//! Topics: created, listed, described, grown, deleted.

use std::time::Duration;

use ferrokafka_admin::{Admin, ConfigSource, CreateOptions, NewPartitions, NewTopic};
use ferrokafka_broker::TestBroker;
use ferrokafka_client::{ClientConfig, ErrorKind};
use ferrokafka_wire::ErrorCode;
use ferrokafka_wire::messages::ApiKey;

pub(crate) async fn start(nodes: i32) -> (TestBroker, Admin) {
    let broker = TestBroker::builder().nodes(nodes).start().await.unwrap();
    let config = ClientConfig::new(broker.bootstrap())
        .client_id("admin-it")
        .request_timeout(Duration::from_secs(5))
        .api_timeout(Duration::from_secs(20));
    let admin = Admin::connect(config).await.unwrap();
    (broker, admin)
}

#[tokio::test]
async fn topics_live_and_die() {
    let (broker, admin) = start(3).await;
    let wanted = [
        NewTopic::new("orders", 6, 3).config("retention.ms", "604800000"),
        NewTopic::new("payments", 2, 1),
        NewTopic::new("bad name!", 1, 1),
    ];
    let created = admin
        .create_topics(&wanted, CreateOptions::default())
        .await
        .unwrap();
    assert_eq!(created.len(), 3);
    let orders = created[0].1.as_ref().unwrap();
    assert_eq!((orders.partitions, orders.replication_factor), (6, 3));
    let retention = orders
        .configs
        .iter()
        .find(|c| c.name == "retention.ms")
        .unwrap();
    assert_eq!(retention.value.as_deref(), Some("604800000"));
    assert_eq!(retention.source, ConfigSource::Topic);
    assert!(created[1].1.is_ok());
    let error = created[2].1.as_ref().unwrap_err();
    assert_eq!(
        error.kind(),
        ErrorKind::Broker(ErrorCode::InvalidTopicException)
    );

    admin
        .wait_for_topics(&["orders", "payments"], Duration::from_secs(5))
        .await
        .unwrap();
    let listed = admin.list_topics().await.unwrap();
    let names: Vec<_> = listed.iter().map(|topic| topic.name.as_str()).collect();
    assert_eq!(names, ["orders", "payments"]);

    let described = admin
        .describe_topics(&["payments", "nothing"])
        .await
        .unwrap();
    assert_eq!(described[0].1.as_ref().unwrap().partitions.len(), 2);
    let error = described[1].1.as_ref().unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::UnknownTopicOrPartition));

    let deleted = admin.delete_topics(&["payments", "nothing"]).await.unwrap();
    assert!(deleted[0].1.is_ok());
    assert!(deleted[1].1.is_err());
    assert_eq!(admin.list_topics().await.unwrap().len(), 1);
    broker.stop().await;
}

#[tokio::test]
async fn creating_twice_is_an_error_per_topic() {
    let (broker, admin) = start(1).await;
    let topic = [NewTopic::new("orders", 1, 1)];
    let options = CreateOptions::default();
    assert!(
        admin.create_topics(&topic, options).await.unwrap()[0]
            .1
            .is_ok()
    );
    let again = admin.create_topics(&topic, options).await.unwrap();
    let error = again[0].1.as_ref().unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::TopicAlreadyExists));
    assert_eq!(error.hint(), None, "nothing was lost on the way");
    broker.stop().await;
}

#[tokio::test]
async fn lost_answer_to_a_creation_is_told() {
    let (broker, admin) = start(1).await;
    broker.on(ApiKey::CreateTopics).apply_then_disconnect();
    let topic = [NewTopic::new("orders", 1, 1)];
    let created = admin
        .create_topics(&topic, CreateOptions::default())
        .await
        .unwrap();
    let error = created[0].1.as_ref().unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::TopicAlreadyExists));
    assert!(
        error.hint().unwrap().contains("earlier attempt"),
        "{error:?}"
    );
    assert_eq!(error.attempts(), Some(2));
    broker.stop().await;
}

#[tokio::test]
async fn validation_creates_nothing() {
    let (broker, admin) = start(1).await;
    let options = CreateOptions {
        validate_only: true,
        timeout: Some(Duration::from_secs(5)),
    };
    let created = admin
        .create_topics(&[NewTopic::new("orders", 1, 1)], options)
        .await
        .unwrap();
    assert!(created[0].1.is_ok());
    assert!(admin.list_topics().await.unwrap().is_empty());
    broker.stop().await;
}

#[tokio::test]
async fn controller_refusal_is_retried() {
    let (broker, admin) = start(3).await;
    broker
        .on(ApiKey::CreateTopics)
        .times(2)
        .error(ErrorCode::NotController);
    let created = admin
        .create_topics(&[NewTopic::new("orders", 1, 1)], CreateOptions::default())
        .await
        .unwrap();
    assert!(created[0].1.is_ok(), "{created:?}");
    broker.stop().await;
}

#[tokio::test]
async fn partitions_can_only_grow() {
    let (broker, admin) = start(1).await;
    let options = CreateOptions::default();
    let topic = [NewTopic::new("orders", 2, 1)];
    admin.create_topics(&topic, options).await.unwrap();
    let grown = admin
        .create_partitions(&[NewPartitions::new("orders", 5)], options)
        .await
        .unwrap();
    assert!(grown[0].1.is_ok(), "{grown:?}");
    let described = admin.describe_topics(&["orders"]).await.unwrap();
    assert_eq!(described[0].1.as_ref().unwrap().partitions.len(), 5);
    let shrunk = admin
        .create_partitions(&[NewPartitions::new("orders", 3)], options)
        .await
        .unwrap();
    let error = shrunk[0].1.as_ref().unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::InvalidPartitions));
    broker.stop().await;
}

#[tokio::test]
async fn everything_works_in_a_row() {
    let (broker, admin) = start(1).await;
    crate::journey::journey(&admin).await;
    broker.stop().await;
}
