//! What can go wrong with a tree.

use std::fmt;
use std::io;
use std::path::PathBuf;

use super::DepotError;
use crate::model::FormatError;

/// A tree could not be saved or placed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file system refused.
    #[error("cannot {action} `{}`", path.display())]
    Io {
        /// A verb: `read`, `write`.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// None of the paths to save exists.
    #[error("none of the paths to save exists: {}", list(.0))]
    NothingToSave(Vec<PathBuf>),
    /// The daemon could not do its part.
    #[error("the daemon could not {action}")]
    Depot {
        /// What it was asked to do.
        action: &'static str,
        /// Why it could not.
        source: DepotError,
    },
    /// The manifest or a pack does not keep the format.
    #[error("the saved tree is damaged")]
    Format(#[from] FormatError),
    /// A chunk's bytes do not have the digest that its pack's table states, and asking again did not help.
    #[error("the saved tree is damaged: pack {0} holds wrong bytes")]
    Corrupt(crate::model::Digest),
    /// The saved tree refers to something that is not in it.
    #[error("the saved tree is damaged: {0}")]
    Inconsistent(&'static str),
    /// Two saved paths would be placed into one another.
    #[error("`{}` lies inside `{}`: one of the saved paths would be written through the other", inner.display(), outer.display())]
    Nested {
        /// The deeper path.
        inner: PathBuf,
        /// The path around it.
        outer: PathBuf,
    },
}

/// The result of this room.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub(super) fn io(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }

    pub(super) fn depot(action: &'static str) -> impl FnOnce(DepotError) -> Self {
        move |source| Self::Depot { action, source }
    }
}

/// Something that was left out or is not as it was, while the rest went well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// What it is about.
    pub path: PathBuf,
    /// What happened.
    pub kind: WarningKind,
}

/// Reasons for a [`Warning`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WarningKind {
    /// A path to save that is not there.
    Missing,
    /// It was listed, and gone when it should be read.
    Vanished,
    /// It changed while it was read; saved as it was found.
    Changed,
    /// It may not be read, and is not saved.
    Unreadable(String),
    /// A device, socket or FIFO; not saved.
    Special,
    /// Too deep or too long a path; not saved.
    TooDeep,
    /// Mode, time or an attribute could not be set; the content is right.
    Meta(String),
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match &self.kind {
            WarningKind::Missing => write!(f, "`{path}` does not exist; it is not saved"),
            WarningKind::Vanished => {
                write!(f, "`{path}` vanished while the tree was read; it is not saved")
            }
            WarningKind::Changed => {
                write!(f, "`{path}` changed while it was read; it is saved as it was found")
            }
            WarningKind::Unreadable(why) => {
                write!(f, "`{path}` cannot be read ({why}); it is not saved")
            }
            WarningKind::Special => {
                write!(f, "`{path}` is a device, socket or FIFO; it is not saved")
            }
            WarningKind::TooDeep => write!(f, "`{path}` lies too deep; it is not saved"),
            WarningKind::Meta(why) => write!(f, "`{path}`: {why}"),
        }
    }
}

fn list(paths: &[PathBuf]) -> String {
    let quoted: Vec<String> = paths.iter().map(|path| format!("`{}`", path.display())).collect();
    quoted.join(", ")
}
