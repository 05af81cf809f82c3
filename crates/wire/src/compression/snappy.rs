//! Snappy in two framings: xerial's, which Java writes and so do we, and the bare block of librdkafka's kind.
//!
//! xerial: 16 bytes of head, then blocks, each with four bytes of length before it. A second head may stand where a
//! length would: streams that were simply joined.

use super::too_large;
use crate::error::{DecodeError, EncodeError};

const MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
const HEAD_LEN: usize = 16;
/// Version of the stream and the oldest version that can read it.
const VERSIONS: [u8; 8] = [0, 0, 0, 1, 0, 0, 0, 1];
/// Uncompressed bytes to a block, as xerial's default.
const BLOCK_LEN: usize = 32 * 1024;
/// The most a compressed byte can stand for: a copy of 64 bytes takes three.
const EXPANSION_MAX: usize = 22;

pub(super) fn compress(input: &[u8], out: &mut Vec<u8>) -> Result<(), EncodeError> {
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&VERSIONS);
    let mut encoder = snap::raw::Encoder::new();
    for block in input.chunks(BLOCK_LEN) {
        let start = out.len();
        out.resize(start + 4 + snap::raw::max_compress_len(block.len()), 0);
        let len = encoder
            .compress(block, &mut out[start + 4..])
            .map_err(|error| EncodeError::new(format!("snappy: {error}")))?;
        out[start..start + 4].copy_from_slice(&(len as u32).to_be_bytes());
        out.truncate(start + 4 + len);
    }
    Ok(())
}

pub(super) fn decompress(input: &[u8], limit: usize) -> Result<Vec<u8>, DecodeError> {
    let mut out = Vec::new();
    if !input.starts_with(&MAGIC) {
        append_block(input, 0, limit, &mut out)?;
        return Ok(out);
    }
    let mut at = 0;
    while at < input.len() {
        if input[at..].starts_with(&MAGIC) {
            at += HEAD_LEN;
            if at > input.len() {
                return Err(DecodeError::truncated("snappy stream header", input.len()));
            }
            continue;
        }
        let len = match input.get(at..at + 4) {
            Some(&[a, b, c, d]) => u32::from_be_bytes([a, b, c, d]) as usize,
            _ => return Err(DecodeError::truncated("snappy block length", at)),
        };
        let start = at + 4;
        let end = start
            .checked_add(len)
            .filter(|end| *end <= input.len())
            .ok_or_else(|| DecodeError::truncated(format!("snappy block of {len} bytes"), at))?;
        append_block(&input[start..end], start, limit, &mut out)?;
        at = end;
    }
    Ok(out)
}

fn append_block(
    block: &[u8],
    at: usize,
    limit: usize,
    out: &mut Vec<u8>,
) -> Result<(), DecodeError> {
    let damaged = |error: snap::Error| DecodeError::invalid(format!("snappy: {error}"), at);
    let len = snap::raw::decompress_len(block).map_err(damaged)?;
    if len > block.len().saturating_mul(EXPANSION_MAX) {
        return Err(DecodeError::invalid(
            format!("snappy: {} bytes cannot hold {len}", block.len()),
            at,
        ));
    }
    let start = out.len();
    if len > limit - start {
        return Err(too_large("snappy", limit));
    }
    out.resize(start + len, 0);
    let written = snap::raw::Decoder::new()
        .decompress(block, &mut out[start..])
        .map_err(damaged)?;
    out.truncate(start + written);
    Ok(())
}
