//! Metadata: shared, refreshed, found again.

use std::sync::Arc;
use std::time::Duration;

use ferrokafka_client::{Lane, TopicPartition};
use ferrokafka_wire::ErrorCode;
use ferrokafka_wire::messages::{
    HeartbeatRequest, HeartbeatResponse, MetadataRequest, MetadataResponse,
};
use futures_util::future::join_all;
use tokio::time::Instant;

use crate::fake::{Act, Fake};

fn rounds(fake: &Fake) -> usize {
    fake.seen::<MetadataRequest>().len()
}

#[tokio::test(start_paused = true)]
async fn callers_share_one_request() {
    let fake = Fake::new(1);
    fake.topic("orders", 3);
    fake.topic("payments", 1);
    let client = fake.connect().await;
    let before = rounds(&fake);
    let deadline = client.api_deadline();
    let names: [Arc<str>; 2] = [Arc::from("orders"), Arc::from("payments")];
    let wanted = (0..20).map(|n| {
        let name = [Arc::clone(&names[n % 2])];
        let client = client.clone();
        async move { client.metadata(&name, deadline).await }
    });
    for cluster in join_all(wanted).await {
        assert!(cluster.unwrap().topics.contains_key("orders"));
    }
    // The first caller's round may have begun before the others asked; a second one serves them all.
    assert!(rounds(&fake) - before <= 2, "{}", rounds(&fake) - before);
    // Known topics cost nothing.
    let now = rounds(&fake);
    client.metadata(&names, deadline).await.unwrap();
    assert_eq!(rounds(&fake), now);
}

#[tokio::test(start_paused = true)]
async fn unknown_topic_is_told_and_asked_for_again() {
    let fake = Fake::new(1);
    let client = fake.connect().await;
    let name = [Arc::from("orders")];
    let cluster = client.metadata(&name, client.api_deadline()).await.unwrap();
    assert_eq!(
        cluster.topic("orders").unwrap().error,
        ErrorCode::UnknownTopicOrPartition
    );
    assert_eq!(cluster.partition_count("orders"), None);
    fake.topic("orders", 3);
    let cluster = client.metadata(&name, client.api_deadline()).await.unwrap();
    assert_eq!(cluster.partition_count("orders"), Some(3));
}

#[tokio::test(start_paused = true)]
async fn refreshes_are_gathered_and_wait_for_the_backoff() {
    let fake = Fake::new(1);
    let client = fake.connect().await;
    let before = rounds(&fake);
    let started = Instant::now();
    for _ in 0..100 {
        client.refresh();
    }
    while rounds(&fake) == before {
        assert!(started.elapsed() < Duration::from_secs(5), "no refresh");
        tokio::time::advance(Duration::from_millis(10)).await;
    }
    let waited = started.elapsed().as_millis();
    assert!((70..=140).contains(&waited), "{waited} ms");
    tokio::time::advance(Duration::from_secs(2)).await;
    tokio::task::yield_now().await;
    assert_eq!(rounds(&fake), before + 1);
}

#[tokio::test(start_paused = true)]
async fn old_metadata_is_fetched_anew() {
    let fake = Fake::new(1);
    let config = fake.config().metadata_max_age(Duration::from_secs(60));
    let client = fake.connect_with(config).await.unwrap();
    let mut changes = client.watch_cluster();
    changes.mark_unchanged();
    fake.brokers(&[(1, "b1"), (2, "b2")]);
    let started = Instant::now();
    changes.changed().await.unwrap();
    assert_eq!(client.cluster().brokers.len(), 2);
    assert_eq!(started.elapsed().as_secs(), 60);
}

#[tokio::test(start_paused = true)]
async fn cluster_is_found_again_through_the_bootstrap_servers() {
    let fake = Fake::new(2);
    let client = fake.connect().await;
    fake.script(|seen| match seen.is::<HeartbeatRequest>() {
        true => seen.answer(&HeartbeatResponse::default()),
        false => Act::Usual,
    });
    let beat = async |node| {
        let deadline = Instant::now() + Duration::from_secs(1);
        let build = |_| HeartbeatRequest::default();
        client.request(node, Lane::Control, deadline, build).await
    };
    beat(1).await.unwrap();
    // Every broker known moves to a new address, all at once.
    fake.refuse(&["b1", "b2"]);
    fake.script(|seen| match seen.host.as_str() {
        "b1" | "b2" => Act::Close,
        _ if seen.is::<HeartbeatRequest>() => seen.answer(&HeartbeatResponse::default()),
        _ => Act::Usual,
    });
    fake.brokers(&[(1, "new1"), (2, "new2")]);
    beat(1).await.unwrap_err();
    client.refresh();
    let mut changes = client.watch_cluster();
    let moved = changes.wait_for(|cluster| &*cluster.brokers[&1].host == "new1");
    tokio::time::timeout(Duration::from_secs(10), moved)
        .await
        .unwrap()
        .unwrap();
    beat(1).await.unwrap();
    assert_eq!(fake.dials().last().map(String::as_str), Some("new1"));
}

#[tokio::test(start_paused = true)]
async fn told_to_rebootstrap_the_client_passes_its_brokers_over() {
    let fake = Fake::new(3);
    let client = fake.connect().await;
    fake.script(
        |seen| match seen.host != "boot" && seen.is::<MetadataRequest>() {
            true => seen.answer(&MetadataResponse::default().with_error_code(129)),
            false => Act::Usual,
        },
    );
    let before = rounds(&fake);
    client.all_topics(client.api_deadline()).await.unwrap();
    let hosts: Vec<_> = fake.seen::<MetadataRequest>()[before..]
        .iter()
        .map(|seen| seen.host.clone())
        .collect();
    assert_eq!(hosts.len(), 2, "{hosts:?}");
    assert_eq!(hosts[1], "boot");
}

#[tokio::test(start_paused = true)]
async fn leader_hint_counts_if_its_epoch_is_newer() {
    let fake = Fake::new(2);
    fake.topic("orders", 1);
    let client = fake.connect().await;
    let partition = TopicPartition::new("orders", 0);
    let name = [Arc::from("orders")];
    let cluster = client.metadata(&name, client.api_deadline()).await.unwrap();
    assert_eq!(cluster.leader(&partition), Some((1, 0)));
    client.note_leader(&partition, 2, 0);
    assert_eq!(client.cluster().leader(&partition), Some((1, 0)));
    client.note_leader(&partition, 2, 5);
    assert_eq!(client.cluster().leader(&partition), Some((2, 5)));
    // A broker that lags behind does not take it back.
    let cluster = client.all_topics(client.api_deadline()).await.unwrap();
    assert_eq!(cluster.leader(&partition), Some((2, 5)));
}

#[tokio::test(start_paused = true)]
async fn second_bootstrap_server_serves_if_the_first_is_away() {
    let fake = Fake::new(1);
    fake.refuse(&["away"]);
    let mut config = ferrokafka_client::ClientConfig::new("away:9092,boot:9092");
    config = config.client_id("fake-it");
    let client = fake.connect_with(config).await.unwrap();
    assert_eq!(client.cluster().brokers.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn client_may_start_before_its_broker() {
    let fake = Fake::new(1);
    fake.refuse(&["boot"]);
    let open = async {
        tokio::time::sleep(Duration::from_secs(4)).await;
        fake.refuse(&[]);
    };
    let (client, ()) = tokio::join!(fake.connect(), open);
    assert_eq!(client.cluster().brokers.len(), 1);
}
