//! zstd, by a pure-Rust encoder and decoder.

use structured_zstd::decoding::errors::FrameDecoderError;
use structured_zstd::decoding::{
    FrameDecoder, FrameSizeError, find_frame_compressed_size, frame_decompressed_bound,
};
use structured_zstd::encoding::{CompressionLevel, compress_slice_to_vec};

use super::too_large;
use crate::error::{DecodeError, DecodeErrorKind};

/// Level 1: on record batches of JSON the encoder is both faster and denser here than at its level 3.
const LEVEL: CompressionLevel = CompressionLevel::Fastest;

/// The most that a byte of a frame can stand for: a block of 128 KiB takes four.
const EXPANSION_MAX: u64 = 32 * 1024;
/// What is reserved at first, in multiples of the input: text of the usual kind shrinks to less than a tenth rarely.
const EXPANSION_USUAL: usize = 16;
const RESERVED_MIN: usize = 1024;

pub(super) fn compress(input: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&compress_slice_to_vec(input, LEVEL));
}

/// Decodes into one buffer of our own. The decoder's streaming interface would reserve the window that a frame asks
/// for, which may be 128 MiB for a few bytes.
pub(super) fn decompress(input: &[u8], limit: usize) -> Result<Vec<u8>, DecodeError> {
    // No frame at all has no content, says the decoder; a batch never comes like that.
    if input.is_empty() {
        return Err(DecodeError::truncated("zstd: no frame", 0));
    }
    let bound = content_bound(input)?.min(limit);
    let usual = input
        .len()
        .saturating_mul(EXPANSION_USUAL)
        .max(RESERVED_MIN)
        .min(bound);
    for capacity in [usual, bound] {
        let mut out = vec![0; capacity];
        match FrameDecoder::new().decode_all(input, &mut out) {
            Ok(written) => {
                out.truncate(written);
                if written < capacity / 2 {
                    out.shrink_to_fit();
                }
                return Ok(out);
            }
            Err(FrameDecoderError::TargetTooSmall) => {}
            Err(error) => return Err(DecodeError::invalid(format!("zstd: {error}"), 0)),
        }
    }
    Err(too_large("zstd", limit))
}

/// What all frames together can hold at most: what they announce, where they do (Java's do not), else by their blocks.
fn content_bound(input: &[u8]) -> Result<usize, DecodeError> {
    let mut bound = 0u64;
    let mut at = 0;
    while at < input.len() {
        let rest = &input[at..];
        bound = bound
            .saturating_add(frame_decompressed_bound(rest).map_err(|error| damaged(&error, at))?);
        at += find_frame_compressed_size(rest).map_err(|error| damaged(&error, at))?;
    }
    let bound = bound.min((input.len() as u64).saturating_mul(EXPANSION_MAX));
    Ok(usize::try_from(bound).unwrap_or(usize::MAX))
}

fn damaged(error: &FrameSizeError, at: usize) -> DecodeError {
    match error {
        FrameSizeError::Truncated => DecodeError::truncated("zstd frame is cut off", at),
        other => DecodeError::new(DecodeErrorKind::Invalid, format!("zstd: {other:?}"), at),
    }
}
