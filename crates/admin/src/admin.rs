//! The admin client itself, and what its operations share.

use std::time::Duration;

use ferrokafka_client::{Client, ClientConfig, Error};
use ferrokafka_wire::ErrorCode;
use ferrokafka_wire::protocol::StrBytes;
use tokio::time::Instant;

/// One result per item, in the order in which the items were given.
pub type PerItem<K, T> = Vec<(K, Result<T, Error>)>;

/// Administers a cluster. Cheap to clone; clones share the connections of their [`Client`].
///
/// Every operation ends within `default.api.timeout.ms` unless it takes a timeout of its own. The outer
/// error of an operation means that no broker could be made to answer; what concerns one item is in the
/// item's result.
///
/// # Cancellation
/// Dropping the future of an operation leaves open whether the cluster carries it out.
#[derive(Debug, Clone)]
pub struct Admin {
    client: Client,
}

impl Admin {
    /// Connects to a cluster.
    ///
    /// # Errors
    /// As [`Client::connect`].
    pub async fn connect(config: ClientConfig) -> Result<Self, Error> {
        Ok(Self::with_client(Client::connect(config).await?))
    }

    /// Uses the connections of a client that is there already.
    #[must_use]
    pub fn with_client(client: Client) -> Self {
        Self { client }
    }

    /// The client underneath.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Closes the client underneath, after at most `timeout`.
    pub async fn close(&self, timeout: Duration) {
        self.client.close(timeout).await;
    }

    pub(crate) fn deadline(&self) -> Instant {
        self.client.api_deadline()
    }
}

/// What is left until a deadline, as brokers want it told.
pub(crate) fn millis_until(deadline: Instant) -> i32 {
    let left = deadline.saturating_duration_since(Instant::now());
    i32::try_from(left.as_millis()).unwrap_or(i32::MAX)
}

/// A string as messages carry it.
pub(crate) fn text(text: impl Into<String>) -> StrBytes {
    StrBytes::from_string(text.into())
}

/// The result of an item with this code and, if the broker gave one, its own message.
pub(crate) fn item<T>(
    code: i16,
    message: Option<&StrBytes>,
    what: impl FnOnce() -> String,
    value: impl FnOnce() -> T,
) -> Result<T, Error> {
    let code = ErrorCode::from_code(code);
    if code.is_none() {
        return Ok(value());
    }
    let what = what();
    Err(match message.filter(|message| !message.is_empty()) {
        Some(message) => Error::from_code(code, format!("{what}: {message}")),
        None => Error::from_code(code, what),
    })
}

/// The code that makes a call go to another controller, if an item has it: controllers refuse all
/// items or none.
pub(crate) fn controller_moved(codes: impl IntoIterator<Item = i16>) -> ErrorCode {
    codes
        .into_iter()
        .map(ErrorCode::from_code)
        .find(|code| *code == ErrorCode::NotController)
        .unwrap_or(ErrorCode::None)
}

/// Brings results into the order of the items asked for; an item the broker left out is an error.
pub(crate) fn in_order<K: PartialEq + std::fmt::Debug, T>(
    asked: impl IntoIterator<Item = K>,
    mut results: PerItem<K, T>,
) -> PerItem<K, T> {
    asked
        .into_iter()
        .map(|key| {
            let place = results.iter().position(|(name, _)| *name == key);
            match place {
                Some(place) => results.swap_remove(place),
                None => {
                    let message = format!("the broker's answer leaves out {key:?}");
                    (
                        key,
                        Err(Error::new(ferrokafka_client::ErrorKind::Protocol, message)),
                    )
                }
            }
        })
        .collect()
}

/// Fails unless the request can be expressed in every version of its API, in a form that a broker
/// reads.
#[cfg(test)]
pub(crate) fn encodes_in_every_version<R: ferrokafka_wire::protocol::Request>(
    build: impl Fn(i16) -> R,
) {
    for version in R::VERSIONS.min..=R::VERSIONS.max {
        let frame = ferrokafka_wire::frame::encode_request(version, 1, None, &build(version));
        let mut frame = frame
            .unwrap()
            .slice(ferrokafka_wire::frame::LENGTH_PREFIX_LEN..);
        ferrokafka_wire::frame::decode_request_header(&mut frame).unwrap();
        ferrokafka_wire::frame::decode_request::<R>(frame, version).unwrap();
    }
}
