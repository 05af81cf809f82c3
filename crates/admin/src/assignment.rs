//! Reading a member's assignment as the classic group protocol of consumers carries it.
//!
//! The coordinator hands it on as bytes that the group's leader wrote: version, then topics with their
//! partitions, then user data. Later versions only append, so every version is read alike.

use bytes::{Buf, Bytes};
use ferrokafka_client::TopicPartition;

/// The partitions of an assignment; none if the bytes are no assignment. Nothing is allocated by a
/// count that the bytes cannot hold.
pub(crate) fn partitions(bytes: &Bytes) -> Option<Vec<TopicPartition>> {
    let mut bytes = bytes.clone();
    if bytes.is_empty() {
        return Some(Vec::new());
    }
    let _version = bytes.try_get_i16().ok()?;
    let mut partitions = Vec::new();
    for _ in 0..count(&mut bytes)? {
        let len = usize::try_from(bytes.try_get_i16().ok()?).ok()?;
        if len > bytes.remaining() {
            return None;
        }
        let topic = bytes.split_to(len);
        let topic: std::sync::Arc<str> = std::str::from_utf8(&topic).ok()?.into();
        for _ in 0..count(&mut bytes)? {
            let partition = bytes.try_get_i32().ok()?;
            partitions.push(TopicPartition::new(
                std::sync::Arc::clone(&topic),
                partition,
            ));
        }
    }
    partitions.sort();
    Some(partitions)
}

/// The length of an array. Every item takes bytes, so a lie ends soon.
fn count(bytes: &mut Bytes) -> Option<u32> {
    u32::try_from(bytes.try_get_i32().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::{BufMut, BytesMut};

    fn assignment(topics: &[(&str, &[i32])]) -> Bytes {
        let mut bytes = BytesMut::new();
        bytes.put_i16(3);
        bytes.put_i32(topics.len().try_into().unwrap());
        for (topic, partitions) in topics {
            bytes.put_i16(topic.len().try_into().unwrap());
            bytes.put_slice(topic.as_bytes());
            bytes.put_i32(partitions.len().try_into().unwrap());
            for partition in *partitions {
                bytes.put_i32(*partition);
            }
        }
        bytes.put_i32(-1);
        bytes.freeze()
    }

    #[test]
    fn assignment_is_read() {
        let bytes = assignment(&[("orders", &[2, 0]), ("payments", &[])]);
        let expected = [
            TopicPartition::new("orders", 0),
            TopicPartition::new("orders", 2),
        ];
        assert_eq!(partitions(&bytes).unwrap(), expected);
        assert_eq!(partitions(&Bytes::new()).unwrap(), []);
    }

    #[test]
    fn hostile_assignments_are_refused() {
        let good = assignment(&[("orders", &[2, 0])]);
        for cut in 1..good.len() - 4 {
            assert_eq!(partitions(&good.slice(..cut)), None, "cut at {cut}");
        }
        let many = Bytes::from_static(&[0, 0, 0x7f, 0xff, 0xff, 0xff, 0, 0]);
        assert_eq!(partitions(&many), None);
        let negative = Bytes::from_static(&[0, 0, 0xff, 0xff, 0xff, 0xff]);
        assert_eq!(partitions(&negative), None);
    }
}
