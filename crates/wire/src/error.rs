//! The errors of this crate: bytes that cannot be read, and values that cannot be written.

use std::borrow::Cow;

/// What kind of damage a [`DecodeError`] reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DecodeErrorKind {
    /// The bytes end before the value does.
    Truncated,
    /// A length, count, flag or encoding that the format does not allow.
    Invalid,
    /// The value is larger than the caller's limit.
    TooLarge,
    /// The checksum does not match.
    Checksum,
    /// An API, version, message format or codec that is not supported.
    Unsupported,
}

/// Bytes that are not what they claim to be: what was wrong, and at which byte.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} at byte {at}")]
pub struct DecodeError {
    kind: DecodeErrorKind,
    what: Cow<'static, str>,
    at: usize,
}

impl DecodeError {
    /// An error of this kind at a byte of the input.
    pub fn new(kind: DecodeErrorKind, what: impl Into<Cow<'static, str>>, at: usize) -> Self {
        Self {
            kind,
            what: what.into(),
            at,
        }
    }

    pub(crate) fn truncated(what: impl Into<Cow<'static, str>>, at: usize) -> Self {
        Self::new(DecodeErrorKind::Truncated, what, at)
    }

    pub(crate) fn invalid(what: impl Into<Cow<'static, str>>, at: usize) -> Self {
        Self::new(DecodeErrorKind::Invalid, what, at)
    }

    /// What kind of damage it is.
    pub fn kind(&self) -> DecodeErrorKind {
        self.kind
    }

    /// The byte of the input at which it was noticed.
    pub fn at(&self) -> usize {
        self.at
    }

    /// Moves the position by the bytes that lay before the part which was decoded.
    pub(crate) fn shifted(mut self, by: usize) -> Self {
        self.at = self.at.saturating_add(by);
        self
    }
}

/// A value that the protocol, or the chosen version of it, has no bytes for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct EncodeError {
    what: Cow<'static, str>,
}

impl EncodeError {
    /// An error with this description.
    pub fn new(what: impl Into<Cow<'static, str>>) -> Self {
        Self { what: what.into() }
    }
}
