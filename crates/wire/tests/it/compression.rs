//! Each codec: what it writes it reads, within the limit, and it survives damage.

use std::io::Write;

use ferrokafka_wire::DecodeErrorKind;
use ferrokafka_wire::compression::Compression;
use proptest::prelude::*;

fn compressed(codec: Compression, input: &[u8]) -> Vec<u8> {
    let mut out = vec![0xaa];
    codec.compress(input, &mut out).unwrap();
    assert_eq!(out.remove(0), 0xaa, "what stood in the buffer stays");
    out
}

/// Text that compresses, noise that does not, and long runs.
fn any_content() -> impl Strategy<Value = Vec<u8>> {
    let words = proptest::collection::vec("(order|user|payment|[0-9]{4})[ ,:]", 0..4000)
        .prop_map(|words| words.concat().into_bytes());
    let noise = proptest::collection::vec(any::<u8>(), 0..100_000);
    let runs = (any::<u8>(), 0usize..400_000).prop_map(|(byte, len)| vec![byte; len]);
    prop_oneof![words, noise, runs]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn content_comes_back(content in any_content(), codec in 0usize..5) {
        let codec = Compression::ALL[codec];
        let packed = compressed(codec, &content);
        prop_assert_eq!(codec.decompress(&packed, content.len()).unwrap(), content);
    }

    #[test]
    fn damage_never_panics_and_never_passes_the_limit(
        content in any_content(), codec in 0usize..5,
        hits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let codec = Compression::ALL[codec];
        let mut packed = compressed(codec, &content);
        for (at, byte) in hits {
            if !packed.is_empty() {
                let at = at.index(packed.len());
                packed[at] = byte;
            }
        }
        for part in [&packed[..], &packed[..cut.index(packed.len() + 1)]] {
            if let Ok(out) = codec.decompress(part, 50_000) {
                prop_assert!(out.len() <= 50_000);
            }
        }
    }
}

#[test]
fn content_past_the_limit_is_refused_at_the_byte() {
    let content = vec![7; 300_000];
    for codec in Compression::ALL {
        let packed = compressed(codec, &content);
        assert_eq!(
            codec.decompress(&packed, 300_000).unwrap(),
            content,
            "{codec}"
        );
        for limit in [0, 1, 299_999] {
            let error = codec.decompress(&packed, limit).unwrap_err();
            assert_eq!(
                error.kind(),
                DecodeErrorKind::TooLarge,
                "{codec} within {limit}"
            );
        }
    }
}

#[test]
fn empty_content_and_no_bytes_at_all() {
    for codec in Compression::ALL {
        assert_eq!(
            codec.decompress(&compressed(codec, b""), 0).unwrap(),
            b"",
            "{codec}"
        );
        if codec != Compression::None {
            assert!(
                codec.decompress(b"", 100).is_err(),
                "{codec}: nothing is no stream"
            );
        }
    }
}

#[test]
fn every_cut_of_a_stream_is_noticed() {
    let content: Vec<u8> = (0..2_000u32).flat_map(|i| (i * i).to_be_bytes()).collect();
    for codec in Compression::ALL
        .into_iter()
        .filter(|codec| *codec != Compression::None)
    {
        let packed = compressed(codec, &content);
        for cut in 0..packed.len() {
            if let Ok(out) = codec.decompress(&packed[..cut], content.len()) {
                // xerial's stream has no end marker: a cut between two blocks is a shorter stream.
                assert!(
                    codec == Compression::Snappy && out.len() < content.len(),
                    "{codec} cut at {cut}"
                );
            }
        }
    }
}

#[test]
fn snappy_reads_bare_blocks_and_joined_streams() {
    let content = b"bare block, as librdkafka sends it, bare block".repeat(10);
    let bare = snap::raw::Encoder::new().compress_vec(&content).unwrap();
    assert_eq!(
        Compression::Snappy.decompress(&bare, 1 << 20).unwrap(),
        content
    );

    let mut joined = compressed(Compression::Snappy, &content);
    joined.extend(compressed(Compression::Snappy, b"second"));
    assert_eq!(
        Compression::Snappy.decompress(&joined, 1 << 20).unwrap(),
        [&content[..], b"second"].concat()
    );
}

#[test]
fn snappy_that_announces_a_gigabyte_in_ten_bytes_reserves_nothing() {
    let mut bare = vec![0x80, 0x80, 0x80, 0x80, 0x04];
    bare.extend_from_slice(&[0; 5]);
    let error = Compression::Snappy
        .decompress(&bare, usize::MAX)
        .unwrap_err();
    assert_eq!(error.kind(), DecodeErrorKind::Invalid);
    // Refused by its length alone, before any memory was asked for.
    assert!(
        error
            .to_string()
            .contains("10 bytes cannot hold 1073741824"),
        "{error}"
    );
}

#[test]
fn lz4_header_is_what_kafka_demands() {
    let packed = compressed(Compression::Lz4, b"content");
    assert_eq!(packed[..4], [0x04, 0x22, 0x4d, 0x18]);
    // Version 1, independent blocks, nothing else that Kafka's reader would have to skip.
    assert_eq!(packed[4], 0x60);
    assert_eq!(packed[5], 0x40, "64 KiB blocks");
    let mut wrong = packed.clone();
    wrong[6] ^= 1;
    assert!(
        Compression::Lz4.decompress(&wrong, 100).is_err(),
        "header checksum"
    );
}

#[test]
fn lz4_with_content_size_and_checksums_is_read() {
    use lz4_flex::frame::{BlockMode, FrameEncoder, FrameInfo};
    let content = b"abcabcabc".repeat(1000);
    let info = FrameInfo::new()
        .block_mode(BlockMode::Independent)
        .content_size(Some(content.len() as u64))
        .block_checksums(true)
        .content_checksum(true);
    let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
    encoder.write_all(&content).unwrap();
    let packed = encoder.finish().unwrap();
    assert_eq!(
        Compression::Lz4.decompress(&packed, content.len()).unwrap(),
        content
    );
    let error = Compression::Lz4
        .decompress(&packed, content.len() - 1)
        .unwrap_err();
    assert_eq!(error.kind(), DecodeErrorKind::TooLarge);
}

#[test]
fn names_and_ids() {
    for codec in Compression::ALL {
        assert_eq!(codec.name().parse(), Ok(codec));
        assert_eq!(Compression::from_id(codec.id()), Some(codec));
    }
    assert_eq!(Compression::from_id(5), None);
    let error = "lz5".parse::<Compression>().unwrap_err().to_string();
    assert!(error.contains("lz5") && error.contains("lz4"), "{error}");
}

#[test]
fn zstd_window_and_content_size_are_not_believed() {
    // A frame of one raw byte, whose header asks for a window of 120 MiB; and one that announces four gigabytes.
    let window = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x87, 0x09, 0, 0, b'x'];
    assert_eq!(Compression::Zstd.decompress(&window, 10).unwrap(), b"x");
    let content_size = [
        0x28, 0xb5, 0x2f, 0xfd, 0xa0, 0, 0, 0, 0xff, 0x09, 0, 0, b'x',
    ];
    assert!(
        Compression::Zstd
            .decompress(&content_size, usize::MAX)
            .is_err()
    );
}

#[test]
fn zstd_frames_that_are_joined_are_read_as_one() {
    let mut joined = compressed(Compression::Zstd, b"first, ");
    joined.extend(compressed(Compression::Zstd, b"second"));
    assert_eq!(
        Compression::Zstd.decompress(&joined, 13).unwrap(),
        b"first, second"
    );
    assert_eq!(
        Compression::Zstd
            .decompress(&joined, 12)
            .unwrap_err()
            .kind(),
        DecodeErrorKind::TooLarge
    );
}
