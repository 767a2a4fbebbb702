//! What the operations count.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use larder_backends::layer::Counters;
use metrics::{Counter, Gauge};

use super::OutboxState;

/// Handles made by the daemon's recorder.
pub struct Metrics {
    /// Restores that found something.
    pub hits: Counter,
    /// Restores that found nothing.
    pub misses: Counter,
    /// Bytes read from the backend.
    pub backend_read_bytes: Counter,
    /// Bytes written to the backend.
    pub backend_written_bytes: Counter,
    /// Calls to the backend: `put`, `get`, `head`, `delete`, `list`.
    pub backend_calls: [Counter; 5],
    /// Calls to the backend that failed.
    pub backend_errors: Counter,
    /// Saves that wait to be flushed.
    pub outbox_entries: Gauge,
    /// Bytes of their blobs.
    pub outbox_bytes: Gauge,
    hit_count: AtomicU64,
    miss_count: AtomicU64,
}

impl Metrics {
    /// Counts for [`Status`](super::Status) only.
    pub fn noop() -> Self {
        Self {
            hits: Counter::noop(),
            misses: Counter::noop(),
            backend_read_bytes: Counter::noop(),
            backend_written_bytes: Counter::noop(),
            backend_calls: std::array::from_fn(|_| Counter::noop()),
            backend_errors: Counter::noop(),
            outbox_entries: Gauge::noop(),
            outbox_bytes: Gauge::noop(),
            hit_count: AtomicU64::new(0),
            miss_count: AtomicU64::new(0),
        }
    }

    pub(super) fn note_restore(&self, hit: bool) {
        let (counter, count) =
            if hit { (&self.hits, &self.hit_count) } else { (&self.misses, &self.miss_count) };
        counter.increment(1);
        count.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn hits_and_misses(&self) -> (u64, u64) {
        (self.hit_count.load(Ordering::Relaxed), self.miss_count.load(Ordering::Relaxed))
    }

    #[expect(clippy::cast_precision_loss, reason = "gauges are floats")]
    pub(super) fn show(&self, counters: &Counters, outbox: &OutboxState) {
        self.backend_read_bytes.absolute(counters.read_bytes.load(Ordering::Relaxed));
        self.backend_written_bytes.absolute(counters.written_bytes.load(Ordering::Relaxed));
        self.backend_errors.absolute(counters.errors.load(Ordering::Relaxed));
        for (handle, (_, calls)) in self.backend_calls.iter().zip(counters.calls()) {
            handle.absolute(calls);
        }
        self.outbox_entries.set(outbox.entries as f64);
        self.outbox_bytes.set(outbox.bytes as f64);
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}
