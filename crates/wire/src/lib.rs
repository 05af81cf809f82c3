//! Kafka protocol without I/O: record batches, compression, partitioner hashes, error codes, messages.
//!
//! What it does not do: no sockets, no clocks, no state of a client or broker. The messages themselves come from
//! `kafka-protocol`, which no other crate names; its record layer and codecs are not used.
//!
//! ```
//! use ferrokafka_wire::compression::Compression;
//! use ferrokafka_wire::record::{BatchBuilder, RawBatches};
//!
//! let mut batch = BatchBuilder::new(1024);
//! batch.append(1_700_000_000_000, Some(b"key"), Some(b"value"), &[])?;
//! let encoded = batch.finish(Compression::None)?;
//!
//! for raw in RawBatches::new(encoded.bytes()) {
//!     let raw = raw?;
//!     raw.verify_crc()?;
//!     for record in raw.records(1 << 20)? {
//!         assert_eq!(record?.value.as_deref(), Some(&b"value"[..]));
//!     }
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod compression;
mod error;
pub mod error_code;
pub mod frame;
pub mod layout;
pub mod partition;
pub mod record;
pub mod varint;

pub use error::{DecodeError, DecodeErrorKind, EncodeError};
pub use error_code::{ErrorClass, ErrorCode};
pub use kafka_protocol::{messages, protocol};
