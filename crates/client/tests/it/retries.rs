//! Calls: routed, retried, rerouted, and their last error explained.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ferrokafka_client::{CoordinatorKind, Delivery, Disposition, ErrorKind, Lane, Route};
use ferrokafka_wire::ErrorCode;
use ferrokafka_wire::messages::{FindCoordinatorRequest, HeartbeatRequest, HeartbeatResponse};
use tokio::time::Instant;

use crate::fake::{Act, Fake};

fn check(response: &HeartbeatResponse) -> ErrorCode {
    ErrorCode::from_code(response.error_code)
}

fn build(_version: i16) -> HeartbeatRequest {
    HeartbeatRequest::default()
}

#[tokio::test(start_paused = true)]
async fn moved_coordinator_is_followed() {
    let fake = Fake::new(2);
    let client = fake.connect().await;
    let fakes = fake.clone();
    let finds = AtomicUsize::new(0);
    fake.script(move |seen| {
        if seen.is::<FindCoordinatorRequest>() {
            let keys = seen.decode::<FindCoordinatorRequest>().coordinator_keys;
            let node = if finds.fetch_add(1, Ordering::Relaxed) == 0 {
                1
            } else {
                2
            };
            seen.answer(&fakes.coordinators(keys, node))
        } else if seen.is::<HeartbeatRequest>() {
            let code = if seen.host == "b1" {
                ErrorCode::NotCoordinator.code()
            } else {
                0
            };
            seen.answer(&HeartbeatResponse::default().with_error_code(code))
        } else {
            Act::Usual
        }
    });
    let route = Route::Group("audit");
    let call = client.call(route, Lane::Control, client.api_deadline(), build, check);
    call.await.unwrap();
    let hosts: Vec<_> = fake
        .seen::<HeartbeatRequest>()
        .iter()
        .map(|seen| seen.host.clone())
        .collect();
    assert_eq!(hosts, ["b1", "b2"]);
    // The new coordinator is remembered.
    let call = client.call(route, Lane::Control, client.api_deadline(), build, check);
    call.await.unwrap();
    assert_eq!(fake.seen::<FindCoordinatorRequest>().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn loading_coordinator_is_asked_again_where_it_is() {
    let fake = Fake::new(1);
    let client = fake.connect().await;
    let beats = AtomicUsize::new(0);
    fake.script(move |seen| match seen.is::<HeartbeatRequest>() {
        true => {
            let loading = beats.fetch_add(1, Ordering::Relaxed) < 3;
            let code = if loading {
                ErrorCode::CoordinatorLoadInProgress.code()
            } else {
                0
            };
            seen.answer(&HeartbeatResponse::default().with_error_code(code))
        }
        false => Act::Usual,
    });
    let call = client.call(
        Route::Group("audit"),
        Lane::Control,
        client.api_deadline(),
        build,
        check,
    );
    call.await.unwrap();
    assert_eq!(fake.seen::<HeartbeatRequest>().len(), 4);
    assert_eq!(fake.seen::<FindCoordinatorRequest>().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn coordinator_without_an_address_is_asked_for_again() {
    let fake = Fake::new(1);
    let client = fake.connect().await;
    let finds = AtomicUsize::new(0);
    fake.script(move |seen| match seen.is::<FindCoordinatorRequest>() {
        true if finds.fetch_add(1, Ordering::Relaxed) == 0 => {
            seen.answer(&ferrokafka_wire::messages::FindCoordinatorResponse::default())
        }
        _ => Act::Usual,
    });
    let deadline = client.api_deadline();
    let node = client
        .coordinator(CoordinatorKind::Group, "audit", deadline)
        .await;
    assert_eq!(node.unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn fatal_code_ends_the_call_at_once() {
    let fake = Fake::new(1);
    let client = fake.connect().await;
    let code = ErrorCode::GroupAuthorizationFailed;
    fake.script(move |seen| match seen.is::<HeartbeatRequest>() {
        true => seen.answer(&HeartbeatResponse::default().with_error_code(code.code())),
        false => Act::Usual,
    });
    let call = client.call(
        Route::Node(1),
        Lane::Control,
        client.api_deadline(),
        build,
        check,
    );
    let error = call.await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Authorization);
    assert_eq!(error.code(), Some(code));
    assert_eq!(error.disposition(), Disposition::Fatal);
    assert_eq!(error.attempts(), Some(1));
    let text = error.to_string();
    for part in [
        "Heartbeat v4",
        "1 at b1:9092",
        "GROUP_AUTHORIZATION_FAILED",
        "1 attempt",
    ] {
        assert!(text.contains(part), "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn retries_end_at_the_deadline_with_the_last_error() {
    let fake = Fake::new(1);
    let client = fake.connect().await;
    fake.script(|seen| match seen.is::<HeartbeatRequest>() {
        true => {
            let code = ErrorCode::CoordinatorLoadInProgress.code();
            seen.answer(&HeartbeatResponse::default().with_error_code(code))
        }
        false => Act::Usual,
    });
    let started = Instant::now();
    let deadline = started + Duration::from_secs(10);
    let call = client.call(Route::Node(1), Lane::Control, deadline, build, check);
    let error = call.await.unwrap_err();
    assert!(started.elapsed() <= Duration::from_secs(10));
    assert_eq!(error.code(), Some(ErrorCode::CoordinatorLoadInProgress));
    // 100, 200, 400, 800 ms, then one a second.
    let attempts = error.attempts().unwrap();
    assert!((10..=16).contains(&attempts), "{attempts}");
    assert!(error.elapsed().unwrap() >= Duration::from_secs(8));
}

#[tokio::test(start_paused = true)]
async fn lost_answer_makes_the_outcome_unknown_for_good() {
    let fake = Fake::new(1);
    let client = fake.connect().await;
    let beats = AtomicUsize::new(0);
    fake.script(move |seen| match seen.is::<HeartbeatRequest>() {
        true if beats.fetch_add(1, Ordering::Relaxed) == 0 => Act::Close,
        true => seen.answer(&HeartbeatResponse::default().with_error_code(25)),
        false => Act::Usual,
    });
    let call = client.call(
        Route::Node(1),
        Lane::Control,
        client.api_deadline(),
        build,
        check,
    );
    let error = call.await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::UnknownMemberId));
    assert_eq!(
        error.delivery(),
        Delivery::Unknown,
        "the first attempt may have been carried out"
    );
}

#[tokio::test(start_paused = true)]
async fn closing_ends_a_call_between_its_attempts() {
    let fake = Fake::new(1);
    let client = fake.connect().await;
    fake.script(|seen| match seen.is::<HeartbeatRequest>() {
        true => seen.answer(&HeartbeatResponse::default().with_error_code(14)),
        false => Act::Usual,
    });
    let deadline = client.api_deadline();
    let call = client.call(Route::Node(1), Lane::Control, deadline, build, check);
    let close = async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        client.close(Duration::from_secs(1)).await;
    };
    let started = Instant::now();
    let (answer, ()) = tokio::join!(call, close);
    assert_eq!(answer.unwrap_err().kind(), ErrorKind::Closed);
    assert!(started.elapsed() < Duration::from_secs(5));
}
