//! gzip: one member is written, as many as there are are read.

use std::io::Write;

use flate2::write::GzEncoder;
use flate2::{Compression, bufread::MultiGzDecoder};

use super::read_bounded;
use crate::error::{DecodeError, EncodeError};

pub(super) fn compress(input: &[u8], out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let mut encoder = GzEncoder::new(out, Compression::default());
    encoder
        .write_all(input)
        .and_then(|()| encoder.finish().map(drop))
        .map_err(|error| EncodeError::new(format!("gzip: {error}")))
}

pub(super) fn decompress(input: &[u8], limit: usize) -> Result<Vec<u8>, DecodeError> {
    read_bounded(MultiGzDecoder::new(input), input.len(), limit, "gzip")
}
