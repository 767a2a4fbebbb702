//! The content-addressed copies on the host. Everything here blocks: callers cross over with
//! `spawn_blocking`. A budget with eviction and a background scrub will stand beside this:
//! [`Disk::ingest`] is where room is reserved, [`Lease`] is what eviction must respect.

mod blob;
mod error;
mod index;
mod ingest;
mod layout;
mod lease;
mod metrics;
mod scan;
mod table;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::model::Digest;

pub use blob::Blob;
pub use error::{Error, Result};
pub use index::{Index, Map};
pub use ingest::{Ingest, Stored, write_durably};
pub use lease::Lease;
pub use metrics::Metrics;

use layout::Layout;
use lease::Leases;
use table::Table;

/// What an operator decides about the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The daemon's data folder.
    pub root: PathBuf,
}

/// The data folder of a daemon, in use by this process alone.
#[derive(Debug, Clone)]
pub struct Disk(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    layout: Layout,
    /// Held for its lock.
    _lock: fs_err::File,
    index: Index,
    /// Lock order: `table` before `leases`.
    table: Mutex<Table>,
    leases: Leases,
    metrics: Metrics,
}

/// How full the disk is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Number of blobs.
    pub blobs: u64,
    /// Bytes they take on disk, in whole blocks of 4 KiB.
    pub bytes: u64,
    /// Blobs that are in use, and would not be evicted.
    pub leased: u64,
}

impl Disk {
    /// Opens the folder, makes what is missing in it, and finds out what it holds. Refused when
    /// another process has it open or a newer Larder wrote it.
    pub fn open(config: &Config, metrics: Metrics) -> Result<Self> {
        let layout = Layout::create(&config.root)?;
        let lock = layout.lock()?;
        scan::remove_temporary(&layout)?;
        let index = Index::open(&layout.index())?;
        let table = scan::table(&layout, &index)?;
        metrics.show(&table);
        let table = Mutex::new(table);
        Ok(Self(Arc::new(Inner {
            layout,
            _lock: lock,
            index,
            table,
            leases: Leases::default(),
            metrics,
        })))
    }

    /// Begins to bring bytes onto the disk.
    pub fn ingest(&self) -> Result<Ingest> {
        Ingest::begin(self.clone())
    }

    /// The blob's size in bytes, if it is there.
    pub fn contains(&self, digest: &Digest) -> Option<u64> {
        self.table().size(digest)
    }

    /// Keeps these blobs, whether they are there yet or not, from eviction.
    pub fn lease(&self, digests: impl IntoIterator<Item = Digest>) -> Lease {
        self.0.leases.take(digests)
    }

    /// Removes a blob; says whether it was there. One that is leased stays.
    pub fn remove(&self, digest: &Digest) -> Result<bool> {
        let mut table = self.table();
        if self.0.leases.holds(digest) {
            return Err(Error::Leased(*digest));
        }
        let there = table.remove(digest);
        self.0.metrics.show(&table);
        match fs_err::remove_file(self.0.layout.blob(digest)) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(there),
            Err(error) => Err(Error::io(error)),
        }
    }

    /// How full it is.
    pub fn stats(&self) -> Stats {
        let table = self.table();
        Stats { blobs: table.len(), bytes: table.bytes(), leased: self.0.leases.len() }
    }

    /// Small things that others keep beside the blobs, and can do without.
    pub fn index(&self) -> &Index {
        &self.0.index
    }

    /// The folder for records of what must still reach the backend.
    pub fn outbox(&self) -> PathBuf {
        self.0.layout.outbox()
    }

    /// The data folder.
    pub fn root(&self) -> &Path {
        self.0.layout.root()
    }

    /// Writes what is known of the blobs to the index, so that the next start need not scan.
    pub fn checkpoint(&self) -> Result<()> {
        let shards = self.table().take_changed();
        self.0.index.write_table(shards)
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.table.lock().expect("no panics while the table is held")
    }
}

#[cfg(test)]
mod tests;
