//! From a response's bytes to its message.

use bytes::Bytes;
use ferrokafka_wire::protocol::{Decodable, Request};

use crate::adapter::skip_response_header;

/// Decodes a response that begins after its correlation id. `Err` says in words what is wrong with it.
pub(crate) fn response<R: Request>(mut bytes: Bytes, version: i16) -> Result<R::Response, String> {
    skip_response_header::<R>(&mut bytes, version)?;
    check::<R>(&bytes, version)?;
    let response = R::Response::decode(&mut bytes, version)
        .map_err(|error| format!("the response is malformed: {error}"))?;
    if bytes.is_empty() {
        Ok(response)
    } else {
        Err(format!("{} bytes follow the response", bytes.len()))
    }
}

/// Walks the body along its layout, so that no count in it makes the decoder allocate more than the
/// body can hold.
pub(crate) fn check<R: Request>(body: &[u8], version: i16) -> Result<(), String> {
    ferrokafka_wire::layout::check_response(R::KEY, version, body)
        .map_err(|error| format!("the response is malformed: {error}"))
}
