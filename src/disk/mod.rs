//! The content-addressed copies on the host. Everything here blocks: callers cross over with
//! `spawn_blocking`. [`Disk::ingest`] reserves room within the budget, eviction makes it, and a [`Lease`]
//! keeps a blob from it.

mod blob;
mod budget;
mod error;
mod evict;
mod index;
mod ingest;
mod layout;
mod lease;
mod metrics;
mod policy;
mod scan;
mod table;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::Notify;

use crate::model::Digest;

pub use blob::Blob;
pub use budget::{Amount, AmountError, Limits};
pub use error::{Error, Result};
pub use evict::Evicted;
pub use index::{Index, Map};
pub use ingest::{Ingest, Stored, write_durably};
pub use lease::Lease;
pub use metrics::Metrics;

use budget::{Budget, Space};
use layout::Layout;
use lease::Leases;
use table::Table;

/// What an operator decides about the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The daemon's data folder.
    pub root: PathBuf,
    /// How much room it may take.
    pub limits: Limits,
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
    /// Lock order: one of `shards`, then `table`, then `leases`. What is held while a file of that shard
    /// comes or goes.
    shards: Vec<Mutex<()>>,
    table: Mutex<Table>,
    leases: Leases,
    budget: Budget,
    /// Rings when little room is left.
    tight: Notify,
    /// Whether the table is known to be what the files are.
    reconciled: AtomicBool,
    metrics: Metrics,
}

/// How full the disk is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Number of blobs.
    pub blobs: u64,
    /// Bytes they take on disk, in whole blocks of 4 KiB.
    pub bytes: u64,
    /// Blobs that are in use, and are not evicted.
    pub leased: u64,
    /// What they may take.
    pub max_bytes: u64,
    /// Bytes promised to blobs that are being written.
    pub reserved_bytes: u64,
    /// Bytes that are free on the file system.
    pub free_bytes: u64,
    /// Bytes that are left to others there.
    pub min_free_bytes: u64,
}

impl Disk {
    /// Opens the folder, makes what is missing in it, and finds out what it holds. Refused when
    /// another process has it open or a newer Larder wrote it.
    pub fn open(config: &Config, metrics: Metrics) -> Result<Self> {
        let layout = Layout::create(&config.root)?;
        let lock = layout.lock()?;
        scan::remove_temporary(&layout)?;
        let index = Index::open(&layout.index())?;
        let budget = Budget::new(&config.limits, &config.root)?;
        let clean = index.take_clean()?;
        let (table, reconciled) = if let Some(table) = scan::table(&index) {
            (table, clean)
        } else {
            tracing::warn!("the index is damaged; it is rebuilt from the files");
            index.clear_table()?;
            (Table::default(), false)
        };
        metrics.show(&table);
        Ok(Self(Arc::new(Inner {
            layout,
            _lock: lock,
            index,
            shards: (0..=u8::MAX).map(|_| Mutex::default()).collect(),
            table: Mutex::new(table),
            leases: Leases::default(),
            budget,
            tight: Notify::new(),
            reconciled: AtomicBool::new(reconciled),
            metrics,
        })))
    }

    /// Begins to bring bytes onto the disk.
    pub fn ingest(&self) -> Result<Ingest> {
        Ingest::begin(self.clone())
    }

    /// The same for a blob of about this size; fails at once when there is no room for it.
    pub fn ingest_about(&self, bytes: u64) -> Result<Ingest> {
        let mut ingest = self.ingest()?;
        ingest.reserve(bytes.min(self.0.budget.max_bytes() / 8))?;
        Ok(ingest)
    }

    /// The blob's size in bytes, if it is there.
    pub fn contains(&self, digest: &Digest) -> Option<u64> {
        let known = || self.table().get(digest).map(|record| record.size_bytes);
        known().or_else(|| {
            let unsure = !self.0.reconciled.load(Ordering::Acquire);
            let found = unsure && self.find(digest).unwrap_or(false);
            found.then(known).flatten()
        })
    }

    /// Keeps these blobs, whether they are there yet or not, from eviction.
    pub fn lease(&self, digests: impl IntoIterator<Item = Digest>) -> Lease {
        self.0.leases.take(digests)
    }

    /// How full it is.
    pub fn stats(&self) -> Stats {
        let free_bytes = Space::of(self.root()).map_or(0, |space| space.free);
        let table = self.table();
        Stats {
            blobs: table.len(),
            bytes: table.bytes(),
            leased: self.0.leases.len(),
            max_bytes: self.0.budget.max_bytes(),
            reserved_bytes: self.0.budget.reserved(),
            free_bytes,
            min_free_bytes: self.0.budget.min_free_bytes(),
        }
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

    /// Writes what is known of the blobs to the index. The table is held for one segment at a time.
    pub fn checkpoint(&self) -> Result<()> {
        let mut from = 0;
        loop {
            let Some((segment, packed)) = self.table().take_changed(from) else { break };
            if let Err(error) = self.0.index.write_segment(segment, packed) {
                self.table().changed(segment);
                return Err(error);
            }
            from = segment + 1;
        }
        self.0.index.flush()
    }

    /// The last checkpoint: the next start may believe the index. Nothing may be stored after it.
    pub fn close(&self) -> Result<()> {
        self.checkpoint()?;
        if self.0.reconciled.load(Ordering::Acquire) {
            self.0.index.put_clean()?;
        }
        Ok(())
    }

    fn shard(&self, digest: &Digest) -> MutexGuard<'_, ()> {
        let shard = &self.0.shards[usize::from(digest.shard())];
        shard.lock().expect("no panics while a shard is held")
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.table.lock().expect("no panics while the table is held")
    }
}

#[cfg(test)]
mod tests;
