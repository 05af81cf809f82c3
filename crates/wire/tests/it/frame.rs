//! Frames: what one side encodes the other decodes, and nothing else.

use bytes::{Buf, Bytes};
use ferrokafka_wire::DecodeErrorKind;
use ferrokafka_wire::frame::{
    decode_request, decode_request_header, decode_response, decode_response_header, encode_request,
    encode_response,
};
use ferrokafka_wire::messages::{
    ApiKey, ApiVersionsRequest, ApiVersionsResponse, HeartbeatRequest, HeartbeatResponse,
    MetadataRequest,
};
use ferrokafka_wire::protocol::{Message, Request, StrBytes};

#[test]
fn a_request_comes_back_in_every_version() {
    for version in HeartbeatRequest::VERSIONS.min..=HeartbeatRequest::VERSIONS.max {
        let mut request = HeartbeatRequest::default()
            .with_group_id(StrBytes::from_static_str("g").into())
            .with_generation_id(3)
            .with_member_id(StrBytes::from_static_str("m"));
        // Nullable fields default to `Some`, and versions before 3 have no such field.
        request.group_instance_id = None;
        let mut frame = encode_request(version, 42, Some("me"), &request).unwrap();
        assert_eq!(frame.get_i32() as usize, frame.remaining());
        let header = decode_request_header(&mut frame).unwrap();
        assert_eq!(header.request_api_key, ApiKey::Heartbeat as i16);
        assert_eq!(
            (header.request_api_version, header.correlation_id),
            (version, 42)
        );
        assert_eq!(header.client_id.as_deref(), Some("me"));
        assert_eq!(
            decode_request::<HeartbeatRequest>(frame, version).unwrap(),
            request
        );
    }
}

#[test]
fn a_response_comes_back_and_api_versions_keeps_the_old_header() {
    let response = HeartbeatResponse::default().with_error_code(27);
    let mut frame = encode_response(HeartbeatRequest::KEY, 4, 9, &response)
        .unwrap()
        .freeze();
    assert_eq!(frame.get_i32() as usize, frame.remaining());
    assert_eq!(
        decode_response_header::<HeartbeatRequest>(&mut frame, 4).unwrap(),
        9
    );
    assert_eq!(
        decode_response::<HeartbeatRequest>(frame, 4).unwrap(),
        response
    );

    let unsupported = ApiVersionsResponse::default().with_error_code(35);
    let frame = encode_response(ApiVersionsRequest::KEY, 3, 9, &unsupported).unwrap();
    // Length and correlation id, then at once the error code: no tagged fields between them.
    assert_eq!(frame[4..10], [0, 0, 0, 9, 0, 35]);
}

/// The decoders of the messages would reserve memory for a billion items, and abort.
#[test]
fn hostile_counts_are_refused_before_the_decoder_sees_them() {
    let topics = Bytes::copy_from_slice(&1_000_000_000i32.to_be_bytes());
    let error = decode_request::<MetadataRequest>(topics.clone(), 1).unwrap_err();
    assert_eq!(error.kind(), DecodeErrorKind::Truncated);
    let error = decode_response::<MetadataRequest>(topics, 1).unwrap_err();
    assert_eq!(error.kind(), DecodeErrorKind::Truncated);
}

#[test]
fn cut_off_frames_and_bytes_left_over_are_errors() {
    let request = HeartbeatRequest::default();
    let mut frame = encode_request(4, 1, None, &request).unwrap();
    frame.advance(4);
    for cut in 0..frame.len() {
        let mut part = frame.slice(..cut);
        if decode_request_header(&mut part).is_ok() {
            assert!(
                decode_request::<HeartbeatRequest>(part, 4).is_err(),
                "cut at {cut}"
            );
        }
    }
    let mut long = frame.to_vec();
    long.push(0);
    let mut long = Bytes::from(long);
    decode_request_header(&mut long).unwrap();
    assert!(decode_request::<HeartbeatRequest>(long, 4).is_err());
    assert!(decode_request::<HeartbeatRequest>(Bytes::new(), 99).is_err());
    assert!(encode_request(99, 1, None, &request).is_err());
    assert!(
        decode_request_header(&mut Bytes::from_static(&[0x7f, 0, 0, 0, 0, 0, 0, 0, 0, 0])).is_err()
    );
}
