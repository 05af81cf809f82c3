//! A response body of any API and version; the first two bytes choose them.

#![no_main]

use bytes::Bytes;
use ferrokafka_fuzz as _;
use ferrokafka_wire::layout;
use ferrokafka_wire::messages::{ApiKey, ResponseKind};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((&[key, version], body)) = data.split_first_chunk::<2>() else {
        return;
    };
    let (key, version) = (i16::from(key), i16::from(version));
    if layout::check_response(key, version, body).is_err() {
        return;
    }
    let Ok(api) = ApiKey::try_from(key) else { return };
    let mut body = Bytes::copy_from_slice(body);
    if ResponseKind::decode(api, &mut body, version).is_ok() {
        assert!(body.is_empty(), "the walk and the decoder disagree about where the response ends");
    }
});
