//! Leases on behalf of jobs that are in the middle of something: a save whose packs are stored and
//! not yet named by a manifest, a restore that has been told of a cache and will ask for its packs.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::disk::Lease;

/// Longer than any job takes between two of its requests.
const HELD_FOR: Duration = Duration::from_hours(1);

#[derive(Debug, Default)]
pub(super) struct Held(Mutex<VecDeque<(Instant, Lease)>>);

impl Held {
    pub(super) fn hold(&self, lease: Lease) {
        let mut held = self.0.lock().expect("no panics while leases are held");
        while held.front().is_some_and(|(since, _)| since.elapsed() > HELD_FOR) {
            held.pop_front();
        }
        held.push_back((Instant::now(), lease));
    }
}
