//! Types of configuration values: how they are read, shown and bounded.

use std::fmt::Display;

use ferrokafka_wire::compression::Compression;

/// Type of a value, with the code DescribeConfigs uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i8)]
pub enum ConfigKind {
    /// `true` or `false`.
    Boolean = 1,
    /// Text.
    String = 2,
    /// 32 bits.
    Int = 3,
    /// 64 bits.
    Long = 5,
    /// Floating point.
    Double = 6,
    /// Comma-separated.
    List = 7,
}

pub(crate) trait Value: Sized {
    const KIND: ConfigKind;
    fn parse(text: &str) -> Result<Self, String>;
    fn render(&self) -> Option<String>;
}

macro_rules! number {
    ($type:ty, $kind:ident, $name:literal) => {
        impl Value for $type {
            const KIND: ConfigKind = ConfigKind::$kind;
            fn parse(text: &str) -> Result<Self, String> {
                text.trim()
                    .parse()
                    .map_err(|_| concat!("Not a number of type ", $name).to_owned())
            }
            fn render(&self) -> Option<String> {
                Some(self.to_string())
            }
        }
    };
}
number!(i32, Int, "INT");
number!(i64, Long, "LONG");

impl Value for f64 {
    const KIND: ConfigKind = ConfigKind::Double;
    fn parse(text: &str) -> Result<Self, String> {
        text.trim()
            .parse()
            .ok()
            .filter(|value: &f64| value.is_finite())
            .ok_or_else(|| "Not a number of type DOUBLE".to_owned())
    }
    fn render(&self) -> Option<String> {
        // Java prints 1.0 where Rust prints 1.
        Some(format!("{self:?}"))
    }
}

impl Value for bool {
    const KIND: ConfigKind = ConfigKind::Boolean;
    fn parse(text: &str) -> Result<Self, String> {
        match text.trim().to_ascii_lowercase().as_str() {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err("Expected value to be either true or false".to_owned()),
        }
    }
    fn render(&self) -> Option<String> {
        Some(self.to_string())
    }
}

impl Value for String {
    const KIND: ConfigKind = ConfigKind::String;
    fn parse(text: &str) -> Result<Self, String> {
        Ok(text.to_owned())
    }
    fn render(&self) -> Option<String> {
        Some(self.clone())
    }
}

impl<T: Value> Value for Option<T> {
    const KIND: ConfigKind = T::KIND;
    fn parse(text: &str) -> Result<Self, String> {
        T::parse(text).map(Some)
    }
    fn render(&self) -> Option<String> {
        self.as_ref().and_then(Value::render)
    }
}

/// `cleanup.policy`: what happens to old segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CleanupPolicy {
    /// Old segments are deleted.
    pub delete: bool,
    /// The newest record of each key is kept.
    pub compact: bool,
}

impl CleanupPolicy {
    /// Deletion alone.
    pub const DELETE: Self = Self {
        delete: true,
        compact: false,
    };
}

impl Value for CleanupPolicy {
    const KIND: ConfigKind = ConfigKind::List;
    fn parse(text: &str) -> Result<Self, String> {
        let mut policy = Self {
            delete: false,
            compact: false,
        };
        for part in text
            .split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty())
        {
            match part {
                "delete" => policy.delete = true,
                "compact" => policy.compact = true,
                _ => return Err("String must be one of: compact, delete".to_owned()),
            }
        }
        if policy.delete || policy.compact {
            Ok(policy)
        } else {
            Err("String must be one of: compact, delete".to_owned())
        }
    }
    fn render(&self) -> Option<String> {
        Some(
            match (self.compact, self.delete) {
                (true, true) => "compact,delete",
                (true, false) => "compact",
                _ => "delete",
            }
            .to_owned(),
        )
    }
}

/// `compression.type`: codec of stored batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CompressionType {
    /// Stored as the producer sent them.
    Producer,
    /// Stored in this codec; batches that come in another are compressed anew.
    Codec(Compression),
}

impl CompressionType {
    /// The codec that batches must have, if it is not left to the producer.
    pub(crate) fn codec(self) -> Option<Compression> {
        match self {
            Self::Producer => None,
            Self::Codec(codec) => Some(codec),
        }
    }
}

impl Value for CompressionType {
    const KIND: ConfigKind = ConfigKind::String;
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "producer" => Ok(Self::Producer),
            "uncompressed" => Ok(Self::Codec(Compression::None)),
            "zstd" => Ok(Self::Codec(Compression::Zstd)),
            "lz4" => Ok(Self::Codec(Compression::Lz4)),
            "snappy" => Ok(Self::Codec(Compression::Snappy)),
            "gzip" => Ok(Self::Codec(Compression::Gzip)),
            _ => Err(
                "String must be one of: uncompressed, zstd, lz4, snappy, gzip, producer".to_owned(),
            ),
        }
    }
    fn render(&self) -> Option<String> {
        let name = match self {
            Self::Producer => "producer",
            Self::Codec(Compression::None) => "uncompressed",
            Self::Codec(codec) => codec.name(),
        };
        Some(name.to_owned())
    }
}

/// `message.timestamp.type`: where record timestamps come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimestampType {
    /// The producer sets them.
    CreateTime,
    /// The broker sets them at append.
    LogAppendTime,
}

impl Value for TimestampType {
    const KIND: ConfigKind = ConfigKind::String;
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "CreateTime" => Ok(Self::CreateTime),
            "LogAppendTime" => Ok(Self::LogAppendTime),
            _ => Err("String must be one of: CreateTime, LogAppendTime".to_owned()),
        }
    }
    fn render(&self) -> Option<String> {
        Some(
            match self {
                Self::CreateTime => "CreateTime",
                Self::LogAppendTime => "LogAppendTime",
            }
            .to_owned(),
        )
    }
}

pub(super) fn any<T>(_: &T) -> Result<(), String> {
    Ok(())
}

pub(super) fn at_least<T: PartialOrd + Display>(min: T) -> impl Fn(&T) -> Result<(), String> {
    move |value| {
        if *value >= min {
            Ok(())
        } else {
            Err(format!("Value must be at least {min}"))
        }
    }
}

pub(super) fn between(min: f64, max: f64) -> impl Fn(&f64) -> Result<(), String> {
    move |value| {
        if *value < min {
            Err(format!("Value must be at least {min}"))
        } else if *value > max {
            Err(format!("Value must be no more than {max}"))
        } else {
            Ok(())
        }
    }
}
