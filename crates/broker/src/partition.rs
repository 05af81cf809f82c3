//! One partition: who serves it, its log, and who waits for more of it.

use std::io;
use std::sync::{Arc, Weak};

use ferrokafka_wire::ErrorCode;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::broker::NodeId;
use crate::storage::log::{AppendError, Appended};
use crate::storage::{Accepted, Log};

/// One partition: its place in the cluster, and its log.
pub(crate) struct Partition {
    /// `orders-3`, for messages.
    pub(crate) name: String,
    pub(crate) index: i32,
    leadership: Mutex<Leadership>,
    pub(crate) log: Mutex<Log>,
    waiters: Mutex<Vec<Weak<Notify>>>,
}

/// Who serves a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Leadership {
    /// The serving node, if one of the replicas is alive.
    pub(crate) leader: Option<NodeId>,
    /// Grows with every change of leader.
    pub(crate) leader_epoch: i32,
    /// Nodes that would hold a copy, the preferred leader first.
    pub(crate) replicas: Vec<NodeId>,
    /// Replicas that are alive.
    pub(crate) isr: Vec<NodeId>,
}

impl Partition {
    pub(crate) fn new(topic: &str, index: i32, leadership: Leadership, log: Log) -> Self {
        Self {
            name: format!("{topic}-{index}"),
            index,
            leadership: Mutex::new(leadership),
            log: Mutex::new(log),
            waiters: Mutex::default(),
        }
    }

    pub(crate) fn leadership(&self) -> Leadership {
        self.leadership.lock().clone()
    }

    /// Changes who leads; every change of leader gets a new epoch. True if anything changed.
    pub(crate) fn lead(&self, change: impl FnOnce(&mut Leadership)) -> bool {
        let changed = {
            let mut leadership = self.leadership.lock();
            let before = leadership.clone();
            change(&mut leadership);
            if leadership.leader != before.leader && leadership.leader_epoch == before.leader_epoch
            {
                leadership.leader_epoch += 1;
            }
            *leadership != before
        };
        // Whoever waits at the old leader must learn of it.
        self.wake();
        changed
    }

    /// Whether `node` leads, under the epoch the client believes in (-1: it does not say).
    pub(crate) fn check_leader(&self, node: NodeId, current_epoch: i32) -> Result<i32, ErrorCode> {
        let leadership = self.leadership.lock();
        if leadership.leader != Some(node) {
            return Err(ErrorCode::NotLeaderOrFollower);
        }
        match current_epoch {
            epoch if epoch < 0 || epoch == leadership.leader_epoch => Ok(leadership.leader_epoch),
            epoch if epoch < leadership.leader_epoch => Err(ErrorCode::FencedLeaderEpoch),
            _ => Err(ErrorCode::UnknownLeaderEpoch),
        }
    }

    /// Appends a batch at the leader and wakes whoever waits for records.
    pub(crate) fn append(
        &self,
        node: NodeId,
        accepted: &Accepted,
        now_ms: i64,
    ) -> Result<(Appended, i64), Refused> {
        let (appended, start_offset) = {
            let mut log = self.log.lock();
            // Under the log's lock, so that an append cannot slip in after its leader was replaced
            // and carry the old epoch behind records of the new one.
            let epoch = self.check_leader(node, -1).map_err(Refused::NotLeader)?;
            let appended = log.append(accepted, epoch, now_ms).map_err(Refused::Log)?;
            (appended, log.start_offset())
        };
        if !appended.duplicate {
            self.wake();
        }
        Ok((appended, start_offset))
    }

    /// Asks to be woken at the next change. To be called before looking, so that a change between
    /// looking and waiting is not missed.
    pub(crate) fn register(&self, waiter: &Arc<Notify>) {
        let mut waiters = self.waiters.lock();
        // Waits that ended otherwise left their entry behind.
        if waiters.len() >= 16 {
            waiters.retain(|waiter| waiter.strong_count() > 0);
        }
        waiters.push(Arc::downgrade(waiter));
    }

    #[cfg(test)]
    pub(crate) fn waiting(&self) -> usize {
        self.waiters.lock().len()
    }

    /// Wakes everyone who waits for a change of this partition.
    pub(crate) fn wake(&self) {
        let waiters = std::mem::take(&mut *self.waiters.lock());
        for waiter in waiters.iter().filter_map(Weak::upgrade) {
            waiter.notify_one();
        }
    }
}

/// Why nothing was appended.
#[derive(Debug)]
pub(crate) enum Refused {
    NotLeader(ErrorCode),
    Log(AppendError),
}

impl Refused {
    pub(crate) fn code(&self) -> ErrorCode {
        match self {
            Self::NotLeader(code) => *code,
            Self::Log(AppendError::OutOfOrder(_)) => ErrorCode::OutOfOrderSequenceNumber,
            Self::Log(AppendError::Fenced(_)) => ErrorCode::InvalidProducerEpoch,
            Self::Log(AppendError::Io(_)) => ErrorCode::KafkaStorageError,
        }
    }

    pub(crate) fn message(&self) -> Option<String> {
        match self {
            Self::NotLeader(_) => None,
            Self::Log(AppendError::OutOfOrder(message) | AppendError::Fenced(message)) => {
                Some(message.clone())
            }
            Self::Log(AppendError::Io(error)) => Some(storage_failed(error)),
        }
    }
}

fn storage_failed(error: &io::Error) -> String {
    format!("the log could not be written: {error}")
}
