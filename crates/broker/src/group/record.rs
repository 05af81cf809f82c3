//! Journal entries of groups and offsets.
//!
//! A key is a tag, the group id and, for an offset, topic and partition; so all entries of one group
//! stand under two prefixes. Lengths are 32 bits, numbers big-endian. A value begins with a version.

use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::Name;
use super::classic::Group;
use super::member::{Member, Protocol};
use super::offsets::CommittedOffset;

/// A key with its new value, or none to delete it.
pub(crate) type Entry = (Bytes, Option<Bytes>);

const GROUP: u8 = 1;
const OFFSET: u8 = 2;
const VERSION: u8 = 1;

/// What the journal holds under one key.
#[derive(Debug)]
pub(super) enum Record {
    Group(GroupRecord),
    Offset {
        topic: Name,
        partition: i32,
        committed: CommittedOffset,
    },
}

/// The part of a group that survives the coordinator.
#[derive(Debug)]
pub(super) struct GroupRecord {
    pub(super) since_ms: i64,
    pub(super) generation: i32,
    pub(super) protocol_type: Option<Name>,
    pub(super) protocol: Option<Name>,
    pub(super) leader: Option<Name>,
    pub(super) members: Vec<Member>,
}

fn put_bytes(buf: &mut BytesMut, bytes: &[u8]) {
    // Requests are far smaller than 4 GiB, and so is everything taken from one.
    buf.put_u32(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
    buf.put_slice(bytes);
}

fn put_option(buf: &mut BytesMut, text: Option<&Name>) {
    buf.put_u8(u8::from(text.is_some()));
    put_bytes(buf, text.map_or(&[], |text| text.as_bytes()));
}

fn key(tag: u8, group: &str) -> BytesMut {
    let mut key = BytesMut::with_capacity(16 + group.len());
    key.put_u8(tag);
    put_bytes(&mut key, group.as_bytes());
    key
}

fn offset_key(group: &str, topic: &str, partition: i32) -> Bytes {
    let mut key = key(OFFSET, group);
    put_bytes(&mut key, topic.as_bytes());
    key.put_i32(partition);
    key.freeze()
}

/// The prefixes under which a group's entries stand.
pub(super) fn prefixes(group: &str) -> [Bytes; 2] {
    [key(GROUP, group).freeze(), key(OFFSET, group).freeze()]
}

/// The group that a key belongs to; `None` for keys of others.
pub(super) fn group_of(mut key: Bytes) -> Option<Name> {
    matches!(u8_of(&mut key)?, GROUP | OFFSET).then_some(())?;
    name(&mut key)
}

pub(super) fn group_tombstone(group: &str) -> Entry {
    (key(GROUP, group).freeze(), None)
}

pub(super) fn offset_tombstone(group: &str, topic: &str, partition: i32) -> Entry {
    (offset_key(group, topic, partition), None)
}

pub(super) fn offset_entry(
    group: &str,
    topic: &str,
    partition: i32,
    committed: &CommittedOffset,
) -> Entry {
    let mut value = BytesMut::with_capacity(40 + committed.metadata.len());
    value.put_u8(VERSION);
    value.put_i64(committed.offset);
    value.put_i32(committed.leader_epoch);
    put_bytes(&mut value, committed.metadata.as_bytes());
    value.put_i64(committed.committed_ms);
    value.put_i64(committed.expires_ms.unwrap_or(-1));
    (offset_key(group, topic, partition), Some(value.freeze()))
}

pub(super) fn group_entry(group: &Group) -> Entry {
    let mut value = BytesMut::with_capacity(256);
    value.put_u8(VERSION);
    value.put_i64(group.since_ms);
    value.put_i32(group.generation);
    put_option(&mut value, group.protocol_type.as_ref());
    put_option(&mut value, group.protocol.as_ref());
    put_option(&mut value, group.leader.as_ref());
    value.put_u32(u32::try_from(group.members.len()).unwrap_or(u32::MAX));
    for member in group.members.values() {
        put_member(&mut value, member);
    }
    (key(GROUP, &group.id).freeze(), Some(value.freeze()))
}

fn put_member(value: &mut BytesMut, member: &Member) {
    put_bytes(value, member.id.as_bytes());
    put_option(value, member.instance.as_ref());
    put_bytes(value, member.client_id.as_bytes());
    put_bytes(value, member.client_host.as_bytes());
    put_duration(value, member.rebalance_timeout);
    put_duration(value, member.session_timeout);
    value.put_u32(u32::try_from(member.protocols.len()).unwrap_or(u32::MAX));
    for protocol in &member.protocols {
        put_bytes(value, protocol.name.as_bytes());
        put_bytes(value, &protocol.metadata);
    }
    put_bytes(value, &member.assignment);
}

fn put_duration(value: &mut BytesMut, duration: Duration) {
    value.put_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX));
}

/// Reads an entry back; `None` if it is of a future version or no entry of ours.
pub(super) fn decode(mut key: Bytes, mut value: Bytes) -> Option<Record> {
    let tag = u8_of(&mut key)?;
    name(&mut key)?;
    if u8_of(&mut value)? != VERSION {
        return None;
    }
    match tag {
        GROUP => Some(Record::Group(group_record(&mut value)?)),
        OFFSET => {
            let topic = name(&mut key)?;
            let partition = i32_of(&mut key)?;
            let committed = CommittedOffset {
                offset: i64_of(&mut value)?,
                leader_epoch: i32_of(&mut value)?,
                metadata: name(&mut value)?,
                committed_ms: i64_of(&mut value)?,
                expires_ms: Some(i64_of(&mut value)?).filter(|ms| *ms >= 0),
            };
            Some(Record::Offset {
                topic,
                partition,
                committed,
            })
        }
        _ => None,
    }
}

fn group_record(value: &mut Bytes) -> Option<GroupRecord> {
    let mut record = GroupRecord {
        since_ms: i64_of(value)?,
        generation: i32_of(value)?,
        protocol_type: option(value)?,
        protocol: option(value)?,
        leader: option(value)?,
        members: Vec::new(),
    };
    for _ in 0..u32_of(value)? {
        record.members.push(member(value)?);
    }
    Some(record)
}

fn member(value: &mut Bytes) -> Option<Member> {
    let mut member = Member {
        id: name(value)?,
        instance: option(value)?,
        client_id: name(value)?,
        client_host: name(value)?,
        rebalance_timeout: Duration::from_millis(u64_of(value)?),
        session_timeout: Duration::from_millis(u64_of(value)?),
        protocols: Vec::new(),
        assignment: Bytes::new(),
        is_new: false,
        join: None,
        sync: None,
        deadline: None,
    };
    for _ in 0..u32_of(value)? {
        let protocol = Protocol {
            name: name(value)?,
            metadata: bytes(value)?,
        };
        member.protocols.push(protocol);
    }
    member.assignment = bytes(value)?;
    Some(member)
}

macro_rules! numbers {
    ($($name:ident: $type:ty = $get:ident;)+) => {
        $(fn $name(buf: &mut Bytes) -> Option<$type> {
            (buf.remaining() >= size_of::<$type>()).then(|| buf.$get())
        })+
    };
}
numbers! {
    u8_of: u8 = get_u8;
    i32_of: i32 = get_i32;
    u32_of: u32 = get_u32;
    i64_of: i64 = get_i64;
    u64_of: u64 = get_u64;
}

fn bytes(buf: &mut Bytes) -> Option<Bytes> {
    let len = usize::try_from(u32_of(buf)?).ok()?;
    (buf.remaining() >= len).then(|| buf.split_to(len))
}

fn name(buf: &mut Bytes) -> Option<Name> {
    Some(std::str::from_utf8(&bytes(buf)?).ok()?.into())
}

fn option(buf: &mut Bytes) -> Option<Option<Name>> {
    let present = u8_of(buf)? != 0;
    let name = name(buf)?;
    Some(present.then_some(name))
}
