//! Ctrl-C and SIGTERM: the first asks to stop and clean up, the second stops at once.

use std::future::Future;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::failure::Exit;

/// Listens for both signals from its creation on.
pub(crate) struct Interrupt {
    interrupt: Option<Signal>,
    terminate: Option<Signal>,
}

impl Interrupt {
    pub(crate) fn listen() -> Self {
        let listen = |kind| {
            signal(kind)
                .inspect_err(|error| tracing::warn!(%error, "signals cannot be caught"))
                .ok()
        };
        Self {
            interrupt: listen(SignalKind::interrupt()),
            terminate: listen(SignalKind::terminate()),
        }
    }

    /// Waits for the next signal.
    pub(crate) async fn wait(&mut self) {
        tokio::select! {
            () = next(&mut self.interrupt) => {}
            () = next(&mut self.terminate) => {}
        }
    }

    /// Runs `work` until it ends or a signal comes; `None` if it was interrupted.
    pub(crate) async fn or<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            () = self.wait() => None,
            value = work => Some(value),
        }
    }

    /// Runs the cleaning up; a signal meanwhile ends the process.
    pub(crate) async fn or_exit<T>(&mut self, cleaning: impl Future<Output = T>) -> T {
        match self.or(cleaning).await {
            Some(value) => value,
            None => {
                anstream::eprintln!("stopped without cleaning up");
                std::process::exit(Exit::Interrupted as i32)
            }
        }
    }
}

async fn next(signal: &mut Option<Signal>) {
    let came = match signal {
        Some(signal) => signal.recv().await,
        None => None,
    };
    if came.is_none() {
        std::future::pending::<()>().await;
    }
}
