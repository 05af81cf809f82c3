//! Configs and the cluster itself: described, changed, read back.

use ferrokafka_admin::{
    AlterConfigs, ConfigEntry, ConfigResource, ConfigSource, CreateOptions, NewTopic,
};
use ferrokafka_client::ErrorKind;
use ferrokafka_wire::ErrorCode;

use crate::topics::start;

fn entry<'a>(entries: &'a [ConfigEntry], name: &str) -> &'a ConfigEntry {
    entries.iter().find(|entry| entry.name == name).unwrap()
}

#[tokio::test]
async fn topic_configs_are_changed_and_read_back() {
    let (broker, admin) = start(1).await;
    let topic = [NewTopic::new("orders", 1, 1).config("cleanup.policy", "compact")];
    admin
        .create_topics(&topic, CreateOptions::default())
        .await
        .unwrap();
    let resource = ConfigResource::topic("orders");

    let change = AlterConfigs::new(resource.clone()).set("retention.ms", "1000");
    let checked = admin
        .incremental_alter_configs(std::slice::from_ref(&change), true)
        .await
        .unwrap();
    assert!(checked[0].1.is_ok());
    let described = admin
        .describe_configs(std::slice::from_ref(&resource))
        .await
        .unwrap();
    let entries = described[0].1.as_ref().unwrap();
    assert!(entry(entries, "retention.ms").is_default(), "only checked");

    let changed = admin
        .incremental_alter_configs(&[change], false)
        .await
        .unwrap();
    assert_eq!(changed[0].0, resource);
    assert!(changed[0].1.is_ok());
    let described = admin
        .describe_configs(std::slice::from_ref(&resource))
        .await
        .unwrap();
    let entries = described[0].1.as_ref().unwrap();
    assert_eq!(
        entry(entries, "retention.ms").value.as_deref(),
        Some("1000")
    );
    assert_eq!(entry(entries, "retention.ms").source, ConfigSource::Topic);
    // What was not named stays.
    assert_eq!(
        entry(entries, "cleanup.policy").value.as_deref(),
        Some("compact")
    );

    let back = AlterConfigs::new(resource.clone()).delete("retention.ms");
    admin
        .incremental_alter_configs(&[back], false)
        .await
        .unwrap();
    let described = admin.describe_configs(&[resource]).await.unwrap();
    assert!(entry(described[0].1.as_ref().unwrap(), "retention.ms").is_default());
    broker.stop().await;
}

#[tokio::test]
async fn each_resource_has_its_own_result() {
    let (broker, admin) = start(3).await;
    let topic = [NewTopic::new("orders", 1, 1)];
    admin
        .create_topics(&topic, CreateOptions::default())
        .await
        .unwrap();
    let resources = [
        ConfigResource::topic("nothing"),
        ConfigResource::broker(2),
        ConfigResource::topic("orders"),
        ConfigResource::broker(3),
    ];
    let described = admin.describe_configs(&resources).await.unwrap();
    let names: Vec<_> = described
        .iter()
        .map(|(resource, _)| resource.clone())
        .collect();
    assert_eq!(names, resources);
    let error = described[0].1.as_ref().unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::UnknownTopicOrPartition));
    for place in [1, 2, 3] {
        assert!(!described[place].1.as_ref().unwrap().is_empty());
    }

    let bad = AlterConfigs::new(ConfigResource::topic("orders")).set("retention.ms", "soon");
    let good = AlterConfigs::new(ConfigResource::topic("orders")).set("segment.ms", "60000");
    let changed = admin
        .incremental_alter_configs(&[bad], false)
        .await
        .unwrap();
    let error = changed[0].1.as_ref().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Broker(ErrorCode::InvalidConfig));
    let changed = admin
        .incremental_alter_configs(&[good], false)
        .await
        .unwrap();
    assert!(changed[0].1.is_ok());
    broker.stop().await;
}

#[tokio::test]
async fn cluster_is_described() {
    let (broker, admin) = start(3).await;
    let cluster = admin.describe_cluster().await.unwrap();
    assert_eq!(cluster.brokers.len(), 3);
    assert!(cluster.brokers.contains_key(&cluster.controller.unwrap()));
    assert_eq!(cluster.cluster_id, admin.client().cluster().cluster_id);
    broker.stop().await;
}
