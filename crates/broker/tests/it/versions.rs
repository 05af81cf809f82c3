//! Frames, versions and the ApiVersions answer.

use bytes::{Buf, BufMut, BytesMut};
use ferrokafka_broker::TestBroker;
use ferrokafka_wire::ErrorCode;
use ferrokafka_wire::frame;
use ferrokafka_wire::messages::{ApiKey, ApiVersionsRequest, ApiVersionsResponse, MetadataRequest};
use ferrokafka_wire::protocol::{Decodable, StrBytes};

use crate::driver::Driver;

fn who() -> ApiVersionsRequest {
    ApiVersionsRequest::default()
        .with_client_software_name(StrBytes::from_static_str("driver"))
        .with_client_software_version(StrBytes::from_static_str("1.0"))
}

#[tokio::test]
async fn every_version_of_api_versions_lists_the_same_rows() {
    let broker = TestBroker::builder().start().await.unwrap();
    let mut driver = Driver::connect(&broker).await;
    let mut rows = Vec::new();
    for version in 0..=4 {
        let request = if version >= 3 {
            who()
        } else {
            ApiVersionsRequest::default()
        };
        let response = driver.call(version, &request).await;
        assert_eq!(response.error_code, 0);
        rows.push(
            response
                .api_keys
                .iter()
                .map(|row| (row.api_key, row.min_version, row.max_version))
                .collect::<Vec<_>>(),
        );
    }
    assert!(rows.windows(2).all(|pair| pair[0] == pair[1]));
    assert!(rows[0].contains(&(ApiKey::Metadata as i16, 0, 12)));
}

#[tokio::test]
async fn unknown_version_of_api_versions_is_answered_in_the_form_of_version_0() {
    let broker = TestBroker::builder().start().await.unwrap();
    let mut driver = Driver::connect(&broker).await;
    let mut request = BytesMut::new();
    request.put_i16(ApiKey::ApiVersions as i16);
    request.put_i16(99);
    request.put_i32(7);
    request.put_slice(b"\x00\x06driver\x00\x07driver\x041.0\x00");
    let mut frame = BytesMut::new();
    frame.put_i32(i32::try_from(request.len()).unwrap());
    frame.extend_from_slice(&request);
    driver.write(&frame).await;

    let mut answer = driver
        .read()
        .await
        .expect("an answer, not a closed connection");
    assert_eq!(answer.get_i32(), 7);
    let response = ApiVersionsResponse::decode(&mut answer, 0).unwrap();
    assert_eq!(response.error_code, ErrorCode::UnsupportedVersion.code());
    let row = &response.api_keys[0];
    assert_eq!(
        (row.api_key, row.min_version, row.max_version),
        (ApiKey::ApiVersions as i16, 0, 4)
    );
    // The connection is still good.
    assert_eq!(driver.call(4, &who()).await.error_code, 0);
}

#[tokio::test]
async fn frames_that_cannot_be_answered_close_the_connection() {
    let broker = TestBroker::builder()
        .config("socket.request.max.bytes", "1000")
        .start()
        .await
        .unwrap();
    let hostile: [&[u8]; 6] = [
        // 2^31 - 1 topics announced, none there.
        b"\x00\x00\x00\x0e\x00\x03\x00\x01\x00\x00\x00\x01\xff\xff\x7f\xff\xff\xff",
        b"\xff\xff\xff\xff",             // negative length
        b"\x7f\xff\xff\xff",             // over the limit
        b"\x00\x00\x03\xe9",             // just over the limit
        b"\x00\x00\x00\x03\x00\x00\x00", // no room for a header
        b"\x00\x00\x00\x0a\x7f\x00\x00\x00\x00\x00\x00\x01\xff\xff", // unknown API
    ];
    for bytes in hostile {
        let mut driver = Driver::connect(&broker).await;
        driver.write(bytes).await;
        assert_eq!(driver.read().await, None, "{bytes:x?}");
    }
    let mut driver = Driver::connect(&broker).await;
    assert_eq!(
        driver
            .call(1, &MetadataRequest::default())
            .await
            .brokers
            .len(),
        1
    );
}

#[tokio::test]
async fn a_frame_may_arrive_byte_by_byte() {
    let broker = TestBroker::builder().start().await.unwrap();
    let mut driver = Driver::connect(&broker).await;
    let frame = frame::encode_request(1, 5, Some("driver"), &MetadataRequest::default()).unwrap();
    for byte in frame {
        driver.write(&[byte]).await;
    }
    assert_eq!(driver.read().await.unwrap().get_i32(), 5);
}
