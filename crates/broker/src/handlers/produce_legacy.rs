//! Produce 0–2: advertised, and answered with `UNSUPPORTED_VERSION`.
//!
//! librdkafka takes a broker's lowest Produce version as a sign of which codecs it knows: with a
//! minimum of 3 its version 2.0.2 silently sends gzip, lz4 and snappy uncompressed. Kafka 4 advertises
//! from 0 for that reason (KAFKA-18659) and serves from 3. The message types of these versions are
//! gone, so the few fields are read here.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use ferrokafka_wire::ErrorCode;

/// The error for every partition of the request. The inner `None`: the client does not wait (`acks=0`);
/// the outer one: the body is no Produce request.
pub(crate) fn unsupported(version: i16, body: &Bytes) -> Option<Option<BytesMut>> {
    let mut request = Reader(body);
    let acks = request.i16()?;
    request.i32()?; // timeout
    let mut response = BytesMut::new();
    let topics = request.i32()?;
    response.put_i32(topics);
    for _ in 0..topics {
        let name = request.string()?;
        response.put_i16(i16::try_from(name.len()).ok()?);
        response.put_slice(name);
        let partitions = request.i32()?;
        response.put_i32(partitions);
        for _ in 0..partitions {
            response.put_i32(request.i32()?);
            let records = usize::try_from(request.i32()?).unwrap_or(0);
            request.take(records)?;
            response.put_i16(ErrorCode::UnsupportedVersion.code());
            response.put_i64(-1);
            if version >= 2 {
                response.put_i64(-1);
            }
        }
    }
    if version >= 1 {
        response.put_i32(0);
    }
    Some((acks != 0).then_some(response))
}

/// Reads that end instead of panicking. What is written grows by a constant per field read, so a
/// hostile count costs no memory.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn i16(&mut self) -> Option<i16> {
        self.take(2).map(|mut bytes| bytes.get_i16())
    }

    fn i32(&mut self) -> Option<i32> {
        self.take(4).map(|mut bytes| bytes.get_i32())
    }

    fn string(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.i16()?).ok()?;
        self.take(length)
    }
}
