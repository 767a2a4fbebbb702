//! Leases on behalf of jobs that are in the middle of something: a save whose packs are stored and
//! not yet named by a manifest, a restore that has been told of a cache and will ask for its packs.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::disk::Lease;

/// Longer than any save takes between two of its requests: without its packs it would fail.
pub(super) const SAVING: Duration = Duration::from_hours(1);
/// A restore that is slower than this fetches some packs again.
pub(super) const RESTORING: Duration = Duration::from_mins(5);

#[derive(Debug, Default)]
pub(super) struct Held(Mutex<Vec<(Instant, Lease)>>);

impl Held {
    pub(super) fn hold(&self, lease: Lease, duration: Duration) {
        let now = Instant::now();
        let mut held = self.0.lock().expect("no panics while leases are held");
        held.retain(|(until, _)| *until > now);
        held.push((now + duration, lease));
    }
}
