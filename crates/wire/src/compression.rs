//! The codecs of a record batch: none, gzip, snappy, lz4, zstd; none of them links C.

mod gzip;
mod lz4;
mod snappy;
mod zstd;

use std::fmt;
use std::io::{self, Read};
use std::str::FromStr;

use crate::error::{DecodeError, DecodeErrorKind, EncodeError};

/// How the records of a batch are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// RFC 1952.
    Gzip,
    /// Snappy blocks in the framing of xerial's library, which Java writes.
    Snappy,
    /// The LZ4 frame format with independent blocks.
    Lz4,
    /// RFC 8878.
    Zstd,
}

impl Compression {
    /// Every codec, in the order of their ids.
    pub const ALL: [Compression; 5] = [
        Compression::None,
        Compression::Gzip,
        Compression::Snappy,
        Compression::Lz4,
        Compression::Zstd,
    ];

    /// The number in a batch's attributes.
    pub const fn id(self) -> i16 {
        match self {
            Compression::None => 0,
            Compression::Gzip => 1,
            Compression::Snappy => 2,
            Compression::Lz4 => 3,
            Compression::Zstd => 4,
        }
    }

    /// The codec of an id, if there is one.
    pub const fn from_id(id: i16) -> Option<Self> {
        match id {
            0 => Some(Compression::None),
            1 => Some(Compression::Gzip),
            2 => Some(Compression::Snappy),
            3 => Some(Compression::Lz4),
            4 => Some(Compression::Zstd),
            _ => None,
        }
    }

    /// The value of Kafka's `compression.type`.
    pub const fn name(self) -> &'static str {
        match self {
            Compression::None => "none",
            Compression::Gzip => "gzip",
            Compression::Snappy => "snappy",
            Compression::Lz4 => "lz4",
            Compression::Zstd => "zstd",
        }
    }

    /// Appends the compressed input to `out`.
    ///
    /// # Errors
    /// The input is larger than the codec can take.
    pub fn compress(self, input: &[u8], out: &mut Vec<u8>) -> Result<(), EncodeError> {
        match self {
            Compression::None => out.extend_from_slice(input),
            Compression::Gzip => gzip::compress(input, out)?,
            Compression::Snappy => snappy::compress(input, out)?,
            Compression::Lz4 => lz4::compress(input, out)?,
            Compression::Zstd => zstd::compress(input, out),
        }
        Ok(())
    }

    /// Restores what [`compress`](Self::compress), or another Kafka client, wrote.
    ///
    /// # Errors
    /// The input is damaged, or its content is longer than `limit` bytes.
    pub fn decompress(self, input: &[u8], limit: usize) -> Result<Vec<u8>, DecodeError> {
        match self {
            Compression::None if input.len() > limit => Err(too_large("uncompressed", limit)),
            Compression::None => Ok(input.to_vec()),
            Compression::Gzip => gzip::decompress(input, limit),
            Compression::Snappy => snappy::decompress(input, limit),
            Compression::Lz4 => lz4::decompress(input, limit),
            Compression::Zstd => zstd::decompress(input, limit),
        }
    }
}

/// Reads a decoder to its end, which must come within `limit` bytes. Memory grows with what arrives, not with what a
/// header announces.
fn read_bounded(
    decoder: impl Read,
    input_len: usize,
    limit: usize,
    codec: &'static str,
) -> Result<Vec<u8>, DecodeError> {
    // Text of the usual kind shrinks to a quarter or so.
    let mut out = Vec::with_capacity(input_len.saturating_mul(4).min(limit));
    let one_more = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    decoder
        .take(one_more)
        .read_to_end(&mut out)
        .map_err(|error| damaged(&error, codec))?;
    if out.len() > limit {
        return Err(too_large(codec, limit));
    }
    Ok(out)
}

fn damaged(error: &io::Error, codec: &'static str) -> DecodeError {
    let kind = match error.kind() {
        io::ErrorKind::UnexpectedEof => DecodeErrorKind::Truncated,
        _ => DecodeErrorKind::Invalid,
    };
    DecodeError::new(kind, format!("{codec}: {error}"), 0)
}

fn too_large(codec: &'static str, limit: usize) -> DecodeError {
    DecodeError::new(
        DecodeErrorKind::TooLarge,
        format!("{codec} content of more than {limit} bytes"),
        0,
    )
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A codec name that is none of `none`, `gzip`, `snappy`, `lz4`, `zstd`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown compression {0:?}; one of none, gzip, snappy, lz4, zstd")]
pub struct UnknownCompression(String);

impl FromStr for Compression {
    type Err = UnknownCompression;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|codec| codec.name() == name)
            .ok_or_else(|| UnknownCompression(name.to_owned()))
    }
}
