//! The macro behind the configuration tables, and their shared parts.

use std::fmt;

use super::value::ConfigKind;

/// One key of a table, as DescribeConfigs and the documentation show it.
#[derive(Debug, Clone)]
pub struct Row {
    /// Kafka's name.
    pub key: &'static str,
    /// Current value; `None` when unset.
    pub value: Option<String>,
    /// Value of an untouched configuration; `None` when unset.
    pub default: Option<String>,
    /// Type of the value.
    pub kind: ConfigKind,
    /// What it does.
    pub doc: String,
}

/// An unknown key or an unacceptable value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigError {
    /// No such key; the nearest known one if any is near.
    Unknown {
        /// The key as given.
        key: String,
        /// The nearest known key.
        nearest: Option<&'static str>,
    },
    /// A known key with an unacceptable value.
    Invalid {
        /// Kafka's name.
        key: &'static str,
        /// The value as given.
        value: String,
        /// Why, in Kafka's words.
        reason: String,
    },
}

impl ConfigError {
    pub(crate) fn unknown(key: &str, known: impl Iterator<Item = &'static str>) -> Self {
        let nearest = known
            .map(|candidate| (strsim::jaro_winkler(key, candidate), candidate))
            .filter(|(score, _)| *score > 0.85)
            .max_by(|a, b| a.0.total_cmp(&b.0))
            .map(|(_, candidate)| candidate);
        Self::Unknown {
            key: key.to_owned(),
            nearest,
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown {
                key,
                nearest: Some(nearest),
            } => {
                write!(f, "unknown config {key}; did you mean {nearest}?")
            }
            Self::Unknown { key, nearest: None } => write!(f, "unknown config {key}"),
            Self::Invalid { key, value, reason } => {
                write!(f, "Invalid value {value} for configuration {key}: {reason}")
            }
        }
    }
}

impl std::error::Error for ConfigError {}

/// Declares a struct of settings from rows `field: type = "kafka.name", default, check;`.
macro_rules! config_table {
    ($(#[$meta:meta])* pub struct $name:ident {
        $($(#[doc = $doc:literal])+ $field:ident : $type:ty = $key:literal, $default:expr, $check:expr;)+
    }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq)]
        pub struct $name {
            $($(#[doc = $doc])+ pub $field: $type,)+
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default,)+ }
            }
        }

        impl $name {
            /// Every key of the table.
            pub fn keys() -> impl Iterator<Item = &'static str> {
                [$($key),+].into_iter()
            }

            /// Sets one key from its text.
            ///
            /// # Errors
            /// An unknown key (with the nearest known one), an unreadable value, or one out of range.
            pub fn set(&mut self, key: &str, value: &str) -> Result<(), $crate::config::ConfigError> {
                match key {
                    $($key => {
                        let invalid = |reason| $crate::config::ConfigError::Invalid {
                            key: $key,
                            value: value.to_owned(),
                            reason,
                        };
                        let parsed = <$type as $crate::config::value::Value>::parse(value).map_err(invalid)?;
                        ($check)(&parsed).map_err(invalid)?;
                        self.$field = parsed;
                        Ok(())
                    })+
                    _ => Err($crate::config::ConfigError::unknown(key, Self::keys())),
                }
            }

            /// Every key with its value, in the order of the table.
            pub fn rows(&self) -> Vec<$crate::config::Row> {
                use $crate::config::value::Value;
                let defaults = Self::default();
                vec![$($crate::config::Row {
                    key: $key,
                    value: self.$field.render(),
                    default: defaults.$field.render(),
                    kind: <$type as Value>::KIND,
                    doc: concat!($($doc, "\n"),+).trim().to_owned(),
                }),+]
            }
        }
    };
}
pub(crate) use config_table;
