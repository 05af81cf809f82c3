//! The one seam between events and bytes. JSON today; Avro joins it when there is a registry to ask.

use bytes::Bytes;
use serde::Deserialize;
use thiserror::Error;

use crate::event::{EVENT_TYPES, EVENT_VERSION, Event};

/// How events become record values. `topic` is the name on the broker: a registry derives the subject from it.
pub trait Encoding: Send + Sync + 'static {
    /// What `--format` calls it.
    fn name(&self) -> &'static str;

    /// The record value.
    ///
    /// # Errors
    /// When the event has no form in this encoding.
    fn encode(&self, topic: &str, event: &Event) -> Result<Bytes, EncodingError>;

    /// The event in a record value.
    ///
    /// # Errors
    /// When the bytes are not an event this program knows: no attempt to read them again will help.
    fn decode(&self, topic: &str, value: &[u8]) -> Result<Event, EncodingError>;
}

/// Bytes that are no event, or an event that has no bytes.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EncodingError {
    /// Not the syntax of the encoding, or a field is missing or of another type.
    #[error("not a {encoding} event: {what}")]
    Malformed {
        /// Which encoding.
        encoding: &'static str,
        /// What is wrong, and where.
        what: String,
    },
    /// An event type that this program does not know.
    #[error("event type {found:?} is not known")]
    UnknownType {
        /// What the event says it is.
        found: String,
    },
    /// Written by a newer program.
    #[error("event version {found} is newer than {EVENT_VERSION}, the newest this program reads")]
    UnknownVersion {
        /// What the event says.
        found: u16,
    },
}

/// One JSON object a record.
#[derive(Clone, Copy, Debug, Default)]
pub struct Json;

/// Read before the rest, so that the message can say "newer" or "unknown" and not "field missing".
#[derive(Deserialize)]
struct Head {
    event_type: String,
    version: u16,
}

impl Encoding for Json {
    fn name(&self) -> &'static str {
        "json"
    }

    fn encode(&self, _topic: &str, event: &Event) -> Result<Bytes, EncodingError> {
        serde_json::to_vec(event)
            .map(Bytes::from)
            .map_err(|error| malformed(&error))
    }

    fn decode(&self, _topic: &str, value: &[u8]) -> Result<Event, EncodingError> {
        let head: Head = serde_json::from_slice(value).map_err(|error| malformed(&error))?;
        if head.version == 0 || head.version > EVENT_VERSION {
            return Err(EncodingError::UnknownVersion {
                found: head.version,
            });
        }
        if !EVENT_TYPES.iter().any(|(name, _)| *name == head.event_type) {
            return Err(EncodingError::UnknownType {
                found: head.event_type,
            });
        }
        serde_json::from_slice(value).map_err(|error| malformed(&error))
    }
}

fn malformed(error: &serde_json::Error) -> EncodingError {
    EncodingError::Malformed {
        encoding: "json",
        what: error.to_string(),
    }
}
