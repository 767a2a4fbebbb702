//! Why the disk could not do it.

use std::io;
use std::path::PathBuf;

use crate::model::Digest;

/// A failure of the data folder.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file system refused; the source names the path.
    #[error("the data folder cannot be used")]
    Io(#[source] io::Error),
    /// No room is left.
    #[error("the disk of the data folder is full")]
    Full(#[source] io::Error),
    /// The budget is used up by blobs that cannot go now.
    #[error(
        "no room for {bytes} bytes in a budget of {max_bytes}: what is there is in use or not in the backend yet"
    )]
    NoRoom {
        /// How many more were wanted.
        bytes: u64,
        /// The whole budget.
        max_bytes: u64,
    },
    /// Another process uses it.
    #[error("the data folder `{}` is in use by another daemon{}: stop that one, or choose another folder with --data", path.display(), holder(*.pid))]
    Locked {
        /// The folder.
        path: PathBuf,
        /// The other process, where it said so.
        pid: Option<u32>,
    },
    /// It was written by a later version.
    #[error("the data folder `{}` has layout {found}, and this Larder knows layouts up to {known}: use a newer Larder, or choose another folder with --data", path.display())]
    NewerLayout {
        /// The folder.
        path: PathBuf,
        /// What its `VERSION` says.
        found: String,
        /// The newest known.
        known: u32,
    },
    /// The bytes do not have the digest that they should.
    #[error("the bytes have digest {found}, and not {expected}")]
    Mismatch {
        /// What was asked for.
        expected: Digest,
        /// What came.
        found: Digest,
    },
    /// It cannot be removed now.
    #[error("blob {0} is in use")]
    Leased(Digest),
    /// It is longer than the caller can take.
    #[error("blob {digest} has {size_bytes} bytes; at most {limit_bytes} can be read at once")]
    TooLarge {
        /// Which.
        digest: Digest,
        /// How long it is.
        size_bytes: u64,
        /// How long it may be.
        limit_bytes: u64,
    },
    /// The index would not take a record. It can be lost, so most callers go on.
    #[error("the index cannot be written")]
    Index(#[source] sled::Error),
}

/// The result of this room.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub(super) fn io(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full(error),
            _ => Self::Io(error),
        }
    }
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(String::new, |pid| format!(" (process {pid})"))
}
