//! What the application's side and the background tasks of one consumer share.

use std::collections::BTreeMap;
use std::sync::Arc;

use ferrokafka_client::{Client, Error, ErrorKind, GroupMetadata, TopicPartition};
use tokio::sync::{Notify, broadcast, oneshot};
use tokio::task::JoinSet;

use crate::config::ConsumerConfig;
use crate::events::{EVENTS_KEPT, GroupEvent, GroupEventKind};
use crate::listener::RebalanceListener;
use crate::membership::Handoff;
use crate::offsets::{CommitOffsets, OffsetAndMetadata, SeekTo};
use crate::record::Records;

pub(crate) struct Shared {
    pub(crate) client: Client,
    pub(crate) config: ConsumerConfig,
    /// Wakes `poll`: records, a handoff, or an error.
    pub(crate) app_wake: Notify,
    pub(crate) events: broadcast::Sender<GroupEvent>,
}

fn unfinished() -> Error {
    Error::new(ErrorKind::Internal, "not there yet")
}

impl Shared {
    pub(crate) fn start(
        client: Client,
        config: ConsumerConfig,
        _tasks: &mut JoinSet<()>,
    ) -> Arc<Self> {
        Arc::new(Self {
            client,
            config,
            app_wake: Notify::new(),
            events: broadcast::channel(EVENTS_KEPT).0,
        })
    }
    pub(crate) fn subscribe(&self, _topics: Vec<Arc<str>>) -> Result<(), Error> {
        Err(unfinished())
    }
    pub(crate) fn assign(&self, _partitions: Vec<TopicPartition>) -> Result<(), Error> {
        Err(unfinished())
    }
    pub(crate) fn enter_poll(&self) -> Polling {
        Polling
    }
    pub(crate) fn auto_commit(&self) {}
    pub(crate) fn take_error(&self) -> Option<Error> {
        Some(unfinished())
    }
    pub(crate) fn drain(&self) -> Result<Records, Error> {
        Ok(Records::default())
    }
    pub(crate) fn take_handoff(&self) -> Option<Handoff> {
        None
    }
    pub(crate) fn handoff_done(&self) {}
    pub(crate) async fn commit(&self, _offsets: CommitOffsets) -> Result<(), Error> {
        Err(unfinished())
    }
    pub(crate) fn commit_async(
        &self,
        _offsets: CommitOffsets,
    ) -> oneshot::Receiver<Result<(), Error>> {
        oneshot::channel().1
    }
    pub(crate) async fn committed(
        &self,
        _partitions: &[TopicPartition],
    ) -> Result<BTreeMap<TopicPartition, Option<OffsetAndMetadata>>, Error> {
        Err(unfinished())
    }
    pub(crate) fn position(&self, _partition: &TopicPartition) -> Option<i64> {
        None
    }
    pub(crate) fn seek(&self, _partition: &TopicPartition, _to: SeekTo) -> Result<(), Error> {
        Err(unfinished())
    }
    pub(crate) fn set_paused(&self, _partitions: &[TopicPartition], _paused: bool) {}
    pub(crate) fn paused(&self) -> Vec<TopicPartition> {
        Vec::new()
    }
    pub(crate) fn assignment(&self) -> Vec<TopicPartition> {
        Vec::new()
    }
    pub(crate) fn lag(&self, _partition: &TopicPartition) -> Option<i64> {
        None
    }
    pub(crate) fn group_metadata(&self) -> Result<GroupMetadata, Error> {
        Err(unfinished())
    }
    pub(crate) fn stop_fetching(&self) {}
    pub(crate) async fn close(
        self: Arc<Self>,
        _listener: Option<Box<dyn RebalanceListener>>,
    ) -> Result<(), Error> {
        let _ = (&self.client, &self.config);
        Ok(())
    }
    pub(crate) async fn commit_before_revoking(&self) {}
    pub(crate) fn add(&self, _partitions: &[TopicPartition]) {}
    pub(crate) fn remove(&self, _partitions: &[TopicPartition]) {}
    pub(crate) fn emit(&self, kind: GroupEventKind) {
        let _ = self.events.send(GroupEvent::now(kind));
    }
}

pub(crate) struct Polling;
