//! From a response's bytes to its message.

use bytes::Bytes;
use ferrokafka_wire::frame;
use ferrokafka_wire::protocol::Request;

use crate::adapter::skip_response_header;

/// Decodes a response that begins after its correlation id. `Err` says in words what is wrong with it.
pub(crate) fn response<R: Request>(mut bytes: Bytes, version: i16) -> Result<R::Response, String> {
    skip_response_header::<R>(&mut bytes, version)?;
    body::<R>(bytes, version)
}

/// Decodes a response's body. It is walked along its layout first, so that no count in it makes the
/// decoder allocate more than the body can hold.
pub(crate) fn body<R: Request>(body: Bytes, version: i16) -> Result<R::Response, String> {
    frame::decode_response::<R>(body, version)
        .map_err(|error| format!("the response is malformed: {error}"))
}
