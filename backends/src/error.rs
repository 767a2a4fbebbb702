//! What can go wrong, by meaning: callers match [`ErrorKind`], people read the chain of sources.

use std::error::Error as StdError;
use std::fmt;

/// What every method of a backend returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The kinds of failure that a caller may want to tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// There is no such object.
    NotFound,
    /// [`PutMode::Create`](crate::PutMode::Create) met an object.
    AlreadyExists,
    /// Credentials are missing, wrong, or do not allow this. Trying again does not help.
    Denied,
    /// The storage does not answer, or says that it cannot at the moment. Trying again may help.
    Unavailable,
    /// The body given to `put` failed, or its length was not the one announced.
    Body,
    /// An object is larger than the caller's limit.
    TooLarge,
    /// Everything else; the source tells.
    Other,
}

/// Which method failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the methods of `Backend`, by name")]
pub enum Operation {
    Features,
    Put,
    Get,
    Head,
    Delete,
    List,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Features => "probe",
            Self::Put => "put",
            Self::Get => "get",
            Self::Head => "head",
            Self::Delete => "delete",
            Self::List => "list",
        })
    }
}

/// A failed operation: its text says what was tried on which path, its sources say why and, where
/// somebody can do something about it, what.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} `{path}`")]
pub struct Error {
    kind: ErrorKind,
    operation: Operation,
    path: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// `path` is an object's path, a prefix for [`Operation::List`], or whatever names best what
    /// was touched.
    pub fn new(
        kind: ErrorKind,
        operation: Operation,
        path: impl Into<String>,
        source: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Self {
        Self { kind, operation, path: path.into(), source: Some(source.into()) }
    }

    /// For kinds that say everything: `NotFound`, `AlreadyExists`.
    pub fn bare(kind: ErrorKind, operation: Operation, path: impl Into<String>) -> Self {
        Self { kind, operation, path: path.into(), source: None }
    }

    /// The same failure, as a part of another operation.
    #[cfg(feature = "s3")]
    pub(crate) fn during(self, operation: Operation) -> Self {
        Self { operation, ..self }
    }

    /// Its meaning.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The method that failed.
    pub fn operation(&self) -> Operation {
        self.operation
    }

    /// What was touched; see [`new`](Self::new).
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Whether the same call may succeed later.
    pub fn is_retryable(&self) -> bool {
        self.kind == ErrorKind::Unavailable
    }

    /// Whether the object is simply not there.
    pub fn is_not_found(&self) -> bool {
        self.kind == ErrorKind::NotFound
    }

    /// The texts of this error and its sources in one line.
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut next = self.source();
        while let Some(error) = next {
            text.push_str(": ");
            text.push_str(&error.to_string());
            next = error.source();
        }
        text
    }
}
