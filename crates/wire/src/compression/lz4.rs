//! LZ4 frames as Kafka's own stream class accepts them: version 1, blocks independent of each other.
//!
//! The header checksum is the frame format's: the wrong one that Kafka wrote before 0.10 belongs to message formats
//! that are not supported here. Like Java, one frame is read, and what may follow it is not.

use std::io::Write;

use lz4_flex::frame::{BlockMode, BlockSize, FrameDecoder, FrameEncoder, FrameInfo};

use super::{read_bounded, too_large};
use crate::error::{DecodeError, EncodeError};

const MAGIC: [u8; 4] = [0x04, 0x22, 0x4d, 0x18];
/// Magic number and the two descriptor bytes.
const DESCRIPTOR_LEN: usize = 6;

/// Bits of the first descriptor byte.
const FLAG_DICTIONARY_ID: u8 = 0x01;
const FLAG_CONTENT_CHECKSUM: u8 = 0x04;
const FLAG_CONTENT_SIZE: u8 = 0x08;
const FLAG_BLOCK_CHECKSUM: u8 = 0x10;

pub(super) fn compress(input: &[u8], out: &mut Vec<u8>) -> Result<(), EncodeError> {
    // 64 KiB is what Java writes; readers keep a buffer of the announced size.
    let info = FrameInfo::new()
        .block_size(BlockSize::Max64KB)
        .block_mode(BlockMode::Independent);
    let mut encoder = FrameEncoder::with_frame_info(info, out);
    encoder
        .write_all(input)
        .map_err(|error| EncodeError::new(format!("lz4: {error}")))
        .and_then(|()| {
            encoder
                .finish()
                .map(drop)
                .map_err(|error| EncodeError::new(format!("lz4: {error}")))
        })
}

pub(super) fn decompress(input: &[u8], limit: usize) -> Result<Vec<u8>, DecodeError> {
    let frame = whole_frame(input, limit)?;
    read_bounded(FrameDecoder::new(frame), frame.len(), limit, "lz4")
}

/// The frame that `input` begins with, up to and with its end mark. The decoder takes input that ends between two
/// blocks for a frame that ends there, so this has to be looked at first.
fn whole_frame(input: &[u8], limit: usize) -> Result<&[u8], DecodeError> {
    let truncated = || DecodeError::truncated("lz4 frame is cut off", input.len());
    let descriptor = input.get(..DESCRIPTOR_LEN).ok_or_else(truncated)?;
    if descriptor[..MAGIC.len()] != MAGIC {
        return Err(DecodeError::invalid("lz4: wrong magic number", 0));
    }
    let flags = descriptor[MAGIC.len()];
    let optional = |flag: u8, len: usize| if flags & flag == 0 { 0 } else { len };
    if flags & FLAG_CONTENT_SIZE != 0 {
        let size = input
            .get(DESCRIPTOR_LEN..DESCRIPTOR_LEN + 8)
            .ok_or_else(truncated)?;
        let mut bytes = [0; 8];
        bytes.copy_from_slice(size);
        if u64::from_le_bytes(bytes) > limit as u64 {
            return Err(too_large("lz4", limit));
        }
    }
    let block_trailer = optional(FLAG_BLOCK_CHECKSUM, 4);
    let mut at =
        DESCRIPTOR_LEN + optional(FLAG_CONTENT_SIZE, 8) + optional(FLAG_DICTIONARY_ID, 4) + 1;
    loop {
        let size = match input.get(at..at + 4) {
            Some(&[a, b, c, d]) => u32::from_le_bytes([a, b, c, d]),
            _ => return Err(truncated()),
        };
        at += 4;
        if size == 0 {
            let end = at + optional(FLAG_CONTENT_CHECKSUM, 4);
            return input.get(..end).ok_or_else(truncated);
        }
        // The top bit says that the block is stored as it is.
        at = at.saturating_add((size & 0x7fff_ffff) as usize + block_trailer);
        if at > input.len() {
            return Err(truncated());
        }
    }
}
