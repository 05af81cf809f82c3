//! Walks a message by the protocol's field layouts before anything is decoded.
//!
//! The decoders of `kafka-protocol` reserve memory for an array by the count that stands on the wire, so four hostile
//! bytes could ask for gigabytes. The walk reads every length and count of a message against the bytes that are really
//! there; what it lets through cannot make a decoder allocate more than a bounded multiple of the message's size.
//!
//! The table is generated from the layouts that Apache Kafka's Java client carries (`examples/generate_layout.rs`).
//! Records stay opaque here: [`record`](crate::record) has checks of its own.

#[rustfmt::skip]
mod table;

use crate::{DecodeError, DecodeErrorKind};

/// Most structs and strings in all arrays of one message together: a decoded one costs up to about 300 bytes, while
/// its bytes on the wire may be few. A million is more than a cluster has partitions. Numbers are not counted, for they
/// take no more memory than they took bytes.
const ITEMS_MAX: usize = 1 << 20;

/// Checks the body of a request (what follows the request header).
///
/// # Errors
/// `Unsupported` for an API or version without a layout, else what is wrong, naming the field and the byte.
pub fn check_request(api_key: i16, version: i16, body: &[u8]) -> Result<(), DecodeError> {
    check(table::REQUESTS, api_key, version, body)
}

/// Checks the body of a response (what follows the response header).
///
/// # Errors
/// As [`check_request`].
pub fn check_response(api_key: i16, version: i16, body: &[u8]) -> Result<(), DecodeError> {
    check(table::RESPONSES, api_key, version, body)
}

fn check(messages: &[Message], api_key: i16, version: i16, body: &[u8]) -> Result<(), DecodeError> {
    let found = messages.binary_search_by_key(&api_key, |message| message.api_key);
    let message = found.map(|at| &messages[at]).map_err(|_| {
        let what = format!("api key {api_key} has no layout");
        DecodeError::new(DecodeErrorKind::Unsupported, what, 0)
    })?;
    if !message.valid.contain(version) {
        let what = format!("{} has no version {version}", message.name);
        return Err(DecodeError::new(DecodeErrorKind::Unsupported, what, 0));
    }
    let mut walk = Walk {
        bytes: body,
        at: 0,
        version,
        flexible: message.flexible.contain(version),
        items: 0,
    };
    walk.fields(message.fields)?;
    if walk.at == body.len() {
        Ok(())
    } else {
        let what = format!("{}: {} bytes too many", message.name, body.len() - walk.at);
        Err(DecodeError::invalid(what, walk.at))
    }
}

/// A range of versions, both ends included; `NONE` contains nothing.
#[derive(Clone, Copy, Debug)]
struct Versions(i16, i16);

impl Versions {
    const NONE: Self = Self(1, 0);

    const fn from(first: i16) -> Self {
        Self(first, i16::MAX)
    }

    const fn of(first: i16, last: i16) -> Self {
        Self(first, last)
    }

    const fn contain(self, version: i16) -> bool {
        self.0 <= version && version <= self.1
    }
}

#[derive(Debug)]
struct Message {
    api_key: i16,
    name: &'static str,
    valid: Versions,
    flexible: Versions,
    fields: &'static [Field],
}

#[derive(Debug)]
struct Field {
    name: &'static str,
    versions: Versions,
    nullable: Versions,
    /// The tag, and the versions in which the field travels among the tagged fields.
    tagged: Option<(u32, Versions)>,
    ty: Type,
}

#[derive(Debug)]
enum Type {
    /// So many bytes.
    Fixed(usize),
    /// A 16-bit length, or a compact one.
    Text,
    /// A 32-bit length, or a compact one.
    Blob,
    Array(&'static Type),
    Struct(&'static [Field]),
}

/// A plain field of the table.
const fn f(name: &'static str, versions: Versions, ty: Type) -> Field {
    n(name, versions, Versions::NONE, ty)
}

/// A nullable field of the table.
const fn n(name: &'static str, versions: Versions, nullable: Versions, ty: Type) -> Field {
    Field {
        name,
        versions,
        nullable,
        tagged: None,
        ty,
    }
}

/// A tagged field of the table.
const fn t(
    name: &'static str,
    versions: Versions,
    nullable: Versions,
    tag: u32,
    tagged: Versions,
    ty: Type,
) -> Field {
    Field {
        name,
        versions,
        nullable,
        tagged: Some((tag, tagged)),
        ty,
    }
}

struct Walk<'a> {
    bytes: &'a [u8],
    at: usize,
    version: i16,
    flexible: bool,
    items: usize,
}

impl Walk<'_> {
    fn fields(&mut self, fields: &[Field]) -> Result<(), DecodeError> {
        for field in fields {
            if !field.versions.contain(self.version) || self.tag(field).is_some() {
                continue;
            }
            self.value(field, &field.ty)?;
        }
        if self.flexible {
            self.tagged_fields(fields)?;
        }
        Ok(())
    }

    /// The field's tag, if it travels tagged in this version.
    fn tag(&self, field: &Field) -> Option<u32> {
        let (tag, versions) = field.tagged?;
        versions.contain(self.version).then_some(tag)
    }

    fn tagged_fields(&mut self, fields: &[Field]) -> Result<(), DecodeError> {
        let count = self.varint("number of tagged fields")?;
        let mut previous = None;
        for _ in 0..count {
            let start = self.at;
            let tag = self.varint("tag")?;
            // The protocol wants them in ascending order, which also bounds how many there can be of one kind.
            if previous.is_some_and(|previous| tag <= previous) {
                return Err(DecodeError::invalid("tags that do not ascend", start));
            }
            previous = Some(tag);
            let size = self.varint("size of a tagged field")? as usize;
            let end = self.end_of("tagged field", size)?;
            let known = fields
                .iter()
                .find(|field| field.versions.contain(self.version) && self.tag(field) == Some(tag));
            let Some(field) = known else {
                self.at = end;
                continue;
            };
            self.value(field, &field.ty)?;
            if self.at != end {
                let what = format!("{}: a size that is not the field's", field.name);
                return Err(DecodeError::invalid(what, start));
            }
        }
        Ok(())
    }

    fn value(&mut self, field: &Field, ty: &Type) -> Result<(), DecodeError> {
        match ty {
            Type::Fixed(size) => self.skip(field.name, *size),
            Type::Text if !self.flexible => {
                let size = i64::from(i16::from_be_bytes(self.array(field.name)?));
                self.sized(field.name, size)
            }
            Type::Text | Type::Blob => {
                let size = self.count(field.name)?;
                self.sized(field.name, size)
            }
            Type::Array(item) => self.items(field, item),
            Type::Struct(fields) => {
                if field.nullable.contain(self.version) {
                    let start = self.at;
                    let [marker] = self.array(field.name)?;
                    // The decoder takes 1 for a struct and all else for none, Java takes all that is not negative for
                    // one. Where they differ, the walk would check other bytes than the decoder reads.
                    match marker.cast_signed() {
                        1 => {}
                        ..=-1 => return Ok(()),
                        other => {
                            let what = format!("{}: marker {other} before a struct", field.name);
                            return Err(DecodeError::invalid(what, start));
                        }
                    }
                }
                self.fields(fields)
            }
        }
    }

    fn items(&mut self, field: &Field, item: &Type) -> Result<(), DecodeError> {
        let start = self.at;
        let Ok(count) = usize::try_from(self.count(field.name)?) else {
            return Ok(());
        };
        // Every item takes a byte at least, so more than the rest of the message cannot be there.
        if count > self.bytes.len() - self.at {
            let what = format!("{}: {count} items announced", field.name);
            return Err(DecodeError::truncated(what, start));
        }
        if !matches!(item, Type::Fixed(_)) {
            self.items += count;
        }
        if self.items > ITEMS_MAX {
            let what = format!(
                "{}: more than {ITEMS_MAX} array items in one message",
                field.name
            );
            return Err(DecodeError::new(DecodeErrorKind::TooLarge, what, start));
        }
        for _ in 0..count {
            // Items themselves are never null: a struct in an array has no marker.
            match item {
                Type::Struct(fields) => self.fields(fields)?,
                other => self.value(field, other)?,
            }
        }
        Ok(())
    }

    /// A length or count; −1 stands for null.
    fn count(&mut self, name: &'static str) -> Result<i64, DecodeError> {
        Ok(if self.flexible {
            i64::from(self.varint(name)?) - 1
        } else {
            let start = self.at;
            let count = i32::from_be_bytes(self.array(name)?);
            if count < -1 {
                return Err(DecodeError::invalid(
                    format!("{name}: length {count}"),
                    start,
                ));
            }
            i64::from(count)
        })
    }

    fn sized(&mut self, name: &'static str, size: i64) -> Result<(), DecodeError> {
        match usize::try_from(size) {
            Ok(size) => self.skip(name, size),
            Err(_) if size == -1 => Ok(()),
            Err(_) => Err(DecodeError::invalid(
                format!("{name}: length {size}"),
                self.at,
            )),
        }
    }

    fn skip(&mut self, name: &'static str, size: usize) -> Result<(), DecodeError> {
        self.at = self.end_of(name, size)?;
        Ok(())
    }

    fn end_of(&self, name: &'static str, size: usize) -> Result<usize, DecodeError> {
        let end = self
            .at
            .checked_add(size)
            .filter(|end| *end <= self.bytes.len());
        end.ok_or_else(|| {
            let left = self.bytes.len() - self.at;
            DecodeError::truncated(format!("{name}: {size} bytes wanted, {left} left"), self.at)
        })
    }

    fn array<const N: usize>(&mut self, name: &'static str) -> Result<[u8; N], DecodeError> {
        let end = self.end_of(name, N)?;
        let mut array = [0; N];
        array.copy_from_slice(&self.bytes[self.at..end]);
        self.at = end;
        Ok(array)
    }

    /// An unsigned varint of at most 32 bits.
    fn varint(&mut self, name: &'static str) -> Result<u32, DecodeError> {
        let start = self.at;
        let mut value = 0_u32;
        for shift in [0, 7, 14, 21, 28] {
            let [byte] = self.array(name)?;
            if shift == 28 && byte > 0x0f {
                break;
            }
            value |= u32::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(DecodeError::invalid(
            format!("{name}: a varint of more than 32 bits"),
            start,
        ))
    }
}

#[cfg(test)]
mod tests;
