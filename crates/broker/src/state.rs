//! What the cluster remembers besides records and groups: topics, who leads them, producer ids.
//!
//! A durable map: `cluster` and `producer-ids`, then `topic/ID` and `partition/ID/INDEX`, all in JSON.
//! Every change is on the device before it is acknowledged, because there are few.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use bytes::Bytes;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::broker::NodeId;
use crate::journal::{Durability, Journal};
use crate::partition::Leadership;

const FILE: &str = "cluster.journal";
const CLUSTER: &[u8] = b"cluster";
const PRODUCER_IDS: &[u8] = b"producer-ids";
const TOPIC: &str = "topic/";
const PARTITION: &str = "partition/";

type Change = (Bytes, Option<Bytes>);

/// What is kept of a partition's leadership.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PartitionState {
    pub(crate) leader: Option<NodeId>,
    pub(crate) epoch: i32,
    pub(crate) replicas: Vec<NodeId>,
}

impl From<&Leadership> for PartitionState {
    fn from(leadership: &Leadership) -> Self {
        Self {
            leader: leadership.leader,
            epoch: leadership.leader_epoch,
            replicas: leadership.replicas.clone(),
        }
    }
}

/// What is kept of a topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TopicState {
    pub(crate) name: String,
    pub(crate) configs: BTreeMap<String, String>,
}

/// A topic as remembered, with its partitions in order.
pub(crate) type RememberedTopic = (Uuid, TopicState, Vec<PartitionState>);

/// The durable map.
#[derive(Debug)]
pub(crate) struct State {
    journal: Mutex<Journal>,
}

impl State {
    /// Reads what is remembered in a directory, or begins anew in memory.
    pub(crate) fn open(directory: Option<&Path>) -> io::Result<Self> {
        let journal = match directory {
            None => Journal::memory(),
            Some(directory) => Journal::open(&directory.join(FILE), Durability::Fsync)?,
        };
        Ok(Self {
            journal: Mutex::new(journal),
        })
    }

    /// The cluster's id, if it has got one.
    pub(crate) fn cluster_id(&self) -> io::Result<Option<String>> {
        self.get(CLUSTER)
    }

    pub(crate) fn set_cluster_id(&self, id: &str) -> io::Result<()> {
        self.append(vec![put(CLUSTER, &id)?])
    }

    /// Producer ids below this may be in use.
    pub(crate) fn next_producer_id(&self) -> io::Result<i64> {
        Ok(self.get(PRODUCER_IDS)?.unwrap_or(0))
    }

    pub(crate) fn set_next_producer_id(&self, next: i64) -> io::Result<()> {
        self.append(vec![put(PRODUCER_IDS, &next)?])
    }

    /// Every topic.
    pub(crate) fn topics(&self) -> io::Result<Vec<RememberedTopic>> {
        let journal = self.journal.lock();
        let mut topics = Vec::new();
        for (key, value) in journal.scan(TOPIC.as_bytes()) {
            let id = std::str::from_utf8(&key[TOPIC.len()..])
                .ok()
                .and_then(|id| Uuid::parse_str(id).ok());
            let id = id.ok_or_else(|| damaged("a topic without an id"))?;
            // Indexes are padded, so the order of keys is the order of partitions.
            let prefix = format!("{PARTITION}{id}/");
            let partitions = journal
                .scan(prefix.as_bytes())
                .map(|(_, value)| parse(value))
                .collect::<io::Result<_>>()?;
            topics.push((id, parse(value)?, partitions));
        }
        Ok(topics)
    }

    /// A topic is new, or has other settings.
    pub(crate) fn set_topic(&self, id: Uuid, topic: &TopicState) -> io::Result<()> {
        self.append(vec![put(topic_key(id).as_bytes(), topic)?])
    }

    /// A topic is new, with these partitions: both or neither.
    pub(crate) fn create_topic(
        &self,
        id: Uuid,
        topic: &TopicState,
        leaderships: &[Leadership],
    ) -> io::Result<()> {
        let mut changes = vec![put(topic_key(id).as_bytes(), topic)?];
        changes.extend(partition_changes(id, (0..).zip(leaderships))?);
        self.append(changes)
    }

    /// These partitions are new, or led otherwise: all or none.
    pub(crate) fn set_partitions<'a>(
        &self,
        id: Uuid,
        leaderships: impl IntoIterator<Item = (i32, &'a Leadership)>,
    ) -> io::Result<()> {
        self.append(partition_changes(id, leaderships)?)
    }

    pub(crate) fn delete_topic(&self, id: Uuid) -> io::Result<()> {
        let mut journal = self.journal.lock();
        let prefix = format!("{PARTITION}{id}/");
        let mut changes: Vec<Change> = journal
            .scan(prefix.as_bytes())
            .map(|(key, _)| (key.clone(), None))
            .collect();
        changes.push((Bytes::from(topic_key(id)), None));
        journal.append(changes)
    }

    fn get<T: for<'de> Deserialize<'de>>(&self, key: &[u8]) -> io::Result<Option<T>> {
        self.journal
            .lock()
            .get(key)
            .map(|value| parse(value))
            .transpose()
    }

    fn append(&self, changes: Vec<Change>) -> io::Result<()> {
        self.journal.lock().append(changes)
    }
}

fn topic_key(id: Uuid) -> String {
    format!("{TOPIC}{id}")
}

fn partition_changes<'a>(
    id: Uuid,
    leaderships: impl IntoIterator<Item = (i32, &'a Leadership)>,
) -> io::Result<Vec<Change>> {
    let one = |(index, leadership): (i32, &Leadership)| {
        put(
            format!("{PARTITION}{id}/{index:010}").as_bytes(),
            &PartitionState::from(leadership),
        )
    };
    leaderships.into_iter().map(one).collect()
}

fn put(key: &[u8], value: &(impl Serialize + ?Sized)) -> io::Result<Change> {
    Ok((
        Bytes::copy_from_slice(key),
        Some(serde_json::to_vec(value)?.into()),
    ))
}

fn parse<T: for<'de> Deserialize<'de>>(value: &[u8]) -> io::Result<T> {
    serde_json::from_slice(value).map_err(|error| damaged(&error.to_string()))
}

fn damaged(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{FILE}: {what}"))
}
