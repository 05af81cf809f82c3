//! Bytes that break the protocol: an error that says so, at once, and the next request works.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::{BufMut as _, Bytes, BytesMut};
use ferrokafka_client::{Client, Delivery, Error, ErrorKind, Lane};
use ferrokafka_wire::messages::{HeartbeatRequest, HeartbeatResponse};
use tokio::time::Instant;

use crate::fake::{Act, Fake, Seen};

/// A client whose next heartbeat meets `act`, and every later one a good answer.
async fn once(act: impl Fn(&Seen) -> Act + Send + Sync + 'static) -> (Fake, Client) {
    let fake = Fake::new(1);
    let client = fake.connect().await;
    let done = Arc::new(AtomicBool::new(false));
    fake.script(move |seen| {
        if !seen.is::<HeartbeatRequest>() {
            Act::Usual
        } else if done.swap(true, Ordering::Relaxed) {
            seen.answer(&HeartbeatResponse::default())
        } else {
            act(seen)
        }
    });
    (fake, client)
}

async fn heartbeat(client: &Client) -> Result<(), Error> {
    let deadline = client.api_deadline();
    let answer = client.request(1, Lane::Control, deadline, |_| HeartbeatRequest::default());
    answer.await.map(drop)
}

/// The heartbeat fails at once, with this kind; the next one works.
async fn refused(act: impl Fn(&Seen) -> Act + Send + Sync + 'static, kind: ErrorKind) -> Error {
    let (_fake, client) = once(act).await;
    let started = Instant::now();
    let error = heartbeat(&client).await.unwrap_err();
    assert_eq!(error.kind(), kind, "{error}");
    assert_eq!(error.delivery(), Delivery::Unknown, "{error}");
    assert!(error.to_string().contains("1 at b1:9092"), "{error}");
    assert!(error.to_string().contains("Heartbeat v4"), "{error}");
    assert_eq!(started.elapsed().as_millis(), 0, "{error}");
    heartbeat(&client).await.unwrap();
    error
}

fn good(seen: &Seen) -> Bytes {
    seen.answer(&HeartbeatResponse::default()).bytes()
}

/// A frame with this body after the correlation id.
fn frame(seen: &Seen, body: &[u8]) -> Act {
    let mut bytes = BytesMut::new();
    bytes.put_u32(4 + u32::try_from(body.len()).unwrap());
    bytes.put_i32(seen.correlation_id);
    bytes.put_slice(body);
    Act::Send(bytes.freeze())
}

#[tokio::test(start_paused = true)]
async fn oversized_frame_is_refused() {
    let length = |length: u32| move |_: &Seen| Act::Send(length.to_be_bytes().to_vec().into());
    for claimed in [0x7fff_ffff, 100 * 1024 * 1024 + 1, 0xffff_ffff, 0x8000_0000] {
        let error = refused(length(claimed), ErrorKind::Protocol).await;
        assert!(error.to_string().contains("are allowed"), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn frame_without_a_header_is_refused() {
    let short = |_: &Seen| Act::Send(Bytes::from_static(&[0, 0, 0, 3, 1, 2, 3]));
    refused(short, ErrorKind::Protocol).await;
    let empty = |_: &Seen| Act::Send(Bytes::from_static(&[0, 0, 0, 0]));
    refused(empty, ErrorKind::Protocol).await;
}

#[tokio::test(start_paused = true)]
async fn answer_to_another_request_is_refused() {
    let other = |seen: &Seen| {
        let mut seen = seen.clone();
        seen.correlation_id += 1;
        Act::Send(good(&seen))
    };
    let error = refused(other, ErrorKind::Protocol).await;
    assert!(error.to_string().contains("correlation id"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn answer_nobody_asked_for_ends_the_connection() {
    let (fake, client) = once(|seen| {
        let mut twice = BytesMut::from(&good(seen)[..]);
        twice.extend_from_slice(&good(seen));
        Act::Send(twice.freeze())
    })
    .await;
    heartbeat(&client).await.unwrap();
    heartbeat(&client).await.unwrap();
    assert_eq!(fake.dials(), ["boot", "b1", "b1"]);
}

#[tokio::test(start_paused = true)]
async fn garbage_in_the_body_is_refused() {
    // Flexible header: a count of tagged fields that the body does not hold.
    refused(
        |seen| frame(seen, &[0xff, 0xff, 0xff, 0xff, 0x0f]),
        ErrorKind::Protocol,
    )
    .await;
    refused(|seen| frame(seen, &[0xff; 64]), ErrorKind::Protocol).await;
    refused(|seen| frame(seen, &[1, 0, 0x7f]), ErrorKind::Protocol).await;
    refused(|seen| frame(seen, &[]), ErrorKind::Protocol).await;
}

#[tokio::test(start_paused = true)]
async fn truncated_and_overlong_bodies_are_refused() {
    let full = 4 + 1 + 4 + 2 + 1;
    for cut in 5..full {
        let cut_off = move |seen: &Seen| frame(seen, &good(seen)[8..4 + cut]);
        refused(cut_off, ErrorKind::Protocol).await;
    }
    let overlong = |seen: &Seen| {
        let mut body = good(seen)[8..].to_vec();
        body.push(0);
        frame(seen, &body)
    };
    let error = refused(overlong, ErrorKind::Protocol).await;
    assert!(error.to_string().contains("too many"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn connection_that_ends_within_a_frame_is_a_disconnect() {
    for cut in 0..8 {
        let partial = move |seen: &Seen| Act::SendThenClose(good(seen).slice(..cut));
        let error = refused(partial, ErrorKind::Disconnected).await;
        assert!(error.is_retriable(), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn broker_that_does_not_speak_kafka_is_an_error() {
    let fake = Fake::new(1);
    fake.script(|_| Act::Send(Bytes::from_static(b"HTTP/1.1 400 Bad Request\r\n\r\n")));
    let started = Instant::now();
    let error = fake.connect_with(fake.config()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol, "{error}");
    assert_eq!(started.elapsed().as_millis(), 0);
}
