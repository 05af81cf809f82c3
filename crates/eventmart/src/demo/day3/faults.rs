//! What goes wrong: connections cut in the worst moment, and an error that no retry can mend.

use std::collections::BTreeSet;
use std::time::Duration;

use ferrokafka::admin::{AlterConfigs, ConfigResource, NewTopic};
use ferrokafka::{Client, ErrorCode, Producer, ProducerConfig, ProducerRecord};

use tokio::time::Instant;

use crate::demo::day3::{Play, SESSIONS_WELL};
use crate::demo::proxy::Proxy;
use crate::demo::read_back;
use crate::error::{Error, Result};
use crate::event::Event;
use crate::scenario::{Column, Stage};
use crate::service::Publisher;
use crate::topic::{Topic, TopicSpec};

/// Events sent one by one, each acknowledged before the next; the rest is sent without waiting.
const ONE_BY_ONE: usize = 30;
/// Before which of them a cut is armed.
const CUTS_AT: [usize; 2] = [5, 20];

pub(super) async fn cut_connections(play: &Play<'_>, stage: &mut Stage) -> Result<()> {
    let mut step = stage
        .step("Connections are cut after a request was forwarded")
        .await;
    step.why(
        "the producer cannot know whether its records were written, so it sends them again; the broker knows the \
         sequence numbers and keeps one copy",
    );
    let proxy = Proxy::before(&play.ground.admin.describe_cluster().await?).await?;
    let client =
        Client::connect(proxy.through(play.ground.client_config("shop-behind-proxy"))).await?;
    let producer = Producer::with_client(client, ProducerConfig::new())?;
    let shop = play.ground.publisher_over(producer);
    let told: Vec<&Event> = play.sessions[SESSIONS_WELL..]
        .iter()
        .flat_map(|session| session.views.iter().chain(&session.order))
        .collect();
    let acknowledged = tell(&proxy, &shop, &told).await?;
    let metrics = shop.producer().metrics();
    step.fact(
        "connections cut between request and answer",
        CUTS_AT.len() + 1,
        proxy.cuts(),
    );
    step.fact("events acknowledged in the end", told.len(), acknowledged);
    step.at_least(
        "batches sent again",
        CUTS_AT.len() as u64 + 1,
        metrics.batches_retried,
    );
    let sent: BTreeSet<_> = told.iter().map(|event| event.event_id).collect();
    let (mut copies, mut found) = (0, BTreeSet::new());
    for topic in [Topic::Analytics, Topic::Orders] {
        let records = read_back::topic(&play.ground, topic).await?;
        for event in read_back::events(&play.ground, &records) {
            if sent.contains(&event.event_id) {
                copies += 1;
                found.insert(event.event_id);
            }
        }
    }
    step.fact("events lost", 0, sent.len() - found.len());
    step.fact("events that lie on a topic twice", 0, copies - found.len());
    shop.close().await?;
    play.answered(&step, &play.expected(play.sessions.len()))
        .await?;
    step.done()
}

/// Sends the events, some awaited, some not, and cuts at the scripted points.
async fn tell(proxy: &Proxy, shop: &Publisher, told: &[&Event]) -> Result<usize> {
    let mut acknowledged = 0;
    let (one_by_one, together) = told.split_at(ONE_BY_ONE.min(told.len()));
    for (at, event) in one_by_one.iter().enumerate() {
        if CUTS_AT.contains(&at) {
            proxy.arm();
        }
        shop.send_all([*event]).await?;
        acknowledged += 1;
    }
    proxy.arm();
    acknowledged += shop.send_all(together.iter().copied()).await?.len();
    proxy.wait_for_cut(CUTS_AT.len() + 1).await?;
    Ok(acknowledged)
}

/// The side topic's limit, and a text that is beyond it and within the usual one.
const SMALL_BYTES: usize = 2_000;
const TEXT_BYTES: usize = 10_000;

pub(super) async fn fatal_error(play: &Play<'_>, stage: &mut Stage) -> Result<()> {
    let mut step = stage.step("An error that no retry can mend").await;
    step.why("sending the same bytes again gives the same answer: such an error ends at once, with what to change");
    let topic = play.ground.names().name("eventmart-small");
    let brokers = play.ground.admin.describe_cluster().await?.brokers.len();
    let small = NewTopic::new(topic.as_str(), 1, TopicSpec::replication_factor(brokers))
        .config("max.message.bytes", SMALL_BYTES.to_string());
    play.ground.create(&[small]).await?;

    let record = || {
        ProducerRecord::new(topic.as_str())
            .key("review-1")
            .value("x".repeat(TEXT_BYTES))
    };
    let before = play.shop.producer().metrics();
    let refused = match play.shop.producer().send(record()).await {
        Ok(delivery) => delivery.await.err(),
        Err(error) => Some(error),
    };
    let after = play.shop.producer().metrics();
    let error = refused
        .ok_or_else(|| Error::fact(format!("{topic} took a record beyond max.message.bytes")))?;
    let told = vec![
        vec!["what".to_owned(), error.message().to_owned()],
        vec![
            "code".to_owned(),
            error
                .code()
                .map_or_else(String::new, |code| code.to_string()),
        ],
        vec![
            "fix".to_owned(),
            error.hint().unwrap_or("none is known").to_owned(),
        ],
    ];
    step.table(
        "the error, as the service gets it",
        &[Column::text("part"), Column::text("text")],
        told,
    );
    let code = error
        .code()
        .map_or_else(|| "none".to_owned(), |code| code.to_string());
    step.fact(
        "the broker's answer",
        ErrorCode::MessageTooLarge.to_string(),
        code,
    );
    step.judged(
        "what can be done about it",
        "no retry",
        format!("{:?}", error.disposition()),
        !error.is_retriable(),
    );
    step.fact(
        "batches sent again in vain",
        0,
        after.batches_retried - before.batches_retried,
    );
    step.judged(
        "the error names its fix",
        "a hint",
        error.hint().unwrap_or("no hint"),
        error.hint().is_some(),
    );
    step.fact(
        "records on the topic",
        0,
        play.ground.ends(&topic, 1).await?.values().sum::<i64>(),
    );

    let wider = AlterConfigs::new(ConfigResource::topic(topic.as_str()))
        .set("max.message.bytes", (2 * TEXT_BYTES).to_string());
    for (_, result) in play
        .ground
        .admin
        .incremental_alter_configs(&[wider], false)
        .await?
    {
        result?;
    }
    // With KRaft the controller answers first and the broker learns of it a moment later.
    let deadline = Instant::now() + Duration::from_secs(10);
    while let Err(error) = play.shop.producer().send(record()).await?.await {
        if error.code() != Some(ErrorCode::MessageTooLarge) || Instant::now() > deadline {
            return Err(error.into());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    step.fact(
        "records on the topic after the fix",
        1,
        play.ground.ends(&topic, 1).await?.values().sum::<i64>(),
    );
    step.done()
}
