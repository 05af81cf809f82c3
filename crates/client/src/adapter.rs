//! Lets rskafka's Messenger carry any request of kafka-protocol.
//!
//! Messenger frames, numbers, pipelines and matches responses; what is inside a frame is ours. It asks
//! a request type for constants that a generic type cannot have (the first version with tagged fields
//! in its headers), so here the headers' tagged fields are part of the body: header version 2 is
//! version 1 followed by a tag section, and so it is with responses.

use std::io::Cursor;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicI64, Ordering};

use bytes::{Buf, Bytes};
use ferrokafka_wire::protocol::{HeaderVersion, Request};
use rskafka::protocol::api_key::ApiKey;
use rskafka::protocol::api_version::{ApiVersion, ApiVersionRange};
use rskafka::protocol::messages::{
    ReadVersionedError, ReadVersionedType, RequestBody, WriteVersionedError, WriteVersionedType,
};
use rskafka::protocol::primitives::Int16;
use rskafka::protocol::traits::WriteError;

use crate::transport::Monitor;

/// The highest version there is: for headers that never carry tagged fields in Messenger's eyes.
const NEVER: ApiVersion = ApiVersion(Int16(i16::MAX));

/// A request on its way into Messenger.
pub(crate) struct Outgoing<'a, R> {
    /// The body.
    pub(crate) body: R,
    /// The version it was made for.
    pub(crate) version: i16,
    /// Where its correlation id is noted once Messenger has given it one.
    pub(crate) correlation_id: &'a CorrelationId,
    /// Set for a request that the broker does not answer.
    pub(crate) no_answer: Option<&'a Monitor>,
}

/// The correlation id of a request, once it has one.
pub(crate) struct CorrelationId(AtomicI64);

impl CorrelationId {
    const NONE: i64 = i64::MAX;

    pub(crate) fn new() -> Self {
        Self(AtomicI64::new(Self::NONE))
    }

    fn set(&self, id: i32) {
        self.0.store(i64::from(id), Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> Option<i32> {
        i32::try_from(self.0.load(Ordering::Relaxed)).ok()
    }
}

/// A response's bytes after the correlation id, as they came: the buffer Messenger read into.
pub(crate) struct Incoming<R>(pub(crate) Bytes, PhantomData<fn() -> R>);

/// Messenger's name of an API. It knows some by name, but a number does for all.
pub(crate) fn api_key<R: Request>() -> ApiKey {
    ApiKey::Unknown(Int16(R::KEY))
}

/// A range of versions in Messenger's terms; it must not be empty.
pub(crate) fn version_range(min: i16, max: i16) -> ApiVersionRange {
    ApiVersionRange::new(ApiVersion(Int16(min)), ApiVersion(Int16(max)))
}

impl<R: Request> RequestBody for Outgoing<'_, R> {
    type ResponseBody = Incoming<R>;
    const API_KEY: ApiKey = ApiKey::Unknown(Int16(R::KEY));
    const API_VERSION_RANGE: ApiVersionRange = ApiVersionRange::new(
        ApiVersion(Int16(R::VERSIONS.min)),
        ApiVersion(Int16(R::VERSIONS.max)),
    );
    const FIRST_TAGGED_FIELD_IN_REQUEST_VERSION: ApiVersion = NEVER;
}

impl<R: Request> WriteVersionedType<Vec<u8>> for Outgoing<'_, R> {
    /// Appends the body to the header that Messenger wrote: key, version, correlation id, client id.
    fn write_versioned(
        &self,
        writer: &mut Vec<u8>,
        picked: ApiVersion,
    ) -> Result<(), WriteVersionedError> {
        let malformed = |error: Box<dyn std::error::Error + Send + Sync>| {
            WriteVersionedError::WriteError(WriteError::Malformed(error))
        };
        let Some(&[_, _, _, _, a, b, c, d]) = writer.first_chunk() else {
            return Err(malformed("the request has no header".into()));
        };
        let correlation_id = i32::from_be_bytes([a, b, c, d]);
        // Messenger picks the highest version that both sides know; a lower one may be wanted.
        if self.version > picked.0.0 {
            return Err(malformed(
                "the version is above what the broker knows".into(),
            ));
        }
        writer[2..4].copy_from_slice(&self.version.to_be_bytes());
        self.correlation_id.set(correlation_id);
        if let Some(monitor) = self.no_answer {
            monitor.expect_no_answer(correlation_id);
        }
        let size = self.body.compute_size(self.version);
        writer.reserve(size.map_err(|error| malformed(error.into()))? + 1);
        if R::header_version(self.version) >= 2 {
            writer.push(0);
        }
        let encoded = self.body.encode(writer, self.version);
        encoded.map_err(|error| malformed(error.into()))
    }
}

impl<R> ReadVersionedType<Cursor<Vec<u8>>> for Incoming<R> {
    /// Takes the buffer itself, so that what is decoded from it aliases it.
    fn read_versioned(
        reader: &mut Cursor<Vec<u8>>,
        _picked: ApiVersion,
    ) -> Result<Self, ReadVersionedError> {
        let start = usize::try_from(reader.position()).unwrap_or(usize::MAX);
        let mut bytes = Bytes::from(std::mem::take(reader.get_mut()));
        bytes.advance(start.min(bytes.len()));
        // Messenger checks that all was read: of nothing, nothing is left.
        reader.set_position(0);
        Ok(Self(bytes, PhantomData))
    }
}

/// Steps over the tag section of a response header, if this version has one.
pub(crate) fn skip_response_header<R: Request>(
    bytes: &mut Bytes,
    version: i16,
) -> Result<(), String> {
    if R::Response::header_version(version) < 1 {
        return Ok(());
    }
    let count = take_varint(bytes)?;
    for _ in 0..count {
        let _tag = take_varint(bytes)?;
        let size = take_varint(bytes)? as usize;
        if size > bytes.len() {
            return Err("a tagged field of the header exceeds the response".to_owned());
        }
        bytes.advance(size);
    }
    Ok(())
}

/// An unsigned varint of at most five bytes.
fn take_varint(bytes: &mut Bytes) -> Result<u32, String> {
    let mut value = 0_u32;
    for shift in [0, 7, 14, 21, 28] {
        if bytes.is_empty() {
            return Err("the response header is cut off".to_owned());
        }
        let byte = bytes.get_u8();
        value |= u32::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err("a varint of the response header is too long".to_owned())
}

/// Fails unless the request can be expressed in every version of its API, in a form that a broker
/// reads, by way of Messenger's own header.
#[cfg(test)]
pub(crate) fn encodes_in_every_version<R: Request + Send>(build: impl Fn(i16) -> R) {
    use ferrokafka_wire::frame;
    use rskafka::protocol::messages::RequestHeader;
    use rskafka::protocol::primitives::{Int32, NullableString};

    for version in R::VERSIONS.min..=R::VERSIONS.max {
        let header = RequestHeader {
            request_api_key: Outgoing::<'_, R>::API_KEY,
            request_api_version: NEVER,
            correlation_id: Int32(77),
            client_id: Some(NullableString(Some("me".to_owned()))),
            tagged_fields: None,
        };
        let mut bytes = Vec::new();
        header
            .write_versioned(&mut bytes, ApiVersion(Int16(1)))
            .unwrap();
        let correlation_id = CorrelationId::new();
        let outgoing = Outgoing {
            body: build(version),
            version,
            correlation_id: &correlation_id,
            no_answer: None,
        };
        outgoing.write_versioned(&mut bytes, NEVER).unwrap();
        assert_eq!(correlation_id.get(), Some(77));
        let mut bytes = Bytes::from(bytes);
        let header = frame::decode_request_header(&mut bytes).unwrap();
        assert_eq!(header.request_api_key, R::KEY);
        assert_eq!(header.request_api_version, version);
        assert_eq!(header.client_id.as_deref(), Some("me"));
        frame::decode_request::<R>(bytes, version).unwrap();
    }
}
