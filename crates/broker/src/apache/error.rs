//! What can go wrong before Apache Kafka serves, and what to do about it.

use std::fmt;
use std::io;

/// Why Apache Kafka could not be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// There is no Java, or one too old for this release.
    JavaMissing,
    /// There is no Maven, the jars are not cached, and `KAFKA_HOME` is not set.
    MavenMissing,
    /// Maven could not fetch the jars.
    Download,
    /// A port that was free is no longer.
    PortTaken,
    /// A node ended, or could not be formatted.
    Start,
    /// A node did not become ready in time.
    NotReady,
    /// A file or a process could not be handled.
    Io,
}

/// An error of [`apache`](crate::apache); its text ends with the program's own last words where there are any.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    hint: Option<&'static str>,
    last_words: String,
    source: Option<io::Error>,
}

impl Error {
    pub(super) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        let hint = match kind {
            ErrorKind::JavaMissing => Some("install a Java runtime 17 or newer, or set JAVA_HOME"),
            ErrorKind::MavenMissing => {
                Some("install Maven, or set KAFKA_HOME to an unpacked Kafka release")
            }
            ErrorKind::Download => {
                Some("check that Maven reaches Maven Central, or set KAFKA_HOME")
            }
            _ => None,
        };
        Self {
            kind,
            message: message.into(),
            hint,
            last_words: String::new(),
            source: None,
        }
    }

    pub(super) fn io(message: impl Into<String>, source: io::Error) -> Self {
        Self {
            source: Some(source),
            ..Self::new(ErrorKind::Io, message)
        }
    }

    pub(super) fn with_last_words(mut self, last_words: String) -> Self {
        self.last_words = last_words;
        self
    }

    /// What went wrong, for code.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// What to do about it, where that is known.
    pub fn hint(&self) -> Option<&str> {
        self.hint
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if let Some(hint) = self.hint {
            write!(f, " ({hint})")?;
        }
        if !self.last_words.is_empty() {
            write!(f, "\n{}", self.last_words)?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|source| source as _)
    }
}
