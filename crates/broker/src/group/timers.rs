//! The one task that drives the timers of all groups.

use std::sync::Arc;

use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until};

use super::coordinator::Shared;

/// Ends the task when dropped.
#[derive(Debug)]
pub(super) struct TimerTask(AbortHandle);

impl Drop for TimerTask {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Starts the task on the current runtime.
pub(super) fn start(shared: &Arc<Shared>) -> TimerTask {
    #[expect(
        clippy::disallowed_methods,
        reason = "the handle aborts the task when the coordinator is dropped"
    )]
    let task = tokio::spawn(run(shared.clone()));
    TimerTask(task.abort_handle())
}

/// Sleeps until the first group is due or an earlier one appears.
async fn run(shared: Arc<Shared>) {
    let interval = shared.config.offsets_retention_check;
    let mut next_check = Instant::now() + interval;
    loop {
        let until = shared
            .next_due()
            .map_or(next_check, |due| due.min(next_check));
        tokio::select! {
            () = sleep_until(until) => {}
            () = shared.rescheduled.notified() => {}
        }
        shared.tick();
        if next_check <= Instant::now() {
            shared.expire_offsets();
            next_check = Instant::now() + interval;
        }
    }
}
