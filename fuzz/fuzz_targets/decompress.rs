//! Each codec's decoder; the first byte chooses it. What comes out stays below the limit.

#![no_main]

use ferrokafka_fuzz as _;
use ferrokafka_wire::compression::Compression;
use libfuzzer_sys::fuzz_target;

const LIMIT: usize = 1 << 20;

fuzz_target!(|data: &[u8]| {
    let Some((&first, data)) = data.split_first() else {
        return;
    };
    let codecs = [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];
    let codec = codecs[usize::from(first) % codecs.len()];
    if let Ok(plain) = codec.decompress(data, LIMIT) {
        assert!(plain.len() <= LIMIT);
    }
    // What we compress, we can read.
    let mut packed = Vec::new();
    codec.compress(data, &mut packed).expect("any bytes can be compressed");
    assert_eq!(codec.decompress(&packed, data.len()).expect("our own bytes"), data);
});
