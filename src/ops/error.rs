//! What went wrong, by meaning. Whoever speaks a protocol turns kinds into its codes.

use std::fmt;

use larder_backends as backends;

use crate::disk;

/// Kinds of failure that callers tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The request makes no sense.
    Invalid,
    /// There is no such thing.
    NotFound,
    /// What the request builds on is gone.
    Stale,
    /// The backend does not let us.
    Denied,
    /// The host's disk has no room.
    Full,
    /// Bytes were wrong, and no right ones could be had.
    Corrupt,
    /// The backend does not answer; later may go better.
    Unavailable,
    /// A fault of our own.
    Internal,
}

/// A failed operation.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    kind: ErrorKind,
    message: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// The result of this room.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub(super) fn new(kind: ErrorKind, message: impl fmt::Display) -> Self {
        Self { kind, message: message.to_string(), source: None }
    }

    pub(super) fn invalid(message: impl fmt::Display) -> Self {
        Self::new(ErrorKind::Invalid, message)
    }

    /// Its meaning.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// This error and its sources in one line.
    pub fn chain(&self) -> String {
        chain(self)
    }
}

/// An error and its sources in one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        let more = source.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        next = source.source();
    }
    text
}

impl From<disk::Error> for Error {
    fn from(error: disk::Error) -> Self {
        let kind = match &error {
            disk::Error::Full(_) | disk::Error::NoRoom { .. } => ErrorKind::Full,
            disk::Error::Mismatch { .. } => ErrorKind::Corrupt,
            disk::Error::TooLarge { .. } => ErrorKind::Invalid,
            _ => ErrorKind::Internal,
        };
        Self { kind, message: "the host's disk failed".to_owned(), source: Some(Box::new(error)) }
    }
}

impl From<backends::Error> for Error {
    fn from(error: backends::Error) -> Self {
        let kind = match error.kind() {
            backends::ErrorKind::NotFound => ErrorKind::NotFound,
            backends::ErrorKind::Denied => ErrorKind::Denied,
            backends::ErrorKind::TooLarge => ErrorKind::Corrupt,
            backends::ErrorKind::Unavailable => ErrorKind::Unavailable,
            _ => ErrorKind::Internal,
        };
        Self { kind, message: "the backend failed".to_owned(), source: Some(Box::new(error)) }
    }
}

impl From<backends::PathError> for Error {
    fn from(error: backends::PathError) -> Self {
        let message =
            "the name is too long for the backend: shorten the key or the backend's prefix";
        Self {
            kind: ErrorKind::Invalid,
            message: message.to_owned(),
            source: Some(Box::new(error)),
        }
    }
}

impl From<tokio::task::JoinError> for Error {
    fn from(error: tokio::task::JoinError) -> Self {
        let message = "a worker of the daemon ended unexpectedly".to_owned();
        Self { kind: ErrorKind::Internal, message, source: Some(Box::new(error)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chain_says_each_thing_once() {
        let io = std::io::Error::new(std::io::ErrorKind::StorageFull, "no space in /data");
        let error = Error::from(disk::Error::Full(io));
        assert_eq!(error.kind(), ErrorKind::Full);
        assert_eq!(
            error.chain(),
            "the host's disk failed: the disk of the data folder is full: no space in /data"
        );
    }
}
