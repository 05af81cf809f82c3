//! The application's part in a rebalance.

use std::marker::PhantomData;
use std::sync::Arc;

use ferrokafka_client::{Error, TopicPartition};
use futures_util::future::BoxFuture;

use crate::offsets::{CommitOffsets, SeekTo};
use crate::shared::Shared;

/// Is told when partitions come and go. The calls run inside `poll`, one at a time.
///
/// With the cooperative assignor `revoked` names only the partitions that move, and records of the
/// others are handed out before and after; with an eager one it names all of them.
pub trait RebalanceListener: Send + 'static {
    /// These partitions came, in addition to those kept; may be none. Reading them begins afterwards.
    fn assigned<'a>(
        &'a mut self,
        ctx: &'a mut RebalanceContext<'_>,
        partitions: &'a [TopicPartition],
    ) -> BoxFuture<'a, ()> {
        let _ = (ctx, partitions);
        Box::pin(async {})
    }

    /// These partitions are given back. They are still ours until this returns: commit what was
    /// processed.
    fn revoked<'a>(
        &'a mut self,
        ctx: &'a mut RebalanceContext<'_>,
        partitions: &'a [TopicPartition],
    ) -> BoxFuture<'a, ()> {
        let _ = (ctx, partitions);
        Box::pin(async {})
    }

    /// These partitions belong to somebody else already: a commit would be refused. Drop what was
    /// begun.
    fn lost<'a>(
        &'a mut self,
        ctx: &'a mut RebalanceContext<'_>,
        partitions: &'a [TopicPartition],
    ) -> BoxFuture<'a, ()> {
        let _ = (ctx, partitions);
        Box::pin(async {})
    }
}

/// For those who need not be told.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoListener;

impl RebalanceListener for NoListener {}

/// What a listener may do during a rebalance.
pub struct RebalanceContext<'a> {
    pub(crate) shared: Arc<Shared>,
    pub(crate) generation: i32,
    pub(crate) member_id: Arc<str>,
    pub(crate) scope: PhantomData<&'a ()>,
}

impl RebalanceContext<'_> {
    /// Commits and waits for the answer, as `Consumer::commit` does. In `revoked` this is the last
    /// moment for it; in `lost` it fails.
    ///
    /// # Errors
    /// As `Consumer::commit`.
    pub async fn commit(&mut self, offsets: impl Into<CommitOffsets>) -> Result<(), Error> {
        self.shared.commit(offsets.into()).await
    }

    /// The position of a partition: the offset of the next record that a `poll` would return.
    #[must_use]
    pub fn position(&self, partition: &TopicPartition) -> Option<i64> {
        self.shared.position(partition)
    }

    /// Goes on reading elsewhere, as `Consumer::seek` does; in `assigned`, before anything is read.
    ///
    /// # Errors
    /// As `Consumer::seek`.
    pub fn seek(&mut self, partition: &TopicPartition, to: impl Into<SeekTo>) -> Result<(), Error> {
        self.shared.seek(partition, to.into())
    }

    /// The generation: in `assigned` the new one, in `revoked` and `lost` that in which the
    /// partitions were owned.
    #[must_use]
    pub fn generation(&self) -> i32 {
        self.generation
    }

    /// This member's id.
    #[must_use]
    pub fn member_id(&self) -> &str {
        &self.member_id
    }
}
