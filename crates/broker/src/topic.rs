//! Topics: names, partitions, settings, who leads what.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use parking_lot::RwLock;
use uuid::Uuid;

use crate::config::TopicConfig;
use crate::partition::Partition;

/// One topic. Its partitions only grow; its settings are replaced as a whole.
pub(crate) struct Topic {
    pub(crate) name: Arc<str>,
    pub(crate) id: Uuid,
    pub(crate) partitions: RwLock<Vec<Arc<Partition>>>,
    settings: RwLock<Arc<Settings>>,
}

/// A topic's own settings and what they come to over the broker's.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Settings {
    pub(crate) overrides: BTreeMap<String, String>,
    pub(crate) effective: TopicConfig,
}

impl Topic {
    pub(crate) fn new(
        name: &str,
        id: Uuid,
        settings: Settings,
        partitions: Vec<Arc<Partition>>,
    ) -> Self {
        Self {
            name: name.into(),
            id,
            partitions: RwLock::new(partitions),
            settings: RwLock::new(Arc::new(settings)),
        }
    }

    /// Replaces the settings; the partitions act on them from their next step on.
    pub(crate) fn configure(&self, settings: Settings) {
        for partition in self.partitions.read().iter() {
            partition.log.lock().configure((&settings.effective).into());
        }
        *self.settings.write() = Arc::new(settings);
    }

    pub(crate) fn settings(&self) -> Arc<Settings> {
        self.settings.read().clone()
    }

    pub(crate) fn partition(&self, index: i32) -> Option<Arc<Partition>> {
        self.partitions
            .read()
            .get(usize::try_from(index).ok()?)
            .cloned()
    }

    pub(crate) fn partition_count(&self) -> i32 {
        i32::try_from(self.partitions.read().len()).unwrap_or(i32::MAX)
    }
}

/// All topics, by name and by id.
#[derive(Default)]
pub(crate) struct Topics {
    by_name: BTreeMap<Arc<str>, Arc<Topic>>,
    by_id: HashMap<Uuid, Arc<Topic>>,
}

impl Topics {
    pub(crate) fn get(&self, name: &str) -> Option<&Arc<Topic>> {
        self.by_name.get(name)
    }

    pub(crate) fn by_id(&self, id: &Uuid) -> Option<&Arc<Topic>> {
        self.by_id.get(id)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Topic>> {
        self.by_name.values()
    }

    pub(crate) fn insert(&mut self, topic: Arc<Topic>) {
        self.by_id.insert(topic.id, topic.clone());
        self.by_name.insert(topic.name.clone(), topic);
    }

    pub(crate) fn remove(&mut self, name: &str) -> Option<Arc<Topic>> {
        let topic = self.by_name.remove(name)?;
        self.by_id.remove(&topic.id);
        Some(topic)
    }
}

/// Why `name` cannot be a topic's name, in Kafka's words.
pub(crate) fn name_error(name: &str) -> Option<String> {
    if name.is_empty() {
        return Some("Topic name is invalid: the empty string is not allowed".to_owned());
    }
    if name == "." || name == ".." {
        return Some(format!("Topic name is invalid: '{name}' is not allowed"));
    }
    if name.len() > 249 {
        return Some(format!(
            "Topic name is invalid: the length of '{name}' is longer than the max allowed length 249"
        ));
    }
    if !name
        .bytes()
        .all(|c| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'_' | b'-'))
    {
        return Some(format!(
            "Topic name is invalid: '{name}' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"
        ));
    }
    None
}

/// Names that Kafka's metrics cannot tell apart: `.` and `_` collide.
pub(crate) fn names_collide(a: &str, b: &str) -> bool {
    a != b && a.len() == b.len() && a.replace('.', "_") == b.replace('.', "_")
}
