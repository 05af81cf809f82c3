//! What can go wrong on the platform, said as what, why and how to mend it.

use std::fmt;

/// Result with the platform's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What kind of failure it is; the command line derives its exit code from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A fact that a demo states did not hold.
    Fact,
    /// A name or value given by the user makes no sense here.
    Usage,
    /// Something named does not exist.
    NotFound,
    /// Something did not happen in time.
    Timeout,
    /// Not allowed, or not recognised.
    Denied,
    /// The broker or the connection to it failed.
    Broker,
    /// The machine lacks something.
    Machine,
}

/// A failure with its reason and, where one is known, its remedy.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    what: String,
    fix: Option<String>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// `what` failed.
    pub fn new(kind: ErrorKind, what: impl Into<String>) -> Self {
        Self {
            kind,
            what: what.into(),
            fix: None,
            source: None,
        }
    }

    /// A fact did not hold.
    pub fn fact(what: impl Into<String>) -> Self {
        Self::new(ErrorKind::Fact, what)
            .fix("run again with the same --seed; if it fails again, this is a bug: please report it with the seed")
    }

    /// Something did not happen in time.
    pub fn timeout(what: impl Into<String>) -> Self {
        Self::new(ErrorKind::Timeout, what)
    }

    /// What to do about it.
    #[must_use]
    pub fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = Some(fix.into());
        self
    }

    /// What it came from.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What kind of failure it is.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// What happened.
    pub fn what(&self) -> String {
        self.what.clone()
    }

    /// Why: the chain of causes, the nearest first; empty where nothing is known.
    pub fn why(&self) -> String {
        let mut causes = Vec::new();
        let mut next = std::error::Error::source(self);
        while let Some(cause) = next {
            causes.push(cause.to_string());
            next = cause.source();
        }
        causes.join(": ")
    }

    /// What to do about it; empty where nothing is known.
    pub fn fix_text(&self) -> &str {
        self.fix.as_deref().unwrap_or_default()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

impl From<ferrokafka::Error> for Error {
    fn from(error: ferrokafka::Error) -> Self {
        use ferrokafka::ErrorKind as Kafka;
        let kind = match error.kind() {
            Kafka::Timeout => ErrorKind::Timeout,
            Kafka::Authentication | Kafka::Authorization => ErrorKind::Denied,
            Kafka::Config => ErrorKind::Usage,
            _ => ErrorKind::Broker,
        };
        let mut said = Self::new(kind, error.to_string());
        said.fix = error.hint().map(str::to_owned);
        said.source = std::error::Error::source(&error).map(|cause| cause.to_string().into());
        said
    }
}

impl From<crate::encoding::EncodingError> for Error {
    fn from(error: crate::encoding::EncodingError) -> Self {
        Self::new(ErrorKind::Broker, "an event cannot be encoded").because(error)
    }
}
