//! ConsumerProtocol v0–v3: the bytes by which members tell the leader what they want and own, and
//! the leader tells them what they get.
//!
//! v1 added owned partitions (KIP-429), v2 the generation they are from (KIP-792), v3 the rack
//! (KIP-881). Both messages stand behind an `i16` version; a reader takes a newer version for the
//! newest it knows. We write v3 and read all four. Decoding is ours, since the bytes come from
//! other members and their counts must not be trusted.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use ferrokafka_client::TopicPartition;
use ferrokafka_wire::messages::consumer_protocol_assignment::TopicPartition as AssignedTopic;
use ferrokafka_wire::messages::consumer_protocol_subscription::TopicPartition as OwnedTopic;
use ferrokafka_wire::messages::{
    ConsumerProtocolAssignment, ConsumerProtocolSubscription, TopicName,
};
use ferrokafka_wire::protocol::{Encodable, StrBytes};

use super::{Assignor, GroupMember};

const VERSION: i16 = 3;

/// A member's bytes could not be read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("malformed consumer protocol {message}: {what}")]
pub(crate) struct ProtocolError {
    message: &'static str,
    what: &'static str,
}

/// Encodes what `member` subscribes to, for one assignor.
pub(crate) fn encode_subscription(member: &GroupMember, assignor: &Assignor) -> Bytes {
    let mut topics = member.topics.clone();
    topics.sort();
    let mut message = ConsumerProtocolSubscription::default();
    message.topics = topics.iter().map(|t| str_bytes(t)).collect();
    message.user_data = match assignor {
        // Where readers of the versions before 2 look for the generation.
        Assignor::CooperativeSticky => {
            Some(Bytes::copy_from_slice(&member.generation.to_be_bytes()))
        }
        _ => member.user_data.clone(),
    };
    message.owned_partitions = by_topic(&member.owned)
        .into_iter()
        .map(|(topic, partitions)| {
            OwnedTopic::default()
                .with_topic(TopicName(str_bytes(&topic)))
                .with_partitions(partitions)
        })
        .collect();
    message.generation_id = member.generation;
    message.rack_id = member.rack.as_deref().map(str_bytes);
    encode(&message)
}

/// Encodes the share of one member.
pub(crate) fn encode_assignment(partitions: &[TopicPartition]) -> Bytes {
    let mut message = ConsumerProtocolAssignment::default();
    message.user_data = None;
    message.assigned_partitions = by_topic(partitions)
        .into_iter()
        .map(|(topic, partitions)| {
            AssignedTopic::default()
                .with_topic(TopicName(str_bytes(&topic)))
                .with_partitions(partitions)
        })
        .collect();
    encode(&message)
}

/// Reads a member's subscription; the ids come from the JoinGroup answer beside it.
pub(crate) fn decode_subscription(
    member_id: &str,
    group_instance_id: Option<&str>,
    bytes: Bytes,
) -> Result<GroupMember, ProtocolError> {
    let mut reader = Reader {
        bytes,
        message: "subscription",
    };
    let version = reader.version()?;
    let topics = reader.count(2)?;
    let topics = (0..topics)
        .map(|_| reader.string())
        .collect::<Result<_, _>>()?;
    let user_data = reader.nullable_bytes()?;
    let owned = if version >= 1 {
        reader.partitions()?
    } else {
        Vec::new()
    };
    let mut generation = -1;
    if version >= 2 {
        generation = reader.i32()?;
    }
    if generation < 0
        && let Some(data) = &user_data
        && let Ok(data) = <[u8; 4]>::try_from(&data[..])
    {
        generation = i32::from_be_bytes(data);
    }
    let rack = if version >= 3 {
        reader.nullable_string()?
    } else {
        None
    };
    Ok(GroupMember {
        member_id: member_id.into(),
        group_instance_id: group_instance_id.map(Into::into),
        topics,
        owned,
        generation: generation.max(-1),
        rack,
        user_data,
    })
}

/// Reads one's own share. No bytes at all are an empty share.
pub(crate) fn decode_assignment(bytes: Bytes) -> Result<Vec<TopicPartition>, ProtocolError> {
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    let mut reader = Reader {
        bytes,
        message: "assignment",
    };
    reader.version()?;
    let mut partitions = reader.partitions()?;
    reader.nullable_bytes()?;
    partitions.sort();
    partitions.dedup();
    Ok(partitions)
}

pub(crate) fn str_bytes(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn by_topic(partitions: &[TopicPartition]) -> BTreeMap<Arc<str>, Vec<i32>> {
    let mut topics: BTreeMap<Arc<str>, Vec<i32>> = BTreeMap::new();
    for tp in partitions {
        topics
            .entry(tp.topic.clone())
            .or_default()
            .push(tp.partition);
    }
    topics.values_mut().for_each(|list| list.sort_unstable());
    topics
}

fn encode(message: &impl Encodable) -> Bytes {
    let mut buffer = BytesMut::new();
    buffer.put_i16(VERSION);
    message
        .encode(&mut buffer, VERSION)
        .expect("every field exists in version 3 and names fit Kafka's 249 characters");
    buffer.freeze()
}

struct Reader {
    bytes: Bytes,
    message: &'static str,
}

impl Reader {
    fn error<T>(&self, what: &'static str) -> Result<T, ProtocolError> {
        Err(ProtocolError {
            message: self.message,
            what,
        })
    }

    fn version(&mut self) -> Result<i16, ProtocolError> {
        let version = self.i16()?;
        if version < 0 {
            return self.error("negative version");
        }
        Ok(version.min(VERSION))
    }

    fn i16(&mut self) -> Result<i16, ProtocolError> {
        self.bytes.try_get_i16().or_else(|_| self.error("cut off"))
    }

    fn i32(&mut self) -> Result<i32, ProtocolError> {
        self.bytes.try_get_i32().or_else(|_| self.error("cut off"))
    }

    /// A count, refused if that many elements of at least `size` bytes cannot follow.
    fn count(&mut self, size: usize) -> Result<usize, ProtocolError> {
        let count = self.i32()?;
        match usize::try_from(count) {
            Ok(count) if count.saturating_mul(size) <= self.bytes.remaining() => Ok(count),
            _ => self.error("count beyond the end"),
        }
    }

    fn take(&mut self, len: usize) -> Result<Bytes, ProtocolError> {
        if len > self.bytes.remaining() {
            return self.error("cut off");
        }
        Ok(self.bytes.split_to(len))
    }

    fn nullable_string(&mut self) -> Result<Option<Arc<str>>, ProtocolError> {
        let len = self.i16()?;
        let Ok(len) = usize::try_from(len) else {
            return Ok(None);
        };
        let bytes = self.take(len)?;
        match std::str::from_utf8(&bytes) {
            Ok(text) => Ok(Some(text.into())),
            Err(_) => self.error("text is not UTF-8"),
        }
    }

    fn string(&mut self) -> Result<Arc<str>, ProtocolError> {
        match self.nullable_string()? {
            Some(text) => Ok(text),
            None => self.error("null where text is required"),
        }
    }

    fn nullable_bytes(&mut self) -> Result<Option<Bytes>, ProtocolError> {
        let len = self.i32()?;
        match usize::try_from(len) {
            Ok(len) => self.take(len).map(Some),
            Err(_) => Ok(None),
        }
    }

    fn partitions(&mut self) -> Result<Vec<TopicPartition>, ProtocolError> {
        let mut all = Vec::new();
        for _ in 0..self.count(6)? {
            let topic = self.string()?;
            for _ in 0..self.count(4)? {
                all.push(TopicPartition::new(topic.clone(), self.i32()?));
            }
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use ferrokafka_wire::protocol::Decodable;

    use super::*;

    fn member() -> GroupMember {
        GroupMember {
            member_id: "m-1".into(),
            group_instance_id: Some("static-1".into()),
            topics: vec!["a".into(), "b".into()],
            owned: vec![TopicPartition::new("a", 0), TopicPartition::new("b", 7)],
            generation: 5,
            rack: Some("r1".into()),
            user_data: Some(Bytes::from_static(&[0, 0, 0, 5])),
        }
    }

    #[test]
    fn subscription_round_trips_and_agrees_with_the_schema() {
        let bytes = encode_subscription(&member(), &Assignor::CooperativeSticky);
        assert_eq!(bytes[..2], [0, 3]);
        let read = decode_subscription("m-1", Some("static-1"), bytes.clone()).unwrap();
        assert_eq!(read, member());
        let second = ConsumerProtocolSubscription::decode(&mut bytes.slice(2..), 3).unwrap();
        assert_eq!(second.generation_id, 5);
        assert_eq!(second.owned_partitions.len(), 2);
    }

    #[test]
    fn every_version_is_read() {
        for version in 0..=3i16 {
            let mut message = ConsumerProtocolSubscription::default();
            message.topics = vec![str_bytes("t")];
            message.user_data = Some(Bytes::from_static(&[0, 0, 0, 9]));
            if version >= 1 {
                let owned = OwnedTopic::default()
                    .with_topic(TopicName(str_bytes("t")))
                    .with_partitions(vec![1]);
                message.owned_partitions = vec![owned];
            }
            if version >= 2 {
                message.generation_id = 4;
            }
            let mut buffer = BytesMut::new();
            buffer.put_i16(version);
            message.encode(&mut buffer, version).unwrap();
            let read = decode_subscription("m", None, buffer.freeze()).unwrap();
            assert_eq!(
                read.generation,
                if version >= 2 { 4 } else { 9 },
                "v{version}"
            );
            assert_eq!(read.owned.len(), usize::from(version >= 1));
        }
    }

    #[test]
    fn newer_version_is_read_as_the_newest_known() {
        let mut bytes = BytesMut::from(&encode_assignment(&[TopicPartition::new("t", 2)])[..]);
        bytes[1] = 9;
        bytes.put_slice(b"future fields");
        assert_eq!(
            decode_assignment(bytes.freeze()).unwrap(),
            [TopicPartition::new("t", 2)]
        );
    }

    #[test]
    fn hostile_bytes_give_an_error() {
        let whole = encode_subscription(&member(), &Assignor::CooperativeSticky);
        for len in 0..whole.len() {
            assert!(
                decode_subscription("m", None, whole.slice(..len)).is_err(),
                "cut at {len}"
            );
        }
        let huge = Bytes::from_static(&[0, 3, 0x7f, 0xff, 0xff, 0xff]);
        assert!(decode_subscription("m", None, huge.clone()).is_err());
        assert!(decode_assignment(huge).is_err());
    }
}
