//! What Larder does, whatever the protocol that asks for it: saving and restoring caches, bringing
//! blobs to the host and to the backend. Never says HTTP.

mod blobs;
mod cache;
mod catalog;
mod chunks;
mod clock;
mod error;
mod fill;
mod flush;
mod frames;
mod held;
mod metrics;
mod outbox;
mod through;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use larder_backends::Backend;
use larder_backends::layer::Counters;

use crate::disk::{self, Disk, Map};

pub use blobs::Source;
pub use cache::{Found, NewCache};
pub use catalog::BlobKind;
pub use chunks::{KnownChunk, KnownChunks};
pub use clock::Clock;
pub use error::{Error, ErrorKind, Result};
pub use metrics::Metrics;
pub use outbox::OutboxState;
pub use through::RemoteBlob;

/// All that the operations work on; cheap to clone.
#[derive(Debug, Clone)]
pub struct Larder(Arc<Inner>);

/// Made once, by the composition root.
#[derive(Debug)]
pub struct Parts {
    /// The host's disk.
    pub disk: Disk,
    /// The durable storage behind it.
    pub backend: Arc<dyn Backend>,
    /// What crosses to `backend` and back is counted here.
    pub counters: Arc<Counters>,
    /// What time it is.
    pub clock: Clock,
    /// What is counted besides.
    pub metrics: Metrics,
    /// How long a cache counts as there.
    pub retention: Duration,
}

/// How often the file system's free room is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// CircleCI's own retention of caches.
pub const RETENTION: Duration = Duration::from_hours(15 * 24);

#[derive(Debug)]
struct Inner {
    disk: Disk,
    backend: Arc<dyn Backend>,
    counters: Arc<Counters>,
    clock: Clock,
    metrics: Metrics,
    retention: Duration,
    outbox: outbox::Outbox,
    fills: fill::Fills,
    chunks: chunks::Chunks,
    held: held::Held,
    through: through::Through,
    blobs: blobs::Owners,
    /// The last known entry at each path of the backend, for when that does not answer.
    entries: Map,
    /// Saves are committed one at a time: the first writer of a key wins on this host too.
    committing: tokio::sync::Mutex<()>,
}

/// How the daemon is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// The backend, without secrets.
    pub backend: String,
    /// How full the disk is.
    pub disk: disk::Stats,
    /// What waits to be flushed.
    pub outbox: OutboxState,
    /// Restores that found something, since the start.
    pub hits: u64,
    /// Restores that found nothing, since the start.
    pub misses: u64,
    /// Bytes read from the backend since the start.
    pub backend_read_bytes: u64,
    /// Bytes written to the backend since the start.
    pub backend_written_bytes: u64,
}

impl Larder {
    /// Finds what an earlier daemon left to be flushed. Nothing is flushed before
    /// [`run_flusher`](Self::run_flusher).
    pub fn open(parts: Parts) -> Result<Self> {
        let Parts { disk, backend, counters, clock, metrics, retention } = parts;
        let outbox = outbox::Outbox::open(disk.clone())?;
        let blobs = blobs::Owners::new(disk.index().map("blobs")?);
        for record in outbox.all() {
            for digest in record.packs.iter().chain([&record.entry.manifest]) {
                blobs.note_host(&record.project, digest);
            }
        }
        let entries = disk.index().map("entries")?;
        Ok(Self(Arc::new(Inner {
            disk,
            backend,
            counters,
            clock,
            metrics,
            retention,
            outbox,
            fills: fill::Fills::default(),
            chunks: chunks::Chunks::default(),
            held: held::Held::default(),
            through: through::Through::default(),
            blobs,
            entries,
            committing: tokio::sync::Mutex::default(),
        })))
    }

    /// How it is.
    pub fn status(&self) -> Status {
        let (hits, misses) = self.0.metrics.hits_and_misses();
        Status {
            backend: self.0.backend.to_string(),
            disk: self.0.disk.stats(),
            outbox: self.0.outbox.state(),
            hits,
            misses,
            backend_read_bytes: self.0.counters.read_bytes.load(Ordering::Relaxed),
            backend_written_bytes: self.0.counters.written_bytes.load(Ordering::Relaxed),
        }
    }

    /// Whether the backend answers.
    pub async fn reach_backend(&self) -> Result<()> {
        self.0.backend.features().await?;
        Ok(())
    }

    /// Brings the exported figures up to date.
    pub fn refresh_metrics(&self) {
        self.0.metrics.show(&self.0.counters, &self.0.outbox.state());
    }

    /// Writes to the index what the next start would otherwise have to find out. Blocks.
    pub fn checkpoint(&self) -> Result<()> {
        Ok(self.0.disk.checkpoint()?)
    }

    /// The last of these, when nothing is under way any more. Blocks.
    pub fn close(&self) -> Result<()> {
        Ok(self.0.disk.close()?)
    }

    /// Finds out what an unclean end left on the disk, and then keeps the disk within its budget, for ever.
    pub async fn run_disk(&self) {
        let reconcile = |disk: Disk| disk.reconcile();
        self.with_disk("compare the index with the files", reconcile).await;
        loop {
            let tight = self.0.disk.wait_until_tight();
            // Others fill the file system without telling.
            let _rung = tokio::time::timeout(LOOK_EVERY, tight).await.is_ok();
            self.with_disk("evict", |disk| disk.evict().map(drop)).await;
        }
    }

    async fn with_disk(&self, what: &str, work: fn(Disk) -> disk::Result<()>) {
        let disk = self.0.disk.clone();
        let done = tokio::task::spawn_blocking(move || work(disk)).await;
        let done = done.map_err(Error::from).and_then(|done| Ok(done?));
        if let Err(error) = done {
            tracing::warn!(error = error.chain(), "the disk failed to {what}");
        }
    }
}

#[cfg(test)]
mod tests;
