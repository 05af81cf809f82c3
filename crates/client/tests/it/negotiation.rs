//! Agreeing on versions (KIP-511).

use ferrokafka_client::{ErrorKind, Lane};
use ferrokafka_wire::messages::api_versions_response::ApiVersion;
use ferrokafka_wire::messages::{
    ApiVersionsRequest, ApiVersionsResponse, HeartbeatRequest, MetadataRequest,
    SaslHandshakeRequest,
};
use ferrokafka_wire::protocol::Request;

use crate::fake::{Act, Fake, unsupported};

fn versions_asked(fake: &Fake) -> Vec<i16> {
    let seen = fake.seen::<ApiVersionsRequest>();
    seen.iter()
        .filter(|seen| seen.connection == 0)
        .map(|seen| seen.version)
        .collect()
}

#[tokio::test(start_paused = true)]
async fn software_is_named() {
    let fake = Fake::new(1);
    let _client = fake.connect().await;
    assert_eq!(versions_asked(&fake), [4]);
    let request: ApiVersionsRequest = fake.seen::<ApiVersionsRequest>()[0].decode();
    assert_eq!(request.client_software_name.as_str(), "ferrokafka");
    assert_eq!(
        request.client_software_version.as_str(),
        env!("CARGO_PKG_VERSION")
    );
}

#[tokio::test(start_paused = true)]
async fn refused_version_falls_back_to_the_one_named() {
    let fake = Fake::new(1);
    fake.script(
        |seen| match seen.is::<ApiVersionsRequest>() && seen.version > 2 {
            true => unsupported(seen, Some(2)),
            false => Act::Usual,
        },
    );
    let _client = fake.connect().await;
    assert_eq!(versions_asked(&fake), [4, 2]);
}

#[tokio::test(start_paused = true)]
async fn refused_version_without_a_name_falls_back_to_0() {
    let fake = Fake::new(1);
    fake.script(
        |seen| match seen.is::<ApiVersionsRequest>() && seen.version > 0 {
            true => unsupported(seen, None),
            false => Act::Usual,
        },
    );
    let _client = fake.connect().await;
    assert_eq!(versions_asked(&fake), [4, 0]);
}

#[tokio::test(start_paused = true)]
async fn endless_refusal_ends() {
    let fake = Fake::new(1);
    fake.script(|seen| unsupported(seen, Some(4)));
    let error = fake.connect_with(fake.config()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol);
    assert_eq!(versions_asked(&fake), [4, 3, 2, 1, 0]);
}

#[tokio::test(start_paused = true)]
async fn flipped_ranges_are_refused() {
    let fake = Fake::new(1);
    fake.script(|seen| {
        let api = ApiVersion::default()
            .with_api_key(3)
            .with_min_version(5)
            .with_max_version(2);
        seen.answer(&ApiVersionsResponse::default().with_api_keys(vec![api]))
    });
    let error = fake.connect_with(fake.config()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol);
    assert!(error.to_string().contains("5 to 2"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn highest_common_version_is_used_or_the_cap() {
    let fake = Fake::new(1);
    let client = fake.connect().await;
    fake.script(|seen| match seen.is::<HeartbeatRequest>() {
        true => seen.answer(&<HeartbeatRequest as Request>::Response::default()),
        false => Act::Usual,
    });
    let deadline = client.api_deadline();
    let build = |version| {
        assert!((2..=4).contains(&version));
        HeartbeatRequest::default()
    };
    let (version, _) = client
        .request(1, Lane::Control, deadline, build)
        .await
        .unwrap();
    assert_eq!(version, 4);
    // v2 has plain headers, v4 flexible ones: both kinds pass.
    let (version, _) = client
        .request_max_version(1, Lane::Control, deadline, 2, build)
        .await
        .unwrap();
    assert_eq!(version, 2);
    assert_eq!(client.supports(1, MetadataRequest::KEY), Some((0, 13)));
    assert_eq!(client.supports(1, SaslHandshakeRequest::KEY), None);
}

#[tokio::test(start_paused = true)]
async fn api_the_broker_lacks_is_an_error_with_its_name() {
    let fake = Fake::new(1);
    let client = fake.connect().await;
    let deadline = client.api_deadline();
    let error = client
        .request(1, Lane::Control, deadline, |_| {
            SaslHandshakeRequest::default()
        })
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnsupportedVersion);
    assert!(error.to_string().contains("SaslHandshake"), "{error}");
    assert!(error.to_string().contains("b1:9092"), "{error}");
}
