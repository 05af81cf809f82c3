//! Frames: request headers in, response headers and bodies out.
//!
//! Three places where the protocol departs from its own rule are kept here: the response header of
//! ApiVersions is always version 0, a request header's client id is not compact even in the flexible
//! version, and Produce 0–2 are answered though nothing decodes them any more.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use ferrokafka_wire::frame;
use ferrokafka_wire::messages::{ApiKey, RequestHeader, ResponseHeader};
use ferrokafka_wire::protocol::{Decodable, Encodable, Request};

/// A frame that cannot be answered; its connection is closed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CodecError {
    #[error("frame of {0} bytes ends inside its header")]
    ShortHeader(usize),
    #[error("api key {0} is not served")]
    UnknownApi(i16),
    #[error("{api:?} version {version} is not served")]
    UnsupportedVersion { api: ApiKey, version: i16 },
    #[error("{0:?} failed and its client waits for no answer")]
    Unanswered(ApiKey),
    #[error("{api:?} v{version} request does not decode: {reason}")]
    Request {
        api: ApiKey,
        version: i16,
        reason: String,
    },
    #[error("{api:?} v{version} response does not encode: {reason}")]
    Response {
        api: ApiKey,
        version: i16,
        reason: String,
    },
}

/// What every request begins with.
#[derive(Debug, Clone)]
pub(crate) struct Header {
    pub(crate) api: ApiKey,
    pub(crate) version: i16,
    pub(crate) correlation_id: i32,
    pub(crate) client_id: Option<String>,
}

/// Splits a frame (without its length) into header and body.
///
/// The header of a version nobody serves is read as the nearest known version's: the fixed part is
/// the same in all, and the caller answers or closes without looking at the body.
pub(crate) fn decode_header(frame: Bytes) -> Result<(Header, Bytes), CodecError> {
    let length = frame.len();
    if length < 8 {
        return Err(CodecError::ShortHeader(length));
    }
    let mut fixed = &frame[..8];
    let (key, version, correlation_id) = (fixed.get_i16(), fixed.get_i16(), fixed.get_i32());
    let api = ApiKey::try_from(key).map_err(|()| CodecError::UnknownApi(key))?;
    let known = api.valid_versions();
    if version < known.min || version > known.max {
        let (client_id, length) = peek_client_id(&frame[8..]);
        return Ok((
            Header {
                api,
                version,
                correlation_id,
                client_id,
            },
            frame.slice(8 + length..),
        ));
    }
    let mut body = frame;
    let header = RequestHeader::decode(&mut body, api.request_header_version(version))
        .map_err(|_| CodecError::ShortHeader(length))?;
    let client_id = header.client_id.map(|id| id.to_string());
    Ok((
        Header {
            api,
            version,
            correlation_id,
            client_id,
        },
        body,
    ))
}

/// The client id that follows the fixed part of a header, and how many bytes it takes.
fn peek_client_id(mut rest: &[u8]) -> (Option<String>, usize) {
    if rest.len() < 2 {
        return (None, 0);
    }
    let Ok(length) = usize::try_from(rest.get_i16()) else {
        return (None, 2);
    };
    let id = rest
        .get(..length)
        .and_then(|id| std::str::from_utf8(id).ok());
    (
        id.map(str::to_owned),
        2 + if id.is_some() { length } else { 0 },
    )
}

/// Decodes a request's body.
pub(crate) fn decode_request<R: Request>(
    api: ApiKey,
    version: i16,
    body: Bytes,
) -> Result<R, CodecError> {
    frame::decode_request(body, version).map_err(|error| CodecError::Request {
        api,
        version,
        reason: error.to_string(),
    })
}

/// Encodes a response's body, without length and header.
pub(crate) fn encode_body<R: Encodable>(
    api: ApiKey,
    version: i16,
    response: &R,
) -> Result<BytesMut, CodecError> {
    let failed = |error: &dyn std::fmt::Display| CodecError::Response {
        api,
        version,
        reason: error.to_string(),
    };
    let size = response
        .compute_size(version)
        .map_err(|error| failed(&error))?;
    let mut body = BytesMut::with_capacity(size);
    response
        .encode(&mut body, version)
        .map_err(|error| failed(&error))?;
    Ok(body)
}

/// Length and header of a response whose body has `body_length` bytes.
pub(crate) fn response_head(
    api: ApiKey,
    version: i16,
    correlation_id: i32,
    body_length: usize,
) -> BytesMut {
    // A client that does not know our versions yet must be able to read this one.
    let header_version = if api == ApiKey::ApiVersions {
        0
    } else {
        api.response_header_version(version)
    };
    let mut head = BytesMut::with_capacity(16);
    head.put_i32(0);
    let header = ResponseHeader::default().with_correlation_id(correlation_id);
    // Two fixed fields into a growing buffer: there is nothing to fail.
    let encoded = header.encode(&mut head, header_version);
    debug_assert!(encoded.is_ok(), "response header {header_version} encodes");
    let length = i32::try_from(head.len() - 4 + body_length).unwrap_or(i32::MAX);
    head[..4].copy_from_slice(&length.to_be_bytes());
    head
}
