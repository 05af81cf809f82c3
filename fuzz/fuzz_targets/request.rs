//! A request frame, header and body, of any API and version: refused or decoded, never a panic, never much memory.

#![no_main]

use bytes::Bytes;
use ferrokafka_fuzz as _;
use ferrokafka_wire::messages::{ApiKey, RequestKind};
use ferrokafka_wire::{frame, layout};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut body = Bytes::copy_from_slice(data);
    let Ok(header) = frame::decode_request_header(&mut body) else {
        return;
    };
    let (key, version) = (header.request_api_key, header.request_api_version);
    if layout::check_request(key, version, &body).is_err() {
        return;
    }
    let Ok(api) = ApiKey::try_from(key) else { return };
    if RequestKind::decode(api, &mut body, version).is_ok() {
        assert!(body.is_empty(), "the walk and the decoder disagree about where the request ends");
    }
});
