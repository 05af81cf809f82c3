//! Nothing hangs: every wait ends at its deadline.

use std::time::Duration;

use ferrokafka_client::{Client, Delivery, Error, ErrorKind, Lane};
use ferrokafka_wire::messages::{
    ApiVersionsRequest, HeartbeatRequest, HeartbeatResponse, JoinGroupRequest, MetadataRequest,
};
use tokio::time::Instant;

use crate::fake::{Act, Fake, Seen};

const SECOND: Duration = Duration::from_secs(1);

async fn heartbeat(client: &Client, deadline: Instant) -> Result<(), Error> {
    let answer = client.request(1, Lane::Control, deadline, |_| HeartbeatRequest::default());
    answer.await.map(drop)
}

fn usual_heartbeat(seen: &Seen) -> Act {
    match seen.is::<HeartbeatRequest>() {
        true => seen.answer(&HeartbeatResponse::default()),
        false => Act::Usual,
    }
}

#[tokio::test(start_paused = true)]
async fn silent_broker_is_given_up_after_the_request_timeout() {
    let fake = Fake::new(1);
    let client = fake.connect().await;
    fake.script(|seen| match seen.is::<HeartbeatRequest>() {
        true => Act::Ignore,
        false => Act::Usual,
    });
    let started = Instant::now();
    let error = heartbeat(&client, started + 100 * SECOND)
        .await
        .unwrap_err();
    assert_eq!(started.elapsed().as_secs(), 30);
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert_eq!(error.delivery(), Delivery::Unknown);
    assert_eq!(error.elapsed().map(|elapsed| elapsed.as_secs()), Some(30));
    assert!(error.to_string().contains("1 at b1:9092"), "{error}");
    assert!(error.to_string().contains("Heartbeat v4"), "{error}");
    // Answers come in order, so the connection is of no use any more: the next request has a new one.
    fake.script(usual_heartbeat);
    heartbeat(&client, client.api_deadline()).await.unwrap();
    assert_eq!(fake.dials(), ["boot", "b1", "b1"]);
}

#[tokio::test(start_paused = true)]
async fn impatient_caller_leaves_the_connection_to_others() {
    let fake = Fake::new(1);
    let client = fake.connect().await;
    fake.script(|seen| match seen.is::<HeartbeatRequest>() {
        true => seen.answer(&HeartbeatResponse::default()).after(3 * SECOND),
        false => Act::Usual,
    });
    let error = heartbeat(&client, Instant::now() + SECOND)
        .await
        .unwrap_err();
    assert_eq!(
        (error.kind(), error.delivery()),
        (ErrorKind::Timeout, Delivery::Unknown)
    );
    // The late answer is passed over, and the next one is matched to its own request.
    heartbeat(&client, Instant::now() + 20 * SECOND)
        .await
        .unwrap();
    assert_eq!(fake.dials(), ["boot", "b1"]);
}

#[tokio::test(start_paused = true)]
async fn silent_broker_is_noticed_through_impatient_callers() {
    let fake = Fake::new(1);
    let client = fake.connect().await;
    fake.script(
        |seen| match seen.is::<HeartbeatRequest>() && seen.connection == 1 {
            true => Act::Ignore,
            false => usual_heartbeat(seen),
        },
    );
    let started = Instant::now();
    let mut failures = 0;
    while heartbeat(&client, Instant::now() + SECOND).await.is_err() {
        failures += 1;
        assert!(failures < 100, "the dead connection is used forever");
    }
    assert_eq!(started.elapsed().as_secs(), 30);
    assert_eq!(fake.dials(), ["boot", "b1", "b1"]);
}

#[tokio::test(start_paused = true)]
async fn barrier_may_take_longer_than_the_request_timeout() {
    let fake = Fake::new(1);
    let client = fake.connect().await;
    fake.script(|seen| match seen.is::<JoinGroupRequest>() {
        true => Act::Ignore,
        false => Act::Usual,
    });
    let started = Instant::now();
    let build = |_| JoinGroupRequest::default();
    let join = client.request(1, Lane::Join, started + 300 * SECOND, build);
    let error = join.await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert_eq!(started.elapsed().as_secs(), 300);
    // A barrier that was given up blocks nobody behind it.
    fake.script(|seen| match seen.is::<JoinGroupRequest>() {
        true => seen.answer(&ferrokafka_wire::messages::JoinGroupResponse::default()),
        false => Act::Usual,
    });
    let join = client.request(1, Lane::Join, Instant::now() + SECOND, build);
    join.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn dial_that_hangs_ends_with_the_setup_timeout() {
    let fake = Fake::new(1);
    fake.hang(&["boot"]);
    let started = Instant::now();
    let error = fake.connect_with(fake.config()).await.unwrap_err();
    assert_eq!(started.elapsed().as_secs(), 10);
    assert!(error.is_retriable(), "{error}");
}

#[tokio::test(start_paused = true)]
async fn server_that_accepts_and_says_nothing_ends_with_the_setup_timeout() {
    let fake = Fake::new(1);
    fake.script(|_| Act::Ignore);
    let started = Instant::now();
    let error = fake.connect_with(fake.config()).await.unwrap_err();
    assert_eq!(started.elapsed().as_secs(), 10);
    assert!(error.is_retriable(), "{error}");
}

#[tokio::test(start_paused = true)]
async fn request_behind_a_hanging_dial_ends_at_its_deadline() {
    let fake = Fake::new(1);
    fake.hang(&["b1"]);
    let client = fake.connect().await;
    let started = Instant::now();
    let error = heartbeat(&client, started + 2 * SECOND).await.unwrap_err();
    assert_eq!(started.elapsed().as_secs(), 2);
    assert_eq!(
        (error.kind(), error.delivery()),
        (ErrorKind::Timeout, Delivery::NotSent)
    );
    assert!(
        error.to_string().contains("no connection was made in time"),
        "{error}"
    );
}

#[tokio::test(start_paused = true)]
async fn metadata_nobody_tells_ends_at_the_deadline() {
    let fake = Fake::new(1);
    let client = fake.connect().await;
    fake.script(|seen| match seen.is::<MetadataRequest>() {
        true => Act::Ignore,
        false => Act::Usual,
    });
    let started = Instant::now();
    let error = client.all_topics(started + 7 * SECOND).await.unwrap_err();
    assert_eq!(started.elapsed().as_secs(), 7);
    assert_eq!(error.kind(), ErrorKind::Timeout);
}

#[tokio::test(start_paused = true)]
async fn crowded_connection_ends_the_wait_at_the_deadline() {
    let fake = Fake::new(1);
    let client = fake
        .connect_with(fake.config().in_flight_max(1))
        .await
        .unwrap();
    fake.script(|seen| match seen.is::<HeartbeatRequest>() {
        true => Act::Ignore,
        false => Act::Usual,
    });
    let deadline = Instant::now() + 5 * SECOND;
    let (first, second) = tokio::join!(heartbeat(&client, deadline), heartbeat(&client, deadline));
    assert_eq!(first.unwrap_err().delivery(), Delivery::Unknown);
    let second = second.unwrap_err();
    assert_eq!(
        (second.kind(), second.delivery()),
        (ErrorKind::Timeout, Delivery::NotSent)
    );
    assert_eq!(fake.seen::<HeartbeatRequest>().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn throttled_lane_holds_back() {
    let fake = Fake::new(1);
    let client = fake.connect().await;
    fake.script(|seen| match seen.is::<HeartbeatRequest>() {
        true => seen.answer(&HeartbeatResponse::default().with_throttle_time_ms(5_000)),
        false => Act::Usual,
    });
    let deadline = client.api_deadline();
    heartbeat(&client, deadline).await.unwrap();
    heartbeat(&client, deadline).await.unwrap();
    let seen = fake.seen::<HeartbeatRequest>();
    assert_eq!((seen[1].at - seen[0].at).as_secs(), 5);
    // The wait for a throttle ends at the deadline as well.
    let started = Instant::now();
    let error = heartbeat(&client, started + SECOND).await.unwrap_err();
    assert_eq!(started.elapsed().as_secs(), 1);
    assert_eq!(error.delivery(), Delivery::NotSent);
}

#[tokio::test(start_paused = true)]
async fn close_waits_for_answers_and_no_longer_than_told() {
    let fake = Fake::new(1);
    let client = fake.connect().await;
    fake.script(|seen| match seen.is::<HeartbeatRequest>() {
        true => seen.answer(&HeartbeatResponse::default()).after(3 * SECOND),
        false => Act::Usual,
    });
    let deadline = client.api_deadline();
    let started = Instant::now();
    let closing = async {
        client.close(10 * SECOND).await;
        started.elapsed().as_secs()
    };
    let (answer, closed_after) = tokio::join!(biased; heartbeat(&client, deadline), closing);
    answer.unwrap();
    assert_eq!(closed_after, 3);
    let error = heartbeat(&client, deadline).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
    let error = client.all_topics(deadline).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
}

#[tokio::test(start_paused = true)]
async fn close_fails_what_is_not_answered() {
    let fake = Fake::new(1);
    let client = fake.connect().await;
    fake.script(|seen| match seen.is::<HeartbeatRequest>() {
        true => Act::Ignore,
        false => Act::Usual,
    });
    let deadline = client.api_deadline();
    let started = Instant::now();
    let (answer, ()) = tokio::join!(biased; heartbeat(&client, deadline), client.close(SECOND));
    assert_eq!(started.elapsed().as_secs(), 1);
    let error = answer.unwrap_err();
    assert_eq!(
        (error.kind(), error.delivery()),
        (ErrorKind::Closed, Delivery::Unknown)
    );
}

#[tokio::test(start_paused = true)]
async fn close_fails_what_waits_for_a_connection() {
    let fake = Fake::new(1);
    fake.hang(&["b1"]);
    let client = fake.connect().await;
    let deadline = client.api_deadline();
    let started = Instant::now();
    let (first, second, ()) = tokio::join!(
        biased;
        heartbeat(&client, deadline),
        heartbeat(&client, deadline),
        client.close(SECOND)
    );
    assert_eq!(started.elapsed().as_secs(), 1);
    for answer in [first, second] {
        let error = answer.unwrap_err();
        assert_eq!(
            (error.kind(), error.delivery()),
            (ErrorKind::Closed, Delivery::NotSent)
        );
    }
    assert_eq!(fake.dials(), ["boot", "b1"], "nobody dials after the end");
}

#[tokio::test(start_paused = true)]
async fn negotiation_happens_once_per_connection() {
    let fake = Fake::new(1);
    let client = fake.connect().await;
    fake.script(usual_heartbeat);
    for _ in 0..3 {
        heartbeat(&client, client.api_deadline()).await.unwrap();
    }
    assert_eq!(fake.seen::<ApiVersionsRequest>().len(), 2, "boot and b1");
}
