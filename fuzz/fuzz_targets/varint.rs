//! Varints: what is read is written again as the same value.

#![no_main]

use ferrokafka_fuzz as _;
use ferrokafka_wire::varint;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut at = 0;
    while let Ok(value) = varint::read_varlong(data, &mut at) {
        let mut out = Vec::new();
        varint::write_varlong(&mut out, value);
        let mut back = 0;
        assert_eq!(varint::read_varlong(&out, &mut back), Ok(value));
        assert_eq!(back, varint::varlong_len(value));
    }
    let mut at = 0;
    while let Ok(value) = varint::read_varint(data, &mut at) {
        let mut out = Vec::new();
        varint::write_varint(&mut out, value);
        assert_eq!(out.len(), varint::varint_len(value));
    }
});
