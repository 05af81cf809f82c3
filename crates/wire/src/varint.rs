//! Variable-length integers: zigzag as record batches use them, unsigned as flexible versions do.
//!
//! Seven bits a byte, low bits first, the top bit says that more follow. Zigzag maps small negative numbers to small
//! codes: 0, -1, 1, -2 become 0, 1, 2, 3.

use crate::error::DecodeError;

/// Longest encoding of a 32-bit value.
pub const VARINT_LEN_MAX: usize = 5;
/// Longest encoding of a 64-bit value.
pub const VARLONG_LEN_MAX: usize = 10;

/// Appends a zigzag varint.
#[inline]
pub fn write_varint(out: &mut Vec<u8>, value: i32) {
    write_unsigned(out, zigzag32(value));
}

/// Appends a zigzag varlong.
#[inline]
pub fn write_varlong(out: &mut Vec<u8>, value: i64) {
    let mut rest = zigzag64(value);
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// Appends an unsigned varint.
#[inline]
pub fn write_unsigned(out: &mut Vec<u8>, value: u32) {
    let mut rest = value;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// Bytes that [`write_varint`] takes.
#[inline]
pub const fn varint_len(value: i32) -> usize {
    unsigned_len(zigzag32(value))
}

/// Bytes that [`write_varlong`] takes.
#[inline]
pub const fn varlong_len(value: i64) -> usize {
    // `| 1`: zero takes a byte as well.
    (64 - (zigzag64(value) | 1).leading_zeros() as usize).div_ceil(7)
}

/// Bytes that [`write_unsigned`] takes.
#[inline]
pub const fn unsigned_len(value: u32) -> usize {
    (32 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

/// Reads a zigzag varint at `*at` and moves `*at` past it.
///
/// # Errors
/// The bytes end within it, or it does not fit 32 bits.
#[inline]
pub fn read_varint(bytes: &[u8], at: &mut usize) -> Result<i32, DecodeError> {
    let raw = read_unsigned(bytes, at)?;
    Ok((raw >> 1) as i32 ^ -((raw & 1) as i32))
}

/// Reads a zigzag varlong at `*at` and moves `*at` past it.
///
/// # Errors
/// The bytes end within it, or it does not fit 64 bits.
#[inline]
pub fn read_varlong(bytes: &[u8], at: &mut usize) -> Result<i64, DecodeError> {
    let start = *at;
    let mut value = 0u64;
    for shift in (0..70).step_by(7) {
        let byte = next(bytes, at, start)?;
        if shift == 63 && byte > 1 {
            break;
        }
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok((value >> 1) as i64 ^ -((value & 1) as i64));
        }
    }
    Err(DecodeError::invalid("varlong does not fit 64 bits", start))
}

/// Reads an unsigned varint at `*at` and moves `*at` past it.
///
/// # Errors
/// The bytes end within it, or it does not fit 32 bits.
#[inline]
pub fn read_unsigned(bytes: &[u8], at: &mut usize) -> Result<u32, DecodeError> {
    let start = *at;
    let mut value = 0u32;
    for shift in (0..35).step_by(7) {
        let byte = next(bytes, at, start)?;
        if shift == 28 && byte > 0x0f {
            break;
        }
        value |= u32::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err(DecodeError::invalid("varint does not fit 32 bits", start))
}

#[inline]
fn next(bytes: &[u8], at: &mut usize, start: usize) -> Result<u8, DecodeError> {
    let byte = *bytes
        .get(*at)
        .ok_or_else(|| DecodeError::truncated("varint is cut off", start))?;
    *at += 1;
    Ok(byte)
}

#[inline]
const fn zigzag32(value: i32) -> u32 {
    ((value << 1) ^ (value >> 31)) as u32
}

#[inline]
const fn zigzag64(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_encodings() {
        for (value, bytes) in [
            (0, &[0x00][..]),
            (-1, &[0x01]),
            (1, &[0x02]),
            (63, &[0x7e]),
            (-64, &[0x7f]),
            (64, &[0x80, 0x01]),
            (i32::MAX, &[0xfe, 0xff, 0xff, 0xff, 0x0f]),
            (i32::MIN, &[0xff, 0xff, 0xff, 0xff, 0x0f]),
        ] {
            let mut out = Vec::new();
            write_varint(&mut out, value);
            assert_eq!(out, bytes, "{value}");
        }
    }

    #[test]
    fn too_long_and_cut_off_are_errors() {
        for bytes in [
            &[][..],
            &[0x80],
            &[0x80, 0x80, 0x80, 0x80, 0x10],
            &[0xff; 5],
            &[0x80; 6],
        ] {
            assert!(read_unsigned(bytes, &mut 0).is_err(), "{bytes:?}");
        }
        assert!(read_varlong(&[0xff; 10], &mut 0).is_err());
        assert!(read_varlong(&[0x80; 11], &mut 0).is_err());
        assert!(read_varlong(&[0x80; 9], &mut 0).is_err());
    }

    proptest! {
        #[test]
        fn varint_round_trip(value: i32) {
            let mut out = Vec::new();
            write_varint(&mut out, value);
            prop_assert_eq!(out.len(), varint_len(value));
            let mut at = 0;
            prop_assert_eq!(read_varint(&out, &mut at), Ok(value));
            prop_assert_eq!(at, out.len());
        }

        #[test]
        fn varlong_round_trip(value: i64) {
            let mut out = Vec::new();
            write_varlong(&mut out, value);
            prop_assert_eq!(out.len(), varlong_len(value));
            let mut at = 0;
            prop_assert_eq!(read_varlong(&out, &mut at), Ok(value));
            prop_assert_eq!(at, out.len());
        }

        #[test]
        fn unsigned_round_trip(value: u32) {
            let mut out = Vec::new();
            write_unsigned(&mut out, value);
            prop_assert_eq!(out.len(), unsigned_len(value));
            let mut at = 0;
            prop_assert_eq!(read_unsigned(&out, &mut at), Ok(value));
            prop_assert_eq!(at, out.len());
        }
    }
}
