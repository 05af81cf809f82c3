//! One connection to one broker: opened, versions agreed, requests exchanged.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use ferrokafka_wire::messages::{ApiKey, ApiVersionsRequest};
use ferrokafka_wire::protocol::{Message, Request};
use rskafka::messenger::{Messenger, RequestError};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::adapter::{CorrelationId, Outgoing, api_key, version_range};
use crate::config::ClientConfig;
use crate::connector::Stream;
use crate::decode;
use crate::error::{Delivery, Error, ErrorKind};
use crate::route::Lane;
use crate::transport::{Monitor, Progress, Transport};
use crate::versions::{self, Negotiated, Versions};

/// A connection to a broker, ready for requests. Dropping it closes it.
pub(crate) struct Connection {
    messenger: Messenger<Transport>,
    monitor: Arc<Monitor>,
    versions: Arc<Versions>,
    in_flight: Semaphore,
    /// Whom it leads to, for messages.
    broker: Arc<str>,
}

impl Connection {
    /// Agrees on versions over a fresh stream. The caller bounds the time.
    ///
    /// Authentication will go between the negotiation and the end of this function: nothing else may
    /// be sent before it.
    pub(crate) async fn open(
        stream: Box<dyn Stream>,
        lane: Lane,
        broker: Arc<str>,
        config: &ClientConfig,
    ) -> Result<Self, Error> {
        let answer_timeout = match lane {
            Lane::Join => None,
            Lane::Produce | Lane::Fetch | Lane::Control => Some(config.request_timeout),
        };
        let monitor = Monitor::new(config.receive_bytes_max, answer_timeout);
        let transport = Transport::new(stream, Arc::clone(&monitor));
        let mut connection = Self {
            messenger: Messenger::new(
                transport,
                config.receive_bytes_max,
                Arc::clone(&config.client_id),
            ),
            monitor,
            versions: Arc::default(),
            in_flight: Semaphore::new(config.in_flight_max),
            broker,
        };
        connection.negotiate().await?;
        Ok(connection)
    }

    /// Asks for the broker's versions, lower and lower until one is understood (at most five times).
    async fn negotiate(&mut self) -> Result<(), Error> {
        let key = api_key::<ApiVersionsRequest>();
        let range = ApiVersionsRequest::VERSIONS;
        self.messenger
            .override_version_ranges(HashMap::from([(key, version_range(range.min, range.max))]));
        let mut version = range.max;
        loop {
            let correlation_id = CorrelationId::new();
            let outgoing = Outgoing {
                body: versions::request(version),
                version,
                correlation_id: &correlation_id,
                no_answer: None,
            };
            let answer = self.messenger.request(outgoing).await;
            let answer = answer.map_err(|error| {
                let error = self.explain::<ApiVersionsRequest>(version, &correlation_id, error);
                error.with_delivery(Delivery::NotSent)
            })?;
            match versions::read(&answer.0, version) {
                Ok(Negotiated::Done(versions)) => {
                    let ranges = versions.iter();
                    self.messenger.override_version_ranges(
                        ranges
                            .map(|(key, (min, max))| (messenger_key(key), version_range(min, max)))
                            .collect(),
                    );
                    self.versions = Arc::new(versions);
                    return Ok(());
                }
                Ok(Negotiated::AskAgain(lower)) => version = lower,
                Err(message) => {
                    self.monitor.close(ErrorKind::Protocol, message.as_str());
                    return Err(Error::new(ErrorKind::Protocol, message)
                        .with_broker(&*self.broker)
                        .with_api(ApiKey::ApiVersions, version)
                        .with_delivery(Delivery::NotSent));
                }
            }
        }
    }

    /// What the broker said it can do.
    pub(crate) fn versions(&self) -> &Arc<Versions> {
        &self.versions
    }

    /// Whom it leads to.
    pub(crate) fn broker(&self) -> &Arc<str> {
        &self.broker
    }

    /// Whether a request may still be sent on it. A broker that has left a request unanswered for too
    /// long counts as gone, and its connection is closed here.
    pub(crate) fn is_usable(&self, now: Instant) -> bool {
        if !self.monitor.is_closed() && self.monitor.is_silent(now) {
            self.monitor
                .close(ErrorKind::Timeout, "the broker stopped answering");
        }
        !self.monitor.is_closed()
    }

    /// Ends it: whoever waits for an answer gets an error with this reason.
    pub(crate) fn close(&self, kind: ErrorKind, reason: &str) {
        self.monitor.close(kind, reason);
    }

    /// The version to use for an API, at most `max_version`.
    pub(crate) fn pick_version<R: Request>(&self, max_version: i16) -> Result<i16, Error> {
        let unsupported = |message: String| {
            let error = Error::new(ErrorKind::UnsupportedVersion, message);
            Err(error
                .with_broker(&*self.broker)
                .with_delivery(Delivery::NotSent))
        };
        let name = api_name(R::KEY);
        match (self.versions.common::<R>(), self.versions.of(R::KEY)) {
            (Some((min, max)), _) if min <= max_version => Ok(max.min(max_version)),
            (Some((min, _)), _) => unsupported(format!(
                "{name} is wanted in version {max_version} or below, the broker needs {min}"
            )),
            (None, Some((min, max))) => unsupported(format!(
                "{name} is served in versions {min} to {max}, known here are {} to {}",
                R::VERSIONS.min,
                R::VERSIONS.max
            )),
            (None, None) => unsupported(format!("the broker does not serve {name}")),
        }
    }

    /// Waits for room among the requests unanswered at a time.
    pub(crate) async fn room(&self) -> Result<tokio::sync::SemaphorePermit<'_>, Error> {
        self.in_flight
            .acquire()
            .await
            .map_err(|_| Error::new(ErrorKind::Closed, "the connection is closed"))
    }

    /// Sends a request and waits for its answer; a request that gets none is done once it is written.
    /// `begun` is called once, when the request is in line to be written, behind all that called before
    /// it: what holds later requests back may let go.
    pub(crate) async fn transmit<R>(
        &self,
        body: R,
        version: i16,
        correlation_id: &CorrelationId,
        is_answered: bool,
        begun: impl FnOnce(),
    ) -> Result<Bytes, Error>
    where
        R: Request + Send + Sync,
    {
        let outgoing = Outgoing {
            body,
            version,
            correlation_id,
            no_answer: (!is_answered).then_some(&*self.monitor),
        };
        // The first poll numbers the request, encodes it and takes its place in Messenger's queue.
        let mut answer = pin!(self.messenger.request(outgoing));
        let first = futures_util::poll!(&mut answer);
        begun();
        let answer = match first {
            Poll::Ready(answer) => answer,
            Poll::Pending => answer.await,
        };
        answer
            .map(|answer| answer.0)
            .map_err(|error| self.explain::<R>(version, correlation_id, error))
    }

    /// Decodes an answer. One that is malformed closes the connection: its frame was whole, so the
    /// stream is in step, but what the other side says is not to be trusted.
    pub(crate) fn decode<R: Request>(
        &self,
        answer: Bytes,
        version: i16,
    ) -> Result<R::Response, Error> {
        decode::response::<R>(answer, version).map_err(|message| {
            self.monitor.close(ErrorKind::Protocol, message.as_str());
            self.error::<R>(ErrorKind::Protocol, message, version)
        })
    }

    /// The error for a request whose time is up, and what becomes of the connection.
    pub(crate) fn timed_out<R: Request>(
        &self,
        lane: Lane,
        version: i16,
        correlation_id: &CorrelationId,
        waited: Duration,
    ) -> Error {
        let progress = self.progress(correlation_id);
        // Answers come in order: behind a barrier that never opens, every later answer is stuck.
        if lane == Lane::Join && progress != Progress::NotBegun {
            self.close(ErrorKind::Timeout, "a group barrier was given up");
        }
        let _ = self.is_usable(Instant::now());
        let message = match progress {
            Progress::NotBegun => "the request could not be written in time",
            Progress::Begun => "the request was not taken in time",
            Progress::Written => "no answer came in time",
        };
        let delivery = match progress {
            Progress::NotBegun => Delivery::NotSent,
            // What was begun is completed behind the caller's back: frames are never cut.
            Progress::Begun | Progress::Written => Delivery::Unknown,
        };
        self.error::<R>(ErrorKind::Timeout, message.to_owned(), version)
            .with_delivery(delivery)
            .with_elapsed(waited)
    }

    fn progress(&self, correlation_id: &CorrelationId) -> Progress {
        correlation_id
            .get()
            .map_or(Progress::NotBegun, |id| self.monitor.progress(id))
    }

    /// Turns Messenger's error into ours.
    fn explain<R: Request>(
        &self,
        version: i16,
        correlation_id: &CorrelationId,
        error: RequestError,
    ) -> Error {
        match error {
            RequestError::NoVersionMatch { .. } => self
                .error::<R>(
                    ErrorKind::UnsupportedVersion,
                    "broker and client share no version".to_owned(),
                    version,
                )
                .with_delivery(Delivery::NotSent),
            RequestError::WriteError(error) => self
                .error::<R>(
                    ErrorKind::UnsupportedVersion,
                    "the request cannot be expressed in this version".to_owned(),
                    version,
                )
                .with_delivery(Delivery::NotSent)
                .with_source(error),
            error => {
                let (kind, message) = match self.monitor.close_reason() {
                    Some(reason) => (reason.kind, reason.message.to_string()),
                    None => (ErrorKind::Disconnected, "the connection failed".to_owned()),
                };
                // The connection is dead: what was not written whole never will be, and a broker does
                // nothing with part of a request.
                let delivery = match self.progress(correlation_id) {
                    Progress::Written => Delivery::Unknown,
                    Progress::NotBegun | Progress::Begun => Delivery::NotSent,
                };
                self.error::<R>(kind, message, version)
                    .with_delivery(delivery)
                    .with_source(error)
            }
        }
    }

    fn error<R: Request>(&self, kind: ErrorKind, message: String, version: i16) -> Error {
        let error = Error::new(kind, message).with_broker(&*self.broker);
        match ApiKey::try_from(R::KEY) {
            Ok(api) => error.with_api(api, version),
            Err(()) => error,
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.close(ErrorKind::Closed, "the connection is closed");
    }
}

/// An API's name, for messages.
pub(crate) fn api_name(api_key: i16) -> String {
    match ApiKey::try_from(api_key) {
        Ok(api) => format!("{api:?}"),
        Err(()) => format!("API {api_key}"),
    }
}

/// Messenger's name of an API.
fn messenger_key(api_key: i16) -> rskafka::protocol::api_key::ApiKey {
    rskafka::protocol::api_key::ApiKey::Unknown(rskafka::protocol::primitives::Int16(api_key))
}
