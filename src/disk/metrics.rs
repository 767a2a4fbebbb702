//! What the disk counts.

use metrics::{Counter, Gauge};

use super::table::Table;

/// Handles made by the daemon's recorder.
#[derive(Clone)]
pub struct Metrics {
    /// Blobs on the disk.
    pub blobs: Gauge,
    /// Bytes they take.
    pub bytes: Gauge,
    /// Bytes brought onto the disk.
    pub ingested_bytes: Counter,
    /// Blobs evicted.
    pub evicted_blobs: Counter,
    /// Bytes they took.
    pub evicted_bytes: Counter,
    /// Bytes for which no room could be made.
    pub refused_bytes: Counter,
    /// Blobs whose bytes turned out to be wrong.
    pub quarantined: Counter,
}

impl Metrics {
    /// Counts nothing.
    pub fn noop() -> Self {
        Self {
            blobs: Gauge::noop(),
            bytes: Gauge::noop(),
            ingested_bytes: Counter::noop(),
            evicted_blobs: Counter::noop(),
            evicted_bytes: Counter::noop(),
            refused_bytes: Counter::noop(),
            quarantined: Counter::noop(),
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "gauges are floats")]
    pub(super) fn show(&self, table: &Table) {
        self.blobs.set(table.len() as f64);
        self.bytes.set(table.bytes() as f64);
    }
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Metrics")
    }
}
