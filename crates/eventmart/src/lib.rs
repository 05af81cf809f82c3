//! EventMart: the domain, services and demos of an e-commerce platform on Kafka, made for learning.
//!
//! What it holds: [events](event) and their [encoding], the [seven topics](topic) with the reason for every choice,
//! the [services](platform) and who of them writes and reads what, a seeded [generator], and the [demos](scenario)
//! as scenario code that emits typed events and asserts every fact it prints.
//!
//! What it does not: it prints nothing (renderers live in the `eventmart` command), and it is no shop: payments and
//! mail are invented.
//!
//! ```
//! use eventmart_core::{Encoding, Generator, Json, Seed, Volume};
//!
//! let seed = Seed::new(42, "2026-11-22T10:00:00Z".parse().unwrap());
//! let first = &Generator::new(seed, Volume::default()).products()[0];
//! assert_eq!(first.key(), "laptop-pro-15");
//! let bytes = Json.encode("eventmart-products", first).unwrap();
//! assert_eq!(&Json.decode("eventmart-products", &bytes).unwrap(), first);
//! ```

pub mod cluster;
pub mod demo;
pub mod encoding;
pub mod error;
pub mod event;
pub mod expected;
pub mod generator;
pub mod money;
pub mod normalise;
pub mod platform;
pub mod reaction;
pub mod scenario;
pub mod seed;
pub mod service;
pub mod stock;
pub mod topic;

pub use encoding::{Encoding, EncodingError, Json};
pub use error::{Error, ErrorKind};
pub use event::{Event, Payload};
pub use expected::Expected;
pub use generator::{Generator, Volume};
pub use money::Money;
pub use platform::Service;
pub use reaction::Reactions;
pub use seed::Seed;
pub use topic::{Names, TOPICS, Topic};
