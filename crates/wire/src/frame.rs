//! Whole requests and responses: four bytes of length, header, body.
//!
//! A client's connections have their own framing; this is for brokers, for drivers in tests, and for whoever has a
//! body in hand. `Default` of a message sets nullable fields to `Some`: set `None` by hand.

use bytes::{Buf, Bytes, BytesMut};
use kafka_protocol::messages::{ApiKey, RequestHeader, ResponseHeader};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Message, Request, StrBytes};

use crate::error::{DecodeError, DecodeErrorKind, EncodeError};
use crate::layout;

/// Bytes of the length before a frame.
pub const LENGTH_PREFIX_LEN: usize = 4;

/// A request as it goes on the wire, length included.
///
/// # Errors
/// The version is not one of the API's, or a field is set that it does not have.
pub fn encode_request<R: Request>(
    version: i16,
    correlation_id: i32,
    client_id: Option<&str>,
    request: &R,
) -> Result<Bytes, EncodeError> {
    let header = RequestHeader::default()
        .with_request_api_key(R::KEY)
        .with_request_api_version(version)
        .with_correlation_id(correlation_id)
        .with_client_id(client_id.map(|id| StrBytes::from_string(id.to_owned())));
    let frame = encode(&header, R::header_version(version), request, version)
        .map_err(|error| describe(error, "request", R::KEY, version))?;
    Ok(frame.freeze())
}

/// A response as it goes on the wire, length included.
///
/// # Errors
/// The version is not one of the API's, or a field is set that it does not have.
pub fn encode_response<R: Message + Encodable + HeaderVersion>(
    api_key: i16,
    version: i16,
    correlation_id: i32,
    response: &R,
) -> Result<BytesMut, EncodeError> {
    let header = ResponseHeader::default().with_correlation_id(correlation_id);
    encode(&header, R::header_version(version), response, version)
        .map_err(|error| describe(error, "response", api_key, version))
}

fn encode<H: Encodable, B: Encodable>(
    header: &H,
    header_version: i16,
    body: &B,
    version: i16,
) -> Result<BytesMut, String> {
    let text = |error: &dyn std::fmt::Display| format!("{error:#}");
    let head_len = header
        .compute_size(header_version)
        .map_err(|error| text(&error))?;
    let body_len = body.compute_size(version).map_err(|error| text(&error))?;
    let len = i32::try_from(head_len + body_len).map_err(|_| "frame passes 2 GiB".to_owned())?;
    let mut frame = BytesMut::with_capacity(LENGTH_PREFIX_LEN + head_len + body_len);
    frame.extend_from_slice(&len.to_be_bytes());
    header
        .encode(&mut frame, header_version)
        .map_err(|error| text(&error))?;
    body.encode(&mut frame, version)
        .map_err(|error| text(&error))?;
    // `compute_size` is a promise of another crate; the length on the wire must be what was written.
    let written = i32::try_from(frame.len() - LENGTH_PREFIX_LEN)
        .map_err(|_| "frame passes 2 GiB".to_owned())?;
    frame[..LENGTH_PREFIX_LEN].copy_from_slice(&written.to_be_bytes());
    Ok(frame)
}

fn describe(error: String, what: &str, api_key: i16, version: i16) -> EncodeError {
    EncodeError::new(format!("{} {what} v{version}: {error}", api_name(api_key)))
}

/// Kafka's name of an API, such as `Produce`; the number where there is none.
pub fn api_name(api_key: i16) -> String {
    ApiKey::try_from(api_key).map_or_else(|_| format!("API {api_key}"), |key| format!("{key:?}"))
}

/// Takes the header off a request frame whose length has been taken off before.
///
/// The version is whatever the client sent: that the body can be decoded is for the caller to find out, who may have
/// to answer `UNSUPPORTED_VERSION`.
///
/// # Errors
/// The API is unknown or the bytes are no header.
pub fn decode_request_header(frame: &mut Bytes) -> Result<RequestHeader, DecodeError> {
    const FIXED_LEN: usize = 8;
    if frame.len() < FIXED_LEN {
        return Err(DecodeError::truncated("request header", frame.len()));
    }
    let api_key = i16::from_be_bytes([frame[0], frame[1]]);
    let version = i16::from_be_bytes([frame[2], frame[3]]);
    let api = ApiKey::try_from(api_key).map_err(|_| {
        DecodeError::new(
            DecodeErrorKind::Unsupported,
            format!("unknown API {api_key}"),
            0,
        )
    })?;
    RequestHeader::decode(frame, api.request_header_version(version))
        .map_err(|error| DecodeError::invalid(format!("request header: {error:#}"), 0))
}

/// Takes the header off a response frame whose length has been taken off before, and returns its correlation id.
///
/// # Errors
/// The bytes are no header.
pub fn decode_response_header<R: Request>(
    frame: &mut Bytes,
    version: i16,
) -> Result<i32, DecodeError> {
    if frame.len() < 4 {
        return Err(DecodeError::truncated("response header", frame.len()));
    }
    ResponseHeader::decode(frame, R::Response::header_version(version))
        .map(|header| header.correlation_id)
        .map_err(|error| DecodeError::invalid(format!("response header: {error:#}"), 0))
}

/// The body of a request.
///
/// # Errors
/// The version is not one of the API's, or the bytes are no such request.
pub fn decode_request<R: Request>(body: Bytes, version: i16) -> Result<R, DecodeError> {
    layout::check_request(R::KEY, version, &body)?;
    decode(body, version, "request", R::KEY)
}

/// The body of the response to a request.
///
/// # Errors
/// The version is not one of the API's, or the bytes are no such response.
pub fn decode_response<R: Request>(body: Bytes, version: i16) -> Result<R::Response, DecodeError> {
    layout::check_response(R::KEY, version, &body)?;
    decode(body, version, "response", R::KEY)
}

fn decode<B: Decodable>(
    mut body: Bytes,
    version: i16,
    what: &str,
    api_key: i16,
) -> Result<B, DecodeError> {
    let len = body.len();
    let decoded = B::decode(&mut body, version).map_err(|error| {
        let at = len - body.remaining();
        DecodeError::invalid(
            format!("{} {what} v{version}: {error:#}", api_name(api_key)),
            at,
        )
    })?;
    if body.has_remaining() {
        let at = len - body.remaining();
        return Err(DecodeError::invalid(
            format!(
                "{} {what} v{version}: {} bytes left over",
                api_name(api_key),
                len - at
            ),
            at,
        ));
    }
    Ok(decoded)
}
