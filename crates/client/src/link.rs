//! The way to one broker for one lane: a connection that is opened when needed and replaced when dead.
//!
//! Requests pass a gate one by one, in the order in which their futures were first polled, and leave it
//! when they stand in the connection's queue. While a connection is being made, the first of them waits
//! for it and the others wait behind; the dial is a task of its own, so that impatient callers do not
//! end it. A failed dial fails all who were waiting for it, at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{MutexGuard, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::backoff::Backoff;
use crate::config::ClientConfig;
use crate::connection::Connection;
use crate::connector::Connector;
use crate::error::{Error, ErrorKind};
use crate::route::{Lane, NodeId};
use crate::task::OwnedTask;

/// See the module's documentation.
pub(crate) struct Link {
    lane: Lane,
    gate: tokio::sync::Mutex<State>,
    /// The connection last made, for those who only look.
    current: Mutex<Option<Arc<Connection>>>,
    throttled_until: Mutex<Option<Instant>>,
    /// Counts failed dials, so that who waited through one can tell.
    failed_dials: AtomicU64,
    /// Becomes true when the client is closed: nobody waits for a connection any more.
    closed: watch::Sender<bool>,
}

struct State {
    phase: Phase,
    last_failure: Option<Failure>,
}

/// The last dial, if it failed.
struct Failure {
    address: Address,
    at: Instant,
    /// How many in a row have failed at this address.
    in_a_row: u32,
    error: Error,
}

enum Phase {
    Idle,
    Dialling(Address, OwnedTask<Result<Connection, Error>>),
    Up(Address, Arc<Connection>),
}

/// Where a broker is dialled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) node: NodeId,
    /// As the broker advertises it, or as the bootstrap list has it.
    pub(crate) advertised: (Arc<str>, u16),
    /// After the address hook.
    pub(crate) dialled: (Arc<str>, u16),
    pub(crate) bootstrap: bool,
    /// Through which address metadata was fetched, if it was.
    pub(crate) found_through: Option<Arc<str>>,
}

/// What dialling takes.
#[derive(Clone)]
pub(crate) struct Dialler {
    pub(crate) config: Arc<ClientConfig>,
    pub(crate) connector: Arc<dyn Connector>,
}

/// A request's turn at the gate.
pub(crate) struct Turn<'a> {
    link: &'a Link,
    state: MutexGuard<'a, State>,
    /// How many dials had failed when the request came to the gate.
    failed_before: u64,
}

impl Link {
    pub(crate) fn new(lane: Lane) -> Self {
        Self {
            lane,
            gate: tokio::sync::Mutex::new(State {
                phase: Phase::Idle,
                last_failure: None,
            }),
            current: Mutex::new(None),
            throttled_until: Mutex::new(None),
            failed_dials: AtomicU64::new(0),
            closed: watch::Sender::new(false),
        }
    }

    /// Waits for this request's turn.
    pub(crate) async fn turn(&self) -> Turn<'_> {
        let failed_before = self.failed_dials.load(Ordering::Relaxed);
        let state = self.gate.lock().await;
        Turn {
            link: self,
            state,
            failed_before,
        }
    }

    /// Holds further requests back, as the broker asked (KIP-219).
    pub(crate) fn throttle(&self, until: Instant) {
        let mut throttled = self.throttled_until.lock();
        *throttled = (*throttled).max(Some(until));
    }

    /// The outcome of a wait, unless the link is closed first.
    async fn unless_closed<T>(&self, wait: impl Future<Output = T>) -> Result<T, Error> {
        let mut closed = self.closed.subscribe();
        tokio::select! {
            biased;
            _ = closed.wait_for(|closed| *closed) => {
                Err(Error::new(ErrorKind::Closed, "the client was closed"))
            }
            outcome = wait => Ok(outcome),
        }
    }

    /// The connection, if one is open.
    pub(crate) fn connection(&self) -> Option<Arc<Connection>> {
        self.current
            .lock()
            .clone()
            .filter(|connection| connection.is_usable(Instant::now()))
    }

    /// Closes the link for good: requests on its connection fail, and so do those that wait for one.
    pub(crate) fn close(&self, kind: ErrorKind, reason: &str) {
        self.closed.send_replace(true);
        if let Some(connection) = self.current.lock().take() {
            connection.close(kind, reason);
        }
    }
}

impl Turn<'_> {
    /// Waits out a throttle, then for a usable connection to this address.
    pub(crate) async fn connection(
        &mut self,
        address: &Address,
        dialler: &Dialler,
    ) -> Result<Arc<Connection>, Error> {
        let link = self.link;
        let throttled = *link.throttled_until.lock();
        if let Some(until) = throttled.filter(|until| *until > Instant::now()) {
            link.unless_closed(sleep_until(until)).await?;
        }
        loop {
            match &mut self.state.phase {
                Phase::Up(at, connection)
                    if at.dialled == address.dialled && connection.is_usable(Instant::now()) =>
                {
                    return Ok(Arc::clone(connection));
                }
                Phase::Dialling(at, task) if at.dialled == address.dialled => {
                    let result = link.unless_closed(task).await?;
                    let result = result.unwrap_or_else(|error| {
                        Err(Error::new(ErrorKind::Internal, "the dialling task ended")
                            .with_source(error))
                    });
                    self.dialled(address, result)?;
                }
                Phase::Up(..) | Phase::Dialling(..) => self.state.phase = Phase::Idle,
                Phase::Idle => {
                    // Nothing is dialled any more once the link is closed.
                    link.unless_closed(std::future::ready(())).await?;
                    let failed = self.link.failed_dials.load(Ordering::Relaxed);
                    if let Some(failure) = &self.state.last_failure
                        && failure.address.dialled == address.dialled
                        && failed > self.failed_before
                    {
                        return Err(failure.error.clone());
                    }
                    let task = self.dial(address.clone(), dialler.clone());
                    self.state.phase = Phase::Dialling(address.clone(), task);
                }
            }
        }
    }

    fn dialled(
        &mut self,
        address: &Address,
        result: Result<Connection, Error>,
    ) -> Result<(), Error> {
        match result {
            Ok(connection) => {
                let connection = Arc::new(connection);
                *self.link.current.lock() = Some(Arc::clone(&connection));
                self.state.phase = Phase::Up(address.clone(), connection);
                self.state.last_failure = None;
                Ok(())
            }
            Err(error) => {
                self.state.phase = Phase::Idle;
                let before = self.state.last_failure.take();
                let before = before.filter(|before| before.address.dialled == address.dialled);
                self.state.last_failure = Some(Failure {
                    address: address.clone(),
                    at: Instant::now(),
                    in_a_row: before.map_or(0, |before| before.in_a_row.saturating_add(1)),
                    error: error.clone(),
                });
                self.link.failed_dials.fetch_add(1, Ordering::Relaxed);
                Err(error)
            }
        }
    }

    /// Starts a dial, not before the backoff since the last failure has passed.
    fn dial(&self, address: Address, dialler: Dialler) -> OwnedTask<Result<Connection, Error>> {
        let config = &dialler.config;
        let backoff = Backoff::new(config.reconnect_backoff, config.reconnect_backoff_max);
        let wait = match &self.state.last_failure {
            Some(failure) if failure.address.dialled == address.dialled => backoff
                .delay(failure.in_a_row)
                .saturating_sub(failure.at.elapsed()),
            _ => Duration::ZERO,
        };
        let lane = self.link.lane;
        OwnedTask::spawn(async move {
            if !wait.is_zero() {
                sleep(wait).await;
            }
            dialler.dial(&address, lane).await
        })
    }
}

impl Dialler {
    async fn dial(&self, address: &Address, lane: Lane) -> Result<Connection, Error> {
        let started = Instant::now();
        let limit = self.config.connection_setup_timeout;
        let (host, port) = &address.dialled;
        let metrics = &self.config.metrics;
        metrics.add("connections_dialled", &[("lane", lane.name())], 1);
        let failed = |error: Error| {
            metrics.add("connections_failed", &[("lane", lane.name())], 1);
            tracing::debug!(broker = %address.label(), %error, "no connection");
            let error = error
                .with_broker(address.label())
                .with_elapsed(started.elapsed());
            match address.hint() {
                Some(hint) => error.with_hint(hint),
                None => error,
            }
        };
        let late = || Err(std::io::Error::from(std::io::ErrorKind::TimedOut));
        let dialled = timeout(limit, self.connector.dial(host, *port, limit)).await;
        let stream = dialled.unwrap_or_else(|_| late()).map_err(|error| {
            let message = format!("cannot connect: {error}");
            failed(Error::new(ErrorKind::Connect, message).with_source(error))
        })?;
        let broker: Arc<str> = Arc::from(address.label());
        let open = Connection::open(stream, lane, Arc::clone(&broker), &self.config);
        let opened = timeout(limit, open).await.unwrap_or_else(|_| {
            Err(Error::new(
                ErrorKind::Connect,
                "connected, but nothing that speaks Kafka answered in time",
            ))
        });
        let connection = opened.map_err(failed)?;
        tracing::debug!(%broker, lane = lane.name(), "connected");
        Ok(connection)
    }
}

impl Address {
    /// How messages name the broker.
    pub(crate) fn label(&self) -> String {
        let (host, port) = &self.advertised;
        let mut label = if self.bootstrap {
            format!("bootstrap server {host}:{port}")
        } else {
            format!("{} at {host}:{port}", self.node)
        };
        if self.dialled != self.advertised {
            let (host, port) = &self.dialled;
            label.push_str(&format!(" (dialled as {host}:{port})"));
        }
        label
    }

    /// What is probably wrong if this address cannot be reached.
    fn hint(&self) -> Option<String> {
        let (host, port) = &self.advertised;
        if self.bootstrap {
            return Some(format!(
                "is a broker listening at {host}:{port}? check bootstrap.servers"
            ));
        }
        let through = self.found_through.as_ref()?;
        let differs = **through != *format!("{host}:{port}");
        differs.then(|| {
            format!(
                "connected to {through}, but broker {} advertises {host}:{port}, which cannot be \
                 reached from here: check advertised.listeners on the broker",
                self.node
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hint_names_the_advertised_listener_trap() {
        let mut address = Address {
            node: 1,
            advertised: (Arc::from("kafka"), 9092),
            dialled: (Arc::from("kafka"), 9092),
            bootstrap: false,
            found_through: Some(Arc::from("localhost:29092")),
        };
        let hint = address.hint().unwrap();
        for part in [
            "localhost:29092",
            "broker 1 advertises kafka:9092",
            "advertised.listeners",
        ] {
            assert!(hint.contains(part), "{hint}");
        }
        address.found_through = Some(Arc::from("kafka:9092"));
        assert_eq!(address.hint(), None, "the broker is just away");
    }
}
