//! zstd, by a pure-Rust encoder and decoder.

use structured_zstd::decoding::{
    FrameContentSize, FrameDecoder, StreamingDecoder, find_decompressed_size,
};
use structured_zstd::encoding::{CompressionLevel, compress_slice_to_vec};

use super::read_bounded;
use crate::error::DecodeError;

/// Level 1: on record batches of JSON the encoder is both faster and denser here than at its level 3.
const LEVEL: CompressionLevel = CompressionLevel::Fastest;

/// What a frame's announced size may be, in multiples of its length, for the output to be reserved in one piece.
const TRUSTED_EXPANSION: usize = 64;

pub(super) fn compress(input: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&compress_slice_to_vec(input, LEVEL));
}

pub(super) fn decompress(input: &[u8], limit: usize) -> Result<Vec<u8>, DecodeError> {
    // No frame at all has no content, says the decoder; a batch never comes like that.
    if input.is_empty() {
        return Err(DecodeError::truncated("zstd: no frame", 0));
    }
    if let Some(size) = announced_size(input)
        && size <= limit
        && size <= input.len().saturating_mul(TRUSTED_EXPANSION)
    {
        let mut out = vec![0; size];
        let written = FrameDecoder::new()
            .decode_all(input, &mut out)
            .map_err(|error| DecodeError::invalid(format!("zstd: {error}"), 0))?;
        out.truncate(written);
        return Ok(out);
    }
    read_bounded(StreamingDecoder::new(input), input.len(), limit, "zstd")
}

/// What all frames together claim to hold, where each of them says so. Java's do not.
fn announced_size(input: &[u8]) -> Option<usize> {
    match find_decompressed_size(input) {
        Ok(FrameContentSize::Known(size)) => usize::try_from(size).ok(),
        _ => None,
    }
}
