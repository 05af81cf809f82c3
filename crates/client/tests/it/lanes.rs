//! Connections: one per broker and lane, opened once, requests in order.

use std::time::Duration;

use ferrokafka_client::{Client, Delivery, ErrorKind, Lane};
use ferrokafka_wire::messages::{
    HeartbeatRequest, HeartbeatResponse, JoinGroupRequest, JoinGroupResponse, ProduceRequest,
    ProduceResponse,
};
use futures_util::future::join_all;
use tokio::time::Instant;

use crate::fake::{Act, Fake, Seen};

fn heartbeats(seen: &Seen) -> Act {
    match seen.is::<HeartbeatRequest>() {
        true => seen.answer(&HeartbeatResponse::default()),
        false => Act::Usual,
    }
}

fn numbered(number: i32) -> impl Fn(i16) -> HeartbeatRequest + Send + Sync {
    move |_| HeartbeatRequest::default().with_generation_id(number)
}

async fn send(client: &Client, number: i32) -> Result<(), ferrokafka_client::Error> {
    let deadline = client.api_deadline();
    let answer = client.request(1, Lane::Control, deadline, numbered(number));
    answer.await.map(drop)
}

fn order(fake: &Fake) -> Vec<i32> {
    let seen = fake.seen::<HeartbeatRequest>();
    seen.iter()
        .map(|seen| seen.decode::<HeartbeatRequest>().generation_id)
        .collect()
}

#[tokio::test(start_paused = true)]
async fn requests_leave_in_the_order_of_their_first_poll() {
    let fake = Fake::new(1);
    let client = fake.connect().await;
    fake.script(heartbeats);
    // The first finds no connection: all of them wait for it, and keep their order.
    let answers = join_all((0..200).map(|number| send(&client, number))).await;
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(order(&fake), (0..200).collect::<Vec<_>>());
    assert_eq!(fake.dials(), ["boot", "b1"], "one dial for all");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn order_holds_on_several_threads() {
    let fake = Fake::new(1);
    let client = fake
        .connect_with(fake.config().in_flight_max(3))
        .await
        .unwrap();
    fake.script(heartbeats);
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..300 {
        let client = client.clone();
        let mut answer = Box::pin(async move { send(&client, number).await });
        // The first poll happens here, in order; everything after it on whatever thread.
        let polled = futures_util::poll!(&mut answer);
        if polled.is_pending() {
            tasks.spawn(answer);
        }
    }
    while let Some(answer) = tasks.join_next().await {
        answer.unwrap().unwrap();
    }
    assert_eq!(order(&fake), (0..300).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn giving_up_in_line_keeps_the_others_in_order() {
    let fake = Fake::new(1);
    let client = fake.connect().await;
    fake.script(heartbeats);
    fake.dial_time(Duration::from_secs(4));
    let started = Instant::now();
    let mut first = Box::pin(send(&client, 0));
    let mut second = Box::pin(send(&client, 1));
    let mut third = Box::pin(send(&client, 2));
    assert!(futures_util::poll!(&mut first).is_pending());
    assert!(futures_util::poll!(&mut second).is_pending());
    assert!(futures_util::poll!(&mut third).is_pending());
    // The first one waits for the dial: the dial must outlive it.
    tokio::time::sleep(Duration::from_secs(3)).await;
    drop(first);
    let (second, third) = tokio::join!(second, third);
    second.unwrap();
    third.unwrap();
    assert_eq!(order(&fake), [1, 2]);
    assert_eq!(fake.dials(), ["boot", "b1"]);
    assert_eq!(started.elapsed().as_secs(), 4);
}

#[tokio::test(start_paused = true)]
async fn lanes_do_not_wait_for_each_other() {
    let fake = Fake::new(1);
    let client = fake.connect().await;
    fake.script(|seen| match seen.is::<JoinGroupRequest>() {
        true => {
            let answer = seen.answer(&JoinGroupResponse::default());
            answer.after(Duration::from_secs(60))
        }
        false => heartbeats(seen),
    });
    let started = Instant::now();
    let deadline = started + Duration::from_secs(100);
    let join = client.request(1, Lane::Join, deadline, |_| JoinGroupRequest::default());
    let beats = async {
        for number in 0..3 {
            send(&client, number).await.unwrap();
        }
        started.elapsed().as_secs()
    };
    let (join, beats_took) = tokio::join!(biased; join, beats);
    join.unwrap();
    assert_eq!(beats_took, 0);
    assert_eq!(started.elapsed().as_secs(), 60);
    assert_eq!(fake.dials(), ["boot", "b1", "b1"]);
}

#[tokio::test(start_paused = true)]
async fn failed_dial_fails_all_who_waited_for_it() {
    let fake = Fake::new(1);
    let client = fake.connect().await;
    fake.refuse(&["b1"]);
    let answers = join_all((0..50).map(|number| send(&client, number))).await;
    for answer in answers {
        let error = answer.unwrap_err();
        assert_eq!(
            (error.kind(), error.delivery()),
            (ErrorKind::Connect, Delivery::NotSent)
        );
        assert!(error.is_retriable());
    }
    assert_eq!(
        fake.dials(),
        ["boot", "b1"],
        "nobody dials again for the others"
    );
    // The next one dials again, after the reconnect backoff.
    fake.refuse(&[]);
    fake.script(heartbeats);
    let started = Instant::now();
    send(&client, 0).await.unwrap();
    let waited = started.elapsed().as_millis();
    assert!((40..=60).contains(&waited), "{waited} ms");
}

#[tokio::test(start_paused = true)]
async fn advertised_address_that_cannot_be_reached_is_explained() {
    let fake = Fake::new(1);
    let client = fake.connect().await;
    fake.refuse(&["b1"]);
    let error = send(&client, 0).await.unwrap_err();
    let hint = error.hint().unwrap();
    for part in [
        "boot:9092",
        "broker 1 advertises b1:9092",
        "advertised.listeners",
    ] {
        assert!(hint.contains(part), "{hint}");
    }
}

#[tokio::test(start_paused = true)]
async fn address_hook_decides_what_is_dialled() {
    let fake = Fake::new(1);
    let map = |host: &str, port| (format!("proxy-of-{host}"), port);
    let client = fake
        .connect_with(fake.config().address_map(map))
        .await
        .unwrap();
    fake.script(heartbeats);
    send(&client, 0).await.unwrap();
    assert_eq!(fake.dials(), ["boot", "proxy-of-b1"]);
}

#[tokio::test(start_paused = true)]
async fn room_on_a_connection_is_bounded() {
    let fake = Fake::new(1);
    let client = fake
        .connect_with(fake.config().in_flight_max(2))
        .await
        .unwrap();
    fake.script(|seen| match seen.is::<HeartbeatRequest>() {
        true => Act::Ignore,
        false => Act::Usual,
    });
    let deadline = Instant::now() + Duration::from_secs(1);
    let sends = (0..5).map(|number| client.request(1, Lane::Control, deadline, numbered(number)));
    let answers = join_all(sends).await;
    let unknown = |answer: &&Result<_, ferrokafka_client::Error>| {
        let error = answer.as_ref().unwrap_err();
        error.delivery() == Delivery::Unknown
    };
    assert_eq!(answers.iter().filter(unknown).count(), 2);
    assert_eq!(order(&fake), [0, 1]);
}

#[tokio::test(start_paused = true)]
async fn unanswered_requests_go_in_line_with_answered_ones() {
    let fake = Fake::new(1);
    let client = fake.connect().await;
    fake.script(|seen| match seen.is::<ProduceRequest>() {
        true if seen.decode::<ProduceRequest>().acks == 0 => Act::Ignore,
        true => seen.answer(&ProduceResponse::default()),
        false => Act::Usual,
    });
    let deadline = client.api_deadline();
    let produce = |acks: i16, timeout: i32| {
        move |_| {
            ProduceRequest::default()
                .with_transactional_id(None)
                .with_acks(acks)
                .with_timeout_ms(timeout)
        }
    };
    for round in 0..20 {
        let fire = client.request_unanswered(1, Lane::Produce, deadline, produce(0, 2 * round));
        let ask = client.request(1, Lane::Produce, deadline, produce(1, 2 * round + 1));
        let (fire, ask) = tokio::join!(biased; fire, ask);
        fire.unwrap();
        ask.unwrap();
    }
    let seen = fake.seen::<ProduceRequest>();
    let order: Vec<i32> = seen
        .iter()
        .map(|seen| seen.decode::<ProduceRequest>().timeout_ms)
        .collect();
    assert_eq!(order, (0..40).collect::<Vec<_>>());
    assert_eq!(fake.dials(), ["boot", "b1"]);
}

#[tokio::test(start_paused = true)]
async fn dropping_the_last_clone_closes_the_connections() {
    let fake = Fake::new(1);
    let client = fake.connect().await;
    fake.script(heartbeats);
    send(&client, 0).await.unwrap();
    let clone = client.clone();
    drop(client);
    send(&clone, 1).await.unwrap();
    drop(clone);
    // Both ends run on this thread: the broker sees the end as soon as it is polled.
    let seen_closed = async {
        while fake.closed() < 2 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), seen_closed)
        .await
        .unwrap();
}
