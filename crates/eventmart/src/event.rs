//! What happens on the platform: the events, their envelope, and which topic and key each one has.

mod payload;

pub use payload::*;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::topic::Topic;

/// Version of the envelope and payloads written by this program.
pub const EVENT_VERSION: u16 = 1;

/// One event: the envelope that all have, and a payload of its type.
///
/// The envelope's fields and those of the payload stand side by side in JSON, `event_type` saying which payload it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// UUID v7: sorts by event time, and is the same again when a service handles the causing event again.
    pub event_id: Uuid,
    /// When it happened, UTC, to the millisecond.
    #[serde(with = "millis")]
    pub timestamp: Timestamp,
    /// Version of the event's shape.
    pub version: u16,
    /// The service that wrote it.
    pub source: String,
    /// One per journey of a user: every event of the journey carries it.
    pub correlation_id: Uuid,
    /// The event that led to this one; absent where a journey begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub causation_id: Option<Uuid>,
    /// The customer whose journey it is. Services pass it on, so that none needs a table of orders to know whom to
    /// write to; absent where no customer is concerned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_behalf_of: Option<String>,
    /// What happened.
    #[serde(flatten)]
    pub payload: Payload,
}

impl Event {
    /// The topic to which it belongs.
    pub fn topic(&self) -> Topic {
        self.payload.topic()
    }

    /// The record key.
    pub fn key(&self) -> &str {
        self.payload.key()
    }

    /// `user-registered` and the like.
    pub fn event_type(&self) -> &'static str {
        self.payload.event_type()
    }
}

/// Timestamps as RFC 3339 with exactly three places, whatever the value.
mod millis {
    use jiff::Timestamp;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(
        timestamp: &Timestamp,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{timestamp:.3}"))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Timestamp, D::Error> {
        Timestamp::deserialize(deserializer)
    }
}
